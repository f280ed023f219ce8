# SPDX-License-Identifier: Apache-2.0
"""Impact, depth, horizons and the lanes they become."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from risk.errors import BadInput
from risk.liquidity import (
    Liquidity,
    LiquidityConfig,
    bps_up,
    depth_from_quotes,
    measure_liquidity,
    square_root_impact,
    underlying_parameters,
)
from risk.market.history import PriceHistory
from tests.support.shared import shared_path


def test_square_root_law() -> None:
    assert square_root_impact(1e6, 1e8, 0.04) == pytest.approx(0.004)
    assert square_root_impact(4e6, 1e8, 0.04) == pytest.approx(0.008)
    with pytest.raises(BadInput, match="volume must be positive"):
        square_root_impact(1.0, 0.0, 0.04)
    for size, volume, vol in ((math.nan, 1e8, 0.04), (1e6, math.inf, 0.04), (1e6, 1e8, math.nan), (1e6, 1e8, -0.04)):
        with pytest.raises(BadInput, match="size and volatility not negative"):
            square_root_impact(size, volume, vol)


def test_charge_against_the_root_of_time() -> None:
    """What docs/risk-methodology.md, section 11, says of sizes that take longer to trade than the horizon."""
    config, volume, scan = LiquidityConfig(), 1e9, 0.16
    depth = config.participation * volume
    lanes = underlying_parameters(scan, 0.5, 0.3, 0.3, 0.6, Liquidity(volume, depth, 0.04), config)

    def ratio(times: float) -> float:
        """Charge over the extra that the root of time asks for, at so many times the depth, a tenth of volume a day."""
        size = times * depth
        charge = lanes.delta_charge_bps / 10_000 * size * (1.0 + size / depth)
        return charge / (scan * size * (math.sqrt(size / (0.1 * volume)) - 1.0))

    assert ratio(14.0) > 1.0 > ratio(15.0)
    assert ratio(40.0) == pytest.approx(0.51, abs=0.02)
    assert min(ratio(float(n)) for n in range(15, 1_000)) == pytest.approx(0.51, abs=0.02)
    assert ratio(400.0) == pytest.approx(0.94, abs=0.03)


def test_measured_from_bars_by_hand() -> None:
    ts = np.array([0, 3600, 7200, 14_400], dtype=np.int64)
    close = np.array([[100.0], [110.0], [100.0], [50.0]])
    volume = np.array([[10.0], [10.0], [1000.0], [10.0]])
    found = measure_liquidity(PriceHistory(("X",), ts, close, volume, 3600), "X", LiquidityConfig())
    # Median bar: between 1,000 and 1,100 USD; the hole of two hours is no return.
    assert found.adv_usd == pytest.approx(1_050 * 24)
    assert found.depth_usd == pytest.approx(0.01 * 1_050 * 24)
    assert found.daily_vol == pytest.approx(math.log(1.1) * math.sqrt(24))
    history = PriceHistory(("X",), ts, close, volume, 3600)
    assert measure_liquidity(history, "X", LiquidityConfig(), 5.0).depth_usd == 5.0
    with pytest.raises(BadInput, match="no prices of Y; the history holds X"):
        measure_liquidity(history, "Y", LiquidityConfig())


def test_charge_meets_the_impact_law_at_depth() -> None:
    liquidity = Liquidity(adv_usd=1e9, depth_usd=1e7, daily_vol=0.04)
    word = underlying_parameters(0.15, 0.4, 0.25, 0.3, 0.6, liquidity, LiquidityConfig())
    n = liquidity.depth_usd
    engine = word.delta_charge_bps / 1e4 * (1 + n / (word.depth * 1e4)) * n
    assert engine / n == pytest.approx(square_root_impact(n, 1e9, 0.04))
    larger = word.delta_charge_bps / 1e4 * (1 + 9.0) * 9 * n
    assert larger / (9 * n) > square_root_impact(9 * n, 1e9, 0.04)
    assert (word.scan_bps, word.vol_up_bps, word.vol_down_bps, word.vol_power_bps) == (1500, 4000, 2500, 3000)
    # Vega of a 30-day at-the-money option, 0.4 sqrt(30/365), times 2 % of 60 vol points.
    assert word.option_charge_bps == math.ceil(0.4 * math.sqrt(30 / 365) * 0.6 * 0.02 * 1e4)
    assert (word.basis_charge_bps, word.short_min_bps, word.depth) == (60, 60, 1_000)
    # the history's 4 % a day is more than the smile's 60 % a year; a quarter of the scan range each way
    assert (word.vol_day_bps, word.band_bps, word.widen_bps) == (400, 375, 0)
    calm = underlying_parameters(0.15, 0.4, 0.25, 0.3, 1.0, Liquidity(1e9, 1e7, 0.01), LiquidityConfig())
    assert calm.vol_day_bps == math.ceil(1e4 / math.sqrt(365))


def test_lanes_hold_for_a_dead_market_and_a_huge_one() -> None:
    for liquidity in (Liquidity(0.0, 0.0, 0.0), Liquidity(1e13, 1e12, 9.0)):
        word = underlying_parameters(0.9, 1.0, 0.6, 0.3, 3.0, liquidity, LiquidityConfig())
        assert all(0 <= lane <= 65_535 for lane in word.lanes())
        assert word.depth >= 1
        assert 10 <= word.delta_charge_bps <= 500


def test_rounding_up_ignores_float_noise() -> None:
    assert (bps_up(0.1 + 0.2), bps_up(0.30001), bps_up(0.0)) == (3000, 3001, 0)


def test_depth_between_quotes() -> None:
    sizes, impacts = np.array([3e6, 1e6, 2e6]), np.array([0.05, 0.01, 0.02])
    assert depth_from_quotes(sizes, impacts, 0.01) == pytest.approx(1e6)
    assert depth_from_quotes(sizes, impacts, 0.035) == pytest.approx(2.5e6)
    assert depth_from_quotes(sizes, impacts, 0.9) == 3e6
    assert depth_from_quotes(sizes, impacts, 0.005) == pytest.approx(0.5e6)
    with pytest.raises(BadInput, match="0 sizes"):
        depth_from_quotes(np.empty(0), np.empty(0), 0.01)


def test_depth_of_a_real_book() -> None:
    """Where another program summed a book's quantities, the depth is that sum; between two of them, between."""
    path = shared_path("data", "liquidity", "binance_l2_depth_summary_2024-08.csv")
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    checked = 0
    for row in rows:
        for side in ("bid", "ask"):
            bps = [b for b in (5, 10, 25, 50, 100, 200) if b <= float(row[f"{side}_range_bps"])]
            if len(bps) < 2:
                continue
            sizes = np.array([float(row[f"{side}_qty_{b}bps"]) for b in bps]) * float(row["mid"])
            impacts = np.array(bps) / 1e4
            found = [depth_from_quotes(sizes, impacts, float(at)) for at in impacts]
            assert found == pytest.approx(sizes)
            assert sizes[-2] <= depth_from_quotes(sizes, impacts, float(impacts[-2:].mean())) <= sizes[-1]
            checked += 1
    assert checked >= 5
