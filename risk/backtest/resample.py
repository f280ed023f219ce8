# SPDX-License-Identifier: Apache-2.0
"""How sure a comparison at equal coverage is: days drawn again in blocks, the same days for every methodology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from risk.backtest.peers import OWN, factor_at
from risk.errors import BadInput
from risk.market.history import FloatArray, IntArray

DRAWS = 300
BLOCK = 30
# The tail of a resample is looked for among so many times the tail of the account-days first, then among all.
FIRST = 25.0


@dataclass(frozen=True, slots=True)
class Relative:
    """Ballast's capital over a peer's at equal coverage: below 1 Ballast needs less.

    ``low`` and ``high`` bound 95 % of the resamples; ``lost`` is the share of them in which the peer needs no more.
    """

    ratio: float
    low: float
    high: float
    lost: float


def relative_capital(
    loss: FloatArray,
    margins: Mapping[str, FloatArray],
    weight: FloatArray,
    level: float,
    rng: np.random.Generator,
    *,
    draws: int = DRAWS,
    block: int = BLOCK,
) -> dict[str, Relative]:
    """Ratio of capital at equal coverage to every peer, with its interval.

    Parameters
    ----------
    loss : (T, A) float64
        At decisions that do not overlap.
    margins : mapping of name to (T, A) float64
        Initial margins; Ballast's own among them.
    weight : (A,) float64
        Of each account, adding up to 1.
    level : float
        Coverage all are scaled to.
    rng : numpy.random.Generator
    draws, block : int
        Resamples, and decisions in a row that are drawn together (at most a quarter of all).

    Raises
    ------
    BadInput
        When Ballast's own margins are missing, or `factor_at` refuses the rest.

    References
    ----------
    Politis & Romano (1992), *A circular block-resampling procedure for stationary data*; percentile interval of Efron &
    Tibshirani (1993), ch. 13. docs/risk/backtest.md, formula 11.

    Examples
    --------
    >>> made = np.random.default_rng(1).random((200, 2))
    >>> both = {"ballast": np.ones((200, 2)), "span": np.full((200, 2), 3.0)}
    >>> found = relative_capital(made, both, np.array([0.5, 0.5]), 0.99, np.random.default_rng(2), draws=20)
    >>> round(found["span"].high, 12)  # the same shape of margin needs the same capital, whatever its size
    1.0
    """
    if OWN not in margins:
        raise BadInput(f"no margins of {OWN} among {', '.join(margins)}; hand them over as well")
    days, rules = loss.shape[0], {name: _Rule.of(loss, held, weight, level) for name, held in margins.items()}
    picks = _days(days, min(block, max(1, days // 4)), draws, rng)
    counts = [np.bincount(pick, minlength=days) for pick in picks]
    capital = {name: np.array([rule.capital(times) for times in counts]) for name, rule in rules.items()}
    whole = {name: rule.capital(np.ones(days, dtype=np.int64)) for name, rule in rules.items()}
    return {name: _relative(whole[OWN], whole[name], capital[OWN], capital[name]) for name in margins if name != OWN}


def _relative(own: float, peer: float, owns: FloatArray, peers: FloatArray) -> Relative:
    ratios = np.array([_ratio(one, other) for one, other in zip(owns, peers, strict=True)])
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Relative(_ratio(own, peer), float(low), float(high), float((ratios >= 1.0).mean()))


def _ratio(own: float, peer: float) -> float:
    # No multiple of no margin covers a loss: where both rules fail so, neither is better.
    return 1.0 if own == peer else own / peer


def _days(days: int, block: int, draws: int, rng: np.random.Generator) -> IntArray:
    """(draws, days) days in blocks, the last day followed by the first."""
    starts = rng.integers(days, size=(draws, -(-days // block)))
    drawn = (starts[:, :, None] + np.arange(block)) % days
    return np.asarray(drawn.reshape(draws, -1)[:, :days], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One methodology, sorted once: what each account-day needs, largest first, its day and weight."""

    need: FloatArray
    day: IntArray
    share: FloatArray
    mean: FloatArray
    tail: float
    first: int

    @classmethod
    def of(cls, loss: FloatArray, margin: FloatArray, weight: FloatArray, level: float) -> _Rule:
        factor_at(loss, margin, weight, level)  # refuses what does not fit
        with np.errstate(divide="ignore", invalid="ignore"):
            need = np.where(loss <= 0.0, 0.0, loss / np.maximum(margin, 0.0)).ravel()
        order = np.argsort(need, kind="stable")[::-1]
        share = np.broadcast_to(weight, loss.shape).ravel()[order]
        first = int(np.searchsorted(np.cumsum(share), FIRST * (1.0 - level) * loss.shape[0])) + 1
        return cls(need[order], order // loss.shape[1], share, margin @ weight, 1.0 - level, first)

    def capital(self, times: IntArray) -> float:
        """Capital at equal coverage when each day comes so many times."""
        days = int(times.sum())
        allowed = self.tail * (1.0 + 1e-12) * days
        for end in (self.first, self.need.size):
            passed = np.cumsum(self.share[:end] * times[self.day[:end]]) > allowed
            if passed.any():
                break
        return float(self.need[int(np.argmax(passed))]) * float(self.mean @ times) / days
