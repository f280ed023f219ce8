# SPDX-License-Identifier: Apache-2.0
"""``ballast``: the command line of the keeper, the deployer and the risk model."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from keeper import __version__
from keeper.commands import (
    accounts,
    alerts,
    chain,
    cosign,
    daemon,
    database,
    demonstration,
    params,
    publication,
    risk,
    risk_explain,
    tables,
    testnet,
    transactions,
)
from keeper.commands.common import Friendly
from keeper.logging import configure, scrub

app = typer.Typer(
    cls=Friendly,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Portfolio margin on chain: deploy it, keep it, ask it.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ballast {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Portfolio margin on chain: deploy it, keep it, ask it."""


app.add_typer(daemon.app, name="keeper")
publication.register()
app.add_typer(params.app, name="params")
app.add_typer(tables.app, name="table")
app.add_typer(cosign.app, name="cosign")
app.add_typer(transactions.app, name="tx")
app.add_typer(alerts.app, name="alerts")
app.add_typer(database.app, name="db")
app.add_typer(testnet.app, name="testnet")
app.add_typer(chain.config_app, name="config")
risk.app.command("explain")(risk_explain.explain)
app.add_typer(risk.app, name="risk")
app.command()(chain.deploy)
app.command()(demonstration.demo)
app.command()(chain.doctor)
app.command("accounts")(accounts.accounts)
app.command("explain")(accounts.explain)


def main() -> None:
    """Entry point of the ``ballast`` script; a traceback, too, goes out without secrets."""
    configure()
    try:
        app()
    except Exception:  # noqa: BLE001  (the interpreter would print it with whatever it quotes)
        sys.stderr.write(scrub(traceback.format_exc()))
        sys.exit(1)
