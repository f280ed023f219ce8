# SPDX-License-Identifier: Apache-2.0
"""The service, a process of its own, loses its node: it says so in one sentence a cycle and never shows the key."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from keeper.deploy.config import load_config
from keeper.deploy.config_market import Options
from keeper.deploy.execute import Waiting, execute
from keeper.deploy.manifest import ManifestFile
from keeper.deploy.plan import make_plan
from keeper.tx.signer import LocalSigner
from tests.node.conftest import FIRST_KEY, Anvil

pytestmark = pytest.mark.node

ROOT = Path(__file__).resolve().parents[2]
API_KEY = "SECRETAPIKEY"
FAILED = "did not get through"
TIMEOUT_S = 60.0


@dataclass
class Running:
    """A keeper that runs, and the file of all it prints."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def said(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str, times: int = 1) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while self.said.count(text) < times:
            assert self.process.poll() is None and time.monotonic() < deadline, self.said[-3_000:]
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)


class Gateway(ThreadingHTTPServer):
    """A provider in front of the node: who does not call the path with the key is refused. Anvil has no such path."""

    def __init__(self, node: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the base class prescribes this name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                known = self.path == f"/v3/{API_KEY}"
                answer = requests.post(node, data=body, headers={"Content-Type": "application/json"}, timeout=10)
                self.send_response(200 if known else 401)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(answer.content if known else b"{}")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
                """Silent."""

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v3/{API_KEY}"

    def drop(self) -> None:
        self.shutdown()
        self.server_close()


@pytest.fixture
def gateway(anvil: Anvil) -> Iterator[Gateway]:
    made = Gateway(anvil.url)
    yield made
    made.drop()


@pytest.fixture
def manifest(anvil: Anvil, deployer: LocalSigner, tmp_path: Path) -> Path:
    full = load_config(ROOT / "config" / "local.toml")
    options = Options(expiry_days=(7,), strikes_percent=(Decimal(100),))
    few = tuple(item.model_copy(update={"options": options}) for item in full.underlyings)
    plan = make_plan(full.model_copy(update={"underlyings": few}), anvil.rpc, deployer.address)
    path = tmp_path / "deployments" / "31337" / "local.json"
    execute(plan, anvil.rpc, deployer, ManifestFile(path), waiting=Waiting(timeout_s=20.0, poll_s=0.02))
    return path


@pytest.fixture(params=["plain", "json", "debug"])
def keeper(gateway: Gateway, manifest: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    """The service with a private key and an endpoint whose path is a key."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RPC_URL_31337": gateway.url,
        "PRIVATE_KEY": FIRST_KEY,
        "BALLAST_CYCLE_INTERVAL_S": "0.5",
        "METRICS_PORT": "0",
        "LOG_FORMAT": "json" if request.param == "json" else "plain",
    }
    if request.param == "debug":
        environment |= {"BALLAST_DEBUG": "1", "LOG_LEVEL": "DEBUG"}
    output = tmp_path / "output.txt"
    command = [sys.executable, "-m", "keeper", "keeper", "run", "--network", "local", "--manifest", str(manifest)]
    with output.open("wb") as stream:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        running = Running(process, output)
        try:
            yield running
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def test_a_dropped_node(gateway: Gateway, keeper: Running, request: pytest.FixtureRequest) -> None:
    debug = request.node.callspec.params["keeper"] == "debug"
    keeper.wait_for("cycle")
    before = len(keeper.said.splitlines())
    gateway.drop()
    keeper.wait_for(FAILED, times=3)
    if debug:  # the first failure may be a cut line; urllib3 quotes the URL when nobody listens
        keeper.wait_for("url: [hidden]")
    keeper.stop()
    said = keeper.said
    assert keeper.process.returncode == 0
    assert API_KEY not in said and FIRST_KEY[2:] not in said
    assert "127.0.0.1:" in said and "check the network and the endpoint" in said
    assert ("Traceback" in said) is debug
    if debug:
        return
    after = [line for line in said.splitlines()[before:] if FAILED in line]
    told = [line for line in said.splitlines()[before:] if FAILED not in line]
    assert len(after) >= 3
    # nothing beside the sentences but what was under way when the node went, and the end
    expected = ("signal", "stopping", "result", "endpoint answers again", "keeper stopped")
    assert all(any(word in line for word in expected) for line in told), told


@pytest.mark.parametrize("keeper", ["plain"], indirect=True)
def test_a_node_that_was_reset(anvil: Anvil, keeper: Running) -> None:
    """Its code is gone: the service says what to do, in a sentence a cycle."""
    keeper.wait_for("cycle  ")
    anvil.web3.provider.make_request("anvil_reset", [])  # type: ignore[arg-type]
    keeper.wait_for("if the node was reset")
    keeper.stop()
    assert "Traceback" not in keeper.said and "deploy again under another network name" in keeper.said
