# SPDX-License-Identifier: Apache-2.0
"""Black-76 prices in one pass over memory, with elementary functions that a compiler can turn into vector code.

Everything lives in this one file, because numba's cache notices changes of a function's own file only.

Formula, with ``x = ln(min/max)`` of forward and strike, total deviation ``s``, ``a = x/s + s/2`` and ``b = x/s - s/2``:

    out of the money = min*N(a) - max*N(b),     price = discount * (out of the money + intrinsic)

``min*n(a) = max*n(b)``, so one exponential serves both normal probabilities, each through Mills' ratio
``m(z) = N(-z)/n(z)``. ``b`` is never positive, and where ``a`` is, ``N(a) = 1 - n(a)*m(a)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.special import erfcx

from risk.fast import compiled

FloatArray = NDArray[np.float64]

# Mills' ratio times (1 + z)/sqrt(2 pi) is a polynomial of t = (z - 4)/(z + 4) in [-1, 1]: Chebyshev interpolation, of
# which degree 20 leaves 4e-15. Shepherd & Laframboise (1981), "Chebyshev approximation of (1 + 2x)exp(x^2)erfc x".
_CENTRE, _DEGREE, _FIT_DEGREE = 4.0, 20, 60
_TINY, _HUGE, _UNDERFLOW = 1e-300, 1e8, -708.0
_LN2_HIGH, _LN2_LOW, _LOG2_E = 6.93147180369123816490e-01, 1.90821492927058770002e-10, 1.4426950408889634
# Adding it leaves a double's integer part in its lowest bits.
_ROUND = 6755399441055744.0
_ROUND_BITS = 0x4338000000000000
# Fields of a double: the mantissa, the exponent of one, half a step of the exponent; and the least normal number.
_MANTISSA, _ONE_BITS, _HALF_STEP, _LEAST = (1 << 52) - 1, 0x3FF << 52, 1 << 51, 2.2250738585072014e-308


def _mills_coefficients() -> tuple[float, ...]:
    t = chebyshev.chebpts1(_FIT_DEGREE + 1)
    z = _CENTRE * (1.0 + t) / (1.0 - t)
    values = 0.5 * erfcx(z / math.sqrt(2.0)) * (1.0 + z)
    fitted = chebyshev.chebfit(t, values, _FIT_DEGREE)[: _DEGREE + 1]
    return tuple(float(item) for item in chebyshev.cheb2poly(fitted))


_MILLS = _mills_coefficients()
_MILLS_EVEN, _MILLS_ODD = _MILLS[0::2], _MILLS[1::2]
_EXP = tuple(1.0 / math.factorial(k) for k in range(13))
_EXP_EVEN, _EXP_ODD = _EXP[0::2], _EXP[1::2]
# 2*atanh(s) - 2s = s * z * (2/3 + 2/5 z + ...), z = s*s, as fitted in fdlibm's e_log.c
_LOG = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
)  # fmt: skip


@intrinsic
def _bits_of_double(typing: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.int64))

    return types.int64(types.float64), generate


@intrinsic
def _double_of_bits(typing: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.float64))

    return types.float64(types.int64), generate


@intrinsic
def _prefer_widest(typing: Any) -> Any:
    """Ask LLVM for the widest vectors of the processor; of AVX-512 servers it takes half unasked, at 0.8 of the speed.

    No option of numba says that for one function. An attribute that a processor cannot follow is ignored.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # llvmlite's own add() knows attributes without a value only
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


_widest_vectors = cast(Callable[[], None], _prefer_widest)
# The 64 bits of a double as an integer, and the inverse.
_bits = cast(Callable[[float], int], _bits_of_double)
_real = cast(Callable[[int], float], _double_of_bits)


@compiled(inline=True)
def _horner(coefficients: tuple[float, ...], x: float) -> float:
    """Polynomial by rising powers."""
    total = coefficients[len(coefficients) - 1]
    for k in range(len(coefficients) - 2, -1, -1):
        total = total * x + coefficients[k]
    return total


@compiled(inline=True)
def _log_ratio(low: float, high: float, s: float) -> float:
    """ln(low / high) / s of normal numbers, by one division: 2 atanh of difference over sum of the mantissas."""
    low_bits, high_bits = _bits(low), _bits(high)
    low_mantissa, high_mantissa = (low_bits & _MANTISSA) | _ONE_BITS, (high_bits & _MANTISSA) | _ONE_BITS
    # moves the greater mantissa by a power of two, so that their ratio is within 2/3 .. 3/2
    shift = (low_mantissa - high_mantissa + _HALF_STEP) >> 52
    k = _real((low_bits >> 52) - (high_bits >> 52) + shift + _ROUND_BITS) - _ROUND
    p, q = _real(low_mantissa), _real(high_mantissa + (shift << 52))
    total = p + q
    inverse = 1.0 / (total * s)
    slope = (p - q) * inverse
    t = slope * s
    square = t * t
    return (k * _LN2_HIGH) * (total * inverse) + (
        slope * (2.0 + square * _horner(_LOG, square)) + (k * _LN2_LOW) * (total * inverse)
    )


@compiled(inline=True)
def _exp(x: float) -> float:
    """Exponential of a number in -708..0: reduction by multiples of ln 2, Taylor to the twelfth power."""
    shifted = x * _LOG2_E + _ROUND
    k = shifted - _ROUND
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    square = r * r
    value = _horner(_EXP_EVEN, square) + r * _horner(_EXP_ODD, square)
    return _real(_bits(value) + (_bits(shifted) << 52))


@compiled(inline=True)
def _mills_poly(t: float) -> float:
    square = t * t
    return _horner(_MILLS_EVEN, square) + t * _horner(_MILLS_ODD, square)


@compiled(inline=True)
def _out_of_the_money(low: float, high: float, s: float) -> float:
    """Value of the out-of-the-money option; the density's 1/sqrt(2 pi) is inside the Mills polynomial."""
    s = min(max(s, _TINY), _HUGE)
    x = max(_log_ratio(max(low, _LEAST), max(high, _LEAST), s), -_HUGE)
    a, b = x + 0.5 * s, 0.5 * s - x
    z = abs(a)
    exponent = -0.5 * a * a
    density = low * _exp(max(exponent, _UNDERFLOW)) if exponent > _UNDERFLOW else 0.0
    # one division serves the four of both ratios
    za, zb = (z + _CENTRE) * (1.0 + z), (b + _CENTRE) * (1.0 + b)
    inverse = 1.0 / (za * zb)
    ia, ib = inverse * zb, inverse * za
    near = density * _mills_poly((z - _CENTRE) * ia * (1.0 + z)) * (ia * (z + _CENTRE))
    far = density * _mills_poly((b - _CENTRE) * ib * (1.0 + b)) * (ib * (b + _CENTRE))
    return max((near if a < 0.0 else low - near) - far, 0.0)


@compiled()
def price_chunk(
    out: FloatArray,
    forward: FloatArray,
    strike: FloatArray,
    volatility: FloatArray,
    tau: FloatArray,
    discount: FloatArray,
    is_call: NDArray[np.bool_],
) -> bool:
    """Discounted prices into ``out``; all arrays (n,) and contiguous. False when an input is negative or not finite."""
    _widest_vectors()
    fine = True
    for i in range(out.size):
        f, k, v, t, d = forward[i], strike[i], volatility[i], tau[i], discount[i]
        low, high = min(f, k), max(f, k)
        # A sum is finite when all its parts are (or overflows: the caller looks again).
        fine &= (min(low, v, t, d) >= 0.0) & (f + k + v + t + d < np.inf)
        value = _out_of_the_money(low, high, v * math.sqrt(t))
        out[i] = d * (value + max(f - k if is_call[i] else k - f, 0.0))
    return fine
