# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Positions: options four to a slot, perpetuals and futures with an exact base
@notice Word layouts: docs/margin-rule.md, section 2. An option lane is slot (0..7) | short (8) | lots (9..63). New options
        are appended; a closed one is replaced by the last, so the lanes stay dense. A perpetual or future is lots
        and base: a fill of q lots at price p under a carry F adds -q*p + q*F to the base, so that
        q*M + base - q*F is its profit at a price M, funding included. F is the cumulative funding of a perpetual, 0 for a future.
@custom:invariant I-04, I-05 For each instrument the lots of all accounts add up to 0, without their signs to `open_lots`
@custom:invariant I-06 For each perpetual and future: sum of the bases of all accounts + 1e6 * cash realised from it + its part
    of the dust is constant, to the unit: a fill adds -q*p + q*F on one side and takes it on the other, a realisation moves
    1e6 times its cash out of the base, a closing all of the base and q*(M - F), whose q add up to 0.
"""

from contracts.modules import closing
from contracts.modules import constants as c
from contracts.modules import errors_accounts as err
from contracts.modules import fixed_math
from contracts.modules import heads

uses: heads

LANE_MASK: constant(uint256) = 2**64 - 1
LOTS_PER_UNIT_INT: constant(int256) = 10**6
MAX_LOTS_INT: constant(int256) = 2**55 - 1
MAX_BASE: constant(int256) = 2**191 - 1

# account -> underlying << 2 | 255 - slot: lots int64 (0..63) | base int192, lot x wad (64..255)
_deltas: HashMap[uint256, uint256[64]]
# account -> underlying << 5 | word: 128 positions fill 32 words of four lanes
_options: HashMap[uint256, uint256[512]]
# by instrument: sum of the lots of all accounts without their signs (1e-6 units): accounts settle one by one, so both
# sides must have gone before a slot is free
open_lots: public(HashMap[uint256, uint256])


# --- open interest ---------------------------------------------------------------------------------------------------


@internal
@pure
def _opened(resulting: int256, change: int256) -> int256:
    """
    @notice What a change of `change` lots that led to `resulting` added to the open lots
    """
    return abs(resulting) - abs(resulting - change)


@internal
@pure
def _reduces(resulting: int256, change: int256) -> bool:
    """
    @notice Whether a change made a position smaller and did not turn it round
    """
    before: int256 = resulting - change
    if before >= 0:
        return resulting >= 0 and resulting < before
    return resulting <= 0 and resulting > before


@internal
def _note_open(instrument: uint256, change: int256):
    if change != 0:
        # a sum of absolute values is never negative
        self.open_lots[instrument] = convert(convert(self.open_lots[instrument], int256) + change, uint256)


# --- perpetuals and futures ------------------------------------------------------------------------------------------


@internal
@pure
def _delta_index(instrument: uint256) -> uint256:
    return ((instrument >> 8) << 2) | (255 - (instrument & 255))


@internal
@view
def _delta(account: uint256, instrument: uint256) -> (int256, int256):
    """
    @notice (lots, base in lot x wad); 0 if none
    """
    word: uint256 = self._deltas[account][self._delta_index(instrument)]
    return (
        convert(convert(word << 192, bytes32), int256) >> 192,
        convert(convert(word, bytes32), int256) >> 64,
    )


@internal
def _change_delta(account: uint256, instrument: uint256, lots: int256, base: int256) -> (int256, int256):
    """
    @notice Adds `lots` and `base` (lot x wad)
    @dev Without lots no carry is left: the base of a closed position is money.
    @return (resulting lots, base of a position that this closed: the caller books it as cash), lot x wad
    """
    held: int256 = 0
    balance: int256 = 0
    held, balance = self._delta(account, instrument)
    held += lots
    balance += base
    closed: int256 = 0
    if held == 0:
        closed = balance
        balance = 0
    self._put_delta(account, instrument, held, balance)
    return held, closed


@internal
def _trade_delta(account: uint256, instrument: uint256, lots: int256, base: int256) -> (int256, int256):
    """
    @notice As _change_delta, for a trade: the base of all that it closes becomes cash
    """
    held: int256 = 0
    balance: int256 = 0
    held, balance = self._delta(account, instrument)
    closed: int256 = closing._closed(held, balance, lots, base)
    self._put_delta(account, instrument, held + lots, balance + base - closed)
    return held + lots, closed


@internal
def _realise(account: uint256, instrument: uint256, price_wad: uint256, carry: int256) -> (int256, int256):
    """
    @notice Takes the profit or loss at `price_wad` out of the base; returns (lots, it in wad, floored against the account)
    """
    lots: int256 = 0
    base: int256 = 0
    lots, base = self._delta(account, instrument)
    pnl_wad: int256 = fixed_math._floor_div(
        lots * (convert(price_wad, int256) - carry) + base, LOTS_PER_UNIT_INT
    )
    self._put_delta(account, instrument, lots, base - pnl_wad * LOTS_PER_UNIT_INT)
    return lots, pnl_wad


@internal
def _put_delta(account: uint256, instrument: uint256, lots: int256, base: int256):
    if lots > MAX_LOTS_INT or lots < -MAX_LOTS_INT:
        err._fail(err.LOTS)
    if base > MAX_BASE or base < -MAX_BASE:
        err._fail(err.BASE)
    head: uint256 = heads._heads[account]
    bit: uint256 = heads._delta_bit(instrument)
    word: uint256 = 0
    if lots == 0:
        if head & bit == 0:
            return
        heads._heads[account] = head ^ bit
    else:
        if head & bit == 0:
            if heads._position_count(head) >= c.MAX_POSITIONS:
                err._fail(err.FULL)
            heads._heads[account] = head | bit
        word = convert(convert(lots << 192, bytes32), uint256) >> 192
        word |= convert(convert(base << 64, bytes32), uint256)
    self._deltas[account][self._delta_index(instrument)] = word


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
