# SPDX-License-Identifier: Apache-2.0
"""scripts/minimal_liquidator.py as a stranger runs it: a process, a node, a manifest, and the files in abi/."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from eth_account import Account
from web3 import Web3

from tests.node.conftest import FIRST_KEY, ROOT, start_anvil
from tests.support.auction_world import World
from tests.support.node_evm import NodeEvm
from tests.support.protocol import BTC, START, USD, WAD

pytestmark = pytest.mark.node
SCRIPT = ROOT / "scripts" / "minimal_liquidator.py"


@dataclass
class Desk:
    """A world with a borrower below maintenance margin, and how the bot is told of it."""

    world: World
    url: str
    manifest: Path
    account: int

    def run(self, *options: str, key: str = FIRST_KEY) -> subprocess.CompletedProcess[str]:
        """One look of the bot."""
        command = [sys.executable, str(SCRIPT), "--rpc", self.url, "--manifest", str(self.manifest), "--once"]
        given = options if "--account" in options else ("--account", str(self.account), *options)
        environment = {"PATH": os.environ["PATH"], "PRIVATE_KEY": key}
        return subprocess.run(
            [*command, *given], capture_output=True, text=True, timeout=120, check=False, env=environment
        )


@pytest.fixture(scope="module")
def desk(anvil_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("liquidator")
    options = ("--auto-impersonate", "--hardfork", "prague", "--gas-limit", "200000000", "--timestamp", str(START - 1))
    for node in start_anvil(anvil_binary, folder / "anvil.log", *options):
        world = World(evm=NodeEvm(node.web3))
        world.long_btc()
        account = world.open_account(Account.from_key(FIRST_KEY).address)
        world.pay_in(account, 1_000_000 * USD)
        contracts = {"MarginAccounts": world.accounts, "MarginLens": world.lens, "LiquidationAuction": world.auction}
        manifest = folder / "manifest.json"
        addresses = {
            name: {"address": Web3.to_checksum_address(contract.address)} for name, contract in contracts.items()
        }
        manifest.write_text(json.dumps({"chain_id": node.web3.eth.chain_id, "contracts": addresses}))
        yield Desk(world, node.url, manifest, account)


def test_it_starts_waits_and_takes_what_pays(desk: Desk) -> None:
    world = desk.world
    with world.undone():
        quiet = desk.run("--execute")
        assert quiet.returncode == 0, quiet.stderr
        assert "start" not in quiet.stdout  # everybody is healthy
        world.set_price(BTC, 36_000)
        dry = desk.run()
        assert f"start {world.borrower}: would be sent" in dry.stdout
        assert world.running(world.borrower)["phase"] == 0
        first = desk.run("--execute", "--min-profit", "2000")
        assert f"start {world.borrower}: done" in first.stdout and "profit before gas" in first.stdout
        assert world.running(world.borrower)["phase"] == 1
        world.watch(world.borrower, 1_800)
        second = desk.run("--execute", "--min-profit", "100")
        assert f"bid for {world.borrower}: done" in second.stdout, second.stdout + second.stderr
        assert world.lots(desk.account, BTC << 8 | 255) > 0
        assert world.health(world.borrower) > 0


def test_a_clock_that_would_lose_time_is_recorded_and_a_cured_auction_ended(desk: Desk) -> None:
    world = desk.world
    with world.undone():
        world.set_price(BTC, 36_000)
        desk.run("--execute", "--min-profit", "100000")
        world.wait(800)
        world.refresh()
        assert f"tick {world.borrower}: done" in desk.run("--execute", "--min-profit", "100000").stdout
        assert world.running(world.borrower)["solvent_s"] >= 800
        world.pay_in(world.borrower, 50_000 * USD)
        assert f"end {world.borrower}: done" in desk.run("--execute").stdout
        assert world.running(world.borrower)["phase"] == 0


def test_what_is_wrong_is_said_before_anything_is_done(desk: Desk) -> None:
    assert "belongs to" in desk.run("--account", str(desk.world.lender)).stderr
    assert "set PRIVATE_KEY" in desk.run(key="").stderr
    other = desk.manifest.with_name("other.json")
    other.write_text(desk.manifest.read_text().replace("31337", "1"))
    wrong = Desk(desk.world, desk.url, other, desk.account).run()
    assert wrong.returncode != 0 and "the manifest is of 1" in wrong.stderr
    assert desk.world.cash_of(desk.account) == 1_000_000 * WAD
