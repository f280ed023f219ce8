# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from keeper.errors import Halt
from keeper.lease import Lease
from keeper.store import Store, open_store

CHAIN = 5


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path / 'k.sqlite'}")


def test_the_first_takes_it_and_the_second_waits(store: Store) -> None:
    active, standby = Lease(store, CHAIN, 60), Lease(store, CHAIN, 60)
    held = active.acquire(1_000)
    assert held is not None and (held.token, held.until) == (1, 1_060)
    assert standby.acquire(1_059) is None


def test_a_standby_takes_over_when_it_runs_out_with_a_higher_token(store: Store) -> None:
    active, standby = Lease(store, CHAIN, 60), Lease(store, CHAIN, 60)
    active.acquire(1_000)
    held = standby.acquire(1_060)
    assert held is not None and held.token == 2


def test_renewing_keeps_the_token(store: Store) -> None:
    active = Lease(store, CHAIN, 60)
    active.acquire(1_000)
    held = active.acquire(1_050)
    assert held is not None and (held.token, held.until) == (1, 1_110)


def test_a_holder_that_slept_through_its_lease_may_not_send(store: Store) -> None:
    active, standby = Lease(store, CHAIN, 60), Lease(store, CHAIN, 60)
    active.acquire(1_000)
    active.check(1_030)
    standby.acquire(1_200)
    with pytest.raises(Halt, match="lease of chain 5 was lost to another keeper"):
        active.check(1_201)


def test_a_holder_that_lost_and_regained_it_may_not_send_on_the_old_token(store: Store) -> None:
    active, standby = Lease(store, CHAIN, 60), Lease(store, CHAIN, 60)
    active.acquire(1_000)
    standby.acquire(1_100)
    with pytest.raises(Halt):
        active.check(1_500)  # the standby's has run out, so this takes it again, with another token


def test_nobody_sends_without_a_lease(store: Store) -> None:
    with pytest.raises(Halt):
        Lease(store, CHAIN).check(1_000)


def test_a_released_lease_is_free_at_once(store: Store) -> None:
    active, standby = Lease(store, CHAIN, 60), Lease(store, CHAIN, 60)
    active.acquire(1_000)
    active.release(1_001)
    assert standby.acquire(1_001) is not None


def test_releasing_what_another_holds_changes_nothing(store: Store) -> None:
    active, standby = Lease(store, CHAIN, 60), Lease(store, CHAIN, 60)
    active.acquire(1_000)
    standby.release(1_001)
    assert standby.acquire(1_002) is None


def test_each_chain_has_its_own(store: Store) -> None:
    assert Lease(store, 1).acquire(1_000) is not None
    assert Lease(store, 2).acquire(1_000) is not None
