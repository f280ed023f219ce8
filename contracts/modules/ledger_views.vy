# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title What the ledger shows
@notice The state words for the engine, and single balances for people.
"""

from contracts.modules import cash
from contracts.modules import collateral
from contracts.modules import constants as c
from contracts.modules import fixed_math
from contracts.modules import heads
from contracts.modules import losses
from contracts.modules import margin_checks
from contracts.modules import positions
from contracts.modules import token_book

uses: heads
uses: positions
uses: token_book
uses: cash
uses: losses
uses: collateral
uses: margin_checks


MAX_INSTRUMENT: constant(uint256) = c.MAX_UNDERLYINGS << 8


# Reentrant because the engine reads it in the middle of withdraw, apply_fill and seize's caller. That is safe: the engine is
# called only when everything is booked, and tokens move before the first or after the last booking. In a batch tokens move
# while checks still wait, so that nobody may judge an account by what it looks like then.
@external
@view
@reentrant
def state(account: uint256) -> DynArray[uint256, 128]:
    """
    @notice The account as words (docs/margin-rule.md, section 2), cash with interest to now
    @custom:invariant I-29
    """
    margin_checks._not_in_batch()
    return self._state(account)


@external
@view
def nonce_of(account: uint256) -> uint256:
    """
    @notice Rises with every change of the account (account 0's does not)
    """
    return (heads._heads[account] >> heads.NONCE_SHIFT) & heads.NONCE_MASK


@external
@view
def cash_of(account: uint256) -> int256:
    """
    @notice Cash in wad, signed, interest to now, rounded against the account
    """
    return cash._of(account)


@external
@view
def collateral_of(account: uint256, asset: uint256) -> uint256:
    """
    @notice Balance of an asset (raw)
    """
    return collateral._amount(account, asset)


@external
@view
def position_of(account: uint256, instrument: uint256) -> int256:
    """
    @notice Signed lots (1e-6 units)
    """
    if instrument >= MAX_INSTRUMENT:
        return 0
    if instrument & 255 >= c.MAX_ROWS:
        return positions._delta(account, instrument)[0]
    return positions._find_option(account, instrument >> 8, instrument & 255)[1]


@external
@view
def delta_of(account: uint256, instrument: uint256) -> (int256, int256):
    """
    @notice (signed lots in 1e-6 units, base in lot x wad) of a perpetual or future
    """
    if instrument >= MAX_INSTRUMENT or instrument & 255 < c.MAX_ROWS:
        return 0, 0
    return positions._delta(account, instrument)


@external
@view
def cash_token() -> address:
    """
    @notice Token of cash
    """
    return cash.TOKEN


@external
@view
def collateral_info(asset: uint256) -> (address, uint256, uint256, uint256, uint256):
    """
    @notice (token, decimals, linked underlying + 1, cap raw, total raw)
    """
    config: uint256 = collateral._configs[asset]
    return (
        collateral._tokens[asset],
        (config >> 224) & 255,
        config >> 232,
        (config >> 112) & collateral.MASK_112,
        config & collateral.MASK_112,
    )


@external
@view
def collateral_hard_cap(asset: uint256) -> (uint256, uint256):
    """
    @notice (hard cap raw, when a steward last raised the cap, unix s)
    """
    word: uint256 = collateral._hard_caps[asset]
    return word & collateral.MASK_112, word >> 112


@external
@view
def cash_totals() -> (uint256, uint256, uint256, uint256):
    """
    @notice (supplied wad rounded down, borrowed wad rounded up, supply index wad, borrow index wad), interest to now
    """
    indices: cash.Indices = cash._now()
    totals: uint256 = cash._totals
    return (
        fixed_math._mul_div_down((totals & cash.MASK_128) + indices.reserve_scaled, indices.supply_wad, c.WAD),
        fixed_math._mul_div_up(totals >> 128, indices.borrow_wad, c.WAD),
        indices.supply_wad,
        indices.borrow_wad,
    )


@external
@view
def cash_book() -> (uint256, uint256, uint256):
    """
    @notice (cash tokens booked, raw; dust, lot x wad; cover that seize may still credit, wad)
    """
    return token_book._booked(), cash._dust, losses._cover_credit_wad


@external
@view
def net_outflow() -> int256:
    """
    @notice Cash tokens (raw) that have left in net, as far as they still count against the withdrawal limit
    """
    return token_book._outflow()


@internal
@view
def _state(account: uint256) -> DynArray[uint256, 128]:
    head: uint256 = heads._heads[account]
    cash_wad: int256 = cash._of(account)
    words: DynArray[uint256, 128] = [head, convert(convert(cash_wad, bytes32), uint256)]
    held: uint256 = (head >> heads.COLLATERAL_SHIFT) & heads.BITMAP_MASK
    for asset: uint256 in range(16):
        if held == 0:
            break
        if held & 1 != 0:
            words.append(collateral._word(account, asset))
        held >>= 1
    # bits of one underlying: 0 its perpetual, 16 and 32 its futures
    deltas: uint256 = ((head >> heads.PERP_SHIFT) & heads.BITMAP_MASK) | ((head >> heads.FUTURES_SHIFT) << 16)
    counts: uint256 = head & (2**heads.PERP_SHIFT - 1)
    for underlying: uint256 in range(16):
        if deltas | counts == 0:
            break
        if deltas & (1 + (1 << 16) + (1 << 32)) != 0:
            if deltas & 1 != 0:
                words.append(positions._deltas[account][underlying << 2])
            if deltas & (1 << 16) != 0:
                words.append(positions._deltas[account][(underlying << 2) | 1])
            if deltas & (1 << 32) != 0:
                words.append(positions._deltas[account][(underlying << 2) | 2])
        count: uint256 = counts & 255
        if count != 0:
            for word: uint256 in range((count + 3) >> 2, bound=32):
                words.append(positions._options[account][(underlying << 5) | word])
        counts >>= 8
        # what was the lowest bit of a third must not enter the third below
        deltas = (deltas >> 1) & ~((1 << 15) | (1 << 31))
    return words
