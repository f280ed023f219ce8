# SPDX-License-Identifier: Apache-2.0
"""``ballast risk``: calibrate parameters from price files, without any chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from keeper.commands.common import JsonOption, console, print_json, table, write_text
from keeper.commands.risk_adaptive import adaptive
from keeper.errors import ConfigError
from risk.calibrate import calibrate as run_calibration
from risk.config import CalibrationConfig
from risk.haircuts import CollateralSpec
from risk.market import load_prices
from risk.methodologies import METHODOLOGIES
from risk.methodologies.cases import run_case
from risk.types import ParameterSet

app = typer.Typer(no_args_is_help=True, help="The risk model on its own.")
app.command()(adaptive)


@app.callback()
def root() -> None:
    """The risk model on its own."""


@app.command()
def calibrate(
    prices: Annotated[
        Path,
        typer.Option(
            "--prices", help="Folder of <BASE><QUOTE>_<interval>.csv[.gz] files; columns ts,open,high,low,close,volume."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Where to write the parameter set.")],
    symbols: Annotated[str | None, typer.Option("--symbols", help="Comma list; default: all that are found.")] = None,
    interval: Annotated[str, typer.Option("--interval", help="Bar length, such as 1h.")] = "1h",
    collateral: Annotated[
        list[str] | None, typer.Option("--collateral", help="NAME or NAME=LINKED_UNDERLYING; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller samples, as the keeper takes them.")] = False,
    faults: Annotated[str, typer.Option("--on-fault", help="A row that cannot be used: raise, or drop it.")] = "raise",
) -> None:
    """History to parameter set: scan ranges, shocks, haircuts, joint scenarios with their certificate."""
    policy: Literal["raise", "drop"] = "drop" if faults == "drop" else "raise"
    if faults not in {"raise", "drop"}:
        raise ConfigError(f"--on-fault {faults} is neither raise nor drop; choose one")
    chosen = [name.strip() for name in symbols.split(",")] if symbols else None
    history = load_prices(prices, chosen, interval, on_fault=policy)
    specs = tuple(_spec(text) for text in collateral or ())
    config = CalibrationConfig.quick(collaterals=specs) if quick else CalibrationConfig(collaterals=specs)
    found = run_calibration(
        history, config, np.random.default_rng(seed), progress=lambda text: typer.echo(text, err=True)
    )
    write_text(out, found.to_json() + "\n")
    _print(found, out)


@app.command()
def margin(
    case: Annotated[Path, typer.Option("--case", help="JSON file: one account and one market; or a case of Derive's.")],
    methodology: Annotated[
        str, typer.Option("--methodology", help="One of " + ", ".join(sorted(METHODOLOGIES)))
    ] = "ballast",
    parameters: Annotated[Path | None, typer.Option("--parameters", help="Calibrated set, for ballast.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Margin of one account under a methodology: Ballast's own or a peer's."""
    chosen = ParameterSet.from_json(parameters.read_text(encoding="utf-8")) if parameters else None
    found = run_case(methodology, case, chosen)
    if as_json:
        print_json(found.plain())
        return
    screen = console()
    screen.print(f"{methodology}: initial {found.im:,.2f} USD, maintenance {found.mm:,.2f} USD", markup=False)
    made = table(f"scenarios, account worth {found.equity:,.2f} USD", "scenario", "profit", right=("profit",))
    for item in sorted(found.scenarios, key=lambda item: item.profit):
        made.add_row(item.name, f"{item.profit:,.2f}")
    screen.print(made)


def _spec(text: str) -> CollateralSpec:
    name, _, linked = text.partition("=")
    return CollateralSpec(name, linked or None)


def _print(found: ParameterSet, out: Path) -> None:
    made = table("calibrated parameters", "underlying", "scan", "vol up", "vol down", "short vol", right=("scan",))
    for symbol, item in found.underlyings.items():
        made.add_row(
            symbol,
            f"{item.scan_bps / 100:.2f} %",
            f"{item.vol_up_bps / 100:.0f} %",
            f"{item.vol_down_bps / 100:.0f} %",
            f"{found.surfaces[symbol].short_vol:.1%}",
        )
    screen = console()
    screen.print(made)
    gates = json.dumps(found.provenance.diagnostics.get("gates", {}))
    screen.print(f"gates: {gates}", markup=False)
    screen.print(f"written to {out}, content {found.content_hash()}", markup=False)
