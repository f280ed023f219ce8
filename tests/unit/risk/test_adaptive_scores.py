# SPDX-License-Identifier: Apache-2.0
"""Scores of tail forecasts: losses least at the truth, Diebold-Mariano as statsmodels computes it, the rule."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from risk.adaptive_scores import (
    TAILS,
    SymbolResult,
    TailForecast,
    day_losses,
    diebold_mariano,
    joint_loss,
    pinball,
    score_symbol,
    wins,
)
from risk.coverage import kupiec
from risk.errors import BadInput, InsufficientHistory
from risk.measures import gaussian_es, gaussian_var
from tests.support.garch_market import START, GarchMarket, daily

DAYS = START + 86_400 * np.arange(20_000)


def scaled(forecast: TailForecast, factor: float) -> TailForecast:
    return TailForecast(forecast.quantile * factor, forecast.shortfall * factor)


def test_quantile_loss_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    y, q = rng.standard_normal(500), rng.standard_normal(500)
    for p in TAILS:
        assert pinball(y, q, p).mean() == pytest.approx(metrics.mean_pinball_loss(y, q, alpha=p), rel=1e-12)


def test_losses_are_least_at_the_true_quantile_and_shortfall() -> None:
    y = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    var, es = -gaussian_var(0.0, 1.0), -gaussian_es(0.0, 1.0)
    best = pinball(y, var, 0.01).mean()
    # For a normal law the least expected quantile loss is p times the Expected Shortfall.
    assert best == pytest.approx(0.01 * -es, rel=1e-4)
    assert all(pinball(y, var * f, 0.01).mean() > best for f in (0.9, 0.97, 1.03, 1.1))
    both = joint_loss(y, var, es, 0.01).mean()
    # At the truth FZ0 comes to log(-ES).
    assert both == pytest.approx(np.log(-es), abs=2e-4)
    for v, e in ((0.95, 1.0), (1.05, 1.0), (1.0, 0.95), (1.0, 1.05)):
        assert joint_loss(y, var * v, es * e, 0.01).mean() > both


@pytest.mark.parametrize("lags", [0, 1, 7, None])
def test_diebold_mariano_is_statsmodels_regression_on_a_constant(lags: int | None) -> None:
    api = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(2)
    n = 700
    gap = np.convolve(rng.standard_normal(n + 3), [1.0, 0.6, 0.3, 0.1], mode="valid") + 0.05
    found = diebold_mariano(gap + 2.0, np.full(n, 2.0), lags)
    assert found.lags == (6 if lags is None else lags)
    fit = api.OLS(gap, np.ones(n)).fit(cov_type="HAC", cov_kwds={"maxlags": found.lags, "use_correction": False})
    assert found.difference == pytest.approx(float(fit.params[0]), rel=1e-12)
    # Harvey, Leybourne and Newbold's factor for one step ahead.
    assert found.statistic == pytest.approx(float(fit.tvalues[0]) * np.sqrt((n - 1) / n), rel=1e-12)
    from scipy.stats import t as student

    assert found.p_value == pytest.approx(2.0 * student.sf(abs(found.statistic), n - 1), rel=1e-9)


def test_diebold_mariano_holds_its_size_and_has_a_sign() -> None:
    rng = np.random.default_rng(3)
    found = [diebold_mariano(*rng.standard_normal((2, 300))).p_value for _ in range(1_000)]
    # 5 % of 1,000 with three standard errors (2.1 %); Newey-West is known to reject a little too often.
    assert 0.03 < np.mean(np.array(found) < 0.05) < 0.08
    a, b = rng.standard_normal((2, 300))
    one, other = diebold_mariano(a, b), diebold_mariano(b, a)
    assert (one.statistic, one.p_value) == pytest.approx((-other.statistic, other.p_value))


@pytest.mark.parametrize(
    ("first", "second", "error", "why"),
    [
        (np.zeros(30), np.zeros(31), BadInput, "one length"),
        (np.zeros(19), np.ones(19), InsufficientHistory, "19 losses, 20 are needed"),
        (np.zeros(30), np.ones(30), BadInput, "differ by a constant"),
        (np.full(30, np.nan), np.arange(30.0), BadInput, "not finitely"),
    ],
)
def test_diebold_mariano_refuses(first: np.ndarray, second: np.ndarray, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        diebold_mariano(first, second)


def test_scores_refuse_what_cannot_be_scored() -> None:
    with pytest.raises(BadInput, match="probability of 1"):
        pinball([0.0], [0.0], 1.0)
    with pytest.raises(BadInput, match="not negative"):
        joint_loss([0.0], [-1.0], [0.0], 0.01)
    empty = TailForecast.empty(200)
    with pytest.raises(BadInput, match="need adaptive and one"):
        score_symbol("BTC", DAYS[:200], np.zeros(200), {"adaptive": empty}, "adaptive")
    with pytest.raises(InsufficientHistory, match="0 days that every model forecasts"):
        score_symbol("BTC", DAYS[:200], np.zeros(200), {"adaptive": empty, "fhs": empty}, "adaptive")


def known_law() -> tuple[np.ndarray, TailForecast]:
    outcome, variance = daily(20_000, np.random.default_rng(5))
    return outcome, GarchMarket(outcome, variance, None).oracle()  # type: ignore[arg-type]


def test_the_true_quantiles_of_a_garch_process_beat_all_others_in_the_right_order() -> None:
    outcome, oracle = known_law()
    flat = np.tile(np.quantile(outcome, TAILS), (outcome.size, 1))
    deep = np.array([outcome[outcome < flat[0, 0]].mean(), outcome[outcome > flat[0, 1]].mean()])
    models = {
        "oracle": oracle,
        "a little short": scaled(oracle, 0.9),
        "short": scaled(oracle, 0.8),
        "a little wide": scaled(oracle, 1.1),
        "wide": scaled(oracle, 1.25),
        "unconditional": TailForecast(flat, np.tile(deep, (outcome.size, 1))),
    }
    found = score_symbol("BTC", DAYS, outcome, models, "oracle")
    loss = {name: s.loss for name, s in found.scores.items()}
    joint = {name: s.joint for name, s in found.scores.items()}
    for order in (loss, joint):
        assert min(order, key=order.__getitem__) == "oracle"
        assert order["a little short"] < order["short"]
        assert order["a little wide"] < order["wide"]
    assert max(loss, key=loss.__getitem__) == "unconditional"
    assert not found.faults
    assert found.scores["oracle"].covers
    assert not found.scores["short"].covers
    assert not found.scores["wide"].covers
    # The unconditional quantile is breached as often as it should be, but in clusters.
    steady = found.scores["unconditional"]
    assert min(steady.kupiec) > 0.05 > min(steady.christoffersen)
    assert steady.against is not None
    assert steady.against.p_value < 1e-6


def test_days_without_an_outcome_or_a_forecast_do_not_count() -> None:
    outcome, oracle = known_law()
    outcome, oracle = outcome[:400].copy(), TailForecast(oracle.quantile[:400], oracle.shortfall[:400])
    outcome[7] = np.nan
    partial = TailForecast(oracle.quantile * 1.1, oracle.shortfall * 1.1)
    partial.quantile[:100] = np.nan
    found = score_symbol("BTC", DAYS[:400], outcome, {"adaptive": oracle, "fhs": partial}, "adaptive")
    np.testing.assert_array_equal(found.ts, DAYS[100:400])
    hits = int((outcome[100:] < oracle.quantile[100:, 0]).sum())
    assert found.scores["adaptive"].breaches[0] == hits
    assert found.scores["adaptive"].kupiec[0] == pytest.approx(kupiec(300, hits, 0.01).p_value)
    assert found.plain()["first"] == "2017-04-11T00:00Z"


def result(own: float, other: float, days: int) -> SymbolResult:
    outcome, oracle = known_law()
    forecasts = {
        "adaptive": TailForecast(own * oracle.quantile[:days], own * oracle.shortfall[:days]),
        "fhs": TailForecast(other * oracle.quantile[:days], other * oracle.shortfall[:days]),
    }
    return score_symbol("BTC", DAYS[:days], outcome[:days], forecasts, "adaptive")


def test_the_rule_needs_all_three_conditions_on_more_than_half() -> None:
    won = result(1.0, 1.6, 20_000)
    worse = result(1.3, 1.0, 20_000)
    faint = result(1.0, 1.02, 20_000)
    short = result(0.85, 0.6, 20_000)
    assert won.faults == ()
    assert worse.faults == ("loss not below that of fhs", "coverage rejected")
    assert faint.faults == ("not significantly below fhs",)
    assert short.faults == ("coverage rejected",)
    assert wins([won, won, worse])
    assert not wins([won, worse])
    assert not wins([won, faint, short])


def test_day_losses_are_the_mean_of_both_tails() -> None:
    forecast = TailForecast(np.array([[-0.1, 0.2]]), np.array([[-0.2, 0.3]]))
    # Lower: (-0.3 + 0.1) * (0.01 - 1) = 0.198; upper: (-0.3 - 0.2) * (0.99 - 1) = 0.005.
    assert day_losses(np.array([-0.3]), forecast)[0] == pytest.approx(0.1015)
