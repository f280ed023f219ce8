# SPDX-License-Identifier: Apache-2.0
"""InstrumentRegistry: dated futures, their basis and its guards."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import boa
import pytest

from tests.support.registry_world import (
    BTC,
    DAY_S,
    ETH,
    FUTURE_A,
    FUTURE_B,
    GOVERNANCE,
    KEEPER,
    LISTER,
    MAX_EXPIRY_S,
    PERP,
    STRANGER,
    WAD,
    YEAR_S,
    RegistryWorld,
    deploy_registry,
)


@pytest.fixture(scope="module")
def deployment() -> RegistryWorld:
    return deploy_registry()


@pytest.fixture
def world(deployment: RegistryWorld) -> Iterator[RegistryWorld]:
    with boa.env.anchor():
        yield deployment


def basis_e9(rate_bps: int, left_s: int) -> int:
    """The rule in decimals: rate times years left, cut off towards zero."""
    return int(Decimal(rate_bps) / 10_000 * Decimal(left_s) / YEAR_S * 10**9)


# --- listing ---------------------------------------------------------------------------------------------------------


def test_two_futures(world: RegistryWorld) -> None:
    registry, first, second = world.registry, world.hour(24), world.hour(48)
    assert registry.list_future(ETH, first, sender=LISTER) == ETH << 8 | FUTURE_A
    (log,) = registry.get_logs()
    assert (log.instrument, log.underlying, log.expiry, log.serial) == (FUTURE_A, ETH, first, 3)
    with boa.reverts("registry: exists"):
        registry.list_future(ETH, first, sender=LISTER)
    assert registry.list_future(BTC, first, sender=GOVERNANCE) == BTC << 8 | FUTURE_A
    assert registry.list_future(ETH, second, sender=GOVERNANCE) == ETH << 8 | FUTURE_B
    with boa.reverts("registry: full"):
        registry.list_future(ETH, world.hour(72), sender=LISTER)
    assert registry.instrument_info(FUTURE_B) == (2, second, 0, False, 5, world.now(), False, 0)
    assert registry.listing(FUTURE_A) == (3, world.now(), True)
    assert registry.row_count(ETH) == 0  # a future has no row
    world.travel_to(first)
    with boa.reverts("registry: expired"):
        registry.listing(FUTURE_A)
    assert registry.check_tradable(FUTURE_B)


def test_the_slot_of_a_retired_future(world: RegistryWorld) -> None:
    """The other slot is compared whichever is free; the basis of the one before is gone."""
    registry, first, second = world.registry, world.hour(24), world.hour(48)
    registry.list_future(ETH, first, sender=LISTER)
    registry.list_future(ETH, second, sender=LISTER)
    registry.set_basis(FUTURE_A, 150, sender=KEEPER)
    registry.retire(FUTURE_A, sender=GOVERNANCE)
    assert world.mark(ETH, FUTURE_A) == (0, 0)
    with boa.reverts("registry: exists"):
        registry.list_future(ETH, second, sender=LISTER)
    assert registry.list_future(ETH, first, sender=LISTER) == FUTURE_A
    assert (registry.serial_of(FUTURE_A), registry.basis_rate(FUTURE_A)) == (5, (0, 0))


def test_futures_that_make_no_sense(world: RegistryWorld) -> None:
    registry = world.registry
    with boa.reverts("registry: unknown underlying"):
        registry.list_future(2, world.hour(), sender=LISTER)
    for expiry in (0, world.hour(0), world.hour() + 60, world.hour() + MAX_EXPIRY_S, 2**255):
        with boa.reverts("registry: expiry"):
            registry.list_future(ETH, expiry, sender=LISTER)
    registry.list_future(ETH, (world.now() + MAX_EXPIRY_S) // 3_600 * 3_600, sender=LISTER)


# --- basis -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [81, -81])
def test_a_basis_runs_off(world: RegistryWorld, rate: int) -> None:
    registry, expiry = world.registry, world.hour(24 * 90)
    registry.list_future(ETH, expiry, sender=LISTER)
    assert world.mark(ETH, FUTURE_A) == (0, 0)
    registry.set_basis(FUTURE_A, rate, sender=KEEPER)
    (log,) = registry.get_logs()
    assert (log.instrument, log.rate_bps) == (FUTURE_A, rate)
    assert registry.basis_rate(FUTURE_A) == (rate, world.now())
    assert registry.instrument_info(FUTURE_A)[:4] == (2, expiry, 0, False)
    for left in (expiry - world.now(), 30 * DAY_S, 86_399, 61, 2, 1):
        world.travel_to(expiry - left)
        assert world.mark(ETH, FUTURE_A) == (0, basis_e9(rate, left))
    world.travel_to(expiry)
    assert world.mark(ETH, FUTURE_A) == (0, 0)
    boa.env.time_travel(seconds=1)
    world.touch()
    round_id = world.feeds[ETH].last_round()
    registry.settle_expiry(ETH, expiry, round_id - 1, round_id)
    assert world.mark(ETH, FUTURE_A) == (2_000 * WAD, 0)


def test_the_guards_of_a_basis(world: RegistryWorld) -> None:
    registry = world.registry
    registry.list_future(ETH, world.hour(24), sender=LISTER)
    for who in (GOVERNANCE, LISTER, STRANGER):
        with boa.reverts("registry: not authorised"):
            registry.set_basis(FUTURE_A, 0, sender=who)
    for rate in (3_001, -3_001, 2**255 - 1, -(2**255)):
        with boa.reverts("registry: basis above bound"):
            registry.set_basis(FUTURE_A, rate, sender=KEEPER)
    for rate in (201, -201, 3_000, -3_000):
        with boa.reverts("registry: basis step"):
            registry.set_basis(FUTURE_A, rate, sender=KEEPER)
    registry.set_basis(FUTURE_A, 200, sender=KEEPER)
    boa.env.time_travel(seconds=599)
    with boa.reverts("registry: basis too soon"):
        registry.set_basis(FUTURE_A, 200, sender=KEEPER)
    boa.env.time_travel(seconds=1)
    with boa.reverts("registry: basis step"):
        registry.set_basis(FUTURE_A, -1, sender=KEEPER)
    registry.set_basis(FUTURE_A, 0, sender=KEEPER)


def test_a_basis_is_of_a_listed_future(world: RegistryWorld) -> None:
    registry = world.registry
    option = world.option(ETH, 2_000, world.hour())
    for instrument in (option, PERP, 2**256 - 1):
        with boa.reverts("registry: not a future"):
            registry.set_basis(instrument, 0, sender=KEEPER)
        with boa.reverts("registry: not a future"):
            registry.basis_rate(instrument)
    for instrument in (FUTURE_A, 7 << 8 | FUTURE_B, 2**200 | FUTURE_A):
        with boa.reverts("registry: not tradable"):
            registry.set_basis(instrument, 0, sender=KEEPER)
    registry.list_future(ETH, world.hour(), sender=LISTER)
    world.travel_to(world.hour())
    with boa.reverts("registry: expired"):
        registry.set_basis(FUTURE_A, 0, sender=KEEPER)


def test_a_keeper_who_walks_the_basis_to_its_bound(world: RegistryWorld) -> None:
    """20 bps of the price a push, at most: nine bps a year for a future of two years, so two days to the bound."""
    registry, expiry = world.registry, (world.now() + MAX_EXPIRY_S) // 3_600 * 3_600
    registry.list_future(ETH, expiry, sender=LISTER)
    rate = 0
    for _ in range(333):
        with boa.reverts("registry: basis step"):
            registry.set_basis(FUTURE_A, rate - 11, sender=KEEPER)
        rate -= 9
        before = world.mark(ETH, FUTURE_A)[1]
        registry.set_basis(FUTURE_A, rate, sender=KEEPER)
        assert 0 <= before - world.mark(ETH, FUTURE_A)[1] <= 20 * 10**5 + 1
        boa.env.time_travel(seconds=600)
    assert -610_000_000 < world.mark(ETH, FUTURE_A)[1] < -590_000_000
    with boa.reverts("registry: basis above bound"):
        registry.set_basis(FUTURE_A, -3_001, sender=KEEPER)


def test_governance_sets_the_guards(world: RegistryWorld) -> None:
    registry = world.registry
    assert (registry.max_basis_step_bps(), registry.min_basis_interval_s()) == (200, 600)
    with boa.reverts("ownable: caller is not the owner"):
        registry.set_basis_guards(200, 600, sender=KEEPER)
    for step, interval in ((0, 600), (1_001, 600), (200, 59), (200, 86_401)):
        with boa.reverts("registry: guards"):
            registry.set_basis_guards(step, interval, sender=GOVERNANCE)
    registry.set_basis_guards(1, 86_400, sender=GOVERNANCE)
    registry.set_basis_guards(1_000, 60, sender=GOVERNANCE)
    (log,) = registry.get_logs()
    assert (log.max_step_bps, log.min_interval_s) == (1_000, 60)
    registry.list_future(ETH, world.hour(24), sender=LISTER)
    registry.set_basis(FUTURE_A, -1_000, sender=KEEPER)
    boa.env.time_travel(seconds=60)
    registry.set_basis(FUTURE_A, -2_000, sender=KEEPER)
    assert registry.basis_rate(FUTURE_A) == (-2_000, world.now())
