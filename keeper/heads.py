# SPDX-License-Identifier: Apache-2.0
"""Asks for the head of the chain at short intervals and says when it has moved: a cycle then begins at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from keeper.domain import Block
from keeper.errors import KeeperError


class HeadWatch:
    """A thread with a client of its own, so that it never waits for the cycle's requests.

    Parameters
    ----------
    head
        The chain's head.
    moved
        Called when it is another block than before; not while ``busy`` says that a cycle runs, but right after it.
    poll_s
        Seconds between two questions.
    """

    def __init__(
        self, head: Callable[[], Block], moved: Callable[[], None], busy: Callable[[], bool], poll_s: float
    ) -> None:
        self._head = head
        self._moved = moved
        self._busy = busy
        self._poll_s = poll_s
        self._last: bytes | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heads", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Stop asking; waits for the question that is out."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def look(self) -> bool:
        """Ask once; True where a cycle was called for."""
        if self._busy():
            return False
        try:
            block = self._head()
        except KeeperError:  # the cycle's own client reports what is wrong with the node
            return False
        if block.hash == self._last or self._busy():
            return False
        self._last = block.hash
        self._moved()
        return True

    def _run(self) -> None:
        while not self._stop.wait(self._poll_s):
            self.look()
