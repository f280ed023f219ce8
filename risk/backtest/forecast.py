# SPDX-License-Identifier: Apache-2.0
"""The forecast that is tested: plain filtered historical simulation of price and volatility, nothing stressed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from risk.factors.fhs import FactorHistory, FhsConfig, Moves, windows
from risk.market.history import FloatArray, IntArray, PriceHistory

# Days of a volatility index below which its changes are too few to stand for those before it.
MIN_DONORS = 60
# Bounds of the volatility ratio that never bind. The clip of a calibration (0.6..1.8) serves margins: a forecast with
# it breached 0.7 % of the time instead of 1 %, since in calm years it could not fall as far as volatility did.
UNBOUND = (0.01, 100.0)


def forecast_moves(past: FactorHistory, fhs: FhsConfig, index: PriceHistory | None, stride: int) -> Moves:
    """Joint moves over the horizon, every stretch of the past scaled to today's volatility; nothing random.

    Parameters
    ----------
    past : FactorHistory
        What is known.
    fhs : FhsConfig
        With the ratio `UNBOUND`.
    index : PriceHistory, optional
        Volatility indices the factors were built with.
    stride : int
        Every how many bars a stretch starts.

    Notes
    -----
    An index is recorded once a day. Changes of volatility over stretches that begin between two closes are averages of
    two days, and those from before the index are of realised volatility, which never falls fast. Both take the change
    of a whole recorded day (a *donor*) instead: the one whose own price move has the same rank. That keeps the law of
    the index's changes and its dependence on the price move.

    References
    ----------
    docs/risk/backtest.md, formula 2.
    """
    starts, sums = windows(past, fhs.horizon_bars)
    begin, k = past.ts[starts], len(past.symbols)
    taken = np.zeros(starts.size, dtype=np.bool_)
    taken[::-stride] = True
    giving = np.zeros(starts.size, dtype=np.bool_)
    if index is not None:
        giving = _donors(begin, begin + fhs.horizon_bars * past.interval_s, index)
    rows = np.flatnonzero(taken | giving)
    ratio = np.clip(past.sigma[-1] / past.sigma[starts[rows]], fhs.ratio_low, fhs.ratio_high)
    logs = sums[rows] * ratio
    if index is not None and int(giving.sum()) >= MIN_DONORS:
        for symbol in index.symbols:
            if symbol in past.symbols:
                u = past.symbols.index(symbol)
                logs[:, k + u] = borrowed(logs[:, u], logs[:, k + u], giving[rows])
    return Moves.from_logs(logs[taken[rows]])


def _donors(begin: IntArray, end: IntArray, index: PriceHistory) -> NDArray[np.bool_]:
    """Stretches [begin, end) that lie between closes of the index."""
    closes = index.ts + index.interval_s
    return np.asarray(np.isin(begin, closes) & np.isin(end, closes))


def borrowed(price: FloatArray, vol: FloatArray, donors: NDArray[np.bool_]) -> FloatArray:
    """Volatility moves (w,): a donor's own, every other stretch's that of the donor whose price move ranks the same.

    References
    ----------
    docs/risk/backtest.md, formula 3.

    Examples
    --------
    >>> price, vol = np.array([-0.2, 0.1, -0.1, 0.3]), np.array([0.5, -0.2, 0.0, 0.0])
    >>> borrowed(price, vol, np.array([True, True, False, False])).tolist()
    [0.5, -0.2, 0.5, -0.2]
    """
    out = vol.copy()
    giving = np.flatnonzero(donors)[np.argsort(price[donors], kind="stable")]
    taking = np.flatnonzero(~donors)
    rank = np.empty(taking.size, dtype=np.int64)
    rank[np.argsort(price[taking], kind="stable")] = np.arange(taking.size)
    out[taking] = vol[giving[(rank * giving.size) // max(taking.size, 1)]]
    return out
