# SPDX-License-Identifier: Apache-2.0
"""Normal distribution, Black-76 and SVI in sixty decimal digits: a finer anchor than floats for integer pricing."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext

WAD = 10**18
_DIGITS = Context(prec=60)
_SQRT_2PI = Decimal("2.50662827463100050241576528481104525300698674060993831662992357634229365460")
# N(-40) is below 1e-349
_FAR = Decimal(40)


def normal_cdf(x: Decimal) -> Decimal:
    """N(x) by ``1/2 + n(x) * sum x^(2k+1)/(2k+1)!!``, absolute error below 1e-40.

    References
    ----------
    Abramowitz & Stegun, *Handbook of Mathematical Functions*, 26.2.11.

    Examples
    --------
    >>> round(normal_cdf(Decimal(1)), 18)
    Decimal('0.841344746068542949')
    """
    if abs(x) > _FAR:
        return Decimal(int(x > 0))
    with localcontext(_DIGITS) as context:
        # The sum grows as exp(x^2/2) before the density takes it back: that many digits more.
        context.prec += int(x * x / 4) + 5
        term = total = x
        k = 1
        while abs(term) > Decimal(10) ** -50:
            k += 2
            term = term * x * x / k
            total += term
        return Decimal("0.5") + total * (-x * x / 2).exp() / _SQRT_2PI


def black76(is_call: bool, forward: int, strike: int, deviation: int, discount: int) -> Decimal:
    """Value in wads of an option whose arguments are wads, ``deviation`` the volatility times the root of the time."""
    with localcontext(_DIGITS):
        f, k, s = (Decimal(item) / WAD for item in (forward, strike, deviation))
        d1 = (f / k).ln() / s + s / 2
        sign = 1 if is_call else -1
        value = sign * (f * normal_cdf(sign * d1) - k * normal_cdf(sign * (d1 - s)))
        return value * discount


def absolute_delta(is_call: bool, forward: int, strike: int, deviation: int, discount: int) -> Decimal:
    """|discounted slope in the forward| in wads; arguments as :func:`black76`."""
    with localcontext(_DIGITS):
        s = Decimal(deviation) / WAD
        d1 = (Decimal(forward) / strike).ln() / s + s / 2
        return normal_cdf(d1 if is_call else -d1) * discount


def total_deviation(k: int, smile: tuple[int, int, int, int, int]) -> Decimal:
    """Root of the raw SVI total variance at log-moneyness ``k``, in wads, as are all arguments."""
    with localcontext(_DIGITS):
        a, b, rho, m, sigma = (Decimal(item) / WAD for item in smile)
        x = Decimal(k) / WAD - m
        variance = a + b * (rho * x + (x * x + sigma * sigma).sqrt())
        return max(variance, Decimal(0)).sqrt() * WAD
