# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Sum of option rows, weighted with lots
@notice docs/margin-rule.md, section 4. Fifteen lanes of 16 bits lie in each of a row's three words. A mask picks the
        three lanes that are 80 bits apart, so one multiplication by the lots scales all three, and fifteen
        multiply-adds take in a whole row.

        Why no lane meets its neighbour: |lots| < 2^55, a lane < 2^16 and at most 2^7 positions, so every partial sum
        is below 2^78 in absolute value. Each 80-bit lane starts at a bias of 2^79 and so stays within
        (2^78, 2^79 + 2^78): it neither borrows nor carries. The three lanes together stay below 2^240, so working
        modulo 2^256 (a short's lots are negative) gives the exact integer.
"""

from contracts.modules import constants as c
from contracts.modules import time_left

# what every sum in RowSum.nodes is too high by
NODE_BIAS: constant(uint256) = 2**79
LANES: constant(uint256) = 65535 * (1 + 2**80 + 2**160)
BIAS: constant(uint256) = 2**79 * (1 + 2**80 + 2**160)
LANE_MASK: constant(uint256) = 2**80 - 1
# the value at the reference price, in the word of the base volatility
CENTRE_AT: constant(uint256) = 16 * 7
# where the header of a row's third word has its hour
HOUR_AT: constant(uint256) = 240 + c.TAIL_BITS
TIME: constant(uint256) = 2**32 - 1

# what is summed: all lots, those of what ends in more than a day, those that count meanwhile
ALL: constant(uint256) = 0
LATER: constant(uint256) = 1
KEPT: constant(uint256) = 2


struct RowSum:
    # 2^79 + sum of lots x lanes, by price node and then volatility state (down, base, up)
    nodes: uint256[3][15]
    gross_lots: uint256
    # sum over shorts of lots x short-option minimum, in lots x lane units
    short_minimum: uint256
    # sum over shorts of lots x tail, in lots x lane units per grid step
    short_tail: uint256
    # sum of lots x absolute delta, in lots x lane units
    gross_delta: uint256
    # what shorts without a row cost, wad
    missing_charge_wad: uint256
    missing: bool
    # whether an option expires within a day; lots that are not summed up, and what the shorts among them are worth at
    # the reference price, in lots x lane units
    ends: bool
    # time to the next of their expiries
    next_s: uint256
    gone_long: uint256
    gone_short: uint256
    gone_short_value: uint256


@internal
@view
def _sum_rows(
    words: DynArray[uint256, c.MAX_WORDS],
    first: uint256,
    count: uint256,
    page_1: uint256,
    price_wad: uint256,
    has_down: bool,
    has_up: bool,
    what: uint256,
    next_s: uint256,
) -> RowSum:
    """
    @notice Adds up the rows of an account's options of one underlying.
    @param words State words of the account
    @param first Index of the underlying's first option word
    @param count Number of options of the underlying, <= 128
    @param page_1 First page word: data contract with the rows, or the zero address (0..159) | observed at (192..223)
    @param price_wad Live price of the underlying, for shorts without a row
    @param has_down Whether to add up the volatility state down; if not, its nodes mean nothing
    @param has_up The same for the state up
    @param what ALL, LATER or KEPT
    @param next_s Time to the account's next expiry: what ends after it counts in full for KEPT
    @return RowSum as described at the struct
    @custom:invariant I-23
    """
    total: RowSum = empty(RowSum)
    total.next_s = c.LAST_DAY_S
    # lanes k, k + 5 and k + 10 of the volatility states down (0..4), base (5..9) and up (10..14)
    # (the bias and, below, the mask are in memory because a constant takes its bytes of code wherever it stands)
    b: uint256 = BIAS
    lanes: uint256[15] = [b, b, b, b, b, b, b, b, b, b, b, b, b, b, b]
    page: address = convert(page_1 & (2**160 - 1), address)
    rows: uint256 = page.codesize
    if rows != 0:
        rows = unsafe_div(unsafe_sub(rows, 1), c.ROW_BYTES)
    word: uint256 = 0
    down: uint256 = 0
    base: uint256 = 0
    up: uint256 = 0

    # bounds of every unchecked operation here: see the notice of the module; `first` is below 2^8
    for i: uint256 in range(count, bound=c.MAX_POSITIONS):
        if i & 3 == 0:
            word = words[unsafe_add(first, i >> 2)]
        slot: uint256 = word & 255
        lots: uint256 = (word >> 9) & c.MAX_LOTS
        is_short: uint256 = word & 256
        word = word >> 64
        if slot >= rows:
            total.missing = True
            if is_short != 0:
                # up, against the account
                total.missing_charge_wad = unsafe_add(
                    total.missing_charge_wad,
                    unsafe_div(unsafe_add(unsafe_mul(lots, price_wad), c.LOTS_PER_UNIT - 1), c.LOTS_PER_UNIT),
                )
            continue
        down, base, up = abi_decode(
            slice(page.code, unsafe_add(unsafe_mul(slot, c.ROW_BYTES), 1), c.ROW_BYTES), (uint256, uint256, uint256)
        )
        if up >> HOUR_AT != 0:
            # counted from the hour before that of the observation
            hour: uint256 = unsafe_sub(unsafe_add(unsafe_div((page_1 >> 192) & TIME, c.HOUR_S), up >> HOUR_AT), 1)
            left_s: uint256 = time_left._left_s(unsafe_mul(hour, c.HOUR_S))
            if left_s < c.LAST_DAY_S:
                total.ends = True
                if left_s != 0:
                    total.next_s = min(total.next_s, left_s)
                if what == LATER or (what == KEPT and left_s <= next_s):
                    kept: uint256 = 0
                    if what == KEPT:
                        kept = unsafe_div(unsafe_mul(lots, left_s), c.LAST_DAY_S)
                    lots = unsafe_sub(lots, kept)
                    if is_short != 0:
                        total.gone_short = unsafe_add(total.gone_short, lots)
                        total.gone_short_value = unsafe_add(
                            total.gone_short_value, unsafe_mul(lots, (base >> CENTRE_AT) & 65535)
                        )
                    else:
                        total.gone_long = unsafe_add(total.gone_long, lots)
                    lots = kept
        total.gross_lots = unsafe_add(total.gross_lots, lots)
        total.gross_delta = unsafe_add(total.gross_delta, unsafe_mul(lots, base >> 240))
        if is_short != 0:
            total.short_minimum = unsafe_add(total.short_minimum, unsafe_mul(lots, down >> 240))
            total.short_tail = unsafe_add(total.short_tail, unsafe_mul(lots, (up >> 240) & c.MAX_TAIL))
            lots = unsafe_sub(0, lots)
        lanes[5] = unsafe_add(lanes[5], unsafe_mul(base & LANES, lots))
        lanes[6] = unsafe_add(lanes[6], unsafe_mul((base >> 16) & LANES, lots))
        lanes[7] = unsafe_add(lanes[7], unsafe_mul((base >> 32) & LANES, lots))
        lanes[8] = unsafe_add(lanes[8], unsafe_mul((base >> 48) & LANES, lots))
        lanes[9] = unsafe_add(lanes[9], unsafe_mul((base >> 64) & LANES, lots))
        if has_down:
            lanes[0] = unsafe_add(lanes[0], unsafe_mul(down & LANES, lots))
            lanes[1] = unsafe_add(lanes[1], unsafe_mul((down >> 16) & LANES, lots))
            lanes[2] = unsafe_add(lanes[2], unsafe_mul((down >> 32) & LANES, lots))
            lanes[3] = unsafe_add(lanes[3], unsafe_mul((down >> 48) & LANES, lots))
            lanes[4] = unsafe_add(lanes[4], unsafe_mul((down >> 64) & LANES, lots))
        if has_up:
            lanes[10] = unsafe_add(lanes[10], unsafe_mul(up & LANES, lots))
            lanes[11] = unsafe_add(lanes[11], unsafe_mul((up >> 16) & LANES, lots))
            lanes[12] = unsafe_add(lanes[12], unsafe_mul((up >> 32) & LANES, lots))
            lanes[13] = unsafe_add(lanes[13], unsafe_mul((up >> 48) & LANES, lots))
            lanes[14] = unsafe_add(lanes[14], unsafe_mul((up >> 64) & LANES, lots))

    m: uint256 = LANE_MASK
    # the highest of three lanes has nothing above it
    total.nodes[0] = [lanes[0] & m, lanes[5] & m, lanes[10] & m]
    total.nodes[1] = [lanes[1] & m, lanes[6] & m, lanes[11] & m]
    total.nodes[2] = [lanes[2] & m, lanes[7] & m, lanes[12] & m]
    total.nodes[3] = [lanes[3] & m, lanes[8] & m, lanes[13] & m]
    total.nodes[4] = [lanes[4] & m, lanes[9] & m, lanes[14] & m]
    total.nodes[5] = [(lanes[0] >> 80) & m, (lanes[5] >> 80) & m, (lanes[10] >> 80) & m]
    total.nodes[6] = [(lanes[1] >> 80) & m, (lanes[6] >> 80) & m, (lanes[11] >> 80) & m]
    total.nodes[7] = [(lanes[2] >> 80) & m, (lanes[7] >> 80) & m, (lanes[12] >> 80) & m]
    total.nodes[8] = [(lanes[3] >> 80) & m, (lanes[8] >> 80) & m, (lanes[13] >> 80) & m]
    total.nodes[9] = [(lanes[4] >> 80) & m, (lanes[9] >> 80) & m, (lanes[14] >> 80) & m]
    total.nodes[10] = [lanes[0] >> 160, lanes[5] >> 160, lanes[10] >> 160]
    total.nodes[11] = [lanes[1] >> 160, lanes[6] >> 160, lanes[11] >> 160]
    total.nodes[12] = [lanes[2] >> 160, lanes[7] >> 160, lanes[12] >> 160]
    total.nodes[13] = [lanes[3] >> 160, lanes[8] >> 160, lanes[13] >> 160]
    total.nodes[14] = [lanes[4] >> 160, lanes[9] >> 160, lanes[14] >> 160]
    return total
