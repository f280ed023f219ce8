# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Views of listed instruments
@notice Each but instrument_info reads one slot: fills and venues ask for every trade.
"""

from contracts.interfaces import IInstrumentRegistry
from contracts.modules import constants as c
from contracts.modules import expiries
from contracts.modules import instruments

uses: expiries
uses: instruments

KIND_PERP: constant(uint256) = 1
KIND_FUTURE: constant(uint256) = 2
KIND_OPTION: constant(uint256) = 3


@external
@view
def option_info(instrument: uint256) -> (uint256, uint256, bool):
    """
    @notice (expiry in unix s, strike in USD wad per unit, is a call); expiry 0 = not a listed option
    """
    if instrument & 255 >= c.MAX_ROWS:
        return 0, 0, False
    word: uint256 = instruments._words[instrument]
    return instruments._expiry(word), instruments._strike(word), instruments._is_call(word)


@external
@view
def instrument_info(instrument: uint256) -> IInstrumentRegistry.InstrumentInfo:
    """
    @notice Everything about an instrument; kind 0 not listed, 1 perpetual, 2 future, 3 option; times in unix s, prices in
            USD wad per unit
    @dev For people; a perpetual has an expiry only while it is being delisted, and is reduce-only then.
    """
    word: uint256 = instruments._words[instrument]
    info: IInstrumentRegistry.InstrumentInfo = empty(IInstrumentRegistry.InstrumentInfo)
    if word == 0:
        return info
    slot: uint256 = instrument & 255
    info.kind = KIND_FUTURE
    if slot == c.PERP_SLOT:
        info.kind = KIND_PERP
    elif slot < c.MAX_ROWS:
        info.kind = KIND_OPTION
        info.strike_wad = instruments._strike(word)
        info.is_call = instruments._is_call(word)
    info.expiry = instruments._expiry(word)
    info.serial = instruments._serial(word)
    info.listed_at = instruments._listed_at(word)
    info.reduce_only = not instruments._is_open(instrument, word)
    info.settlement_price_wad = expiries.settlement_price[instrument >> 8][info.expiry]
    return info


@external
@view
def check_tradable(instrument: uint256) -> bool:
    """
    @notice True when anyone may take a position, False when positions may only be reduced; reverts when not listed or
            expired
    """
    return instruments._is_open(instrument, instruments._tradable(instrument))


@external
@view
def listing(instrument: uint256) -> (uint256, uint256, bool):
    """
    @notice (serial, listed at in unix s, open to all) of a tradable instrument; reverts like check_tradable
    @custom:invariant I-46
    """
    word: uint256 = instruments._tradable(instrument)
    return instruments._serial(word), instruments._listed_at(word), instruments._is_open(instrument, word)


@external
@view
def serial_of(instrument: uint256) -> uint256:
    """
    @notice Number of the listing, 0 = not listed; no two listings share one, whatever slot they use
    """
    return instruments._serial(instruments._words[instrument])


@external
@view
def listed_at(instrument: uint256) -> uint256:
    """
    @notice When the instrument was listed (unix s), 0 = not listed
    """
    return instruments._listed_at(instruments._words[instrument])
