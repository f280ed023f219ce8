# SPDX-License-Identifier: Apache-2.0
"""Whoever sees a threshold fall in the pending transactions liquidates in the same block, or in the same transaction.

The threat model of a risk agent (chaos-agents, docs/ThreatModeling.md) names it: an update that lowers a liquidation
threshold may be injected by anybody once it is signed and valid, so a liquidator wraps it, and takes positions that
were sound a moment ago and whose owners had no moment to act.

Here maintenance margin is continuous in time: the block of the push, and the order of transactions in it, change
nothing for it. What the push asks for comes in over hours, during which the owner can act.
"""

from __future__ import annotations

import boa
import pytest

from tests.regression.test_010_coupled_push_march_2026 import (
    COLLATERAL_WORD,
    GLOBAL_WORD,
    HOUR,
    UNDERLYING_WORD,
    deployed,
    market,
    push,
)
from tests.support.auction_market import BTC, OUTSIDER, USD, WAD, Market

__all__ = ["deployed", "market"]

# scan range 15 % -> 18 %: at once, 7,410 USD of maintenance margin for an account that is sound by 750
TIGHTER = (1, BTC, UNDERLYING_WORD + 300)
LANES = [
    (1, BTC, UNDERLYING_WORD + 300),  # scan
    (1, BTC, UNDERLYING_WORD + (300 << 64)),  # charge on the delta: from nothing to 3 %
    (0, 0, GLOBAL_WORD + 300 + (300 << 16)),  # both scales
    (0, 0, GLOBAL_WORD + (300 << 64)),  # reserve: 300 USD
    (2, 0, COLLATERAL_WORD + 500 + (300 << 16)),  # haircuts
    (2, 0, COLLATERAL_WORD + (100 << 32)),  # size haircut
]


@pytest.mark.parametrize("change", LANES)
def test_the_block_of_the_push_liquidates_nobody(market: Market, change: tuple[int, int, int]) -> None:
    before = market.engine.assess(market.borrower)
    with boa.reverts("auction: healthy"):
        market.auction.start(market.borrower, 0, sender=OUTSIDER)
    push(market, [change])
    after = market.engine.assess(market.borrower)
    assert (after.equity_mm, after.mm) == (before.equity_mm, before.mm)
    with boa.reverts("auction: healthy"):
        market.auction.start(market.borrower, 0, sender=OUTSIDER)


def test_the_owner_has_the_time_of_the_ramp(market: Market) -> None:
    # 750 of 7,410 USD is a tenth of the way, 36 minutes
    push(market, [TIGHTER])
    boa.env.time_travel(seconds=36 * 60)
    with boa.reverts("auction: healthy"):
        market.auction.start(market.borrower, 0, sender=OUTSIDER)
    with boa.env.anchor():
        boa.env.time_travel(seconds=6 * HOUR)
        health = market.engine.assess(market.borrower)
        assert health.mm - health.equity_mm == 6_660 * WAD
        market.auction.start(market.borrower, 0, sender=OUTSIDER)
    market.deposit(market.borrower, 6_660 * USD)
    boa.env.time_travel(seconds=6 * HOUR)
    with boa.reverts("auction: healthy"):
        market.auction.start(market.borrower, 0, sender=OUTSIDER)


def test_a_wrapper_that_pushes_many_times_in_a_block_gains_nothing(market: Market) -> None:
    push(market, [TIGHTER])
    before = market.engine.assess(market.borrower)
    for nonce in (2, 3):
        with boa.reverts("params: too soon"):
            push(market, [(1, BTC, TIGHTER[2] + 300)], observed_s_ago=60 - nonce, nonce=nonce)
        push(market, [], observed_s_ago=60 - nonce, nonce=nonce)
    assert market.engine.assess(market.borrower) == before
