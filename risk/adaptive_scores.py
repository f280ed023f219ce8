# SPDX-License-Identifier: Apache-2.0
"""Which of several forecasts of tail quantiles is better: quantile loss, its significance, coverage; and the rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

from risk.coverage import acerbi_szekely, adaptive_rate, conditional_coverage, independence, kupiec, transitions
from risk.errors import BadInput, InsufficientHistory
from risk.market.history import FloatArray, IntArray, utc

# Lower and upper tail probability of the day's log return.
TAILS = (0.01, 0.99)
SIZE = 0.05
# Written down before the comparison was run for the first time.
RULE = (
    "on, only if on more than half of the symbols the adaptive quantiles (1) have a lower mean quantile loss than the "
    "best of the others, (2) with a two-sided Diebold-Mariano p-value below 5 % against it, and (3) neither Kupiec's "
    "nor Christoffersen's conditional test rejects either tail at 5 %"
)


@dataclass(frozen=True, slots=True)
class TailForecast:
    """Forecast of both tails of the day's log return, known at its beginning.

    ``quantile`` and ``shortfall`` (mean beyond it): (n, 2) float64, columns as `TAILS`; signed, so the first column is
    negative; nan where there is no forecast.
    """

    quantile: FloatArray
    shortfall: FloatArray

    @classmethod
    def empty(cls, n: int) -> TailForecast:
        """No forecast for n days."""
        return cls(np.full((n, 2), np.nan), np.full((n, 2), np.nan))

    @property
    def known(self) -> Any:
        """(n,) bool: where both tails are forecast."""
        return np.isfinite(self.quantile).all(axis=1) & np.isfinite(self.shortfall).all(axis=1)


def pinball(outcome: ArrayLike, quantile: ArrayLike, probability: float) -> FloatArray:
    """Quantile loss ``(y - q) * (p - 1[y < q])``; its mean is least at the true quantile.

    Parameters
    ----------
    outcome, quantile
        Broadcastable arrays or scalars, in one unit.
    probability
        Of an outcome below the quantile, such as 0.01.

    Returns
    -------
    Loss of each observation, the broadcast shape, in that unit.

    Raises
    ------
    BadInput
        When the probability is not inside (0, 1).

    References
    ----------
    Koenker & Bassett (1978), eq. 1.3; Gneiting (2011), *Making and evaluating point forecasts*, table 9.
    docs/risk/adaptive.md, formula A3.

    Examples
    --------
    >>> pinball([-0.2, 0.1], [-0.1, -0.1], 0.01).round(6).tolist()
    [0.099, 0.002]
    """
    if not 0.0 < probability < 1.0:
        raise BadInput(f"a quantile's probability of {probability} must lie inside (0, 1); 0.01 is the lowest percent")
    y, q = np.asarray(outcome, dtype=np.float64), np.asarray(quantile, dtype=np.float64)
    return np.asarray((y - q) * (probability - (y < q)), dtype=np.float64)


def joint_loss(outcome: ArrayLike, quantile: ArrayLike, shortfall: ArrayLike, probability: float) -> FloatArray:
    """Loss FZ0 of a quantile and its Expected Shortfall together, for a lower tail (both negative).

    Parameters
    ----------
    outcome, quantile, shortfall
        Broadcastable arrays or scalars, in one unit.
    probability
        Of the lower tail, such as 0.01.

    Returns
    -------
    Loss of each observation, the broadcast shape, no unit.

    Raises
    ------
    BadInput
        When a shortfall is not negative.

    References
    ----------
    Patton, Ziegel & Chen (2019), *Dynamic semiparametric models for Expected Shortfall*, eq. 6:
    ``-1[y <= v] (v - y) / (a e) + v / e + log(-e) - 1``. docs/risk/adaptive.md, formula A4.

    Examples
    --------
    >>> joint_loss([0.0], [-1.0], [-1.0], 0.01).tolist()
    [0.0]
    """
    y, v, e = (np.asarray(values, dtype=np.float64) for values in (outcome, quantile, shortfall))
    if not (e < 0.0).all():
        raise BadInput("an Expected Shortfall that is not negative cannot be scored; hand over the tail of losses")
    beyond = np.where(y <= v, (v - y) / (probability * e), 0.0)
    return np.asarray(v / e - beyond + np.log(-e) - 1.0, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class DieboldMariano:
    """``difference``: mean loss of the first less that of the second, so negative when the first is better."""

    difference: float
    statistic: float
    p_value: float
    lags: int


def diebold_mariano(first: ArrayLike, second: ArrayLike, lags: int | None = None) -> DieboldMariano:
    """Do two forecasts differ in mean loss? Two-sided, one step ahead.

    Parameters
    ----------
    first, second : (n,)
        Losses, in time order.
    lags : int, optional
        Of the Newey-West variance (Bartlett weights). Default: ``floor(4 (n / 100) ** (2/9))``.

    Raises
    ------
    BadInput
        Shapes differ, or losses are not finite or are all the same.
    InsufficientHistory
        Fewer than 20 losses.

    References
    ----------
    Diebold & Mariano (1995), eq. 1; Newey & West (1987), eq. 5; Harvey, Leybourne & Newbold (1997), eq. 9 for the
    factor ``sqrt((n - 1) / n)`` and Student's law with n - 1 degrees. docs/risk/adaptive.md, formula A5.

    Examples
    --------
    >>> a = np.arange(40.0) % 3
    >>> diebold_mariano(a, a + 1.0 + 0.1 * (np.arange(40) % 2), lags=0).difference.__round__(6)
    -1.05
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != two.shape or one.ndim != 1:
        raise BadInput(f"losses of shapes {one.shape} and {two.shape} must be two vectors of one length; align them")
    n = one.size
    if n < 20:
        raise InsufficientHistory(f"{n} losses, 20 are needed for a test; lengthen the window")
    gap = one - two
    chosen = math.floor(4.0 * (n / 100.0) ** (2.0 / 9.0)) if lags is None else lags
    centred = gap - gap.mean()
    variance = float(centred @ centred) / n
    for lag in range(1, chosen + 1):
        variance += 2.0 * (1.0 - lag / (chosen + 1.0)) * float(centred[lag:] @ centred[:-lag]) / n
    if not variance > 0.0:
        raise BadInput("the two losses differ by a constant or not finitely; there is nothing to test")
    statistic = float(gap.mean()) / math.sqrt(variance / n) * math.sqrt((n - 1) / n)
    return DieboldMariano(float(gap.mean()), statistic, float(2.0 * stdtr(n - 1, -abs(statistic))), chosen)


@dataclass(frozen=True, slots=True)
class ModelScore:
    """How one model did on one symbol; pairs are lower tail, upper tail.

    ``loss`` is the mean over days of the mean quantile loss of both tails; ``joint`` that of `joint_loss`; ``z2`` the
    second statistic of `risk.coverage.acerbi_szekely`, negative where the shortfall is too small; ``against``
    the Diebold-Mariano test of the adaptive model's quantile loss against this model's; ``conformal_rate`` the last
    value of `risk.coverage.adaptive_rate` for breaches of either side, against a target of 2 %.
    """

    model: str
    loss: float
    tail_loss: tuple[float, float]
    joint: float
    breaches: tuple[int, int]
    kupiec: tuple[float, float]
    christoffersen: tuple[float, float]
    z2: tuple[float, float]
    conformal_rate: float
    against: DieboldMariano | None

    @property
    def covers(self) -> bool:
        """Whether no test of coverage rejects."""
        return min(*self.kupiec, *self.christoffersen) >= SIZE


@dataclass(frozen=True, slots=True)
class SymbolResult:
    """Comparison on one symbol over the days on which every model has a forecast.

    ``ts`` and ``outcome`` (n,): the day's beginning and its log return; ``forecasts`` on those days.
    """

    symbol: str
    scores: Mapping[str, ModelScore]
    ts: IntArray
    outcome: FloatArray
    forecasts: Mapping[str, TailForecast]
    candidate: str

    @property
    def best_other(self) -> ModelScore:
        """The model with the lowest loss beside the candidate."""
        return min((s for s in self.scores.values() if s.model != self.candidate), key=lambda s: s.loss)

    @property
    def faults(self) -> tuple[str, ...]:
        """Which conditions of `RULE` fail; empty when it wins."""
        own, best = self.scores[self.candidate], self.best_other
        out = []
        if not own.loss < best.loss:
            out.append(f"loss not below that of {best.model}")
        elif best.against is None or not best.against.p_value < SIZE:
            out.append(f"not significantly below {best.model}")
        if not own.covers:
            out.append("coverage rejected")
        return tuple(out)

    def plain(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "first": utc(int(self.ts[0])), "last": utc(int(self.ts[-1])), "days": int(self.ts.size),
            "best_other": self.best_other.model, "won": not self.faults, "faults": list(self.faults),
            "models": {name: _plain(score) for name, score in self.scores.items()},
        }  # fmt: skip


def _plain(score: ModelScore) -> dict[str, Any]:
    test = score.against
    return {
        "loss": score.loss, "loss_lower": score.tail_loss[0], "loss_upper": score.tail_loss[1],
        "joint_loss": score.joint, "breaches": list(score.breaches), "kupiec_p": list(score.kupiec),
        "christoffersen_p": list(score.christoffersen), "covers": score.covers, "z2": list(score.z2),
        "conformal_rate": score.conformal_rate,
        "adaptive_less_this": None if test is None else {
            "difference": test.difference, "statistic": test.statistic, "p": test.p_value, "lags": test.lags,
        },
    }  # fmt: skip


def day_losses(outcome: FloatArray, forecast: TailForecast) -> FloatArray:
    """Mean quantile loss of both tails, each day, shape (n,)."""
    both = [pinball(outcome, forecast.quantile[:, i], p) for i, p in enumerate(TAILS)]
    return np.asarray(0.5 * (both[0] + both[1]), dtype=np.float64)


def breach_flags(outcome: FloatArray, forecast: TailForecast) -> tuple[Any, Any]:
    """(n,) bool each: outcome below the lower quantile, above the upper one."""
    return outcome < forecast.quantile[:, 0], outcome > forecast.quantile[:, 1]


def score_symbol(
    symbol: str, ts: IntArray, outcome: FloatArray, forecasts: Mapping[str, TailForecast], candidate: str
) -> SymbolResult:
    """Score every model on the days that all of them forecast and whose outcome is known.

    Parameters
    ----------
    symbol
        For messages.
    ts, outcome : (n,)
        Days in epoch seconds, and the signed moves that followed, as fractions.
    forecasts
        By model; each with quantiles of the n days.
    candidate
        The model that the others are compared with.

    Raises
    ------
    BadInput
        The candidate is not among the forecasts.
    InsufficientHistory
        Fewer than 100 such days: not one breach a tail is expected.
    """
    if candidate not in forecasts or len(forecasts) < 2:
        raise BadInput(f"{symbol}: forecasts of {', '.join(forecasts)}; need {candidate} and one to compare it with")
    rows = np.isfinite(outcome)
    for forecast in forecasts.values():
        rows &= forecast.known
    if int(rows.sum()) < 100:
        raise InsufficientHistory(
            f"{symbol}: {int(rows.sum())} days that every model forecasts, 100 are needed; hand over a longer history "
            "or a longer window"
        )
    y, days = outcome[rows], ts[rows]
    kept = {name: TailForecast(f.quantile[rows], f.shortfall[rows]) for name, f in forecasts.items()}
    own = day_losses(y, kept[candidate])
    scores = {name: _score(name, y, f, None if name == candidate else own) for name, f in kept.items()}
    return SymbolResult(symbol, scores, days, y, kept, candidate)


def _score(name: str, outcome: FloatArray, forecast: TailForecast, own: FloatArray | None) -> ModelScore:
    losses = [pinball(outcome, forecast.quantile[:, i], p) for i, p in enumerate(TAILS)]
    hits = breach_flags(outcome, forecast)
    rates = (TAILS[0], 1.0 - TAILS[1])
    covered = [kupiec(outcome.size, int(h.sum()), rate) for h, rate in zip(hits, rates, strict=True)]
    jointly = [
        conditional_coverage(c, independence(transitions(h.astype(np.int64))))
        for c, h in zip(covered, hits, strict=True)
    ]
    lower = joint_loss(outcome, forecast.quantile[:, 0], forecast.shortfall[:, 0], rates[0])
    upper = joint_loss(-outcome, -forecast.quantile[:, 1], -forecast.shortfall[:, 1], rates[1])
    both = 0.5 * (losses[0] + losses[1])
    return ModelScore(
        model=name,
        loss=float(both.mean()),
        tail_loss=(float(losses[0].mean()), float(losses[1].mean())),
        joint=float(0.5 * (lower.mean() + upper.mean())),
        breaches=(int(hits[0].sum()), int(hits[1].sum())),
        kupiec=(covered[0].p_value, covered[1].p_value),
        christoffersen=(jointly[0].p_value, jointly[1].p_value),
        z2=(
            acerbi_szekely(outcome, -forecast.quantile[:, 0], -forecast.shortfall[:, 0], rates[0])[1],
            acerbi_szekely(-outcome, forecast.quantile[:, 1], forecast.shortfall[:, 1], rates[1])[1],
        ),
        conformal_rate=float(adaptive_rate((hits[0] | hits[1]).astype(np.int64), sum(rates))[-1]),
        against=None if own is None else diebold_mariano(own, both),
    )


def wins(results: Sequence[SymbolResult]) -> bool:
    """`RULE`: whether the candidate wins on more than half of the symbols."""
    return 2 * sum(not r.faults for r in results) > len(results)
