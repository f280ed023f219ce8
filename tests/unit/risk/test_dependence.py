# SPDX-License-Identifier: Apache-2.0
"""Shrinkage against its definition, Higham's published example, the t copula against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from risk.errors import BadInput, InsufficientHistory, RiskWarning
from risk.factors.dependence import (
    TCopula,
    fit_t_copula,
    kendall_correlation,
    ledoit_wolf,
    nearest_correlation,
    t_copula_loglik,
    to_correlation,
)


def ledoit_wolf_by_definition(x: np.ndarray) -> tuple[np.ndarray, float]:
    """Lemmas 3.2-3.4 written out observation by observation, norm ||A||^2 = tr(AA')/p."""
    n, p = x.shape
    x = x - x.mean(axis=0)
    s = x.T @ x / n
    m = np.trace(s) / p
    d2 = np.trace((s - m * np.eye(p)) @ (s - m * np.eye(p)).T) / p
    b2 = sum(np.trace((np.outer(v, v) - s) @ (np.outer(v, v) - s).T) / p for v in x) / n**2
    b2 = min(b2, d2)
    return b2 / d2 * m * np.eye(p) + (d2 - b2) / d2 * s, b2 / d2


def test_ledoit_wolf_is_its_definition() -> None:
    x = np.random.default_rng(1).standard_normal((40, 6)) @ np.diag([1, 2, 3, 1, 1, 0.5])
    covariance, shrinkage = ledoit_wolf(x)
    expected, amount = ledoit_wolf_by_definition(x)
    np.testing.assert_allclose(covariance, expected, rtol=1e-10)
    assert shrinkage == pytest.approx(amount)
    assert 0 < shrinkage < 1


def test_ledoit_wolf_is_scikit_learns() -> None:
    reference = pytest.importorskip("sklearn.covariance", reason="scikit-learn is an extra (research)")
    x = np.random.default_rng(3).standard_t(4, (120, 8)) @ np.diag(np.arange(1.0, 9.0))
    covariance, shrinkage = ledoit_wolf(x)
    expected, amount = reference.ledoit_wolf(x)
    np.testing.assert_allclose(covariance, expected, rtol=1e-10, atol=1e-12)
    assert shrinkage == pytest.approx(amount, rel=1e-10)


def test_ledoit_wolf_by_hand() -> None:
    # Two points (1,0), (-1,0): S = diag(1,0), m = 1/2, d2 = 1/4; x x' = S for both, so nothing is shrunk.
    covariance, shrinkage = ledoit_wolf(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    assert shrinkage == 0.0
    np.testing.assert_allclose(covariance, np.diag([1.0, 0.0]))
    # (1,0), (-1,0), (0,1), (0,-1): S = I/2 equals its own target, so d2 = 0.
    cross = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    np.testing.assert_allclose(ledoit_wolf(cross)[0], 0.5 * np.eye(2))
    with pytest.raises(InsufficientHistory, match="1 observations"):
        ledoit_wolf(np.ones((1, 2)))
    with pytest.raises(BadInput, match="finite 2-d"):
        ledoit_wolf(np.full((3, 2), np.nan))


def test_nearest_correlation_is_highams_example() -> None:
    # Higham (2002), section 4: distance 0.5278, entries 0.7607 and 0.1573.
    a = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    with pytest.warns(
        RiskWarning, match=r"indefinite-correlation: smallest eigenvalue -0\.41; .* no entry moved by more than 0\.24"
    ):
        x = nearest_correlation(a)
    np.testing.assert_allclose(x, [[1, 0.7607, 0.1573], [0.7607, 1, 0.7607], [0.1573, 0.7607, 1]], atol=5e-5)
    assert float(np.linalg.norm(a - x)) == pytest.approx(0.5278, abs=5e-5)
    assert np.linalg.eigvalsh(x)[0] > 0
    np.linalg.cholesky(x)


def test_nearest_correlation_leaves_a_good_one_and_refuses_a_crooked_one() -> None:
    good = np.array([[1.0, 0.3], [0.3, 1.0]])
    np.testing.assert_allclose(nearest_correlation(good), good, atol=1e-12)
    with pytest.raises(BadInput, match="not symmetric"):
        nearest_correlation(np.array([[1.0, 0.2], [0.3, 1.0]]))
    with pytest.raises(BadInput, match="variance that is not positive"):
        to_correlation(np.diag([1.0, 0.0]))


@pytest.mark.parametrize(
    ("dof", "rho", "table"), [(2, 0.0, 0.18), (4, 0.0, 0.08), (4, 0.5, 0.25), (10, 0.5, 0.08), (4, 0.9, 0.63)]
)
def test_tail_dependence_is_the_published_table(dof: float, rho: float, table: float) -> None:
    # McNeil, Frey & Embrechts (2005), table 5.1.
    copula = TCopula(np.array([[1.0, rho], [rho, 1.0]]), dof)
    assert copula.tail_dependence(0, 1) == pytest.approx(table, abs=0.005)


def test_samples_have_the_kendall_tau_and_the_tail_of_the_law() -> None:
    rho, dof = 0.6, 4.0
    copula = TCopula(np.array([[1.0, rho], [rho, 1.0]]), dof)
    u = copula.sample(400_000, np.random.default_rng(3))
    tau = stats.kendalltau(u[:20_000, 0], u[:20_000, 1]).statistic
    assert tau == pytest.approx(2 / np.pi * np.arcsin(rho), abs=0.012)
    np.testing.assert_allclose(u.mean(axis=0), 0.5, atol=0.003)
    q = 0.001
    both = float(((u[:, 0] < q) & (u[:, 1] < q)).mean()) / q
    assert both == pytest.approx(copula.tail_dependence(0, 1), abs=0.06)


def test_loglikelihood_is_the_density_of_scipy() -> None:
    corr, dof = np.array([[1.0, 0.4], [0.4, 1.0]]), 5.0
    u = np.random.default_rng(1).uniform(0.01, 0.99, (50, 2))
    x = stats.t.ppf(u, dof)
    expected = stats.multivariate_t(shape=corr, df=dof).logpdf(x).sum() - stats.t.logpdf(x, dof).sum()
    assert t_copula_loglik(u, corr, dof) == pytest.approx(expected)


def test_fit_recovers_correlation_and_degrees_of_freedom() -> None:
    truth = TCopula(np.array([[1.0, 0.7, 0.2], [0.7, 1.0, 0.4], [0.2, 0.4, 1.0]]), 4.0)
    # Margins are no business of a copula: exponentials here.
    values = -np.log(truth.sample(5_000, np.random.default_rng(2)))
    fit = fit_t_copula(values)
    np.testing.assert_allclose(fit.correlation, truth.correlation, atol=0.03)
    assert fit.dof == pytest.approx(4.0, abs=0.6)


def test_fit_refuses_too_little_and_constants() -> None:
    with pytest.raises(InsufficientHistory, match="10 observations"):
        fit_t_copula(np.zeros((10, 2)))
    with pytest.raises(BadInput, match="constant"):
        kendall_correlation(np.column_stack([np.ones(60), np.arange(60.0)]))
