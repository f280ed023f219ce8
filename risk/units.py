# SPDX-License-Identifier: Apache-2.0
"""The only crossing between model floats and chain integers.

A float is read as its shortest decimal (``repr``), so ``wad_nearest(0.1)`` is 10**17 exactly; the difference to the
binary value is below the float's own resolution. The rounding direction is part of each function's name: ``_up`` and
``_down`` mean towards plus and minus infinity, ``_nearest`` sends ties to even.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.errors import BadInput
from risk.types import BPS, LANE_MAX, CollateralParameters, GlobalParameters, UnderlyingParameters

WAD = 10**18
E9 = 10**9
LOTS_PER_UNIT = 10**6
LANES_PER_WORD = 16

# Enough digits for the largest finite float times 1e18 to stay exact.
_EXACT = Context(prec=400)


def _scaled(value: float, scale: int, rounding: str, unit: str) -> int:
    number = float(value)
    if not math.isfinite(number):
        raise BadInput(f"value {value!r} cannot become an integer of {unit}; replace it with a finite number")
    product = _EXACT.multiply(Decimal(repr(number)), Decimal(scale))
    return int(product.to_integral_value(rounding=rounding, context=_EXACT))


def wad_up(value: float) -> int:
    """Integer wad (1e-18), towards plus infinity.

    Raises
    ------
    BadInput
        When the value is not finite.

    Examples
    --------
    >>> wad_up(1.5)
    1500000000000000000
    """
    return _scaled(value, WAD, ROUND_CEILING, "wad")


def wad_down(value: float) -> int:
    """Integer wad, towards minus infinity; see :func:`wad_up`."""
    return _scaled(value, WAD, ROUND_FLOOR, "wad")


def wad_nearest(value: float) -> int:
    """Integer wad, nearest, ties to even; see :func:`wad_up`."""
    return _scaled(value, WAD, ROUND_HALF_EVEN, "wad")


def lots_up(units: float) -> int:
    """Integer lots (1e-6 unit), towards plus infinity; see :func:`wad_up`."""
    return _scaled(units, LOTS_PER_UNIT, ROUND_CEILING, "lots")


def lots_down(units: float) -> int:
    """Integer lots, towards minus infinity; see :func:`wad_up`."""
    return _scaled(units, LOTS_PER_UNIT, ROUND_FLOOR, "lots")


def lots_nearest(units: float) -> int:
    """Integer lots, nearest, ties to even; see :func:`wad_up`."""
    return _scaled(units, LOTS_PER_UNIT, ROUND_HALF_EVEN, "lots")


def bps_up(fraction: float) -> int:
    """Integer basis points of a fraction, towards plus infinity; see :func:`wad_up`."""
    return _scaled(fraction, BPS, ROUND_CEILING, "bps")


def bps_down(fraction: float) -> int:
    """Integer basis points of a fraction, towards minus infinity; see :func:`wad_up`."""
    return _scaled(fraction, BPS, ROUND_FLOOR, "bps")


def bps_nearest(fraction: float) -> int:
    """Integer basis points of a fraction, nearest, ties to even; see :func:`wad_up`."""
    return _scaled(fraction, BPS, ROUND_HALF_EVEN, "bps")


def float_from_wad(value_wad: int) -> float:
    """Nearest float of an integer wad."""
    return value_wad / WAD


def units_from_lots(lots: int) -> float:
    """Nearest float of a quantity in lots."""
    return lots / LOTS_PER_UNIT


def fraction_from_bps(value_bps: int) -> float:
    """Nearest float of a number of basis points."""
    return value_bps / BPS


def step_e9_from_scan(scan_bps: int) -> int:
    """Grid step in 1e-9 of the reference price, a twelfth of the scan range, rounded down."""
    return scan_bps * 10**5 // 12


def lane_unit_wad(largest: float) -> int:
    """Smallest lane unit (wad) for which ``largest`` (USD) fits a 16-bit lane even when rounded up; at least 1.

    Raises
    ------
    BadInput
        When ``largest`` is negative, not finite, or needs a unit beyond the 96 bits the page word has for it.
    """
    if not (math.isfinite(largest) and largest >= 0.0):
        raise BadInput(f"largest page value {largest!r} USD must be finite and not negative; check the inputs priced")
    unit = max(1, -(-wad_up(largest) // LANE_MAX))
    # A float quotient may land a hair above the limit that the integer quotient meets; one more wad settles it.
    while math.ceil(largest / (unit / WAD)) > LANE_MAX:
        unit += max(1, unit >> 50)
    if unit >= 1 << 96:
        raise BadInput(f"lane unit {unit} wad needs more than 96 bits; the page holds values too large for a lane")
    return unit


def lanes_nearest(values: ArrayLike, unit_wad: int) -> NDArray[np.uint16]:
    """Values (USD, any shape) in lane units, to the nearest lane.

    Raises
    ------
    BadInput
        When a value is negative, not finite or above 65,535 lane units.
    """
    return _to_lanes(np.rint(np.asarray(values, dtype=np.float64) / float_from_wad(unit_wad)), unit_wad)


def lanes_up(values: ArrayLike, unit_wad: int) -> NDArray[np.uint16]:
    """Values (USD, any shape) in lane units, rounded up; see :func:`lanes_nearest`."""
    return _to_lanes(np.ceil(np.asarray(values, dtype=np.float64) / float_from_wad(unit_wad)), unit_wad)


def _to_lanes(counts: NDArray[np.float64], unit_wad: int) -> NDArray[np.uint16]:
    if counts.size and not (counts.min() >= 0.0 and counts.max() <= LANE_MAX):
        raise BadInput(
            f"lane counts {counts.min()}..{counts.max()} at unit {unit_wad} wad leave 0..{LANE_MAX}; raise the unit"
        )
    return counts.astype(np.uint16)


def values_from_lanes(lanes: ArrayLike, unit_wad: int) -> NDArray[np.float64]:
    """Lanes (any shape) as values in USD."""
    return np.asarray(lanes, dtype=np.float64) * float_from_wad(unit_wad)


def pack_lanes(values: Sequence[int]) -> int:
    """Up to sixteen 16-bit lanes as one word, the first in the lowest bits.

    Raises
    ------
    BadInput
        When there are more than sixteen values or one does not fit its lane.

    Examples
    --------
    >>> pack_lanes((1, 2))
    131073
    """
    if len(values) > LANES_PER_WORD:
        raise BadInput(f"{len(values)} lanes do not fit a word of {LANES_PER_WORD}; split them")
    word = 0
    for index, value in enumerate(values):
        if not 0 <= value <= LANE_MAX:
            raise BadInput(f"lane {index} = {value} must lie in 0..{LANE_MAX}; clamp it before packing")
        word |= int(value) << 16 * index
    return word


def unpack_lanes(word: int) -> tuple[int, ...]:
    """The sixteen lanes of a word, lowest bits first.

    Raises
    ------
    BadInput
        When the word is negative or longer than 256 bits.
    """
    if not 0 <= word < 1 << 256:
        raise BadInput(f"word {word} is not a 256-bit unsigned integer; pass the word as the chain returns it")
    return tuple(word >> 16 * index & LANE_MAX for index in range(LANES_PER_WORD))


def _used_lanes(word: int, count: int, kind: str) -> tuple[int, ...]:
    lanes = unpack_lanes(word)
    if any(lanes[count:]):
        raise BadInput(f"{kind} word {word:#x} uses lanes beyond its {count}; the contract speaks another version")
    return lanes[:count]


def pack_global(parameters: GlobalParameters) -> int:
    """Global parameters as a word (docs/margin-rule.md, section 3)."""
    return pack_lanes(parameters.lanes())


def pack_underlying(parameters: UnderlyingParameters) -> int:
    """An underlying's parameters as a word."""
    return pack_lanes(parameters.lanes())


def pack_collateral(parameters: CollateralParameters) -> int:
    """A collateral asset's parameters as a word."""
    return pack_lanes(parameters.lanes())


def unpack_global(word: int) -> GlobalParameters:
    """Inverse of :func:`pack_global`; raises ``BadInput`` when a lane beyond the sixth is used."""
    return GlobalParameters(*_used_lanes(word, 6, "global"))


def unpack_underlying(word: int) -> UnderlyingParameters:
    """Inverse of :func:`pack_underlying`; raises ``BadInput`` when a lane beyond the thirteenth is used."""
    return UnderlyingParameters(*_used_lanes(word, 13, "underlying"))


def unpack_collateral(word: int) -> CollateralParameters:
    """Inverse of :func:`pack_collateral`; raises ``BadInput`` when a lane beyond the fifth is used."""
    return CollateralParameters(*_used_lanes(word, 5, "collateral"))
