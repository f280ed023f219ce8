# SPDX-License-Identifier: Apache-2.0
"""RiskParameters: what governance, guardian and nobody else may do."""

from __future__ import annotations

from typing import Any, Final

import boa
import pytest

from tests.unit.contracts.test_parameters import (
    GLOBAL,
    GLOBAL_WORD,
    GOVERNANCE,
    GUARDIAN,
    GUARDS,
    HIGH,
    HOUR,
    KEEPER,
    LOW,
    ORACLE,
    OUTSIDER,
    STEP_DOWN,
    STEP_UP,
    UNDERLYING,
    UNDERLYING_WORD,
    deployment,
    guards_with,
    load,
    params,
    push,
    refuse,
    refuse_proposal,
    with_lane,
)

__all__ = ["deployment", "params"]


def test_initialise_once_inside_bounds(params: Any) -> None:
    with boa.env.prank(GOVERNANCE):
        with boa.reverts("params: already initialised"):
            params.initialise(UNDERLYING, 0, UNDERLYING_WORD)
        with boa.reverts("params: below lower bound"):
            params.initialise(UNDERLYING, 1, with_lane(UNDERLYING_WORD, 1, 499))
        with boa.reverts("params: unknown id"):
            params.initialise(GLOBAL, 1, GLOBAL_WORD)
        params.initialise(UNDERLYING, 1, UNDERLYING_WORD)
    (event,) = params.get_logs()
    assert (type(event).__name__, event.kind, event.id, event.word) == ("WordSet", 1, 1, UNDERLYING_WORD)
    assert params.word(1, 1) == UNDERLYING_WORD


def test_initialise_needs_bounds() -> None:
    fresh = load()
    with boa.reverts("params: above upper bound"):
        fresh.initialise(GLOBAL, 0, GLOBAL_WORD, sender=GOVERNANCE)


def test_bounds_are_sane(params: Any) -> None:
    with boa.env.prank(GOVERNANCE):
        with boa.reverts("params: low above high"):
            params.set_bounds(2, with_lane(LOW[2], 4, 5_001), HIGH[2], STEP_UP[2], STEP_DOWN[2])
        with boa.reverts("params: unused lane"):
            params.set_bounds(2, LOW[2], HIGH[2] | 1 << 80, STEP_UP[2], STEP_DOWN[2])
        with boa.reverts("params: unknown id"):
            params.set_bounds(3, 0, 0, 0, 0)
    assert params.bounds(2) == (LOW[2], HIGH[2], STEP_UP[2], STEP_DOWN[2])


@pytest.mark.parametrize("sender", [OUTSIDER, KEEPER, GUARDIAN])
def test_governance_functions(params: Any, sender: str) -> None:
    with boa.env.prank(sender):
        for call in (
            lambda: params.set_bounds(2, LOW[2], HIGH[2], STEP_UP[2], STEP_DOWN[2]),
            lambda: params.initialise(1, 1, UNDERLYING_WORD),
            lambda: params.set_guards(GUARDS),
            lambda: params.set_guardian(sender),
        ):
            with boa.reverts("ownable: caller is not the owner"):
                call()
        with boa.reverts("params: not guardian"):
            params.set_keeper(OUTSIDER, True)
        with boa.reverts("params: not guardian"):
            params.set_paused(False)


def test_guardian_disables_a_keeper(params: Any) -> None:
    params.set_keeper(KEEPER, False, sender=GUARDIAN)
    with boa.reverts("params: not keeper"):
        push(params, [])
    params.set_keeper(KEEPER, True, sender=GOVERNANCE)
    push(params, [])


def test_guardian_pauses_and_governance_resumes(params: Any) -> None:
    params.set_paused(True, sender=GUARDIAN)
    refuse(params, "params: paused", [])
    refuse_proposal(params, "params: paused", [])
    with boa.reverts("params: not guardian"):
        params.set_paused(False, sender=GUARDIAN)
    params.set_paused(False, sender=GOVERNANCE)
    push(params, [])


DAY: Final = 86_400
GUARD_RANGES: Final = [
    (60, DAY), (60, 7 * DAY), (HOUR, 30 * DAY), (1, 10_000), (60, 7 * DAY),
    (1, 7 * DAY), (HOUR, 7 * DAY), (0, 30 * DAY), (0, 100_000),
]  # fmt: skip


@pytest.mark.parametrize("field", range(9))
def test_guards_have_ranges(params: Any, field: int) -> None:
    low, high = GUARD_RANGES[field]
    for value, ok in ((low - 1, False), (low, True), (high, True), (high + 1, False)):
        if value < 0:
            continue
        guards = guards_with(field, value)
        if ok:
            params.set_guards(guards, sender=GOVERNANCE)
            assert tuple(params.guards()) == guards
        else:
            with boa.reverts("params: guard out of range"):
                params.set_guards(guards, sender=GOVERNANCE)


def test_guards_at_deployment() -> None:
    assert tuple(load().guards()) == GUARDS


def test_new_guards_leave_the_present_life(params: Any) -> None:
    valid_until = params.status()[3]
    params.set_guards((HOUR, 2 * HOUR, HOUR, *GUARDS[3:]), sender=GOVERNANCE)
    assert params.status()[3:] == (valid_until, 2 * HOUR)


def test_governance_and_oracle_are_required() -> None:
    zero = "0x" + "00" * 20
    with boa.reverts("params: no governance"):
        boa.load("contracts/RiskParameters.vy", zero, GUARDIAN, ORACLE)
    with boa.reverts("params: no oracle"):
        load(zero)
    assert load().ORACLE() == ORACLE
