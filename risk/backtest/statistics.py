# SPDX-License-Identifier: Apache-2.0
"""What a walk says about forecast and margin, class by class and pooled.

Accounts of one day break together, so account-days are not independent. `risk.backtest.daily` has the tests that take
that into account; the gates are made of them. Two older views stand beside them, neither of them a gate:

* *one a day*: of each day one account of the class, drawn at random, and the tests of Kupiec and of Christoffersen on
  that sequence; medians over many draws. They reject far less often than their name says.
* *by account*: each account's own sequence; a share of about the test size is rejected when all is well.

References
----------
Kupiec (1995), Christoffersen (1998), Basel (1996), Acerbi & Szekely (2014) as in `risk.coverage`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from risk.backtest.daily import LAGS, ORDERS, dynamic_quantile, independence_by_day, rate_by_day, score_by_day
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

    ``by_day`` (the rate), ``independence`` and ``dynamic`` (the dynamic quantile) are p-values of
    `risk.backtest.daily`; ``kupiec``, ``christoffersen`` and ``conditional`` those of the sequence of one account a
    day, medians over draws;
    ``accounts_kupiec`` and ``accounts_christoffersen`` shares of accounts rejected at 5 %; ``zones`` shares of
    account-days whose last 365 days are green, yellow and red; ``fifths`` as of the function.
    """

    observations: int
    breaches: int
    rate: float
    by_day: float
    independence: float
    dynamic: float
    kupiec: float
    christoffersen: float
    conditional: float
    accounts_kupiec: float
    accounts_christoffersen: float
    zones: tuple[float, float, float]
    fifths: tuple[float, ...]


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


def coverage_of(
    hits: BoolArray,
    height: FloatArray,
    rate: float,
    rng: np.random.Generator,
    draws: int = DRAWS,
    orders: int = ORDERS,
) -> Coverage:
    """Every test of a matrix of breaches.

    Parameters
    ----------
    hits : (T, A) bool
        Days that do not overlap x accounts.
    height : (T,) float64
        How high the forecast stood each day, such as the log of the mean VaR.
    rate : float
        Breach rate promised, such as 0.01.
    rng : numpy.random.Generator
        Of the draws.
    draws, orders : int
        Sequences of one account a day; random orders of the days.

    References
    ----------
    docs/risk/backtest.md, formulas 4 to 7.

    Examples
    --------
    >>> made = np.random.default_rng(1).random((1000, 20)) < 0.01
    >>> found = coverage_of(made, np.zeros(1000), 0.01, np.random.default_rng(2))
    >>> found.by_day > 0.05, found.independence > 0.05
    (True, True)
    """
    (days, accounts), shares = hits.shape, hits.mean(axis=1)
    picks = rng.integers(accounts, size=(draws, days))
    tests = np.array([_three(hits[np.arange(days), pick], rate) for pick in picks])
    own = np.array([_three(column, rate) for column in hits.T])
    kupiec_p, independence_p, conditional_p = (float(v) for v in np.median(tests, axis=0))
    return Coverage(
        observations=int(hits.size),
        breaches=int(hits.sum()),
        rate=float(hits.mean()),
        by_day=rate_by_day(shares, rate),
        independence=independence_by_day(hits, rng, draws=orders),
        # A walk of a few days cannot be regressed on its lags: nothing is rejected.
        dynamic=dynamic_quantile(shares, height, rng, draws=orders) if days > 2 * LAGS else 1.0,
        kupiec=kupiec_p,
        christoffersen=independence_p,
        conditional=conditional_p,
        accounts_kupiec=float((own[:, 0] < 0.05).mean()),
        accounts_christoffersen=float((own[:, 1] < 0.05).mean()),
        zones=zones(hits, rate),
        fifths=fifths(shares, height),
    )


def fifths(shares: FloatArray, height: FloatArray) -> tuple[float, ...]:
    """Mean share of breaches on the days whose forecast is in each fifth of its own heights, the lowest first; of
    fewer than five days each is a part.

    Parameters
    ----------
    shares, height : (T,) float64

    Examples
    --------
    >>> fifths(np.array([1.0, 0.0, 0.0, 0.0, 0.0]), np.arange(5.0))
    (1.0, 0.0, 0.0, 0.0, 0.0)
    """
    parts = np.array_split(shares[np.argsort(height, kind="stable")], min(5, shares.size))
    return tuple(float(part.mean()) for part in parts)


def _three(sequence: BoolArray, rate: float) -> tuple[float, float, float]:
    """p-values of Kupiec, independence and conditional coverage of one sequence."""
    unconditional = kupiec(sequence.size, int(sequence.sum()), rate)
    chained = independence(transitions(sequence))
    return unconditional.p_value, chained.p_value, conditional_coverage(unconditional, chained).p_value


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
    # 1 - Z2 is the mean over days of these, which is 1 when ES is right.
    days = (np.where(loss > var, np.maximum(loss, 0.0) / safe, 0.0) / rate).mean(axis=1)
    return Shortfall(z1, z2, float(ndtr(-score_by_day(days, 1.0))) if days.any() else 1.0, critical)


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
    height = np.log(np.maximum(walk.var[:, members].mean(axis=1), 1e-9))
    return ClassResult(
        name=name,
        accounts=int(members.size),
        coverage=coverage_of(walk.hits[:, members], height, rate, rng),
        shortfall=shortfall_of(loss, walk.var[:, members], walk.es[:, members], rate, critical),
        mm_rate=float((loss > walk.maintenance[:, members]).mean()),
        im_rate=float((loss > initial).mean()),
        worst=float((loss / initial).max()),
        mean_im=float(initial.mean()),
        mean_es=float(walk.es[:, members].mean()),
        cycle=procyclicality(initial.mean(axis=1)),
    )
