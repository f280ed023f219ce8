# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Moving a fraction of a portfolio to a bidder
@notice Reads no price and sends no token, so no dead feed and no blacklist can stop a liquidation. Every part
        moves pro rata, rounded towards zero; the whole moves exactly. Nothing is created: what one side loses the
        other gets.
"""

from contracts.interfaces import IMarginAccounts
from contracts.modules import cash
from contracts.modules import collateral
from contracts.modules import constants as c
from contracts.modules import fixed_math
from contracts.modules import heads
from contracts.modules import positions
from contracts.modules import settlement

uses: heads
uses: positions
uses: cash
uses: collateral
uses: settlement


@internal
@pure
def _share(amount: int256, fraction_wad: uint256) -> int256:
    """
    @notice amount * fraction, towards zero
    """
    if amount >= 0:
        return convert(fixed_math._mul_div_down(convert(amount, uint256), fraction_wad, c.WAD), int256)
    return -convert(fixed_math._mul_div_down(convert(-amount, uint256), fraction_wad, c.WAD), int256)


@internal
def _seize(account: uint256, bidder: uint256, fraction_wad: uint256, price_wad: int256):
    """
    @notice Moves `fraction_wad` of everything; price > 0 is paid by the bidder, < 0 is credited to it out of cover
    """
    cash_wad: int256 = self._share(cash._of(account), fraction_wad)
    account_wad: int256 = max(price_wad, 0) - cash_wad
    bidder_wad: int256 = cash_wad - price_wad
    if price_wad < 0:
        cash._use_cover(convert(-price_wad, uint256))
    head: uint256 = heads._heads[account]
    self._move_collateral(account, bidder, (head >> heads.COLLATERAL_SHIFT) & heads.BITMAP_MASK, fraction_wad)
    account_closed: int256 = 0
    bidder_closed: int256 = 0
    account_closed, bidder_closed = self._move_perps(
        account, bidder, (head >> heads.PERP_SHIFT) & heads.BITMAP_MASK, fraction_wad
    )
    self._move_options(account, bidder, head, fraction_wad)
    cash._pay(account, account_closed, account_wad)
    cash._pay(bidder, bidder_closed, bidder_wad)
    heads._bump(account)
    heads._bump(bidder)
    log IMarginAccounts.Seized(account=account, bidder=bidder, fraction_wad=fraction_wad, price_wad=price_wad)


@internal
def _move_collateral(account: uint256, bidder: uint256, bitmap: uint256, fraction_wad: uint256):
    for asset: uint256 in range(16):
        if (bitmap >> asset) & 1 == 0:
            continue
        amount_raw: uint256 = fixed_math._mul_div_down(collateral._amounts[account][asset], fraction_wad, c.WAD)
        if amount_raw != 0:
            collateral._debit(account, asset, amount_raw)
            collateral._credit(bidder, asset, amount_raw)


@internal
def _move_perps(account: uint256, bidder: uint256, bitmap: uint256, fraction_wad: uint256) -> (int256, int256):
    """
    @notice Moves the fraction of the lots and the fraction of the quote, each by itself
    @dev Not the quote by the lots that moved: one lot may carry any profit or loss, and none of it would move with
         a slice whose price counts its share. Between the two roundings lies less than the value of one lot.
    @return Quotes of the perpetuals that this closed, of the account and of the bidder (lot x wad)
    """
    account_closed: int256 = 0
    bidder_closed: int256 = 0
    for underlying: uint256 in range(16):
        if (bitmap >> underlying) & 1 == 0:
            continue
        funding_index: int256 = settlement._funding_index(underlying)
        held: int256 = 0
        quote: int256 = 0
        held, quote = positions._funded_perp(account, underlying, funding_index)
        # a whole moves exactly; a share that closes nothing of the account's leaves the bidder without lots: then cash
        lots: int256 = self._share(held, fraction_wad)
        quote = self._share(quote, fraction_wad)
        resulting: int256 = 0
        closed: int256 = 0
        resulting, closed = positions._change_perp(account, underlying, -lots, -quote, funding_index)
        account_closed += closed
        resulting, closed = positions._change_perp(bidder, underlying, lots, quote, funding_index)
        bidder_closed += closed
    return account_closed, bidder_closed


@internal
def _move_options(account: uint256, bidder: uint256, head: uint256, fraction_wad: uint256):
    for underlying: uint256 in range(16):
        count: uint256 = heads._option_count(head, underlying)
        for step: uint256 in range(count, bound=128):
            # downwards: a removal moves only lanes that have been seen
            index: uint256 = count - 1 - step
            slot: uint256 = 0
            held: int256 = 0
            slot, held = positions._option_at(account, underlying, index)
            lots: int256 = self._share(held, fraction_wad)
            if lots != 0:
                positions._put_option(account, underlying, index, slot, held - lots)
                positions._change_option(bidder, underlying, slot, lots)
