# SPDX-License-Identifier: Apache-2.0
"""RiskParameters: roles, guards of a push, lapse, and what an unset word reads as."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import boa
import pytest

GOVERNANCE: Final = boa.env.generate_address("governance")
GUARDIAN: Final = boa.env.generate_address("guardian")
KEEPER: Final = boa.env.generate_address("keeper")
OUTSIDER: Final = boa.env.generate_address("outsider")

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


#          im_scale mm_scale im_charge floor
GLOBAL_WORD: Final = pack([12_000, 10_000, 11_000, 3_000])
#              scan vol_up vol_down power delta option basis drift depth short_min
UNDERLYING_WORD: Final = pack([1_500, 4_000, 2_500, 3_000, 20, 10, 15, 50, 500, 100])
#              hc_im  hc_mm size_hc size_unit use_hc
COLLATERAL_WORD: Final = pack([1_200, 800, 100, 50, 300])

LOW: Final = {
    GLOBAL: pack([10_000, 9_000, 10_000, 0]),
    UNDERLYING: pack([100, 500, 500, 0, 0, 0, 0, 0, 1, 0]),
    COLLATERAL: pack([0, 0, 0, 1, 0]),
}
HIGH: Final = {
    GLOBAL: pack([20_000, 15_000, 20_000, 10_000]),
    UNDERLYING: pack([9_000, 20_000, 9_500, 10_000, 1_000, 1_000, 1_000, 1_000, 60_000, 2_000]),
    COLLATERAL: pack([10_000, 10_000, 5_000, 60_000, 5_000]),
}
STEP_UP: Final = {
    GLOBAL: pack([1_000, 500, 1_000, 1_000]),
    UNDERLYING: pack([300, 1_000, 1_000, 500, 50, 50, 50, 50, 500, 50]),
    COLLATERAL: pack([500, 300, 100, 50, 200]),
}
STEP_DOWN: Final = {
    GLOBAL: pack([500, 250, 500, 500]),
    UNDERLYING: pack([150, 500, 500, 500, 25, 25, 25, 25, 250, 25]),
    COLLATERAL: pack([250, 100, 50, 25, 100]),
}


@pytest.fixture(scope="module")
def deployment() -> Any:
    contract = boa.load("contracts/RiskParameters.vy", GOVERNANCE, GUARDIAN)
    with boa.env.prank(GOVERNANCE):
        contract.set_keeper(KEEPER, True)
        for kind in (GLOBAL, UNDERLYING, COLLATERAL):
            contract.set_bounds(kind, LOW[kind], HIGH[kind], STEP_UP[kind], STEP_DOWN[kind])
        contract.initialise(GLOBAL, 0, GLOBAL_WORD)
        contract.initialise(UNDERLYING, 0, UNDERLYING_WORD)
        contract.initialise(UNDERLYING, 5, UNDERLYING_WORD)
        contract.initialise(COLLATERAL, 2, COLLATERAL_WORD)
    boa.env.time_travel(seconds=2 * HOUR)
    return contract


@pytest.fixture
def params(deployment: Any) -> Iterator[Any]:
    with boa.env.anchor():
        yield deployment


def now() -> int:
    return int(boa.env.timestamp)


def arguments(changes: list[tuple[int, int, int]], **override: int) -> dict[str, Any]:
    given = {"nonce": 1, "observed_at": now() - 60, "expires_at": now() + 600, **override}
    return {**given, "changes": changes}


def push(params: Any, changes: list[tuple[int, int, int]], sender: str = KEEPER, **override: int) -> None:
    given = arguments(changes, **override)
    params.push(given["nonce"], given["observed_at"], given["expires_at"], MODEL, DATA, given["changes"], sender=sender)


def refuse(params: Any, reason: str, changes: list[tuple[int, int, int]], **override: int) -> None:
    """Both push and its view give the reason, and nothing is stored."""
    given = arguments(changes, **override)
    kept = [params.word(*key) for key in ((0, 0), (1, 0), (1, 5), (2, 2))], params.status()
    with boa.reverts(reason):
        push(params, changes, **override)
    with boa.reverts(reason):
        params.check_push(given["nonce"], given["observed_at"], given["expires_at"], given["changes"])
    assert ([params.word(*key) for key in ((0, 0), (1, 0), (1, 5), (2, 2))], params.status()) == kept


# ------------------------------------------------------------------ a good push


def test_push_stores_every_word_and_the_header(params: Any) -> None:
    new_global = with_lane(GLOBAL_WORD, 0, 13_000)  # + the largest step up
    new_underlying = with_lane(UNDERLYING_WORD, 0, 1_350)  # - the largest step down
    observed_at = now() - 60
    push(params, [(0, 0, new_global), (1, 5, new_underlying)])
    assert params.words(1 << 0 | 1 << 5, 1 << 2) == [new_global, UNDERLYING_WORD, new_underlying, COLLATERAL_WORD]
    assert params.status() == (1, now(), observed_at, now() + 2 * 86_400, HOUR)
    assert params.changed_at(1, 5) == now()
    assert params.changed_at(1, 0) == now() - 2 * HOUR


def test_push_logs_the_whole_batch(params: Any) -> None:
    changes = [(2, 2, with_lane(COLLATERAL_WORD, 0, 1_300))]
    push(params, changes)
    (event,) = [log for log in params.get_logs() if type(log).__name__ == "ParametersPushed"]
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
    for k in range([4, 10, 5][kind]):
        old = lane(word, k)
        for step, limit, reason in (
            (1, STEP_UP[kind], "params: step up too large"),
            (-1, STEP_DOWN[kind], "params: step down too large"),
        ):
            too_far = old + step * (lane(limit, k) + 1)
            if lane(LOW[kind], k) <= too_far <= lane(HIGH[kind], k):
                refuse(params, reason, [(kind, id_, with_lane(word, k, too_far))])


def test_steps_are_asymmetric(params: Any) -> None:
    given = arguments([(1, 0, with_lane(UNDERLYING_WORD, 0, 1_800))])
    params.check_push(given["nonce"], given["observed_at"], given["expires_at"], given["changes"])
    refuse(params, "params: step down too large", [(1, 0, with_lane(UNDERLYING_WORD, 0, 1_300))])


def test_bounds_hold_inside_a_step(params: Any) -> None:
    tight_low = with_lane(LOW[UNDERLYING], 0, 1_490)
    tight_high = with_lane(HIGH[UNDERLYING], 0, 1_510)
    params.set_bounds(1, tight_low, tight_high, STEP_UP[1], STEP_DOWN[1], sender=GOVERNANCE)
    refuse(params, "params: below lower bound", [(1, 0, with_lane(UNDERLYING_WORD, 0, 1_489))])
    refuse(params, "params: above upper bound", [(1, 0, with_lane(UNDERLYING_WORD, 0, 1_511))])
    push(params, [(1, 0, with_lane(UNDERLYING_WORD, 0, 1_490)), (1, 5, with_lane(UNDERLYING_WORD, 0, 1_510))])


OPEN: Final = 2**256 - 1
CONSISTENCY: Final = [
    (GLOBAL, 0, {0: 9_999}, "params: scales"),  # im below mm
    (GLOBAL, 0, {0: 20_001}, "params: scales"),
    (GLOBAL, 0, {0: 0, 1: 0}, "params: scales"),
    (GLOBAL, 0, {2: 9_999}, "params: scales"),  # IM would carry less of the charges than MM
    (GLOBAL, 0, {3: 10_001}, "params: offset floor"),
    (GLOBAL, 0, {4: 1}, "params: unused lane"),
    (UNDERLYING, 0, {0: 99}, "params: scan"),
    (UNDERLYING, 0, {0: 9_001}, "params: scan"),
    (UNDERLYING, 0, {2: 10_000}, "params: vol down"),
    (UNDERLYING, 0, {8: 0}, "params: depth"),
    (UNDERLYING, 0, {10: 1}, "params: unused lane"),
    (COLLATERAL, 2, {0: 799}, "params: haircuts"),  # IM haircut below MM haircut
    (COLLATERAL, 2, {0: 10_001}, "params: haircuts"),
    (COLLATERAL, 2, {3: 0}, "params: size unit"),
    (COLLATERAL, 2, {15: 1}, "params: unused lane"),
]


@pytest.mark.parametrize("kind,id_,lanes,reason", CONSISTENCY)
def test_lanes_are_consistent_whatever_the_bounds(params: Any, kind: int, id_: int, lanes: Word, reason: str) -> None:
    used = (1 << 16 * [4, 10, 5][kind]) - 1
    params.set_bounds(kind, 0, used, used, used, sender=GOVERNANCE)  # as wide as governance can make them
    word = params.word(kind, id_)
    for k, value in lanes.items():
        word = with_lane(word, k, value)
    if reason == "params: unused lane":  # an upper bound of zero already refuses it
        refuse(params, "params: above upper bound", [(kind, id_, word)])
    else:
        refuse(params, reason, [(kind, id_, word)])
    free = {GLOBAL: 0, UNDERLYING: 1, COLLATERAL: 1}[kind]
    if kind != GLOBAL:
        with boa.reverts(reason):
            params.initialise(kind, free, word, sender=GOVERNANCE)


EXTREMES: Final = [
    (GLOBAL, 0, [20_000, 20_000, 10_000, 10_000]),
    (GLOBAL, 0, [1, 1, 65_535, 0]),
    (UNDERLYING, 1, [100, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
    (UNDERLYING, 1, [9_000, 65_535, 9_999, *[65_535] * 7]),
    (COLLATERAL, 1, [10_000, 10_000, 65_535, 65_535, 65_535]),
    (COLLATERAL, 1, [0, 0, 0, 1, 0]),
]


@pytest.mark.parametrize("kind,id_,lanes", EXTREMES)
def test_the_outermost_consistent_words(kind: int, id_: int, lanes: list[int]) -> None:
    fresh = boa.load("contracts/RiskParameters.vy", GOVERNANCE, GUARDIAN)
    used = (1 << 16 * len(lanes)) - 1
    fresh.set_bounds(kind, 0, used, used, used, sender=GOVERNANCE)
    fresh.initialise(kind, id_, pack(lanes), sender=GOVERNANCE)
    assert fresh.word(kind, id_) == pack(lanes)


# ------------------------------------------------------------------ lapse


def test_lapse_raises_initial_margin_alone(params: Any) -> None:
    valid_until = params.status()[3]
    rest = GLOBAL_WORD - 12_000
    expected = [
        (0, 12_000),
        (1, 12_500),
        (6 * HOUR - 1, 12_500),
        (6 * HOUR, 13_000),
        (30 * HOUR, 15_000),
        (90 * HOUR, 20_000),  # 12,000 + 16 * 500
        (365 * 24 * HOUR, 20_000),
    ]
    for after_s, im_scale_bps in expected:
        with boa.env.anchor():
            boa.env.time_travel(seconds=valid_until + after_s - now())
            assert params.words(0, 0) == [rest + im_scale_bps]
            assert params.lapsed() is (after_s > 0)
            assert params.word(0, 0) == GLOBAL_WORD


def test_a_push_ends_the_lapse(params: Any) -> None:
    boa.env.time_travel(seconds=10 * 86_400)
    assert params.lapsed()
    push(params, [])
    assert not params.lapsed()
    assert params.words(0, 0) == [GLOBAL_WORD]


# ------------------------------------------------------------------ unset words


def test_unset_words_read_as_the_dearest(params: Any) -> None:
    empty = boa.load("contracts/RiskParameters.vy", GOVERNANCE, GUARDIAN)
    global_word, underlying, collateral = empty.words(1 << 15, 1 << 15)
    assert [lane(global_word, k) for k in range(5)] == [20_000, 20_000, 20_000, 10_000, 0]
    assert [lane(underlying, k) for k in range(11)] == [9_000, 10_000, 9_000, 0, 1_000, 1_000, 1_000, 100, 1, 500, 0]
    assert [lane(collateral, k) for k in range(6)] == [10_000, 10_000, 0, 1, 0, 0]
    assert empty.word(1, 15) == 0
    assert params.words(0xFFFF, 0xFFFF)[17 + 2] == COLLATERAL_WORD


def test_words_is_cheap(params: Any) -> None:
    params.words(0b1, 0)
    one = params._computation.get_gas_used()
    params.words(0b1111, 0b1111 << 0)
    eight = params._computation.get_gas_used()
    # cold storage: 2,100 a word, and one status slot beside the words
    assert one < 3 * 2_100 + 3_000
    assert (eight - one) / 7 < 2_100 + 700
