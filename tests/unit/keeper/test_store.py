# SPDX-License-Identifier: Apache-2.0
"""The database: migrations, durability, and errors a keeper can act on."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, select

from keeper.errors import ConfigError, Halt, Transient
from keeper.store import Store, open_store
from keeper.store.models import AssessmentRow, MarkRow, RunRow
from keeper.store.upkeep import backup


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/keeper.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def either(database_url: str) -> Iterator[Store]:
    """On SQLite and on PostgreSQL."""
    opened = open_store(database_url)
    yield opened
    opened.close()


def test_a_new_database_is_its_owners_alone(tmp_path: Path) -> None:
    """It holds signed transactions before anybody else has them."""
    old = os.umask(0o022)
    try:
        opened = open_store(f"sqlite:///{tmp_path}/keeper.sqlite")
        backup(opened, tmp_path / "copy.sqlite")
        with opened.session() as session:
            session.add(MarkRow(chain_id=1, name="x", value=5))
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        opened.close()
    finally:
        os.umask(old)
    assert {"keeper.sqlite", "copy.sqlite"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_opening_again_changes_nothing(database_url: str, either: Store) -> None:
    with either.session() as session:
        session.add(MarkRow(chain_id=1, name="x", value=5))
    again = open_store(database_url)
    with again.session() as session:
        assert session.get_one(MarkRow, (1, "x")).value == 5
    again.close()


def test_a_commit_survives_a_power_cut(store: Store) -> None:
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    store.close()


def test_chain_integers_of_any_size_and_sign(either: Store) -> None:
    values = {"big": 2**256 - 1, "negative": -(2**255), "zero": 0}
    with either.session() as session:
        session.add_all(MarkRow(chain_id=1, name=name, value=value) for name, value in values.items())
    with either.session() as session:
        assert {row.name: row.value for row in session.scalars(select(MarkRow))} == values


def test_what_raises_is_rolled_back(either: Store) -> None:
    with pytest.raises(RuntimeError), either.session() as session:
        session.add(MarkRow(chain_id=1, name="x", value=1))
        session.flush()
        raise RuntimeError
    with either.session() as session:
        assert session.get(MarkRow, (1, "x")) is None


def test_writers_take_turns_and_no_update_is_lost(database_url: str, either: Store) -> None:
    with either.session() as session:
        session.add(MarkRow(chain_id=1, name="count", value=0))

    def add() -> None:
        mine = open_store(database_url)
        for _ in range(20):
            with mine.session() as session:
                session.get_one(MarkRow, (1, "count")).value += 1
        mine.close()

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with either.session() as session:
        assert session.get_one(MarkRow, (1, "count")).value == 60


def test_a_database_held_by_another_process_is_a_passing_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keeper.sqlite"
    open_store(f"sqlite:///{path}").close()
    monkeypatch.setattr("keeper.store.engine.BUSY_TIMEOUT_MS", 50)
    store = open_store(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Transient, match="is locked by another process"), store.session() as session:
        session.add(MarkRow(chain_id=1, name="x", value=1))
    other.execute("ROLLBACK")
    other.close()
    with store.session() as session:
        session.add(MarkRow(chain_id=1, name="x", value=1))
    store.close()


def test_a_full_disk_halts(store: Store) -> None:
    def limit(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA max_page_count=1")  # SQLite keeps the pages it has and takes no more

    event.listen(store.engine, "connect", limit)
    store.close()  # the next connection is a new one
    rows = [MarkRow(chain_id=1, name=f"name {k}", value=10**70) for k in range(2_000)]
    with pytest.raises(Halt, match="has no room left"), store.session() as session:
        session.add_all(rows)
    with store.session() as session:
        assert session.scalars(select(MarkRow)).all() == []
    store.close()


def test_a_damaged_file_halts(tmp_path: Path) -> None:
    path = tmp_path / "keeper.sqlite"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(Halt, match="is damaged"):
        open_store(f"sqlite:///{path}")


def test_a_path_that_cannot_be_written_halts(tmp_path: Path) -> None:
    with pytest.raises(Halt, match="cannot be written"):
        open_store(f"sqlite:///{tmp_path}/no/such/folder/keeper.sqlite")


def test_a_missing_driver_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"^DATABASE_URL needs the Python package 'oracledb', which is not installed; inst"
    ):
        open_store("oracle://x")


@pytest.mark.parametrize("url", ["keeper.sqlite", "nonsense+driver://x"])
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL is not usable"):
        open_store(url)


def test_a_database_of_a_newer_keeper_is_refused(database_url: str, either: Store) -> None:
    with either.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="update the keeper"):
        open_store(database_url)


def test_the_password_stays_out_of_names() -> None:
    store = Store(create_engine("postgresql+psycopg://keeper:hush@db/x"))
    assert store.name == "postgresql+psycopg://keeper:***@db/x"


def test_text_of_a_hostile_contract_is_stored_on_both(either: Store) -> None:
    row = AssessmentRow(chain_id=1, account=1, block_number=1, assessed_at=1, unknown="a\0b \ud800 c \N{SNOWMAN}")
    with either.session() as session:
        session.add(row)
        session.add(RunRow(chain_id=1, started_at=1, detail={"text": "a\0b \ud800"}))
    with either.session() as session:
        assert session.get_one(AssessmentRow, (1, 1)).unknown == "a\ufffdb ? c \N{SNOWMAN}"
        assert session.scalars(select(RunRow)).one().detail == {"text": "a\0b \ud800"}
