# SPDX-License-Identifier: Apache-2.0
"""Books, joint scenarios in bytes, and the certificate, against the integer rule written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from risk.books import Shocks, Universe, build_universe, sample_books
from risk.certificate import certify, covering_floor, improves, meter
from risk.errors import BadInput, CalibrationFailed
from risk.factors.fhs import Moves
from risk.measures import student_es
from risk.scenarios import (
    Sample,
    SelectionConfig,
    candidates,
    floors,
    instrument_pnl,
    measure_books,
    quantise,
    ratios,
    select,
)
from risk.table import node_values
from risk.types import Certificate, JointScenarios, OptionSpec, SurfaceSlice, SviSlice

SHOCKS = Shocks(np.array([0.16, 0.18]), np.array([0.5, 0.4]), np.array([0.25, 0.25]), np.array([0.3, 0.3]))


@pytest.fixture(scope="module")
def universe() -> Universe:
    return build_universe(["BTC", "ETH"], np.array([0.5, 0.65]))


@pytest.fixture(scope="module")
def grid(universe: Universe) -> np.ndarray:
    return universe.grid(SHOCKS)


def law(n: int, seed: int) -> Moves:
    """t8 prices with correlation 0.8; volatility rises when prices fall."""
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky([[1.0, 0.8], [0.8, 1.0]])
    price = (rng.standard_normal((n, 2)) @ root.T) * np.sqrt(8 / rng.chisquare(8, (n, 1)))
    price *= SHOCKS.scan / student_es(8.0)
    return Moves(np.maximum(price, -0.9), np.clip(-price + 0.05 * rng.standard_normal((n, 2)), -0.8, 1.5))


def book(universe: Universe, **amounts: float) -> np.ndarray:
    out = np.zeros((1, universe.size))
    for name, amount in amounts.items():
        out[0, universe.perp(universe.symbols.index(name))] = amount
    return out


@pytest.mark.parametrize(("days", "vol", "down"), [(1, 0.6, 0.6), (1, 0.1, 0.3), (7, 0.6, 0.6), (90, 0.8, 0.25)])
def test_the_books_shock_volatility_as_the_table_does(days: int, vol: float, down: float) -> None:
    # With one day left a down shock of 60 % times 30^0.3 is beyond zero: both must stop at the table's floor.
    lattice = build_universe(["BTC"], np.array([vol]), tenors_days=(float(days),))
    shocks = Shocks(np.array([0.12]), np.array([0.5]), np.array([down]), np.array([0.3]))
    expiry = days * 86_400
    options = [OptionSpec(i, expiry, float(lattice.strike[i]), bool(lattice.is_call[i])) for i in range(1, 11)]
    flat = SurfaceSlice(expiry, 1.0, 1.0, SviSlice(vol * vol * days / 365, 0.0, 0.0, 0.0, 0.1))
    nodes = node_values(options, 1.0, 0.01, [flat], 0, 5_000, round(down * 1e4), 3_000)
    quarters = nodes[:, :, [1, 2, 3, 4, 7, 10, 11, 12, 13]]
    np.testing.assert_allclose(lattice.grid(shocks)[1:], quarters - nodes[:, 1:2, 7:8], atol=1e-12)


def joint_of(*rows: tuple[int, int, int, int]) -> JointScenarios:
    """Rows of (price BTC, price ETH, vol BTC, vol ETH) bytes."""
    a = np.array(rows, dtype=np.int8)
    return JointScenarios(np.ascontiguousarray(a[:, :2]), np.ascontiguousarray(a[:, 2:]))


def test_universe_obeys_put_call_parity_and_unit_delta(universe: Universe) -> None:
    moves = law(50, 1)
    pnl = universe.pnl(moves, SHOCKS.power)
    for call in np.flatnonzero(universe.is_option & universe.is_call):
        u = universe.underlying[call]
        np.testing.assert_allclose(pnl[:, call] - pnl[:, call + 1], moves.price[:, u], atol=1e-12)
    deltas = universe.deltas()
    assert deltas[universe.perp(0)] == pytest.approx(1.0)
    of_calls = deltas[universe.is_option & universe.is_call]
    assert ((of_calls > 0) & (of_calls < 1)).all()


def test_grid_points_are_the_scan(universe: Universe, grid: np.ndarray) -> None:
    np.testing.assert_allclose(grid[universe.perp(1), 1], 0.18 * np.arange(-4, 5) / 4)
    assert np.abs(grid[:, 1, 4]).max() == 0.0
    options = universe.is_option
    assert (grid[options, 2, 4] > 0).all()
    assert (grid[options, 0, 4] < 0).all()


def test_sampled_books_are_gross_one_varied_and_repeatable(universe: Universe) -> None:
    books = sample_books(universe, 500, np.random.default_rng(1))
    np.testing.assert_array_equal(books, sample_books(universe, 500, np.random.default_rng(1)))
    gross = np.abs(books).sum(axis=1)
    assert books.shape == (500, universe.size)
    assert (np.isclose(gross, 1.0) | (gross == 0.0)).all()
    assert (gross > 0).mean() > 0.95
    both = np.stack([(books[:, universe.underlying == u] != 0).any(axis=1) for u in (0, 1)]).all(axis=0)
    assert 0.3 < both.mean() < 0.95
    live = np.zeros((2, universe.size))
    live[:, 0] = (2.0, -4.0)
    with_live = sample_books(universe, 60, np.random.default_rng(1), live=live)
    only_perp = (np.abs(with_live[:, 0]) == 1.0).sum()
    assert only_perp >= 20
    with pytest.raises(BadInput, match="live books have shape"):
        sample_books(universe, 10, np.random.default_rng(1), live=np.ones((1, 3)))
    with pytest.raises(BadInput, match="0 books"):
        sample_books(universe, 0, np.random.default_rng(1))


def test_bytes_round_away_from_zero_and_stop_at_the_edge() -> None:
    moves = Moves(np.array([[-0.0001, 0.5], [0.16, -0.09]]), np.array([[0.0001, -0.0001], [0.5, -0.125]]))
    joint = quantise(moves, SHOCKS)
    assert joint.price_bytes.tolist() == [[-1, 127], [127, -64]]
    assert joint.vol_bytes.tolist() == [[1, -1], [127, -64]]


def z_by_the_rule(g: np.ndarray, p: int, w: int) -> float:
    """docs/margin-rule.md, section 5, in its own letters; `g` is (3, 9)."""
    k = (p + 127) * 4
    cell = min(k // 127, 7)
    f = k - 127 * cell
    o, a = (2 if w >= 0 else 0), abs(w)
    base = g[1][cell] * (127 - f) + g[1][cell + 1] * f
    other = g[o][cell] * (127 - f) + g[o][cell + 1] * f
    return (base * (127 - a) + other * a) / 16129


def test_scenario_profit_is_the_rule_of_the_contract(universe: Universe, grid: np.ndarray) -> None:
    rows = [(-127, 127, 0, 127), (127, -1, -127, 5), (0, 0, 0, 0), (-126, 126, 1, -1), (31, -32, 64, -64)]
    joint = joint_of(*rows)
    pnl = instrument_pnl(universe, grid, joint)
    for m in (0, 1, 7, universe.perp(1), universe.size - 1):
        u = int(universe.underlying[m])
        expected = [z_by_the_rule(grid[m], r[u], r[2 + u]) for r in rows]
        np.testing.assert_allclose(pnl[m], expected, atol=1e-14)


def test_requirement_floors_by_hand(universe: Universe, grid: np.ndarray) -> None:
    books = np.vstack([book(universe, BTC=1.0), book(universe, BTC=1.0, ETH=-1.0), book(universe, BTC=1.0, ETH=-0.01)])
    sample = measure_books(universe, grid, universe.pnl(law(20_000, 3), SHOCKS.power), books, 0.99)
    np.testing.assert_allclose(sample.scans, [[0.16, 0], [0.16, 0.18], [0.16, 0.0018]])
    # One underlying: its scan. Two: kappa share, or dominance 2 max - sum.
    np.testing.assert_allclose(floors(sample, 0.3), [0.16, 0.3 * 0.34, 0.16 - 0.0018])
    nothing = instrument_pnl(universe, grid, joint_of((0, 0, 0, 0)))
    values = ratios(sample, nothing, 0.3)
    np.testing.assert_allclose(values, floors(sample, 0.3) / sample.target)
    broken = instrument_pnl(universe, grid, joint_of((-127, 127, 0, 0)))
    assert ratios(sample, broken, 0.3)[1] == pytest.approx(0.34 / sample.target[1])
    # The same scenario does nothing to a book with one underlying.
    assert ratios(sample, broken, 0.3)[0] == values[0]


def test_target_is_the_shortfall_of_the_law(universe: Universe, grid: np.ndarray) -> None:
    books = np.vstack([book(universe, BTC=1.0), book(universe, BTC=1.0, ETH=-1.0)])
    sample = measure_books(universe, grid, universe.pnl(law(200_000, 4), SHOCKS.power), books, 0.99)
    # BTC alone: the law was scaled to the scan. The spread is t8 too, with the variance of the difference.
    spread = math.sqrt(0.16**2 + 0.18**2 - 2 * 0.8 * 0.16 * 0.18)
    assert sample.target[0] == pytest.approx(0.16, rel=0.04)
    assert sample.target[1] == pytest.approx(spread, rel=0.04)


def test_books_without_risk_are_left_out(universe: Universe, grid: np.ndarray) -> None:
    pnl = universe.pnl(law(2_000, 5), SHOCKS.power)
    flat = np.zeros((1, universe.size))
    sample = measure_books(universe, grid, pnl, np.vstack([flat, book(universe, ETH=-1.0)]), 0.99)
    assert sample.books.shape[0] == 1
    with pytest.raises(CalibrationFailed, match="no sampled book can lose anything"):
        measure_books(universe, grid, pnl, flat, 0.99)
    with pytest.raises(CalibrationFailed, match="no sampled book holds two underlyings"):
        sample.several()


def sampled(universe: Universe, grid: np.ndarray, n: int, seed: int, rows: int = 0) -> tuple[Sample, Moves]:
    moves = law(12_000, seed)
    books = sample_books(universe, n, np.random.default_rng(seed + 100))
    pnl = universe.pnl(moves, SHOCKS.power)
    return measure_books(universe, grid, pnl, books, 0.99, tail_rows=rows).several(), moves


def test_selection_covers_unseen_books_on_fresh_draws(universe: Universe, grid: np.ndarray) -> None:
    train, moves = sampled(universe, grid, 1_000, 1, rows=40)
    config = SelectionConfig()
    pool = candidates(train, moves, SHOCKS, config)
    forced = joint_of((-127, -127, 127, 127))
    joint = select(train, universe, grid, pool, 0.2, config, forced=forced)
    assert joint.price_bytes[0].tolist() == [-127, -127]
    assert len(joint) <= 64
    test, _ = sampled(universe, grid, 2_000, 2)
    rule = meter(test, universe, SHOCKS)
    certificate = certify(test, rule, joint, 0.2, paths=8_000, seed=7)
    assert certificate.ratio_p01 > 0.80
    assert 0.95 < certificate.ratio_median < 1.35
    # The target of the design for a learned set; a grid summed per asset needs 2.40.
    assert certificate.efficiency <= 1.45
    assert certificate.books == test.books.shape[0]
    values = rule.ratios(joint, 0.2)
    assert certificate.ratio_min == values.min()
    assert certificate.ratio_mean == values.mean()
    assert certificate.efficiency == pytest.approx(values.mean() / np.quantile(values, 0.01))
    again = certify(test, rule, joint, 0.2, paths=8_000, seed=7)
    assert again == certificate


def test_more_scenarios_never_lower_a_requirement(universe: Universe, grid: np.ndarray) -> None:
    test, _ = sampled(universe, grid, 300, 3)
    few, more = joint_of((-127, -127, 127, 127)), joint_of((-127, -127, 127, 127), (127, -50, 0, 9))
    a, b = (ratios(test, instrument_pnl(universe, grid, j), 0.1) for j in (few, more))
    assert (b >= a - 1e-12).all()
    assert (b > a + 1e-6).any()


def test_floor_that_makes_up_for_missing_coverage(universe: Universe, grid: np.ndarray) -> None:
    test, _ = sampled(universe, grid, 1_000, 5)
    weak = instrument_pnl(universe, grid, joint_of((-60, -60, 0, 0)))
    values = ratios(test, weak, 0.0)
    assert float(np.quantile(values, 0.01)) < 0.7
    kappa = covering_floor(test, values, 0.7)
    assert 0 < kappa <= 1
    assert float(np.quantile(ratios(test, weak, kappa), 0.01)) >= 0.7 - 1e-9
    assert float(np.quantile(ratios(test, weak, kappa - 0.02), 0.01)) < 0.7
    assert covering_floor(test, values, 0.0) == 0.0


def test_greedy_takes_the_scenario_a_pair_needs(universe: Universe, grid: np.ndarray) -> None:
    books = np.vstack([book(universe, BTC=1.0, ETH=-1.0), book(universe, BTC=1.0, ETH=-0.9)])
    pnl = universe.pnl(law(20_000, 6), SHOCKS.power)
    train = measure_books(universe, grid, pnl, books, 0.99, tail_rows=5)
    target = float(train.target[0])
    # Loses the target: 0.16 a + 0.18 b with equal byte moves; the decoys lose nothing or far too much.
    byte = round(target / 0.34 * 127)
    pool = joint_of((127, 127, 0, 0), (-127, 127, 0, 0), (-byte, byte, 0, 0), (0, 0, 127, 127))
    joint = select(train, universe, grid, pool, 0.0, SelectionConfig(count=1))
    assert joint.price_bytes.tolist() == [[-byte, byte]]


def test_candidates_are_bounded_and_deterministic(universe: Universe, grid: np.ndarray) -> None:
    train, moves = sampled(universe, grid, 300, 4, rows=20)
    config = SelectionConfig(max_candidates=100)
    pool = candidates(train, moves, SHOCKS, config)
    assert len(pool) == 100
    assert pool == candidates(train, moves, SHOCKS, config)
    assert int(np.abs(pool.price_bytes.astype(int)).max()) <= 127


def test_the_certificate_is_of_the_rule_on_chain_with_packed_pages(universe: Universe, grid: np.ndarray) -> None:
    test, _ = sampled(universe, grid, 400, 8)
    joint = joint_of((-127, -127, 127, 127), (127, -50, 0, 9), (-60, 80, 30, -30), (0, 0, 127, 127))
    rule = meter(test, universe, SHOCKS)
    exact = ratios(test, instrument_pnl(universe, grid, joint), 0.2)
    packed = rule.ratios(joint, 0.2)
    # A scan gains what packing may hide; only the dominance floor, a difference of scans, can lose as much.
    gross = np.abs(test.books[:, universe.is_option]).sum(axis=1)
    unit = max(item.rows.lane_unit for item in rule.markets if item.rows is not None) / 1_000.0
    assert (np.abs(packed - exact) <= 3.0 * unit * gross / test.target + 1e-12).all()
    optioned = gross > 0
    assert float((packed - exact)[optioned].mean()) > 0.0
    np.testing.assert_allclose(packed[~optioned], exact[~optioned], rtol=1e-12)
    # Without the offset floor the same books need less.
    assert (rule.ratios(joint, 0.0) <= packed + 1e-12).all()
    assert (rule.ratios(joint, 0.0) < packed - 1e-3).any()


def test_hysteresis_asks_for_a_gain() -> None:
    old = Certificate(10, 100, 100, 1, 0.7, 0.90, 1.1, 1.9, 1.30, "0x00")
    assert not improves(old, old, 0.05)
    assert not improves(old, Certificate(10, 100, 100, 2, 0.7, 0.93, 1.1, 1.9, 1.25, "0x00"), 0.05)
    assert improves(old, Certificate(10, 100, 100, 2, 0.7, 0.95, 1.1, 1.9, 1.30, "0x00"), 0.05)
    assert improves(old, Certificate(10, 100, 100, 2, 0.7, 0.90, 1.1, 1.9, 1.23, "0x00"), 0.05)
    assert improves(old, Certificate(10, 100, 100, 2, 0.7, 0.93, 1.1, 1.9, 1.30, "0x00"), 0.01)


def test_configuration_is_checked() -> None:
    with pytest.raises(BadInput, match="65 joint scenarios"):
        SelectionConfig(count=65)
    with pytest.raises(BadInput, match="confidence level"):
        SelectionConfig(level=0.01)
    with pytest.raises(BadInput, match="one positive volatility each"):
        build_universe(["A"], np.array([0.0]))
