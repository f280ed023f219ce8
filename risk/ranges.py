# SPDX-License-Identifier: Apache-2.0
"""Scan ranges and volatility shocks from Expected Shortfall, and the joint law scaled to agree with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from risk.books import Shocks
from risk.errors import BadInput
from risk.factors.fhs import FactorHistory, FhsConfig, Moves, filtered_windows, windows
from risk.market.history import FloatArray
from risk.measures import es_estimate, expected_shortfall

DAY_S = 86_400
# The contract accepts 0.01..0.90 (docs/margin-rule.md, section 3).
MIN_SCAN, MAX_SCAN = 0.01, 0.90


@dataclass(frozen=True, slots=True)
class RangeConfig:
    """How wide the scan is.

    Attributes
    ----------
    level : float
        Confidence of the Expected Shortfall.
    stressed_s : int
        Length of the stressed period, s; at most a third of the history is used.
    long_floor : float
        Share of the Expected Shortfall of the whole history below which no range falls.
    min_range : float
        Range below which none falls whatever the data say: a short history may hold no crash. Over 2017-2023 the 24 h
        Expected Shortfall of BTC, the calmest of the majors, was 0.15.
    fall_per_day : float
        Largest relative fall of a range a day (fast up, slow down).
    vol_up_floor, vol_up_cap, vol_down_floor, vol_down_cap : float
        Bounds of the volatility shocks at 30 days.
    vol_power : float
        Tenor power of the volatility shocks.
    """

    level: float = 0.99
    stressed_s: int = 365 * DAY_S
    long_floor: float = 0.85
    min_range: float = 0.10
    fall_per_day: float = 0.02
    vol_up_floor: float = 0.30
    vol_up_cap: float = 1.00
    vol_down_floor: float = 0.20
    vol_down_cap: float = 0.60
    vol_power: float = 0.30

    def __post_init__(self) -> None:
        if not 0.5 < self.level < 1:
            raise BadInput(f"confidence level is {self.level}; it must lie between 0.5 and 1")
        if not MIN_SCAN <= self.min_range <= MAX_SCAN:
            raise BadInput(f"smallest range is {self.min_range}; it must lie between {MIN_SCAN} and {MAX_SCAN}")
        if not 0 <= self.fall_per_day < 1 or not 0 < self.long_floor <= 2:
            raise BadInput(
                f"long floor {self.long_floor} must lie in (0, 2] and fall per day {self.fall_per_day} in [0, 1)"
            )


@dataclass(frozen=True, slots=True)
class RangeEstimate:
    """Expected Shortfall of one underlying over the horizon, the wider side, simple moves.

    ``current`` is filtered to today's volatility, ``stressed`` that of the stressed period, ``long`` of the whole
    history; ``error`` the standard error of ``long`` counting only stretches that do not overlap.
    """

    current: float
    stressed: float
    long: float
    error: float

    def blend(self, stressed_weight: float, long_floor: float) -> float:
        """``max((1 - w) * current + w * stressed, floor * long)``.

        References
        ----------
        docs/risk-methodology.md, formula 6.1.
        """
        return max((1 - stressed_weight) * self.current + stressed_weight * self.stressed, long_floor * self.long)

    def adapted(self, forecast: float, stressed_weight: float, long_floor: float) -> float:
        """`blend` with a forecast in place of ``current``, never above the largest of the three shortfalls.

        Rises with the forecast and stays in ``[max(floor * long, w * stressed), max(current, stressed, long)]``, so the
        adaptive layer has neither the stressed weight nor the floor at its disposal. ``floor`` may exceed the top.
        docs/risk/adaptive.md, formula A6.
        """
        moved = max((1 - stressed_weight) * forecast + stressed_weight * self.stressed, long_floor * self.long)
        return min(moved, max(self.current, self.stressed, self.long, long_floor * self.long))


def two_sided_shortfall(moves: FloatArray, level: float) -> float:
    """The larger Expected Shortfall of a long and of a short, at least 0.

    Parameters
    ----------
    moves : (n,) float64
        Simple moves.
    level : float
        Confidence.

    Examples
    --------
    >>> two_sided_shortfall(np.array([-0.1, 0.0, 0.3]), 0.7)
    0.3
    """
    return max(0.0, expected_shortfall(moves, level), expected_shortfall(-moves, level))


def stressed_period(factors: FactorHistory, horizon_bars: int, config: RangeConfig) -> tuple[int, int]:
    """First and last second (half open) of the stretch in which the underlyings together did worst.

    The stretch with the highest mean, over underlyings, of Expected Shortfall over that of the whole history.

    References
    ----------
    The role of Eurex PRISMA's stress-period filter; RTS 153/2013, art. 28(1)(b).
    """
    starts, sums = windows(factors, horizon_bars)
    moves = np.expm1(sums[:, : len(factors.symbols)])
    first = factors.ts[starts]
    span = int(first[-1] - first[0]) + factors.interval_s
    length = min(config.stressed_s, span // 3)
    base = np.array([max(two_sided_shortfall(column, config.level), 1e-9) for column in moves.T])
    best, chosen = -1.0, (int(first[0]), int(first[0]) + length)
    for begin in np.linspace(first[0], first[0] + span - length, 60).astype(np.int64):
        lo, hi = np.searchsorted(first, [begin, begin + length])
        if hi - lo < max(horizon_bars, 2):
            continue
        inside = moves[lo:hi]
        score = float(np.mean([two_sided_shortfall(c, config.level) for c in inside.T] / base))
        if score > best:
            best, chosen = score, (int(begin), int(begin) + length)
    return chosen


def estimate_ranges(
    factors: FactorHistory, fhs: FhsConfig, period: tuple[int, int], config: RangeConfig
) -> tuple[RangeEstimate, ...]:
    """`RangeEstimate` of each underlying; nothing random.

    Raises
    ------
    InsufficientHistory
        When no stretch of the horizon fits.
    """
    starts, sums = windows(factors, fhs.horizon_bars)
    k = len(factors.symbols)
    plain = np.expm1(sums[:, :k])
    current = np.expm1(filtered_windows(factors, fhs)[:, :k])
    first = factors.ts[starts]
    inside = (first >= period[0]) & (first < period[1])
    out = []
    for u in range(k):
        long = two_sided_shortfall(plain[:, u], config.level)
        # Overlapping stretches are no new information: the error is that of as many as fit side by side.
        sides = [es_estimate(sign * plain[:, u], config.level) for sign in (1.0, -1.0)]
        widest = max(sides, key=lambda e: e.value)
        out.append(
            RangeEstimate(
                two_sided_shortfall(current[:, u], config.level),
                two_sided_shortfall(plain[inside, u], config.level),
                long,
                widest.standard_error * math.sqrt(fhs.horizon_bars),
            )
        )
    return tuple(out)


def smooth_fall(raw: float, previous: float | None, elapsed_s: float, fall_per_day: float) -> float:
    """Rise at once, fall by at most `fall_per_day` (relative) a day.

    References
    ----------
    docs/risk-methodology.md, formula 6.2.

    Examples
    --------
    >>> smooth_fall(0.10, 0.20, 86_400, 0.02), smooth_fall(0.30, 0.20, 86_400, 0.02)
    (0.196, 0.3)
    """
    if previous is None:
        return raw
    return max(raw, float(previous * (1.0 - fall_per_day) ** (max(0.0, elapsed_s) / DAY_S)))


def vol_shocks(moves: Moves, config: RangeConfig) -> tuple[FloatArray, FloatArray]:
    """Up and down shock of each underlying's 30-day volatility, (k,) each, rounded up to 50 bps within bounds.

    References
    ----------
    docs/risk-methodology.md, formula 6.3.
    """
    up = np.array([expected_shortfall(-v, config.level) for v in moves.vol.T])
    down = np.array([expected_shortfall(v, config.level) for v in moves.vol.T])
    step = 0.005
    return (
        np.clip(np.ceil(up / step) * step, config.vol_up_floor, config.vol_up_cap),
        np.clip(np.ceil(down / step) * step, config.vol_down_floor, config.vol_down_cap),
    )


@dataclass(frozen=True, slots=True)
class LawScale:
    """Factors (k,) that make simulated moves agree with the scan: price, volatility up, volatility down."""

    price: FloatArray
    vol_up: FloatArray
    vol_down: FloatArray

    def apply(self, moves: Moves) -> Moves:
        """Scaled moves; spot keeps at least a thousandth of its value."""
        vol = np.where(moves.vol >= 0, moves.vol * self.vol_up, moves.vol * self.vol_down)
        return Moves(np.maximum(moves.price * self.price, -0.999), np.maximum(vol, -0.95))


def law_scale(moves: Moves, shocks: Shocks, level: float) -> LawScale:
    """Scale at which each underlying's Expected Shortfall under the draws equals its scan range (and vol shocks).

    Floors, stressed weight and slow decline then act on joint scenarios exactly as they act on scans.

    References
    ----------
    docs/risk-methodology.md, formula 6.4.
    """
    k = moves.price.shape[1]
    price = np.array([two_sided_shortfall(moves.price[:, u], level) for u in range(k)])
    up = np.array([expected_shortfall(-moves.vol[:, u], level) for u in range(k)])
    down = np.array([expected_shortfall(moves.vol[:, u], level) for u in range(k)])
    return LawScale(
        shocks.scan / np.maximum(price, 1e-9),
        shocks.vol_up / np.maximum(up, 1e-9),
        shocks.vol_down / np.maximum(down, 1e-9),
    )
