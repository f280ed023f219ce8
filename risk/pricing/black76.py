# SPDX-License-Identifier: Apache-2.0
"""Black-76 prices, Greeks and implied volatility of European options on a forward.

Everything broadcasts. Forward, strike and price share one currency; volatility is per sqrt(year), ``tau`` in years,
``discount`` the value today of one unit of currency at expiry.

References
----------
Black (1976), *The pricing of commodity contracts*, eq. 16; Haug (2007), *Option Pricing Formulas*, ch. 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from risk.errors import BadInput
from risk.fast import Engine, use_compiled

T = TypeVar("T")
FloatArray = NDArray[np.float64]
Operand = FloatArray | float

# Two scratch arrays and up to six operands of this many doubles stay inside a 1 MiB second-level cache.
_CHUNK = 8_192
# More ranges than threads, so that one slow thread does not keep the others waiting.
_TASKS = 4
_LEAST_COMPILED = 65_536
_SQRT_2PI = float(np.sqrt(2.0 * np.pi))
_MAX_ITERATIONS = 100


@dataclass(frozen=True, slots=True)
class Greeks:
    """Sensitivities of the discounted price, all of the broadcast shape.

    ``delta`` and ``gamma`` per unit of *forward* (once and twice); ``vega`` per 1.00 of volatility; ``theta`` per year
    of calendar time with forward and interest rate held; ``rho`` per 1.00 of the continuously compounded rate with the
    forward held.
    """

    delta: FloatArray
    gamma: FloatArray
    vega: FloatArray
    theta: FloatArray
    rho: FloatArray


def price(
    forward: ArrayLike,
    strike: ArrayLike,
    volatility: ArrayLike,
    tau: ArrayLike,
    discount: ArrayLike = 1.0,
    is_call: ArrayLike = True,
    *,
    threads: int = 1,
    engine: Engine = "auto",
) -> FloatArray:
    """Discounted Black-76 price, in the currency of the forward.

    Zero volatility or time gives the discounted intrinsic value; a zero forward or strike its limit.

    Parameters
    ----------
    forward, strike, volatility, tau, discount, is_call
        Broadcastable arrays or scalars (units: see the module).
    threads
        Worker threads for large inputs; the kernel runs outside the interpreter lock. The result does not depend on it.
    engine
        ``"auto"`` takes the compiled kernel from 65,536 prices where numba is installed, ``"numpy"`` never,
        ``"compiled"`` always. The two differ by at most 1e-13 of the discounted greater of forward and strike.

    Returns
    -------
    The broadcast shape, per unit.

    Raises
    ------
    BadInput
        When an input is negative or not finite, or the engine is not installed.

    References
    ----------
    Black (1976), eq. 16.
    docs/risk-methodology.md, formula 7.1.

    Examples
    --------
    >>> round(float(price(1500.0, 1500.0, 1.0, 7 / 365)), 6)
    82.805081
    """
    raw = {"forward": forward, "strike": strike, "volatility": volatility, "tau": tau, "discount": discount}
    inputs, call = [np.asarray(item, dtype=np.float64) for item in raw.values()], np.asarray(is_call, dtype=bool)
    out = np.empty(np.broadcast_shapes(*(item.shape for item in inputs), call.shape))
    if use_compiled(engine, out.size, _LEAST_COMPILED) and _compiled_prices(out, inputs, call, threads):
        return out
    operands = [_flat(item, out.shape) for item in (*_checked(**raw), np.where(call, 1.0, -1.0))]
    flat = out.reshape(-1)
    _over_ranges(lambda low, high: _price_range(flat, operands, low, high), out.size, threads)
    return out


def greeks(
    forward: ArrayLike,
    strike: ArrayLike,
    volatility: ArrayLike,
    tau: ArrayLike,
    discount: ArrayLike = 1.0,
    is_call: ArrayLike = True,
) -> Greeks:
    """Analytic Greeks; units in :class:`Greeks`.

    Where volatility, time, forward or strike is zero, delta is the discounted slope of the intrinsic value (half at the
    money) and gamma and vega are 0.

    Parameters
    ----------
    forward, strike, volatility, tau, discount, is_call
        Broadcastable arrays or scalars (units: see the module).

    Raises
    ------
    BadInput
        When an input is negative or not finite.

    References
    ----------
    Haug (2007), section 2.1 to 2.5, with cost of carry 0 and the forward as the underlying.

    Examples
    --------
    >>> g = greeks(100.0, 100.0, 0.5, 1.0)
    >>> round(float(g.delta), 4)
    0.5987
    """
    inputs = _checked(forward=forward, strike=strike, volatility=volatility, tau=tau, discount=discount)
    f, k, vol, t, disc = np.broadcast_arrays(*inputs)
    sign = np.where(np.asarray(is_call, dtype=bool), 1.0, -1.0)
    sd = vol * np.sqrt(t)
    regular = (sd > 0.0) & (f > 0.0) & (k > 0.0)
    safe_f, safe_k, safe_sd = (np.where(regular, item, 1.0) for item in (f, k, sd))
    safe_t = np.where(regular, t, 1.0)
    d1 = np.where(regular, np.log(safe_f / safe_k) / safe_sd + 0.5 * safe_sd, _far(f - k))
    density = np.where(regular, np.exp(-0.5 * np.square(d1, where=regular, out=np.zeros_like(d1))) / _SQRT_2PI, 0.0)
    value = price(f, k, vol, t, disc, is_call)
    rate = np.where(t > 0.0, -np.log(np.where(disc > 0.0, disc, 1.0)) / np.where(t > 0.0, t, 1.0), 0.0)
    decay = np.where(regular, disc * f * density * vol / (2.0 * np.sqrt(safe_t)), 0.0)
    return Greeks(
        delta=sign * disc * ndtr(sign * d1),
        gamma=np.broadcast_to(disc * density / (safe_f * safe_sd), value.shape),
        vega=np.broadcast_to(disc * f * density * np.sqrt(t), value.shape),
        theta=rate * value - decay,
        rho=-t * value,
    )


def implied_volatility(
    value: ArrayLike,
    forward: ArrayLike,
    strike: ArrayLike,
    tau: ArrayLike,
    discount: ArrayLike = 1.0,
    is_call: ArrayLike = True,
) -> FloatArray:
    """Volatility at which :func:`price` gives ``value``; NaN where none exists.

    A value at or below the discounted intrinsic value or at or above the no-arbitrage maximum (forward for a call,
    strike for a put) has none, nor has an option without time, forward or strike. In-the-money quotes are solved as the
    out-of-the-money option of put-call parity, so digits that the intrinsic value swamped stay lost.

    Parameters
    ----------
    value
        Discounted price in the currency of the forward.
    forward, strike, tau, discount, is_call
        Broadcastable arrays or scalars with it (units: see the module).

    Returns
    -------
    The broadcast shape, per square root of a year.

    Raises
    ------
    BadInput
        When an input is negative or not finite.

    References
    ----------
    Safeguarded Newton on the price and, below the inflection ``sqrt(2|ln(F/K)|)``, on its logarithm; the inflection
    start is Manaster & Koehler (1982), the two objectives Jaeckel (2015), *Let's be rational*, section 4.

    Examples
    --------
    >>> round(float(implied_volatility(82.80508066863, 1500.0, 1500.0, 7 / 365)), 9)
    1.0
    """
    quote, f, k, t, disc = _checked(value=value, forward=forward, strike=strike, tau=tau, discount=discount)
    call = np.asarray(is_call, dtype=bool)
    quote, f, k, t, disc, call = np.broadcast_arrays(quote, f, k, t, disc, call)
    with np.errstate(divide="ignore", invalid="ignore"):
        undiscounted = quote / disc
        intrinsic = np.maximum(np.where(call, f - k, k - f), 0.0)
        scale = np.sqrt(f * k)
        beta = (undiscounted - intrinsic) / scale
        x = -np.abs(np.log(f / k))
        solvable = (beta > 0.0) & (beta < np.exp(0.5 * x)) & (t > 0.0) & (scale > 0.0) & np.isfinite(beta)
    out = np.full(quote.shape, np.nan)
    if solvable.any():
        out[solvable] = _solve_total(beta[solvable], x[solvable]) / np.sqrt(t[solvable])
    return out


def _checked(**values: ArrayLike) -> list[FloatArray]:
    arrays = []
    for name, value in values.items():
        array = np.asarray(value, dtype=np.float64)
        # min and max propagate NaN, so one comparison of each refuses negative, NaN and infinite entries.
        if array.size and not (array.min() >= 0.0 and array.max() < np.inf):
            raise BadInput(
                f"Black-76 {name} spans {array.min()}..{array.max()}; every entry must be finite and not negative"
            )
        arrays.append(array)
    return arrays


def _flat(array: FloatArray, shape: tuple[int, ...]) -> Operand:
    """A scalar stays one; anything else becomes a contiguous vector of the broadcast size."""
    if array.size == 1:
        return float(array.reshape(-1)[0])
    return np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1)


def _over_ranges(work: Callable[[int, int], T], size: int, threads: int) -> list[T]:
    """``work(low, high)`` over ranges of whole chunks that cover ``size``, in threads where that pays."""
    if threads <= 1 or size < 4 * _CHUNK:
        return [work(0, size)]
    step = -(-size // (_TASKS * threads * _CHUNK)) * _CHUNK
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda low: work(low, min(low + step, size)), range(0, size, step)))


def _compiled_prices(out: FloatArray, inputs: list[FloatArray], call: NDArray[np.bool_], threads: int) -> bool:
    """All prices by the compiled kernel; False, with ``out`` in any state, when an input may be bad."""
    from risk.fast.black76 import price_chunk

    flat = out.reshape(-1)
    # A scalar becomes one chunk that serves for all of them.
    operands = [
        np.full(_CHUNK, item.reshape(-1)[0])
        if item.size == 1
        else np.ascontiguousarray(np.broadcast_to(item, out.shape)).reshape(-1)
        for item in (*inputs, call)
    ]

    def work(start: int, stop: int) -> bool:
        fine = True
        for low in range(start, stop, _CHUNK):
            high = min(low + _CHUNK, stop)
            fine &= price_chunk(
                flat[low:high], *(x[: high - low] if x.size == _CHUNK else x[low:high] for x in operands)
            )
        return fine

    return all(_over_ranges(work, out.size, threads))


def _price_range(out: FloatArray, operands: list[Operand], start: int, stop: int) -> None:
    scratch = np.empty((2, min(_CHUNK, max(stop - start, 1))))
    for low in range(start, stop, _CHUNK):
        high = min(low + _CHUNK, stop)
        part = [item if isinstance(item, float) else item[low:high] for item in operands]
        _price_chunk(out[low:high], scratch[0, : high - low], scratch[1, : high - low], *part)


def _price_chunk(
    out: FloatArray,
    d1: FloatArray,
    d2: FloatArray,
    f: Operand,
    k: Operand,
    vol: Operand,
    t: Operand,
    disc: Operand,
    sign: Operand,
) -> None:
    """``sign*disc*(f*N(sign*d1) - k*N(sign*d2))`` into ``out`` with two scratch arrays and no temporaries."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        np.sqrt(t, out=d2)
        np.multiply(d2, vol, out=d2)
        np.divide(f, k, out=d1)
        np.log(d1, out=d1)
        np.divide(d1, d2, out=d1)
        np.multiply(d2, 0.5, out=out)
        np.add(d1, out, out=d1)
        np.subtract(d1, d2, out=d2)
    # d1 and d2 are infinite at the limits, which ndtr takes; only 0/0 is left to repair, and it always reaches d2.
    if np.isnan(d2.min()):
        _repair_limits(d1, d2, f, k)
    np.multiply(d1, sign, out=d1)
    np.multiply(d2, sign, out=d2)
    ndtr(d1, out=d1)
    ndtr(d2, out=d2)
    np.multiply(d1, f, out=d1)
    np.multiply(d2, k, out=d2)
    np.subtract(d1, d2, out=out)
    np.multiply(out, sign, out=out)
    np.maximum(out, 0.0, out=out)
    np.multiply(out, disc, out=out)


def _repair_limits(d1: FloatArray, d2: FloatArray, f: Operand, k: Operand) -> None:
    """Where d1 is undefined the price is intrinsic: send both to the infinity of the sign of f - k.

    Where d2 alone is, the deviation overflowed: the price is its maximum.
    """
    bad = np.isnan(d1)
    d2[np.isnan(d2) & ~bad] = -np.inf
    limit = np.broadcast_to(_far(np.asarray(f) - np.asarray(k)), d1.shape)[bad]
    d1[bad] = limit
    d2[bad] = limit


def _far(difference: FloatArray) -> FloatArray:
    """-inf, 0 or inf: the sign of the moneyness as the limit of d1."""
    return np.where(difference > 0.0, np.inf, np.where(difference < 0.0, -np.inf, 0.0))


def _normalised(x: FloatArray, s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Out-of-the-money price over sqrt(f*k) at ``x = -|ln(f/k)|`` and total deviation ``s``, and its derivative."""
    d1 = x / s + 0.5 * s
    value = np.exp(0.5 * x) * ndtr(d1) - np.exp(-0.5 * x) * ndtr(d1 - s)
    slope = np.exp(-0.5 * (np.square(x / s) + 0.25 * np.square(s))) / _SQRT_2PI
    return np.maximum(value, 0.0), slope


def _solve_total(beta: FloatArray, x: FloatArray) -> FloatArray:
    """Total deviation ``s`` with ``normalised(x, s) = beta``: Newton inside a bracket that only ever shrinks."""
    low = np.zeros_like(beta)
    high = np.full_like(beta, np.inf)
    s = np.sqrt(2.0 * np.abs(x))
    s = np.where(s > 1e-8, s, np.maximum(beta * _SQRT_2PI, 1e-300))
    use_log = beta < _normalised(x, s)[0]
    for _ in range(_MAX_ITERATIONS):
        value, slope = _normalised(x, s)
        above = value > beta
        high = np.where(above, s, high)
        low = np.where(above, low, s)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            plain = (value - beta) / slope
            logarithmic = np.log(value / beta) * value / slope
            proposal = s - np.where(use_log, logarithmic, plain)
        fallback = np.where(np.isfinite(high), 0.5 * (low + high), 2.0 * s)
        usable = np.isfinite(proposal) & (proposal > low) & (proposal < high)
        moved = np.where(usable, proposal, fallback)
        # The last proposal may sit on a bracket end to the last bit: that is convergence, not a reason to bisect.
        settled = np.isfinite(proposal) & (np.abs(proposal - s) <= 4e-16 * s)
        moved = np.where(settled | (value == beta), s, moved)
        if np.all(np.abs(moved - s) <= 4e-16 * s):
            return moved
        s = moved
    return s
