# SPDX-License-Identifier: Apache-2.0
"""A market whose tail quantiles are known: daily returns of a GJR-GARCH-t process, spread over hours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from risk.adaptive_scores import TAILS, TailForecast
from risk.market import PriceHistory

DAY_S, START = 86_400, 1_483_228_800  # 2017-01-01
OMEGA, ALPHA, GAMMA, BETA, DEGREES = 2e-5, 0.06, 0.08, 0.88, 5.0
UNIT = np.sqrt((DEGREES - 2.0) / DEGREES)


@dataclass(frozen=True)
class GarchMarket:
    """`outcome` and `variance` by day; `history` in hourly bars whose daily sums are the outcomes."""

    outcome: np.ndarray
    variance: np.ndarray
    history: PriceHistory

    def oracle(self) -> TailForecast:
        """The true conditional quantiles and means beyond them."""
        deviation = np.sqrt(self.variance) * UNIT
        q = student.ppf(TAILS, DEGREES)
        density = student.pdf(q, DEGREES)
        beyond = density / TAILS[0] * (DEGREES + q**2) / (DEGREES - 1.0) * np.array([-1.0, 1.0])
        return TailForecast(np.outer(deviation, q), np.outer(deviation, beyond))

    def true_on(self, ts: np.ndarray) -> TailForecast:
        """The oracle on days that begin at some times."""
        row, whole = (ts - START) // DAY_S, self.oracle()
        inside = row < self.outcome.size
        out = TailForecast.empty(ts.size)
        out.quantile[inside], out.shortfall[inside] = whole.quantile[row[inside]], whole.shortfall[row[inside]]
        return out


def daily(days: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns and their conditional variances."""
    innovation = rng.standard_t(DEGREES, days) * UNIT
    outcome, variance = np.empty(days), np.empty(days)
    now = OMEGA / (1.0 - ALPHA - GAMMA / 2.0 - BETA)
    for t in range(days):
        variance[t] = now
        outcome[t] = np.sqrt(now) * innovation[t]
        now = OMEGA + (ALPHA + GAMMA * (outcome[t] < 0.0)) * outcome[t] ** 2 + BETA * now
    return outcome, variance


def garch_market(days: int, seed: int, symbol: str = "BTC") -> GarchMarket:
    """Simulate; the path within a day tells nothing that the law of the next day does not follow from."""
    rng = np.random.default_rng(seed)
    outcome, variance = daily(days, rng)
    noise = rng.standard_normal((days, 24)) * np.sqrt(variance / 24.0)[:, None]
    hourly = noise - noise.mean(axis=1, keepdims=True) + outcome[:, None] / 24.0
    logs = np.log(20_000.0) + np.concatenate([[0.0], np.cumsum(hourly.ravel())])
    volume = 1_000.0 * np.exp(0.3 * rng.standard_normal(logs.size))
    # The first bar closes at START, when the first day begins.
    ts = START + 3600 * np.arange(-1, logs.size - 1, dtype=np.int64)
    history = PriceHistory((symbol,), ts, np.exp(logs)[:, None], volume[:, None], 3600)
    return GarchMarket(outcome, variance, history)
