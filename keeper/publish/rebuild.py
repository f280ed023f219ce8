# SPDX-License-Identifier: Apache-2.0
"""Build a published page again from its event, as anybody can, and compare every row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from keeper.domain import Event, PageStatus, Snapshot, Unknown
from keeper.publish.tables import option_specs, surface_slice
from keeper.publish.words import UNDERLYING
from risk.onchain_words import Page
from risk.table import ROW_BYTES, build_page
from risk.units import unpack_underlying

HEADER = "(uint256,uint256,uint256,uint256,uint256,uint256,uint256,bytes32,bytes32)"
SURFACES = "(uint256,uint256,uint256,int256,int256,int256,int256,int256)[]"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result for one underlying: ``problems`` is empty when the page is what its event says."""

    underlying: int
    epoch: int
    rows: int
    problems: tuple[str, ...]


def find_event(events: Iterable[Event], underlying: int, epoch: int) -> Event | None:
    """Event of one epoch among decoded logs."""
    for event in events:
        if event.name == "PagePublished" and (event.args["underlying"], event.args["epoch"]) == (underlying, epoch):
            return event
    return None


def content_hash(header: Sequence[Any], surfaces: Sequence[Sequence[Any]], rows: bytes) -> bytes:
    """Hash that ``RiskTable`` stores: keccak of (header, surfaces, keccak of the rows), abi-encoded."""
    data = encode([HEADER, SURFACES, "bytes32"], [tuple(header), [tuple(s) for s in surfaces], keccak(rows)])
    return bytes(keccak(data))


def verify_page(snapshot: Snapshot, status: PageStatus, page: Page, event: Event | None) -> Verdict:
    """Compare a living page with what its event was computed from.

    The volatility shocks are those in force now: a page older than the last push of them differs in its outer rows.
    """
    underlying = status.underlying
    if event is None:
        return Verdict(underlying, page.epoch, status.rows, ("its PagePublished event was not found",))
    header, surfaces = event.args["header"], event.args["surfaces"]
    problems = []
    if content_hash(header, surfaces, page.rows) != status.content_hash:
        problems.append("the content hash is not that of header, surfaces and rows")
    options, words = snapshot.options, snapshot.parameter_words
    if isinstance(options, Unknown) or isinstance(words, Unknown):
        problems.append("options or parameters could not be read, so the rows were not rebuilt")
        return Verdict(underlying, page.epoch, status.rows, tuple(problems))
    observed_at = page.observed_at
    specs = [o for o in option_specs(options, underlying) if o.slot < status.rows]
    rebuilt = build_page(
        specs,
        page.reference_price,
        [surface_slice(tuple(item)) for item in surfaces],
        observed_at,
        unpack_underlying(words[UNDERLYING, underlying]),
        status.rows,
    )
    problems += _row_problems(page.rows, rebuilt.rows)
    if rebuilt.lane_unit_wad != page.lane_unit:
        problems.append(f"the lane unit is {page.lane_unit}, rebuilt {rebuilt.lane_unit_wad}")
    return Verdict(underlying, page.epoch, status.rows, tuple(problems))


def _row_problems(found: bytes, rebuilt: bytes) -> list[str]:
    rows = range(len(found) // ROW_BYTES)
    wrong = [slot for slot in rows if _row(found, slot) != _row(rebuilt, slot)]
    return [f"{len(wrong)} rows differ from a rebuild (slots {wrong[:8]})"] if wrong else []


def _row(data: bytes, slot: int) -> bytes:
    return data[ROW_BYTES * slot : ROW_BYTES * (slot + 1)]
