# SPDX-License-Identifier: Apache-2.0
"""Named stresses and the offset floor."""

from __future__ import annotations

import numpy as np
import pytest

from risk.books import Shocks, build_universe
from risk.errors import BadInput, InsufficientHistory
from risk.factors.fhs import build_factors
from risk.market.history import PriceHistory
from risk.market.load import load_prices
from risk.market.synthetic import simulate
from risk.stress import (
    correlation_to_one,
    hedge_break,
    historical_worst,
    low_correlations,
    offset_floor,
    stress_losses,
)
from tests.support.shared import shared_path

SHOCKS = Shocks(np.array([0.2, 0.3]), np.array([0.5, 0.4]), np.array([0.2, 0.2]), np.array([0.3, 0.3]))


def test_losses_of_perpetuals_by_hand() -> None:
    universe = build_universe(["BTC", "ETH"], np.array([0.5, 0.6]))
    books = np.zeros((2, universe.size))
    books[0, universe.perp(0)] = 1.0
    books[1, [universe.perp(0), universe.perp(1)]] = (1.0, -1.0)
    named = (*correlation_to_one(SHOCKS), *hedge_break(("BTC", "ETH"), SHOCKS, 0.4))
    losses = stress_losses(universe, books, named, SHOCKS.power)
    assert [s.name for s in named] == [
        "all down together", "all up together", "BTC down, ETH up", "ETH down, BTC up",
    ]  # fmt: skip
    np.testing.assert_allclose(losses[0], [0.2, -0.2, 0.08, -0.08])
    np.testing.assert_allclose(losses[1], [-0.1, 0.1, 0.4 * 0.5, -0.4 * 0.5])


def test_offset_floor_is_the_shortfall_share_of_a_long_short_pair() -> None:
    # Equal scans s, correlation rho: sqrt(2 (1 - rho)) s out of 2 s. Rho 1 -> 0, 0 -> 0.7071, -1 -> 1.
    for rho, share in ((1.0, 0.0), (0.5, 0.5), (0.0, 0.70711), (-1.0, 1.0)):
        assert offset_floor(np.array([[1.0, rho], [rho, 1.0]])) == pytest.approx(share, abs=1e-5)
    assert offset_floor(np.eye(1)) == 0.0
    with pytest.raises(BadInput, match="must lie between 0 and 1"):
        hedge_break(("A", "B"), SHOCKS, 1.5)


def test_rolling_correlations_are_those_of_numpy() -> None:
    history = simulate(["BTC", "ETH", "SOL"], 400, [6e4, 3e3, 150.0], np.random.default_rng(1))
    factors = build_factors(history, halflife_bars=72, vol_halflife_bars=240)
    window = 100
    found = low_correlations(factors, window, 0.0)
    stops = range(window, factors.ts.size + 1, window // 4)
    by_numpy = [np.corrcoef(factors.changes[s - window : s, :3].T) for s in stops]
    np.testing.assert_allclose(found, np.min(by_numpy, axis=0), atol=1e-9)
    with pytest.raises(InsufficientHistory, match="a correlation window takes 1000"):
        low_correlations(factors, 1_000, 0.05)


def test_worst_day_on_record_is_march_2020() -> None:
    history = load_prices(shared_path("data", "prices", "hourly"), ["BTC", "ETH"], "1h", end=1_704_067_200)
    factors = build_factors(history, halflife_bars=72, vol_halflife_bars=240)
    first, second = historical_worst(factors, 24, 2)
    assert first.name.startswith("24 bars from 2020-03-12T")
    np.testing.assert_allclose(first.price, [-0.464, -0.478], atol=0.01)
    assert (first.vol > 0).all()
    assert first.name != second.name


def test_worst_stretches_do_not_overlap() -> None:
    close = np.concatenate([np.full(50, 100.0), np.full(50, 60.0), np.full(50, 50.0)])[:, None]
    ts = np.arange(150, dtype=np.int64) * 3600
    history = PriceHistory(("A",), ts, close, np.ones_like(close), 3600)
    factors = build_factors(history, halflife_bars=5, vol_halflife_bars=9)
    a, b = historical_worst(factors, 10, 2)
    np.testing.assert_allclose([a.price[0], b.price[0]], [-0.4, -1 / 6])
