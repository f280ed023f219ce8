# SPDX-License-Identifier: Apache-2.0
"""Tests by day of breaches: published numbers where one account is tested, size, power, and what they must not see."""

from __future__ import annotations

import numpy as np
import pytest

from risk.backtest.daily import dynamic_quantile, holm, independence_by_day, rate_by_day, score_by_day
from risk.coverage import kupiec
from risk.errors import BadInput

DAYS = 1_826


def right(seed: int, rate: float = 0.01, accounts: int = 8) -> np.ndarray:
    """Breaches of a right model, accounts half alike within a day."""
    rng = np.random.default_rng(seed)
    mixed = np.sqrt(0.5) * rng.standard_normal((DAYS, 1)) + np.sqrt(0.5) * rng.standard_normal((DAYS, accounts))
    return np.asarray(mixed > {0.01: 2.326347874, 0.0139: 2.2}[rate])


def test_of_one_account_the_score_is_that_of_the_proportion() -> None:
    """57 of 1,043 at 5 %, the case MathWorks prints for Kupiec's test (LR 0.46147): (x - Tp)^2 / (T p (1-p))."""
    hits = np.zeros(1_043)
    hits[:57] = 1.0
    z = score_by_day(hits, 0.05)
    assert z * z == pytest.approx((57 - 52.15) ** 2 / (1_043 * 0.05 * 0.95))
    # Likelihood ratio and score agree to the first order.
    assert z * z == pytest.approx(0.46147, abs=0.02)
    assert rate_by_day(hits, 0.05) == pytest.approx(kupiec(1_043, 57, 0.05).p_value, abs=0.01)


def test_copies_of_an_account_add_no_evidence() -> None:
    one = np.random.default_rng(3).random((DAYS, 1)) < 0.02
    many = np.repeat(one, 12, axis=1)
    assert rate_by_day(many.mean(axis=1), 0.01) == pytest.approx(rate_by_day(one.mean(axis=1), 0.01))
    low, high = (independence_by_day(h, np.random.default_rng(1), draws=199) for h in (one, many))
    assert low == high


def test_size_and_power_of_the_rate() -> None:
    """Of right models about one in twenty falls; of models 10 % too low half as many again do at least."""
    fine = np.mean([rate_by_day(right(seed).mean(axis=1), 0.01) < 0.05 for seed in range(200)])
    wrong = np.mean([rate_by_day(right(seed, 0.0139).mean(axis=1), 0.01) < 0.05 for seed in range(100)])
    assert 0.01 <= fine <= 0.10
    assert wrong > 0.4


def test_size_of_independence_and_the_dynamic_quantile() -> None:
    fell = []
    for seed in range(60):
        hits, rng = right(seed), np.random.default_rng([seed, 1])
        height = rng.standard_normal(DAYS)
        fell.append(
            (
                independence_by_day(hits, rng, draws=99) <= 0.05,
                dynamic_quantile(hits.mean(axis=1), height, rng, draws=39) <= 0.05,
            )
        )
    assert (np.mean(fell, axis=0) <= 0.15).all()


def test_breaches_in_rows_are_found_up_to_five_days_later() -> None:
    hits = right(4)
    for lag, found in ((1, True), (5, True), (6, False)):
        rows = hits.copy()
        rows[lag:] |= hits[:-lag] & (np.random.default_rng(lag).random((DAYS - lag, 1)) < 0.3)
        # Taken out within five days, so that only the planted lag is there.
        p = independence_by_day(rows, np.random.default_rng(1), draws=199)
        assert (p < 0.05) == found, (lag, p)


def test_a_forecast_that_is_low_when_it_should_not_be_is_found() -> None:
    """The rate is right, days are independent; breaches come where the forecast stands low."""
    rng = np.random.default_rng(7)
    height = rng.standard_normal(DAYS)
    hits = rng.random((DAYS, 8)) < np.where(height < 0.0, 0.016, 0.004)[:, None]
    assert rate_by_day(hits.mean(axis=1), 0.01) > 0.05
    assert independence_by_day(hits, rng, draws=199) > 0.05
    assert dynamic_quantile(hits.mean(axis=1), height, rng, draws=199) < 0.02
    assert dynamic_quantile(hits.mean(axis=1), rng.permutation(height), rng, draws=199) > 0.05


def test_without_breaches_nothing_is_in_rows() -> None:
    none, rng = np.zeros((400, 3), dtype=bool), np.random.default_rng(1)
    assert independence_by_day(none, rng) == 1.0
    assert dynamic_quantile(none.mean(axis=1), np.ones(400), rng) == 1.0
    assert rate_by_day(none.mean(axis=1), 0.01) == pytest.approx(kupiec(400, 0, 0.01).p_value)
    with pytest.raises(BadInput, match="values of zero or more"):
        score_by_day(np.zeros(5), 0.01)
    with pytest.raises(BadInput, match="need as many of both"):
        dynamic_quantile(np.zeros(400), np.ones(3), rng)


def test_holm_by_hand() -> None:
    """The least of three counts three times, the next twice; none comes out below one before it."""
    assert holm([0.04, 0.01, 0.045]) == pytest.approx((0.08, 0.03, 0.08))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
