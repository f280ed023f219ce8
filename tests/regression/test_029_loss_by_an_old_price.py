# SPDX-License-Identifier: Apache-2.0
"""The insurance fund paid for losses that only a dead price showed.

Found by review, before any deployment. Bids are never stopped, so a bidder who knew that the market had come back
took an account with equity, and was paid by the fund what a feed that had died at the bottom said it lacked. While
old data leaves open whether the account is short at all, nobody is paid: who believes that it is worth something
takes it for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import BTC, DAY, USD, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


@pytest.fixture
def doubtful(world: World) -> World:
    """Lost by 5,000 USD when the feed died."""
    world.long_btc()
    world.set_price(BTC, 25_000)
    world.start(world.borrower)
    world.watch(world.borrower, 900)
    world.oracle.call("record", 0, BTC)
    world.wait(DAY + 1)
    found = world.assess(world.borrower)
    assert found["equity_mark"] == -5_000 * WAD
    assert found["equity_mm"] + found["doubt"] >= found["mm"]
    return world


def test_the_fund_pays_nothing_while_in_doubt(doubtful: World) -> None:
    world = doubtful
    before = world.fund.call("totalAssets")
    quote = world.preview(world.borrower)
    assert (quote["phase"], quote["fraction_wad"], quote["price_wad"]) == (2, WAD, 0)
    assert world.buy(world.borrower, world.bidder, max_price=0) == (WAD, 0)
    assert world.fund.call("totalAssets") == before


def test_it_pays_again_when_the_price_lives(doubtful: World) -> None:
    world = doubtful
    world.refresh()
    before = world.fund.call("totalAssets")
    _, price = world.buy(world.borrower, world.bidder)
    assert price < -5_000 * WAD
    assert before - world.fund.call("totalAssets") == -(price // 10**12)


def test_what_is_lost_whatever_the_old_price_hides_is_paid_for(world: World) -> None:
    """A grain of dead gold beside a loss in bitcoin."""
    world.deposit(world.borrower, world.tokens[2], 10**6, world.owners[world.borrower])
    world.long_btc()
    world.oracle.call("record", 1, 2)
    world.wait(DAY + 1)
    world.set_price(BTC, 25_000)
    world.start(world.borrower)
    _, price = world.buy(world.borrower, world.bidder)
    assert abs(price + 5_000 * WAD) < USD * 10**12
