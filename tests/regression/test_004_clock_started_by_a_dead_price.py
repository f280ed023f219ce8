# SPDX-License-Identifier: Apache-2.0
"""A dead feed started the auction of a healthy account, and the discount grew until the feed was back.

Found by review, before any deployment. ``start_with`` took the last recorded price of a dead feed for a proof. Bids
wait for the feed, the clock did not: after thirteen hours an account between maintenance margin and the end buffer,
never below maintenance margin at a living price, was past the solvent phase and went to the first bidder for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest

from tests.support.auction_market import BTC, HEARTBEAT_S, LOTS, Market, deploy_market

DOWN: int = 64 + 9  # scan point: base volatility, all of the scan range down


@pytest.fixture
def market() -> Iterator[Market]:
    with boa.env.anchor():
        market = deploy_market()
        market.trade(BTC, market.borrower, market.maker, LOTS, 100_000)
        yield market


def test_a_dead_price_proves_nothing(market: Market) -> None:
    market.set_price(BTC, 94_000)
    # the record is anybody's to make
    oracle = boa.load_partial("contracts/PriceOracle.vy").at(market.engine.ORACLE())
    oracle.record(0, BTC)
    market.set_price(BTC, 96_000)  # equity 16,000 against 14,400
    boa.env.time_travel(seconds=HEARTBEAT_S + 1)
    with boa.reverts("engine: price dead"):
        market.auction.start_with(market.borrower, DOWN)
    assert market.auction.active_count() == 0
