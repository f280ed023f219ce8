# SPDX-License-Identifier: Apache-2.0
"""An owner with two accounts tries everything against the auction of one of them, in random order at random prices.

What nobody may gain: together the two accounts never get more than the fund pays, and the fund never pays more than
what the account lacks and its maintenance margin. Nothing is refused but for a reason that the rules name.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import BTC, ETH, HOUR, LOTS, USD, WAD, Reverted

PERP = BTC << 8 | 255
PRICES = (28_000, 30_000, 33_000, 36_000, 38_000, 40_000, 42_000)
REASONS = {
    f"auction: {reason}"
    for reason in (
        "healthy", "running", "none", "bid too small", "more than needed", "insolvent", "no relief", "data too old",
        "bidder health", "health fell",
    )
} | {"seize: leg does not reduce", "engine: no scenario"}  # fmt: skip


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


class Owner:
    """Two accounts of one owner: the first short of margin now and then, the second rich."""

    def __init__(self, world: World, pick: Random) -> None:
        self.world, self.pick = world, pick
        self.first, self.second = world.borrower, world.person("borrower", 200_000)
        world.long_btc()
        world.trade(ETH, self.first, world.maker, LOTS // 10)
        if pick.random() < 0.5:
            world.fill(BTC << 8, world.maker, self.first, LOTS // 10, world.mark(BTC << 8))
        world.wait(HOUR)
        world.refresh()
        world.set_price(BTC, 45_000)
        world.publish(BTC)

    def wealth(self) -> int:
        """Equity at mark of both."""
        return sum(int(self.world.assess(account)["equity_mark"]) for account in (self.first, self.second))

    def attempt(self) -> int:
        """One call; returns what was put in from outside, wad."""
        world, pick = self.world, self.pick
        action = pick.choice(("tick", "bid", "bid", "legs", "start", "start_with", "top up"))
        if action == "tick":
            world.tick(self.first)
        elif action == "bid":
            world.buy(self.first, self.second, pick.choice((WAD, WAD // 2, WAD // 10, WAD // 50, 1)))
        elif action == "legs":
            lots = world.lots(self.first, PERP) * pick.choice((1, 2, 5)) // 20
            world.take(self.first, self.second, [(PERP, max(lots, 1))])
        elif action == "start":
            world.start(self.first, self.second)
        elif action == "start_with":
            world.auction.call("start_with", self.first, pick.randrange(8), self.second)
        else:
            usd = pick.choice((1, 100, 2_000))
            world.pay_in(self.first, usd * USD)
            return usd * WAD
        return 0


def step(owner: Owner) -> None:
    world = owner.world
    before, funded = owner.wealth(), world.fund.call("totalAssets")
    found = world.assess(owner.first)
    most = max(0, -found["equity_mark"]) + found["mm"] + max(0, found["equity_mark"] - found["equity_mm"])
    try:
        put_in = owner.attempt()
    except Reverted as error:
        assert str(error) in REASONS
        return
    paid = (funded - world.fund.call("totalAssets")) * 10**12
    assert paid <= most + 10**12
    assert owner.wealth() - before - put_in <= paid + WAD // 100


@pytest.mark.parametrize("seed", range(25))
def test_no_order_of_calls_earns_anything(world: World, seed: int) -> None:
    pick = Random(seed)
    owner = Owner(world, pick)
    for _ in range(30):
        chance = pick.random()
        if chance < 0.2:
            world.set_price(BTC, pick.choice(PRICES))
            world.refresh()
        elif chance < 0.3:
            world.wait(pick.choice((60, 900, 3_600)))
            world.refresh()
        else:
            step(owner)
