# SPDX-License-Identifier: Apache-2.0
"""Backtests of a margin or risk forecast: does it cover as often as it says, evenly in time, and by how much not.

References
----------
Kupiec (1995), *Techniques for verifying the accuracy of risk measurement models*. Christoffersen (1998), *Evaluating
interval forecasts*. Basel Committee (1996), *Supervisory framework for the use of backtesting*. Acerbi & Szekely
(2014), *Backtesting expected shortfall*. Murphy, Vasios & Vause (2014), *An investigation into the procyclicality of
risk-based initial margin models*, Bank of England FSP 29. Gibbs & Candes (2021), *Adaptive conformal inference*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, chdtrc, xlogy

from risk.errors import BadInput, InsufficientHistory

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Zone = Literal["green", "yellow", "red"]


class LikelihoodRatio(NamedTuple):
    """A likelihood-ratio statistic and the probability of one at least as large under the hypothesis."""

    statistic: float
    p_value: float

    def rejected(self, size: float = 0.05) -> bool:
        """Whether the hypothesis falls at a test size."""
        return self.p_value < size


def kupiec(observations: int, breaches: int, rate: float) -> LikelihoodRatio:
    """Proportion of failures: are ``breaches`` of ``observations`` compatible with a breach rate?

    References
    ----------
    Kupiec (1995), eq. 3: ``-2 ln[(1-p)^(T-x) p^x / ((1-x/T)^(T-x) (x/T)^x)]``, chi-squared with one degree.
    docs/risk-methodology.md, formula 12.1.

    Raises
    ------
    BadInput
        When the counts or the rate make no sense.

    Examples
    --------
    >>> tuple(round(v, 5) for v in kupiec(1043, 57, 0.05))
    (0.46147, 0.49694)
    """
    _check_rate(rate)
    _check_counts(observations, breaches)
    seen, kept = breaches / observations, observations - breaches
    null = xlogy(kept, 1.0 - rate) + xlogy(breaches, rate)
    found = xlogy(kept, 1.0 - seen) + xlogy(breaches, seen)
    statistic = max(float(2.0 * (found - null)), 0.0)
    return LikelihoodRatio(statistic, float(chdtrc(1, statistic)))


def transitions(hits: ArrayLike) -> NDArray[np.int64]:
    """Counts of (before, after) pairs of a breach sequence, ``[[n00, n01], [n10, n11]]``.

    Examples
    --------
    >>> transitions([0, 1, 1, 0]).tolist()
    [[0, 1], [1, 1]]
    """
    flags = _hits(hits).astype(np.int64)
    return np.bincount(2 * flags[:-1] + flags[1:], minlength=4).reshape(2, 2)


def independence(counts: ArrayLike) -> LikelihoodRatio:
    """Christoffersen's independence: does a breach make the next one likelier? ``counts`` as of :func:`transitions`.

    Parameters
    ----------
    counts : (2, 2)
        ``[[n00, n01], [n10, n11]]``.

    Raises
    ------
    BadInput
        When the counts are not four numbers of zero or more.
    InsufficientHistory
        When there is no pair of observations.

    References
    ----------
    Christoffersen (1998), section 4: first-order Markov chain against independence, chi-squared with one degree.
    docs/risk-methodology.md, formula 12.2.

    Examples
    --------
    >>> tuple(round(v, 5) for v in independence([[932, 53], [53, 4]]))
    (0.25866, 0.61104)
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.shape != (2, 2) or not (np.isfinite(table) & (table >= 0.0)).all():
        raise BadInput(f"transitions {table.tolist()} must be four counts of zero or more; use transitions(hits)")
    (n00, n01), (n10, n11) = table
    calm, hit = n00 + n01, n10 + n11
    if calm + hit == 0.0:
        raise InsufficientHistory(
            "independence needs two observations one after the other; hand over a longer sequence"
        )
    after_calm = n01 / calm if calm else 0.0
    after_hit = n11 / hit if hit else 0.0
    overall = (n01 + n11) / (calm + hit)
    null = xlogy(n00 + n10, 1.0 - overall) + xlogy(n01 + n11, overall)
    found = xlogy(n00, 1.0 - after_calm) + xlogy(n01, after_calm) + xlogy(n10, 1.0 - after_hit) + xlogy(n11, after_hit)
    statistic = max(float(2.0 * (found - null)), 0.0)
    return LikelihoodRatio(statistic, float(chdtrc(1, statistic)))


def conditional_coverage(coverage: LikelihoodRatio, independent: LikelihoodRatio) -> LikelihoodRatio:
    """Christoffersen's joint test: the two statistics add up, chi-squared with two degrees.

    Examples
    --------
    >>> both = conditional_coverage(kupiec(1043, 57, 0.05), independence([[932, 53], [53, 4]]))
    >>> tuple(round(v, 5) for v in both)
    (0.72013, 0.69763)
    """
    statistic = coverage.statistic + independent.statistic
    return LikelihoodRatio(statistic, float(chdtrc(2, statistic)))


def accepted_breaches(observations: int, rate: float, size: float = 0.05) -> tuple[int, int]:
    """Least and greatest number of breaches that :func:`kupiec` does not reject.

    Examples
    --------
    >>> accepted_breaches(365, 0.01), accepted_breaches(1000, 0.05)
    ((1, 7), (38, 64))
    """
    kept = [x for x in range(observations + 1) if not kupiec(observations, x, rate).rejected(size)]
    return kept[0], kept[-1]


def traffic_light(observations: int, breaches: int, rate: float = 0.01) -> Zone:
    """Basel's zone: yellow from a cumulative probability of 95 %, red from 99.99 %.

    Counts are whole, so a right model is green a little less often than 95 %: 92.4 % of the time in 365 days at 1 %.

    Raises
    ------
    BadInput
        When the counts or the rate make no sense.

    References
    ----------
    docs/risk-methodology.md, formula 12.3.

    Examples
    --------
    >>> traffic_light(250, 4), traffic_light(250, 5), traffic_light(250, 10)
    ('green', 'yellow', 'red')
    """
    _check_rate(rate)
    _check_counts(observations, breaches)
    below = float(bdtr(breaches, observations, rate))
    if below < 0.95:
        return "green"
    return "yellow" if below < 0.9999 else "red"


def acerbi_szekely(
    profit: ArrayLike, value_at_risk: ArrayLike, shortfall: ArrayLike, tail: float
) -> tuple[float, float]:
    """Z1 and Z2 of a forecast of Expected Shortfall; both are 0 in expectation when it is right, negative when too low.

    Parameters
    ----------
    profit, value_at_risk, shortfall : (n,)
        Realised profits; forecasts as positive losses.
    tail
        Probability of the tail, such as 0.025.

    Returns
    -------
    (Z1, Z2)
        Z1 is ``nan`` without a breach.

    Raises
    ------
    BadInput
        When shapes differ, a value is not finite, a shortfall is not positive, or the tail not inside (0, 1).

    References
    ----------
    Acerbi & Szekely (2014), tests 1 and 2: ``Z1 = sum X I/ES / N + 1``, ``Z2 = sum X I/(T*alpha*ES) + 1``.
    docs/risk-methodology.md, formula 12.4.

    Examples
    --------
    >>> acerbi_szekely([-2.0, 1.0, 1.0, 1.0], [1.0] * 4, [2.0] * 4, 0.25)
    (0.0, 0.0)
    """
    x, var, es = (np.asarray(values, dtype=np.float64) for values in (profit, value_at_risk, shortfall))
    _check_rate(tail)
    if not x.shape == var.shape == es.shape or x.ndim != 1 or x.size == 0:
        raise BadInput(f"profit {x.shape}, VaR {var.shape} and ES {es.shape} must be vectors of one length; align them")
    if not (np.isfinite(x) & np.isfinite(var) & np.isfinite(es)).all():
        # A profit or forecast that is no number never breaches, and the forecast would look better than it is.
        raise BadInput(
            "profit, VaR and ES must be finite to be tested; leave out the days without a price or a forecast"
        )
    if not (es > 0.0).all():
        raise BadInput("an Expected Shortfall of zero or less cannot be tested; leave out what holds no risk")
    breach = x < -var
    share = float((x[breach] / es[breach]).sum())
    count = int(breach.sum())
    return (share / count + 1.0 if count else float("nan")), share / (x.size * tail) + 1.0


def shortfall_critical(
    observations: int, tail: float, size: float, draws: int, rng: np.random.Generator, degrees: float = np.inf
) -> float:
    """Critical value of Z2 by simulation: below it a forecast is rejected at ``size``.

    ``degrees`` of the Student law of profits (infinite: normal), for which VaR and ES are the true ones.

    Raises
    ------
    BadInput
        When there is nothing to draw, or a probability is not inside (0, 1).
    """
    _check_rate(tail)
    _check_rate(size)
    if observations < 1 or draws < 1:
        raise BadInput(f"{draws} draws of {observations} observations: need at least one of each")
    from risk.measures import gaussian_es, gaussian_var, student_es, student_var

    level, found = 1.0 - tail, np.empty(draws)
    normal = not np.isfinite(degrees)
    var = gaussian_var(0.0, 1.0, level) if normal else student_var(degrees, level)
    es = gaussian_es(0.0, 1.0, level) if normal else student_es(degrees, level)
    block = max(1, 2_000_000 // observations)
    for low in range(0, draws, block):
        shape = (min(block, draws - low), observations)
        x = rng.standard_normal(shape) if normal else rng.standard_t(degrees, shape)
        found[low : low + shape[0]] = np.where(x < -var, x, 0.0).sum(axis=1) / (es * observations * tail) + 1.0
    return float(np.quantile(found, size))


@dataclass(frozen=True, slots=True)
class Procyclicality:
    """How hard a margin series pulls: peak over trough, and the largest relative rise within 1, 5 and 30 days."""

    peak_to_trough: float
    rise_1d: float
    rise_5d: float
    rise_30d: float


def procyclicality(margin: ArrayLike, steps_a_day: int = 1) -> Procyclicality:
    """Procyclicality of a margin series of a constant book, in steps of one day or a part of one.

    Parameters
    ----------
    margin : (n,)
        Positive margins in time order, USD.
    steps_a_day
        Observations a day.

    Raises
    ------
    BadInput
        When there are fewer than two margins, or one is not positive and finite.

    References
    ----------
    Murphy, Vasios & Vause (2014), section 3.
    docs/risk-methodology.md, formula 12.5.

    Examples
    --------
    >>> procyclicality([1.0, 1.0, 1.5, 1.2])
    Procyclicality(peak_to_trough=1.5, rise_1d=0.5, rise_5d=0.5, rise_30d=0.5)
    """
    series = np.asarray(margin, dtype=np.float64)
    if series.ndim != 1 or series.size < 2 or not ((series > 0.0) & (series < np.inf)).all():
        raise BadInput("procyclicality needs a positive series of at least two margins; leave out days without a book")
    rises = [_largest_rise(series, days * steps_a_day) for days in (1, 5, 30)]
    return Procyclicality(float(series.max() / series.min()), *rises)


def _largest_rise(series: FloatArray, steps: int) -> float:
    """Largest relative rise over at most ``steps`` steps."""
    best = 0.0
    for lag in range(1, min(steps, series.size - 1) + 1):
        best = max(best, float((series[lag:] / series[:-lag]).max()) - 1.0)
    return best


def adaptive_rate(hits: ArrayLike, target: float, step: float = 0.01) -> FloatArray:
    """Adaptive conformal inference as a monitor: the nominal rate that would have kept the target, after each hit.

    ``a[t+1] = a[t] + step*(target - hit[t])``, from ``target``. A rate far below the target says that the forecast
    breaches too often. The bound on the long-run error is too weak at 1 % to promise anything; it is watched only.

    Parameters
    ----------
    hits : (n,)
        0 or 1 in time order.
    target, step
        Breach rate wanted, and how fast the nominal one moves.

    Returns
    -------
    (n,) float64, the nominal rate after each observation.

    References
    ----------
    Gibbs & Candes (2021), eq. 2.
    docs/risk-methodology.md, formula 12.6.

    Examples
    --------
    >>> adaptive_rate([1, 0], 0.01).round(6).tolist()
    [0.0001, 0.0002]
    """
    _check_rate(target)
    flags = _hits(hits).astype(np.float64)
    return np.asarray(target + step * np.cumsum(target - flags), dtype=np.float64)


def _hits(hits: ArrayLike) -> BoolArray:
    flags = np.asarray(hits)
    if flags.ndim != 1 or not np.isin(flags, (0, 1)).all():
        raise BadInput("a breach sequence is a vector of 0 and 1, in time order")
    return flags.astype(bool)


def _check_counts(observations: int, breaches: int) -> None:
    if not 0 <= breaches <= observations or observations == 0:
        raise BadInput(f"{breaches} breaches of {observations} observations: need 0 <= breaches <= observations > 0")


def _check_rate(rate: float) -> None:
    if not 0.0 < rate < 1.0:
        raise BadInput(f"a rate of {rate} must lie inside (0, 1); 0.01 is one in a hundred")
