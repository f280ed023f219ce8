# SPDX-License-Identifier: Apache-2.0
"""An account below initial margin could give its requirement away to a friend and leave the lenders with the debt.

Found by review, before any deployment. A fill below initial margin was allowed when the requirement did not rise and
health (equity - requirement) did not fall. Closing everything frees the whole requirement, so equity could fall by as
much: long 1 BTC from 100,000 with 20,000 of cash, at 81,000 the owner sold to itself at 66,420 and left 13,580 USD of
bad debt, all of which the other account could withdraw. Now equity may shrink at most with the requirement, and not at
all when it is zero or below.
"""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest

from tests.support.auction_market import BTC, LOTS, WAD, Market, deploy_market


@pytest.fixture
def market() -> Iterator[Market]:
    with boa.env.anchor():
        market = deploy_market()
        market.trade(BTC, market.borrower, market.maker, LOTS, 100_000)
        yield market


def equity(market: Market) -> int:
    return int(market.engine.assess(market.borrower).equity_im)


def test_closing_does_not_leave_a_debt(market: Market) -> None:
    market.set_price(BTC, 81_000)  # equity 1,000, initial margin 14,580
    with boa.reverts("accounts: below initial margin"):
        market.trade(BTC, market.maker, market.borrower, LOTS, 66_420)
    with boa.reverts("accounts: below initial margin"):
        market.trade(BTC, market.maker, market.borrower, LOTS, 79_999)
    market.trade(BTC, market.maker, market.borrower, LOTS, 80_000)
    assert equity(market) == 0


def test_a_part_costs_at_most_its_part_of_equity(market: Market) -> None:
    market.set_price(BTC, 81_000)
    with boa.reverts("accounts: below initial margin"):
        market.trade(BTC, market.maker, market.borrower, LOTS // 4, 79_999)
    market.trade(BTC, market.maker, market.borrower, LOTS // 4, 80_000)
    assert equity(market) == 750 * WAD


def test_an_insolvent_account_loses_nothing_more(market: Market) -> None:
    market.set_price(BTC, 79_000)
    with boa.reverts("accounts: below initial margin"):
        market.trade(BTC, market.maker, market.borrower, LOTS // 2, 78_999)
    market.trade(BTC, market.maker, market.borrower, LOTS // 2, 79_000)
    assert equity(market) == -1_000 * WAD
