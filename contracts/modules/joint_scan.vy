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

# 127 x 127, what the two interpolations multiply a value with
SCALE: constant(int256) = 16129
# 127 x 10,000, what a byte and a scan range multiply a value with
FLAT_SCALE: constant(uint256) = 1_270_000
# flips the top bit of every byte: two's complement to a count from -128
SIGN_BITS: constant(uint256) = max_value(uint256) // 255 * 128
NO_SCENARIO: constant(uint256) = 255
BLOB_BYTES: constant(uint256) = 32 * c.MAX_JOINT
# makes a sum positive for its division
SUM_FLOOR: constant(uint256) = 2**234
HALF_CELLS: constant(uint256) = 10


struct Place:
    cell: uint256
    # 127ths of the way to the next price point
    f: int256
    # 0 = down, 2 = up
    outer: uint256
    # 127ths of the way to the outer volatility state
    g: int256


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
def _load(joint_word: uint256, count: uint256) -> uint256[8][8]:
    """
    @notice Scenarios of the blob that the table's joint word points to, and zeros.
    """
    blob: address = convert(joint_word & (2**160 - 1), address)
    if blob.codesize > BLOB_BYTES:
        # as the table stores it, padded to 64
        return abi_decode(slice(blob.code, 1, BLOB_BYTES), uint256[8][8])
    # Vyper copies code in constant lengths only
    scenarios: uint256[8][8] = empty(uint256[8][8])
    for j: uint256 in range(count, bound=c.MAX_JOINT):
        scenarios[j >> 3][j & 7] = convert(slice(blob.code, 32 * j + 1, 32), uint256)
    return scenarios


@internal
@view
def _scenario(joint_word: uint256, j: uint256) -> uint256:
    """
    @notice One scenario, which exists.
    """
    return convert(slice(convert(joint_word & (2**160 - 1), address).code, 32 * j + 1, 32), uint256)


@internal
@pure
def _cells(points: int256[3][9]) -> uint256[4][20]:
    """
    @notice Coefficients by cell: volatility down in 0..9, up in 10..19. The byte -128 counts as -127, which the cells 0
            and 10 stand for: there the price does not matter.
    """
    cells: uint256[4][20] = empty(uint256[4][20])
    i: uint256 = 0
    # b*4 - 4 counts 127ths of the cells from the first point; of the cell i from here on
    start: int256 = 4
    last: int256[3] = points[0]
    for point: int256[3] in points:
        slope: int256 = unsafe_sub(point[1], last[1])
        level: int256 = unsafe_sub(unsafe_mul(last[1], 127), unsafe_mul(slope, start))
        # down: from the base away as w falls
        both: int256 = unsafe_sub(slope, unsafe_sub(point[0], last[0]))
        vol: int256 = unsafe_sub(unsafe_mul(unsafe_sub(last[1], last[0]), 127), unsafe_mul(both, start))
        cells[i] = [
            self._bits(unsafe_sub(unsafe_mul(level, 127), unsafe_mul(vol, 128))),
            self._bits(unsafe_sub(unsafe_mul(slope, 508), unsafe_mul(both, 512))),
            self._bits(vol),
            self._bits(unsafe_mul(both, 4)),
        ]
        both = unsafe_sub(unsafe_sub(point[2], last[2]), slope)
        vol = unsafe_sub(unsafe_mul(unsafe_sub(last[2], last[1]), 127), unsafe_mul(both, start))
        cells[unsafe_add(i, HALF_CELLS)] = [
            self._bits(unsafe_sub(unsafe_mul(level, 127), unsafe_mul(vol, 128))),
            self._bits(unsafe_sub(unsafe_mul(slope, 508), unsafe_mul(both, 512))),
            self._bits(vol),
            self._bits(unsafe_mul(both, 4)),
        ]
        if i != 0:
            start = unsafe_add(start, 127)
        i = unsafe_add(i, 1)
        last = point
    # the last point itself: on the line of the cell before it
    cells[9] = cells[8]
    cells[19] = cells[18]
    return cells


@internal
@pure
def _add_optioned(
    sums: uint256[8][8], scenarios: uint256[8][8], points: int256[3][9], underlying: uint256
) -> uint256[8][8]:
    """
    @notice Adds one underlying's profit and loss, x 16129, to the running sum of every scenario.
    @param sums In two's complement
    @param points Live grid by price point and volatility state
    """
    totals: uint256[8][8] = sums
    cells: uint256[4][20] = self._cells(points)
    position: uint256 = unsafe_mul(underlying, 16)
    i: uint256 = 0
    for eight: uint256[8] in scenarios:
        k: uint256 = 0
        for scenario: uint256 in eight:
            b: uint256 = (scenario ^ SIGN_BITS) >> position
            w: uint256 = (b >> 8) & 255
            b = b & 255
            # 127 / 4 price bytes to a cell
            cell: uint256[4] = cells[
                unsafe_add(unsafe_div(unsafe_add(unsafe_mul(b, 4), 123), 127), unsafe_mul(w >> 7, HALF_CELLS))
            ]
            w = unsafe_add(w, convert(w == 0, uint256))
            totals[i][k] = unsafe_add(
                totals[i][k],
                unsafe_add(
                    unsafe_add(cell[0], unsafe_mul(b, cell[1])),
                    unsafe_mul(w, unsafe_add(cell[2], unsafe_mul(b, cell[3]))),
                ),
            )
            k = unsafe_add(k, 1)
        i = unsafe_add(i, 1)
    return totals


@internal
@pure
def _add_flat(
    sums: uint256[8][8], scenarios: uint256[8][8], low_sloped: int256, high_sloped: int256, underlying: uint256
) -> uint256[8][8]:
    """
    @notice The same, x 1,270,000, for an underlying without options, which does not know volatility.
    """
    totals: uint256[8][8] = sums
    # brings the price byte to the top, from where its sign fills the word
    position: uint256 = unsafe_sub(248, unsafe_mul(underlying, 16))
    i: uint256 = 0
    for eight: uint256[8] in scenarios:
        k: uint256 = 0
        for scenario: uint256 in eight:
            p: int256 = convert(convert(scenario << position, bytes32), int256) >> 248
            p = max(p, -127)
            totals[i][k] = unsafe_add(
                totals[i][k], self._bits(unsafe_mul(low_sloped if p >= 0 else high_sloped, p))
            )
            k = unsafe_add(k, 1)
        i = unsafe_add(i, 1)
    return totals


@internal
@pure
def _worst(optioned: uint256[8][8], flat: uint256[8][8], count: uint256) -> (uint256, uint256):
    """
    @notice Greatest loss in wad, rounded against the account, and the lowest scenario that has it (255: no loss).
    """
    worst: uint256 = NO_SCENARIO
    lowest: int256 = 0
    for j: uint256 in range(count, bound=c.MAX_JOINT):
        total: int256 = self._profit(optioned[j >> 3][j & 7], flat[j >> 3][j & 7])
        if total < lowest:
            lowest = total
            worst = j
    return convert(unsafe_sub(0, lowest), uint256), worst


@internal
@pure
def _profit(optioned: uint256, flat: uint256) -> int256:
    """
    @notice Profit in one scenario in wad, down in both parts.
    """
    return convert(
        convert(
            unsafe_sub(
                unsafe_add(
                    unsafe_div(unsafe_add(optioned, SUM_FLOOR * 16129), 16129),
                    unsafe_div(unsafe_add(flat, SUM_FLOOR * FLAT_SCALE), FLAT_SCALE),
                ),
                2 * SUM_FLOOR,
            ),
            bytes32,
        ),
        int256,
    )


@internal
@pure
def _flat_at(scenario: uint256, underlying: uint256, low_sloped: int256, high_sloped: int256) -> uint256:
    """
    @notice Profit and loss of a straight line in one scenario, x 1,270,000.
    """
    p: int256 = convert(convert(scenario << unsafe_sub(248, unsafe_mul(underlying, 16)), bytes32), int256) >> 248
    p = max(p, -127)
    return self._bits(unsafe_mul(low_sloped if p >= 0 else high_sloped, p))


@internal
@pure
def _place(scenario: uint256, underlying: uint256) -> Place:
    """
    @notice Where a scenario puts one underlying on its live grid.
    """
    pair: uint256 = (scenario ^ SIGN_BITS) >> unsafe_mul(underlying, 16)
    k: uint256 = unsafe_mul(unsafe_sub(max(pair & 255, 1), 1), 4)
    cell: uint256 = min(unsafe_div(k, 127), 7)
    vol: uint256 = max((pair >> 8) & 255, 1)
    place: Place = Place(cell=cell, f=convert(k - 127 * cell, int256), outer=0, g=convert(128 - min(vol, 128), int256))
    if vol >= 128:
        place.outer = 2
        place.g = convert(vol - 128, int256)
    return place


@internal
@pure
def _optioned_at(points: int256[3][9], place: Place) -> uint256:
    """
    @notice Profit and loss at one place, x 16129; only the two points round it are read.
    """
    here: int256[3] = points[place.cell]
    beyond: int256[3] = points[place.cell + 1]
    base: int256 = here[1] * (127 - place.f) + beyond[1] * place.f
    outer: int256 = here[place.outer] * (127 - place.f) + beyond[place.outer] * place.f
    return self._bits(base * (127 - place.g) + outer * place.g)


@internal
@pure
def _bits(number: int256) -> uint256:
    """
    @notice Two's complement of a number.
    """
    return convert(convert(number, bytes32), uint256)
