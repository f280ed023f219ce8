# SPDX-License-Identifier: Apache-2.0
"""Slices of an insolvent account were booked against the wrong base (Derive: the part still to be liquidated was
counted from the original, so later bidders were paid for what earlier ones had taken).

Here each slice is a share of what is there, and the payments for all of them never exceed what was lacking at the
start.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import BTC, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


@pytest.mark.parametrize("slices", [(WAD,), (WAD // 2, WAD), (WAD // 10, WAD // 3, WAD // 2, WAD), (WAD // 7,) * 12])
def test_payments_add_up_to_what_was_lacking(world: World, slices: tuple[int, ...]) -> None:
    world.long_btc()
    world.set_price(BTC, 25_000)
    world.start(world.borrower)
    taker = world.assess(world.bidder)["equity_mark"]
    paid = 0
    for fraction in slices:
        if not world.running(world.borrower)["phase"]:
            break
        before = world.assess(world.borrower)["equity_mark"]
        taken, price = world.buy(world.borrower, world.bidder, fraction)
        left = world.assess(world.borrower)["equity_mark"]
        assert -price <= -before * taken // WAD + 1
        assert world.auction.call("shortfall_wad") == -left
        paid -= price
    assert 0 <= 5_000 * WAD - paid + world.assess(world.borrower)["equity_mark"] < WAD
    # worth nothing to whoever takes it at once
    assert abs(world.assess(world.bidder)["equity_mark"] - taker) < WAD


def test_the_reward_of_slices_is_that_of_the_whole(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 25_000)
    world.start(world.borrower)
    world.watch(world.borrower, 1_800)
    with world.undone():
        _, whole = world.buy(world.borrower, world.bidder)
    first = world.buy(world.borrower, world.bidder, WAD // 2)[1]
    second = world.buy(world.borrower, world.bidder)[1]
    # the charge for size is convex, so what is left of a book needs less; the reserve of 10 USD does not shrink with it
    assert abs(whole - first - second) <= 10 * WAD


def test_other_slices_do_not_hide_the_shortfall_of_another(world: World) -> None:
    other = world.person("other", 30_000)
    world.long_btc()
    world.trade(BTC, other, world.maker, 10**6)
    world.set_price(BTC, 25_000)
    for account in (world.borrower, other):
        world.start(account)
    assert world.auction.call("shortfall_wad") == 10_000 * WAD
    world.buy(world.borrower, world.bidder)
    assert world.auction.call("shortfall_wad") == 5_000 * WAD
    world.set_price(BTC, 24_000)
    world.tick(other)
    assert world.auction.call("shortfall_wad") == 6_000 * WAD
    world.pay_in(other, 6_000 * 10**6)
    world.tick(other)
    assert world.auction.call("shortfall_wad") == 0
    assert world.running(other)["phase"] == 2  # equity of zero is none
