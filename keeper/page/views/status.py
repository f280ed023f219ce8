# SPDX-License-Identifier: Apache-2.0
"""The header: which chain, how old everything is, whether the keeper is well, what it sees in one line."""

from __future__ import annotations

from typing import Any

import numpy as np

from keeper.domain import Unknown
from keeper.page.view import IN_AUCTION, STATES, Source, View

WAD = 10**18
PRICE_STATES = ("fresh", "late", "dead")


def status(source: Source) -> dict[str, Any]:
    """Answer of ``/api/status``."""
    now = source.clock()
    view = source.feed.view
    report = source.health.report(now)
    return {
        "now": now,
        "version": source.version,
        "chain_id": source.chain_id,
        "network": source.network,
        "mode": "execute" if source.sends else "dry run",
        "shadow": source.shadow,
        "role": source.health.role,
        "interval_s": source.interval_s,
        "health": {
            "ok": report.ok,
            "failed": [check.text for check in report.checks if not check.ok],
            "checks": [
                {"name": c.name, "age_s": c.age_s, "limit_s": c.limit_s, "ok": c.ok, "text": c.text}
                for c in report.checks
            ],
        },
        "halted": source.health.halts(),
        "view": None if view is None else _turn(source, view),
    }


def beat(source: Source) -> dict[str, Any]:
    """What the stream says: enough to know whether anything is new, and how old it is."""
    view = source.feed.view
    seen = {} if view is None else {"number": view.number, "at": view.at, "block": view.block.number}
    return {"now": source.clock(), **seen}


def _turn(source: Source, view: View) -> dict[str, Any]:
    table = source.feed.columns(view)
    counts = np.bincount(table.state, minlength=len(STATES))
    report = view.report
    return {
        "number": view.number,
        "at": view.at,
        "block": view.block.number,
        "block_hash": "0x" + view.block.hash.hex(),
        "block_at": view.block.timestamp,
        "accounts": len(table),
        "states": {name: int(count) for name, count in zip(STATES, counts, strict=True)},
        "auctions": int(counts[IN_AUCTION]),
        "worst": None if report.worst is None else {"account": report.worst[0], "mm_health": report.worst[1]},
        "parity": {"checked": len(report.parity.checked), "mismatches": len(report.parity.mismatches)},
        "result": report.result,
        "duration_s": round(report.duration_s, 3),
        "actions": [str(outcome) for outcome in report.outcomes],
        "notes": [{"name": n.name, "text": n.text, "alarm": n.alarm} for n in report.decision.notes],
        "prices": _prices(view),
    }


def _prices(view: View) -> list[dict[str, Any]] | None:
    prices, listed = view.snapshot.prices, view.snapshot.underlyings
    if isinstance(prices, Unknown) or isinstance(listed, Unknown):
        return None
    return [
        {
            "symbol": info.symbol,
            "usd": prices[0, number].price_wad / WAD,
            "state": PRICE_STATES[prices[0, number].state],
            "updated_at": prices[0, number].updated_at,
        }
        for number, info in sorted(listed.items())
        if (0, number) in prices
    ]
