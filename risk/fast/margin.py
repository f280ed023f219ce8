# SPDX-License-Identifier: Apache-2.0
"""Position sums of a block of accounts: what sparse products do in risk/margin_underlying.py, account by account.

A row of ``table`` is everything a unit of one option adds up to: 27 scan profits, its value, its profit in each joint
scenario. One account's sums stay in registers and first-level cache, and only their extremes are written out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.fast import compiled

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SCAN, VALUE, JOINT = 27, 27, 28
# Rows of the result, one an underlying and account.
GROSS, DELTA, SHORT_MINIMUM, SHORT_MISSING, SHORT_TAIL, MISSING, WORTH = range(7)
LOW, HIGH, SLOPE, ONE_WORTH, ONE_GROSS, ROWS = range(7, 13)


class Tables(NamedTuple):
    """All the kernel needs but accounts; U underlyings, S rows of options one underlying after the other, W columns.

    ``table`` (S, W) is what a unit of each option adds to 27 scan profits, value and joint profits; ``side`` (S, 5)
    present, |delta|, short minimum, missing, tail. ``moves`` and ``tails`` (U, W): what a dollar of delta-one and a
    unit of short tail add. ``slack`` (U,) a unit of gross; ``exposure`` and ``worth`` (U, 3) as of
    :class:`risk.margin_underlying.LiveUnderlying`; ``offsets`` (U,) the first row of each.
    """

    table: FloatArray
    side: FloatArray
    moves: FloatArray
    tails: FloatArray
    slack: FloatArray
    exposure: FloatArray
    worth: FloatArray
    offsets: IntArray


@compiled()
def merge_rows(
    starts: IntArray,
    column: int,
    columns: int,
    offset: int,
    indptr: IntArray,
    indices: IntArray,
    data: FloatArray,
    merged: IntArray,
    options: FloatArray,
) -> None:
    """Positions of one underlying into the block's list, which runs by account and then by underlying.

    ``starts`` (A * columns + 1,) says where each account and underlying begins; ``offset`` is the first row of the
    underlying in the table.
    """
    for account in range(indptr.size - 1):
        place = starts[account * columns + column]
        for k in range(indptr[account], indptr[account + 1]):
            merged[place] = indices[k] + offset
            options[place] = data[k]
            place += 1


@compiled(inline=True)
def _extremes(total: FloatArray) -> tuple[float, float]:
    """Least and greatest of the 27 scan profits, the three volatility states side by side."""
    low_down, low_base, low_up = total[0], total[9], total[18]
    high_down, high_base, high_up = total[0], total[9], total[18]
    for i in range(1, 9):
        low_down, low_base, low_up = min(low_down, total[i]), min(low_base, total[9 + i]), min(low_up, total[18 + i])
        high_down, high_base = max(high_down, total[i]), max(high_base, total[9 + i])
        high_up = max(high_up, total[18 + i])
    return min(low_down, low_base, low_up), max(high_down, high_base, high_up)


@compiled(inline=True)
def _least(values: FloatArray) -> float:
    """Least of at least one entry, by four running minima that do not wait for each other."""
    a: float = values[0]
    b = c = d = a
    whole = values.size // 4 * 4
    for i in range(0, whole, 4):
        a, b, c, d = min(a, values[i]), min(b, values[i + 1]), min(c, values[i + 2]), min(d, values[i + 3])
    for i in range(whole, values.size):
        a = min(a, values[i])
    return min(a, b, c, d)


@compiled(inline=True)
def _positions(
    total: FloatArray,
    sums: FloatArray,
    table: FloatArray,
    side: FloatArray,
    rows: IntArray,
    options: FloatArray,
    first: int,
    last: int,
) -> None:
    """Add the positions ``first``..``last`` of one account to its totals (W,) and sums (6,)."""
    for p in range(first, last):
        row, q = rows[p], options[p]
        short, size = max(-q, 0.0), abs(q)
        sums[GROSS] += size * side[row, 0]
        sums[DELTA] += size * side[row, 1]
        sums[SHORT_MINIMUM] += short * side[row, 2]
        sums[SHORT_MISSING] += short * side[row, 3]
        sums[SHORT_TAIL] += short * side[row, 4]
        sums[MISSING] += size * side[row, 3]
        for j in range(total.size):
            total[j] += q * table[row, j]


@compiled(inline=True)
def _delta_one(units: FloatArray, linked: float, exposure: FloatArray, worth: FloatArray) -> tuple[float, float, float]:
    """Value, dollar delta and gross dollar delta of the three delta-one instruments (3,) of one account."""
    value, net, gross = 0.0, linked, 0.0
    for i in range(3):
        moving = units[i] * exposure[i]
        value += units[i] * worth[i]
        net += moving
        gross += abs(moving + linked) if i == 0 else abs(moving)
    return value, net, gross


@compiled()
def account_sums(
    tables: Tables,
    starts: IntArray,
    rows: IntArray,
    options: FloatArray,
    units: FloatArray,
    linked: FloatArray,
    out: FloatArray,
    worst: FloatArray,
    index: IntArray,
) -> None:
    """Sums and scan extremes of every account, and its worst joint scenario.

    Parameters
    ----------
    tables
    starts, rows, options
        Positions as :func:`merge_rows` lists them.
    units : (A, U, 3)
        Of the delta-one instruments.
    linked : (U, A)
        Value of linked collateral, USD.
    out : (ROWS, U, A)
    worst, index : (A,)
        Least joint profit, and the lowest scenario that has it; untouched without scenarios.
    """
    accounts, columns = units.shape[0], units.shape[1]
    width = tables.table.shape[1]
    total, sums, joint = np.empty(width), np.empty(MISSING + 1), np.empty(width - JOINT)
    for a in range(accounts):
        joint[:] = 0.0
        taken = 0.0
        for u in range(columns):
            total[:] = 0.0
            sums[:] = 0.0
            first, last = starts[a * columns + u], starts[a * columns + u + 1]
            _positions(total, sums, tables.table, tables.side, rows, options, first, last)
            worth, dollars, gross = _delta_one(units[a, u], linked[u, a], tables.exposure[u], tables.worth[u])
            for j in range(width):
                total[j] += dollars * tables.moves[u, j] + sums[SHORT_TAIL] * tables.tails[u, j]
            for j in range(joint.size):
                joint[j] += total[JOINT + j]
            low, high = _extremes(total)
            less = sums[GROSS] * tables.slack[u]
            taken += less
            for k in range(MISSING + 1):
                out[k, u, a] = sums[k]
            out[WORTH, u, a] = total[VALUE]
            out[LOW, u, a], out[HIGH, u, a], out[SLOPE, u, a] = low - less, high - less, total[14] - total[12]
            out[ONE_WORTH, u, a], out[ONE_GROSS, u, a] = worth, gross
        if joint.size:
            least, found = _least(joint), 0
            while joint[found] > least:
                found += 1
            worst[a], index[a] = least - taken, found
