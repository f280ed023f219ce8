# SPDX-License-Identifier: Apache-2.0
"""Opening the database: migrations, durability, and errors the keeper can act on.

Transactions take turns on both databases, reading ones too: SQLite's ``BEGIN IMMEDIATE``, an advisory lock on
PostgreSQL. So no two processes can read a state and then both act on it, and code that is right on one is right on the
other. Only the lease has sessions beside the queue.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from keeper.errors import ConfigError, KeeperError, Transient
from keeper.store.bounded import bound
from keeper.store.failures import classify

BUSY_TIMEOUT_MS = 5_000
STATEMENT_TIMEOUT_MS = 60_000
SILENCE_S = 70.0
IDLE_TIMEOUT_MS = 20_000  # a process that stands still in mid-transaction must not hold the others up
CONNECT_TIMEOUT_S = 5
TURN_LOCK = 0x62616C6C617374  # "ballast"; advisory locks are one database's own
CLIENT = "ballast-keeper"
_MIGRATING = threading.Lock()  # alembic keeps the migration in progress in module globals


class Store:
    """A migrated database.

    Attributes
    ----------
    instance
        Name of this process among those that share the database; its sessions on PostgreSQL carry it.
    """

    def __init__(self, engine: Engine, instance: str = "") -> None:
        self.engine = engine
        self.instance = instance or secrets.token_hex(8)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open one transaction: committed at the end, rolled back when anything is raised.

        Raises
        ------
        Transient
            Another process holds the database, or its server does not answer.
        ConfigError
            The server refuses the user, or there is no such database.
        Halt
            The disk is full, or the database cannot be written or is damaged.
        """
        try:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                yield session
        except DBAPIError as error:
            raise classify(error, self.name) from error
        except PoolTimeout as error:
            raise Transient(f"all sessions of database {self.name} are busy; it will be tried again") from error

    @property
    def name(self) -> str:
        """Database URL without its password."""
        return self.engine.url.render_as_string(hide_password=True)

    @property
    def is_postgresql(self) -> bool:
        """Whether a server keeps it, with a clock and sessions of its own."""
        return self.engine.dialect.name == "postgresql"

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_store(url: str, *, migrate: bool = True) -> Store:
    """Open a database and bring its tables up to date.

    Parameters
    ----------
    url
        SQLAlchemy URL, for example ``sqlite:///keeper.sqlite`` or ``postgresql://user:password@host/name``.
    migrate
        False leaves the tables as they are, for tools that look at them.

    Raises
    ------
    ConfigError
        The URL cannot be used, or the database is of a newer keeper.
    Transient
        The server does not answer.
    Halt
        The file cannot be written.

    Examples
    --------
    >>> open_store("sqlite://").name
    'sqlite://'
    """
    instance = secrets.token_hex(8)
    store = Store(_engine(url, instance), instance)
    try:
        if migrate:
            upgrade(store)
    except KeeperError:
        store.close()
        raise
    return store


def upgrade(store: Store, revision: str = "head") -> None:
    """Bring the tables up to a revision of the migrations; two processes that start at once take turns.

    Raises
    ------
    ConfigError
        The database is of a newer keeper.
    """
    with _migrations(store) as config:
        command.upgrade(config, revision)


def downgrade(store: Store, revision: str) -> None:
    """Take the tables back to an older revision; what only newer ones hold is lost."""
    with _migrations(store) as config:
        command.downgrade(config, revision)


@contextmanager
def _migrations(store: Store) -> Iterator[Config]:
    config = Config()
    config.set_main_option("script_location", "keeper.store:migrations")
    try:
        with store.engine.connect() as connection, _MIGRATING:
            config.attributes["connection"] = connection
            yield config
    except DBAPIError as error:
        raise classify(error, store.name) from error
    except CommandError as error:
        raise ConfigError(
            f"database {store.name} has a schema this keeper does not know ({error}); update the keeper"
        ) from error


def _engine(url: str, instance: str) -> Engine:
    try:
        parsed = _with_driver(make_url(url))
        postgresql = parsed.get_backend_name() == "postgresql"
        arguments = _postgresql_arguments(parsed, instance) if postgresql else {}
        engine = create_engine(parsed, pool_pre_ping=True, hide_parameters=True, connect_args=arguments)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"DATABASE_URL needs the Python package '{error.name}', which is not installed; install it or use SQLite"
        ) from error
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"DATABASE_URL is not usable ({error}); use for example sqlite:///keeper.sqlite") from error
    if parsed.get_backend_name() == "sqlite":
        make_private(parsed.database)
        event.listen(engine, "connect", _durable)
        event.listen(engine, "begin", _begin)
    elif postgresql:
        event.listen(engine, "begin", _take_turn)
        bound(engine, SILENCE_S)
    return engine


def make_private(path: str | Path | None) -> None:
    """Make a new database file that only its owner can read: it holds signed transactions before anybody else has them.

    A file that exists stays as it is; what cannot be made is left to the database to report.
    """
    if path and not str(path).startswith((":memory:", "file:")):
        with suppress(OSError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def server_engine(store: Store, patience_s: float) -> Engine:
    """Sessions of a PostgreSQL beside the turns of all others, each statement a transaction, for what cannot wait."""
    url = store.engine.url
    arguments = _postgresql_arguments(url, f"{store.instance} lease")
    milliseconds = int(patience_s * 1_000)
    arguments["options"] += f" -c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
    arguments |= {"connect_timeout": 2, "tcp_user_timeout": 2 * milliseconds}
    engine = create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True, connect_args=arguments
    )
    bound(engine, patience_s + 0.5)
    return engine


def _with_driver(url: URL) -> URL:
    """``postgresql://`` as operators and their hosts write it means psycopg 3 here."""
    return url.set(drivername="postgresql+psycopg") if url.drivername in {"postgres", "postgresql"} else url


def _postgresql_arguments(url: URL, instance: str) -> dict[str, Any]:
    """Limits that let a broken connection be noticed in seconds; what the URL itself says comes first."""
    limits = {
        "lock_timeout": BUSY_TIMEOUT_MS,
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MS,
    }
    said = url.query.get("options", "")
    options = " ".join(f"-c {name}={value}" for name, value in limits.items())
    wanted = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    arguments: dict[str, Any] = {key: value for key, value in wanted.items() if key not in url.query}
    arguments["application_name"] = f"{CLIENT} {instance}"
    arguments["options"] = f"{options} {said if isinstance(said, str) else ' '.join(said)}".strip()
    return arguments


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


def _take_turn(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({TURN_LOCK})")
