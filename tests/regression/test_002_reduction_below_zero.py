# SPDX-License-Identifier: Apache-2.0
"""An account below initial margin could give its requirement away to a friend and leave the lenders with the debt.

Found by review, before any deployment. A fill below initial margin was allowed when the requirement did not rise and
health (equity - requirement) did not fall. Closing everything frees the whole requirement, so equity could fall by as
much: long 1 BTC from 100,000 with 20,000 of cash, at 81,000 the owner sold to itself at 66,420 and left 13,580 USD of
bad debt, all of which the other account could withdraw. Now equity may shrink at most with the requirement, and not at
all when it is zero or below.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, LOTS, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


PERP = BTC << 8 | 255


def close(world: World, lots: int, price_usd: int) -> None:
    world.fill(PERP, world.maker, world.borrower, lots, price_usd * WAD)


def equity(world: World) -> int:
    return int(world.assess(world.borrower)["equity_im"])


def test_closing_does_not_leave_a_debt(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 30_500)  # equity 500, initial margin 12,500
    for price in (29_000, 29_999):
        with refused("accounts: below initial margin"):
            close(world, LOTS, price)
    close(world, LOTS, 30_000)
    assert equity(world) == 0


def test_a_part_costs_at_most_its_part_of_equity(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 30_500)
    with refused("accounts: below initial margin"):
        close(world, LOTS // 4, 29_999)
    close(world, LOTS // 4, 30_001)
    assert equity(world) == 375_250 * WAD // 1_000


def test_an_insolvent_account_loses_nothing_more(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 29_000)
    with refused("accounts: below initial margin"):
        close(world, LOTS // 2, 28_999)
    close(world, LOTS // 2, 29_000)
    assert equity(world) == -1_000 * WAD
