# SPDX-License-Identifier: Apache-2.0
"""Hyperliquid, 12 March 2025: a trader withdrew the profit of a position of $200M until it stood at its last margin,
and left the rest to the vault, which lost $4M closing it.

Here what may be withdrawn leaves initial margin, which grows with the size of the position, and below it nothing
leaves: between that point and a loss of others lies a move as large as the scan range.
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


def test_profit_leaves_as_far_as_initial_margin(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 100_000)
    owner = world.owners[world.borrower]
    found = world.assess(world.borrower)
    free = (found["equity_im"] - found["im"]) // 10**12
    with refused("accounts: below initial margin"):
        world.withdraw(world.borrower, world.cash, free + 1, owner)
    world.withdraw(world.borrower, world.cash, free, owner)
    with refused("accounts: below initial margin"):
        world.withdraw(world.borrower, world.cash, USD, owner)
    with refused("auction: healthy"):
        world.start(world.borrower)


def test_the_fund_is_not_touched_by_a_fall_of_the_scan_range(world: World) -> None:
    test_profit_leaves_as_far_as_initial_margin(world)
    world.set_price(BTC, 76_000)  # 24 % down
    assert world.assess(world.borrower)["equity_mark"] > 0
    world.start(world.borrower)
    before = world.fund.call("totalAssets")
    world.buy(world.borrower, world.bidder)
    assert world.fund.call("totalAssets") == before
    assert world.running(world.borrower)["phase"] == 0 or world.assess(world.borrower)["mm"] == 0


def test_a_large_position_must_leave_more_by_the_unit(world: World) -> None:
    whale = world.person("whale", 400_000_000)
    other = world.person("other", 400_000_000)
    world.trade(BTC, world.maker, world.lender, LOTS)
    world.trade(BTC, whale, other, 3_000 * LOTS)  # 180 M against a depth of 50 M
    small, large = world.assess(world.maker), world.assess(whale)
    assert large["im"] > 3_000 * small["im"] * 101 // 100
    assert large["mm"] - large["market_risk"] > 4 * 3_000 * (small["mm"] - small["market_risk"] - 10 * WAD)
