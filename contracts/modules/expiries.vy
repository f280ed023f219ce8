# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Expiries and what they settled at
@notice One price for each underlying and expiry serves its options, its futures and a perpetual that was delisted then.
        It is written once.
"""

from contracts.interfaces import IInstrumentRegistry
from contracts.modules import constants as c
from contracts.modules import errors_registry as err

# Expiries on the hour: fewer distinct expiries, so fewer settlements.
STEP_S: constant(uint256) = 3_600
MAX_S: constant(uint256) = 2 * 366 * 86_400
# Before this only the rounds of the feed settle, and anyone may show them.
GOVERNANCE_AFTER_S: constant(uint256) = 3 * 86_400
_MASK_40: constant(uint256) = 2**40 - 1
_ONE_OPTION: constant(uint256) = 2**40

# whether something was listed to expire then; underlying -> unix s
_is_expiry: HashMap[uint256, HashMap[uint256, bool]]
# expiries of listed options, by underlying: unix s (0..39) | how many options (40..255); 0 or an expiry that has passed = free
_places: HashMap[uint256, uint256[c.MAX_SURFACES]]
# USD wad, 0 = not settled; underlying -> unix s
settlement_price: public(HashMap[uint256, HashMap[uint256, uint256]])
# unix s, 0 = never; by underlying. What was made before that may not know of a settlement
last_settled_at: public(uint256[c.MAX_UNDERLYINGS])


@internal
def _add(underlying: uint256, expiry: uint256):
    """
    @notice Allows settlement of an expiry to come
    """
    assert expiry > block.timestamp and expiry <= block.timestamp + MAX_S, err.EXPIRY
    assert expiry % STEP_S == 0, err.EXPIRY
    self._is_expiry[underlying][expiry] = True


@internal
def _add_option(underlying: uint256, expiry: uint256):
    """
    @notice The same for an option: of their expiries to come there are no more than a page can name, or no page would be
            true. What has passed a page need not name.
    @custom:invariant I-37
    """
    self._add(underlying, expiry)
    free: uint256 = c.MAX_SURFACES
    for place: uint256 in range(c.MAX_SURFACES):
        word: uint256 = self._places[underlying][place]
        if word & _MASK_40 == expiry:
            self._places[underlying][place] = word + _ONE_OPTION
            return
        if free == c.MAX_SURFACES and word & _MASK_40 <= block.timestamp:
            free = place
    assert free < c.MAX_SURFACES, err.EXPIRIES
    self._places[underlying][free] = expiry | _ONE_OPTION


@internal
def _drop_option(underlying: uint256, expiry: uint256):
    """
    @notice Takes note that an option is not listed any more; the last of an expiry frees its place
    """
    for place: uint256 in range(c.MAX_SURFACES):
        word: uint256 = self._places[underlying][place]
        # one that has passed may have lost its place to another
        if word & _MASK_40 == expiry:
            self._places[underlying][place] = 0 if word >> 40 == 1 else word - _ONE_OPTION
            return


@internal
@view
def _check_due(underlying: uint256, expiry: uint256):
    """
    @notice Reverts unless the expiry has come and has no price
    """
    assert self._is_expiry[underlying][expiry], err.EXPIRY
    assert block.timestamp >= expiry, err.NOT_EXPIRED
    assert self.settlement_price[underlying][expiry] == 0, err.SETTLED


@internal
def _settle(underlying: uint256, expiry: uint256, price_wad: uint256, round_id: uint256):
    """
    @notice Writes the price of an expiry that is due
    @param round_id The feed's round; 0 = by governance
    """
    # 0 would leave it unsettled; a price above the bound would break the arithmetic of whoever reads it
    assert price_wad > 0 and price_wad <= c.MAX_PRICE_WAD, err.PRICE_BOUND
    self.settlement_price[underlying][expiry] = price_wad
    self.last_settled_at[underlying] = block.timestamp
    log IInstrumentRegistry.ExpirySettled(
        underlying=underlying, expiry=expiry, price_wad=price_wad, round_id=round_id
    )
