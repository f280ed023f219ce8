# SPDX-License-Identifier: Apache-2.0
"""Published pages, out of the stored events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from keeper.actions import PageHeader
from keeper.store.engine import Store
from keeper.store.models import EventRow

CONTRACT, PUBLISHED = "RiskTable", "PagePublished"
NEWEST = 128  # of each underlying only the last two epochs can be in force
NUMBERS = 11  # fields of a header before its two hashes


@dataclass(frozen=True, slots=True)
class PublishedPage:
    """One ``PagePublished`` event; ``page`` is the address of the rows, ``signers`` answer for them."""

    underlying: int
    page: str
    header: PageHeader
    surfaces: tuple[tuple[int, ...], ...]
    content_hash: bytes
    signers: tuple[str, ...]


def published_pages(store: Store, chain_id: int) -> tuple[PublishedPage, ...]:
    """The newest published pages, newest first."""
    with store.session() as session:
        rows = session.scalars(
            select(EventRow)
            .where(EventRow.chain_id == chain_id, EventRow.contract == CONTRACT, EventRow.name == PUBLISHED)
            .order_by(EventRow.block_number.desc(), EventRow.log_index.desc())
            .limit(NEWEST)
        ).all()
    return tuple(from_args(row.args) for row in rows)


def from_args(args: dict[str, Any]) -> PublishedPage:
    """Page of an event's arguments, as decoded or as stored."""
    return PublishedPage(
        underlying=int(args["underlying"]),
        page=str(args["page"]),
        header=_header(args["header"]),
        surfaces=tuple(tuple(int(value) for value in surface) for surface in args["surfaces"]),
        content_hash=_bytes(args["content_hash"]),
        signers=tuple(str(signer) for signer in args["signers"]),
    )


def _header(raw: Sequence[Any]) -> PageHeader:
    return PageHeader(*(int(value) for value in raw[:NUMBERS]), *(_bytes(value) for value in raw[NUMBERS:]))  # type: ignore[arg-type]


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else bytes.fromhex(str(value).removeprefix("0x"))
