# SPDX-License-Identifier: Apache-2.0
"""The risk table: living pages, who published them, their surfaces as smiles, and the epochs before them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keeper.domain import JointStatus, PageStatus, Unknown
from keeper.page.view import Source, View
from keeper.page.views.chain_events import Events
from keeper.publish.tables import surface_slice
from keeper.publish.triggers import drift_steps
from keeper.store.models import EventRow
from risk.pricing.svi import volatility
from risk.types import SECONDS_PER_YEAR

WAD = 10**18
CONTRACT = "RiskTable"
HISTORY = 60
POINTS = 41
DEVIATIONS = 2.5  # a smile is drawn so many standard deviations to either side
WIDEST = 0.7


def epochs(source: Source, view: View) -> dict[str, Any]:
    """Answer of ``/api/epochs``."""
    table = view.snapshot.table
    with source.database.session() as session:
        events = Events(session, source.chain_id)
        found = events.newest(CONTRACT, ("PagePublished", "JointPublished", "EpochRevoked"), 4 * HISTORY)
        times = {row.block_number: events.at(row.block_number) for row in found}
    base = {"block": view.block.number, "at": view.at, "history": [_line(view, row, times) for row in found[:HISTORY]]}
    if isinstance(table, Unknown):
        return {**base, "unknown": table.reason}
    newest = _newest(found)
    pages = [_page(view, page, newest.get((u, page.epoch))) for u, page in sorted(table.pages.items())]
    return {**base, "pages": pages, "joint": _joint(table.joint, found)}


def _newest(found: Sequence[EventRow]) -> dict[tuple[int, int], EventRow]:
    """Event of each published page, by underlying and epoch."""
    rows = (row for row in reversed(found) if row.name == "PagePublished")
    return {(int(row.args["underlying"]), int(row.args["epoch"])): row for row in rows}


def _page(view: View, page: PageStatus, event: EventRow | None) -> dict[str, Any]:
    prices, now = view.snapshot.prices, view.block.timestamp
    price = None if isinstance(prices, Unknown) else prices.get((0, page.underlying))
    base = {
        "underlying": page.underlying,
        "symbol": view.snapshot.symbol(page.underlying),
        "last_epoch": page.last_epoch,
    }
    if page.address is None:
        return {**base, "epoch": None}
    return {
        **base,
        "epoch": page.epoch,
        "observed_at": page.observed_at,
        "expires_at": page.expires_at,
        "expired": now > page.expires_at,
        "reference_usd": page.reference_price_wad / WAD,
        "price_usd": None if price is None else price.price_wad / WAD,
        "drift_steps": None if price is None else round(drift_steps(page, price.price_wad), 3),
        "step_percent": page.step_e9 / 1e7,
        "atm_vol_bps": page.atm_vol_bps,
        "rows": page.rows,
        "rows_wanted": page.rows_wanted,
        "content_hash": "0x" + page.content_hash.hex(),
        "signers": None if event is None else list(event.args["signers"]),
        "smiles": None if event is None else smiles(event.args["surfaces"], page.observed_at, page.reference_price_wad),
    }


def smiles(surfaces: Sequence[Sequence[Any]], observed_at: int, reference_wad: int) -> list[dict[str, Any]]:
    """Implied volatility over strike for each expiry of a page that lies ahead of its observation."""
    found = []
    for raw in surfaces:
        item = surface_slice(tuple(int(value) for value in raw))  # type: ignore[arg-type]
        tau = (item.expiry - observed_at) / SECONDS_PER_YEAR
        if tau <= 0:
            continue
        at_money = float(volatility(item.svi, 0.0, tau))
        width = min(WIDEST, max(0.05, DEVIATIONS * at_money * math.sqrt(tau)))
        k = np.linspace(-width, width, POINTS)
        forward = reference_wad / WAD * item.forward_ratio
        found.append(
            {
                "expiry": item.expiry,
                "forward_usd": forward,
                "atm_vol": at_money,
                "strikes": [float(x) for x in forward * np.exp(k)],
                "vols": [float(x) for x in volatility(item.svi, k, tau)],
            }
        )
    return sorted(found, key=lambda smile: int(smile["expiry"]))


def _joint(joint: JointStatus, found: Sequence[EventRow]) -> dict[str, Any]:
    event = next((r for r in found if r.name == "JointPublished" and int(r.args["epoch"]) == joint.epoch), None)
    return {
        "epoch": joint.epoch if joint.address else None,
        "count": joint.count,
        "expires_at": joint.expires_at if joint.address else None,
        "observed_at": None if event is None else int(event.args["observed_at"]),
        "signers": None if event is None else list(event.args["signers"]),
    }


def _line(view: View, row: EventRow, times: Mapping[int, int | None]) -> dict[str, Any]:
    """One line of the history."""
    joint = row.name == "JointPublished"
    header = row.args.get("header")
    return {
        "what": {"PagePublished": "page", "JointPublished": "joint scenarios", "EpochRevoked": "revoked"}[row.name],
        "symbol": None if joint else view.snapshot.symbol(int(row.args["underlying"])),
        "epoch": int(row.args["epoch"]),
        "block": row.block_number,
        "by": times[row.block_number],
        "observed_at": int(header[1]) if header else int(row.args.get("observed_at", 0)) or None,
        "reference_usd": int(header[3]) / WAD if header else None,
        "atm_vol_bps": int(header[6]) if header else None,
        "signers": list(row.args.get("signers", ())),
        "challenger": row.args.get("challenger"),
        "tx_hash": "0x" + row.tx_hash.hex(),
    }
