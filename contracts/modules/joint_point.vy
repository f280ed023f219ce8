# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title One scenario
@notice docs/margin-rule.md, sections 5 and 7, for an account judged by a single scenario. Bounds: those of joint_scan.
"""

# flips the top bit of every byte: two's complement to a count from -128
SIGN_BITS: constant(uint256) = max_value(uint256) // 255 * 128

# 127 x 10,000, what a byte and a scan range multiply a value with
FLAT_SCALE: constant(uint256) = 1_270_000
# makes a sum positive for its division
SUM_FLOOR: constant(uint256) = 2**234
LIFT: constant(uint256) = SUM_FLOOR * 16129
FLAT_LIFT: constant(uint256) = SUM_FLOOR * FLAT_SCALE

# scenarios from here on are points of the scan
FIRST_POINT: constant(uint256) = 64
# the price points one quarter of the scan range below and above the live price, which give the net delta
DELTA_COLUMNS: constant(uint256) = 2**3 + 2**5


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
def _scenario(joint_word: uint256, j: uint256) -> uint256:
    """
    @notice One scenario, which exists.
    """
    return convert(slice(convert(joint_word & (2**160 - 1), address).code, unsafe_add(unsafe_mul(32, j), 1), 32), uint256)


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
    f: int256 = convert(unsafe_sub(k, unsafe_mul(127, cell)), int256)
    place: Place = Place(cell=cell, f=f, outer=0, g=convert(unsafe_sub(128, min(vol, 128)), int256))
    if vol >= 128:
        place.outer = 2
        place.g = convert(unsafe_sub(vol, 128), int256)
    return place


@internal
@pure
def _optioned_at(points: int256[3][9], place: Place) -> uint256:
    """
    @notice Profit and loss at one place, x 16129; only the two points round it are read.
    @custom:invariant I-20
    """
    here: int256[3] = points[place.cell]
    beyond: int256[3] = points[unsafe_add(place.cell, 1)]
    rest: int256 = unsafe_sub(127, place.f)
    base: int256 = unsafe_add(unsafe_mul(here[1], rest), unsafe_mul(beyond[1], place.f))
    outer: int256 = unsafe_add(unsafe_mul(here[place.outer], rest), unsafe_mul(beyond[place.outer], place.f))
    return convert(
        convert(unsafe_add(unsafe_mul(base, unsafe_sub(127, place.g)), unsafe_mul(outer, place.g)), bytes32), uint256
    )


@internal
@pure
def _flat_at(scenario: uint256, underlying: uint256, low_sloped: int256, high_sloped: int256) -> uint256:
    """
    @notice Profit and loss of a straight line in one scenario, x 1,270,000.
    """
    p: int256 = convert(convert(scenario << unsafe_sub(248, unsafe_mul(underlying, 16)), bytes32), int256) >> 248
    p = max(p, -127)
    return convert(convert(unsafe_mul(low_sloped if p >= 0 else high_sloped, p), bytes32), uint256)


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
                    unsafe_div(unsafe_add(optioned, LIFT), 16129),
                    unsafe_div(unsafe_add(flat, FLAT_LIFT), FLAT_SCALE),
                ),
                2 * SUM_FLOOR,
            ),
            bytes32,
        ),
        int256,
    )


@internal
@pure
def _needs(scenario: uint256, place: Place) -> (uint256, bool, bool):
    """
    @notice What one scenario takes of a live grid: price points (one bit each), volatility down, volatility up.
    @param scenario Joint scenario, or 64 + point of the scan
    @param place Of the joint scenario
    """
    if scenario < FIRST_POINT:
        return DELTA_COLUMNS | (3 << place.cell), place.outer == 0, place.outer != 0
    point: uint256 = unsafe_sub(scenario, FIRST_POINT)
    return DELTA_COLUMNS | (1 << (point % 9)), point < 9, point >= 18
