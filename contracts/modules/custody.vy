# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Taking tokens in
@notice What arrives is credited, not what was promised.
"""

from contracts.interfaces import IMarginAccounts
from contracts.modules import cash
from contracts.modules import collateral
from contracts.modules import errors_accounts as err
from contracts.modules import heads
from contracts.modules import rights
from contracts.modules import token

uses: heads
uses: collateral
uses: cash
uses: rights


@internal
def _deposit(account: uint256, token_: address, amount_raw: uint256):
    """
    @notice Pulls a token from the caller into an account
    @dev Anybody may top up: cash, or an asset the account has. A new asset needs the owner or MANAGE, else a stranger could
         tie an account to a feed it never chose.
    @custom:invariant I-11, I-31
    """
    rights._must_exist(account)
    if token_ == cash.TOKEN:
        cash._accrue()
        received_raw: uint256 = token._pull(token_, msg.sender, amount_raw)
        cash_wad: int256 = cash._move(account, cash._deposit(received_raw))
        heads._bump(account)
        log IMarginAccounts.CashDeposited(
            account=account, sender=msg.sender, amount_raw=received_raw, cash_wad=cash_wad
        )
        return
    asset: uint256 = collateral._asset_of(token_)
    if heads._heads[account] & (heads.COLLATERAL_BIT << asset) == 0:
        if account == cash.PROTOCOL:
            err._fail(err.PROTOCOL)
        rights._only(account, rights.MANAGE)
    amount: uint256 = token._pull(token_, msg.sender, amount_raw)
    balance_raw: uint256 = collateral._deposit(account, asset, amount)
    log IMarginAccounts.CollateralDeposited(
        account=account, token=token_, sender=msg.sender, amount_raw=amount, balance_raw=balance_raw
    )
