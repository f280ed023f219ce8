# SPDX-License-Identifier: Apache-2.0
"""Profit of every instrument of a universe over a horizon: full revaluation, with the time that passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from risk.books import Universe
from risk.factors.fhs import Moves
from risk.market.history import FloatArray

YEAR_S = 365 * 86_400


def aged_profit(universe: Universe, moves: Moves, power: FloatArray, age_s: int) -> FloatArray:
    """(n, M + k) profit per USD of notional after joint moves and `age_s` seconds.

    Parameters
    ----------
    universe : Universe
        M instruments on k underlyings, spot at 1.
    moves : Moves
        (n, k) simple price moves and relative moves of the 30-day volatility.
    power : (k,) float64
        Tenor power of the volatility move (docs/margin-rule.md, section 4).
    age_s : int
        Options lose this much life; an option that ends within it is worth its intrinsic value.

    Returns
    -------
    (n, M + k) float64
        Instruments, then a collateral token of each underlying.

    References
    ----------
    docs/risk/backtest.md, formula 1.

    Examples
    --------
    >>> from risk.backtest.accounts import universe_at
    >>> one = universe_at(["BTC"], np.array([0.6]))
    >>> still = Moves(np.zeros((1, 1)), np.zeros((1, 1)))
    >>> round(float(aged_profit(one, still, np.zeros(1), 86_400)[0, 3]), 6)  # a week's call at the money loses a day
    -0.002457
    """
    zero = np.zeros((1, len(universe.symbols)))
    later = replace(universe, tau=np.maximum(universe.tau - age_s / YEAR_S, 0.0))
    change = later.values(moves.price, moves.vol, power) - universe.values(zero, zero, power)
    return np.hstack([change, moves.price])
