# SPDX-License-Identifier: Apache-2.0
"""Values beside prices, each with the moment at which it became known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from risk.errors import BadInput
from risk.market.history import FloatArray, IntArray, PriceHistory, utc
from risk.market.observed import FundingSeries


@dataclass(frozen=True, slots=True)
class DatedSeries:
    """Values and the moment each became known.

    Attributes
    ----------
    known_at : (n,) int64
        Epoch seconds, strictly ascending.
    value : (n,) float64
        Finite.

    Raises
    ------
    BadInput
        Lengths differ, times do not ascend, or a value is not finite.
    """

    known_at: IntArray
    value: FloatArray

    def __post_init__(self) -> None:
        if self.known_at.shape != self.value.shape or self.known_at.ndim != 1:
            raise BadInput(f"{self.known_at.size} times and {self.value.size} values; hand over one time a value")
        steps = np.diff(self.known_at)
        if (steps <= 0).any():
            at = int(self.known_at[int(np.argmax(steps <= 0)) + 1])
            raise BadInput(f"times do not ascend at {utc(at)}; sort by time and drop duplicates")
        if not np.isfinite(self.value).all():
            at = int(self.known_at[int(np.argmax(~np.isfinite(self.value)))])
            raise BadInput(f"the value at {utc(at)} is not a number; drop or repair it")

    def until(self, time: int) -> DatedSeries:
        """What was known at a time (epoch s)."""
        count = int(np.searchsorted(self.known_at, time, side="right"))
        return DatedSeries(self.known_at[:count], self.value[:count])

    def at(self, times: IntArray, max_age_s: int) -> FloatArray:
        """Last value known at each time, nan where there is none or it is older than `max_age_s`.

        Examples
        --------
        >>> s = DatedSeries(np.array([10, 20]), np.array([1.0, 2.0]))
        >>> s.at(np.array([9, 10, 25, 99]), 30).tolist()
        [nan, 1.0, 2.0, nan]
        """
        out = np.full(times.shape, np.nan)
        row = np.searchsorted(self.known_at, times, side="right") - 1
        has = row >= 0
        has[has] = times[has] - self.known_at[row[has]] <= max_age_s
        out[has] = self.value[row[has]]
        return out


def from_vol(history: PriceHistory, symbol: str) -> DatedSeries:
    """A volatility index of `risk.market.observed.load_vol`: a bar is known when it has closed."""
    return DatedSeries(history.ts + history.interval_s, history.close[:, history.symbols.index(symbol)])


def from_funding(series: FundingSeries) -> DatedSeries:
    """Funding of `risk.market.observed.load_funding`: known when paid, also the one print a day of a daily file."""
    return DatedSeries(series.ts, series.rate)
