# SPDX-License-Identifier: Apache-2.0
"""A loss or profit carried by the quote of a perpetual of one lot did not move with the slice that was sold.

Found by review, before any deployment. ``seize`` moved a perpetual's quote in proportion to the lots that moved, and
lots round towards zero. A perpetual of a single lot can carry any profit or loss in its quote, so no part of that moved
with a fraction below one, while the price of the slice was that fraction of the whole equity.

1. An insolvent owner closed all but one lot of the perpetual with the loss. Each slice then paid its share of the loss
   out of insurance fund and lenders, and the loss stayed: 5,000 USD of bad debt paid out about three times over.
2. With the signs turned, the bidder paid for a profit that stayed behind, and took over the debt against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import boa
import pytest

from tests.support.auction_market import BIDDER, BTC, ETH, LOTS, USD, WAD, Market, deploy_market

ANY_NONCE: Final = 2**256 - 1
NO_LIMIT: Final = 2**255 - 1


@pytest.fixture
def market() -> Iterator[Market]:
    with boa.env.anchor():
        yield deploy_market()


def equity(market: Market, account: int) -> int:
    return int(market.engine.assess(account).equity_mark)


def bid(market: Market, fraction: int) -> int:
    _, price = market.auction.bid(market.borrower, market.bidder, fraction, NO_LIMIT, 0, ANY_NONCE, sender=BIDDER)
    return int(price)


def cash_into_quote(market: Market) -> None:
    """Borrower: long 10 ether, whose quote holds all of the 20,000 USD; no cash, and 0.05 BTC beside it."""
    market.trade(ETH, market.borrower, market.maker, 10 * LOTS, 2_000)
    market.trade(BTC, market.borrower, market.maker, LOTS // 10, 300_000)
    market.trade(BTC, market.maker, market.borrower, LOTS // 10, 100_000)
    market.trade(BTC, market.borrower, market.maker, LOTS // 20, 100_000)
    assert market.accounts.cash_of(market.borrower) == 0
    assert equity(market, market.borrower) == 20_000 * WAD


def test_a_loss_is_paid_out_once(market: Market) -> None:
    cash_into_quote(market)
    market.stake(50_000 * USD)
    market.set_price(ETH, 1_500)
    market.trade(ETH, market.maker, market.borrower, 10 * LOTS - 1, 1_500)
    loss = -equity(market, market.borrower)
    assert loss == 5_000 * WAD
    market.auction.start(market.borrower, 0)

    paid = 0
    while market.auction.auction_of(market.borrower).phase:
        paid -= bid(market, WAD // 2)
    assert paid <= loss + WAD


def test_a_bidder_gets_its_share_of_a_profit(market: Market) -> None:
    # 20,000 of profit in the quote of one lot, 10,000 of debt, and a risk that the market then turns against
    market.trade(ETH, market.borrower, market.maker, 10 * LOTS, 2_000)
    market.trade(ETH, market.maker, market.borrower, 10 * LOTS - 1, 4_000)
    market.trade(BTC, market.borrower, market.maker, LOTS // 10, 400_000)
    market.trade(BTC, market.maker, market.borrower, LOTS // 10, 100_000)
    market.trade(BTC, market.borrower, market.maker, LOTS * 4 // 10, 100_000)
    market.set_price(BTC, 88_000)
    assert market.accounts.cash_of(market.borrower) == -10_000 * WAD
    market.auction.start(market.borrower, 0)

    before = equity(market, market.bidder)
    bid(market, WAD // 2)
    assert equity(market, market.bidder) >= before - WAD
