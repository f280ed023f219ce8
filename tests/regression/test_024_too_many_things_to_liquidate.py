# SPDX-License-Identifier: Apache-2.0
"""An account with many small assets could not be liquidated within a block's gas (Arcadia #174, Exactly #43, marginfi
#404).

Here an account holds at most 128 positions and 16 assets, and a bid for all of that fits a block many times over;
several bidders, or one who holds as much already, are not needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import BTC, ETH, HOUR, LOTS, SPOTS, START


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


BLOCK_GAS = 30_000_000


def crowd(world: World) -> int:
    """A hundred options in two underlyings, two perpetuals and three kinds of collateral."""
    hoarder = world.person("hoarder", 60_000)
    owner = world.owners[hoarder]
    for asset, amount in ((0, 10**16), (1, 10**5), (2, 10**15)):
        world.deposit(hoarder, world.tokens[asset], amount, owner)
    expiry = (START // HOUR + 24 * 30) * HOUR
    for u in (BTC, ETH):
        for k in range(44):
            world.list_option(u, expiry, SPOTS[u] * (60 + 2 * k + (k >= 15)) // 100 + 7, is_call=k % 2 == 0)
    world.wait(HOUR)
    world.refresh()
    for u in (BTC, ETH):
        world.publish(u)
    for instrument in sorted(world.options):
        world.fill(instrument, hoarder, world.maker, LOTS // 100, world.mark(instrument))
    world.trade(BTC, hoarder, world.maker, 2 * LOTS)
    world.trade(ETH, hoarder, world.maker, LOTS)
    return hoarder


def test_a_full_account_is_sold_in_one_bid(world: World) -> None:
    hoarder = crowd(world)
    assert len(world.options) == 100
    world.set_price(BTC, 31_000)
    world.set_price(ETH, 2_000)
    found = world.assess(hoarder)
    assert found["equity_mm"] < found["mm"]
    world.start(hoarder)
    assert world.evm.result.gas_used < BLOCK_GAS // 10
    fresh = world.person("fresh", 1_000_000)
    taken, _ = world.buy(hoarder, fresh)
    assert world.evm.result.gas_used < BLOCK_GAS // 3
    assert taken > 0
    assert world.lots(fresh, BTC << 8 | 255) != 0
