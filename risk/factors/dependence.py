# SPDX-License-Identifier: Apache-2.0
"""Dependence between factors: shrunk covariance, nearest correlation matrix, t copula."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import special

from risk.errors import BadInput, InsufficientHistory, RiskWarning
from risk.market.history import FloatArray

# Eigenvalues below this are no rounding.
INDEFINITE = 1e-9


def _matrix(values: FloatArray, what: str) -> FloatArray:
    out = np.asarray(values, dtype=np.float64)
    if out.ndim != 2 or not np.isfinite(out).all():
        raise BadInput(f"{what}: need a finite 2-d array, got shape {out.shape}; drop rows that are not finite")
    return out


def ledoit_wolf(returns: FloatArray) -> tuple[FloatArray, float]:
    """Covariance shrunk towards a multiple of the identity by the asymptotically best amount.

    Parameters
    ----------
    returns : (n, k) float64

    Returns
    -------
    covariance : (k, k) float64
        ``shrinkage * m * I + (1 - shrinkage) * S`` with S the maximum-likelihood covariance, m its mean eigenvalue.
    shrinkage : float
        0..1.

    Raises
    ------
    InsufficientHistory
        Fewer than two rows.

    References
    ----------
    Ledoit & Wolf (2004), *A well-conditioned estimator for large-dimensional covariance matrices*, J. Multivariate
    Analysis 88, lemmas 3.2-3.4.
    """
    x = _matrix(returns, "Ledoit-Wolf")
    n, k = x.shape
    if n < 2:
        raise InsufficientHistory(f"Ledoit-Wolf: {n} observations; hand over at least 2")
    x = x - x.mean(axis=0)
    sample = x.T @ x / n
    level = float(np.trace(sample)) / k
    target = level * np.eye(k)
    distance = float(np.sum((sample - target) ** 2)) / k
    # sum_t ||x_t x_t' - S||^2 = sum_t |x_t|^4 - n ||S||^2, so no n x k x k array is needed.
    noise = (float(np.sum(np.sum(x * x, axis=1) ** 2)) / n - float(np.sum(sample**2))) / (n * k)
    shrinkage = 1.0 if distance <= 0.0 else min(1.0, noise / distance)
    return shrinkage * target + (1.0 - shrinkage) * sample, shrinkage


def to_correlation(covariance: FloatArray) -> FloatArray:
    """Correlation matrix of a covariance matrix.

    Parameters
    ----------
    covariance : (k, k) float64

    Returns
    -------
    (k, k) float64, unit diagonal.

    Raises
    ------
    BadInput
        When a variance is not positive.
    """
    sd = np.sqrt(np.diag(covariance))
    if not (sd > 0).all():
        raise BadInput("covariance has a variance that is not positive; drop the constant factor")
    out: FloatArray = covariance / np.outer(sd, sd)
    np.fill_diagonal(out, 1.0)
    return out


def nearest_correlation(matrix: FloatArray, *, eigen_floor: float = 1e-8, iterations: int = 200) -> FloatArray:
    """Nearest correlation matrix in the Frobenius norm, by alternating projections with Dykstra's correction.

    Parameters
    ----------
    matrix : (k, k) float64
        Symmetric, unit diagonal wanted, perhaps indefinite.
    eigen_floor : float
        Smallest eigenvalue of the result, before its diagonal is put back to one.

    Warns
    -----
    RiskWarning
        When the matrix is not positive semidefinite: it says by how much and how far the result lies from it.

    Returns
    -------
    (k, k) float64, positive definite, unit diagonal.

    Raises
    ------
    BadInput
        When the matrix is not square and symmetric.

    References
    ----------
    Higham (2002), *Computing the nearest correlation matrix*, IMA J. Numerical Analysis 22, algorithm 3.3.

    Examples
    --------
    >>> nearest_correlation(np.array([[1., 0.5], [0.5, 1.]]))[0].round(4)
    array([1. , 0.5])
    """
    y = _matrix(matrix, "nearest correlation")
    if y.shape[0] != y.shape[1] or not np.allclose(y, y.T, atol=1e-10):
        raise BadInput(f"nearest correlation: matrix of shape {y.shape} is not symmetric; symmetrise it first")
    given, lowest = y, smallest_eigenvalue(y)
    correction = np.zeros_like(y)
    for _ in range(iterations):
        shifted = y - correction
        values, vectors = np.linalg.eigh(shifted)
        projected = (vectors * np.maximum(values, 0.0)) @ vectors.T
        correction = projected - shifted
        previous, y = y, projected.copy()
        np.fill_diagonal(y, 1.0)
        if np.linalg.norm(y - previous) <= 1e-9 * np.linalg.norm(y):
            break
    values, vectors = np.linalg.eigh(y)
    if values[0] < eigen_floor:
        y = to_correlation((vectors * np.maximum(values, eigen_floor)) @ vectors.T)
    if lowest < -INDEFINITE:
        moved = float(np.abs(y - given).max())
        warnings.warn(
            f"indefinite-correlation: smallest eigenvalue {lowest:.2g}; the nearest correlation matrix is used, no "
            f"entry moved by more than {moved:.2g}",
            RiskWarning,
            stacklevel=2,
        )
    return (y + y.T) / 2.0


def smallest_eigenvalue(matrix: FloatArray) -> float:
    """Negative when a symmetric matrix is not positive semidefinite.

    Parameters
    ----------
    matrix : (k, k) float64
        Symmetric.

    Examples
    --------
    >>> round(smallest_eigenvalue(np.array([[1., 1., 0.], [1., 1., 1.], [0., 1., 1.]])), 4)
    -0.4142
    """
    return float(np.linalg.eigvalsh(matrix)[0])


@dataclass(frozen=True, slots=True)
class TCopula:
    """Student t copula.

    Attributes
    ----------
    correlation : (k, k) float64
    dof : float
        Degrees of freedom.
    lowest : float
        Smallest eigenvalue of the matrix as estimated; where negative, `correlation` is the nearest valid one.
    """

    correlation: FloatArray
    dof: float
    lowest: float = 0.0

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draw (n, k) uniforms.

        Examples
        --------
        >>> c = TCopula(np.eye(2), 4.0)
        >>> c.sample(3, np.random.default_rng(0)).shape
        (3, 2)
        """
        root = np.linalg.cholesky(nearest_correlation(self.correlation))
        normal = rng.standard_normal((n, self.correlation.shape[0])) @ root.T
        mixing = np.sqrt(self.dof / rng.chisquare(self.dof, size=(n, 1)))
        return np.asarray(special.stdtr(self.dof, normal * mixing), dtype=np.float64)

    def tail_dependence(self, i: int, j: int) -> float:
        """Limit of P(U_i < q | U_j < q) as q falls to 0.

        References
        ----------
        McNeil, Frey & Embrechts (2005), *Quantitative Risk Management*, eq. 5.31.
        """
        rho = float(self.correlation[i, j])
        return float(2.0 * special.stdtr(self.dof + 1.0, -np.sqrt((self.dof + 1.0) * (1.0 - rho) / (1.0 + rho))))


def kendall_correlation(values: FloatArray) -> FloatArray:
    """Correlation matrix of an elliptical copula from Kendall's tau: ``sin(pi * tau / 2)``.

    Estimated pair by pair, it may be indefinite: see `nearest_correlation`.

    Parameters
    ----------
    values : (n, k) float64

    Returns
    -------
    (k, k) float64, positive definite, unit diagonal.

    Raises
    ------
    BadInput
        When a factor is constant.

    References
    ----------
    McNeil, Frey & Embrechts (2005), proposition 5.37.
    """
    from scipy.stats import kendalltau  # takes a second to load, which a command's help need not wait for

    x = _matrix(values, "Kendall correlation")
    k = x.shape[1]
    out = np.eye(k)
    for i in range(k):
        for j in range(i + 1, k):
            tau = float(kendalltau(x[:, i], x[:, j]).statistic)
            if not np.isfinite(tau):
                raise BadInput(f"Kendall correlation: factor {i} or {j} is constant; drop it")
            out[i, j] = out[j, i] = np.sin(0.5 * np.pi * tau)
    return out


def fit_t_copula(values: FloatArray, *, max_rows: int = 5000) -> TCopula:
    """Fit a t copula: correlation from Kendall's tau, degrees of freedom by profile likelihood on 2..60.

    Parameters
    ----------
    values : (n, k) float64
        Residuals dated together; only ranks matter.
    max_rows : int
        Evenly spaced rows used, for speed.

    Raises
    ------
    InsufficientHistory
        Fewer than 50 rows.

    References
    ----------
    docs/risk-methodology.md, formula 4.3.
    """
    from scipy.stats import rankdata  # takes a second to load, which a command's help need not wait for

    x = _matrix(values, "t copula")
    if x.shape[0] < 50:
        raise InsufficientHistory(f"t copula: {x.shape[0]} observations; hand over at least 50")
    x = x[:: max(1, x.shape[0] // max_rows)]
    estimated = kendall_correlation(x)
    correlation = nearest_correlation(estimated)
    uniforms = rankdata(x, axis=0) / (x.shape[0] + 1.0)
    low, high = np.log(2.0), np.log(60.0)
    for _ in range(3):
        grid = np.linspace(low, high, 13)
        likelihoods = [t_copula_loglik(uniforms, correlation, float(np.exp(x))) for x in grid]
        best = int(np.argmax(likelihoods))
        low, high = grid[max(0, best - 1)], grid[min(12, best + 1)]
    return TCopula(correlation, float(np.exp(grid[best])), smallest_eigenvalue(estimated))


def t_copula_loglik(uniforms: FloatArray, correlation: FloatArray, dof: float) -> float:
    """Log likelihood of a t copula at (n, k) uniforms.

    References
    ----------
    Demarta & McNeil (2005), *The t copula and related copulas*, eq. 6.
    """
    k = uniforms.shape[1]
    x = special.stdtrit(dof, uniforms)
    root = np.linalg.cholesky(correlation)
    white = np.linalg.solve(root, x.T)
    joint = (
        special.gammaln((dof + k) / 2)
        - special.gammaln(dof / 2)
        - 0.5 * k * np.log(np.pi * dof)
        - np.log(np.diag(root)).sum()
        - 0.5 * (dof + k) * np.log1p(np.sum(white**2, axis=0) / dof)
    )
    marginal = (
        special.gammaln((dof + 1) / 2)
        - special.gammaln(dof / 2)
        - 0.5 * np.log(np.pi * dof)
        - 0.5 * (dof + 1) * np.log1p(x**2 / dof)
    )
    return float(np.sum(joint) - np.sum(marginal))
