# SPDX-License-Identifier: Apache-2.0
"""Looking after the database: revision, integrity, backups, and forgetting what is old."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, delete, inspect, text
from sqlalchemy.exc import DBAPIError

from keeper.errors import ConfigError, Halt, Permanent
from keeper.store.engine import Store, make_private
from keeper.store.failures import classify
from keeper.store.models import Base, RunRow

DAY_S = 86_400
PAGES = 64  # of one step of a backup: others may write between two steps
Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class Revision:
    """Revision of a database's tables, None where it has none, and the newest that this keeper knows."""

    found: str | None
    newest: str

    @property
    def is_newest(self) -> bool:
        """Whether nothing is to be migrated."""
        return self.found == self.newest


def revision(store: Store) -> Revision:
    """Find out how far the tables have been migrated."""
    config = Config()
    config.set_main_option("script_location", "keeper.store:migrations")
    newest = ScriptDirectory.from_config(config).get_current_head()
    try:
        with store.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except DBAPIError as error:
        raise classify(error, store.name) from error
    return Revision(found, newest or "")


def check(store: Store) -> tuple[str, ...]:
    """Return what is wrong with the database: its own integrity check, tables, and what the rows say of each other."""
    problems: list[str] = []
    try:
        with store.engine.connect() as connection:
            if not store.is_postgresql:
                problems += [
                    str(row[0]) for row in connection.execute(text("PRAGMA integrity_check")) if row[0] != "ok"
                ]
                problems += [
                    f"row {row[1]} of {row[0]} refers to nothing"
                    for row in connection.execute(text("PRAGMA foreign_key_check"))
                ]
            missing = sorted(set(Base.metadata.tables) - set(inspect(connection).get_table_names()))
            if missing:
                return (*problems, f"tables are missing ({', '.join(missing)}); run 'ballast db upgrade'")
            for query, sentence in RULES:
                count = connection.execute(text(query)).scalar() or 0
                if count:
                    problems.append(f"{count} {sentence}")
    except DBAPIError as error:
        raise classify(error, store.name) from error
    return tuple(problems)


RULES = (
    (
        (
            "SELECT count(*) FROM intents WHERE state IN ('signed', 'sent', 'mined') AND NOT EXISTS "
            "(SELECT 1 FROM transactions t WHERE t.intent_id = intents.id AND t.nonce = intents.nonce)"
        ),
        "open intents have no signed transaction; do not start the keeper, restore a backup",
    ),
    (
        (
            "SELECT count(*) FROM (SELECT 1 FROM intents WHERE state IN ('intent', 'signed', 'sent', 'mined') "
            "AND nonce IS NOT NULL GROUP BY chain_id, sender, nonce HAVING count(*) > 1) AS twice"
        ),
        "nonces belong to two open intents; do not start the keeper, report it",
    ),
    (
        (
            "SELECT count(*) FROM events WHERE NOT EXISTS (SELECT 1 FROM cursors c WHERE c.chain_id = events.chain_id "
            "AND c.number >= events.block_number)"
        ),
        "events are above the cursor; the keeper reads its index again from the start when it is emptied",
    ),
)


def backup(store: Store, target: Path, progress: Progress | None = None) -> int:
    """Copy a SQLite database to a file while the keeper runs; returns its size in bytes.

    Parameters
    ----------
    target
        File that must not exist.
    progress
        Told (pages copied, pages in all).

    Raises
    ------
    ConfigError
        It is a PostgreSQL (the message has the command for it), or the file exists.
    Permanent
        The copy is not sound.
    Halt
        The disk is full.
    """
    if store.is_postgresql:
        raise ConfigError(f"PostgreSQL makes its own backups; run: {dump_command(store, target)}")
    if target.exists():
        raise ConfigError(f"file '{target}' exists; name one that does not, or remove it")
    source = store.engine.url.database
    if source in (None, "", ":memory:"):
        raise ConfigError(f"database {store.name} is in memory only; there is nothing to copy")
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        _copy(str(source), partial, progress)
        partial.replace(target)
    except sqlite3.Error as error:
        kind = Halt if "full" in str(error) else Permanent
        raise kind(
            f"backup of {store.name} to '{target}' failed ({error}); check disk space and permissions"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def _copy(source: str, partial: Path, progress: Progress | None) -> None:
    def told(_status: int, left: int, total: int) -> None:
        if progress is not None:
            progress(total - left, total)

    make_private(partial)
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(partial)) as copy:
        live.backup(copy, pages=PAGES, progress=told)
        found = copy.execute("PRAGMA integrity_check").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {found}")


def dump_command(store: Store, target: Path) -> str:
    """Command that makes a consistent backup of a PostgreSQL; the password is left to PGPASSWORD or ~/.pgpass."""
    known = store.engine.url
    url = URL.create("postgresql", username=known.username, host=known.host, port=known.port, database=known.database)
    return f"pg_dump --format=custom --file={target} {url.render_as_string()}"


def rotate(folder: Path, pattern: str, keep: int) -> list[Path]:
    """Remove the oldest files of a pattern but for the newest ``keep``; names sort by age. Returns what was removed."""
    old = sorted(folder.glob(pattern))[:-keep]
    for path in old:
        path.unlink()
    return old


def prune(store: Store, before: int) -> int:
    """Forget cycles that began before a time (unix s), never the newest; returns how many.

    The journal is kept whole: its keys are what keeps an action from being done twice. Events are kept, too, as the
    accounts are projected from them again after a fork.
    """
    with store.session() as session:
        newest = session.scalar(text("SELECT max(id) FROM runs")) or 0
        gone = session.execute(delete(RunRow).where(RunRow.started_at < before, RunRow.id < newest))
        return int(gone.rowcount)  # type: ignore[attr-defined]
