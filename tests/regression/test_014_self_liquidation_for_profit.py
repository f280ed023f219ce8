# SPDX-License-Identifier: Apache-2.0
"""Owners who liquidate themselves, for the bonus, the discount or the backstop's money.

Euler, 13 March 2023, $197M: a position was made liquidatable by its owner and taken by the owner's second account
at a discount that others bore. Panoptic (Code4rena M-07) paid inflated bonuses to whoever liquidated his own
account; Derive's audit (Lyra03) let a bidder with no cash take his own.

Here a second account of the owner may bid like anybody, and gets what the first one loses: the sum of both never
rises. What the fund pays for a lost account is what the account lacks, starting from nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def both(world: World, second: int) -> int:
    return int(world.assess(world.borrower)["equity_mark"] + world.assess(second)["equity_mark"])


def owners_second(world: World, usd: int) -> int:
    second = world.person("borrower", usd)
    assert world.owners[second] == world.owners[world.borrower]
    return second


@pytest.mark.parametrize("after_s", [0, 600, 3_600])
def test_a_discount_to_oneself_is_no_profit(world: World, after_s: int) -> None:
    second = owners_second(world, 100_000)
    world.long_btc()
    world.set_price(BTC, 39_000)
    before = both(world, second)
    world.start(world.borrower, second)
    world.watch(world.borrower, after_s)
    world.buy(world.borrower, second)
    # the slack of rounding is the ledger's
    assert both(world, second) <= before
    assert before - both(world, second) < WAD


def test_a_lost_account_taken_by_its_owner_at_once_brings_nothing(world: World) -> None:
    second = owners_second(world, 100_000)
    world.long_btc()
    world.set_price(BTC, 25_000)
    assert world.assess(world.borrower)["equity_mark"] == -5_000 * WAD
    world.start(world.borrower, second)
    mine = world.assess(second)["equity_mark"]
    fund = world.fund.call("totalAssets")
    assert world.buy(world.borrower, second) == (WAD, -5_000 * WAD)
    # the account that was taken is worth nothing to the taker, loss and payment together
    assert world.assess(second)["equity_mark"] == mine
    assert fund - world.fund.call("totalAssets") == 5_000 * 10**6


def test_not_by_the_account_itself_and_not_without_margin(world: World) -> None:
    second = owners_second(world, 0)
    world.long_btc()
    world.set_price(BTC, 39_000)
    world.start(world.borrower)
    with refused("auction: own account"):
        world.buy(world.borrower, world.borrower)
    with refused("auction: bidder health"):
        world.buy(world.borrower, second)


def test_start_and_end_in_turn_cost_the_account_at_most_its_reserve(world: World) -> None:
    """A reward per start is no income: each end needs more put in than a start pays out."""
    friend = owners_second(world, 0)
    world.long_btc()
    world.set_price(BTC, 39_000)
    paid = 0
    for epoch in (1, 2, 3):
        before = world.cash_of(friend)
        world.start(world.borrower, friend)
        assert world.running(world.borrower)["epoch"] == epoch
        paid += world.cash_of(friend) - before
        with refused("auction: running"):
            world.start(world.borrower, friend)
        with refused("auction: unhealthy"):
            world.auction.call("end", world.borrower)
        world.set_price(BTC, 41_000)
        world.auction.call("end", world.borrower)
        with refused("auction: healthy"):
            world.start(world.borrower, friend)
        world.set_price(BTC, 39_000)
    assert paid <= 30 * WAD
