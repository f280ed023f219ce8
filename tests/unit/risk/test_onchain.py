# SPDX-License-Identifier: Apache-2.0
"""The integer twin at the edges of the rule, by hand, and the words in both directions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from risk.errors import BadInput
from risk.onchain import (
    ChainMarket,
    assess,
    assess_at,
    holds_initial_margin,
    price_band,
    underlying_results,
)
from risk.onchain_underlying import page_age
from risk.onchain_words import (
    AccountState,
    CollateralPosition,
    DeltaOnePosition,
    JointSet,
    MarkWord,
    OptionPosition,
    Page,
    PriceWord,
    build_words,
    instrument_id,
    parse_words,
)
from risk.types import CollateralParameters, GlobalParameters, UnderlyingParameters
from risk.units import pack_collateral, pack_global, pack_underlying

WAD = 10**18
UNIT = 10**6
DAY = 86_400
NOW = 1_800_000_000
PERPETUAL, NEAR, FAR = 255, 254, 253
PLAIN = UnderlyingParameters(2_400, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 500)
SCALES = GlobalParameters(10_000, 8_000, 10_000, 2_000, 0)
COIN = CollateralParameters(1_000, 500, 0, 1, 0)
STEP_E9 = 20 * 10**6  # 2 USD at 100


def price(usd: float, late_bps: int = 0) -> PriceWord:
    return PriceWord(int(usd * WAD), {0: 0, 10_000: 2}.get(late_bps, 1), NOW, late_bps)


def flat_page(observed_at: int = NOW, expires_at: int = NOW + DAY, lane: int = 10_000, rows: int = 1) -> Page:
    """Options worth 10 USD at every point, in lanes of a thousandth of a dollar."""
    word = sum(lane << 16 * n for n in range(15)).to_bytes(32, "big")
    return Page("", 1, observed_at, expires_at, 100 * WAD, 10**15, STEP_E9, 3 * rows * word)


def market(**changes: Any) -> ChainMarket:
    plain = ChainMarket(
        timestamp=NOW,
        prices={0: price(100), 1: price(100)},
        collateral_prices={0: price(100)},
        marks={instrument_id(u, slot): MarkWord(0, 0) for u in (0, 1) for slot in (PERPETUAL, NEAR, FAR)},
        global_word=pack_global(SCALES),
        underlying_words={u: pack_underlying(PLAIN) for u in (0, 1)},
        collateral_words={0: pack_collateral(COIN)},
        pages={0: flat_page()},
    )
    return replace(plain, **changes)


def delta_one(slot: int, units: int, base_usd: int = 0, u: int = 0) -> dict[int, DeltaOnePosition]:
    return {instrument_id(u, slot): DeltaOnePosition(units * UNIT, base_usd * UNIT * WAD)}


def test_an_empty_holding_does_not_make_its_link_active() -> None:
    # docs/margin-rule.md, section 3: linked to a collateral asset held (amount > 0). The market has no underlying 3.
    held = CollateralPosition(0, 0, 0, 18, 4)
    found = assess(build_words(AccountState(5 * WAD, collaterals=(held,))), market())
    assert found.equity_im == 5 * WAD
    assert (found.im, found.scans) == (0, ())


def test_words_of_futures_go_both_ways() -> None:
    state = AccountState(
        -1,
        2**64 - 1,
        (),
        {
            instrument_id(3, FAR): DeltaOnePosition(-(2**55) + 1, -(2**191)),
            instrument_id(3, PERPETUAL): DeltaOnePosition(7, 2**191 - 1),
            instrument_id(15, NEAR): DeltaOnePosition(1, 0),
        },
        {3: (OptionPosition(252, -5),)},
    )
    words = build_words(state)
    # head: one option of 3; perpetual of 3 at bit 131, slot 254 of 15 at 239, slot 253 of 3 at 243
    assert words[0] == 1 << 24 | 1 << 131 | 1 << 239 | 1 << 243 | (2**64 - 1) << 160
    assert words[1] == 2**256 - 1
    assert words[2] == 7 | (2**191 - 1) << 64
    assert words[3] == (2**64 - 2**55 + 1) | 2**191 << 64
    assert words[4] == 252 | 1 << 8 | 5 << 9
    assert words[5:] == (1,)
    assert parse_words(words) == state
    with pytest.raises(BadInput, match="ends after 5 words"):
        parse_words(words[:-1])
    with pytest.raises(BadInput, match="its head says 6"):
        parse_words((*words, 0))


def test_mark_and_price_words_go_both_ways() -> None:
    assert MarkWord.from_word(5 | (2**128 - 3) << 128) == MarkWord(5, -3)
    assert MarkWord(5, -3).to_word() == 5 | (2**128 - 3) << 128
    word = 7 | 1 << 128 | NOW << 136 | 2_500 << 200
    assert PriceWord.from_word(word) == PriceWord(7, 1, NOW, 2_500)
    assert PriceWord(7, 1, NOW, 2_500).to_word() == word


@pytest.mark.parametrize(
    ("slot", "mark", "value", "scan"),
    [
        (PERPETUAL, MarkWord(0, 3 * WAD), 2 * (100 - 3), 48),
        (PERPETUAL, MarkWord(70 * WAD, 3 * WAD), 2 * (70 - 3), 0),
        (NEAR, MarkWord(0, 10**8), 2 * 110, 2 * 26.4),
        (FAR, MarkWord(0, -(10**8)), 2 * 90, 2 * 21.6),
        (FAR, MarkWord(70 * WAD, -(10**8)), 2 * 70, 0),
    ],
)
def test_delta_one_value_and_risk(slot: int, mark: MarkWord, value: float, scan: float) -> None:
    words = build_words(AccountState(0, delta_ones=delta_one(slot, 2, -10)))
    found = assess(words, market(marks={instrument_id(0, slot): mark}))
    assert found.equity_mark == (value - 10) * WAD
    assert found.scans == (int(scan * 10) * WAD // 10,)


def test_values_of_one_underlying_are_floored_together_and_exposures_apart_from_them() -> None:
    # half a unit of a millionth each: -1 + 0.5 + 0.5 wei, and one lot each of exposure
    held = {
        instrument_id(0, PERPETUAL): DeltaOnePosition(1, -(10**6)),
        instrument_id(0, NEAR): DeltaOnePosition(1, 0),
    }
    found = assess(build_words(AccountState(0, delta_ones=held)), market(prices={0: PriceWord(500_000, 0, NOW, 0)}))
    assert found.equity_mark == 0
    # a long of 1 wei loses 24 % of it: one wei
    assert found.scans == (1,)


@pytest.mark.parametrize(
    ("observed_at", "expires_at", "y0", "expected"),
    [
        (NOW, NOW + 1_000, 0, (0, 0, False, False, False)),
        (NOW - 500, NOW + 500, 3 * 10**9, (0, 0, False, False, False)),
        (NOW - 501, NOW + 499, 3 * 10**9 + 1, (20, 1, False, False, False)),
        (NOW - 999, NOW + 1, -(45 * 10**8), (9_980, 5_000, False, False, False)),
        (NOW - 1_000, NOW, 6 * 10**9, (10_000, 10_000, False, False, False)),
        (NOW - 1_001, NOW - 1, 0, (10_000, 0, True, False, False)),
        (NOW, NOW + 1_000, -6 * 10**9 - 1, (0, 10_000, True, False, False)),
        (NOW - DAY - 9, NOW - DAY, 0, (10_000, 0, True, False, False)),
        (NOW - DAY - 9, NOW - DAY - 1, 0, (10_000, 0, True, True, False)),
        (NOW + 50, NOW + 60, 0, (0, 0, False, False, False)),
        (NOW - DAY - 9, NOW - DAY - 1, 15 * 10**9, (10_000, 10_000, True, True, False)),
        (NOW - DAY - 9, NOW - DAY - 1, -15 * 10**9 - 1, (10_000, 10_000, True, True, True)),
        (NOW - 9, 0, 0, (10_000, 0, True, True, True)),
    ],
)
def test_age_and_distance_of_a_page(
    observed_at: int, expires_at: int, y0: int, expected: tuple[int, int, bool, bool, bool]
) -> None:
    assert page_age(flat_page(observed_at, expires_at), y0, NOW) == expected


def test_page_speaks_only_where_there_are_options() -> None:
    """An expired page of an underlying held through its perpetual alone changes nothing."""
    words = build_words(AccountState(0, delta_ones=delta_one(PERPETUAL, 1)))
    old = flat_page(NOW - 9 * DAY, NOW - 8 * DAY)
    assert assess(words, market(pages={0: old})) == assess(words, market(pages={}))


@pytest.mark.parametrize(
    ("late_bps", "widen", "wider"), [(0, 0, 0), (2_500, 0, 2_500), (1, 2, 3), (9_000, 65_535, 30_000)]
)
def test_initial_margin_alone_is_widened(late_bps: int, widen: int, wider: int) -> None:
    words = build_words(AccountState(0, delta_ones=delta_one(PERPETUAL, 5)))
    word = pack_underlying(replace(PLAIN, widen_bps=widen))
    found = assess(words, market(prices={0: price(100, late_bps)}, underlying_words={0: word}))
    assert found.im == 120 * WAD * (10_000 + wider) // 10_000
    assert found.mm == 96 * WAD


def test_dead_page_takes_long_option_value_from_initial_equity() -> None:
    state = AccountState(0, options={0: (OptionPosition(0, 3 * UNIT),)})
    dead = market(pages={0: flat_page(NOW - DAY, NOW - 1)})
    found = assess(build_words(state), dead)
    slack = 3 * 10**15 * 5 // 8
    assert (found.equity_mark, found.equity_im, found.equity_mm) == (30 * WAD - slack, 0, 30 * WAD - slack)
    assert found.flags == 2
    short = assess(build_words(replace(state, options={0: (OptionPosition(0, -3 * UNIT),)})), dead)
    assert short.equity_im == short.equity_mm == -30 * WAD - slack
    assert found.doubt == short.doubt == 0


@pytest.mark.parametrize("past", [DAY, DAY + 1])
def test_doubt_of_a_forgotten_page(past: int) -> None:
    state = AccountState(0, options={0: (OptionPosition(0, -3 * UNIT),)})
    words = build_words(state)
    # a flat option neither gains nor loses but its slack
    slack = 3 * 10**15 * 5 // 8
    found = assess(words, market(pages={0: flat_page(NOW - 9 * DAY, NOW - past)}))
    assert found.doubt == (slack if past > DAY else 0)
    # a page that was returned to says nothing about its options, so they may be worth their notional
    returned = assess(words, market(pages={0: flat_page(NOW - 9 * DAY, 0)}))
    assert returned.doubt == 300 * WAD + slack


def test_doubt_of_a_dead_price_is_both_sides_of_the_grid() -> None:
    words = build_words(AccountState(0, delta_ones=delta_one(PERPETUAL, -5, 400)))
    found = assess(words, market(prices={0: price(100, 10_000)}))
    assert found.doubt == 240 * WAD
    assert (found.equity_mm, found.mm) == (-100 * WAD, 96 * WAD)
    assert found.flags == 1
    assert not found.liquidatable
    assert assess(words, market()).liquidatable


def test_dead_collateral_counts_less_and_leaves_its_double_in_doubt() -> None:
    held = CollateralPosition(0, WAD, 0, 18, 0)
    words = build_words(AccountState(0, collaterals=(held,)))
    dead = assess(words, market(collateral_prices={0: price(100, 10_000)}))
    assert (dead.equity_mark, dead.equity_im, dead.equity_mm, dead.doubt) == (100 * WAD, 0, 75 * WAD, 125 * WAD)
    late = assess(words, market(collateral_prices={0: price(100, 3_333)}))
    assert (late.equity_im, late.equity_mm, late.doubt) == (90 * WAD * 6_667 // 10_000, 95 * WAD, 0)


@pytest.mark.parametrize(
    ("state", "reserved"),
    [
        (AccountState(0), 0),
        (AccountState(-1), 30),
        (AccountState(1, collaterals=(CollateralPosition(0, WAD, 0, 18, 0),)), 0),
        (AccountState(1, delta_ones=delta_one(FAR, 0)), 30),
        (AccountState(1, options={0: (OptionPosition(9, UNIT),)}), 30),
    ],
)
def test_reserve_is_kept_for_whoever_may_be_liquidated(state: AccountState, reserved: int) -> None:
    word = pack_global(replace(SCALES, reserve_usd=30))
    found = assess(build_words(state), market(global_word=word))
    assert found.im == found.mm == reserved * WAD


def test_offset_floor_of_initial_margin() -> None:
    state = AccountState(0, delta_ones=delta_one(PERPETUAL, 1) | delta_one(PERPETUAL, -1, u=1))
    joint = JointSet("", 1, NOW, (0,))
    scales = replace(SCALES, im_offset_floor_bps=5_000)
    found = assess(build_words(state), market(global_word=pack_global(scales), joint=joint))
    assert found.market_risk == 48 * WAD // 5
    assert (found.im, found.mm) == (24 * WAD, 48 * WAD // 5 * 8 // 10)
    alone = AccountState(0, delta_ones=delta_one(PERPETUAL, 1))
    assert assess(build_words(alone), market(global_word=pack_global(scales))).im == 24 * WAD


def test_closed_form_of_a_linear_underlying_in_a_joint_scenario() -> None:
    """Exact at -127 and -128 alike, and the options' part is floored apart from it."""
    state = AccountState(0, delta_ones=delta_one(PERPETUAL, 1) | delta_one(NEAR, 1, u=1))
    low, lowest = ((b % 256) * (1 | 1 << 16) for b in (-127, -128))
    for word in (low, lowest):
        found = assess(build_words(state), market(joint=JointSet("", 1, NOW, (word,))))
        assert (found.market_risk, found.worst_joint) == (48 * WAD, 0)


def test_proofs_and_the_gate() -> None:
    words = build_words(AccountState(0, delta_ones=delta_one(PERPETUAL, 5, -500)))
    assert assess_at(words, market(), 64 + 9) == (0, 96 * WAD)
    assert holds_initial_margin(words, market()) == (False, 0)
    rich = build_words(AccountState(120 * WAD, delta_ones=delta_one(PERPETUAL, 5, -500)))
    assert holds_initial_margin(rich, market()) == (True, 0)
    with pytest.raises(ValueError, match="stale data"):
        assess_at(words, market(prices={0: price(100, 10_000)}), 64 + 9)
    # late is not dead
    assert assess_at(words, market(prices={0: price(100, 9_999)}), 64 + 9) == (0, 96 * WAD)
    for scenario in (0, 63, 64 + 27):
        with pytest.raises(ValueError, match="needs"):
            assess_at(words, market(), scenario)


def test_bits_above_the_last_lane_are_ignored() -> None:
    words = build_words(AccountState(0, delta_ones=delta_one(PERPETUAL, 5)))
    noisy = {0: pack_underlying(PLAIN) | (2**48 - 1) << 208}
    assert assess(words, market(underlying_words=noisy)) == assess(words, market())


def test_band_of_delta_one_instruments() -> None:
    marks = {instrument_id(0, PERPETUAL): MarkWord(0, 9 * WAD), instrument_id(0, NEAR): MarkWord(0, 10**8)}
    found = market(marks=marks)
    assert price_band(found, instrument_id(0, PERPETUAL)) == (100 * WAD, 95 * WAD, 105 * WAD)
    assert price_band(found, instrument_id(0, NEAR)) == (110 * WAD, 110 * WAD * 95 // 100, 110 * WAD * 105 // 100)
    settled = market(marks={instrument_id(0, NEAR): MarkWord(WAD, 10**8)})
    assert price_band(settled, instrument_id(0, NEAR)) == (0, 0, 0)
    assert price_band(market(prices={0: price(0)}), instrument_id(0, PERPETUAL)) == (0, 0, 0)
    # low rounds down, high up
    odd = market(prices={0: PriceWord(3, 0, NOW, 0)})
    assert price_band(odd, instrument_id(0, PERPETUAL)) == (3, 2, 4)


def test_band_of_options_is_what_the_grid_gives() -> None:
    def word(level: int) -> bytes:
        return sum(max(0, level + 500 * (n - 7)) << 16 * n for n in range(15)).to_bytes(32, "big")

    bent = Page("", 1, NOW, NOW + DAY, 100 * WAD, 10**15, STEP_E9, word(4_000) + word(5_000) + word(9_000))
    found = price_band(market(pages={0: bent}), instrument_id(0, 0))
    assert found.mark == 5 * WAD
    # 12 steps down in volatility down, node 1; 12 steps up in volatility up, node 13
    assert (found.low, found.high) == (WAD - 10**15, 12 * WAD + 10**15)
    # 24 % off a price of 90 is 15.8 steps down, where the outer line (1 USD at 12, 0.5 at 15) has 0.3667 left
    assert (
        price_band(market(pages={0: bent}, prices={0: price(90)}), instrument_id(0, 0)).low == 365_666_667_000_000_000
    )
    assert price_band(market(pages={0: bent}, prices={0: price(80)}), instrument_id(0, 0)).low == 0
    assert price_band(market(), instrument_id(0, 0)) == (10 * WAD, 10 * WAD - 10**15, 10 * WAD + 10**15)
    assert price_band(market(), instrument_id(0, 1)) == (0, 0, 0)
    assert price_band(market(pages={}), instrument_id(0, 0)) == (0, 0, 0)
    assert price_band(market(prices={0: price(0)}), instrument_id(0, 0)) == (0, 0, 0)


def test_results_of_the_underlyings_say_what_an_assessment_is_made_of() -> None:
    state = AccountState(0, delta_ones=delta_one(PERPETUAL, 5), options={1: (OptionPosition(0, -UNIT),)})
    found = underlying_results(build_words(state), market(prices={0: price(100, 700), 1: price(100)}))
    assert [item.underlying for item in found] == [0, 1]
    assert [item.widen_bps for item in found] == [700, 0]
    assert found[1].charge == 100 * WAD
