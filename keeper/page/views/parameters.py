# SPDX-License-Identifier: Apache-2.0
"""Risk parameters: what is in force, between which bounds, and every change of them, lane by lane."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from keeper.domain import Snapshot, Unknown
from keeper.logging import scrub
from keeper.page.view import Source, View
from keeper.page.views.chain_events import Events
from keeper.publish.words import COLLATERAL, GLOBAL, LANE_NAMES, UNDERLYING, describe, tighter
from keeper.store.models import EventRow, PushRow
from risk.units import unpack_lanes

CONTRACT = "RiskParameters"
CHANGES = ("WordSet", "ParametersPushed", "ProposalQueued", "ProposalExecuted", "ProposalVetoed", "RampStarted")
HISTORY, BATCHES = 60, 20
PENDING = frozenset({"waiting", "approved", "shadow"})
TEN_THOUSAND_USD = 10_000
Words = dict[tuple[int, int], int]


def parameters(source: Source, view: View) -> dict[str, Any]:
    """Answer of ``/api/parameters``."""
    names, snapshot = source.names(), view.snapshot
    with source.database.session() as session:
        events = Events(session, source.chain_id)
        found = events.newest(CONTRACT, CHANGES)
        times = {row.block_number: events.at(row.block_number) for row in found}
        built = select(PushRow).where(PushRow.chain_id == source.chain_id).order_by(PushRow.built_at.desc())
        batches = [_batch(row, snapshot, names) for row in session.scalars(built.limit(BATCHES))]
    history = [_line(item, times) for item in _history(reversed(found), snapshot, names)]
    history.reverse()
    status = snapshot.parameters
    return {
        "block": view.block.number,
        "at": view.at,
        "status": {"unknown": status.reason}
        if isinstance(status, Unknown)
        else {
            "nonce": status.nonce,
            "pushed_at": status.pushed_at or None,
            "observed_at": status.observed_at or None,
            "valid_until": status.valid_until or None,
            "min_interval_s": status.min_interval_s,
        },
        "words": _words(snapshot, names),
        "history": history[:HISTORY],
        "batches": batches,
    }


def readable(name: str, value: int) -> dict[str, Any]:
    """A lane as people read it: number and unit."""
    if name.endswith("_bps"):
        return {"value": value / 100, "unit": "%"}
    if name in {"depth", "size_unit"}:
        return {"value": value * TEN_THOUSAND_USD, "unit": "USD"}
    return {"value": value, "unit": "USD" if name.endswith("_usd") else ""}


def target_name(snapshot: Snapshot, names: Mapping[int, str], kind: int, number: int) -> str:
    """What a word is about."""
    if kind == GLOBAL:
        return "all accounts"
    return snapshot.symbol(number) if kind == UNDERLYING else f"collateral {names.get(number, number)}"


def _words(snapshot: Snapshot, names: Mapping[int, str]) -> list[dict[str, Any]] | None:
    """Stored words with bounds, and what is in force where a ramp has not ended."""
    stored, bounds = snapshot.parameter_words, snapshot.parameter_bounds
    if isinstance(stored, Unknown):
        return None
    found = []
    for (kind, number), word in sorted(stored.items()):
        limits = None if isinstance(bounds, Unknown) else bounds.get(kind)
        low = unpack_lanes(limits.low) if limits else ()
        high = unpack_lanes(limits.high) if limits else ()
        force = unpack_lanes(_in_force(snapshot, kind, number, word))
        lanes = [
            {
                "name": name,
                **readable(name, value),
                "in_force": readable(name, force[k])["value"],
                "low": readable(name, low[k])["value"] if low else None,
                "high": readable(name, high[k])["value"] if high else None,
            }
            for k, (name, value) in enumerate(zip(LANE_NAMES[kind], unpack_lanes(word), strict=False))
        ]
        found.append({"kind": kind, "id": number, "name": target_name(snapshot, names, kind, number), "lanes": lanes})
    return found


def _in_force(snapshot: Snapshot, kind: int, number: int, stored: int) -> int:
    market = snapshot.market
    if isinstance(market, Unknown):
        return stored
    if kind == GLOBAL:
        return market.global_word
    words = market.underlying_words if kind == UNDERLYING else market.collateral_words
    return words.get(number, stored)


def _history(rows: Iterable[EventRow], snapshot: Snapshot, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Every change, oldest first, against the words that the events before it left."""
    words: Words = {}
    queued: dict[int, list[tuple[int, int, int]]] = {}
    lines = []
    for row in rows:
        args = row.args
        if row.name in {"WordSet", "RampStarted"}:
            _take(words, [(int(args["kind"]), int(args["id"]), int(args["word"]))])
            continue
        if row.name == "ProposalQueued":
            queued[int(args["id"])] = _changes(args["changes"])
        changes = _changes(args["changes"]) if "changes" in args else queued.get(int(args["id"]), [])
        lines.append({"row": row, "diff": _diff(words, changes, snapshot, names)})
        if row.name in {"ParametersPushed", "ProposalExecuted"}:
            _take(words, changes)
    return lines


def _changes(raw: Sequence[Sequence[Any]]) -> list[tuple[int, int, int]]:
    return [(int(kind), int(number), int(word)) for kind, number, word in raw]


def _take(words: Words, changes: Iterable[tuple[int, int, int]]) -> None:
    words.update({(kind, number): word for kind, number, word in changes})


def _diff(
    words: Words, changes: Sequence[tuple[int, int, int]], snapshot: Snapshot, names: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Lanes that a batch changes; without an older word there is no old value."""
    found = []
    for kind, number, word in changes:
        if kind not in {GLOBAL, UNDERLYING, COLLATERAL}:
            continue
        old = words.get((kind, number))
        about = target_name(snapshot, names, kind, number)
        lanes = LANE_NAMES[kind]
        pairs = describe(kind, word if old is None else old, word)
        if old is None:
            pairs = tuple((name, value, value) for name, value in zip(lanes, unpack_lanes(word), strict=False))
        for name, before, after in pairs:
            was, now = readable(name, before), readable(name, after)
            found.append(
                {
                    "about": about,
                    "lane": name,
                    "unit": now["unit"],
                    "old": None if old is None else was["value"],
                    "new": now["value"],
                    "tighter": None if old is None else tighter(kind, lanes.index(name), after, before),
                }
            )
    return found


def _batch(row: PushRow, snapshot: Snapshot, names: Mapping[int, str]) -> dict[str, Any]:
    """A batch that this keeper built, against the words stored now, with what its impact check said."""
    stored = snapshot.parameter_words
    words = {} if isinstance(stored, Unknown) else dict(stored)
    raw = [(int(kind), int(number), int(word, 16)) for kind, number, word in row.content.get("changes", ())]
    return {
        "nonce": row.nonce,
        "digest": "0x" + row.digest.hex(),
        "built_at": row.built_at,
        "verdict": row.verdict,
        "impact": row.content.get("impact"),
        "said": None if row.content.get("said") is None else scrub(str(row.content["said"])),
        "diff": _diff(words, raw, snapshot, names) if row.verdict in PENDING else [],
    }


KINDS = {
    "ParametersPushed": "pushed",
    "ProposalQueued": "announced",
    "ProposalExecuted": "executed",
    "ProposalVetoed": "vetoed",
}


def _line(item: Mapping[str, Any], times: Mapping[int, int | None]) -> dict[str, Any]:
    row: EventRow = item["row"]
    args = row.args
    return {
        "what": KINDS[row.name],
        "number": int(args["nonce"] if row.name == "ParametersPushed" else args["id"]),
        "block": row.block_number,
        "by": times[row.block_number],
        "observed_at": int(args["observed_at"]) if "observed_at" in args else None,
        "eta": int(args["eta"]) if "eta" in args else None,
        "valid_until": int(args["valid_until"]) if "valid_until" in args else None,
        "diff": item["diff"],
        "tx_hash": "0x" + row.tx_hash.hex(),
    }
