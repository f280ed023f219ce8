# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Who may do what with an account
@notice The owner everything. An operator what the owner named, until when it said: TRADE lets venues take its orders,
        WITHDRAW sends tokens anywhere, MANAGE deposits a new asset, transfers between accounts of one owner, bids at
        auctions and closes. Tokens leave for another owner by WITHDRAW alone; TRADE can lose money to another inside
        the price band, and MANAGE by what it bids for.
"""

from snekmate.auth import ownable

from contracts.interfaces import IMarginAccounts
from contracts.modules import errors_accounts as err
from contracts.modules import heads

uses: ownable
uses: heads

TRADE: constant(uint256) = 1
WITHDRAW: constant(uint256) = 2
MANAGE: constant(uint256) = 4
ALL_RIGHTS: constant(uint256) = 7
MAX_TIME: constant(uint256) = 2**64 - 1


@external
def set_operator(account: uint256, operator: address, rights: uint256, valid_until: uint256):
    """
    @notice The owner lets somebody act for the account until `valid_until`, or changes or ends that
    @param rights Sum of 1 TRADE, 2 WITHDRAW, 4 MANAGE; 0 = none
    @param valid_until Last second (unix), < 2^64
    """
    if operator == empty(address):
        err._fail(err.NO_ADDRESS)
    if msg.sender != self._owner_of(account):
        err._fail(err.NOT_AUTHORISED)
    if rights > ALL_RIGHTS or valid_until > MAX_TIME:
        err._fail(err.RIGHTS)
    heads._operators[account][operator] = rights | (valid_until << 8)
    log IMarginAccounts.OperatorSet(account=account, operator=operator, rights=rights, valid_until=valid_until)


@external
@view
def operator_of(account: uint256, operator: address) -> (uint256, uint256):
    """
    @notice (rights, valid until in unix s) as set
    """
    word: uint256 = heads._operators[account][operator]
    return word & 255, word >> 8


@external
@view
def owner_of(account: uint256) -> address:
    """
    @notice Owner; zero if there is no such account or it is closed
    """
    return self._owner_of(account)


# Reentrant: owners and operators change in no call that calls out before it; venues may ask from anywhere.
@external
@view
@reentrant
def has_right(account: uint256, who: address, right: uint256) -> bool:
    """
    @notice Whether `who` owns the account or has every right in `right` now
    """
    return self._has_right(account, who, right)


@internal
@view
def _owner_of(account: uint256) -> address:
    # the protocol's own account is governance's
    return ownable.owner if account == 0 else heads._owners[account]


@internal
@view
def _has_right(account: uint256, who: address, right: uint256) -> bool:
    owner: address = self._owner_of(account)
    # operators of a closed account stay in the table
    if owner == empty(address) or who == owner:
        return owner != empty(address)
    word: uint256 = heads._operators[account][who]
    return right != 0 and word & right == right and block.timestamp <= word >> 8


@internal
@view
def _only(account: uint256, right: uint256):
    if not self._has_right(account, msg.sender, right):
        err._fail(err.NOT_AUTHORISED)


@internal
@view
def _must_exist(account: uint256):
    if self._owner_of(account) == empty(address):
        err._fail(err.NO_ACCOUNT)
