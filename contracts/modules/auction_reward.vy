# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title What the caller of a liquidation is paid
@notice Gas at the base fee of the block, as many as the auction's settings name, at most what margin has reserved for it in
        every account with risk (`reserve` of the global parameter word), at most the equity that is left, once an auction.
        The whole reserve where the coin that pays for gas has no price, or a dead one.
"""

from contracts.interfaces import IPriceOracle
from contracts.interfaces import IRiskParameters
from contracts.modules import constants as c
from contracts.modules import fixed_math


_RESERVE_LANE: constant(uint256) = 4
_LANE_MASK: constant(uint256) = 2**16 - 1
_UNDERLYING: constant(uint256) = 0


PARAMETERS: public(immutable(address))
ORACLE: public(immutable(address))

# underlying whose price is that of the coin that pays for gas; 16 or more = none: the whole reserve is paid
GAS_UNDERLYING: public(immutable(uint256))


@deploy
def __init__(parameters: address, oracle: address, gas_underlying: uint256):
    PARAMETERS = parameters
    ORACLE = oracle
    GAS_UNDERLYING = gas_underlying


@internal
@view
def _reserve_wad() -> uint256:
    """
    @notice What each account with risk must hold for the caller of its liquidation, wad
    """
    word: uint256 = (staticcall IRiskParameters(PARAMETERS).words(0, 0))[0]
    return ((word >> (16 * _RESERVE_LANE)) & _LANE_MASK) * c.WAD


@internal
@view
def _reward_wad(reserve_wad: uint256, reward_gas: uint256, equity_wad: int256) -> uint256:
    """
    @notice What a start pays now, wad. Down: favours the account.
    @dev The caller chooses the block, not its base fee; a priority fee is the caller's own affair, or it would be paid to
         whoever builds the block.
    @custom:invariant I-64
    """
    if equity_wad <= 0:
        return 0
    most_wad: uint256 = min(reserve_wad, convert(equity_wad, uint256))
    if GAS_UNDERLYING >= c.MAX_UNDERLYINGS:
        return most_wad
    price_wad: uint256 = 0
    state: uint256 = 0
    updated_at: uint256 = 0
    price_wad, state, updated_at = staticcall IPriceOracle(ORACLE).price(_UNDERLYING, GAS_UNDERLYING)
    if state == c.PRICE_DEAD:
        return most_wad
    return min(most_wad, fixed_math._mul_div_down(reward_gas * block.basefee, price_wad, c.WAD))
