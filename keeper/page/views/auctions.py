# SPDX-License-Identifier: Apache-2.0
"""Auctions: those that run, with clock and discount, and those that are over, with their bids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keeper.domain import AuctionSettings, AuctionState, Phase, Unknown
from keeper.liquidate.clock import advanced, running
from keeper.page.view import Source, View
from keeper.page.views.chain_events import Events
from keeper.store.models import EventRow

WAD = 10**18
CONTRACT = "LiquidationAuction"
NAMES = ("AuctionStarted", "BidMade", "LegsTaken", "AuctionPhaseChanged", "AuctionEnded")
HISTORY = 100


def auctions(source: Source, view: View) -> dict[str, Any]:
    """Answer of ``/api/auctions``."""
    with source.database.session() as session:
        events = Events(session, source.chain_id)
        rows = events.newest(CONTRACT, NAMES)
        stored = events.newest(CONTRACT, ("SettingsSet",), 1)
        times = {row.block_number: events.at(row.block_number) for row in rows}
    settings = _settings(view, stored)
    histories = _histories(rows, times)
    live = [
        _running(view, account, auction, settings, histories.pop((account, auction.epoch), None))
        for account, auction in running(view.snapshot)
    ]
    return {
        "block": view.block.number,
        "at": view.at,
        "settings": None if settings is None else {n: getattr(settings, n) for n in AuctionSettings.__slots__},
        "running": live,
        "past": list(histories.values())[:HISTORY],
    }


def discount_bps(elapsed_s: int, settings: AuctionSettings) -> float:
    """Discount on equity after so much of the solvent clock, as ``auction_math`` has it."""
    if elapsed_s < settings.fast_s:
        return settings.start_bps + (settings.fast_bps - settings.start_bps) * elapsed_s / settings.fast_s
    late_s = min(elapsed_s - settings.fast_s, settings.slow_s)
    return settings.fast_bps + (settings.slow_bps - settings.fast_bps) * late_s / settings.slow_s


def _settings(view: View, stored: Sequence[EventRow]) -> AuctionSettings | None:
    """As the turn read them, else as their last event said."""
    read = view.situation.auction
    if not isinstance(read, Unknown):
        return read
    return AuctionSettings(*(int(value) for value in stored[0].args["settings"])) if stored else None


def _running(
    view: View, account: int, auction: AuctionState, settings: AuctionSettings | None, history: dict[str, Any] | None
) -> dict[str, Any]:
    """The clock as a record at the block of the view would leave it.

    A turn that liquidates nothing does not ask whether clocks may run; then the clock is an estimate that they may.
    """
    found, live = view.assessment(account), view.situation.live
    now = auction
    if settings is not None and found is not None and not isinstance(found, Unknown):
        now = advanced(auction, found, settings, view.block.timestamp, live if isinstance(live, bool) else True)
    solvent = now.phase == Phase.SOLVENT
    base = {
        "account": account,
        "auction": auction.epoch,
        "phase": now.phase.name.lower(),
        "elapsed_s": now.solvent_s if solvent else now.insolvent_s,
        "estimated": not isinstance(live, bool),
        "seen_at": auction.seen_at,
        "discount_bps": discount_bps(now.solvent_s, settings) if solvent and settings is not None else None,
        "length_s": None if settings is None else _length(settings, solvent),
        "events": [] if history is None else history["events"],
    }
    if found is None or isinstance(found, Unknown):
        return {**base, "unknown": "not read" if found is None else found.reason}
    return {**base, "equity_mark": found.equity_mark, "mm_health": found.mm_health}


def _length(settings: AuctionSettings, solvent: bool) -> int:
    return settings.fast_s + settings.slow_s if solvent else settings.insolvent_s


def _histories(rows: Sequence[EventRow], times: dict[int, int | None]) -> dict[tuple[int, int], dict[str, Any]]:
    """Events by auction, the auction that moved last first; its own events oldest first."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for row in rows:
        key = (int(row.args["account"]), int(row.args["auction"]))
        item = found.setdefault(key, {"account": key[0], "auction": key[1], "ended": False, "events": []})
        item["ended"] = item["ended"] or row.name == "AuctionEnded"
        item["events"].insert(0, _event(row, times[row.block_number]))
    return found


def _event(row: EventRow, by: int | None) -> dict[str, Any]:
    args = row.args
    base = {"name": row.name, "block": row.block_number, "by": by, "tx_hash": "0x" + row.tx_hash.hex()}
    amounts = ("equity_mark", "equity_mm", "mm", "price_wad", "covered_wad", "lost_wad", "relief_wad", "reward_wad")
    usd = {name.removesuffix("_wad") + "_usd": int(args[name]) / WAD for name in amounts if name in args}
    more: dict[str, Any] = {}
    if "bidder_account" in args:
        more["bidder"] = int(args["bidder_account"])
    if "fraction_wad" in args:
        more["fraction"] = int(args["fraction_wad"]) / WAD
    if "phase" in args:
        more["phase"] = Phase(int(args["phase"])).name.lower()
    return {**base, **usd, **more}
