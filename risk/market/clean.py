# SPDX-License-Identifier: Apache-2.0
"""Align bars, name the holes, and difference prices without ever stepping across a hole."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Literal

import numpy as np

from risk.errors import BadInput, DataGap, InsufficientHistory, RiskWarning
from risk.findings import Finding
from risk.market.history import FloatArray, Gap, IntArray, PriceHistory, PriceSeries, utc

OnGap = Literal["keep", "warn", "raise"]
# Share of a symbol's bars that alignment may take without a word.
CUT_SHARE = 0.05


def find_gaps(symbol: str, ts: IntArray, interval_s: int) -> tuple[Gap, ...]:
    """Holes between bars that lie further apart than one interval.

    Parameters
    ----------
    symbol : str
    ts : (n,) int64
        Ascending epoch seconds.
    interval_s : int

    Examples
    --------
    >>> [g.missing for g in find_gaps("BTC", np.array([0, 3600, 14400]), 3600)]
    [2]
    """
    wide = np.flatnonzero(np.diff(ts) > interval_s)
    return tuple(
        Gap(symbol, int(ts[i]), int(ts[i + 1]), max(1, int(-(-(ts[i + 1] - ts[i]) // interval_s)) - 1)) for i in wide
    )


def align(
    series: Sequence[PriceSeries],
    *,
    min_bars: int = 2,
    on_gap: OnGap = "keep",
    max_missing_fraction: float = 1.0,
) -> PriceHistory:
    """Inner join of several symbols' bars.

    Parameters
    ----------
    series : sequence of PriceSeries
        All of one interval.
    min_bars : int
        Fewest common bars accepted.
    on_gap : {"keep", "warn", "raise"}
        Holes are always listed in the result; optionally they warn or raise as well.
    max_missing_fraction : float
        Largest share of bars a symbol may miss between the first and the last common bar.

    Raises
    ------
    BadInput
        No series, or different intervals.
    InsufficientHistory
        Fewer than `min_bars` common timestamps.
    DataGap
        Holes beyond what the policy allows.
    """
    if not series:
        raise BadInput("no price series to align; hand over at least one")
    intervals = {s.symbol: s.interval_s for s in series}
    if len(set(intervals.values())) > 1:
        raise BadInput(f"price series have different intervals (s): {intervals}; load one interval at a time")
    step = series[0].interval_s
    common = reduce(lambda a, b: np.intersect1d(a, b, assume_unique=True), [s.ts for s in series])
    if common.size < min_bars:
        spans = ", ".join(f"{s.symbol} {utc(int(s.ts[0]))}..{utc(int(s.ts[-1]))}" for s in series)
        raise InsufficientHistory(
            f"{common.size} common bars, {min_bars} are needed ({spans}); hand over histories that overlap longer"
        )
    gaps: list[Gap] = []
    for one in series:
        inside = one.ts[(one.ts >= common[0]) & (one.ts <= common[-1])]
        own = find_gaps(one.symbol, inside, step)
        missing = sum(g.missing for g in own)
        share = missing / (inside.size + missing)
        if share > max_missing_fraction:
            raise DataGap(
                f"{one.symbol}: {missing} of {inside.size + missing} bars missing ({share:.2%}), at most "
                f"{max_missing_fraction:.2%} allowed; largest: {max(own, key=lambda g: g.missing)}; fill or exclude it"
            )
        gaps.extend(own)
    if gaps and on_gap == "raise":
        raise DataGap(f"{len(gaps)} holes; first: {gaps[0]}; fill them or allow gaps")
    if gaps and on_gap == "warn":
        warnings.warn(f"{len(gaps)} holes kept as holes; first: {gaps[0]}", RiskWarning, stacklevel=2)
    notes = tuple(n for s in series for n in s.notes) + _shortened(series, common)
    rows = [np.searchsorted(s.ts, common) for s in series]
    return PriceHistory(
        tuple(s.symbol for s in series),
        common,
        np.column_stack([s.close[r] for s, r in zip(series, rows, strict=True)]),
        np.column_stack([s.volume[r] for s, r in zip(series, rows, strict=True)]),
        step,
        tuple(gaps),
        notes,
    )


def _shortened(series: Sequence[PriceSeries], common: IntArray) -> tuple[Finding, ...]:
    """Symbols of which the others' later start or earlier end takes away much: a crash may be in it."""
    found = []
    for one in series:
        before, after = int((one.ts < common[0]).sum()), int((one.ts > common[-1]).sum())
        if before + after > CUT_SHARE * one.ts.size:
            late = (
                max(series, key=lambda s: int(s.ts[0])) if before >= after else min(series, key=lambda s: int(s.ts[-1]))
            )
            text = (
                f"{before} bars before {utc(int(common[0]))} and {after} after {utc(int(common[-1]))} are left out, "
                f"because {late.symbol} has none; calibrate without {late.symbol} to use them"
            )
            found.append(Finding("shortened", one.symbol, text))
    return tuple(found)


def log_returns(history: PriceHistory) -> tuple[IntArray, FloatArray]:
    """One-bar log returns over exact steps only.

    Returns
    -------
    ts : (m,) int64
        End of each return, epoch seconds.
    returns : (m, k) float64
        Returns that would span a hole are absent.
    """
    start, end = exact_pairs(history.ts, history.interval_s)
    logs = np.log(history.close)
    return history.ts[end], logs[end] - logs[start]


def exact_pairs(ts: IntArray, lag_s: int) -> tuple[IntArray, IntArray]:
    """Index pairs (i, j) with ``ts[j] - ts[i] == lag_s`` exactly.

    Parameters
    ----------
    ts : (n,) int64
        Ascending epoch seconds.
    lag_s : int
    """
    j = np.searchsorted(ts, ts + lag_s)
    ok = j < ts.size
    ok[ok] = ts[j[ok]] == ts[ok] + lag_s
    return np.flatnonzero(ok), j[ok]


def horizon_returns(history: PriceHistory, horizon_s: int) -> tuple[IntArray, FloatArray]:
    """Overlapping simple returns over a horizon, both ends existing bars exactly that far apart.

    Parameters
    ----------
    history : PriceHistory
    horizon_s : int
        Seconds, a multiple of the bar.

    Returns
    -------
    ts : (m,) int64
        End of each window.
    returns : (m, k) float64
        ``close[end] / close[start] - 1``.

    Raises
    ------
    BadInput
        When the horizon is not a positive multiple of the bar.
    InsufficientHistory
        When no window fits.
    """
    if horizon_s <= 0 or horizon_s % history.interval_s:
        raise BadInput(f"horizon is {horizon_s} s; it must be a positive multiple of the bar ({history.interval_s} s)")
    start, end = exact_pairs(history.ts, horizon_s)
    if start.size == 0:
        raise InsufficientHistory(
            f"price history has {history.ts.size} bars, none of them {horizon_s} s apart; hand over a longer history"
        )
    return history.ts[end], history.close[end] / history.close[start] - 1.0


def contiguous_runs(ts: IntArray, interval_s: int) -> list[tuple[int, int]]:
    """Half-open index ranges of bars without a hole between them.

    Parameters
    ----------
    ts : (n,) int64
        Ascending epoch seconds.
    interval_s : int

    Examples
    --------
    >>> contiguous_runs(np.array([0, 1, 2, 5, 6]), 1)
    [(0, 3), (3, 5)]
    """
    breaks = np.flatnonzero(np.diff(ts) != interval_s) + 1
    edges = [0, *(int(b) for b in breaks), int(ts.size)]
    return list(pairwise(edges))
