# SPDX-License-Identifier: Apache-2.0
"""Payoffs and values of the instruments that margin knows, in USD per unit or per position. Everything broadcasts.

References
----------
Perpetuals and linked collateral: docs/margin-rule.md, sections 2 and 4. Inverse contracts: Deribit's definition, coins
paid for one USD of notional.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.errors import BadInput
from risk.pricing import black76

FloatArray = NDArray[np.float64]


def perp_pnl(
    units: ArrayLike, quote: ArrayLike, price: ArrayLike, entry_funding: ArrayLike = 0.0, funding: ArrayLike = 0.0
) -> FloatArray:
    """Unsettled profit of a perpetual in USD: ``units*price + quote - units*(funding - entry_funding)``.

    Parameters
    ----------
    units
        Signed quantity.
    quote
        Minus the USD paid for it so far: a fill of ``q`` units at ``p`` adds ``-q*p``.
    price
        USD per unit.
    entry_funding, funding
        Cumulative funding index at entry and now, USD per unit; a long pays when it rises.

    References
    ----------
    docs/margin-rule.md, section 4, ``perp_pnl``.

    Examples
    --------
    >>> float(perp_pnl(2.0, -200.0, 110.0, funding=1.0))
    18.0
    """
    q, paid, s, f0, f = (np.asarray(item, dtype=np.float64) for item in (units, quote, price, entry_funding, funding))
    return q * s + paid - q * (f - f0)


def delta_one_change(units: ArrayLike, price: ArrayLike, move: ArrayLike) -> FloatArray:
    """USD change of a perpetual or a linked collateral when its price moves by the fraction ``move``.

    Examples
    --------
    >>> float(delta_one_change(-3.0, 100.0, 0.1))
    -30.0
    """
    q, s, m = (np.asarray(item, dtype=np.float64) for item in (units, price, move))
    return q * s * m


def future_value(forward: ArrayLike, entry_price: ArrayLike, discount: ArrayLike = 1.0) -> FloatArray:
    """USD value per unit of a dated future bought at ``entry_price`` and settled at expiry.

    Examples
    --------
    >>> float(future_value(105.0, 100.0, 0.98))
    4.9
    """
    f, entry, disc = (np.asarray(item, dtype=np.float64) for item in (forward, entry_price, discount))
    return disc * (f - entry)


def option_payoff(price: ArrayLike, strike: ArrayLike, is_call: ArrayLike = True) -> FloatArray:
    """Settlement value of a European option in USD per unit.

    Examples
    --------
    >>> float(option_payoff(120.0, 100.0)), float(option_payoff(120.0, 100.0, False))
    (20.0, 0.0)
    """
    s, k = np.asarray(price, dtype=np.float64), np.asarray(strike, dtype=np.float64)
    return np.maximum(np.where(np.asarray(is_call, dtype=bool), s - k, k - s), 0.0)


def option_value(
    spot: ArrayLike,
    forward_ratio: ArrayLike,
    strike: ArrayLike,
    volatility: ArrayLike,
    tau: ArrayLike,
    discount: ArrayLike = 1.0,
    is_call: ArrayLike = True,
) -> FloatArray:
    """Value of a European option in USD per unit from spot: Black-76 on ``spot*forward_ratio``.

    Raises
    ------
    BadInput
        When an input is negative or not finite.

    Examples
    --------
    >>> round(float(option_value(60.0, np.exp(0.08 * 0.25), 65.0, 0.30, 0.25, np.exp(-0.08 * 0.25))), 4)
    2.1334
    """
    forward = np.asarray(spot, dtype=np.float64) * np.asarray(forward_ratio, dtype=np.float64)
    return black76.price(forward, strike, volatility, tau, discount, is_call)


def inverse_perp_pnl(usd_notional: ArrayLike, entry_price: ArrayLike, price: ArrayLike) -> FloatArray:
    """Profit in *coin* of an inverse perpetual: ``usd_notional * (1/entry_price - 1/price)``.

    Raises
    ------
    BadInput
        When a price is not positive.

    Examples
    --------
    >>> round(float(inverse_perp_pnl(-0.999487053, 1.0, 1.18)), 8)
    -0.15246413
    """
    entry, now = np.asarray(entry_price, dtype=np.float64), np.asarray(price, dtype=np.float64)
    if not ((entry > 0.0).all() and (now > 0.0).all()):
        raise BadInput(f"inverse contract prices {entry_price!r} and {price!r} must be positive; check the feed")
    return np.asarray(usd_notional, dtype=np.float64) * (1.0 / entry - 1.0 / now)
