# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Moving a fraction of a portfolio, or chosen positions, to a bidder
@notice Reads no price and sends no token: neither a dead feed nor a blacklist stops what is done here, though the fund's
        transfer for an insolvent account may fail. Every part of a fraction moves pro rata, rounded towards zero; the
        whole moves exactly. Nothing is created: what one side loses the other gets.
"""

from contracts.interfaces import IMarginAccounts
from contracts.modules import cash
from contracts.modules import collateral
from contracts.modules import constants as c
from contracts.modules import errors_accounts as err
from contracts.modules import fixed_math
from contracts.modules import heads
from contracts.modules import losses
from contracts.modules import positions
from contracts.modules import settlement

uses: heads
uses: positions
uses: cash
uses: losses
uses: collateral
uses: settlement


# no sum of money is near it
MAX_REWARD_WAD: constant(uint256) = 2**127


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
    @custom:invariant I-69
    """
    cash_wad: int256 = self._share(cash._of(account), fraction_wad)
    account_wad: int256 = max(price_wad, 0) - cash_wad
    bidder_wad: int256 = cash_wad - price_wad
    if price_wad < 0:
        losses._use_cover(convert(-price_wad, uint256))
    head: uint256 = heads._heads[account]
    self._move_collateral(account, bidder, (head >> heads.COLLATERAL_SHIFT) & heads.BITMAP_MASK, fraction_wad)
    account_closed: int256 = 0
    bidder_closed: int256 = 0
    account_closed, bidder_closed = self._move_deltas(account, bidder, head, fraction_wad)
    self._move_options(account, bidder, head, fraction_wad)
    cash._pay(account, account_closed, account_wad)
    cash._pay(bidder, bidder_closed, bidder_wad)
    heads._bump(account)
    heads._bump(bidder)
    log IMarginAccounts.Seized(account=account, bidder=bidder, fraction_wad=fraction_wad, price_wad=price_wad)


@internal
def _seize_leg(account: uint256, bidder: uint256, leg: IMarginAccounts.Leg):
    """
    @notice Moves `leg.lots` from the account to the bidder at a price; the account's position must become smaller
    """
    if leg.instrument >= c.MAX_UNDERLYINGS << 8:
        err._fail(err.INSTRUMENT)
    if leg.lots == 0 or leg.lots > positions.MAX_LOTS_INT or leg.lots < -positions.MAX_LOTS_INT:
        err._fail(err.LOTS)
    if leg.price_wad > c.MAX_PRICE_WAD:
        err._fail(err.PRICE)
    account_lots: int256 = settlement._book_side(account, leg.instrument, -leg.lots, leg.price_wad, 0)
    if not positions._reduces(account_lots, -leg.lots):
        err._fail(err.NOT_REDUCED)
    bidder_lots: int256 = settlement._book_side(bidder, leg.instrument, leg.lots, leg.price_wad, 0)
    positions._note_open(
        leg.instrument, positions._opened(account_lots, -leg.lots) + positions._opened(bidder_lots, leg.lots)
    )
    log IMarginAccounts.LegSeized(
        account=account,
        bidder=bidder,
        instrument=leg.instrument,
        lots=leg.lots,
        price_wad=leg.price_wad,
        account_lots=account_lots,
        bidder_lots=bidder_lots,
    )


@internal
def _pay_reward(account: uint256, to_account: uint256, amount_wad: uint256):
    """
    @notice Moves cash, into debt if need be; the caller has accrued
    """
    if amount_wad > MAX_REWARD_WAD:
        err._fail(err.TOTALS)
    account_wad: int256 = cash._move(account, -convert(amount_wad, int256))
    to_wad: int256 = cash._move(to_account, convert(amount_wad, int256))
    heads._bump(account)
    heads._bump(to_account)
    log IMarginAccounts.RewardPaid(
        account=account, to_account=to_account, amount_wad=amount_wad, account_wad=account_wad, to_wad=to_wad
    )


@internal
def _move_collateral(account: uint256, bidder: uint256, bitmap: uint256, fraction_wad: uint256):
    for asset: uint256 in range(16):
        if (bitmap >> asset) & 1 == 0:
            continue
        amount_raw: uint256 = fixed_math._mul_div_down(collateral._amount(account, asset), fraction_wad, c.WAD)
        if amount_raw != 0:
            collateral._debit(account, asset, amount_raw)
            collateral._credit(bidder, asset, amount_raw)


@internal
def _move_deltas(account: uint256, bidder: uint256, head: uint256, fraction_wad: uint256) -> (int256, int256):
    """
    @notice Moves the fraction of the lots and the fraction of the base of perpetuals and futures, each by itself
    @dev Not the base by the lots that moved: one lot may carry any profit or loss, and none of it would move with
         a slice whose price counts its share. Between the two roundings lies less than the value of one lot.
    @return Bases of the positions that this closed, of the account and of the bidder (lot x wad)
    """
    account_closed: int256 = 0
    bidder_closed: int256 = 0
    if (head >> heads.PERP_SHIFT) & heads.BITMAP_MASK == 0 and head >> heads.FUTURES_SHIFT == 0:
        return 0, 0
    for underlying: uint256 in range(16):
        for kind: uint256 in range(3):
            instrument: uint256 = (underlying << 8) | (255 - kind)
            if head & heads._delta_bit(instrument) == 0:
                continue
            held: int256 = 0
            base: int256 = 0
            held, base = positions._delta(account, instrument)
            # a whole moves exactly; a share that is no lots for a bidder without any is cash
            lots: int256 = self._share(held, fraction_wad)
            base = self._share(base, fraction_wad)
            resulting: int256 = 0
            closed: int256 = 0
            resulting, closed = positions._change_delta(account, instrument, -lots, -base)
            account_closed += closed
            opened: int256 = positions._opened(resulting, -lots)
            resulting, closed = positions._change_delta(bidder, instrument, lots, base)
            bidder_closed += closed
            positions._note_open(instrument, opened + positions._opened(resulting, lots))
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
                resulting: int256 = positions._change_option(bidder, underlying, slot, lots)
                opened: int256 = positions._opened(held - lots, -lots)
                positions._note_open((underlying << 8) | slot, opened + positions._opened(resulting, lots))
