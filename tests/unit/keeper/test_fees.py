# SPDX-License-Identifier: Apache-2.0
"""Fees of first offers and raises; numbers worked by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.domain import FeeQuote
from keeper.errors import Transient
from keeper.tx.fees import FeeCaps, Fees, first_offer, raised_offer

CAPS = FeeCaps(max_fee_wei=1_000, max_priority_fee_wei=50)


def test_first_offer_leaves_room_for_the_base_fee() -> None:
    assert first_offer(FeeQuote(100, 3), CAPS) == Fees(203, 3)


def test_first_offer_caps_the_tip_and_the_total() -> None:
    assert first_offer(FeeQuote(100, 80), CAPS) == Fees(250, 50)
    assert first_offer(FeeQuote(980, 80), CAPS) == Fees(1_000, 20)  # the base fee leaves 20 for the tip


def test_first_offer_waits_at_the_cap() -> None:
    with pytest.raises(Transient, match="base fee 1000 wei is not below the cap of 1000 wei"):
        first_offer(FeeQuote(1_000, 1), CAPS)
    assert first_offer(FeeQuote(999, 1), CAPS) == Fees(1_000, 1)


def test_raise_by_the_policy_or_to_the_market() -> None:
    assert raised_offer(Fees(203, 3), FeeQuote(100, 3), CAPS) == Fees(244, 4)  # 243.6 and 3.6, rounded up
    assert raised_offer(Fees(203, 3), FeeQuote(300, 10), CAPS) == Fees(610, 10)


def test_raise_never_below_what_nodes_demand() -> None:
    lazy = FeeCaps(max_fee_wei=1_000, max_priority_fee_wei=50, bump_percent=Decimal(1))
    assert raised_offer(Fees(200, 8), FeeQuote(10, 1), lazy) == Fees(225, 9)


def test_raise_that_does_not_fit_is_none() -> None:
    assert raised_offer(Fees(889, 3), FeeQuote(100, 3), CAPS) is None  # 889 * 1.125 = 1000.125
    assert raised_offer(Fees(888, 3), FeeQuote(100, 3), CAPS) == Fees(1_000, 4)  # 999


@given(
    max_fee=st.integers(1, 10**12),
    tip=st.integers(0, 10**11),
    base=st.integers(0, 10**12),
    hint=st.integers(0, 10**11),
    cap=st.integers(1, 10**13),
)
def test_a_raise_always_satisfies_the_node_and_the_cap(max_fee: int, tip: int, base: int, hint: int, cap: int) -> None:
    caps = FeeCaps(max_fee_wei=cap, max_priority_fee_wei=cap)
    previous = Fees(max_fee, min(tip, max_fee))
    raised = raised_offer(previous, FeeQuote(base, hint), caps)
    if raised is None:
        assert max_fee * 1125 > cap * 1000
        return
    assert raised.max_fee_wei <= cap
    assert raised.priority_fee_wei <= raised.max_fee_wei
    assert raised.max_fee_wei * 1000 >= previous.max_fee_wei * 1125
    assert raised.priority_fee_wei * 1000 >= previous.priority_fee_wei * 1125
