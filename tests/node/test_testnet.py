# SPDX-License-Identifier: Apache-2.0
"""``ballast testnet``: up, a crash that liquidates, Ctrl-C, and up again where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from web3 import HTTPProvider, Web3

from keeper.artifacts import load
from tests.node.conftest import free_port

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("march")]
PATIENCE_S = 240.0


class Terminal:
    """A person at a terminal, in an empty folder."""

    def __init__(self, folder: Path, anvil: Path) -> None:
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "ANVIL": str(anvil), "NO_COLOR": "1"}
        if "PYTHONPATH" in os.environ:
            self.environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> dict[str, Any]:
        """``ballast testnet up`` with few people and a quick market; returns what it says once it is ready."""
        command = [sys.executable, "-m", "keeper", "testnet", "up", "--folder", "net", "--people", "4", "--speed", "10"]
        with (self.folder / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(free_port())], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        file = self.folder / "net" / "running.json"
        self.wait(file.exists, "the testnet to be up")
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    def run(self, *arguments: str) -> str:
        """Another command."""
        command = [sys.executable, "-m", "keeper", "testnet", *arguments, "--folder", "net"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def wait(self, done: Callable[[], object], what: str) -> None:
        """Wait for something, and for nothing when the testnet has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert self.process is not None and self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}\n{self.log()}"
            time.sleep(0.2)

    def log(self) -> str:
        logs = [self.folder / "up.log", self.folder / "net" / "keeper.log"]
        return "\n".join(file.read_text(errors="replace")[-2_000:] for file in logs if file.exists())

    def interrupt(self) -> None:
        """Ctrl-C."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0, self.log()


@pytest.fixture
def terminal(anvil_binary: Path, tmp_path: Path) -> Any:
    found = Terminal(tmp_path, anvil_binary)
    yield found
    if found.process is not None and found.process.poll() is None:
        found.process.terminate()
        found.process.wait(60)


def test_up_crash_down_and_up_again(terminal: Terminal) -> None:
    running = terminal.start()
    web3 = Web3(HTTPProvider(running["rpc_url"]))
    auction = web3.eth.contract(running["contracts"]["LiquidationAuction"], abi=load("LiquidationAuction").abi)
    assert json.loads(terminal.run("status", "--json")) == running
    assert auction.functions.active_count().call() == 0
    terminal.wait(lambda: answers(running["page_url"]), "the page")
    terminal.run("crash", "--size", "0.6", "--seconds", "5")
    terminal.wait(lambda: auction.events.AuctionStarted().get_logs(from_block=0), "an auction")
    terminal.wait(lambda: auction.events.BidMade().get_logs(from_block=0), "a bid")
    started = {log["args"]["account"] for log in auction.events.AuctionStarted().get_logs(from_block=0)}
    terminal.interrupt()
    assert not web3.is_connected() and not answers(running["page_url"])
    again = terminal.start()
    assert again["contracts"] == running["contracts"]
    resumed = Web3(HTTPProvider(again["rpc_url"]))
    later = resumed.eth.contract(running["contracts"]["LiquidationAuction"], abi=load("LiquidationAuction").abi)
    assert [later.functions.auction_of(a).call()[4] for a in started] == [1] * len(started)  # what was is still there
    head = resumed.eth.block_number
    terminal.wait(lambda: resumed.eth.block_number > head + 2, "blocks")
    terminal.interrupt()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False
