# SPDX-License-Identifier: Apache-2.0
"""The lease on both databases: who has it, who takes it over when, and who may no longer send."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from keeper.errors import LeaseLost, Transient
from keeper.heartbeat import Heartbeat
from keeper.lease import Lease, since_boot
from keeper.store import Store, open_store
from keeper.store.models import LeaseRow
from keeper.tx.journal import Journal
from tests.support.counter_world import Bump
from tests.support.postgres import PostgresServer

CHAIN = 5
TTL_S = 60.0


class Instance:
    """A keeper process: its own store and lease, and clocks that a test moves."""

    def __init__(self, url: str, chain_id: int = CHAIN, ttl_s: float = TTL_S) -> None:
        self.store = open_store(url)
        self.skipped_s = 0.0
        self.lease = Lease(
            self.store,
            chain_id,
            ttl_s,
            clock=lambda: time.time_ns() // 1_000_000 + int(self.skipped_s * 1_000),
            monotonic=lambda: since_boot() + self.skipped_s,
        )

    def confirm(self) -> None:
        with self.store.session() as session:
            self.lease.confirm(session)

    def close(self) -> None:
        self.lease.close()
        self.store.close()


@pytest.fixture
def instances(database_url: str) -> Iterator[tuple[Instance, Instance]]:
    both = Instance(database_url), Instance(database_url)
    yield both
    for each in both:
        each.close()


def pass_by(seconds: float, *instances: Instance) -> None:
    """Let time pass: on the clock of each machine, and in the database by moving the end of the lease."""
    for each in instances:
        each.skipped_s += seconds
    if instances[0].store.is_postgresql:
        with instances[0].store.session() as session:
            session.execute(text("UPDATE leases SET until_ms = until_ms - :ms"), {"ms": int(seconds * 1_000)})


def token(instance: Instance) -> int | None:
    held = instance.lease.acquire()
    return None if held is None else held.token


def test_the_first_takes_it_and_the_second_waits(instances: tuple[Instance, Instance]) -> None:
    active, standby = instances
    assert (token(active), token(standby)) == (1, None)
    pass_by(TTL_S / 3, active, standby)
    assert token(standby) is None


def test_a_standby_takes_over_when_it_runs_out_with_a_higher_token(instances: tuple[Instance, Instance]) -> None:
    active, standby = instances
    assert token(active) == 1
    pass_by(TTL_S + 1, active, standby)
    assert token(standby) == 2
    assert token(active) is None


def test_renewing_keeps_the_token(instances: tuple[Instance, Instance]) -> None:
    active, standby = instances
    for _ in range(3):
        assert token(active) == 1
        pass_by(0.6 * TTL_S, active, standby)
    assert token(active) == 1
    assert token(standby) is None


def test_a_holder_proves_its_token(instances: tuple[Instance, Instance]) -> None:
    active, _ = instances
    active.lease.acquire()
    active.confirm()
    active.lease.in_time()


def test_a_holder_that_slept_through_its_lease_may_not_send(instances: tuple[Instance, Instance]) -> None:
    active, standby = instances
    active.lease.acquire()
    pass_by(TTL_S + 1, standby)  # the active one's own clock has not moved: it was stopped, or lies
    assert token(standby) == 2
    active.lease.in_time()
    with pytest.raises(LeaseLost, match=r"lease of chain 5 was lost to another keeper.*stands by"):
        active.confirm()
    with pytest.raises(LeaseLost):
        active.lease.in_time()


def test_a_holder_that_could_not_renew_stops_by_its_own_clock(instances: tuple[Instance, Instance]) -> None:
    active, _ = instances
    active.lease.acquire()
    active.skipped_s += 0.7 * TTL_S
    active.lease.in_time()
    active.skipped_s += 0.1 * TTL_S  # nobody else may begin before the whole of it has passed
    with pytest.raises(LeaseLost, match="could not be renewed within 60 s"):
        active.lease.in_time()
    with pytest.raises(LeaseLost):
        active.confirm()
    assert active.lease.held is None


def test_a_turn_keeps_the_token_that_it_began_with(instances: tuple[Instance, Instance]) -> None:
    active, standby = instances
    active.lease.acquire()
    pass_by(TTL_S + 1, active, standby)
    assert token(standby) == 2
    pass_by(TTL_S + 1, active, standby)
    held = active.lease.renew()  # what the heartbeat does while a turn runs
    if held is None:  # the first beat hears that it was lost, the next one takes it
        held = active.lease.renew()
    assert held is not None and held.token == 3
    with pytest.raises(LeaseLost):
        active.confirm()
    active.lease.acquire()
    active.confirm()


def test_nobody_sends_without_a_lease(instances: tuple[Instance, Instance]) -> None:
    with pytest.raises(LeaseLost):
        instances[0].confirm()


def test_a_released_lease_is_free_at_once(instances: tuple[Instance, Instance]) -> None:
    active, standby = instances
    active.lease.acquire()
    active.lease.release()
    assert token(standby) == 2
    with pytest.raises(LeaseLost):
        active.lease.in_time()


def test_releasing_what_another_holds_changes_nothing(instances: tuple[Instance, Instance]) -> None:
    active, standby = instances
    active.lease.acquire()
    standby.lease.release()
    assert token(standby) is None


def test_each_chain_has_its_own(database_url: str) -> None:
    first, second = Instance(database_url, 1), Instance(database_url, 2)
    assert (token(first), token(second)) == (1, 1)
    first.close()
    second.close()


def test_a_clock_that_was_set_back_does_not_keep_a_dead_holders_lease(instances: tuple[Instance, Instance]) -> None:
    active, standby = instances
    pass_by(-1_000_000, active, standby)
    active.lease.acquire()
    with active.store.session() as session:
        session.get_one(LeaseRow, CHAIN).until_ms += 1_000_000_000
    assert token(standby) == 2


def test_one_of_many_that_ask_at_once(database_url: str) -> None:
    crowd = [Instance(database_url) for _ in range(4)]
    found: list[int | None] = []
    threads = [threading.Thread(target=lambda one=one: found.append(token(one))) for one in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=str) == [1, None, None, None]
    for one in crowd:
        one.close()


def test_a_fenced_keeper_writes_nothing_into_the_journal(instances: tuple[Instance, Instance]) -> None:
    active, standby = instances
    journal = Journal(active.store, CHAIN, "0x" + "aa" * 20, active.lease)
    active.lease.acquire()
    intent, _ = journal.claim(Bump(1), "0x" + "cc" * 20, b"", 1, 3)
    journal.prove()
    pass_by(TTL_S + 1, standby)
    standby.lease.acquire()
    for attempt in (
        lambda: journal.claim(Bump(2), "0x" + "cc" * 20, b"", 1, 3),
        lambda: journal.note(intent, "still here", 2),
        journal.prove,
    ):
        with pytest.raises(LeaseLost):
            attempt()
    successor = Journal(standby.store, CHAIN, "0x" + "aa" * 20, standby.lease)
    assert successor.open_intents() == [intent]
    assert successor.note(intent, "mine now", 3).error == "mine now"


def test_the_heartbeat_keeps_the_lease_and_tells_of_changes(database_url: str) -> None:
    store = open_store(database_url)
    lease, roles = Lease(store, CHAIN, 2.4), []
    heart = Heartbeat(lease, 60, roles.append, pytest.fail)
    heart.start()
    time.sleep(2.6)
    assert lease.held is not None and roles == [True]
    other = open_store(database_url)
    thief = Lease(other, CHAIN, 2.4)
    assert thief.acquire() is None
    heart.stop()
    lease.close()
    assert thief.acquire() is not None
    thief.close()
    store.close()
    other.close()


def test_a_loop_that_hangs_gives_the_lease_up(database_url: str) -> None:
    store = open_store(database_url)
    lease, roles = Lease(store, CHAIN, 0.6), []
    lease.acquire()
    heart = Heartbeat(lease, 0.5, roles.append, pytest.fail)
    heart.start()
    deadline = time.monotonic() + 10
    while roles != [True, False] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert roles == [True, False]
    assert lease.acquire() is not None  # the loop goes on after all
    heart.stop()
    lease.close()
    store.close()


# PostgreSQL alone: a session that is gone, half gone, or in the way.


@pytest.fixture
def pair(postgres_url: str) -> Iterator[tuple[Instance, Instance]]:
    both = Instance(postgres_url), Instance(postgres_url)
    yield both
    for each in both:
        each.close()


def backends(server: PostgresServer, store: Store) -> list[int]:
    found = server.sql("SELECT pid, application_name FROM pg_stat_activity")
    return [pid for pid, name in found if store.instance in (name or "")]


def test_a_holder_whose_session_is_gone_is_followed_before_its_time(
    postgres_server: PostgresServer, pair: tuple[Instance, Instance]
) -> None:
    active, standby = pair
    active.lease.acquire()
    for pid in backends(postgres_server, active.store):
        postgres_server.sql(f"SELECT pg_terminate_backend({pid}, 5000)")
    assert token(standby) is None  # the session may come back
    pass_by(0.6 * TTL_S, standby)
    assert token(standby) == 2


def test_a_holder_whose_session_broke_goes_on_with_its_token(
    postgres_server: PostgresServer, pair: tuple[Instance, Instance]
) -> None:
    active, standby = pair
    active.lease.acquire()
    for pid in backends(postgres_server, active.store):
        postgres_server.sql(f"SELECT pg_terminate_backend({pid}, 5000)")
    assert token(active) == 1
    pass_by(0.6 * TTL_S, standby)
    assert token(standby) is None


def test_a_takeover_ends_what_the_old_holder_had_begun(postgres_server: PostgresServer, postgres_url: str) -> None:
    active, standby = Instance(postgres_url, ttl_s=1.0), Instance(postgres_url, ttl_s=1.0)
    active.lease.acquire()
    with pytest.raises(Transient), active.store.session() as session:
        active.lease.confirm(session)  # locks the row, then the process stands still
        time.sleep(1.1)
        assert token(standby) == 2
        assert not backends(postgres_server, active.store)
        session.execute(text("SELECT 1"))
    with pytest.raises(LeaseLost):
        active.confirm()
    active.close()
    standby.close()
