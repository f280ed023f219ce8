# SPDX-License-Identifier: Apache-2.0
"""Simulated history: reproducible, consistent bars, moments of the model, the scripted crash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from risk.errors import BadInput
from risk.market import load_prices, log_returns
from risk.market.synthetic import CommonJumps, Crash, SvjModel, simulate, simulate_bars, warmup

QUIET = CommonJumps(intensity=0.0)
START = 1_700_000_000 // 3600 * 3600


def test_one_seed_one_path() -> None:
    a, b, c = (simulate(["BTC", "ETH"], 50, [6e4, 3e3], np.random.default_rng(s)) for s in (1, 1, 2))
    assert a.content_hash == b.content_hash != c.content_hash


def test_bars_are_consistent() -> None:
    bars = simulate_bars(["BTC", "SOL"], 500, [6e4, 150.0], np.random.default_rng(3), start_ts=START)
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    np.testing.assert_allclose(bars.open[1:], bars.close[:-1])
    np.testing.assert_allclose(bars.open[0], [6e4, 150.0])
    assert (bars.volume > 0).all()


def test_written_bars_load_again(tmp_path: Path) -> None:
    bars = simulate_bars(["BTC"], 30, [6e4], np.random.default_rng(3), start_ts=START)
    (tmp_path / "BTCUSDT_1h.csv").write_text(bars.csv("BTC"), encoding="utf-8")
    read = load_prices(tmp_path)
    np.testing.assert_allclose(read.close, bars.close, rtol=1e-9)
    assert read.ts.tolist() == bars.ts.tolist()
    with pytest.raises(BadInput, match="no bars of ETH"):
        bars.csv("ETH")


def test_without_jumps_and_vol_of_vol_returns_are_the_gaussian_of_the_model() -> None:
    model = {s: SvjModel(vol=0.6, vol_of_vol=0.0, own_jumps=0.0, common=0.5) for s in ("A", "B")}
    bars = simulate_bars(
        ["A", "B"], 40_000, [1.0, 1.0], np.random.default_rng(5), start_ts=0, models=model, jumps=QUIET
    )
    _, returns = log_returns(bars.history())
    # Annual deviation 0.6, kurtosis 3, correlation equal to the common share; four standard errors each.
    np.testing.assert_allclose(returns.std(axis=0) * np.sqrt(8760), 0.6, rtol=0.015)
    assert float(np.mean((returns / returns.std(axis=0)) ** 4)) == pytest.approx(3.0, abs=0.1)
    assert float(np.corrcoef(returns.T)[0, 1]) == pytest.approx(0.5, abs=0.02)


def test_default_model_has_fat_tails_and_correlation() -> None:
    _, returns = log_returns(simulate(["BTC", "ETH"], 20_000, [6e4, 3e3], np.random.default_rng(7)))
    assert float(np.mean((returns[:, 0] / returns[:, 0].std()) ** 4)) > 5
    assert 0.5 < float(np.corrcoef(returns.T)[0, 1]) < 0.9


def test_crash_reaches_its_size_at_the_hour_it_should() -> None:
    still = {"X": SvjModel(vol=1e-6, own_jumps=0.0, jump_beta=1.0)}
    crash = Crash(hour=10, size=0.30, duration=5, rebound=0.0, variance_multiple=1.0)
    bars = simulate_bars(
        ["X"], 40, [100.0], np.random.default_rng(1), start_ts=0, crash=crash, models=still, jumps=QUIET
    )
    assert bars.close[9, 0] == pytest.approx(100.0, rel=1e-5)
    assert bars.close[14, 0] == pytest.approx(70.0, rel=1e-5)
    assert bars.close[39, 0] == pytest.approx(70.0, rel=1e-4)
    steps = np.diff(np.log(bars.close[9:15, 0]))
    assert (np.diff(steps) > 0).all()


def test_crash_rebounds_by_its_share() -> None:
    path = Crash(hour=0, size=0.5, duration=4, rebound=0.25).path(100)
    assert float(path.sum()) == pytest.approx(0.75 * np.log(0.5))


def test_warmup_ends_where_the_market_starts() -> None:
    past = warmup(["BTC", "ETH"], 100, [6e4, 3e3], np.random.default_rng(1), end_ts=START)
    assert past.close[-1].tolist() == pytest.approx([6e4, 3e3])
    assert int(past.ts[-1]) == START
    assert past.ts.size == 100


def test_bad_requests() -> None:
    rng = np.random.default_rng(1)
    for symbols, bars, prices in (([], 5, []), (["A"], 0, [1.0]), (["A"], 5, [0.0]), (["A"], 5, [1.0, 2.0])):
        with pytest.raises(BadInput, match="at least one symbol"):
            simulate(symbols, bars, prices, rng)
    with pytest.raises(BadInput, match="size must lie between 0 and 1"):
        simulate(["A"], 5, [1.0], rng, crash=Crash(hour=1, size=1.5))
