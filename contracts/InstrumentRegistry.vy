# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Underlyings, instruments, settlement prices and funding
@notice At most 16 underlyings with at most 255 option slots and one perpetual each. A slot is never reused here, so
        an instrument's number means one contract for ever.
"""

from snekmate.auth import ownable
from snekmate.auth import ownable_2step

from contracts.interfaces import IInstrumentRegistry
from contracts.interfaces import IPriceOracle
from contracts.modules import constants as c
from contracts.modules import errors_registry as err

implements: IInstrumentRegistry

initializes: ownable
initializes: ownable_2step[ownable := ownable]

# ownership
exports: (
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

event RoleSet:
    role: indexed(uint256)
    who: indexed(address)
    allowed: bool


event FundingBoundSet:
    max_funding_bps_per_day: uint256


ROLE_LISTER: public(constant(uint256)) = 1
ROLE_KEEPER: public(constant(uint256)) = 2
# Expiries on the hour: fewer distinct expiries, so fewer settlements.
EXPIRY_STEP_S: public(constant(uint256)) = 3600
MAX_EXPIRY_S: public(constant(uint256)) = 2 * 366 * 86_400
MAX_FUNDING_BPS_PER_DAY: public(constant(uint256)) = 1000
# A rate that is not set again lapses: a keeper that stops cannot bleed one side for ever.
FUNDING_TTL_S: public(constant(uint256)) = 86_400
DAY_S: constant(uint256) = 86_400

ORACLE: immutable(IPriceOracle)

has_role: public(HashMap[uint256, HashMap[address, bool]])
max_funding_bps_per_day: public(uint256)

underlying_count: public(uint256)
_symbols: HashMap[uint256, String[16]]
# has perpetual (0) | option slots listed (8..15)
_infos: uint256[16]
# strike wad (0..95) | expiry (96..135) | is call (136); by instrument
_options: HashMap[uint256, uint256]
# the same words that are listed, by underlying
_is_listed: HashMap[uint256, HashMap[uint256, bool]]
_is_expiry: HashMap[uint256, HashMap[uint256, bool]]
settlement_price: public(HashMap[uint256, HashMap[uint256, uint256]])
# at (0..31) | rate int96, wad per unit and s (32..127) | index int128, wad per unit (128..255)
_fundings: uint256[16]


@deploy
def __init__(governance: address, oracle: address):
    """
    @param governance Owner: lists, grants roles, sets the funding bound
    @param oracle PriceOracle: bounds funding and settles expiries
    """
    ownable.__init__()
    ownable_2step.__init__()
    ownable._transfer_ownership(governance)
    ORACLE = IPriceOracle(oracle)
    self.max_funding_bps_per_day = 300


# --- governance ------------------------------------------------------------------------------------------------------


@external
def set_role(role: uint256, who: address, allowed: bool):
    """
    @notice Grants or revokes a role: 1 lister (may list options), 2 keeper (may set funding inside its bound)
    @dev Abuse: a lister can use up slots, a keeper can charge one side the bound for as long as it holds the role.
    """
    ownable._check_owner()
    assert role == ROLE_LISTER or role == ROLE_KEEPER, err.ROLE
    self.has_role[role][who] = allowed
    log RoleSet(role=role, who=who, allowed=allowed)


@external
def set_max_funding(bps_per_day: uint256):
    """
    @notice Sets the bound of the funding rate, in bps of the oracle price a day (at most 1,000)
    @dev Abuse: a wide bound lets a dishonest keeper move up to a tenth of the notional a day.
    """
    ownable._check_owner()
    assert bps_per_day <= MAX_FUNDING_BPS_PER_DAY, err.FUNDING_BOUND
    self.max_funding_bps_per_day = bps_per_day
    log FundingBoundSet(max_funding_bps_per_day=bps_per_day)


@external
def list_underlying(symbol: String[16], has_perp: bool) -> uint256:
    """
    @notice Lists the next underlying and returns its number (0..15)
    """
    ownable._check_owner()
    underlying: uint256 = self.underlying_count
    assert underlying < c.MAX_UNDERLYINGS, err.FULL
    self.underlying_count = underlying + 1
    self._symbols[underlying] = symbol
    self._infos[underlying] = convert(has_perp, uint256)
    log IInstrumentRegistry.UnderlyingListed(underlying=underlying, symbol=symbol, has_perp=has_perp)
    return underlying


# --- lister ----------------------------------------------------------------------------------------------------------


@external
def list_option(underlying: uint256, expiry: uint256, strike_wad: uint256, is_call: bool) -> uint256:
    """
    @notice Lists an option in the next slot of its underlying; returns the instrument
    @param expiry Unix s, on the hour, in the future, at most two years ahead
    @param strike_wad USD wad per unit, 0 < strike < 2^90
    """
    assert msg.sender == ownable.owner or self.has_role[ROLE_LISTER][msg.sender], err.ROLE
    assert underlying < self.underlying_count, err.UNDERLYING
    assert expiry > block.timestamp and expiry <= block.timestamp + MAX_EXPIRY_S, err.EXPIRY
    assert expiry % EXPIRY_STEP_S == 0, err.EXPIRY
    assert strike_wad > 0 and strike_wad <= c.MAX_PRICE_WAD, err.STRIKE
    word: uint256 = strike_wad | (expiry << 96) | (convert(is_call, uint256) << 136)
    assert not self._is_listed[underlying][word], err.DUPLICATE
    slot: uint256 = self._infos[underlying] >> 8
    assert slot < c.MAX_ROWS, err.FULL
    instrument: uint256 = (underlying << 8) | slot
    self._infos[underlying] += 256
    self._options[instrument] = word
    self._is_listed[underlying][word] = True
    self._is_expiry[underlying][expiry] = True
    log IInstrumentRegistry.OptionListed(
        instrument=instrument, underlying=underlying, expiry=expiry, strike_wad=strike_wad, is_call=is_call
    )
    return instrument


# --- keeper ----------------------------------------------------------------------------------------------------------


@external
def set_funding_rate(underlying: uint256, rate_wad_per_s: int256):
    """
    @notice Sets the funding rate of a perpetual; it lapses after a day
    @param rate_wad_per_s USD wad per unit and second, signed: longs pay when positive; at most
           max_funding_bps_per_day of the present oracle price either way
    """
    assert self.has_role[ROLE_KEEPER][msg.sender], err.ROLE
    assert underlying < self.underlying_count, err.UNDERLYING
    assert self._infos[underlying] & 1 != 0, err.NO_PERP
    price_wad: uint256 = 0
    price_state: uint256 = 0
    updated_at: uint256 = 0
    price_wad, price_state, updated_at = staticcall ORACLE.price(0, underlying)
    assert price_state == c.PRICE_FRESH, err.FUNDING_PRICE
    # rounds down: the bound never exceeds what governance allowed
    bound: uint256 = price_wad * self.max_funding_bps_per_day // (c.BPS * DAY_S)
    assert rate_wad_per_s <= convert(bound, int256) and rate_wad_per_s >= -convert(bound, int256), err.FUNDING_BOUND
    index_wad: int256 = self._funding(underlying)
    self._fundings[underlying] = (
        block.timestamp
        | (convert(convert(rate_wad_per_s << 160, bytes32), uint256) >> 128)
        | convert(convert(index_wad << 128, bytes32), uint256)
    )
    log IInstrumentRegistry.FundingRateSet(
        underlying=underlying, rate_wad_per_s=rate_wad_per_s, index_wad=index_wad
    )


# --- anyone ----------------------------------------------------------------------------------------------------------


@external
def settle_expiry(underlying: uint256, expiry: uint256, round_id: uint256):
    """
    @notice Settles every option of an underlying and expiry at the oracle's price of that moment
    @param round_id The feed's round that was current at the expiry; the oracle proves it
    """
    assert self._is_expiry[underlying][expiry], err.EXPIRY
    assert block.timestamp >= expiry, err.NOT_EXPIRED
    assert self.settlement_price[underlying][expiry] == 0, err.SETTLED
    # the oracle never gives 0
    price_wad: uint256 = staticcall ORACLE.price_at(underlying, round_id, expiry)
    self.settlement_price[underlying][expiry] = price_wad
    log IInstrumentRegistry.ExpirySettled(
        underlying=underlying, expiry=expiry, price_wad=price_wad, round_id=round_id
    )


# --- views -----------------------------------------------------------------------------------------------------------


@external
@view
def funding(underlyings: uint256) -> DynArray[uint256, 16]:
    """
    @notice Cumulative funding now (int256 as uint256, wad per unit) for each set bit, ascending
    """
    indices: DynArray[uint256, 16] = []
    bits: uint256 = underlyings & 65535
    for underlying: uint256 in range(16):
        if bits == 0:
            break
        if bits & 1 != 0:
            indices.append(convert(convert(self._funding(underlying), bytes32), uint256))
        bits >>= 1
    return indices


@external
@view
def funding_rate(underlying: uint256) -> (int256, uint256):
    """
    @notice (rate in USD wad per unit and second, unix s when it was set); it stops counting after a day
    """
    word: uint256 = self._fundings[underlying]
    return convert(convert(word << 128, bytes32), int256) >> 160, word & (2**32 - 1)


@external
@view
def underlying_info(underlying: uint256) -> (String[16], bool, uint256):
    """
    @notice (symbol, has a perpetual, option slots listed so far)
    """
    assert underlying < self.underlying_count, err.UNDERLYING
    info: uint256 = self._infos[underlying]
    return self._symbols[underlying], info & 1 != 0, info >> 8


@external
@view
def option_info(instrument: uint256) -> (uint256, uint256, bool):
    """
    @notice (expiry in unix s, strike in USD wad per unit, is a call); expiry 0 = not listed
    """
    word: uint256 = self._options[instrument]
    return (word >> 96) & (2**40 - 1), word & (2**96 - 1), word >> 136 != 0


@external
@view
def check_tradable(instrument: uint256) -> bool:
    """
    @notice True for a listed, unexpired option or an enabled perpetual; reverts otherwise
    """
    if instrument & 255 == c.PERP_SLOT:
        underlying: uint256 = instrument >> 8
        # an underlying that is not listed has no flag
        assert underlying < c.MAX_UNDERLYINGS and self._infos[underlying] & 1 != 0, err.NOT_TRADABLE
        return True
    word: uint256 = self._options[instrument]
    assert word != 0, err.NOT_TRADABLE
    assert block.timestamp < (word >> 96) & (2**40 - 1), err.EXPIRED
    return True


@external
@view
def row_count(underlying: uint256) -> uint256:
    """
    @notice Rows a page of this underlying must have (highest slot + 1)
    """
    return self._infos[underlying] >> 8


@internal
@view
def _funding(underlying: uint256) -> int256:
    word: uint256 = self._fundings[underlying]
    rate: int256 = convert(convert(word << 128, bytes32), int256) >> 160
    elapsed: uint256 = min(block.timestamp - (word & (2**32 - 1)), FUNDING_TTL_S)
    # |rate| < 2^91 a day's bound (price < 2^90), elapsed < 2^17; 2^32 s of that stay far below 2^127
    return (convert(convert(word, bytes32), int256) >> 128) + rate * convert(elapsed, int256)
