# SPDX-License-Identifier: Apache-2.0
"""``ballast risk``: the risk model on its own, without any chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keeper.commands.common import JsonOption, console, print_json, table
from keeper.commands.risk_adaptive import adaptive
from keeper.commands.risk_backtest import command as backtest
from keeper.commands.risk_calibrate import calibrate
from keeper.commands.risk_replay import replay
from risk.methodologies import METHODOLOGIES
from risk.methodologies.cases import run_case
from risk.types import ParameterSet

app = typer.Typer(no_args_is_help=True, help="The risk model on its own.")


@app.callback()
def root() -> None:
    """The risk model on its own."""


app.command()(calibrate)
app.command()(adaptive)
app.command("backtest")(backtest)
app.command()(replay)


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
