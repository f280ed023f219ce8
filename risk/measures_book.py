# SPDX-License-Identifier: Apache-2.0
"""Expected Shortfall of every account of a book over one set of scenarios.

Signs, level and the ``"exact"`` convention are those of :mod:`risk.measures`.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from risk.errors import BadInput
from risk.fast import Engine, use_compiled

FloatArray = NDArray[np.float64]

# Doubles of profits (numpy) or of kept tails (compiled) that a piece of work may hold.
_ROOM = 2**21
_LEAST_COMPILED = 2**24
# Scenarios that set the first bar of the compiled search, where there are many more.
_SAMPLE = 512


class _Tail(NamedTuple):
    """How many of the worst count, and with what share the last of them."""

    worst: int
    last: float

    @property
    def weight(self) -> float:
        return self.worst - 1 + self.last


def book_expected_shortfall(
    positions: sparse.csr_array | ArrayLike,
    pnl: ArrayLike,
    level: float = 0.99,
    *,
    threads: int = 1,
    engine: Engine = "auto",
) -> FloatArray:
    """Expected Shortfall (accounts,) of books of linear positions in instruments priced in every scenario.

    Parameters
    ----------
    positions
        Shape (accounts, instruments), signed units; sparse where accounts hold few of many instruments.
    pnl
        Shape (instruments, scenarios), profit of one unit; scenarios count alike.
    level
        Confidence.
    threads
        Worker threads over accounts; the result does not depend on it.
    engine
        ``"auto"`` takes the compiled kernel from 16.7 million position-scenarios where numba is installed, ``"numpy"``
        never, ``"compiled"`` always. They differ by at most 1e-13 of an account's greatest sum of absolute profits.

    Raises
    ------
    BadInput
        When shapes do not agree, a number is not finite, or the level lies outside (0, 1).

    References
    ----------
    Acerbi & Tasche (2002), *On the coherence of expected shortfall*, eq. 4.12.

    Examples
    --------
    >>> pnl = np.array([np.arange(-100.0, 0.0), np.arange(0.0, 100.0)])
    >>> book_expected_shortfall(np.array([[1.0, 0.0], [2.0, 0.0], [1.0, -1.0]]), pnl, 0.95).round(9).tolist()
    [98.0, 196.0, 100.0]
    """
    book, profits = _checked(positions, pnl, level)
    accounts, scenarios = book.shape[0], profits.shape[1]
    tail = _tail(scenarios, 1.0 - level)
    compiled = use_compiled(engine, book.nnz * scenarios, _LEAST_COMPILED)
    each = 4 * tail.worst if compiled else scenarios
    step = max(1, min(_ROOM // each, -(-accounts // (4 * max(threads, 1)))))
    sample = _sample(profits, 1.0 - level) if compiled else None

    def work(low: int) -> FloatArray:
        high = min(low + step, accounts)
        if sample is None:
            return _numpy_sums(book, profits, tail, low, high)
        return _compiled_sums(book, profits, tail, sample, low, high)

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        pieces = pool.map(work, range(0, accounts, step))
        out = -np.concatenate([np.zeros(0), *pieces]) / tail.weight
    if not np.isfinite(out).all():
        raise BadInput("profits of the book overflow; scale the positions down")
    return out


def _checked(
    positions: sparse.csr_array | ArrayLike, pnl: ArrayLike, level: float
) -> tuple[sparse.csr_array, FloatArray]:
    book = sparse.csr_array(positions, dtype=np.float64)  # type: ignore[no-untyped-call]
    profits = np.ascontiguousarray(pnl, dtype=np.float64)
    if profits.ndim != 2 or book.shape[1] != profits.shape[0] or profits.shape[1] == 0:
        raise BadInput(
            f"positions {book.shape} and profits {profits.shape} must be (accounts, instruments) and (instruments, "
            "scenarios) with at least one scenario; transpose or align them"
        )
    if not 0.0 < level < 1.0:
        raise BadInput(f"confidence level {level} must lie inside (0, 1); pass 0.99 for 99 %")
    for name, array in (("positions", book.data), ("profits", profits)):
        if not np.isfinite(array.sum()) and not np.isfinite(array).all():
            raise BadInput(f"{name} hold a number that is not finite; clean them")
    return book, profits


def _tail(scenarios: int, share: float) -> _Tail:
    expected = scenarios * share
    # The relative hair of risk.measures: 5 % of 100 observations are five.
    count = max(math.ceil(expected * (1.0 - 1e-12)), 1)
    return _Tail(count, 1.0 - max(count - expected, 0.0))


def _numpy_sums(book: sparse.csr_array, pnl: FloatArray, tail: _Tail, low: int, high: int) -> FloatArray:
    """Weighted sum of the worst profits of accounts ``low`` to ``high - 1``."""
    worst = np.partition(book[low:high] @ pnl, tail.worst - 1, axis=1)[:, : tail.worst]
    return np.asarray(worst[:, :-1].sum(axis=1) + tail.last * worst[:, -1])


class _Sample(NamedTuple):
    """Some scenarios, and the rank in them that the wanted tail very likely stays below; rank 0: do not use."""

    pnl: FloatArray
    rank: int


def _sample(pnl: FloatArray, share: float) -> _Sample:
    """Evenly spaced scenarios; three binomial deviations leave one miss in a few hundred, which costs a second look."""
    stride, mean = pnl.shape[1] // _SAMPLE, _SAMPLE * share
    rank = math.ceil(mean + 3.0 * math.sqrt(mean) + 1.0)
    if stride < 8 or rank > _SAMPLE // 4:
        return _Sample(np.empty((pnl.shape[0], 0)), 0)
    return _Sample(np.ascontiguousarray(pnl[:, ::stride][:, :_SAMPLE]), rank)


def _compiled_sums(
    book: sparse.csr_array, pnl: FloatArray, tail: _Tail, sample: _Sample, low: int, high: int
) -> FloatArray:
    """As :func:`_numpy_sums`."""
    from risk.fast.shortfall import tail_sums

    out = np.empty(high - low)
    pointers = book.indptr[low : high + 1]
    tail_sums(pointers, book.indices, book.data, pnl, tail.worst, tail.last, *sample, out)
    missed = np.flatnonzero(np.isnan(out))
    if missed.size and sample.rank:
        few = book[low + missed]
        out[missed] = _compiled_sums(few, pnl, tail, _Sample(sample.pnl, 0), 0, missed.size)
    return out
