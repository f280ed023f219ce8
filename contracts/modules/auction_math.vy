# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Arithmetic of a liquidation auction
@notice Pure. `equity` at mark and for maintenance margin, `mm` and prices in wad; discounts and fractions in wad, 1e18
        = 1. A product of an amount with 1e18 fits below 2^196 and one of two amounts below 2^128, which is 3.4e20 USD: no
        account holds that much, though lots, prices and caps alone would let it. Beyond, a bid reverts and moves nothing.
"""

from contracts.modules import constants as c
from contracts.modules import fixed_math


_WAD_PER_BPS: constant(uint256) = c.WAD // c.BPS


@internal
@pure
def _discount_wad(
    elapsed_s: uint256, start_bps: uint256, fast_bps: uint256, slow_bps: uint256, fast_s: uint256, slow_s: uint256
) -> uint256:
    """
    @notice Discount on equity at mark: start_bps, linear to fast_bps in fast_s, linear to slow_bps in slow_s more
    """
    origin_bps: uint256 = fast_bps
    target_bps: uint256 = slow_bps
    leg_s: uint256 = slow_s
    leg_elapsed_s: uint256 = 0
    if elapsed_s < fast_s:
        origin_bps = start_bps
        target_bps = fast_bps
        leg_s = fast_s
        leg_elapsed_s = elapsed_s
    else:
        leg_elapsed_s = min(elapsed_s - fast_s, slow_s)
    # down: favours the account
    return origin_bps * _WAD_PER_BPS + fixed_math._mul_div_down(
        (target_bps - origin_bps) * _WAD_PER_BPS, leg_elapsed_s, leg_s
    )


@internal
@pure
def _price_wad(equity_mark: uint256, discount_wad: uint256) -> uint256:
    """
    @notice Price of the whole account: equity * (1 - discount), up: favours the account
    @custom:invariant I-59
    """
    return fixed_math._mul_div_up(equity_mark, c.WAD - discount_wad, c.WAD)


@internal
@pure
def _buffered(mm: uint256, buffer_bps: uint256) -> int256:
    """
    @notice mm * (1 + buffer), up: against the account
    """
    return convert(fixed_math._mul_div_up(mm, c.BPS + buffer_bps, c.BPS), int256)


@internal
@pure
def _max_fraction(equity_mm: int256, target: int256, price: uint256, fixed: uint256) -> uint256:
    """
    @notice Least fraction whose sale at `price` for the whole brings maintenance equity to the target of the rest
    @dev `fixed` is the part of the target that does not shrink with the account. Selling f leaves
         (1-f)*equity_mm + f*price against (1-f)*(target - fixed) + fixed; equal at
         f = (target - equity_mm) / (target - equity_mm + price - fixed).
    @return 0 when nothing is missing, at most 1e18. Up: the target is reached.
    @custom:invariant I-60
    """
    if equity_mm >= target:
        return 0
    missing: uint256 = convert(target - equity_mm, uint256)
    if price <= fixed:
        return c.WAD
    return fixed_math._mul_div_up(missing, c.WAD, missing + price - fixed)


@internal
@pure
def _size(equity_mark: int256, equity_mm: int256, mm: uint256) -> uint256:
    """
    @notice What holding the account takes in all, wad: MM and the haircuts of its collateral
    @dev MM alone would call an account dust that has a million of collateral and debt but no position.
    """
    return mm + convert(max(equity_mark - equity_mm, 0), uint256)


@internal
@pure
def _legs_reward_wad(relief: uint256, size: uint256, equity_mark: uint256, discount_wad: uint256) -> uint256:
    """
    @notice What a bidder for single legs is paid: as much for each unit by which the account's size falls as a bidder for a
            fraction of everything earns, equity * discount / size. Down: favours the account.
    """
    gain_wad: uint256 = fixed_math._mul_div_down(equity_mark, discount_wad, c.WAD)
    return fixed_math._mul_div_down(relief, gain_wad, size)


@internal
@pure
def _whole_if_dust(fraction_wad: uint256, size: uint256, min_size: uint256) -> uint256:
    """
    @notice The fraction, or 1 when the size of the rest would be below `min_size`, too small to be worth a bid
    """
    if size * (c.WAD - fraction_wad) < min_size * c.WAD:
        return c.WAD
    return fraction_wad


@internal
@pure
def _payout_wad(equity_mark: int256, size: uint256, elapsed_s: uint256, duration_s: uint256) -> uint256:
    """
    @notice What a bidder is paid for taking the whole of an insolvent account
    @dev Starts at what covers the negative equity, so that the bidder takes an account worth zero; rises linearly to
         what leaves the bidder with equity of the account's size. When equity at mark is positive (nobody bid while it
         was sold) that is the difference to it.
    @custom:invariant I-62
    """
    loss: uint256 = 0
    reward: uint256 = size
    if equity_mark < 0:
        loss = convert(-equity_mark, uint256)
    else:
        reward -= min(reward, convert(equity_mark, uint256))
    # down: favours the insurance fund
    return loss + fixed_math._mul_div_down(reward, min(elapsed_s, duration_s), duration_s)
