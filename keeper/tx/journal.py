# SPDX-License-Identifier: Apache-2.0
"""The journal of transactions, written before anything is signed or sent.

Each method is one SQL transaction; between any two of them the process may die, and what is written is enough to go on.
`keeper.tx.records` says what the states mean.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from keeper.actions import Action
from keeper.domain import Receipt
from keeper.errors import Halt
from keeper.races import lost_race
from keeper.store.models import IntentRow, TransactionRow
from keeper.tx.records import (
    IN_FLIGHT,
    OPEN,
    RETRIABLE,
    UNSENT,
    Intent,
    SignedTransaction,
    State,
    intent_of,
    transaction_of,
)
from keeper.tx.spending import DAY_S, Spending

__all__ = ["DAY_S", "IN_FLIGHT", "OPEN", "UNSENT", "Intent", "Journal", "SignedTransaction", "State"]
ENDED = (State.FINAL, State.FAILED, State.CANCELLED)


class Journal(Spending):
    """The journal of one signer on one chain."""

    def claim(self, action: Action, to: str, data: bytes, now: int, max_tries: int) -> tuple[Intent, bool]:
        """Write the intent of an action, or find the one that has its key.

        Returns
        -------
        tuple
            The intent, and whether it is the caller's to carry out. False: it is under way, done, or has reverted
            ``max_tries`` times. One that failed, was replaced or withdrawn starts again with new call data.
        """
        with self._change() as session:
            row = self._by_key(session, action)
            if row is None:
                row = IntentRow(
                    chain_id=self._chain_id,
                    kind=action.kind,
                    subject=action.subject,
                    epoch=action.epoch,
                    tries=0,
                    created_at=now,
                )
                session.add(row)
            elif not _retriable(row, max_tries):
                return intent_of(row), False
            self._restart(row, action, to, data, now)
            session.flush()
            return intent_of(row), True

    def find(self, action: Action, max_tries: int) -> Intent | None:
        """Return the intent that has an action's key, None where `claim` would let the caller carry it out."""
        with self._store.session() as session:
            row = self._by_key(session, action)
            return None if row is None or _retriable(row, max_tries) else intent_of(row)

    def _by_key(self, session: Session, action: Action) -> IntentRow | None:
        return session.scalars(
            select(IntentRow).where(
                IntentRow.chain_id == self._chain_id,
                IntentRow.kind == action.kind,
                IntentRow.subject == action.subject,
                IntentRow.epoch == action.epoch,
            )
        ).one_or_none()

    def _restart(self, row: IntentRow, action: Action, to: str, data: bytes, now: int) -> None:
        row.state, row.sender, row.what, row.to, row.data = State.INTENT, self._sender, str(action.call), to, data
        row.gas_budget_wei, row.withdrawn, row.updated_at = getattr(action, "gas_budget_wei", None), False, now
        row.nonce = row.gas_limit = row.error = row.tx_hash = row.succeeded = row.block_number = row.block_hash = None

    def sign(self, intent: Intent, transaction: SignedTransaction) -> Intent:
        """Store a signed transaction, before it leaves the process.

        Raises
        ------
        Halt
            Another open intent has the nonce, or the intent has another one: two processes share the key.
        """
        with self._change() as session:
            row = _row(session, intent)
            others = session.scalar(
                select(func.count())
                .select_from(IntentRow)
                .where(
                    IntentRow.chain_id == self._chain_id,
                    IntentRow.sender == self._sender,
                    IntentRow.state.in_(OPEN),
                    IntentRow.nonce == transaction.nonce,
                    IntentRow.id != row.id,
                )
            )
            mine = (row.chain_id, row.sender) == (self._chain_id, self._sender)
            if others or not mine or not _may_sign(row, transaction):
                raise Halt(
                    f"nonce {transaction.nonce} of {self._sender} cannot go to {intent}, which is {row.state} with "
                    f"nonce {row.nonce} of {row.sender}; stop the other keeper that uses this key"
                )
            session.add(
                TransactionRow(
                    intent_id=row.id,
                    sender=self._sender,
                    hash=transaction.hash,
                    raw=transaction.raw,
                    nonce=transaction.nonce,
                    gas_limit=transaction.gas_limit,
                    max_fee_wei=transaction.fees.max_fee_wei,
                    priority_fee_wei=transaction.fees.priority_fee_wei,
                    cancels=transaction.cancels,
                    signed_at=transaction.signed_at,
                )
            )
            row.state, row.nonce, row.updated_at = State.SIGNED, transaction.nonce, transaction.signed_at
            row.gas_limit = transaction.gas_limit
            return intent_of(row)

    def sent(self, intent: Intent, tx_hash: bytes, now: int) -> Intent:
        """Note that a node has accepted a transaction."""
        with self._change() as session:
            row = _row(session, intent)
            session.scalars(select(TransactionRow).where(TransactionRow.hash == tx_hash)).one().sent_at = now
            if row.state == State.SIGNED:
                row.state, row.updated_at = State.SENT, now
            return intent_of(row)

    def mined(self, intent: Intent, receipt: Receipt, now: int, reason: str = "") -> Intent:
        """Note the receipt of one of the intent's transactions, and why it reverted where that is known."""
        with self._change() as session:
            row = _row(session, intent)
            for other in self._attempts(session, row):  # a fork may have mined another one of them before
                other.mined_at = other.cost_wei = other.succeeded = None
            transaction = session.scalars(select(TransactionRow).where(TransactionRow.hash == receipt.tx_hash)).one()
            transaction.mined_at = now
            transaction.succeeded = receipt.succeeded
            transaction.lost = not receipt.succeeded and lost_race(row.kind, reason)
            if not receipt.succeeded:
                row.error = reason or None
            transaction.cost_wei = receipt.gas_used * receipt.effective_gas_price_wei
            row.state, row.updated_at, row.tx_hash = State.MINED, now, receipt.tx_hash
            row.block_number, row.block_hash = receipt.block_number, receipt.block_hash
            row.succeeded = receipt.succeeded and not transaction.cancels
            return intent_of(row)

    def unmined(self, intent: Intent, now: int, error: str | None = None) -> Intent:
        """Take back a receipt whose block left the chain, of an open intent or of one that has ended."""
        with self._change() as session:
            row = _row(session, intent)
            for transaction in self._attempts(session, row):
                transaction.mined_at = transaction.cost_wei = transaction.succeeded = None
            if row.state == State.FAILED:
                row.tries -= 1  # `close` counted the revert that has now not happened
            row.state, row.error, row.updated_at = State.SIGNED, error, now
            row.tx_hash = row.succeeded = row.block_number = row.block_hash = None
            return intent_of(row)

    def close(self, intent: Intent, state: State, now: int, error: str | None = None) -> Intent:
        """Write the end of an intent; a reverted transaction counts as a try."""
        with self._change() as session:
            row = _row(session, intent)
            if state is State.FAILED and row.state == State.MINED:
                row.tries += 1
            row.state, row.error, row.updated_at = state, error, now
            return intent_of(row)

    def note(self, intent: Intent, error: str, now: int) -> Intent:
        """Keep a message on an intent that stays open; the same message again changes nothing."""
        with self._change() as session:
            row = _row(session, intent)
            if row.error != error:
                row.error, row.updated_at = error, now
            return intent_of(row)

    def withdraw(self, intent: Intent, why: str, now: int) -> Intent:
        """Mark an intent as cancelled by the keeper itself: its action may be done again later."""
        with self._change() as session:
            row = _row(session, intent)
            row.withdrawn, row.error, row.updated_at = True, why, now
            return intent_of(row)

    def get(self, intent_id: int) -> Intent | None:
        """Return an intent by its id."""
        with self._store.session() as session:
            row = session.get(IntentRow, intent_id)
            return intent_of(row) if row is not None and row.chain_id == self._chain_id else None

    def open_intents(self) -> list[Intent]:
        """Intents of this signer whose end is not known, those with a nonce first, in its order."""
        with self._store.session() as session:
            rows = session.scalars(
                select(IntentRow).where(
                    IntentRow.chain_id == self._chain_id, IntentRow.sender == self._sender, IntentRow.state.in_(OPEN)
                )
            )
            return sorted(map(intent_of, rows), key=lambda i: (i.nonce is None, i.nonce or 0, i.id))

    def foreign_intents(self) -> list[Intent]:
        """Open intents of other signers on this chain: their keys must carry them on, this one never touches them."""
        with self._store.session() as session:
            rows = session.scalars(
                select(IntentRow).where(
                    IntentRow.chain_id == self._chain_id, IntentRow.sender != self._sender, IntentRow.state.in_(OPEN)
                )
            )
            return list(map(intent_of, rows))

    def ended_from(self, block_number: int | None) -> list[Intent]:
        """Ended intents of this signer mined in a block or later, newest block first; None: the newest one only."""
        query = select(IntentRow).where(
            IntentRow.chain_id == self._chain_id,
            IntentRow.sender == self._sender,
            IntentRow.block_number.is_not(None) if block_number is None else IntentRow.block_number >= block_number,
            IntentRow.state.in_(ENDED),
        )
        query = query.order_by(IntentRow.block_number.desc(), IntentRow.nonce.desc())
        with self._store.session() as session:
            return list(map(intent_of, session.scalars(query.limit(1) if block_number is None else query)))

    def latest(
        self, limit: int = 50, *, states: Sequence[State] = (), kind: str | None = None, subject: str | None = None
    ) -> list[Intent]:
        """Newest intents of the chain first; of all signers."""
        query = select(IntentRow).where(IntentRow.chain_id == self._chain_id)
        if states:
            query = query.where(IntentRow.state.in_(states))
        if kind is not None:
            query = query.where(IntentRow.kind == kind)
        if subject is not None:
            query = query.where(IntentRow.subject == subject)
        with self._store.session() as session:
            found = session.scalars(query.order_by(IntentRow.updated_at.desc(), IntentRow.id.desc()).limit(limit))
            return list(map(intent_of, found))

    def newest_epochs(self, kind: str) -> dict[str, int]:
        """Highest epoch of each subject of a kind that was done or is under way; of all signers."""
        query = select(IntentRow.subject, func.max(IntentRow.epoch)).where(
            IntentRow.chain_id == self._chain_id, IntentRow.kind == kind, IntentRow.state.in_((*OPEN, State.FINAL))
        )
        with self._store.session() as session:
            rows = session.execute(query.group_by(IntentRow.subject))
            return {str(subject): int(epoch) for subject, epoch in rows}

    def transactions(self, intent: Intent) -> list[SignedTransaction]:
        """Signed transactions of an intent for its present nonce, oldest first."""
        with self._store.session() as session:
            return [transaction_of(row) for row in self._attempts(session, intent)]

    def history(self, intent: Intent) -> list[SignedTransaction]:
        """Every transaction ever signed for an intent, oldest first."""
        query = select(TransactionRow).where(TransactionRow.intent_id == intent.id).order_by(TransactionRow.id)
        with self._store.session() as session:
            return [transaction_of(row) for row in session.scalars(query)]

    @staticmethod
    def _attempts(session: Session, intent: Intent | IntentRow) -> Sequence[TransactionRow]:
        """Transactions for the present nonce: one of an earlier try, or of another key, is another's nonce."""
        query = select(TransactionRow).where(
            TransactionRow.intent_id == intent.id,
            TransactionRow.nonce == intent.nonce,
            or_(TransactionRow.sender == intent.sender, TransactionRow.sender.is_(None)),
        )
        return session.scalars(query.order_by(TransactionRow.id)).all()


def _retriable(row: IntentRow, max_tries: int) -> bool:
    ended = row.state in RETRIABLE or (row.state == State.CANCELLED and row.withdrawn)
    return ended and row.tries < max_tries


def _may_sign(row: IntentRow, transaction: SignedTransaction) -> bool:
    return row.nonce in (None, transaction.nonce) and row.state in (*UNSENT, State.SENT)


def _row(session: Session, intent: Intent) -> IntentRow:
    return session.get_one(IntentRow, intent.id)
