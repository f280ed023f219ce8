# SPDX-License-Identifier: Apache-2.0
"""Volatility of one factor: EWMA always; GJR-GARCH with t innovations where an offline fit is wanted."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from risk.errors import BadInput, InsufficientHistory, RiskWarning
from risk.market.history import FloatArray

MIN_GARCH_OBSERVATIONS = 500
# A run of equal prices would give a variance of zero, and residuals are divided by its root: 0.1 bp a bar.
VARIANCE_FLOOR = 1e-10


def decay(halflife_bars: float) -> float:
    """Weight kept after one bar: ``0.5 ** (1 / halflife)``.

    Raises
    ------
    BadInput
        When the half-life is not positive.

    Examples
    --------
    >>> round(decay(11.2), 4)
    0.94
    """
    if not halflife_bars > 0:
        raise BadInput(f"EWMA half-life is {halflife_bars} bars; it must be positive")
    return float(0.5 ** (1.0 / halflife_bars))


def ewma_variance(returns: FloatArray, halflife_bars: float, initial: FloatArray | None = None) -> FloatArray:
    """Variance forecasts by exponential weighting, mean zero.

    Parameters
    ----------
    returns : (m, k) or (m,) float64
        Log returns per bar, oldest first.
    halflife_bars : float
        Bars after which a squared return counts half.
    initial : (k,) float64, optional
        Forecast for the first bar. Default: the mean square of the first ``2 * halflife`` returns, so that the start is
        of the right size (it peeks at those bars and no further).

    Returns
    -------
    (m + 1, k) or (m + 1,) float64
        Row t is the variance per bar of return t, known before it; the last row is the forecast for the next bar.

    Raises
    ------
    InsufficientHistory
        When there is no return.

    References
    ----------
    J.P. Morgan/Reuters (1996), *RiskMetrics Technical Document*, eq. 5.2 (decay 0.94 a day = half-life 11.2 days).
    docs/risk-methodology.md, formula 3.1.

    Examples
    --------
    >>> v = ewma_variance(np.array([0.01, 0.02]), 1.0, np.array(0.0))
    >>> [float(x) for x in v.round(8)]
    [0.0, 5e-05, 0.000225]
    """
    if returns.shape[0] == 0:
        raise InsufficientHistory("EWMA variance of an empty series; hand over at least one return")
    keep = decay(halflife_bars)
    squares = np.square(returns)
    if initial is None:
        initial = squares[: max(2, int(2 * halflife_bars))].mean(axis=0)
    out = np.empty((returns.shape[0] + 1, *returns.shape[1:]))
    out[0] = initial
    news = (1.0 - keep) * squares
    for t in range(returns.shape[0]):
        out[t + 1] = keep * out[t] + news[t]
    return out


@dataclass(frozen=True, slots=True)
class VolatilityFit:
    """Conditional variance of one factor.

    Attributes
    ----------
    variance : (m + 1,) float64
        Per bar; the last entry is the forecast for the next bar.
    model : str
        ``gjr-garch-t`` or ``ewma`` after a fallback.
    parameters : mapping
        Fitted values, JSON-safe.
    """

    variance: FloatArray
    model: str
    parameters: Mapping[str, float]


def gjr_garch_t(returns: FloatArray, fallback_halflife_bars: float, name: str = "factor") -> VolatilityFit:
    """GJR-GARCH(1,1,1) with Student t innovations, mean zero; EWMA with a `RiskWarning` when the fit fails.

    Parameters
    ----------
    returns : (m,) float64
        Log returns per bar.
    fallback_halflife_bars : float
        Half-life of the EWMA used when the optimiser fails or the fit explodes.
    name : str
        For the warning.

    Raises
    ------
    BadInput
        When more than one series is handed over.

    References
    ----------
    Glosten, Jagannathan & Runkle (1993), JoF 48(5), eq. 4; Bollerslev (1987) for t innovations.
    docs/risk-methodology.md, formula 3.2.
    """
    if returns.ndim != 1:
        raise BadInput(f"{name}: GJR-GARCH takes one series, got shape {returns.shape}; fit the factors one by one")
    fault = f"{returns.size} returns are fewer than {MIN_GARCH_OBSERVATIONS}"
    if returns.size >= MIN_GARCH_OBSERVATIONS:
        try:
            return _fit_gjr(returns)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError, RuntimeError) as error:
            fault = str(error) or type(error).__name__
    warnings.warn(f"{name}: GJR-GARCH fit failed ({fault}); EWMA used instead", RiskWarning, stacklevel=2)
    variance = np.maximum(ewma_variance(returns, fallback_halflife_bars), VARIANCE_FLOOR)
    return VolatilityFit(variance, "ewma", {"halflife_bars": float(fallback_halflife_bars)})


def _fit_gjr(returns: FloatArray) -> VolatilityFit:
    # Imported here: arch pulls in pandas and is needed by the offline fit alone.
    from arch import arch_model

    scale = float(returns.std())
    if not np.isfinite(scale) or scale <= 0:
        raise ValueError("returns are constant or not finite")
    model = arch_model(returns / scale, mean="Zero", vol="GARCH", p=1, o=1, q=1, dist="t", rescale=False)
    with warnings.catch_warnings():
        # arch warns instead of raising when the optimiser stops early; the flag below is what counts.
        warnings.simplefilter("ignore")
        result = model.fit(disp="off", show_warning=False)
    fitted = {str(k): float(v) for k, v in result.params.items()}
    persistence = fitted["alpha[1]"] + 0.5 * fitted["gamma[1]"] + fitted["beta[1]"]
    if result.convergence_flag != 0:
        raise ValueError(f"optimiser flag {result.convergence_flag}")
    # Hourly fits often sit on the boundary (integrated GARCH): the one-step forecast used here is still well defined.
    if not persistence <= 1.001:
        raise ValueError(f"persistence {persistence:.4f} is above 1")
    inside = np.square(np.asarray(result.conditional_volatility, dtype=np.float64))
    last = float(returns[-1]) / scale
    ahead = (
        fitted["omega"]
        + (fitted["alpha[1]"] + fitted["gamma[1]"] * (last < 0)) * last**2
        + fitted["beta[1]"] * inside[-1]
    )
    variance = np.maximum(np.append(inside, ahead) * scale**2, VARIANCE_FLOOR)
    if not np.isfinite(variance).all():
        raise ValueError("conditional variance is not finite")
    return VolatilityFit(variance, "gjr-garch-t", {**fitted, "persistence": persistence, "scale": scale})
