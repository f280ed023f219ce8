# SPDX-License-Identifier: Apache-2.0
"""A lender hid its cash in a base in the block in which a loss is shared.

Found by attack on the deployed system, before any deployment. What 041 hides for months can be hidden for a moment by
a perpetual too: two accounts of one owner trade back and forth at the ends of the band right before a bid that
lenders pay for, and settle right after. That anybody may settle a base is no defence in one block. A trade that closed
most of a position left all that it ever made with the lots that stay, however few. Now the part of what is closed is
paid at once, and a base holds no more than the lots that are left have made.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import BTC, ETH, FUTURE, LOTS, PERP, USD, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def shift(world: World, instrument: int, giver: int, taker: int, usd: int) -> None:
    """Move about ``usd`` by trades at the ends of the band; the two sides end with the lots they had."""
    moved = 0
    while usd * WAD - moved > WAD:
        _, low, high = world.engine.call("price_band", instrument)
        lots = min(60 * LOTS, (usd * WAD - moved) * LOTS // (high - low))
        world.fill(instrument, giver, taker, lots, high)
        world.fill(instrument, taker, giver, lots, low)
        moved += lots * (high - low) // LOTS


@pytest.mark.parametrize("slot", [PERP, FUTURE])
def test_lenders_bear_a_loss_alike_in_its_own_block(world: World, slot: int) -> None:
    lost, instrument = world.person("lost", 350_000), ETH << 8 | slot
    lender, keeper = world.person("sly", 500_000), world.person("sly", 500_000)
    other, owner = world.person("other", 1_000), world.owners[lender]
    world.trade(BTC, lost, world.maker, 14 * LOTS)
    world.set_price(BTC, 20_000)
    world.start(lost)
    before = [world.assess(a)["equity_mark"] for a in (lender, keeper, world.lender)]
    # one block: before the bid ...
    world.fill(instrument, other, keeper, 1, world.mark(instrument))
    shift(world, instrument, lender, keeper, 300_000)
    world.accounts.call("transfer", keeper, lender, world.cash.address, 499_000 * USD, caller=owner)
    shift(world, instrument, lender, keeper, 600_000)
    world.buy(lost, world.bidder)
    # ... and after it
    world.accounts.call("settle_delta", keeper, instrument)
    after = [world.assess(a)["equity_mark"] for a in (lender, keeper, world.lender)]
    one, two, honest = (b - a for a, b in zip(after, before, strict=True))
    assert honest > 30_000 * WAD
    assert one + two > honest * 9 // 10
