# SPDX-License-Identifier: Apache-2.0
"""Tail sums of the profits of many accounts, without ever holding the matrix of accounts and scenarios.

Scenarios come in blocks short enough for a block of every instrument to stay in second-level cache. Of each account
only profits that may still be among its worst are kept; a full buffer is cut back to the worst so far, which lowers
the bar for what follows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from risk.fast import compiled

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BLOCK = 256


@compiled()
def _profits(
    total: FloatArray, pnl: FloatArray, rows: IntArray, units: FloatArray, first: int, last: int, start: int
) -> None:
    """Profits of the positions ``first``..``last`` in the scenarios from ``start``, as many as ``total`` holds."""
    total[:] = 0.0
    p = first
    while p + 4 <= last:
        a, b, c, d = rows[p], rows[p + 1], rows[p + 2], rows[p + 3]
        qa, qb, qc, qd = units[p], units[p + 1], units[p + 2], units[p + 3]
        for j in range(total.size):
            k = np.uintp(start) + np.uintp(j)
            total[j] = (((total[j] + qa * pnl[a, k]) + qb * pnl[b, k]) + qc * pnl[c, k]) + qd * pnl[d, k]
        p += 4
    while p < last:
        a, qa = rows[p], units[p]
        for j in range(total.size):
            total[j] += qa * pnl[a, np.uintp(start) + np.uintp(j)]
        p += 1


@compiled()
def _keep_least(values: FloatArray, count: int, keep: int) -> float:
    """Bring the ``keep`` least of the first ``count`` values to the front; the greatest of them goes last, is returned.

    Hoare (1961), algorithm 65, *Find*.
    """
    left, right, k = 0, count - 1, keep - 1
    pivot: float
    while left < right:
        pivot, i, j = values[(left + right) // 2], left, right
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            right = j
        elif k >= i:
            left = i
        else:
            break
    pivot = values[k]
    return pivot


@compiled()
def _below(hits: FloatArray, total: FloatArray, limit: float) -> int:
    """Number of entries below the limit, which come first in ``hits``; no branch that the processor must guess."""
    count = 0
    for j in range(total.size):
        hits[count] = total[j]
        count += 1 if total[j] < limit else 0
    return count


@compiled()
def _first_limit(
    sample: FloatArray, rank: int, rows: IntArray, units: FloatArray, first: int, last: int, total: FloatArray
) -> float:
    """The ``rank``-th least profit of a sample of scenarios: very likely above the worst that are wanted."""
    _profits(total, sample, rows, units, first, last, 0)
    return _keep_least(total, total.size, rank)


@compiled()
def tail_sums(
    indptr: IntArray,
    rows: IntArray,
    units: FloatArray,
    pnl: FloatArray,
    worst: int,
    last_share: float,
    sample: FloatArray,
    rank: int,
    out: FloatArray,
) -> None:
    """Sum of the ``worst`` least profits of each account into ``out`` (A,), the greatest of them by ``last_share``.

    ``indptr``, ``rows``, ``units`` are the accounts' positions in compressed rows, ``pnl`` (instruments, scenarios)
    the profit of a unit. Where ``rank`` is not 0, only profits below the ``rank``-th least of ``sample``, some columns
    of ``pnl``, are looked at; an account that has too few of them gets NaN, as does one whose profits overflow.
    """
    accounts, scenarios = indptr.size - 1, pnl.shape[1]
    room = 4 * worst + BLOCK
    kept, count = np.empty((accounts, room)), np.zeros(accounts, dtype=np.int64)
    bar, block, hits = np.full(accounts, np.inf), np.empty(BLOCK), np.empty(BLOCK + 1)
    if rank > 0:
        drawn = np.empty(sample.shape[1])
        for a in range(accounts):
            bar[a] = _first_limit(sample, rank, rows, units, indptr[a], indptr[a + 1], drawn)
    for start in range(0, scenarios, BLOCK):
        total = block[: min(BLOCK, scenarios - start)]
        for a in range(accounts):
            _profits(total, pnl, rows, units, indptr[a], indptr[a + 1], start)
            found = _below(hits, total, bar[a])
            if count[a] + found > room:
                bar[a], count[a] = _keep_least(kept[a], count[a], worst), worst
            for j in range(found):
                kept[a, count[a] + j] = hits[j]
            count[a] += found
    for a in range(accounts):
        out[a] = np.nan
        if count[a] >= worst:
            out[a] = last_share * _keep_least(kept[a], count[a], worst)
            for j in range(worst - 1):
                out[a] += kept[a, j]
