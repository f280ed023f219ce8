# SPDX-License-Identifier: Apache-2.0
"""PriceOracle.price_at: one answer for a moment, whoever asks with whatever rounds; proxies as Chainlink's behave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyrevm import AccountInfo, BlockEnv

from tests.support.price_feeds import BROKEN, ZERO, answering, feed_config
from tests.support.revm import Contract, Reverted, deploy, new_evm

WAD: Final = 10**18
GOVERNANCE: Final = "0x" + "a" * 40
NOW: Final = 1_800_000_000
PHASE: Final = 1 << 64
EARLY, LATE, NEXT = "oracle: not the last round", "oracle: round too late", "oracle: not the next round"
ROUND, WRONG_PHASE = "oracle: no such round", "oracle: phase of the round"


@dataclass
class Past:
    """A feed whose only round when it was wired is 1 << 64 | 1, of `NOW`; a round's price is its number's low bits."""

    evm: Any = field(default_factory=new_evm)
    feed: Contract = field(init=False)
    oracle: Contract = field(init=False)

    def __post_init__(self) -> None:
        self.at(NOW)
        self.feed = deploy(self.evm, "contracts/testing/MockAggregator.vy", 8, 10**8)
        self.oracle = deploy(self.evm, "contracts/PriceOracle.vy", GOVERNANCE, ZERO, 0)
        config = feed_config(self.feed.address, 3_600)
        self.oracle.call("set_feed", 0, 0, config, caller=GOVERNANCE)
        self.at(NOW + 100_000)

    def at(self, now: int) -> None:
        self.evm.set_block_env(BlockEnv(number=1, timestamp=now))

    def write(self, phase: int, index: int, after: int, answer: int | None = None) -> None:
        """A round so many seconds after `NOW`."""
        price = index * 10**8 if answer is None else answer
        self.feed.call("set_round", phase * PHASE + index, price, NOW + after)

    def ask(self, round_id: int, next_id: int, after: int) -> int | str:
        """The price in USD, or the reason for none."""
        try:
            return int(self.oracle.call("price_at", 0, round_id, next_id, NOW + after, static=True)) // WAD
        except Reverted as error:
            return str(error)


@pytest.fixture(scope="module")
def deployed() -> Past:
    return Past()


@pytest.fixture
def past(deployed: Past) -> Iterator[Past]:
    checkpoint = deployed.evm.snapshot()
    yield deployed
    deployed.evm.revert(checkpoint)


def test_a_round_counts_from_its_update_to_the_next(past: Past) -> None:
    past.write(1, 2, 100)
    past.write(1, 3, 200)
    one, two, three = (PHASE + k for k in (1, 2, 3))
    assert past.ask(one, two, 99) == 1
    assert past.ask(one, two, 100) == EARLY
    assert past.ask(two, three, 99) == LATE
    assert past.ask(two, three, 100) == past.ask(two, three, 199) == 2
    assert past.ask(two, three, 200) == EARLY


def test_the_newest_round_proves_nothing_yet(past: Past) -> None:
    past.write(1, 2, 100)
    for next_id in (PHASE + 2, PHASE + 3, PHASE + 1, 0, 2 * PHASE + 1, 2**80, 2**256 - 1):
        assert past.ask(PHASE + 2, next_id, 150) == NEXT


def test_a_round_of_the_future_is_no_round(past: Past) -> None:
    """A settlement cannot rest on a round that was not written yet, whatever the feed says it is."""
    past.write(1, 2, 100_000)
    past.write(1, 3, 100_001)
    assert past.ask(PHASE + 1, PHASE + 2, 99_999) == 1
    assert past.ask(PHASE + 2, PHASE + 3, 100_000) == NEXT
    assert past.ask(PHASE + 3, PHASE + 4, 200_000) == ROUND


def test_rounds_that_do_not_exist(past: Past) -> None:
    past.write(1, 2, 100)
    for missing in (PHASE + 3, PHASE, 0, 1, 2**80, 2**80 + PHASE + 1, 2**256 - 1):
        assert past.ask(missing, PHASE + 2, 150) == ROUND


@pytest.mark.parametrize("answer", [0, -1, 2**90])
def test_a_round_without_a_usable_answer_is_incomplete(past: Past, answer: int) -> None:
    past.write(1, 2, 100, answer)
    past.write(1, 3, 200)
    past.write(1, 4, 300)
    assert past.ask(PHASE + 2, PHASE + 3, 150) == ROUND
    assert past.ask(PHASE + 1, PHASE + 2, 50) == NEXT
    assert past.ask(PHASE + 1, PHASE + 3, 150) == 1
    assert past.ask(PHASE + 1, PHASE + 4, 250) == NEXT  # 3 stands between


@pytest.mark.parametrize(("hole", "expected"), [(0, 1), (1, 1), (8, 1), (9, NEXT)])
def test_a_hole_has_at_most_eight_rounds(past: Past, hole: int, expected: int | str) -> None:
    past.write(1, 2 + hole, 100)
    assert past.ask(PHASE + 1, PHASE + 2 + hole, 50) == expected


@pytest.mark.parametrize("position", range(8))
def test_nothing_complete_may_stand_in_the_hole(past: Past, position: int) -> None:
    past.write(1, 2 + position, 40)
    past.write(1, 10, 100)
    assert past.ask(PHASE + 1, PHASE + 10, 50) == NEXT
    assert past.ask(PHASE + 2 + position, PHASE + 10, 50) == 2 + position


# --- phases ----------------------------------------------------------------------------------------------------------


def test_the_last_round_of_a_phase(past: Past) -> None:
    past.write(1, 2, 100)
    past.write(2, 1, 200)
    assert past.ask(PHASE + 2, 2 * PHASE + 1, 199) == 2
    assert past.ask(PHASE + 2, 2 * PHASE + 1, 200) == EARLY
    assert past.ask(PHASE + 1, 2 * PHASE + 1, 99) == NEXT  # 2 follows in the phase
    assert past.ask(PHASE + 1, 2 * PHASE + 1, 150) == NEXT
    assert past.ask(PHASE + 2, 2 * PHASE + 2, 150) == NEXT  # not its first


@pytest.mark.parametrize("hole", [1, 8])
def test_a_round_before_a_hole_is_not_the_last_of_its_phase(past: Past, hole: int) -> None:
    past.write(1, 2 + hole, 40)
    past.write(2, 1, 100)
    assert past.ask(PHASE + 1, 2 * PHASE + 1, 50) == NEXT
    assert past.ask(PHASE + 2 + hole, 2 * PHASE + 1, 50) == 2 + hole


@pytest.mark.parametrize(("hole", "expected"), [(1, 1), (8, 1), (9, WRONG_PHASE)])
def test_a_phase_may_begin_with_incomplete_rounds(past: Past, hole: int, expected: int | str) -> None:
    """At most eight: what counts as the beginning must not depend on who asks."""
    past.write(2, 1 + hole, 100)
    past.write(2, 2 + hole, 200)
    if expected == 1:
        assert past.ask(PHASE + 1, 2 * PHASE + 1 + hole, 50) == 1
        assert past.ask(PHASE + 1, 2 * PHASE + 1 + hole, 100) == EARLY
        assert past.ask(2 * PHASE + 1 + hole, 2 * PHASE + 2 + hole, 150) == 1 + hole
    else:
        assert past.ask(PHASE + 1, 2 * PHASE + 1 + hole, 50) == NEXT
        assert past.ask(2 * PHASE + 1 + hole, 2 * PHASE + 2 + hole, 150) == WRONG_PHASE


def test_of_overlapping_phases_the_newest_that_had_begun_counts(past: Past) -> None:
    """An aggregator writes before the proxy switches to it, and after the proxy has left it."""
    past.write(1, 2, 100)
    past.write(2, 1, 150)
    past.write(1, 3, 200)
    past.write(2, 2, 250)
    past.write(1, 4, 300)
    assert past.ask(PHASE + 2, PHASE + 3, 149) == 2
    assert past.ask(PHASE + 2, PHASE + 3, 150) == EARLY
    assert past.ask(2 * PHASE + 1, 2 * PHASE + 2, 210) == 1
    assert past.ask(PHASE + 3, PHASE + 4, 210) == EARLY


def test_a_phase_that_never_began_is_stepped_over(past: Past) -> None:
    past.write(1, 2, 100)
    past.write(3, 1, 200)
    past.write(3, 2, 300)
    assert past.ask(PHASE + 2, 3 * PHASE + 1, 150) == 2
    assert past.ask(PHASE + 2, 3 * PHASE + 1, 200) == EARLY
    past.write(1, 3, 250)  # the aggregator of phase 1 writes on, and phase 2 is no proof of anything
    assert past.ask(PHASE + 2, PHASE + 3, 220) == EARLY
    assert past.ask(3 * PHASE + 1, 3 * PHASE + 2, 220) == 1


def test_every_later_phase_counts_not_only_the_next(past: Past) -> None:
    """Phase 3 began before phase 2: with the next phase alone, both could be proved."""
    past.write(1, 2, 100)
    past.write(2, 1, 400)
    past.write(3, 1, 150)
    past.write(3, 2, 300)
    assert past.ask(PHASE + 2, 2 * PHASE + 1, 200) == EARLY
    assert past.ask(3 * PHASE + 1, 3 * PHASE + 2, 200) == 1


@pytest.mark.parametrize(("phase", "expected"), [(9, 1), (10, WRONG_PHASE)])
def test_at_most_eight_later_phases(past: Past, phase: int, expected: int | str) -> None:
    past.write(phase, 1, 100)
    assert past.ask(PHASE + 1, phase * PHASE + 1, 50) == expected


def test_a_new_phase_without_rounds_changes_nothing(past: Past) -> None:
    past.write(1, 2, 100)
    past.feed.call("start_phase")
    assert past.ask(PHASE + 1, PHASE + 2, 50) == 1
    for nothing in (2 * PHASE + 1, 2 * PHASE, 0):  # what never was is not what came next
        assert past.ask(PHASE + 2, nothing, 150) == NEXT


# --- feeds that lie or fail ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [*BROKEN.values(), answering(2, 10**8, NOW, NOW, 2)], ids=[*BROKEN, "another"])
def test_a_broken_feed_proves_nothing(code: bytes) -> None:
    past = Past()  # of its own: new code outlives a snapshot
    past.write(1, 2, 100)
    assert past.ask(PHASE + 1, PHASE + 2, 50) == 1
    past.evm.insert_account_info(past.feed.address, AccountInfo(nonce=1, code=code))
    assert past.ask(PHASE + 1, PHASE + 2, 50) == ROUND


def test_what_has_no_feed_has_no_past(past: Past) -> None:
    with pytest.raises(Reverted, match=ROUND):
        past.oracle.call("price_at", 1, PHASE + 1, PHASE + 2, NOW, static=True)
    with pytest.raises(Reverted, match="oracle: kind or id"):
        past.oracle.call("price_at", 16, PHASE + 1, PHASE + 2, NOW, static=True)


# --- no choice -------------------------------------------------------------------------------------------------------

# for each phase, rounds in order: seconds since the one before, or None for an incomplete one
HISTORY = st.lists(st.lists(st.one_of(st.none(), st.integers(0, 40)), max_size=7), min_size=1, max_size=3)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(phases=HISTORY, starts=st.lists(st.integers(0, 120), min_size=3, max_size=3), moment=st.integers(0, 200))
def test_no_two_rounds_can_be_proved_for_a_moment(
    past: Past, phases: list[list[int | None]], starts: list[int], moment: int
) -> None:
    """Every pair of rounds is tried; the accepted one is what the definition says, read off the history itself."""
    checkpoint = past.evm.snapshot()
    rounds: dict[int, int] = {PHASE + 1: 0}
    for p, (start, gaps) in enumerate(zip(starts, phases, strict=False), 1):
        clock = 0 if p == 1 else start
        for k, gap in enumerate(gaps, 2 if p == 1 else 1):
            if gap is not None:
                clock += gap
                rounds[p * PHASE + k] = clock
                past.write(p, k, clock)
    begun = [p for p in range(1, 4) if any(r >> 64 == p and t <= moment for r, t in rounds.items())]
    chain = sorted(r for r in rounds if r >> 64 == begun[-1])
    expected = [r for r, n in pairwise([*chain, 0]) if rounds[r] <= moment and (n == 0 or rounds[n] > moment)]
    proved = {r for r in rounds for n in [*rounds, PHASE + 9, 2 * PHASE + 9] if isinstance(past.ask(r, n, moment), int)}
    assert proved <= set(expected)
    later_rounds = any(t > moment and r >= expected[0] for r, t in rounds.items()) if expected else False
    assert proved == (set(expected) if later_rounds else set())
    past.evm.revert(checkpoint)
