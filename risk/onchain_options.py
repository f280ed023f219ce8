# SPDX-License-Identifier: Apache-2.0
"""Options of one underlying on the sliding grid, in integers: section 4 of docs/margin-rule.md."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from risk.onchain_collateral import ceil_div
from risk.onchain_words import OptionPosition, Page

WAD = 10**18
E9 = 10**9
EDGE = 15 * E9
LAST_DAY_S = 86_400
Y_MAX = 1_500 * E9
PNL_DENOMINATOR = 2 * 10**24  # weights carry 2e18, lots 1e6
OUTER = (0, 1, 2, 3, 4, 7, 10, 11, 12, 13, 14)


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


class Place(NamedTuple):
    """Nodes, their weights (sum 2e18), and how far beyond the grid's edge (1e-9 of a step, 0 inside)."""

    nodes: tuple[int, ...]
    weights: tuple[int, ...]
    beyond: int


def interpolation(y: int) -> Place:
    """Where ``num_v(y)`` of section 4 is read from."""
    if abs(y) > EDGE:
        s = (abs(y) - 12 * E9) // 3
        return Place((13, 14) if y > 0 else (1, 0), (2 * E9 * (E9 - s), 2 * E9 * s), abs(y) - EDGE)
    if -3 * E9 <= y <= 3 * E9:
        c = _clamp((y + E9 // 2) // E9, -2, 2)
        t = y - c * E9
        nodes = (c + 6, c + 7, c + 8)
    else:
        m = _clamp((y + 3 * E9 // 2) // (3 * E9), -4, 4)
        t = (y - m * 3 * E9) // 3
        nodes = (OUTER[m + 4], OUTER[m + 5], OUTER[m + 6])
    return Place(nodes, (t * (t - E9), 2 * (WAD - t * t), t * (t + E9)), 0)


def _value(values: Sequence[int], place: Place, tail: int) -> int:
    return sum(w * values[n] for n, w in zip(place.nodes, place.weights, strict=True)) - 2 * E9 * tail * place.beyond


class OptionSums(NamedTuple):
    """Sums over the options of one underlying that have a row, and what those without one cost.

    ``gone_long``, ``gone_short`` (lots) and ``gone_value`` (``short_gone``): what was left out of the sums.
    """

    values: tuple[tuple[int, ...], ...]
    gross: int
    short: int
    delta: int
    tail: int
    missing_charge: int
    missing: bool
    gone_long: int = 0
    gone_short: int = 0
    gone_value: int = 0


def left_s(expiry: int | None, now: int) -> int:
    """Seconds left of the last day before an expiry, 0..86,400; a whole day without one."""
    return LAST_DAY_S if expiry is None else _clamp(expiry - now, 0, LAST_DAY_S)


class Lots(Enum):
    """Which lots of a contract in its last day count: all (section 4), none, or the part left of what ends next."""

    ALL = 0
    LATER = 1
    KEPT = 2

    def of(self, lots: int, left: int, next_s: int) -> int:
        """Signed lots that count with ``left`` seconds to go, and ``next_s`` to the account's next expiry."""
        if left == LAST_DAY_S or self is Lots.ALL or (self is Lots.KEPT and left > next_s):
            return lots
        kept = abs(lots) * left // LAST_DAY_S if self is Lots.KEPT else 0
        return kept if lots > 0 else -kept


def lefts_of(options: Sequence[OptionPosition], page: Page | None, now: int) -> list[int]:
    """Time left of each option's last day, s; a whole day where its row does not say."""
    rows = [page.row(option.slot) if page is not None else None for option in options]
    return [left_s(page.expiry(row) if page is not None and row is not None else None, now) for row in rows]


def sum_options(
    options: Sequence[OptionPosition],
    page: Page | None,
    price: int,
    now: int = 0,
    which: Lots = Lots.ALL,
    next_s: int = LAST_DAY_S,
) -> OptionSums:
    """``V``, ``gross``, ``short_acc``, ``abs_acc``, ``tail_acc``, and the charges of missing rows."""
    totals = [[0] * 15 for _ in range(3)]
    gross = short = delta = tail = missing_charge = 0
    missing = False
    gone_long = gone_short = gone_value = 0
    for option, left in zip(options, lefts_of(options, page, now), strict=True):
        row = page.row(option.slot) if page is not None else None
        if row is None:
            missing = True
            if option.lots < 0:
                missing_charge += ceil_div(-option.lots * price, 10**6)
            continue
        held = which.of(option.lots, left, next_s)
        if option.lots < 0:
            gone_short += held - option.lots
            gone_value += (held - option.lots) * row.lanes[1][7]
        else:
            gone_long += option.lots - held
        gross += abs(held)
        delta += abs(held) * row.absolute_delta
        if held < 0:
            short -= held * row.short_minimum
            tail -= held * row.tail
        for total, lanes in zip(totals, row.lanes, strict=True):
            for n in range(15):
                total[n] += held * lanes[n]
    return OptionSums(
        tuple(map(tuple, totals)), gross, short, delta, tail, missing_charge, missing,
        gone_long, gone_short, gone_value,
    )  # fmt: skip


def grid_coordinates_e9(page: Page, price: int, scan_bps: int) -> tuple[int, ...]:
    """``y0`` and ``y(i)``, i = -4..4, of section 4, 1e-9 of a step."""
    x = price * WAD // page.reference_price
    factors = (40_000, *(40_000 + scan_bps * i for i in range(-4, 5)))
    return tuple(_coordinate(x, factor, page.step_e9) for factor in factors)


def _coordinate(x: int, factor: int, step_e9: int) -> int:
    """Grid coordinate of the price ``x * factor / 40000`` (relative to R), clamped, 1e-9 of a step."""
    return _clamp((x * factor // 40_000 - WAD) // step_e9, -Y_MAX, Y_MAX)


class _Numerators(NamedTuple):
    """``num_base(y0)``, ``num_v(y(i))`` by volatility state and move, and ``y0``."""

    base: int
    points: tuple[tuple[int, ...], ...]
    y0: int


def _numerators(sums: OptionSums, page: Page, price: int, scan_bps: int) -> _Numerators:
    y0, *moved = grid_coordinates_e9(page, price, scan_bps)
    places = [interpolation(y) for y in moved]
    points = tuple(tuple(_value(values, place, sums.tail) for place in places) for values in sums.values)
    return _Numerators(_value(sums.values[1], interpolation(y0), sums.tail), points, y0)


class OptionGrid(NamedTuple):
    """``option_value``, ``opt(i, v)`` as ``pnl[v][n]``, wad, and ``y0``."""

    value: int
    pnl: tuple[tuple[int, ...], ...]
    y0: int


def option_grid(sums: OptionSums, page: Page, price: int, scan_bps: int) -> OptionGrid:
    """Slide the grid to a price and evaluate the 27 points."""
    found = _numerators(sums, page, price, scan_bps)
    slack = ceil_div(sums.gross * page.lane_unit * 5, 8 * 10**6)
    pnl = tuple(
        tuple((point - found.base) * page.lane_unit // PNL_DENOMINATOR - slack for point in row) for row in found.points
    )
    return OptionGrid(found.base * page.lane_unit // PNL_DENOMINATOR - slack, pnl, found.y0)


def unit_values(slot: int, page: Page, price: int, scan_bps: int) -> tuple[int, list[int]] | None:
    """What one whole unit, long, is worth now and at the 27 points, wad; ``None`` when the page has no row for it."""
    sums = sum_options((OptionPosition(slot, 10**6),), page, price)
    if sums.missing:
        return None
    found = _numerators(sums, page, price, scan_bps)
    points = [point * page.lane_unit // PNL_DENOMINATOR for row in found.points for point in row]
    return found.base * page.lane_unit // PNL_DENOMINATOR, points
