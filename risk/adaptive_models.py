# SPDX-License-Identifier: Apache-2.0
"""The forecasts of a day's tails that the adaptive layer must beat: long history, EWMA, GJR-GARCH-t and FHS.

Each is known at the beginning of its day: it uses the returns that have ended by then and nothing later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from risk.adaptive_features import DAY_S, Samples
from risk.adaptive_scores import TAILS, TailForecast
from risk.errors import InsufficientHistory
from risk.factors.fhs import FactorHistory, FhsConfig, filtered_windows, windows
from risk.factors.volatility import VolatilityFit, decay, gjr_garch_t
from risk.market.history import FloatArray
from risk.measures import gaussian_es, gaussian_var, student_es

# RiskMetrics: decay 0.94 a day.
RISKMETRICS_HALFLIFE_DAYS = math.log(0.5) / math.log(0.94)
LEVEL = TAILS[1]


def empirical_tails(sample: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Quantiles and means beyond them of both tails of a sample, (2,) each, signed; inverted distribution function.

    Raises
    ------
    InsufficientHistory
        Fewer than 100 values.

    Examples
    --------
    >>> [part.tolist() for part in empirical_tails(np.arange(1.0, 301.0))]
    [[3.0, 298.0], [2.0, 299.0]]
    """
    n = sample.size
    if n < 100:
        raise InsufficientHistory(f"{n} returns hold no value in a tail of 1 %; 100 are needed: lengthen the history")
    k = math.ceil(n * TAILS[0] * (1.0 - 1e-12))
    ordered = np.partition(sample, (k - 1, n - k))
    quantile = np.array([ordered[k - 1], ordered[n - k]])
    return quantile, np.array([ordered[:k].mean(), ordered[n - k :].mean()])


def long_history(samples: Samples, first: int, stop: int) -> TailForecast:
    """Quantiles of every stretch of a day, overlapping, that history held so far: unconditional.

    Parameters
    ----------
    samples : Samples
    first, stop : int
        Rows (half open) to forecast; so in all models of this module. Other rows are nan.
    """
    bars = DAY_S // samples.factors.interval_s
    starts, sums = windows(samples.factors, bars)
    ended = samples.factors.ts[starts + bars - 1] + samples.factors.interval_s
    out = TailForecast.empty(samples.ts.size)
    for row in range(first, stop):
        count = int(np.searchsorted(ended, samples.ts[row], side="right"))
        out.quantile[row], out.shortfall[row] = empirical_tails(sums[:count, 0])
    return out


def filtered_history(samples: Samples, first: int, stop: int) -> TailForecast:
    """Filtered historical simulation as the calibration does it: past stretches scaled to today's volatility."""
    factors, bars = samples.factors, DAY_S // samples.factors.interval_s
    closed_at = factors.ts + factors.interval_s
    config = FhsConfig(bars, bars)
    out = TailForecast.empty(samples.ts.size)
    for row in range(first, stop):
        m = int(np.searchsorted(closed_at, samples.ts[row], side="right"))
        past = FactorHistory(
            factors.symbols,
            factors.ts[:m],
            factors.changes[:m],
            factors.sigma[: m + 1],
            factors.level[:m],
            factors.interval_s,
            factors.models,
        )
        out.quantile[row], out.shortfall[row] = empirical_tails(filtered_windows(past, config)[:, 0])
    return out


def ewma(samples: Samples, first: int, stop: int) -> TailForecast:
    """RiskMetrics: normal quantiles on the exponentially weighted variance of daily returns, decay 0.94."""
    keep = decay(RISKMETRICS_HALFLIFE_DAYS)
    begin = samples.target[: max(2, round(2 * RISKMETRICS_HALFLIFE_DAYS))]
    variance = float(np.nanmean(np.square(begin)))
    path = np.empty(samples.ts.size)
    for row, outcome in enumerate(samples.target):
        path[row] = variance
        if np.isfinite(outcome):
            variance = keep * variance + (1.0 - keep) * float(outcome) ** 2
    law = np.array([gaussian_var(0.0, 1.0, LEVEL), gaussian_es(0.0, 1.0, LEVEL)])
    return _symmetric(path, np.tile(law, (samples.ts.size, 1)), first, stop)


def garch(samples: Samples, refits: Sequence[int], stop: int) -> TailForecast:
    """GJR-GARCH(1,1,1) with Student t innovations on daily returns, fitted anew at each row of `refits`.

    Between fits the variance follows its recursion with the parameters of the last one. Where a fit fails, EWMA with
    normal quantiles stands in until the next, with a `RiskWarning` (see `risk.factors.volatility.gjr_garch_t`).
    """
    n = samples.ts.size
    path, laws = np.full(n, np.nan), np.full((n, 2), np.nan)
    for first, last in zip(refits, [*refits[1:], stop], strict=True):
        past = samples.target[:first]
        fit = gjr_garch_t(past[np.isfinite(past)], RISKMETRICS_HALFLIFE_DAYS, f"{samples.symbol} by day")
        variance = float(fit.variance[-1])
        laws[first:last] = _innovations(fit)
        for row in range(first, last):
            path[row] = variance
            if np.isfinite(samples.target[row]):
                variance = next_variance(fit, variance, float(samples.target[row]))
    return _symmetric(path, laws, refits[0], stop)


def next_variance(fit: VolatilityFit, variance: float, outcome: float) -> float:
    """Variance of the next bar by a fitted model, after one more return.

    References
    ----------
    Glosten, Jagannathan & Runkle (1993), eq. 4.
    """
    p = fit.parameters
    if fit.model == "ewma":
        keep = decay(p["halflife_bars"])
        return keep * variance + (1.0 - keep) * outcome**2
    news = (p["alpha[1]"] + p["gamma[1]"] * (outcome < 0.0)) * outcome**2
    return p["omega"] * p["scale"] ** 2 + news + p["beta[1]"] * variance


def _innovations(fit: VolatilityFit) -> tuple[float, float]:
    """Quantile and mean beyond it of an innovation of variance 1, both positive."""
    if fit.model == "ewma":
        return gaussian_var(0.0, 1.0, LEVEL), gaussian_es(0.0, 1.0, LEVEL)
    degrees = fit.parameters["nu"]
    unit = math.sqrt((degrees - 2.0) / degrees)
    return unit * float(stdtrit(degrees, LEVEL)), unit * student_es(degrees, LEVEL)


def _symmetric(variance: FloatArray, laws: FloatArray, first: int, stop: int) -> TailForecast:
    """Both tails of a symmetric law: (n,) variances times (n, 2) quantile and mean beyond it of the innovation."""
    out = TailForecast.empty(variance.size)
    sides = np.array([-1.0, 1.0])
    deviation = np.sqrt(variance[first:stop])
    out.quantile[first:stop] = np.outer(deviation * laws[first:stop, 0], sides)
    out.shortfall[first:stop] = np.outer(deviation * laws[first:stop, 1], sides)
    return out
