# SPDX-License-Identifier: Apache-2.0
"""Payoffs and values of the instruments that margin knows, in USD per unit or per position. Everything broadcasts.

References
----------
Perpetuals, futures and linked collateral: docs/margin-rule.md, sections 2 and 4. Inverse contracts: Deribit's
definition, coins paid for one USD of notional.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.errors import BadInput
from risk.pricing import black76

FloatArray = NDArray[np.float64]


def delta_one_value(units: ArrayLike, base: ArrayLike, mark: ArrayLike, carry: ArrayLike = 0.0) -> FloatArray:
    """Unsettled profit of a perpetual or future in USD: ``units*mark + base - units*carry``.

    Parameters
    ----------
    units
        Signed quantity.
    base
        A fill of ``q`` units at ``p`` under the carry ``f`` adds ``-q*p + q*f`` to it.
    mark
        USD per unit: the price for a perpetual, with its basis for a future, the settlement price once there is one.
    carry
        Cumulative funding of a perpetual, USD per unit; a long pays when it rises. 0 for a future.

    Returns
    -------
    The broadcast shape, USD.

    References
    ----------
    docs/margin-rule.md, section 4, ``delta_one_value``.

    Examples
    --------
    >>> float(delta_one_value(2.0, -200.0, 110.0, carry=1.0))
    18.0
    """
    q, paid, m, f = (np.asarray(item, dtype=np.float64) for item in (units, base, mark, carry))
    return q * m + paid - q * f


def delta_one_change(units: ArrayLike, price: ArrayLike, move: ArrayLike) -> FloatArray:
    """USD change of a perpetual, a future or a linked collateral when its price moves by the fraction ``move``.

    Parameters
    ----------
    units, price, move
        Broadcastable arrays or scalars: signed quantity, USD a unit, fraction.

    Returns
    -------
    The broadcast shape, USD.

    Examples
    --------
    >>> float(delta_one_change(-3.0, 100.0, 0.1))
    -30.0
    """
    q, s, m = (np.asarray(item, dtype=np.float64) for item in (units, price, move))
    return q * s * m


def future_value(forward: ArrayLike, entry_price: ArrayLike, discount: ArrayLike = 1.0) -> FloatArray:
    """USD value per unit of a dated future bought at ``entry_price`` and settled at expiry.

    Parameters
    ----------
    forward, entry_price, discount
        Broadcastable arrays or scalars: USD a unit, USD a unit, factor.

    Returns
    -------
    The broadcast shape, USD a unit.

    Examples
    --------
    >>> float(future_value(105.0, 100.0, 0.98))
    4.9
    """
    f, entry, disc = (np.asarray(item, dtype=np.float64) for item in (forward, entry_price, discount))
    return disc * (f - entry)


def option_payoff(price: ArrayLike, strike: ArrayLike, is_call: ArrayLike = True) -> FloatArray:
    """Settlement value of a European option in USD per unit.

    Parameters
    ----------
    price, strike, is_call
        Broadcastable arrays or scalars: USD a unit, and the side.

    Returns
    -------
    The broadcast shape, USD a unit.

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

    Parameters
    ----------
    spot, strike
        USD a unit, broadcastable arrays or scalars like all that follow.
    forward_ratio, discount
        Forward / spot, discount factor.
    volatility, tau
        Per square root of a year, years.
    is_call
        The side.

    Returns
    -------
    The broadcast shape, USD a unit.

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

    Parameters
    ----------
    usd_notional, entry_price, price
        Broadcastable arrays or scalars: signed USD, USD a coin.

    Returns
    -------
    The broadcast shape, coins.

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
