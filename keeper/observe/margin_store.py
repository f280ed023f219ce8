# SPDX-License-Identifier: Apache-2.0
"""What owners have been told, and the messages on their way, in the database: a restart repeats and loses none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select

from keeper.observe.margin_levels import Told
from keeper.store import Store
from keeper.store.models import AccountRow, MarginCallRow, MarginStateRow

PENDING, SENT, FAILED, DROPPED = "pending", "sent", "failed", "dropped"
KEPT_S = 90 * 86_400


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to one address (its hash) that is due."""

    id: int
    account: int
    address: str
    content: Mapping[str, Any]
    tries: int
    created_at: int


class MarginStore:
    """Margin calls of one chain."""

    def __init__(self, store: Store, chain_id: int) -> None:
        self._store = store
        self._chain_id = chain_id

    def owners(self, accounts: Iterable[int] | None = None) -> dict[int, str]:
        """Owner of each account that events told of; None: of all."""
        with self._store.session() as session:
            query = select(AccountRow.account, AccountRow.owner).where(AccountRow.chain_id == self._chain_id)
            if accounts is not None:
                query = query.where(AccountRow.account.in_(list(accounts)))
            return {row.account: row.owner for row in session.execute(query)}

    def told(self) -> dict[int, Told]:
        """What has been told, by account."""
        with self._store.session() as session:
            rows = session.scalars(select(MarginStateRow).where(MarginStateRow.chain_id == self._chain_id))
            return {row.account: Told(row.level, row.in_auction, row.to_come) for row in rows}

    def keep(self, account: int, told: Told, letters: Sequence[tuple[str, str, Mapping[str, Any]]], now: int) -> None:
        """Store in one transaction what is told now and the messages, (kind, address, content), that tell it."""
        with self._store.session() as session:
            session.merge(
                MarginStateRow(
                    chain_id=self._chain_id,
                    account=account,
                    level=told.level,
                    in_auction=told.in_auction,
                    to_come=told.to_come,
                    changed_at=now,
                )
            )
            for kind, address, content in letters:
                session.add(
                    MarginCallRow(
                        chain_id=self._chain_id,
                        account=account,
                        kind=kind,
                        address=address,
                        content=dict(content),
                        state=PENDING,
                        created_at=now,
                        next_at=now,
                    )
                )

    def claim(self, now: int, until: int, limit: int) -> list[Letter]:
        """Messages that are due, oldest first; until ``until`` no other process gets them."""
        due = (
            select(MarginCallRow)
            .where(
                MarginCallRow.chain_id == self._chain_id,
                MarginCallRow.state == PENDING,
                MarginCallRow.next_at <= now,
                MarginCallRow.claimed_until <= now,
            )
            .order_by(MarginCallRow.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        with self._store.session() as session:
            rows = list(session.scalars(due))
            for row in rows:
                row.claimed_until = until
            return [Letter(r.id, r.account, r.address, r.content, r.tries, r.created_at) for r in rows]

    def close_letter(self, number: int, state: str, now: int, error: str | None = None) -> None:
        """Record that a message was sent, given up or has no address any more."""
        with self._store.session() as session:
            row = session.get_one(MarginCallRow, number)
            row.state, row.error, row.claimed_until = state, error, 0
            row.sent_at = now if state == SENT else None

    def postpone(self, number: int, until: int, *, tried: bool, error: str | None = None) -> None:
        """Give a message back, to be tried again from ``until`` on."""
        with self._store.session() as session:
            row = session.get_one(MarginCallRow, number)
            row.next_at, row.claimed_until = until, 0
            row.tries += int(tried)
            row.error = error or row.error

    def backlog(self) -> tuple[int, int | None]:
        """How many messages wait, and since when the oldest does (unix s)."""
        query = select(func.count(), func.min(MarginCallRow.created_at)).where(
            MarginCallRow.chain_id == self._chain_id, MarginCallRow.state == PENDING
        )
        with self._store.session() as session:
            count, oldest = session.execute(query).one()
            return int(count), oldest

    def forget(self, now: int) -> None:
        """Delete messages that ended long ago."""
        with self._store.session() as session:
            session.execute(
                delete(MarginCallRow).where(
                    MarginCallRow.chain_id == self._chain_id,
                    MarginCallRow.state != PENDING,
                    MarginCallRow.created_at < now - KEPT_S,
                )
            )
