# SPDX-License-Identifier: Apache-2.0
"""Dust sent to an account, or to a bidder, kept liquidations out.

Derive's audit (Lyra02, critical): bidders had to hold nothing but cash, so a dust option sent to each of them
blocked all. Others refuse a bid whose account has changed since it was read, which anybody can arrange with a wei
(Lyra's nonce, Euler's checks). Sentiment #194 refuses a liquidation that would leave less than a least debt.

Here bidders may hold anything, a bid may accept any state of the account, and what would be left as dust is sold
with it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import ANY_NONCE, BTC, ETH, LOTS, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def test_a_bidder_with_other_positions_may_bid(world: World) -> None:
    world.long_btc()
    world.trade(ETH, world.bidder, world.maker, 1)  # a millionth of an ether
    world.trade(BTC, world.maker, world.bidder, 1)
    world.set_price(BTC, 39_000)
    world.start(world.borrower)
    fraction, _ = world.buy(world.borrower, world.bidder)
    assert world.lots(world.bidder, BTC << 8 | 255) == LOTS * fraction // WAD - 1


def test_a_wei_changes_the_nonce_and_stops_nobody(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 39_000)
    world.start(world.borrower)
    nonce = world.preview(world.borrower)["nonce"]
    world.pay_in(world.borrower, 1)
    args = (world.borrower, world.bidder, WAD, 2**255 - 1, 0)
    with refused("auction: nonce"):
        world.auction.call("bid", *args, nonce, caller=world.owners[world.bidder])
    world.auction.call("bid", *args, ANY_NONCE, caller=world.owners[world.bidder])


def test_nothing_is_left_that_is_too_small_to_sell(world: World) -> None:
    world.long_btc(LOTS // 100)
    world.withdraw(world.borrower, world.cash, 29_600 * 10**6, world.owners[world.borrower])
    world.set_price(BTC, 21_000)  # equity 10, MM 61
    world.start(world.borrower)
    assert world.buy(world.borrower, world.bidder, 1)[0] == WAD
    left = world.assess(world.borrower)
    assert left["mm"] == 0
    assert left["equity_mark"] == left["equity_mm"] >= 0
    assert world.running(world.borrower)["phase"] == 0
