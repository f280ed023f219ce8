# SPDX-License-Identifier: Apache-2.0
"""Tables of the keeper's database.

Amounts of the chain do not fit SQL integers; they are kept as decimal text (:class:`ChainInt`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, LargeBinary, String, Text, UniqueConstraint, false
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class ChainInt(TypeDecorator[int]):
    """A Python integer of any size, as decimal text."""

    impl = String(80)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        """Write."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:
        """Read."""
        return None if value is None else int(value)


class PlainText(TypeDecorator[str]):
    """Text from the outside, such as a revert reason: PostgreSQL takes neither NUL nor half a surrogate pair."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Write, with a replacement character for each of those."""
        if value is None:
            return None
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


class Base(DeclarativeBase):
    """Registry of the tables."""


class CursorRow(Base):
    """How far the events of a chain have been read."""

    __tablename__ = "cursors"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class BlockRow(Base):
    """Hashes of blocks that ended a step of the cursor, to find where a fork left them."""

    __tablename__ = "blocks"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    timestamp: Mapped[int] = mapped_column(BigInteger)


class AccountRow(Base):
    """A margin account, projected from events."""

    __tablename__ = "accounts"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    account: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    owner: Mapped[str] = mapped_column(String(42))
    opened_block: Mapped[int] = mapped_column(BigInteger)
    changed_block: Mapped[int] = mapped_column(BigInteger, index=True)


class EventRow(Base):
    """A decoded log."""

    __tablename__ = "events"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    block_number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    log_index: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    block_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    tx_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    contract: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64), index=True)
    args: Mapped[dict[str, Any]] = mapped_column(JSON)


class IntentRow(Base):
    """The journal: one action, from the decision to its end."""

    __tablename__ = "intents"
    __table_args__ = (
        UniqueConstraint("chain_id", "kind", "subject", "epoch", name="uq_intents_key"),
        Index("ix_intents_sender_state", "chain_id", "sender", "state"),
        Index("ix_intents_block", "chain_id", "sender", "block_number"),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    chain_id: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(64))
    epoch: Mapped[int] = mapped_column(ChainInt)
    state: Mapped[str] = mapped_column(String(12))
    sender: Mapped[str] = mapped_column(String(42))
    what: Mapped[str] = mapped_column(String(128))
    to: Mapped[str] = mapped_column(String(42))
    data: Mapped[bytes] = mapped_column(LargeBinary)
    nonce: Mapped[int | None] = mapped_column(BigInteger)
    gas_limit: Mapped[int | None] = mapped_column(BigInteger)
    gas_budget_wei: Mapped[int | None] = mapped_column(ChainInt)
    withdrawn: Mapped[bool] = mapped_column(default=False, server_default=false())
    tries: Mapped[int] = mapped_column(Integer, default=0)
    error: Mapped[str | None] = mapped_column(PlainText)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    tx_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    succeeded: Mapped[bool | None] = mapped_column()
    block_number: Mapped[int | None] = mapped_column(BigInteger)
    block_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))


class TransactionRow(Base):
    """A signed transaction of an intent: the first, a replacement with higher fees, or a cancellation."""

    __tablename__ = "transactions"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    intent_id: Mapped[int] = mapped_column(ForeignKey("intents.id"), index=True)
    sender: Mapped[str | None] = mapped_column(String(42))
    hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    nonce: Mapped[int] = mapped_column(BigInteger)
    gas_limit: Mapped[int] = mapped_column(BigInteger)
    max_fee_wei: Mapped[int] = mapped_column(ChainInt)
    priority_fee_wei: Mapped[int] = mapped_column(ChainInt)
    cancels: Mapped[bool] = mapped_column()
    signed_at: Mapped[int] = mapped_column(BigInteger)
    sent_at: Mapped[int | None] = mapped_column(BigInteger)
    mined_at: Mapped[int | None] = mapped_column(BigInteger)
    cost_wei: Mapped[int | None] = mapped_column(ChainInt)
    succeeded: Mapped[bool | None] = mapped_column()
    lost: Mapped[bool] = mapped_column(default=False, server_default=false())


class RunRow(Base):
    """One cycle of the keeper."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    chain_id: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[int] = mapped_column(BigInteger, index=True)
    finished_at: Mapped[int | None] = mapped_column(BigInteger)
    block_number: Mapped[int | None] = mapped_column(BigInteger)
    result: Mapped[str | None] = mapped_column(String(16))
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class EpochRow(Base):
    """A risk table the keeper has built; ``underlying`` -1 holds the joint scenarios.

    ``verdict`` is ``sent``, ``shadow`` (built and judged, never to be sent) or ``refused``; ``content_hash`` is what
    publishers sign, so one epoch number has a row for each content.
    """

    __tablename__ = "epochs"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    underlying: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    content_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    verdict: Mapped[str] = mapped_column(String(16), default="sent")
    built_at: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[dict[str, Any]] = mapped_column(JSON)


class PushRow(Base):
    """A parameter batch the keeper has built, with what its impact check said.

    ``verdict`` is ``sent``, ``shadow``, ``waiting`` (for a person) or ``approved``; ``digest`` is of its kind, nonce
    and words.
    """

    __tablename__ = "pushes"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    nonce: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    built_at: Mapped[int] = mapped_column(BigInteger)
    verdict: Mapped[str] = mapped_column(String(16))
    content: Mapped[dict[str, Any]] = mapped_column(JSON)


class ApprovalRow(Base):
    """A person's word for one batch or page, good until ``expires_at`` and for no more harm than ``accounts``."""

    __tablename__ = "approvals"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    what: Mapped[str] = mapped_column(String(128))
    accounts: Mapped[list[int]] = mapped_column(JSON)
    approved_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)


class CommitmentRow(Base):
    """The one content that a publisher's key has signed of an epoch of one table; ``underlying`` -1: joint scenarios.

    Another content may be signed only when this one can be published no more, at ``dead_at`` (unix s, of the chain).
    """

    __tablename__ = "commitments"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    contract: Mapped[str] = mapped_column(String(42), primary_key=True)
    signer: Mapped[str] = mapped_column(String(42), primary_key=True)
    underlying: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    content_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    observed_at: Mapped[int] = mapped_column(BigInteger)
    dead_at: Mapped[int] = mapped_column(BigInteger)
    requester: Mapped[str] = mapped_column(String(42))
    signed_at: Mapped[int] = mapped_column(BigInteger)


class AssessmentRow(Base):
    """The latest assessment of each account; amounts in wad."""

    __tablename__ = "assessments"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    account: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    block_number: Mapped[int] = mapped_column(BigInteger)
    assessed_at: Mapped[int] = mapped_column(BigInteger)
    equity_mark: Mapped[int | None] = mapped_column(ChainInt)
    equity_im: Mapped[int | None] = mapped_column(ChainInt)
    equity_mm: Mapped[int | None] = mapped_column(ChainInt)
    im: Mapped[int | None] = mapped_column(ChainInt)
    mm: Mapped[int | None] = mapped_column(ChainInt)
    doubt: Mapped[int | None] = mapped_column(ChainInt)
    flags: Mapped[int | None] = mapped_column(Integer)
    unknown: Mapped[str | None] = mapped_column(PlainText)


class MarkRow(Base):
    """A small value with a name, for example when an operator last acknowledged failures."""

    __tablename__ = "marks"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[int] = mapped_column(ChainInt)


class LeaseRow(Base):
    """Who may send on a chain; ``until_ms`` is unix milliseconds by the database's own clock."""

    __tablename__ = "leases"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    holder: Mapped[str | None] = mapped_column(String(32))
    token: Mapped[int] = mapped_column(BigInteger)
    until_ms: Mapped[int] = mapped_column(BigInteger)


class AlertRow(Base):
    """A trouble the operator was or is to be told of; ``key`` is a hash of what makes it the same trouble.

    Times in unix seconds; ``told_at`` the last time it went out, ``recovered_at`` set while it is over.
    """

    __tablename__ = "alerts"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    source: Mapped[str] = mapped_column(String(16))
    severity: Mapped[str] = mapped_column(String(8))
    text: Mapped[str] = mapped_column(Text)
    first_at: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[int] = mapped_column(BigInteger, index=True)
    told_at: Mapped[int | None] = mapped_column(BigInteger)
    recovered_at: Mapped[int | None] = mapped_column(BigInteger)


class MarginStateRow(Base):
    """What the owner of an account has been told: the deepest level, an auction that runs, margin to come."""

    __tablename__ = "margin_states"

    chain_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    account: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    level: Mapped[int] = mapped_column(Integer)
    in_auction: Mapped[bool] = mapped_column()
    to_come: Mapped[bool] = mapped_column()
    changed_at: Mapped[int] = mapped_column(BigInteger)


class MarginCallRow(Base):
    """One message to one address, kept until it is delivered.

    ``address`` is a hash: addresses are secrets. ``state`` is pending, sent, failed (given up) or dropped (no such
    address any more). ``claimed_until`` keeps a second process from sending it too.
    """

    __tablename__ = "margin_calls"
    __table_args__ = (Index("ix_margin_calls_due", "chain_id", "state", "next_at"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    chain_id: Mapped[int] = mapped_column(BigInteger)
    account: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(24))
    address: Mapped[str] = mapped_column(String(16))
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(8))
    tries: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[int] = mapped_column(BigInteger)
    next_at: Mapped[int] = mapped_column(BigInteger)
    claimed_until: Mapped[int] = mapped_column(BigInteger, default=0)
    sent_at: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)
