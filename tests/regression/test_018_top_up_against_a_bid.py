# SPDX-License-Identifier: Apache-2.0
"""A bidder overpaid because the account had been topped up between quote and bid (Derive's audit, Lyra06), and the
remedy stopped every transfer during an auction (#316), so that owners could not cure.

Here top-ups stay allowed, the price follows what is sold, at most what the bidder allows is paid, and a wei resets
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, USD, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def short(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 39_000)
    world.start(world.borrower)


def test_the_limit_holds_and_a_fair_price_is_paid(world: World) -> None:
    short(world)
    world.watch(world.borrower, 600)
    quote = world.preview(world.borrower, WAD // 10)
    world.pay_in(world.borrower, 500 * USD)
    with refused("auction: price above limit"):
        world.buy(world.borrower, world.bidder, WAD // 10, max_price=quote["price_wad"])
    mine = world.assess(world.bidder)["equity_mark"]
    fraction, price = world.buy(world.borrower, world.bidder, WAD // 10)
    # what was put in is bought at its worth less the discount, like the rest
    assert abs(price - 9_500 * fraction * (10_000 - 1_366) // 10_000) < WAD
    assert world.assess(world.bidder)["equity_mark"] > mine


def test_a_wei_does_not_set_the_clock_back(world: World) -> None:
    short(world)
    world.watch(world.borrower, 600)
    world.pay_in(world.borrower, 1)
    world.tick(world.borrower)
    assert world.running(world.borrower)["solvent_s"] == 600
    with refused("auction: unhealthy"):
        world.auction.call("end", world.borrower)


def test_above_maintenance_margin_but_inside_the_buffer_nothing_ends(world: World) -> None:
    short(world)
    world.watch(world.borrower, 600)
    mm = world.assess(world.borrower)["mm"]
    world.pay_in(world.borrower, (mm - 9_000 * WAD) // 10**12 + 1)
    assert world.health(world.borrower) >= 0
    with refused("auction: unhealthy"):
        world.auction.call("end", world.borrower)
    world.pay_in(world.borrower, mm // 10**13 + 1)
    world.auction.call("end", world.borrower)
    assert world.running(world.borrower) == {"phase": 0, "seen_at": 0, "solvent_s": 0, "insolvent_s": 0, "epoch": 1}
