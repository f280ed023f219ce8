# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Slots and the one word of each listed instrument
@notice A slot is used again after its instrument is retired. The serial is not: it is what tells the two apart.
"""

from contracts.interfaces import IInstrumentRegistry
from contracts.modules import constants as c
from contracts.modules import errors_registry as err
from contracts.modules import expiries

uses: expiries

STRIKE: constant(uint256) = 2**90 - 1
EXPIRY_AT: constant(uint256) = 90
CALL_AT: constant(uint256) = 130
REDUCE_ONLY: constant(uint256) = 1 << 131
LISTED_AT: constant(uint256) = 132
SERIAL_AT: constant(uint256) = 172
MASK_40: constant(uint256) = 2**40 - 1
# strike, expiry and type: what must not be listed twice
OPTION_TERMS: constant(uint256) = 2**131 - 1
OPTION_SLOTS: constant(uint256) = 2**c.MAX_ROWS - 1

# strike USD wad of an option, basis (see carry) of a future (0..89) | expiry in unix s, of a perpetual only while it is
# being delisted (90..129) | is call (130) | reduce-only (131) | listed at, unix s (132..171) | serial (172..211);
# 0 = not listed
_words: HashMap[uint256, uint256]
# a bit for each slot in use; by underlying
_used: uint256[16]
# highest option slot ever used + 1; by underlying
row_count: public(uint256[16])
# how many instruments were ever listed, which is the serial of the last one
listing_count: public(uint256)
# terms of the options now listed, by underlying
_is_listed: HashMap[uint256, HashMap[uint256, bool]]


# --- listing ---------------------------------------------------------------------------------------------------------


@internal
def _list_option(underlying: uint256, expiry: uint256, strike_wad: uint256, is_call: bool) -> uint256:
    """
    @notice Lists in the lowest free slot; the caller has checked underlying and strike (> 0, < 2^90)
    """
    expiries._add_option(underlying, expiry)
    terms: uint256 = strike_wad | (expiry << EXPIRY_AT) | (convert(is_call, uint256) << CALL_AT)
    assert not self._is_listed[underlying][terms], err.DUPLICATE
    slot: uint256 = self._lowest(~self._used[underlying] & OPTION_SLOTS)
    self._is_listed[underlying][terms] = True
    if slot >= self.row_count[underlying]:
        self.row_count[underlying] = slot + 1
    instrument: uint256 = (underlying << 8) | slot
    serial: uint256 = self._put(instrument, terms)
    log IInstrumentRegistry.OptionListed(
        instrument=instrument,
        underlying=underlying,
        expiry=expiry,
        strike_wad=strike_wad,
        is_call=is_call,
        serial=serial,
    )
    return instrument


@internal
def _list_future(underlying: uint256, expiry: uint256) -> uint256:
    """
    @notice Lists in slot 254, or else 253, at a basis of 0
    """
    expiries._add(underlying, expiry)
    instrument: uint256 = (underlying << 8) | c.FUTURE_A_SLOT
    listed: uint256 = self._words[instrument]
    if listed != 0:
        instrument = (underlying << 8) | c.FUTURE_B_SLOT
        assert self._words[instrument] == 0, err.FULL
    else:
        listed = self._words[(underlying << 8) | c.FUTURE_B_SLOT]
    # the expiry of one that is not listed is 0
    assert self._expiry(listed) != expiry, err.DUPLICATE
    serial: uint256 = self._put(instrument, expiry << EXPIRY_AT)
    log IInstrumentRegistry.FutureListed(
        instrument=instrument, underlying=underlying, expiry=expiry, serial=serial
    )
    return instrument


@internal
def _list_perp(underlying: uint256):
    """
    @notice Lists the perpetual of an underlying that has none
    """
    instrument: uint256 = (underlying << 8) | c.PERP_SLOT
    assert self._words[instrument] == 0, err.DUPLICATE
    serial: uint256 = self._put(instrument, 0)
    log IInstrumentRegistry.PerpListed(instrument=instrument, underlying=underlying, serial=serial)


@internal
def _put(instrument: uint256, terms: uint256) -> uint256:
    # fewer than 2^40 listings: at one a second they last 34,000 years
    serial: uint256 = self.listing_count + 1
    self.listing_count = serial
    self._words[instrument] = terms | (block.timestamp << LISTED_AT) | (serial << SERIAL_AT)
    self._used[instrument >> 8] |= 1 << (instrument & 255)
    return serial


@internal
def _free(instrument: uint256):
    """
    @notice Frees the slot of a listed instrument
    """
    word: uint256 = self._words[instrument]
    underlying: uint256 = instrument >> 8
    self._words[instrument] = 0
    self._used[underlying] &= ~(1 << (instrument & 255))
    if instrument & 255 < c.MAX_ROWS:
        self._is_listed[underlying][word & OPTION_TERMS] = False
        expiries._drop_option(underlying, self._expiry(word))
    log IInstrumentRegistry.InstrumentRetired(instrument=instrument, serial=self._serial(word))


# --- changes of a listed instrument ----------------------------------------------------------------------------------


@internal
def _set_reduce_only(instrument: uint256, reduce_only: bool):
    word: uint256 = self._tradable(instrument)
    self._words[instrument] = (word | REDUCE_ONLY) if reduce_only else (word & ~REDUCE_ONLY)
    log IInstrumentRegistry.ReduceOnlySet(instrument=instrument, reduce_only=reduce_only)


@internal
def _set_perp_expiry(underlying: uint256, expiry: uint256):
    """
    @notice Gives a perpetual an expiry, or takes it away (0)
    """
    instrument: uint256 = (underlying << 8) | c.PERP_SLOT
    word: uint256 = self._words[instrument]
    self._words[instrument] = (word & ~(MASK_40 << EXPIRY_AT)) | (expiry << EXPIRY_AT)


# --- views -----------------------------------------------------------------------------------------------------------


@internal
@view
def _tradable(instrument: uint256) -> uint256:
    """
    @notice The word of an instrument that is listed and has not expired
    """
    word: uint256 = self._words[instrument]
    assert word != 0, err.NOT_TRADABLE
    expiry: uint256 = self._expiry(word)
    assert expiry == 0 or block.timestamp < expiry, err.EXPIRED
    return word


@internal
@pure
def _is_open(instrument: uint256, word: uint256) -> bool:
    """
    @notice Whether new positions may be taken, given that it is tradable
    """
    if word & REDUCE_ONLY != 0:
        return False
    # a perpetual that has an expiry is being delisted
    return instrument & 255 != c.PERP_SLOT or self._expiry(word) == 0


@internal
@pure
def _expiry(word: uint256) -> uint256:
    return (word >> EXPIRY_AT) & MASK_40


@internal
@pure
def _strike(word: uint256) -> uint256:
    return word & STRIKE


@internal
@pure
def _is_call(word: uint256) -> bool:
    return (word >> CALL_AT) & 1 != 0


@internal
@pure
def _listed_at(word: uint256) -> uint256:
    return (word >> LISTED_AT) & MASK_40


@internal
@pure
def _serial(word: uint256) -> uint256:
    return word >> SERIAL_AT


@internal
@pure
def _lowest(bits: uint256) -> uint256:
    """
    @notice Position of the lowest set bit; reverts when there is none
    """
    assert bits != 0, err.FULL
    bit: uint256 = bits & unsafe_add(~bits, 1)
    position: uint256 = 0
    for step: uint256 in [128, 64, 32, 16, 8, 4, 2, 1]:
        if bit >> step != 0:
            bit >>= step
            position += step
    return position
