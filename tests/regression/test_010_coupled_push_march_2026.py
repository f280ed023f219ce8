# SPDX-License-Identifier: Apache-2.0
"""Aave, 10 March 2026: one of two coupled fields was clipped, and about $26M of sound positions were liquidated.

A newly deployed risk agent pushed, for wstETH's price cap, a ratio and the time at which it had been observed. The
ratio went through a limit of 3 % in three days, which clipped it; the time, seven days old, went through no limit. Each
passed alone. Together they said that a low ratio was a week old, the cap fell by 2.85 %, and 34 accounts were
liquidated (governance.aave.com/t/24269).

Here the fields of one update and the time of their observation are one batch, taken as it is or refused as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import boa
import pytest

from tests.support import auction_market
from tests.support.auction_market import (
    BORROWER,
    BTC,
    ETH,
    GOVERNANCE,
    GUARDIAN,
    LOTS,
    WAD,
    Market,
    deploy_market,
    pack,
)

AGENT: Final = boa.env.generate_address("agent")
HOUR: Final = 3_600
USED: Final = (5, 12, 5)
#                           im_scale mm_scale im_charge floor reserve
GLOBAL_WORD: Final = pack([12_000, 10_000, 12_000, 5_000, 0])
#                              scan vol+ vol- power delta option basis drift depth short day band
UNDERLYING_WORD: Final = pack([1_500, 4_000, 2_500, 3_000, 0, 0, 0, 0, 60_000, 0, 400, 5_000])
#                              im  mm  size unit use
COLLATERAL_WORD: Final = pack([1_200, 800, 0, 60_000, 0])
STEP_UP: Final = {0: pack([300] * 5), 1: pack([300] * 12), 2: pack([500, 300, 100, 100, 100])}


def guarded_parameters(*_: Any) -> Any:
    """Parameters of the auction market that an agent may push, in force long enough for a first change."""
    oracle = boa.env.generate_address("oracle")  # nobody asks for the price of cash here
    contract = boa.load("contracts/RiskParameters.vy", GOVERNANCE, GUARDIAN, oracle)
    words = {0: GLOBAL_WORD, 1: UNDERLYING_WORD, 2: COLLATERAL_WORD}
    with boa.env.prank(GOVERNANCE):
        contract.set_guards((HOUR, HOUR, 2 * 86_400, 500, 6 * HOUR, 6 * HOUR, 12 * HOUR, 0, 30_000))
        contract.set_keeper(AGENT, True)
        for kind, word in words.items():
            contract.set_bounds(kind, 0, (1 << 16 * USED[kind]) - 1, STEP_UP[kind], 0)
            for id_ in ((0,), (BTC, ETH), (0,))[kind]:
                contract.initialise(kind, id_, word)
    boa.env.time_travel(seconds=2 * HOUR)
    return contract


@pytest.fixture(scope="module")
def deployed() -> Iterator[Market]:
    with pytest.MonkeyPatch.context() as patch, boa.env.anchor():
        patch.setattr(auction_market, "_parameters", guarded_parameters)
        yield deploy_market()


@pytest.fixture
def market(deployed: Market) -> Iterator[Market]:
    """Borrower: 20,000 of cash, 10 ether, long 2.6 BTC at 100,000, which fell to 95,000: sound by 750 USD."""
    with boa.env.anchor():
        deployed.deposit_ether(deployed.borrower, BORROWER, 10 * WAD)
        deployed.trade(BTC, deployed.borrower, deployed.maker, LOTS * 26 // 10, 100_000)
        deployed.set_price(BTC, 95_000)
        deployed.set_price(ETH, 4_000)
        health = deployed.engine.assess(deployed.borrower)
        assert health.equity_mm - health.mm == 750 * WAD
        yield deployed


def push(market: Market, changes: list[tuple[int, int, int]], observed_s_ago: int = 60, nonce: int = 1) -> None:
    now = boa.env.timestamp
    market.parameters.push(
        nonce, now - observed_s_ago, now + 600, b"\x01" * 32, b"\x02" * 32, changes, sender=AGENT
    )  # fmt: skip


def haircuts(im_bps: int, mm_bps: int) -> tuple[int, int, int]:
    return 2, 0, COLLATERAL_WORD - 1_200 - (800 << 16) + im_bps + (mm_bps << 16)


REFUSED: Final = [
    # the value within its step, its time a week old
    (haircuts(1_500, 1_100), 7 * 86_400, "params: observed too old"),
    # the time good, one value beyond its step: not clipped to 1,100
    (haircuts(1_500, 1_101), 60, "params: step up too large"),
    (haircuts(1_701, 1_100), 60, "params: step up too large"),
    # both, as that day
    (haircuts(1_500, 1_101), 7 * 86_400, "params: observed too old"),
]


@pytest.mark.parametrize("change,observed_s_ago,reason", REFUSED)
def test_the_update_is_refused_whole(
    market: Market, change: tuple[int, int, int], observed_s_ago: int, reason: str
) -> None:
    boa.env.time_travel(seconds=HOUR)
    before = market.engine.assess(market.borrower), market.parameters.status(), market.parameters.words(3, 1)
    good = (0, 0, GLOBAL_WORD + 100)
    for batch in ([change], [good, change], [change, good]):
        with boa.reverts(reason):
            push(market, batch, observed_s_ago)
    assert (market.engine.assess(market.borrower), market.parameters.status(), market.parameters.words(3, 1)) == before


def test_and_the_same_update_within_its_limits_liquidates_nobody(market: Market) -> None:
    before = market.engine.assess(market.borrower)
    push(market, [haircuts(1_700, 1_100)])  # 1,200 USD, of the 750 that are left
    after = market.engine.assess(market.borrower)
    assert (after.equity_mm, after.mm) == (before.equity_mm, before.mm)
    assert before.equity_im - after.equity_im == 2_000 * WAD  # 5 % of 40,000: initial margin feels it at once
    with boa.reverts("auction: healthy"):
        market.auction.start(market.borrower, 0)
