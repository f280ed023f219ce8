# SPDX-License-Identifier: Apache-2.0
"""The sums of the float margin by the compiled kernel; the rule itself stays in risk/margin_underlying.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from risk.fast import margin as kernel
from risk.grid import MOVES, SCAN_POINTS
from risk.margin_inputs import Book, FloatArray
from risk.margin_underlying import (
    DeltaOneSums,
    GridExtremes,
    LiveUnderlying,
    OptionSums,
    UnderlyingResult,
    result_of_sums,
)

IntArray = NDArray[np.int64]


def pack_rows(live: tuple[LiveUnderlying, ...]) -> kernel.Tables:
    """Tables of the kernel: all that does not depend on the accounts."""
    zero, counts = np.zeros(1), [len(item.signed) for item in live]
    return kernel.Tables(
        table=np.concatenate([np.hstack([item.signed[:, : SCAN_POINTS + 1], item.joint_rows]) for item in live]),
        side=np.concatenate([item.absolute for item in live]),
        moves=np.stack([np.concatenate([item.scan * np.tile(MOVES, 3), zero, item.joint_moves]) for item in live]),
        tails=np.stack([np.concatenate([item.tail_pnl, zero, item.joint_tails]) for item in live]),
        slack=np.array([item.slack for item in live]),
        exposure=np.stack([item.exposure for item in live]),
        worth=np.stack([item.worth for item in live]),
        offsets=np.cumsum([0, *counts[:-1]]),
    )


def compiled_results(
    book: Book, live: tuple[LiveUnderlying, ...], linked: list[FloatArray], packed: kernel.Tables
) -> tuple[list[UnderlyingResult], tuple[FloatArray, IntArray]]:
    """Section 4 for a block of accounts, and each account's least joint profit with the lowest scenario that has it.

    Parameters
    ----------
    book, live
        A block of A accounts and its underlyings as they stand.
    linked : list of (A,) float64
        USD of collateral linked to each underlying.
    packed
        Tables of the kernel.

    Returns
    -------
    Results by underlying; (A,) float64 least joint profit, USD, and (A,) int64 its scenario.
    """
    accounts, columns = len(book), len(live)
    out = np.empty((kernel.ROWS, columns, accounts))
    worst, index = np.zeros(accounts), np.zeros(accounts, dtype=np.int64)
    units = np.ascontiguousarray(book.units, dtype=np.float64)
    kernel.account_sums(packed, *_positions(book, packed), units, np.stack(linked), out, worst, index)
    results = []
    for k, item in enumerate(live):
        options = OptionSums(*out[: kernel.LOW, k])
        extremes = GridExtremes(*out[kernel.LOW : kernel.ONE_WORTH, k])
        delta_one = DeltaOneSums(*out[kernel.ONE_WORTH :, k])
        results.append(result_of_sums(book, k, item, linked[k], options, delta_one, extremes))
    return results, (worst, index)


def _positions(book: Book, packed: kernel.Tables) -> tuple[IntArray, IntArray, FloatArray]:
    """The block's options as one list by account and underlying: starts, rows of the table, signed units."""
    columns = len(book.options)
    starts = np.zeros(len(book) * columns + 1, dtype=np.int64)
    for k, matrix in enumerate(book.options):
        starts[1 + k :: columns] = np.diff(matrix.indptr)
    np.cumsum(starts, out=starts)
    rows, units = np.empty(starts[-1], dtype=np.int64), np.empty(starts[-1])
    for k, matrix in enumerate(book.options):
        data = np.ascontiguousarray(matrix.data, dtype=np.float64)
        kernel.merge_rows(starts, k, columns, packed.offsets[k], matrix.indptr, matrix.indices, data, rows, units)
    return starts, rows, units
