# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Custody and ledger of margin accounts
@notice Holds the tokens, knows balances, asks the engine about risk. State layout: docs/margin-rule.md, section 2.
        Account 0 is the protocol's own: fees, the reserve's share of interest and rounding end there; governance is
        its owner. What is called often is here; the rest of IMarginAccounts is MarginAccountsExtension's code, which
        runs on this contract's storage (docs/adr/0011).
"""

from snekmate.auth import ownable
from snekmate.auth import ownable_2step

from contracts.interfaces import IMarginAccounts
from contracts.modules import account_life
from contracts.modules import cash
from contracts.modules import collateral
from contracts.modules import constants as c
from contracts.modules import custody
from contracts.modules import errors_accounts as err
from contracts.modules import heads
from contracts.modules import ledger_views
from contracts.modules import losses
from contracts.modules import margin_checks
from contracts.modules import margin_gate
from contracts.modules import positions
from contracts.modules import rights
from contracts.modules import settlement
from contracts.modules import token
from contracts.modules import token_book
from contracts.modules import wiring

# The same modules in the same order as in MarginAccountsExtension: the two share storage. Those below the line have none.
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
initializes: custody[heads := heads, collateral := collateral, cash := cash, rights := rights]
initializes: account_life[
    wiring := wiring,
    heads := heads,
    collateral := collateral,
    cash := cash,
    rights := rights,
    margin_checks := margin_checks,
    custody := custody,
]


interface Extension:
    def cash_token() -> address: view
    def registry() -> address: view
    def oracle() -> address: view


# accounts
exports: (
    rights.owner_of,
    rights.has_right,
    heads.account_count,
    account_life.transfer,
    account_life.close_account,
    account_life.deposit_with_permit,
)

# views
exports: (ledger_views.state, ledger_views.nonce_of, ledger_views.cash_of, ledger_views.position_of)

MAX_CALL_BYTES: constant(uint256) = 1_024
MAX_CALLS: constant(uint256) = 16
MAX_RETURN_BYTES: constant(uint256) = 1_024

# code of everything else; cannot be replaced
EXTENSION: public(immutable(address))


@deploy
def __init__(
    governance: address,
    guardian: address,
    cash_token: address,
    registry: address,
    oracle: address,
    extension: address,
):
    """
    @notice Engine, table, auction and venues are wired by governance after
    @param governance Owner, a timelock in production
    @param guardian May pause
    @param cash_token Token of cash; at most 18 decimals
    @param extension MarginAccountsExtension made for the same cash token, registry and oracle
    """
    ownable.__init__()
    ownable_2step.__init__()
    heads.__init__()
    token_book.__init__()
    cash.__init__(cash_token)
    settlement.__init__(registry, oracle)
    wiring.guardian = guardian
    ownable._transfer_ownership(governance)
    assert staticcall Extension(extension).cash_token() == cash_token, err.EXTENSION
    assert staticcall Extension(extension).registry() == registry, err.EXTENSION
    assert staticcall Extension(extension).oracle() == oracle, err.EXTENSION
    EXTENSION = extension


# Reentrant: the extension's functions take the lock themselves, which is the same transient slot.
@external
@reentrant
@raw_return
def __default__() -> Bytes[MAX_RETURN_BYTES]:
    """
    @notice Runs the extension's code on this storage, with the caller kept; its revert reason comes back
    @custom:invariant I-35
    """
    return raw_call(EXTENSION, msg.data, max_outsize=MAX_RETURN_BYTES, is_delegate_call=True)


# --- owners ----------------------------------------------------------------------------------------------------------


@external
def open_account(owner: address) -> uint256:
    """
    @notice Opens an account for `owner`; returns its number
    """
    return heads._open(owner)


@external
def deposit(account: uint256, token_: address, amount_raw: uint256):
    """
    @notice Takes `amount_raw` of the cash token or of a listed asset from the caller; what arrives is credited
    @dev Anybody may top up: cash, or an asset the account has. A new asset needs the owner or MANAGE.
    """
    custody._deposit(account, token_, amount_raw)


@external
def withdraw(account: uint256, token_: address, amount_raw: uint256, receiver: address):
    """
    @notice Sends tokens to `receiver`; cash may be borrowed as far as margin and the tokens held allow. Owner or WITHDRAW
    @dev Profit and loss of perpetuals with a fresh price becomes cash first when cash is withdrawn. The transfer comes last.
    @param amount_raw Raw units; 2^256-1 = all of the positive balance
    @custom:invariant I-72
    """
    rights._only(account, rights.WITHDRAW)
    if wiring._is_paused(wiring.PAUSE_WITHDRAW):
        err._fail(err.PAUSED)
    if receiver == empty(address) or receiver == self:
        err._fail(err.NO_ADDRESS)
    cash._accrue()
    amount: uint256 = amount_raw
    if token_ == cash.TOKEN:
        perps: uint256 = (heads._heads[account] >> heads.PERP_SHIFT) & heads.BITMAP_MASK
        for underlying: uint256 in range(16):
            if perps == 0:
                break
            if perps & 1 != 0:
                # without a fresh price nothing is paid; with a dead one the margin check below refuses
                settlement._settle_delta(account, (underlying << 8) | c.PERP_SLOT)
            perps >>= 1
        if amount == max_value(uint256):
            amount = convert(max(cash._of(account), 0), uint256) // cash.SCALE
        if amount == 0:
            err._fail(err.ZERO_AMOUNT)
        cash_wad: int256 = cash._move(account, -cash._withdraw(amount))
        if wiring._withdrawals_limited():
            token_book._check_limit()
        heads._bump(account)
        log IMarginAccounts.CashWithdrawn(account=account, receiver=receiver, amount_raw=amount, cash_wad=cash_wad)
    else:
        asset: uint256 = collateral._asset_of(token_)
        if amount == max_value(uint256):
            amount = collateral._amount(account, asset)
        if amount == 0:
            err._fail(err.ZERO_AMOUNT)
        balance_raw: uint256 = collateral._withdraw(account, asset, amount)
        log IMarginAccounts.CollateralWithdrawn(
            account=account, token=token_, receiver=receiver, amount_raw=amount, balance_raw=balance_raw
        )
    margin_checks._require(account)
    token._push(token_, receiver, amount)


# Reentrant: each call takes the lock itself, so nobody gets in while one of them calls out, and nobody else's code runs
# between them. A batch inside a batch is refused.
@external
@reentrant
def batch(calls: DynArray[Bytes[MAX_CALL_BYTES], MAX_CALLS]):
    """
    @notice Makes calls of this contract in order as the caller; what withdraw and transfer check about margin is checked
            once an account at the end (at most 8 accounts)
    @dev While checks wait, fills and the auction's functions refuse, and so does `state`: no engine, auction or other
         protocol can judge an account by what it holds in the middle. A call that fails stops all with its reason.
    """
    margin_checks._begin()
    for call: Bytes[MAX_CALL_BYTES] in calls:
        raw_call(self, call, is_delegate_call=True)
    margin_checks._finish()


# --- venues ----------------------------------------------------------------------------------------------------------


@external
def apply_fill(fill: IMarginAccounts.Fill):
    """
    @notice Books a matched trade; both sides must hold initial margin after, or reduce their risk and pay no more
            equity for that than the part of it that the requirement falls by
    @dev Venues only, inside the instrument's price band. In an instrument that is reduce-only both sides must reduce. Lots
         1e-6 units, prices and fees wad; fees go to account 0.
    """
    margin_checks._not_in_batch()
    if not wiring.is_venue[msg.sender]:
        err._fail(err.NOT_VENUE)
    if fill.buyer == fill.seller:
        err._fail(err.SELF_TRADE)
    if fill.buyer == cash.PROTOCOL or fill.seller == cash.PROTOCOL:
        err._fail(err.PROTOCOL)
    rights._must_exist(fill.buyer)
    rights._must_exist(fill.seller)
    if fill.lots == 0 or fill.lots > c.MAX_LOTS:
        err._fail(err.LOTS)
    if fill.price_wad > c.MAX_PRICE_WAD:
        err._fail(err.PRICE)
    serial: uint256 = 0
    listed_at: uint256 = 0
    is_open: bool = False
    serial, listed_at, is_open = staticcall settlement.REGISTRY.listing(fill.instrument)
    if fill.instrument & 255 < c.MAX_ROWS and not wiring._has_row(fill.instrument):
        err._fail(err.NO_ROW)
    if not margin_gate._is_in_band(wiring.engine.address, fill.instrument, fill.price_wad):
        err._fail(err.PRICE_BAND)
    buyer_before: DynArray[uint256, 128] = ledger_views._state(fill.buyer)
    seller_before: DynArray[uint256, 128] = ledger_views._state(fill.seller)
    cash._accrue()
    settlement._book_fill(fill, is_open)
    margin_checks._check_fill(fill.buyer, buyer_before)
    margin_checks._check_fill(fill.seller, seller_before)
