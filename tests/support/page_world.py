# SPDX-License-Identifier: Apache-2.0
"""The population of the demonstration with a past and running auctions, and a real keeper process that serves its page.

The past is made by the demonstration's keeper in this process; the process under test then reads the same chain over
HTTP and the same database.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner

from keeper.cli import app
from keeper.demo.market import HOUR, synthetic_path
from keeper.demo.record import Journal
from keeper.demo.run import Play, _open_market
from keeper.demo.stage import Stage, build_stage
from tests.support.embedded_node import CHAIN_ID, over_http

START_S = 90.0
WAIT_S = 60.0
SEED = 1
KEY = "0123456789abcdef0123456789abcdef"  # as in the URL of a provider
MOVES = ((0.93, 6), (0.88, 20), (0.86, 1))  # share of the first price, and how often the keeper may turn then


@dataclass
class PageWorld:
    """A chain with a past, and what a keeper needs to find it."""

    folder: Path
    play: Play
    url: str
    prices: dict[int, float]

    @property
    def stage(self) -> Stage:
        return self.play.stage

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BALLAST_", "RPC_URL", "ETH_", "DATABASE_"))}
        return {
            **kept,
            f"RPC_URL_{CHAIN_ID}": f"{self.url}/key/{KEY}",
            "DATABASE_URL": f"sqlite:///{self.folder / 'keeper.sqlite'}",
            "BALLAST_MANIFEST": str(self.manifest),
            "BALLAST_CYCLE_INTERVAL_S": "1",
            "METRICS_PORT": "0",
            "NO_COLOR": "1",
        }

    @property
    def manifest(self) -> Path:
        return next(self.folder.glob("**/demo.json"))

    def ballast(self, *arguments: str) -> Any:
        """What the command line prints as JSON."""
        found = CliRunner().invoke(app, [*arguments, "--network", "demo", "--json"], env=self.environment)
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout)

    def move(self, underlying: int, share: float, moment: int = 0) -> None:
        """Set a price to a share of the first one, at a moment (unix s) or as soon after as the chain allows."""
        self.stage.set_price(underlying, self.prices[underlying] * share, moment)


@contextmanager
def page_world(folder: Path) -> Iterator[PageWorld]:
    """Deploy, let everybody trade, and let prices fall until auctions have ended and others run."""
    path = synthetic_path(SEED, int(time.time()) // HOUR * HOUR - 2 * HOUR)
    play = Play(path, build_stage(path, folder), Journal())
    _open_market(play, lambda _text, _done: None)
    prices = {k: float(price) for k, price in enumerate(path.past.close[-1])}
    with over_http(play.stage.web3) as url:
        world = PageWorld(folder, play, url, prices)
        for share, turns in MOVES:
            moment = int(time.time()) if (share, turns) == MOVES[-1] else 0
            for underlying in prices:
                world.move(underlying, share, moment)
            for _ in range(turns):
                if not play.turn():
                    break
                play.stage.pass_time(30)
        yield world


@dataclass
class KeeperPage:
    """A keeper process and the address of its page."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=headers, timeout=20)

    def json(self, path: str) -> Any:
        found = self.get(path)
        assert found.status_code == 200, found.text
        return found.json()

    def wait_for_block(self, number: int) -> Mapping[str, Any]:
        """The status once a turn of this block or a later one has ended."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            status: dict[str, Any] = self.json("api/status")
            if status["view"] is not None and status["view"]["block"] >= number:
                return status
            time.sleep(0.1)
        raise AssertionError(f"no turn of block {number} within {WAIT_S} s: {self.log.read_text()[-3_000:]}")


@contextmanager
def keeper_page(world: PageWorld, *arguments: str) -> Iterator[KeeperPage]:
    """``ballast keeper run --page`` as a process of its own, until it has ended a turn."""
    log = world.folder / "keeper.log"
    command = [sys.executable, "-m", "keeper", "keeper", "run", "--network", "demo", "--page", "--page-port", "0"]
    with log.open("a") as errors:
        process = subprocess.Popen(
            [*command, *arguments], cwd=world.folder, env=world.environment, stdout=subprocess.PIPE, stderr=errors,
            text=True,
        )  # fmt: skip
        try:
            yield _ready(process, log)
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _ready(process: subprocess.Popen[str], log: Path) -> KeeperPage:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("page: http://127.0.0.1:"), log.read_text()[-3_000:]
    page = KeeperPage(process, line.removeprefix("page: ").strip(), log)
    page.wait_for_block(1)
    return page
