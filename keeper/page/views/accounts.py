# SPDX-License-Identifier: Apache-2.0
"""The table of accounts, a page of it at a time, and the histogram of their cover.

Sorting, searching and counting are done here on columns, so that a hundred thousand accounts stay quick.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select

from keeper.domain import Unknown
from keeper.explain import FLAGS
from keeper.page.view import HEALTHY, STATES, UNKNOWN, Columns, Integers, Source, View
from keeper.store.models import AccountRow
from risk.errors import BadInput

SORTS = ("mm_health", "account", "equity", "im", "mm", "im_health", "doubt", "cover", "state")
MOST_ROWS = 500
MOST_OWNERS = 2_000
# Maintenance equity over maintenance margin; 1 is the line below which a liquidation may start.
EDGES = (-math.inf, 0.0, 0.5, 0.8, 0.9, 1.0, 1.05, 1.1, 1.2, 1.35, 1.5, 2.0, 3.0, 5.0, 10.0, math.inf)


@dataclass(frozen=True, slots=True)
class Query:
    """What part of the table is wanted.

    ``search`` is an account's number, or the beginning of an owner's address; ``state`` one of `STATES`, ``risky`` for
    all that are not healthy, or empty.
    """

    sort: str = "mm_health"
    descending: bool = False
    search: str = ""
    state: str = ""
    offset: int = 0
    limit: int = 50

    def __post_init__(self) -> None:
        if self.sort not in SORTS:
            raise BadInput(f"sort '{self.sort}' is not known; use one of {', '.join(SORTS)}")
        if self.state and self.state not in (*STATES, "risky"):
            raise BadInput(f"state '{self.state}' is not known; use one of {', '.join(STATES)}, risky")
        if not 1 <= self.limit <= MOST_ROWS or self.offset < 0:
            raise BadInput(f"limit must be in 1..{MOST_ROWS} and offset at least 0")


def accounts(source: Source, view: View, query: Query) -> dict[str, Any]:
    """Answer of ``/api/accounts``."""
    table = source.feed.columns(view)
    chosen = _matching(source, table, query)
    ordered = chosen[_order(table, chosen, query)]
    shown = [int(table.number[k]) for k in ordered[query.offset : query.offset + query.limit]]
    states = {int(table.number[k]): int(table.state[k]) for k in ordered[query.offset : query.offset + query.limit]}
    owners = _owners(source, shown)
    return {
        "block": view.block.number,
        "at": view.at,
        "total": len(table),
        "matching": len(chosen),
        "offset": query.offset,
        "rows": [row(view, account, states[account], owners.get(account)) for account in shown],
    }


def row(view: View, account: int, state: int, owner: str | None) -> dict[str, Any]:
    """One account; amounts are those of ``ballast accounts --json``."""
    found = view.assessment(account)
    base = {"account": account, "owner": owner, "state": STATES[state]}
    if found is None or isinstance(found, Unknown):
        reason = "it is not in the view" if found is None else found.reason
        return {**base, "unknown": reason, "since": None if found is None else found.since}
    flags = [text for bit, text in FLAGS.items() if found.flags & bit]
    amounts = {**found._asdict(), "mm_health": found.mm_health, "im_health": found.im_health}
    return {**base, **amounts, "flag_texts": flags}


def histogram(source: Source, view: View) -> dict[str, Any]:
    """Answer of ``/api/histogram``: accounts by cover, those without a requirement and the unknown apart."""
    table = source.feed.columns(view)
    cover = table.cover
    finite = np.isfinite(cover)
    counts, _ = np.histogram(cover[finite], bins=np.array(EDGES))
    equity, _ = np.histogram(cover[finite], bins=np.array(EDGES), weights=table.equity[finite])
    pairs = zip(EDGES[:-1], EDGES[1:], counts, equity, strict=True)
    return {
        "block": view.block.number,
        "at": view.at,
        "bins": [
            {"low": _finite(low), "high": _finite(high), "accounts": int(n), "equity_usd": float(usd)}
            for low, high, n, usd in pairs
        ],
        "no_requirement": int(np.isinf(cover).sum()),
        "unknown": int(np.isnan(cover).sum()),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _matching(source: Source, table: Columns, query: Query) -> Integers:
    """Positions in the columns."""
    keep = np.ones(len(table), dtype=bool)
    if query.state == "risky":
        keep &= table.state != HEALTHY
    elif query.state:
        keep &= table.state == STATES.index(query.state)
    wanted = query.search.strip().lower().removeprefix("#")
    if wanted.startswith("0x"):
        keep &= np.isin(table.number, _owned(source, wanted))
    elif wanted.isdecimal():
        # as people type: the account itself first of all, and those whose number begins so
        keep &= np.char.startswith(table.number.astype(str), wanted)
    elif wanted:
        keep &= False
    return np.flatnonzero(keep)


def _order(table: Columns, chosen: Integers, query: Query) -> Integers:
    """Unknown accounts on top whatever the direction, equal ones by number."""
    number = table.number[chosen]
    key = number if query.sort == "account" else getattr(table, query.sort)[chosen]
    ranked = -key.astype(np.float64) if query.descending else key.astype(np.float64)
    known = table.state[chosen] != UNKNOWN
    return np.lexsort((number, ranked, known))


def _owned(source: Source, prefix: str) -> Sequence[int]:
    if not set(prefix[2:]) <= set("0123456789abcdef"):
        return ()
    with source.database.session() as session:
        mine = AccountRow.chain_id == source.chain_id
        query = select(AccountRow.account).where(mine, AccountRow.owner.ilike(prefix + "%")).limit(MOST_OWNERS)
        return list(session.scalars(query))


def _owners(source: Source, shown: Sequence[int]) -> dict[int, str]:
    with source.database.session() as session:
        mine = AccountRow.chain_id == source.chain_id
        query = select(AccountRow.account, AccountRow.owner).where(mine, AccountRow.account.in_(shown))
        return {int(account): str(owner) for account, owner in session.execute(query)}
