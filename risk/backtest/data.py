# SPDX-License-Identifier: Apache-2.0
"""What a walk may read, and what of it was known at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.config import CalibrationConfig
from risk.errors import InsufficientHistory
from risk.factors.fhs import FactorHistory, build_factors
from risk.market.history import FloatArray, PriceHistory, utc

# A price older than this at a decision or at its horizon is no price: the day is left out and named.
STALE_S = 6 * 3600


def until(factors: FactorHistory, time: int) -> FactorHistory:
    """The factors as they were known at a time: only changes whose bar had closed.

    Everything in a row of a `FactorHistory` is made of that row and the ones before, so a prefix of the whole is what
    would have been built from a prefix of the prices (a test compares the two).

    Raises
    ------
    InsufficientHistory
        When nothing is known at that time.
    """
    n = int(np.searchsorted(factors.ts + factors.interval_s, time, side="right"))
    if n == 0:
        raise InsufficientHistory(f"no change of a factor is known at {utc(time)}; start the backtest later")
    return replace(
        factors, ts=factors.ts[:n], changes=factors.changes[:n], sigma=factors.sigma[: n + 1], level=factors.level[:n]
    )


class Quote(NamedTuple):
    """Annual volatility (k,) and whether an index said so (k,)."""

    level: FloatArray
    observed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Data:
    """Everything a walk reads: prices, volatility indices where there are any, and the factors built of them."""

    prices: PriceHistory
    vol: PriceHistory | None
    factors: FactorHistory

    @classmethod
    def build(cls, prices: PriceHistory, vol: PriceHistory | None, config: CalibrationConfig) -> Data:
        """Factors as a calibration builds them."""
        factors = build_factors(
            prices,
            halflife_bars=config.halflife_s / prices.interval_s,
            vol_halflife_bars=config.vol_halflife_s / prices.interval_s,
            vol_history=vol,
            model=config.volatility,
        )
        return cls(prices, vol, factors)

    def spot(self, time: int) -> FloatArray | None:
        """Last closes at a time, or None when they are stale."""
        n = int(np.searchsorted(self.prices.ts + self.prices.interval_s, time, side="right"))
        if n == 0 or time - int(self.prices.ts[n - 1]) - self.prices.interval_s > STALE_S:
            return None
        return np.asarray(self.prices.close[n - 1])

    def levels(self, time: int, premium: float, like: Quote | None = None) -> Quote:
        """Annual 30-day volatility at a time: the index where one had closed, else `premium` times the slow EWMA.

        With `like`, from the sources of that quote, so that a change of source is no move.
        """
        n = int(np.searchsorted(self.factors.ts + self.factors.interval_s, time, side="right"))
        level = np.asarray(premium * self.factors.level[n - 1])
        observed = np.zeros(level.size, dtype=np.bool_)
        if self.vol is None:
            return Quote(level, observed)
        row = int(np.searchsorted(self.vol.ts + self.vol.interval_s, time, side="right")) - 1
        fresh = row >= 0 and time - int(self.vol.ts[row]) <= 3 * self.vol.interval_s
        for col, symbol in enumerate(self.vol.symbols):
            if not fresh or symbol not in self.prices.symbols:
                continue
            u = self.prices.symbols.index(symbol)
            if like is None or like.observed[u]:
                value = float(self.vol.close[row, col])
                # Quoted in percent, as in `risk.calibrate`.
                level[u], observed[u] = value / 100.0 if value > 5.0 else value, True
        return Quote(level, observed)
