# SPDX-License-Identifier: Apache-2.0
"""Announced parameter changes that may still be waiting, out of the stored events."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from keeper.actions import Change
from keeper.store.engine import Store
from keeper.store.models import EventRow

CONTRACT = "RiskParameters"
QUEUED, CLOSED = "ProposalQueued", ("ProposalExecuted", "ProposalVetoed")
OPEN_AT_ONCE = 8  # the contract closes the eighth before a new one


@dataclass(frozen=True, slots=True)
class QueuedProposal:
    """A proposal, executable from ``eta`` (unix s); ``changes`` are (kind, id, word) as they were announced."""

    id: int
    eta: int
    changes: tuple[Change, ...]


def queued_proposals(store: Store, chain_id: int) -> tuple[QueuedProposal, ...]:
    """Proposals that no stored event closes, oldest first; the contract says which of them are open."""
    with store.session() as session:
        rows = session.scalars(
            select(EventRow)
            .where(EventRow.chain_id == chain_id, EventRow.contract == CONTRACT, EventRow.name.in_((QUEUED, *CLOSED)))
            .order_by(EventRow.block_number, EventRow.log_index)
        ).all()
    closed = {int(row.args["id"]) for row in rows if row.name != QUEUED}
    found = [
        QueuedProposal(
            int(row.args["id"]),
            int(row.args["eta"]),
            tuple((int(kind), int(number), int(word)) for kind, number, word in row.args["changes"]),
        )
        for row in rows
        if row.name == QUEUED
    ][-OPEN_AT_ONCE:]
    return tuple(item for item in found if item.id not in closed)
