# SPDX-License-Identifier: Apache-2.0
"""Options: rows whose values follow a line or a parabola, which the interpolation meets exactly."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import pytest

from tests.support.margin_words import NOW, UNIT, WAD, DeltaOne, EngineWorld, row, underlying_word, words

# one lane unit is 1e15 wad: 0.001 USD; five eighths of it for each whole unit
SLACK = 625 * 10**12
CENT = 10**16


@pytest.fixture
def world() -> EngineWorld:
    return EngineWorld()


def flat(level: int = 1_000) -> bytes:
    return row(lambda _, __: level)


def test_long_option_is_worth_its_row_less_the_slack(world: EngineWorld) -> None:
    world.page(0, [flat()])
    got = world.assess(words(options={0: [(0, UNIT)]}))
    assert got.equity_mark == got.equity_mm == WAD - SLACK
    assert got.scans == (SLACK,)
    assert got.flags == 0


def test_short_option_is_a_debt_and_pays_the_slack_too(world: EngineWorld) -> None:
    world.page(0, [flat()])
    assert world.assess(words(options={0: [(0, -UNIT)]})).equity_mark == -WAD - SLACK


def test_opposite_rows_cancel_but_not_their_slack(world: EngineWorld) -> None:
    world.page(0, [flat(), flat()])
    got = world.assess(words(options={0: [(0, UNIT), (1, -UNIT)]}))
    assert got.equity_mark == -2 * SLACK


def test_scan_of_a_line(world: EngineWorld) -> None:
    # 10 USD + 10 cents a grid step; the scan ends at 12 steps
    world.page(0, [row(lambda _, k: 10_000 + 100 * k)])
    got = world.assess(words(options={0: [(0, UNIT)]}))
    assert got.scans == (120 * CENT + SLACK,)
    assert world.losses() == [max(0, 30 * CENT * (4 - n) + SLACK) for _ in range(3) for n in range(9)]
    world.set(words(options={0: [(0, -UNIT)]}))
    assert world.losses() == [max(0, 30 * CENT * (n - 4) + SLACK) for _ in range(3) for n in range(9)]


@pytest.mark.parametrize("price", [70, 94, 97, 99, 100, 101, 103, 106, 109, 130])
def test_value_of_a_parabola_off_the_reference(world: EngineWorld, price: int) -> None:
    # 20 USD + 1 cent x steps^2, a step being 2 USD: every tier interpolates it exactly
    world.page(0, [row(lambda _, k: 20_000 + 10 * k * k)])
    world.price(0, 0, price * WAD)
    steps = Fraction(price - 100, 2)
    assert world.assess(words(options={0: [(0, UNIT)]})).equity_mark == 20 * WAD + floor(CENT * steps**2) - SLACK


def test_volatility_states_take_their_own_words(world: EngineWorld) -> None:
    # 1 USD lower when volatility falls, 2 USD higher when it rises
    world.page(0, [row(lambda v, _: (9_000, 10_000, 12_000)[v])])
    state = words(options={0: [(0, UNIT)]})
    assert world.assess(state).scans == (WAD + SLACK,)
    assert [world.losses()[9 * v + 4] for v in range(3)] == [WAD + SLACK, SLACK, 0]
    assert world.assess(words(options={0: [(0, -UNIT)]})).scans == (2 * WAD + SLACK,)
    assert [world.losses()[9 * v + 4] for v in range(3)] == [0, SLACK, 2 * WAD + SLACK]


def test_all_lanes_full_do_not_disturb_each_other(world: EngineWorld) -> None:
    # 128 positions of the greatest size in rows of the greatest value, all long and then all short
    most = 2**55 - 1
    world.page(0, [row(lambda _, __: 65_535)] * 128)
    for sign in (1, -1):
        got = world.assess(words(options={0: [(slot, sign * most) for slot in range(128)]}))
        value = Fraction(128 * most * 65_535 * 10**15, UNIT)
        slack = ceil(Fraction(128 * most * 5 * 10**15, 8 * UNIT))
        assert got.equity_mark == floor(sign * value) - slack
        assert got.scans == (slack,)


def test_single_lane_reaches_its_node_only(world: EngineWorld) -> None:
    # a value at the node 15 steps down alone: at 12 steps down and up the parabola through -12, -9, -6 is zero
    world.page(0, [row(lambda v, k: 40_000 if (v, k) == (1, -15) else 0)])
    world.price(0, 0, 70 * WAD)
    assert world.assess(words(options={0: [(0, UNIT)]})).equity_mark == 40 * WAD - SLACK
    world.price(0, 0, 76 * WAD)
    assert world.assess(words(options={0: [(0, UNIT)]})).equity_mark == -SLACK


# ------------------------------------------------------------------ charges


def test_charges_of_a_short_option(world: EngineWorld) -> None:
    # minimum 0.5 USD a unit; notional 300 at 20 bps against a depth of 1,000,000: 0.6 x 1.0003; gross delta 40 USD a
    # unit, of which nothing is net: half of 120 at 10 bps
    world.parameters(1, 0, underlying_word(option=20, basis=10))
    world.page(0, [row(lambda _, __: 1_000, short_minimum=500, abs_delta=40_000)])
    short = world.assess(words(options={0: [(0, -3 * UNIT)]}))
    assert short.charges == 15 * WAD // 10 + 600_180_000_000_000_000 + 6 * CENT
    long = world.assess(words(options={0: [(0, 3 * UNIT)]}))
    assert long.charges == short.charges - 15 * WAD // 10


def test_drift_charges_initial_margin_alone(world: EngineWorld) -> None:
    # 1.5 steps off, 40 bps of a notional of 103 for each step
    world.parameters(1, 0, underlying_word(drift=40))
    world.page(0, [flat()])
    world.price(0, 0, 103 * WAD)
    got = world.assess(words(options={0: [(0, UNIT)]}))
    assert got.im - got.mm == 618_000_000_000_000_000


def test_delta_charge_sees_the_options(world: EngineWorld) -> None:
    # a line of 10 cents a step of 2 USD is worth 5 USD of delta; short 0.05 perpetual takes it away
    world.parameters(1, 0, underlying_word(delta=100))
    world.page(0, [row(lambda _, k: 10_000 + 100 * k)])
    alone = world.assess(words(options={0: [(0, UNIT)]}))
    assert alone.charges == 5 * CENT + 25 * 10**10
    hedged = world.assess(words(options={0: [(0, UNIT)]}, perps={0: DeltaOne(-UNIT // 20, 0)}))
    assert hedged.charges == 0
    assert hedged.scans == (SLACK,)


# ------------------------------------------------------------------ flags


@pytest.mark.parametrize("slot", [1, 254])
def test_missing_row_of_a_short_costs_the_notional(world: EngineWorld, slot: int) -> None:
    world.page(0, [flat()])
    world.price(0, 0, 100 * WAD + 1)
    got = world.assess(words(options={0: [(slot, -UNIT // 2), (0, UNIT)]}))
    assert got.flags == 4
    assert got.charges == 50 * WAD + 1
    assert got.equity_mark == WAD - SLACK


def test_missing_row_of_a_long_counts_nothing(world: EngineWorld) -> None:
    world.page(0, [flat()])
    got = world.assess(words(options={0: [(7, UNIT)]}))
    assert (got.flags, got.equity_mark, got.mm) == (4, 0, 0)


def test_missing_page(world: EngineWorld) -> None:
    got = world.assess(words(options={9: [(0, -UNIT), (1, UNIT)]}, perps={9: DeltaOne(UNIT, 0)}))
    assert got.flags == 4
    assert got.charges == 100 * WAD
    assert got.scans == (24 * WAD,)


def test_expired_page(world: EngineWorld) -> None:
    world.page(0, [flat()], expires_at=NOW - 1)
    state = words(options={0: [(0, UNIT)]})
    assert world.assess(state).flags == 2
    world.page(0, [flat()], expires_at=NOW)
    assert world.assess(state).flags == 0


@pytest.mark.parametrize(("price", "flags"), [(130, 2), (131, 18), (70, 2), (69, 18), (112, 0)])
def test_off_grid_beyond_fifteen_steps(world: EngineWorld, price: int, flags: int) -> None:
    world.page(0, [flat()])
    world.price(0, 0, price * WAD)
    assert world.assess(words(options={0: [(0, UNIT)]})).flags == flags


def test_value_stops_at_fifteen_hundred_steps(world: EngineWorld) -> None:
    # 20 USD + 0.1 USD a step: no further than 1,500 steps up, whatever the price
    world.page(0, [row(lambda _, k: 20_000 + 100 * k)])
    state = words(options={0: [(0, UNIT)]})
    world.price(0, 0, 3_100 * WAD)
    ends = world.assess(state).equity_mark
    assert ends == 170 * WAD - SLACK
    world.price(0, 0, 10_000 * WAD)
    assert world.assess(state).equity_mark == ends
