# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# pragma optimize gas
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Externals around the pricing modules
@notice For tests only.
"""

from contracts.modules import black76
from contracts.modules import normal_cdf
from contracts.modules import svi
from contracts.modules import vol_shock
from snekmate.utils import math


@external
@pure
def cdf(xs: DynArray[int256, 256]) -> DynArray[uint256, 256]:
    out: DynArray[uint256, 256] = []
    for x: int256 in xs:
        out.append(normal_cdf._cdf(x))
    return out


@external
@pure
def value(
    is_call: bool, forward_wad: uint256, strike_wad: uint256, deviation_wad: uint256, discount_wad: uint256
) -> uint256:
    return black76._value_wad(
        is_call, forward_wad, strike_wad, self._log(forward_wad, strike_wad), deviation_wad, discount_wad
    )


@external
@pure
def absolute_delta(
    is_call: bool, forward_wad: uint256, strike_wad: uint256, deviation_wad: uint256, discount_wad: uint256
) -> uint256:
    return black76._absolute_delta_wad(
        is_call, forward_wad, strike_wad, self._log(forward_wad, strike_wad), deviation_wad, discount_wad
    )


@external
@pure
def total_deviation(k_wad: int256, smile: int256[5]) -> uint256:
    return svi._total_deviation(k_wad, smile[0], smile[1], smile[2], smile[3], smile[4])


@external
@pure
def tenor_scale(time_s: uint256, power_bps: uint256) -> uint256:
    return vol_shock._tenor_scale_wad(time_s, power_bps)


@external
@pure
def total_deviations(
    base_wad: uint256, time_s: uint256, up_bps: uint256, down_bps: uint256, power_bps: uint256
) -> uint256[3]:
    return vol_shock._total_deviations(base_wad, time_s, up_bps, down_bps, power_bps)


@internal
@pure
def _log(forward_wad: uint256, strike_wad: uint256) -> int256:
    if forward_wad == 0:
        return 0
    return math._wad_ln(convert(forward_wad, int256)) - math._wad_ln(convert(strike_wad, int256))
