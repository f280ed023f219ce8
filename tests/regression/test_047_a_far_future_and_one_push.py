# SPDX-License-Identifier: Apache-2.0
"""The basis charge is the same for a future of a month and of two years; a push of the basis was not.

Found by attack on the deployed system, before any deployment, after 040 was mended. A keeper's step was bounded in bps
a year, so one honest push inside the guards moved the mark of a future of 700 days by 3.8 % of the price, and the
account that holds it against a perpetual is charged 25 bps for that. Two accounts of one owner took opposite sides: the
fund and the lenders paid for the one, the other kept the profit. Now a step may move a mark by 20 bps of the price.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, HOUR, LOTS, PERP, USD, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


@pytest.mark.parametrize("days", [30, 60, 365, 700])
def test_a_push_inside_the_guards_is_covered_by_margin(world: World, days: int) -> None:
    expiry = (world.now // HOUR + 24 * days) * HOUR
    future = int(world.govern(world.registry, "list_future", BTC, expiry))
    one, two = world.person("twins", 450_000), world.person("twins", 450_000)
    for _ in range(10):
        world.fill(future, two, one, 10 * LOTS, world.mark(future))
        world.fill(BTC << 8 | PERP, one, two, 10 * LOTS, world.mark(BTC << 8 | PERP))
    for account in (one, two):
        found = world.assess(account)
        free = (found["equity_im"] - found["im"]) // WAD - 10
        world.withdraw(account, world.cash, free * USD, world.owners[account])
    most = min(200, 20 * 365 * 24 * HOUR // (expiry - world.now))
    if most < 200:
        with refused("registry: basis step"):
            world.registry.call("set_basis", future, most + 1, caller=world.keeper)
    world.registry.call("set_basis", future, most, caller=world.keeper)
    assert world.assess(one)["equity_mark"] > 0
