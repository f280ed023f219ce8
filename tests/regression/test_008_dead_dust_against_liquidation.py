# SPDX-License-Identifier: Apache-2.0
"""A grain of an asset whose feed is dead kept an account from being liquidated.

Found by review, before any deployment. The auction refused every account with a dead price, whatever hung on it.
Deposits ask no feed, so an owner could keep a grain of every listed asset (or add one of an asset whose feed has
just died), and while any of the feeds was dead nothing could be started or bid for: a free option against the
lenders. So it was, by a stale feed, at Sentiment (#398), Flatmoney (#177), Panoptic (M-06) and Mango (#646).

Now old data counts for the account by what could hang on it (`doubt` of the margin rule), and no further.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, DAY, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def dead_gold(world: World, ounces_raw: int, btc_usd: int) -> None:
    """The borrower has gold whose feed is dead, and a bitcoin too many."""
    world.deposit(world.borrower, world.tokens[2], ounces_raw, world.owners[world.borrower])
    world.long_btc()
    world.oracle.call("record", 1, 2)
    world.wait(DAY + 1)
    world.set_price(BTC, btc_usd)
    assert world.assess(world.borrower)["flags"] & 1


@pytest.mark.parametrize("ounces_raw", [1, WAD // 100])
def test_dust_of_a_dead_asset_does_not_stop_the_auction(world: World, ounces_raw: int) -> None:
    dead_gold(world, ounces_raw, 39_000)
    world.start(world.borrower)
    world.wait(60)
    world.tick(world.borrower)
    assert world.running(world.borrower)["solvent_s"] == 60
    assert world.buy(world.borrower, world.bidder, WAD // 10)[0] == WAD // 10


def test_a_holding_that_could_save_the_account_does(world: World) -> None:
    dead_gold(world, WAD, 37_000)  # an ounce, 2,000 when it was last seen, counts 1,500
    found = world.assess(world.borrower)
    assert (found["equity_mm"], found["doubt"]) == (8_499_996 * WAD // 1_000, 2_500_004 * WAD // 1_000)
    assert found["equity_mm"] < found["mm"] <= found["equity_mm"] + found["doubt"]
    with refused("auction: data too old"):
        world.start(world.borrower)
    world.set_price(BTC, 30_000)
    found = world.assess(world.borrower)
    assert found["equity_mm"] + found["doubt"] < found["mm"]
    world.start(world.borrower)


def test_nor_does_another_accounts_feed(world: World) -> None:
    world.long_btc()
    world.wait(DAY + 1)
    world.set_price(BTC, 39_000)
    world.start(world.borrower)
    world.buy(world.borrower, world.bidder)
