# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Joint scenarios over several underlyings
@notice docs/margin-rule.md, section 5. Between the points of the live grid, profit and loss is bilinear in the price byte
        and the volatility byte. With the bytes counted from -128 (b and w), inside one cell it is
        C0 + b*C1 + w*(C2 + b*C3), so the four coefficients of the cells are laid out once per underlying. Without
        options it is one straight line through the whole range, with a correction of less than a wad for falls.

        Bounds that the unchecked operations rest on: a grid value is below 2^229, a coefficient below 2^250 and a sum over
        sixteen underlyings, x 16129, below 2^247; straight lines: value of the delta < 2^226, scan range < 2^16, byte
        2^7, so sixteen are below 2^253. Coefficients and sums are in two's complement, modulo 2^256.
"""

from contracts.modules import constants as c
from contracts.modules import joint_point

FLAT_SCALE: constant(uint256) = joint_point.FLAT_SCALE
SIGN_BITS: constant(uint256) = joint_point.SIGN_BITS
NO_SCENARIO: constant(uint256) = 255
BLOB_BYTES: constant(uint256) = 32 * c.MAX_JOINT
FOURS: constant(uint256) = c.MAX_JOINT // 4
SUM_FLOOR: constant(uint256) = joint_point.SUM_FLOOR
LIFT: constant(uint256) = joint_point.LIFT
FLAT_LIFT: constant(uint256) = joint_point.FLAT_LIFT


struct Lines:
    count: uint256
    # value of the delta x scan range, for a fall and for a rise, and the underlying
    lines: int256[3][16]


@internal
@view
def _count(joint_word: uint256) -> uint256:
    """
    @notice Number of scenarios in force. The table counted the words it stored; a shorter blob must not make an account
            unassessable.
    """
    size: uint256 = convert(joint_word & (2**160 - 1), address).codesize
    return min(min((joint_word >> 192) & 255, c.MAX_JOINT), unsafe_div(unsafe_sub(max(size, 1), 1), 32))


@internal
@view
def _load(joint_word: uint256, count: uint256) -> DynArray[uint256[4], 16]:
    """
    @notice Scenarios of the blob that the table's joint word points to, and zeros.
    """
    blob: address = convert(joint_word & (2**160 - 1), address)
    if blob.codesize > BLOB_BYTES:
        # as the table stores it, padded to 64; decoded as of a length, because that is a copy and takes little code
        return abi_decode(
            concat(convert(FOURS, bytes32), slice(blob.code, 1, BLOB_BYTES)),
            DynArray[uint256[4], 16],
            unwrap_tuple=False,
        )
    # Vyper copies code in constant lengths only
    scenarios: uint256[4][16] = empty(uint256[4][16])
    for j: uint256 in range(count, bound=c.MAX_JOINT):
        scenarios[j >> 2][j & 3] = convert(slice(blob.code, 32 * j + 1, 32), uint256)
    fours: DynArray[uint256[4], 16] = []
    for four: uint256[4] in scenarios:
        fours.append(four)
    return fours


@internal
@pure
def _cells(points: int256[3][9]) -> uint256[4][20]:
    """
    @notice Coefficients by cell: volatility down in 0..9, up in 10..19. The byte -128 counts as -127, which the cells 0
            and 10 stand for: there the price does not matter.
    """
    cells: uint256[4][20] = empty(uint256[4][20])
    i: uint256 = 0
    # 4*b - start counts 127ths of the way through a cell
    start: uint256 = 4
    # at the point before and its rise from there: the base, and the outer state's distance from it
    base: uint256 = convert(convert(points[0][1], bytes32), uint256)
    down: uint256 = unsafe_sub(base, convert(convert(points[0][0], bytes32), uint256))
    up: uint256 = unsafe_sub(convert(convert(points[0][2], bytes32), uint256), base)
    for point: int256[3] in points:
        here: uint256 = convert(convert(point[1], bytes32), uint256)
        rise: uint256 = unsafe_sub(here, base)
        # 127 x 127 times the base at b = 0, and what a step of b adds to it
        level: uint256 = unsafe_mul(unsafe_sub(unsafe_mul(base, 127), unsafe_mul(rise, start)), 127)
        rise = unsafe_mul(rise, 508)
        base = here
        # down: from the base away as w falls
        here = unsafe_sub(base, convert(convert(point[0], bytes32), uint256))
        both: uint256 = unsafe_sub(here, down)
        vol: uint256 = unsafe_sub(unsafe_mul(down, 127), unsafe_mul(both, start))
        down = here
        cells[i] = [
            unsafe_sub(level, unsafe_mul(vol, 128)), unsafe_sub(rise, unsafe_mul(both, 512)), vol, unsafe_mul(both, 4)
        ]
        here = unsafe_sub(convert(convert(point[2], bytes32), uint256), base)
        both = unsafe_sub(here, up)
        vol = unsafe_sub(unsafe_mul(up, 127), unsafe_mul(both, start))
        up = here
        cells[unsafe_add(i, 10)] = [
            unsafe_sub(level, unsafe_mul(vol, 128)), unsafe_sub(rise, unsafe_mul(both, 512)), vol, unsafe_mul(both, 4)
        ]
        if i != 0:
            start = unsafe_add(start, 127)
        i = unsafe_add(i, 1)
    # the last point itself: on the line of the cell before it
    cells[9] = cells[8]
    cells[19] = cells[18]
    return cells


@internal
@pure
def _flat_sums(scenarios: DynArray[uint256[4], 16], flats: Lines) -> uint256[4][16]:
    """
    @notice The same, x 1,270,000, for the underlyings without options, which do not know volatility.
    """
    totals: uint256[4][16] = empty(uint256[4][16])
    # the bits of every byte, in memory because a constant takes 33 bytes of code wherever it stands
    tops: uint256 = SIGN_BITS
    rests: uint256 = ~tops
    for pair: uint256 in range(c.MAX_UNDERLYINGS // 2):
        k: uint256 = unsafe_mul(2, pair)
        if k >= flats.count:
            break
        # two at a time; of an odd number, the last one's fellow is zero and adds nothing
        a: int256[3] = flats.lines[k]
        b: int256[3] = flats.lines[unsafe_add(k, 1)]
        i: uint256 = 0
        if a[0] != a[1] or b[0] != b[1]:
            # a value that lots do not divide: a wad more is at stake when the price falls
            for s: uint256[4] in scenarios:
                j: uint256 = 0
                for scenario: uint256 in s:
                    totals[i][j] = unsafe_add(
                        totals[i][j], unsafe_add(self._on_line(scenario, a), self._on_line(scenario, b))
                    )
                    j = unsafe_add(j, 1)
                i = unsafe_add(i, 1)
            continue
        slope_a: uint256 = convert(convert(a[0], bytes32), uint256)
        slope_b: uint256 = convert(convert(b[0], bytes32), uint256)
        at_a: uint256 = unsafe_mul(convert(a[2], uint256), 16)
        at_b: uint256 = unsafe_mul(convert(b[2], uint256), 16)
        # bytes are counted from -128
        offset: uint256 = unsafe_sub(0, unsafe_mul(unsafe_add(slope_a, slope_b), 128))
        w: uint256 = 0
        for s: uint256[4] in scenarios:
            t: uint256[4] = totals[i]
            # 0 becomes 1 (-128 counts as -127): in no other byte are the top bit and that of the rest plus 127 both 0
            w = s[0] ^ tops
            w = w | ((~(unsafe_add(w & rests, rests) | w) & tops) >> 7)
            t[0] = unsafe_add(
                unsafe_add(t[0], offset),
                unsafe_add(unsafe_mul(slope_a, (w >> at_a) & 255), unsafe_mul(slope_b, (w >> at_b) & 255)),
            )
            w = s[1] ^ tops
            w = w | ((~(unsafe_add(w & rests, rests) | w) & tops) >> 7)
            t[1] = unsafe_add(
                unsafe_add(t[1], offset),
                unsafe_add(unsafe_mul(slope_a, (w >> at_a) & 255), unsafe_mul(slope_b, (w >> at_b) & 255)),
            )
            w = s[2] ^ tops
            w = w | ((~(unsafe_add(w & rests, rests) | w) & tops) >> 7)
            t[2] = unsafe_add(
                unsafe_add(t[2], offset),
                unsafe_add(unsafe_mul(slope_a, (w >> at_a) & 255), unsafe_mul(slope_b, (w >> at_b) & 255)),
            )
            w = s[3] ^ tops
            w = w | ((~(unsafe_add(w & rests, rests) | w) & tops) >> 7)
            t[3] = unsafe_add(
                unsafe_add(t[3], offset),
                unsafe_add(unsafe_mul(slope_a, (w >> at_a) & 255), unsafe_mul(slope_b, (w >> at_b) & 255)),
            )
            totals[i] = t
            i = unsafe_add(i, 1)
    return totals


@internal
@pure
def _on_line(scenario: uint256, line: int256[3]) -> uint256:
    """
    @notice Profit and loss of one straight line in one scenario, x 1,270,000.
    """
    return joint_point._flat_at(scenario, convert(line[2], uint256), line[0], line[1])


@internal
@pure
def _worst(sums: uint256[4][16], scale: uint256, count: uint256) -> (uint256, uint256):
    """
    @notice Greatest loss in wad, rounded against the account, and the lowest scenario that has it (255: no loss).
    @dev Rounding keeps order, so only a sum below all before is rounded. Sums are x scale: 16129 or FLAT_SCALE.
    """
    worst: uint256 = NO_SCENARIO
    lowest: uint256 = SUM_FLOOR
    lift: uint256 = unsafe_mul(SUM_FLOOR, scale)
    low: int256 = 0
    j: uint256 = 0
    for t: uint256[4] in sums:
        if j >= count:
            break
        if (
            convert(convert(t[0], bytes32), int256) < low or convert(convert(t[1], bytes32), int256) < low
            or convert(convert(t[2], bytes32), int256) < low or convert(convert(t[3], bytes32), int256) < low
        ):
            i: uint256 = j
            for sum: uint256 in t:
                if convert(convert(sum, bytes32), int256) < low and i < count:
                    low = convert(convert(sum, bytes32), int256)
                    rounded: uint256 = unsafe_div(unsafe_add(sum, lift), scale)
                    if rounded < lowest:
                        lowest = rounded
                        worst = i
                i = unsafe_add(i, 1)
        j = unsafe_add(j, 4)
    return unsafe_sub(SUM_FLOOR, lowest), worst


@internal
@pure
def _worst_of_both(optioned: uint256[4][16], flat: uint256[4][16], count: uint256) -> (uint256, uint256):
    """
    @notice The same for underlyings with and without options, whose sums are rounded each for itself.
    """
    worst: uint256 = NO_SCENARIO
    lowest: uint256 = 2 * SUM_FLOOR
    total: uint256 = 0
    # in memory: a constant takes 32 bytes of code wherever it stands
    lift: uint256 = LIFT
    flat_lift: uint256 = FLAT_LIFT
    j: uint256 = 0
    for four: uint256[4] in optioned:
        if j >= count:
            break
        t: uint256[4] = four
        f: uint256[4] = flat[j >> 2]
        if unsafe_add(j, 4) > count:
            # no scenarios: no loss
            for k: uint256 in range(count & 3, 4, bound=4):
                t[k] = 0
                f[k] = 0
        total = unsafe_add(
            unsafe_div(unsafe_add(t[0], lift), 16129), unsafe_div(unsafe_add(f[0], flat_lift), FLAT_SCALE)
        )
        if total < lowest:
            lowest = total
            worst = j
        total = unsafe_add(
            unsafe_div(unsafe_add(t[1], lift), 16129), unsafe_div(unsafe_add(f[1], flat_lift), FLAT_SCALE)
        )
        if total < lowest:
            lowest = total
            worst = unsafe_add(j, 1)
        total = unsafe_add(
            unsafe_div(unsafe_add(t[2], lift), 16129), unsafe_div(unsafe_add(f[2], flat_lift), FLAT_SCALE)
        )
        if total < lowest:
            lowest = total
            worst = unsafe_add(j, 2)
        total = unsafe_add(
            unsafe_div(unsafe_add(t[3], lift), 16129), unsafe_div(unsafe_add(f[3], flat_lift), FLAT_SCALE)
        )
        if total < lowest:
            lowest = total
            worst = unsafe_add(j, 3)
        j = unsafe_add(j, 4)
    return unsafe_sub(2 * SUM_FLOOR, lowest), worst


@internal
@view
def _flags(joint_word: uint256) -> uint256:
    """
    @notice Flags of the joint blob when it is wanted.
    """
    if joint_word & (2**160 - 1) == 0:
        return c.FLAG_JOINT_MISSING
    if block.timestamp > (joint_word >> 200) & (2**32 - 1):
        return c.FLAG_TABLE_EXPIRED
    return 0
