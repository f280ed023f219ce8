# SPDX-License-Identifier: Apache-2.0
"""Integer twin of ``contracts/MarginEngine.vy``: the margin rule of ``docs/margin-rule.md`` on Python integers.

Nothing here was transcribed from the contract: both follow the document, and ``tests/differential`` compares them
integer by integer. Section numbers in comments are those of the document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from risk.onchain_collateral import BPS, DEAD, VALUE_CAP, CollateralValue, ceil_div, collateral_values
from risk.onchain_words import AccountState, JointSet, OptionPosition, Page, PriceWord, lane, parse_words

__all__ = ["Assessment", "ChainMarket", "UnderlyingResult", "assess", "assess_at", "assess_words", "grid"]

WAD = 10**18
E9 = 10**9
EDGE = 15 * E9
Y_MAX = 1_500 * E9
JOINT_DENOMINATOR = 127 * 127
PNL_DENOMINATOR = 2 * 10**24  # weights carry 2e18, lots 1e6
OUTER = (0, 1, 2, 3, 4, 7, 10, 11, 12, 13, 14)

FLAG_PRICE_DEAD, FLAG_TABLE_EXPIRED, FLAG_ROW_MISSING, FLAG_JOINT_MISSING, FLAG_OFF_GRID = 1, 2, 4, 8, 16
NO_JOINT = 255


@dataclass(frozen=True, slots=True)
class ChainMarket:
    """Everything but the account that the rule reads, at one block.

    Parameters
    ----------
    timestamp : unix seconds of the block.
    prices, collateral_prices : by underlying / asset number.
    funding : cumulative funding index now by underlying, wad per unit, signed.
    global_word, underlying_words, collateral_words : parameter words (section 3).
    pages : living page by underlying; absent when there is none.
    joint : the joint scenarios, ``None`` when none were ever published.
    """

    timestamp: int
    prices: Mapping[int, PriceWord]
    collateral_prices: Mapping[int, PriceWord]
    funding: Mapping[int, int]
    global_word: int
    underlying_words: Mapping[int, int]
    collateral_words: Mapping[int, int]
    pages: Mapping[int, Page] = field(default_factory=dict)
    joint: JointSet | None = None


class Assessment(NamedTuple):
    """Result of ``assess``; all amounts wad. Field order is that of the contract's struct."""

    equity_mark: int
    equity_im: int
    equity_mm: int
    im: int
    mm: int
    market_risk: int
    charges: int
    worst_joint: int
    flags: int
    scans: tuple[int, ...]

    @property
    def im_health(self) -> int:
        """Equity less initial margin, wad."""
        return self.equity_im - self.im

    @property
    def mm_health(self) -> int:
        """Equity less maintenance margin, wad; below zero the account may be liquidated."""
        return self.equity_mm - self.mm


class UnderlyingResult(NamedTuple):
    """Section 4 for one underlying; ``grid[v][n]`` is G, wad."""

    underlying: int
    perp_pnl: int
    option_value: int
    grid: tuple[tuple[int, ...], ...]
    scan: int
    charge: int
    drift: int
    flags: int


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


class _Place(NamedTuple):
    """Nodes, their weights (sum 2e18), and how far beyond the grid's edge (1e-9 of a step, 0 inside)."""

    nodes: tuple[int, ...]
    weights: tuple[int, ...]
    beyond: int


def _interpolation(y: int) -> _Place:
    """Where ``num_v(y)`` of section 4 is read from."""
    if abs(y) > EDGE:
        s = (abs(y) - 12 * E9) // 3
        return _Place((13, 14) if y > 0 else (1, 0), (2 * E9 * (E9 - s), 2 * E9 * s), abs(y) - EDGE)
    if -3 * E9 <= y <= 3 * E9:
        c = _clamp((y + E9 // 2) // E9, -2, 2)
        t = y - c * E9
        nodes = (c + 6, c + 7, c + 8)
    else:
        m = _clamp((y + 3 * E9 // 2) // (3 * E9), -4, 4)
        t = (y - m * 3 * E9) // 3
        nodes = (OUTER[m + 4], OUTER[m + 5], OUTER[m + 6])
    return _Place(nodes, (t * (t - E9), 2 * (WAD - t * t), t * (t + E9)), 0)


def _value(values: Sequence[int], place: _Place, tail: int) -> int:
    return sum(w * values[n] for n, w in zip(place.nodes, place.weights, strict=True)) - 2 * E9 * tail * place.beyond


class _Options(NamedTuple):
    """Sums over the options of one underlying that have a row, and what those without one cost."""

    values: tuple[tuple[int, ...], ...]
    gross: int
    short: int
    delta: int
    tail: int
    missing_charge: int
    missing: bool


def _sum_options(options: Sequence[OptionPosition], page: Page | None, price: int) -> _Options:
    totals = [[0] * 15 for _ in range(3)]
    gross = short = delta = tail = missing_charge = 0
    missing = False
    for option in options:
        row = page.row(option.slot) if page is not None else None
        if row is None:
            missing = True
            if option.lots < 0:
                missing_charge += ceil_div(-option.lots * price, 10**6)
            continue
        gross += abs(option.lots)
        delta += abs(option.lots) * row.absolute_delta
        if option.lots < 0:
            short -= option.lots * row.short_minimum
            tail -= option.lots * row.tail
        for total, lanes in zip(totals, row.lanes, strict=True):
            for n in range(15):
                total[n] += option.lots * lanes[n]
    return _Options(tuple(map(tuple, totals)), gross, short, delta, tail, missing_charge, missing)


def _coordinate(x: int, factor: int, step_e9: int) -> int:
    """Grid coordinate of the price ``x * factor / 40000`` (relative to R), clamped, 1e-9 of a step."""
    return _clamp((x * factor // 40_000 - WAD) // step_e9, -Y_MAX, Y_MAX)


class _OptionGrid(NamedTuple):
    value: int
    pnl: tuple[tuple[int, ...], ...]
    y0: int


def _option_grid(options: _Options, page: Page, price: int, scan_bps: int) -> _OptionGrid:
    """``option_value``, ``opt(i, v)`` and ``y0``."""
    x = price * WAD // page.reference_price
    slack = ceil_div(options.gross * page.lane_unit * 5, 8 * 10**6)
    y0 = _coordinate(x, 40_000, page.step_e9)
    base = _value(options.values[1], _interpolation(y0), options.tail)
    points = [_interpolation(_coordinate(x, 40_000 + scan_bps * i, page.step_e9)) for i in range(-4, 5)]
    pnl = tuple(
        tuple(
            (_value(values, place, options.tail) - base) * page.lane_unit // PNL_DENOMINATOR - slack for place in points
        )
        for values in options.values
    )
    return _OptionGrid(base * page.lane_unit // PNL_DENOMINATOR - slack, pnl, y0)


def _charge(word: int, price: int, net_delta: int, gross_delta: int, options: _Options, unit: int) -> tuple[int, int]:
    """Charges of one underlying and its capped gross option notional."""
    notional = min(ceil_div(options.gross * price, 10**6), VALUE_CAP)
    depth = max(1, lane(word, 8)) * 10**22
    charge = ceil_div(net_delta * lane(word, 4) * (depth + net_delta), BPS * depth)
    charge += ceil_div(notional * lane(word, 5) * (depth + notional), BPS * depth)
    charge += ceil_div(options.short * unit, 10**6)
    charge += ceil_div(max(0, gross_delta - net_delta) // 2 * lane(word, 6), BPS)
    return charge + options.missing_charge, notional


def _underlying(state: AccountState, u: int, market: ChainMarket, linked_value: int) -> UnderlyingResult:
    """Section 4."""
    price = market.prices[u].price
    word = market.underlying_words[u]
    scan_bps = lane(word, 0)
    perp = state.perps.get(u)
    perp_pnl = delta_low = delta_high = 0
    if perp is not None:
        owed = perp.lots * (market.funding[u] - perp.funding_entry)
        perp_pnl = (perp.lots * price + perp.quote - owed) // 10**6
        delta_low, delta_high = perp.lots * price // 10**6, ceil_div(perp.lots * price, 10**6)
    delta_low, delta_high = delta_low + linked_value, delta_high + linked_value
    delta = [(delta_low if i >= 0 else delta_high) * scan_bps * i // 40_000 for i in range(-4, 5)]

    page = market.pages.get(u)
    options = _sum_options(state.options.get(u, ()), page, price)
    flags = FLAG_ROW_MISSING if options.missing else 0
    result = tuple(tuple(delta) for _ in range(3))
    option_value = y0 = unit = 0
    if page is not None and u in state.options:
        if page.expires_at < market.timestamp:
            flags |= FLAG_TABLE_EXPIRED
        unit = page.lane_unit
        option_value, pnl, y0 = _option_grid(options, page, price, scan_bps)
        result = tuple(tuple(d + o for d, o in zip(delta, row, strict=True)) for row in pnl)
        flags |= FLAG_OFF_GRID if abs(y0) > EDGE else 0

    net_delta = min(ceil_div(abs(result[1][5] - result[1][3]) * 20_000, scan_bps), VALUE_CAP)
    gross_delta = max(abs(delta_low), abs(delta_high)) + ceil_div(options.delta * unit, 10**6)
    charge, notional = _charge(word, price, net_delta, gross_delta, options, unit)
    drift = ceil_div(notional * lane(word, 7) * min(abs(y0), EDGE), 10**13)
    scan = max(0, -min(map(min, result)))
    return UnderlyingResult(u, perp_pnl, option_value, result, scan, charge, drift, flags)


def _joint_point(g: Sequence[Sequence[int]], price_byte: int, volatility_byte: int) -> int:
    """``z_u(j)`` of section 5: bilinear on the 27 points, times 127 squared."""
    k = (max(price_byte, -127) + 127) * 4
    cell = min(k // 127, 7)
    f = k - 127 * cell
    w = max(volatility_byte, -127)
    other = g[2] if w >= 0 else g[0]
    base = g[1][cell] * (127 - f) + g[1][cell + 1] * f
    return base * (127 - abs(w)) + (other[cell] * (127 - f) + other[cell + 1] * f) * abs(w)


def _joint_loss(results: Sequence[UnderlyingResult], joint: JointSet, j: int) -> int:
    total = sum(_joint_point(r.grid, *joint.bytes_of(j, r.underlying)) for r in results)
    return max(0, ceil_div(-total, JOINT_DENOMINATOR))


def _worst_joint(results: Sequence[UnderlyingResult], joint: JointSet) -> tuple[int, int]:
    """(greatest loss, its lowest index or 255)."""
    worst, index = 0, NO_JOINT
    for j in range(joint.count):
        loss = _joint_loss(results, joint, j)
        if loss > worst:
            worst, index = loss, j
    return worst, index


def _market_risk(results: Sequence[UnderlyingResult], market: ChainMarket) -> tuple[int, int, int]:
    """(market risk, worst joint scenario, flags)."""
    if len(results) < 2:
        return (results[0].scan if results else 0), NO_JOINT, 0
    scans = [r.scan for r in results]
    floor = max(ceil_div(lane(market.global_word, 3) * sum(scans), BPS), 2 * max(scans) - sum(scans))
    if market.joint is None:
        return max(sum(scans), floor), NO_JOINT, FLAG_JOINT_MISSING
    loss, index = _worst_joint(results, market.joint)
    expired = FLAG_TABLE_EXPIRED if market.joint.expires_at < market.timestamp else 0
    return max(loss, floor), index, expired


class _Parts(NamedTuple):
    state: AccountState
    collateral: dict[int, CollateralValue]
    results: list[UnderlyingResult]


def _parts(words: Sequence[int], market: ChainMarket) -> _Parts:
    state = parse_words(words)
    collateral = collateral_values(state, market.collateral_prices, market.collateral_words)
    linked: dict[int, int] = {}
    for item in collateral.values():
        if item.linked:
            linked[item.linked - 1] = linked.get(item.linked - 1, 0) + item.value
    active = sorted({*state.perps, *state.options, *linked})
    return _Parts(state, collateral, [_underlying(state, u, market, linked.get(u, 0)) for u in active])


def _has_dead_price(
    collateral: Mapping[int, CollateralValue], results: Sequence[UnderlyingResult], market: ChainMarket
) -> bool:
    return any(item.dead for item in collateral.values()) or any(
        market.prices[item.underlying].state == DEAD for item in results
    )


def assess_words(words: Sequence[int], market: ChainMarket) -> Assessment:
    """Assess an account from the words of ``MarginAccounts.state``.

    Raises
    ------
    risk.errors.BadInput
        when the words do not have the layout of section 2.
    KeyError
        when the market lacks an input that the account needs.
    """
    state, collateral, results = _parts(words, market)
    risk, worst, flags = _market_risk(results, market)
    for item in results:
        flags |= item.flags
    if _has_dead_price(collateral, results, market):
        flags |= FLAG_PRICE_DEAD
    charges = sum(item.charge for item in results)
    common = state.cash + sum(item.perp_pnl + item.option_value for item in results)
    word = market.global_word
    return Assessment(
        equity_mark=common + sum(item.value for item in collateral.values()),
        equity_im=common + sum(item.counted_im for item in collateral.values()),
        equity_mm=common + sum(item.counted_mm for item in collateral.values()),
        im=ceil_div(lane(word, 0) * risk, BPS)
        + ceil_div(lane(word, 2) * charges, BPS)
        + sum(item.drift for item in results),
        mm=ceil_div(lane(word, 1) * risk, BPS) + charges,
        market_risk=risk,
        charges=charges,
        worst_joint=worst,
        flags=flags,
        scans=tuple(item.scan for item in results),
    )


assess = assess_words


def assess_at(words: Sequence[int], market: ChainMarket, scenario: int) -> tuple[int, int]:
    """``(equity_mm, bound)`` of one scenario; ``equity_mm < bound`` proves the account liquidatable.

    Raises
    ------
    ValueError
        when the scenario is not one that the account may be judged by, or a price is dead (section 7).
    """
    state, collateral, results = _parts(words, market)
    if _has_dead_price(collateral, results, market):
        raise ValueError("a dead price proves nothing; wait for its feed")
    if scenario < 64:
        if len(results) < 2 or market.joint is None or scenario >= market.joint.count:
            raise ValueError(f"joint scenario {scenario} needs two active underlyings and an existing scenario")
        loss = _joint_loss(results, market.joint, scenario)
    else:
        v, n = divmod(scenario - 64, 9)
        if len(results) != 1 or v > 2:
            raise ValueError(f"scan point {scenario} needs exactly one active underlying and an id of 64..90")
        loss = max(0, -results[0].grid[v][n])
    equity = state.cash + sum(item.perp_pnl + item.option_value for item in results)
    equity += sum(item.counted_mm for item in collateral.values())
    charges = sum(item.charge for item in results)
    return equity, ceil_div(lane(market.global_word, 1) * loss, BPS) + charges


def grid(words: Sequence[int], market: ChainMarket, underlying: int) -> tuple[int, ...]:
    """The 27 numbers G of one underlying, index ``9 * v + n``; zeros when it is not active."""
    for item in _parts(words, market).results:
        if item.underlying == underlying:
            return tuple(value for row in item.grid for value in row)
    return (0,) * 27
