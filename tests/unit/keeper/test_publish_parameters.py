# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.assess import assess_all
from keeper.domain import ParameterBounds, ParameterStatus, Snapshot, Unknown
from keeper.publish.parameters import PushPlan, PushPolicy, _halves, plan_push
from keeper.publish.words import COLLATERAL, GLOBAL, UNDERLYING, Stuck, outside_deadband, step_towards
from risk.types import CollateralParameters, ParameterSet
from risk.units import pack_collateral, pack_global, pack_lanes, pack_underlying, unpack_lanes
from tests.support.keeper_world import (
    BOUNDS,
    ETH_LANES,
    GLOBAL_LANES,
    NOW,
    WAD,
    WORDS,
    account,
    snapshot,
    target,
)

NAMES = {0: "WETH"}
POLICY = PushPolicy(deadband_bps=100, heartbeat_s=7 * 86_400, max_newly_liquidatable=0, max_newly_liquidatable_wad=0)


def plan(view: Snapshot, wanted: ParameterSet, policy: PushPolicy = POLICY, approved: bool = False) -> PushPlan:
    return plan_push(view, assess_all(view), wanted, NAMES, policy, approved)


def wider_scan(scan_bps: int) -> ParameterSet:
    return target(underlyings={"ETH": replace(ETH_LANES, scan_bps=scan_bps)})


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


def test_a_word_far_outside_new_bounds_is_reported_not_guessed() -> None:
    bounds = replace(BOUNDS[1], high=pack_lanes([1_000, *unpack_lanes(BOUNDS[1].high)[1:]]))
    stuck = step_towards(UNDERLYING, WORDS[1, 0], WORDS[1, 0], bounds)
    assert isinstance(stuck, Stuck)
    assert str(stuck).startswith("underlying scan_bps = 2000 lies more than one step outside its bounds 100..1000")


lane = st.integers(0, 0xFFFF)
pairs = st.tuples(lane, lane)


@given(st.lists(pairs, min_size=5, max_size=5), st.lists(lane, min_size=5, max_size=5),
       st.lists(lane, min_size=5, max_size=5), st.lists(lane, min_size=5, max_size=5), st.randoms())  # fmt: skip
def test_whatever_the_target_the_new_word_is_legal(spans, wanted, up, down, random) -> None:  # type: ignore[no-untyped-def]
    low, high = [min(p) for p in spans], [max(p) for p in spans]
    current = [random.randint(a, b) for a, b in zip(low, high, strict=True)]
    current[0], current[1] = max(current[:2]), min(current[:2])
    bounds = ParameterBounds(pack_lanes(low), pack_lanes(high), pack_lanes(up), pack_lanes(down))
    new = step_towards(COLLATERAL, pack_lanes(current), pack_lanes(wanted), bounds)
    if isinstance(new, Stuck):
        # the swap above may have left a lane outside its own bounds; never otherwise
        assert any(not a <= v <= b for a, v, b in zip(low, current, high, strict=True))
        return
    after = unpack_lanes(new)
    for k in range(5):
        assert low[k] <= after[k] <= high[k]
        assert -down[k] <= after[k] - current[k] <= up[k]
    assert after[0] >= after[1]


def test_the_deadband_is_a_share_of_the_present_value() -> None:
    assert not outside_deadband(pack_lanes([2_000]), pack_lanes([2_020]), 100)
    assert outside_deadband(pack_lanes([2_000]), pack_lanes([2_021]), 100)
    assert outside_deadband(pack_lanes([0]), pack_lanes([1]), 100)


def test_nothing_is_pushed_while_the_chain_has_what_the_model_wants() -> None:
    found = plan(snapshot(), target())
    assert found.action is None
    assert found.waiting == "every parameter is inside the deadband and the heartbeat is not due"


def test_the_heartbeat_renews_unchanged_parameters_with_an_empty_batch() -> None:
    found = plan(snapshot(), target(), replace(POLICY, heartbeat_s=86_400))
    assert found.action is not None
    assert found.action.changes == ()
    assert found.action.nonce == 6


def test_a_change_beyond_the_deadband_is_pushed_in_one_batch() -> None:
    wanted = replace(wider_scan(2_300), global_parameters=replace(GLOBAL_LANES, offset_floor_bps=2_500))
    found = plan(snapshot({1: account(9_000, 1)}), wanted)
    assert found.action is not None
    assert found.action.changes == (
        (GLOBAL, 0, pack_global(replace(GLOBAL_LANES, offset_floor_bps=2_500))),
        (UNDERLYING, 0, pack_underlying(replace(ETH_LANES, scan_bps=2_300))),
    )
    assert found.action.observed_at == NOW - 10
    assert found.action.model_hash == b"\xbb" * 32


def test_a_push_that_would_liquidate_somebody_is_refused() -> None:
    # 1 ETH long: MM rises from 320 to 368 USD when the scan range goes from 20 to 23 %, and to 325.92 after three
    # halvings (2,037); the fourth (2,018) is inside the deadband of 20
    view = snapshot({1: account(9_000, 1), 2: account(325, 1)})
    found = plan(view, wider_scan(2_300))
    assert found.action is None and found.refusal == "impact"
    assert found.impact is not None and found.impact.newly_liquidatable == (2,)
    assert found.impact.equity_wad == 325 * WAD
    assert found.refused is not None and "1 accounts would become liquidatable" in found.refused


# MM is 320 + 0.16 a basis point: 2,300 -> 368, 2,150 -> 344, 2,075 -> 332, 2,037 -> 325.92
@pytest.mark.parametrize(
    ("cash", "scan_bps", "halvings"),
    [(368, 2_300, 0), (367, 2_150, 1), (344, 2_150, 1), (343, 2_075, 2), (331, 2_037, 3), (326, 2_037, 3)],
)
def test_a_push_with_too_much_impact_goes_as_far_as_it_may(cash: int, scan_bps: int, halvings: int) -> None:
    found = plan(snapshot({1: account(9_000, 1), 2: account(cash, 1)}), wider_scan(2_300))
    assert found.action is not None and found.refused is None
    assert found.action.changes == ((UNDERLYING, 0, pack_underlying(replace(ETH_LANES, scan_bps=scan_bps))),)
    assert found.halvings == halvings
    assert found.impact is not None and found.impact.newly_liquidatable == ()


def test_every_smaller_step_is_legal_too() -> None:
    # the floor of the collateral haircut was raised to 10.6 %: from 10 %, half a step to 13 % would be 11.5 %, a
    # quarter 10.75 %, an eighth 10.37 %, below the floor
    narrowed = {**BOUNDS, COLLATERAL: replace(BOUNDS[COLLATERAL], low=pack_lanes([1_060, 0, 0, 1]))}
    lanes = CollateralParameters(1_300, 500, 0, 1_000, 0)
    halves = list(_halves(((COLLATERAL, 0, pack_collateral(lanes)),), WORDS, narrowed, 100))
    found = [unpack_lanes(word)[0] for ((_, _, word),) in halves]
    assert found == [1_150, 1_075, 1_060]


def test_accounts_that_nobody_can_judge_are_not_helped_by_a_smaller_step() -> None:
    found = plan(snapshot({2: Unknown("not read", 1)}), wider_scan(2_300))
    assert (found.refusal, found.halvings) == ("impact", 0)


def test_the_same_push_goes_out_within_limits_or_with_approval() -> None:
    view = snapshot({1: account(9_000, 1), 2: account(325, 1)})
    lenient = replace(POLICY, max_newly_liquidatable=1, max_newly_liquidatable_wad=325 * WAD)
    for found in (plan(view, wider_scan(2_300), lenient), plan(view, wider_scan(2_300), approved=True)):
        assert found.action is not None and found.halvings == 0
    assert plan(view, wider_scan(2_300), replace(lenient, max_newly_liquidatable_wad=324 * WAD)).action is None


def test_an_account_nobody_can_judge_counts_as_harmed() -> None:
    view = snapshot({1: account(9_000, 1), 2: Unknown("not read", 1)})
    found = plan(view, wider_scan(2_300))
    assert found.refused is not None and "1 cannot be judged" in found.refused


def test_require_approval_holds_every_push() -> None:
    found = plan(snapshot(), wider_scan(2_300), replace(POLICY, require_approval=True))
    assert found.action is None and found.refused is not None and "wait for approval" in found.refused


def test_a_push_waits_for_the_interval_and_for_newer_data() -> None:
    early = snapshot(parameters=ParameterStatus(5, NOW - 3_599, NOW - 3_600, NOW + 86_400, 3_600, 3_600))
    found = plan(early, wider_scan(2_300))
    assert found.action is None and found.refused is None
    assert found.waiting == "the last push is 3599 s old, the interval is 3600 s"
    stale = snapshot(parameters=ParameterStatus(5, NOW - 7_200, NOW - 10, NOW + 86_400, 3_600, 3_600))
    found = plan(stale, wider_scan(2_300))
    assert found.waiting is not None and "not newer" in found.waiting


def test_data_older_than_the_contract_takes_wait_for_the_next_calibration() -> None:
    wanted = wider_scan(2_300)
    for age_s, goes in ((3_600, True), (3_601, False)):
        found = plan(snapshot(), replace(wanted, provenance=replace(wanted.provenance, observed_at=NOW - age_s)))
        assert (found.action is not None) == goes and found.refused is None
    assert found.waiting is not None and "3601 s old, the contract takes 3600 s" in found.waiting


@pytest.mark.parametrize("field", ["parameters", "parameter_words", "parameter_bounds"])
def test_nothing_is_pushed_on_what_was_not_read(field: str) -> None:
    found = plan(snapshot(**{field: Unknown("lost", 1)}), wider_scan(2_300))
    assert found.action is None and found.waiting is not None
