# SPDX-License-Identifier: Apache-2.0
"""The price of an auction fell while the chain's sequencer was down, and the first block after sold the account for
next to nothing (Arcadia #60, accepted there). Aave v3.7 in turn removed its sentinel, as false alarms kept
liquidations from happening.

Here the clock counts time that somebody watched while the sequencer was up for its grace period, and bids are never
stopped.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import BTC, HOUR, WAD
from tests.support.revm import deploy


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def short(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 39_000)
    world.start(world.borrower)


def test_down_and_in_its_grace_period_the_clock_stands_still(world: World) -> None:
    uptime = deploy(world.evm, "contracts/testing/MockAggregator.vy", 0, 0)
    watcher = deploy(world.evm, "contracts/PriceOracle.vy", world.governance, uptime.address, HOUR)
    world.auction = deploy(
        world.evm, "contracts/LiquidationAuction.vy", world.governance, world.accounts.address, world.engine.address,
        world.fund.address, world.parameters.address, watcher.address, 255,
    )  # fmt: skip
    world.govern(world.accounts, "set_auction", world.auction.address)
    world.govern(world.fund, "set_auction", world.auction.address)
    world.wait(2 * HOUR)
    world.refresh()
    short(world)
    world.watch(world.borrower, 300)
    assert world.running(world.borrower)["solvent_s"] == 300
    uptime.call("set_answer", 1, world.now)
    world.watch(world.borrower, HOUR)
    assert world.running(world.borrower)["solvent_s"] == 300
    with world.undone():
        world.buy(world.borrower, world.bidder)
    uptime.call("set_answer", 0, world.now)
    world.watch(world.borrower, HOUR - 1)
    assert world.running(world.borrower)["solvent_s"] == 300
    world.watch(world.borrower, 61)
    assert world.running(world.borrower)["solvent_s"] == 361


def test_an_outage_costs_one_tick_at_the_most(world: World) -> None:
    short(world)
    world.wait(5 * HOUR)  # no block, so nobody could act, and no feed written
    world.refresh()
    world.tick(world.borrower)
    running = world.running(world.borrower)
    assert running["solvent_s"] == 15 * 60
    assert world.preview(world.borrower)["discount_bps"] == 2_000


def test_two_ticks_count_the_time_once(world: World) -> None:
    short(world)
    world.wait(600)
    for _ in range(5):
        world.tick(world.borrower)
    assert world.running(world.borrower)["solvent_s"] == 600
    for _ in range(60):
        world.wait(1)
        world.tick(world.borrower)
    assert world.running(world.borrower)["solvent_s"] == 660


def test_a_bid_in_the_first_block_after(world: World) -> None:
    short(world)
    world.wait(5 * HOUR)
    world.refresh()
    assert world.buy(world.borrower, world.bidder, WAD // 10)[0] == WAD // 10
