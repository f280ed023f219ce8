# SPDX-License-Identifier: Apache-2.0
"""Late and dead data, by hand: widening of initial margin, lost longs, doubt, parameters coming into force."""

from __future__ import annotations

import pytest

from tests.support.margin_words import (
    DAY,
    DEAD,
    NOW,
    UNIT,
    WAD,
    DeltaOne,
    EngineWorld,
    holding,
    lanes,
    late,
    row,
    underlying_word,
    words,
)
from tests.support.revm import Reverted

# one lane unit is 1e15 wad: 0.001 USD; five eighths of it for each whole unit
SLACK = 625 * 10**12
# long one perpetual bought at 90: price 100, so worth 10, and 24 % of 100 at risk
LONG = words(perps={0: DeltaOne(UNIT, -90 * UNIT * WAD)})
OPTION = words(options={0: [(0, UNIT)]})
SHORT = words(options={0: [(0, -UNIT)]})


@pytest.fixture
def world() -> EngineWorld:
    return EngineWorld()


def flat(level: int = 1_000, tail: int = 0) -> bytes:
    return row(lambda _, __: level, tail=tail)


# ------------------------------------------------------------------ prices


@pytest.mark.parametrize(("bps", "widened"), [(0, 0), (1, 24 * 10**14), (2_500, 6 * WAD), (10_000, 24 * WAD)])
def test_late_price_widens_initial_margin_alone(world: EngineWorld, bps: int, widened: int) -> None:
    world.price(0, 0, 100 * WAD | late(bps))
    got = world.assess(LONG)
    assert (got.mm, got.im) == (24 * WAD, 24 * WAD + widened)
    assert (got.flags, got.doubt) == (0, 0)


def test_widening_covers_the_charges_too_and_rounds_up(world: EngineWorld) -> None:
    # net delta 100 at 100 bps against a depth of 1,000,000: 1.0001; a third of a per cent of 25.0001, up
    world.parameters(1, 0, underlying_word(delta=100))
    world.price(0, 0, 100 * WAD | late(33))
    got = world.assess(LONG)
    assert got.charges == 10_001 * 10**14
    assert got.im - got.mm == 250_001 * 33 * 10**10


def test_new_parameters_widen_before_they_are_in_force(world: EngineWorld) -> None:
    world.parameters(1, 0, underlying_word(widen=5_000))
    assert world.assess(LONG).im == 36 * WAD
    world.price(0, 0, 100 * WAD | late(10_000))
    assert world.assess(LONG).im == 60 * WAD


def test_widening_ends_at_three_times(world: EngineWorld) -> None:
    world.parameters(1, 0, underlying_word(widen=20_001))
    world.price(0, 0, 100 * WAD | late(9_999))
    assert world.assess(LONG).im == 96 * WAD
    world.parameters(1, 0, underlying_word(widen=65_535))
    assert world.assess(LONG).im == 96 * WAD


def test_dead_price_casts_doubt(world: EngineWorld) -> None:
    # the most the account may gain, 24, as much as it may lose, 24
    world.price(0, 0, 100 * WAD | DEAD)
    got = world.assess(LONG)
    assert (got.flags, got.doubt) == (1, 48 * WAD)
    assert (got.equity_mm, got.mm, got.im) == (10 * WAD, 24 * WAD, 48 * WAD)
    with pytest.raises(Reverted, match=r"^engine: doubt$"):
        world.assess_at(64)
    assert world.engine.call("holds_initial_margin", 5, static=True) == (False, 1)


def test_dead_price_of_nothing_at_risk_casts_none(world: EngineWorld) -> None:
    world.price(0, 0, DEAD)
    got = world.assess(words(cash=-WAD, perps={0: DeltaOne(UNIT, 0)}))
    assert (got.flags, got.doubt) == (1, 0)
    assert world.assess_at(64) == (-WAD, 0)


@pytest.mark.parametrize("bps", [0, 1, 5_000, 9_999])
def test_late_collateral_counts_less_for_initial_margin(world: EngineWorld, bps: int) -> None:
    world.price(1, 0, 100 * WAD | late(bps))
    world.parameters(2, 0, lanes(1_000, 800, 0, 1, 0))
    got = world.assess(words(collateral={0: holding(WAD)}))
    assert (got.equity_im, got.equity_mm) == (90 * WAD * (10_000 - bps) // 10_000, 92 * WAD)
    assert (got.flags, got.doubt) == (0, 0)


def test_dead_linked_collateral_casts_both_doubts(world: EngineWorld) -> None:
    world.price(1, 0, 100 * WAD | DEAD)
    world.price(0, 3, 100 * WAD | DEAD)
    got = world.assess(words(collateral={0: holding(WAD, 18, linked=3)}))
    # the asset may have doubled and counts 80; the grid gains and loses 24
    assert got.doubt == (200 - 80 + 48) * WAD


# ------------------------------------------------------------------ pages


@pytest.mark.parametrize(
    ("age", "late_bps"),
    [(0, 0), (500, 0), (501, 20), (502, 40), (750, 5_000), (999, 9_980), (1_000, 10_000), (1_001, 10_000)],
)
def test_a_page_is_late_from_the_middle_of_its_life(world: EngineWorld, age: int, late_bps: int) -> None:
    world.page(0, [flat()], observed_at=NOW - age, expires_at=NOW - age + 1_000)
    got = world.assess(OPTION)
    lost = got.equity_mm if age > 1_000 else 0
    assert got.im - got.mm == -(-SLACK * late_bps // 10_000)
    assert got.flags == (2 if age > 1_000 else 0)
    assert (got.equity_mm, got.equity_im) == (WAD - SLACK, WAD - SLACK - lost)


def test_the_age_rounds_up(world: EngineWorld) -> None:
    world.page(0, [flat()], observed_at=NOW - 5, expires_at=NOW + 4)
    got = world.assess(OPTION)
    # (2 * 5 - 9) / 9 = 1,111.2 bps
    assert got.im - got.mm == -(-SLACK * 1_112 // 10_000)


@pytest.mark.parametrize("observed_at", [NOW + 5, NOW + 50])
def test_a_page_of_the_future_is_not_late(world: EngineWorld, observed_at: int) -> None:
    world.page(0, [flat()], observed_at=observed_at, expires_at=NOW + 20)
    got = world.assess(OPTION)
    assert (got.im - got.mm, got.flags) == (0, 0)


@pytest.mark.parametrize(
    ("price", "late_bps", "flags"),
    [(106 * WAD, 0, 0), (106 * WAD + 2 * 10**9, 1, 0), (109 * WAD, 5_000, 0), (112 * WAD, 10_000, 0),
     (94 * WAD, 0, 0), (91 * WAD, 5_000, 0), (88 * WAD, 10_000, 0), (112 * WAD + 2 * 10**9, 10_000, 2),
     (88 * WAD - 2 * 10**9, 10_000, 2)],
)  # fmt: skip
def test_a_page_is_late_three_steps_off_and_dead_at_six(
    world: EngineWorld, price: int, late_bps: int, flags: int
) -> None:
    # a step is 2 USD and a billionth of it 2e9 wad
    world.page(0, [flat()])
    world.price(0, 0, price)
    got = world.assess(OPTION)
    assert got.flags == flags
    assert got.im - got.mm == -(-SLACK * late_bps // 10_000)
    assert got.equity_mm - got.equity_im == (WAD - SLACK if flags else 0)


def test_the_later_of_age_and_distance_counts_and_the_price_on_top(world: EngineWorld) -> None:
    world.page(0, [flat()], observed_at=NOW - 700, expires_at=NOW + 300)
    world.price(0, 0, 109 * WAD | late(1_000))
    got = world.assess(OPTION)
    assert got.im - got.mm == SLACK * 6_000 // 10_000


def test_a_dead_page_leaves_a_short_its_debt(world: EngineWorld) -> None:
    world.page(0, [flat()], expires_at=NOW - 1)
    got = world.assess(SHORT)
    assert got.equity_im == got.equity_mm == got.equity_mark == -WAD - SLACK


@pytest.mark.parametrize(("since", "is_doubtful"), [(1, False), (DAY, False), (DAY + 1, True)])
def test_a_page_a_day_past_its_expiry_casts_doubt(world: EngineWorld, since: int, is_doubtful: bool) -> None:
    # 1 cent dearer with volatility up, 3 cheaper with it down, for a short the other way round; notional 100
    world.page(0, [row(lambda v, _: (970, 1_000, 1_010)[v])], observed_at=NOW - 2 * DAY, expires_at=NOW - since)
    got = world.assess(SHORT)
    gain, scan = 3 * 10**16 - SLACK, 10**16 + SLACK
    assert got.doubt == (gain + scan if is_doubtful else 0)
    if is_doubtful:
        with pytest.raises(Reverted, match=r"^engine: doubt$"):
            world.assess_at(64)
    else:
        assert world.assess_at(64 + 18) == (got.equity_mm, got.mm)


def test_where_the_grid_bounds_nothing_the_notional_is_in_doubt(world: EngineWorld) -> None:
    """Beyond the grid, and for a page that was returned to (its expiry is zero), whose rows may be other options'."""
    world.page(0, [row(lambda v, _: (970, 1_000, 1_010)[v])], observed_at=NOW - 2 * DAY, expires_at=0)
    gain, scan = 3 * 10**16 - SLACK, 10**16 + SLACK
    assert world.assess(SHORT).doubt == gain + scan + 100 * WAD
    world.page(0, [flat()], observed_at=NOW - 2 * DAY, expires_at=NOW - DAY - 1)
    on_grid = world.assess(SHORT).doubt
    world.price(0, 0, 160 * WAD)
    assert on_grid < WAD < 160 * WAD < world.assess(SHORT).doubt < 161 * WAD
    # the fifteenth step of 2 % is still the grid; a billionth of a step on it is not
    for price, is_off in ((130 * WAD, False), (130 * WAD + 2 * 10**9, True)):
        world.price(0, 0, price)
        assert (world.assess(SHORT).doubt > 129 * WAD) is is_off


def test_without_a_page_nothing_is_late_or_doubtful(world: EngineWorld) -> None:
    got = world.assess(SHORT)
    assert (got.flags, got.doubt, got.im) == (4, 0, got.mm)


def test_one_dead_underlying_does_not_shield_the_other(world: EngineWorld) -> None:
    # dust in a dead underlying: the doubt is dust
    world.price(0, 1, 100 * WAD | DEAD)
    got = world.assess(words(cash=-20 * WAD, perps={0: DeltaOne(UNIT, 0), 1: DeltaOne(1, 0)}))
    assert got.doubt == 48 * 10**12
