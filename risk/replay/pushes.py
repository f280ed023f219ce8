# SPDX-License-Identifier: Apache-2.0
"""Scan ranges while a replay runs: what the model wants, what the keeper pushes, what the contract has in force.

The model is the shipped one (``risk.ranges``): Expected Shortfall of past stretches scaled to today's volatility, with
stressed weight and long floor, fast up and slow down. The history it scales is that before the replay; today's
volatility follows the prices of the replay itself. A new scan range alone changes none of the bytes of the joint
scenarios, which are shares of it (docs/adr/0008), so those stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from risk.factors.fhs import FactorHistory, FhsConfig, windows
from risk.factors.volatility import VARIANCE_FLOOR, decay
from risk.liquidity import bps_up
from risk.market.history import FloatArray, IntArray
from risk.ranges import MAX_SCAN, RangeConfig, estimate_ranges, smooth_fall, two_sided_shortfall
from risk.replay.settings import Guards
from risk.types import BPS

# Volatility over that at the start, for which ranges are worked out beforehand; between them lines.
RATIOS: FloatArray = np.geomspace(0.2, 12.0, 28)
WIDEN_MAX = 3 * BPS
IM_SCALE_MAX = 2 * BPS


@dataclass(frozen=True, slots=True)
class ScanModel:
    """Scan range of each underlying as a function of its volatility.

    Attributes
    ----------
    variance, slow_variance : (k,) float64
        EWMA variance per bar at the start: of the filter, and of the volatility level.
    current : (k, r) float64
        Expected Shortfall at today's volatility, for each of `RATIOS`.
    stressed, long : (k,) float64
    keep, slow_keep : float
        Decay of the two variances in a bar.
    stressed_weight : float
    ranges : RangeConfig
    """

    variance: FloatArray
    slow_variance: FloatArray
    current: FloatArray
    stressed: FloatArray
    long: FloatArray
    keep: float
    slow_keep: float
    stressed_weight: float
    ranges: RangeConfig

    def raw(self, variance: FloatArray, multiple: float) -> FloatArray:
        """(k,) scan ranges the model would like, before slow decline; `multiple` scales them."""
        ratio = np.sqrt(variance / self.variance)
        out = np.empty(ratio.size)
        w = self.stressed_weight
        for u, r in enumerate(ratio):
            now = float(np.interp(r, RATIOS, self.current[u]))
            blend = max((1 - w) * now + w * self.stressed[u], self.ranges.long_floor * self.long[u])
            out[u] = multiple * max(blend, self.ranges.min_range)
        return out


def fit_scan_model(
    factors: FactorHistory,
    fhs: FhsConfig,
    period: tuple[int, int],
    ranges: RangeConfig,
    halflife_bars: float,
    vol_halflife_bars: float,
) -> ScanModel:
    """Work out the ranges for every volatility from the history before a replay.

    Parameters
    ----------
    factors, fhs, period, ranges
        As in ``risk.ranges.estimate_ranges``.
    halflife_bars, vol_halflife_bars : float
        Those `factors` were built with.
    """
    k = len(factors.symbols)
    estimates = estimate_ranges(factors, fhs, period, ranges)
    starts, sums = windows(factors, fhs.horizon_bars)
    base = factors.sigma[-1, :k] / factors.sigma[starts, :k]
    current = np.empty((k, RATIOS.size))
    for j, ratio in enumerate(RATIOS):
        scaled = np.expm1(sums[:, :k] * np.clip(ratio * base, fhs.ratio_low, fhs.ratio_high))
        current[:, j] = [two_sided_shortfall(scaled[:, u], ranges.level) for u in range(k)]
    per_year = 365 * 86_400 / factors.interval_s
    return ScanModel(
        variance=factors.sigma[-1, :k] ** 2,
        slow_variance=factors.level[-1] ** 2 / per_year,
        current=current,
        stressed=np.array([e.stressed for e in estimates]),
        long=np.array([e.long for e in estimates]),
        keep=decay(halflife_bars),
        slow_keep=decay(vol_halflife_bars),
        stressed_weight=fhs.stressed_weight,
        ranges=ranges,
    )


class Volatility:
    """The two EWMA variances of a replay, fed with its own prices."""

    def __init__(self, model: ScanModel) -> None:
        self._model = model
        self.fast = model.variance.copy()
        self.slow = model.slow_variance.copy()

    def observe(self, log_return: FloatArray) -> None:
        """Take in one bar, (k,)."""
        square = np.square(log_return)
        self.fast = np.maximum(self._model.keep * self.fast + (1.0 - self._model.keep) * square, VARIANCE_FLOOR)
        self.slow = np.maximum(
            self._model.slow_keep * self.slow + (1.0 - self._model.slow_keep) * square, VARIANCE_FLOOR
        )


class ScanPushes:
    """The scan lanes of RiskParameters: targets, ramps, proposals, lapse.

    Parameters
    ----------
    scan_bps
        In force at the start, one an underlying.
    guards, fall_per_day
        Limits in time, and the model's slow decline.
    now
        Unix seconds of the start, taken for the time of the last push.
    """

    def __init__(self, scan_bps: IntArray, guards: Guards, fall_per_day: float, now: int) -> None:
        self.target = scan_bps.copy()
        self._origin, self._start, self._end = scan_bps.copy(), np.full(scan_bps.size, now), np.zeros_like(scan_bps)
        self._guards, self._fall = guards, fall_per_day
        self._wanted, self._wanted_at = scan_bps / BPS, now
        self._valid_until, self._next = now + guards.ttl_s, now + guards.push_s
        self._proposed: tuple[int, IntArray, IntArray] | None = None
        self.pushes = 0

    def in_force(self, now: int) -> IntArray:
        """Lanes that margin reads: straight between origin and target, rounded towards the origin.

        References
        ----------
        ``contracts/modules/ramp.vy``, ``_at``.
        """
        gone, whole = now - self._start, np.maximum(self._end - self._start, 1)
        moved = np.abs(self.target - self._origin) * gone // whole
        ramped = self._origin + np.sign(self.target - self._origin) * moved
        return np.asarray(np.where(now >= self._end, self.target, ramped), dtype=np.int64)

    def widen(self, now: int) -> IntArray:
        """What initial margin feels of a rise that maintenance margin still ramps up to, bps."""
        force = self.in_force(now)
        low, high = np.minimum(force, self.target), np.maximum(force, self.target)
        return np.asarray(np.minimum(-(-BPS * (high - low) // low), WIDEN_MAX), dtype=np.int64)

    def lapse_bps(self, now: int) -> int:
        """What is added to the scale of initial margin because nobody has pushed for too long."""
        if now <= self._valid_until:
            return 0
        return (1 + (now - self._valid_until) // self._guards.lapse_interval_s) * self._guards.lapse_step_bps

    def step(self, raw: FloatArray, now: int) -> None:
        """One look of the keeper: execute what has waited, push what tightens, propose what loosens."""
        if self._proposed is not None and now >= self._proposed[0]:
            # A proposal is void where the word has changed since.
            same = self._proposed[2] == self.target
            self._restart(np.where(same, np.minimum(self._proposed[1], self.target), self.target), now)
            self._proposed = None
        if now < self._next:
            return
        elapsed = float(now - self._wanted_at)
        self._wanted = np.array(
            [smooth_fall(float(r), float(last), elapsed, self._fall) for r, last in zip(raw, self._wanted, strict=True)]
        )
        self._wanted_at, self._next = now, now + self._guards.push_s
        lanes = np.array([bps_up(min(max(float(w), 0.01), MAX_SCAN)) for w in self._wanted])
        self._restart(np.maximum(lanes, self.target), now)
        self._valid_until = now + self._guards.ttl_s
        self.pushes += 1
        if (lanes < self.target).any() and self._proposed is None:
            self._proposed = (now + self._guards.loosen_delay_s, lanes, self.target.copy())

    def _restart(self, target: IntArray, now: int) -> None:
        """``contracts/modules/ramp.vy``, ``_restart``, for the scan lane: it tightens upwards and ramps."""
        force, old = self.in_force(now), self.target
        newly = (target > force) & (target > old)
        end = np.where(newly, np.maximum(self._end, now + self._guards.ramp_s), self._end)
        self._origin = np.where(target > force, force, target)
        self._start, self._end = np.full(target.size, now), end
        self.target = target.copy()
