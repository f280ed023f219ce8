# SPDX-License-Identifier: Apache-2.0
"""RiskParameters: what a change does to the words in force, moment by moment."""

from __future__ import annotations

from typing import Any, Final

import boa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.contracts.test_parameters import (
    COLLATERAL,
    COLLATERAL_WORD,
    DIRECTIONS,
    GLOBAL,
    GLOBAL_WORD,
    GOVERNANCE,
    HIGH,
    HOUR,
    LOW,
    STEP_DOWN,
    STEP_UP,
    UNDERLYING,
    UNDERLYING_WORD,
    USED,
    deployment,
    guards_with,
    lane,
    lane_changed,
    now,
    params,
    propose,
    push,
    with_lane,
)

__all__ = ["deployment", "params"]

RAMP: Final = 6 * HOUR
DAY: Final = 86_400
# lanes that maintenance margin reads; the others are in force at once
RAMPS: Final = {GLOBAL: {1, 3, 4}, UNDERLYING: {0, 1, 2, 4, 5, 6, 8, 9}, COLLATERAL: {1, 2, 3}}
IDS: Final = {GLOBAL: 0, UNDERLYING: 0, COLLATERAL: 2}


def lanes(word: int, count: int = 13) -> list[int]:
    return [lane(word, k) for k in range(count)]


def at(params: Any, kind: int, after_s: int) -> int:
    with boa.env.anchor():
        boa.env.time_travel(seconds=after_s)
        return int(params.in_force(kind, IDS[kind]))


def tightest_step(kind: int, word: int) -> int:
    """Every lane that ramps or is in force at once moved by its largest tightening step."""
    for k, direction in enumerate(DIRECTIONS[kind]):
        if direction == 1:
            word = lane_changed(word, k, lane(STEP_UP[kind], k))
        elif direction == -1:
            word = lane_changed(word, k, -lane(STEP_DOWN[kind], k))
    return word


def test_global_word_on_its_way(params: Any) -> None:
    push(params, [(0, 0, tightest_step(GLOBAL, GLOBAL_WORD))])
    # im_scale and im_charge_scale at once; lane 3 is the floor of maintenance margin, lane 5 that of initial margin
    assert lanes(at(params, GLOBAL, 0), 6) == [13_000, 10_000, 12_000, 3_000, 50, 4_000]
    assert lanes(at(params, GLOBAL, RAMP // 2), 6) == [13_000, 10_250, 12_000, 3_500, 60, 4_000]
    assert lanes(at(params, GLOBAL, RAMP - 1), 6) == [13_000, 10_499, 12_000, 3_999, 69, 4_000]
    assert lanes(at(params, GLOBAL, RAMP), 6) == [13_000, 10_500, 12_000, 4_000, 70, 4_000]
    assert params.ramp_ends_at(0, 0) == now() + RAMP


def test_underlying_word_on_its_way(params: Any) -> None:
    push(params, [(1, 0, tightest_step(UNDERLYING, UNDERLYING_WORD))])
    #       scan   up     down   power  delta opt bas drift depth short vol band widen
    assert lanes(at(params, UNDERLYING, 0)) == [
        1_500, 4_000, 2_500, 3_000, 20, 10, 15, 100, 500, 100, 400, 300, 30_000,
    ]  # fmt: skip
    # half way: the option charge is farthest, 60 / 35 - 1 = 71.43 %
    assert lanes(at(params, UNDERLYING, RAMP // 2)) == [
        1_650, 4_500, 3_000, 3_000, 45, 35, 40, 100, 375, 125, 400, 300, 7_143,
    ]  # fmt: skip
    # up is rounded down and depth up: nobody feels a second early
    assert lanes(at(params, UNDERLYING, RAMP - 1)) == [
        1_799, 4_999, 3_499, 3_000, 69, 59, 64, 100, 251, 149, 400, 300, 170,
    ]  # fmt: skip
    assert at(params, UNDERLYING, RAMP) == params.word(1, 0)


def test_collateral_word_on_its_way(params: Any) -> None:
    push(params, [(2, 2, tightest_step(COLLATERAL, COLLATERAL_WORD))])
    assert lanes(at(params, COLLATERAL, 0), 5) == [1_700, 800, 100, 50, 500]
    assert lanes(at(params, COLLATERAL, RAMP // 2), 5) == [1_700, 950, 150, 38, 500]
    assert lanes(at(params, COLLATERAL, RAMP - 1), 5) == [1_700, 1_099, 199, 26, 500]
    assert lanes(at(params, COLLATERAL, RAMP), 5) == [1_700, 1_100, 200, 25, 500]


def test_words_and_in_force_agree(params: Any) -> None:
    push(params, [(k, IDS[k], tightest_step(k, params.word(k, IDS[k]))) for k in range(3)])
    boa.env.time_travel(seconds=12_345)
    assert params.words(1, 1 << 2) == [params.in_force(k, IDS[k]) for k in range(3)]


@pytest.mark.parametrize(
    "k,by,widen_bps",
    [
        (0, 300, 2_000),
        (0, 1, 7),
        (4, 50, 25_000),
        (5, 30, 30_000),
        (5, 31, 30_000),
        (8, -250, 10_000),
        (7, 50, 0),
        (11, 9, 0),
    ],
)
def test_initial_margin_is_widened_by_the_farthest_lane(params: Any, k: int, by: int, widen_bps: int) -> None:
    """ceil(1e4 * (tighter / looser - 1)); a lane that is in force at once widens nothing."""
    push(params, [(1, 0, lane_changed(UNDERLYING_WORD, k, by))])
    assert lane(params.in_force(1, 0), 12) == widen_bps


def test_from_nothing_to_something_is_widened_by_the_cap(params: Any) -> None:
    params.initialise(1, 1, with_lane(UNDERLYING_WORD, 6, 0), sender=GOVERNANCE)
    boa.env.time_travel(seconds=HOUR)
    push(params, [(1, 1, with_lane(UNDERLYING_WORD, 6, 1))])
    assert (lane(params.in_force(1, 1), 6), lane(params.in_force(1, 1), 12)) == (0, 30_000)
    boa.env.time_travel(seconds=RAMP)
    assert params.in_force(1, 1) == with_lane(UNDERLYING_WORD, 6, 1)


def test_what_was_in_force_at_a_moment(params: Any) -> None:
    """Of any moment of the last ramp, its first for any before it; without what is computed on top."""
    start = now()
    push(params, [(1, 0, lane_changed(lane_changed(UNDERLYING_WORD, 1, 1_000), 11, 50))])
    boa.env.time_travel(seconds=DAY)
    moments = {-HOUR: 4_000, 0: 4_000, RAMP // 2: 4_500, RAMP - 1: 4_999, RAMP: 5_000, DAY: 5_000, 9 * DAY: 5_000}
    for after_s, vol_up_bps in moments.items():
        # the band is free, so it was at its target from the start
        assert params.underlying_at(0, start + after_s) == with_lane(params.word(1, 0), 1, vol_up_bps)
    with boa.reverts("params: unknown id"):
        params.underlying_at(16, start)


def test_what_was_in_force_before_a_lane_loosened_is_forgotten(params: Any) -> None:
    params.set_guards(guards_with(6, HOUR), sender=GOVERNANCE)
    push(params, [(1, 0, lane_changed(UNDERLYING_WORD, 1, 800))])
    changes = [(1, 0, lane_changed(UNDERLYING_WORD, 1, 300))]
    propose(params, changes, nonce=2)
    boa.env.time_travel(seconds=3 * HOUR)
    assert lane(params.underlying_at(0, now()), 1) == 4_400
    params.execute(1, changes)
    assert [lane(params.underlying_at(0, now() - s), 1) for s in (0, 1, 3 * HOUR)] == [4_300] * 3


def test_a_push_on_the_way_goes_on_from_there(params: Any) -> None:
    push(params, [(1, 0, lane_changed(UNDERLYING_WORD, 0, 300))])
    boa.env.time_travel(seconds=2 * HOUR)
    assert lane(params.in_force(1, 0), 0) == 1_600
    push(params, [(1, 0, lane_changed(UNDERLYING_WORD, 0, 600))], nonce=2)
    (start, _) = params.get_logs()
    assert (type(start).__name__, start.kind, start.id, start.ends_at) == ("RampStarted", 1, 0, now() + RAMP)
    assert (lane(start.from_word, 0), lane(start.word, 0)) == (1_600, 2_100)
    assert [lane(at(params, 1, h * HOUR), 0) for h in (0, 1, 3, 6)] == [1_600, 1_683, 1_850, 2_100]


def test_a_change_that_tightens_nothing_leaves_the_end(params: Any) -> None:
    push(params, [(1, 0, lane_changed(UNDERLYING_WORD, 0, 300))])
    ends_at = params.ramp_ends_at(1, 0)
    boa.env.time_travel(seconds=2 * HOUR)
    push(params, [(1, 0, lane_changed(params.word(1, 0), 11, 50))], nonce=2)
    assert params.ramp_ends_at(1, 0) == ends_at
    assert (lane(params.in_force(1, 0), 0), lane(params.in_force(1, 0), 11)) == (1_600, 350)
    boa.env.time_travel(seconds=4 * HOUR)
    assert params.in_force(1, 0) == params.word(1, 0)


def test_a_shorter_guard_shortens_no_ramp_that_runs(params: Any) -> None:
    push(params, [(1, 0, lane_changed(UNDERLYING_WORD, 0, 300))])
    ends_at = params.ramp_ends_at(1, 0)
    params.set_guards(guards_with(5, 1), sender=GOVERNANCE)
    boa.env.time_travel(seconds=HOUR)
    push(params, [(1, 0, lane_changed(UNDERLYING_WORD, 0, 400))], nonce=2)
    assert params.ramp_ends_at(1, 0) == ends_at


def test_a_hostile_keeper_cannot_make_maintenance_margin_jump(params: Any) -> None:
    """The largest step at every interval: in force nothing jumps, and an hour brings at most a sixth of the gap."""
    hour_before = lane(UNDERLYING_WORD, 0)
    for nonce in range(1, 13):
        before = params.in_force(1, 0)
        gap = lane(params.word(1, 0), 0) + 300 - lane(before, 0)
        push(params, [(1, 0, lane_changed(params.word(1, 0), 0, 300))], nonce=nonce, observed_at=now())
        assert with_lane(params.in_force(1, 0), 12, 0) == with_lane(before, 12, 0)
        boa.env.time_travel(seconds=HOUR)
        rise = lane(params.in_force(1, 0), 0) - hour_before
        assert 0 <= rise <= gap // 6 <= 300
        hour_before += rise
    # the gap is a geometric series, 300 * 6 * (1 - (5/6)^n) after n pushes; each hour brings a sixth of it, floored
    exact = 1_500 + 300 * (12 - 5 * (1 - (5 / 6) ** 12))
    assert exact - 12 <= hour_before <= exact


# ------------------------------------------------------------------ listing


def test_a_new_collateral_comes_to_count_slowly(params: Any) -> None:
    params.initialise(2, 3, COLLATERAL_WORD, sender=GOVERNANCE)
    assert params.word(2, 3) == COLLATERAL_WORD
    rest = lanes(COLLATERAL_WORD, 5)[2:]
    for after_s, im_bps, mm_bps in (
        (0, 10_000, 10_000),
        (1, 10_000, 10_000),
        (DAY, 7_067, 6_934),  # 10,000 - 8,800 / 3 and - 9,200 / 3, up against the account
        (3 * DAY - 1, 1_201, 801),
        (3 * DAY, 1_200, 800),
    ):
        with boa.env.anchor():
            boa.env.time_travel(seconds=after_s)
            assert lanes(params.words(0, 1 << 3)[1], 5) == [im_bps, mm_bps, *rest]


def test_a_push_neither_shortens_nor_interrupts_a_listing(params: Any) -> None:
    params.initialise(2, 3, COLLATERAL_WORD, sender=GOVERNANCE)
    ends_at = params.ramp_ends_at(2, 3)
    boa.env.time_travel(seconds=DAY)
    word = with_lane(with_lane(with_lane(COLLATERAL_WORD, 0, 1_700), 1, 1_100), 2, 200)
    push(params, [(2, 3, word)])
    assert lanes(params.in_force(2, 3), 3) == [7_067, 6_934, 100]
    assert params.ramp_ends_at(2, 3) == ends_at
    boa.env.time_travel(seconds=2 * DAY)
    assert params.in_force(2, 3) == word


def test_a_listing_that_loosens_on_its_way_does_not_jump(params: Any) -> None:
    params.initialise(2, 3, COLLATERAL_WORD, sender=GOVERNANCE)
    changes = [(2, 3, with_lane(with_lane(COLLATERAL_WORD, 0, 1_000), 1, 700))]
    propose(params, changes)
    boa.env.time_travel(seconds=DAY)
    before = params.in_force(2, 3)
    params.execute(1, changes)
    assert params.in_force(2, 3) == before
    boa.env.time_travel(seconds=2 * DAY)
    assert params.in_force(2, 3) == changes[0][2]


def test_late_in_a_listing_a_push_tightens_from_where_it_is(params: Any) -> None:
    params.initialise(2, 3, COLLATERAL_WORD, sender=GOVERNANCE)
    boa.env.time_travel(seconds=3 * DAY - 600)
    assert lanes(params.in_force(2, 3), 2) == [1_221, 822]
    push(params, [(2, 3, with_lane(with_lane(COLLATERAL_WORD, 0, 1_700), 1, 1_100))], observed_at=now())
    assert lanes(params.in_force(2, 3), 2) == [1_700, 822]
    boa.env.time_travel(seconds=RAMP - 1)
    assert lanes(params.in_force(2, 3), 2) == [1_700, 1_099]


def test_listing_without_a_ramp(params: Any) -> None:
    params.set_guards(guards_with(7, 0), sender=GOVERNANCE)
    params.initialise(2, 3, COLLATERAL_WORD, sender=GOVERNANCE)
    assert (params.in_force(2, 3), params.ramp_ends_at(2, 3)) == (COLLATERAL_WORD, 0)


# ------------------------------------------------------------------ any sequence of legal changes


def tighter(kind: int, k: int, a: int, b: int) -> bool:
    return (a > b and DIRECTIONS[kind][k] == 1) or (a < b and DIRECTIONS[kind][k] == -1)


class Twin:
    """One lane of one word, written the other way round: a list of straight lines instead of packed words."""

    def __init__(
        self, kind: int, k: int, value: int, from_s: int = 0, begin: int | None = None, end_s: int = 0
    ) -> None:
        self.kind, self.k = kind, k
        self.line = (from_s, value if begin is None else begin, end_s, value)

    def at(self, now_s: int) -> int:
        from_s, begin, end_s, target = self.line
        if now_s >= end_s:
            return target
        moved = abs(target - begin) * (now_s - from_s) // (end_s - from_s)
        return begin + moved if target > begin else begin - moved

    def turn(self, now_s: int, target: int, end_s: int) -> None:
        before, old = self.at(now_s), self.line[3]
        if tighter(self.kind, self.k, target, before):
            begin = before if self.k in RAMPS[self.kind] else target
        else:
            begin = before if tighter(self.kind, self.k, before, old) else target
        self.line = (now_s, begin, end_s, target)


class TwinWord:
    def __init__(self, kind: int, word: int, listed_s: int | None = None) -> None:
        self.kind, self.end_s = kind, 0 if listed_s is None else listed_s + 3 * DAY
        self.lanes = [Twin(kind, k, lane(word, k)) for k in range(USED[kind])]
        if listed_s is not None:
            for k in (0, 1):
                self.lanes[k] = Twin(kind, k, lane(word, k), listed_s, 10_000, self.end_s)

    def at(self, now_s: int) -> list[int]:
        return [twin.at(now_s) for twin in self.lanes]

    def turn(self, now_s: int, word: int) -> None:
        for k in RAMPS[self.kind]:
            new, twin = lane(word, k), self.lanes[k]
            if tighter(self.kind, k, new, twin.line[3]) and tighter(self.kind, k, new, twin.at(now_s)):
                self.end_s = max(self.end_s, now_s + RAMP)
        for k, twin in enumerate(self.lanes):
            twin.turn(now_s, lane(word, k), self.end_s)


def consistent(kind: int, word: list[int]) -> bool:
    if kind == GLOBAL:
        return 1 <= word[1] <= word[0] <= 20_000 and word[2] >= 10_000 and word[3] <= 10_000 and word[4] <= 1_000
    if kind == UNDERLYING:
        return 100 <= word[0] <= 9_000 and word[2] < 10_000 and word[8] >= 1
    return word[1] <= word[0] <= 10_000 and word[3] >= 1


@st.composite
def changed(draw: st.DrawFn, kind: int, word: int, loosens: bool) -> int:
    for k in draw(st.sets(st.integers(0, USED[kind] - 1), min_size=1, max_size=4)):
        up, down = lane(STEP_UP[kind], k), lane(STEP_DOWN[kind], k)
        direction = DIRECTIONS[kind][k]
        low = -down if loosens or direction in (-1, None) else 0
        high = up if loosens or direction in (1, None) else 0
        value = lane(word, k) + draw(st.integers(low, high))
        word = with_lane(word, k, min(max(value, lane(LOW[kind], k)), lane(HIGH[kind], k)))
    return word


@pytest.mark.parametrize(
    "kind,listing", [(GLOBAL, False), (UNDERLYING, False), (COLLATERAL, False), (COLLATERAL, True)]
)
@settings(max_examples=12)
@given(data=st.data())
def test_any_sequence_of_changes(deployment: Any, kind: int, listing: bool, data: st.DataObject) -> None:
    """In force: bit for bit the twin, consistent, continuous where it tightens, and never steeper than the ramp."""
    with boa.env.anchor():
        params, id_ = deployment, 9 if listing else IDS[kind]
        if listing:
            params.initialise(kind, id_, COLLATERAL_WORD, sender=GOVERNANCE)
        twin = TwinWord(kind, params.word(kind, id_), now() if listing else None)

        def in_force() -> list[int]:
            word = params.in_force(kind, id_)
            found = lanes(word, USED[kind])
            if kind == GLOBAL:  # a lapse is none of the ramp's business
                found[0] = lane(params.word(0, 0), 0)
            assert found == twin.at(now())
            assert consistent(kind, found)
            return found

        boa.env.time_travel(seconds=HOUR)
        for _ in range(data.draw(st.integers(1, 5))):
            loosens = data.draw(st.booleans())
            word = data.draw(changed(kind, params.word(kind, id_), loosens))
            changes, nonce = [(kind, id_, word)], params.status()[0] + 1
            try:
                check = params.check_propose if loosens else params.check_push
                check(nonce, now(), now(), changes)
            except boa.BoaError:  # not consistent: nothing to see
                continue
            if word == params.word(kind, id_):  # no change, no new line
                continue
            if loosens:
                proposal = propose(params, changes, nonce=nonce, observed_at=now())
                boa.env.time_travel(seconds=data.draw(st.integers(12 * HOUR, 20 * HOUR)))
            before = in_force()
            if loosens:
                params.execute(proposal, changes)
            else:
                push(params, changes, nonce=nonce, observed_at=now())
            twin.turn(now(), word)
            after = in_force()
            for k in RAMPS[kind]:
                if not tighter(kind, k, before[k], lane(word, k)):
                    assert after[k] == before[k]
            gap = [abs(lane(word, k) - after[k]) for k in range(USED[kind])]
            dt = data.draw(st.integers(HOUR, 8 * HOUR))
            boa.env.time_travel(seconds=dt)
            later = in_force()
            if kind == UNDERLYING:
                # of any moment since the change, and of the change itself for any before it
                ago = data.draw(st.integers(0, dt + HOUR))
                assert lanes(params.underlying_at(id_, now() - ago)) == [*twin.at(now() - min(ago, dt)), 0]
            for k in RAMPS[kind]:
                if tighter(kind, k, lane(word, k), after[k]) and params.ramp_ends_at(kind, id_) == now() - dt + RAMP:
                    assert abs(later[k] - after[k]) <= gap[k] * dt // RAMP
                assert not tighter(kind, k, after[k], later[k]) or listing
