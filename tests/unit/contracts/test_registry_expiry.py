# SPDX-License-Identifier: Apache-2.0
"""InstrumentRegistry: settlement of expiries, retirement of instruments."""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest

from tests.support.registry_world import (
    BTC,
    DAY_S,
    ETH,
    FUTURE_A,
    GOVERNANCE,
    KEEPER,
    LISTER,
    PERP,
    STRANGER,
    WAD,
    RegistryWorld,
    deploy_registry,
)

NOTICE_HOURS = 7 * 24 + 1


@pytest.fixture(scope="module")
def deployment() -> RegistryWorld:
    return deploy_registry()


@pytest.fixture
def world(deployment: RegistryWorld) -> Iterator[RegistryWorld]:
    with boa.env.anchor():
        yield deployment


# --- settlement ------------------------------------------------------------------------------------------------------


def test_one_price_for_everything_that_expires_then(world: RegistryWorld) -> None:
    registry, expiry = world.registry, world.hour(NOTICE_HOURS)
    option = world.option(ETH, 2_000, expiry)
    future = registry.list_future(ETH, expiry, sender=LISTER)
    registry.delist_perp(ETH, expiry, sender=GOVERNANCE)
    round_id = world.pass_expiry(ETH, expiry, 2_222)
    registry.settle_expiry(ETH, expiry, round_id, round_id + 1, sender=STRANGER)
    (log,) = registry.get_logs()
    assert (log.underlying, log.expiry, log.price_wad, log.round_id) == (ETH, expiry, 2_222 * WAD, round_id)
    assert registry.settlement_price(ETH, expiry) == 2_222 * WAD
    assert (registry.last_settled_at(ETH), registry.last_settled_at(BTC)) == (world.now(), 0)
    assert world.mark(ETH, PERP) == world.mark(ETH, FUTURE_A) == (2_222 * WAD, 0)
    for instrument in (option, future, PERP):
        assert registry.instrument_info(instrument).settlement_price_wad == 2_222 * WAD
    assert registry.settlement_price(BTC, expiry) == 0


def test_an_expiry_is_settled_once(world: RegistryWorld) -> None:
    registry, expiry = world.registry, world.hour(5)
    world.option(ETH, 2_000, expiry)
    world.settle(ETH, expiry, 2_222)
    last = world.feeds[ETH].last_round()
    for rounds in ((last - 1, last), (last - 2, last - 1), (0, 0), (2**256 - 1, 2**256 - 1)):
        with boa.reverts("registry: settled before"):
            registry.settle_expiry(ETH, expiry, *rounds)
    boa.env.time_travel(seconds=3 * DAY_S)
    with boa.reverts("registry: settled before"):
        registry.settle_by_governance(ETH, expiry, 1, sender=GOVERNANCE)
    assert registry.settlement_price(ETH, expiry) == 2_222 * WAD


def test_what_is_no_expiry_of_the_underlying(world: RegistryWorld) -> None:
    registry, expiry = world.registry, world.hour(5)
    world.option(ETH, 2_000, expiry)
    round_id = world.pass_expiry(ETH, expiry, 2_222)
    for underlying, at in ((BTC, expiry), (ETH, expiry - 3_600), (ETH, 0), (2**255, expiry)):
        with boa.reverts("registry: expiry"):
            registry.settle_expiry(underlying, at, round_id, round_id + 1)


def test_before_the_expiry_no_round_settles_it(world: RegistryWorld) -> None:
    registry, expiry = world.registry, world.hour(5)
    world.option(ETH, 2_000, expiry)
    world.travel_to(expiry - 1)
    world.touch()
    last = world.feeds[ETH].last_round()
    with boa.reverts("registry: not expired"):
        registry.settle_expiry(ETH, expiry, last - 1, last)
    boa.env.time_travel(seconds=1)
    with pytest.raises(boa.BoaError, match="oracle: "):  # no round after it yet
        registry.settle_expiry(ETH, expiry, last, last + 1)


def test_only_the_round_of_the_expiry_settles_it(world: RegistryWorld) -> None:
    """Whoever gains by another price cannot choose: an older round, a later one, one that does not exist."""
    registry, expiry, feed = world.registry, world.hour(5), world.feeds[ETH]
    world.option(ETH, 2_000, expiry)
    right = world.pass_expiry(ETH, expiry, 2_222)
    boa.env.time_travel(seconds=60)
    feed.set_answer(3_333 * 10**8)
    for first, after in (
        (right - 1, right), (right + 1, right + 2), (right + 2, right + 3), (right - 1, right + 1),
        (0, right), (2**80, 2**80 + 1), (2**256 - 2, 2**256 - 1),
    ):  # fmt: skip
        with pytest.raises(boa.BoaError, match="oracle: "):
            registry.settle_expiry(ETH, expiry, first, after)
    assert registry.settlement_price(ETH, expiry) == 0
    registry.settle_expiry(ETH, expiry, right, right + 1)
    assert registry.settlement_price(ETH, expiry) == 2_222 * WAD


# --- how many --------------------------------------------------------------------------------------------------------


def test_a_page_can_name_every_expiry_of_options_to_come(world: RegistryWorld) -> None:
    """Sixteen of each underlying; more of one expiry, futures and another underlying take no place."""
    registry = world.registry
    expiries = [world.hour(5 + k) for k in range(17)]
    for expiry in expiries[:16]:
        world.option(ETH, 2_000, expiry)
    with boa.reverts("registry: too many expiries"):
        world.option(ETH, 2_000, expiries[16])
    assert world.option(ETH, 2_100, expiries[15]) == 16
    registry.list_future(ETH, expiries[16], sender=LISTER)
    world.option(BTC, 50_000, expiries[16])
    # at the expiry, and not a second before
    world.travel_to(expiries[0] - 1)
    world.touch()
    with boa.reverts("registry: too many expiries"):
        world.option(ETH, 2_000, expiries[16])
    boa.env.time_travel(seconds=1)
    world.option(ETH, 2_000, expiries[16])
    with boa.reverts("registry: too many expiries"):
        world.option(ETH, 2_000, world.hour(100))


def test_the_last_option_of_an_expiry_frees_its_place(world: RegistryWorld) -> None:
    registry = world.registry
    expiries = [world.hour(5 + k) for k in range(17)]
    first, second = world.option(ETH, 2_000, expiries[0]), world.option(ETH, 2_100, expiries[0])
    for expiry in expiries[1:16]:
        world.option(ETH, 2_000, expiry)
    registry.retire(first, sender=GOVERNANCE)
    with boa.reverts("registry: too many expiries"):
        world.option(ETH, 2_000, expiries[16])
    registry.retire(second, sender=GOVERNANCE)
    world.option(ETH, 2_000, expiries[16])
    with boa.reverts("registry: too many expiries"):
        world.option(ETH, 2_000, expiries[0])


def test_an_option_whose_place_was_taken_frees_none(world: RegistryWorld) -> None:
    """It is retired after its expiry, when another expiry has its place."""
    registry = world.registry
    expiries = [world.hour(5 + k) for k in range(18)]
    late = world.option(ETH, 2_000, expiries[0])
    for expiry in expiries[1:16]:
        world.option(ETH, 2_000, expiry)
    world.settle(ETH, expiries[0], 2_000)
    world.option(ETH, 2_000, expiries[16])
    registry.retire(late, sender=STRANGER)
    with boa.reverts("registry: too many expiries"):
        world.option(ETH, 2_000, expiries[17])


# --- settlement by governance ----------------------------------------------------------------------------------------


def test_governance_settles_what_nobody_could(world: RegistryWorld) -> None:
    registry, expiry = world.registry, world.hour(5)
    world.option(ETH, 2_000, expiry)
    with boa.reverts("registry: not expired"):
        registry.settle_by_governance(ETH, expiry, WAD, sender=GOVERNANCE)
    world.travel_to(expiry + 3 * DAY_S - 1)
    with boa.reverts("registry: oracle may still come"):
        registry.settle_by_governance(ETH, expiry, WAD, sender=GOVERNANCE)
    boa.env.time_travel(seconds=1)
    for who in (KEEPER, LISTER, STRANGER):
        with boa.reverts("ownable: caller is not the owner"):
            registry.settle_by_governance(ETH, expiry, WAD, sender=who)
    for price in (0, 2**90, 2**256 - 1):
        with boa.reverts("registry: price"):
            registry.settle_by_governance(ETH, expiry, price, sender=GOVERNANCE)
    with boa.reverts("registry: expiry"):
        registry.settle_by_governance(BTC, expiry, WAD, sender=GOVERNANCE)
    registry.settle_by_governance(ETH, expiry, 2**90 - 1, sender=GOVERNANCE)
    (log,) = registry.get_logs()
    assert (log.underlying, log.expiry, log.price_wad, log.round_id) == (ETH, expiry, 2**90 - 1, 0)
    with boa.reverts("registry: settled before"):
        registry.settle_by_governance(ETH, expiry, WAD, sender=GOVERNANCE)


def test_the_rounds_come_first_even_after_three_days(world: RegistryWorld) -> None:
    registry, expiry = world.registry, world.hour(5)
    world.option(ETH, 2_000, expiry)
    round_id = world.pass_expiry(ETH, expiry, 2_222)
    boa.env.time_travel(seconds=4 * DAY_S)
    registry.settle_expiry(ETH, expiry, round_id, round_id + 1, sender=STRANGER)
    with boa.reverts("registry: settled before"):
        registry.settle_by_governance(ETH, expiry, WAD, sender=GOVERNANCE)


# --- retirement ------------------------------------------------------------------------------------------------------


def instruments_of_one_expiry(world: RegistryWorld) -> tuple[int, tuple[int, int, int]]:
    expiry = world.hour(NOTICE_HOURS)
    option = world.option(ETH, 2_000, expiry)
    future = int(world.registry.list_future(ETH, expiry, sender=LISTER))
    world.registry.delist_perp(ETH, expiry, sender=GOVERNANCE)
    return expiry, (option, future, PERP)


@pytest.mark.parametrize("who", [STRANGER, LISTER])
def test_what_is_retired_is_expired_settled_and_held_by_nobody(world: RegistryWorld, who: str) -> None:
    registry = world.registry
    expiry, listed = instruments_of_one_expiry(world)
    for instrument in listed:
        with boa.reverts("registry: not expired"):
            registry.retire(instrument, sender=who)
        world.open.set_open_lots(instrument, 1)
    round_id = world.pass_expiry(ETH, expiry, 2_000)
    for instrument in listed:
        with boa.reverts("registry: not settled"):
            registry.retire(instrument, sender=who)
    registry.settle_expiry(ETH, expiry, round_id, round_id + 1)
    for instrument in listed:
        serial = registry.serial_of(instrument)
        with boa.reverts("registry: open lots"):
            registry.retire(instrument, sender=who)
        world.open.set_open_lots(instrument, 0)
        registry.retire(instrument, sender=who)
        (log,) = registry.get_logs()
        assert (log.instrument, log.serial) == (instrument, serial)
        assert (registry.serial_of(instrument), registry.listed_at(instrument)) == (0, 0)
        assert registry.instrument_info(instrument).kind == 0
        with boa.reverts("registry: not tradable"):
            registry.check_tradable(instrument)
        with boa.reverts("registry: not tradable"):
            registry.retire(instrument, sender=who)
    assert registry.option_info(listed[0]) == (0, 0, False)
    assert registry.settlement_price(ETH, expiry) == 2_000 * WAD


def test_governance_retires_what_nobody_holds_before_its_expiry(world: RegistryWorld) -> None:
    registry = world.registry
    _, listed = instruments_of_one_expiry(world)
    for instrument in (*listed, BTC << 8 | PERP):
        world.open.set_open_lots(instrument, 1)
        with boa.reverts("registry: open lots"):
            registry.retire(instrument, sender=GOVERNANCE)
        world.open.set_open_lots(instrument, 0)
        registry.retire(instrument, sender=GOVERNANCE)
        assert registry.serial_of(instrument) == 0


def test_a_running_perpetual_is_no_stranger_s_to_retire(world: RegistryWorld) -> None:
    with boa.reverts("registry: not expired"):
        world.registry.retire(PERP, sender=STRANGER)


def test_funding_of_a_perpetual_retired_while_it_runs(world: RegistryWorld) -> None:
    """The index stands from then on, whatever was left of the rate's day."""
    rate = 10**14
    world.set_funding(ETH, rate)
    boa.env.time_travel(seconds=100)
    world.registry.retire(PERP, sender=GOVERNANCE)
    for _ in range(2):
        boa.env.time_travel(seconds=100)
        assert world.mark(ETH, PERP) == (0, 100 * rate)
    world.registry.relist_perp(ETH, sender=GOVERNANCE)
    boa.env.time_travel(seconds=100)
    assert world.mark(ETH, PERP) == (0, 100 * rate)


def test_the_end_that_a_retired_perpetual_had_is_not_that_of_the_next(world: RegistryWorld) -> None:
    registry, expiry = world.registry, world.hour(NOTICE_HOURS)
    registry.delist_perp(ETH, expiry, sender=GOVERNANCE)
    registry.retire(PERP, sender=GOVERNANCE)
    registry.relist_perp(ETH, sender=GOVERNANCE)
    assert registry.check_tradable(PERP)
    world.settle(ETH, expiry, 2_500)
    assert registry.settlement_price(ETH, expiry) == 2_500 * WAD
    assert registry.check_tradable(PERP)
    world.set_funding(ETH, 10**13)
    boa.env.time_travel(seconds=100)
    assert world.mark(ETH, PERP) == (0, 100 * 10**13)


def test_nothing_is_retired_while_nobody_knows_what_is_open(world: RegistryWorld) -> None:
    fresh = boa.load("contracts/InstrumentRegistry.vy", GOVERNANCE, world.oracle.address)
    fresh.list_underlying("ETH", True, sender=GOVERNANCE)
    with boa.reverts("registry: accounts"):
        fresh.retire(PERP, sender=GOVERNANCE)


def test_slots_are_used_again(world: RegistryWorld) -> None:
    """The same terms come back under another serial; another expiry takes the lowest free slot."""
    registry, expiry = world.registry, world.hour(5)
    options = [world.option(ETH, strike, expiry) for strike in (1_900, 2_000, 2_100)]
    later = world.option(ETH, 2_000, world.hour(48))
    serials = [registry.serial_of(option) for option in (*options, later)]
    assert options == [0, 1, 2]
    assert serials == [3, 4, 5, 6]
    world.settle(ETH, expiry, 2_000)
    registry.retire(options[1], sender=STRANGER)
    registry.retire(options[0], sender=STRANGER)
    again = world.hour(5)
    assert world.option(ETH, 2_000, again) == 0
    assert (registry.serial_of(0), registry.listed_at(0)) == (7, world.now())
    assert registry.option_info(0) == (again, 2_000 * WAD, True)
    assert world.option(ETH, 2_050, again) == 1
    assert world.option(ETH, 2_075, again) == 4
    assert registry.row_count(ETH) == 5
    registry.retire(0, sender=GOVERNANCE)
    assert world.option(ETH, 2_000, again) == 0
    assert registry.serial_of(0) == registry.listing_count() == 10
    with boa.reverts("registry: exists"):
        world.option(ETH, 2_075, again)
