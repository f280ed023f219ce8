# SPDX-License-Identifier: Apache-2.0
"""Filtered historical simulation against the bar-by-bar recursion, and what is drawn from where."""

from __future__ import annotations

import csv
import gzip

import numpy as np
import pytest

from risk.errors import BadInput, InsufficientHistory
from risk.factors.fhs import FhsConfig, Moves, build_factors, filtered_windows, simulate_moves, windows
from risk.factors.volatility import decay
from risk.market.history import PriceHistory
from risk.market.load import load_prices
from risk.market.synthetic import simulate
from tests.support.shared import shared_path

HOUR = 3600
WIDE = {"ratio_low": 1e-6, "ratio_high": 1e6}


@pytest.fixture(scope="module")
def history() -> PriceHistory:
    return simulate(["BTC", "ETH"], 3_000, [6e4, 3e3], np.random.default_rng(1), start_ts=0)


def without(history: PriceHistory, first: int, last: int) -> PriceHistory:
    keep = np.r_[0:first, last : history.ts.size]
    return PriceHistory(history.symbols, history.ts[keep], history.close[keep], history.volume[keep], HOUR)


def test_changes_are_dated_and_never_span_a_hole(history: PriceHistory) -> None:
    factors = build_factors(without(history, 1_000, 1_010), halflife_bars=72, vol_halflife_bars=240)
    assert factors.ts.size == 3_000 - 10 - 2
    np.testing.assert_allclose(factors.changes[0, :2], np.log(history.close[1] / history.close[0]))
    starts, sums = windows(factors, 24)
    for i in (0, 500, starts.size - 1):
        begin = int(factors.ts[starts[i]]) - HOUR
        rows = np.searchsorted(history.ts, [begin, begin + 24 * HOUR])
        np.testing.assert_allclose(np.exp(sums[i, :2]), history.close[rows[1]] / history.close[rows[0]])
    hole = (factors.ts[starts] - HOUR < 1_010 * HOUR) & (factors.ts[starts] + 23 * HOUR > 1_000 * HOUR)
    assert not hole.any()


def test_one_block_is_the_recursive_filtered_simulation(history: PriceHistory) -> None:
    """Barone-Adesi, Giannopoulos & Vosper, eq. 4-6, residual by residual with EWMA variance."""
    factors = build_factors(history, halflife_bars=72, vol_halflife_bars=240)
    fast = filtered_windows(factors, FhsConfig(24, 24, **WIDE))
    starts, _ = windows(factors, 24)
    keep = decay(72)
    z = factors.changes / factors.sigma[:-1]
    for i in (0, 777, starts.size - 1):
        sigma2 = factors.sigma[-1] ** 2
        total = np.zeros(4)
        for row in range(starts[i], starts[i] + 24):
            step = z[row] * np.sqrt(sigma2)
            total += step
            sigma2 = keep * sigma2 + (1 - keep) * step**2
        np.testing.assert_allclose(fast[i, :2], total[:2], rtol=1e-9)


def test_the_ratio_is_clipped(history: PriceHistory) -> None:
    factors = build_factors(history, halflife_bars=72, vol_halflife_bars=240)
    clipped = filtered_windows(factors, FhsConfig(24, 24, 1.0, 1.0))
    np.testing.assert_allclose(clipped, windows(factors, 24)[1])


def test_draws_repeat_and_one_whole_block_is_a_piece_of_history(history: PriceHistory) -> None:
    factors = build_factors(history, halflife_bars=72, vol_halflife_bars=240)
    config = FhsConfig(24, 24, 1.0, 1.0)
    a, b = (simulate_moves(factors, config, 200, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(a.price, b.price)
    known = {tuple(row) for row in np.expm1(windows(factors, 24)[1][:, :2]).round(12)}
    assert all(tuple(row) in known for row in a.price.round(12))


def test_stressed_share_comes_from_the_stressed_period_unscaled(history: PriceHistory) -> None:
    factors = build_factors(history, halflife_bars=72, vol_halflife_bars=240)
    period = (500 * HOUR, 600 * HOUR)
    moves = simulate_moves(factors, FhsConfig(24, 24), 1_000, np.random.default_rng(5), stressed=period)
    starts, sums = windows(factors, 24)
    first = factors.ts[starts]
    allowed = {tuple(r) for r in np.expm1(sums[(first >= period[0]) & (first < period[1]), :2]).round(12)}
    assert all(tuple(r) in allowed for r in moves.price[750:].round(12))
    assert moves.price.shape == (1_000, 2)
    with pytest.raises(InsufficientHistory, match="stressed period"):
        simulate_moves(factors, FhsConfig(24, 24), 10, np.random.default_rng(5), stressed=(0, 1))


def test_short_blocks_keep_variance_of_the_horizon(history: PriceHistory) -> None:
    factors = build_factors(history, halflife_bars=72, vol_halflife_bars=240)
    whole, pieces = (
        simulate_moves(factors, FhsConfig(24, b), 20_000, np.random.default_rng(2)).price.std(axis=0) for b in (24, 6)
    )
    np.testing.assert_allclose(pieces, whole, rtol=0.15)


def test_observed_volatility_replaces_the_derived_level() -> None:
    hours = 24 * 10
    ts = np.arange(hours + 1, dtype=np.int64) * HOUR
    prices = np.exp(0.01 * np.sin(np.arange(hours + 1)))[:, None] * np.array([[100.0, 50.0]])
    history = PriceHistory(("BTC", "ETH"), ts, prices, np.ones_like(prices), HOUR)
    levels = np.array([50.0, 60.0, 45.0, 80.0, 80.0, 40.0])
    days = np.arange(6, dtype=np.int64) * 86_400
    observed = PriceHistory(("BTC",), days, levels[:, None], np.ones((6, 1)), 86_400)
    factors = build_factors(history, halflife_bars=72, vol_halflife_bars=240, vol_history=observed)
    # Bar open at hour h closes at h + 1; the level of day d is known at its end, hour 24 (d + 1).
    closes = factors.ts // HOUR + 1
    for day in range(1, 6):
        inside = (closes > 24 * day) & (closes <= 24 * (day + 1))
        assert factors.changes[inside, 2].sum() == pytest.approx(np.log(levels[day] / levels[day - 1]))
    assert not np.allclose(factors.changes[closes > 24 * 7, 2], 0.0)


def test_what_interpolating_a_daily_index_hides() -> None:
    """docs/risk-methodology.md, section 14: sqrt(2/3) of a day's deviation over 24 h, half of it in blocks of 6 h."""
    rng, days, hour = np.random.default_rng(5), 1_500, 3_600
    ts = hour * np.arange(24 * days, dtype=np.int64)
    prices = PriceHistory(("A",), ts, 100.0 * np.exp(np.cumsum(rng.normal(0, 1e-3, (ts.size, 1)), axis=0)),
                          np.ones((ts.size, 1)), hour)  # fmt: skip
    daily = rng.normal(0.0, 0.05, days)
    index = PriceHistory(("A",), ts[::24], 60.0 * np.exp(np.cumsum(daily))[:, None], np.ones((days, 1)), 24 * hour)
    factors = build_factors(prices, halflife_bars=1e9, vol_halflife_bars=240.0, vol_history=index)
    inside = windows(factors, 24)[1][24:-24, 1]
    assert inside.std() / daily.std() == pytest.approx(np.sqrt(2.0 / 3.0), abs=0.02)
    strung = simulate_moves(factors, FhsConfig(24, 6), 20_000, rng)
    assert np.log1p(strung.vol).std() / daily.std() == pytest.approx(0.5, abs=0.04)


def test_derived_volatility_level_is_as_lively_as_dvol() -> None:
    """Daily log changes of the 10-day EWMA beside Deribit's own index over the same days, read from its file."""
    folder = shared_path("data", "prices", "hourly")
    history = load_prices(folder, ["BTC"], "1h", start=1_616_544_000, end=1_704_067_200)
    factors = build_factors(history, halflife_bars=72, vol_halflife_bars=240)
    _, sums = windows(factors, 24)
    daily = np.sort(sums[::24, 1])
    with gzip.open(shared_path("data", "vol", "dvol_BTC_1d.csv.gz"), "rt", newline="") as file:
        closes = [float(row["close"]) for row in csv.DictReader(file) if row["date"] < "2024"]
    index = np.sort(np.diff(np.log(closes)))
    assert index.size == 1_012
    # a little calmer from day to day, and its largest rises a little larger: the docstring of `build_factors`
    assert 0.7 * index.std() < daily.std() < index.std()
    assert index[-10:].mean() < daily[-10:].mean() < 1.35 * index[-10:].mean()


def test_configuration_is_checked() -> None:
    with pytest.raises(BadInput, match="block of 5 bars must divide the horizon of 24 bars"):
        FhsConfig(24, 5)
    with pytest.raises(BadInput, match="must enclose 1"):
        FhsConfig(24, 6, 1.1, 1.8)
    with pytest.raises(BadInput, match=r"stressed weight is 0\.1"):
        FhsConfig(24, 6, stressed_weight=0.1)


def test_moves_are_simple() -> None:
    moves = Moves.from_logs(np.log([[0.5, 2.0, 1.5, 1.0]]))
    np.testing.assert_allclose(moves.price, [[-0.5, 1.0]])
    np.testing.assert_allclose(moves.vol, [[0.5, 0.0]], atol=1e-12)
    with pytest.raises(InsufficientHistory, match="no stretch of 50 bars"):
        windows(build_factors(simulate(["A"], 20, [1.0], np.random.default_rng(1)), halflife_bars=5,
                              vol_halflife_bars=9), 50)  # fmt: skip
