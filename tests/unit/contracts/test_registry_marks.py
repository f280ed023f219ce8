# SPDX-License-Identifier: Apache-2.0
"""InstrumentRegistry: what the margin engine reads of perpetuals and futures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import boa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.price_feeds import feed_config
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
    mark_parts,
)

DELTA_ONE = [(u, slot) for u in range(16) for slot in (PERP, FUTURE_A, FUTURE_B)]


def bit(underlying: int, slot: int) -> int:
    return 1 << underlying + 16 * (PERP - slot)


@pytest.fixture(scope="module")
def deployment() -> RegistryWorld:
    return deploy_registry()


@pytest.fixture
def world(deployment: RegistryWorld) -> Iterator[RegistryWorld]:
    with boa.env.anchor():
        yield deployment


@pytest.fixture(scope="module")
def crowd() -> RegistryWorld:
    """Sixteen underlyings with three delta-one instruments each, all with a carry of their own."""
    world = deploy_registry()
    feed = world.feeds[ETH].address
    for u in range(2, 16):
        world.registry.list_underlying(f"U{u}", True, sender=GOVERNANCE)
        world.oracle.set_feed(0, u, feed_config(feed, 86_400), sender=GOVERNANCE)
    for u in range(16):
        world.registry.set_funding_rate(u, (-1) ** u * 10**12 * (u + 1), sender=KEEPER)
        for hours in (240, 480):
            future = world.registry.list_future(u, world.hour(hours), sender=LISTER)
            world.registry.set_basis(future, (-1) ** u * (100 + u) - hours // 10, sender=KEEPER)
    boa.env.time_travel(seconds=3_000)
    return world


def test_the_order_of_all_48(crowd: RegistryWorld) -> None:
    with boa.env.anchor():
        words = crowd.registry.marks(2**48 - 1)
        singles = [tuple(crowd.registry.mark(u << 8 | slot)) for u, slot in DELTA_ONE]
        assert [mark_parts(word)[::2] for word in words] == singles
        assert [mark_parts(word)[1] for word in words] == [
            crowd.registry.instrument_info(u << 8 | slot).expiry for u, slot in DELTA_ONE
        ]
        assert len(set(singles)) == 48
        assert singles[0] == (0, 3_000 * 10**12)
        assert singles[3] == (0, -3_000 * 2 * 10**12)
        assert crowd.registry.marks(2**256 - 1) == words
        assert crowd.registry.marks(0) == crowd.registry.marks(2**256 - 2**48) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.sets(st.sampled_from(DELTA_ONE)))
def test_any_choice_of_marks(crowd: RegistryWorld, chosen: set[tuple[int, int]]) -> None:
    bitmap = sum(bit(*one) for one in chosen)
    expected = [crowd.registry.mark(u << 8 | slot) for u, slot in DELTA_ONE if (u, slot) in chosen]
    words = crowd.registry.marks(bitmap)
    assert [mark_parts(word)[::2] for word in words] == [tuple(e) for e in expected]


def test_what_has_no_mark(world: RegistryWorld) -> None:
    option = world.option(ETH, 2_000, world.hour())
    for instrument in (option, 252, 16 << 8 | PERP, 2**255 | FUTURE_A, 2**256 - 1):
        with boa.reverts("registry: not delta-one"):
            world.registry.mark(instrument)
    assert world.mark(15, FUTURE_B) == world.mark(15, PERP) == world.mark(ETH, FUTURE_A) == (0, 0)


# --- no setter moves a mark ------------------------------------------------------------------------------------------

STEPS = ("funding", "basis", "delist", "cancel", "reduce", "bounds", "guards", "relist", "retire", "settle", "wait")
BOTH = DELTA_ONE[:6]  # of ETH and BTC
Snapshot = dict[tuple[int, int], tuple[int, int]]


def snapshot(world: RegistryWorld) -> Snapshot:
    words = world.registry.marks(sum(bit(*one) for one in BOTH))
    return {one: (mark_parts(word)[0], mark_parts(word)[2]) for one, word in zip(BOTH, words, strict=True)}


def act(world: RegistryWorld, step: str, amount: int) -> None:
    """One call with arguments from ``amount``; what is refused changes nothing either."""
    registry, u = world.registry, amount % 2
    future = u << 8 | (FUTURE_A, FUTURE_B)[amount // 2 % 2]
    expiry = world.hour(7 * 24 + 1 + amount % 3)
    last = world.feeds[u].last_round()
    calls = {
        "funding": lambda: registry.set_funding_rate(u, (amount - 500) * 10**12, sender=KEEPER),
        "basis": lambda: registry.set_basis(future, (amount - 500) * 2 // 5, sender=KEEPER),
        "delist": lambda: registry.delist_perp(u, expiry, sender=GOVERNANCE),
        "cancel": lambda: registry.cancel_delisting(u, sender=GOVERNANCE),
        "reduce": lambda: registry.set_reduce_only(u << 8 | PERP, amount % 4 < 2, sender=GOVERNANCE),
        "bounds": lambda: registry.set_max_funding(amount, sender=GOVERNANCE),
        "guards": lambda: registry.set_basis_guards(amount + 1, 60 + amount, sender=GOVERNANCE),
        "relist": lambda: registry.relist_perp(u, sender=GOVERNANCE),
        "retire": lambda: registry.retire(u << 8 | PERP, sender=GOVERNANCE),
        "settle": lambda: registry.settle_expiry(u, registry.instrument_info(u << 8 | PERP).expiry, last - 1, last),
    }
    try:
        calls[step]()
    except boa.BoaError:
        return


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 1_000)), min_size=5, max_size=25))
def test_no_setter_moves_a_mark(deployment: RegistryWorld, steps: list[tuple[str, int]]) -> None:
    """Between two moments a carry moves with time; at one moment only a push of a basis moves one, by no more than its
    step, and settlement writes a price and leaves the carry. Retirement takes the settlement price away when nobody
    holds the instrument."""
    with boa.env.anchor():
        world, registry = deployment, deployment.registry
        for u, hours in itertools.product((ETH, BTC), (24 * 20, 24 * 300)):
            registry.list_future(u, world.hour(hours), sender=LISTER)
        for step, amount in steps:
            if step == "wait":
                boa.env.time_travel(seconds=amount * 1_000)
                world.touch()
                continue
            year = 365 * 86_400
            guard = registry.max_basis_step_bps()
            before = snapshot(world)
            act(world, step, amount)
            for (u, slot), (price, carry) in snapshot(world).items():
                old_price, old_carry = before[u, slot]
                if slot == PERP or step != "basis":
                    assert carry == old_carry, (step, u, slot)
                else:
                    left = max(0, registry.instrument_info(u << 8 | slot).expiry - world.now())
                    assert abs(carry - old_carry) <= guard * left * 10**5 // year + 1
                if step not in ("settle", "retire"):
                    assert price == old_price, (step, u, slot)
                if step == "settle":
                    assert old_price in (0, price)
                if step == "retire":
                    assert price in (0, old_price)
