# SPDX-License-Identifier: Apache-2.0
"""PriceOracle: fresh, late and dead to the second; the second feed, the sequencer, the cash peg, shared prices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import boa
import pytest

from tests.support.price_feeds import (
    BROKEN,
    COLLATERAL,
    DEAD,
    FRESH,
    LATE,
    UNDERLYING,
    ZERO,
    Word,
    answering,
    feed_config,
)

WAD: Final = 10**18
GOVERNANCE: Final = boa.env.generate_address("governance")
HEARTBEAT_S, DEAD_S, GRACE_S = 3_600, 3_600 + 7_000, 1_800
MOCK: Final = "contracts/testing/MockAggregator.vy"


@dataclass(frozen=True)
class Ladder:
    oracle: Any
    feed: Any
    second: Any
    sequencer: Any

    def word(self, kind: int = UNDERLYING, id_: int = 0) -> Word:
        """From ``read``, which has to agree with ``price``."""
        bits = [0, 0]
        bits[kind] = 1 << id_
        word = Word.of(self.oracle.read(*bits)[0])
        assert word[:3] == self.oracle.price(kind, id_)
        return word

    def write(self, feed: Any, price: int, age: int = 0) -> None:
        feed.set_answer(price, int(boa.env.timestamp) - age)

    def with_second(self, max_deviation_bps: int = 100) -> None:
        config = feed_config(self.feed.address, HEARTBEAT_S, DEAD_S, self.second.address, max_deviation_bps)
        self.oracle.set_feed(UNDERLYING, 0, config, sender=GOVERNANCE)


def deploy(sequencer: Any = None) -> Ladder:
    """Underlying 0 at 2,000; the second feed (18 decimals) is not wired."""
    feed = boa.load(MOCK, 8, 2_000 * 10**8)
    oracle = boa.load("contracts/PriceOracle.vy", GOVERNANCE, sequencer or ZERO, GRACE_S if sequencer else 0)
    oracle.set_feed(UNDERLYING, 0, feed_config(feed.address, HEARTBEAT_S, DEAD_S), sender=GOVERNANCE)
    return Ladder(oracle, feed, boa.load(MOCK, 18, 2_000 * WAD), sequencer)


@pytest.fixture(scope="module")
def deployed() -> Ladder:
    return deploy()


@pytest.fixture
def ladder(deployed: Ladder) -> Iterator[Ladder]:
    with boa.env.anchor():
        yield deployed


# --- age -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "state", "late_bps"),
    [
        (0, FRESH, 0),
        (HEARTBEAT_S, FRESH, 0),
        (HEARTBEAT_S + 1, LATE, 2),  # 10,000 / 7,000 = 1.43, rounded up
        (HEARTBEAT_S + 7, LATE, 10),
        (HEARTBEAT_S + 3_500, LATE, 5_000),
        (DEAD_S - 1, LATE, 9_999),
        (DEAD_S, LATE, 10_000),
        (DEAD_S + 1, DEAD, 10_000),
        (10 * DEAD_S, DEAD, 10_000),
    ],
)
def test_a_price_ages_to_the_second(ladder: Ladder, age: int, state: int, late_bps: int) -> None:
    ladder.oracle.record(UNDERLYING, 0)
    recorded = ladder.word()
    ladder.write(ladder.feed, 2_100 * 10**8, age)
    price, updated_at = (2_100 * WAD, int(boa.env.timestamp) - age) if state != DEAD else recorded[0:3:2]
    assert ladder.word() == (price, state, updated_at, late_bps)


def test_lateness_never_falls_with_age(ladder: Ladder) -> None:
    seen = []
    for age in range(HEARTBEAT_S, DEAD_S + 2, 137):
        ladder.write(ladder.feed, 2_000 * 10**8, age)
        seen.append(ladder.word().late_bps)
        assert seen[-1] == ceil(10_000 * (age - HEARTBEAT_S) / (DEAD_S - HEARTBEAT_S))
    assert seen == sorted(seen)


def test_equal_ages_leave_nothing_late(ladder: Ladder) -> None:
    ladder.oracle.set_feed(0, 0, feed_config(ladder.feed.address, 60, 60), sender=GOVERNANCE)
    for age, state in ((60, FRESH), (61, DEAD)):
        ladder.write(ladder.feed, 2_000 * 10**8, age)
        assert ladder.word().state == state


def test_only_a_fresh_price_is_recorded(ladder: Ladder) -> None:
    for age in (HEARTBEAT_S + 1, DEAD_S + 1):
        ladder.write(ladder.feed, 2_000 * 10**8, age)
        with boa.reverts("oracle: feed not live"):
            ladder.oracle.record(UNDERLYING, 0)
    ladder.write(ladder.feed, 1_999 * 10**8, HEARTBEAT_S)
    ladder.oracle.record(UNDERLYING, 0)
    (event,) = [log for log in ladder.oracle.get_logs() if type(log).__name__ == "PriceRecorded"]
    assert (event.kind, event.id, event.price_wad) == (0, 0, 1_999 * WAD)


# --- second feed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        (2_000 * 10**8, 2_020 * WAD, FRESH),
        (2_000 * 10**8, 2_020 * WAD + 1, DEAD),
        (2_020 * 10**8, 2_000 * WAD, FRESH),
        (2_020 * 10**8, 2_000 * WAD - 1, DEAD),
        (1, 10**10 + 10**8, FRESH),
        (1, 10**10 + 10**8 + 1, DEAD),
        (1, 2**90 - 1, DEAD),
        ((2**90 - 1) // 10**10, 1, DEAD),
    ],
)
def test_feeds_too_far_apart_kill_the_price(ladder: Ladder, first: int, second: int, state: int) -> None:
    """The limit is 1 % of the lower price, whichever feed has it."""
    ladder.with_second()
    ladder.oracle.record(UNDERLYING, 0)
    ladder.write(ladder.feed, first)
    ladder.write(ladder.second, second)
    word = ladder.word()
    assert (word.price, word.state) == ((first * 10**10, FRESH) if state == FRESH else (2_000 * WAD, DEAD))


@pytest.mark.parametrize(
    ("first_age", "second_age", "expected"),
    [
        (0, 0, ("first", FRESH, 0)),
        (0, HEARTBEAT_S + 3_500, ("first", FRESH, 0)),
        (0, DEAD_S + 1, ("first", FRESH, 0)),
        (HEARTBEAT_S + 3_500, 0, ("first", LATE, 5_000)),
        (HEARTBEAT_S + 3_500, DEAD_S + 1, ("first", LATE, 5_000)),
        (DEAD_S + 1, 0, ("second", LATE, 10_000)),
        (DEAD_S + 1, HEARTBEAT_S + 3_500, ("second", LATE, 10_000)),
        (DEAD_S + 1, DEAD_S, ("second", LATE, 10_000)),
        (DEAD_S + 1, DEAD_S + 1, ("recorded", DEAD, 10_000)),
    ],
)
def test_which_feed_counts(ladder: Ladder, first_age: int, second_age: int, expected: tuple[str, int, int]) -> None:
    ladder.with_second()
    ladder.oracle.record(UNDERLYING, 0)
    recorded_at = ladder.word().updated_at
    now = int(boa.env.timestamp)
    ladder.write(ladder.feed, 2_001 * 10**8, first_age)
    ladder.write(ladder.second, 2_002 * WAD, second_age)
    which, state, late_bps = expected
    price, updated_at = {
        "first": (2_001 * WAD, now - first_age),
        "second": (2_002 * WAD, now - second_age),
        "recorded": (2_000 * WAD, recorded_at),
    }[which]
    assert ladder.word() == (price, state, updated_at, late_bps)


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
def test_either_feed_may_be_broken(ladder: Ladder, code: bytes) -> None:
    ladder.with_second()
    with boa.env.anchor():
        boa.env.set_code(ladder.second.address, code)
        assert (ladder.word().price, ladder.word().state) == (2_000 * WAD, FRESH)
    boa.env.set_code(ladder.feed.address, code)
    assert (ladder.word().price, ladder.word().state) == (2_000 * WAD, LATE)
    boa.env.set_code(ladder.second.address, code)
    # the price that it was wired with
    assert (ladder.word().price, ladder.word().state, ladder.word().late_bps) == (2_000 * WAD, DEAD, 10_000)
    with boa.reverts("oracle: feed not live"):
        ladder.oracle.record(UNDERLYING, 0)


def test_a_rate_multiplies_whichever_feed_counts(ladder: Ladder) -> None:
    staked = boa.load("contracts/testing/TestWrappedStaked.vy", "Wrapped staked", "wst", 12 * WAD // 10)
    rate = (staked.address, 1, 10**9, 2 * 10**9)
    config = feed_config(ladder.feed.address, HEARTBEAT_S, DEAD_S, ladder.second.address, 100, rate)
    ladder.oracle.set_feed(COLLATERAL, 3, config, sender=GOVERNANCE)
    assert ladder.word(COLLATERAL, 3).price == 2_400 * WAD
    ladder.write(ladder.feed, 0)
    ladder.write(ladder.second, 2_010 * WAD)
    assert ladder.word(COLLATERAL, 3)[:2] == (2_412 * WAD, LATE)
    staked.set_rate(3 * WAD)
    assert ladder.word(COLLATERAL, 3)[:2] == (2_400 * WAD, DEAD)


def test_a_feed_without_second_forgets_the_second(ladder: Ladder) -> None:
    ladder.with_second()
    config = feed_config(ladder.feed.address, HEARTBEAT_S, DEAD_S)
    ladder.oracle.set_feed(UNDERLYING, 0, config, sender=GOVERNANCE)
    assert ladder.oracle.feed_of(UNDERLYING, 0) == (config, 8, 0, 0)
    ladder.write(ladder.second, 1)
    assert ladder.word().state == FRESH
    ladder.write(ladder.feed, 0)
    assert ladder.word().state == DEAD


# --- sequencer -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_layer_2() -> Ladder:
    """The feed's answer 0 says that the sequencer is up, its round since when."""
    sequencer = boa.load(MOCK, 0, 0)
    boa.env.time_travel(seconds=GRACE_S)
    return deploy(sequencer)


@pytest.fixture
def rollup(on_layer_2: Ladder) -> Iterator[Ladder]:
    with boa.env.anchor():
        yield on_layer_2


def test_without_a_sequencer_the_chain_is_live(ladder: Ladder) -> None:
    assert ladder.oracle.is_live() is True
    assert ladder.oracle.sequencer() == (ZERO, 0)


@pytest.mark.parametrize(
    ("answer", "age", "is_live"),
    [
        (0, GRACE_S, True),
        (0, GRACE_S - 1, False),
        (0, 0, False),
        (0, -1, False),  # of the future
        (1, 10 * GRACE_S, False),
        (1, 0, False),
        (2, 10 * GRACE_S, False),
        (-1, 10 * GRACE_S, False),
    ],
)
def test_a_sequencer_is_live_after_the_grace_time(rollup: Ladder, answer: int, age: int, is_live: bool) -> None:
    rollup.write(rollup.sequencer, answer, age)
    assert rollup.oracle.is_live() is is_live
    word = rollup.word()
    assert (word.price, word.state, word.late_bps) == (
        (2_000 * WAD, FRESH, 0) if is_live else (2_000 * WAD, LATE, 10_000)
    )
    if is_live:
        rollup.oracle.record(UNDERLYING, 0)
    else:
        with boa.reverts("oracle: feed not live"):
            rollup.oracle.record(UNDERLYING, 0)


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
def test_a_sequencer_feed_that_cannot_be_read_is_not_live(rollup: Ladder, code: bytes) -> None:
    boa.env.set_code(rollup.sequencer.address, code)
    assert rollup.oracle.is_live() is False
    assert rollup.word()[:2] == (2_000 * WAD, LATE)


def test_a_sequencer_feed_that_was_never_written_is_not_live(rollup: Ladder) -> None:
    boa.env.set_code(rollup.sequencer.address, answering(1, 0, 0, int(boa.env.timestamp), 1))
    assert rollup.oracle.is_live() is False


def test_while_the_sequencer_is_down_dead_stays_dead_and_late_is_latest(rollup: Ladder) -> None:
    rollup.write(rollup.sequencer, 1)
    rollup.write(rollup.feed, 2_000 * 10**8, HEARTBEAT_S + 7)
    assert rollup.word()[1::2] == (LATE, 10_000)
    rollup.write(rollup.feed, 2_000 * 10**8, DEAD_S + 1)
    assert (rollup.word().price, rollup.word()[1::2]) == (2_000 * WAD, (DEAD, 10_000))


def test_a_caller_cannot_starve_the_sequencer_feed(rollup: Ladder) -> None:
    """Too little gas reverts; it never stops the clock of an auction."""
    reads = b"".join(b"\x60" + bytes([k]) + b"\x54\x50" for k in range(45))
    boa.env.set_code(rollup.sequencer.address, reads + answering(1, 0, 1, 1, 1))
    seen = set()
    for gas in range(30_000, 300_000, 10_000):
        try:
            seen.add(rollup.oracle.is_live(gas=gas))
        except boa.BoaError:
            seen.add("reverted")
    assert seen == {True, "reverted"}


@pytest.mark.parametrize(("sequencer", "grace_s"), [("eoa", 0), (None, 1), ("feed", 86_401)])
def test_a_sequencer_that_makes_no_sense(ladder: Ladder, sequencer: str | None, grace_s: int) -> None:
    address = {"eoa": GOVERNANCE, "feed": ladder.feed.address, None: ZERO}[sequencer]
    with boa.reverts("oracle: sequencer feed"):
        boa.load("contracts/PriceOracle.vy", GOVERNANCE, address, grace_s)


# --- shared prices ---------------------------------------------------------------------------------------------------


@pytest.fixture
def shared(ladder: Ladder) -> Ladder:
    """Collaterals 0 and 15 have the price of underlying 0; collateral 1 the same feed for itself."""
    with boa.env.prank(GOVERNANCE):
        for collateral in (0, 15):
            ladder.oracle.share_feed(collateral, 0)
        ladder.oracle.set_feed(COLLATERAL, 1, feed_config(ladder.feed.address, HEARTBEAT_S))
        ladder.oracle.set_feed(UNDERLYING, 2, feed_config(ladder.second.address, HEARTBEAT_S))
    return ladder


def test_a_shared_price_is_the_underlyings_in_every_state(shared: Ladder) -> None:
    shared.oracle.record(COLLATERAL, 15)  # records that of the underlying
    for age in (0, HEARTBEAT_S + 700, DEAD_S + 1):
        shared.write(shared.feed, 2_100 * 10**8, age)
        underlying, first, last = shared.oracle.read(1, 1 | 1 << 15)
        assert underlying == first == last == shared.oracle.read(0, 1)[0]
        assert shared.word(COLLATERAL, 15) == Word.of(underlying)
        assert Word.of(underlying).price == (2_000 if age > DEAD_S else 2_100) * WAD
    assert Word.of(shared.oracle.read(1, 2)[1]).state == DEAD  # its own heartbeat, and no record


def test_words_stand_in_their_places(shared: Ladder) -> None:
    """Shared ones between others, without the underlying, and with another underlying before it."""
    shared.write(shared.second, 777 * WAD)
    prices = {(0, 0): 2_000, (0, 2): 777, (1, 0): 2_000, (1, 1): 2_000, (1, 15): 2_000}
    for mask in range(32):
        keys = [key for k, key in enumerate(sorted(prices)) if mask >> k & 1]
        bits = [sum(1 << i for kind, i in keys if kind == side) for side in (0, 1)]
        assert [word & 2**128 - 1 for word in shared.oracle.read(*bits)] == [prices[key] * WAD for key in keys]


def test_a_shared_price_follows_the_underlying_until_it_is_wired(shared: Ladder) -> None:
    def prices(underlyings: int, collaterals: int) -> list[int]:
        return [word & 2**128 - 1 for word in shared.oracle.read(underlyings, collaterals)]

    shared.write(shared.second, 1_500 * WAD)
    config = feed_config(shared.second.address, HEARTBEAT_S)
    shared.oracle.set_feed(UNDERLYING, 0, config, sender=GOVERNANCE)
    assert shared.oracle.feed_of(COLLATERAL, 0) == (config, 18, 0, 1)
    assert prices(1, 1 | 1 << 15) == [1_500 * WAD] * 3
    own = feed_config(shared.feed.address, HEARTBEAT_S)
    shared.oracle.set_feed(COLLATERAL, 0, own, sender=GOVERNANCE)
    assert shared.oracle.feed_of(COLLATERAL, 0) == (own, 8, 0, 0)
    assert prices(1, 1 | 1 << 15) == [1_500 * WAD, 2_000 * WAD, 1_500 * WAD]
    shared.oracle.share_feed(15, 2, sender=GOVERNANCE)  # from one underlying to another
    shared.write(shared.feed, 1)
    shared.oracle.set_feed(UNDERLYING, 0, own, sender=GOVERNANCE)
    assert prices(1 | 4, 1 << 15) == [10**10, 1_500 * WAD, 1_500 * WAD]
    assert shared.oracle.feed_of(COLLATERAL, 15)[3] == 3


def test_sharing_forgets_what_the_asset_had(shared: Ladder) -> None:
    staked = boa.load("contracts/testing/TestWrappedStaked.vy", "Wrapped staked", "wst", 12 * WAD // 10)
    rate = (staked.address, 1, 10**9, 2 * 10**9)
    with boa.env.prank(GOVERNANCE):
        config = feed_config(shared.feed.address, HEARTBEAT_S, DEAD_S, shared.second.address, 100, rate)
        shared.oracle.set_feed(COLLATERAL, 4, config)
        shared.oracle.record(COLLATERAL, 4)
        assert shared.word(COLLATERAL, 4).price == 2_400 * WAD
        shared.oracle.share_feed(4, 0)
    assert shared.word(COLLATERAL, 4).price == 2_000 * WAD
    shared.write(shared.feed, 0)
    # the underlying's own fall-back, not what the asset was worth by its rate
    assert shared.word(COLLATERAL, 4)[:2] == (2_000 * WAD, DEAD)


@pytest.mark.parametrize(
    ("collateral", "underlying", "reason"),
    [(16, 0, "oracle: kind or id"), (0, 16, "oracle: kind or id"), (0, 1, "oracle: feed not live")],
)
def test_sharing_that_makes_no_sense(shared: Ladder, collateral: int, underlying: int, reason: str) -> None:
    with boa.env.prank(GOVERNANCE), boa.reverts(reason):
        shared.oracle.share_feed(collateral, underlying)


def test_a_late_price_cannot_be_shared(shared: Ladder) -> None:
    shared.write(shared.feed, 2_000 * 10**8, HEARTBEAT_S + 1)
    with boa.env.prank(GOVERNANCE), boa.reverts("oracle: feed not live"):
        shared.oracle.share_feed(7, 0)
