# SPDX-License-Identifier: Apache-2.0
"""What the journal says of money and of failures: the base of the sender's limits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from keeper.lease import Lease
from keeper.store.engine import Store
from keeper.store.models import IntentRow, MarkRow, TransactionRow
from keeper.tx.records import IN_FLIGHT

DAY_S = 86_400
ACKNOWLEDGED = "failures acknowledged up to transaction"


class Spending:
    """Gas and outcomes of the transactions of one signer on one chain.

    Parameters
    ----------
    fence
        The lease that every change must prove in its own transaction; None for a person's command, and for reading.
    """

    def __init__(self, store: Store, chain_id: int, sender: str, fence: Lease | None = None) -> None:
        self._store = store
        self._chain_id = chain_id
        self._sender = sender
        self._fence = fence

    @contextmanager
    def _change(self) -> Iterator[Session]:
        """A transaction that stands only while this keeper is the one that may send."""
        with self._store.session() as session:
            if self._fence is not None:
                self._fence.confirm(session)
            yield session

    def prove(self) -> None:
        """Make sure, right before bytes leave, that no other keeper may send.

        Raises
        ------
        LeaseLost
            One may, or it cannot be ruled out.
        """
        if self._fence is not None:
            with self._change():
                pass
            self._fence.in_time()  # the database took its time, too

    @property
    def name(self) -> str:
        """Chain and database, for messages."""
        return f"chain {self._chain_id} in {self._store.name}"

    def spent_since(self, since: int) -> int:
        """Wei spent on gas by transactions mined from a time on, plus the most that open ones may still cost."""
        with self._store.session() as session:
            mined = session.scalars(self._mine().where(TransactionRow.mined_at >= since)).all()
        return sum(row.cost_wei or 0 for row in mined) + self.reserved()

    def reserved(self, without: int | None = None) -> int:
        """Most wei that open transactions may still cost, those of the intent ``without`` not counted."""
        waiting = self._mine().where(IntentRow.state.in_(IN_FLIGHT), TransactionRow.nonce == IntentRow.nonce)
        worst: dict[int, int] = {}
        with self._store.session() as session:
            for row in session.scalars(waiting):
                worst[row.intent_id] = max(worst.get(row.intent_id, 0), row.gas_limit * row.max_fee_wei)
        return sum(wei for intent, wei in worst.items() if intent != without)

    def failures_in_a_row(self) -> int:
        """Reverted transactions since the last success or the last acknowledgement.

        Neither self-sends count nor races that somebody else has won.
        """
        with self._store.session() as session:
            mark = session.get(MarkRow, (self._chain_id, ACKNOWLEDGED))
            rows = session.scalars(
                self._mine()
                .where(
                    TransactionRow.succeeded.is_not(None),
                    TransactionRow.cancels.is_(False),
                    TransactionRow.lost.is_(False),
                    TransactionRow.id > (mark.value if mark else 0),
                )
                .order_by(TransactionRow.nonce.desc(), TransactionRow.id.desc())
            ).all()
        return next((count for count, row in enumerate(rows) if row.succeeded), len(rows))

    def acknowledge_failures(self) -> None:
        """Start the count of failures again, on an operator's word."""
        with self._store.session() as session:
            newest = session.scalar(select(func.max(TransactionRow.id))) or 0
            session.merge(MarkRow(chain_id=self._chain_id, name=ACKNOWLEDGED, value=newest))

    def senders(self) -> list[str]:
        """Every key that has signed something on this chain."""
        query = select(IntentRow.sender).where(IntentRow.chain_id == self._chain_id).distinct()
        with self._store.session() as session:
            return sorted(session.scalars(query))

    def of(self, sender: str) -> Spending:
        """The same for another key."""
        return Spending(self._store, self._chain_id, sender)

    def last_mined_nonce(self) -> int | None:
        """Highest nonce of a transaction of ours that is in a block, None without any."""
        query = self._mine().where(TransactionRow.mined_at.is_not(None)).order_by(TransactionRow.nonce.desc()).limit(1)
        with self._store.session() as session:
            row = session.scalars(query).one_or_none()
            return None if row is None else row.nonce

    def _mine(self) -> Select[TransactionRow]:
        """Transactions of this signer on this chain."""
        return (
            select(TransactionRow)
            .join(IntentRow, IntentRow.id == TransactionRow.intent_id)
            .where(IntentRow.chain_id == self._chain_id, TransactionRow.sender == self._sender)
        )
