# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title What collateral counts for
@notice docs/margin-rule.md, section 6.

        Bounds that the unchecked operations rest on: an amount is below 2^128 and a price below 2^90, a value below
        2^218; a lane below 2^16.
"""

from contracts.modules import constants as c

LANE: constant(uint256) = 2**16 - 1
# the size unit of the parameter lanes: 10,000 USD
MONEY_UNIT: constant(uint256) = 10**22
# far above any holding; keeps the square in range
MAX_SIZED: constant(uint256) = 2**112
# what a dead price takes off for maintenance margin
DEAD_BPS: constant(uint256) = 2_000


struct Counted:
    value_wad: uint256
    im_wad: uint256
    mm_wad: uint256
    # how much more than mm_wad a holding with a dead price might be worth
    doubt_wad: uint256


@internal
@pure
def _count(state_word: uint256, price_word: uint256, parameters: uint256) -> Counted:
    """
    @notice Market value of one holding and what of it counts for initial and for maintenance margin, wad.
    @param state_word amount (0..127) | cap use in bps (128..143) | decimals (144..151)
    @param price_word USD wad per whole token (0..127) | state (128..135) | late_bps (200..215)
    @param parameters haircut_im_bps | haircut_mm_bps | size_haircut_bps | size_unit | use_haircut_bps, 16 bits each
    @custom:invariant I-17, I-19
    """
    amount: uint256 = state_word & (2**128 - 1)
    # down, against the account; at most 10^18
    value: uint256 = unsafe_div(
        unsafe_mul(amount, price_word & (2**128 - 1)), pow_mod256(10, (state_word >> 144) & 255)
    )
    size: uint256 = unsafe_mul(max((parameters >> 48) & LANE, 1), MONEY_UNIT)
    size_bps: uint256 = (parameters >> 32) & LANE
    # initial margin only: others' deposits, even for one transaction, must not push anybody below maintenance margin; up,
    # against the account
    use_bps: uint256 = unsafe_div(
        unsafe_add(unsafe_mul((parameters >> 64) & LANE, (state_word >> 128) & LANE), c.BPS - 1), c.BPS
    )
    im: uint256 = self._sized(value, unsafe_add(parameters & LANE, use_bps), size_bps, size)
    late_bps: uint256 = (price_word >> 200) & LANE
    if late_bps != 0:
        im = unsafe_div(unsafe_mul(im, unsafe_sub(c.BPS, min(late_bps, c.BPS))), c.BPS)
    mm_bps: uint256 = (parameters >> 16) & LANE
    if (price_word >> 128) & 255 != c.PRICE_DEAD:
        return Counted(value_wad=value, im_wad=im, mm_wad=self._sized(value, mm_bps, size_bps, size), doubt_wad=0)
    mm: uint256 = self._sized(value, unsafe_add(mm_bps, DEAD_BPS), size_bps, size)
    return Counted(
        value_wad=value, im_wad=im, mm_wad=mm, doubt_wad=unsafe_sub(max(unsafe_mul(2, value), mm), mm)
    )


@internal
@pure
def _sized(value_wad: uint256, haircut_bps: uint256, size_bps: uint256, size_wad: uint256) -> uint256:
    """
    @notice What a holding counts for (wad): a parabola in its size up to the peak, constant beyond, so that more never
            counts less (but for a wad of rounding). The haircuts are rounded up, against the account.
    @dev The value is at most 2^112, so its square times a lane is below 2^240; size_wad < 2^90.
    """
    kept: uint256 = unsafe_sub(c.BPS, min(haircut_bps, c.BPS))
    sized: uint256 = min(value_wad, MAX_SIZED)
    if size_bps == 0:
        return unsafe_div(unsafe_mul(sized, kept), c.BPS)
    sized = min(sized, unsafe_div(unsafe_mul(size_wad, kept), unsafe_mul(2, size_bps)))
    scale: uint256 = unsafe_mul(size_wad, c.BPS)
    taken: uint256 = unsafe_div(
        unsafe_add(unsafe_mul(unsafe_mul(size_bps, sized), sized), unsafe_sub(scale, 1)), scale
    )
    counted: uint256 = unsafe_div(unsafe_mul(sized, kept), c.BPS)
    return unsafe_sub(counted, min(counted, taken))
