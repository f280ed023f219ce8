# SPDX-License-Identifier: Apache-2.0
"""What a walk says about forecast and margin, class by class and pooled.

Accounts of one day break together, so account-days are not independent. Three views that do not pretend otherwise:

* *one a day*: of each day one account of the class, drawn at random. That sequence is what the tests of Kupiec and of
  Christoffersen are made for; statistics are medians over many draws, so that no draw is the lucky one.
* *by day*: the share of accounts that breach, day for day, is one observation; its mean is tested against the rate, and
  whether the same accounts breach on consecutive days, by their variance over days.
* *by account*: each account's own sequence; a share of about the test size is rejected when all is well.

References
----------
Kupiec (1995), Christoffersen (1998), Basel (1996), Acerbi & Szekely (2014) as in `risk.coverage`; clustering as in
Liang & Zeger (1986), *Longitudinal data analysis using generalized linear models*, eq. 5 (sums by cluster).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from risk.backtest.walk import Walk
from risk.coverage import (
    Procyclicality,
    acerbi_szekely,
    conditional_coverage,
    independence,
    kupiec,
    procyclicality,
    shortfall_critical,
    traffic_light,
    transitions,
)
from risk.market.history import FloatArray, IntArray

BoolArray = NDArray[np.bool_]

DRAWS = 201
LIGHT_DAYS = 365
# Tails of daily crypto returns: the law under which the critical value of Z2 is simulated.
STUDENT_DEGREES = 4.0


@dataclass(frozen=True, slots=True)
class Coverage:
    """Whether breaches come as often, and as unevenly, as they may.

    ``kupiec``, ``christoffersen`` (independence) and ``conditional`` are p-values of the sequence of one account a day,
    medians over draws; ``by_day`` and ``clustering`` those of the tests by day; ``accounts_kupiec`` and
    ``accounts_christoffersen`` shares of accounts rejected at 5 %; ``zones`` shares of account-days whose last 365 days
    are green, yellow and red.
    """

    observations: int
    breaches: int
    rate: float
    kupiec: float
    christoffersen: float
    conditional: float
    by_day: float
    clustering: float
    accounts_kupiec: float
    accounts_christoffersen: float
    zones: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Acerbi and Szekely's statistics over all account-days, the p-value of Z2 by day (one side: ES too low), and the
    critical value at 5 % of as many observations as there are days, profits Student with 4 degrees.
    """

    z1: float
    z2: float
    z2_p: float
    critical: float


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One class of accounts: forecast, margin, what it costs and how it moves.

    ``mm_rate`` and ``im_rate`` are shares of account-days whose loss passed the margin; ``worst`` the largest loss over
    initial margin; ``mean_im`` and ``mean_es`` per USD of gross notional; ``cycle`` that of the mean initial margin.
    """

    name: str
    accounts: int
    coverage: Coverage
    shortfall: Shortfall
    mm_rate: float
    im_rate: float
    worst: float
    mean_im: float
    mean_es: float
    cycle: Procyclicality


def coverage_of(hits: BoolArray, rate: float, rng: np.random.Generator, draws: int = DRAWS) -> Coverage:
    """Every test of a matrix of breaches.

    Parameters
    ----------
    hits : (T, A) bool
        Days that do not overlap x accounts.
    rate : float
        Breach rate promised, such as 0.01.
    rng : numpy.random.Generator
        Of the draws.
    draws : int

    References
    ----------
    docs/risk/backtest.md, formula 4.

    Examples
    --------
    >>> made = np.random.default_rng(1).random((1000, 20)) < 0.01
    >>> found = coverage_of(made, 0.01, np.random.default_rng(2))
    >>> bool(found.kupiec > 0.05), bool(found.by_day > 0.05)
    (True, True)
    """
    days, accounts = hits.shape
    picks = rng.integers(accounts, size=(draws, days))
    tests = np.array([_three(hits[np.arange(days), pick], rate) for pick in picks])
    own = np.array([_three(column, rate) for column in hits.T])
    kupiec_p, independence_p, conditional_p = (float(v) for v in np.median(tests, axis=0))
    return Coverage(
        observations=int(hits.size),
        breaches=int(hits.sum()),
        rate=float(hits.mean()),
        kupiec=kupiec_p,
        christoffersen=independence_p,
        conditional=conditional_p,
        by_day=rate_by_day(hits.mean(axis=1), rate),
        clustering=clustering_by_day(hits),
        accounts_kupiec=float((own[:, 0] < 0.05).mean()),
        accounts_christoffersen=float((own[:, 1] < 0.05).mean()),
        zones=zones(hits, rate),
    )


def _three(sequence: BoolArray, rate: float) -> tuple[float, float, float]:
    """p-values of Kupiec, independence and conditional coverage of one sequence."""
    unconditional = kupiec(sequence.size, int(sequence.sum()), rate)
    chained = independence(transitions(sequence))
    return unconditional.p_value, chained.p_value, conditional_coverage(unconditional, chained).p_value


def rate_by_day(shares: FloatArray, rate: float) -> float:
    """Two-sided p-value that the mean daily share of breaches is the rate, its error taken from the days themselves.

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
    error = float(shares.std(ddof=1)) / np.sqrt(shares.size)
    if error == 0.0:
        # Days that are all the same say nothing of their error: all accounts count as one.
        return kupiec(shares.size, round(float(shares.sum())), rate).p_value
    return float(2.0 * ndtr(-abs(float(shares.mean()) - rate) / error))


def clustering_by_day(hits: BoolArray) -> float:
    """One-sided p-value that accounts which breached do not breach more readily at the next decision.

    ``sum_t s_t / sqrt(sum_t s_t^2)`` with ``s_t`` the sum over accounts of the product of consecutive centred breaches.

    Parameters
    ----------
    hits : (T, A) bool
        Breaches of each account in time order.

    References
    ----------
    docs/risk/backtest.md, formula 6.
    """
    centred = hits - hits.mean(axis=0)
    products = (centred[1:] * centred[:-1]).sum(axis=1)
    spread = float(np.sqrt(np.square(products).sum()))
    return 1.0 if spread == 0.0 else float(ndtr(-float(products.sum()) / spread))


def zones(hits: BoolArray, rate: float) -> tuple[float, float, float]:
    """Shares of account-days whose last 365 days are green, yellow, red; the whole walk where it is shorter.

    Parameters
    ----------
    hits : (T, A) bool
        Breaches of each account in time order.
    rate
        Nominal breach rate.
    """
    length = min(LIGHT_DAYS, hits.shape[0])
    total = np.vstack([np.zeros((1, hits.shape[1]), dtype=np.int64), np.cumsum(hits, axis=0)])
    counts = total[length:] - total[:-length]
    found = np.array([traffic_light(length, x, rate) for x in range(length + 1)])[counts]
    return tuple(float((found == zone).mean()) for zone in ("green", "yellow", "red"))  # type: ignore[return-value]


def shortfall_of(loss: FloatArray, var: FloatArray, es: FloatArray, rate: float, critical: float) -> Shortfall:
    """Z1 and Z2 of (T, A) losses against forecasts; `critical` from `shortfall_critical`."""
    safe = np.maximum(es, 1e-9)
    z1, z2 = acerbi_szekely(-loss.ravel(), var.ravel(), safe.ravel(), rate)
    days = 1.0 - (np.where(loss > var, loss / safe, 0.0) / rate).mean(axis=1)
    error = float(days.std(ddof=1)) / np.sqrt(days.size)
    return Shortfall(z1, z2, float(ndtr(z2 / error)) if error > 0.0 else 1.0, critical)


def summarise(walk: Walk, level: float, rng: np.random.Generator) -> tuple[ClassResult, ...]:
    """Every class, and ``all`` of them pooled, in that order.

    Parameters
    ----------
    walk : Walk
    level : float
        Confidence of the forecast.
    rng : numpy.random.Generator
    """
    rate = 1.0 - level
    critical = shortfall_critical(walk.at.size, rate, 0.05, 2_000, rng, STUDENT_DEGREES)
    kinds = list(dict.fromkeys(walk.population.classes))
    groups = [(kind, walk.population.members(kind)) for kind in kinds]
    groups.append(("all", np.arange(len(walk.population))))
    return tuple(_class(walk, name, members, rate, critical, rng) for name, members in groups)


def _class(
    walk: Walk, name: str, members: IntArray, rate: float, critical: float, rng: np.random.Generator
) -> ClassResult:
    loss, initial = walk.loss[:, members], walk.initial[:, members]
    return ClassResult(
        name=name,
        accounts=int(members.size),
        coverage=coverage_of(walk.hits[:, members], rate, rng),
        shortfall=shortfall_of(loss, walk.var[:, members], walk.es[:, members], rate, critical),
        mm_rate=float((loss > walk.maintenance[:, members]).mean()),
        im_rate=float((loss > initial).mean()),
        worst=float((loss / initial).max()),
        mean_im=float(initial.mean()),
        mean_es=float(walk.es[:, members].mean()),
        cycle=procyclicality(initial.mean(axis=1)),
    )
