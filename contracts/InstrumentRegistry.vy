# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Underlyings, instruments, settlement prices, funding and basis
@notice At most 16 underlyings, each with at most 253 options, two dated futures and one perpetual at a time. An instrument
        is listed, traded, settled at its expiry, and retired when nobody holds any; then its slot is free.
"""

from snekmate.auth import ownable
from snekmate.auth import ownable_2step

from contracts.interfaces import IInstrumentRegistry
from contracts.interfaces import IPriceOracle
from contracts.modules import carry
from contracts.modules import constants as c
from contracts.modules import errors_registry as err
from contracts.modules import expiries
from contracts.modules import instruments
from contracts.modules import registry_views

implements: IInstrumentRegistry

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: expiries
initializes: instruments[expiries := expiries]
initializes: carry[ownable := ownable, expiries := expiries, instruments := instruments]
initializes: registry_views[expiries := expiries, instruments := instruments]

# ownership
exports: (
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)
# instruments and expiries
exports: (
    expiries.settlement_price,
    expiries.last_settled_at,
    instruments.row_count,
    instruments.listing_count,
    registry_views.option_info,
    registry_views.instrument_info,
    registry_views.check_tradable,
    registry_views.listing,
    registry_views.serial_of,
    registry_views.listed_at,
)
# funding and basis
exports: (
    carry.max_basis_step_bps,
    carry.min_basis_interval_s,
    carry.set_basis_guards,
    carry.marks,
    carry.mark,
    carry.funding_rate,
    carry.basis_rate,
)

event RoleSet:
    role: indexed(uint256)
    who: indexed(address)
    allowed: bool


event FundingBoundSet:
    max_funding_bps_per_day: uint256


# lots of both sides: 0 only when no account is long or short. Accounts are settled one by one, so the longs may all be
# gone while a short is not.
interface OpenLots:
    def open_lots(instrument: uint256) -> uint256: view


ROLE_LISTER: public(constant(uint256)) = 1
ROLE_KEEPER: public(constant(uint256)) = 2
EXPIRY_STEP_S: public(constant(uint256)) = expiries.STEP_S
MAX_EXPIRY_S: public(constant(uint256)) = expiries.MAX_S
GOVERNANCE_SETTLES_AFTER_S: public(constant(uint256)) = expiries.GOVERNANCE_AFTER_S
FUNDING_TTL_S: public(constant(uint256)) = carry.FUNDING_TTL_S
MAX_FUNDING_BPS_PER_DAY: public(constant(uint256)) = 1000
# Time for holders of a perpetual to close or roll before it settles.
DELISTING_NOTICE_S: public(constant(uint256)) = 7 * 86_400
# The strike farthest in the money sets the unit in which a page stores every value of its underlying.
STRIKE_RATIO: public(constant(uint256)) = 20
DAY_S: constant(uint256) = 86_400

ORACLE: immutable(IPriceOracle)

has_role: public(HashMap[uint256, HashMap[address, bool]])
max_funding_bps_per_day: public(uint256)
# MarginAccounts, which knows what is open; set once
accounts: public(address)

underlying_count: public(uint256)
_symbols: HashMap[uint256, String[16]]


@deploy
def __init__(governance: address, oracle: address):
    """
    @param governance Owner: lists, delists, grants roles, sets bounds
    @param oracle PriceOracle: bounds strikes and funding, settles expiries
    """
    ownable.__init__()
    ownable_2step.__init__()
    ownable._transfer_ownership(governance)
    carry.__init__()
    ORACLE = IPriceOracle(oracle)
    self.max_funding_bps_per_day = 300


# --- governance ------------------------------------------------------------------------------------------------------


@external
def set_role(role: uint256, who: address, allowed: bool):
    """
    @notice Grants or revokes a role: 1 lister (options, futures, reduce-only), 2 keeper (funding and basis, inside bounds)
    @dev Abuse: a lister can fill every slot, or the sixteen expiries, which stops new listings until governance has retired
         what nobody holds, and can make everything reduce-only, which governance clears. A keeper can charge one side of
         a perpetual the bound for as long as it holds the role, and walk a basis to its bound one step an interval.
    """
    ownable._check_owner()
    assert role == ROLE_LISTER or role == ROLE_KEEPER, err.ROLE
    self.has_role[role][who] = allowed
    log RoleSet(role=role, who=who, allowed=allowed)


@external
def set_accounts(accounts: address):
    """
    @notice Names MarginAccounts, once
    @dev Abuse: a false one says that nobody holds an instrument, so that its slot is given to another and the positions in
         it change their meaning. For that reason it cannot be changed.
    """
    ownable._check_owner()
    assert self.accounts == empty(address) and accounts != empty(address), err.ACCOUNTS
    self.accounts = accounts
    log IInstrumentRegistry.AccountsSet(accounts=accounts)


@external
def set_max_funding(bps_per_day: uint256):
    """
    @notice Sets the bound of the funding rate, in bps of the oracle price a day (at most 1,000)
    @dev Abuse: a wide bound lets a dishonest keeper move up to a tenth of the notional a day. A narrower one does not
         change rates already set; they lapse within a day.
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
    log IInstrumentRegistry.UnderlyingListed(underlying=underlying, symbol=symbol, has_perp=has_perp)
    if has_perp:
        instruments._list_perp(underlying)
    return underlying


@external
def relist_perp(underlying: uint256):
    """
    @notice Lists a perpetual for an underlying that has none
    @dev The funding index goes on where the perpetual before left it, at a rate of 0, so the mark does not jump.
    """
    ownable._check_owner()
    assert underlying < self.underlying_count, err.UNDERLYING
    instruments._list_perp(underlying)


@external
def delist_perp(underlying: uint256, expiry: uint256):
    """
    @notice Gives a perpetual an expiry: reduce-only from now, funding until the expiry, settled there like a future
    @dev Abuse: whoever hedges with it must replace the hedge inside the notice, perhaps in a bad market. The price is
         that of the oracle at a moment announced seven days before.
    @param expiry Unix s, on the hour, seven days ahead at least and two years at most
    @custom:invariant I-48
    """
    ownable._check_owner()
    word: uint256 = self._perp(underlying)
    assert instruments._expiry(word) == 0, err.DELISTING
    assert expiry >= block.timestamp + DELISTING_NOTICE_S, err.NOTICE
    expiries._add(underlying, expiry)
    instruments._set_perp_expiry(underlying, expiry)
    carry._set_funding_expiry(underlying, expiry)
    log IInstrumentRegistry.DelistingStarted(underlying=underlying, expiry=expiry)


@external
def cancel_delisting(underlying: uint256):
    """
    @notice Takes the expiry of a perpetual away again, before it has come
    @dev Abuse: announcing and cancelling stops new risk while it lasts and takes nothing from anybody: no price is
         fixed before the expiry, and a new expiry has a notice of its own.
    """
    ownable._check_owner()
    expiry: uint256 = instruments._expiry(self._perp(underlying))
    assert expiry != 0, err.NOT_DELISTING
    assert block.timestamp < expiry, err.EXPIRED
    instruments._set_perp_expiry(underlying, 0)
    carry._set_funding_expiry(underlying, 0)
    log IInstrumentRegistry.DelistingCancelled(underlying=underlying)


@external
def settle_by_governance(underlying: uint256, expiry: uint256, price_wad: uint256):
    """
    @notice Settles an expiry that nobody has settled by rounds of the feed for three days
    @dev Abuse: a false price takes the difference from one side of everything that expired then. Anyone can prevent it by
         showing the rounds in the three days before, if there are any.
    @param price_wad USD wad per unit, 0 < price < 2^90
    """
    ownable._check_owner()
    expiries._check_due(underlying, expiry)
    assert block.timestamp >= expiry + expiries.GOVERNANCE_AFTER_S, err.TOO_EARLY
    expiries._settle(underlying, expiry, price_wad, 0)


# --- lister ----------------------------------------------------------------------------------------------------------


@external
def list_option(underlying: uint256, expiry: uint256, strike_wad: uint256, is_call: bool) -> uint256:
    """
    @notice Lists an option in the lowest free slot of its underlying; returns the instrument
    @param expiry Unix s, on the hour, in the future, at most two years ahead; a seventeenth to come is refused, as a page
           names sixteen
    @param strike_wad USD wad per unit, from a twentieth to twenty times of the oracle's fresh price, < 2^90
    """
    self._check_lister(underlying)
    price_wad: uint256 = self._fresh_price(underlying)
    assert strike_wad <= c.MAX_PRICE_WAD, err.STRIKE
    # prices and strikes < 2^90, price > 0: so the strike is above 0 too
    assert strike_wad * STRIKE_RATIO >= price_wad and strike_wad <= price_wad * STRIKE_RATIO, err.STRIKE
    return instruments._list_option(underlying, expiry, strike_wad, is_call)


@external
def list_future(underlying: uint256, expiry: uint256) -> uint256:
    """
    @notice Lists a dated future in slot 254 or 253 of its underlying, at a basis of 0; returns the instrument
    @param expiry Unix s, on the hour, in the future, at most two years ahead
    """
    self._check_lister(underlying)
    return instruments._list_future(underlying, expiry)


@external
def set_reduce_only(instrument: uint256, reduce_only: bool):
    """
    @notice Closes an unexpired instrument to new positions; governance alone opens it again
    @dev Abuse: a lister stops new risk in what it chooses. Nobody is kept from reducing.
    """
    if msg.sender != ownable.owner:
        assert reduce_only and self.has_role[ROLE_LISTER][msg.sender], err.ROLE
    instruments._set_reduce_only(instrument, reduce_only)


# --- keeper ----------------------------------------------------------------------------------------------------------


@external
def set_funding_rate(underlying: uint256, rate_wad_per_s: int256):
    """
    @notice Sets the funding rate of a perpetual; it lapses after a day, and at the expiry of a perpetual being delisted
    @param rate_wad_per_s USD wad per unit and second, signed: longs pay when positive; at most
           max_funding_bps_per_day of the present oracle price either way
    @custom:invariant I-47
    """
    assert self.has_role[ROLE_KEEPER][msg.sender], err.ROLE
    expiry: uint256 = instruments._expiry(self._perp(underlying))
    assert expiry == 0 or block.timestamp < expiry, err.EXPIRED
    # rounds down: the bound never exceeds what governance allowed
    bound: uint256 = self._fresh_price(underlying) * self.max_funding_bps_per_day // (c.BPS * DAY_S)
    assert rate_wad_per_s <= convert(bound, int256) and rate_wad_per_s >= -convert(bound, int256), err.FUNDING_BOUND
    index_wad: int256 = carry._set_funding(underlying, rate_wad_per_s, expiry)
    log IInstrumentRegistry.FundingRateSet(
        underlying=underlying, rate_wad_per_s=rate_wad_per_s, index_wad=index_wad
    )


@external
def set_basis(instrument: uint256, rate_bps: int256):
    """
    @notice Sets the basis of a future: how far it stands above the underlying, in bps of the price and year of time left
    @dev One push moves the mark by at most max_basis_step_bps times the years left: under the first guards 2 % of the
         price for a future of one year.
    @param rate_bps From -3,000 to 3,000, at most max_basis_step_bps from the present one, min_basis_interval_s after it
    """
    assert self.has_role[ROLE_KEEPER][msg.sender], err.ROLE
    carry._set_basis(instrument, rate_bps)


# --- anyone ----------------------------------------------------------------------------------------------------------


@external
def settle_expiry(underlying: uint256, expiry: uint256, round_id: uint256, next_round_id: uint256):
    """
    @notice Settles everything of an underlying and expiry at the oracle's price of that moment
    @param round_id The feed's round that was current at the expiry
    @param next_round_id The round after it; the oracle proves both
    """
    expiries._check_due(underlying, expiry)
    price_wad: uint256 = staticcall ORACLE.price_at(underlying, round_id, next_round_id, expiry)
    expiries._settle(underlying, expiry, price_wad, round_id)


@external
def retire(instrument: uint256):
    """
    @notice Frees the slot of an instrument that is settled and that nobody holds; governance need not wait for the expiry
    @dev What was signed or published for it is worthless from now on: the next instrument in the slot has another serial.
    @custom:invariant I-45
    """
    word: uint256 = instruments._words[instrument]
    assert word != 0, err.NOT_TRADABLE
    underlying: uint256 = instrument >> 8
    if msg.sender != ownable.owner:
        expiry: uint256 = instruments._expiry(word)
        assert expiry != 0 and block.timestamp >= expiry, err.NOT_EXPIRED
        assert expiries.settlement_price[underlying][expiry] != 0, err.NOT_SETTLED
    assert self.accounts != empty(address), err.ACCOUNTS
    assert staticcall OpenLots(self.accounts).open_lots(instrument) == 0, err.OPEN_LOTS
    if instrument & 255 == c.PERP_SLOT:
        # the index stands still until there is a perpetual again
        carry._set_funding(underlying, 0, 0)
    instruments._free(instrument)


# --- views -----------------------------------------------------------------------------------------------------------


@external
@view
def underlying_info(underlying: uint256) -> (String[16], bool, uint256):
    """
    @notice (symbol, has a perpetual, highest option slot ever used + 1)
    """
    assert underlying < self.underlying_count, err.UNDERLYING
    has_perp: bool = instruments._words[(underlying << 8) | c.PERP_SLOT] != 0
    return self._symbols[underlying], has_perp, instruments.row_count[underlying]


@internal
@view
def _check_lister(underlying: uint256):
    assert msg.sender == ownable.owner or self.has_role[ROLE_LISTER][msg.sender], err.ROLE
    assert underlying < self.underlying_count, err.UNDERLYING


@internal
@view
def _perp(underlying: uint256) -> uint256:
    """
    @notice The word of a listed perpetual
    """
    assert underlying < self.underlying_count, err.UNDERLYING
    word: uint256 = instruments._words[(underlying << 8) | c.PERP_SLOT]
    assert word != 0, err.NO_PERP
    return word


@internal
@view
def _fresh_price(underlying: uint256) -> uint256:
    price_wad: uint256 = 0
    price_state: uint256 = 0
    updated_at: uint256 = 0
    price_wad, price_state, updated_at = staticcall ORACLE.price(0, underlying)
    assert price_state == c.PRICE_FRESH, err.PRICE
    return price_wad
