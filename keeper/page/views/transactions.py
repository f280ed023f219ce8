# SPDX-License-Identifier: Apache-2.0
"""The journal of transactions: every intent with its state, and each attempt to get it mined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from keeper.logging import scrub
from keeper.page.view import Source
from keeper.store.models import IntentRow, TransactionRow
from keeper.tx.records import OPEN, State
from risk.errors import BadInput

GWEI = 10**9
ETHER = 10**18
MOST_ROWS = 200


def transactions(source: Source, state: str, offset: int, limit: int) -> dict[str, Any]:
    """Answer of ``/api/transactions``; ``state`` one of the journal's, ``open``, or empty for all."""
    if state and state != "open" and state not in set(State):
        raise BadInput(f"state '{state}' is not known; use open or one of {', '.join(State)}")
    if not 1 <= limit <= MOST_ROWS or offset < 0:
        raise BadInput(f"limit must be in 1..{MOST_ROWS} and offset at least 0")
    chosen = [IntentRow.chain_id == source.chain_id]
    if state:
        chosen.append(IntentRow.state.in_(OPEN if state == "open" else (state,)))
    with source.database.session() as session:
        counted = session.execute(
            select(IntentRow.state, func.count()).where(IntentRow.chain_id == source.chain_id).group_by(IntentRow.state)
        )
        counts = {str(name): int(count) for name, count in counted}
        rows = session.scalars(
            select(IntentRow)
            .where(*chosen)
            .order_by(IntentRow.updated_at.desc(), IntentRow.id.desc())
            .offset(offset)
            .limit(limit)
        ).all()
        tries = _attempts(session, [row.id for row in rows])
    matching = (
        counts if not state else {k: n for k, n in counts.items() if k == state or (state == "open" and k in OPEN)}
    )
    return {
        "counts": {str(name): counts.get(name, 0) for name in State},
        "matching": sum(matching.values()),
        "offset": offset,
        "rows": [_intent(row, tries.get(row.id, [])) for row in rows],
    }


def _attempts(session: Session, intents: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Signed transactions by intent; never what was signed."""
    found: dict[int, list[dict[str, Any]]] = {}
    query = select(TransactionRow).where(TransactionRow.intent_id.in_(intents)).order_by(TransactionRow.id)
    for row in session.scalars(query):
        found.setdefault(row.intent_id, []).append(
            {
                "hash": "0x" + row.hash.hex(),
                "nonce": row.nonce,
                "gas_limit": row.gas_limit,
                "max_fee_gwei": row.max_fee_wei / GWEI,
                "priority_fee_gwei": row.priority_fee_wei / GWEI,
                "cancels": row.cancels,
                "signed_at": row.signed_at,
                "sent_at": row.sent_at,
                "mined_at": row.mined_at,
                "succeeded": row.succeeded,
                "cost_ether": None if row.cost_wei is None else row.cost_wei / ETHER,
            }
        )
    return found


def _intent(row: IntentRow, attempts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "subject": row.subject,
        "epoch": row.epoch,
        "what": row.what,
        "state": row.state,
        "open": row.state in OPEN,
        "sender": row.sender,
        "to": row.to,
        "nonce": row.nonce,
        "tries": row.tries,
        "error": None if row.error is None else scrub(row.error),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "block": row.block_number,
        "tx_hash": None if row.tx_hash is None else "0x" + row.tx_hash.hex(),
        "succeeded": row.succeeded,
        "attempts": attempts,
    }
