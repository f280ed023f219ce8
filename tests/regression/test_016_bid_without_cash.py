# SPDX-License-Identifier: Apache-2.0
"""A bid with nothing to pay took over an account (Derive's audit, Lyra03, critical: a bid with no cash on one's own
account).

Here the price becomes debt where there is no cash, and the bidder must hold initial margin for all of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, ETH, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def test_collateral_will_do_and_an_empty_account_will_not(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 39_000)
    world.start(world.borrower)
    poor, owner = world.person("poor"), "0x" + b"poor".hex().ljust(40, "1")
    assert world.owners[poor] == owner
    with refused("auction: bidder health"):
        world.buy(world.borrower, poor)
    # a bid that takes ten dollars of size is refused for that, not let through for being small
    with refused("auction: bid too small"):
        world.buy(world.borrower, poor, WAD // 1_000)
    world.deposit(poor, world.tokens[ETH - 1], 10 * WAD, owner)
    world.buy(world.borrower, poor)
    after = world.assess(poor)
    assert after["equity_im"] >= after["im"]


def test_a_bidder_is_judged_by_initial_margin_to_the_unit(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 39_000)
    world.start(world.borrower)
    with world.undone():
        world.buy(world.borrower, world.bidder)
        after = world.assess(world.bidder)
    health = after["equity_im"] - after["im"]
    call = (world.borrower, world.bidder, WAD, 2**255 - 1)
    with refused("auction: bidder health"):
        world.auction.call("bid", *call, health + 1, 2**256 - 1, caller=world.owners[world.bidder])
    world.auction.call("bid", *call, health, 2**256 - 1, caller=world.owners[world.bidder])
