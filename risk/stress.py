# SPDX-License-Identifier: Apache-2.0
"""Named stresses: correlations of one, broken hedges, the worst hours on record, and the offset floor they imply."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from risk.books import Shocks, Universe
from risk.errors import BadInput, InsufficientHistory
from risk.factors.fhs import FactorHistory, Moves, windows
from risk.market.history import FloatArray, utc


@dataclass(frozen=True, slots=True)
class NamedStress:
    """One joint move: ``price`` simple and ``vol`` relative move of each underlying, both (k,)."""

    name: str
    price: FloatArray
    vol: FloatArray


def correlation_to_one(shocks: Shocks, size: float = 1.0) -> tuple[NamedStress, NamedStress]:
    """Everything falls, or rises, by `size` scan ranges at once, volatility up.

    References
    ----------
    docs/risk-methodology.md, formula 4.4.

    Examples
    --------
    >>> s = Shocks(np.array([0.2, 0.3]), np.array([0.5, 0.5]), np.array([0.2, 0.2]), np.array([0.3, 0.3]))
    >>> correlation_to_one(s)[0].price.tolist()
    [-0.2, -0.3]
    """
    return (
        NamedStress("all down together", -size * shocks.scan, shocks.vol_up.copy()),
        NamedStress("all up together", size * shocks.scan, shocks.vol_up.copy()),
    )


def hedge_break(symbols: tuple[str, ...], shocks: Shocks, offset: float) -> tuple[NamedStress, ...]:
    """One underlying falls and another rises, each by `offset` of its scan range; every ordered pair.

    Parameters
    ----------
    symbols : tuple of str
    shocks : Shocks
    offset : float
        From `offset_floor`: a book long one and short the other, with equal scans, then loses
        ``offset * (scan_a + scan_b)``.

    Raises
    ------
    BadInput
        When the offset is not between 0 and 1.
    """
    if not 0 <= offset <= 1:
        raise BadInput(f"hedge break of {offset} scan ranges; it must lie between 0 and 1")
    k = len(symbols)
    out = []
    for i, j in combinations(range(k), 2):
        for down, up in ((i, j), (j, i)):
            price = np.zeros(k)
            price[down], price[up] = -offset * shocks.scan[down], offset * shocks.scan[up]
            out.append(NamedStress(f"{symbols[down]} down, {symbols[up]} up", price, np.zeros(k)))
    return tuple(out)


def historical_worst(factors: FactorHistory, bars: int, count: int) -> tuple[NamedStress, ...]:
    """The worst stretches of a length on record, by the mean fall in units of each underlying's own deviation.

    Parameters
    ----------
    factors : FactorHistory
    bars : int
        Length in bars.
    count : int
        How many; stretches that overlap a worse one are skipped.

    Returns
    -------
    tuple of NamedStress
        Worst first, named by the time they began.
    """
    starts, sums = windows(factors, bars)
    k = len(factors.symbols)
    spread = np.maximum(sums[:, :k].std(axis=0), 1e-12)
    score = (sums[:, :k] / spread).mean(axis=1)
    taken: list[int] = []
    for i in np.argsort(score, kind="stable"):
        if len(taken) == count:
            break
        if all(abs(int(starts[i]) - int(starts[j])) >= bars for j in taken):
            taken.append(int(i))
    moves = Moves.from_logs(sums[taken])
    # A change is stamped with the bar it ends in; the stretch began one bar earlier.
    return tuple(
        NamedStress(
            f"{bars} bars from {utc(int(factors.ts[starts[i]]) - factors.interval_s)}", moves.price[n], moves.vol[n]
        )
        for n, i in enumerate(taken)
    )


def stress_losses(
    universe: Universe, books: FloatArray, stresses: tuple[NamedStress, ...], power: FloatArray
) -> FloatArray:
    """Loss of each book under each stress by full revaluation, (b, s); a gain is negative.

    Parameters
    ----------
    universe : Universe
    books : (b, M) float64
    stresses : tuple of NamedStress
    power : (k,) float64
        Tenor power of the volatility move.
    """
    moves = Moves(np.stack([s.price for s in stresses]), np.stack([s.vol for s in stresses]))
    return np.asarray(-(books @ universe.pnl(moves, power).T), dtype=np.float64)


def low_correlations(factors: FactorHistory, window_bars: int, quantile: float) -> FloatArray:
    """Low quantile of rolling correlations of spot, for each pair, (k, k).

    Parameters
    ----------
    factors : FactorHistory
    window_bars : int
    quantile : float
        Such as 0.05: the correlation that was undershot in one stretch of twenty.

    Raises
    ------
    InsufficientHistory
        When the history is shorter than a window.
    """
    k = len(factors.symbols)
    if factors.ts.size < window_bars:
        raise InsufficientHistory(
            f"{factors.ts.size} changes, a correlation window takes {window_bars}; hand over a longer history"
        )
    x = factors.changes[:, :k]
    total = np.vstack([np.zeros(k), np.cumsum(x, axis=0)])
    out = np.eye(k)
    stop = np.arange(window_bars, x.shape[0] + 1, max(1, window_bars // 4))
    start = stop - window_bars
    mean = (total[stop] - total[start]) / window_bars
    for i in range(k):
        for j in range(i, k):
            products = np.concatenate([[0.0], np.cumsum(x[:, i] * x[:, j])])
            moment = (products[stop] - products[start]) / window_bars - mean[:, i] * mean[:, j]
            if i == j:
                out[i, i] = 1.0
                continue
            scale = np.sqrt(_rolling_variance(x[:, i], start, stop) * _rolling_variance(x[:, j], start, stop))
            out[i, j] = out[j, i] = float(np.quantile(moment / np.maximum(scale, 1e-18), quantile))
    return np.clip(out, -1.0, 1.0)


def _rolling_variance(x: FloatArray, start: FloatArray, stop: FloatArray) -> FloatArray:
    first = np.concatenate([[0.0], np.cumsum(x)])
    second = np.concatenate([[0.0], np.cumsum(x * x)])
    n = stop - start
    mean = (first[stop] - first[start]) / n
    return np.asarray((second[stop] - second[start]) / n - mean**2, dtype=np.float64)


def offset_floor(correlations: FloatArray) -> float:
    """kappa: least share of the summed scans a book must post, from correlations after a break.

    A book long one underlying and short another with equal scans ``s`` has Expected Shortfall
    ``s * sqrt(2 * (1 - rho))`` out of ``2 * s``, that is ``sqrt((1 - rho) / 2)``. The median pair counts; for pairs
    that part further the scenarios themselves carry the rest.

    Parameters
    ----------
    correlations : (k, k) float64
        After the break, see `low_correlations`.

    References
    ----------
    docs/risk-methodology.md, formula 9.1.

    Examples
    --------
    >>> offset_floor(np.array([[1.0, 0.5], [0.5, 1.0]]))
    0.5
    """
    k = correlations.shape[0]
    if k < 2:
        return 0.0
    pairs = correlations[np.triu_indices(k, 1)]
    return float(np.sqrt((1.0 - np.median(pairs)) / 2.0))
