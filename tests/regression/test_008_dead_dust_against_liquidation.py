# SPDX-License-Identifier: Apache-2.0
"""A grain of an asset whose feed is dead keeps an account from being liquidated.

Found by review, before any deployment. Open. The auction refuses every account with a dead price, whatever hangs on it.
Deposits ask no feed, so an owner can keep a grain of every listed asset (or add one of an asset whose feed has just
died), and while any of the feeds is dead nothing can be started or bid for: a free option against the lenders. What a
fix must keep: a dead price may not prove an account unhealthy, and no living holding may be sold by an old price.
"""

from __future__ import annotations

import boa
import pytest

from tests.support.auction_market import BORROWER, BTC, GOVERNANCE, HEARTBEAT_S, LOTS, WAD, deploy_market


@pytest.mark.xfail(
    strict=True,
    reason="an account with a dead price that can make up at most a small part of its shortfall must stay liquidatable",
)
def test_dust_of_a_dead_asset_does_not_stop_the_auction() -> None:
    with boa.env.anchor():
        market = deploy_market()
        oracle = boa.load_partial("contracts/PriceOracle.vy").at(market.engine.ORACLE())
        relic = boa.load("contracts/testing/TestToken.vy", "Relic", "RLC", 18)
        feed = boa.load("contracts/testing/MockAggregator.vy", 8, 10**8)
        oracle.set_feed(1, 1, feed.address, HEARTBEAT_S, sender=GOVERNANCE)
        oracle.record(1, 1)
        market.accounts.list_collateral(relic.address, 0, 10**24, sender=GOVERNANCE)
        market.trade(BTC, market.borrower, market.maker, LOTS, 100_000)
        boa.env.time_travel(seconds=HEARTBEAT_S + 1)

        relic.mint(BORROWER, 1)
        relic.approve(market.accounts.address, 1, sender=BORROWER)
        market.accounts.deposit(market.borrower, relic.address, 1, sender=BORROWER)
        market.set_price(BTC, 90_000)
        result = market.engine.assess(market.borrower)
        assert result.equity_mm + WAD < result.mm
        try:
            market.auction.start(market.borrower)
        except boa.BoaError as error:
            pytest.fail(str(error.args[0])[:200])
