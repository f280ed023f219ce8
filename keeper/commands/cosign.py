# SPDX-License-Identifier: Apache-2.0
"""``ballast cosign``: answer other publishers without running a keeper."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from keeper.app import Connection, connect
from keeper.commands.common import ConfigOption, ManifestOption, NetworkOption, ParamsOption, RpcOption, open_chain
from keeper.commands.params import read_target
from keeper.cosign.wire import server_of
from keeper.errors import ConfigError, KeeperError
from keeper.publish.signing import Publisher
from keeper.store import open_store
from keeper.tx.signer import load_signer
from risk.errors import RiskError
from risk.types import ParameterSet

app = typer.Typer(no_args_is_help=True, help="Sign other publishers' tables that this one would have made alike.")


@app.callback()
def root() -> None:
    """Sign other publishers' tables that this one would have made alike."""


@app.command()
def serve(
    config: ConfigOption = None,
    network: NetworkOption = None,
    rpc_url: RpcOption = None,
    manifest: ManifestOption = None,
    params: ParamsOption = None,
    prices: Annotated[Path | None, typer.Option("--prices", help="Folder of price files to calibrate on.")] = None,
) -> None:
    """Judge and sign on cosign.host and cosign.port until it is told to stop; sends nothing."""
    connection = open_chain(config, network, rpc_url, manifest, prices_dir=prices)
    settings = connection.settings
    publisher = Publisher(load_signer(settings), connection.chain.chain_id, connection.manifest.addresses["RiskTable"])
    wanted = Wanted(connection, params)
    wanted.refresh()
    store = open_store(settings.database_url.get_secret_value())
    server = server_of(settings, connection.chain, store, publisher, lambda: wanted.target)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    server.start()
    typer.echo(f"{publisher.signer.address} signs on {settings.cosign.host}:{server.port}", err=True)
    try:
        while not stopped.wait(settings.publisher.calibrate_s if params is None else None):
            wanted.refresh()
    finally:
        server.stop()
        store.close()


class Wanted:
    """What this publisher would publish from; kept where it cannot be renewed."""

    def __init__(self, connection: Connection, params: Path | None) -> None:
        self.target: ParameterSet | None = None
        # beside the service's own client: two threads share none
        self._connection = connect(connection.settings)
        self._params = params

    def refresh(self) -> None:
        """Calibrate again, or read the file.

        Raises
        ------
        ConfigError
            There is neither file nor price history.
        """
        try:
            snapshot = self._connection.chain.snapshot(accounts=())
            self.target = read_target(self._connection, snapshot, self._params, None)
        except ConfigError:
            raise
        except (KeeperError, RiskError) as error:
            if self.target is None:
                raise
            typer.echo(f"the calibration before stays in force: {error}", err=True)
