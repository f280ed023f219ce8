# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Cover of the insurance fund, and losses that lenders share
@notice A credit to a bidder needs as much of either before it.
"""

from ethereum.ercs import IERC20

from contracts.interfaces import IMarginAccounts
from contracts.modules import cash
from contracts.modules import constants as c
from contracts.modules import errors_accounts as err
from contracts.modules import fixed_math
from contracts.modules import token_book

uses: cash
uses: token_book

# cover and losses that seize may still credit to bidders
_cover_credit_wad: uint256


@internal
def _receive_cover(amount_raw: uint256) -> uint256:
    """
    @notice Books what the insurance fund sent, at most what is here unbooked; returns the wad seize may credit for it
    """
    held_raw: uint256 = staticcall IERC20(cash.TOKEN).balanceOf(self)
    received_raw: uint256 = min(amount_raw, held_raw - min(held_raw, token_book._booked()))
    token_book._in(received_raw, 0)
    self._cover_credit_wad += received_raw * cash.SCALE
    return received_raw * cash.SCALE


@internal
def _socialise(loss_wad: uint256) -> uint256:
    """
    @notice Takes a loss from all positive cash; returns the wad that was taken, which seize may credit
    @dev The index falls by a ceiling, so lenders lose at least what is credited. It stops at cash.MIN_SUPPLY_INDEX: the
         return value is then below the loss.
    @custom:invariant I-09
    """
    word: uint256 = cash._indices
    supplied: uint256 = cash._totals & cash.MASK_128
    supply_wad: uint256 = word & cash.MASK_104
    if loss_wad == 0 or supplied == 0 or supply_wad <= cash.MIN_SUPPLY_INDEX:
        return 0
    fall_wad: uint256 = supply_wad - cash.MIN_SUPPLY_INDEX
    if loss_wad < fixed_math._mul_div_down(supplied, supply_wad, c.WAD):
        fall_wad = min(fall_wad, fixed_math._mul_div_up(loss_wad, c.WAD, supplied))
    taken_wad: uint256 = min(loss_wad, fixed_math._mul_div_down(supplied, fall_wad, c.WAD))
    supply_wad -= fall_wad
    era: uint256 = cash._era()
    if supply_wad < cash.NEXT_ERA_BELOW and era < cash.LAST_ERA:
        supply_wad *= cash.ERA_SCALE
        word += 1 << 208
        # down, and still at least the sum of the credits, each of which is rounded down
        cash._totals = (cash._totals - supplied) | (supplied // cash.ERA_SCALE)
    cash._indices = (word & ~cash.MASK_104) | supply_wad
    self._cover_credit_wad += taken_wad
    log IMarginAccounts.LossSocialised(loss_wad=taken_wad, supply_index_wad=supply_wad)
    return taken_wad


@internal
def _use_cover(amount_wad: uint256):
    """
    @notice A credit to a bidder needs as much cover or socialised loss before it, so the auction cannot print cash
    @custom:invariant I-10
    """
    credit_wad: uint256 = self._cover_credit_wad
    if amount_wad > credit_wad:
        err._fail(err.COVER)
    self._cover_credit_wad = unsafe_sub(credit_wad, amount_wad)
