# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Accounts: owner, operators and the head word
@notice Head word (docs/margin-rule.md, section 2): option counts, 8 bits an underlying (0..127) | perpetual bitmap
        (128..143) | collateral bitmap (144..159) | nonce (160..223) | bitmap of the futures in slot 254 (224..239) and
        in slot 253 (240..255).
"""

from contracts.interfaces import IMarginAccounts
from contracts.modules import errors_accounts as err

PERP_SHIFT: constant(uint256) = 128
COLLATERAL_SHIFT: constant(uint256) = 144
NONCE_SHIFT: constant(uint256) = 160
FUTURES_SHIFT: constant(uint256) = 224
COLLATERAL_BIT: constant(uint256) = 1 << COLLATERAL_SHIFT
POSITION_MASK: constant(uint256) = (2**144 - 1) | ((2**32 - 1) << FUTURES_SHIFT)
BITMAP_MASK: constant(uint256) = 2**16 - 1
NONCE_ONE: constant(uint256) = 1 << NONCE_SHIFT
NONCE_MASK: constant(uint256) = 2**64 - 1
# 0x0101...01, sixteen bytes
BYTE_ONES: constant(uint256) = (2**128 - 1) // 255
# of 48 bits every second one, every second two, every second four
ONES_1: constant(uint256) = (2**48 - 1) // 3
ONES_2: constant(uint256) = (2**48 - 1) // 5
ONES_4: constant(uint256) = (2**48 - 1) // 17

# the protocol's own account 0 exists from the start and has no owner here
account_count: public(uint256)
_owners: HashMap[uint256, address]
# rights (0..7) | valid until, unix s (8..)
_operators: HashMap[uint256, HashMap[address, uint256]]
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
def _bump(account: uint256):
    """
    @dev The nonce rises with every change of the account's balances or positions. 2^64 changes never happen, so it
         does not run into the bits above it.
    """
    self._heads[account] = unsafe_add(self._heads[account], NONCE_ONE)


@internal
@pure
def _delta_bit(instrument: uint256) -> uint256:
    """
    @notice Bit of a perpetual or future in the head word
    @dev Slots 255, 254, 253; the caller knows that it is one of them and the underlying is below 16.
    """
    underlying: uint256 = instrument >> 8
    kind: uint256 = 255 - (instrument & 255)
    if kind == 0:
        return 1 << (PERP_SHIFT + underlying)
    return 1 << (FUTURES_SHIFT - 16 + (kind << 4) + underlying)


@internal
@pure
def _position_count(head: uint256) -> uint256:
    """
    @notice Options, perpetuals and futures in a head word
    @dev The top byte of counts * 0x0101... is the sum of the sixteen counts: there are at most 128 positions, so no byte
         carries into the next. Then a population count of the three bitmaps side by side, 48 bits.
    @custom:invariant I-33
    """
    counts: uint256 = head & (2**128 - 1)
    options: uint256 = (unsafe_mul(counts, BYTE_ONES) >> 120) & 255
    bits: uint256 = ((head >> PERP_SHIFT) & BITMAP_MASK) | ((head >> FUTURES_SHIFT) << 16)
    bits = (bits & ONES_1) + ((bits >> 1) & ONES_1)
    bits = (bits & ONES_2) + ((bits >> 2) & ONES_2)
    bits = (bits & ONES_4) + ((bits >> 4) & ONES_4)
    return options + ((unsafe_mul(bits, BYTE_ONES) >> 40) & 255)


@internal
@pure
def _option_count(head: uint256, underlying: uint256) -> uint256:
    return (head >> (underlying << 3)) & 255
