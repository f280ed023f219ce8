# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# pragma optimize gas
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Externals around the fixed-point functions that pricing builds on
@notice For tests only.
"""

from snekmate.utils import math


@external
@pure
def exp(xs: DynArray[int256, 256]) -> DynArray[int256, 256]:
    out: DynArray[int256, 256] = []
    for x: int256 in xs:
        out.append(math._wad_exp(x))
    return out


@external
@pure
def ln(xs: DynArray[int256, 256]) -> DynArray[int256, 256]:
    out: DynArray[int256, 256] = []
    for x: int256 in xs:
        out.append(math._wad_ln(x))
    return out
