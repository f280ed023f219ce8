# SPDX-License-Identifier: Apache-2.0
"""The journal of transactions, written before anything is signed or sent.

An intent moves ``intent -> signed -> sent -> mined -> final | failed | replaced | cancelled``. Each method is one SQL
transaction; between any two of them the process may die, and what is written is enough to go on.

==========  ==================================================================================================
intent      decided; nothing signed, no nonce
signed      a signed transaction and its nonce are stored; it may or may not have left
sent        a node has accepted it
mined       it is in a block that is not final yet; ``succeeded`` is the receipt's status
final       mined with success, N blocks deep
failed      refused in simulation (no nonce), or reverted and N blocks deep
replaced    somebody else used the nonce; nothing of ours was mined
cancelled   a self-send with the same nonce was mined instead
==========  ==================================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keeper.actions import Action
from keeper.domain import Receipt
from keeper.errors import Halt
from keeper.store.engine import Store
from keeper.store.models import IntentRow, MarkRow, TransactionRow
from keeper.tx.fees import Fees

DAY_S = 86_400
ACKNOWLEDGED = "failures acknowledged up to transaction"


class State(StrEnum):
    """States of an intent."""

    INTENT = "intent"
    SIGNED = "signed"
    SENT = "sent"
    MINED = "mined"
    FINAL = "final"
    FAILED = "failed"
    REPLACED = "replaced"
    CANCELLED = "cancelled"


UNSENT = (State.INTENT, State.SIGNED)
IN_FLIGHT = (State.SIGNED, State.SENT)
OPEN = (State.INTENT, State.SIGNED, State.SENT, State.MINED)
RETRIABLE = (State.FAILED, State.REPLACED)  # a cancellation is a person's word and stands


@dataclass(frozen=True, slots=True)
class Intent:
    """A row of the journal; ``tries`` counts transactions that were mined and reverted."""

    id: int
    chain_id: int
    kind: str
    subject: str
    epoch: int
    state: State
    sender: str
    what: str
    to: str
    data: bytes
    nonce: int | None
    gas_limit: int | None
    tries: int
    error: str | None
    created_at: int
    updated_at: int
    tx_hash: bytes | None
    succeeded: bool | None
    block_number: int | None
    block_hash: bytes | None

    @property
    def open(self) -> bool:
        """Whether its end is not known yet."""
        return self.state in OPEN

    def __str__(self) -> str:
        return f"intent {self.id} ({self.kind} {self.subject}, epoch {self.epoch})"


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A signed transaction of an intent; ``cancels`` marks a self-send in its place."""

    hash: bytes
    raw: bytes
    nonce: int
    gas_limit: int
    fees: Fees
    cancels: bool
    signed_at: int


class Journal:
    """The journal of one signer on one chain."""

    def __init__(self, store: Store, chain_id: int, sender: str) -> None:
        self._store = store
        self._chain_id = chain_id
        self._sender = sender

    def claim(self, action: Action, to: str, data: bytes, now: int, max_tries: int) -> tuple[Intent, bool]:
        """Write the intent of an action, or find the one that has its key.

        Returns
        -------
        tuple
            The intent, and whether it is the caller's to carry out. False: it is under way, done, or has reverted
            ``max_tries`` times. One that failed or was replaced starts again with new call data.
        """
        with self._store.session() as session:
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
            elif row.state not in RETRIABLE or row.tries >= max_tries:
                return _intent(row), False
            self._restart(row, str(action.call), to, data, now)
            session.flush()
            return _intent(row), True

    def find(self, action: Action, max_tries: int) -> Intent | None:
        """Return the intent that has an action's key, None where `claim` would let the caller carry it out."""
        with self._store.session() as session:
            row = self._by_key(session, action)
            if row is None or (row.state in RETRIABLE and row.tries < max_tries):
                return None
            return _intent(row)

    def _by_key(self, session: Session, action: Action) -> IntentRow | None:
        return session.scalars(
            select(IntentRow).where(
                IntentRow.chain_id == self._chain_id,
                IntentRow.kind == action.kind,
                IntentRow.subject == action.subject,
                IntentRow.epoch == action.epoch,
            )
        ).one_or_none()

    def _restart(self, row: IntentRow, what: str, to: str, data: bytes, now: int) -> None:
        row.state, row.sender, row.what, row.to, row.data = State.INTENT, self._sender, what, to, data
        row.updated_at = now
        row.nonce = row.gas_limit = row.error = row.tx_hash = row.succeeded = row.block_number = row.block_hash = None

    def sign(self, intent: Intent, transaction: SignedTransaction) -> Intent:
        """Store a signed transaction, before it leaves the process.

        Raises
        ------
        Halt
            Another open intent has the nonce, or the intent has another one: two processes share the key.
        """
        with self._store.session() as session:
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
            if others or row.nonce not in (None, transaction.nonce) or row.state not in (*UNSENT, State.SENT):
                raise Halt(
                    f"nonce {transaction.nonce} of {self._sender} cannot go to {intent}, which is {row.state} with "
                    f"nonce {row.nonce}; stop the other keeper that uses this key"
                )
            session.add(
                TransactionRow(
                    intent_id=row.id,
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
            return _intent(row)

    def sent(self, intent: Intent, tx_hash: bytes, now: int) -> Intent:
        """Note that a node has accepted a transaction."""
        with self._store.session() as session:
            row = _row(session, intent)
            session.scalars(select(TransactionRow).where(TransactionRow.hash == tx_hash)).one().sent_at = now
            if row.state == State.SIGNED:
                row.state, row.updated_at = State.SENT, now
            return _intent(row)

    def mined(self, intent: Intent, receipt: Receipt, now: int) -> Intent:
        """Note the receipt of one of the intent's transactions."""
        with self._store.session() as session:
            row = _row(session, intent)
            transaction = session.scalars(select(TransactionRow).where(TransactionRow.hash == receipt.tx_hash)).one()
            transaction.mined_at = now
            transaction.succeeded = receipt.succeeded
            transaction.cost_wei = receipt.gas_used * receipt.effective_gas_price_wei
            row.state, row.updated_at, row.tx_hash = State.MINED, now, receipt.tx_hash
            row.block_number, row.block_hash = receipt.block_number, receipt.block_hash
            row.succeeded = receipt.succeeded and not transaction.cancels
            return _intent(row)

    def unmined(self, intent: Intent, now: int) -> Intent:
        """Take back a receipt whose block left the chain."""
        with self._store.session() as session:
            row = _row(session, intent)
            for transaction in session.scalars(select(TransactionRow).where(TransactionRow.intent_id == row.id)):
                transaction.mined_at = transaction.cost_wei = transaction.succeeded = None
            row.state, row.updated_at = State.SIGNED, now
            row.tx_hash = row.succeeded = row.block_number = row.block_hash = None
            return _intent(row)

    def close(self, intent: Intent, state: State, now: int, error: str | None = None) -> Intent:
        """Write the end of an intent; a reverted transaction counts as a try."""
        with self._store.session() as session:
            row = _row(session, intent)
            if state is State.FAILED and row.state == State.MINED:
                row.tries += 1
            row.state, row.error, row.updated_at = state, error, now
            return _intent(row)

    def note(self, intent: Intent, error: str, now: int) -> Intent:
        """Keep a message on an intent that stays open."""
        with self._store.session() as session:
            row = _row(session, intent)
            row.error, row.updated_at = error, now
            return _intent(row)

    def get(self, intent_id: int) -> Intent | None:
        """Return an intent by its id."""
        with self._store.session() as session:
            row = session.get(IntentRow, intent_id)
            return _intent(row) if row is not None and row.chain_id == self._chain_id else None

    def open_intents(self) -> list[Intent]:
        """Intents of this signer whose end is not known, those with a nonce first, in its order."""
        with self._store.session() as session:
            rows = session.scalars(
                select(IntentRow).where(
                    IntentRow.chain_id == self._chain_id, IntentRow.sender == self._sender, IntentRow.state.in_(OPEN)
                )
            )
            return sorted(map(_intent, rows), key=lambda i: (i.nonce is None, i.nonce or 0, i.id))

    def latest(self, limit: int = 50) -> list[Intent]:
        """Newest intents of the chain first."""
        with self._store.session() as session:
            query = select(IntentRow).where(IntentRow.chain_id == self._chain_id)
            return list(map(_intent, session.scalars(query.order_by(IntentRow.updated_at.desc()).limit(limit))))

    def transactions(self, intent: Intent) -> list[SignedTransaction]:
        """Signed transactions of an intent for its present nonce, oldest first."""
        with self._store.session() as session:
            rows = session.scalars(
                select(TransactionRow)
                .where(TransactionRow.intent_id == intent.id, TransactionRow.nonce == intent.nonce)
                .order_by(TransactionRow.id)
            )
            return [_transaction(row) for row in rows]

    def spent_since(self, since: int) -> int:
        """Wei spent on gas by transactions mined from a time on, plus the most that open ones may still cost."""
        with self._store.session() as session:
            mine = select(IntentRow.id).where(IntentRow.chain_id == self._chain_id, IntentRow.sender == self._sender)
            mined = session.scalars(
                select(TransactionRow).where(TransactionRow.intent_id.in_(mine), TransactionRow.mined_at >= since)
            )
            waiting = session.scalars(
                select(TransactionRow)
                .join(IntentRow, IntentRow.id == TransactionRow.intent_id)
                .where(
                    TransactionRow.intent_id.in_(mine),
                    IntentRow.state.in_(IN_FLIGHT),
                    TransactionRow.nonce == IntentRow.nonce,
                )
            )
            worst: dict[int, int] = {}
            for row in waiting:
                worst[row.intent_id] = max(worst.get(row.intent_id, 0), row.gas_limit * row.max_fee_wei)
            return sum(row.cost_wei or 0 for row in mined) + sum(worst.values())

    def failures_in_a_row(self) -> int:
        """Reverted transactions since the last success or the last acknowledgement."""
        with self._store.session() as session:
            mark = session.get(MarkRow, (self._chain_id, ACKNOWLEDGED))
            outcomes = session.scalars(
                select(TransactionRow.succeeded)
                .join(IntentRow, IntentRow.id == TransactionRow.intent_id)
                .where(
                    IntentRow.chain_id == self._chain_id,
                    IntentRow.sender == self._sender,
                    TransactionRow.succeeded.is_not(None),
                    TransactionRow.id > (mark.value if mark else 0),
                )
                .order_by(TransactionRow.nonce.desc(), TransactionRow.id.desc())
            ).all()
        return next((count for count, good in enumerate(outcomes) if good), len(outcomes))

    def acknowledge_failures(self) -> None:
        """Start the count of failures again, on an operator's word."""
        with self._store.session() as session:
            newest = session.scalar(select(func.max(TransactionRow.id))) or 0
            session.merge(MarkRow(chain_id=self._chain_id, name=ACKNOWLEDGED, value=newest))


def _row(session: Session, intent: Intent) -> IntentRow:
    return session.get_one(IntentRow, intent.id)


def _intent(row: IntentRow) -> Intent:
    return Intent(
        id=row.id,
        chain_id=row.chain_id,
        kind=row.kind,
        subject=row.subject,
        epoch=row.epoch,
        state=State(row.state),
        sender=row.sender,
        what=row.what,
        to=row.to,
        data=row.data,
        nonce=row.nonce,
        gas_limit=row.gas_limit,
        tries=row.tries,
        error=row.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
        tx_hash=row.tx_hash,
        succeeded=row.succeeded,
        block_number=row.block_number,
        block_hash=row.block_hash,
    )


def _transaction(row: TransactionRow) -> SignedTransaction:
    return SignedTransaction(
        hash=row.hash,
        raw=row.raw,
        nonce=row.nonce,
        gas_limit=row.gas_limit,
        fees=Fees(row.max_fee_wei, row.priority_fee_wei),
        cancels=row.cancels,
        signed_at=row.signed_at,
    )
