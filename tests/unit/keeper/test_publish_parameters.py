# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest

from keeper.actions import ProposeParameters, PushParameters
from keeper.assess import assess_all
from keeper.domain import ParameterStatus, Snapshot, Unknown
from keeper.publish.parameters import PushPlan, PushPolicy, _halves, _Place, plan_push
from keeper.publish.queue import ParameterQueue, Proposal
from keeper.publish.words import COLLATERAL, GLOBAL, UNDERLYING, outside_deadband
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
LONG_AGO = dict.fromkeys(WORDS, NOW - 86_400)
QUEUE = ParameterQueue(3_600, 43_200, 30_000, LONG_AGO, ())


def plan(
    view: Snapshot,
    wanted: ParameterSet,
    policy: PushPolicy = POLICY,
    approved: bool = False,
    queue: ParameterQueue | Unknown = QUEUE,
) -> PushPlan:
    return plan_push(view, assess_all(view), wanted, NAMES, policy, queue, approved)


def wider_scan(scan_bps: int) -> ParameterSet:
    return target(underlyings={"ETH": replace(ETH_LANES, scan_bps=scan_bps)})


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
    place = _Place(WORDS, narrowed, {}, QUEUE, POLICY, NOW)
    halves = list(_halves(((COLLATERAL, 0, pack_collateral(lanes)),), place, pushing=True))
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


def test_a_word_waits_for_its_interval_and_a_push_for_newer_data() -> None:
    recent = replace(QUEUE, changed_at={**LONG_AGO, (UNDERLYING, 0): NOW - 3_599})
    wanted = replace(wider_scan(2_300), global_parameters=replace(GLOBAL_LANES, offset_floor_bps=2_500))
    found = plan(snapshot({1: account(9_000, 1)}), wanted, queue=recent)
    assert [change[:2] for change in found.changes] == [(GLOBAL, 0)]  # the other word goes on its own
    at_last = replace(QUEUE, changed_at={**LONG_AGO, (UNDERLYING, 0): NOW - 3_600})
    assert len(plan(snapshot({1: account(9_000, 1)}), wanted, queue=at_last).changes) == 2
    stale = snapshot(parameters=ParameterStatus(5, NOW - 7_200, NOW - 10, NOW + 86_400, 3_600, 3_600))
    found = plan(stale, wider_scan(2_300))
    assert found.action is None and found.waiting is not None and "not newer" in found.waiting


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


def test_nothing_is_pushed_while_the_queue_was_not_read() -> None:
    found = plan(snapshot(), wider_scan(2_300), queue=Unknown("lost", 1))
    assert found.action is None and found.waiting is not None and "could not be read" in found.waiting


# ------------------------------------------------------------------ what loosens


LOOSER = wider_scan(1_900)
LOOSER_CHANGE = (UNDERLYING, 0, pack_underlying(replace(ETH_LANES, scan_bps=1_900)))


def queued(
    word: int, key: tuple[int, int] = (UNDERLYING, 0), until: int = NOW + 86_400, stale: bool = False
) -> ParameterQueue:
    return replace(QUEUE, proposals=(Proposal(3, ((*key, word),), NOW + 3_600, until, stale),))


def test_what_loosens_is_proposed_one_step() -> None:
    found = plan(snapshot({1: account(9_000, 1)}), LOOSER)
    assert isinstance(found.action, ProposeParameters)
    assert found.action.changes == (LOOSER_CHANGE,)
    assert found.action.nonce == 6 and found.action.observed_at == NOW - 10
    far = plan(snapshot(), wider_scan(1_000))
    assert far.changes == ((UNDERLYING, 0, pack_underlying(replace(ETH_LANES, scan_bps=1_800))),)  # step down 200


def test_what_loosens_within_the_deadband_is_left() -> None:
    found = plan(snapshot(), wider_scan(1_980))
    assert found.action is None and found.changes == ()


def test_tightening_goes_first_and_alone() -> None:
    """One lane of the word tightens, another loosens: the push has the one, the proposal after it the other."""
    lanes = replace(ETH_LANES, scan_bps=2_200, vol_up_bps=2_900)
    wanted = target(underlyings={"ETH": lanes})
    first = plan(snapshot(), wanted)
    assert isinstance(first.action, PushParameters)
    pushed = pack_underlying(replace(ETH_LANES, scan_bps=2_200))
    assert first.changes == ((UNDERLYING, 0, pushed),)
    status = ParameterStatus(6, NOW - 60, NOW - 10, NOW + 86_400, 3_600, 3_600)  # the push carried this observation
    after = snapshot(parameter_words={**WORDS, (UNDERLYING, 0): pushed}, parameters=status)
    just_now = replace(QUEUE, changed_at={**LONG_AGO, (UNDERLYING, 0): NOW - 60})
    second = plan(after, wanted, queue=just_now)
    assert isinstance(second.action, ProposeParameters) and second.action.nonce == 7
    assert second.changes == ((UNDERLYING, 0, pack_underlying(lanes)),)


def test_the_power_of_the_shock_is_only_ever_proposed() -> None:
    for power in (2_900, 3_100):
        found = plan(snapshot(), target(underlyings={"ETH": replace(ETH_LANES, vol_power_bps=power)}))
        assert isinstance(found.action, ProposeParameters)


def test_the_daily_volatility_is_pushed_both_ways_and_never_proposed_for_itself() -> None:
    for vol in (250, 350):
        found = plan(snapshot(), target(underlyings={"ETH": replace(ETH_LANES, vol_day_bps=vol)}))
        assert isinstance(found.action, PushParameters)
    held = plan(
        snapshot(), target(underlyings={"ETH": replace(ETH_LANES, vol_day_bps=250)}), queue=queued(LOOSER_CHANGE[2])
    )
    assert held.action is None and held.waiting is not None


def test_an_open_proposal_is_not_made_twice_nor_made_void_for_a_trifle() -> None:
    assert plan(snapshot(), LOOSER, queue=queued(LOOSER_CHANGE[2])).action is None
    little = target(underlyings={"ETH": replace(ETH_LANES, scan_bps=1_900, vol_up_bps=3_300)})
    assert plan(snapshot(), little, queue=queued(LOOSER_CHANGE[2])).action is None  # a tenth more: not urgent
    much = target(underlyings={"ETH": replace(ETH_LANES, scan_bps=1_900, vol_up_bps=3_301)})
    found = plan(snapshot(), much, queue=queued(LOOSER_CHANGE[2]))
    assert isinstance(found.action, PushParameters)
    assert found.changes == ((UNDERLYING, 0, pack_underlying(replace(ETH_LANES, vol_up_bps=3_301))),)


@pytest.mark.parametrize("case", [{"stale": True}, {"until": NOW - 1}])
def test_a_dead_proposal_holds_nothing(case: dict[str, int]) -> None:
    found = plan(snapshot(), LOOSER, queue=queued(LOOSER_CHANGE[2], **case))  # type: ignore[arg-type]
    assert isinstance(found.action, ProposeParameters)


def test_a_proposal_that_the_model_no_longer_wants_is_named_and_broken() -> None:
    word = pack_underlying(replace(ETH_LANES, scan_bps=1_800))
    kept = plan(snapshot(), wider_scan(1_810), queue=queued(word))
    assert kept.unwanted == () and kept.action is None  # inside the deadband
    found = plan(snapshot(), wider_scan(2_010), queue=queued(word))
    assert found.unwanted == (3,)
    # 1,800 against 2,010 is more than a tenth: the push goes out and makes the proposal void
    assert plan(snapshot(), wider_scan(2_030), queue=queued(word)).action is not None


def test_eight_open_proposals_are_left_alone() -> None:
    other = tuple(Proposal(k, ((COLLATERAL, 0, 1),), NOW, NOW + 1, k == 0) for k in range(8))
    assert plan(snapshot(), LOOSER, queue=replace(QUEUE, proposals=other)).action is None
    assert plan(snapshot(), LOOSER, queue=replace(QUEUE, proposals=other[1:])).action is not None


def test_the_lanes_that_the_contract_computes_are_never_sent() -> None:
    wanted = target(
        global_parameters=replace(GLOBAL_LANES, im_offset_floor_bps=2_000),
        underlyings={"ETH": replace(ETH_LANES, widen_bps=700)},
    )
    assert plan(snapshot(), wanted).action is None
