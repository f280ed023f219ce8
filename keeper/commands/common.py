# SPDX-License-Identifier: Apache-2.0
"""What the commands share: options, settings, output and errors."""

from __future__ import annotations

import errno
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from keeper.app import Connection, connect
from keeper.deploy.manifest import load_manifest
from keeper.errors import ConfigError, Halt, KeeperError
from keeper.logging import configure, debugging, scrub, secret_texts
from keeper.settings import Settings, load_settings
from keeper.text import plain
from risk.errors import BadInput, RiskError

WAD = 10**18
WIDE = 140

ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file of the keeper's settings.")]
NetworkOption = Annotated[str | None, typer.Option("--network", help="Name of the network, and so of its manifest.")]
RpcOption = Annotated[str | None, typer.Option("--rpc-url", help="Endpoint, or a comma list of them.")]
ManifestOption = Annotated[
    Path | None, typer.Option("--manifest", help="Deployment manifest; default: deployments/<chain id>/<network>.json.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
ExecuteOption = Annotated[bool, typer.Option("--execute", help="Send transactions; without it nothing is sent.")]
ParamsOption = Annotated[Path | None, typer.Option("--params", help="Parameter set of 'ballast risk calibrate'.")]


class Friendly(TyperGroup):
    """A command group that ends an expected error with one sentence and its exit code, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (KeeperError, RiskError, OSError) as error:
            if debugging():
                raise
            sentence, code = explain_error(error)
            typer.echo(f"error: {scrub(sentence)}", err=True)
            raise typer.Exit(code) from None


def explain_error(error: Exception) -> tuple[str, int]:
    """(sentence, exit code) of an expected error."""
    text = " ".join(str(error).split())
    if isinstance(error, KeeperError):
        return text, error.exit_code
    if isinstance(error, BadInput):
        return text, ConfigError.exit_code
    if isinstance(error, OSError):
        full = error.errno == errno.ENOSPC
        remedy = "free disk space and run again" if full else "check the path and its permissions"
        where = f" '{error.filename}'" if error.filename else ""
        # A path that somebody named is a bad argument; a socket has no path.
        code = Halt.exit_code if full else ConfigError.exit_code if error.filename else 1
        return f"file{where} cannot be used ({error.strerror or text}); {remedy}", code
    return text, 1


def settings_from(
    config: Path | None, network: str | None, rpc_url: str | None, manifest: Path | None, **more: Any
) -> Settings:
    """Settings with what the command line says, and logging set up by them.

    The chain id may be left to the manifest: the one that is named, or the only one of the network's name.
    """
    settings = read_settings(config, network=network, rpc_url=rpc_url, manifest=manifest, **more)
    if settings.chain_id is None and settings.network not in settings.networks:
        path = settings.manifest or _only_manifest(settings.network)
        if path is not None:
            chain_id = load_manifest(path).chain_id
            settings = read_settings(config, network=network, rpc_url=rpc_url, manifest=path, chain_id=chain_id, **more)
    return settings


def read_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Settings, and logging set up by them: from here on no text shows a secret of theirs."""
    settings = load_settings(config, **overrides)
    configure(settings.log_level, settings.log_format, secrets=secret_texts(settings))
    return settings


def _only_manifest(network: str) -> Path | None:
    found = sorted(Path("deployments").glob(f"*/{network}.json"))
    return found[0] if len(found) == 1 else None


def open_chain(
    config: Path | None, network: str | None, rpc_url: str | None, manifest: Path | None, **more: Any
) -> Connection:
    """Connect to the chain of the options."""
    return connect(settings_from(config, network, rpc_url, manifest, **more))


def check_target(option: str, path: Path | None) -> None:
    """Refuse, before the work, an output file whose folder does not exist.

    Raises
    ------
    ConfigError
        Naming the option, the file and the folder to make.
    """
    if path is not None and (not path.parent.is_dir() or path.is_dir()):
        raise ConfigError(f"{option} {path} cannot be written; make the folder {path.parent}, and name a file in it")


def console() -> Console:
    """Standard output; wide where it is not a terminal, so that a pipe gets whole lines."""
    out = Console(markup=False)
    return out if out.is_terminal else Console(width=WIDE, markup=False)


class PlainTable(Table):
    """A table whose cells are text and nothing else: some quote what contracts and nodes have said."""

    def add_row(self, *cells: Any, **kwargs: Any) -> None:
        """Add a row."""
        super().add_row(*(plain(cell) if isinstance(cell, str) else cell for cell in cells), **kwargs)


def table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """Empty table with headed columns."""
    made = PlainTable(title=title)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def print_json(value: Any) -> None:
    """JSON on standard output; integers beyond 2**53 as text, so that no reader rounds them."""
    sys.stdout.write(json.dumps(exact(value), indent=1, sort_keys=True) + "\n")


def exact(value: Any) -> Any:
    """Value with integers that a float cannot hold turned into text."""
    if isinstance(value, dict):
        return {str(key): exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [exact(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return str(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return value


def usd(wad: int) -> str:
    """USD with two decimals and separators."""
    return f"{wad / WAD:,.2f}"


def write_text(path: Path, text: str) -> None:
    """Write a file whole, or leave the old one.

    Raises
    ------
    OSError
        The disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def moment(ts: int) -> str:
    """Unix seconds as ``2020-03-12T10:00:07Z``: in a crash the order within a minute matters."""
    return f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%dT%H:%M:%SZ}"
