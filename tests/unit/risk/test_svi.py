# SPDX-License-Identifier: Apache-2.0
"""SVI against published volatilities, a known arbitrageable slice, and real option chains."""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest

from risk.errors import BadInput, CalibrationFailed, RiskWarning
from risk.pricing import black76, svi
from risk.types import SECONDS_PER_DAY, SECONDS_PER_YEAR, SmileModel, SviSlice
from tests.support.shared import shared_path

# Axel Vogt's slice, Gatheral & Jacquier example 3.1: butterfly arbitrage although it looks harmless.
VOGT = SviSlice(-0.0410, 0.1331, 0.3060, 0.3586, 0.4153)
# Their arbitrage-free neighbour of section 5.1.
VOGT_REPAIRED = SviSlice(-0.0305, 0.1020, 0.1000, 0.2724, 0.4125)


def test_published_volatilities() -> None:
    cases = json.loads(shared_path("vectors", "derive_utils_black76_svi.json").read_text())["svi"]
    checked = 0
    for case in cases:
        if "vols" in case:
            slice_ = SviSlice(*(case[name] for name in ("a", "b", "rho", "m", "sigma")))
            k = np.log(np.array(case["strikes"]) / case["fwd"])
            assert svi.volatility(slice_, k, case["tau"]) == pytest.approx(case["vols"], rel=1e-14)
            checked += k.size
    assert checked == 12


def test_vogt_slice_has_butterfly_arbitrage_and_its_repair_has_not() -> None:
    assert svi.has_butterfly_arbitrage(VOGT)
    assert svi.butterfly(VOGT, 0.8) < 0.0
    assert not svi.has_butterfly_arbitrage(VOGT_REPAIRED)


@pytest.mark.parametrize(
    "bad",
    [SviSlice(-0.05, 0.1, 0.0, 0.0, 0.2), SviSlice(0.04, 1.9, -0.5, 0.0, 0.2)],
    ids=["negative variance", "wings beyond Lee"],
)
def test_impossible_slices_are_seen(bad: SviSlice) -> None:
    assert svi.has_butterfly_arbitrage(bad)


def test_butterfly_is_the_density_of_the_price() -> None:
    slice_ = SviSlice(0.04, 0.1, -0.3, 0.05, 0.2)
    strikes = np.linspace(60.0, 160.0, 20_001)
    vol = svi.volatility(slice_, np.log(strikes / 100.0), 1.0)
    calls = black76.price(100.0, strikes, vol, 1.0)
    step = strikes[1] - strikes[0]
    density = (calls[2:] - 2 * calls[1:-1] + calls[:-2]) / step**2
    k = np.log(strikes[1:-1] / 100.0)
    w = svi.total_variance(slice_, k)
    d2 = -k / np.sqrt(w) - 0.5 * np.sqrt(w)
    expected = svi.butterfly(slice_, k) / np.sqrt(2 * np.pi * w) * np.exp(-0.5 * d2**2) / strikes[1:-1]
    assert density == pytest.approx(expected, rel=2e-3, abs=1e-6)


def test_calendar_gap_has_the_sign_of_the_arbitrage() -> None:
    near, far = SviSlice(0.04, 0.1, 0.0, 0.0, 0.2), SviSlice(0.05, 0.1, 0.0, 0.0, 0.2)
    assert svi.calendar_gap(near, far) == pytest.approx(0.01)
    assert svi.calendar_gap(far, near) == pytest.approx(-0.01)


def test_fit_recovers_a_slice_and_is_deterministic() -> None:
    truth = SviSlice(0.01, 0.08, -0.35, 0.03, 0.15)
    k = np.linspace(-0.6, 0.5, 23)
    vols = svi.volatility(truth, k, 0.25)
    one, two = svi.fit_slice(k, vols, 0.25), svi.fit_slice(k, vols, 0.25)
    assert one == two
    assert one.rmse < 1e-7
    for name in ("a", "b", "rho", "m", "sigma"):
        assert getattr(one.slice, name) == pytest.approx(getattr(truth, name), abs=1e-4)


def test_fit_of_an_arbitrageable_smile_is_arbitrage_free() -> None:
    k = np.linspace(-1.0, 1.2, 45)
    with pytest.warns(RiskWarning, match="butterfly-arbitrage: the best fit of 45 quotes at tau = 1.0"):
        fit = svi.fit_slice(k, svi.volatility(VOGT, k, 1.0), 1.0)
    assert fit.min_g >= 0.0
    assert fit.rmse < 0.01


def test_fit_refuses_what_it_cannot_use() -> None:
    k, vols = np.linspace(-0.2, 0.2, 5), np.full(5, 0.5)
    with pytest.raises(BadInput, match="5 quotes"):
        svi.fit_slice(k, vols, 0.1, weights=[1, 1, 1, 1, 0])
    with pytest.raises(BadInput, match="equal vectors"):
        svi.fit_slice(k, vols[:4], 0.1)
    with pytest.raises(BadInput, match="positive volatilities"):
        svi.fit_slice(k, -vols, 0.1)
    with pytest.raises(BadInput, match="years must be positive"):
        svi.volatility(VOGT, 0.0, 0.0)
    assert issubclass(CalibrationFailed, Exception)


def chains(name: str) -> dict[tuple[str, str], list[dict[str, str]]]:
    out: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    with gzip.open(shared_path("data", "options", name), "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row["implied_volatility"] and row["futures_price"]:
                out[row["currency"], row["expiry_datetime"]].append(row)
    return out


@pytest.mark.filterwarnings("ignore:butterfly-arbitrage")
@pytest.mark.parametrize("day", ["20260102T211623Z", "20260402T160623Z", "20260822T153351Z"])
def test_real_chains_fit_within_a_volatility_point(day: str) -> None:
    """Out-of-the-money quotes with a bid, within three deviations, vega-weighted, of every BTC and ETH expiry."""
    errors = []
    for rows in chains(f"deribit_options_snapshot_{day}.csv.gz").values():
        tau = float(rows[0]["time_to_maturity"])
        forward = float(np.median([float(row["futures_price"]) for row in rows]))
        vols = np.array([float(row["implied_volatility"]) for row in rows])
        k = np.array([np.log(float(row["strike"]) / forward) for row in rows])
        call = np.array([row["option_type"] == "call" for row in rows])
        quoted = np.array([bool(row["bid_price"]) for row in rows])
        keep = quoted & (call == (k >= 0)) & (np.abs(k) < 3 * np.median(vols) * np.sqrt(tau))
        if keep.sum() < 8:
            continue
        vega = black76.greeks(1.0, np.exp(k[keep]), vols[keep], tau).vega
        fit = svi.fit_slice(k[keep], vols[keep], tau, vega)
        assert fit.min_g >= 0.0
        errors.append(fit.rmse)
    assert len(errors) >= 10
    assert np.median(errors) < 0.0025
    assert max(errors) < 0.01


def test_smile_model_is_free_of_static_arbitrage_and_hits_its_atm_curve() -> None:
    smile = SmileModel(0.9, 0.5, 6.0, -0.4, 1.4, carry_rate=0.08, discount_rate=0.04)
    expiries = [SECONDS_PER_DAY * days for days in (1, 3, 7, 30, 90, 365)]
    slices = svi.slices_from_smile(smile, expiries[::-1], 0)
    assert [item.expiry for item in slices] == expiries
    assert not any(svi.has_butterfly_arbitrage(item.svi) for item in slices)
    assert all(svi.calendar_gap(a.svi, b.svi) > 0 for a, b in pairwise(slices))
    year = slices[-1]
    # Mean of the variance 0.25 + 0.56 exp(-6 t) over one year.
    assert svi.total_variance(year.svi, 0.0) == pytest.approx(0.25 + 0.56 * (1 - np.exp(-6.0)) / 6.0)
    assert year.forward_ratio == pytest.approx(np.exp(0.08))
    assert year.discount == pytest.approx(np.exp(-0.04))
    # A negative rho makes downside volatility dearer.
    tau = expiries[3] / SECONDS_PER_YEAR
    low, high = svi.volatility(slices[3].svi, [-0.2, 0.2], tau)
    assert low > high


def test_smile_of_an_expired_option_is_refused() -> None:
    with pytest.raises(BadInput, match="not after"):
        svi.slices_from_smile(SmileModel(0.6, 0.6, 1.0, 0.0, 1.0), [10], 10)


@pytest.mark.parametrize(
    ("fields", "message"),
    [((0.0, 0.6, 1.0, 0.0, 1.0), "short_vol"), ((0.6, 0.6, 1.0, 1.0, 0.5), "rho"), ((0.6, 0.6, 1.0, 0.5, 1.9), "eta")],
)
def test_smile_that_could_be_arbitraged_cannot_be_built(fields: tuple[float, ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        SmileModel(*fields)
