# SPDX-License-Identifier: Apache-2.0
"""Haircuts by hand, with bounds, and of assets that have really lost their peg."""

from __future__ import annotations

import numpy as np
import pytest

from risk.errors import BadInput
from risk.haircuts import CollateralSpec, HaircutConfig, collateral_parameters, residual_history, residual_shortfall
from risk.market.history import PriceHistory
from risk.market.load import load_prices
from tests.support.shared import shared_path

DAY = 86_400


def daily(closes: np.ndarray, symbols: tuple[str, ...]) -> PriceHistory:
    closes = closes.reshape(-1, len(symbols))
    ts = np.arange(closes.shape[0], dtype=np.int64) * DAY
    return PriceHistory(symbols, ts, closes, np.ones_like(closes), DAY)


def test_a_perfect_link_leaves_no_residual() -> None:
    price = np.exp(np.random.default_rng(1).standard_normal(300) * 0.05)
    history = daily(np.column_stack([price * 1.1, price]), ("WETH", "ETH"))
    residual = residual_history(history, "WETH", "ETH")
    assert residual_shortfall(residual, HaircutConfig()) == pytest.approx(0.0, abs=1e-12)
    unlinked = residual_history(history, "WETH", None)
    assert residual_shortfall(unlinked, HaircutConfig()) > 0.08


def test_stressed_stretch_counts_its_weight() -> None:
    # 401 closes, 400 daily moves: all flat but four falls of 10 % close together, undone at once.
    factor = np.ones(400)
    factor[[200, 210, 220, 230]] = 0.9
    factor[[201, 211, 221, 231]] = 1 / 0.9
    residual = daily(np.concatenate([[1.0], np.cumprod(factor)]), ("X",))
    # ES 99 % of all: worst 4 of 400, each 10 %; of the worst quarter too (worst 1 of 100).
    assert residual_shortfall(residual, HaircutConfig()) == pytest.approx(0.10)
    factor[[210, 220, 230]] = factor[[211, 221, 231]] = 1.0
    one = daily(np.concatenate([[1.0], np.cumprod(factor)]), ("X",))
    # All: one fall in the worst four, 2.5 %; the worst hundred days: 10 %. 0.75 * 2.5 + 0.25 * 10.
    assert residual_shortfall(one, HaircutConfig()) == pytest.approx(0.75 * 0.025 + 0.25 * 0.10)


def test_lanes_by_hand() -> None:
    spec = CollateralSpec("DAI", depth_usd=3_000_000, slippage=0.01, assumed_move=0.05, use_haircut=0.04)
    word = collateral_parameters(spec, None, HaircutConfig())
    assert word.lanes() == (600, 500, 100, 300, 400)


def test_floor_cap_and_order() -> None:
    low = CollateralSpec("A", assumed_move=0.0, slippage=0.0, floor=0.02)
    assert collateral_parameters(low, None, HaircutConfig()).lanes()[:2] == (200, 140)
    high = CollateralSpec("B", assumed_move=0.99, slippage=0.1, cap=0.9)
    assert collateral_parameters(high, None, HaircutConfig()).lanes()[:2] == (9000, 8920)
    for move in np.linspace(0, 1, 21):
        word = collateral_parameters(CollateralSpec("C", assumed_move=float(move)), None, HaircutConfig())
        assert word.haircut_mm_bps <= word.haircut_im_bps <= 9500


def test_real_assets_rank_as_they_should() -> None:
    folder = shared_path("data", "prices", "daily")
    closes = {n: load_prices({n: folder / f}, interval="1d", start=1_577_836_800, end=1_704_067_200)
              for n, f in (("DAI", "cmc_Dai_1d.csv.gz"), ("UST", "cmc_TerraClassicUSD_1d.csv.gz"))}  # fmt: skip
    words = {n: collateral_parameters(CollateralSpec(n), h, HaircutConfig()) for n, h in closes.items()}
    files = {"STETH": folder / "yahoo_STETH-USD_1d.csv.gz", "ETH": folder / "binance_ETHUSDT_1d.csv.gz"}
    linked = load_prices(files, interval="1d", start=1_622_505_600, end=1_704_067_200)
    words["STETH"] = collateral_parameters(
        CollateralSpec("STETH", linked="ETH"), residual_history(linked, "STETH", "ETH"), HaircutConfig()
    )
    # A stablecoin that held: a few per cent. A staked token: its discount, far below ETH's own 18 %. One that died.
    assert words["DAI"].haircut_im_bps < 600
    assert 200 < words["STETH"].haircut_im_bps < 1_200
    assert words["UST"].haircut_im_bps > 2_500


def test_specs_are_checked() -> None:
    with pytest.raises(BadInput, match="must be fractions with floor <= cap"):
        CollateralSpec("X", floor=0.9, cap=0.5)
    with pytest.raises(BadInput, match="depth is 0"):
        CollateralSpec("X", depth_usd=0.0)
    with pytest.raises(BadInput, match="no symbol ETH"):
        residual_history(daily(np.ones(5), ("X",)), "X", "ETH")
