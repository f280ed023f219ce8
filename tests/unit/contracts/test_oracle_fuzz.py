# SPDX-License-Identifier: Apache-2.0
"""PriceOracle.read never reverts and is what its definition says, whatever feeds, rate sources and sequencer answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Any, Final

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyrevm import AccountInfo, BlockEnv

from tests.support.price_feeds import BROKEN, DEAD, FRESH, LATE, Word, answering, feed_config
from tests.support.revm import Contract, deploy, new_evm

WAD: Final = 10**18
GOVERNANCE: Final = "0x" + "a" * 40
NOW: Final = 1_800_000_000
HEARTBEAT_S, DEAD_S, GRACE_S, DEVIATION_BPS = 3_600, 9_999, 600, 250
RATE_LOW, RATE_HIGH = 10**9, 2 * 10**9
MAX_PRICE: Final = 2**90 - 1
MOCK: Final = "contracts/testing/MockAggregator.vy"
RECORDED: Final = Word(2_000 * WAD, DEAD, NOW, 10_000)

Answer = bytes | tuple[int, ...]


@dataclass
class Target:
    """Underlying 0 has feeds of 8 and 18 decimals, collateral 0 shares it, collateral 1 has them and a rate."""

    evm: Any = field(default_factory=new_evm)

    def __post_init__(self) -> None:
        self.clock(NOW)
        self.sequencer = deploy(self.evm, MOCK, 0, 0)
        self.first, self.second = deploy(self.evm, MOCK, 8, 2_000 * 10**8), deploy(self.evm, MOCK, 18, 2_000 * WAD)
        self.staked = deploy(self.evm, "contracts/testing/TestWrappedStaked.vy", "Staked", "wst", 12 * WAD // 10)
        self.oracle = deploy(self.evm, "contracts/PriceOracle.vy", GOVERNANCE, self.sequencer.address, GRACE_S)
        self.sequencer.call("set_answer", 0, NOW - GRACE_S)
        ages = (self.first.address, HEARTBEAT_S, DEAD_S, self.second.address, DEVIATION_BPS)
        self.oracle.call("set_feed", 0, 0, feed_config(*ages), caller=GOVERNANCE)
        self.oracle.call("share_feed", 0, 0, caller=GOVERNANCE)
        rated = feed_config(*ages, (self.staked.address, 1, RATE_LOW, RATE_HIGH))
        self.oracle.call("set_feed", 1, 1, rated, caller=GOVERNANCE)
        self.oracle.call("record", 0, 0)

    def clock(self, now: int) -> None:
        self.evm.set_block_env(BlockEnv(number=1, timestamp=now))

    def becomes(self, contract: Contract, answer: Answer) -> None:
        code = answer if isinstance(answer, bytes) else answering(*answer)
        self.evm.insert_account_info(contract.address, AccountInfo(nonce=1, code=code))


@lru_cache(maxsize=1)
def target() -> Target:
    return Target()


def signed(value: int) -> int:
    return value - 2**256 if value >= 2**255 else value


def quote(answer: Answer, decimals: int, now: int) -> tuple[int, int, int] | None:
    """(price, updated at, late bps) by the definition in prose, or nothing."""
    if isinstance(answer, bytes) or len(answer) != 5:
        return None
    round_id, price, _, updated_at, answered_in = (word % 2**256 for word in answer)
    if not 0 < signed(price) <= MAX_PRICE or not 0 < updated_at <= now or answered_in < round_id:
        return None
    age, price = now - updated_at, price * 10 ** (18 - decimals)
    if age > DEAD_S or price > MAX_PRICE:
        return None
    return price, updated_at, max(0, ceil(Fraction(10_000 * (age - HEARTBEAT_S), DEAD_S - HEARTBEAT_S)))


def expected(first: Answer, second: Answer, rate: int | None, live: bool, now: int) -> Word | None:
    """The word, or nothing where the recorded price has to stand in."""
    one, two = quote(first, 8, now), quote(second, 18, now)
    if one and two and abs(one[0] - two[0]) > Fraction(DEVIATION_BPS, 10_000) * min(one[0], two[0]):
        return None
    if one is None and two is None:
        return None
    price, updated_at, late = one or (*two[:2], 10_000)  # type: ignore[index]
    if rate is not None:
        price = price * rate // WAD if RATE_LOW * 10**9 <= rate <= RATE_HIGH * 10**9 else 0
        if not 0 < price <= MAX_PRICE:
            return None
    late = late if live else 10_000
    return Word(price, LATE if late else FRESH, updated_at, late)


def is_live(answer: Answer, now: int) -> bool:
    if isinstance(answer, bytes) or len(answer) != 5:
        return False
    return answer[1] % 2**256 == 0 and 0 < answer[2] % 2**256 <= now - GRACE_S


def near(*values: int, spread: int = 2) -> st.SearchStrategy[int]:
    return st.one_of(*(st.integers(value - spread, value + spread) for value in values))


wild = st.one_of(st.integers(0, 2**256 - 1), near(0, 2**90, 2**128, 2**255, 2**256 - 3))
sound_ages = st.sampled_from([0, HEARTBEAT_S, HEARTBEAT_S + 1, 5_000, DEAD_S, DEAD_S + 1])
times = st.one_of(near(NOW, NOW - HEARTBEAT_S, NOW - DEAD_S), wild)
broken = st.sampled_from(list(BROKEN.values()))
any_words = st.tuples(wild, wild, wild, wild, wild)


def mostly(usual: st.SearchStrategy[Any], *rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Three times in four the usual, else one of the rare."""
    return st.integers(0, 3).flatmap(lambda k: usual if k else st.one_of(*rare))


def rounds(decimals: int) -> st.SearchStrategy[Answer]:
    """Mostly rounds at a border, some with one word out of range, some wild, some broken."""
    unit = 10**decimals
    prices = mostly(near(2_000 * unit, 2_050 * unit, spread=1), near(1, 1_951 * unit, MAX_PRICE * unit // WAD))
    sound = st.tuples(st.just(7), prices, st.just(0), sound_ages.map(lambda age: NOW - age), st.just(7))
    odd = st.tuples(st.just(7), st.one_of(prices, wild), st.just(0), times, st.sampled_from([6, 7, 8]))
    return mostly(sound, odd, any_words, broken)


LIVE: Final = (1, 0, NOW - GRACE_S, 0, 1)
SEQUENCERS = mostly(
    st.just(LIVE),
    st.tuples(st.just(1), near(0, spread=1), near(NOW - GRACE_S, NOW, 0), times, st.just(1)),
    any_words,
    broken,
)
RATES = mostly(near(12 * WAD // 10), near(RATE_LOW * 10**9, RATE_HIGH * 10**9), wild)


@settings(max_examples=600)
@given(rounds(8), rounds(18), SEQUENCERS, RATES, st.integers(0, 15))
@example((7, 0, 0, NOW, 7), (7, MAX_PRICE, 0, NOW - DEAD_S, 7), LIVE, WAD, 7)
@example((7, 1, 0, NOW - HEARTBEAT_S, 7), b"", LIVE, 2 * WAD, 7)
def test_read_is_its_definition(first: Answer, second: Answer, sequencer: Answer, rate: int, bits: int) -> None:
    world = target()
    world.becomes(world.first, first)
    world.becomes(world.second, second)
    world.becomes(world.sequencer, sequencer)
    world.becomes(world.staked, (rate,))
    live = is_live(sequencer, NOW)
    assert world.oracle.call("is_live", static=True) is live
    plain = expected(first, second, None, live, NOW) or RECORDED
    rated = expected(first, second, rate % 2**256, live, NOW) or Word(2_400 * WAD, DEAD, NOW, 10_000)
    got = [Word.of(word) for word in world.oracle.call("read", bits & 1, bits >> 1 & 3, static=True)]
    assert got == [plain] * (bits & 1) + [plain] * (bits >> 1 & 1) + [rated] * (bits >> 2 & 1)


bitmaps = st.integers(0, 2**256 - 1)


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=64), min_size=4, max_size=4), bitmaps, bitmaps)
def test_read_survives_any_code(codes: Sequence[bytes], underlyings: int, collaterals: int) -> None:
    """Random programs as feeds; every bitmap."""
    world = target()
    for contract, code in zip((world.first, world.second, world.sequencer, world.staked), codes, strict=True):
        world.becomes(contract, code)
    words = world.oracle.call("read", underlyings, collaterals, static=True)
    assert len(words) == bin(underlyings & 65_535).count("1") + bin(collaterals & 65_535).count("1")
    for word in words:
        assert Word.of(word).state in (FRESH, LATE, DEAD)
