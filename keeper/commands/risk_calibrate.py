# SPDX-License-Identifier: Apache-2.0
"""``ballast risk calibrate``: history to parameter set, with a progress bar, warnings by name and what changed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from keeper.commands.common import JsonOption, check_target, console, print_json, table, write_text
from keeper.errors import ConfigError
from risk.calibrate import calibrate as run_calibration
from risk.calibrate import stages
from risk.config import CalibrationConfig
from risk.difference import Difference, difference
from risk.errors import BadInput, RiskWarning
from risk.findings import Finding
from risk.haircuts import CollateralSpec
from risk.live import LiveBooks, load_books
from risk.market import PriceHistory, load_prices
from risk.market.load import OnFault, find_files, parse_time
from risk.market.observed import FundingSeries, load_funding, load_vol
from risk.market.universe import load_universe
from risk.types import ParameterSet

# Scenarios that changed are counted in the table, and listed in the JSON alone.
_SCENARIO = "joint."


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Everything read from files."""

    history: PriceHistory
    vol: PriceHistory | None
    funding: dict[str, FundingSeries] | None
    books: LiveBooks | None
    previous: ParameterSet | None
    notes: tuple[Finding, ...]


def calibrate(
    prices: Annotated[
        Path,
        typer.Option(
            "--prices", help="Folder of <BASE><QUOTE>_<interval>.csv[.gz] files; columns ts,open,high,low,close,volume."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Where to write the parameter set.")],
    vol: Annotated[
        Path | None, typer.Option("--vol", help="Folder of dvol_<SYMBOL>_<interval>.csv[.gz]: implied volatility.")
    ] = None,
    funding: Annotated[
        Path | None, typer.Option("--funding", help="Folder of <SYMBOL><QUOTE>_funding_8h.csv[.gz]: funding rates.")
    ] = None,
    book: Annotated[
        Path | None, typer.Option("--book", help="Live accounts, CSV account,instrument,quantity or JSON.")
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option("--previous", help="The set in force: ranges fall slowly from it; shows what changes."),
    ] = None,
    symbols: Annotated[
        str | None, typer.Option("--symbols", help="Comma list; default: those of the book, else all that fit.")
    ] = None,
    interval: Annotated[str, typer.Option("--interval", help="Bar length, such as 1h.")] = "1h",
    start: Annotated[str | None, typer.Option("--from", help="First bar, ISO 8601 UTC.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of the bars (not included), ISO 8601 UTC.")] = None,
    collateral: Annotated[
        list[str] | None, typer.Option("--collateral", help="NAME or NAME=LINKED_UNDERLYING; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller samples, as the keeper takes them.")] = False,
    faults: Annotated[
        str, typer.Option("--on-fault", help="A row that cannot be used: raise, drop it, or repair (sort, then drop).")
    ] = "raise",
    max_missing: Annotated[
        float, typer.Option("--max-missing", min=0.0, max=1.0, help="Largest share of bars a symbol may miss.")
    ] = 0.10,
    as_json: JsonOption = False,
) -> None:
    """History to parameter set: scan ranges, shocks, haircuts, joint scenarios with their certificate."""
    if faults not in get_args(OnFault):
        raise ConfigError(f"--on-fault {faults} is neither raise, drop nor repair; choose one")
    check_target("--out", out)
    config = _config(collateral, quick=quick)
    chosen = [name.strip() for name in symbols.split(",")] if symbols else None
    window = (_time("--from", start), _time("--to", end))
    with _progress() as step:
        step("reading files", 0)
        inputs = _read(prices, chosen, interval, faults, window, max_missing, (vol, funding, book, previous), config)
        total = 2 + stages(config, len(inputs.history.symbols) - len(config.collaterals))
        found = run_calibration(
            inputs.history,
            config,
            np.random.default_rng(seed),
            inputs.previous,
            inputs.vol,
            progress=lambda text: step(text, total),
            live_books=inputs.books,
            funding=inputs.funding,
            notes=inputs.notes,
        )
    changed = difference(inputs.previous, found) if inputs.previous is not None else ()
    write_text(out, found.to_json() + "\n")
    if as_json:
        print_json(_plain(found, out, changed))
        return
    _print(found, out, changed, compared=inputs.previous is not None)


def _config(collateral: Sequence[str] | None, *, quick: bool) -> CalibrationConfig:
    specs = tuple(
        CollateralSpec(name, linked or None) for name, _, linked in (t.partition("=") for t in collateral or ())
    )
    return CalibrationConfig.quick(collaterals=specs) if quick else CalibrationConfig(collaterals=specs)


def _time(name: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_time(text)
    except BadInput as error:
        raise ConfigError(f"{name}: {error}") from error


def _read(
    prices: Path,
    symbols: list[str] | None,
    interval: str,
    faults: str,
    window: tuple[int | None, int | None],
    max_missing: float,
    others: tuple[Path | None, Path | None, Path | None, Path | None],
    config: CalibrationConfig,
) -> _Inputs:
    vol, funding, book, previous = others
    policy: OnFault = next(item for item in get_args(OnFault) if item == faults)
    assets = {spec.name for spec in config.collaterals}
    if symbols is None and book is not None:
        # The underlyings that somebody holds; an unknown one is named with its line.
        found = {symbol for symbol, _, _ in find_files(prices, None, interval)}
        symbols = [*load_books(book, sorted(found - assets)).underlyings, *sorted(assets & found)]
    with warnings.catch_warnings():
        # What is left out is in the notes of the history, by name.
        warnings.simplefilter("ignore", RiskWarning)
        if symbols is None:
            history = load_universe(
                prices,
                interval,
                assets=assets,
                on_fault=policy,
                start=window[0],
                end=window[1],
                max_missing_fraction=max_missing,
            )
        else:
            history = load_prices(
                prices,
                symbols,
                interval,
                on_fault=policy,
                start=window[0],
                end=window[1],
                max_missing_fraction=max_missing,
            )
    names = [s for s in history.symbols if s not in assets]
    levels, vol_notes = load_vol(vol, names) if vol is not None else (None, ())
    rates, funding_notes = load_funding(funding, names) if funding is not None else (None, ())
    books = load_books(book, names) if book is not None else None
    last = ParameterSet.from_json(previous.read_text(encoding="utf-8")) if previous is not None else None
    return _Inputs(history, levels, rates, books, last, (*vol_notes, *funding_notes))


@contextmanager
def _progress() -> Iterator[Callable[[str, int], None]]:
    """A bar on standard error; each call ends a step and names the next; whole lines where it is no terminal."""
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=screen, disable=not screen.is_terminal) as bar:
        task = bar.add_task("calibrating", total=None)

        def step(text: str, total: int) -> None:
            bar.update(task, description=text, advance=1, total=total or None)
            if not screen.is_terminal:
                typer.echo(text, err=True)

        yield step
        bar.update(task, description="calibrated", completed=bar.tasks[0].total or 1)


def _plain(found: ParameterSet, out: Path, changed: Sequence[Difference]) -> dict[str, Any]:
    text = json.loads(found.to_json())
    return {
        "out": str(out),
        "content_hash": found.content_hash(),
        "parameters": {k: text[k] for k in ("global_parameters", "underlyings", "collaterals")},
        "certificate": text["certificate"],
        "provenance": text["provenance"],
        "gates": text["provenance"]["diagnostics"]["gates"],
        "warnings": text["provenance"]["diagnostics"]["warnings"],
        "difference": [item.plain() for item in changed],
    }


def _print(found: ParameterSet, out: Path, changed: Sequence[Difference], *, compared: bool) -> None:
    screen, diagnostics = console(), found.provenance.diagnostics
    made = table(
        "calibrated parameters", "underlying", "scan", "vol up", "vol down", "basis", "short vol", right=("scan",)
    )
    for symbol, item in found.underlyings.items():
        made.add_row(
            symbol,
            f"{item.scan_bps / 100:.2f} %",
            f"{item.vol_up_bps / 100:.0f} %",
            f"{item.vol_down_bps / 100:.0f} %",
            f"{item.basis_charge_bps / 100:.2f} %",
            f"{found.surfaces[symbol].short_vol:.1%}",
        )
    screen.print(made)
    if found.collaterals:
        cuts = table("haircuts", "collateral", "initial", "maintenance", right=("initial", "maintenance"))
        for name, lanes in found.collaterals.items():
            cuts.add_row(name, f"{lanes.haircut_im_bps / 100:.2f} %", f"{lanes.haircut_mm_bps / 100:.2f} %")
        screen.print(cuts)
    if found.certificate is not None:
        c = found.certificate
        screen.print(
            f"{c.scenarios} joint scenarios on {c.books:,} unseen books: ratio least {c.ratio_min:.3f}, "
            f"1 % {c.ratio_p01:.3f}, median {c.ratio_median:.3f}, 99 % {c.ratio_p99:.3f}, mean {c.ratio_mean:.3f}; "
            f"efficiency {c.efficiency:.3f}; seed {c.seed}",
            markup=False,
        )
    gates = table("gates", "gate", "value", "limit", "passed", "enforced", right=("value", "limit"))
    for name, gate in diagnostics["gates"].items():
        words = ("yes" if gate[key] else "no" for key in ("passed", "enforced"))
        gates.add_row(name, f"{gate['value']:.4g}", f"{gate['limit']:.4g}", *words)
    screen.print(gates)
    if compared:
        _print_changes(changed)
    for item in diagnostics["warnings"]:
        typer.echo(f"warning: {item['name']}: {item['subject']}: {item['text']}", err=True)
    screen.print(f"written to {out}, content {found.content_hash()}", markup=False)


def _print_changes(changed: Sequence[Difference]) -> None:
    made = table("changes since the last set", "field", "old", "new", "change", right=("old", "new", "change"))
    for item in changed:
        if not item.field.startswith(_SCENARIO):
            shown = "" if item.change is None else f"{item.change:+.2%}"
            made.add_row(item.field, _cell(item.old), _cell(item.new), shown)
    moved = sum(item.field.startswith(_SCENARIO) for item in changed)
    if moved:
        made.add_row("joint scenarios", "", f"{moved} differ", "")
    console().print(made if made.row_count else "nothing changed since the last set")


def _cell(value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
