# SPDX-License-Identifier: Apache-2.0
"""Single positions could be taken at the marks of an expired page or a late price.

Found by review, before any deployment. ``bid_legs`` refused only what leaves the account's health in doubt, which a
page is not for a day after it expired, and a late price never. A bidder who may choose takes just the positions
that an old mark misprices, and the account pays a reward on top. A sale of a slice of everything has no choice in
it and stays open.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, DAY, HOUR, LOTS, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


PERP = BTC << 8 | 255
OPTION = BTC << 8


def test_fresh_marks_will_do(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 39_000)
    world.start(world.borrower)
    before = world.assess(world.bidder)["equity_mark"]
    reward = world.take(world.borrower, world.bidder, [(PERP, LOTS // 20)])
    assert reward > 0
    assert world.assess(world.bidder)["equity_mark"] - before == reward


def test_a_late_price_is_no_mark(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 39_000)
    world.start(world.borrower)
    world.wait(HOUR + 1)
    assert world.oracle.call("price", 0, BTC)[1] == 1
    with refused("auction: data too old"):
        world.take(world.borrower, world.bidder, [(PERP, LOTS // 20)])
    with world.undone():
        world.buy(world.borrower, world.bidder, WAD // 20)
    world.refresh()
    assert world.take(world.borrower, world.bidder, [(PERP, LOTS // 20)]) > 0


def test_nor_is_an_expired_page_or_one_for_another_price(world: World) -> None:
    world.fill(OPTION, world.borrower, world.maker, LOTS // 100, world.mark(OPTION))
    world.long_btc()
    world.wait(HOUR)
    world.set_price(BTC, 38_500)
    found = world.assess(world.borrower)
    assert found["flags"] & 2  # far from the page's reference
    assert found["doubt"] == 0
    world.start(world.borrower)
    legs = [(PERP, LOTS // 20)]
    with refused("auction: data too old"):
        world.take(world.borrower, world.bidder, legs)
    world.refresh()
    world.publish(BTC)
    with world.undone():
        assert world.take(world.borrower, world.bidder, legs) > 0
    world.wait(DAY + 1)
    world.refresh()
    found = world.assess(world.borrower)
    assert (found["flags"] & 2, found["doubt"]) == (2, 0)
    with refused("auction: data too old"):
        world.take(world.borrower, world.bidder, legs)
