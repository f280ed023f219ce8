# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Tenor-scaled volatility shock
@notice Volatility v of an option becomes v (1 + up s) and v (1 - down s) with s = (30 / max(days, 1))^power, and none of
        the three is below one per cent (risk/table.py, shocked_volatilities). Pricing needs only the total deviation
        v sqrt(tau), so that is what is shocked here and no division by the time is made.
"""

from contracts.modules import constants as c
from snekmate.utils import math


_YEAR_S: constant(uint256) = 365 * 86_400
_DAY_S: constant(uint256) = 86_400
_REFERENCE_S: constant(uint256) = 30 * _DAY_S
# 1 %
_MIN_VOLATILITY_DIVISOR: constant(uint256) = 100
# From here on N(d1) = 1 and N(d2) = 0 to the last wad: d1 = l/s + s/2, and sane inputs have a log-moneyness |l| < 100. So
# the cap changes no price, and it bounds what follows.
MAX_DEVIATION_WAD: constant(uint256) = 100 * c.WAD


@internal
@pure
def _tenor_scale_wad(time_s: uint256, power_bps: uint256) -> uint256:
    """
    @notice (30 / max(days to expiry, 1))^power
    @param time_s To expiry, < 2^40
    @param power_bps Exponent, < 2^16: the result is at most 30^6.5536 < 4.8e9
    """
    ratio_wad: uint256 = _REFERENCE_S * c.WAD // max(time_s, _DAY_S)
    exponent: int256 = math._wad_ln(convert(ratio_wad, int256)) * convert(power_bps, int256) // convert(c.BPS, int256)
    return convert(math._wad_exp(exponent), uint256)


@internal
@pure
def _total_deviations(
    base_wad: uint256, time_s: uint256, up_bps: uint256, down_bps: uint256, power_bps: uint256
) -> uint256[3]:
    """
    @notice Total deviations (volatility times the root of the time) of the states down, base, up; wad
    @param base_wad Total deviation of the smile at the strike, < 2^90
    @param time_s To expiry, 0 < time < 2^40
    @param up_bps Shock at thirty days, < 2^16
    @param down_bps Likewise
    @param power_bps Exponent of the term structure, < 2^16
    """
    scale: uint256 = self._tenor_scale_wad(time_s, power_bps)
    one: uint256 = c.BPS * c.WAD
    # scale < 2^93: base times bracket is below 2^90 2^110
    low: uint256 = base_wad * (one - min(down_bps * scale, one)) // one
    high: uint256 = base_wad * (one + up_bps * scale) // one
    # time < 2^40 times 1e36 < 2^160
    floor_wad: uint256 = isqrt(time_s * c.WAD**2 // _YEAR_S) // _MIN_VOLATILITY_DIVISOR
    return [
        min(max(low, floor_wad), MAX_DEVIATION_WAD),
        min(max(base_wad, floor_wad), MAX_DEVIATION_WAD),
        min(max(high, floor_wad), MAX_DEVIATION_WAD),
    ]
