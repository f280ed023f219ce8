# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Externals around auction_math
@notice For tests only.
"""

from contracts.modules import auction_math


@external
@pure
def discount_wad(
    elapsed_s: uint256, start_bps: uint256, fast_bps: uint256, slow_bps: uint256, fast_s: uint256, slow_s: uint256
) -> uint256:
    return auction_math._discount_wad(elapsed_s, start_bps, fast_bps, slow_bps, fast_s, slow_s)


@external
@pure
def price_wad(equity_mark: uint256, discount_wad: uint256) -> uint256:
    return auction_math._price_wad(equity_mark, discount_wad)


@external
@pure
def buffered(mm: uint256, buffer_bps: uint256) -> int256:
    return auction_math._buffered(mm, buffer_bps)


@external
@pure
def max_fraction(equity_mm: int256, target: int256, price: uint256, fixed: uint256) -> uint256:
    return auction_math._max_fraction(equity_mm, target, price, fixed)


@external
@pure
def size(equity_mark: int256, equity_mm: int256, mm: uint256) -> uint256:
    return auction_math._size(equity_mark, equity_mm, mm)


@external
@pure
def legs_reward_wad(relief: uint256, size: uint256, equity_mark: uint256, discount_wad: uint256) -> uint256:
    return auction_math._legs_reward_wad(relief, size, equity_mark, discount_wad)


@external
@pure
def whole_if_dust(fraction_wad: uint256, mm: uint256, min_mm: uint256) -> uint256:
    return auction_math._whole_if_dust(fraction_wad, mm, min_mm)


@external
@pure
def payout_wad(equity_mark: int256, mm: uint256, elapsed_s: uint256, duration_s: uint256) -> uint256:
    return auction_math._payout_wad(equity_mark, mm, elapsed_s, duration_s)
