# SPDX-License-Identifier: Apache-2.0
"""One underlying of every account of a book, in floats: section 4 of docs/margin-rule.md."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.grid import GRID_EDGE, MOVES, SCAN_POINTS, joint_weights, live_grid
from risk.margin_collateral import USD_PER_DEPTH
from risk.margin_inputs import Book, FloatArray, Market, UnderlyingMarket
from risk.types import BPS, SECONDS_PER_DAY
from risk.units import fraction_from_bps

IntArray = NDArray[np.int64]

FLAG_PRICE_DEAD, FLAG_TABLE_EXPIRED, FLAG_ROW_MISSING, FLAG_JOINT_MISSING, FLAG_OFF_GRID = 1, 2, 4, 8, 16
_SLACK_LANES = 0.625
_NEAR, _FAR = 3.0, 6.0
_WIDEN_MAX = 3 * BPS
_NONE, _NO_GRID = np.zeros(0), np.zeros((0, SCAN_POINTS))
# A coordinate on the boundary is not beyond it for the last bits of a quotient.
_STEP_HAIR = 1e-10


class PageAge(NamedTuple):
    """How stale a page is: lateness by age and by distance in bps, and whether it is dead or long past its expiry.

    ``boundless``: long past its expiry, and its grid does not bound what options may be worth.
    """

    by_age: float = 0.0
    by_distance: float = 0.0
    dead: bool = False
    forgotten: bool = False
    boundless: bool = False

    @property
    def late_bps(self) -> float:
        """The greater of the two latenesses."""
        return max(self.by_age, self.by_distance)


class LiveUnderlying(NamedTuple):
    """What one underlying contributes for every account: row products, made once per call.

    ``signed`` and ``absolute`` multiply signed and absolute units; ``joint_rows`` (slots, scenarios) is the first 27
    columns of ``signed`` sent through the joint scenarios, ``joint_moves`` (scenarios,) their price moves as fractions.
    ``tail_pnl`` (27,), ``tail_now`` and ``joint_tails`` (scenarios,) are what a unit of tail of the shorts changes.
    ``worth`` and ``exposure`` (3,) are what a unit of each delta-one instrument adds to value and to dollar delta.
    """

    market: UnderlyingMarket
    scan: float
    signed: FloatArray
    absolute: FloatArray
    slack: float
    coordinate: float
    joint_rows: FloatArray
    joint_moves: FloatArray
    tail_pnl: FloatArray
    tail_now: float
    joint_tails: FloatArray
    worth: FloatArray
    exposure: FloatArray
    age: PageAge

    def widen_bps(self, optioned: NDArray[np.bool_]) -> FloatArray:
        """By how much initial margin is widened, bps: with the page's lateness where there are options."""
        plain = self.market.parameters.widen_bps + self.market.lateness_bps
        limit = float(_WIDEN_MAX)
        return np.where(optioned, min(plain + self.age.late_bps, limit), min(plain, limit))


class UnderlyingResult(NamedTuple):
    """Section 4 of the rule for a block of accounts: ``grid`` (A, 27), the rest (A,).

    A compiled run leaves ``grid`` and ``dollars`` empty: it has reduced them already.

    ``dollars`` is the USD value of delta-one positions and linked collateral, ``slack`` what packing may hide,
    ``short_tail`` the tails of the shorts. ``optioned`` are accounts with options, ``held`` those with any position,
    ``active`` also those with linked collateral.
    """

    delta_one_value: FloatArray
    option_value: FloatArray
    dollars: FloatArray
    slack: FloatArray
    short_tail: FloatArray
    grid: FloatArray
    scan: FloatArray
    charge: FloatArray
    drift: FloatArray
    widen_bps: FloatArray
    wide: FloatArray
    lost: FloatArray
    doubt: FloatArray
    optioned: NDArray[np.bool_]
    held: NDArray[np.bool_]
    active: NDArray[np.bool_]
    flags: IntArray


def live_underlyings(book: Book, market: Market) -> tuple[LiveUnderlying, ...]:
    """Slide every page to the live price: all the work that does not depend on the number of accounts."""
    return tuple(_live(k, options.shape[1], market) for k, options in enumerate(book.options))


def page_age(item: UnderlyingMarket, coordinate: float, now: int) -> PageAge:
    """Staleness of the page of an underlying that is read at a grid coordinate, in steps."""
    age, life = now - item.rows_observed_at, item.rows_expire_at - item.rows_observed_at
    distance = abs(coordinate)
    # Both are whole basis points, rounded up: one of them is far more than the other roundings of the rule.
    by_distance = np.ceil((distance - _NEAR - _STEP_HAIR) * BPS / _NEAR)
    forgotten = now > item.rows_expire_at + SECONDS_PER_DAY
    return PageAge(
        by_age=float(BPS if age >= life else max(0, -((life - 2 * age) * BPS // life))),
        by_distance=float(np.clip(by_distance, 0.0, BPS)),
        dead=now > item.rows_expire_at or distance > _FAR + _STEP_HAIR,
        forgotten=forgotten,
        boundless=forgotten and (distance > GRID_EDGE or item.rows_expire_at == 0),
    )


def _marks(item: UnderlyingMarket) -> tuple[FloatArray, FloatArray]:
    """``worth`` and ``exposure`` of a unit of the three delta-one instruments, USD."""
    settled = np.array([mark.settled for mark in item.marks])
    carry = np.array([mark.carry for mark in item.marks])
    open_price = item.price * np.array([1.0, 1.0 + carry[1], 1.0 + carry[2]])
    worth = np.where(settled != 0.0, settled, open_price) - carry * np.array([1.0, 0.0, 0.0])
    return worth, np.where(settled != 0.0, 0.0, open_price)


def _live(index: int, slots: int, market: Market) -> LiveUnderlying:
    item = market.underlyings[index]
    scan = fraction_from_bps(item.parameters.scan_bps)
    # Columns: 27 scan profits, value, short minimum, missing row, tail | present row, |delta| and the last three again.
    signed, absolute = np.zeros((slots, SCAN_POINTS + 4)), np.zeros((slots, 5))
    coordinate, slack, count, beyond, age = 0.0, 0.0, 0, np.zeros(10), PageAge()
    if item.rows is not None:
        grid = live_grid(item.rows, item.price, scan, item.coordinates_e9)
        coordinate, slack, count = grid.coordinate, item.rows.lane_unit * _SLACK_LANES, min(len(grid.value), slots)
        signed[:count, :SCAN_POINTS] = grid.pnl[:count]
        signed[:count, SCAN_POINTS] = grid.value[:count]
        absolute[:count, 0] = 1.0
        absolute[:count, 1] = item.rows.absolute_delta[:count]
        signed[:count, SCAN_POINTS + 1] = absolute[:count, 2] = item.rows.short_minimum[:count]
        signed[:count, SCAN_POINTS + 3] = absolute[:count, 4] = item.rows.tail[:count]
        beyond, age = grid.beyond, page_age(item, coordinate, market.now)
    signed[count:, SCAN_POINTS + 2] = absolute[count:, 3] = 1.0
    weights = np.zeros((SCAN_POINTS, 0)) if market.joint is None else joint_weights(market.joint, index)
    joint_rows, joint_moves = signed[:, :SCAN_POINTS] @ weights, scan * (np.tile(MOVES, 3) @ weights)
    tail_pnl = np.tile(beyond[0] - beyond[1:], 3)
    return LiveUnderlying(
        item, scan, signed, absolute, slack, coordinate, joint_rows, joint_moves,
        tail_pnl, -float(beyond[0]), tail_pnl @ weights, *_marks(item), age,
    )  # fmt: skip


class OptionSums(NamedTuple):
    """What the options of an underlying add up to, each (A,), before what shorts beyond the grid and packing cost."""

    gross: FloatArray
    delta: FloatArray
    short_minimum: FloatArray
    short_missing: FloatArray
    short_tail: FloatArray
    missing: FloatArray
    worth: FloatArray


class GridExtremes(NamedTuple):
    """All that the rule takes from the 27 points, each (A,): least, greatest, and up less down one quarter scan."""

    low: FloatArray
    high: FloatArray
    slope: FloatArray


def _sums(book: Book, index: int, live: LiveUnderlying) -> tuple[OptionSums, FloatArray]:
    """Sums, and the profits (A, 27) of the options at the scan points."""
    options = book.options[index]
    signed = options @ live.signed
    gross, delta, minimum, missing, tail = (abs(options) @ live.absolute).T
    # |q| and q together give the shorts: (|q| - q) / 2.
    short_minimum, short_missing, short_tail = (
        np.maximum(0.5 * (total - signed[:, SCAN_POINTS + 1 + k]), 0.0)
        for k, total in enumerate((minimum, missing, tail))
    )
    sums = OptionSums(gross, delta, short_minimum, short_missing, short_tail, missing, signed[:, SCAN_POINTS])
    return sums, signed[:, :SCAN_POINTS]


class DeltaOneSums(NamedTuple):
    """The delta-one instruments of an underlying, each (A,), USD: value without what they cost, and gross delta.

    ``gross`` takes linked collateral with the perpetual and each future by itself.
    """

    worth: FloatArray
    gross: FloatArray


def _delta_one(book: Book, index: int, live: LiveUnderlying, linked: FloatArray) -> tuple[DeltaOneSums, FloatArray]:
    """Sums, and the net dollar delta (A,) with linked collateral."""
    units = book.units[:, index]
    moving = units * live.exposure
    gross = np.abs(moving[:, 0] + linked) + np.abs(moving[:, 1:]).sum(axis=1)
    return DeltaOneSums(units @ live.worth, gross), moving.sum(axis=1) + linked


def _charges(options: OptionSums, gross: FloatArray, slope: FloatArray, live: LiveUnderlying) -> FloatArray:
    """Charges of one underlying; ``gross`` (A,) is the gross delta of all but options."""
    price, lanes = live.market.price, live.market.parameters
    net = np.abs(slope) * (2.0 / live.scan)
    notional = options.gross * price
    depth = max(1, lanes.depth) * USD_PER_DEPTH
    charge = fraction_from_bps(lanes.delta_charge_bps) * net * (1.0 + net / depth)
    charge += fraction_from_bps(lanes.option_charge_bps) * notional * (1.0 + notional / depth)
    charge += options.short_minimum + options.short_missing * price
    hedged = np.maximum(gross + options.delta - net, 0.0)
    return np.asarray(charge + fraction_from_bps(lanes.basis_charge_bps) * 0.5 * hedged)


def _doubt(
    loss: FloatArray, high: FloatArray, notional: FloatArray, optioned: NDArray[np.bool_], live: LiveUnderlying
) -> FloatArray:
    """By how much accounts might stand better than old data says; ``loss`` is scan and charge."""
    forgotten = optioned & live.age.forgotten
    if not live.market.dead and not live.age.forgotten:
        return np.zeros(loss.size)
    doubt = np.maximum(high, 0.0) + loss + np.where(optioned & live.age.boundless, notional, 0.0)
    return np.where(forgotten | live.market.dead, doubt, 0.0)


def underlying_result(book: Book, index: int, live: LiveUnderlying, linked: FloatArray) -> UnderlyingResult:
    """Section 4 of the rule for every account of a block.

    Parameters
    ----------
    book, index, live
        A block of A accounts, and one underlying of it as it stands.
    linked : (A,) float64
        USD of collateral linked to the underlying.
    """
    options, grid = _sums(book, index, live)
    delta_one, dollars = _delta_one(book, index, live, linked)
    slack = options.gross * live.slack
    grid += np.multiply.outer(dollars * live.scan, np.tile(MOVES, 3)) - slack[:, None]
    if live.tail_pnl.any():
        grid += np.multiply.outer(options.short_tail, live.tail_pnl)
    extremes = GridExtremes(grid.min(axis=1), grid.max(axis=1), grid[:, 14] - grid[:, 12])
    result = result_of_sums(book, index, live, linked, options, delta_one, extremes)
    return result._replace(grid=grid, dollars=dollars)


def result_of_sums(
    book: Book,
    index: int,
    live: LiveUnderlying,
    linked: FloatArray,
    options: OptionSums,
    delta_one: DeltaOneSums,
    extremes: GridExtremes,
) -> UnderlyingResult:
    """What the rule makes of the sums; ``grid`` and ``dollars`` are left empty.

    Parameters
    ----------
    book, index, live
        A block of A accounts, and one underlying of it as it stands.
    linked : (A,) float64
        USD of collateral linked to the underlying.
    options, delta_one, extremes
        Sums over positions, (A,) each, USD.
    """
    item = live.market
    slack, scan = options.gross * live.slack, np.maximum(-extremes.low, 0.0)
    charge = _charges(options, delta_one.gross, extremes.slope, live)
    notional, optioned = options.gross * item.price, np.diff(book.options[index].indptr) > 0
    held = optioned | (book.base[:, index] != 0.0)
    for k in range(3):
        held |= book.units[:, index, k] != 0.0
    active = held | (linked > 0.0)
    value = options.worth + options.short_tail * live.tail_now - slack
    drift = fraction_from_bps(item.parameters.drift_charge_bps) * min(abs(live.coordinate), GRID_EDGE)
    widen_bps = live.widen_bps(optioned)
    return UnderlyingResult(
        delta_one_value=delta_one.worth + book.base[:, index],
        option_value=value,
        dollars=_NONE,
        slack=slack,
        short_tail=options.short_tail,
        grid=_NO_GRID,
        scan=scan,
        charge=charge,
        drift=notional * drift,
        widen_bps=widen_bps,
        wide=(scan + charge) * widen_bps / BPS,
        lost=np.maximum(value, 0.0) if live.age.dead else np.zeros(value.size),
        doubt=_doubt(scan + charge, extremes.high, notional, optioned, live),
        optioned=optioned,
        held=held,
        active=active,
        flags=_flags(options.missing > 0.0, optioned, active, live),
    )


def _flags(
    missing: NDArray[np.bool_], optioned: NDArray[np.bool_], active: NDArray[np.bool_], live: LiveUnderlying
) -> IntArray:
    flags = missing.astype(np.int64) * FLAG_ROW_MISSING
    for raised, concerned, flag in (
        (live.age.dead, optioned, FLAG_TABLE_EXPIRED),
        (abs(live.coordinate) > GRID_EDGE, optioned, FLAG_OFF_GRID),
        (live.market.dead, active, FLAG_PRICE_DEAD),
    ):
        if raised:
            flags |= np.where(concerned, flag, 0)
    return flags
