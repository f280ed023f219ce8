# SPDX-License-Identifier: Apache-2.0
"""The forecasts that the adaptive layer must beat: against the functions they stand for, and never from the future."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from risk.adaptive_features import DAY_S, Samples, build_panel
from risk.adaptive_models import empirical_tails, ewma, filtered_history, garch, long_history, next_variance
from risk.adaptive_scores import TailForecast, score_symbol
from risk.errors import InsufficientHistory, RiskWarning
from risk.factors.fhs import FhsConfig, build_factors, filtered_windows
from risk.factors.volatility import VolatilityFit, gjr_garch_t
from risk.measures import expected_shortfall, value_at_risk
from tests.support.garch_market import START, GarchMarket, daily, garch_market

MARKET = garch_market(900, 7)
SAMPLES = build_panel({"BTC": MARKET.history})["BTC"]
FIRST, STOP = 600, 640
MODELS: dict[str, Callable[[Samples], TailForecast]] = {
    "long history": lambda s: long_history(s, FIRST, STOP),
    "fhs": lambda s: filtered_history(s, FIRST, STOP),
    "ewma": lambda s: ewma(s, FIRST, STOP),
    "garch": lambda s: garch(s, [FIRST, FIRST + 20], STOP),
}


def test_samples_are_the_days_of_the_process() -> None:
    # The anchor of all that follows: the pipeline sees the simulated day, dated as it was.
    row = int((SAMPLES.ts[0] - MARKET.history.ts[0] - 3600) // DAY_S)
    np.testing.assert_allclose(SAMPLES.target[:-1], MARKET.outcome[row:], atol=1e-12)


def test_empirical_tails_are_the_measures_of_the_library() -> None:
    sample = np.random.default_rng(1).standard_normal(12_345)
    quantile, shortfall = empirical_tails(sample)
    assert quantile[0] == -value_at_risk(sample, 0.99, "inverted_cdf")
    assert quantile[1] == value_at_risk(-sample, 0.99, "inverted_cdf")
    assert shortfall[0] == pytest.approx(-expected_shortfall(sample, 0.99, "inverted_cdf"), rel=1e-12)
    assert shortfall[1] == pytest.approx(expected_shortfall(-sample, 0.99, "inverted_cdf"), rel=1e-12)
    with pytest.raises(InsufficientHistory, match="99 returns hold no value"):
        empirical_tails(sample[:99])


def test_filtered_and_long_history_are_the_calibrations_on_what_was_known() -> None:
    row = FIRST + 13
    past = MARKET.history.window(end=int(SAMPLES.ts[row]))
    factors = build_factors(past, halflife_bars=72, vol_halflife_bars=240)
    logs = filtered_windows(factors, FhsConfig(24, 24))[:, 0]
    found = filtered_history(SAMPLES, row, row + 1)
    np.testing.assert_allclose(found.quantile[row], empirical_tails(logs)[0], rtol=1e-12)
    np.testing.assert_allclose(found.shortfall[row], empirical_tails(logs)[1], rtol=1e-12)
    closes = np.log(past.close[:, 0])
    plain = empirical_tails(closes[24:] - closes[:-24])
    np.testing.assert_allclose(long_history(SAMPLES, row, row + 1).quantile[row], plain[0], rtol=1e-9)
    assert np.isnan(found.quantile[row - 1]).all()


def test_ewma_is_riskmetrics() -> None:
    row = FIRST + 3
    past = SAMPLES.target[:row]
    weights = 0.06 * 0.94 ** np.arange(row)[::-1]
    deviation = np.sqrt(weights @ past**2)
    found = ewma(SAMPLES, FIRST, STOP)
    # What began the recursion weighs 0.94 ** 603 by now.
    assert found.quantile[row] == pytest.approx(deviation * norm.ppf([0.01, 0.99]), rel=1e-9)
    assert found.shortfall[row, 1] == pytest.approx(deviation * norm.pdf(norm.ppf(0.99)) / 0.01, rel=1e-9)


def test_the_variance_recursion_is_that_of_the_fit() -> None:
    fit = gjr_garch_t(MARKET.outcome, 11.2)
    assert fit.model == "gjr-garch-t"
    again = [next_variance(fit, v, r) for v, r in zip(fit.variance[:-1], MARKET.outcome, strict=True)]
    np.testing.assert_allclose(again, fit.variance[1:], rtol=1e-9)
    ewma_fit = VolatilityFit(np.array([1.0]), "ewma", {"halflife_bars": 1.0})
    assert next_variance(ewma_fit, 4.0, 2.0) == pytest.approx(4.0)
    assert next_variance(ewma_fit, 4.0, 0.0) == pytest.approx(2.0)


def test_garch_comes_near_the_true_quantile() -> None:
    found = garch(SAMPLES, [FIRST], STOP)
    true = MARKET.true_on(SAMPLES.ts)
    ratio = found.quantile[FIRST:STOP] / true.quantile[FIRST:STOP]
    assert 0.8 < ratio.min() < ratio.max() < 1.2
    beyond = found.shortfall[FIRST:STOP] / true.shortfall[FIRST:STOP]
    assert 0.75 < beyond.min() < beyond.max() < 1.25


def test_over_a_long_process_the_truth_wins_and_the_models_rank_by_how_near_they_are() -> None:
    days, first = 20_000, 2_000
    outcome, variance = daily(days, np.random.default_rng(5))
    ts = START + DAY_S * np.arange(days)
    # Models of daily returns look at nothing but these.
    samples = replace(SAMPLES, ts=ts, target=outcome, features=np.empty((days, 0)), scale=np.ones(days))
    quantile, beyond = empirical_tails(outcome[:first])
    models = {
        "oracle": GarchMarket(outcome, variance, MARKET.history).oracle(),
        "garch": garch(samples, [first, 8_000], days),
        "ewma": ewma(samples, first, days),
        "constant": TailForecast(np.tile(quantile, (days, 1)), np.tile(beyond, (days, 1))),
    }
    scores = score_symbol("BTC", ts, outcome, models, "oracle").scores
    for measure in ("loss", "joint"):
        ranked = sorted(scores, key=lambda name: getattr(scores[name], measure))
        assert ranked[:2] == ["oracle", "garch"]
    assert scores["oracle"].covers
    assert not scores["ewma"].covers
    for name in ("ewma", "constant"):
        test = scores[name].against
        assert test is not None
        assert test.p_value < 1e-4


def test_a_failed_fit_is_said_and_ewma_stands_in() -> None:
    with pytest.warns(RiskWarning, match="BTC by day: GJR-GARCH fit failed .*300 returns are fewer than 500"):
        found = garch(SAMPLES, [300], 310)
    ratio = found.shortfall[300:310, 1] / found.quantile[300:310, 1]
    assert ratio == pytest.approx(norm.pdf(norm.ppf(0.99)) / 0.01 / norm.ppf(0.99))


@pytest.mark.parametrize("name", MODELS)
def test_no_forecast_uses_what_comes_later(name: str) -> None:
    row = FIRST + 30
    history = MARKET.history
    close = history.close.copy()
    later = history.ts >= SAMPLES.ts[row]
    close[later] *= np.exp(0.05 * np.random.default_rng(3).standard_normal((int(later.sum()), 1)))
    other = type(history)(history.symbols, history.ts, close, history.volume, history.interval_s)
    before, after = (MODELS[name](s).quantile for s in (SAMPLES, build_panel({"BTC": other})["BTC"]))
    np.testing.assert_array_equal(before[FIRST : row + 1], after[FIRST : row + 1])
    if name != "long history":  # forty days hardly move the quantile of all
        assert (before[row + 1 : STOP] != after[row + 1 : STOP]).all()
