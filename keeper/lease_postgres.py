# SPDX-License-Identifier: Apache-2.0
"""The lease on PostgreSQL: an advisory lock of a session of its own, and a row with token and end.

The lock is gone the moment the holder's session is: a killed process is noticed without waiting for the row to run out.
The row tells of holders that are alive to the server and yet stand still or are cut off; their sessions are ended
before the lease changes hands, so nothing that they have begun stays half done or locked.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from keeper.store import Store
from keeper.store.engine import CLIENT, TURN_LOCK, server_engine
from keeper.store.failures import classify

QUIET = 2  # a session that is gone counts as its holder's end after this part of the lease without renewal
PATIENCE_S = 1.0

# clock_timestamp() goes on within a transaction, now() would not.
READ = (
    "SELECT holder, token, until_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM leases "
    "WHERE chain_id = :chain"
)
CREATE = "INSERT INTO leases (chain_id, holder, token, until_ms) VALUES (:chain, NULL, 0, 0) ON CONFLICT DO NOTHING"
RENEW = (
    "UPDATE leases SET until_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + :ttl "
    "WHERE chain_id = :chain AND holder = :me AND token = :token"
)
TAKE = (
    "UPDATE leases SET holder = :me, token = token + 1, "
    "until_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + :ttl "
    "WHERE chain_id = :chain AND token = :token AND until_ms = :until"
)
RELEASE = "UPDATE leases SET until_ms = 0 WHERE chain_id = :chain AND holder = :me AND token = :token"
LOCK = "SELECT pg_try_advisory_lock(:space, :key)"
UNLOCK = "SELECT pg_advisory_unlock(:space, :key)"
# Ends every session of an instance but this one; the second argument is the time to wait for the end, in ms.
EVICT = (
    "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name LIKE :name AND pid <> pg_backend_pid()"
)


class _Row(NamedTuple):
    holder: str | None
    token: int
    until_ms: int
    now_ms: int


class ServerLease:
    """Implements `keeper.lease.Grants`; calls do not overlap."""

    def __init__(self, store: Store, chain_id: int, ttl_s: float) -> None:
        self._store = store
        self._ttl_ms = int(ttl_s * 1_000)
        # Sessions beside the turns of all others: a long transaction must not keep the lease from being renewed.
        self._engine = server_engine(store, patience_s=max(PATIENCE_S, ttl_s / 4))
        self._session: Connection | None = None
        self._locked = False
        self._chain_id = chain_id

    def take(self, token: int | None) -> int | None:
        """Renew or take."""
        try:
            try:
                return self._take(token)
            except DBAPIError as error:
                self._drop()
                if not error.connection_invalidated:
                    raise
                return self._take(token)  # the session was ended, the server may be there all the same
        except DBAPIError as error:
            self._drop()
            raise classify(error, self._store.name) from error

    def release(self, token: int) -> None:
        """Give it back."""
        try:
            self._run(RELEASE, token=token)
            if self._locked:
                self._run(UNLOCK)
        except DBAPIError as error:
            raise classify(error, self._store.name) from error
        finally:
            self._drop()

    def close(self) -> None:
        """End the session."""
        self._drop()
        self._engine.dispose()

    def _take(self, token: int | None) -> int | None:
        row = self._read()
        if token is not None and (row.holder, row.token) == (self._store.instance, token):
            if self._lock_after_evicting(self._store.instance) and self._run(RENEW, token=token).rowcount == 1:
                return token
            return None
        if not self._may_take(row):
            self._unlock()
            return None
        if not self._lock_after_evicting(row.holder):
            return None
        if self._run(TAKE, token=row.token, until=row.until_ms).rowcount != 1:
            self._unlock()  # another standby was first
            return None
        return row.token + 1

    def _read(self) -> _Row:
        found = self._run(READ).one_or_none()
        if found is None:
            self._run(CREATE)
            found = self._run(READ).one()
        return _Row(*found)

    def _may_take(self, row: _Row) -> bool:
        """Whether the lease has run out, or its holder has been silent for a while and its session is gone."""
        if row.now_ms >= row.until_ms or row.until_ms > row.now_ms + self._ttl_ms:
            return True  # run out, or given by a clock that has been set back since
        silent = row.now_ms >= row.until_ms - self._ttl_ms // QUIET
        return silent and self._lock()

    def _lock_after_evicting(self, holder: str | None) -> bool:
        """Hold the advisory lock; whoever stands in the way has lost the lease and loses its sessions."""
        if holder not in (None, self._store.instance):
            self._run(EVICT, name=f"{CLIENT} {holder}%")
        elif not self._lock():  # a session of ours that broke, and that the server has not noticed
            self._run(EVICT, name=f"{CLIENT} {self._store.instance} lease")
        return self._lock()

    def _lock(self) -> bool:
        self._locked = self._locked or bool(self._run(LOCK).scalar())
        return self._locked

    def _unlock(self) -> None:
        if self._locked:
            self._run(UNLOCK)
            self._locked = False

    def _run(self, statement: str, **values: Any) -> Any:
        if self._session is None:
            self._session = self._engine.connect()
        known = {"chain": self._chain_id, "me": self._store.instance, "ttl": self._ttl_ms, **values}
        known |= {"space": TURN_LOCK & 0x7FFFFFFF, "key": self._chain_id & 0x7FFFFFFF}
        query = text(statement)
        return self._session.execute(query, {name: known[name] for name in query.compile().params})

    def _drop(self) -> None:
        """Forget the session, and with it the lock."""
        session, self._session, self._locked = self._session, None, False
        if session is not None:
            with suppress(DBAPIError):
                session.close()
