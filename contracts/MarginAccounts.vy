# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Custody and ledger of margin accounts
@notice Holds the tokens, knows balances, asks the engine about risk. State layout: docs/margin-rule.md, section 2.
        Account 0 is the protocol's own: fees, the reserve's share of interest and rounding end there; governance is
        its owner.
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
from contracts.modules import margin_gate
from contracts.modules import positions
from contracts.modules import seizure
from contracts.modules import settlement
from contracts.modules import token
from contracts.modules import wiring

implements: IMarginAccounts

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: wiring[ownable := ownable]
initializes: heads
initializes: collateral[heads := heads]
initializes: positions[heads := heads]
initializes: cash
initializes: ledger_admin[ownable := ownable, cash := cash, collateral := collateral]
initializes: ledger_views[heads := heads, positions := positions, cash := cash, collateral := collateral]
initializes: settlement[heads := heads, positions := positions, cash := cash]
initializes: seizure[
    heads := heads, positions := positions, cash := cash, collateral := collateral, settlement := settlement
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
    wiring.pause,
    wiring.engine,
    wiring.table,
    wiring.auction,
    wiring.guardian,
    wiring.is_venue,
    wiring.paused_until,
)

# governance
exports: (ledger_admin.list_collateral, ledger_admin.set_collateral_cap, ledger_admin.set_rates)

# views
exports: (
    heads.account_count,
    collateral.collateral_count,
    ledger_views.state,
    ledger_views.nonce_of,
    ledger_views.cash_of,
    ledger_views.collateral_of,
    ledger_views.position_of,
    ledger_views.cash_token,
    ledger_views.collateral_info,
    ledger_views.cash_totals,
    ledger_views.cash_book,
)

# Whatever the health, an account with risk may not take value out while a price or the table it needs is dead, or says
# nothing about the present price: beyond its last node a row is a guess.
BLOCKING_FLAGS: constant(uint256) = (
    c.FLAG_PRICE_DEAD | c.FLAG_TABLE_EXPIRED | c.FLAG_ROW_MISSING | c.FLAG_OFF_GRID
)


@deploy
def __init__(governance: address, guardian: address, cash_token: address, registry: address, oracle: address):
    """
    @notice Engine, table, auction and venues are wired by governance after
    @param governance Owner, a timelock in production
    @param guardian May pause
    @param cash_token Token of cash; at most 18 decimals
    """
    ownable.__init__()
    ownable_2step.__init__()
    heads.__init__()
    cash.__init__(cash_token)
    settlement.__init__(registry, oracle)
    wiring.guardian = guardian
    ownable._transfer_ownership(governance)


# --- owners ----------------------------------------------------------------------------------------------------------


@external
def open_account(owner: address) -> uint256:
    """
    @notice Opens an account for `owner`; returns its number
    """
    return heads._open(owner)


@external
def set_operator(account: uint256, operator: address, allowed: bool):
    """
    @notice The owner lets somebody else withdraw and trade for the account, or stops it
    """
    if msg.sender != self._owner_of(account):
        err._fail(err.NOT_AUTHORISED)
    heads._set_operator(account, operator, allowed)


@external
def deposit(account: uint256, token_: address, amount_raw: uint256):
    """
    @notice Takes `amount_raw` of the cash token or of a listed asset from the caller; what arrives is credited
    @dev Anybody may top up: cash, or an asset the account has. A new asset needs the owner or an operator, else a
         stranger could tie an account to a feed it never chose.
    """
    if self._owner_of(account) == empty(address):
        err._fail(err.NO_ACCOUNT)
    if token_ == cash.TOKEN:
        cash._accrue()
        received_raw: uint256 = token._pull(token_, msg.sender, amount_raw)
        cash_wad: int256 = cash._move(account, convert(cash._book_in(received_raw), int256))
        heads._bump(account)
        log IMarginAccounts.CashDeposited(
            account=account, sender=msg.sender, amount_raw=received_raw, cash_wad=cash_wad
        )
        return
    asset: uint256 = collateral._asset_of(token_)
    if heads._heads[account] & (heads.COLLATERAL_BIT << asset) == 0:
        if account == cash.PROTOCOL:
            err._fail(err.PROTOCOL)
        if not self._is_authorised(account, msg.sender):
            err._fail(err.NOT_AUTHORISED)
    amount: uint256 = token._pull(token_, msg.sender, amount_raw)
    balance_raw: uint256 = collateral._deposit(account, asset, amount)
    log IMarginAccounts.CollateralDeposited(
        account=account, token=token_, sender=msg.sender, amount_raw=amount, balance_raw=balance_raw
    )


@external
def withdraw(account: uint256, token_: address, amount_raw: uint256, receiver: address):
    """
    @notice Sends tokens to `receiver`; cash may be borrowed as far as margin and the tokens held allow
    @dev Profit and loss of perpetuals becomes cash first when cash is withdrawn. The transfer comes last.
    @param amount_raw Raw units; 2^256-1 = all of the positive balance
    """
    if not self._is_authorised(account, msg.sender):
        err._fail(err.NOT_AUTHORISED)
    if wiring._is_paused(wiring.PAUSE_WITHDRAW):
        err._fail(err.PAUSED)
    if receiver == empty(address) or receiver == self:
        err._fail(err.NO_ADDRESS)
    cash._accrue()
    amount: uint256 = amount_raw
    if token_ == cash.TOKEN:
        perps: uint256 = (heads._heads[account] >> heads.PERP_SHIFT) & heads.BITMAP_MASK
        for underlying: uint256 in range(16):
            if (perps >> underlying) & 1 != 0:
                # where the price is dead the margin check below refuses
                settlement._settle_perp(account, underlying)
        if amount == max_value(uint256):
            amount = convert(max(cash._of(account), 0), uint256) // cash.SCALE
        if amount == 0:
            err._fail(err.ZERO_AMOUNT)
        cash_wad: int256 = cash._move(account, -convert(cash._book_out(amount), int256))
        heads._bump(account)
        log IMarginAccounts.CashWithdrawn(account=account, receiver=receiver, amount_raw=amount, cash_wad=cash_wad)
    else:
        asset: uint256 = collateral._asset_of(token_)
        if amount == max_value(uint256):
            amount = collateral._amounts[account][asset]
        if amount == 0:
            err._fail(err.ZERO_AMOUNT)
        balance_raw: uint256 = collateral._withdraw(account, asset, amount)
        log IMarginAccounts.CollateralWithdrawn(
            account=account, token=token_, receiver=receiver, amount_raw=amount, balance_raw=balance_raw
        )
    # without positions or debt there is nothing to secure: no dead feed keeps such an account's owner from leaving
    if heads._heads[account] & heads.POSITION_MASK != 0 or cash._of(account) < 0:
        holds: bool = False
        flags: uint256 = 0
        holds, flags = margin_gate._holds(wiring.engine.address, account)
        if flags & BLOCKING_FLAGS != 0:
            err._fail(err.NO_DATA)
        if not holds:
            err._fail(err.BELOW_IM)
    token._push(token_, receiver, amount)


# --- venues ----------------------------------------------------------------------------------------------------------


@external
def apply_fill(fill: IMarginAccounts.Fill):
    """
    @notice Books a matched trade; both sides must hold initial margin after, or reduce their risk and pay no more
            equity for that than the part of it that the requirement falls by
    @dev Venues only. Lots 1e-6 units, prices and fees wad; fees go to account 0.
    """
    if not wiring.is_venue[msg.sender]:
        err._fail(err.NOT_VENUE)
    if fill.buyer == fill.seller:
        err._fail(err.SELF_TRADE)
    if fill.buyer == cash.PROTOCOL or fill.seller == cash.PROTOCOL:
        err._fail(err.PROTOCOL)
    if max(fill.buyer, fill.seller) >= heads.account_count:
        err._fail(err.NO_ACCOUNT)
    if fill.lots <= 0 or fill.lots > c.MAX_LOTS:
        err._fail(err.LOTS)
    if fill.price_wad > c.MAX_PRICE_WAD:
        err._fail(err.PRICE)
    assert staticcall settlement.REGISTRY.check_tradable(fill.instrument)
    slot: uint256 = fill.instrument & 255
    if slot == c.PERP_SLOT:
        if fill.price_wad <= 0:
            err._fail(err.PRICE)
    else:
        if slot >= staticcall wiring.table.rows_of(fill.instrument >> 8):
            err._fail(err.NO_ROW)
    buyer_before: DynArray[uint256, 128] = ledger_views._state(fill.buyer)
    seller_before: DynArray[uint256, 128] = ledger_views._state(fill.seller)
    cash._accrue()
    settlement._book_fill(fill)
    self._check_fill(fill.buyer, buyer_before)
    self._check_fill(fill.seller, seller_before)


# --- anyone ----------------------------------------------------------------------------------------------------------


@external
def settle_perp(account: uint256, underlying: uint256):
    """
    @notice Turns the profit or loss of a perpetual into cash at the oracle's price; below one wad stays in the quote
    """
    if heads._heads[account] & (heads.PERP_BIT << underlying) == 0:
        return
    cash._accrue()
    if not settlement._settle_perp(account, underlying):
        err._fail(err.PRICE_DEAD)


@external
def settle_options(account: uint256, underlying: uint256):
    """
    @notice Turns the account's options of settled expiries of one underlying into cash
    """
    if underlying >= c.MAX_UNDERLYINGS:
        err._fail(err.NO_ACCOUNT)
    cash._accrue()
    settlement._settle_options(account, underlying)


# --- auction ---------------------------------------------------------------------------------------------------------


@external
def seize(account: uint256, bidder: uint256, fraction_wad: uint256, price_wad: int256):
    """
    @notice Moves `fraction_wad` (<= 1e18) of cash, collateral and positions to the bidder's account, which pays
            `price_wad`; a negative price is credited to the bidder out of cover or socialised losses
    @dev Auction only; it checks the bidder's margin after.
    """
    if msg.sender != wiring.auction:
        err._fail(err.NOT_AUCTION)
    if account == bidder:
        err._fail(err.SELF_TRADE)
    if account == cash.PROTOCOL or bidder == cash.PROTOCOL:
        err._fail(err.PROTOCOL)
    if max(account, bidder) >= heads.account_count:
        err._fail(err.NO_ACCOUNT)
    if fraction_wad > c.WAD:
        err._fail(err.FRACTION)
    cash._accrue()
    seizure._seize(account, bidder, fraction_wad, price_wad)


@external
def socialise_loss(loss_wad: uint256):
    """
    @notice Lowers all positive cash by `loss_wad` in total, pro rata (auction only)
    @dev The event carries what was taken: less than asked only when lenders have lost all but a millionth.
    """
    if msg.sender != wiring.auction:
        err._fail(err.NOT_AUCTION)
    cash._accrue()
    cash._socialise(loss_wad)


@external
def receive_cover(amount_raw: uint256) -> uint256:
    """
    @notice Books cash token that the insurance fund has sent here (auction only); returns the wad that seize may
            credit for it, at most what really arrived
    """
    if msg.sender != wiring.auction:
        err._fail(err.NOT_AUCTION)
    return cash._receive_cover(amount_raw)


# --- views -----------------------------------------------------------------------------------------------------------


@external
@view
def owner_of(account: uint256) -> address:
    """
    @notice Owner; zero if there is no such account
    """
    return self._owner_of(account)


# Reentrant: owners and operators change in no call that calls out; venues may ask from anywhere.
@external
@view
@reentrant
def is_authorised(account: uint256, who: address) -> bool:
    """
    @notice Whether `who` owns or operates the account
    """
    return self._is_authorised(account, who)


# --- internal --------------------------------------------------------------------------------------------------------


@internal
@view
def _owner_of(account: uint256) -> address:
    return ownable.owner if account == cash.PROTOCOL else heads._owners[account]


@internal
@view
def _is_authorised(account: uint256, who: address) -> bool:
    return who == self._owner_of(account) or heads._operators[account][who]


@internal
@view
def _check_fill(account: uint256, before: DynArray[uint256, 128]):
    """
    @dev Initial margin after; else (or while new risk is paused or data is dead) the requirement must not have risen,
         health must not have fallen, and equity at most with the requirement, below zero not at all: what a reduction
         frees must not pay a friend. The state before is assessed only when that is asked.
    """
    holds: bool = False
    flags: uint256 = 0
    holds, flags = margin_gate._holds(wiring.engine.address, account)
    if holds and flags & BLOCKING_FLAGS == 0 and not wiring._is_paused(wiring.PAUSE_RISK):
        return
    health: int256 = 0
    im: uint256 = 0
    health, im = margin_gate._assess(wiring.engine.address, account)
    health_before: int256 = 0
    im_before: uint256 = 0
    health_before, im_before = margin_gate._assess_state(wiring.engine.address, before)
    if im > im_before or health < health_before:
        err._fail(err.BELOW_IM)
    equity_before: int256 = health_before + convert(im_before, int256)
    # amounts of money: far below 2^127 each, and a fill may revert
    kept: int256 = equity_before * convert(im, int256) // convert(max(im_before, 1), int256)
    if health + convert(im, int256) < min(equity_before, kept):
        err._fail(err.BELOW_IM)
