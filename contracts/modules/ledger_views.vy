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
from contracts.modules import positions

uses: heads
uses: positions
uses: cash
uses: collateral


# Reentrant because the engine reads it in the middle of withdraw, apply_fill and seize's caller. That is safe: the engine is
# called only when everything is booked, and tokens move before the first or after the last booking.
@external
@view
@reentrant
def state(account: uint256) -> DynArray[uint256, 128]:
    """
    @notice The account as words (docs/margin-rule.md, section 2), cash with interest to now
    """
    return self._state(account)


@external
@view
def nonce_of(account: uint256) -> uint256:
    """
    @notice Rises with every change of the account (account 0's does not)
    """
    return heads._heads[account] >> 160


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
    return collateral._amounts[account][asset]


@external
@view
def position_of(account: uint256, instrument: uint256) -> int256:
    """
    @notice Signed lots (1e-6 units)
    """
    lots: int256 = 0
    underlying: uint256 = instrument >> 8
    if instrument & 255 == c.PERP_SLOT:
        lots = positions._perp(account, underlying)[0]
    else:
        lots = positions._find_option(account, underlying, instrument & 255)[1]
    return lots


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
    return cash._book_raw, cash._dust, cash._cover_credit_wad


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
    if head & heads.POSITION_MASK == 0:
        return words
    for underlying: uint256 in range(16):
        if head & (heads.PERP_BIT << underlying) != 0:
            words.append(positions._perps[account][underlying << 1])
            words.append(positions._perps[account][(underlying << 1) | 1])
        count: uint256 = heads._option_count(head, underlying)
        for word: uint256 in range((count + 3) >> 2, bound=32):
            words.append(positions._options[account][(underlying << 5) | word])
    return words
