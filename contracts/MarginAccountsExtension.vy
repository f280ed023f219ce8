# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title The ledger's rarer functions
@notice Code that MarginAccounts runs on its own storage by delegatecall (docs/adr/0011). Called directly it has an empty
        ledger without owner, accounts or tokens, and nothing in it delegates or destroys: useless and harmless.
"""

from snekmate.auth import ownable
from snekmate.auth import ownable_2step

from contracts.interfaces import IMarginAccounts
from contracts.modules import cash
from contracts.modules import collateral
from contracts.modules import constants as c
from contracts.modules import errors_accounts as err
from contracts.modules import heads
from contracts.modules import ledger_admin
from contracts.modules import ledger_views
from contracts.modules import losses
from contracts.modules import margin_checks
from contracts.modules import positions
from contracts.modules import rights
from contracts.modules import seizure
from contracts.modules import settlement
from contracts.modules import token_book
from contracts.modules import wiring

# The same modules in the same order as in MarginAccounts: the two share storage. Those below the line have none.
initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: wiring[ownable := ownable]
initializes: heads
initializes: rights[ownable := ownable, heads := heads]
initializes: collateral[heads := heads]
initializes: positions[heads := heads]
initializes: token_book
initializes: cash[token_book := token_book]
initializes: losses[token_book := token_book, cash := cash]
initializes: margin_checks[wiring := wiring, heads := heads, cash := cash]
initializes: settlement[heads := heads, positions := positions, cash := cash]
initializes: ledger_views[
    heads := heads,
    positions := positions,
    token_book := token_book,
    cash := cash,
    losses := losses,
    collateral := collateral,
    margin_checks := margin_checks,
]
# ---
initializes: ledger_admin[
    ownable := ownable, wiring := wiring, token_book := token_book, cash := cash, collateral := collateral
]
initializes: seizure[
    heads := heads, positions := positions, cash := cash, losses := losses, collateral := collateral, settlement := settlement
]

# ownership
exports: (
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

# wiring
exports: (
    wiring.set_engine,
    wiring.set_table,
    wiring.set_auction,
    wiring.set_venue,
    wiring.set_guardian,
    wiring.set_steward,
    wiring.pause,
    wiring.engine,
    wiring.table,
    wiring.auction,
    wiring.guardian,
    wiring.steward,
    wiring.is_venue,
    wiring.paused_until,
)

# governance
exports: (
    ledger_admin.list_collateral,
    ledger_admin.set_collateral_cap,
    ledger_admin.set_collateral_hard_cap,
    ledger_admin.set_withdrawal_limit,
    ledger_admin.set_rates,
)

# owners
exports: rights.set_operator

# views
exports: (
    rights.operator_of,
    positions.open_lots,
    collateral.collateral_count,
    token_book.withdrawal_limit_bps,
    ledger_views.collateral_of,
    ledger_views.delta_of,
    ledger_views.cash_token,
    ledger_views.collateral_info,
    ledger_views.collateral_hard_cap,
    ledger_views.cash_totals,
    ledger_views.cash_book,
    ledger_views.net_outflow,
)

MAX_ACCOUNTS: constant(uint256) = 32
MAX_LEGS: constant(uint256) = 16


@deploy
def __init__(cash_token: address, registry: address, oracle: address):
    """
    @notice The arguments become part of the code; MarginAccounts refuses an extension made with others
    """
    ownable.__init__()
    ownable_2step.__init__()
    heads.__init__()
    token_book.__init__()
    cash.__init__(cash_token)
    settlement.__init__(registry, oracle)
    # this contract's own storage belongs to nobody
    ownable._transfer_ownership(empty(address))


# --- anyone ----------------------------------------------------------------------------------------------------------


@external
def settle_delta(account: uint256, instrument: uint256):
    """
    @notice Turns the profit or loss of a perpetual or future into cash: a settled one closes at its settlement price, one
            that lives pays at the oracle's price, for a future without its basis; what is below one wad stays in the base
    """
    if instrument >= ledger_views.MAX_INSTRUMENT or instrument & 255 < c.MAX_ROWS:
        err._fail(err.INSTRUMENT)
    if not settlement._has(account, instrument):
        return
    cash._accrue()
    if not settlement._settle_delta(account, instrument):
        err._fail(err.PRICE_STALE)


@external
def settle_options(account: uint256, underlying: uint256):
    """
    @notice Turns the account's options of settled expiries of one underlying into cash; at most its 128 positions
    """
    if underlying >= c.MAX_UNDERLYINGS:
        err._fail(err.INSTRUMENT)
    cash._accrue()
    settlement._settle_options(account, underlying)


@external
def settle_many(accounts: DynArray[uint256, MAX_ACCOUNTS], underlying: uint256):
    """
    @notice Turns what these accounts have in settled options, futures and perpetuals of one underlying into cash; accounts
            that have nothing are skipped
    """
    if underlying >= c.MAX_UNDERLYINGS:
        err._fail(err.INSTRUMENT)
    cash._accrue()
    for account: uint256 in accounts:
        settlement._settle_expired(account, underlying)


# --- auction ---------------------------------------------------------------------------------------------------------


@external
def seize(account: uint256, bidder: uint256, fraction_wad: uint256, price_wad: int256):
    """
    @notice Moves `fraction_wad` (<= 1e18) of cash, collateral and positions to the bidder's account, which pays
            `price_wad`; a negative price is credited to the bidder out of cover or socialised losses
    @dev Auction only; it checks the bidder's margin after.
    """
    self._only_auction()
    self._check_pair(account, bidder)
    if fraction_wad > c.WAD:
        err._fail(err.FRACTION)
    cash._accrue()
    seizure._seize(account, bidder, fraction_wad, price_wad)


@external
def seize_legs(account: uint256, bidder: uint256, legs: DynArray[IMarginAccounts.Leg, MAX_LEGS]):
    """
    @notice Moves chosen positions to the bidder's account: `lots` (1e-6 units, signed) leave the account at a price, as in
            a fill without fees
    @dev Auction only; it names the prices and checks both sides after. Each leg must make the account's position smaller.
    """
    self._only_auction()
    self._check_pair(account, bidder)
    cash._accrue()
    for leg: IMarginAccounts.Leg in legs:
        seizure._seize_leg(account, bidder, leg)


@external
def pay_reward(account: uint256, to_account: uint256, amount_wad: uint256):
    """
    @notice Moves cash from one account to another (auction only): what the caller of a liquidation, or the taker of legs,
            is paid
    """
    self._only_auction()
    self._check_pair(account, to_account)
    cash._accrue()
    seizure._pay_reward(account, to_account, amount_wad)


@external
def socialise_loss(loss_wad: uint256):
    """
    @notice Lowers all positive cash by `loss_wad` in total, pro rata (auction only)
    @dev The event carries what was taken: less than asked only when lenders have lost all but a millionth.
    """
    self._only_auction()
    cash._accrue()
    losses._socialise(loss_wad)


@external
def receive_cover(amount_raw: uint256) -> uint256:
    """
    @notice Books cash token that the insurance fund has sent here (auction only); returns the wad that seize may
            credit for it, at most what really arrived
    """
    self._only_auction()
    return losses._receive_cover(amount_raw)


# --- views -----------------------------------------------------------------------------------------------------------


@external
@view
def registry() -> address:
    """
    @notice InstrumentRegistry
    """
    return settlement.REGISTRY.address


@external
@view
def oracle() -> address:
    """
    @notice PriceOracle
    """
    return settlement.ORACLE.address


# --- internal --------------------------------------------------------------------------------------------------------


@internal
@view
def _only_auction():
    if msg.sender != wiring.auction:
        err._fail(err.NOT_AUCTION)
    margin_checks._not_in_batch()


@internal
@view
def _check_pair(account: uint256, other: uint256):
    if account == other:
        err._fail(err.SELF_TRADE)
    if account == cash.PROTOCOL or other == cash.PROTOCOL:
        err._fail(err.PROTOCOL)
    rights._must_exist(account)
    rights._must_exist(other)
