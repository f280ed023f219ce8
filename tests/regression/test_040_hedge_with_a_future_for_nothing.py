# SPDX-License-Identifier: Apache-2.0
"""A perpetual against a dated future of the same underlying needs the reserve and nothing else, whatever their size.

Found by attack on the deployed system, before any deployment. The charge for what the net delta hides was taken on
``A = max(|dv_lo|, |dv_hi|)``, which is the net of perpetuals and futures already; only options added to it. So two
accounts of one owner could hold thousands of bitcoin against each other for ten dollars. Every movement between
the two marks (a push of the basis, its running off, funding) was a loss of the one that only the insurance fund and
the lenders can bear, and a profit that the other withdraws: infinite leverage on numbers that all can see coming.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import BTC, FUTURE, HOUR, LOTS, PERP, USD, WAD, Reverted

BTC_PERP, BTC_FUTURE = BTC << 8 | PERP, BTC << 8 | FUTURE
SPARE = 10
UNITS = 500


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def straddle(world: World, units: int) -> tuple[int, int]:
    """Two accounts of one owner, hedged each and against each other, with 10 USD each more than they must hold."""
    one, two = world.person("twins", 400_000), world.person("twins", 400_000)
    owner = world.owners[one]
    for _ in range(units // 10):
        world.fill(BTC_FUTURE, two, one, 10 * LOTS, world.mark(BTC_FUTURE))
        world.fill(BTC_PERP, one, two, 10 * LOTS, world.mark(BTC_PERP))
    for account in (one, two):
        found = world.assess(account)
        free = (found["equity_im"] - found["im"]) // WAD - SPARE
        world.withdraw(account, world.cash, free * USD, owner)
    return one, two


def test_the_requirement_grows_with_the_size_of_the_hedge(world: World) -> None:
    one, two = world.person("twins", 400_000), world.person("twins", 400_000)
    world.fill(BTC_FUTURE, two, one, 10 * LOTS, world.mark(BTC_FUTURE))
    world.fill(BTC_PERP, one, two, 10 * LOTS, world.mark(BTC_PERP))
    # 600,000 USD on either side at a basis charge of 25 bps, and the reserve of 10
    assert world.assess(one)["mm"] >= 1_500 * WAD


def test_a_push_of_the_basis_is_nobodys_to_pay(world: World) -> None:
    one, _ = straddle(world, UNITS)
    # one honest step of the keeper inside its guards, 14 bps of the price
    world.registry.call("set_basis", BTC_FUTURE, 200, caller=world.keeper)
    assert world.assess(one)["equity_mark"] > 0


def test_nor_is_an_hour_of_funding(world: World) -> None:
    price = 60_000 * WAD
    # ten basis points a day, a third of a percent of the bound
    world.registry.call("set_funding_rate", BTC, price // 1_000 // 86_400, caller=world.keeper)
    one, _ = straddle(world, UNITS)
    world.wait(HOUR)
    world.refresh()
    assert world.assess(one)["equity_mark"] > 0


def test_an_owner_of_both_sides_takes_nothing_out(world: World) -> None:
    """Both accounts and the bidder are the attacker's; no price moves."""
    third = world.person("twins", 50_000)
    one, two = straddle(world, UNITS)
    owner = world.owners[one]
    world.registry.call("set_basis", BTC_FUTURE, 200, caller=world.keeper)
    world.start(one)
    # the side that won takes out what it may
    found = world.assess(two)
    free = (found["equity_im"] - found["im"]) // WAD - SPARE
    assert free > 10_000
    world.withdraw(two, world.cash, free * USD, owner)
    world.withdraw(third, world.cash, 50_000 * USD, owner)
    with pytest.raises(Reverted, match="accounts: below initial margin"):
        world.withdraw(one, world.cash, USD, owner)
    # what is sold has equity to pay its buyer with, and nothing is missing
    assert world.assess(one)["equity_mark"] > 0
    taken = world.cash.call("balanceOf", owner)
    left = sum(world.assess(account)["equity_mark"] for account in (one, two, third)) // WAD
    assert taken + left * USD <= (800_000 + 50_000) * USD
