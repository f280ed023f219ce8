# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title What the words of an account are about
@notice docs/margin-rule.md, section 2 and the active underlyings of section 3.
"""

from contracts.modules import constants as c

BITMAP: constant(uint256) = 2**16 - 1
COUNTS: constant(uint256) = 2**128 - 1
AMOUNT: constant(uint256) = 2**128 - 1
PERP_SHIFT: constant(uint256) = 128
COLLATERAL_SHIFT: constant(uint256) = 144
FUTURES_SHIFT: constant(uint256) = 224
LINKED_SHIFT: constant(uint256) = 152
# everything of the head that says that there is a position
POSITIONS: constant(uint256) = 2**144 - 1 + (2**32 - 1) * 2**224


# what the words are about, one bit an underlying, and the index of the first word after the collateral
struct Shape:
    active: uint256
    active_count: uint256
    optioned: uint256
    # bits 0..15 perpetuals, 16..31 slot 254, 32..47 slot 253
    delta_ones: uint256
    collaterals: uint256
    cursor: uint256


@internal
@pure
def _shape(words: DynArray[uint256, c.MAX_WORDS]) -> Shape:
    """
    @notice What an account has: section 2 and the active underlyings of section 3.
    """
    head: uint256 = words[0]
    shape: Shape = empty(Shape)
    shape.delta_ones = ((head >> PERP_SHIFT) & BITMAP) | ((head >> FUTURES_SHIFT) << 16)
    shape.collaterals = (head >> COLLATERAL_SHIFT) & BITMAP
    shape.cursor = 2
    counts: uint256 = head & COUNTS
    for u: uint256 in range(c.MAX_UNDERLYINGS):
        if counts == 0:
            break
        if counts & 255 != 0:
            shape.optioned |= 1 << u
        counts = counts >> 8
    shape.active = (
        shape.optioned | ((shape.delta_ones | (shape.delta_ones >> 16) | (shape.delta_ones >> 32)) & BITMAP)
    )
    held: uint256 = shape.collaterals
    for k: uint256 in range(c.MAX_COLLATERALS):
        if held == 0:
            break
        if held & 1 == 1:
            word: uint256 = words[shape.cursor]
            shape.cursor += 1
            linked: uint256 = (word >> LINKED_SHIFT) & 255
            if linked != 0 and word & AMOUNT != 0:
                shape.active |= 1 << (linked - 1)
        held = held >> 1
    bits: uint256 = shape.active
    for u: uint256 in range(c.MAX_UNDERLYINGS):
        if bits == 0:
            break
        shape.active_count += bits & 1
        bits = bits >> 1
    return shape
