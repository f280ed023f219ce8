# SPDX-License-Identifier: Apache-2.0
"""Raw SVI smiles: values, arbitrage checks, a deterministic fit, and slices of a whole-surface smile model.

``k`` is log-moneyness ln(strike/forward), ``w`` total variance (volatility squared times years).

References
----------
Gatheral & Jacquier (2014), *Arbitrage-free SVI volatility surfaces* (GJ below).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.errors import BadInput, CalibrationFailed, RiskWarning
from risk.types import SECONDS_PER_YEAR, SmileModel, SurfaceSlice, SviSlice

FloatArray = NDArray[np.float64]

# g(k) and calendar gaps are judged here unless the caller says otherwise: strikes from 22 % to 450 %.
CHECK_GRID: FloatArray = np.linspace(-1.5, 1.5, 301)
# A floor on fitted sigma keeps the vertex differentiable; arbitrage is judged with this tolerance.
_MIN_SIGMA = 1e-3
_G_TOLERANCE = 1e-9
_MIN_VARIANCE = 1e-12
_MIN_QUOTES = 5


@dataclass(frozen=True, slots=True)
class SviFit:
    """A fitted slice, its residuals in volatility (weighted root mean square; largest) and its smallest ``g(k)``."""

    slice: SviSlice
    rmse: float
    max_error: float
    min_g: float


def total_variance(svi: SviSlice, k: ArrayLike) -> FloatArray:
    """Total variance at log-moneyness ``k`` (any shape), never negative.

    References
    ----------
    GJ eq. 3.1.
    docs/risk-methodology.md, formula 7.2.

    Examples
    --------
    >>> float(total_variance(SviSlice(0.04, 0.0, 0.0, 0.0, 0.1), 0.3))
    0.04
    """
    x = np.asarray(k, dtype=np.float64) - svi.m
    return np.maximum(svi.a + svi.b * (svi.rho * x + np.sqrt(x * x + svi.sigma * svi.sigma)), 0.0)


def volatility(svi: SviSlice, k: ArrayLike, tau: float) -> FloatArray:
    """Volatility per sqrt(year) at log-moneyness ``k`` for ``tau`` years to expiry.

    Parameters
    ----------
    svi
        The slice.
    k
        Log-moneyness ``ln(K/F)``, any shape.
    tau
        Years to expiry.

    Returns
    -------
    The shape of ``k``, per square root of a year.

    Raises
    ------
    BadInput
        When ``tau`` is not positive.

    Examples
    --------
    >>> round(float(volatility(SviSlice(0.04, 0.0, 0.0, 0.0, 0.1), 0.0, 1.0)), 6)
    0.2
    """
    if not tau > 0.0:
        raise BadInput(f"time to expiry {tau} years must be positive; an expired option has no volatility")
    return np.sqrt(total_variance(svi, k) / tau)


def butterfly(svi: SviSlice, k: ArrayLike = CHECK_GRID) -> FloatArray:
    """Durrleman's ``g(k)``: the risk-neutral density is non-negative where it is.

    Parameters
    ----------
    svi
        The slice.
    k
        Log-moneyness ``ln(K/F)``, any shape.

    Returns
    -------
    The shape of ``k``, no unit.

    References
    ----------
    GJ eq. 2.1 and lemma 2.2.

    Examples
    --------
    >>> bool((butterfly(SviSlice(0.04, 0.1, -0.3, 0.0, 0.2)) >= 0).all())
    True
    """
    grid = np.asarray(k, dtype=np.float64)
    x = grid - svi.m
    root = np.sqrt(x * x + svi.sigma * svi.sigma)
    w = np.maximum(svi.a + svi.b * (svi.rho * x + root), _MIN_VARIANCE)
    slope = svi.b * (svi.rho + x / root)
    curvature = svi.b * svi.sigma * svi.sigma / root**3
    return np.square(1.0 - grid * slope / (2.0 * w)) - 0.25 * slope * slope * (1.0 / w + 0.25) + 0.5 * curvature


def has_butterfly_arbitrage(svi: SviSlice, k: ArrayLike = CHECK_GRID) -> bool:
    """Whether the slice has negative variance, wings steeper than Lee's bound, or ``g < 0`` somewhere on ``k``.

    Parameters
    ----------
    svi
        The slice.
    k
        Log-moneyness to look at, any shape.

    References
    ----------
    GJ section 3.1 (``a + b*sigma*sqrt(1-rho^2) >= 0``) and eq. 2.1; Lee (2004) for ``b*(1+|rho|) <= 2``.
    """
    lowest = svi.a + svi.b * svi.sigma * np.sqrt(1.0 - svi.rho * svi.rho)
    steep = svi.b * (1.0 + abs(svi.rho)) > 2.0
    return bool(lowest < 0.0 or steep or butterfly(svi, k).min() < -_G_TOLERANCE)


def calendar_gap(near: SviSlice, far: SviSlice, k: ArrayLike = CHECK_GRID) -> float:
    """Smallest ``w_far(k) - w_near(k)``: negative means calendar arbitrage between two expiries.

    Parameters
    ----------
    near, far
        Slices of the earlier and the later expiry.
    k
        Log-moneyness to look at, any shape.

    References
    ----------
    GJ lemma 2.1.

    Examples
    --------
    >>> flat = SviSlice(0.04, 0.0, 0.0, 0.0, 0.1)
    >>> calendar_gap(flat, SviSlice(0.05, 0.0, 0.0, 0.0, 0.1)) > 0
    True
    """
    return float((total_variance(far, k) - total_variance(near, k)).min())


def fit_slice(k: ArrayLike, vols: ArrayLike, tau: float, weights: ArrayLike | None = None) -> SviFit:
    """Least-squares SVI slice through quoted volatilities; deterministic, and free of butterfly arbitrage on the grid.

    Parameters
    ----------
    k, vols
        Shape (n,): log-moneyness and volatility of the quotes, n >= 5.
    tau
        Years to expiry.
    weights
        Shape (n,), non-negative; vega is a good choice. Equal when omitted.

    Raises
    ------
    BadInput
        When shapes differ, fewer than five quotes carry weight, or a value is unusable.
    CalibrationFailed
        When no start leads to a slice without butterfly arbitrage.

    Warns
    -----
    RiskWarning
        When the best fit had butterfly arbitrage and another one was taken.

    References
    ----------
    Zeliade (2009), *Quasi-explicit calibration of Gatheral's SVI*, for the bounds; GJ section 5.2 for the penalty.

    Examples
    --------
    >>> k = np.linspace(-0.3, 0.3, 9)
    >>> fit = fit_slice(k, volatility(SviSlice(0.04, 0.1, -0.3, 0.0, 0.2), k, 0.5), 0.5)
    >>> fit.rmse < 1e-6
    True
    """
    from scipy.optimize import least_squares  # takes a second to load, which a command's help need not wait for

    x, quoted, root_weight = _checked_quotes(k, vols, tau, weights)
    scale = float(np.mean(quoted)) ** 2 * tau
    span = max(float(np.abs(x).max()), 0.05)
    low = np.array([-4.0, 0.0, -0.999, -2.0, _MIN_SIGMA / span])
    high = np.array([4.0, min(20.0, 2.0 * span / scale), 0.999, 2.0, 10.0])
    candidates = []
    for penalty in (0.0, 10.0, 1_000.0):
        for start in _starts(high):
            result = least_squares(  # type: ignore[operator]  # scipy names module and function alike
                _residuals, start, bounds=(low, high), x_scale=1.0, max_nfev=400,
                args=(x, quoted, root_weight, tau, scale, span, penalty),
            )  # fmt: skip
            svi = _unscaled(result.x, scale, span)
            if not has_butterfly_arbitrage(svi):
                candidates.append((_rmse(svi, x, quoted, root_weight, tau), svi))
        # The unpenalised fit is the better one where it is admissible.
        if candidates:
            rmse, svi = min(candidates, key=lambda item: item[0])
            error = np.abs(volatility(svi, x, tau) - quoted)[root_weight > 0.0].max()
            if penalty > 0.0:
                warnings.warn(
                    f"butterfly-arbitrage: the best fit of {x.size} quotes at tau = {tau:.6f} years has butterfly "
                    f"arbitrage; fitted without it, no quote further than {error:.4f} of volatility away",
                    RiskWarning,
                    stacklevel=2,
                )
            return SviFit(svi, rmse, float(error), float(butterfly(svi).min()))
    raise CalibrationFailed(
        f"no SVI slice without butterfly arbitrage fits {x.size} quotes at tau = {tau:.6f} years; drop outlying quotes"
    )


def slices_from_smile(smile: SmileModel, expiries: Sequence[int], now: int) -> tuple[SurfaceSlice, ...]:
    """One raw SVI slice for each expiry (unix s) after ``now``, ascending, without static arbitrage by construction.

    Raises
    ------
    BadInput
        When an expiry is not after ``now``.

    References
    ----------
    GJ eq. 4.1 and its raw-SVI form, theorem 4.2 and section 4.2 (``phi = eta/sqrt(theta*(1+theta))``).
    docs/risk-methodology.md, formula 7.3.

    Examples
    --------
    >>> smile = SmileModel(0.6, 0.6, 2.0, -0.2, 0.9)
    >>> (near,) = slices_from_smile(smile, [86_400 * 73], 0)
    >>> round(float(volatility(near.svi, 0.0, 0.2)), 6)
    0.6
    """
    return tuple(_smile_slice(smile, expiry, now) for expiry in sorted(set(expiries)))


def _smile_slice(smile: SmileModel, expiry: int, now: int) -> SurfaceSlice:
    tau = (expiry - now) / SECONDS_PER_YEAR
    if tau <= 0.0:
        raise BadInput(f"expiry {expiry} is not after {now} (unix s); leave expired options out of the surface")
    excess = smile.short_vol**2 - smile.long_vol**2
    theta = smile.long_vol**2 * tau - excess * np.expm1(-smile.reversion * tau) / smile.reversion
    phi = smile.eta / np.sqrt(theta * (1.0 + theta))
    width = np.sqrt(1.0 - smile.rho**2)
    svi = SviSlice(
        a=float(0.5 * theta * width**2),
        b=float(0.5 * theta * phi),
        rho=smile.rho,
        m=float(-smile.rho / phi),
        sigma=float(width / phi),
    )
    return SurfaceSlice(expiry, float(np.exp(smile.carry_rate * tau)), float(np.exp(-smile.discount_rate * tau)), svi)


def _checked_quotes(
    k: ArrayLike, vols: ArrayLike, tau: float, weights: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    x = np.asarray(k, dtype=np.float64)
    quoted = np.asarray(vols, dtype=np.float64)
    weight = np.ones_like(x) if weights is None else np.asarray(weights, dtype=np.float64)
    if x.ndim != 1 or x.shape != quoted.shape or x.shape != weight.shape:
        raise BadInput(f"SVI quotes of shapes {x.shape}, {quoted.shape}, {weight.shape} must be equal vectors")
    if not (tau > 0.0 and np.isfinite(x).all() and (quoted > 0.0).all() and np.isfinite(quoted).all()):
        raise BadInput("SVI quotes need a positive tau, finite moneyness and positive volatilities; clean them first")
    if not (weight >= 0.0).all() or np.count_nonzero(weight) < _MIN_QUOTES:
        raise BadInput(f"SVI fit needs {_MIN_QUOTES} quotes of positive weight, got {np.count_nonzero(weight)}; widen")
    return x, quoted, np.sqrt(weight / weight.sum())


def _starts(high: FloatArray) -> list[FloatArray]:
    """Scaled starting points (a, b, rho, m, sigma): two widths times three skews."""
    b = min(0.5, 0.5 * float(high[1]))
    return [np.array([0.6, b, rho, 0.0, width]) for width in (0.2, 1.0) for rho in (-0.5, 0.0, 0.5)]


def _unscaled(p: FloatArray, scale: float, span: float) -> SviSlice:
    """Optimiser coordinates (variance in ``scale``, moneyness in ``span``) as a slice."""
    a, b, rho, m, sigma = (float(item) for item in p)
    return SviSlice(a * scale, b * scale / span, rho, m * span, sigma * span)


def _residuals(
    p: FloatArray,
    x: FloatArray,
    quoted: FloatArray,
    root_weight: FloatArray,
    tau: float,
    scale: float,
    span: float,
    penalty: float,
) -> FloatArray:
    svi = _unscaled(p, scale, span)
    misfit = (np.sqrt(np.maximum(total_variance(svi, x), _MIN_VARIANCE) / tau) - quoted) * root_weight
    if penalty == 0.0:
        return misfit
    lowest = svi.a + svi.b * svi.sigma * np.sqrt(1.0 - svi.rho**2)
    steep = svi.b * (1.0 + abs(svi.rho)) - 2.0
    shape = np.minimum(butterfly(svi) - 1e-4, 0.0) / np.sqrt(CHECK_GRID.size)
    barrier = np.array([min(lowest / scale, 0.0), max(steep, 0.0)])
    return np.concatenate([misfit, penalty * shape, penalty * barrier])


def _rmse(svi: SviSlice, x: FloatArray, quoted: FloatArray, root_weight: FloatArray, tau: float) -> float:
    return float(np.sqrt(np.sum(np.square((volatility(svi, x, tau) - quoted) * root_weight))))
