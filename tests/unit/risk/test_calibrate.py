# SPDX-License-Identifier: Apache-2.0
"""History in, parameter set out: limits of the contract, determinism, memory of the last set, gates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from risk.calibrate import CalibrationConfig, calibrate, check_gates, surface_slices
from risk.config import Gates
from risk.errors import BadInput, GateFailed, InsufficientHistory
from risk.haircuts import CollateralSpec
from risk.market.history import PriceHistory
from risk.market.load import load_prices
from risk.market.synthetic import warmup
from risk.pricing.svi import has_butterfly_arbitrage, volatility
from risk.types import ParameterSet
from tests.support.shared import shared_path

END = 1_699_999_200
COLLATERALS = (CollateralSpec("WETH", linked="ETH", assumed_move=0.02), CollateralSpec("DAI", assumed_move=0.05))
CONFIG = CalibrationConfig.quick(collaterals=COLLATERALS)


@pytest.fixture(scope="module")
def past() -> PriceHistory:
    return warmup(["BTC", "ETH", "SOL"], 2_400, [6e4, 3e3, 140.0], np.random.default_rng(1), end_ts=END)


@pytest.fixture(scope="module")
def result(past: PriceHistory) -> ParameterSet:
    return calibrate(past, CONFIG, np.random.default_rng(2))


def test_every_lane_is_what_the_contract_accepts(result: ParameterSet) -> None:
    g = result.global_parameters
    assert g.im_scale_bps >= g.mm_scale_bps > 0
    assert 1_000 <= g.offset_floor_bps <= 5_000
    for word in result.underlyings.values():
        assert 100 <= word.scan_bps <= 9_000
        assert word.depth >= 1
        assert word.vol_down_bps < 10_000
        assert all(0 <= lane <= 65_535 for lane in word.lanes())
    for asset in result.collaterals.values():
        assert asset.haircut_im_bps >= asset.haircut_mm_bps
    assert result.joint is not None
    assert 2 <= len(result.joint) <= 64
    assert result.joint_underlyings == ("BTC", "ETH", "SOL")
    assert list(result.collaterals) == ["WETH", "DAI"]


def test_a_seed_gives_one_result_and_provenance_says_which(past: PriceHistory, result: ParameterSet) -> None:
    again = calibrate(past, CONFIG, np.random.default_rng(2))
    assert again.content_hash() == result.content_hash()
    other = calibrate(past, CONFIG, np.random.default_rng(3))
    assert other.provenance.seed != result.provenance.seed
    assert other.provenance.data_hash == result.provenance.data_hash
    assert result.provenance.model_hash == CONFIG.model_hash() != replace(CONFIG, mm_scale=0.7).model_hash()
    assert result.provenance.observed_at == END + 3_600
    assert result.certificate is not None
    assert result.certificate.seed == result.provenance.seed
    assert all(g["passed"] for g in result.provenance.diagnostics["gates"].values())
    assert ParameterSet.from_json(result.to_json()) == result


def test_ranges_rise_at_once_and_fall_slowly(past: PriceHistory, result: ParameterSet) -> None:
    shock = past.extend(END + 3_600, list(past.close[-1] * 0.7), list(past.volume[-1]))
    after = calibrate(shock, CONFIG, np.random.default_rng(4), previous=result)
    assert all(after.underlyings[s].scan_bps > result.underlyings[s].scan_bps for s in past.symbols)
    # The day of the crash misses gates of cost and precision; coverage it keeps, so it can be pushed.
    gates = after.provenance.diagnostics["gates"]
    assert gates["ratio_p01"]["passed"]
    assert not gates["efficiency"]["passed"]
    assert not gates["efficiency"]["enforced"]
    # Back to the old data a day later: no range falls by more than 2 %.
    calm = calibrate(past, CONFIG, np.random.default_rng(5), previous=after, now=after.provenance.observed_at + 86_400)
    for s in past.symbols:
        assert calm.underlyings[s].scan_bps == int(np.ceil(after.underlyings[s].scan_bps * 0.98 - 1e-9))


def test_scenarios_are_kept_while_they_cover(past: PriceHistory, result: ParameterSet) -> None:
    said: list[str] = []
    loose = replace(CONFIG, hysteresis=0.15)
    kept = calibrate(past, loose, np.random.default_rng(6), previous=result, progress=said.append)
    assert kept.joint == result.joint
    assert any("joint scenarios kept" in line for line in said)
    tight = replace(CONFIG, hysteresis=-0.5)
    assert calibrate(past, tight, np.random.default_rng(6), previous=result).joint != result.joint


def test_one_underlying_needs_no_joint_set(past: PriceHistory) -> None:
    alone = calibrate(past.select(["BTC"]), CalibrationConfig.quick(), np.random.default_rng(2))
    assert alone.joint is None
    assert alone.certificate is None
    assert alone.joint_underlyings == ()


def test_surface_of_the_set_is_free_of_arbitrage_and_at_its_level(result: ParameterSet) -> None:
    now = END
    slices = surface_slices(result, "BTC", [now + 7 * 86_400, now + 30 * 86_400, now + 180 * 86_400], now)
    assert not any(has_butterfly_arbitrage(s.svi) for s in slices)
    smile = result.surfaces["BTC"]
    low, high = sorted((smile.short_vol, smile.long_vol))
    for s in slices:
        atm = float(volatility(s.svi, 0.0, (s.expiry - now) / (365 * 86_400)))
        assert low * 0.999 <= atm <= high * 1.001
    with pytest.raises(BadInput, match="no surface of DOGE"):
        surface_slices(result, "DOGE", [now + 86_400], now)


def test_quoted_volatility_sets_the_level(past: PriceHistory) -> None:
    days = past.ts[::24]
    dvol = PriceHistory(("BTC",), days, np.full((days.size, 1), 62.0), np.zeros((days.size, 1)), 86_400)
    found = calibrate(past, CalibrationConfig.quick(), np.random.default_rng(2), vol_history=dvol)
    assert found.surfaces["BTC"].short_vol == pytest.approx(0.62)
    plain = calibrate(past, CalibrationConfig.quick(), np.random.default_rng(2))
    assert found.provenance.data_hash != plain.provenance.data_hash


def test_pegs_come_from_where_they_are_known(past: PriceHistory) -> None:
    spec = (CollateralSpec("DAI", slippage=0.0, floor=0.0, assumed_move=0.5),)
    config = CalibrationConfig.quick(collaterals=spec)
    steps = np.where(np.arange(400) % 2, 1.0, 0.97)[:, None]
    pegs = PriceHistory(("DAI",), np.arange(400, dtype=np.int64) * 86_400, steps, np.ones_like(steps), 86_400)
    known = calibrate(past, config, np.random.default_rng(2), peg_history=pegs)
    assert known.collaterals["DAI"].haircut_im_bps == 300
    assert calibrate(past, config, np.random.default_rng(2)).collaterals["DAI"].haircut_im_bps == 5_000


def test_nothing_observed_later_is_used(past: PriceHistory) -> None:
    spec = (CollateralSpec("DAI", slippage=0.0, floor=0.0),)
    config = CalibrationConfig.quick(collaterals=spec)
    end = int(past.ts[-1]) + past.interval_s
    days = np.arange(end - 90 * 86_400, end + 30 * 86_400, 86_400, dtype=np.int64)
    calm = days + 86_400 <= end
    dvol = PriceHistory(("BTC",), days, np.where(calm, 50.0, 90.0)[:, None], np.zeros((days.size, 1)), 86_400)
    pegs = PriceHistory(("DAI",), days, np.where(calm, 1.0, 0.5)[:, None], np.zeros((days.size, 1)), 86_400)
    known = calibrate(past, config, np.random.default_rng(2), vol_history=dvol, peg_history=pegs)
    assert known.surfaces["BTC"].short_vol == pytest.approx(0.50)
    assert known.collaterals["DAI"].haircut_im_bps == 0
    cut = calibrate(
        past, config, np.random.default_rng(2), vol_history=dvol.window(end=end), peg_history=pegs.window(end=end)
    )
    assert cut.content_hash() == known.content_hash()


def test_series_that_only_begin_later_count_as_absent(past: PriceHistory) -> None:
    days = np.arange(END + 86_400, END + 30 * 86_400, 86_400, dtype=np.int64)
    dvol = PriceHistory(("BTC",), days, np.full((days.size, 1), 90.0), np.zeros((days.size, 1)), 86_400)
    later = calibrate(past, CONFIG, np.random.default_rng(2), vol_history=dvol, peg_history=dvol)
    assert later.content_hash() == calibrate(past, CONFIG, np.random.default_rng(2)).content_hash()


def test_scales_the_contract_refuses_are_refused_here() -> None:
    for wrong in ({"im_scale": 2.01}, {"im_charge_scale": 0.99}, {"mm_scale": 1.01}):
        with pytest.raises(BadInput, match="need 0 < mm <= im <= 2 and 1 <= charges"):
            CalibrationConfig(**wrong)


def test_gates_refuse_and_name_themselves(past: PriceHistory, result: ParameterSet) -> None:
    strict = replace(CONFIG, gates=Gates(max_efficiency=1.01))
    with pytest.raises(GateFailed, match=r"fails its gates: efficiency is 1\.\d+, limit 1.01; keep the set in force"):
        calibrate(past, strict, np.random.default_rng(2))
    check_gates(result)
    wanting = replace(CONFIG, gates=Gates(min_ratio_p01=9.0))
    with pytest.raises(GateFailed, match=r"ratio_p01 is 1\.\d+, limit 9"):
        calibrate(past, wanting, np.random.default_rng(2))
    # a later set is not refused when no offset is left to take away: the one before it would cover even less
    later = calibrate(past, wanting, np.random.default_rng(2), previous=result)
    assert later.global_parameters.offset_floor_bps == 10_000
    assert not later.provenance.diagnostics["gates"]["ratio_p01"]["passed"]


def test_offset_floor_rises_where_scenarios_do_not_cover(past: PriceHistory, result: ParameterSet) -> None:
    said: list[str] = []
    wanting = replace(CONFIG, gates=Gates(min_ratio_p01=1.0))
    found = calibrate(past, wanting, np.random.default_rng(2), progress=said.append)
    assert found.certificate is not None
    assert found.certificate.ratio_p01 >= 1.0
    assert found.global_parameters.offset_floor_bps > result.global_parameters.offset_floor_bps
    assert any("offset floor raised" in line for line in said)


def test_bad_requests(past: PriceHistory) -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(InsufficientHistory, match="500 bars of BTC, ETH, SOL, 720 are needed"):
        calibrate(past.window(int(past.ts[-500])), CONFIG, rng)
    with pytest.raises(BadInput, match="no symbol DOGE"):
        calibrate(past, replace(CONFIG, underlyings=("DOGE",)), rng)
    with pytest.raises(BadInput, match="no underlying to calibrate"):
        calibrate(past.select(["BTC"]), CalibrationConfig.quick(collaterals=(CollateralSpec("BTC"),)), rng)
    with pytest.raises(BadInput, match="multiples of the bar"):
        calibrate(past, replace(CONFIG, block_s=1_800), rng)
    with pytest.raises(BadInput, match="need 0 < mm <= im"):
        CalibrationConfig(mm_scale=1.2)
    with pytest.raises(BadInput, match="need at least 1,000, 50 and 50"):
        CalibrationConfig(n_sims=10)


def test_real_history_reaches_the_published_ranges() -> None:
    history = load_prices(shared_path("data", "prices", "hourly"), ["BTC", "ETH", "SOL"], "1h", end=1_704_067_200)
    found = calibrate(history, CalibrationConfig.quick(n_sims=10_000, n_train=1_500), np.random.default_rng(2))
    # The industry's fixed ranges are 16 % for BTC and 18 % for ETH (Deribit, Paradex).
    assert 1_000 <= found.underlyings["BTC"].scan_bps <= 1_800
    assert 1_200 <= found.underlyings["ETH"].scan_bps <= 2_100
    assert found.certificate is not None
    assert found.certificate.efficiency <= 1.40
    assert found.certificate.ratio_p01 >= 0.88
