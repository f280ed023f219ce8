# SPDX-License-Identifier: Apache-2.0
"""One account: its legs, why its margin is what it is, and its value over price and volatility."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from keeper.domain import AuctionState, OptionInfo, Snapshot, Unknown
from keeper.errors import Transient
from keeper.explain import Explanation, explain
from keeper.explain_account import ChainAccount
from keeper.page.view import STATES, Source, View
from keeper.page.views.grid import curve, scan_points
from keeper.store.models import AccountRow
from risk.efficiency import best_trades, swaps, withdrawals
from risk.errors import BadInput
from risk.onchain import ChainMarket, price_band
from risk.onchain_words import PERPETUAL, AccountState, parse_words

WAD = 10**18
LOTS = 10**6


def account(source: Source, view: View, number: int) -> dict[str, Any]:
    """Answer of ``/api/accounts/{number}``.

    Raises
    ------
    BadInput
        There is no such account in the view.
    """
    _known(view, number)
    table = source.feed.columns(view)
    at = int((table.number == number).argmax())
    base = {
        "account": number,
        "owner": _owner(source, number),
        "state": STATES[int(table.state[at])],
        "block": view.block.number,
        "at": view.at,
        "auction": _auction(view, number),
    }
    found = explain(view.only(number), number, source.names())
    if isinstance(found, Unknown):
        return {**base, "unknown": found.reason, "since": found.since}
    words, market = _readable(view, number)
    state = parse_words(words)
    return {
        **base,
        **_told(found),
        "legs": _legs(view.snapshot, state, market),
        "underlyings": _underlyings(view, words, market),
    }


def _told(found: Explanation) -> dict[str, Any]:
    result = found.assessment
    return {
        "status": found.status,
        "assessment": {**result._asdict(), "mm_health": result.mm_health, "im_health": result.im_health},
        "cash": found.holdings[0].value_wad,
        "collateral": [asdict(line) for line in found.collateral],
        "binding": found.binding,
        "contributions": [{"name": name, "profit_wad": profit} for name, profit in found.parts],
        "worst": list(found.worst),
        "data": list(found.data),
        "flags": list(found.flags),
    }


def surface(view: View, number: int, underlying: int) -> dict[str, Any]:
    """Answer of ``/api/accounts/{number}/surface``: the account over price and volatility.

    Raises
    ------
    BadInput
        There is no such account or underlying, or the account is not active in it.
    """
    words, market = _readable(view, number)
    if underlying not in market.prices:
        raise BadInput(f"underlying {underlying} does not exist; use one of {sorted(market.prices)}")
    item = scan_points(words, market, underlying)
    if item is None:
        raise BadInput(f"account {number} holds nothing that depends on {view.snapshot.symbol(underlying)}")
    found = curve(words, market, underlying)
    points = [value for line in item.grid for value in line]
    return {
        "account": number,
        "underlying": underlying,
        "symbol": view.snapshot.symbol(underlying),
        "block": view.block.number,
        "at": view.at,
        "price_now": market.prices[underlying].price / WAD,
        **asdict(found),
        "scan": {
            "range_bps": item.scan_bps,
            "profit_usd": [[value / WAD for value in line] for line in item.grid],
            "worst": min(range(27), key=points.__getitem__),
        },
    }


def advice(source: Source, view: View, number: int) -> dict[str, Any]:
    """Answer of ``/api/accounts/{number}/advice``: trades and collateral that would lower the margin."""
    words, market = _readable(view, number)
    held = ChainAccount(view.only(number), market, words, source.names())
    return {
        "account": number,
        "block": view.block.number,
        "trades": [item.words() for item in best_trades(held, 3)],
        "withdrawals": [item.words() for item in withdrawals(held)],
        "swaps": [item.words() for item in swaps(held)][:5],
    }


def _known(view: View, number: int) -> tuple[int, ...] | Unknown:
    words = view.words(number)
    if words is None:
        raise BadInput(
            f"account {number} is not among the {len(view.snapshot.accounts)} of block {view.block.number}; "
            "look for it in the table of accounts"
        )
    return words


def _readable(view: View, number: int) -> tuple[tuple[int, ...], ChainMarket]:
    """Words and market, where both could be read."""
    words, market = _known(view, number), view.market
    if isinstance(words, Unknown):
        raise Transient(f"account {number} could not be read ({words.reason}); the page will ask again")
    if isinstance(market, Unknown):
        raise Transient(f"the market could not be read ({market.reason}); the page will ask again")
    return words, market


def _owner(source: Source, number: int) -> str | None:
    with source.database.session() as session:
        query = select(AccountRow.owner).where(AccountRow.chain_id == source.chain_id, AccountRow.account == number)
        return session.scalar(query)


def _auction(view: View, number: int) -> dict[str, Any] | None:
    found = view.auction(number)
    if isinstance(found, AuctionState) and found.phase:
        return {"phase": found.phase.name.lower(), "epoch": found.epoch, "seen_at": found.seen_at}
    return None


def _underlyings(view: View, words: tuple[int, ...], market: ChainMarket) -> list[dict[str, Any]]:
    """Those that the account depends on."""
    active = (u for u in sorted(market.prices) if scan_points(words, market, u) is not None)
    return [{"id": u, "symbol": view.snapshot.symbol(u)} for u in active]


def _legs(snapshot: Snapshot, state: AccountState, market: ChainMarket) -> list[dict[str, Any]]:
    """Positions with their terms, mark and value, USD."""
    legs = []
    for instrument, held in sorted(state.delta_ones.items()):
        word, perpetual = market.marks[instrument], instrument & 255 == PERPETUAL
        carry = word.carry if perpetual else 0
        value = (held.lots * (market.mark(instrument) - carry) + held.base) // LOTS
        leg = _leg(snapshot, market, instrument, held.lots, "perpetual" if perpetual else "future")
        legs.append({**leg, "expiry": word.expiry or None, "value_usd": value / WAD})
    for u, options in sorted(state.options.items()):
        for option in options:
            key = u << 8 | option.slot
            leg = _leg(snapshot, market, key, option.lots, "option")
            mark = leg["mark_usd"]
            worth = None if mark is None else mark * option.lots / LOTS
            legs.append({**leg, **_terms(snapshot, key), "value_usd": worth})
    return legs


def _leg(snapshot: Snapshot, market: ChainMarket, instrument: int, lots: int, kind: str) -> dict[str, Any]:
    mark = price_band(market, instrument).mark
    return {
        "instrument": instrument,
        "symbol": snapshot.symbol(instrument >> 8),
        "kind": kind,
        "units": lots / LOTS,
        "mark_usd": mark / WAD if mark else None,
        "strike_usd": None,
        "expiry": None,
    }


def _terms(snapshot: Snapshot, instrument: int) -> dict[str, Any]:
    known = None if isinstance(snapshot.options, Unknown) else snapshot.options.get(instrument)
    if not isinstance(known, OptionInfo):
        return {}
    return {
        "kind": "call" if known.is_call else "put",
        "strike_usd": known.strike_wad / WAD,
        "expiry": known.expiry or None,
    }
