# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Positions: options four to a slot, perpetuals with an exact quote
@notice Word layouts: docs/margin-rule.md, section 2. An option lane is slot (0..7) | short (8) | lots (9..63). New options
        are appended; a closed one is replaced by the last, so the lanes stay dense.
@custom:invariant For each instrument the lots of all accounts add up to 0
@custom:invariant For each perpetual: sum of (quote + lots * entry funding) + 1e6 * cash realised + dust is constant
"""

from contracts.modules import constants as c
from contracts.modules import errors_accounts as err
from contracts.modules import fixed_math
from contracts.modules import heads

uses: heads

LANE_MASK: constant(uint256) = 2**64 - 1
LOTS_PER_UNIT_INT: constant(int256) = 10**6
MAX_LOTS_INT: constant(int256) = 2**55 - 1
MAX_QUOTE: constant(int256) = 2**191 - 1

# lots int64 (0..63) | quote int192, lot x wad (64..255); then funding index at entry, int256
_perps: HashMap[uint256, uint256[32]]
# account -> underlying << 5 | word: 128 positions fill 32 words of four lanes
_options: HashMap[uint256, uint256[512]]


# --- perpetuals ------------------------------------------------------------------------------------------------------


@internal
@view
def _perp(account: uint256, underlying: uint256) -> (int256, int256, int256):
    """
    @notice (lots, quote in lot x wad, funding index at entry); all 0 if none
    """
    word: uint256 = self._perps[account][underlying << 1]
    entry: uint256 = self._perps[account][(underlying << 1) | 1]
    return (
        convert(convert(word << 192, bytes32), int256) >> 192,
        convert(convert(word, bytes32), int256) >> 64,
        convert(convert(entry, bytes32), int256),
    )


@internal
@view
def _funded_perp(account: uint256, underlying: uint256, funding_index: int256) -> (int256, int256):
    """
    @notice (lots, quote with funding settled to `funding_index`)
    @dev Exact: what a long pays a short gets, whenever each is touched.
    """
    lots: int256 = 0
    quote: int256 = 0
    entry: int256 = 0
    lots, quote, entry = self._perp(account, underlying)
    return lots, quote - lots * (funding_index - entry)


@internal
def _change_perp(
    account: uint256, underlying: uint256, lots: int256, quote: int256, funding_index: int256
) -> (int256, int256):
    """
    @notice Settles funding into the quote, then adds `lots` and `quote` (lot x wad)
    @return (resulting lots, quote of a perpetual that this closed: the caller books it as cash), lot x wad
    """
    held: int256 = 0
    balance: int256 = 0
    held, balance = self._funded_perp(account, underlying, funding_index)
    held += lots
    balance += quote
    closed: int256 = 0
    if held == 0:
        closed = balance
        balance = 0
    self._put_perp(account, underlying, held, balance, funding_index)
    return held, closed


@internal
def _realise_perp(account: uint256, underlying: uint256, price_wad: uint256, funding_index: int256) -> int256:
    """
    @notice Takes the profit or loss at `price_wad` out of the quote; returns it (wad, floored against the account)
    """
    lots: int256 = 0
    quote: int256 = 0
    lots, quote = self._funded_perp(account, underlying, funding_index)
    pnl_wad: int256 = fixed_math._floor_div(lots * convert(price_wad, int256) + quote, LOTS_PER_UNIT_INT)
    self._put_perp(account, underlying, lots, quote - pnl_wad * LOTS_PER_UNIT_INT, funding_index)
    return pnl_wad


@internal
def _put_perp(account: uint256, underlying: uint256, lots: int256, quote: int256, funding_index: int256):
    if lots > MAX_LOTS_INT or lots < -MAX_LOTS_INT:
        err._fail(err.LOTS)
    if quote > MAX_QUOTE or quote < -MAX_QUOTE:
        err._fail(err.QUOTE)
    head: uint256 = heads._heads[account]
    bit: uint256 = heads.PERP_BIT << underlying
    if lots == 0:
        if head & bit != 0:
            heads._heads[account] = head ^ bit
            self._perps[account][underlying << 1] = 0
            self._perps[account][(underlying << 1) | 1] = 0
        return
    if head & bit == 0:
        if heads._position_count(head) >= c.MAX_POSITIONS:
            err._fail(err.FULL)
        heads._heads[account] = head | bit
    low: uint256 = convert(convert(lots << 192, bytes32), uint256) >> 192
    self._perps[account][underlying << 1] = low | convert(convert(quote << 64, bytes32), uint256)
    self._perps[account][(underlying << 1) | 1] = convert(convert(funding_index, bytes32), uint256)


# --- options ---------------------------------------------------------------------------------------------------------


@internal
@pure
def _lane_lots(lane: uint256) -> int256:
    lots: int256 = convert(lane >> 9, int256)
    return -lots if lane & 256 != 0 else lots


@internal
@view
def _option_at(account: uint256, underlying: uint256, index: uint256) -> (uint256, int256):
    """
    @notice (slot, signed lots) of the option number `index` of an underlying
    """
    word: uint256 = self._options[account][(underlying << 5) | (index >> 2)]
    lane: uint256 = (word >> ((index & 3) << 6)) & LANE_MASK
    return lane & 255, self._lane_lots(lane)


@internal
@view
def _find_option(account: uint256, underlying: uint256, slot: uint256) -> (uint256, int256):
    """
    @notice (index, signed lots) of the option in `slot`; (count, 0) if the account has none
    """
    count: uint256 = heads._option_count(heads._heads[account], underlying)
    word: uint256 = 0
    for index: uint256 in range(count, bound=128):
        if index & 3 == 0:
            word = self._options[account][(underlying << 5) | (index >> 2)]
        if word & 255 == slot:
            return index, self._lane_lots(word & LANE_MASK)
        word >>= 64
    return count, 0


@internal
def _change_option(account: uint256, underlying: uint256, slot: uint256, lots: int256) -> int256:
    """
    @notice Adds signed `lots` to the option in `slot`; returns the resulting lots
    """
    index: uint256 = 0
    held: int256 = 0
    index, held = self._find_option(account, underlying, slot)
    held += lots
    self._put_option(account, underlying, index, slot, held)
    return held


@internal
def _put_option(account: uint256, underlying: uint256, index: uint256, slot: uint256, lots: int256):
    """
    @notice Sets the option number `index`; index = count appends, no lots removes
    """
    if lots > MAX_LOTS_INT or lots < -MAX_LOTS_INT:
        err._fail(err.LOTS)
    head: uint256 = heads._heads[account]
    count: uint256 = heads._option_count(head, underlying)
    lane: uint256 = slot
    if lots > 0:
        lane |= convert(lots, uint256) << 9
    else:
        lane |= 256 | (convert(-lots, uint256) << 9)
    if lots == 0:
        if index == count:
            return
        # the last lane fills the gap
        last: uint256 = count - 1
        word: uint256 = self._options[account][(underlying << 5) | (last >> 2)]
        lane = (word >> ((last & 3) << 6)) & LANE_MASK
        self._put_lane(account, underlying, last, 0)
        if index == last:
            lane = 0
        heads._heads[account] = head - (1 << (underlying << 3))
    elif index == count:
        if heads._position_count(head) >= c.MAX_POSITIONS:
            err._fail(err.FULL)
        heads._heads[account] = head + (1 << (underlying << 3))
    self._put_lane(account, underlying, index, lane)


@internal
def _put_lane(account: uint256, underlying: uint256, index: uint256, lane: uint256):
    at: uint256 = (underlying << 5) | (index >> 2)
    bit: uint256 = (index & 3) << 6
    self._options[account][at] = (self._options[account][at] & ~(LANE_MASK << bit)) | (lane << bit)
