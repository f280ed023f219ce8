# SPDX-License-Identifier: Apache-2.0
"""The clock of a running auction, as ``LiquidationAuction`` would advance it now.

A clock counts only watched time: at most ``tick_s`` between two records. So where nobody bids, the keeper records.
"""

from __future__ import annotations

from dataclasses import replace

from keeper.assess import Assessments
from keeper.domain import AuctionSettings, AuctionState, Phase, Snapshot, Unknown
from keeper.liquidate.actions import EndAuction, TickAuction
from risk.onchain import Assessment

BPS = 10_000
SHORTFALL_PARTS = 100
TICK_AT_BPS = 8_000  # of tick_s: the rest is for the transaction to be mined


def running(snapshot: Snapshot) -> tuple[tuple[int, AuctionState], ...]:
    """Auctions in progress, by account."""
    return tuple(
        (account, auction)
        for account, auction in sorted(snapshot.auctions.items())
        if not isinstance(auction, Unknown) and auction.phase != Phase.NONE
    )


def cured(result: Assessment, settings: AuctionSettings) -> bool:
    """The contract's own test: above maintenance margin by the end buffer, even if all in doubt turns out badly."""
    return result.equity_mm - result.doubt >= -(-result.mm * (BPS + settings.end_buffer_bps) // BPS)


def advanced(
    auction: AuctionState, result: Assessment, settings: AuctionSettings, now: int, live: bool
) -> AuctionState:
    """State as a record at ``now`` (unix s) would leave it; ``live``: the chain's sequencer is up."""
    counts = live and (result.doubt == 0 or result.liquidatable)
    passed_s = min(now - auction.seen_at, settings.tick_s) if counts else 0
    limit_s = settings.fast_s + settings.slow_s
    solvent_s, insolvent_s = auction.solvent_s, auction.insolvent_s
    if auction.phase == Phase.SOLVENT:
        solvent_s = min(solvent_s + passed_s, limit_s)
        insolvent_s = max(0, insolvent_s - passed_s)
    else:
        insolvent_s += passed_s
    phase = Phase.SOLVENT if result.equity_mark > 0 and solvent_s < limit_s else Phase.INSOLVENT
    return replace(auction, phase=phase, seen_at=now, solvent_s=solvent_s, insolvent_s=insolvent_s)


def ticks(
    snapshot: Snapshot,
    assessments: Assessments,
    settings: AuctionSettings | Unknown,
    live: bool | Unknown,
    shortfall_wad: int | Unknown,
    bid_for: frozenset[int],
) -> tuple[TickAuction, ...]:
    """Auctions to record: those whose clock would soon lose time, or whose phase has changed.

    A clock that has run out loses nothing: its auction is recorded only while the known shortfall is off, so that
    dust nobody wants does not cost gas for ever. Not those of ``bid_for``, which a bid of this cycle records, nor cured
    ones, which are ended. Recording in time takes no judgement of ours, so it is done for an account that could not be
    assessed too.
    """
    if isinstance(settings, Unknown) or isinstance(live, Unknown):
        return ()
    now, found = snapshot.block.timestamp, []
    is_off = shortfall_off(snapshot, assessments, shortfall_wad)
    for account, auction in running(snapshot):
        result = assessments.get(account)
        full = auction.phase == Phase.INSOLVENT and auction.insolvent_s >= settings.insolvent_s
        due = (now - auction.seen_at) * BPS >= settings.tick_s * TICK_AT_BPS and (is_off or not full)
        if result is not None and not isinstance(result, Unknown):
            turned = advanced(auction, result, settings, now, live).phase != auction.phase
            due = (due or turned) and not cured(result, settings)
        if due and account not in bid_for:
            found.append(TickAuction(account, auction.seen_at))
    return tuple(found)


def shortfall_off(snapshot: Snapshot, assessments: Assessments, shortfall_wad: int | Unknown) -> bool:
    """Whether what insolvent accounts lack is more than a hundredth from what the auction has recorded of it."""
    if isinstance(shortfall_wad, Unknown):
        return True
    lacking_wad = 0
    for account, auction in running(snapshot):
        result = assessments.get(account)
        if auction.phase == Phase.INSOLVENT and result is not None and not isinstance(result, Unknown):
            lacking_wad += max(0, -result.equity_mark)
    return abs(lacking_wad - shortfall_wad) * SHORTFALL_PARTS > max(lacking_wad, shortfall_wad)


def ends(snapshot: Snapshot, assessments: Assessments, settings: AuctionSettings | Unknown) -> tuple[EndAuction, ...]:
    """Auctions of accounts that are healthy again by the contract's buffer."""
    if isinstance(settings, Unknown):
        return ()
    found = []
    for account, auction in running(snapshot):
        result = assessments.get(account)
        if result is not None and not isinstance(result, Unknown) and cured(result, settings):
            found.append(EndAuction(account, auction.epoch))
    return tuple(found)
