# SPDX-License-Identifier: Apache-2.0
"""Futures, settled perpetuals, the reserve and the price band, by hand."""

from __future__ import annotations

import pytest

from tests.support.margin_words import (
    DEAD,
    NOW,
    UNIT,
    WAD,
    DeltaOne,
    EngineWorld,
    global_word,
    holding,
    mark_word,
    row,
    underlying_word,
    words,
)

PERP, FIRST, SECOND = 255, 254, 253
E9 = 10**9


@pytest.fixture
def world() -> EngineWorld:
    return EngineWorld()


# ------------------------------------------------------------------ futures


@pytest.mark.parametrize(("basis", "mark"), [(0, 100 * WAD), (E9 // 50, 102 * WAD), (-E9 // 50, 98 * WAD)])
def test_future_is_marked_at_the_price_and_its_basis(world: EngineWorld, basis: int, mark: int) -> None:
    world.mark(FIRST, mark_word(carry=basis))
    got = world.assess(words(first={0: DeltaOne(2 * UNIT, -190 * UNIT * WAD)}))
    assert got.equity_mark == 2 * mark - 190 * WAD
    # the basis moves with the price: a quarter less two fifths of a per cent of the mark
    assert got.scans == (2 * mark * 24 // 100,)


def test_basis_rounds_down_for_either_sign(world: EngineWorld) -> None:
    # a billionth of a price of 1.5e9 - 1 wad: 1.499999999, up or down
    world.price(0, 0, 3 * E9 // 2 - 1)
    for carry, basis in ((1, 1), (-1, -2)):
        world.mark(SECOND, mark_word(carry=carry))
        assert world.assess(words(second={0: DeltaOne(UNIT, 0)})).equity_mark == 3 * E9 // 2 - 1 + basis


def test_future_pays_no_carry(world: EngineWorld) -> None:
    world.mark(PERP, mark_word(carry=WAD))
    world.mark(FIRST, mark_word(carry=0))
    held = DeltaOne(UNIT, -100 * UNIT * WAD)
    assert world.assess(words(perps={0: held})).equity_mark == -WAD
    assert world.assess(words(first={0: held})).equity_mark == 0


def test_calendar_spread_nets_in_the_scan(world: EngineWorld) -> None:
    world.mark(FIRST, mark_word(carry=E9 // 50))
    world.mark(SECOND, mark_word(carry=E9 // 20))
    got = world.assess(
        words(
            perps={0: DeltaOne(UNIT, 0)},
            first={0: DeltaOne(UNIT, 0)},
            second={0: DeltaOne(-2 * UNIT, 0), 5: DeltaOne(UNIT, 0)},
        )
    )
    assert got.equity_mark == (100 + 102 - 210 + 100) * WAD
    assert got.scans == (8 * WAD * 24 // 100, 24 * WAD)


def test_marks_go_to_their_instruments(world: EngineWorld) -> None:
    # every kind in two underlyings, each with a settlement price of its own
    held = {u: DeltaOne(UNIT, 0) for u in (2, 9)}
    for k, instrument in enumerate(u << 8 | slot for u in (2, 9) for slot in (PERP, FIRST, SECOND)):
        world.mark(instrument, mark_word(settled=10**k * WAD))
    got = world.assess(words(perps=held, first=held, second=held))
    assert got.equity_mark == 111_111 * WAD
    assert got.scans == (0, 0)


# ------------------------------------------------------------------ settlement


def test_settled_perpetual_is_worth_its_price_and_moves_no_more(world: EngineWorld) -> None:
    world.mark(PERP, mark_word(settled=120 * WAD, carry=3 * WAD))
    got = world.assess(words(perps={0: DeltaOne(-UNIT, 100 * UNIT * WAD)}))
    # 20 lost, 3 of funding received
    assert got.equity_mark == got.equity_mm == -17 * WAD
    assert (got.scans, got.mm, got.im) == ((0,), 0, 0)


def test_settled_future_beside_a_living_perpetual(world: EngineWorld) -> None:
    world.mark(FIRST, mark_word(settled=70 * WAD, carry=E9))
    got = world.assess(words(perps={0: DeltaOne(UNIT, 0)}, first={0: DeltaOne(-UNIT, 0)}))
    assert got.equity_mark == 30 * WAD
    assert got.scans == (24 * WAD,)


# ------------------------------------------------------------------ reserve


def test_reserve_of_positions_and_debts(world: EngineWorld) -> None:
    world.parameters(0, 0, global_word(im=20_000, mm=15_000, charge=30_000, reserve=25))
    for state in (
        words(cash=-1),
        words(perps={0: DeltaOne(0, 0)}),
        words(first={15: DeltaOne(0, 0)}),
        words(second={0: DeltaOne(0, 0)}),
    ):
        got = world.assess(state)
        assert (got.mm, got.im, got.market_risk, got.charges) == (25 * WAD, 25 * WAD, 0, 0)
    # an option without a row is a position
    assert world.assess(words(options={7: [(0, 1)]})).mm == 25 * WAD
    for state in (words(cash=WAD), words(), words(collateral={0: holding(WAD)})):
        assert world.assess(state)[3:5] == (0, 0)


def test_reserve_is_in_the_bound_of_a_scenario(world: EngineWorld) -> None:
    world.parameters(0, 0, global_word(reserve=25))
    world.set(words(perps={0: DeltaOne(UNIT, 0)}))
    assert world.assess_at(64) == (100 * WAD, 49 * WAD)
    assert world.assess_at(64 + 8) == (100 * WAD, 25 * WAD)


def test_offset_floor_of_initial_margin_alone(world: EngineWorld) -> None:
    world.joint([{}])
    world.parameters(0, 0, global_word(floor=1_000, im_floor=5_000))
    pair = words(perps={0: DeltaOne(UNIT, 0), 1: DeltaOne(-UNIT, 0)})
    got = world.assess(pair)
    assert (got.market_risk, got.mm, got.im) == (48 * WAD // 10, 48 * WAD // 10, 24 * WAD)
    # one underlying has nothing to offset
    assert world.assess(words(perps={0: DeltaOne(UNIT, 0)})).im == 24 * WAD


# ------------------------------------------------------------------ price band


def test_band_of_delta_one(world: EngineWorld) -> None:
    world.parameters(1, 3, underlying_word(band=333))
    assert world.band(3 << 8 | PERP) == (100 * WAD, 96_670_000_000_000_000_000, 103_330_000_000_000_000_000)
    world.mark(3 << 8 | FIRST, mark_word(carry=E9 // 10))
    assert world.band(3 << 8 | FIRST) == (110 * WAD, 106_337 * 10**15, 113_663 * 10**15)
    # outwards: 9,667 / 10,000 and 10,333 / 10,000 of one wad
    world.price(0, 3, 1)
    assert world.band(3 << 8 | PERP) == (1, 0, 2)


def test_band_wider_than_the_price_begins_at_nothing(world: EngineWorld) -> None:
    world.parameters(1, 0, underlying_word(band=20_000))
    assert world.band(PERP) == (100 * WAD, 0, 300 * WAD)


def test_no_band_without_a_price_or_after_settlement(world: EngineWorld) -> None:
    world.parameters(1, 0, underlying_word(band=500))
    assert world.band(SECOND) == (100 * WAD, 95 * WAD, 105 * WAD)
    world.mark(SECOND, mark_word(settled=1))
    world.mark(FIRST, mark_word(carry=-2 * E9))
    world.page(0, [row(lambda _, __: 1)])
    for instrument in (SECOND, FIRST, 1, 252, 16 << 8 | PERP, 2**256 - 1):
        assert world.band(instrument) == (0, 0, 0)
    assert world.band(9 << 8) == (0, 0, 0)
    world.price(0, 0, DEAD)
    assert world.band(PERP) == world.band(0) == (0, 0, 0)


def test_band_of_an_option_is_what_its_grid_spans(world: EngineWorld) -> None:
    # 10 USD and 10 cents a step of 2 USD: 12 steps either way, and 50 cents less or 2 USD more with volatility; a lane
    # unit further out, 0.1 cents
    line = row(lambda v, k: 10_000 + 100 * k + (-500, 0, 2_000)[v])
    world.page(0, [row(lambda _, __: 7), line])
    assert world.band(1) == (10 * WAD, 8_299 * 10**15, 13_201 * 10**15)
    world.price(0, 0, 103 * WAD)
    # 1.5 steps up; 24.72 USD either way are 12.36 steps
    assert world.band(1) == (1_015 * 10**16, 8_413 * 10**15, 13_387 * 10**15)


def test_band_of_an_option_ends_at_nothing(world: EngineWorld) -> None:
    world.page(0, [row(lambda _, k: 100 * max(0, k))], unit=10**12)
    mark, low, high = world.band(0)
    assert (mark, low) == (0, 0)
    assert high == 1_201 * 10**12


def test_band_is_what_one_unit_may_lose_and_gain(world: EngineWorld) -> None:
    world.page(0, [row(lambda v, k: 5_000 + 90 * k + 7 * k * k + 400 * v)], observed_at=NOW)
    mark, low, high = world.band(0)
    got = world.assess(words(options={0: [(0, UNIT)]}))
    (lost,) = got.scans
    (gained,) = world.assess(words(options={0: [(0, -UNIT)]})).scans
    # each scan is one slack greater; the band a lane unit wider
    slack, unit = 625 * 10**12, 10**15
    assert mark - low == lost - slack + unit
    assert high - mark == gained - slack + unit
    assert mark == got.equity_mark + slack


def test_what_is_worth_nothing_can_still_be_closed(world: EngineWorld) -> None:
    world.page(0, [row(lambda _, __: 0)])
    assert world.band(0) == (0, 0, 10**15)
