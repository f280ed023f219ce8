# SPDX-License-Identifier: Apache-2.0
"""A deposit borrowed for one transaction made other accounts liquidatable.

Found by review, before any deployment. The haircut for the use of an asset's deposit cap counted for maintenance margin
too. Whoever fills the cap with a flash loan raises that haircut for every holder of the asset, starts auctions, bids at
the first discount and withdraws again, all in one transaction. Use now counts for initial margin only.
"""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest

from tests.support import auction_market
from tests.support.auction_market import BORROWER, BTC, LOTS, MAKER, WAD, Market, deploy_market, pack


@pytest.fixture
def market(monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    """Borrower: 20,000 of cash, 10 ether, long 2.6 BTC; the use haircut reaches 50 %."""
    monkeypatch.setattr(auction_market, "COLLATERAL_WORD", pack([1_200, 800, 0, 60_000, 5_000]))
    with boa.env.anchor():
        market = deploy_market()
        market.deposit_ether(market.borrower, BORROWER, 10 * WAD)
        market.trade(BTC, market.borrower, market.maker, LOTS * 26 // 10, 100_000)
        yield market


def test_others_deposits_do_not_touch_maintenance_margin(market: Market) -> None:
    before = market.engine.assess(market.borrower)
    market.deposit_ether(market.maker, MAKER, 10**24 - 10 * WAD)
    after = market.engine.assess(market.borrower)
    assert after.equity_im < before.equity_im
    assert (after.equity_mm, after.mm) == (before.equity_mm, before.mm)
    with boa.reverts("auction: healthy"):
        market.auction.start(market.borrower, 0)
