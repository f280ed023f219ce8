# SPDX-License-Identifier: Apache-2.0
"""What margin does after a planted shock: one bar in which every price steps, in an otherwise unchanged history.

References
----------
Gurrola-Perez & Murphy (2015), *Filtered historical simulation Value-at-Risk models and their competitors*, Bank of
England WP 525, section 5: impulse responses show which models over-react.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from risk.backtest.accounts import Population
from risk.backtest.data import Data
from risk.backtest.settings import DAY_S, BacktestConfig
from risk.backtest.walk import Walk, walk
from risk.errors import InsufficientHistory
from risk.market.history import FloatArray, IntArray, PriceHistory

CLASSES = ("long perp", "short straddle", "spread")
BEFORE_DAYS, AFTER_DAYS = 5, 60
COARSE_BARS = 97


@dataclass(frozen=True, slots=True)
class Impulse:
    """Response to a step.

    Attributes
    ----------
    at : int
        Epoch seconds of the step.
    step : float
        Simple move of every price in one bar.
    days : (n,) int64
        Days since the step.
    ratio : mapping of class to (n,) float64
        Mean initial margin with the step over that without.
    peak : float
        Largest ratio of the first class.
    half_life_days : int
        Days from the peak until half of the excess is gone; -1 when that is later than the response looks.
    """

    at: int
    step: float
    days: IntArray
    ratio: dict[str, FloatArray]
    peak: float
    half_life_days: int


def calmest(done: Walk) -> int:
    """The decision with the lowest mean scan range (before the slow fall) that leaves room for a response.

    Raises
    ------
    InsufficientHistory
        When the walk leaves no room for a response.
    """
    room = (done.at >= done.at[0] + BEFORE_DAYS * DAY_S) & (done.at <= done.at[-1] - AFTER_DAYS * DAY_S)
    if not room.any():
        raise InsufficientHistory(
            f"an impulse response takes {BEFORE_DAYS + AFTER_DAYS} days of decisions; walk a longer period"
        )
    return int(done.at[int(np.argmin(np.where(room, done.raw.mean(axis=1), np.inf)))])


def stepped(prices: PriceHistory, time: int, step: float) -> PriceHistory:
    """Every close of a bar that closes after a time moved by the simple step.

    Examples
    --------
    >>> one = np.ones((2, 1))
    >>> stepped(PriceHistory(("A",), np.array([0, 3600]), one, one, 3600), 3600, -0.1).close[:, 0].tolist()
    [1.0, 0.9]
    """
    close = prices.close.copy()
    close[prices.ts + prices.interval_s > time] *= 1.0 + step
    return replace(prices, close=close)


def impulse_response(
    data: Data, population: Population, config: BacktestConfig, time: int, step: float = -0.15
) -> Impulse:
    """Margins of a walk with the step over those of the same walk without.

    Parameters
    ----------
    data, population, config
        As in `walk`; both walks begin five days before `time` and know nothing of an earlier one.
    time : int
        Epoch seconds, a decision: the step is in the first bar after it.
    step : float

    References
    ----------
    docs/risk/backtest.md, formula 10.
    """
    kinds = [kind for kind in CLASSES if kind in population.classes]
    keep = np.flatnonzero(np.isin(population.classes, kinds))
    few = population.some(keep)
    begin, end = time - BEFORE_DAYS * DAY_S, time + AFTER_DAYS * DAY_S + config.horizon_s
    # No whole calibration in between, and a coarse forecast, which is not looked at.
    short = replace(config, start=begin, end=end, refit_days=10_000, stride_bars=COARSE_BARS)
    shocked = Data.build(stepped(data.prices, time, step), data.vol, config.calibration)
    plain, moved = (walk(item, few, short) for item in (data, shocked))
    ratio = {
        kind: moved.initial[:, few.members(kind)].mean(axis=1) / plain.initial[:, few.members(kind)].mean(axis=1)
        for kind in kinds
    }
    first = ratio[kinds[0]]
    top = int(np.argmax(first))
    gone = np.flatnonzero(first[top:] - 1.0 <= 0.5 * (first[top] - 1.0))
    half = int(gone[0]) * config.step_s // DAY_S if gone.size else -1
    return Impulse(time, step, (plain.at - time) // DAY_S, ratio, float(first[top]), half)
