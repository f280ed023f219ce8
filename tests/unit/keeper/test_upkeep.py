# SPDX-License-Identifier: Apache-2.0
"""Looking after the database, as a library and as ``ballast db``."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keeper.cli import app
from keeper.domain import Receipt
from keeper.errors import ConfigError
from keeper.recorder import Recorder
from keeper.store import Store, open_store, upkeep
from keeper.store.engine import downgrade
from keeper.store.models import MarkRow
from keeper.tx.fees import Fees
from keeper.tx.journal import Journal, SignedTransaction
from tests.support.counter_world import Bump
from tests.support.postgres import PASSWORD, PostgresServer, find_binaries

KEEPER = "0x" + "aa" * 20


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    yield opened
    opened.close()


def send(store: Store) -> None:
    journal = Journal(store, 1, KEEPER)
    intent, _ = journal.claim(Bump(1), "0x" + "cc" * 20, b"", 1, 3)
    signed = SignedTransaction(b"\1" * 32, b"raw", 5, 50_000, Fees(100, 1), False, 2)
    journal.mined(journal.sign(intent, signed), Receipt(b"\1" * 32, 7, b"\2" * 32, True, 40_000, 90), 3)


def run(url: str, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["db", *arguments], env={"DATABASE_URL": url})
    return result.exit_code, result.stdout, result.stderr


def test_a_sound_database(store: Store, database_url: str) -> None:
    send(store)
    assert upkeep.check(store) == ()
    code, said, _ = run(database_url, "check", "--json")
    assert (code, json.loads(said)["ok"]) == (0, True)
    assert PASSWORD not in said


def test_a_journal_that_lost_a_signature_is_noticed(store: Store, database_url: str) -> None:
    send(store)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM transactions")
    assert [problem for problem in upkeep.check(store) if "1 open intents have no signed transaction" in problem]
    code, _, said = run(database_url, "check")
    assert (code, "restore a backup" in said) == (1, True)


def test_missing_tables_are_named(database_url: str) -> None:
    empty = open_store(database_url, migrate=False)
    (problem,) = upkeep.check(empty)
    assert problem.startswith("tables are missing (accounts, ") and "ballast db upgrade" in problem
    empty.close()


def test_which_revision(store: Store, database_url: str) -> None:
    assert upkeep.revision(store).is_newest
    assert "the newest" in run(database_url, "current")[1]
    downgrade(store, "0002")
    assert "is at revision 0002, the newest is" in run(database_url, "current")[1]
    assert json.loads(run(database_url, "current", "--json")[1])["revision"] == "0002"
    assert run(database_url, "upgrade")[0] == 0
    assert upkeep.revision(store).is_newest


def test_old_cycles_are_forgotten_but_for_the_newest(store: Store, database_url: str) -> None:
    recorder = Recorder(store, 1)
    for at in (100, 200, 300):
        recorder.finish(recorder.begin(at), at + 1, 7, "ok", {})
    send(store)
    assert upkeep.prune(store, 250) == 2
    assert [row.started_at for row in recorder.runs()] == [300]
    assert upkeep.prune(store, 10**6) == 0
    code, said, _ = run(database_url, "prune", "--days", "1", "--json")
    assert (code, json.loads(said)["cycles"]) == (0, 0)
    assert len(Journal(store, 1, KEEPER).latest()) == 1


def test_a_backup_beside_a_writer_is_whole(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/keeper.sqlite"
    store = open_store(url)
    send(store)
    with store.session() as session:
        session.add_all(MarkRow(chain_id=1, name=f"name {k}", value=10**70) for k in range(5_000))
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        if not told:
            with store.session() as session:  # the keeper goes on while it is copied
                session.add(MarkRow(chain_id=2, name="late", value=1))
        told.append((done, total))

    target = tmp_path / "copy.sqlite"
    assert upkeep.backup(store, target, progress) == target.stat().st_size
    assert len(told) > 1
    copy = open_store(f"sqlite:///{target}")
    assert upkeep.check(copy) == ()
    assert len(Journal(copy, 1, KEEPER).latest()) == 1
    copy.close()
    with pytest.raises(ConfigError, match="exists; name one that does not"):
        upkeep.backup(store, target)
    store.close()
    code, said, _ = run(url, "backup", str(tmp_path / "second.sqlite"))
    assert (code, (tmp_path / "second.sqlite").exists()) == (0, True), said


def test_a_database_in_memory_has_no_backup(tmp_path: Path) -> None:
    store = open_store("sqlite://")
    with pytest.raises(ConfigError, match="in memory only"):
        upkeep.backup(store, tmp_path / "copy.sqlite")
    store.close()


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/keeper.sqlite")
    store.close()
    with pytest.raises((OSError, Exception), match=r"failed|No such file"):
        upkeep.backup(store, tmp_path / "no" / "folder" / "copy.sqlite")
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == []


def test_the_newest_backups_are_kept(tmp_path: Path) -> None:
    for name in ("k-1.sqlite", "k-2.sqlite", "k-3.sqlite", "other.sqlite"):
        sqlite3.connect(tmp_path / name).close()
        (tmp_path / name).touch()
    assert [path.name for path in upkeep.rotate(tmp_path, "k-*.sqlite", 2)] == ["k-1.sqlite"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k-2.sqlite", "k-3.sqlite", "other.sqlite"]


def test_postgresql_names_a_command_that_works(
    postgres_server: PostgresServer, postgres_url: str, tmp_path: Path
) -> None:
    store = open_store(postgres_url)
    send(store)
    store.close()
    target = tmp_path / "keeper.dump"
    code, said, _ = run(postgres_url, "backup", str(target))
    assert code == 0 and said.startswith("pg_dump --format=custom") and PASSWORD not in said
    binaries = find_binaries()
    assert binaries is not None
    command = said.split()
    made = subprocess.run([str(binaries / command[0]), *command[1:]], env={"PGPASSWORD": PASSWORD}, check=False)
    assert made.returncode == 0 and target.stat().st_size > 0
    restored = postgres_server.create()
    options = ["--no-owner", "--dbname", restored]
    subprocess.run([str(binaries / "pg_restore"), *options, str(target)], env={"PGPASSWORD": PASSWORD}, check=True)
    copy = open_store(restored)
    assert len(Journal(copy, 1, KEEPER).latest()) == 1
    copy.close()
    postgres_server.drop(restored)
