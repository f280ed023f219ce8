# SPDX-License-Identifier: Apache-2.0
"""One keeper at a time: a lease in the database with a fencing token (docs/adr/0013).

The token rises with every change of holder. A holder proves it in the same SQL transaction that writes a signed
transaction down, and once more right before the bytes leave. One that could not renew stops by its own clock before
anybody else may begin, without asking.

Two machines' clocks are never compared: on PostgreSQL the server's clock decides, on SQLite both are on one machine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from keeper.errors import LeaseLost, Transient
from keeper.lease_postgres import ServerLease
from keeper.store import Store
from keeper.store.models import LeaseRow

MARGIN = 4  # a holder stops sending this part of the lease before its end


@dataclass(frozen=True, slots=True)
class Held:
    """A lease of this instance; nothing is sent after ``deadline`` (seconds of `since_boot`)."""

    token: int
    deadline: float


class Grants(Protocol):
    """Where leases are given out."""

    def take(self, token: int | None) -> int | None:
        """Renew the lease of a token, or take it where nobody has it; returns the token, None for a standby."""

    def release(self, token: int) -> None:
        """Give the lease of a token back."""

    def close(self) -> None:
        """End its sessions."""


def since_boot() -> float:
    """Seconds that no change of the wall clock touches and that count while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def wall_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class FileLease:
    """Implements `Grants` on SQLite, where all instances are on one machine and share its clock."""

    def __init__(self, store: Store, chain_id: int, ttl_s: float, clock: Callable[[], int]) -> None:
        self._store = store
        self._chain_id = chain_id
        self._ttl_ms = int(ttl_s * 1_000)
        self._clock = clock

    def take(self, token: int | None) -> int | None:
        """Renew or take."""
        with self._store.session() as session:
            row = session.get(LeaseRow, self._chain_id)
            if row is None:
                row = LeaseRow(chain_id=self._chain_id, holder=None, token=0, until_ms=0)
                session.add(row)
            now = self._clock()
            if row.holder != self._store.instance or row.token != token:
                # A clock that was set back would keep a dead holder's lease for as long.
                if now < row.until_ms <= now + self._ttl_ms:
                    return None
                row.holder, row.token = self._store.instance, row.token + 1
            row.until_ms = now + self._ttl_ms
            return row.token

    def release(self, token: int) -> None:
        """Give it back, so that a standby need not wait."""
        with self._store.session() as session:
            row = session.get(LeaseRow, self._chain_id)
            if row is not None and (row.holder, row.token) == (self._store.instance, token):
                row.until_ms = 0

    def close(self) -> None:
        """Nothing of its own is open."""


class Lease:
    """The right to send on one chain.

    Parameters
    ----------
    store, chain_id
        Where the lease lives.
    ttl_s
        Seconds a lease lasts without renewal; a standby takes over after that at the latest.
    clock
        Unix milliseconds; asked on SQLite only.
    monotonic
        Seconds that no change of the wall clock touches.
    """

    def __init__(
        self,
        store: Store,
        chain_id: int,
        ttl_s: float = 6.0,
        *,
        clock: Callable[[], int] = wall_ms,
        monotonic: Callable[[], float] = since_boot,
    ) -> None:
        self.ttl_s = ttl_s
        self._instance = store.instance
        self._chain_id = chain_id
        self._monotonic = monotonic
        self._grants: Grants = (
            ServerLease(store, chain_id, ttl_s) if store.is_postgresql else FileLease(store, chain_id, ttl_s, clock)
        )
        self._asking = threading.Lock()
        self._held: Held | None = None
        self._turn: int | None = None
        self._touched = monotonic()

    @property
    def held(self) -> Held | None:
        """The lease as far as this process knows without asking; None past the deadline."""
        held = self._held
        return held if held is not None and self._monotonic() < held.deadline else None

    @property
    def idle_s(self) -> float:
        """Seconds since the loop last asked for the lease or proved it: a loop that hangs must not keep it."""
        return self._monotonic() - self._touched

    def acquire(self) -> Held | None:
        """Begin a turn: take or renew the lease; None while another instance holds it.

        Raises
        ------
        Transient
            The database does not answer.
        """
        self._touched = self._monotonic()
        held = self.renew()
        self._turn = None if held is None else held.token
        return held

    def renew(self) -> Held | None:
        """Take or renew without beginning a turn: a turn that runs keeps the token that it began with."""
        if not self._asking.acquire(timeout=self.ttl_s):
            raise Transient(f"the lease of chain {self._chain_id} is being asked for and the database does not answer")
        try:
            began = self._monotonic()
            token = self._grants.take(None if self._held is None else self._held.token)
            deadline = began + self.ttl_s * (1 - 1 / MARGIN)
            self._held = None if token is None else Held(token, deadline)
            return self._held
        finally:
            self._asking.release()

    def confirm(self, session: Session) -> None:
        """Prove the turn's token inside the transaction that needs it; a takeover waits for its end, or it for that.

        Raises
        ------
        LeaseLost
            Another instance has taken the lease, or it could not be renewed in time.
        """
        self.in_time()
        query = select(LeaseRow).where(LeaseRow.chain_id == self._chain_id).with_for_update(read=True)
        row = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
        if row is None or (row.holder, row.token) != (self._instance, self._turn):
            self._held = None
            raise LeaseLost(
                f"lease of chain {self._chain_id} was lost to another keeper; nothing more is sent in this turn, "
                "this keeper stands by"
            )
        self._touched = self._monotonic()

    def in_time(self) -> None:
        """Make sure by this machine's clock alone that nobody else can have begun to send.

        Raises
        ------
        LeaseLost
            The last renewal is too long ago, or a turn has not begun.
        """
        held = self._held
        if held is None or held.token != self._turn or self._monotonic() >= held.deadline:
            raise LeaseLost(
                f"lease of chain {self._chain_id} could not be renewed within {self.ttl_s:g} s; nothing more is sent "
                "in this turn, check that the database can be reached"
            )

    def release(self) -> None:
        """Give the lease back, so that a standby need not wait."""
        held, self._held, self._turn = self._held, None, None
        if held is None or not self._asking.acquire(timeout=self.ttl_s):
            return
        try:
            self._grants.release(held.token)
        finally:
            self._asking.release()

    def close(self) -> None:
        """Give the lease back and end its sessions; where the database does not answer, it runs out by itself."""
        try:
            with suppress(Transient):
                self.release()
        finally:
            self._grants.close()
