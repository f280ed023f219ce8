# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Which contracts MarginAccounts trusts, and pauses
@notice Governance is meant to be a timelock: what it wires here is trusted with everything, as the setters say. Guardian and
        steward move no token: a withdrawal needs the account's owner or operator.
"""

from snekmate.auth import ownable

from contracts.interfaces import IMarginEngine
from contracts.modules import errors_accounts as err

uses: ownable


interface AuctionHead:
    def withdrawals_limited() -> bool: view
    # the phase; what follows in ILiquidationAuction.Auction is left behind
    def auction_of(account: uint256) -> uint256: view


interface TableRows:
    def has_row(instrument: uint256) -> bool: view


event EngineSet:
    engine: indexed(address)


event TableSet:
    table: indexed(address)


event AuctionSet:
    auction: indexed(address)


event VenueSet:
    venue: indexed(address)
    allowed: bool


event GuardianSet:
    guardian: indexed(address)


event StewardSet:
    steward: indexed(address)


event Paused:
    kind: indexed(uint256)
    until: uint256


# fills that do not reduce risk, on either side
PAUSE_RISK: constant(uint256) = 0
PAUSE_WITHDRAW: constant(uint256) = 1
# A guardian must come back or governance must act: nobody can lock withdrawals for good by one call.
MAX_PAUSE_S: public(constant(uint256)) = 3 * 86_400

engine: public(IMarginEngine)
table: public(address)
auction: public(address)
guardian: public(address)
# sets collateral caps inside the hard caps
steward: public(address)
is_venue: public(HashMap[address, bool])
# kind -> unix s
paused_until: public(uint256[2])


@external
def set_engine(engine: address):
    """
    @notice Replaces the margin engine
    @dev Abuse: an engine that finds everybody healthy lets the lenders' cash be borrowed against nothing.
    """
    ownable._check_owner()
    if engine == empty(address):
        err._fail(err.NO_ADDRESS)
    self.engine = IMarginEngine(engine)
    log EngineSet(engine=engine)


@external
def set_table(table: address):
    """
    @notice Replaces the risk table whose rows option fills need
    @dev Abuse: none beyond stopping option fills or allowing fills in options without a row.
    """
    ownable._check_owner()
    if table == empty(address):
        err._fail(err.NO_ADDRESS)
    self.table = table
    log TableSet(table=table)


@external
def set_auction(auction: address):
    """
    @notice Replaces the liquidation auction
    @dev Abuse: the auction moves whole portfolios between accounts; a false one takes everything. One whose
         withdrawals_limited reverts stops withdrawals of cash, one whose auction_of reverts the closing of accounts,
         until it is replaced.
    """
    ownable._check_owner()
    self.auction = auction
    log AuctionSet(auction=auction)


@external
def set_venue(venue: address, allowed: bool):
    """
    @notice Allows or forbids a contract to book fills
    @dev Abuse: a false venue trades any account down to its initial margin, at any price inside the instrument's band.
    """
    ownable._check_owner()
    self.is_venue[venue] = allowed
    log VenueSet(venue=venue, allowed=allowed)


@external
def set_guardian(guardian: address):
    """
    @notice Names who may pause
    @dev Abuse: see pause.
    """
    ownable._check_owner()
    self.guardian = guardian
    log GuardianSet(guardian=guardian)


@external
def set_steward(steward: address):
    """
    @notice Names who may set collateral caps inside the hard caps
    @dev Abuse: see ledger_admin.set_collateral_cap.
    """
    ownable._check_owner()
    self.steward = steward
    log StewardSet(steward=steward)


@external
def pause(kind: uint256, duration_s: uint256):
    """
    @notice Guardian or governance pauses for at most three days: kind 0 fills that add risk, kind 1 withdrawals
    @dev Abuse: a guardian who comes back every three days keeps users in until governance replaces it. Deposits,
         fills that reduce risk, settlement and liquidation cannot be paused.
    @param duration_s Seconds from now; only governance may shorten a pause, to 0 at least
    @custom:invariant I-34
    """
    is_owner: bool = msg.sender == ownable.owner
    if not is_owner and msg.sender != self.guardian:
        err._fail(err.NOT_AUTHORISED)
    if duration_s > MAX_PAUSE_S:
        err._fail(err.PAUSE_BOUND)
    until: uint256 = block.timestamp + duration_s
    if not is_owner and until < self.paused_until[kind]:
        err._fail(err.NOT_AUTHORISED)
    self.paused_until[kind] = until
    log Paused(kind=kind, until=until)


@internal
@view
def _is_paused(kind: uint256) -> bool:
    return block.timestamp < self.paused_until[kind]


@internal
@view
def _withdrawals_limited() -> bool:
    return self.auction != empty(address) and staticcall AuctionHead(self.auction).withdrawals_limited()


@internal
@view
def _in_auction(account: uint256) -> bool:
    return self.auction != empty(address) and staticcall AuctionHead(self.auction).auction_of(account) != 0


@internal
@view
def _has_row(instrument: uint256) -> bool:
    return staticcall TableRows(self.table).has_row(instrument)
