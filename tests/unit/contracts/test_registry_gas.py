# SPDX-License-Identifier: Apache-2.0
"""InstrumentRegistry: slots read and gas used where every margin check and every fill asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import boa
import pytest

from tests.support.registry_world import (
    BTC,
    ETH,
    FUTURE_A,
    FUTURE_B,
    GOVERNANCE,
    KEEPER,
    LISTER,
    PERP,
    RegistryWorld,
    deploy_registry,
)

# cold slots are counted by forgetting what was touched, which boa cannot do inside a checkpoint of its own
pytestmark = pytest.mark.ignore_isolation

COLD_SLOAD, WARM_SLOAD = 2_100, 100

PROBE: Final = """
# pragma version 0.4.3
# pragma evm-version prague

@external
@view
def probe(target: address, call: Bytes[68]) -> (uint256, uint256):
    assert target.codesize > 0  # the account is warm from here
    gas: uint256[3] = [0, 0, 0]
    for k: uint256 in range(3):
        gas[k] = msg.gas
        if k < 2:
            assert raw_call(target, call, is_static_call=True, revert_on_failure=False)
    return gas[0] - gas[1], gas[1] - gas[2]
"""


@pytest.fixture(scope="module")
def own_chain() -> Iterator[None]:
    """A chain of its own: forgetting what was touched also forgets the checkpoints that other tests go back to."""
    with boa.swap_env(boa.Env()):
        yield


@pytest.fixture(scope="module")
def probe(own_chain: None) -> Any:
    return boa.loads(PROBE)


@pytest.fixture
def world(own_chain: None) -> RegistryWorld:
    return deploy_registry()


def bit(underlying: int, slot: int) -> int:
    return 1 << underlying + 16 * (PERP - slot)


def reads(probe: Any, world: RegistryWorld, call: bytes) -> tuple[int, int]:
    """(gas of a call, slots it reads cold): the second of two calls in a transaction reads the same ones warm."""
    boa.env.evm.reset_access_counters()
    first, second = probe.probe(world.registry.address, call)
    return first, round((first - second) / (COLD_SLOAD - WARM_SLOAD))


def test_slots_read(probe: Any, world: RegistryWorld) -> None:
    """One for each mark; one more for each that has expired; one for all that a fill asks."""
    expiry = world.hour(7 * 24 + 1)
    world.registry.list_future(ETH, expiry, sender=LISTER)
    world.registry.list_future(ETH, world.hour(24 * 30), sender=LISTER)
    world.registry.set_basis(FUTURE_A, 100, sender=KEEPER)
    world.set_funding(BTC, 10**12)
    world.registry.delist_perp(ETH, expiry, sender=GOVERNANCE)
    before = {(BTC, PERP): 1, (ETH, PERP): 1, (ETH, FUTURE_A): 1, (ETH, FUTURE_B): 1}
    after = before | {(ETH, PERP): 2, (ETH, FUTURE_A): 2}
    marks = world.registry.marks.prepare_calldata
    assert {one: reads(probe, world, marks(bit(*one)))[1] for one in before} == before
    for u, slot in before:
        assert reads(probe, world, world.registry.listing.prepare_calldata(u << 8 | slot))[1] == 1
        assert reads(probe, world, world.registry.check_tradable.prepare_calldata(u << 8 | slot))[1] == 1
    world.settle(ETH, expiry, 2_100)
    assert {one: reads(probe, world, marks(bit(*one)))[1] for one in after} == after


def test_gas(probe: Any, world: RegistryWorld) -> None:
    """Account warm, slots cold. The limits are what was measured, rounded up to the next 500."""
    for hours in (24, 48):
        world.registry.list_future(ETH, world.hour(hours), sender=LISTER)
        world.registry.set_basis((FUTURE_A, FUTURE_B)[hours // 48], 100, sender=KEEPER)
    world.set_funding(ETH, 10**12)
    marks = world.registry.marks.prepare_calldata
    three = bit(ETH, PERP) | bit(ETH, FUTURE_A) | bit(ETH, FUTURE_B)
    limits = {
        marks(bit(ETH, PERP)): 4_000,
        marks(bit(15, PERP)): 6_500,
        marks(0b1111): 13_000,
        marks(2**16 - 1): 48_000,
        marks(bit(ETH, FUTURE_A)): 4_000,
        marks(three): 9_500,
        world.registry.mark.prepare_calldata(PERP): 3_500,
        world.registry.mark.prepare_calldata(FUTURE_A): 3_500,
        world.registry.listing.prepare_calldata(PERP): 3_500,
    }
    gas = {call: reads(probe, world, call)[0] for call in limits}
    print(list(gas.values()))
    assert all(gas[call] <= limit for call, limit in limits.items()), gas
