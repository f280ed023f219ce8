# SPDX-License-Identifier: Apache-2.0
"""The progress bar of the first reading of all accounts, on stderr."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from keeper.chain.live import LiveReader


class ReadingBar:
    """Shows itself while many accounts are read and goes when they are; on a terminal only."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None

    def attach(self, live: LiveReader | None) -> None:
        """Follow a reader."""
        if live is not None and self._console.is_terminal:
            live.progress = self.show

    def show(self, done: int, total: int) -> None:
        """So many accounts of so many are read."""
        if self._bar is None:
            columns = (TextColumn("reading accounts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.add_task("accounts", total=total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        if done >= total:
            self._bar.stop()
            self._bar = None
