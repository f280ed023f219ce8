# SPDX-License-Identifier: Apache-2.0
"""Legal words: by hand, and against the contract itself, which must take whatever the keeper chose."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyrevm import BlockEnv

from keeper.domain import ParameterBounds
from keeper.publish.words import (
    COLLATERAL,
    GLOBAL,
    UNDERLYING,
    USED,
    Stuck,
    loosening_part,
    only_tightens,
    step_towards,
    tightening_part,
)
from risk.types import CollateralParameters
from risk.units import pack_collateral, pack_lanes, pack_underlying, unpack_lanes
from tests.support.keeper_world import BOUNDS, ETH_LANES, WORDS
from tests.support.revm import Contract, Reverted, deploy, new_evm


def test_a_lane_moves_to_its_target_when_one_step_reaches_it() -> None:
    new = step_towards(UNDERLYING, WORDS[1, 0], pack_underlying(replace(ETH_LANES, scan_bps=2_400)), BOUNDS[1])
    assert new == pack_underlying(replace(ETH_LANES, scan_bps=2_400))


def test_a_lane_stops_after_one_step_up_or_down() -> None:
    up = step_towards(UNDERLYING, WORDS[1, 0], pack_underlying(replace(ETH_LANES, scan_bps=9_000)), BOUNDS[1])
    down = step_towards(UNDERLYING, WORDS[1, 0], pack_underlying(replace(ETH_LANES, scan_bps=100)), BOUNDS[1])
    assert isinstance(up, int) and unpack_lanes(up)[0] == 2_500  # step up 500
    assert isinstance(down, int) and unpack_lanes(down)[0] == 1_800  # step down 200


def test_a_lane_stops_at_its_bound() -> None:
    bounds = replace(BOUNDS[1], high=pack_lanes([2_100, *unpack_lanes(BOUNDS[1].high)[1:]]))
    new = step_towards(UNDERLYING, WORDS[1, 0], pack_underlying(replace(ETH_LANES, scan_bps=9_000)), bounds)
    assert isinstance(new, int) and unpack_lanes(new)[0] == 2_100


def test_maintenance_waits_for_initial_where_a_step_would_cross_them() -> None:
    """The order IM >= MM is kept by letting the slower lane lead, not by clipping at random."""
    bounds = ParameterBounds(0, pack_lanes([10_000] * 5), pack_lanes([50, 400, 0, 0, 0]), pack_lanes([0] * 5))
    current = pack_collateral(CollateralParameters(1_000, 1_000, 0, 1, 0))
    wanted = pack_collateral(CollateralParameters(1_500, 1_400, 0, 1, 0))
    new = step_towards(COLLATERAL, current, wanted, bounds)
    assert isinstance(new, int)
    assert unpack_lanes(new)[:2] == (1_050, 1_050)


def test_a_word_outside_new_bounds_comes_one_step_nearer() -> None:
    bounds = replace(BOUNDS[1], high=pack_lanes([1_000, *unpack_lanes(BOUNDS[1].high)[1:]]))
    new = step_towards(UNDERLYING, WORDS[1, 0], WORDS[1, 0], bounds)
    assert isinstance(new, int) and unpack_lanes(new)[0] == 1_800  # step down 200


def test_a_word_that_no_step_brings_nearer_is_reported_not_guessed() -> None:
    high = pack_lanes([1_000, *unpack_lanes(BOUNDS[1].high)[1:]])
    bounds = replace(BOUNDS[1], high=high, step_down=0)
    stuck = step_towards(UNDERLYING, WORDS[1, 0], WORDS[1, 0], bounds)
    assert isinstance(stuck, Stuck)
    assert str(stuck).startswith("underlying scan_bps = 2000 cannot be brought nearer to 100..1000")
    # a push may not lower the scan range at all
    assert isinstance(
        step_towards(UNDERLYING, WORDS[1, 0], WORDS[1, 0], replace(bounds, step_down=high), pushing=True), Stuck
    )


def test_the_scan_range_keeps_its_multiple_of_the_volatility() -> None:
    # 2,000 against 3 x 300: a volatility of 700 needs 2,100, of 1,000 3,000; one step reaches 2,500, 3 x 833 and a rest
    bounds = replace(BOUNDS[1], step_up=pack_lanes([500] * 10 + [1_000, 0]))
    for vol, expected in ((700, (2_100, 700)), (800, (2_400, 800)), (1_000, (2_500, 833))):
        wanted = pack_underlying(replace(ETH_LANES, vol_day_bps=vol))
        new = step_towards(UNDERLYING, WORDS[1, 0], wanted, bounds, 30_000)
        assert isinstance(new, int)
        assert (unpack_lanes(new)[0], unpack_lanes(new)[10]) == expected


def test_the_two_parts_of_a_target() -> None:
    lanes = replace(ETH_LANES, scan_bps=2_100, vol_up_bps=2_900, vol_power_bps=3_100, depth=9_000, vol_day_bps=310)
    up = tightening_part(UNDERLYING, WORDS[1, 0], pack_underlying(lanes))
    down = loosening_part(UNDERLYING, WORDS[1, 0], pack_underlying(lanes))
    assert up == pack_underlying(replace(ETH_LANES, scan_bps=2_100, depth=9_000, vol_day_bps=310))
    assert down == pack_underlying(replace(ETH_LANES, vol_up_bps=2_900, vol_power_bps=3_100, vol_day_bps=310))
    assert only_tightens(UNDERLYING, WORDS[1, 0], up) and not only_tightens(UNDERLYING, WORDS[1, 0], down)


# ------------------------------------------------------------------ against the contract

OWNER, KEEPER = "0x" + "a1" * 20, "0x" + "b2" * 20
NOW = 1_800_000_000
WIDEST = 65_535
# least and greatest value of each lane for which lanes.vy calls a word consistent, apart from the coupled ones
LIMITS = {
    GLOBAL: ((10_000, 20_000), (1, 20_000), (10_000, WIDEST), (0, 10_000), (0, 1_000)),
    UNDERLYING: (
        (100, 9_000),
        (0, WIDEST),
        (0, 9_999),
        *[(0, WIDEST)] * 5,
        (1, WIDEST),
        (0, WIDEST),
        (0, 3_000),
        (1, 5_000),
    ),
    COLLATERAL: ((0, 10_000), (0, 10_000), (0, WIDEST), (1, WIDEST), (0, WIDEST)),
}
MULTIPLE = 30_000


def consistent(kind: int, lanes: list[int]) -> list[int]:
    """Coupled lanes put in order."""
    if kind != UNDERLYING:
        lanes[0], lanes[1] = max(lanes[:2]), min(lanes[:2])
    else:
        lanes[10] = min(lanes[10], lanes[0] * 10_000 // MULTIPLE)
    return lanes


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, int, ParameterBounds]:
    """(kind, present word, wanted word, bounds); both words are consistent, steps and bounds are anything."""
    kind = draw(st.sampled_from([GLOBAL, UNDERLYING, COLLATERAL]))
    spans = [sorted((draw(st.integers(*limit)), draw(st.integers(*limit)))) for limit in LIMITS[kind]]
    current = consistent(kind, [draw(st.integers(*limit)) for limit in LIMITS[kind]])
    near = draw(st.booleans())
    wanted = consistent(
        kind,
        [
            min(max(value + draw(st.integers(-300, 300)), limit[0]), limit[1]) if near else draw(st.integers(*limit))
            for value, limit in zip(current, LIMITS[kind], strict=True)
        ],
    )
    steps = [[draw(st.integers(0, 2_000)) for _ in spans] for _ in range(2)]
    wide = draw(st.booleans())
    low = [limit[0] if wide else span[0] for span, limit in zip(spans, LIMITS[kind], strict=True)]
    high = [limit[1] if wide else span[1] for span, limit in zip(spans, LIMITS[kind], strict=True)]
    return kind, pack_lanes(current), pack_lanes(wanted), ParameterBounds(*map(pack_lanes, (low, high, *steps)))


def parameters(kind: int, word: int, bounds: ParameterBounds) -> Contract:
    """A contract that holds the word, under bounds that governance set afterwards."""
    evm = new_evm()
    evm.set_block_env(BlockEnv(number=1, timestamp=NOW))
    found = deploy(evm, "contracts/RiskParameters.vy", OWNER, OWNER, "0x" + "0" * 39 + "1")
    found.call("set_keeper", KEEPER, True, caller=OWNER)
    found.call("set_bounds", kind, 0, pack_lanes([WIDEST] * USED[kind]), 0, 0, caller=OWNER)
    guards = (3_600, 3_600, 86_400, 500, 3_600, 3_600, 43_200, 0, MULTIPLE)
    found.call("set_guards", guards, caller=OWNER)
    found.call("initialise", kind, 0, word, caller=OWNER)
    found.call("set_bounds", kind, bounds.low, bounds.high, bounds.step_up, bounds.step_down, caller=OWNER)
    evm.set_block_env(BlockEnv(number=2, timestamp=NOW + 7_200))
    return found


@given(cases())
@settings(max_examples=150, deadline=None)
def test_whatever_the_target_the_contract_takes_the_word(case: tuple[int, int, int, ParameterBounds]) -> None:
    kind, current, wanted, bounds = case
    contract = parameters(kind, current, bounds)
    goals = ((tightening_part(kind, current, wanted), True, "check_push"), (wanted, False, "check_propose"))
    for goal, pushing, check in goals:
        new = step_towards(kind, current, goal, bounds, MULTIPLE, pushing=pushing)
        if isinstance(new, Stuck):
            continue
        assert not pushing or only_tightens(kind, current, new)
        contract.call(check, 1, NOW + 7_200, NOW + 7_200, [(kind, 0, new)], static=True)
        for before, after, want in zip(*map(unpack_lanes, (current, new, goal)), strict=True):
            if all(a <= b <= c for a, b, c in zip(*map(unpack_lanes, (bounds.low, wanted, bounds.high)), strict=True)):
                assert min(before, want) <= after <= max(before, want) or kind == UNDERLYING


@given(cases(), st.integers(0, 11), st.integers(-300, 300))
@settings(max_examples=150, deadline=None)
def test_the_directions_are_those_of_the_contract(case: tuple[int, int, int, ParameterBounds], k: int, by: int) -> None:
    kind, current, _, _ = case
    lanes = list(unpack_lanes(current))
    k %= USED[kind]
    lanes[k] = min(max(lanes[k] + by, LIMITS[kind][k][0]), LIMITS[kind][k][1])
    lanes = consistent(kind, lanes)
    new = pack_lanes(lanes)
    wide = pack_lanes([WIDEST] * USED[kind])
    contract = parameters(kind, current, ParameterBounds(0, wide, wide, wide))
    args = (1, NOW + 7_200, NOW + 7_200, [(kind, 0, new)])
    contract.call("check_propose", *args, static=True)
    if only_tightens(kind, current, new):
        contract.call("check_push", *args, static=True)
    else:
        with pytest.raises(Reverted, match="params: loosens"):
            contract.call("check_push", *args, static=True)
