# SPDX-License-Identifier: Apache-2.0
"""Tests of a matrix of breaches, days x accounts, that neither pretend that accounts of a day are independent nor throw
all but one of them away.

A right forecast of level 1 - p breaches with probability p whatever has happened before. So, whatever accounts of one
day have in common, a day's share of breaches has the mean p given all days before it. From that follow

* the *rate*: the mean share is p, its error taken from the days as clusters;
* *independence*: an account that breached breaches no more readily on the days after;
* the *dynamic quantile*: neither the shares of the days before nor how high the forecast itself stands tells the share
  of today.

The last two are measured against the same days in another order, which keeps everything that accounts of one day have
in common and nothing else; breaches at 1 % are too few for limits of large samples.

References
----------
Kupiec (1995) and Christoffersen (1998) for one account; Liang & Zeger (1986), *Longitudinal data analysis using
generalized linear models*, eq. 5 (sums by cluster); Engle & Manganelli (2004), *CAViaR*, section 6 (dynamic quantile);
Dufour (2006), *Monte Carlo tests with nuisance parameters* (p-values by simulation); Holm (1979).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from risk.coverage import kupiec
from risk.errors import BadInput
from risk.market.history import FloatArray

BoolArray = NDArray[np.bool_]

# Breaches within so many decisions after a breach count as following it: a week of trading.
LAGS = 5
ORDERS = 999
# Days drawn at once, so that a long walk does not fill the memory.
_BLOCK_CELLS = 4_000_000


def score_by_day(values: FloatArray, target: float) -> float:
    """How many deviations the mean of daily values lies above a target, the deviation being that under the target.

    Values are zero on most days, as breaches are. Under the target the days that are not zero come ``target / mean`` as
    often as they did, and are otherwise as they were; taking the error from there instead of from the days as they came
    keeps the size of the test where such days are few (few of them look exact when they are only few).

    Parameters
    ----------
    values : (T,) float64
        Zero or more; one at least above zero.
    target
        Mean under the hypothesis.

    Raises
    ------
    BadInput
        When a value is below zero, or none is above it.

    References
    ----------
    docs/risk/backtest.md, formula 5; the score test of Rao (1948).

    Examples
    --------
    >>> round(score_by_day(np.array([0.0] * 98 + [1.0] * 2), 0.01), 3)  # of one account: (x - Tp) / sqrt(T p (1 - p))
    1.005
    """
    mean = float(values.mean())
    if not mean > 0.0 or float(values.min()) < 0.0:
        raise BadInput(f"daily values have the mean {mean}; a score needs values of zero or more, some above zero")
    variance = target / mean * float(np.square(values).mean()) - target * target
    return (mean - target) / float(np.sqrt(variance / values.size))


def rate_by_day(shares: FloatArray, rate: float) -> float:
    """Two-sided p-value that the mean daily share of breaches is the rate.

    Parameters
    ----------
    shares : (T,) float64
        Share of accounts that breach each day.
    rate
        Breach rate under the hypothesis.

    References
    ----------
    docs/risk/backtest.md, formula 5.

    Examples
    --------
    >>> round(rate_by_day(np.array([0.0, 0.02] * 50), 0.01), 3)
    1.0
    """
    if not shares.any():
        # Nothing is known of how accounts break together: they count as one.
        return kupiec(shares.size, 0, rate).p_value
    return float(2.0 * ndtr(-abs(score_by_day(shares, rate))))


def independence_by_day(hits: BoolArray, rng: np.random.Generator, *, lags: int = LAGS, draws: int = ORDERS) -> float:
    """One-sided p-value that accounts which breached breach no more readily on the `lags` days after.

    The statistic counts pairs of breaches of one account at most `lags` decisions apart; the law is that of the same
    days in `draws` random orders.

    Parameters
    ----------
    hits : (T, A) bool
        Breaches of each account in time order.
    rng : numpy.random.Generator
    lags, draws : int

    References
    ----------
    docs/risk/backtest.md, formula 6.

    Examples
    --------
    >>> days = np.zeros((400, 3), dtype=bool)
    >>> days[[50, 51, 120, 122, 300, 301]] = True
    >>> independence_by_day(days, np.random.default_rng(1)) < 0.05
    True
    """
    rows = np.flatnonzero(hits.any(axis=1))
    if rows.size < 2:
        return 1.0
    together = hits[rows].astype(np.float64) @ hits[rows].T
    seen = _pairs(rows[None, :], together, lags)[0]
    made = np.concatenate([_pairs(days, together, lags) for days in _places(hits.shape[0], rows.size, rng, draws)])
    return float((1 + np.count_nonzero(made >= seen - 1e-9)) / (1 + made.size))


def _places(days: int, taken: int, rng: np.random.Generator, draws: int) -> list[NDArray[np.int64]]:
    """Where `taken` rows come to lie when `days` of them are shuffled, block after block of (n, taken)."""
    block = max(1, _BLOCK_CELLS // days)
    sizes = [min(block, draws - low) for low in range(0, draws, block)]
    return [rng.permuted(np.tile(np.arange(days), (n, 1)), axis=1)[:, :taken] for n in sizes]


def _pairs(places: NDArray[np.int64], together: FloatArray, lags: int) -> FloatArray:
    """(n,) breaches of one account at most `lags` days apart; `places` (n, D) the days of D rows that hold breaches."""
    order = np.argsort(places, axis=1)
    days = np.take_along_axis(places, order, axis=1)
    total = np.zeros(places.shape[0])
    for step in range(1, min(lags, places.shape[1] - 1) + 1):
        near = days[:, step:] - days[:, :-step] <= lags
        total += (together[order[:, :-step], order[:, step:]] * near).sum(axis=1)
    return total


def dynamic_quantile(
    shares: FloatArray, forecast: FloatArray, rng: np.random.Generator, *, lags: int = LAGS, draws: int = ORDERS
) -> float:
    """p-value that neither the last `lags` shares of breaches nor the height of the forecast tell today's share.

    The regression of Engle and Manganelli on daily shares, but for its constant, which is the rate's to test; the law
    of its explained sum of squares is that of the same shares in `draws` random orders against the forecasts as they
    were.

    Parameters
    ----------
    shares : (T,) float64
        Share of accounts that breach each day.
    forecast : (T,) float64
        How high the forecast stood that day, such as the log of the mean VaR.
    rng : numpy.random.Generator
    lags, draws : int

    Raises
    ------
    BadInput
        When the lengths differ, or there are too few days for the lags.

    References
    ----------
    docs/risk/backtest.md, formula 7.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> height, luck = rng.standard_normal(2000), rng.random(2000)
    >>> dynamic_quantile((luck < 0.01) * 1.0, height, rng, draws=99) > 0.05
    True
    >>> dynamic_quantile((luck < np.where(height < -1.0, 0.05, 0.002)) * 1.0, height, rng, draws=99)
    0.01
    """
    if shares.shape != forecast.shape or shares.size <= 2 * lags:
        raise BadInput(f"{shares.size} shares and {forecast.size} forecasts: need as many of both, above {2 * lags}")
    if shares.std() == 0.0:
        return 1.0
    rows = np.flatnonzero(shares)
    seen = _explained(rows[None, :], shares[rows], forecast, lags)[0]
    places = _places(shares.size, rows.size, rng, draws)
    made = np.concatenate([_explained(days, shares[rows], forecast, lags) for days in places])
    return float((1 + np.count_nonzero(made >= seen - 1e-9)) / (1 + made.size))


def _explained(places: NDArray[np.int64], values: FloatArray, forecast: FloatArray, lags: int) -> FloatArray:
    """(n,) share of the variance of daily values that their own lags and the forecast explain; zero but at `places`."""
    series = np.zeros((places.shape[0], forecast.size))
    np.put_along_axis(series, places, np.broadcast_to(values, places.shape), axis=1)
    series -= values.sum() / forecast.size
    height = np.broadcast_to(forecast[lags:] - forecast[lags:].mean(), series[:, lags:].shape)
    by = np.stack([*(series[:, lags - k : -k] for k in range(1, lags + 1)), height], axis=1)
    today = series[:, lags:]
    cross = np.einsum("nkt,nt->nk", by, today)
    square = np.einsum("nkt,njt->nkj", by, by)
    # A forecast that never moves explains nothing; the smallest ridge leaves it so.
    square += 1e-12 * np.trace(square, axis1=1, axis2=2)[:, None, None] * np.eye(lags + 1)
    solved = np.linalg.solve(square, cross[:, :, None])[:, :, 0]
    return np.asarray((cross * solved).sum(axis=1) / np.square(today).sum(axis=1))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p-values of several tests so adjusted that, when every hypothesis is true, one is below a size as often as that.

    References
    ----------
    Holm (1979), *A simple sequentially rejective multiple test procedure*.

    Examples
    --------
    >>> holm([0.04, 0.01, 0.5])
    (0.08, 0.03, 0.5)
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    out, worst = [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[i]))
        out[i] = worst
    return tuple(out)
