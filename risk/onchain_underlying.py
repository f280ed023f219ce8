# SPDX-License-Identifier: Apache-2.0
"""One underlying of an account in integers: section 4 of docs/margin-rule.md."""

from __future__ import annotations

from typing import NamedTuple

from risk.onchain_collateral import BPS, DEAD, VALUE_CAP, ceil_div
from risk.onchain_market import ChainMarket
from risk.onchain_options import E9, EDGE, LAST_DAY_S, Lots, OptionSums, left_s, lefts_of, option_grid, sum_options
from risk.onchain_words import PERPETUAL, AccountState, Page, lane

FLAG_PRICE_DEAD, FLAG_TABLE_EXPIRED, FLAG_ROW_MISSING, FLAG_JOINT_MISSING, FLAG_OFF_GRID = 1, 2, 4, 8, 16

NEAR = 3 * E9  # as far as the price may go from the reference price before the page is late
FAR = 6 * E9  # and before it is dead
FORGOTTEN_AFTER_S = 86_400
WIDEN_MAX_BPS = 30_000


Grid = tuple[tuple[int, ...], ...]


class LastDay(NamedTuple):
    """An underlying of which contracts are in their last day: G of all lots and of those kept, wad.

    ``scan`` and ``charge`` are those of all lots, without the rule; ``next_s``: seconds to the account's next expiry.
    """

    full_grid: Grid
    kept_grid: Grid
    scan: int
    charge: int
    next_s: int


class UnderlyingResult(NamedTuple):
    """Section 4 for one underlying; ``grid[v][n]`` is G, amounts wad.

    ``widen_bps`` is ``widen_u``; ``optioned`` says whether the joint scenarios read the grid or the closed form of
    ``delta_low`` and ``delta_high``. ``ahead_scan`` and ``ahead_charge``: what initial margin takes on ahead of the
    expiries of the day; ``last_day``: what the rest is made of, None where nothing ends.
    """

    underlying: int
    optioned: bool
    scan_bps: int
    delta_one_value: int
    delta_low: int
    delta_high: int
    option_value: int
    grid: tuple[tuple[int, ...], ...]
    scan: int
    charge: int
    drift: int
    widen_bps: int
    wide: int
    lost: int
    doubt: int
    flags: int
    ahead_scan: int = 0
    ahead_charge: int = 0
    last_day: LastDay | None = None


class PageAge(NamedTuple):
    """How stale a page is: lateness by age and by distance in bps, and whether it is dead or long past its expiry.

    ``boundless``: long past its expiry, and its grid does not bound what options may be worth.
    """

    by_age: int = 0
    by_distance: int = 0
    dead: bool = False
    forgotten: bool = False
    boundless: bool = False


def page_age(page: Page, y0: int, now: int) -> PageAge:
    """Staleness of a page that is read at the grid coordinate ``y0`` (1e-9 of a step)."""
    age, life = now - page.observed_at, page.expires_at - page.observed_at
    forgotten = now > page.expires_at + FORGOTTEN_AFTER_S
    return PageAge(
        by_age=BPS if age >= life else max(0, ceil_div((2 * age - life) * BPS, life)),
        by_distance=min(BPS, max(0, ceil_div((abs(y0) - NEAR) * BPS, NEAR))),
        dead=now > page.expires_at or abs(y0) > FAR,
        forgotten=forgotten,
        boundless=forgotten and (abs(y0) > EDGE or page.expires_at == 0),
    )


class _DeltaOne(NamedTuple):
    value: int
    low: int
    high: int
    gross: int


def _delta_one(
    state: AccountState, u: int, market: ChainMarket, linked_value: int, which: Lots, next_s: int
) -> _DeltaOne:
    """``delta_one_value``, ``dv_lo``, ``dv_hi`` and the part of ``A`` that is not options."""
    value = exposure = futures = 0
    spot = linked_value * 10**6
    for instrument, held in state.delta_ones_of(u).items():
        word = market.marks[instrument]
        carry = word.carry if instrument & 0xFF == PERPETUAL else 0
        value += held.lots * market.mark(instrument) + held.base - held.lots * carry
        left = left_s(word.expiry or None, market.timestamp)
        moving = 0 if word.settled else which.of(held.lots, left, next_s) * market.mark(instrument)
        exposure += moving
        if instrument & 0xFF == PERPETUAL:
            spot += moving
        else:
            futures += abs(moving)
    low, high = exposure // 10**6 + linked_value, ceil_div(exposure, 10**6) + linked_value
    return _DeltaOne(value // 10**6, low, high, ceil_div(abs(spot) + futures, 10**6))


def _charge(word: int, notional: int, net_delta: int, gross_delta: int, options: OptionSums, unit: int) -> int:
    depth = max(1, lane(word, 8)) * 10**22
    charge = ceil_div(net_delta * lane(word, 4) * (depth + net_delta), BPS * depth)
    charge += ceil_div(notional * lane(word, 5) * (depth + notional), BPS * depth)
    charge += ceil_div(options.short * unit, 10**6)
    charge += ceil_div(max(0, gross_delta - net_delta) // 2 * lane(word, 6), BPS)
    return charge + options.missing_charge


class _Scan(NamedTuple):
    """The 27 points and what the page says about itself."""

    grid: tuple[tuple[int, ...], ...]
    option_value: int
    y0: int
    unit: int
    age: PageAge
    flags: int


def _scan(options: OptionSums, page: Page | None, price: int, scan_bps: int, delta: list[int], now: int) -> _Scan:
    """``G``, option value and staleness; ``page`` is that of an optioned underlying, if it exists."""
    flags = FLAG_ROW_MISSING if options.missing else 0
    if page is None:
        return _Scan(tuple(tuple(delta) for _ in range(3)), 0, 0, 0, PageAge(), flags)
    value, pnl, y0 = option_grid(options, page, price, scan_bps)
    age = page_age(page, y0, now)
    flags |= FLAG_TABLE_EXPIRED if age.dead else 0
    flags |= FLAG_OFF_GRID if abs(y0) > EDGE else 0
    result = tuple(tuple(d + o for d, o in zip(delta, row, strict=True)) for row in pnl)
    return _Scan(result, value, y0, page.lane_unit, age, flags)


class _Judged(NamedTuple):
    """Section 4 for the lots that count."""

    linear: _DeltaOne
    options: OptionSums
    scanned: _Scan
    scan: int
    charge: int
    drift: int
    wide: int
    doubt: int


def _next_s(state: AccountState, u: int, market: ChainMarket) -> int | None:
    """Time to the next expiry within a day, s; a whole day if all of those have passed, None if there are none."""
    marks = [market.marks[instrument] for instrument in state.delta_ones_of(u)]
    found = [left_s(word.expiry or None, market.timestamp) for word in marks if not word.settled]
    found += lefts_of(state.options.get(u, ()), market.pages.get(u), market.timestamp)
    ending = [left for left in found if left < LAST_DAY_S]
    return min((left for left in ending if left), default=LAST_DAY_S) if ending else None


def _judge(
    state: AccountState, u: int, market: ChainMarket, linked_value: int, which: Lots, next_s: int = LAST_DAY_S
) -> _Judged:
    price, word, optioned = market.prices[u], market.underlying_words[u], u in state.options
    scan_bps = lane(word, 0)
    linear = _delta_one(state, u, market, linked_value, which, next_s)
    delta = [(linear.low if i >= 0 else linear.high) * scan_bps * i // 40_000 for i in range(-4, 5)]
    page = market.pages.get(u) if optioned else None
    options = sum_options(state.options.get(u, ()), page, price.price, market.timestamp, which, next_s)
    found = _scan(options, page, price.price, scan_bps, delta, market.timestamp)
    net_delta = min(ceil_div(abs(found.grid[1][5] - found.grid[1][3]) * 20_000, scan_bps), VALUE_CAP)
    gross_delta = linear.gross + ceil_div(options.delta * found.unit, 10**6)
    notional = min(ceil_div(options.gross * price.price, 10**6), VALUE_CAP)
    charge = _charge(word, notional, net_delta, gross_delta, options, found.unit)
    scan = max(0, -min(map(min, found.grid)))
    doubt = max(0, *map(max, found.grid)) + scan + charge + (notional if found.age.boundless else 0)
    return _Judged(
        linear=linear,
        options=options,
        scanned=found,
        scan=scan,
        charge=charge,
        drift=ceil_div(notional * lane(word, 7) * min(abs(found.y0), EDGE), 10**13),
        wide=ceil_div((scan + charge) * _widen_bps(market, u, found.age), BPS),
        doubt=doubt if price.state == DEAD or found.age.forgotten else 0,
    )


def _widen_bps(market: ChainMarket, u: int, age: PageAge) -> int:
    late_bps = market.prices[u].late_bps + max(age.by_age, age.by_distance)
    return min(WIDEN_MAX_BPS, lane(market.underlying_words[u], 12) + late_bps)


def _valley(full: _Judged, other: _Judged, price: int, scan_bps: int) -> int:
    """What the longs that ``other`` lacks may hide between two scan points."""
    net = max(0, other.options.gone_long - other.options.gone_short)
    value = full.scanned.option_value - other.scanned.option_value
    value += ceil_div(other.options.gone_value * full.scanned.unit, 10**6)
    pairs = zip(full.scanned.grid, other.scanned.grid, strict=True)
    lost = max(0, *(b - a for one, two in pairs for a, b in zip(one, two, strict=True)))
    return min(ceil_div(net * price * scan_bps, 160_000 * 10**6), max(0, value - lost))


def _lower(one: tuple[tuple[int, ...], ...], two: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(min, a, b)) for a, b in zip(one, two, strict=True))


def assess_underlying(
    state: AccountState, u: int, market: ChainMarket, linked_value: int, next_s: int | None = None
) -> UnderlyingResult:
    """Section 4; ``linked_value`` is the value of the account's collateral linked to ``u``, wad.

    ``next_s`` is that of the account that this one is a part of; None: it is one of its own.
    """
    scan_bps, price = lane(market.underlying_words[u], 0), market.prices[u]
    full = _judge(state, u, market, linked_value, Lots.ALL)
    found = full.scanned
    result = UnderlyingResult(
        underlying=u,
        optioned=u in state.options,
        scan_bps=scan_bps,
        delta_one_value=full.linear.value,
        delta_low=full.linear.low,
        delta_high=full.linear.high,
        option_value=found.option_value,
        grid=found.grid,
        scan=full.scan,
        charge=full.charge,
        drift=full.drift,
        widen_bps=_widen_bps(market, u, found.age),
        wide=full.wide,
        lost=max(0, found.option_value) if found.age.dead else 0,
        doubt=full.doubt,
        flags=found.flags | (FLAG_PRICE_DEAD if price.state == DEAD else 0),
    )
    if (own := _next_s(state, u, market)) is None:
        return result
    if next_s is None:
        next_s = own
    later, kept = (_judge(state, u, market, linked_value, which, next_s) for which in (Lots.LATER, Lots.KEPT))
    last_day = LastDay(found.grid, kept.scanned.grid, full.scan, full.charge, next_s)
    return _last_day(result._replace(last_day=last_day), full, kept, later, price.price)


def _last_day(result: UnderlyingResult, full: _Judged, kept: _Judged, later: _Judged, price: int) -> UnderlyingResult:
    """``result``, that of all lots, with what the lots that are kept, and none, ask for beside it."""
    scan = max(full.scan, kept.scan)
    charge = max(full.charge + _valley(full, kept, price, result.scan_bps), kept.charge)
    charge_later = max(full.charge + _valley(full, later, price, result.scan_bps), later.charge)
    return result._replace(
        delta_low=min(full.linear.low, kept.linear.low),
        delta_high=max(full.linear.high, kept.linear.high),
        grid=_lower(full.scanned.grid, kept.scanned.grid),
        scan=scan,
        charge=charge,
        wide=max(full.drift + full.wide, kept.drift + kept.wide) - full.drift,
        doubt=full.doubt + scan - full.scan + charge - full.charge if full.doubt or kept.doubt else 0,
        ahead_scan=max(0, later.scan - scan),
        ahead_charge=max(0, charge_later - charge),
    )
