# SPDX-License-Identifier: Apache-2.0
"""An operator with MANAGE made the owner's account take over a loss of the operator's own.

Found by attack on the deployed system, before any deployment. In doubt an insolvent account is sold for nothing, to
whoever believes that it is worth more. Who decides that for a bidder's account is its owner or an operator with MANAGE,
the right that is meant to move nothing to another owner: the operator's profit is on another account already. Now in
doubt only the owner bids.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import MANAGE, World, deployed, refused
from tests.support.protocol import BTC, DAY, ETH, HOUR, LOTS, PERP, SOL, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def test_manage_brings_no_loss_of_the_operator(world: World) -> None:
    trusting = world.person("trusting", 100_000)
    loser, winner = world.person("operator", 25_000), world.person("operator", 40_000)
    operator = world.owners[loser]
    until = world.now + 10 * DAY
    world.accounts.call("set_operator", trusting, operator, MANAGE, until, caller=world.owners[trusting])
    world.trade(BTC, loser, winner, LOTS)
    world.set_price(BTC, 32_000)
    world.oracle.call("record", 0, BTC)
    world.start(loser)
    world.accounts.call("settle_delta", winner, BTC << 8 | PERP)
    # the feed falls silent
    world.wait(DAY + HOUR)
    for u in (ETH, SOL):
        world.set_price(u, world.quotes[u])
    before = world.assess(trusting)["equity_mark"]
    with refused("auction: not authorised"):
        world.bid(loser, trusting, operator)
    assert world.assess(trusting)["equity_mark"] >= before
    # who believes it may
    assert world.bid(loser, trusting, world.owners[trusting]) == (WAD, 0)
