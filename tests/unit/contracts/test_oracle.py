# SPDX-License-Identifier: Apache-2.0
"""PriceOracle: good prices to the wad, every way a feed can be bad, rounds of the past."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import boa
import pytest

from tests.support.price_feeds import BROKEN, CASH, DEAD, FRESH, LATE, ZERO, Word, answering, feed_config

WAD: Final = 10**18
GOVERNANCE: Final = boa.env.generate_address("governance")
STRANGER: Final = boa.env.generate_address("stranger")
HEARTBEAT_S: Final = 3_600


@dataclass(frozen=True)
class Prices:
    oracle: Any
    eth: Any
    btc: Any
    staked: Any


@pytest.fixture(scope="module")
def deployment() -> Prices:
    """ETH is underlying 0 and collateral 0, BTC (18 decimals) underlying 3, wrapped staked ether collateral 5."""
    oracle = boa.load("contracts/PriceOracle.vy", GOVERNANCE, ZERO, 0)
    eth = boa.load("contracts/testing/MockAggregator.vy", 8, 2_000 * 10**8)
    btc = boa.load("contracts/testing/MockAggregator.vy", 18, 50_000 * WAD + 1)
    staked = boa.load("contracts/testing/TestWrappedStaked.vy", "Wrapped staked", "wst", 12 * WAD // 10)
    with boa.env.prank(GOVERNANCE):
        oracle.set_feed(0, 0, feed_config(eth.address, HEARTBEAT_S))
        oracle.set_feed(1, 0, feed_config(eth.address, HEARTBEAT_S))
        oracle.set_feed(0, 3, feed_config(btc.address, HEARTBEAT_S))
        rate = (staked.address, 1, 10**9, 2 * 10**9)
        oracle.set_feed(1, 5, feed_config(eth.address, HEARTBEAT_S, rate=rate))
    return Prices(oracle, eth, btc, staked)


@pytest.fixture
def prices(deployment: Prices) -> Iterator[Prices]:
    with boa.env.anchor():
        yield deployment


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
    for kind, id_ in ((3, 0), (2, 1), (0, 16), (1, 16)):
        with boa.reverts("oracle: kind or id"):
            prices.oracle.price(kind, id_)


def test_age_beyond_the_heartbeat_is_dead(prices: Prices) -> None:
    at = prices.eth.latestRoundData()[3]
    boa.env.time_travel(seconds=at + HEARTBEAT_S - int(boa.env.timestamp))
    assert prices.oracle.price(0, 0)[1] == 0
    boa.env.time_travel(seconds=1)
    # what it was wired with
    assert prices.oracle.price(0, 0) == (2_000 * WAD, DEAD, at)


def test_a_dead_price_is_the_last_recorded(prices: Prices) -> None:
    prices.oracle.record(0, 0, sender=STRANGER)
    at = prices.eth.latestRoundData()[3]
    prices.eth.set_answer(1_900 * 10**8)
    prices.eth.set_answer(0)
    assert prices.oracle.price(0, 0) == (2_000 * WAD, DEAD, at)
    with boa.reverts("oracle: feed not live"):
        prices.oracle.record(0, 0)
    with boa.env.prank(GOVERNANCE):  # a new feed forgets the record of the old one
        prices.oracle.set_feed(0, 0, feed_config(prices.btc.address, HEARTBEAT_S))
    assert prices.oracle.price(0, 0)[0] == 50_000 * WAD + 1
    wired_at = prices.btc.latestRoundData()[3]
    boa.env.time_travel(seconds=HEARTBEAT_S + 1)
    assert prices.oracle.price(0, 0) == (50_000 * WAD + 1, DEAD, wired_at)


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
    assert (price_wad, state) == ((answer * 10**10, 0) if alive else (2_000 * WAD, DEAD))


def test_times_out_of_range(prices: Prices) -> None:
    prices.eth.set_answer(10**8, int(boa.env.timestamp) + 10)
    assert prices.oracle.price(0, 0)[1] == DEAD
    prices.eth.set_answer(10**8, 0)
    assert prices.oracle.price(0, 0)[1] == DEAD
    prices.eth.set_answer(10**8)
    assert prices.oracle.price(0, 0)[1] == 0
    prices.eth.set_answered_lag(1)
    assert prices.oracle.price(0, 0)[1] == DEAD


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("target", ["eth", "staked"])
def test_no_feed_can_make_read_revert(prices: Prices, code: bytes, target: str) -> None:
    boa.env.set_code(getattr(prices, target).address, code)
    words = [Word.of(word) for word in prices.oracle.read(1 | 1 << 3, 1 << 5)]
    assert [word.state for word in words] == ([DEAD, 0, DEAD] if target == "eth" else [0, 0, DEAD])
    assert [word.late_bps for word in words] == [10_000 if word.state else 0 for word in words]


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
    config = feed_config(prices.eth.address, HEARTBEAT_S, rate=(prices.staked.address, 2, 10**9, 2 * 10**9))
    with boa.env.prank(GOVERNANCE):
        prices.oracle.set_feed(1, 6, config)
    assert prices.oracle.price(1, 6)[:2] == (2_400 * WAD, 0)
    assert prices.oracle.feed_of(1, 6) == (config, 8, 0, 0)


def test_a_rate_that_makes_nothing_of_a_price_is_dead(prices: Prices) -> None:
    """A tiny price times a rate below one rounds to nothing; a huge one leaves the range."""
    tiny = boa.load("contracts/testing/MockAggregator.vy", 18, 10)
    rate = (prices.staked.address, 1, 1, 2**48 - 1)
    with boa.env.prank(GOVERNANCE):
        prices.oracle.set_feed(1, 6, feed_config(tiny.address, HEARTBEAT_S, rate=rate))
    prices.staked.set_rate(WAD // 10)
    assert prices.oracle.price(1, 6)[:2] == (1, 0)
    tiny.set_answer(9)
    assert prices.oracle.price(1, 6)[:2] == (12, DEAD)
    tiny.set_answer((2**90 - 1) // 10)
    prices.staked.set_rate(10 * WAD)
    assert prices.oracle.price(1, 6)[:2] == ((2**90 - 1) // 10 * 10, 0)
    prices.staked.set_rate(11 * WAD)
    assert prices.oracle.price(1, 6)[:2] == (12, DEAD)


# --- wiring ----------------------------------------------------------------------------------------------------------


def test_only_governance_wires(prices: Prices) -> None:
    config = feed_config(prices.eth.address, HEARTBEAT_S)
    for name, arguments in (("set_feed", (0, 0, config)), ("set_cash_feed", (config,)), ("share_feed", (0, 0))):
        with boa.reverts("ownable: caller is not the owner"):
            getattr(prices.oracle, name)(*arguments, sender=STRANGER)


# what is wrong with each: kind, id, heartbeat, dead age, secondary, deviation, rate
SENSELESS: Final = [
    (2, 0, 3_600, 7_200, None, 0, (), "oracle: kind or id"),
    (3, 0, 3_600, 7_200, None, 0, (), "oracle: kind or id"),
    (0, 16, 3_600, 7_200, None, 0, (), "oracle: kind or id"),
    (0, 0, 59, 7_200, None, 0, (), "oracle: heartbeat"),
    (0, 0, 172_801, 604_800, None, 0, (), "oracle: heartbeat"),
    (0, 0, 3_600, 3_599, None, 0, (), "oracle: dead age"),
    (0, 0, 3_600, 604_801, None, 0, (), "oracle: dead age"),
    (0, 0, 3_600, 7_200, None, 10, (), "oracle: deviation"),
    (0, 0, 3_600, 7_200, "twin", 9, (), "oracle: deviation"),
    (0, 0, 3_600, 7_200, "twin", 5_001, (), "oracle: deviation"),
    (0, 0, 3_600, 7_200, "eth", 100, (), "oracle: secondary feed"),
    (0, 0, 3_600, 7_200, "btc", 100, (), "oracle: feed not live"),
    (0, 0, 3_600, 7_200, "late", 100, (), "oracle: secondary feed"),
    (0, 0, 3_600, 7_200, "dead", 100, (), "oracle: secondary feed"),
    (1, 0, 3_600, 7_200, None, 0, ("staked", 0, 0, 0), "oracle: rate source"),
    (1, 0, 3_600, 7_200, None, 0, (None, 0, 1, 2), "oracle: rate bounds"),
    (1, 0, 3_600, 7_200, None, 0, ("staked", 3, 1, 2), "oracle: rate source"),
    (0, 0, 3_600, 7_200, None, 0, ("staked", 1, 1, 2), "oracle: rate source"),
    (1, 0, 3_600, 7_200, None, 0, (None, 1, 1, 2), "oracle: rate source"),
    (1, 0, 3_600, 7_200, None, 0, ("staked", 1, 0, 2), "oracle: rate bounds"),
    (1, 0, 3_600, 7_200, None, 0, ("staked", 1, 3, 2), "oracle: rate bounds"),
    (1, 0, 3_600, 7_200, None, 0, ("staked", 1, 1, 2**48), "oracle: rate bounds"),
    (1, 0, 3_600, 7_200, None, 0, ("staked", 1, 1, 2), "oracle: feed not live"),
]


@pytest.mark.parametrize("case", SENSELESS)
def test_wiring_that_makes_no_sense(prices: Prices, case: tuple[Any, ...]) -> None:
    now = int(boa.env.timestamp)
    feeds = {"eth": prices.eth, "btc": prices.btc, "staked": prices.staked}
    for name, age in (("twin", 0), ("late", 3_601), ("dead", 7_201)):
        feeds[name] = boa.load("contracts/testing/MockAggregator.vy", 8, 2_000 * 10**8)
        feeds[name].set_answer(2_000 * 10**8, now - age)
    names = {None: ZERO, **{name: feed.address for name, feed in feeds.items()}}
    kind, id_, heartbeat_s, dead_s, secondary, deviation, rate, reason = case
    rate = (names[rate[0]], *rate[1:]) if rate else (ZERO, 0, 0, 0)
    config = feed_config(prices.eth.address, heartbeat_s, dead_s, names[secondary], deviation, rate)
    with boa.env.prank(GOVERNANCE), boa.reverts(reason):
        prices.oracle.set_feed(kind, id_, config)


def test_the_borders_of_the_wiring_are_inside(prices: Prices) -> None:
    twin = boa.load("contracts/testing/MockAggregator.vy", 18, 2_000 * WAD)
    with boa.env.prank(GOVERNANCE):
        for heartbeat_s, dead_s, deviation in ((60, 60, 10), (172_800, 604_800, 5_000)):
            config = feed_config(prices.eth.address, heartbeat_s, dead_s, twin.address, deviation)
            prices.oracle.set_feed(0, 0, config)
            assert prices.oracle.feed_of(0, 0) == (config, 8, 18, 0)


def test_decimals_of_a_feed(prices: Prices) -> None:
    wide = boa.load("contracts/testing/MockAggregator.vy", 19, 10**19)
    with boa.env.prank(GOVERNANCE):
        with boa.reverts("oracle: feed decimals"):
            prices.oracle.set_feed(0, 0, feed_config(wide.address, HEARTBEAT_S))
        with boa.reverts("oracle: feed decimals"):
            prices.oracle.set_feed(0, 0, feed_config(prices.eth.address, HEARTBEAT_S, None, wide.address, 100))


def test_a_feed_must_be_good_when_it_is_wired(prices: Prices) -> None:
    prices.eth.set_answer(2_000 * 10**8, int(boa.env.timestamp) - HEARTBEAT_S - 1)
    config = feed_config(prices.eth.address, HEARTBEAT_S, 2 * HEARTBEAT_S)
    with boa.env.prank(GOVERNANCE), boa.reverts("oracle: feed not live"):
        prices.oracle.set_feed(0, 0, config)  # late is not good
    with boa.env.prank(GOVERNANCE), boa.reverts("oracle: feed not live"):
        prices.oracle.set_cash_feed(config)
    prices.eth.set_answer(2_000 * 10**8)
    prices.oracle.set_feed(0, 0, config, sender=GOVERNANCE)


def test_cash_has_no_rate_source(prices: Prices) -> None:
    config = feed_config(prices.eth.address, HEARTBEAT_S, rate=(prices.staked.address, 1, 10**9, 2 * 10**9))
    with boa.env.prank(GOVERNANCE), boa.reverts("oracle: rate source"):
        prices.oracle.set_cash_feed(config)


def test_cash_has_a_price_of_its_own(prices: Prices) -> None:
    assert prices.oracle.cash_price() == (0, DEAD)
    usdc = boa.load("contracts/testing/MockAggregator.vy", 8, 99_900_000)
    config = feed_config(usdc.address, HEARTBEAT_S, 2 * HEARTBEAT_S)
    prices.oracle.set_cash_feed(config, sender=GOVERNANCE)
    assert prices.oracle.cash_price() == (999 * 10**15, FRESH)
    assert prices.oracle.price(CASH, 0)[:2] == (999 * 10**15, FRESH)
    assert prices.oracle.feed_of(CASH, 0) == (config, 8, 0, 0)
    prices.oracle.record(CASH, 0)
    for age, state in ((0, FRESH), (1, LATE), (HEARTBEAT_S, LATE), (HEARTBEAT_S + 1, DEAD)):
        usdc.set_answer(97_000_000, int(boa.env.timestamp) - age - (HEARTBEAT_S if age else 0))
        assert prices.oracle.cash_price() == (97 * 10**16 if state != DEAD else 999 * 10**15, state)
