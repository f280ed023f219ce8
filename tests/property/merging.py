# SPDX-License-Identifier: Apache-2.0
"""What merging two accounts may add to the charges: section "Coherence" of docs/risk/anchors.md, term by term.

The last day (docs/margin-rule.md, section 4) judges an account three times: with all lots, with those kept and with
those that stay. Here each of the three is an account of its own, made by `thinned` without the engine's code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from risk.onchain import ChainMarket, UnderlyingResult, underlying_results
from risk.onchain_words import AccountState, build_words, lane

BPS = 10_000
DAY = 86_400


class Books(NamedTuple):
    """Two accounts of one market, and both in one."""

    market: ChainMarket
    parts: tuple[AccountState, AccountState]
    whole: AccountState


class Extra(NamedTuple):
    """What merging may add to the charges of one underlying, and the wei that roundings may be off by.

    ``ahead``: the same for the charges of initial margin, which has the account after the expiries in it too.
    """

    charge: int
    ahead: int
    rounding: int


def by_underlying(
    account: AccountState, market: ChainMarket, next_s: Mapping[int, int] | None = None
) -> dict[int, UnderlyingResult]:
    return {item.underlying: item for item in underlying_results(build_words(account), market, next_s)}


def left_of(market: ChainMarket, u: int, slot: int, option: bool) -> int:
    """Seconds left of a contract's last day; a whole day where it has none."""
    if option:
        page = market.pages.get(u)
        row = page.row(slot) if page is not None else None
        expiry = page.expiry(row) if page is not None and row is not None else None
    else:
        word = market.marks[u << 8 | slot]
        expiry = None if word.settled else word.expiry
    return min(max(expiry - market.timestamp, 0), DAY) if expiry else DAY


def thinned(account: AccountState, market: ChainMarket, u: int, next_s: int) -> AccountState:
    """``account`` with the lots of ``u`` that are kept; ``next_s = -1``: without the contracts of the day."""

    def lots(count: int, left: int) -> int:
        if left == DAY or left > next_s >= 0:
            return count
        kept = abs(count) * left // DAY if next_s >= 0 else 0
        return kept if count > 0 else -kept

    held = {
        key: item._replace(lots=lots(item.lots, left_of(market, u, key & 0xFF, False))) if key >> 8 == u else item
        for key, item in account.delta_ones.items()
    }
    options = dict(account.options)
    ours = [o._replace(lots=lots(o.lots, left_of(market, u, o.slot, True))) for o in options.pop(u, ())]
    if any(o.lots for o in ours):
        options[u] = tuple(o for o in ours if o.lots)
    return replace(account, delta_ones=held, options=options)


class _Sizes(NamedTuple):
    """Net delta and option notional of one account in one underlying, wad; and its charge without the last day."""

    net: int
    notional: int
    charge: int


def _sizes(account: AccountState, market: ChainMarket, u: int) -> _Sizes:
    found = by_underlying(account, market).get(u)
    if found is None:
        return _Sizes(0, 0, 0)
    page, day = market.pages.get(u), found.last_day
    grid, charge = (found.grid, found.charge) if day is None else (day.full_grid, day.charge)
    net = -(-abs(grid[1][5] - grid[1][3]) * 20_000 // found.scan_bps)
    gross = sum(
        abs(item.lots) for item in account.options.get(u, ()) if page is not None and page.row(item.slot) is not None
    )
    return _Sizes(min(net, 2**112), min(-(-gross * market.prices[u].price // 10**6), 2**112), charge)


def _lots_extra(books: Books, u: int) -> tuple[int, int]:
    """Of accounts that no day is counted in: ``(extra, rounding)``. Their charges must keep to it."""
    word = books.market.underlying_words[u]
    one, other, both = (_sizes(account, books.market, u) for account in (*books.parts, books.whole))
    depth = max(1, lane(word, 8)) * 10**22
    tail = _tail_delta(books, u)
    convex = lane(word, 4) * (2 * one.net * other.net + tail * (depth + tail + 2 * one.net + 2 * other.net))
    convex += 2 * lane(word, 5) * one.notional * other.notional
    offset = max(0, one.net + other.net - both.net)
    extra = -(-convex // (BPS * depth)) + -(-offset * lane(word, 6) // (2 * BPS)) + 1
    # the net delta is a quotient by a fortieth of the scan range: at most 400 wei off, times the slope of the charge
    rounding = 5_000 * (2 + 2 * (one.net + other.net + tail + one.notional + other.notional) // depth)
    assert both.charge <= one.charge + other.charge + extra + rounding
    return extra, rounding


def _tail_delta(books: Books, u: int) -> int:
    """Delta, wad, of the tails of shorts that net out: ``tail * S / (R h)``, where a scan point is beyond the grid."""
    page, price = books.market.pages.get(u), books.market.prices[u].price
    if page is None or price == 0:
        return 0
    move = price * lane(books.market.underlying_words[u], 0) // 40_000
    away = max(abs(price - move - page.reference_price), abs(price + move - page.reference_price))
    if away * 10**9 <= 14 * page.step_e9 * page.reference_price:
        return 0
    tails = []
    for account in (*books.parts, books.whole):
        rows = [(o.lots, page.row(o.slot)) for o in account.options.get(u, ())]
        tails.append(sum(-lots * row.tail for lots, row in rows if row is not None and lots < 0))
    netted = tails[0] + tails[1] - tails[2]
    return -(-netted * page.lane_unit * price * 10**9 // (10**6 * page.reference_price * page.step_e9))


def _hidden(account: AccountState, after: AccountState, market: ChainMarket, u: int) -> int:
    """A sixteenth of the scan range for each net lot that ``after`` lacks: the most that `valley` may be."""
    page = market.pages.get(u)
    if page is None:
        return 0
    kept = {o.slot: o.lots for o in after.options.get(u, ())}
    net = sum(o.lots - kept.get(o.slot, 0) for o in account.options.get(u, ()) if page.row(o.slot) is not None)
    return -(-max(0, net) * market.prices[u].price * lane(market.underlying_words[u], 0) // (160_000 * 10**6))


def extra(books: Books, u: int, both: UnderlyingResult) -> Extra:
    """The stated terms of one underlying: the greatest of those of all lots, those kept, and those that stay."""
    charge, rounding = _lots_extra(books, u)
    if both.last_day is None:
        return Extra(charge, charge, rounding)
    found = []
    for next_s in (both.last_day.next_s, -1):
        accounts = [thinned(account, books.market, u, next_s) for account in (*books.parts, books.whole)]
        more, wei = _lots_extra(Books(books.market, (accounts[0], accounts[1]), accounts[2]), u)
        hidden = sum(_hidden(a, b, books.market, u) for a, b in zip(books.parts, accounts[:2], strict=True))
        found.append(max(charge + hidden, more))
        rounding = max(rounding, wei)
    return Extra(found[0], max(found), 2 * rounding)


def brought_forward(own: UnderlyingResult | None, within: UnderlyingResult | None) -> tuple[int, int]:
    """What ``own`` pays more once its next expiry is that of the merged account: ``(loss, charge)``."""
    if own is None or within is None:
        return 0, 0
    pairs = zip(own.grid, within.grid, strict=True)
    return (
        max(0, *(a - b for rows in pairs for a, b in zip(*rows, strict=True))),
        max(0, within.charge - own.charge),
    )


def ends_in_turn(account: AccountState, market: ChainMarket, u: int, next_s: int) -> bool:
    """Whether no contract of ``u`` in the account has ended, or ends before the merged account's next expiry."""
    lefts = [left_of(market, u, key & 0xFF, False) for key in account.delta_ones if key >> 8 == u]
    lefts += [left_of(market, u, o.slot, True) for o in account.options.get(u, ())]
    return min(lefts, default=DAY) >= next_s
