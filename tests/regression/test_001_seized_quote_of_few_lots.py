# SPDX-License-Identifier: Apache-2.0
"""A loss or profit carried by the quote of a perpetual of one lot did not move with the slice that was sold.

Found by review, before any deployment. ``seize`` moved a perpetual's quote in proportion to the lots that moved, and
lots round towards zero. A perpetual of a single lot can carry any profit or loss in its quote, so no part of that moved
with a fraction below one, while the price of the slice was that fraction of the whole equity.

1. An insolvent owner closed all but one lot of the perpetual with the loss. Each slice then paid its share of the loss
   out of insurance fund and lenders, and the loss stayed: 5,000 USD of bad debt paid out about three times over.
2. With the signs turned, the bidder paid for a profit that stayed behind, and took over the debt against it.

Since 046 what a trade closes is paid in the trade, so that a quote of one lot carries the profit of that lot alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import BTC, ETH, LOTS, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def equity(world: World, account: int) -> int:
    return int(world.assess(account)["equity_mark"])


def test_a_loss_is_paid_out_once(world: World) -> None:
    world.trade(ETH, world.borrower, world.maker, 20 * LOTS)
    world.set_price(ETH, 1_250)
    world.trade(ETH, world.maker, world.borrower, 20 * LOTS - 1)
    loss = -equity(world, world.borrower)
    assert loss == 5_000 * WAD
    assert world.cash_of(world.borrower) < -4_999 * WAD
    world.start(world.borrower)

    paid = 0
    for fraction in (WAD // 2, WAD // 2, WAD):
        if world.running(world.borrower)["phase"]:
            paid -= world.buy(world.borrower, world.bidder, fraction)[1]
    assert world.running(world.borrower)["phase"] == 0
    assert paid <= loss + WAD


def test_a_bidder_gets_its_share_of_a_profit(world: World) -> None:
    # 10,000 of profit from all but one lot, and a risk that the market then turns against
    world.trade(ETH, world.borrower, world.maker, 10 * LOTS)
    world.set_price(ETH, 4_000)
    world.trade(ETH, world.maker, world.borrower, 10 * LOTS - 1)
    world.trade(BTC, world.borrower, world.maker, 15 * LOTS // 10)
    world.set_price(BTC, 43_000)
    assert world.cash_of(world.borrower) > 39_999 * WAD
    world.start(world.borrower)

    before = equity(world, world.bidder)
    taken, _ = world.buy(world.borrower, world.bidder, WAD // 10)
    assert taken == WAD // 10
    assert equity(world, world.bidder) >= before - WAD
