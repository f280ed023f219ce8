# SPDX-License-Identifier: Apache-2.0
"""Words of untouched accounts at a later block: the contract's arithmetic, forward and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from risk.onchain_cash import WAD, Indices, cap_use_bps, carried_words, scaled_cash, shown_cash
from risk.onchain_words import AccountState, CollateralPosition, build_words

INDEX = st.integers(WAD, 2**104 - 1)
SCALED = st.integers(-(2**128), 2**128)


@given(scaled=SCALED, then=st.tuples(INDEX, INDEX), now=st.tuples(INDEX, INDEX))
def test_what_is_shown_tells_what_is_stored(scaled: int, then: tuple[int, int], now: tuple[int, int]) -> None:
    before, after = Indices(*then), Indices(*now)
    shown = shown_cash(scaled, before)
    found = scaled_cash(shown, before)
    assert found is not None
    assert shown_cash(found, after) == shown_cash(scaled, after)


@given(scaled=st.integers(0, 10**30), loss=st.integers(1, 10**16))
def test_after_a_small_loss_most_credit_is_known(scaled: int, loss: int) -> None:
    low = Indices(WAD - loss, WAD)
    assert scaled_cash(shown_cash(scaled, low), low) in {scaled, None}


def test_after_a_loss_of_lenders_credit_is_read_again_and_debt_is_not() -> None:
    low = Indices(WAD // 2, 2 * WAD)
    assert scaled_cash(10, low) is None  # 20 or 21
    assert scaled_cash(-10, low) == -5
    words = build_words(AccountState(10))
    assert carried_words(words, low, Indices(WAD, WAD), {}) is None


def test_cash_and_cap_use_move_and_nothing_else() -> None:
    held = (CollateralPosition(1, 5, 30, 18, 1), CollateralPosition(3, 7, 40, 6, 0))
    words = build_words(AccountState(100, 9, held))
    then, now = Indices(WAD, WAD), Indices(WAD + WAD // 10, WAD)
    moved = build_words(AccountState(110, 9, (held[0]._replace(use_bps=77), held[1])))
    assert carried_words(words, then, now, {1: 77}) == moved
    assert carried_words(words, then, then, {}) == words


def test_use_of_a_cap_is_rounded_up_and_full_without_one() -> None:
    assert cap_use_bps(1, 10**6) == 1
    assert cap_use_bps(0, 10**6) == 0
    assert cap_use_bps(2 * 10**6, 10**6) == 10_000
    assert cap_use_bps(0, 0) == 10_000
