# SPDX-License-Identifier: Apache-2.0
"""RiskParameters: what a push must satisfy. The other tests of it share the deployment and the helpers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import boa
import pytest

GOVERNANCE: Final = boa.env.generate_address("governance")
GUARDIAN: Final = boa.env.generate_address("guardian")
KEEPER: Final = boa.env.generate_address("keeper")
OUTSIDER: Final = boa.env.generate_address("outsider")
ORACLE: Final = boa.env.generate_address("oracle")

GLOBAL, UNDERLYING, COLLATERAL = 0, 1, 2
HOUR: Final = 3_600
MODEL, DATA = b"\x01" * 32, b"\x02" * 32

Word = dict[int, int]


def pack(lanes: list[int]) -> int:
    return sum(value << (16 * k) for k, value in enumerate(lanes))


def lane(word: int, k: int) -> int:
    return word >> (16 * k) & 0xFFFF


def with_lane(word: int, k: int, value: int) -> int:
    return word - (lane(word, k) << (16 * k)) + (value << (16 * k))


USED: Final = (5, 12, 5)  # lanes of a kind
#          im_scale mm_scale im_charge floor reserve
GLOBAL_WORD: Final = pack([12_000, 10_000, 11_000, 3_000, 50])
#              scan vol_up vol_down power delta option basis drift depth short_min vol_day band
UNDERLYING_WORD: Final = pack([1_500, 4_000, 2_500, 3_000, 20, 10, 15, 50, 500, 100, 400, 300])
#              hc_im  hc_mm size_hc size_unit use_hc
COLLATERAL_WORD: Final = pack([1_200, 800, 100, 50, 300])

LOW: Final = {
    GLOBAL: pack([10_000, 9_000, 10_000, 0, 0]),
    UNDERLYING: pack([100, 500, 500, 0, 0, 0, 0, 0, 1, 0, 0, 1]),
    COLLATERAL: pack([0, 0, 0, 1, 0]),
}
HIGH: Final = {
    GLOBAL: pack([20_000, 15_000, 20_000, 10_000, 1_000]),
    UNDERLYING: pack([9_000, 20_000, 9_500, 10_000, 1_000, 1_000, 1_000, 1_000, 60_000, 2_000, 3_000, 5_000]),
    COLLATERAL: pack([10_000, 10_000, 5_000, 60_000, 5_000]),
}
STEP_UP: Final = {
    GLOBAL: pack([1_000, 500, 1_000, 1_000, 20]),
    UNDERLYING: pack([300, 1_000, 1_000, 500, 50, 50, 50, 50, 500, 50, 100, 200]),
    COLLATERAL: pack([500, 300, 100, 50, 200]),
}
STEP_DOWN: Final = {
    GLOBAL: pack([500, 250, 500, 500, 10]),
    UNDERLYING: pack([150, 500, 500, 500, 25, 25, 25, 25, 250, 25, 100, 100]),
    COLLATERAL: pack([250, 100, 50, 25, 100]),
}


# max_age, min_interval, ttl, lapse step and interval, ramp, loosening delay, listing ramp, least scan multiple
GUARDS: Final = (HOUR, HOUR, 2 * 86_400, 500, 6 * HOUR, 6 * HOUR, 12 * HOUR, 3 * 86_400, 30_000)


def guards_with(k: int, value: int) -> tuple[int, ...]:
    return (*GUARDS[:k], value, *GUARDS[k + 1 :])


def load(oracle: str = ORACLE) -> Any:
    return boa.load("contracts/RiskParameters.vy", GOVERNANCE, GUARDIAN, oracle)


def deploy(oracle: str = ORACLE) -> Any:
    """Parameters in force for two hours; the collateral was listed without a ramp."""
    contract = load(oracle)
    with boa.env.prank(GOVERNANCE):
        contract.set_guards(guards_with(7, 0))
        contract.set_keeper(KEEPER, True)
        for kind in (GLOBAL, UNDERLYING, COLLATERAL):
            contract.set_bounds(kind, LOW[kind], HIGH[kind], STEP_UP[kind], STEP_DOWN[kind])
        contract.initialise(GLOBAL, 0, GLOBAL_WORD)
        contract.initialise(UNDERLYING, 0, UNDERLYING_WORD)
        contract.initialise(UNDERLYING, 5, UNDERLYING_WORD)
        contract.initialise(COLLATERAL, 2, COLLATERAL_WORD)
        contract.set_guards(GUARDS)
    boa.env.time_travel(seconds=2 * HOUR)
    return contract


@pytest.fixture(scope="module")
def deployment() -> Any:
    return deploy()


@pytest.fixture
def params(deployment: Any) -> Iterator[Any]:
    with boa.env.anchor():
        yield deployment


def in_margin(word: int) -> int:
    """A global word as the margin rule reads it at rest: lane 5 repeats the offset floor for initial margin."""
    return with_lane(word, 5, lane(word, 3))


def now() -> int:
    return int(boa.env.timestamp)


def arguments(changes: list[tuple[int, int, int]], **override: int) -> dict[str, Any]:
    given = {"nonce": 1, "observed_at": now() - 60, "expires_at": now() + 600, **override}
    return {**given, "changes": changes}


def lane_changed(word: int, k: int, by: int) -> int:
    return with_lane(word, k, lane(word, k) + by)


def push(params: Any, changes: list[tuple[int, int, int]], sender: str = KEEPER, **override: int) -> None:
    given = arguments(changes, **override)
    params.push(given["nonce"], given["observed_at"], given["expires_at"], MODEL, DATA, given["changes"], sender=sender)


def propose(params: Any, changes: list[tuple[int, int, int]], sender: str = KEEPER, **override: int) -> int:
    given = arguments(changes, **override)
    header = given["nonce"], given["observed_at"], given["expires_at"], MODEL, DATA
    return int(params.propose(*header, given["changes"], sender=sender))


def content(params: Any) -> tuple[Any, ...]:
    return [params.word(*key) for key in ((0, 0), (1, 0), (1, 5), (2, 2))], params.status(), params.proposals()


def refuse(params: Any, reason: str, changes: list[tuple[int, int, int]], **override: int) -> None:
    """Both push and its view give the reason, and nothing is stored."""
    given = arguments(changes, **override)
    kept = content(params)
    with boa.reverts(reason):
        push(params, changes, **override)
    with boa.reverts(reason):
        params.check_push(given["nonce"], given["observed_at"], given["expires_at"], given["changes"])
    assert content(params) == kept


def refuse_proposal(params: Any, reason: str, changes: list[tuple[int, int, int]], **override: int) -> None:
    """Both propose and its view give the reason, and nothing is stored."""
    given = arguments(changes, **override)
    kept = content(params)
    with boa.reverts(reason):
        propose(params, changes, **override)
    with boa.reverts(reason):
        params.check_propose(given["nonce"], given["observed_at"], given["expires_at"], given["changes"])
    assert content(params) == kept


# ------------------------------------------------------------------ a good push


def test_push_stores_every_word_and_the_header(params: Any) -> None:
    new_global = with_lane(GLOBAL_WORD, 0, 13_000)  # + the largest step up
    new_underlying = with_lane(UNDERLYING_WORD, 0, 1_800)
    observed_at = now() - 60
    push(params, [(0, 0, new_global), (1, 5, new_underlying)])
    assert [params.word(0, 0), params.word(1, 0), params.word(1, 5)] == [new_global, UNDERLYING_WORD, new_underlying]
    assert params.status() == (1, now(), observed_at, now() + 2 * 86_400, HOUR)
    assert params.changed_at(1, 5) == now()
    assert params.changed_at(1, 0) == now() - 2 * HOUR


def test_push_logs_the_whole_batch(params: Any) -> None:
    changes = [(2, 2, with_lane(COLLATERAL_WORD, 0, 1_300))]
    push(params, changes)
    (event,) = params.get_logs()
    assert (event.nonce, event.model_hash, event.data_hash) == (1, MODEL, DATA)
    assert (event.observed_at, event.valid_until) == (now() - 60, now() + 2 * 86_400)
    assert [tuple(change) for change in event.changes] == changes


def test_check_push_is_silent_for_a_good_push(params: Any) -> None:
    given = arguments([(0, 0, with_lane(GLOBAL_WORD, 3, 3_500))])
    params.check_push(given["nonce"], given["observed_at"], given["expires_at"], given["changes"])


def test_empty_push_renews(params: Any) -> None:
    before = params.words(1, 4)
    boa.env.time_travel(seconds=HOUR)
    push(params, [])
    assert params.status()[3] == now() + 2 * 86_400
    assert params.words(1, 4) == before


def test_an_equal_word_is_no_change(params: Any) -> None:
    push(params, [(1, 0, with_lane(UNDERLYING_WORD, 0, 1_600))])
    boa.env.time_travel(seconds=120)
    changed_at = params.changed_at(1, 0)
    push(params, [(1, 0, params.word(1, 0))], nonce=2)  # within the interval, yet nothing changes
    assert params.changed_at(1, 0) == changed_at


# ------------------------------------------------------------------ the header of a push


@pytest.mark.parametrize("sender", [OUTSIDER, GUARDIAN, GOVERNANCE])
def test_push_is_for_keepers(params: Any, sender: str) -> None:
    with boa.reverts("params: not keeper"):
        push(params, [], sender=sender)


@pytest.mark.parametrize("nonce", [0, 2])
def test_nonce_is_the_next(params: Any, nonce: int) -> None:
    refuse(params, "params: nonce", [], nonce=nonce)


def test_observation_age(params: Any) -> None:
    refuse(params, "params: observed too old", [], observed_at=now() - HOUR - 1)
    refuse(params, "params: observed in future", [], observed_at=now() + 1)
    push(params, [], observed_at=now() - HOUR)


def test_observation_is_newer_than_the_last(params: Any) -> None:
    observed_at = now() - 60
    push(params, [], observed_at=observed_at)
    refuse(params, "params: observed not newer", [], nonce=2, observed_at=observed_at)
    push(params, [], nonce=2, observed_at=observed_at + 1)


def test_push_expires(params: Any) -> None:
    refuse(params, "params: expired", [], expires_at=now() - 1)
    push(params, [], expires_at=now())


# ------------------------------------------------------------------ the words of a push


@pytest.mark.parametrize("key", [(0, 1), (1, 1), (1, 16), (2, 0), (2, 16), (3, 0)])
def test_only_known_ids(params: Any, key: tuple[int, int]) -> None:
    refuse(params, "params: unknown id", [(*key, UNDERLYING_WORD)])


def test_no_duplicates(params: Any) -> None:
    change = (1, 0, with_lane(UNDERLYING_WORD, 0, 1_600))
    refuse(params, "params: duplicate", [change, change])


def test_interval_between_changes_of_one_word(params: Any) -> None:
    push(params, [(1, 0, with_lane(UNDERLYING_WORD, 0, 1_600))])
    boa.env.time_travel(seconds=HOUR - 1)
    again = (1, 0, with_lane(UNDERLYING_WORD, 0, 1_700))
    refuse(params, "params: too soon", [again], nonce=2)
    push(params, [(1, 5, with_lane(UNDERLYING_WORD, 0, 1_600))], nonce=2, observed_at=now() - 1)
    boa.env.time_travel(seconds=1)
    push(params, [again], nonce=3, observed_at=now())
    assert lane(params.word(1, 0), 0) == 1_700


@pytest.mark.parametrize("kind,id_", [(GLOBAL, 0), (UNDERLYING, 0), (COLLATERAL, 2)])
def test_steps_of_every_lane(params: Any, kind: int, id_: int) -> None:
    word = params.word(kind, id_)
    tried = 0
    for k in range(USED[kind]):
        old = lane(word, k)
        for step, limit, reason in (
            (1, STEP_UP[kind], "params: step up too large"),
            (-1, STEP_DOWN[kind], "params: step down too large"),
        ):
            too_far = old + step * (lane(limit, k) + 1)
            if lane(LOW[kind], k) <= too_far <= lane(HIGH[kind], k):
                tried += 1
                changes = [(kind, id_, with_lane(word, k, too_far))]
                refuse_proposal(params, reason, changes)
                if tightens(kind, k, step):
                    refuse(params, reason, changes)
    assert tried >= USED[kind]


# +1: tightens upwards, -1: downwards, 0: either way loosens, None: free
DIRECTIONS: Final[dict[int, list[int | None]]] = {
    GLOBAL: [1, 1, 1, 1, 1],
    UNDERLYING: [1, 1, 1, 0, 1, 1, 1, 1, -1, 1, None, None],
    COLLATERAL: [1, 1, 1, -1, 1],
}


def tightens(kind: int, k: int, step: int) -> bool:
    return DIRECTIONS[kind][k] in (step, None)


@pytest.mark.parametrize("kind,id_", [(GLOBAL, 0), (UNDERLYING, 0), (COLLATERAL, 2)])
def test_a_push_only_tightens_every_lane(params: Any, kind: int, id_: int) -> None:
    word = params.word(kind, id_)
    for k in range(USED[kind]):
        for step in (1, -1):
            changes = [(kind, id_, lane_changed(word, k, step))]
            given = arguments(changes)
            header = given["nonce"], given["observed_at"], given["expires_at"]
            if tightens(kind, k, step):
                params.check_push(*header, changes)
            else:
                refuse(params, "params: loosens", changes)
            params.check_propose(*header, changes)


def test_one_lane_that_loosens_refuses_the_batch(params: Any) -> None:
    tighter = lane_changed(UNDERLYING_WORD, 0, 100)
    mixed = lane_changed(tighter, 4, -1)
    refuse(params, "params: loosens", [(1, 0, tighter), (1, 5, mixed)])
    push(params, [(1, 0, tighter)])


def test_bounds_hold_inside_a_step(params: Any) -> None:
    tight_low = with_lane(LOW[UNDERLYING], 0, 1_490)
    tight_high = with_lane(HIGH[UNDERLYING], 0, 1_510)
    params.set_bounds(1, tight_low, tight_high, STEP_UP[1], STEP_DOWN[1], sender=GOVERNANCE)
    refuse_proposal(params, "params: below lower bound", [(1, 0, with_lane(UNDERLYING_WORD, 0, 1_489))])
    refuse(params, "params: above upper bound", [(1, 0, with_lane(UNDERLYING_WORD, 0, 1_511))])
    propose(params, [(1, 0, with_lane(UNDERLYING_WORD, 0, 1_490))])
    push(params, [(1, 5, with_lane(UNDERLYING_WORD, 0, 1_510))], nonce=2)


def test_a_word_outside_new_bounds_may_come_nearer(params: Any) -> None:
    """New bounds far from a stored word and a small step: a change that had to land inside could never be made."""
    high = with_lane(with_lane(HIGH[UNDERLYING], 4, 5), 5, 4)
    low = with_lane(LOW[UNDERLYING], 0, 4_000)
    params.set_bounds(1, low, high, STEP_UP[1], with_lane(STEP_DOWN[1], 4, 10), sender=GOVERNANCE)
    nearer = with_lane(with_lane(with_lane(UNDERLYING_WORD, 0, 1_700), 4, 10), 5, 9)
    propose(params, [(1, 0, nearer)])
    # every lane that is outside must come nearer, and none may pass to the other side
    for k, value, reason in (
        (0, 1_500, "params: below lower bound"),
        (0, 1_499, "params: below lower bound"),
        (4, 20, "params: above upper bound"),
        (4, 21, "params: above upper bound"),
        (5, 10, "params: above upper bound"),
    ):
        refuse_proposal(params, reason, [(1, 0, with_lane(nearer, k, value))], nonce=2)
    far_side = with_lane(LOW[UNDERLYING], 0, 1_600), with_lane(HIGH[UNDERLYING], 0, 1_650)
    params.set_bounds(1, *far_side, STEP_UP[1], STEP_DOWN[1], sender=GOVERNANCE)
    refuse(params, "params: above upper bound", [(1, 5, with_lane(UNDERLYING_WORD, 0, 1_651))], nonce=2)
    push(params, [(1, 5, with_lane(UNDERLYING_WORD, 0, 1_599))], nonce=2)
    assert lane(params.word(1, 5), 0) == 1_599


CONSISTENCY: Final = [
    (GLOBAL, 0, {0: 9_999}, "params: scales"),  # im below mm
    (GLOBAL, 0, {0: 20_001}, "params: scales"),
    (GLOBAL, 0, {0: 0, 1: 0}, "params: scales"),
    (GLOBAL, 0, {2: 9_999}, "params: scales"),  # IM would carry less of the charges than MM
    (GLOBAL, 0, {3: 10_001}, "params: offset floor"),
    (GLOBAL, 0, {4: 1_001}, "params: reserve"),
    (GLOBAL, 0, {5: 1}, "params: unused lane"),
    (GLOBAL, 0, {12: 1}, "params: unused lane"),  # where the peg is stored
    (UNDERLYING, 0, {0: 99}, "params: scan"),
    (UNDERLYING, 0, {0: 9_001}, "params: scan"),
    (UNDERLYING, 0, {2: 10_000}, "params: vol down"),
    (UNDERLYING, 0, {8: 0}, "params: depth"),
    (UNDERLYING, 0, {11: 0}, "params: band"),
    (UNDERLYING, 0, {11: 5_001}, "params: band"),
    (UNDERLYING, 0, {10: 501}, "params: scan below volatility"),  # 3 * 5.01 % above 15 %
    (UNDERLYING, 0, {0: 1_199}, "params: scan below volatility"),
    (UNDERLYING, 0, {0: 1_799, 10: 600}, "params: scan below volatility"),
    (UNDERLYING, 0, {12: 1}, "params: unused lane"),
    (UNDERLYING, 0, {13: 1}, "params: unused lane"),  # where the end of a ramp is stored
    (COLLATERAL, 2, {0: 799}, "params: haircuts"),  # IM haircut below MM haircut
    (COLLATERAL, 2, {0: 10_001}, "params: haircuts"),
    (COLLATERAL, 2, {3: 0}, "params: size unit"),
    (COLLATERAL, 2, {15: 1}, "params: unused lane"),
]


@pytest.mark.parametrize("kind,id_,lanes,reason", CONSISTENCY)
def test_lanes_are_consistent_whatever_the_bounds(params: Any, kind: int, id_: int, lanes: Word, reason: str) -> None:
    used = (1 << 16 * USED[kind]) - 1
    params.set_bounds(kind, 0, used, used, used, sender=GOVERNANCE)  # as wide as governance can make them
    word = params.word(kind, id_)
    for k, value in lanes.items():
        word = with_lane(word, k, value)
    refuse_proposal(params, reason, [(kind, id_, word)])
    free = {GLOBAL: 0, UNDERLYING: 1, COLLATERAL: 1}[kind]
    if kind != GLOBAL:
        with boa.reverts(reason):
            params.initialise(kind, free, word, sender=GOVERNANCE)


EXTREMES: Final = [
    (GLOBAL, 0, [20_000, 20_000, 10_000, 10_000, 1_000]),
    (GLOBAL, 0, [1, 1, 65_535, 0, 0]),
    (UNDERLYING, 1, [100, 0, 0, 0, 0, 0, 0, 0, 1, 0, 33, 1]),
    (UNDERLYING, 1, [9_000, 65_535, 9_999, *[65_535] * 7, 3_000, 5_000]),
    (COLLATERAL, 1, [10_000, 10_000, 65_535, 65_535, 65_535]),
    (COLLATERAL, 1, [0, 0, 0, 1, 0]),
]


@pytest.mark.parametrize("kind,id_,lanes", EXTREMES)
def test_the_outermost_consistent_words(kind: int, id_: int, lanes: list[int]) -> None:
    fresh = load()
    used = (1 << 16 * len(lanes)) - 1
    fresh.set_bounds(kind, 0, used, used, used, sender=GOVERNANCE)
    fresh.initialise(kind, id_, pack(lanes), sender=GOVERNANCE)
    assert fresh.word(kind, id_) == pack(lanes)


def test_the_least_scan_range_is_governed(params: Any) -> None:
    changes = [(1, 5, lane_changed(UNDERLYING_WORD, 10, 100))]  # 5 % a day beside 15 %
    for multiple_bps, fits in ((30_000, True), (30_001, False), (100_000, False), (0, True)):
        params.set_guards(guards_with(8, multiple_bps), sender=GOVERNANCE)
        if fits:
            params.check_push(1, now(), now(), changes)
        else:
            refuse(params, "params: scan below volatility", changes)


def test_a_word_below_a_new_multiple_may_come_nearer(params: Any) -> None:
    params.set_guards(guards_with(8, 60_000), sender=GOVERNANCE)  # 6 * 4 % = 24 %, and a step is 3 %
    refuse(params, "params: scan below volatility", [(1, 0, lane_changed(UNDERLYING_WORD, 4, 1))])
    refuse(params, "params: scan below volatility", [(1, 0, lane_changed(UNDERLYING_WORD, 10, 1))])
    push(params, [(1, 0, lane_changed(UNDERLYING_WORD, 0, 1)), (1, 5, lane_changed(UNDERLYING_WORD, 10, -1))])
