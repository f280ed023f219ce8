# SPDX-License-Identifier: Apache-2.0
"""Intervals of capital at equal coverage: against brute force, and whether they see a difference or imagine one."""

from __future__ import annotations

import numpy as np
import pytest

from risk.backtest.peers import factor_at
from risk.backtest.resample import relative_capital
from risk.errors import BadInput

WEIGHT = np.array([0.5, 0.3, 0.2])


def stormy(seed: int, days: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Losses (days, 3) of a common factor whose volatility comes in spells, and that volatility."""
    rng = np.random.default_rng(seed)
    spell = np.repeat(np.exp(0.5 * rng.standard_normal(days // 20)), 20)[:, None]
    return spell * (rng.standard_t(4, (days, 1)) + 0.5 * rng.standard_normal((days, 3))), spell


def test_the_whole_and_every_resample_are_what_factor_at_says_of_the_days_drawn() -> None:
    loss, spell = stormy(1, 120)
    margins = {"ballast": spell * np.ones((120, 3)), "span": np.ones((120, 3))}
    found = relative_capital(loss, margins, WEIGHT, 0.95, np.random.default_rng(7), draws=40, block=10)["span"]

    def capital(name: str, rows: np.ndarray) -> float:
        held = margins[name][rows]
        return factor_at(loss[rows], held, WEIGHT, 0.95) * float((held @ WEIGHT).mean())

    rng = np.random.default_rng(7)
    ratios = []
    for start in rng.integers(120, size=(40, 12)):
        rows = np.concatenate([np.arange(s, s + 10) % 120 for s in start])
        ratios.append(capital("ballast", rows) / capital("span", rows))
    assert found.ratio == pytest.approx(capital("ballast", np.arange(120)) / capital("span", np.arange(120)))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(ratios, [0.025, 0.975])))
    assert found.lost == np.mean(np.array(ratios) >= 1.0)


def test_a_better_rule_is_seen_and_an_equal_one_is_not_called_better() -> None:
    loss, spell = stormy(2, 1_200)
    noise = np.exp(0.05 * np.random.default_rng(3).standard_normal((2, 1_200, 3)))
    margins = {"ballast": spell * noise[0], "knows as much": spell * noise[1], "knows less": np.ones((1_200, 3))}
    found = relative_capital(loss, margins, WEIGHT, 0.99, np.random.default_rng(1), draws=100)
    assert found["knows less"].high < 1.0 and found["knows less"].lost <= 0.025
    assert found["knows as much"].low < 1.0 < found["knows as much"].high


def test_few_days_reach_beyond_the_first_look() -> None:
    loss = np.array([[4.0], [3.0], [2.0], [1.0]])
    one = {"ballast": np.ones((4, 1)), "span": np.full((4, 1), 2.0)}
    found = relative_capital(loss, one, np.ones(1), 0.99, np.random.default_rng(1), draws=50)["span"]
    assert (found.ratio, found.low, found.high) == (1.0, 1.0, 1.0)


def test_what_cannot_be_compared_is_refused() -> None:
    loss = np.ones((8, 3))
    with pytest.raises(BadInput, match="no margins of ballast among span"):
        relative_capital(loss, {"span": loss}, WEIGHT, 0.99, np.random.default_rng(1))
    with pytest.raises(BadInput, match="no number"):
        relative_capital(loss * np.nan, {"ballast": loss}, WEIGHT, 0.99, np.random.default_rng(1))
