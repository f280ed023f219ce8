# SPDX-License-Identifier: Apache-2.0
"""``ballast db``: upgrade, current, check, backup, prune."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from keeper.commands.common import ConfigOption, JsonOption, NetworkOption, print_json, read_settings
from keeper.errors import Permanent
from keeper.store import Store, open_store, upkeep

app = typer.Typer(no_args_is_help=True, help="The keeper's database.")


@app.callback()
def root() -> None:
    """The keeper's database."""


@contextmanager
def opened(config: Path | None, network: str | None, *, migrate: bool) -> Iterator[Store]:
    """The database of the settings, closed at the end."""
    store = open_store(read_settings(config, network=network).database_url.get_secret_value(), migrate=migrate)
    try:
        yield store
    finally:
        store.close()


@app.command()
def upgrade(config: ConfigOption = None, network: NetworkOption = None) -> None:
    """Bring the database to the newest schema; the keeper does so, too, when it starts."""
    with opened(config, network, migrate=True) as store:
        typer.echo(f"{store.name} is at the newest schema")


@app.command()
def current(config: ConfigOption = None, network: NetworkOption = None, as_json: JsonOption = False) -> None:
    """Show which schema the database has, without changing it."""
    with opened(config, network, migrate=False) as store:
        found = upkeep.revision(store)
        name = store.name
    if as_json:
        print_json({"database": name, "revision": found.found, "newest": found.newest})
        return
    state = "the newest" if found.is_newest else f"the newest is {found.newest}: run 'ballast db upgrade'"
    typer.echo(f"{name} is at revision {found.found or 'none'}, {state}")


@app.command()
def check(config: ConfigOption = None, network: NetworkOption = None, as_json: JsonOption = False) -> None:
    """Look for damage: the database's own check, missing tables, rows that contradict each other. Exit 1 if any."""
    with opened(config, network, migrate=False) as store:
        problems = upkeep.check(store)
        name = store.name
    if as_json:
        print_json({"database": name, "ok": not problems, "problems": list(problems)})
        if problems:
            raise typer.Exit(Permanent.exit_code)
        return
    if problems:
        raise Permanent(f"{name}: {'; '.join(problems)}")
    typer.echo(f"{name} is sound")


@app.command()
def backup(
    target: Annotated[Path | None, typer.Argument(help="File to write; default: beside the working folder.")] = None,
    config: ConfigOption = None,
    network: NetworkOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a SQLite database while the keeper runs; for PostgreSQL, say the command of pg_dump."""
    with opened(config, network, migrate=False) as store:
        ending = "dump" if store.is_postgresql else "sqlite"
        chosen = target or Path(f"ballast-keeper-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{ending}")
        if store.is_postgresql:
            command = upkeep.dump_command(store, chosen)
            if as_json:
                print_json({"database": store.name, "command": command})
            else:
                typer.echo(command)
            return
        bar = Progress(
            TextColumn("copying pages"), BarColumn(), TextColumn("{task.completed} of {task.total}"),
            TimeRemainingColumn(), console=Console(stderr=True), transient=True,
        )  # fmt: skip
        with bar:
            task = bar.add_task("copy", total=None)
            size = upkeep.backup(store, chosen, lambda done, total: bar.update(task, completed=done, total=total))
        if as_json:
            print_json({"database": store.name, "file": str(chosen), "bytes": size})
        else:
            typer.echo(f"{store.name} is copied to {chosen} ({size} bytes)")


@app.command()
def prune(
    days: Annotated[int, typer.Option(min=1, help="Cycles that are older are forgotten.")] = 30,
    config: ConfigOption = None,
    network: NetworkOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget records of old cycles. The journal and the events are kept whole."""
    with opened(config, network, migrate=True) as store:
        gone = upkeep.prune(store, int(time.time()) - days * upkeep.DAY_S)
        name = store.name
    if as_json:
        print_json({"database": name, "cycles": gone})
    else:
        typer.echo(f"{gone} cycles older than {days} days are forgotten in {name}")
