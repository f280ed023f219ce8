# SPDX-License-Identifier: Apache-2.0
"""RiskParameters: changes that loosen are announced, wait, can be vetoed, and are executed by anybody."""

from __future__ import annotations

from typing import Any, Final

import boa
import pytest
from eth_abi import encode
from eth_utils import keccak

from tests.unit.contracts.test_parameters import (
    COLLATERAL_WORD,
    DATA,
    GLOBAL_WORD,
    GOVERNANCE,
    GUARDIAN,
    HIGH,
    HOUR,
    KEEPER,
    LOW,
    MODEL,
    OUTSIDER,
    STEP_DOWN,
    STEP_UP,
    UNDERLYING_WORD,
    deployment,
    guards_with,
    lane,
    lane_changed,
    now,
    params,
    propose,
    push,
    refuse_proposal,
    with_lane,
)

__all__ = ["deployment", "params"]

DELAY: Final = 12 * HOUR
OPEN_FOR: Final = 3 * 86_400
LOOSER: Final = [(1, 0, lane_changed(UNDERLYING_WORD, 0, -100)), (2, 2, lane_changed(COLLATERAL_WORD, 1, -50))]


def wait(seconds: int) -> None:
    boa.env.time_travel(seconds=seconds)


def execute(params: Any, id_: int, changes: list[tuple[int, int, int]], sender: str = OUTSIDER) -> None:
    params.execute(id_, changes, sender=sender)


def refused(params: Any, reason: str, id_: int, changes: list[tuple[int, int, int]]) -> None:
    kept = [params.word(*key) for key in ((0, 0), (1, 0), (2, 2))], params.proposal(id_)
    with boa.reverts(reason):
        execute(params, id_, changes)
    assert ([params.word(*key) for key in ((0, 0), (1, 0), (2, 2))], params.proposal(id_)) == kept


def test_a_proposal_changes_nothing_yet(params: Any) -> None:
    before, status = params.words(1, 4), params.status()
    wait(HOUR)
    assert propose(params, LOOSER) == 1
    (event,) = params.get_logs()
    assert (type(event).__name__, event.id, event.nonce, event.model_hash, event.data_hash) == (
        "ProposalQueued", 1, 1, MODEL, DATA,
    )  # fmt: skip
    assert (event.observed_at, event.eta) == (now() - 60, now() + DELAY)
    assert [tuple(change) for change in event.changes] == LOOSER
    assert params.words(1, 4) == before
    # its nonce is used, and neither is an observation recorded nor the life of the parameters renewed
    assert params.status() == (1, *status[1:])
    content = keccak(encode(["(uint256,uint256,uint256)[]"], [LOOSER]))
    assert params.proposal(1) == (content, now() + DELAY, now() + DELAY + OPEN_FOR)
    assert params.proposals() == 1


@pytest.mark.parametrize("after_s", [DELAY, DELAY + OPEN_FOR])
def test_anybody_executes_in_its_time(params: Any, after_s: int) -> None:
    propose(params, LOOSER)
    valid_until = params.status()[3]
    wait(after_s)
    execute(params, 1, LOOSER)
    assert [type(log).__name__ for log in params.get_logs()] == ["ProposalExecuted"]
    assert (params.get_logs()[0].id, params.get_logs()[0].sender) == (1, OUTSIDER)
    # what loosens is in force at once
    assert params.words(1, 4)[1:] == [LOOSER[0][2], LOOSER[1][2]]
    assert params.changed_at(1, 0) == now()
    assert params.status()[3] == valid_until


def test_never_early_never_late_never_twice(params: Any) -> None:
    propose(params, LOOSER)
    refused(params, "params: proposal not yet", 1, LOOSER)
    wait(DELAY - 1)
    refused(params, "params: proposal not yet", 1, LOOSER)
    with boa.env.anchor():
        wait(1)
        execute(params, 1, LOOSER)
        refused(params, "params: proposal not open", 1, LOOSER)
    wait(1 + OPEN_FOR + 1)
    refused(params, "params: proposal too late", 1, LOOSER)


@pytest.mark.parametrize("id_", [0, 2, 2**256 - 1, 2**256 - 8])
def test_unknown_proposals(params: Any, id_: int) -> None:
    propose(params, LOOSER)
    wait(DELAY)
    assert params.proposal(id_) == (b"\0" * 32, 0, 0)
    refused(params, "params: proposal not open", id_, LOOSER)


@pytest.mark.parametrize("changes", [[], LOOSER[:1], LOOSER[::-1], [(1, 0, LOOSER[0][2] - 1), LOOSER[1]]])
def test_only_what_was_announced(params: Any, changes: list[tuple[int, int, int]]) -> None:
    propose(params, LOOSER)
    wait(DELAY)
    refused(params, "params: other content", 1, changes)


def test_a_word_changed_in_between(params: Any) -> None:
    propose(params, LOOSER)
    wait(HOUR)
    push(params, [(2, 2, lane_changed(COLLATERAL_WORD, 4, 1))], nonce=2)
    wait(DELAY)
    refused(params, "params: stale proposal", 1, LOOSER)


def test_a_change_of_another_word_does_not_matter(params: Any) -> None:
    propose(params, LOOSER)
    wait(HOUR)
    push(params, [(0, 0, lane_changed(GLOBAL_WORD, 0, 1)), (1, 5, lane_changed(UNDERLYING_WORD, 0, 1))], nonce=2)
    wait(DELAY)
    execute(params, 1, LOOSER)


def test_the_guards_of_the_day_of_execution(params: Any) -> None:
    """Bounds, steps and guards that governance narrowed in between hold; those of the announcement do not."""
    propose(params, LOOSER)
    wait(DELAY)
    for kind, args, reason in (
        (1, (with_lane(LOW[1], 0, 1_401), HIGH[1], STEP_UP[1], STEP_DOWN[1]), "params: below lower bound"),
        (1, (LOW[1], HIGH[1], STEP_UP[1], with_lane(STEP_DOWN[1], 0, 99)), "params: step down too large"),
        (2, (LOW[2], HIGH[2], STEP_UP[2], with_lane(STEP_DOWN[2], 1, 49)), "params: step down too large"),
    ):
        with boa.env.anchor():
            params.set_bounds(kind, *args, sender=GOVERNANCE)
            refused(params, reason, 1, LOOSER)
    for k, value, reason in (
        (1, 7 * 86_400, "params: too soon"),
        (8, 36_000, "params: scan below volatility"),
    ):
        with boa.env.anchor():
            params.set_guards(guards_with(k, value), sender=GOVERNANCE)
            refused(params, reason, 1, LOOSER)
    params.set_guards(guards_with(6, 7 * 86_400), sender=GOVERNANCE)  # a longer delay is for later proposals
    execute(params, 1, LOOSER)


def test_the_header_of_a_proposal(params: Any) -> None:
    for reason, override in (
        ("params: nonce", {"nonce": 2}),
        ("params: observed too old", {"observed_at": now() - HOUR - 1}),
        ("params: observed in future", {"observed_at": now() + 1}),
        ("params: expired", {"expires_at": now() - 1}),
    ):
        refuse_proposal(params, reason, LOOSER, **override)
    for sender in (OUTSIDER, GUARDIAN, GOVERNANCE):
        with boa.reverts("params: not keeper"):
            propose(params, LOOSER, sender=sender)


def test_what_a_proposal_contains(params: Any) -> None:
    refuse_proposal(params, "params: duplicate", [LOOSER[0], LOOSER[0]])
    refuse_proposal(params, "params: unknown id", [(1, 1, UNDERLYING_WORD)])
    refuse_proposal(params, "params: unused lane", [(1, 0, UNDERLYING_WORD | 1 << 192)])
    params.set_guards(guards_with(1, 20 * HOUR), sender=GOVERNANCE)
    push(params, [], observed_at=now() - 1)
    refuse_proposal(params, "params: too soon", LOOSER, nonce=2, observed_at=now())  # in twelve hours it still would be
    wait(6 * HOUR)
    propose(params, LOOSER, nonce=2)


def test_both_halves_of_one_model_run(params: Any) -> None:
    """Push what tightens, announce what loosens, in one block and from one observation."""
    observed_at = now() - 60
    push(params, [(0, 0, lane_changed(GLOBAL_WORD, 0, 100))], observed_at=observed_at)
    propose(params, LOOSER, nonce=2, observed_at=observed_at)
    refuse_proposal(params, "params: observed not newer", LOOSER, nonce=3, observed_at=observed_at - 1)
    push(params, [], nonce=3, observed_at=observed_at + 1)
    wait(DELAY)
    execute(params, 1, LOOSER)


def test_a_loosening_of_a_word_that_still_ramps(params: Any) -> None:
    """Pushed up 300 over six hours; an hour before the end 1,750 are in force, and execution brings 1,650 at once."""
    params.set_guards(guards_with(6, HOUR), sender=GOVERNANCE)
    push(params, [(1, 0, lane_changed(UNDERLYING_WORD, 0, 300))])
    wait(2 * HOUR)
    changes = [(1, 0, with_lane(lane_changed(UNDERLYING_WORD, 0, 150), 4, 26))]
    propose(params, changes, nonce=2)
    wait(3 * HOUR)
    assert lane(params.in_force(1, 0), 0) == 1_750
    execute(params, 1, changes)
    # the lane that tightens ramps as in a push
    assert (lane(params.in_force(1, 0), 0), lane(params.in_force(1, 0), 4)) == (1_650, 20)
    wait(3 * HOUR)
    assert (lane(params.in_force(1, 0), 0), lane(params.in_force(1, 0), 4)) == (1_650, 23)


def test_a_loosening_below_what_is_in_force_keeps_the_way(params: Any) -> None:
    """The target falls from 1,800 to 1,700 while 1,600 are in force: nothing jumps, the end stays."""
    params.set_guards(guards_with(6, HOUR), sender=GOVERNANCE)
    push(params, [(1, 0, lane_changed(UNDERLYING_WORD, 0, 300))])
    ends_at = params.ramp_ends_at(1, 0)
    changes = [(1, 0, lane_changed(UNDERLYING_WORD, 0, 200))]
    step_down = with_lane(STEP_DOWN[1], 0, 100)
    params.set_bounds(1, LOW[1], HIGH[1], STEP_UP[1], step_down, sender=GOVERNANCE)
    propose(params, changes, nonce=2)
    wait(2 * HOUR)
    execute(params, 1, changes)
    assert (lane(params.in_force(1, 0), 0), lane(params.in_force(1, 0), 12)) == (1_600, 625)
    assert params.ramp_ends_at(1, 0) == ends_at
    wait(2 * HOUR)
    assert lane(params.in_force(1, 0), 0) == 1_650


# ------------------------------------------------------------------ veto, pause, eight open


@pytest.mark.parametrize("sender", [GUARDIAN, GOVERNANCE])
def test_veto(params: Any, sender: str) -> None:
    propose(params, LOOSER)
    params.veto(1, sender=sender)
    (event,) = params.get_logs()
    assert (type(event).__name__, event.id, event.sender) == ("ProposalVetoed", 1, sender)
    wait(DELAY)
    refused(params, "params: proposal not open", 1, LOOSER)
    with boa.reverts("params: proposal not open"):
        params.veto(1, sender=sender)


@pytest.mark.parametrize("sender", [KEEPER, OUTSIDER])
def test_nobody_else_vetoes(params: Any, sender: str) -> None:
    propose(params, LOOSER)
    with boa.reverts("params: not guardian"):
        params.veto(1, sender=sender)


def test_no_execution_while_paused(params: Any) -> None:
    propose(params, LOOSER)
    wait(DELAY)
    params.set_paused(True, sender=GUARDIAN)
    refused(params, "params: paused", 1, LOOSER)
    params.set_paused(False, sender=GOVERNANCE)
    execute(params, 1, LOOSER)


def test_the_ninth_closes_the_first(params: Any) -> None:
    """A full queue of proposals that can never be executed blocks no new one."""
    for nonce in range(1, 9):
        assert propose(params, LOOSER, nonce=nonce) == nonce
    assert all(params.proposal(id_)[1] != 0 for id_ in range(1, 9))
    assert propose(params, LOOSER, nonce=9) == 9
    assert params.proposal(1) == (b"\0" * 32, 0, 0)
    wait(DELAY)
    refused(params, "params: proposal not open", 1, LOOSER)
    with boa.reverts("params: proposal not open"):
        params.veto(1, sender=GUARDIAN)
    params.veto(2, sender=GUARDIAN)
    execute(params, 9, LOOSER)
    refused(params, "params: stale proposal", 8, LOOSER)
