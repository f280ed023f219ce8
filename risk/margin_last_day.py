# SPDX-License-Identifier: Apache-2.0
"""Contracts in their last day, in floats: accounts that hold one are judged again with fewer lots of it.

Only those accounts: all others leave the block as they came (docs/margin-rule.md, section 4, "The last day").
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from risk.grid import joint_weights
from risk.margin_inputs import Book, FloatArray, Market, UnderlyingMarket
from risk.margin_underlying import LiveUnderlying, UnderlyingResult, underlying_result
from risk.types import BPS, SECONDS_PER_DAY, GlobalParameters, JointScenarios

IntArray = NDArray[np.int64]

_HOUR_S = 3_600
_LOTS_PER_UNIT = 1e6
_BASE, _MIDDLE = 1, 7
# A quarter of a quarter of the scan range: the most that a unit of curvature hides between two scan points.
_HIDDEN = 1.0 / 16.0


class Left(NamedTuple):
    """Seconds left of the last day, of options (slots,) and delta-one instruments (3,); a whole day before it."""

    options: IntArray
    delta_one: IntArray


def seconds_left(item: UnderlyingMarket, slots: int, now: int) -> Left:
    """What is left of the last day of every contract of an underlying, of which ``slots`` may be options.

    Examples
    --------
    >>> from risk.margin_inputs import Mark
    >>> from risk.types import UnderlyingParameters
    >>> marks = (Mark(), Mark(expiry=100_000), Mark(100.0, expiry=100_000))
    >>> item = UnderlyingMarket("ETH", 100.0, UnderlyingParameters(2000, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), marks=marks)
    >>> seconds_left(item, 0, 90_000).delta_one.tolist()
    [86400, 10000, 86400]
    """
    options = np.full(slots, SECONDS_PER_DAY, dtype=np.int64)
    if item.rows is not None and item.rows.hour is not None:
        hour = item.rows.hour[:slots]
        expiry = (item.rows_observed_at // _HOUR_S + hour - 1) * _HOUR_S
        options[: hour.size] = np.where(hour > 0, np.clip(expiry - now, 0, SECONDS_PER_DAY), SECONDS_PER_DAY)
    ends = np.array(
        [mark.expiry if mark.settled == 0.0 and mark.expiry else now + SECONDS_PER_DAY for mark in item.marks]
    )
    return Left(options, np.clip(ends - now, 0, SECONDS_PER_DAY))


def kept_book(book: Book, index: int, left: Left) -> Book:
    """The book with what counts of the contracts of one underlying that end at each account's next expiry.

    In whole lots (1e-6 units). What ends after the next expiry counts in full until then.
    """
    return _counted(book, index, left, _next_expiry(book, index, left))


def _later_book(book: Book, index: int, left: Left) -> Book:
    """The book without one underlying's contracts in their last day."""
    none = Left(*(np.where(part < SECONDS_PER_DAY, 0, part) for part in left))
    return _counted(book, index, none, np.zeros(len(book), dtype=np.int64))


def _next_expiry(book: Book, index: int, left: Left) -> IntArray:
    """Seconds (n,) to the next expiry of what each account has of an underlying; a day where none is within it."""
    matrix, ahead = book.options[index], Left(*(np.where(part > 0, part, SECONDS_PER_DAY) for part in left))
    entries = np.append(ahead.options[matrix.indices], SECONDS_PER_DAY)
    found = np.minimum.reduceat(entries, matrix.indptr[:-1])
    found[np.diff(matrix.indptr) == 0] = SECONDS_PER_DAY
    held = np.where(book.units[:, index] != 0.0, ahead.delta_one, SECONDS_PER_DAY)
    return np.asarray(np.minimum(found, held.min(axis=1)))


def _counted(book: Book, index: int, left: Left, next_s: IntArray) -> Book:
    matrix, units = book.options[index], book.units.copy()
    units[:, index] = _lots(units[:, index], left.delta_one, next_s[:, None])
    options = list(book.options)
    each = np.repeat(next_s, np.diff(matrix.indptr))
    options[index] = _like(matrix, _lots(matrix.data, left.options[matrix.indices], each))
    return replace(book, units=units, options=tuple(options))


def _lots(units: FloatArray, left: IntArray, next_s: IntArray) -> FloatArray:
    lots = np.floor(np.rint(np.abs(units) * _LOTS_PER_UNIT) * left / SECONDS_PER_DAY)
    less = (left < SECONDS_PER_DAY) & (left <= next_s)
    return np.where(less, np.copysign(lots / _LOTS_PER_UNIT, units), units)


def _like(matrix: sparse.csr_array, data: FloatArray) -> sparse.csr_array:
    """A matrix of the same pattern."""
    return sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)  # type: ignore[no-untyped-call]


class LastDayResult(NamedTuple):
    """One underlying of n accounts: ``full`` as without the rule, ``kept`` with the lots that count, and what follows.

    ``grid`` (n, 27), the rest (n,), are what section 4 ends with; ``ahead_scan`` and ``ahead_charge`` are what
    initial margin takes on ahead of the expiries of the day; ``valley`` what longs may hide between two scan points.
    """

    full: UnderlyingResult
    kept: UnderlyingResult
    grid: FloatArray
    scan: FloatArray
    charge: FloatArray
    wide: FloatArray
    doubt: FloatArray
    valley: FloatArray
    ahead_scan: FloatArray
    ahead_charge: FloatArray


def last_day_result(book: Book, index: int, live: LiveUnderlying, linked: FloatArray, left: Left) -> LastDayResult:
    """One underlying of a block of n accounts, judged in full, with the lots that count, and without what ends.

    Parameters
    ----------
    book, index, live
        A block of accounts, and one underlying of it as it stands.
    linked : (n,) float64
        USD of collateral linked to the underlying.
    left
        Of the underlying.

    References
    ----------
    docs/margin-rule.md, section 4, "The last day".
    """
    full = underlying_result(book, index, live, linked)
    some, none = kept_book(book, index, left), _later_book(book, index, left)
    kept, later = (underlying_result(other, index, live, linked) for other in (some, none))
    valley = _valley(full, kept, live, _gone(book, some, index))
    charge = np.maximum(full.charge + valley, kept.charge)
    charge_later = np.maximum(full.charge + _valley(full, later, live, _gone(book, none, index)), later.charge)
    scan = np.maximum(full.scan, kept.scan)
    asked = full.doubt + (scan - full.scan) + (charge - full.charge)
    return LastDayResult(
        full=full,
        kept=kept,
        grid=np.minimum(full.grid, kept.grid),
        scan=scan,
        charge=charge,
        wide=np.maximum(full.drift + full.wide, kept.drift + kept.wide) - full.drift,
        doubt=np.where((full.doubt != 0.0) | (kept.doubt != 0.0), asked, 0.0),
        valley=valley,
        ahead_scan=np.maximum(later.scan - scan, 0.0),
        ahead_charge=np.maximum(charge_later - charge, 0.0),
    )


def _gone(book: Book, other: Book, index: int) -> sparse.csr_array:
    """Signed units of options that the other book lacks."""
    matrix = book.options[index]
    return _like(matrix, matrix.data - other.options[index].data)


def _valley(
    full: UnderlyingResult, other: UnderlyingResult, live: LiveUnderlying, gone: sparse.csr_array
) -> FloatArray:
    """What the longs that ``other`` lacks may hide between two scan points, at most what is left of their value."""
    rows, short_value = live.market.rows, np.zeros(gone.shape[1])
    if rows is not None:
        count = min(gone.shape[1], len(rows.values))
        short_value[:count] = rows.values[:count, _BASE, _MIDDLE]
    hidden = np.maximum(np.asarray(gone @ np.ones(gone.shape[1])), 0.0) * (live.market.price * live.scan * _HIDDEN)
    value = full.option_value - other.option_value + _like(gone, np.maximum(-gone.data, 0.0)) @ short_value
    lost = np.maximum((other.grid - full.grid).max(axis=1), 0.0)
    return np.asarray(np.minimum(hidden, np.maximum(value - lost, 0.0)))


class Ending(NamedTuple):
    """The m accounts with contracts of one underlying in their last day: numbers (m,) in the block, and results."""

    accounts: IntArray
    result: LastDayResult


class LastDay(NamedTuple):
    """The n accounts of a block that hold something in its last day.

    ``accounts`` (n,) are their numbers in the block; ``parts`` by underlying that has such contracts; ``grids`` (n, 27)
    of every underlying.
    """

    accounts: IntArray
    parts: dict[int, Ending]
    grids: tuple[FloatArray, ...]

    def enter(self, results: list[UnderlyingResult]) -> None:
        """Write what these accounts are judged by into the results of the block."""
        for index, (accounts, part) in self.parts.items():
            result = results[index]
            for name in ("scan", "charge", "wide", "doubt"):
                getattr(result, name)[accounts] = getattr(part, name)
            if len(result.grid):
                result.grid[accounts] = part.grid

    def enter_joint(self, lowest: FloatArray, worst: IntArray, joint: JointScenarios) -> None:
        """Write their least joint profit and its scenario among those of the block."""
        profit = np.sum([grid @ joint_weights(joint, k) for k, grid in enumerate(self.grids)], axis=0)
        worst[self.accounts] = profit.argmin(axis=1)
        lowest[self.accounts] = profit.min(axis=1)

    def enter_ahead(self, added: FloatArray, scales: GlobalParameters) -> None:
        """Add what initial margin takes on ahead of the expiries of the day to that of the block."""
        for accounts, part in self.parts.values():
            ahead = scales.im_scale_bps * part.ahead_scan + scales.im_charge_scale_bps * part.ahead_charge
            added[accounts] += ahead / BPS


def last_day(book: Book, live: tuple[LiveUnderlying, ...], linked: list[FloatArray], market: Market) -> LastDay | None:
    """Judge the accounts of a block that hold something in its last day; None where none does.

    Parameters
    ----------
    book, live
        A block of A accounts and its underlyings as they stand.
    linked : list of (A,) float64
        USD of collateral linked to each underlying.
    market
        Of which the marks, the pages and the time are read.
    """
    slots = [matrix.shape[1] for matrix in book.options]
    lefts = [seconds_left(item.market, count, market.now) for item, count in zip(live, slots, strict=True)]
    ending = [_ending(book, k, left) for k, left in enumerate(lefts)]
    accounts = np.flatnonzero(np.logical_or.reduce(ending))
    if not accounts.size:
        return None
    some, parts, grids = book.take(accounts), {}, []
    for k, item in enumerate(live):
        grid, mine = underlying_result(some, k, item, linked[k][accounts]).grid, ending[k][accounts]
        if mine.any():
            numbers = accounts[mine]
            result = last_day_result(book.take(numbers), k, item, linked[k][numbers], lefts[k])
            parts[k], grid[mine] = Ending(numbers, result), result.grid
        grids.append(grid)
    return LastDay(accounts, parts, tuple(grids))


def _ending(book: Book, index: int, left: Left) -> NDArray[np.bool_]:
    """Which accounts (A,) hold something in its last day."""
    out = np.zeros(len(book), dtype=bool)
    for k in np.flatnonzero(left.delta_one < SECONDS_PER_DAY):
        out |= book.units[:, index, k] != 0.0
    matrix, ends = book.options[index], left.options < SECONDS_PER_DAY
    if ends.any():
        before = np.concatenate([[0], np.cumsum(ends[matrix.indices])])
        out |= before[matrix.indptr[1:]] > before[matrix.indptr[:-1]]
    return out
