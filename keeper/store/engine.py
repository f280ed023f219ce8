# SPDX-License-Identifier: Apache-2.0
"""Opening the database: migrations, durability, and errors the keeper can act on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from keeper.errors import ConfigError, Halt, KeeperError, Permanent, Transient

BUSY_TIMEOUT_MS = 5_000
_MIGRATING = threading.Lock()  # alembic keeps the migration in progress in module globals


class Store:
    """A migrated database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open one transaction: committed at the end, rolled back when anything is raised.

        Raises
        ------
        Transient
            Another process holds the database.
        Halt
            The disk is full, or the file cannot be written or is damaged.
        """
        try:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                yield session
        except DBAPIError as error:
            raise classify(error, self.name) from error

    @property
    def name(self) -> str:
        """Database URL without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def classify(error: DBAPIError, name: str) -> KeeperError:
    """Return the keeper's error for one of the database's."""
    said = str(error.orig).lower()
    if "locked" in said or "busy" in said:
        return Transient(
            f"database {name} is locked by another process; it will be tried again, stop the other keeper if it stays"
        )
    if "full" in said:
        return Halt(f"database {name} has no room left ({error.orig}); free disk space before starting again")
    if "readonly" in said or "read-only" in said or "unable to open" in said:
        return Halt(f"database {name} cannot be written ({error.orig}); check the path and its permissions")
    if "malformed" in said or "not a database" in said or "i/o error" in said:
        return Halt(f"database {name} is damaged ({error.orig}); restore a backup")
    if isinstance(error, OperationalError):
        return Transient(f"database {name} did not answer ({error.orig}); check that it runs")
    return Permanent(
        f"database {name} refused a statement ({error.orig}); this is a bug or a foreign schema, report it"
    )


def open_store(url: str) -> Store:
    """Open a database and bring its tables up to date.

    Parameters
    ----------
    url
        SQLAlchemy URL, for example ``sqlite:///keeper.sqlite``.

    Raises
    ------
    ConfigError
        The URL cannot be used, or the database is of a newer keeper.
    Halt
        The file cannot be written.

    Examples
    --------
    >>> open_store("sqlite://").name
    'sqlite://'
    """
    engine = _engine(url)
    store = Store(engine)
    try:
        with engine.connect() as connection:
            _migrate(connection)
    except DBAPIError as error:
        raise classify(error, store.name) from error
    except CommandError as error:
        raise ConfigError(
            f"database {store.name} has a schema this keeper does not know ({error}); update the keeper"
        ) from error
    return store


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        engine = create_engine(parsed, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"DATABASE_URL needs the Python package '{error.name}', which is not installed; install it or use SQLite"
        ) from error
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"DATABASE_URL is not usable ({error}); use for example sqlite:///keeper.sqlite") from error
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _durable)
        event.listen(engine, "begin", _begin)
    return engine


def _durable(connection: Any, _record: Any) -> None:
    """Make each commit survive a power cut, and let readers and one writer live together."""
    connection.isolation_level = None  # transactions are begun by `_begin`, not by the driver
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: two keepers cannot both read a state and then both act on it.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _migrate(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "keeper.store:migrations")
    config.attributes["connection"] = connection
    with _MIGRATING:
        command.upgrade(config, "head")
