# SPDX-License-Identifier: Apache-2.0
"""Stored events of the chain, and when their blocks were."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from keeper.store.models import BlockRow, EventRow

NEAR_BLOCKS = 64
MOST_EVENTS = 5_000


class Events:
    """Events of one chain in one database session."""

    def __init__(self, session: Session, chain_id: int) -> None:
        self._session = session
        self._chain_id = chain_id
        self._times: tuple[list[int], list[int]] | None = None

    def newest(self, contract: str, names: Sequence[str], limit: int = MOST_EVENTS) -> list[EventRow]:
        """The newest events of these names, newest first."""
        query = (
            select(EventRow)
            .where(EventRow.chain_id == self._chain_id, EventRow.contract == contract, EventRow.name.in_(names))
            .order_by(EventRow.block_number.desc(), EventRow.log_index.desc())
            .limit(limit)
        )
        return list(self._session.scalars(query))

    def at(self, block: int) -> int | None:
        """Unix time (s) by which a block was there, from the nearest block whose time is kept; None where none is."""
        if self._times is None:
            query = select(BlockRow.number, BlockRow.timestamp).where(BlockRow.chain_id == self._chain_id)
            rows = sorted(tuple(item) for item in self._session.execute(query))
            self._times = ([number for number, _ in rows], [timestamp for _, timestamp in rows])
        numbers, stamps = self._times
        k = bisect_left(numbers, block)
        return stamps[k] if k < len(numbers) and numbers[k] - block <= NEAR_BLOCKS else None
