# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL itself: what its errors mean, and that a keeper outlives its restart."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from keeper.errors import ConfigError, Halt, KeeperError, Permanent, Transient
from keeper.store import Store, open_store
from keeper.store.failures import classify
from keeper.store.models import MarkRow
from tests.support.postgres import PASSWORD, PostgresServer


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    opened = open_store(postgres_url)
    yield opened
    opened.close()


def write(store: Store, name: str = "x") -> None:
    with store.session() as session:
        session.merge(MarkRow(chain_id=1, name=name, value=1))


def test_a_url_without_driver_means_psycopg(postgres_url: str) -> None:
    for url in (postgres_url, postgres_url.replace("postgresql://", "postgres://")):
        opened = open_store(url)
        assert (opened.engine.driver, opened.is_postgresql) == ("psycopg", True)
        assert PASSWORD not in opened.name
        opened.close()


def test_sessions_say_whose_they_are_and_have_limits(store: Store) -> None:
    names = ("application_name", "lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout")
    with store.session() as session:
        found = [session.scalar(text(f"SHOW {name}")) for name in names]
    assert found == [f"ballast-keeper {store.instance}", "5s", "20s", "1min"]


def test_what_the_url_says_comes_first(postgres_url: str) -> None:
    opened = open_store(postgres_url + "?connect_timeout=3&options=-c%20statement_timeout%3D7s")
    with opened.session() as session:
        assert session.scalar(text("SHOW statement_timeout")) == "7s"
        assert session.scalar(text("SHOW lock_timeout")) == "5s"
    opened.close()


def test_a_wrong_password_is_for_a_person(postgres_server: PostgresServer) -> None:
    with pytest.raises(ConfigError, match=r"refuses the user or the password .* correct DATABASE_URL") as caught:
        open_store(postgres_server.url("postgres", password="hush-hush"))
    assert "hush-hush" not in str(caught.value)


def test_an_unknown_user_is_for_a_person(postgres_server: PostgresServer) -> None:
    with pytest.raises(ConfigError, match="refuses the user"):
        open_store(postgres_server.url("postgres").replace("keeper:", "nobody:"))


def test_a_database_that_does_not_exist(postgres_server: PostgresServer) -> None:
    with pytest.raises(ConfigError, match=r"does not exist .* create it with createdb"):
        open_store(postgres_server.url("nowhere"))


def test_a_server_that_is_not_there_is_a_passing_failure(postgres_server: PostgresServer) -> None:
    with pytest.raises(Transient, match=r"did not answer .* check that it runs"):
        open_store(postgres_server.url("postgres", port=1))


def test_a_user_without_rights(postgres_server: PostgresServer, store: Store) -> None:
    database = store.engine.url.database
    assert database is not None
    postgres_server.sql("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    try:
        guest = postgres_server.url(database).replace(f"keeper:{PASSWORD}", "guest:guest")
        with pytest.raises(ConfigError, match="make its user the owner"):
            open_store(guest)
    finally:
        postgres_server.sql("DROP ROLE guest")


def test_a_read_only_server_is_a_passing_failure(postgres_url: str, store: Store) -> None:
    reader = open_store(postgres_url + "?options=-c%20default_transaction_read_only%3Don", migrate=False)
    with pytest.raises(Transient, match=r"read-only standby .* point DATABASE_URL at the primary"):
        write(reader)
    reader.close()
    write(store)


def test_a_held_lock_is_a_passing_failure(postgres_url: str, store: Store) -> None:
    hasty = open_store(postgres_url + "?options=-c%20lock_timeout%3D50ms", migrate=False)
    with store.session() as session:
        session.scalar(text("SELECT 1"))
        with pytest.raises(Transient, match="is locked by another session"):
            write(hasty)
    write(hasty)  # the failed transaction is gone
    hasty.close()


def test_a_session_that_was_ended_is_a_passing_failure(postgres_server: PostgresServer, store: Store) -> None:
    with pytest.raises(Transient, match="ended the session or is restarting"), store.session() as session:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        postgres_server.sql(f"SELECT pg_terminate_backend({pid}, 5000)")
        session.scalar(text("SELECT 1"))
    write(store)


def test_a_statement_after_an_error_does_not_poison_the_next_transaction(store: Store) -> None:
    with pytest.raises(Permanent, match="this is a bug or a foreign schema"), store.session() as session:
        session.execute(text("SELECT * FROM no_such_table"))
    write(store)


def test_the_same_row_from_two_sides_is_a_passing_failure(store: Store) -> None:
    write(store)
    with pytest.raises(Transient, match="at the same moment"), store.session() as session:
        session.add(MarkRow(chain_id=1, name="x", value=2))


def test_a_deadlock_is_a_passing_failure(store: Store) -> None:
    for name in "ab":
        write(store, name)
    engine = create_engine(store.engine.url)  # sessions that do not take turns
    met = threading.Barrier(2)
    said: list[KeeperError] = []

    def update(first: str, second: str) -> None:
        try:
            with engine.begin() as connection:
                connection.execute(text("UPDATE marks SET value = '2' WHERE name = :n"), {"n": first})
                met.wait(10)
                connection.execute(text("UPDATE marks SET value = '2' WHERE name = :n"), {"n": second})
        except DBAPIError as error:
            said.append(classify(error, "x"))

    threads = [threading.Thread(target=update, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()
    assert [type(error) for error in said] == [Transient]


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("DiskFull", Halt),
        ("IoError", Halt),
        ("DataCorrupted", Halt),
        ("TooManyConnections", Transient),
        ("CannotConnectNow", Transient),
        ("SerializationFailure", Transient),
        ("QueryCanceled", Transient),
        ("OutOfMemory", Transient),
        ("NotNullViolation", Permanent),
    ],
)
def test_errors_that_a_test_cannot_provoke(state: str, kind: type[KeeperError]) -> None:
    found = classify(DBAPIError("", {}, getattr(psycopg.errors, state)("said")), "postgresql://x")
    assert type(found) is kind
    assert "postgresql://x" in str(found)


def test_more_than_one_keeper_opens_a_new_database_at_once(postgres_url: str) -> None:
    opened: list[Store] = []
    threads = [threading.Thread(target=lambda: opened.append(open_store(postgres_url))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 3
    for one in opened:
        write(one)
        one.close()


def test_a_restart_and_a_crash_of_the_server(own_postgres: PostgresServer) -> None:
    store = open_store(own_postgres.create())
    for end in (own_postgres.stop, own_postgres.kill):
        write(store, "before")
        end()
        with pytest.raises(Transient):
            write(store, "lost")
        own_postgres.start()
        write(store, "after")  # by itself: the pool replaces what broke
        with store.session() as session:
            assert session.get(MarkRow, (1, "before")) is not None
            assert session.get(MarkRow, (1, "lost")) is None
    store.close()
