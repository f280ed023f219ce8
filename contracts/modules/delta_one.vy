# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Perpetuals and dated futures
@notice docs/margin-rule.md, section 4: what moves one for one with the price of the underlying.

        Bounds that the unchecked operations rest on: |lots| < 2^55, |base| <= 2^191, a price < 2^90, a settlement price
        < 2^96, |carry| <= 2^127. So a future's mark is below 2^188 in absolute value, lots times it below 2^243 and the
        sum over three instruments, base and carry included, below 2^245. Linked collateral is below 2^222 (16 assets of
        2^128 raw units at 2^90 each), so the value of the delta is below 2^226, and times scan range and steps below
        2^245.
"""

from contracts.modules import constants as c
from contracts.modules import time_left

E9: constant(int256) = 10**9
# settlement price in a mark
SETTLED: constant(uint256) = 2**96 - 1
# makes a numerator below 2^245 positive for a division by 1e6, and one below 2^217 for a division by 1e9
LOTS_FLOOR: constant(uint256) = 2**228
CARRY_FLOOR: constant(uint256) = 2**190
# a quarter of the scan range in bps
STEPS: constant(uint256) = 40_000
STEPS_FLOOR: constant(uint256) = 2**230


# value, what of it moves with the price, and what of that counts in the last day, lot x wad
struct Position:
    value: int256
    moving: int256
    kept: int256
    # time left of its last day, where it is not settled; a whole day otherwise
    left_s: uint256


@internal
@pure
def _mark(mark_word: uint256, price_wad: uint256, is_future: bool) -> int256:
    """
    @notice Mark of an instrument in wad per unit: settlement price, or the price of the underlying, plus the basis for a
            future.
    @param mark_word settlement price (0..95) | expiry (96..127; 0 = none) | carry (128..255)
    """
    settled: uint256 = mark_word & SETTLED
    if settled != 0:
        return convert(settled, int256)
    if not is_future:
        return convert(price_wad, int256)
    # floor, for either sign of the basis
    basis_e9: int256 = convert(convert(mark_word, bytes32), int256) >> 128
    lifted: int256 = unsafe_add(
        unsafe_mul(convert(price_wad, int256), basis_e9), convert(CARRY_FLOOR, int256) * E9
    )
    return unsafe_add(
        convert(price_wad, int256), unsafe_sub(unsafe_div(lifted, E9), convert(CARRY_FLOOR, int256))
    )


@internal
@view
def _position(word: uint256, mark_word: uint256, price_wad: uint256, is_future: bool) -> Position:
    """
    @notice One position.
    @param word lots (0..63) | base (64..255)
    """
    lots: int256 = convert(convert(word << 192, bytes32), int256) >> 192
    mark: int256 = self._mark(mark_word, price_wad, is_future)
    moving: int256 = unsafe_mul(lots, mark)
    value: int256 = unsafe_add(moving, convert(convert(word, bytes32), int256) >> 64)
    if not is_future:
        value = unsafe_sub(value, unsafe_mul(lots, convert(convert(mark_word, bytes32), int256) >> 128))
    if mark_word & SETTLED != 0:
        return Position(value=value, moving=0, kept=0, left_s=c.LAST_DAY_S)
    expiry: uint256 = (mark_word >> 96) & (2**32 - 1)
    if expiry != 0:
        left_s: uint256 = time_left._left_s(expiry)
        if left_s < c.LAST_DAY_S:
            # towards zero, as for options
            kept: int256 = unsafe_div(unsafe_mul(lots, convert(left_s, int256)), convert(c.LAST_DAY_S, int256))
            return Position(value=value, moving=moving, kept=unsafe_mul(kept, mark), left_s=left_s)
    return Position(value=value, moving=moving, kept=moving, left_s=c.LAST_DAY_S)


@internal
@pure
def _floor_lots(amount: int256) -> int256:
    """
    @notice floor(lot x wad / 1e6) in wad.
    """
    lifted: uint256 = unsafe_add(convert(convert(amount, bytes32), uint256), LOTS_FLOOR * c.LOTS_PER_UNIT)
    return convert(convert(unsafe_sub(unsafe_div(lifted, c.LOTS_PER_UNIT), LOTS_FLOOR), bytes32), int256)


@internal
@pure
def _move(sloped: int256, steps: int256) -> int256:
    """
    @notice floor(value of the delta x scan range x quarters / 40000): profit and loss of a straight line.
    @param sloped Value of the delta times the scan range in bps
    """
    lifted: uint256 = unsafe_add(
        convert(convert(unsafe_mul(sloped, steps), bytes32), uint256), STEPS_FLOOR * STEPS
    )
    return convert(convert(unsafe_sub(unsafe_div(lifted, STEPS), STEPS_FLOOR), bytes32), int256)
