# SPDX-License-Identifier: Apache-2.0
"""RiskParameters: the words at rest, past their life, and never set."""

from __future__ import annotations

from typing import Any

import boa

from tests.unit.contracts.test_parameters import (
    COLLATERAL_WORD,
    GLOBAL_WORD,
    HOUR,
    UNDERLYING_WORD,
    deployment,
    in_margin,
    load,
    now,
    pack,
    params,
    push,
    with_lane,
)

__all__ = ["deployment", "params"]


# ------------------------------------------------------------------ lapse


def test_lapse_raises_initial_margin_alone(params: Any) -> None:
    valid_until = params.status()[3]
    expected = [
        (0, 12_000),
        (1, 12_500),
        (6 * HOUR - 1, 12_500),
        (6 * HOUR, 13_000),
        (30 * HOUR, 15_000),
        (90 * HOUR, 20_000),  # 12,000 + 16 * 500
        (365 * 24 * HOUR, 20_000),
    ]
    for after_s, im_scale_bps in expected:
        with boa.env.anchor():
            boa.env.time_travel(seconds=valid_until + after_s - now())
            assert params.words(0, 0) == [in_margin(with_lane(GLOBAL_WORD, 0, im_scale_bps))]
            assert params.lapsed() is (after_s > 0)
            assert params.word(0, 0) == GLOBAL_WORD


def test_a_push_ends_the_lapse(params: Any) -> None:
    boa.env.time_travel(seconds=10 * 86_400)
    assert params.lapsed()
    push(params, [])
    assert not params.lapsed()
    assert params.words(0, 0) == [in_margin(GLOBAL_WORD)]


# ------------------------------------------------------------------ unset words


def test_unset_words_read_as_the_dearest(params: Any) -> None:
    empty = load()
    global_word, underlying, collateral = empty.words(1 << 15, 1 << 15)
    assert global_word == pack([20_000, 20_000, 20_000, 10_000, 1_000, 10_000])
    assert underlying == pack([9_000, 10_000, 9_000, 0, 1_000, 1_000, 1_000, 100, 1, 500, 0, 1])
    assert collateral == pack([10_000, 10_000, 0, 1, 0])
    assert [empty.in_force(*key) for key in ((0, 0), (1, 15), (2, 15))] == [global_word, underlying, collateral]
    assert (empty.word(1, 15), empty.underlying_at(15, 0)) == (0, underlying)
    assert params.words(0xFFFF, 0xFFFF)[17 + 2] == COLLATERAL_WORD


def test_words_at_rest(params: Any) -> None:
    assert params.words(1 << 0 | 1 << 5, 1 << 2) == [
        in_margin(GLOBAL_WORD), UNDERLYING_WORD, UNDERLYING_WORD, COLLATERAL_WORD,
    ]  # fmt: skip
    assert params.words(2**256 - 1, 2**256 - 1) == params.words(0xFFFF, 0xFFFF)
    for key in ((3, 0), (0, 1), (1, 16)):
        with boa.reverts("params: unknown id"):
            params.in_force(*key)


def test_words_is_cheap(params: Any) -> None:
    params.words(0b1, 0)
    one = params._computation.get_gas_used()
    params.words(0b1111, 0b1111 << 0)
    eight = params._computation.get_gas_used()
    # cold storage: 2,100 a word, and one status slot beside the words
    assert one < 3 * 2_100 + 1_600
    assert (eight - one) / 7 < 2_100 + 400
