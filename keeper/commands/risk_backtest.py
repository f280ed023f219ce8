# SPDX-License-Identifier: Apache-2.0
"""``ballast risk backtest``: walk forward over real history; tests, peers at equal coverage, plots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from keeper.commands.common import JsonOption, check_target, console, print_json, table, write_text
from keeper.errors import ConfigError
from risk.backtest import BacktestConfig, Result, backtest, passed, plain
from risk.backtest import Progress as Say
from risk.errors import BadInput
from risk.market import load_prices
from risk.market.load import parse_time
from risk.market.observed import load_vol

HOUR_S = 3_600
# Four liquid ones with prices since 2017; a later listing would cut the history of all.
DEFAULT_SYMBOLS = "BTC,ETH,BNB,LTC"
FAILED = 3


def command(
    prices: Annotated[
        Path,
        typer.Option(
            "--prices", help="Folder of <BASE><QUOTE>_<interval>.csv[.gz] files; columns ts,open,high,low,close,volume."
        ),
    ],
    start: Annotated[str, typer.Option("--from", help="First decision, midnight UTC, such as 2019-01-01.")],
    end: Annotated[str, typer.Option("--to", help="No horizon passes this time, ISO 8601 UTC.")],
    vol: Annotated[
        Path | None, typer.Option("--vol", help="Folder of dvol_<SYMBOL>_1d.csv[.gz]: implied volatility.")
    ] = None,
    symbols: Annotated[str, typer.Option("--symbols", help="Comma list of underlyings.")] = DEFAULT_SYMBOLS,
    interval: Annotated[str, typer.Option("--interval", help="Bar length, such as 1h.")] = "1h",
    horizon: Annotated[int, typer.Option("--horizon", min=1, help="Horizon of forecast, margin and loss, hours.")] = 24,
    refit: Annotated[int, typer.Option("--refit-days", min=1, help="Days between whole calibrations.")] = 30,
    peers: Annotated[str | None, typer.Option("--peers", help="Comma list of methodologies; default: all.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")] = 1,
    report: Annotated[Path | None, typer.Option("--report", help="Write one HTML file with all plots.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Coverage, shortfall, capital against peers, procyclicality: on real history, without look-ahead.

    Exit code 3, after all output, when a gate that is enforced fails: the forecast is not right in all respects.
    docs/risk/backtest.md says which gates fail on the history that is known, and why. No push depends on it.
    """
    check_target("--report", report)
    names = _names(symbols)
    bounds = (_time("--from", start), _time("--to", end))
    config = BacktestConfig(*bounds, horizon_s=horizon * HOUR_S, refit_days=refit, seed=seed)
    history = load_prices(prices, names, interval, end=bounds[1])
    index, notes = load_vol(vol, names) if vol else (None, ())
    with _bar() as say:
        found = backtest(history, config, vol=index, against=_names(peers) if peers else None, progress=say)
    if report is not None:
        from risk.report import html  # draws: the keeper need not load that

        write_text(report, html(found))
    if as_json:
        print_json({**plain(found), "notes": [str(note) for note in notes]})
    else:
        _print(found, report)
    if not passed(found.gates):
        raise typer.Exit(FAILED)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _time(option: str, text: str) -> int:
    try:
        return parse_time(text)
    except BadInput as error:
        raise ConfigError(f"{option}: {error}") from error


@contextmanager
def _bar() -> Iterator[Say]:
    """A progress bar on standard error, which stays silent where that is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, int] = {}

        def say(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)  # type: ignore[arg-type]

        yield say


def _print(found: Result, report: Path | None) -> None:
    screen = console()
    screen.print(_classes(found))
    for label in ("mix, 0.99", "mix, 0.999"):
        made = table(f"capital at equal coverage ({label})", *_PEERS, right=_PEERS[1:])
        for item in found.peers[label]:
            made.add_row(
                item.name, f"{item.mean_margin:.2%}", f"{item.rate:.2%}", f"{item.factor:.3f}", f"{item.capital:.2%}",
                f"{item.late_capital:.2%}", f"{item.out_rate:.2%}", f"{item.out_capital:.2%}",
                _interval(found, label, item.name),
            )  # fmt: skip
        screen.print(made)
    failed = [gate for gate in found.gates if not gate.passed]
    for gate in failed:
        kind = "gate failed" if gate.enforced else "remark"
        screen.print(f"{kind}: {gate.name} is {gate.value:.4g}, limit {gate.limit:.4g}", markup=False)
    verdict = "all gates passed" if passed(found.gates) else "do not push: a gate failed"
    screen.print(f"{verdict}; {found.checked} decisions proved free of look-ahead", markup=False)
    if report is not None:
        screen.print(f"report written to {report}", markup=False)


_CLASSES = (
    "class", "accounts", "breaches", "rate", "in rows", "dynamic", "Z1", "Z2", "Z2 p",
    "over MM", "over IM", "mean IM", "peak/trough",
)  # fmt: skip
_PEERS = (
    "methodology", "mean IM", "over IM", "factor", "capital", "second half", "out: over", "out: capital",
    "ballast / it, 95 %",
)  # fmt: skip


def _interval(found: Result, label: str, name: str) -> str:
    """Ballast's capital over that of a peer: the interval over resampled days, nothing for its own row."""
    one = found.relative[label].get(name)
    return "" if one is None else f"{one.low:.2f} .. {one.high:.2f}"


def _classes(found: Result) -> object:
    made = table("forecast and margin by class of account; p-values of tests", *_CLASSES, right=_CLASSES[1:])
    for item in found.classes:
        cover, short = item.coverage, item.shortfall
        made.add_row(
            item.name, str(item.accounts), f"{cover.rate:.2%}", f"{cover.by_day:.3f}", f"{cover.independence:.3f}",
            f"{cover.dynamic:.3f}", f"{short.z1:.2f}", f"{short.z2:.2f}", f"{short.z2_p:.3f}",
            f"{item.mm_rate:.2%}", f"{item.im_rate:.2%}", f"{item.mean_im:.2%}", f"{item.cycle.peak_to_trough:.2f}",
        )  # fmt: skip
    return made
