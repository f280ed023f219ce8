# SPDX-License-Identifier: Apache-2.0
"""How large the insurance fund must be: a high quantile of what simulated paths draw from it, with its error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from risk.errors import BadInput, InsufficientHistory
from risk.market.history import FloatArray

MIN_PATHS = 20
MIN_EXCESSES = 20


@dataclass(frozen=True, slots=True)
class TailFit:
    """A generalised Pareto law over a threshold: ``shape`` xi, ``scale`` beta in USD, and the draws it rests on."""

    threshold_usd: float
    shape: float
    scale: float
    excesses: int


@dataclass(frozen=True, slots=True)
class FundSizing:
    """What the fund must hold so that it suffices on a share ``level`` of the paths, USD.

    Attributes
    ----------
    paths, draws : int
        Simulated; and those on which the fund pays at all.
    beyond : float
        Paths that lie beyond the level on average: below about ten the empirical quantile is an order statistic of the
        very end, and its interval too short.
    empirical_usd, empirical_interval_usd
        Quantile of the draws and its bootstrap interval.
    tail_usd, tail_interval_usd, tail
        The same by the fitted tail; None where too few draws are positive to fit one.
    mean_usd, worst_usd : float
    confidence : float
        Of the intervals.
    """

    level: float
    paths: int
    draws: int
    beyond: float
    empirical_usd: float
    empirical_interval_usd: tuple[float, float]
    tail_usd: float | None
    tail_interval_usd: tuple[float, float] | None
    tail: TailFit | None
    mean_usd: float
    worst_usd: float
    confidence: float

    def plain(self) -> dict[str, Any]:
        """JSON-safe."""
        return asdict(self)


def size_fund(
    draws: FloatArray,
    rng: np.random.Generator,
    *,
    level: float = 0.999,
    confidence: float = 0.95,
    resamples: int = 2_000,
    tail_share: float = 0.10,
) -> FundSizing:
    """Size the fund by what paths drew from one without a limit.

    Parameters
    ----------
    draws : (n,) float64
        USD, none negative.
    rng : numpy.random.Generator
        For the bootstrap.
    level, confidence : float
    resamples : int
        A tenth of them refit the tail.
    tail_share : float
        Share of the draws that the tail is fitted to, fewer where fewer are positive.

    Raises
    ------
    InsufficientHistory
        Fewer than 20 paths.
    BadInput
        Draws that are negative or not finite.

    References
    ----------
    Efron & Tibshirani (1993), percentile interval, ch. 13; McNeil, Frey & Embrechts (2005), eq. 7.18:
    ``q = u + beta/xi * ((n/N_u * (1-level))^-xi - 1)``.

    Examples
    --------
    >>> size_fund(np.zeros(100), np.random.default_rng(1)).empirical_usd
    0.0
    """
    values = np.asarray(draws, dtype=np.float64)
    if values.size < MIN_PATHS:
        raise InsufficientHistory(f"fund of {values.size} paths: simulate at least {MIN_PATHS}")
    if not (np.isfinite(values) & (values >= 0)).all() or not 0.5 < level < 1 or not 0.5 < confidence < 1:
        raise BadInput("fund draws must be finite and not negative, level and confidence in (0.5, 1)")
    sides = [(1 - confidence) / 2, (1 + confidence) / 2]
    again = [values[rng.integers(values.size, size=values.size)] for _ in range(resamples)]
    low, high = np.quantile([_quantile(sample, level) for sample in again], sides)
    tail = fit_tail(values, tail_share)
    beyond, interval = None, None
    if tail is not None:
        beyond = tail_quantile(tail, values.size, level)
        fits = [(fit_tail(sample, tail_share), sample) for sample in again[: max(resamples // 10, 50)]]
        refits = [tail_quantile(fit, sample.size, level) for fit, sample in fits if fit is not None]
        first, last = np.quantile(refits, sides) if refits else (beyond, beyond)
        interval = (float(first), float(last))
    return FundSizing(
        level=level,
        paths=values.size,
        draws=int((values > 0).sum()),
        beyond=values.size * (1 - level),
        empirical_usd=_quantile(values, level),
        empirical_interval_usd=(float(low), float(high)),
        tail_usd=beyond,
        tail_interval_usd=interval,
        tail=tail,
        mean_usd=float(values.mean()),
        worst_usd=float(values.max()),
        confidence=confidence,
    )


def _quantile(values: FloatArray, level: float) -> float:
    return float(np.quantile(values, level, method="inverted_cdf"))


def fit_tail(values: FloatArray, share: float) -> TailFit | None:
    """Law of the draws (n,), USD, over the threshold that a share of them exceed; None when too few do.

    Examples
    --------
    >>> fit_tail(np.zeros(1000), 0.1) is None
    True
    """
    from scipy import stats  # takes a second to load, which a command's help need not wait for

    threshold = _quantile(values, 1.0 - share)
    excess = values[values > threshold] - threshold
    if excess.size < MIN_EXCESSES:
        return None
    scale = float(excess.mean())
    # Fitted to excesses of mean one: amounts of millions upset the optimiser.
    shape, _, unit = stats.genpareto.fit(excess / scale, floc=0.0)  # type: ignore[attr-defined]
    return TailFit(threshold, float(shape), float(unit * scale), int(excess.size))


def tail_quantile(tail: TailFit, paths: int, level: float) -> float:
    """Quantile of all draws by the law fitted to those over the threshold.

    Examples
    --------
    >>> round(tail_quantile(TailFit(10.0, 0.0, 5.0, 100), 1_000, 0.999), 4)
    33.0259
    """
    ratio = paths * (1.0 - level) / tail.excesses
    if ratio >= 1.0:
        return tail.threshold_usd
    if abs(tail.shape) < 1e-9:
        return tail.threshold_usd - tail.scale * float(np.log(ratio))
    return tail.threshold_usd + tail.scale / tail.shape * (float(ratio**-tail.shape) - 1.0)
