# SPDX-License-Identifier: Apache-2.0
"""Tests of breaches: their size, their power, and accounts that break together."""

from __future__ import annotations

import numpy as np
import pytest

from risk.backtest.daily import rate_by_day
from risk.backtest.gates import Gate, passed, require
from risk.backtest.peers import factor_at
from risk.backtest.statistics import coverage_of, shortfall_of, zones
from risk.coverage import independence, kupiec, transitions
from risk.errors import BadInput, GateFailed

DAYS = 1_826
FLAT = np.zeros(DAYS)


def common(rate: float, seed: int, accounts: int = 12) -> np.ndarray:
    """Accounts that all breach on the same days."""
    one = np.random.default_rng(seed).random((DAYS, 1)) < rate
    return np.repeat(one, accounts, axis=1)


def test_accounts_that_break_together_count_as_one() -> None:
    hits = common(0.01, 3)
    found = coverage_of(hits, FLAT, 0.01, np.random.default_rng(1), draws=11, orders=9)
    alone = kupiec(DAYS, int(hits[:, 0].sum()), 0.01)
    assert found.kupiec == pytest.approx(alone.p_value)
    assert found.christoffersen == pytest.approx(independence(transitions(hits[:, 0])).p_value)
    # All account-days taken as independent would have rejected what one sequence does not.
    assert kupiec(hits.size, int(hits.sum()), 0.01).p_value < alone.p_value


def test_size_of_the_test_by_day() -> None:
    rejected = np.mean([rate_by_day(common(0.01, seed).mean(axis=1), 0.01) < 0.05 for seed in range(300)])
    assert 0.02 <= rejected <= 0.10


def test_days_without_a_breach_are_judged_by_their_number() -> None:
    assert rate_by_day(np.zeros(100), 0.01) == pytest.approx(kupiec(100, 0, 0.01).p_value)
    assert rate_by_day(np.zeros(100), 0.01) > 0.05
    assert rate_by_day(np.zeros(400), 0.01) < 0.05


@pytest.mark.parametrize("rate", [0.004, 0.02])
def test_a_wrong_rate_is_rejected_on_both_sides(rate: float) -> None:
    hits = np.random.default_rng(5).random((DAYS, 30)) < rate
    found = coverage_of(hits, FLAT, 0.01, np.random.default_rng(1), draws=51, orders=9)
    assert found.kupiec < 0.05
    assert found.by_day < 0.001


def test_zones_by_hand() -> None:
    hits = np.zeros((365, 3), dtype=bool)
    hits[:8, 1], hits[:14, 2] = True, True
    # Binomial(365, 1 %): 95 % is passed at 7 breaches, 99.99 % at 13.
    assert zones(hits, 0.01) == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_shortfall_too_low_is_rejected_and_right_is_not() -> None:
    from risk.measures import gaussian_es, gaussian_var

    loss = np.random.default_rng(4).standard_normal((DAYS, 8))
    var, es = (np.full_like(loss, f(0.0, 1.0, 0.99)) for f in (gaussian_var, gaussian_es))
    right, low = shortfall_of(loss, var, es, 0.01, -0.4), shortfall_of(loss, 0.8 * var, 0.8 * es, 0.01, -0.4)
    assert right.z2_p > 0.05
    assert abs(right.z2) < 0.1
    assert low.z2_p < 0.001
    assert low.z2 < -0.4


def test_factor_by_hand() -> None:
    loss = np.array([[4.0, 0.0], [1.0, -1.0], [0.0, 6.0], [0.0, 0.0]])
    margin = np.full((4, 2), 2.0)
    # Eight account-days, a quarter of them may pass: the third worst ratio covers.
    assert factor_at(loss, margin, np.array([0.5, 0.5]), 0.75) == 0.5
    assert ((loss > 0.5 * margin).mean()) == 0.25
    # With all weight on the second account only its four days count.
    assert factor_at(loss, margin, np.array([0.0, 1.0]), 0.75) == 0.0
    assert factor_at(loss, np.zeros((4, 2)), np.array([0.5, 0.5]), 0.75) == np.inf
    with pytest.raises(BadInput, match="do not fit"):
        factor_at(loss, margin[:3], np.array([0.5, 0.5]), 0.75)
    unknown = np.where(np.arange(8).reshape(4, 2) == 3, np.nan, loss)
    for losses, margins in ((unknown, margin), (loss, unknown)):
        with pytest.raises(BadInput, match="no number"):
            factor_at(losses, margins, np.array([0.5, 0.5]), 0.75)
    with pytest.raises(BadInput, match="coverage of 99"):
        factor_at(loss, margin, np.array([0.5, 0.5]), 99)


def test_one_account_a_day_is_blind_to_accounts_that_break_in_rows() -> None:
    # Each account breaches ten times as readily the day after a breach; picks of other accounts do not see it.
    rng = np.random.default_rng(4)
    draws = rng.random((DAYS, 8))
    hits = draws < 0.01
    for t in range(1, DAYS):
        hits[t] = draws[t] < np.where(hits[t - 1], 0.10, 0.01 * 0.9 / 0.99)
    found = coverage_of(hits, FLAT, 0.01, np.random.default_rng(1), draws=41, orders=199)
    assert found.christoffersen > 0.05
    assert found.accounts_christoffersen > 0.2
    assert found.independence < 0.01


def test_medians_of_one_account_a_day_reject_less_than_their_name_says() -> None:
    # Right models, accounts half alike: a median of p-values is far from 0.05 even when one in twenty is below it.
    low = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        shared, own = rng.standard_normal((DAYS, 1)), rng.standard_normal((DAYS, 8))
        hits = (np.sqrt(0.5) * shared + np.sqrt(0.5) * own) < -2.326347874
        low.append(coverage_of(hits, FLAT, 0.01, rng, draws=21, orders=1).kupiec)
    assert min(low) > 0.05


def test_gates_stop_only_what_is_enforced() -> None:
    good = Gate("a: kupiec", 0.3, 0.05, passed=True, enforced=True)
    remark = Gate("a: rate by day, alone", 0.001, 0.05, passed=False, enforced=False)
    bad = Gate("a: rate by day", 0.001, 0.05, passed=False, enforced=True)
    assert passed([good, remark])
    require([good, remark])
    assert not passed([good, bad])
    with pytest.raises(GateFailed, match=r"a: rate by day is 0\.001"):
        require([good, remark, bad])
