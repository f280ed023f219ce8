# SPDX-License-Identifier: Apache-2.0
"""EWMA against its closed form; GJR-GARCH on a simulated law and when it cannot be fitted."""

from __future__ import annotations

import numpy as np
import pytest

from risk.errors import BadInput, InsufficientHistory, RiskWarning
from risk.factors.volatility import decay, ewma_variance, gjr_garch_t


def test_ewma_is_the_explicit_weighted_sum() -> None:
    rng = np.random.default_rng(1)
    r = rng.standard_normal((300, 2)) * 0.01
    keep = 0.94
    v = ewma_variance(r, np.log(0.5) / np.log(keep), np.array([1e-4, 2e-4]))
    for t in (0, 1, 57, 300):
        weights = (1 - keep) * keep ** np.arange(t)[::-1]
        expected = keep**t * np.array([1e-4, 2e-4]) + weights @ r[:t] ** 2
        np.testing.assert_allclose(v[t], expected, rtol=1e-12)


def test_riskmetrics_decay_and_effective_days() -> None:
    # RiskMetrics technical document, table 5.7: at decay 0.94 and 1 % tolerance 74 days carry the weight.
    keep = decay(np.log(0.5) / np.log(0.94))
    assert keep == pytest.approx(0.94)
    assert int(np.log(0.01) / np.log(keep)) == 74


def test_forecast_uses_nothing_later() -> None:
    r = np.random.default_rng(2).standard_normal((100, 1)) * 0.01
    changed = r.copy()
    changed[60:] *= 5
    before, after = (ewma_variance(x, 10.0, np.array([1e-4])) for x in (r, changed))
    np.testing.assert_array_equal(before[:61], after[:61])
    assert (after[61:] > before[61:]).all()


def test_ewma_refuses_nonsense() -> None:
    with pytest.raises(InsufficientHistory, match="empty series"):
        ewma_variance(np.empty((0, 1)), 10.0)
    with pytest.raises(BadInput, match="half-life is 0"):
        decay(0)


def simulate_gjr(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    omega, alpha, gamma, beta, dof = 1e-6, 0.04, 0.08, 0.88, 6.0
    z = rng.standard_t(dof, n) * np.sqrt((dof - 2) / dof)
    variance, r = np.empty(n + 1), np.empty(n)
    variance[0] = omega / (1 - alpha - gamma / 2 - beta)
    for t in range(n):
        r[t] = np.sqrt(variance[t]) * z[t]
        variance[t + 1] = omega + (alpha + gamma * (r[t] < 0)) * r[t] ** 2 + beta * variance[t]
    return r, variance


def test_gjr_recovers_a_known_law() -> None:
    returns, variance = simulate_gjr(20_000, np.random.default_rng(4))
    fit = gjr_garch_t(returns, 50.0)
    assert fit.model == "gjr-garch-t"
    assert fit.parameters["beta[1]"] == pytest.approx(0.88, abs=0.04)
    assert fit.parameters["gamma[1]"] == pytest.approx(0.08, abs=0.04)
    assert fit.parameters["nu"] == pytest.approx(6.0, abs=1.0)
    assert fit.variance.shape == (20_001,)
    # Includes the forecast for the next bar, which the fit never saw.
    np.testing.assert_allclose(np.sqrt(fit.variance[500:] / variance[500:]), 1.0, atol=0.12)


@pytest.mark.parametrize(
    ("returns", "why"),
    [(np.zeros(1_000), "constant"), (np.full(100, 0.01), "100 returns are fewer than 500")],
)
def test_a_failed_fit_falls_back_and_says_so(returns: np.ndarray, why: str) -> None:
    with pytest.warns(RiskWarning, match=f"DOGE: GJR-GARCH fit failed .*{why}.*; EWMA used instead"):
        fit = gjr_garch_t(returns, 24.0, "DOGE")
    assert fit.model == "ewma"
    assert fit.variance.size == returns.size + 1
    assert (fit.variance > 0).all()


def test_gjr_takes_one_series() -> None:
    with pytest.raises(BadInput, match="one series"):
        gjr_garch_t(np.zeros((10, 2)), 24.0)
