# SPDX-License-Identifier: Apache-2.0
"""What live books, funding, the contract's guard and the set in force do to a calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from risk.adversary import AdversaryConfig
from risk.calibrate import calibrate, stages
from risk.config import CalibrationConfig, Gates, SmileConfig
from risk.difference import Difference, difference
from risk.live import Leg, LiveBooks
from risk.market.history import PriceHistory
from risk.market.observed import FundingSeries
from risk.market.synthetic import warmup
from risk.provenance import code_hash
from risk.types import ParameterSet

END = 1_699_999_200
SMALL = CalibrationConfig(
    n_sims=2_000,
    n_train=150,
    n_books=200,
    gates=Gates(0.0, 0.0, 1e9, 1e9),
    adversary=AdversaryConfig(rounds=1, slots=6, books=10, steps=4),
)


@pytest.fixture(scope="module")
def past() -> PriceHistory:
    return warmup(["BTC", "ETH"], 1_500, [6e4, 3e3], np.random.default_rng(1), end_ts=END)


def run(past: PriceHistory, config: CalibrationConfig = SMALL, seed: int = 1, **more: object) -> ParameterSet:
    return calibrate(past, config, np.random.default_rng(seed), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plain(past: PriceHistory) -> ParameterSet:
    return run(past)


def test_every_word_keeps_the_multiple_the_contract_asks_for(past: PriceHistory, plain: ParameterSet) -> None:
    for word in plain.underlyings.values():
        assert word.scan_bps >= 3 * word.vol_day_bps
    # A smile of 150 % a year moves 7.9 % a day: the scan follows, and with it the law the scenarios are chosen under.
    wild = replace(SMALL, smile=SmileConfig(premium=1.0, low=1.5))
    found = run(past, wild)
    for symbol, word in found.underlyings.items():
        assert word.vol_day_bps == 786
        assert word.scan_bps == 3 * 786 > plain.underlyings[symbol].scan_bps
    assert found.certificate is not None and plain.certificate is not None
    # Had the law been scaled before the scan rose, requirement over target would have risen with the scan.
    assert found.certificate.ratio_median < 1.25 * plain.certificate.ratio_median
    free = run(past, replace(wild, scan_multiple=0.0))
    assert free.underlyings["BTC"].scan_bps == 1_000 < 3 * free.underlyings["BTC"].vol_day_bps


def test_a_volatility_beyond_the_widest_scan_is_capped_and_named(past: PriceHistory) -> None:
    found = run(past, replace(SMALL, smile=SmileConfig(premium=1.0, low=7.0, high=7.0)))
    for word in found.underlyings.values():
        assert (word.scan_bps, word.vol_day_bps) == (9_000, 3_000)
    names = [w["name"] for w in found.provenance.diagnostics["warnings"]]
    assert names == ["volatility-capped", "volatility-capped"]


def test_funding_puts_a_floor_under_the_basis_charge(past: PriceHistory, plain: ParameterSet) -> None:
    ts = np.arange(END - 600 * 28_800, END, 28_800, dtype=np.int64)
    rates = np.where(np.arange(ts.size) % 50 < 3, 0.004, 0.0001)
    found = run(past, funding={"BTC": FundingSeries("BTC", ts, rates, 28_800)})
    assert found.underlyings["BTC"].basis_charge_bps == 120 > plain.underlyings["BTC"].basis_charge_bps
    assert found.underlyings["ETH"].basis_charge_bps == plain.underlyings["ETH"].basis_charge_bps
    assert found.provenance.diagnostics["basis_floor"] == {"BTC": pytest.approx(0.012)}
    assert found.provenance.data_hash != plain.provenance.data_hash
    # Small funding leaves the configured share of the scan.
    calm = run(past, funding={"BTC": FundingSeries("BTC", ts, rates / 100, 28_800)})
    assert calm.underlyings == plain.underlyings


def test_live_accounts_take_part_in_choice_and_certificate(past: PriceHistory, plain: ParameterSet) -> None:
    legs = (Leg("a", "BTC", 1.0), Leg("a", "ETH", -20.0), Leg("b", "ETH", -5.0, END + 30 * 86_400, 3_300.0, True))
    found = run(past, live_books=LiveBooks(legs, "book.csv"))
    assert found.joint != plain.joint
    assert found.certificate is not None and plain.certificate is not None
    assert found.certificate.sample_hash != plain.certificate.sample_hash
    assert found.provenance.data_hash != plain.provenance.data_hash
    assert found.underlyings == plain.underlyings


def test_scenarios_change_only_for_a_gain(past: PriceHistory, plain: ParameterSet) -> None:
    more = past.extend(END + 3_600, list(past.close[-1] * 1.001), list(past.volume[-1]))
    kept = run(more, seed=7, previous=plain)
    assert kept.joint == plain.joint
    report = kept.provenance.diagnostics["joint"]
    assert report["kept"]
    gain = 1.0 - report["efficiency_of_new"] / report["efficiency_of_previous"]
    assert gain <= SMALL.hysteresis
    # What is kept is measured on today's books, so a kept set cannot drift away from what new ones would do.
    assert kept.certificate is not None and plain.certificate is not None
    assert kept.certificate.sample_hash != plain.certificate.sample_hash
    eager = run(more, replace(SMALL, hysteresis=-1.0), seed=7, previous=plain)
    assert eager.joint != plain.joint
    assert not eager.provenance.diagnostics["joint"]["kept"]


def test_other_underlyings_make_the_previous_scenarios_void(past: PriceHistory, plain: ParameterSet) -> None:
    turned = run(past.select(["ETH", "BTC"]), previous=plain)
    assert turned.joint_underlyings == ("ETH", "BTC")
    assert "kept" not in turned.provenance.diagnostics["joint"]


def test_provenance_says_what_was_fitted_and_with_which_code(past: PriceHistory, plain: ParameterSet) -> None:
    said = plain.provenance.diagnostics
    assert said["code_hash"] == code_hash() and len(code_hash()) == 66
    assert set(said["gates"]) == {"es_relative_error", "single_p01", "ratio_p01", "efficiency"}
    assert said["residuals"]["BTC"]["deviation"] == pytest.approx(1.0, abs=0.15)
    assert abs(said["residuals"]["BTC"]["squares_day_correlation"]) < 0.15
    assert 2.0 <= said["t_copula"]["dof"] <= 60.0
    assert 0.0 < said["t_copula"]["tail_dependence"][1] < 1.0
    assert said["joint"]["adversary"][0]["least"] <= said["joint"]["adversary"][0]["start"]
    assert ParameterSet.from_json(plain.to_json()) == plain
    sentences: list[str] = []
    run(past, progress=sentences.append)
    assert len(sentences) >= stages(SMALL, 2) - 1


def test_difference_names_what_moved(plain: ParameterSet) -> None:
    assert difference(plain, plain) == ()
    word = replace(plain.underlyings["BTC"], scan_bps=plain.underlyings["BTC"].scan_bps * 2)
    without = {k: v for k, v in plain.surfaces.items() if k != "ETH"}
    after = replace(plain, underlyings={**plain.underlyings, "BTC": word}, surfaces=without)
    found = {item.field: item for item in difference(plain, after)}
    assert found["BTC.scan_bps"].change == 1.0
    assert found["surface.ETH.short_vol"].new is None
    assert found["surface.ETH.short_vol"].change is None
    assert len(found) == 1 + 7
    assert Difference("x", 0, 5).change is None
    assert Difference("x", 4, 5).plain() == {"field": "x", "old": 4, "new": 5, "change": 0.25}
