# SPDX-License-Identifier: Apache-2.0
"""The search for badly served books: its gradients, its monotony, and that scenarios made of its finds help."""

from __future__ import annotations

import numpy as np
import pytest

from risk.adversary import Adversary, AdversaryConfig, least
from risk.books import Shocks, build_universe, sample_books
from risk.errors import BadInput
from risk.factors.fhs import Moves
from risk.scenarios import (
    SelectionConfig,
    candidates,
    instrument_pnl,
    measure_books,
    ratios,
    select,
)
from risk.types import JointScenarios

SHOCKS = Shocks(np.array([0.16, 0.18]), np.array([0.5, 0.4]), np.array([0.25, 0.25]), np.array([0.3, 0.3]))
UNIVERSE = build_universe(["BTC", "ETH"], np.array([0.5, 0.65]))
GRID = UNIVERSE.grid(SHOCKS)
DOWN = JointScenarios(np.array([[-127, -127]], dtype=np.int8), np.array([[127, 127]], dtype=np.int8))


def draws(n: int, seed: int) -> Moves:
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky([[1.0, 0.8], [0.8, 1.0]])
    price = 0.06 * (rng.standard_normal((n, 2)) @ root.T)
    return Moves(price, np.clip(-price + 0.05 * rng.standard_normal((n, 2)), -0.8, 1.5))


def opponent(moves: Moves, joint: JointScenarios, kappa: float) -> Adversary:
    by_draw = np.ascontiguousarray(UNIVERSE.pnl(moves, SHOCKS.power).T, dtype=np.float32)
    return Adversary(UNIVERSE, GRID, by_draw, instrument_pnl(UNIVERSE, GRID, joint), kappa, 0.99)


def books(n: int, seed: int, moves: Moves, rows: int = 0):  # type: ignore[no-untyped-def]
    chosen = sample_books(UNIVERSE, n, np.random.default_rng(seed))
    return measure_books(UNIVERSE, GRID, UNIVERSE.pnl(moves, SHOCKS.power), chosen, 0.99, tail_rows=rows).several()


def test_requirement_and_shortfall_are_those_of_the_certificate() -> None:
    moves = draws(4_000, 1)
    sample = books(200, 2, moves)
    point = opponent(moves, DOWN, 0.3)._point(sample.books)
    np.testing.assert_allclose(point.target, sample.target, rtol=2e-5)
    exact = ratios(sample, instrument_pnl(UNIVERSE, GRID, DOWN), 0.3)
    np.testing.assert_allclose(point.requirement / sample.target, exact, rtol=1e-9, atol=1e-12)


def test_gradients_are_finite_differences() -> None:
    moves = draws(4_000, 1)
    sample, who = books(60, 3, moves), opponent(moves, DOWN, 0.3)
    at = who._point(sample.books)
    # Both are homogeneous of degree one: Euler.
    np.testing.assert_allclose(np.einsum("bm,bm->b", at.up, sample.books), at.requirement, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.einsum("bm,bm->b", at.loss, sample.books), at.target, rtol=1e-9)
    step = 1e-6 * np.random.default_rng(4).standard_normal(sample.books.shape) * np.abs(sample.books)
    moved = who._point(sample.books + step)
    predicted = np.einsum("bm,bm->b", at.up, step)
    close = np.isclose(moved.requirement - at.requirement, predicted, rtol=1e-3, atol=1e-12)
    assert close.mean() > 0.95  # a kink between two scenarios now and then


def test_search_keeps_legs_and_never_ends_worse() -> None:
    moves = draws(4_000, 1)
    sample, config = books(400, 5, moves), AdversaryConfig(books=40, steps=10)
    values = ratios(sample, instrument_pnl(UNIVERSE, GRID, DOWN), 0.3)
    start = least(values, sample.target, config)
    assert start.size == 40 and (sample.target[start] > config.min_target).all()
    found = opponent(moves, DOWN, 0.3).search(sample.books[start], config)
    assert (found.ratio <= values[start] + 1e-6).all()
    assert found.ratio.mean() < 0.97 * values[start].mean()
    assert (np.sign(found.books) == np.sign(sample.books[start])).all()
    np.testing.assert_allclose(np.abs(found.books).sum(axis=1), 1.0)
    # What it claims is what the books measure.
    again = measure_books(UNIVERSE, GRID, UNIVERSE.pnl(moves, SHOCKS.power), found.books, 0.99)
    np.testing.assert_allclose(ratios(again, instrument_pnl(UNIVERSE, GRID, DOWN), 0.3), found.ratio, rtol=1e-4)


def test_scenarios_for_its_finds_take_the_advantage_away() -> None:
    moves = draws(4_000, 1)
    train, config, selection = books(300, 6, moves, 20), AdversaryConfig(books=40, steps=10), SelectionConfig(count=12)
    pool = candidates(train, moves, SHOCKS, selection)
    first = select(train, UNIVERSE, GRID, pool, 0.1, selection, forced=DOWN)
    start = least(ratios(train, instrument_pnl(UNIVERSE, GRID, first), 0.1), train.target, config)
    found = opponent(moves, first, 0.1).search(train.books[start], config)
    pnl = UNIVERSE.pnl(moves, SHOCKS.power)
    worst = measure_books(UNIVERSE, GRID, pnl, found.books, 0.99, tail_rows=20)
    joined = train.with_books(worst)
    assert joined.target.size == train.target.size + worst.target.size
    extra = candidates(worst, moves, SHOCKS, selection)
    more = select(joined, UNIVERSE, GRID, extra, 0.1, SelectionConfig(count=18), forced=first)
    before, after = (ratios(worst, instrument_pnl(UNIVERSE, GRID, j), 0.1) for j in (first, more))
    assert after.min() > before.min() + 0.05
    assert after.mean() > before.mean()


def test_configuration_is_checked() -> None:
    for wrong in ({"rounds": -1}, {"slots": 0}, {"min_target": 0.0}):
        with pytest.raises(BadInput, match="rounds must not be negative"):
            AdversaryConfig(**wrong)  # type: ignore[arg-type]
