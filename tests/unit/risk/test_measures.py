# SPDX-License-Identifier: Apache-2.0
"""VaR and ES against ORE, PerformanceAnalytics, closed forms of t laws, and simulation for the standard errors."""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict

import numpy as np
import pytest

from risk import measures
from risk.errors import BadInput, InsufficientHistory
from tests.support.shared import shared_path


def test_ore_historical_var_and_es() -> None:
    profits: dict[tuple[str, str], list[float]] = defaultdict(list)
    with gzip.open(shared_path("vectors", "ore_histsimvar_pnl.csv.gz"), "rt", newline="") as file:
        for row in csv.DictReader(file):
            profits[row["RiskClass"], row["RiskType"]].append(float(row["PLAmount"]))
    checked = 0
    with shared_path("vectors", "ore_histsimvar_expected.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            sample = profits.get((row["RiskClass"], row["RiskType"]))
            if sample is None:
                continue
            for tail in (0.01, 0.05, 0.95, 0.99):
                var = measures.value_at_risk(sample, 1 - tail, "inverted_cdf")
                es = measures.expected_shortfall(sample, 1 - tail, "inverted_cdf")
                assert -var == pytest.approx(float(row[f"Quantile_{tail:.6f}"]), abs=1e-5)
                assert -es == pytest.approx(float(row[f"ExpectedShortfall_{tail:.6f}"]), abs=1e-5)
                checked += 1
    assert checked >= 24


def edhec() -> tuple[dict[str, object], np.ndarray, list[str]]:
    baseline = json.loads(shared_path("vectors", "performanceanalytics_var_es_baseline.json").read_text())
    with shared_path("vectors", "performanceanalytics_edhec_first100.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    names = [name for name in table[0] if name != "date"]
    return baseline, np.array([[float(row[name]) for name in names] for row in table]), names


def test_performance_analytics_baseline() -> None:
    baseline, returns, names = edhec()
    sample = returns[:, names.index(str(baseline["asset"]))]
    mean, deviation = float(sample.mean()), float(sample.std())
    got = {
        "VaR_gaussian": measures.gaussian_var(mean, deviation, 0.95),
        "VaR_modified": measures.cornish_fisher_var(sample, 0.95),
        "VaR_historical": measures.value_at_risk(sample, 0.95, "linear"),
        "ES_gaussian": measures.gaussian_es(mean, deviation, 0.95),
        "ES_historical": measures.expected_shortfall(sample, 0.95, "linear"),
    }
    for name, value in got.items():
        assert -value == pytest.approx(baseline[name], abs=6e-7), name
    weights, means = baseline["portfolio_weights"], returns.mean(axis=0)
    parts = measures.gaussian_var_contributions(weights, np.cov(returns.T), 0.95, means)
    assert parts.sum() == pytest.approx(baseline["portfolio_component_gaussian_VaR"], abs=6e-7)


@pytest.mark.parametrize(
    ("degrees", "es", "var"), [(3, 7.0031, 4.5407), (4, 5.2206, 3.7469), (5, 4.4524, 3.3649), (6, 4.0325, 3.1427)]
)
def test_student_closed_forms(degrees: int, es: float, var: float) -> None:
    assert measures.student_es(degrees) == pytest.approx(es, abs=6e-5)
    assert measures.student_var(degrees) == pytest.approx(var, abs=6e-5)


def test_student_law_approaches_the_normal() -> None:
    assert measures.gaussian_es(0.0, 1.0) == pytest.approx(2.6652, abs=6e-5)
    assert measures.student_es(1e7) == pytest.approx(measures.gaussian_es(0.0, 1.0), rel=1e-5)
    with pytest.raises(BadInput, match="more than 1"):
        measures.student_es(1.0)


def test_large_samples_reach_the_closed_form_within_their_standard_error() -> None:
    sample = np.random.default_rng(11).standard_t(4, size=400_000)
    for estimate, truth in (
        (measures.es_estimate(sample), measures.student_es(4)),
        (measures.var_estimate(sample), measures.student_var(4)),
    ):
        assert abs(estimate.value - truth) < 3 * estimate.standard_error
        assert estimate.standard_error < 0.03 * truth


def test_conventions_differ_at_the_boundary_observation_only() -> None:
    sample = [-10.0, -6.0, -5.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    # 15 % of ten observations: one and a half losses.
    assert measures.expected_shortfall(sample, 0.85, "exact") == pytest.approx((10 + 0.5 * 6) / 1.5)
    assert measures.expected_shortfall(sample, 0.85, "inverted_cdf") == pytest.approx(8.0)
    assert measures.value_at_risk(sample, 0.85, "exact") == 6.0
    assert measures.value_at_risk(sample, 0.85, "linear") == pytest.approx(0.35 * 5.0 + 0.65 * 6.0)


def test_weights_count_like_repetition() -> None:
    sample, weights = [-4.0, -3.0, -2.0, 1.0], [1, 2, 3, 14]
    repeated = np.repeat(sample, weights)
    for level in (0.8, 0.9, 0.93):
        assert measures.expected_shortfall(sample, level, weights=weights) == pytest.approx(
            measures.expected_shortfall(repeated, level)
        )
    with pytest.raises(BadInput, match="takes no weights"):
        measures.value_at_risk(sample, 0.9, "linear", weights)
    with pytest.raises(BadInput, match="non-negative"):
        measures.value_at_risk(sample, 0.9, weights=[1, -1, 1, 1])


def test_euler_contributions_add_up_and_are_marginal() -> None:
    rng = np.random.default_rng(2)
    parts = rng.standard_t(4, size=(5_000, 4)) @ rng.normal(size=(4, 4))
    shares = measures.es_contributions(parts, 0.975)
    total = measures.expected_shortfall(parts.sum(axis=1), 0.975)
    assert shares.sum() == pytest.approx(total, rel=1e-12)
    bumped = parts.sum(axis=1) + 1e-6 * parts[:, 1]
    assert (measures.expected_shortfall(bumped, 0.975) - total) / 1e-6 == pytest.approx(shares[1], rel=1e-3)


@pytest.mark.parametrize("estimator", [measures.es_estimate, measures.var_estimate])
def test_standard_errors_match_simulation(estimator: object) -> None:
    rng = np.random.default_rng(3)
    estimates = [estimator(rng.normal(size=5_000), 0.99) for _ in range(300)]  # type: ignore[operator]
    spread = np.std([item.value for item in estimates])
    assert np.mean([item.standard_error for item in estimates]) == pytest.approx(spread, rel=0.12)


def test_expected_shortfall_is_subadditive_where_var_is_not() -> None:
    # Two loans, each defaulting in 4 of 100 states, never together.
    one, two = np.full(100, 1.0), np.full(100, 1.0)
    one[:4] = two[4:8] = -100.0
    var = [measures.value_at_risk(item, 0.95) for item in (one, two, one + two)]
    es = [measures.expected_shortfall(item, 0.95) for item in (one, two, one + two)]
    assert var[2] > var[0] + var[1]
    assert es[2] <= es[0] + es[1]


@pytest.mark.parametrize("bad", [[], [np.nan, 1.0], [[1.0]]])
def test_unusable_samples_are_refused(bad: list[object]) -> None:
    with pytest.raises(BadInput, match="profits"):
        measures.value_at_risk(bad)  # type: ignore[arg-type]


def test_levels_and_short_histories_are_refused() -> None:
    with pytest.raises(BadInput, match="level"):
        measures.expected_shortfall([1.0], 1.0)
    with pytest.raises(InsufficientHistory, match="tail"):
        measures.es_estimate(np.arange(100.0), 0.99)


@pytest.mark.parametrize("level", [0.0, 1.0, 99.0, np.nan])
def test_closed_forms_refuse_a_level_that_is_none(level: float) -> None:
    for law in (measures.gaussian_var, measures.gaussian_es):
        with pytest.raises(BadInput, match="confidence level"):
            law(0.0, 1.0, level)
    for student in (measures.student_var, measures.student_es):
        with pytest.raises(BadInput, match="confidence level"):
            student(4.0, level)


def test_closed_forms_refuse_laws_that_are_none() -> None:
    for law in (measures.gaussian_var, measures.gaussian_es):
        with pytest.raises(BadInput, match="deviation of -1"):
            law(0.0, -1.0)
    with pytest.raises(BadInput, match="degrees of freedom"):
        measures.student_var(0.0)
    with pytest.raises(BadInput, match=r"variance or deviation of -1\.0"):
        measures.gaussian_var_contributions([1.0, 0.0], np.diag([-1.0, 1.0]))
