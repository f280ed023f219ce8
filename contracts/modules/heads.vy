# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Accounts: owner, operators and the head word
@notice Head word (docs/margin-rule.md, section 2): option counts, 8 bits an underlying (0..127) | perpetual bitmap
        (128..143) | collateral bitmap (144..159) | nonce (160..223).
"""

from contracts.interfaces import IMarginAccounts
from contracts.modules import errors_accounts as err

PERP_SHIFT: constant(uint256) = 128
COLLATERAL_SHIFT: constant(uint256) = 144
PERP_BIT: constant(uint256) = 1 << PERP_SHIFT
COLLATERAL_BIT: constant(uint256) = 1 << COLLATERAL_SHIFT
POSITION_MASK: constant(uint256) = 2**144 - 1
BITMAP_MASK: constant(uint256) = 2**16 - 1
NONCE_ONE: constant(uint256) = 1 << 160
# 0x0101...01, sixteen bytes
BYTE_ONES: constant(uint256) = (2**128 - 1) // 255

# the protocol's own account 0 exists from the start and has no owner here
account_count: public(uint256)
_owners: HashMap[uint256, address]
_operators: HashMap[uint256, HashMap[address, bool]]
_heads: HashMap[uint256, uint256]


@deploy
def __init__():
    self.account_count = 1


@internal
def _open(owner: address) -> uint256:
    if owner == empty(address):
        err._fail(err.NO_ADDRESS)
    account: uint256 = self.account_count
    self.account_count = account + 1
    self._owners[account] = owner
    log IMarginAccounts.AccountOpened(account=account, owner=owner)
    return account


@internal
def _set_operator(account: uint256, operator: address, allowed: bool):
    if operator == empty(address):
        err._fail(err.NO_ADDRESS)
    self._operators[account][operator] = allowed
    log IMarginAccounts.OperatorSet(account=account, operator=operator, allowed=allowed)


@internal
def _bump(account: uint256):
    """
    @dev The nonce rises with every change of the account's balances or positions. 2^64 changes never happen, so it
         does not run into the bits above it.
    """
    self._heads[account] = unsafe_add(self._heads[account], NONCE_ONE)


@internal
@pure
def _position_count(head: uint256) -> uint256:
    """
    @notice Options and perpetuals in a head word
    @dev 21845, 13107, 3855 = 0x5555, 0x3333, 0x0F0F: a population count. The top byte of counts * 0x0101... is the sum of the sixteen counts. There are at most 128 positions, so no
         byte carries into the next and the masks below are exact.
    """
    counts: uint256 = head & (2**128 - 1)
    options: uint256 = (unsafe_mul(counts, BYTE_ONES) >> 120) & 255
    bits: uint256 = (head >> PERP_SHIFT) & BITMAP_MASK
    bits = (bits & 21845) + ((bits >> 1) & 21845)
    bits = (bits & 13107) + ((bits >> 2) & 13107)
    bits = (bits & 3855) + ((bits >> 4) & 3855)
    return options + (bits & 255) + (bits >> 8)


@internal
@pure
def _option_count(head: uint256, underlying: uint256) -> uint256:
    return (head >> (underlying << 3)) & 255
