# SPDX-License-Identifier: Apache-2.0
"""Publishers of one deployed protocol, each with a key, a database, a calibration and, where it serves, a process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from eth_account import Account
from typer.testing import CliRunner, Result

from keeper.cli import app
from risk.types import ParameterSet, SmileModel, UnderlyingParameters
from tests.support.embedded_node import GENESIS, Node
from tests.support.keeper_world import ETH_LANES, joint, target
from tests.support.shared import ROOT

START_S = 60.0


def wanted(vol: float = 0.6, carry: float = 0.0) -> ParameterSet:
    """A calibration of the two underlyings of ``config/local.toml``."""
    lanes: dict[str, UnderlyingParameters] = {"BTC": ETH_LANES, "ETH": ETH_LANES}
    return target(
        underlyings=lanes,
        surfaces={symbol: SmileModel(vol, vol, 2.0, -0.2, 0.9, carry_rate=carry) for symbol in lanes},
        joint=joint([[-100, -110]], [[90, 80]]),
        joint_underlyings=("BTC", "ETH"),
        provenance=replace(target().provenance, observed_at=GENESIS),
    )


@dataclass
class Member:
    """One publisher: its files are in ``folder``."""

    node: Node
    folder: Path
    key: bytes

    @property
    def address(self) -> str:
        return str(Account.from_key(self.key).address)

    def write(self, peers: Sequence[tuple[str, str]], want: ParameterSet, **settings: Any) -> None:
        """Its configuration: peers are (url, signer)."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "params.json").write_text(want.to_json())
        lines = ["[cosign]", "port = 0", *(f"{name} = {value}" for name, value in settings.items())]
        for url, signer in peers:
            lines += ["[[cosign.peers]]", f'url = "{url}"', f'signer = "{signer}"']
        (self.folder / "ballast.toml").write_text("\n".join(lines) + "\n")

    @property
    def options(self) -> list[str]:
        return [
            "--config", str(self.folder / "ballast.toml"), "--manifest", str(self.node.manifest_path),
            "--rpc-url", self.node.url, "--params", str(self.folder / "params.json"),
        ]  # fmt: skip

    @property
    def overrides(self) -> dict[str, Any]:
        """The same for `keeper.settings.load_settings`."""
        node = self.node
        return {"manifest": node.manifest_path, "rpc_url": node.url, "chain_id": node.manifest.chain_id}

    @property
    def env(self) -> dict[str, str]:
        return {
            "DATABASE_URL": f"sqlite:///{self.folder / 'k.sqlite'}",
            "PRIVATE_KEY": "0x" + self.key.hex(),
            "BALLAST_FEES__MAX_FEE_GWEI": "500",
            "LOG_LEVEL": "INFO",
            "COLUMNS": "200",
        }

    def publish(self, *more: str) -> Result:
        """``ballast table publish``."""
        return CliRunner().invoke(app, ["table", "publish", "--json", *self.options, *more], env=self.env)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """``ballast cosign serve`` in a process of its own; the URL it answers at."""
        log = self.folder / "cosign.log"
        command = [sys.executable, "-m", "keeper", "cosign", "serve", *self.options]
        env = {**os.environ, **self.env, "PYTHONPATH": str(ROOT)}
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env, cwd=self.folder)
            try:
                yield self._url(process, log)
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=30) == 0, log.read_text()
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def _url(self, process: subprocess.Popen[bytes], log: Path) -> str:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            found = re.search(r"signs on 127\.0\.0\.1:(\d+)", log.read_text())
            if found:
                return f"http://127.0.0.1:{found[1]}"
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        raise AssertionError(f"the service did not start: {log.read_text()}")


@contextmanager
def answering(answer: Callable[[dict[str, Any]], tuple[int, bytes]]) -> Iterator[str]:
    """A peer that says whatever the test wants."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
