# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Kinked interest curve, packed in one word
@notice base (0..15) | slope below the kink (16..31) | slope above (32..47) | kink (48..63) | reserve factor (64..79);
        rates in bps a year, kink in bps of use, reserve factor in bps of the interest.
"""

from contracts.modules import constants as c
from contracts.modules import errors_accounts as err
from contracts.modules import fixed_math

event RatesSet:
    base_bps: uint256
    slope_low_bps: uint256
    slope_high_bps: uint256
    kink_bps: uint256
    reserve_bps: uint256


YEAR_S: constant(uint256) = 365 * 86_400
# At most 20 % a year at no use, 70 % at the kink, 370 % at full use.
MAX_BASE_BPS: constant(uint256) = 2_000
MAX_SLOPE_LOW_BPS: constant(uint256) = 5_000
MAX_SLOPE_HIGH_BPS: constant(uint256) = 30_000
MIN_KINK_BPS: constant(uint256) = 1_000
MAX_KINK_BPS: constant(uint256) = 9_900
MAX_RESERVE_BPS: constant(uint256) = 5_000
BPS_WAD: constant(uint256) = c.WAD // c.BPS


@internal
def _pack(
    base_bps: uint256, slope_low_bps: uint256, slope_high_bps: uint256, kink_bps: uint256, reserve_bps: uint256
) -> uint256:
    """
    @notice The word of a curve that is set; reverts outside the bounds
    """
    if base_bps > MAX_BASE_BPS or slope_low_bps > MAX_SLOPE_LOW_BPS:
        err._fail(err.RATES)
    if slope_high_bps > MAX_SLOPE_HIGH_BPS or reserve_bps > MAX_RESERVE_BPS:
        err._fail(err.RATES)
    if kink_bps < MIN_KINK_BPS or kink_bps > MAX_KINK_BPS:
        err._fail(err.RATES)
    log RatesSet(
        base_bps=base_bps,
        slope_low_bps=slope_low_bps,
        slope_high_bps=slope_high_bps,
        kink_bps=kink_bps,
        reserve_bps=reserve_bps,
    )
    return base_bps | (slope_low_bps << 16) | (slope_high_bps << 32) | (kink_bps << 48) | (reserve_bps << 64)


@internal
@pure
def _growth(curve: uint256, use_wad: uint256, elapsed_s: uint256) -> uint256:
    """
    @notice Growth (wad) of a debt over `elapsed_s` at a use of supply `use_wad` <= 1e18; rounds down, for borrowers
    """
    rate_wad: uint256 = (curve & 65535) * BPS_WAD
    low_wad: uint256 = ((curve >> 16) & 65535) * BPS_WAD
    kink_wad: uint256 = ((curve >> 48) & 65535) * BPS_WAD
    if use_wad <= kink_wad:
        rate_wad += fixed_math._mul_div_down(use_wad, low_wad, kink_wad)
    else:
        high_wad: uint256 = ((curve >> 32) & 65535) * BPS_WAD
        rate_wad += low_wad + fixed_math._mul_div_down(use_wad - kink_wad, high_wad, c.WAD - kink_wad)
    return fixed_math._mul_div_down(rate_wad, elapsed_s, YEAR_S)
