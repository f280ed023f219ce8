# SPDX-License-Identifier: Apache-2.0
"""InstrumentRegistry: listing, funding, expiry."""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest

from tests.support.ledger import (
    BTC,
    BTC_PERP,
    ETH,
    ETH_PERP,
    GOVERNANCE,
    HEARTBEAT_S,
    HOUR_S,
    KEEPER,
    STRANGER,
    WAD,
    Ledger,
    deploy_ledger,
    signed,
)

LISTER = boa.env.generate_address("lister")
DAY_S = 86_400


@pytest.fixture(scope="module")
def deployment() -> Ledger:
    return deploy_ledger()


@pytest.fixture
def ledger(deployment: Ledger) -> Iterator[Ledger]:
    with boa.env.anchor():
        yield deployment


def next_hour(hours: int = 1) -> int:
    return (int(boa.env.timestamp) // HOUR_S + hours) * HOUR_S


def test_sixteen_underlyings(ledger: Ledger) -> None:
    registry = ledger.registry
    with boa.reverts("ownable: caller is not the owner"):
        registry.list_underlying("SOL", True, sender=KEEPER)
    for k in range(2, 16):
        assert registry.list_underlying(f"U{k}", k % 2 == 0, sender=GOVERNANCE) == k
    with boa.reverts("registry: full"):
        registry.list_underlying("U16", True, sender=GOVERNANCE)
    assert registry.underlying_count() == 16
    assert registry.underlying_info(3) == ("U3", False, 0)
    assert registry.check_tradable(2 << 8 | 255)
    with boa.reverts("registry: not tradable"):
        registry.check_tradable(3 << 8 | 255)
    with boa.reverts("registry: unknown underlying"):
        registry.underlying_info(16)


def test_listing_an_option(ledger: Ledger) -> None:
    registry = ledger.registry
    expiry = next_hour(5)
    assert registry.list_option(BTC, expiry, 60_000 * WAD, False, sender=GOVERNANCE) == 256
    (log,) = registry.get_logs()
    assert (log.instrument, log.underlying, log.expiry, log.strike_wad, log.is_call) == (
        256, BTC, expiry, 60_000 * WAD, False,
    )  # fmt: skip
    assert registry.option_info(256) == (expiry, 60_000 * WAD, False)
    assert registry.option_info(257) == (0, 0, False)
    assert (registry.row_count(BTC), registry.row_count(ETH)) == (1, 0)
    assert registry.list_option(BTC, expiry, 60_000 * WAD, True, sender=GOVERNANCE) == 257
    with boa.reverts("registry: option exists"):
        registry.list_option(BTC, expiry, 60_000 * WAD, True, sender=GOVERNANCE)
    assert registry.list_option(ETH, expiry, 60_000 * WAD, True, sender=GOVERNANCE) == 0


def test_255_slots(ledger: Ledger) -> None:
    expiry = next_hour()
    for k in range(255):
        ledger.registry.list_option(ETH, expiry, (k + 1) * WAD, True, sender=GOVERNANCE)
    assert ledger.registry.row_count(ETH) == 255
    with boa.reverts("registry: full"):
        ledger.registry.list_option(ETH, expiry, 256 * WAD, True, sender=GOVERNANCE)
    assert ledger.registry.check_tradable(ETH_PERP)


@pytest.mark.parametrize(
    ("underlying", "hours", "strike_wad", "reason"),
    [
        (2, 1, WAD, "registry: unknown underlying"),
        (0, 0, WAD, "registry: expiry"),
        (0, 24 * 733, WAD, "registry: expiry"),
        (0, 1, 0, "registry: strike"),
        (0, 1, 2**90, "registry: strike"),
    ],
)
def test_options_that_make_no_sense(ledger: Ledger, underlying: int, hours: int, strike_wad: int, reason: str) -> None:
    with boa.reverts(reason):
        ledger.registry.list_option(underlying, next_hour(hours), strike_wad, True, sender=GOVERNANCE)
    ledger.registry.list_option(0, next_hour(), 2**90 - 1, True, sender=GOVERNANCE)


def test_expiries_are_on_the_hour(ledger: Ledger) -> None:
    with boa.reverts("registry: expiry"):
        ledger.registry.list_option(ETH, next_hour() + 60, WAD, True, sender=GOVERNANCE)


def test_a_lister_lists_and_does_nothing_else(ledger: Ledger) -> None:
    registry = ledger.registry
    with boa.reverts("registry: not authorised"):
        registry.list_option(ETH, next_hour(), WAD, True, sender=LISTER)
    with boa.reverts("registry: not authorised"):
        registry.set_role(3, LISTER, True, sender=GOVERNANCE)
    registry.set_role(1, LISTER, True, sender=GOVERNANCE)
    registry.list_option(ETH, next_hour(), WAD, True, sender=LISTER)
    with boa.reverts("ownable: caller is not the owner"):
        registry.list_underlying("SOL", True, sender=LISTER)
    with boa.reverts("ownable: caller is not the owner"):
        registry.set_role(1, STRANGER, True, sender=LISTER)
    with boa.reverts("registry: not authorised"):
        registry.set_funding_rate(ETH, 0, sender=LISTER)
    registry.set_role(1, LISTER, False, sender=GOVERNANCE)
    with boa.reverts("registry: not authorised"):
        registry.list_option(ETH, next_hour(), 2 * WAD, True, sender=LISTER)


# --- funding ---------------------------------------------------------------------------------------------------------


def index(ledger: Ledger, underlying: int) -> int:
    return signed(ledger.registry.funding(1 << underlying)[0], 256)


@pytest.mark.parametrize("sign", [1, -1])
def test_funding_grows_with_time(ledger: Ledger, sign: int) -> None:
    rate = sign * 5 * 10**13
    ledger.registry.set_funding_rate(BTC, rate, sender=KEEPER)
    start = int(boa.env.timestamp)
    boa.env.time_travel(seconds=1_000)
    assert index(ledger, BTC) == rate * (int(boa.env.timestamp) - start)
    assert index(ledger, ETH) == 0
    assert [signed(word, 256) for word in ledger.registry.funding(0b111)] == [0, index(ledger, BTC), 0]
    ledger.registry.set_funding_rate(BTC, -2 * rate, sender=KEEPER)
    (log,) = ledger.registry.get_logs()
    turned = log.index_wad
    assert (log.underlying, log.rate_wad_per_s) == (BTC, -2 * rate)
    now = int(boa.env.timestamp)
    boa.env.time_travel(seconds=10)
    assert index(ledger, BTC) == turned - 2 * rate * (int(boa.env.timestamp) - now)


def test_a_rate_lapses_after_a_day(ledger: Ledger) -> None:
    ledger.registry.set_funding_rate(ETH, 10**13, sender=KEEPER)
    boa.env.time_travel(seconds=DAY_S)
    assert index(ledger, ETH) == 10**13 * DAY_S
    boa.env.time_travel(seconds=DAY_S)
    assert index(ledger, ETH) == 10**13 * DAY_S


def test_the_bound_of_funding(ledger: Ledger) -> None:
    """3 % of 2,000 USD a day."""
    registry = ledger.registry
    bound = 60 * WAD // DAY_S
    for rate in (bound, -bound):
        registry.set_funding_rate(ETH, rate, sender=KEEPER)
        assert registry.funding_rate(ETH)[0] == rate
    for rate in (bound + 1, -bound - 1, -(2**255), 2**255 - 1):
        with boa.reverts("registry: funding above bound"):
            registry.set_funding_rate(ETH, rate, sender=KEEPER)
    with boa.reverts("registry: funding above bound"):
        registry.set_max_funding(1_001, sender=GOVERNANCE)
    registry.set_max_funding(0, sender=GOVERNANCE)
    with boa.reverts("registry: funding above bound"):
        registry.set_funding_rate(ETH, 1, sender=KEEPER)


def test_funding_needs_a_keeper_a_perpetual_and_a_price(ledger: Ledger) -> None:
    registry = ledger.registry
    registry.list_underlying("SOL", False, sender=GOVERNANCE)
    with boa.reverts("registry: not authorised"):
        registry.set_funding_rate(ETH, 0, sender=GOVERNANCE)
    with boa.reverts("registry: no perpetual"):
        registry.set_funding_rate(2, 0, sender=KEEPER)
    with boa.reverts("registry: unknown underlying"):
        registry.set_funding_rate(3, 0, sender=KEEPER)
    boa.env.time_travel(seconds=HEARTBEAT_S + 1)
    with boa.reverts("registry: price dead"):
        registry.set_funding_rate(ETH, 0, sender=KEEPER)


# --- expiry ----------------------------------------------------------------------------------------------------------


def test_settling_an_expiry(ledger: Ledger) -> None:
    registry, feed = ledger.registry, ledger.feeds[ETH]
    option, expiry = ledger.list_option(ETH, 2_000, is_call=True)
    feed.set_answer(2_222 * 10**8)
    round_id = feed.last_round()
    with boa.reverts("registry: not expired"):
        registry.settle_expiry(ETH, expiry, round_id)
    assert registry.check_tradable(option)
    boa.env.time_travel(seconds=expiry - int(boa.env.timestamp))
    with boa.reverts("registry: expired"):
        registry.check_tradable(option)
    with boa.reverts("oracle: not the last round"):  # no later round yet
        registry.settle_expiry(ETH, expiry, round_id)
    boa.env.time_travel(seconds=1)
    feed.set_answer(3_333 * 10**8)
    with boa.reverts("oracle: round too late"):
        registry.settle_expiry(ETH, expiry, round_id + 1)
    with boa.reverts("oracle: not the last round"):
        registry.settle_expiry(ETH, expiry, round_id - 1)
    registry.settle_expiry(ETH, expiry, round_id, sender=STRANGER)
    (log,) = registry.get_logs()
    assert (log.underlying, log.expiry, log.price_wad, log.round_id) == (ETH, expiry, 2_222 * WAD, round_id)
    assert registry.settlement_price(ETH, expiry) == 2_222 * WAD
    with boa.reverts("registry: settled before"):
        registry.settle_expiry(ETH, expiry, round_id)
    with boa.reverts("registry: expiry"):  # nothing of BTC expired then
        registry.settle_expiry(BTC, expiry, round_id)
    assert registry.check_tradable(BTC_PERP)
