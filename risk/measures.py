# SPDX-License-Identifier: Apache-2.0
"""Value at Risk, Expected Shortfall, their contributions and the errors of their estimators.

Sign and level: inputs are profits (gain positive), results are *losses* (positive is bad). ``level`` is the confidence,
e.g. 0.99; the tail probability is ``1 - level``.

Quantile conventions for a sample sorted by loss, worst first:

``"inverted_cdf"``
    VaR is the ``ceil(N*(1-level))``-th worst loss and ES the mean of that many worst losses (ORE's historical VaR).
``"linear"``
    VaR interpolates linearly between order statistics (type 7, R's default); ES is the mean of the losses at or beyond
    it (PerformanceAnalytics).
``"exact"``
    VaR as ``"inverted_cdf"``; ES integrates the empirical quantile over the tail exactly, so the boundary observation
    counts with its fraction (Acerbi & Tasche). It alone takes observation weights, and it is coherent.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit

from risk.errors import BadInput, InsufficientHistory

FloatArray = NDArray[np.float64]
Convention = Literal["inverted_cdf", "linear", "exact"]


class Estimate(NamedTuple):
    """A number and the standard error of its estimator, both in the unit of the input."""

    value: float
    standard_error: float


def value_at_risk(
    pnl: ArrayLike, level: float = 0.99, convention: Convention = "exact", weights: ArrayLike | None = None
) -> float:
    """Value at Risk of a sample of profits, shape (n,); the module names the conventions.

    Raises
    ------
    BadInput
        When the sample is empty or not finite, the level outside (0, 1), or weights unusable.

    References
    ----------
    Hyndman & Fan (1996), types 1 and 7.
    docs/risk-methodology.md, formula 5.1.

    Examples
    --------
    >>> value_at_risk(np.arange(-100.0, 0.0), 0.95)
    96.0
    """
    losses, weight = _tail_sorted(pnl, level, convention, weights)
    if convention == "linear":
        return float(np.quantile(losses, level, method="linear"))
    return float(losses[_tail_index(weight, 1.0 - level)])


def expected_shortfall(
    pnl: ArrayLike, level: float = 0.99, convention: Convention = "exact", weights: ArrayLike | None = None
) -> float:
    """Expected Shortfall of a sample of profits, shape (n,); the module names the conventions.

    Raises
    ------
    BadInput
        When the sample is empty or not finite, the level outside (0, 1), or weights unusable.

    References
    ----------
    Acerbi & Tasche (2002), *On the coherence of expected shortfall*, eq. 4.12.
    docs/risk-methodology.md, formula 5.2.

    Examples
    --------
    >>> round(expected_shortfall(np.arange(-100.0, 0.0), 0.95), 9)
    98.0
    """
    losses, weight = _tail_sorted(pnl, level, convention, weights)
    if convention == "linear":
        return float(losses[losses >= np.quantile(losses, level, method="linear")].mean())
    share = _tail_share(weight, 1.0 - level, whole_last=convention == "inverted_cdf")
    return float(losses[: share.size] @ share / share.sum())


def es_contributions(pnl_by_component: ArrayLike, level: float = 0.99) -> FloatArray:
    """Euler contributions to the ``"exact"`` Expected Shortfall of the sum; they add up to it.

    Parameters
    ----------
    pnl_by_component
        Shape (scenarios, components), profits.
    level
        Confidence.

    Returns
    -------
    Shape (components,): the mean loss of each component over the tail of the total. Scenarios with equal totals at the
    tail's edge count alike, so the order of the scenarios does not matter.

    Raises
    ------
    BadInput
        When the array is not two-dimensional or not finite.

    References
    ----------
    Tasche (2008), *Capital allocation to business units and sub-portfolios: the Euler principle*, eq. 3.12.
    docs/risk-methodology.md, formula 5.4.

    Examples
    --------
    >>> parts = np.array([[-3.0, 1.0], [1.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> es_contributions(parts, 0.75).tolist()
    [3.0, -1.0]
    """
    parts = np.asarray(pnl_by_component, dtype=np.float64)
    if parts.ndim != 2:
        raise BadInput(f"components of shape {parts.shape} must be (scenarios, components); reshape them")
    total = parts.sum(axis=1)
    losses, weight = _tail_sorted(total, level, "exact", None)
    share = _tail_share(weight, 1.0 - level, whole_last=False)
    edge = -losses[share.size - 1]
    beyond, tied = total < edge, total == edge
    shares = np.where(beyond, 1.0 / total.size, 0.0)
    shares[tied] = (share.sum() - shares.sum()) / tied.sum()
    return np.asarray(-(shares @ parts) / share.sum(), dtype=np.float64)


def var_estimate(pnl: ArrayLike, level: float = 0.99) -> Estimate:
    """VaR with its standard error from binomial order statistics, free of any density estimate.

    Parameters
    ----------
    pnl : (n,)
        Profits.
    level
        Confidence.

    Raises
    ------
    InsufficientHistory
        When fewer than two observations lie in the tail.

    References
    ----------
    Jorion (2007), *Value at Risk*, ch. 5.5 (quantile error ``sqrt(p(1-p)/n)/f``), with 1/f from the order statistics
    one binomial standard deviation to either side.

    Examples
    --------
    >>> estimate = var_estimate(np.linspace(-1.0, 1.0, 1001), 0.95)
    >>> round(estimate.standard_error, 4)
    0.0138
    """
    losses, weight = _tail_sorted(pnl, level, "exact", None)
    n, tail = losses.size, 1.0 - level
    _need_tail(n, tail)
    index = _tail_index(weight, tail)
    spread = max(1, round(math.sqrt(n * tail * level)))
    low, high = max(index - spread, 0), min(index + spread, n - 1)
    scale = math.sqrt(n * tail * level) / (high - low)
    return Estimate(float(losses[index]), float((losses[low] - losses[high]) * scale))


def es_estimate(pnl: ArrayLike, level: float = 0.99) -> Estimate:
    """Expected Shortfall with its asymptotic standard error.

    Parameters
    ----------
    pnl : (n,)
        Profits.
    level
        Confidence.

    Raises
    ------
    InsufficientHistory
        When fewer than two observations lie in the tail.

    References
    ----------
    Manistre & Hancock (2005), *Variance of the CTE estimator*, eq. 1:
    ``Var = (Var(X | tail) + level*(ES - VaR)^2) / (n*(1-level))``.
    docs/risk-methodology.md, formula 5.3.

    Examples
    --------
    >>> estimate = es_estimate(np.linspace(-1.0, 1.0, 1001), 0.95)
    >>> round(estimate.value, 3)
    0.951
    """
    losses, weight = _tail_sorted(pnl, level, "exact", None)
    tail = 1.0 - level
    _need_tail(losses.size, tail)
    share = _tail_share(weight, tail, whole_last=False)
    inside = losses[: share.size]
    mean = float(inside @ share / share.sum())
    variance = float(np.square(inside - mean) @ share / share.sum())
    gap = mean - float(inside[-1])
    return Estimate(mean, math.sqrt((variance + level * gap * gap) / (losses.size * tail)))


def gaussian_var(mean: float, deviation: float, level: float = 0.99) -> float:
    """VaR of a normal profit; `BadInput` when the level is outside (0, 1) or the deviation negative.

    Examples
    --------
    >>> round(gaussian_var(0.0, 1.0), 4)
    2.3263
    """
    _check_level(level, deviation)
    return float(-mean + deviation * ndtri(level))


def gaussian_es(mean: float, deviation: float, level: float = 0.99) -> float:
    """Expected Shortfall of a normal profit; refuses what `gaussian_var` does.

    References
    ----------
    McNeil, Frey & Embrechts (2015), *Quantitative Risk Management*, eq. 2.24.

    Examples
    --------
    >>> round(gaussian_es(0.0, 1.0), 4)
    2.6652
    """
    _check_level(level, deviation)
    z = ndtri(level)
    return float(-mean + deviation * math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) / (1.0 - level))


def student_var(degrees: float, level: float = 0.99) -> float:
    """VaR of a standard Student t profit (unit scale, not unit variance).

    Raises
    ------
    BadInput
        When the degrees are not positive or the level is outside (0, 1).

    Examples
    --------
    >>> round(student_var(4.0), 4)
    3.7469
    """
    _check_level(level)
    if not degrees > 0.0:
        raise BadInput(f"{degrees} degrees of freedom make no Student t; use more than 0")
    return float(stdtrit(degrees, level))


def student_es(degrees: float, level: float = 0.99) -> float:
    """Expected Shortfall of a standard Student t profit (unit scale); needs more than one degree of freedom.

    Raises
    ------
    BadInput
        When ``degrees <= 1``, where the tail has no mean, or the level is outside (0, 1).

    References
    ----------
    McNeil, Frey & Embrechts (2015), eq. 2.25.

    Examples
    --------
    >>> round(student_es(4.0), 4)
    5.2206
    """
    if not degrees > 1.0:
        raise BadInput(f"Student t with {degrees} degrees of freedom has no expected shortfall; use more than 1")
    _check_level(level)
    q = stdtrit(degrees, level)
    log_density = (
        math.lgamma(0.5 * (degrees + 1.0))
        - math.lgamma(0.5 * degrees)
        - 0.5 * math.log(degrees * math.pi)
        - 0.5 * (degrees + 1.0) * math.log1p(q * q / degrees)
    )
    return float(math.exp(log_density) / (1.0 - stdtr(degrees, q)) * (degrees + q * q) / (degrees - 1.0))


def cornish_fisher_var(pnl: ArrayLike, level: float = 0.99) -> float:
    """Modified VaR: the normal quantile corrected for sample skewness and excess kurtosis.

    Parameters
    ----------
    pnl : (n,)
        Profits.
    level
        Confidence.

    References
    ----------
    Favre & Galeano (2002), eq. 5; population moments as in PerformanceAnalytics.

    Examples
    --------
    >>> round(cornish_fisher_var([-1.0, 1.0], 0.95), 4)
    1.6852
    """
    sample = np.asarray(pnl, dtype=np.float64)
    _tail_sorted(sample, level, "exact", None)
    mean, deviation = float(sample.mean()), float(sample.std())
    if deviation == 0.0:
        return -mean
    standard = (sample - mean) / deviation
    skew, excess = float(np.mean(standard**3)), float(np.mean(standard**4)) - 3.0
    z = float(ndtri(1.0 - level))
    corrected = z + (z * z - 1.0) * skew / 6.0 + (z**3 - 3.0 * z) * excess / 24.0
    corrected -= (2.0 * z**3 - 5.0 * z) * skew * skew / 36.0
    return -mean - corrected * deviation


def gaussian_var_contributions(
    weights: ArrayLike, covariance: ArrayLike, level: float = 0.99, means: ArrayLike = 0.0
) -> FloatArray:
    """Euler contributions of positions to the normal VaR of a portfolio; they add up to it.

    Parameters
    ----------
    weights
        Shape (n,), positions.
    covariance
        Shape (n, n).
    means
        Shape (n,) or a scalar, expected profit of each position's unit.

    Returns
    -------
    Shape (n,), losses positive; a covariance that gives a variance below zero is refused.

    Examples
    --------
    >>> gaussian_var_contributions([1.0, 0.0], np.eye(2)).round(4).tolist()
    [2.3263, 0.0]
    """
    w, sigma = np.asarray(weights, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    marginal = sigma @ w
    variance = float(w @ marginal)
    _check_level(level, variance)
    deviation = math.sqrt(variance)
    expected = w * np.asarray(means, dtype=np.float64)
    if deviation == 0.0:
        return -expected
    return np.asarray(w * marginal * (float(ndtri(level)) / deviation) - expected, dtype=np.float64)


def _check_level(level: float, spread: float = 0.0) -> None:
    if not 0.0 < level < 1.0:
        raise BadInput(f"confidence level {level} must lie inside (0, 1); pass 0.99 for 99 %")
    if not spread >= 0.0:
        raise BadInput(f"a variance or deviation of {spread} must not be negative; correct the covariance")


def _tail_sorted(
    pnl: ArrayLike, level: float, convention: Convention, weights: ArrayLike | None
) -> tuple[FloatArray, FloatArray]:
    """Losses, worst first, and their probabilities; of equal ones no more than the tail needs."""
    sample = np.asarray(pnl, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise BadInput(f"profits of shape {sample.shape} must be a non-empty vector of finite numbers; clean them")
    _check_level(level)
    if weights is None:
        count = min(sample.size, int(sample.size * (1.0 - level)) + 2)
        return -np.sort(sample), np.full(count, 1.0 / sample.size)
    order = np.argsort(sample, kind="stable")
    weight = np.asarray(weights, dtype=np.float64)
    if convention != "exact":
        raise BadInput(f"the {convention} convention takes no weights; use exact")
    if weight.shape != sample.shape or not (weight >= 0.0).all() or not 0.0 < weight.sum() < np.inf:
        raise BadInput(f"weights of shape {weight.shape} must match {sample.shape}, be non-negative and not all zero")
    return -sample[order], weight[order] / weight.sum()


def _tail_share(weight: FloatArray, tail: float, whole_last: bool) -> FloatArray:
    """Probabilities of the worst observations up to ``tail``; the last one cut to fit unless ``whole_last``."""
    share = weight[: _tail_index(weight, tail) + 1].copy()
    if not whole_last:
        share[-1] -= max(float(share.sum()) - tail, 0.0)
    return share


def _tail_index(weight: FloatArray, tail: float) -> int:
    """Index of the observation at which the cumulated probability reaches ``tail``."""
    # A relative hair keeps 5 % of 100 observations at five, whatever the last bit of the sum.
    reached = np.cumsum(weight) >= tail * (1.0 - 1e-12)
    return int(np.argmax(reached)) if reached.any() else weight.size - 1


def _need_tail(n: int, tail: float) -> None:
    if n * tail < 2.0:
        raise InsufficientHistory(f"{n} observations hold {n * tail:.1f} in the tail, 2 needed; lengthen the history")
