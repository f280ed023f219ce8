# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Price of the cash token
@notice Cash counts as one dollar. When it is worth less than 0.98, initial margin grows by twice the distance, once somebody
        has synced it; maintenance margin and equity do not see it.
"""

from contracts.interfaces import IRiskParameters
from contracts.modules import constants as c
from contracts.modules import errors_params as e
from contracts.modules import fixed_math
from contracts.modules import parameter_store

uses: parameter_store


# of PriceOracle: (price wad, state) of the cash token in USD
interface CashPrice:
    def cash_price() -> (uint256, uint256): view


_PEG_FLOOR_WAD: constant(uint256) = 98 * 10**16
# im_scale rises by two for each unit that the price of cash is below the floor; 1e18 / 1e4 / 2 is a wad in half bps
_HALF_BPS_WAD: constant(uint256) = 5 * 10**13


ORACLE: public(immutable(address))


@deploy
def __init__(oracle: address):
    assert oracle != empty(address), e.NO_ORACLE
    ORACLE = oracle


@external
def sync_peg():
    """
    @notice Takes the price of the cash token in: below 0.98 USD im_scale rises by twice the distance, rounded up. A
            recovered price clears it, a dead one changes nothing.
    @dev Maintenance margin is left alone, so that whoever picks the moment to call can liquidate nobody.
    """
    price_wad: uint256 = 0
    state: uint256 = 0
    price_wad, state = staticcall CashPrice(ORACLE).cash_price()
    if state == c.PRICE_DEAD:
        return
    peg_bps: uint256 = 0
    if price_wad < _PEG_FLOOR_WAD:
        peg_bps = fixed_math._div_up(_PEG_FLOOR_WAD - price_wad, _HALF_BPS_WAD)
    if peg_bps != parameter_store._peg_bps():
        parameter_store._set_peg(peg_bps)
        log IRiskParameters.PegSynced(price_wad=price_wad, peg_bps=peg_bps)


@external
@view
def peg_bps() -> uint256:
    """
    @notice What the loss of peg adds to im_scale, as last synced
    """
    return parameter_store._peg_bps()
