# SPDX-License-Identifier: Apache-2.0
"""PriceOracle: good prices to the wad, every way a feed can be bad, rounds of the past."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import boa
import pytest

WAD: Final = 10**18
GOVERNANCE: Final = boa.env.generate_address("governance")
STRANGER: Final = boa.env.generate_address("stranger")
ZERO: Final = "0x" + 40 * "0"
HEARTBEAT_S: Final = 3_600
DEAD: Final = 2


@dataclass(frozen=True)
class Prices:
    oracle: Any
    eth: Any
    btc: Any
    staked: Any


@pytest.fixture(scope="module")
def deployment() -> Prices:
    """ETH is underlying 0 and collateral 0, BTC (18 decimals) underlying 3, wrapped staked ether collateral 5."""
    oracle = boa.load("contracts/PriceOracle.vy", GOVERNANCE)
    eth = boa.load("contracts/testing/MockAggregator.vy", 8, 2_000 * 10**8)
    btc = boa.load("contracts/testing/MockAggregator.vy", 18, 50_000 * WAD + 1)
    staked = boa.load("contracts/testing/TestWrappedStaked.vy", "Wrapped staked", "wst", 12 * WAD // 10)
    with boa.env.prank(GOVERNANCE):
        oracle.set_feed(0, 0, eth.address, HEARTBEAT_S)
        oracle.set_feed(1, 0, eth.address, HEARTBEAT_S)
        oracle.set_feed(0, 3, btc.address, HEARTBEAT_S)
        oracle.set_feed(1, 5, eth.address, HEARTBEAT_S, staked.address, 1, 10**9, 2 * 10**9)
    return Prices(oracle, eth, btc, staked)


@pytest.fixture
def prices(deployment: Prices) -> Iterator[Prices]:
    with boa.env.anchor():
        yield deployment


def answering(*words: int) -> bytes:
    """Code that returns these words to any call."""
    stores = b"".join(
        b"\x7f" + w.to_bytes(32, "big") + b"\x60" + bytes([32 * k]) + b"\x52" for k, w in enumerate(words)
    )
    return stores + b"\x60" + bytes([32 * len(words)]) + b"\x5f\xf3"


def test_prices_are_scaled_to_wad(prices: Prices) -> None:
    assert prices.oracle.price(0, 0)[:2] == (2_000 * WAD, 0)
    assert prices.oracle.price(0, 3)[:2] == (50_000 * WAD + 1, 0)


def test_read_gives_a_word_for_each_bit_underlyings_first(prices: Prices) -> None:
    at = prices.eth.latestRoundData()[3]
    eth, btc, staked = prices.oracle.read(1 | 1 << 3, 1 << 5)
    assert eth == 2_000 * WAD | at << 136
    assert btc & (2**128 - 1) == 50_000 * WAD + 1
    assert staked & (2**136 - 1) == 2_400 * WAD
    assert prices.oracle.read(0, 0) == []
    assert prices.oracle.read(2**256 - 1, 2**256 - 1) == prices.oracle.read(65_535, 65_535)
    assert len(prices.oracle.read(65_535, 65_535)) == 32


def test_what_has_no_feed_is_dead(prices: Prices) -> None:
    assert prices.oracle.price(0, 1) == (0, DEAD, 0)
    for kind, id_ in ((2, 0), (0, 16)):
        with boa.reverts("oracle: kind or id"):
            prices.oracle.price(kind, id_)


def test_age_beyond_the_heartbeat_is_dead(prices: Prices) -> None:
    at = prices.eth.latestRoundData()[3]
    boa.env.time_travel(seconds=at + HEARTBEAT_S - int(boa.env.timestamp))
    assert prices.oracle.price(0, 0)[1] == 0
    boa.env.time_travel(seconds=1)
    assert prices.oracle.price(0, 0) == (0, DEAD, 0)


def test_a_dead_price_is_the_last_recorded(prices: Prices) -> None:
    prices.oracle.record(0, 0, sender=STRANGER)
    at = prices.eth.latestRoundData()[3]
    prices.eth.set_answer(1_900 * 10**8)
    prices.eth.set_answer(0)
    assert prices.oracle.price(0, 0) == (2_000 * WAD, DEAD, at)
    with boa.reverts("oracle: feed not live"):
        prices.oracle.record(0, 0)
    with boa.env.prank(GOVERNANCE):  # a new feed forgets the record of the old one
        prices.oracle.set_feed(0, 0, prices.btc.address, HEARTBEAT_S)
    assert prices.oracle.price(0, 0)[0] == 50_000 * WAD + 1


@pytest.mark.parametrize(
    ("answer", "alive"),
    [
        (1, True),
        (0, False),
        (-1, False),
        (-(2**191), False),
        ((2**90 - 1) // 10**10, True),
        (2**90 // 10**10 + 1, False),
    ],
)
def test_answers_out_of_range(prices: Prices, answer: int, alive: bool) -> None:
    prices.eth.set_answer(answer)
    price_wad, state, _ = prices.oracle.price(0, 0)
    assert (price_wad, state) == ((answer * 10**10, 0) if alive else (0, DEAD))


def test_times_out_of_range(prices: Prices) -> None:
    prices.eth.set_answer(10**8, int(boa.env.timestamp) + 10)
    assert prices.oracle.price(0, 0)[1] == DEAD
    prices.eth.set_answer(10**8, 0)
    assert prices.oracle.price(0, 0)[1] == DEAD
    prices.eth.set_answer(10**8)
    assert prices.oracle.price(0, 0)[1] == 0
    prices.eth.set_answered_lag(1)
    assert prices.oracle.price(0, 0)[1] == DEAD


@pytest.mark.parametrize(
    "code",
    [
        b"",  # no code
        b"\x5f\x5f\xfd",  # reverts
        b"\xfe",  # uses up its gas
        b"\x5b\x5f\x56",  # loops for ever
        b"\x62\x03\x0d\x40\x5f\xf3",  # returns 200,000 bytes of nothing
        b"\x62\x03\x0d\x40\x5f\xfd",  # reverts with them
        answering(10**8),  # too short
        answering(2**256 - 1, 2**256 - 1, 2**256 - 1, 2**256 - 1, 2**256 - 1),
        answering(1, 2**255 - 1, 1, 1, 1),
        answering(1, 10**8, 1, 2**255, 1),
    ],
    ids=["none", "reverts", "invalid", "loops", "bomb", "bomb_revert", "short", "ones", "huge", "late"],
)
@pytest.mark.parametrize("target", ["eth", "staked"])
def test_no_feed_can_make_read_revert(prices: Prices, code: bytes, target: str) -> None:
    boa.env.set_code(getattr(prices, target).address, code)
    words = prices.oracle.read(1 | 1 << 3, 1 << 5)
    assert [word >> 128 & 255 for word in words] == ([DEAD, 0, DEAD] if target == "eth" else [0, 0, DEAD])


def test_a_caller_cannot_starve_a_good_feed(prices: Prices) -> None:
    """Too little gas reverts; it never makes the price dead."""
    # a feed that needs 100,000 gas: 600 keccaks of 32 bytes would do; so does one of 1 MB less. Here: 45 cold slots.
    reads = b"".join(b"\x60" + bytes([k]) + b"\x54\x50" for k in range(45))
    at = int(boa.env.timestamp)
    boa.env.set_code(prices.eth.address, reads + answering(1, 10**8, at, at, 1))
    seen = set()
    for gas in range(30_000, 220_000, 10_000):
        try:
            seen.add(prices.oracle.price(0, 0, gas=gas)[1])
        except boa.BoaError:
            seen.add("reverted")
    assert seen == {0, "reverted"}


# --- rate sources ----------------------------------------------------------------------------------------------------


def test_rates_multiply_and_round_down(prices: Prices) -> None:
    prices.staked.set_rate(1_111_111_111_111_111_111)
    assert prices.oracle.price(1, 5)[0] == 2_000 * 1_111_111_111_111_111_111
    prices.eth.set_answer(1)
    assert prices.oracle.price(1, 5)[0] == 11_111_111_111  # 1e10 * 1.111111111111111111


@pytest.mark.parametrize(("rate_wad", "state"), [(WAD, 0), (WAD - 1, DEAD), (2 * WAD, 0), (2 * WAD + 1, DEAD)])
def test_rates_outside_their_bounds_are_dead(prices: Prices, rate_wad: int, state: int) -> None:
    prices.staked.set_rate(rate_wad)
    assert prices.oracle.price(1, 5)[1] == state


def test_a_vaults_rate(prices: Prices) -> None:
    with boa.env.prank(GOVERNANCE):
        prices.oracle.set_feed(1, 6, prices.eth.address, HEARTBEAT_S, prices.staked.address, 2, 10**9, 2 * 10**9)
    assert prices.oracle.price(1, 6)[:2] == (2_400 * WAD, 0)
    assert prices.oracle.feed_of(1, 6) == (prices.eth.address, HEARTBEAT_S, 8, prices.staked.address, 2)


# --- wiring ----------------------------------------------------------------------------------------------------------


def test_only_governance_wires(prices: Prices) -> None:
    with boa.reverts("ownable: caller is not the owner"):
        prices.oracle.set_feed(0, 0, prices.eth.address, HEARTBEAT_S, sender=STRANGER)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((2, 0, "eth", 3_600), "oracle: kind or id"),
        ((0, 16, "eth", 3_600), "oracle: kind or id"),
        ((0, 0, "eth", 59), "oracle: heartbeat"),
        ((0, 0, "eth", 172_801), "oracle: heartbeat"),
        ((1, 0, "eth", 3_600, "staked", 0), "oracle: rate source"),
        ((1, 0, "eth", 3_600, "staked", 3, 1, 2), "oracle: rate source"),
        ((0, 0, "eth", 3_600, "staked", 1, 1, 2), "oracle: rate source"),
        ((1, 0, "eth", 3_600, None, 1, 1, 2), "oracle: rate source"),
        ((1, 0, "eth", 3_600, "staked", 1, 0, 2), "oracle: rate bounds"),
        ((1, 0, "eth", 3_600, "staked", 1, 3, 2), "oracle: rate bounds"),
        ((1, 0, "eth", 3_600, "staked", 1, 1, 2**48), "oracle: rate bounds"),
        ((1, 0, "eth", 3_600, "staked", 1, 1, 2), "oracle: feed not live"),
    ],
)
def test_wiring_that_makes_no_sense(prices: Prices, arguments: tuple[Any, ...], reason: str) -> None:
    names = {"eth": prices.eth.address, "staked": prices.staked.address, None: ZERO}
    given = [names.get(a, a) if isinstance(a, str) or a is None else a for a in arguments]
    with boa.env.prank(GOVERNANCE), boa.reverts(reason):
        prices.oracle.set_feed(*given)


def test_decimals_of_a_feed(prices: Prices) -> None:
    wide = boa.load("contracts/testing/MockAggregator.vy", 19, 10**19)
    with boa.env.prank(GOVERNANCE), boa.reverts("oracle: feed decimals"):
        prices.oracle.set_feed(0, 0, wide.address, HEARTBEAT_S)


# --- the past --------------------------------------------------------------------------------------------------------


def test_price_at_proves_its_round(prices: Prices) -> None:
    first = prices.eth.last_round()
    start = int(boa.env.timestamp)
    for k in (1, 2):
        boa.env.time_travel(seconds=start + 100 * k - int(boa.env.timestamp))
        prices.eth.set_answer((2_000 + k) * 10**8, start + 100 * k)
    ask = prices.oracle.price_at
    assert ask(0, first + 1, start + 100) == ask(0, first + 1, start + 199) == 2_001 * WAD
    assert ask(0, first, start + 99) == 2_000 * WAD
    with boa.reverts("oracle: not the last round"):
        ask(0, first, start + 100)
    with boa.reverts("oracle: round too late"):
        ask(0, first + 2, start + 199)
    with boa.reverts("oracle: not the last round"):  # the newest round: what comes after is unknown
        ask(0, first + 2, start + 250)
    for missing in (first + 3, 0, 2**80, 2**256 - 1):
        with boa.reverts("oracle: no such round"):
            ask(0, missing, start + 250)


def test_price_at_crosses_phases(prices: Prices) -> None:
    last = prices.eth.last_round()
    start = int(boa.env.timestamp)
    boa.env.time_travel(seconds=100)
    prices.eth.start_phase()
    prices.eth.set_answer(2_100 * 10**8)
    now = prices.eth.latestRoundData()[3]
    assert prices.oracle.price_at(0, last, start + 50) == 2_000 * WAD
    assert prices.eth.last_round() == (2 << 64) + 1
    with boa.reverts("oracle: not the last round"):
        prices.oracle.price_at(0, last, now)
