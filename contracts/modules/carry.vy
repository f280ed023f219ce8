# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Funding of perpetuals, basis of futures
@notice One number for both sides of a contract, so what a long pays is what a short gets, to the wei. Every margin check
        reads it: a perpetual costs one slot, a future one, and another one each after the expiry.
"""

from snekmate.auth import ownable

from contracts.interfaces import IInstrumentRegistry
from contracts.modules import constants as c
from contracts.modules import errors_registry as err
from contracts.modules import expiries
from contracts.modules import instruments

uses: ownable
uses: expiries
uses: instruments

# A rate that is not set again lapses: a keeper that stops cannot bleed one side for ever.
FUNDING_TTL_S: constant(uint256) = 86_400
MAX_BASIS_BPS: constant(int256) = 3_000
MAX_BASIS_STEP_BPS: constant(uint256) = 1_000
# A step may move a future's mark by this much, bps of the price: less than a hedge with it is charged (basis_charge). The
# rate is a year's, so the longer a future has to go the smaller the step.
MAX_BASIS_MOVE_BPS: constant(uint256) = 20
MIN_BASIS_INTERVAL_S: constant(uint256) = 60
MAX_BASIS_INTERVAL_S: constant(uint256) = 86_400
YEAR_S: constant(int256) = 365 * 86_400
# 1e-9 of the price in a basis point
E9_PER_BPS: constant(int256) = 10**5
MASK_24: constant(uint256) = 2**24 - 1
MASK_32: constant(uint256) = 2**32 - 1
MASK_72: constant(uint256) = 2**72 - 1

# by underlying: unix s when the rate was set (0..31) | expiry in hours, 0 = none (32..55) | rate int72, USD wad per unit
# and second (56..127) | cumulative funding then, int128, USD wad per unit (128..255)
# the expiry is that of the instrument's word, kept here too so that a mark reads one slot
_fundings: uint256[16]
max_basis_step_bps: public(uint256)
min_basis_interval_s: public(uint256)


@deploy
def __init__():
    self.max_basis_step_bps = 200
    self.min_basis_interval_s = 600


# --- external --------------------------------------------------------------------------------------------------------


@external
def set_basis_guards(max_step_bps: uint256, min_interval_s: uint256):
    """
    @notice Sets how far (1..1,000 bps a year) and how often (every 60..86,400 s) a basis may move
    @dev Abuse: the widest let a keeper move the mark of a future by 20 bps of the price every minute.
    """
    ownable._check_owner()
    assert max_step_bps > 0 and max_step_bps <= MAX_BASIS_STEP_BPS, err.GUARDS
    assert min_interval_s >= MIN_BASIS_INTERVAL_S and min_interval_s <= MAX_BASIS_INTERVAL_S, err.GUARDS
    self.max_basis_step_bps = max_step_bps
    self.min_basis_interval_s = min_interval_s
    log IInstrumentRegistry.BasisGuardsSet(max_step_bps=max_step_bps, min_interval_s=min_interval_s)


@external
@view
def marks(bitmap: uint256) -> DynArray[uint256, 48]:
    """
    @notice A word for each set bit (0..15 perpetuals, 16..31 slot 254, 32..47 slot 253), by underlying ascending and then
            perpetual, 254, 253: settlement price wad (0..95; 0 = not settled) | expiry, unix s (96..127; 0 = none) | carry
            int128 (128..255): funding index now in wad per unit, or basis now in 1e-9 of the price
    @dev Never reverts: an instrument that is not listed gives its last funding index, or 0.
    """
    words: DynArray[uint256, 48] = []
    bits: uint256 = bitmap & (2**48 - 1)
    for underlying: uint256 in range(16):
        if bits == 0:
            break
        if bits & 1 != 0:
            words.append(self._perp_mark(underlying))
        if bits & (1 << 16) != 0:
            words.append(self._future_mark((underlying << 8) | c.FUTURE_A_SLOT))
        if bits & (1 << 32) != 0:
            words.append(self._future_mark((underlying << 8) | c.FUTURE_B_SLOT))
        # what was the lowest bit of a third must not enter the third below
        bits = (bits >> 1) & ~((1 << 15) | (1 << 31))
    return words


@external
@view
def mark(instrument: uint256) -> (uint256, int256):
    """
    @notice (settlement price wad, carry) of one perpetual or future, as in `marks`; reverts for an option
    """
    slot: uint256 = instrument & 255
    assert slot >= c.MAX_ROWS and instrument >> 8 < c.MAX_UNDERLYINGS, err.NOT_DELTA_ONE
    word: uint256 = 0
    if slot == c.PERP_SLOT:
        word = self._perp_mark(instrument >> 8)
    else:
        word = self._future_mark(instrument)
    return word & (2**96 - 1), convert(convert(word, bytes32), int256) >> 128


@external
@view
def funding_rate(underlying: uint256) -> (int256, uint256):
    """
    @notice (rate in USD wad per unit and second, unix s when it was set); it stops counting after a day
    """
    word: uint256 = self._fundings[underlying]
    return self._rate(word), word & MASK_32


@external
@view
def basis_rate(instrument: uint256) -> (int256, uint256):
    """
    @notice (rate of a future in bps of the price and year, unix s when it was set, 0 = never)
    """
    slot: uint256 = instrument & 255
    assert slot == c.FUTURE_A_SLOT or slot == c.FUTURE_B_SLOT, err.NO_FUTURE
    word: uint256 = instruments._words[instrument]
    return self._basis_rate(word), self._basis_set_at(word)


# --- funding ---------------------------------------------------------------------------------------------------------


@internal
def _set_funding(underlying: uint256, rate_wad_per_s: int256, expiry: uint256) -> int256:
    """
    @notice Books funding up to now (up to the old expiry, if that has passed) and goes on at a rate until an expiry (0 =
            none); returns the index, which this does not change
    @dev |rate| <= 2^90 * 1,000 / 10,000 / 86,400 < 2^71 fits its lane, and 2^32 s of it fit the index's.
    """
    index_wad: int256 = self._index(self._fundings[underlying])
    self._fundings[underlying] = (
        block.timestamp
        | ((expiry // expiries.STEP_S) << 32)
        | ((convert(convert(rate_wad_per_s, bytes32), uint256) & MASK_72) << 56)
        | convert(convert(index_wad << 128, bytes32), uint256)
    )
    return index_wad


@internal
def _set_funding_expiry(underlying: uint256, expiry: uint256):
    """
    @notice Gives the running funding an end to come, or takes it away (0); rate, time of setting and index stay
    """
    word: uint256 = self._fundings[underlying]
    self._fundings[underlying] = (word & ~(MASK_24 << 32)) | ((expiry // expiries.STEP_S) << 32)


@internal
@pure
def _rate(word: uint256) -> int256:
    return convert(convert(word << 128, bytes32), int256) >> 184


@internal
@view
def _index(word: uint256) -> int256:
    """
    @notice Cumulative funding now; it stands still after the expiry and a day after the rate was set
    """
    end: uint256 = block.timestamp
    expiry: uint256 = unsafe_mul((word >> 32) & MASK_24, expiries.STEP_S)
    if expiry != 0 and end > expiry:
        end = expiry
    # a rate is set before the expiry and not later than now, so `end` is not before that; rate and index as in _set_funding
    elapsed: uint256 = min(unsafe_sub(end, word & MASK_32), FUNDING_TTL_S)
    grown: int256 = unsafe_mul(self._rate(word), convert(elapsed, int256))
    return unsafe_add(convert(convert(word, bytes32), int256) >> 128, grown)


# --- basis -----------------------------------------------------------------------------------------------------------


@internal
def _set_basis(instrument: uint256, rate_bps: int256):
    """
    @notice Sets the basis of a future, bps of the price a year
    """
    slot: uint256 = instrument & 255
    assert slot == c.FUTURE_A_SLOT or slot == c.FUTURE_B_SLOT, err.NO_FUTURE
    word: uint256 = instruments._tradable(instrument)
    assert rate_bps >= -MAX_BASIS_BPS and rate_bps <= MAX_BASIS_BPS, err.BASIS_BOUND
    # both are at most the bound, so the difference fits
    step: uint256 = convert(abs(rate_bps - self._basis_rate(word)), uint256)
    assert step <= self.max_basis_step_bps, err.BASIS_STEP
    left_s: uint256 = instruments._expiry(word) - block.timestamp
    assert step * left_s <= MAX_BASIS_MOVE_BPS * convert(YEAR_S, uint256), err.BASIS_STEP
    assert block.timestamp >= self._basis_set_at(word) + self.min_basis_interval_s, err.BASIS_SOON
    low: uint256 = (convert(convert(rate_bps, bytes32), uint256) & (2**16 - 1)) | (block.timestamp << 16)
    instruments._words[instrument] = ((word >> instruments.EXPIRY_AT) << instruments.EXPIRY_AT) | low
    log IInstrumentRegistry.BasisSet(instrument=instrument, rate_bps=rate_bps)


# low bits of a future's word: rate int16, bps a year (0..15) | unix s when it was set (16..55)
@internal
@pure
def _basis_rate(word: uint256) -> int256:
    return convert(convert(word << 240, bytes32), int256) >> 240


@internal
@pure
def _basis_set_at(word: uint256) -> uint256:
    return (word >> 16) & instruments.MASK_40


# --- marks -----------------------------------------------------------------------------------------------------------


@internal
@view
def _perp_mark(underlying: uint256) -> uint256:
    """
    @notice Settlement price (0..95) | expiry (96..127; 0 = none) | funding index now (128..255)
    """
    word: uint256 = self._fundings[underlying]
    index: uint256 = convert(convert(self._index(word) << 128, bytes32), uint256)
    expiry: uint256 = unsafe_mul((word >> 32) & MASK_24, expiries.STEP_S)
    if expiry != 0 and block.timestamp >= expiry:
        return index | (expiry << 96) | expiries.settlement_price[underlying][expiry]
    return index | (expiry << 96)


@internal
@view
def _future_mark(instrument: uint256) -> uint256:
    """
    @notice Settlement price (0..95) | expiry (96..127) | basis now, in 1e-9 of the price (128..255)
    @dev At most 3,000 bps a year for two years and a day: |basis| < 0.61e9, so the mark stays above 0.
    """
    word: uint256 = instruments._words[instrument]
    expiry: uint256 = instruments._expiry(word)
    if block.timestamp >= expiry:
        return expiries.settlement_price[instrument >> 8][expiry] | (expiry << 96)
    # rate < 2^12, time left < 2^40
    left_s: int256 = convert(unsafe_sub(expiry, block.timestamp), int256)
    yearly: int256 = unsafe_mul(unsafe_mul(self._basis_rate(word), left_s), E9_PER_BPS)
    # truncates towards zero; it is one number for both sides
    basis_e9: int256 = yearly // YEAR_S
    return convert(convert(basis_e9 << 128, bytes32), uint256) | (expiry << 96)
