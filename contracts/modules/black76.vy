# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Black-76
@notice Value and forward delta of a European option (Black 1976, eq. 16; Haug 2007, ch. 1), limits included: without a
        deviation or a forward, the value is the discounted intrinsic one.
@dev F n(d1) = K n(d2). So one exponential serves both N; and an error in ln(F/K), which moves d1 and d2 alike, moves no
     value to first order, however small the deviation. What is left is 1e-18 of forward and strike, and a wad. The caller
     gives the logarithm, because fifteen nodes share most of it.
"""

from contracts.modules import constants as c
from contracts.modules import normal_cdf


@internal
@pure
def _value_wad(
    is_call: bool,
    forward_wad: uint256,
    strike_wad: uint256,
    log_moneyness_wad: int256,
    deviation_wad: uint256,
    discount_wad: uint256,
) -> uint256:
    """
    @notice Discounted value in the currency of the forward, wad, rounded down
    @param forward_wad < 2^98
    @param strike_wad < 2^90
    @param log_moneyness_wad ln(forward / strike), |.| < 100; not read without forward or deviation
    @param deviation_wad Volatility times the root of the time, <= 100
    @param discount_wad <= 2
    """
    if forward_wad == 0 or deviation_wad == 0:
        return self._intrinsic_wad(is_call, forward_wad, strike_wad) * discount_wad // c.WAD
    d2: int256 = self._d2(log_moneyness_wad, deviation_wad)
    d1: int256 = d2 + convert(deviation_wad, int256)
    # amounts times N are below 2^98 2^60
    density: uint256 = unsafe_mul(forward_wad, normal_cdf._density(d1))
    gain: uint256 = 0
    cost: uint256 = 0
    if is_call:
        gain = self._times_cdf(forward_wad, d1, density)
        cost = self._times_cdf(strike_wad, d2, density)
    else:
        gain = self._times_cdf(strike_wad, -d2, density)
        cost = self._times_cdf(forward_wad, -d1, density)
    if gain <= cost:
        return 0
    # 2^158 2^61
    return unsafe_div(unsafe_mul(unsafe_sub(gain, cost), discount_wad), c.WAD**2)


@internal
@pure
def _absolute_delta_wad(
    is_call: bool,
    forward_wad: uint256,
    strike_wad: uint256,
    log_moneyness_wad: int256,
    deviation_wad: uint256,
    discount_wad: uint256,
) -> uint256:
    """
    @notice |discounted slope of the value in the forward|, wad; arguments as _value_wad, but the deviation may be < 2^90
    @dev At its kink the intrinsic value has slope one half.
    """
    probability: uint256 = 0
    if forward_wad != 0 and deviation_wad != 0:
        d1: int256 = self._d2(log_moneyness_wad, deviation_wad) + convert(deviation_wad, int256)
        probability = normal_cdf._cdf(d1 if is_call else -d1)
    elif forward_wad == strike_wad:
        probability = c.WAD // 2
    elif (forward_wad > strike_wad) == is_call:
        probability = c.WAD
    return discount_wad * probability // c.WAD


@internal
@pure
def _times_cdf(amount_wad: uint256, x: int256, density: uint256) -> uint256:
    """
    @notice amount * N(x), 1e-36
    @param density amount * exp(-x^2/2), 1e-36, < 2^158
    """
    # the ratio is at most 2^95
    tail: uint256 = unsafe_mul(density, normal_cdf._tail_ratio(x)) >> 96
    if x < 0:
        return tail
    whole: uint256 = unsafe_mul(amount_wad, c.WAD)
    return unsafe_sub(whole, min(tail, whole))


@internal
@pure
def _intrinsic_wad(is_call: bool, price_wad: uint256, strike_wad: uint256) -> uint256:
    """
    @notice What exercise pays at a price; the settlement payoff
    """
    if is_call:
        return price_wad - min(price_wad, strike_wad)
    return strike_wad - min(price_wad, strike_wad)


@internal
@pure
def _d2(log_moneyness_wad: int256, deviation_wad: uint256) -> int256:
    """
    @notice ln(F/K)/s - s/2, wad; s < 2^90
    """
    s: int256 = convert(deviation_wad, int256)
    return unsafe_sub(log_moneyness_wad * convert(c.WAD, int256) // s, s // 2)
