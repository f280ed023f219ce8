# SPDX-License-Identifier: Apache-2.0
"""Gas of a liquidation of an account with sixteen options and a perpetual in one underlying."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import BTC, HOUR, LOTS, START, WAD

PERP = BTC << 8 | 255
# whole transactions: 168k, 151k, 117k, 573k, 522k with Vyper 0.4.3 in revm; and a tenth more
BUDGET = {"start": 185_000, "start_with": 170_000, "tick": 130_000, "bid": 640_000, "bid_legs": 580_000}


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        expiry = (START // HOUR + 24 * 30) * HOUR
        for k in range(10):
            world.list_option(BTC, expiry, 40_000 + 4_100 * k, is_call=k % 2 == 0)
        world.wait(HOUR)
        world.refresh()
        world.publish(BTC)
        options = [instrument for instrument in sorted(world.options) if instrument >> 8 == BTC]
        assert len(options) == 16
        for k, instrument in enumerate(options):
            sides = (world.borrower, world.maker) if k % 2 else (world.maker, world.borrower)
            world.fill(instrument, *sides, LOTS // 100, world.mark(instrument))
        world.long_btc()
        world.set_price(BTC, 39_500)
        world.wait(HOUR)
        world.refresh()
        world.publish(BTC)
        yield world


def used(world: World) -> int:
    return int(world.evm.result.gas_used)


def test_gas(world: World) -> None:
    for price in range(39_500, 30_000, -500):
        world.set_price(BTC, price)
        if world.health(world.borrower) < 0:
            break
    seen = {}
    with world.undone():
        world.auction.call("start_with", world.borrower, 64 + 9, world.lender)
        seen["start_with"] = used(world)
    world.start(world.borrower, world.lender)
    seen["start"] = used(world)
    world.wait(600)
    world.tick(world.borrower)
    seen["tick"] = used(world)
    with world.undone():
        world.buy(world.borrower, world.bidder, WAD // 10)
        seen["bid"] = used(world)
    world.take(world.borrower, world.bidder, [(PERP, LOTS // 20), (BTC << 8, -LOTS // 500)])
    seen["bid_legs"] = used(world)
    for name, budget in BUDGET.items():
        assert seen[name] < budget, (name, seen[name])
