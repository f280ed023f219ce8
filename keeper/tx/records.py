# SPDX-License-Identifier: Apache-2.0
"""Rows of the journal as frozen values, and the states an intent can be in.

An intent moves ``intent -> signed -> sent -> mined -> final | failed | replaced | cancelled``.

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

A fork deeper than N blocks takes an ended intent back to signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from keeper.store.models import IntentRow, TransactionRow
from keeper.tx.fees import Fees


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
    """A row of the journal.

    ``tries`` counts transactions that were mined and reverted; ``gas_budget_wei`` is the most its gas may cost, None
    where only the limits of the sender hold; ``withdrawn`` marks one that the keeper itself cancels because it would
    revert.
    """

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
    gas_budget_wei: int | None
    withdrawn: bool
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
    """A signed transaction of an intent; ``cancels`` marks a self-send in its place.

    ``sent_at`` is when a node last accepted it, ``mined_at`` when its receipt was seen (unix s, None: not yet).
    """

    hash: bytes
    raw: bytes
    nonce: int
    gas_limit: int
    fees: Fees
    cancels: bool
    signed_at: int
    sent_at: int | None = None
    mined_at: int | None = None
    succeeded: bool | None = None
    cost_wei: int | None = None

    @property
    def worst_wei(self) -> int:
        """Most its gas can cost."""
        return self.gas_limit * self.fees.max_fee_wei


def intent_of(row: IntentRow) -> Intent:
    """Value of a row."""
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
        gas_budget_wei=row.gas_budget_wei,
        withdrawn=row.withdrawn,
        tries=row.tries,
        error=row.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
        tx_hash=row.tx_hash,
        succeeded=row.succeeded,
        block_number=row.block_number,
        block_hash=row.block_hash,
    )


def transaction_of(row: TransactionRow) -> SignedTransaction:
    """Value of a row."""
    return SignedTransaction(
        hash=row.hash,
        raw=row.raw,
        nonce=row.nonce,
        gas_limit=row.gas_limit,
        fees=Fees(row.max_fee_wei, row.priority_fee_wei),
        cancels=row.cancels,
        signed_at=row.signed_at,
        sent_at=row.sent_at,
        mined_at=row.mined_at,
        succeeded=row.succeeded,
        cost_wei=row.cost_wei,
    )
