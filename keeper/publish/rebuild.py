# SPDX-License-Identifier: Apache-2.0
"""Build a published page again from its event, as anybody can, and compare every row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from keeper.actions import PageHeader
from keeper.domain import Event, PageStatus, Snapshot, Unknown
from keeper.publish.tables import option_specs, surface_slice
from risk.onchain_words import Page
from risk.page import ROW_BYTES, PackedPage, build_page
from risk.types import OptionSpec, SurfaceSlice, UnderlyingParameters

HEADER = f"({','.join(['uint256'] * 11)},bytes32,bytes32)"
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


def page_surfaces(events: Iterable[Event], pages: Mapping[int, Page]) -> dict[int, tuple[SurfaceSlice, ...]]:
    """Volatility surfaces that pages were published with, by underlying; reads no further than it must.

    A page without its event among them has no entry.
    """
    found: dict[int, tuple[SurfaceSlice, ...]] = {}
    for event in events if pages else ():
        if event.name != "PagePublished":
            continue
        u = int(event.args["underlying"])
        if u in pages and event.args["epoch"] == pages[u].epoch:
            found[u] = tuple(surface_slice(tuple(item)) for item in event.args["surfaces"])
            if len(found) == len(pages):
                break
    return found


def content_hash(header: Sequence[Any], surfaces: Sequence[Sequence[Any]], rows: bytes) -> bytes:
    """Hash that ``RiskTable`` stores: keccak of (header, surfaces, keccak of the rows), abi-encoded."""
    data = encode([HEADER, SURFACES, "bytes32"], [tuple(header), [tuple(s) for s in surfaces], keccak(rows)])
    return bytes(keccak(data))


def verify_page(snapshot: Snapshot, status: PageStatus, page: Page, event: Event | None) -> Verdict:
    """Compare a living page with what its event was computed from: surfaces, and shocks and grid step of its header.

    Rows of slots that have no option, or were given to one since, are of no use to anybody and are not compared.
    """
    underlying = status.underlying
    if event is None:
        return Verdict(underlying, page.epoch, status.rows, ("its PagePublished event was not found",))
    header, surfaces = PageHeader(*event.args["header"]), event.args["surfaces"]
    problems = []
    if content_hash(header.as_tuple(), surfaces, page.rows) != status.content_hash:
        problems.append("the content hash is not that of header, surfaces and rows")
    options = snapshot.options
    if isinstance(options, Unknown):
        problems.append("options could not be read, so the rows were not rebuilt")
        return Verdict(underlying, page.epoch, status.rows, tuple(problems))
    listed = {number: item for number, item in options.items() if item.listed_at < page.observed_at}
    specs = [o for o in option_specs(listed, underlying) if o.slot < status.rows]
    found: list[list[str]] = [
        row_problems(page, specs, surfaces, header, status.rows, known) for known in knowledge(specs, page)
    ]
    found.sort(key=len)
    problems += found[0]
    return Verdict(underlying, page.epoch, status.rows, tuple(problems))


def knowledge(specs: Sequence[OptionSpec], page: Page) -> list[frozenset[int]]:
    """Slots whose settlement the publisher may have known: an option that had expired may have been settled since."""
    settled = frozenset(o.slot for o in specs if o.settled_price is not None and o.expiry <= page.observed_at)
    return [settled, frozenset()] if settled else [settled]


def rebuild(
    page: Page,
    specs: Sequence[OptionSpec],
    surfaces: Sequence[Sequence[Any]],
    header: PageHeader,
    rows: int,
    known: frozenset[int] | None = None,
) -> PackedPage:
    """Build a page again from what its event says; ``known`` are the slots whose settlement counts, None: all.

    Raises
    ------
    risk.errors.BadInput
        An option cannot be priced, for example for lack of its surface.
    """
    return build_page(
        [o if known is None or o.slot in known else replace(o, settled_price=None) for o in specs],
        page.reference_price,
        [surface_slice(tuple(item)) for item in surfaces],
        page.observed_at,
        header_parameters(header),
        rows,
    )


def row_problems(
    page: Page,
    specs: Sequence[OptionSpec],
    surfaces: Sequence[Sequence[Any]],
    header: PageHeader,
    rows: int,
    known: frozenset[int] | None = None,
) -> list[str]:
    """Compare a page with its rebuild; raises as `rebuild`."""
    rebuilt = rebuild(page, specs, surfaces, header, rows, known)
    wrong = differing_rows(page.rows, rebuilt.rows, [o.slot for o in specs])
    problems = [f"{len(wrong)} rows differ from a rebuild (slots {wrong[:8]})"] if wrong else []
    if rebuilt.lane_unit_wad != page.lane_unit:
        problems.append(f"the lane unit is {page.lane_unit}, rebuilt {rebuilt.lane_unit_wad}")
    return problems


def header_parameters(header: PageHeader) -> UnderlyingParameters:
    """Lanes that rows depend on, as the header says them; the others do not matter to rows."""
    scan_bps = -(-header.step_e9 * 12 // 10**5)  # the step is the scan range times 1e5 / 12, rounded down
    shocks = (header.vol_up_bps, header.vol_down_bps, header.vol_power_bps)
    return UnderlyingParameters(scan_bps, *shocks, 0, 0, 0, 0, 1, header.short_min_bps, 0, 1)


def differing_rows(found: bytes, rebuilt: bytes, slots: Sequence[int]) -> list[int]:
    """Slots whose 96 bytes differ."""
    return [slot for slot in slots if row_bytes(found, slot) != row_bytes(rebuilt, slot)]


def row_bytes(data: bytes, slot: int) -> bytes:
    """The 96 bytes of a slot."""
    return data[ROW_BYTES * slot : ROW_BYTES * (slot + 1)]
