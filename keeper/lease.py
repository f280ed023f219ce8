# SPDX-License-Identifier: Apache-2.0
"""One keeper at a time: a lease in the database with a fencing token.

The token rises with every change of holder. A holder proves its token again before each send, in the same database
that another instance would have to take the lease in; so one that was stopped for a while and woke up finds that its
token is old, and does not send.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from keeper.errors import Halt
from keeper.store import Store
from keeper.store.models import MarkRow

HOLDER, TOKEN, UNTIL = "lease:holder", "lease:token", "lease:until"


@dataclass(frozen=True, slots=True)
class Held:
    """A lease that this instance holds until unix time ``until``."""

    token: int
    until: int


class Lease:
    """The right to send on one chain.

    Parameters
    ----------
    store, chain_id
        Where the lease lives.
    ttl_s
        Seconds a lease lasts without renewal; a standby takes over after that.
    """

    def __init__(self, store: Store, chain_id: int, ttl_s: int = 60) -> None:
        self._store = store
        self._chain_id = chain_id
        self._ttl_s = ttl_s
        self._me = secrets.randbits(63)
        self._held: Held | None = None

    def acquire(self, now: int) -> Held | None:
        """Take or renew the lease; None while another instance holds it."""
        with self._store.session() as session:
            rows = self._rows(session)
            mine = rows[HOLDER].value == self._me
            if not mine and now < rows[UNTIL].value:
                self._held = None
                return None
            if not mine:
                rows[HOLDER].value = self._me
                rows[TOKEN].value += 1
            rows[UNTIL].value = now + self._ttl_s
            self._held = Held(rows[TOKEN].value, now + self._ttl_s)
        return self._held

    def check(self, now: int) -> None:
        """Prove the lease before a send, and renew it.

        Raises
        ------
        Halt
            Another instance has taken it.
        """
        before = self._held
        after = self.acquire(now)
        if before is None or after is None or before.token != after.token:
            raise Halt(
                f"lease of chain {self._chain_id} was lost to another keeper; nothing more is sent, stop one of the two"
            )

    def release(self, now: int) -> None:
        """Give the lease back, so that a standby need not wait."""
        with self._store.session() as session:
            rows = self._rows(session)
            if rows[HOLDER].value == self._me:
                rows[UNTIL].value = now
        self._held = None

    def _rows(self, session: Session) -> dict[str, MarkRow]:
        names = (HOLDER, TOKEN, UNTIL)
        query = select(MarkRow).where(MarkRow.chain_id == self._chain_id, MarkRow.name.in_(names)).with_for_update()
        found = {row.name: row for row in session.scalars(query)}
        for name in names:
            if name not in found:
                found[name] = MarkRow(chain_id=self._chain_id, name=name, value=0)
                session.add(found[name])
        return found
