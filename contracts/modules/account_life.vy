# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Between the accounts of one owner, and the end of an account
@notice Positions move between accounts by the owner's own orders at a venue, inside the price band.
"""

from contracts.interfaces import IMarginAccounts
from contracts.modules import cash
from contracts.modules import collateral
from contracts.modules import custody
from contracts.modules import errors_accounts as err
from contracts.modules import heads
from contracts.modules import margin_checks
from contracts.modules import rights
from contracts.modules import wiring

uses: wiring
uses: heads
uses: collateral
uses: cash
uses: rights
uses: margin_checks
uses: custody

PERMIT: constant(Bytes[4]) = method_id("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)")
MAX_AMOUNT_RAW: constant(uint256) = 2**112 - 1


@external
def transfer(from_account: uint256, to_account: uint256, token_: address, amount_raw: uint256):
    """
    @notice Moves cash or collateral between two accounts of one owner; the giver must hold initial margin after
    @dev The owner, or an operator with MANAGE on both. Never to another owner: MANAGE would be WITHDRAW. Not paused with
         withdrawals and not limited: nothing leaves the protocol, and it tops up an account in need.
    @param amount_raw Raw units; 2^256-1 = all of the positive balance
    @custom:invariant I-30
    """
    if from_account == to_account:
        err._fail(err.SELF_TRADE)
    if from_account == cash.PROTOCOL or to_account == cash.PROTOCOL:
        err._fail(err.PROTOCOL)
    rights._only(from_account, rights.MANAGE)
    rights._only(to_account, rights.MANAGE)
    if rights._owner_of(from_account) != rights._owner_of(to_account):
        err._fail(err.OTHER_OWNER)
    cash._accrue()
    amount: uint256 = amount_raw
    from_balance: int256 = 0
    to_balance: int256 = 0
    if token_ == cash.TOKEN:
        if amount == max_value(uint256):
            amount = convert(max(cash._of(from_account), 0), uint256) // cash.SCALE
        if amount > MAX_AMOUNT_RAW:
            err._fail(err.TOTALS)
        amount_wad: int256 = convert(amount * cash.SCALE, int256)
        from_balance = cash._move(from_account, -amount_wad)
        to_balance = cash._move(to_account, amount_wad)
        heads._bump(from_account)
        heads._bump(to_account)
    else:
        asset: uint256 = collateral._asset_of(token_)
        if amount == max_value(uint256):
            amount = collateral._amount(from_account, asset)
        from_balance = convert(collateral._debit(from_account, asset, amount), int256)
        to_balance = convert(collateral._credit(to_account, asset, amount), int256)
    if amount == 0:
        err._fail(err.ZERO_AMOUNT)
    log IMarginAccounts.Transferred(
        from_account=from_account,
        to_account=to_account,
        token=token_,
        amount_raw=amount,
        from_balance=from_balance,
        to_balance=to_balance,
    )
    margin_checks._require(from_account)


@external
def close_account(account: uint256):
    """
    @notice Ends an account that has nothing but less than one raw unit of cash, which account 0 gets. It never opens again
    @dev Owner or MANAGE. Not while its auction runs.
    """
    rights._only(account, rights.MANAGE)
    if account == cash.PROTOCOL:
        err._fail(err.PROTOCOL)
    cash._accrue()
    cash_wad: int256 = cash._of(account)
    held: uint256 = heads._heads[account] & (heads.POSITION_MASK | (heads.BITMAP_MASK << heads.COLLATERAL_SHIFT))
    if held != 0 or cash_wad < 0 or cash_wad >= convert(cash.SCALE, int256):
        err._fail(err.NOT_EMPTY)
    if wiring._in_auction(account):
        err._fail(err.IN_AUCTION)
    if cash_wad != 0:
        cash._move(account, -cash_wad)
        cash._move(cash.PROTOCOL, cash_wad)
    heads._owners[account] = empty(address)
    heads._bump(account)
    log IMarginAccounts.AccountClosed(account=account, dust_wad=convert(cash_wad, uint256))


@external
def deposit_with_permit(
    account: uint256, token_: address, amount_raw: uint256, deadline: uint256, v: uint8, r: bytes32, s: bytes32
):
    """
    @notice As deposit, with the caller's EIP-2612 signature for the allowance
    @dev A permit that fails is nothing to stop for: somebody may have used it first to spoil this call. The pull decides.
    """
    if token_ != cash.TOKEN:
        # only listed tokens are called
        collateral._asset_of(token_)
    is_permitted: bool = raw_call(
        token_,
        abi_encode(msg.sender, self, amount_raw, deadline, v, r, s, method_id=PERMIT),
        revert_on_failure=False,
    )
    custody._deposit(account, token_, amount_raw)
