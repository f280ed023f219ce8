# SPDX-License-Identifier: Apache-2.0
"""The reward for starting an auction, on a node whose blocks have a base fee: 600,000 gas at the base fee, in ether of
3,000 USD, at most the reserve of 10 USD, at most the equity that is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.conftest import start_anvil
from tests.support.auction_world import World
from tests.support.node_evm import NodeEvm
from tests.support.protocol import BTC, DAY, ETH, START, WAD

pytestmark = pytest.mark.node

GWEI = 10**9
# 600,000 gas * 1 gwei = 0.0006 ether = 1.80 USD
USD_PER_GWEI_WAD = 1_800_000_000_000_000_000


@pytest.fixture(scope="module")
def deployed(anvil_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    log = tmp_path_factory.mktemp("anvil") / "anvil.log"
    options = ("--auto-impersonate", "--hardfork", "prague", "--gas-limit", "200000000", "--timestamp", str(START - 1))
    for node in start_anvil(anvil_binary, log, *options):
        world = World(evm=NodeEvm(node.web3))
        world.long_btc()
        world.set_price(BTC, 39_000)
        yield world


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    with deployed.undone() as world:
        yield world
        world.evm.base_fee = world.evm.tip = 0


def reward(world: World, base_fee: int, tip: int = 0, start: str = "start") -> int:
    """What a start pays at a base fee, wad, by the event and by both accounts' cash."""
    before = world.cash_of(world.lender), world.cash_of(world.borrower)
    world.evm.base_fee, world.evm.tip = base_fee, tip
    scenario = () if start == "start" else (73,)
    world.auction.call(start, world.borrower, *scenario, world.lender, caller=world.stranger)
    assert world.evm.result.gas_price == base_fee + tip
    (event,) = world.events("LiquidationAuction", "AuctionStarted")
    world.evm.base_fee = world.evm.tip = 0
    paid: int = event["reward_wad"]
    assert (world.cash_of(world.lender), world.cash_of(world.borrower)) == (before[0] + paid, before[1] - paid)
    return paid


@pytest.mark.parametrize("start", ["start", "start_with"])
@pytest.mark.parametrize(("base_fee", "paid_wad"), [
    (0, 0),
    (1, 1_800_000_000),
    (GWEI, USD_PER_GWEI_WAD),
    (2 * GWEI + 7, 2 * USD_PER_GWEI_WAD + 7 * 1_800_000_000),
])  # fmt: skip
def test_gas_at_the_base_fee_is_paid(world: World, base_fee: int, paid_wad: int, start: str) -> None:
    assert reward(world, base_fee, start=start) == paid_wad


def test_a_tip_is_the_callers_own_affair(world: World) -> None:
    assert reward(world, GWEI, tip=50 * GWEI) == USD_PER_GWEI_WAD


@pytest.mark.parametrize(("base_fee", "paid_wad"), [
    (5_555_555_555, 9_999_999_999_000_000_000),
    (5_555_555_556, 10 * WAD),
    (500 * GWEI, 10 * WAD),
])  # fmt: skip
def test_never_more_than_the_reserve(world: World, base_fee: int, paid_wad: int) -> None:
    assert reward(world, base_fee) == paid_wad


@pytest.mark.parametrize(("base_fee", "paid_wad"), [(GWEI, USD_PER_GWEI_WAD), (2 * GWEI, 3 * WAD)])
def test_never_more_than_the_equity_that_is_left(world: World, base_fee: int, paid_wad: int) -> None:
    """One bitcoin bought at 60,000 with 30,000 of cash: at 30,003 three dollars are left."""
    world.set_price(BTC, 30_003)
    assert reward(world, base_fee) == paid_wad
    assert world.assess(world.borrower)["equity_mark"] == 3 * WAD - paid_wad


def test_nothing_of_an_account_without_equity(world: World) -> None:
    world.set_price(BTC, 29_999)
    assert reward(world, 100 * GWEI) == 0


def test_the_price_of_ether_counts_and_a_dead_one_pays_the_reserve(world: World) -> None:
    with world.undone():
        world.set_price(ETH, 2_500)
        assert reward(world, GWEI) == 600_000 * GWEI * 2_500
    with world.undone():
        # a hundred millionth of a dollar more: 1,500,000,000.006 wad, of which the account keeps the fraction
        world.feeds[ETH].call("set_answer", 2_500 * 10**8 + 1, world.now)
        assert reward(world, 1) == 1_500_000_000
    world.wait(DAY + 1)
    world.set_price(BTC, 39_000)
    assert world.oracle.call("price", 0, ETH)[1] == 2
    assert reward(world, GWEI) == 10 * WAD
