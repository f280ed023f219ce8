# SPDX-License-Identifier: Apache-2.0
"""Auctions of accounts that had been sold out never ended, and users stayed "being liquidated" (Derive's audit M01,
Drift #2122).

Here the bid that leaves nothing, or enough, ends the auction itself, and the account works again at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, LOTS, USD, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def sell_out(world: World, price: int) -> None:
    world.long_btc()
    world.set_price(BTC, price)
    world.start(world.borrower)


def test_an_insolvent_account_taken_whole(world: World) -> None:
    sell_out(world, 25_000)
    assert (world.auction.call("active_count"), world.auction.call("shortfall_wad")) == (1, 5_000 * WAD)
    world.buy(world.borrower, world.bidder)
    assert world.events("LiquidationAuction", "AuctionEnded") != []
    assert (world.auction.call("active_count"), world.auction.call("shortfall_wad")) == (0, 0)
    left = world.assess(world.borrower)
    assert (left["equity_mark"], left["mm"]) == (0, 0)
    with refused("auction: healthy"):
        world.start(world.borrower)
    with refused("auction: none"):
        world.tick(world.borrower)


def test_the_account_trades_again_and_may_close(world: World) -> None:
    sell_out(world, 25_000)
    world.buy(world.borrower, world.bidder)
    world.pay_in(world.borrower, 50_000 * USD)
    world.trade(BTC, world.borrower, world.maker, LOTS)
    world.trade(BTC, world.maker, world.borrower, LOTS)
    owner = world.owners[world.borrower]
    world.withdraw(world.borrower, world.cash, 2**256 - 1, owner)
    world.accounts.call("close_account", world.borrower, caller=owner)


def test_in_slices(world: World) -> None:
    sell_out(world, 25_000)
    for _ in range(3):
        world.buy(world.borrower, world.bidder, WAD // 3)
    assert world.running(world.borrower)["phase"] == 2
    world.buy(world.borrower, world.bidder)
    assert world.running(world.borrower)["phase"] == 0
    assert world.assess(world.borrower)["mm"] == 0
    assert world.auction.call("shortfall_wad") == 0


def test_a_solvent_account_sold_to_its_target(world: World) -> None:
    sell_out(world, 39_000)
    world.buy(world.borrower, world.bidder)
    assert world.auction.call("active_count") == 0
    left = world.assess(world.borrower)
    assert left["equity_mm"] * 100 >= left["mm"] * 110
