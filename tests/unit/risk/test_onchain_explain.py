# SPDX-License-Identifier: Apache-2.0
"""Each position's part of the worst scenario: adds up on random accounts, and by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.onchain import assess
from risk.onchain_explain import breakdown
from risk.onchain_words import AccountState, CollateralPosition, MarkWord, OptionPosition, build_words
from tests.differential.engine_cases import WAD, make_case
from tests.property.test_coherence import held, pair_market


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**63))
def test_parts_add_up_to_what_decides(seed: int) -> None:
    market, account = make_case(seed)
    words = build_words(account)
    found, result = breakdown(words, market), assess(words, market)
    # a dozen roundings a part; without a row an option has no part in the scan, its charge is its notional
    assert abs(sum(part.profit for part in found.parts) + found.loss) <= 20 * (1 + len(found.parts))
    if found.binding in {"scan", "joint", "sum of scans"}:
        assert abs(found.loss - result.market_risk) <= 20 * (1 + len(result.scans))
    assert (found.joint is not None) == (found.binding == "joint")
    if found.joint is not None:
        assert found.joint == result.worst_joint


def test_by_hand() -> None:
    """Long 1 X, short 0.8 Y, both fall 20 % of 100: -20 and +16."""
    account = AccountState(0, 0, (), {255: held(1.0), 1 << 8 | 255: held(-0.8)})
    found = breakdown(build_words(account), pair_market(((-127, -127), (127, 127))))
    assert (found.binding, found.joint, found.loss) == ("joint", 0, 4 * WAD)
    assert [(part.kind, part.key, part.profit) for part in found.parts] == [
        ("delta-one", 255, -20 * WAD),
        ("delta-one", 1 << 8 | 255, 16 * WAD),
    ]


def test_parts_in_a_last_day_are_those_of_the_lots_that_are_kept() -> None:
    """Long 1 X against a future that has six hours: a quarter of it counts."""
    market = pair_market(((-127, -127), (127, 127)))
    market = replace(market, marks={**market.marks, 254: MarkWord(0, 0, market.timestamp + 6 * 3_600)})
    account = AccountState(0, 0, (), {255: held(1.0), 254: held(-1.0)})
    found = breakdown(build_words(account), market)
    assert (found.binding, found.loss) == ("scan", 15 * WAD)
    assert [(part.key, part.profit) for part in found.parts] == [(255, -20 * WAD), (254, 5 * WAD)]


def test_the_dominance_floor_shows_the_worst_scan_points() -> None:
    account = AccountState(0, 0, (), {255: held(1.0), 1 << 8 | 255: held(-0.8)}, {1: (OptionPosition(0, 800_000),)})
    found = breakdown(build_words(account), pair_market(((-127, -127), (127, 127))))
    assert (found.binding, found.joint) == ("dominant underlying", None)
    # X falls 20; Y rises 5 %, which the call does not pay for
    assert [part.profit / WAD for part in found.parts] == pytest.approx([-20.0, -4.0, 0.8 * 1.0], abs=0.01)


def test_collateral_that_follows_nothing_has_no_part() -> None:
    market, _ = make_case(1)
    asset = min(market.collateral_prices)
    account = AccountState(10**20, 0, (CollateralPosition(asset, 10**20, 0, 18, 0),))
    assert breakdown(build_words(account), market) == ("none", None, (), 0)
