# SPDX-License-Identifier: Apache-2.0
"""``ballast demo``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from keeper.commands.common import console, print_json, table, usd
from keeper.errors import ConfigError, Permanent
from keeper.logging import configure

REPORT = Path("out", "demo.html")
EVERY_PERCENT = 10  # of the work, between two lines where there is no terminal


def demo(
    data: Annotated[Path | None, typer.Option("--data", help="Folder of hourly price files to replay.")] = None,
    report: Annotated[Path, typer.Option("--report", help="Where to write the HTML report.")] = REPORT,
    hours: Annotated[int | None, typer.Option("--hours", min=1, help="Play only the first so many hours.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of the simulated market.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """The main job end to end on an embedded chain: deploy, trade, live through a crash, liquidate."""
    from keeper.demo import run_demo
    from keeper.demo.run import SEED

    # Alerts are what the demonstration is about: they are in the report, not between the lines of the progress.
    configure("CRITICAL")
    _check_writable(report)
    with progress() as show:
        totals = run_demo(data, report, seed=SEED if seed is None else seed, progress=show, hours=hours)
    if as_json:
        print_json(totals.to_dict())
    else:
        made = table("demonstration", "what", "value", right=("value",))
        for name, value in totals.to_dict().items():
            made.add_row(*_line(name, value))
        out = console()
        out.print(made)
        out.print(f"report: {report}", markup=False)
    if not totals.conservation_ok:
        raise Permanent(f"conservation is broken ({totals.conservation_faults[0]}); see the report")
    if totals.parity_mismatches > 0:
        raise Permanent(f"twin and engine differ {totals.parity_mismatches} times; see 'docs/margin-rule.md'")


def _line(name: str, value: Any) -> tuple[str, str]:
    """A total for people: wad as USD."""
    if name.endswith("_wad"):
        return f"{name.removesuffix('_wad').replace('_', ' ')}, USD", usd(value)
    if isinstance(value, tuple | list):
        return name.replace("_", " "), ", ".join(map(str, value)) or "none"
    return name.replace("_", " "), f"{value:,.1f}" if isinstance(value, float) else str(value)


def _check_writable(report: Path) -> None:
    """Know before the minutes of the run, not after them, that the report cannot be written; leaves nothing behind."""
    missing = [folder for folder in report.parents if not folder.exists()]
    probe = report.with_suffix(report.suffix + ".part")
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
        for folder in missing:
            folder.rmdir()
    except OSError as error:
        raise ConfigError(
            f"report {report} cannot be written: {error.strerror}; choose another --report path"
        ) from error


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error, or plain lines where that is not a terminal."""
    err = Console(stderr=True)
    if not err.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda text, share: bar.update(task, description=text, completed=share)
        bar.update(task, description="done", completed=1.0)


def _lines() -> Callable[[str, float], None]:
    """Print a line when at least a tenth of the work was done since the last one."""
    due = 0

    def show(text: str, share: float) -> None:
        nonlocal due
        percent = round(share * 100)
        if percent >= due:
            due = percent + EVERY_PERCENT
            typer.echo(f"{percent:3}% {text}", err=True)

    return show
