# SPDX-License-Identifier: Apache-2.0
"""``ballast risk adaptive``: does the adaptive layer beat EWMA, GARCH, FHS and long history on real prices?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from keeper.commands.common import JsonOption, check_target, console, print_json, table, write_text
from risk.adaptive import AdaptiveConfig, Comparison, compare
from risk.adaptive import Progress as Report
from risk.adaptive_features import Signals
from risk.adaptive_scores import RULE, ModelScore, SymbolResult
from risk.errors import BadInput, RiskWarning
from risk.market import PriceHistory, load_prices
from risk.market.load import find_files, parse_time
from risk.market.observed import load_funding, load_vol

COLUMNS = ("loss bp", "lower", "upper", "joint", "breaches", "Kupiec p", "Christoffersen p", "conformal", "DM p")


def adaptive(
    prices: Annotated[
        Path, typer.Option("--prices", help="Folder of <BASE><QUOTE>_<interval>.csv[.gz] price files, hourly.")
    ],
    start: Annotated[str, typer.Option("--from", help="First day forecast, such as 2018-01-01 (UTC).")],
    end: Annotated[str, typer.Option("--to", help="Days forecast begin before this one.")],
    vol: Annotated[Path | None, typer.Option("--vol", help="Folder of dvol_<BASE>_1d.csv[.gz] files.")] = None,
    funding: Annotated[
        Path | None, typer.Option("--funding", help="Folder of <BASE>USDT_funding_8h.csv[.gz] files.")
    ] = None,
    symbols: Annotated[str | None, typer.Option("--symbols", help="Comma list; default: all that are found.")] = None,
    interval: Annotated[str, typer.Option("--interval", help="Bar length, such as 1h.")] = "1h",
    trees: Annotated[int, typer.Option("--trees", min=1, help="Trees of the regression.")] = AdaptiveConfig().trees,
    tail_per_leaf: Annotated[
        int, typer.Option("--tail-per-leaf", min=1, help="Values beyond the quantile expected in a leaf.")
    ] = AdaptiveConfig().tail_per_leaf,
    as_json: JsonOption = False,
    report: Annotated[Path | None, typer.Option("--report", help="Where to write an HTML page with plots.")] = None,
) -> None:
    """Walk-forward comparison of the adaptive tail quantiles (1 % and 99 % of a day's log return) with the others.

    Prints mean quantile loss, breaches, tests of coverage and the Diebold-Mariano test for every symbol, and whether
    the layer is to be on. History before --from is trained on; a symbol joins after 500 days of its own.
    """
    check_target("--report", report)
    window = _time("--from", start), _time("--to", end)
    if window[0] >= window[1]:
        raise BadInput(f"--from {start} is not before --to {end}; swap them")
    histories = _histories(prices, symbols, interval, window[1])
    signals = _signals(list(histories), vol, funding)
    config = AdaptiveConfig(trees=trees, tail_per_leaf=tail_per_leaf)
    with _progress() as say, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RiskWarning)
        found = compare(histories, signals, *window, config, say)
    for text in dict.fromkeys(str(item.message) for item in caught if issubclass(item.category, RiskWarning)):
        typer.echo(f"warning: {text}", err=True)
    if report:
        from risk.adaptive_report import report as page

        write_text(report, page(found))
    if as_json:
        print_json(found.plain())
        return
    _print(found)


def _time(option: str, text: str) -> int:
    try:
        return parse_time(text)
    except BadInput as error:
        raise BadInput(f"{option}: {error}") from error


def _histories(prices: Path, symbols: str | None, interval: str, end: int) -> dict[str, PriceHistory]:
    """Each symbol on its own: one that was listed late must not shorten the others. No bar after the window."""
    chosen = [name.strip() for name in symbols.split(",")] if symbols else None
    files = find_files(prices, chosen, interval)
    return {name: load_prices({name: path}, interval=interval, end=end) for name, path, _ in files}


def _signals(names: list[str], vol: Path | None, funding: Path | None) -> dict[str, Signals]:
    """What the folders hold of each symbol; files that are not read and symbols without one are named."""
    index, notes = load_vol(vol, names) if vol else (None, ())
    rates, more = load_funding(funding, names) if funding else ({}, ())
    found = {s: Signals.of(s, index, rates) for s in names}
    said = [str(note) for note in (*notes, *more) if note.name == "ignored-file"]
    said += [f"{s}: no implied volatility; its features are absent" for s in names if vol and found[s].vol is None]
    said += [f"{s}: no funding; its features are absent" for s in names if funding and found[s].funding is None]
    for text in said:
        typer.echo(f"warning: {text}", err=True)
    return found


@contextmanager
def _progress() -> Iterator[Report]:
    """A bar on standard error, nothing where that is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    err = Console(stderr=True)
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share, text: bar.update(task, description=text, completed=share)


def _print(found: Comparison) -> None:
    screen = console()
    for result in found.results:
        screen.print(_table(result))
        screen.print(f"{result.symbol}: {'; '.join(result.faults) or 'the adaptive layer wins'}\n", markup=False)
    for symbol, why in found.absent.items():
        screen.print(f"{symbol} left out: {why}", markup=False)
    wins = sum(not r.faults for r in found.results)
    screen.print(f"features that look ahead: {', '.join(found.leaks) or 'none'}", markup=False)
    screen.print(f"rule: {RULE}", markup=False)
    screen.print(
        f"verdict: adaptive {'on' if found.ships else 'off'}; it wins on {wins} of {len(found.results)} symbols",
        markup=False,
    )


def _table(result: SymbolResult) -> object:
    first, last = (result.plain()[key][:10] for key in ("first", "last"))
    made = table(f"{result.symbol}, {result.ts.size} days {first}..{last}", "model", *COLUMNS, right=COLUMNS)
    for score in result.scores.values():
        made.add_row(score.model, *_cells(score))
    return made


def _cells(score: ModelScore) -> list[str]:
    return [
        f"{1e4 * score.loss:.2f}",
        *(f"{1e4 * loss:.2f}" for loss in score.tail_loss),
        f"{score.joint:.3f}",
        f"{score.breaches[0]} / {score.breaches[1]}",
        f"{score.kupiec[0]:.3f} / {score.kupiec[1]:.3f}",
        f"{score.christoffersen[0]:.3f} / {score.christoffersen[1]:.3f}",
        f"{score.conformal_rate:.3f}",
        "" if score.against is None else f"{score.against.p_value:.3f}",
    ]
