# SPDX-License-Identifier: Apache-2.0
"""Reads of the keeper's database for people: read-only, bounded in time, on connections of their own.

A reader can neither write nor hold a lock that the keeper waits for.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from keeper.errors import Transient

TIMEOUT_S = 2.0
STEPS = 20_000  # of SQLite's machine between two looks at the clock


class ReadOnlyDatabase:
    """The database of ``DATABASE_URL``, to be read only.

    Parameters
    ----------
    url
        SQLAlchemy URL.
    timeout_s
        Longest a connection, a lock or a statement may take.
    """

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._engine = _engine(url, timeout_s)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a transaction that sees one state of the database.

        Raises
        ------
        Transient
            The database did not answer in time.
        """
        try:
            with Session(self._engine) as session:
                yield session
        except DBAPIError as error:
            raise Transient(
                f"the keeper's database did not answer ({error.orig}); the page will ask again, see /health"
            ) from error

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _engine(url: str, timeout_s: float) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        file = parsed.database or ""
        return create_engine("sqlite://", creator=lambda: _open_sqlite(file, timeout_s), poolclass=NullPool)
    options = f"-c default_transaction_read_only=on -c statement_timeout={int(timeout_s * 1_000)}"
    return create_engine(
        parsed,
        pool_pre_ping=True,
        pool_size=2,
        max_overflow=2,
        pool_timeout=timeout_s,
        connect_args={"options": options, "connect_timeout": max(1, int(timeout_s))},
    )


def _open_sqlite(file: str, timeout_s: float) -> sqlite3.Connection:
    """One connection for one request; it gives up when its time is over."""
    where = f"file:{quote(file)}?mode=ro"
    connection = sqlite3.connect(where, uri=True, timeout=timeout_s, check_same_thread=False)
    deadline = time.monotonic() + timeout_s
    connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
    return connection
