# SPDX-License-Identifier: Apache-2.0
"""A number that meant a call yesterday means a put today.

Slots used to be given out once, so that an underlying could list 255 options ever and then no more. Now a slot is used
again, and everything that names an instrument by its number alone would follow it into the next one: a signed order, a
row of a risk page, the position of somebody who was late to settle. The positions are why a slot is not freed before
nobody holds any; for the rest there is the serial, which never returns (docs/adr/0009).
"""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest

from tests.support.registry_world import (
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


@pytest.fixture
def world() -> Iterator[RegistryWorld]:
    with boa.env.anchor():
        yield deploy_registry()


def test_a_slot_changes_hands_within_one_second(world: RegistryWorld) -> None:
    """Number, block and time are the same; the serial is not, and it is not below that of any page published before."""
    registry, expiry, later = world.registry, world.hour(5), world.hour(48)
    call = world.option(ETH, 2_000, expiry)
    signed_serial, _, _ = registry.listing(call)
    world.settle(ETH, expiry, 2_500)
    listings_of_a_page = registry.listing_count()
    registry.retire(call, sender=STRANGER)
    put = world.option(ETH, 2_000, later, is_call=False)
    assert put == call
    assert registry.listed_at(put) == world.now()
    serial, _, is_open = registry.listing(put)
    assert is_open
    assert serial == listings_of_a_page + 1 > signed_serial
    assert registry.option_info(put) == (later, 2_000 * WAD, False)


def test_a_late_holder_keeps_the_slot(world: RegistryWorld) -> None:
    """Whoever would gain by it cannot retire a call before every account in it is settled, and so not list the put."""
    registry, expiry = world.registry, world.hour(5)
    call = world.option(ETH, 2_000, expiry)
    world.settle(ETH, expiry, 2_500)
    world.open.set_open_lots(call, 1)
    for who in (STRANGER, LISTER, KEEPER, GOVERNANCE):
        with boa.reverts("registry: open lots"):
            registry.retire(call, sender=who)
    assert world.option(ETH, 2_000, world.hour(48), is_call=False) == call + 1
    assert registry.option_info(call) == (expiry, 2_000 * WAD, True)
    assert registry.settlement_price(ETH, expiry) == 2_500 * WAD


def test_a_future_leaves_nothing_to_the_next(world: RegistryWorld) -> None:
    """Neither basis, nor when it was pushed, nor settlement price, nor reduce-only."""
    registry, expiry = world.registry, world.hour(5)
    registry.list_future(ETH, expiry, sender=LISTER)
    registry.set_basis(FUTURE_A, -200, sender=KEEPER)
    registry.set_reduce_only(FUTURE_A, True, sender=LISTER)
    world.settle(ETH, expiry, 2_500)
    assert world.mark(ETH, FUTURE_A) == (2_500 * WAD, 0)
    registry.retire(FUTURE_A, sender=STRANGER)
    assert registry.list_future(ETH, world.hour(48), sender=LISTER) == FUTURE_A
    assert world.mark(ETH, FUTURE_A) == (0, 0)
    assert registry.basis_rate(FUTURE_A) == (0, 0)
    assert registry.listing(FUTURE_A) == (4, world.now(), True)


def test_a_perpetual_leaves_only_its_index(world: RegistryWorld) -> None:
    registry, expiry = world.registry, world.hour(7 * 24 + 1)
    registry.set_reduce_only(PERP, True, sender=LISTER)
    registry.delist_perp(ETH, expiry, sender=GOVERNANCE)
    world.travel_to(expiry - 100)
    world.set_funding(ETH, 10**13)
    world.settle(ETH, expiry, 2_500)
    assert world.mark(ETH, PERP) == (2_500 * WAD, 100 * 10**13)
    registry.retire(PERP, sender=STRANGER)
    registry.relist_perp(ETH, sender=GOVERNANCE)
    boa.env.time_travel(seconds=1_000)
    assert world.mark(ETH, PERP) == (0, 100 * 10**13)
    assert registry.listing(PERP) == (3, world.now() - 1_000, True)
