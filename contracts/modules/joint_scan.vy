# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Joint scenarios over several underlyings
@notice docs/margin-rule.md, section 5. Between the points of the live grid, profit and loss is bilinear in the price byte
        and the volatility byte. Inside one cell it is level + f*move + g*(vol + f*both), so the four coefficients of
        the eighteen cells are laid out once per underlying and a scenario costs three multiplications.

        Bounds that the unchecked operations rest on: a grid value is below 2^224, a coefficient below 2^240 and the sum
        over sixteen underlyings below 2^245. Coefficients and sums are in two's complement, modulo 2^256.
"""

from contracts.modules import constants as c

# 127 x 127, what the two interpolations multiply a value with
SCALE: constant(int256) = 16129
# flips the top bit of every byte: two's complement to a count from -128
SIGN_BITS: constant(uint256) = max_value(uint256) // 255 * 128
NO_SCENARIO: constant(uint256) = 255
BLOB_BYTES: constant(uint256) = 32 * c.MAX_JOINT


# one cell of the live grid between two price points and between the base and one outer volatility state
struct Cell:
    level: uint256
    move: uint256
    vol: uint256
    both: uint256


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
def _load(joint_word: uint256) -> DynArray[uint256, c.MAX_JOINT]:
    """
    @notice Scenarios of the blob that the table's joint word points to.
    """
    blob: address = convert(joint_word & (2**160 - 1), address)
    count: uint256 = min((joint_word >> 192) & 255, c.MAX_JOINT)
    # the table counted the words it stored; a shorter blob must not make an account unassessable
    count = min(count, unsafe_div(max(blob.codesize, 1) - 1, 32))
    if blob.codesize > BLOB_BYTES:
        # as the table stores it, padded to 64. ABI encoding of a dynamic array: offset, length, words
        return abi_decode(
            concat(convert(32, bytes32), convert(count, bytes32), slice(blob.code, 1, BLOB_BYTES)),
            DynArray[uint256, c.MAX_JOINT],
        )
    # Vyper copies code in constant lengths only
    scenarios: DynArray[uint256, c.MAX_JOINT] = []
    for j: uint256 in range(count, bound=c.MAX_JOINT):
        scenarios.append(convert(slice(blob.code, 32 * j + 1, 32), uint256))
    return scenarios


@internal
@pure
def _accumulate(
    sums: uint256[c.MAX_JOINT], scenarios: DynArray[uint256, c.MAX_JOINT], points: int256[3][9], underlying: uint256
) -> uint256[c.MAX_JOINT]:
    """
    @notice Adds one underlying's profit and loss, x 16129, to the running sum of every scenario.
    @param sums In two's complement
    @param points Live grid by price point and volatility state
    """
    totals: uint256[c.MAX_JOINT] = sums
    # down in cells 0..9, up in 10..19. -128 counts as -127: it falls into cells 0 and 10, in front of the first point,
    # where the price does not matter
    cells: Cell[20] = empty(Cell[20])
    last: int256[3] = points[0]
    for i: uint256 in range(10):
        next: int256[3] = points[i] if i < 9 else last
        rise: int256 = unsafe_sub(next[1], last[1])
        cell: Cell = Cell(
            level=convert(convert(unsafe_mul(last[1], SCALE), bytes32), uint256),
            move=convert(convert(unsafe_mul(rise, 127), bytes32), uint256),
            vol=convert(convert(unsafe_mul(unsafe_sub(last[1], last[0]), 127), bytes32), uint256),
            both=convert(convert(unsafe_add(unsafe_sub(last[0], next[0]), rise), bytes32), uint256),
        )
        cells[i] = cell
        cell.vol = convert(convert(unsafe_mul(unsafe_sub(last[2], last[1]), 127), bytes32), uint256)
        cell.both = convert(convert(unsafe_sub(unsafe_sub(next[2], last[2]), rise), bytes32), uint256)
        cells[unsafe_add(i, 10)] = cell
        last = next

    position: uint256 = unsafe_mul(underlying, 16)
    j: uint256 = 0
    for scenario: uint256 in scenarios:
        vol: uint256 = (scenario ^ SIGN_BITS) >> position
        # four quarters of the scan range a side: k / 127 counts price points from in front of the first
        k: uint256 = unsafe_add(unsafe_mul(vol & 255, 4), 123)
        # volatility byte + 128, the lowest one left out
        vol = (vol >> 8) & 255
        cell: Cell = cells[unsafe_add(unsafe_div(k, 127), unsafe_mul(vol >> 7, 10))]
        vol = unsafe_sub(unsafe_add(vol, convert(vol == 0, uint256)), 128)
        k = k % 127
        totals[j] = unsafe_add(
            unsafe_add(totals[j], unsafe_add(cell.level, unsafe_mul(k, cell.move))),
            unsafe_mul(vol, unsafe_add(cell.vol, unsafe_mul(k, cell.both))),
        )
        j = unsafe_add(j, 1)
    return totals


@internal
@pure
def _accumulate_flat(
    sums: uint256[c.MAX_JOINT], scenarios: DynArray[uint256, c.MAX_JOINT], points: int256[3][9], underlying: uint256
) -> uint256[c.MAX_JOINT]:
    """
    @notice The same for an underlying without options, which does not know volatility.
    """
    totals: uint256[c.MAX_JOINT] = sums
    # level and move of Cell; 0 is in front of the first point
    lines: uint256[2][10] = empty(uint256[2][10])
    last: uint256 = convert(convert(points[0][1], bytes32), uint256)
    for i: uint256 in range(10):
        next: uint256 = last
        if i < 9:
            next = convert(convert(points[i][1], bytes32), uint256)
        lines[i] = [unsafe_mul(last, 16129), unsafe_mul(unsafe_sub(next, last), 127)]
        last = next

    position: uint256 = unsafe_mul(underlying, 16)
    j: uint256 = 0
    for scenario: uint256 in scenarios:
        k: uint256 = unsafe_add(unsafe_mul(((scenario ^ SIGN_BITS) >> position) & 255, 4), 123)
        line: uint256[2] = lines[unsafe_div(k, 127)]
        totals[j] = unsafe_add(totals[j], unsafe_add(line[0], unsafe_mul(k % 127, line[1])))
        j = unsafe_add(j, 1)
    return totals


@internal
@pure
def _worst(totals: uint256[c.MAX_JOINT]) -> (uint256, uint256):
    """
    @notice Greatest loss in wad, rounded against the account, and the lowest scenario that has it (255: no loss). Sums
            of scenarios that do not exist are 0 and lose nothing.
    """
    worst: uint256 = NO_SCENARIO
    loss: uint256 = 0
    lowest: int256 = 0
    j: uint256 = 0
    for word: uint256 in totals:
        total: int256 = convert(convert(word, bytes32), int256)
        if total < lowest:
            lowest = total
            rounded: uint256 = self._loss(total)
            # two sums can round to one loss: the first keeps it
            if rounded > loss:
                loss = rounded
                worst = j
        j = unsafe_add(j, 1)
    return loss, worst


@internal
@pure
def _loss(total: int256) -> uint256:
    """
    @notice max(0, ceil(-total / 16129)): up, against the account.
    """
    if total >= 0:
        return 0
    return unsafe_div(unsafe_add(convert(unsafe_sub(0, total), uint256), 16128), 16129)


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
def _at(points: int256[3][9], place: Place) -> int256:
    """
    @notice Profit and loss at one place, x 16129; only the two points round it are read.
    """
    here: int256[3] = points[place.cell]
    beyond: int256[3] = points[place.cell + 1]
    base: int256 = here[1] * (127 - place.f) + beyond[1] * place.f
    outer: int256 = here[place.outer] * (127 - place.f) + beyond[place.outer] * place.f
    return base * (127 - place.g) + outer * place.g
