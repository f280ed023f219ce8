# SPDX-License-Identifier: Apache-2.0
"""InstrumentRegistry: underlyings, roles, options and their slots."""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest

from tests.support.registry_world import (
    BTC,
    ETH,
    GOVERNANCE,
    HEARTBEAT_S,
    KEEPER,
    LISTER,
    LISTER_ROLE,
    MAX_EXPIRY_S,
    PERP,
    ROWS,
    STRANGER,
    WAD,
    RegistryWorld,
    deploy_registry,
)

NOT_OWNER = "ownable: caller is not the owner"


@pytest.fixture(scope="module")
def deployment() -> RegistryWorld:
    return deploy_registry()


@pytest.fixture
def world(deployment: RegistryWorld) -> Iterator[RegistryWorld]:
    with boa.env.anchor():
        yield deployment


# --- underlyings -----------------------------------------------------------------------------------------------------


def test_sixteen_underlyings(world: RegistryWorld) -> None:
    registry = world.registry
    with boa.reverts(NOT_OWNER):
        registry.list_underlying("SOL", True, sender=LISTER)
    for k in range(2, 16):
        assert registry.list_underlying(f"U{k}", k % 2 == 0, sender=GOVERNANCE) == k
    with boa.reverts("registry: full"):
        registry.list_underlying("U16", True, sender=GOVERNANCE)
    assert registry.underlying_count() == 16
    assert registry.underlying_info(3) == ("U3", False, 0)
    assert registry.underlying_info(4) == ("U4", True, 0)
    assert registry.check_tradable(2 << 8 | PERP)
    with boa.reverts("registry: not tradable"):
        registry.check_tradable(3 << 8 | PERP)
    with boa.reverts("registry: unknown underlying"):
        registry.underlying_info(16)


def test_what_listing_an_underlying_logs(world: RegistryWorld) -> None:
    registry = world.registry
    registry.list_underlying("SOL", True, sender=GOVERNANCE)
    listed, perp = registry.get_logs()
    assert (listed.underlying, listed.symbol, listed.has_perp) == (2, "SOL", True)
    assert (perp.instrument, perp.underlying, perp.serial) == (2 << 8 | PERP, 2, 3)
    registry.list_underlying("GAS", False, sender=GOVERNANCE)
    assert len(registry.get_logs()) == 1
    assert registry.serial_of(3 << 8 | PERP) == 0


# --- roles -----------------------------------------------------------------------------------------------------------


def test_roles_are_granted_and_revoked_by_governance(world: RegistryWorld) -> None:
    registry = world.registry
    with boa.reverts(NOT_OWNER):
        registry.set_role(LISTER_ROLE, STRANGER, True, sender=LISTER)
    for role in (0, 3):
        with boa.reverts("registry: not authorised"):
            registry.set_role(role, LISTER, True, sender=GOVERNANCE)
    world.option(ETH, 2_000, world.hour())
    registry.set_role(LISTER_ROLE, LISTER, False, sender=GOVERNANCE)
    (log,) = registry.get_logs()
    assert (log.role, log.who, log.allowed) == (LISTER_ROLE, LISTER, False)
    with boa.reverts("registry: not authorised"):
        world.option(ETH, 2_100, world.hour())


@pytest.mark.parametrize("who", [KEEPER, STRANGER])
def test_who_may_not_list(world: RegistryWorld, who: str) -> None:
    with boa.reverts("registry: not authorised"):
        world.registry.list_option(ETH, world.hour(), 2_000 * WAD, True, sender=who)
    with boa.reverts("registry: not authorised"):
        world.registry.list_future(ETH, world.hour(), sender=who)


def test_accounts_are_named_once(world: RegistryWorld) -> None:
    fresh = boa.load("contracts/InstrumentRegistry.vy", GOVERNANCE, world.oracle.address)
    with boa.reverts(NOT_OWNER):
        fresh.set_accounts(world.open.address, sender=STRANGER)
    with boa.reverts("registry: accounts"):
        fresh.set_accounts("0x" + "00" * 20, sender=GOVERNANCE)
    fresh.set_accounts(world.open.address, sender=GOVERNANCE)
    assert fresh.get_logs()[0].accounts == world.open.address == fresh.accounts()
    with boa.reverts("registry: accounts"):
        fresh.set_accounts(STRANGER, sender=GOVERNANCE)
    with boa.reverts("registry: accounts"):
        world.registry.set_accounts(world.open.address, sender=GOVERNANCE)


# --- options ---------------------------------------------------------------------------------------------------------


def test_listing_an_option(world: RegistryWorld) -> None:
    registry, expiry = world.registry, world.hour(5)
    assert registry.list_option(BTC, expiry, 60_000 * WAD, False, sender=GOVERNANCE) == 256
    (log,) = registry.get_logs()
    assert (log.instrument, log.underlying, log.expiry, log.strike_wad, log.is_call, log.serial) == (
        256, BTC, expiry, 60_000 * WAD, False, 3,
    )  # fmt: skip
    assert registry.option_info(256) == (expiry, 60_000 * WAD, False)
    assert registry.option_info(257) == (0, 0, False)
    assert (registry.row_count(BTC), registry.row_count(ETH)) == (1, 0)
    assert world.option(BTC, 60_000, expiry) == 257
    with boa.reverts("registry: exists"):
        world.option(BTC, 60_000, expiry)
    assert world.option(ETH, 6_000, expiry) == 0
    assert registry.underlying_info(BTC) == ("BTC", True, 2)
    assert registry.listing_count() == 5


def test_everything_about_an_option(world: RegistryWorld) -> None:
    registry, expiry = world.registry, world.hour(5)
    option, now = world.option(ETH, 1_900, expiry, is_call=False), world.now()
    assert registry.instrument_info(option) == (3, expiry, 1_900 * WAD, False, 3, now, False, 0)
    assert registry.listing(option) == (3, now, True)
    assert (registry.serial_of(option), registry.listed_at(option)) == (3, now)
    assert registry.instrument_info(option + 1) == (0, 0, 0, False, 0, 0, False, 0)
    for view in (registry.listing, registry.check_tradable):
        for unlisted in (option + 1, 2 << 8 | PERP, 16 << 8 | option, 2**255):
            with boa.reverts("registry: not tradable"):
                view(unlisted)
    world.travel_to(expiry - 1)
    assert registry.check_tradable(option)
    world.travel_to(expiry)
    for view in (registry.listing, registry.check_tradable):
        with boa.reverts("registry: expired"):
            view(option)


def test_delta_one_instruments_are_not_options(world: RegistryWorld) -> None:
    future = world.registry.list_future(ETH, world.hour(5), sender=LISTER)
    world.registry.set_basis(future, 123, sender=KEEPER)
    assert world.registry.option_info(future) == world.registry.option_info(PERP) == (0, 0, False)


def test_253_slots(world: RegistryWorld) -> None:
    """A lister can fill an underlying; governance empties it again, one option at a time, without waiting."""
    registry, expiry = world.registry, world.hour()
    for k in range(ROWS):
        assert world.option(ETH, 2_000 + k, expiry) == k
    assert registry.row_count(ETH) == ROWS
    with boa.reverts("registry: full"):
        world.option(ETH, 1_999, expiry)
    assert world.option(BTC, 50_000, expiry) == 256
    assert registry.list_future(ETH, expiry, sender=LISTER) == 254
    assert registry.list_future(ETH, expiry + 3_600, sender=LISTER) == 253
    registry.set_role(LISTER_ROLE, LISTER, False, sender=GOVERNANCE)
    for slot in (252, 8, 127):
        with boa.reverts("registry: not expired"):
            registry.retire(slot, sender=STRANGER)
        registry.retire(slot, sender=GOVERNANCE)
    for slot in (8, 127, 252):  # the lowest first
        assert registry.list_option(ETH, expiry, (1_000 + slot) * WAD, True, sender=GOVERNANCE) == slot
    assert registry.row_count(ETH) == ROWS


def test_the_lowest_free_slot(world: RegistryWorld) -> None:
    """Every slot can be found again."""
    expiry = world.hour()
    for k in range(ROWS):
        world.option(ETH, 2_000 + k, expiry)
    for slot in range(ROWS):
        world.registry.retire(slot, sender=GOVERNANCE)
        assert world.option(ETH, 2_000 + slot, expiry) == slot


@pytest.mark.parametrize(
    ("underlying", "offset_s", "strike_wad", "reason"),
    [
        (2, 0, 2_000 * WAD, "registry: unknown underlying"),
        (ETH, 60, 2_000 * WAD, "registry: expiry"),
        (ETH, -3_600, 2_000 * WAD, "registry: expiry"),
        (ETH, MAX_EXPIRY_S, 2_000 * WAD, "registry: expiry"),
        (ETH, 0, 0, "registry: strike"),
        (ETH, 0, 100 * WAD - 1, "registry: strike"),
        (ETH, 0, 40_000 * WAD + 1, "registry: strike"),
        (ETH, 0, 2**90, "registry: strike"),
        (ETH, 0, 2**256 - 1, "registry: strike"),
    ],
)
def test_options_that_make_no_sense(
    world: RegistryWorld, underlying: int, offset_s: int, strike_wad: int, reason: str
) -> None:
    with boa.reverts(reason):
        world.registry.list_option(underlying, world.hour() + offset_s, strike_wad, True, sender=GOVERNANCE)


def test_the_edges_of_strike_and_expiry(world: RegistryWorld) -> None:
    """A twentieth and twenty times of 2,000 USD; an expiry that is now has passed."""
    for strike_wad in (100 * WAD, 40_000 * WAD):
        world.registry.list_option(ETH, world.hour(), strike_wad, True, sender=LISTER)
    world.travel_to(world.hour())
    for expiry in (world.now(), world.now() + MAX_EXPIRY_S + 3_600):
        with boa.reverts("registry: expiry"):
            world.option(ETH, 2_000, expiry)
    for expiry in (world.now() + 3_600, world.now() + MAX_EXPIRY_S):
        world.option(ETH, 2_000, expiry)


def test_a_strike_below_2_to_the_90(world: RegistryWorld) -> None:
    """The bits of a strike never reach those of the expiry."""
    world.feeds[ETH].set_answer(2**86 // 10**10)
    with boa.reverts("registry: strike"):
        world.registry.list_option(ETH, world.hour(), 2**90, True, sender=LISTER)
    expiry = world.hour()
    option = world.registry.list_option(ETH, expiry, 2**90 - 1, False, sender=LISTER)
    assert world.registry.option_info(option) == (expiry, 2**90 - 1, False)


def test_a_strike_needs_a_fresh_price(world: RegistryWorld) -> None:
    boa.env.time_travel(seconds=HEARTBEAT_S + 1)
    with boa.reverts("registry: price not fresh"):
        world.option(ETH, 2_000, world.hour())
    world.touch()
    world.option(ETH, 2_000, world.hour())


# --- reduce-only -----------------------------------------------------------------------------------------------------


def test_reduce_only(world: RegistryWorld) -> None:
    registry = world.registry
    future = registry.list_future(ETH, world.hour(5), sender=LISTER)
    for instrument in (world.option(ETH, 2_000, world.hour(5)), future, PERP):
        serial, listed_at, _ = registry.listing(instrument)
        with boa.reverts("registry: not authorised"):
            registry.set_reduce_only(instrument, True, sender=KEEPER)
        registry.set_reduce_only(instrument, True, sender=LISTER)
        (log,) = registry.get_logs()
        assert (log.instrument, log.reduce_only) == (instrument, True)
        assert not registry.check_tradable(instrument)
        assert registry.listing(instrument) == (serial, listed_at, False)
        assert registry.instrument_info(instrument).reduce_only
        with boa.reverts("registry: not authorised"):
            registry.set_reduce_only(instrument, False, sender=LISTER)
        registry.set_reduce_only(instrument, False, sender=GOVERNANCE)
        assert registry.listing(instrument) == (serial, listed_at, True)
        registry.set_reduce_only(instrument, True, sender=GOVERNANCE)
        assert not registry.check_tradable(instrument)


def test_reduce_only_is_of_what_is_tradable(world: RegistryWorld) -> None:
    option = world.option(ETH, 2_000, world.hour())
    with boa.reverts("registry: not tradable"):
        world.registry.set_reduce_only(option + 1, True, sender=GOVERNANCE)
    world.travel_to(world.hour())
    with boa.reverts("registry: expired"):
        world.registry.set_reduce_only(option, True, sender=GOVERNANCE)
