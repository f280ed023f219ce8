# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# pragma optimize gas
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Row verifier
@license GNU Affero General Public License v3.0 only
@notice Prices one row of a risk table page from the inputs its header names, and says whether a published row is that.
        RiskTable asks it when a page is challenged. It has no state, no owner and calls nobody, which is why
        every function may be re-entered.
@dev Integers here and floats in risk/table.py leave a lane at a rounding border one apart, so a tolerance of one lane
     passes every honest row. The tail has one more: it jumps from 0 to 2 where the tail does not quite vanish. The hour of
     the expiry, in the same lane, must be exact.
"""

from contracts.interfaces import IRowVerifier
from contracts.modules import constants as c
from contracts.modules import row_pricing

implements: IRowVerifier


# what mismatch() returns as the lane when no lane can be compared
_NO_LANE: constant(uint256) = 48
_ROW_BYTES: constant(uint256) = 96
_LANE_MASK: constant(uint256) = 2**16 - 1
# where the header of the third word has its hour
_HOUR_AT: constant(uint256) = 240 + c.TAIL_BITS


@external
@view
@reentrant
def is_sane(row: IRowVerifier.Row) -> bool:
    """
    @notice Whether the row can be priced at all: prices, times and unit in range, forward ratio 1/100 .. 100, discount
            1/100 .. 2, and a smile with b, sigma >= 0 and |rho| <= 1. A slot without an option (expiry 0) is.
    @param row Inputs of the row
    """
    return row_pricing._is_sane(row)


@external
@view
@reentrant
def lanes(row: IRowVerifier.Row) -> (uint256, uint256, uint256):
    """
    @notice The three words of the row (volatility down, base, up); lanes stop at 65,535, tails at 2,047. Zero words if it is not sane.
    @param row Inputs of the row
    """
    words: uint256[3] = empty(uint256[3])
    if row_pricing._is_sane(row):
        counts: uint256[row_pricing.LANES] = row_pricing._counts(row)
        for k: uint256 in range(row_pricing.LANES):
            words[k // 16] |= min(counts[k], c.MAX_TAIL if k == row_pricing.TAIL_LANE else _LANE_MASK) << (16 * (k % 16))
        words[2] |= row_pricing._hour(row) << _HOUR_AT
    return words[0], words[1], words[2]


@external
@view
@reentrant
def mismatch(
    row: IRowVerifier.Row, published: Bytes[_ROW_BYTES], tolerance_lanes: uint256
) -> (bool, uint256, uint256, uint256):
    """
    @notice (wrong, lane = 16 * word + lane, expected, published) of the lane furthest beyond the tolerance; zeros if
            none is. Wrong at lane 48 if the row is not sane or is not 96 bytes long: there is nothing to compare then.
    @dev Expected is not stopped at 65,535: a lane unit too small for the row would otherwise turn it into any row's
         perfect copy.
    @param row Inputs of the row
    @param published Its 96 bytes on the page
    @param tolerance_lanes Difference that passes, in lane units; the tail passes one more, the hour none
    """
    if len(published) != _ROW_BYTES or not row_pricing._is_sane(row):
        return True, _NO_LANE, 0, 0
    # the hour says when margin begins to do without the option: there is nothing to tolerate
    last: uint256 = extract32(published, 64, output_type=uint256)
    hour: uint256 = row_pricing._hour(row)
    if last >> _HOUR_AT != hour:
        return True, row_pricing.TAIL_LANE, hour << c.TAIL_BITS, (last >> _HOUR_AT) << c.TAIL_BITS
    counts: uint256[row_pricing.LANES] = row_pricing._counts(row)
    furthest: uint256 = tolerance_lanes
    worst: uint256 = _NO_LANE
    found: uint256 = 0
    for w: uint256 in range(3):
        word: uint256 = extract32(published, 32 * w, output_type=uint256)
        for n: uint256 in range(16):
            k: uint256 = 16 * w + n
            lane: uint256 = word & _LANE_MASK
            word = word >> 16
            if k == row_pricing.TAIL_LANE:
                lane &= c.MAX_TAIL
            count: uint256 = counts[k]
            beyond: uint256 = max(count, lane) - min(count, lane)
            if k == row_pricing.TAIL_LANE and beyond != 0:
                beyond -= 1
            if beyond > furthest:
                furthest = beyond
                worst = k
                found = lane
    if worst == _NO_LANE:
        return False, 0, 0, 0
    return True, worst, counts[worst], found
