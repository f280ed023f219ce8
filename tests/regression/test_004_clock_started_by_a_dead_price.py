# SPDX-License-Identifier: Apache-2.0
"""A dead feed started the auction of a healthy account, and the discount grew until the feed was back.

Found by review, before any deployment. ``start_with`` took the last recorded price of a dead feed for a proof. Bids
wait for the feed, the clock did not: after thirteen hours an account between maintenance margin and the end buffer,
never below maintenance margin at a living price, was past the solvent phase and went to the first bidder for
nothing.

Later (Exactly #794 and Sentiment's feeds say the same of others): nothing starts on what old data says, and the
clock of what runs already stands still while old data leaves open whether the account is short at all.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, DAY


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


DOWN = 64 + 9  # scan point: base volatility, all of the scan range down


def test_a_dead_price_proves_nothing(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 39_000)
    world.oracle.call("record", 0, BTC)  # the record is anybody's to make
    world.set_price(BTC, 40_000)
    world.wait(DAY + 1)
    with refused("engine: doubt"):
        world.auction.call("start_with", world.borrower, DOWN, 0)
    with refused("auction: data too old"):
        world.start(world.borrower)
    assert world.auction.call("active_count") == 0


def test_the_clock_stands_still_while_the_price_is_dead(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 39_000)
    world.start(world.borrower)
    world.watch(world.borrower, 300)
    world.oracle.call("record", 0, BTC)
    world.wait(DAY + 1)
    for _ in range(5):
        world.tick(world.borrower)
        world.wait(900)
    assert world.running(world.borrower)["solvent_s"] == 300
    world.buy(world.borrower, world.bidder, WAD_TENTH)  # a bid is never stopped
    world.refresh()
    world.tick(world.borrower)
    # one tick at the most is counted of the time that nobody saw
    assert world.running(world.borrower)["solvent_s"] <= 300 + 900


def test_it_runs_while_the_account_is_short_whatever_the_old_data_hides(world: World) -> None:
    """A grain of a dead asset cannot be what saves the account."""
    owner = world.owners[world.borrower]
    world.deposit(world.borrower, world.tokens[2], 1, owner)
    world.long_btc()
    world.wait(DAY + 1)
    world.set_price(BTC, 39_000)
    world.start(world.borrower)
    world.wait(300)
    world.set_price(BTC, 39_000)
    assert world.assess(world.borrower)["doubt"] == 0 or world.health(world.borrower) < 0
    world.tick(world.borrower)
    assert world.running(world.borrower)["solvent_s"] == 300


WAD_TENTH = 10**17
