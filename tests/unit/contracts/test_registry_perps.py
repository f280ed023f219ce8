# SPDX-License-Identifier: Apache-2.0
"""InstrumentRegistry: funding, and the end and return of a perpetual."""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest

from tests.support.ledger import signed
from tests.support.registry_world import (
    BTC,
    DAY_S,
    ETH,
    GOVERNANCE,
    HEARTBEAT_S,
    KEEPER,
    LISTER,
    MAX_EXPIRY_S,
    PERP,
    STRANGER,
    WAD,
    RegistryWorld,
    deploy_registry,
)

NOT_OWNER = "ownable: caller is not the owner"
RATE = 5 * 10**14
NOTICE_HOURS = 7 * 24 + 1


@pytest.fixture(scope="module")
def deployment() -> RegistryWorld:
    return deploy_registry()


@pytest.fixture
def world(deployment: RegistryWorld) -> Iterator[RegistryWorld]:
    with boa.env.anchor():
        yield deployment


def index(world: RegistryWorld, underlying: int) -> int:
    """The funding index, by `mark` and by `marks`."""
    return world.mark(underlying, PERP)[1]


# --- funding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
def test_funding_grows_with_time(world: RegistryWorld, sign: int) -> None:
    rate = sign * RATE
    world.registry.set_funding_rate(BTC, rate, sender=KEEPER)
    assert world.registry.funding_rate(BTC) == (rate, world.now())
    boa.env.time_travel(seconds=1_000)
    assert (index(world, BTC), index(world, ETH)) == (1_000 * rate, 0)
    assert [signed(word >> 128, 128) for word in world.registry.marks(2**16 - 1)] == [0, 1_000 * rate] + 14 * [0]
    world.registry.set_funding_rate(BTC, -2 * rate, sender=KEEPER)
    (log,) = world.registry.get_logs()
    assert (log.underlying, log.rate_wad_per_s, log.index_wad) == (BTC, -2 * rate, 1_000 * rate)
    boa.env.time_travel(seconds=700)
    assert index(world, BTC) == 1_000 * rate - 700 * 2 * rate


def test_a_rate_lapses_after_a_day(world: RegistryWorld) -> None:
    world.registry.set_funding_rate(ETH, -RATE, sender=KEEPER)
    for _ in range(2):
        boa.env.time_travel(seconds=DAY_S)
        assert index(world, ETH) == -RATE * DAY_S


def test_the_bound_of_funding(world: RegistryWorld) -> None:
    """3 % of 2,000 USD a day."""
    registry, bound = world.registry, 60 * WAD // DAY_S
    for rate in (bound, -bound):
        registry.set_funding_rate(ETH, rate, sender=KEEPER)
        assert registry.funding_rate(ETH)[0] == rate
    for rate in (bound + 1, -bound - 1, -(2**255), 2**255 - 1):
        with boa.reverts("registry: funding above bound"):
            registry.set_funding_rate(ETH, rate, sender=KEEPER)
    with boa.reverts("registry: funding above bound"):
        registry.set_max_funding(1_001, sender=GOVERNANCE)
    with boa.reverts(NOT_OWNER):
        registry.set_max_funding(1, sender=KEEPER)
    registry.set_max_funding(0, sender=GOVERNANCE)
    assert registry.get_logs()[0].max_funding_bps_per_day == 0
    with boa.reverts("registry: funding above bound"):
        registry.set_funding_rate(ETH, 1, sender=KEEPER)
    registry.set_funding_rate(ETH, 0, sender=KEEPER)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_greatest_rate_fits_its_lane(world: RegistryWorld, sign: int) -> None:
    """The price of 2^90 - 1 wad with the widest bound: no bit of the rate touches index, expiry or time."""
    world.feeds[ETH].set_answer((2**90 - 1) // 10**10)
    world.registry.set_max_funding(1_000, sender=GOVERNANCE)
    price = (2**90 - 1) // 10**10 * 10**10
    rate = sign * (price * 1_000 // (10_000 * DAY_S))
    assert abs(rate) > 2**70
    expiry = world.hour(NOTICE_HOURS)
    world.registry.delist_perp(ETH, expiry, sender=GOVERNANCE)
    total = 0
    for seconds in (5 * DAY_S, DAY_S, 3_600):
        world.feeds[ETH].set_answer((2**90 - 1) // 10**10)
        world.registry.set_funding_rate(ETH, rate, sender=KEEPER)
        assert world.registry.funding_rate(ETH) == (rate, world.now())
        assert world.registry.instrument_info(PERP).expiry == expiry
        boa.env.time_travel(seconds=seconds)
        total += rate * min(seconds, DAY_S)
        assert index(world, ETH) == total


def test_funding_needs_a_keeper_a_perpetual_and_a_price(world: RegistryWorld) -> None:
    registry = world.registry
    registry.list_underlying("SOL", False, sender=GOVERNANCE)
    for who in (GOVERNANCE, LISTER):
        with boa.reverts("registry: not authorised"):
            registry.set_funding_rate(ETH, 0, sender=who)
    with boa.reverts("registry: no perpetual"):
        registry.set_funding_rate(2, 0, sender=KEEPER)
    for underlying in (3, 2**255):
        with boa.reverts("registry: unknown underlying"):
            registry.set_funding_rate(underlying, 0, sender=KEEPER)
    boa.env.time_travel(seconds=HEARTBEAT_S + 1)
    with boa.reverts("registry: price not fresh"):
        registry.set_funding_rate(ETH, 0, sender=KEEPER)


# --- delisting -------------------------------------------------------------------------------------------------------


def test_a_perpetual_ends(world: RegistryWorld) -> None:
    """Reduce-only at once, funding to the second of the expiry, then the settlement price, then nothing."""
    registry, expiry = world.registry, world.hour(NOTICE_HOURS)
    registry.delist_perp(ETH, expiry, sender=GOVERNANCE)
    (log,) = registry.get_logs()
    assert (log.underlying, log.expiry) == (ETH, expiry)
    assert not registry.check_tradable(PERP)
    assert registry.instrument_info(PERP)[:7] == (1, expiry, 0, False, 1, registry.listed_at(PERP), True)
    assert registry.check_tradable(BTC << 8 | PERP)
    world.travel_to(expiry - 600)
    world.set_funding(ETH, RATE)
    world.travel_to(expiry - 1)
    assert index(world, ETH) == 599 * RATE
    assert not registry.check_tradable(PERP)
    world.feeds[ETH].set_answer(2_345 * 10**8)
    world.travel_to(expiry)
    with boa.reverts("registry: expired"):
        registry.check_tradable(PERP)
    with boa.reverts("registry: expired"):
        registry.set_funding_rate(ETH, 0, sender=KEEPER)
    with boa.reverts("registry: expired"):
        registry.cancel_delisting(ETH, sender=GOVERNANCE)
    boa.env.time_travel(seconds=5_000)
    assert world.mark(ETH, PERP) == (0, 600 * RATE)
    world.touch()
    last = world.feeds[ETH].last_round()
    registry.settle_expiry(ETH, expiry, last - 1, last, sender=STRANGER)
    assert world.mark(ETH, PERP) == (2_345 * WAD, 600 * RATE)
    assert registry.instrument_info(PERP).settlement_price_wad == 2_345 * WAD
    boa.env.time_travel(seconds=9 * DAY_S)
    assert world.mark(ETH, PERP) == (2_345 * WAD, 600 * RATE)


def test_who_delists_and_when(world: RegistryWorld) -> None:
    registry = world.registry
    registry.list_underlying("SOL", False, sender=GOVERNANCE)
    expiry = world.hour(NOTICE_HOURS)
    for who in (LISTER, KEEPER, STRANGER):
        with boa.reverts(NOT_OWNER):
            registry.delist_perp(ETH, expiry, sender=who)
        with boa.reverts(NOT_OWNER):
            registry.cancel_delisting(ETH, sender=who)
    with boa.reverts("registry: no perpetual"):
        registry.delist_perp(2, expiry, sender=GOVERNANCE)
    with boa.reverts("registry: unknown underlying"):
        registry.delist_perp(3, expiry, sender=GOVERNANCE)
    for early in (0, world.now(), expiry - 3_600):
        with boa.reverts("registry: notice"):
            registry.delist_perp(ETH, early, sender=GOVERNANCE)
    for wrong in (expiry + 60, world.hour() + MAX_EXPIRY_S, 2**255):
        with boa.reverts("registry: expiry"):
            registry.delist_perp(ETH, wrong, sender=GOVERNANCE)
    registry.delist_perp(ETH, expiry, sender=GOVERNANCE)
    for again in (expiry, expiry + 3_600):
        with boa.reverts("registry: delisting"):
            registry.delist_perp(ETH, again, sender=GOVERNANCE)
    with boa.reverts("registry: exists"):
        registry.relist_perp(ETH, sender=GOVERNANCE)


def test_notice_of_seven_days_to_the_second(world: RegistryWorld) -> None:
    world.travel_to(world.hour())
    expiry = world.now() + 7 * DAY_S
    with boa.env.anchor():
        boa.env.time_travel(seconds=1)
        with boa.reverts("registry: notice"):
            world.registry.delist_perp(ETH, expiry, sender=GOVERNANCE)
    world.registry.delist_perp(ETH, expiry, sender=GOVERNANCE)


def test_a_delisting_is_cancelled(world: RegistryWorld) -> None:
    """The perpetual is as it was; what was reduce-only before stays so; a new end has a notice of its own."""
    registry, expiry = world.registry, world.hour(NOTICE_HOURS)
    with boa.reverts("registry: not delisting"):
        registry.cancel_delisting(ETH, sender=GOVERNANCE)
    registry.set_reduce_only(BTC << 8 | PERP, True, sender=LISTER)
    for underlying, is_open in ((ETH, True), (BTC, False)):
        perp = underlying << 8 | PERP
        before = registry.instrument_info(perp), registry.listing(perp)
        registry.delist_perp(underlying, expiry, sender=GOVERNANCE)
        registry.cancel_delisting(underlying, sender=GOVERNANCE)
        assert registry.get_logs()[0].underlying == underlying
        assert (registry.instrument_info(perp), registry.listing(perp)) == before
        assert registry.check_tradable(perp) == is_open
    world.travel_to(expiry - 1)
    world.set_funding(ETH, RATE)
    boa.env.time_travel(seconds=101)
    world.touch()
    last = world.feeds[ETH].last_round()
    # nothing ends then any more: a price of that moment settles nothing of the perpetual
    registry.settle_expiry(ETH, expiry, last - 1, last)
    assert world.mark(ETH, PERP) == (0, 101 * RATE)
    with boa.reverts("registry: notice"):
        registry.delist_perp(ETH, expiry, sender=GOVERNANCE)
    with boa.reverts("registry: notice"):
        registry.delist_perp(ETH, world.hour(24), sender=GOVERNANCE)


def test_a_perpetual_comes_back(world: RegistryWorld) -> None:
    """Retired and listed again: another serial, the same index, a rate of zero, no settlement price."""
    registry, expiry = world.registry, world.hour(NOTICE_HOURS)
    registry.delist_perp(ETH, expiry, sender=GOVERNANCE)
    world.travel_to(expiry - 1_000)
    world.set_funding(ETH, -RATE)
    world.settle(ETH, expiry, 2_100)
    registry.retire(PERP, sender=STRANGER)
    assert registry.underlying_info(ETH) == ("ETH", False, 0)
    assert world.mark(ETH, PERP) == (0, -1_000 * RATE)
    with boa.reverts("registry: not tradable"):
        registry.check_tradable(PERP)
    with boa.reverts("registry: no perpetual"):
        registry.set_funding_rate(ETH, 0, sender=KEEPER)
    boa.env.time_travel(seconds=30 * DAY_S)
    for who in (LISTER, STRANGER):
        with boa.reverts(NOT_OWNER):
            registry.relist_perp(ETH, sender=who)
    with boa.reverts("registry: unknown underlying"):
        registry.relist_perp(2, sender=GOVERNANCE)
    registry.relist_perp(ETH, sender=GOVERNANCE)
    (log,) = registry.get_logs()
    assert (log.instrument, log.underlying, log.serial) == (PERP, ETH, 3)
    assert registry.listing(PERP) == (3, world.now(), True)
    boa.env.time_travel(seconds=1_000)
    assert world.mark(ETH, PERP) == (0, -1_000 * RATE)
    world.set_funding(ETH, RATE)
    boa.env.time_travel(seconds=10)
    assert world.mark(ETH, PERP) == (0, -990 * RATE)


def test_a_perpetual_that_was_not_listed_at_first(world: RegistryWorld) -> None:
    world.registry.list_underlying("SOL", False, sender=GOVERNANCE)
    world.registry.relist_perp(2, sender=GOVERNANCE)
    assert world.registry.underlying_info(2) == ("SOL", True, 0)
    assert world.registry.check_tradable(2 << 8 | PERP)
