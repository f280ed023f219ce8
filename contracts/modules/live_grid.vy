# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Profit and loss of one underlying at 27 points round the live price
@notice docs/margin-rule.md, section 4: nine price moves of a quarter of the scan range, three volatility states.

        Signed numbers are uint256 in two's complement here, modulo 2^256, and a floor division adds a multiple of its
        divisor that makes the numerator positive. Bounds that this and the unchecked operations rest on: sums of rows
        |V| < 2^78 (see row_sum), and so are tails; grid coordinates are clamped to +-1500e9, so a weight is below 2^70
        in absolute value and the distance from the edge, times 2e9, below 2^72: a value is below 2^151, and times a
        lane unit, which is below 2^96, below 2^247. For the delta see delta_one. The scan range is 100..9,000 bps, so a
        shocked price is positive; x is below 2^150 (price below 2^90 times 1e18) and times a shock below 2^167.
"""

from contracts.modules import delta_one
from contracts.modules import row_sum

WAD: constant(uint256) = 10**18
E9: constant(uint256) = 10**9
# a quarter of the scan range in bps
STEPS: constant(uint256) = 40_000
# the present price among the nine
CENTRE: constant(uint256) = 4
# grid coordinates are counted from the lowest one, -1500e9
ORIGIN: constant(uint256) = 1_500 * 10**9
# the grid ends 15e9 from the reference price; a step of the outer tier further in is the line's other node
OFF_GRID: constant(uint256) = 15 * 10**9
LAST_BUT_ONE: constant(uint256) = 12 * 10**9
# in a count of inner and of outer steps from the lowest coordinate: node 0, and the outer centre of the lowest triple
INNER_ZERO: constant(uint256) = ORIGIN // E9 - 7
OUTER_FIRST: constant(uint256) = ORIGIN // (3 * E9) - 4
# value x 2e18 (weights) x 1e6 (lots)
NUM_SCALE: constant(uint256) = 2 * 10**24
NUM_FLOOR: constant(uint256) = 2**168
# weights add up to 2e18, so this is what the bias of the sums amounts to
NUM_BIAS: constant(uint256) = row_sum.NODE_BIAS * 2 * 10**18
# nodes of the outer tier, one byte each from the lowest: 0 1 2 3 4 7 10 11 12 13 14
OUTER_NODES: constant(uint256) = (
    2**8 + 2 * 2**16 + 3 * 2**24 + 4 * 2**32 + 7 * 2**40 + 10 * 2**48 + 11 * 2**56 + 12 * 2**64 + 13 * 2**72 + 14 * 2**80
)


struct Terms:
    # value that moves one for one with the price, times the scan range; rounded against the account for a fall and a rise
    low_sloped: int256
    high_sloped: int256
    scan_bps: uint256
    # which of the nine price points to compute, one bit each
    columns: uint256
    price_wad: uint256
    # of the page
    page_2: uint256
    slack_wad: uint256
    short_tail: uint256
    # values as they are, rather than counted from the present one
    is_absolute: bool


struct Live:
    # by price point and then volatility state; 0 where not asked for
    points: int256[3][9]
    lowest_wad: int256
    option_value_wad: int256
    # how far the live price is from the reference price, 1e-9 of a grid step
    away_e9: uint256


@internal
@pure
def _straight(low_sloped: int256, high_sloped: int256) -> int256[3][9]:
    """
    @notice Live grid of holdings without a page, which are the same in every volatility state.
    """
    points: int256[3][9] = empty(int256[3][9])
    for n: uint256 in range(9):
        steps: int256 = unsafe_sub(convert(n, int256), 4)
        point: int256 = delta_one._move(low_sloped if steps >= 0 else high_sloped, steps)
        points[n] = [point, point, point]
    return points


@internal
@pure
def _by_state(points: int256[3][9]) -> int256[27]:
    """
    @notice The points one volatility state after the other.
    """
    result: int256[27] = empty(int256[27])
    for v: uint256 in range(3):
        for n: uint256 in range(9):
            result[9 * v + n] = points[n][v]
    return result


@internal
@pure
def _highest(points: int256[3][9]) -> uint256:
    """
    @notice The most that a live grid gains, at least 0.
    """
    highest: int256 = 0
    for column: int256[3] in points:
        for point: int256 in column:
            highest = max(highest, point)
    return convert(highest, uint256)


@internal
@pure
def _evaluate(nodes: uint256[3][15], terms: Terms) -> Live:
    """
    @notice Fills the live grid of holdings with options.
    @param nodes Biased sums of lots x lanes by price node and volatility state
    @param terms Everything else of the underlying
    @return Live grid, its lowest value (at most 0) and the value of the options now, rounded against the account
    @custom:invariant I-14
    """
    live: Live = empty(Live)
    unit_wad: uint256 = (terms.page_2 >> 112) & (2**96 - 1)
    step_e9: uint256 = terms.page_2 >> 208
    x: uint256 = unsafe_div(unsafe_mul(terms.price_wad, WAD), terms.page_2 & (2**112 - 1))
    lowest_shock: uint256 = unsafe_sub(STEPS, unsafe_mul(4, terms.scan_bps))
    origin: uint256 = unsafe_mul(ORIGIN, step_e9)
    # what makes a product of sums and unit positive, and what the quotient must lose again, slack included
    lift: uint256 = unsafe_sub(NUM_FLOOR * NUM_SCALE, unsafe_mul(NUM_BIAS, unit_wad))
    sunk: uint256 = unsafe_add(NUM_FLOOR, terms.slack_wad)
    # the present price first: its values are what the others are counted from
    n: uint256 = CENTRE
    for k: uint256 in range(9):
        if k != 0:
            n = unsafe_sub(k, convert(k <= CENTRE, uint256))
            if (terms.columns >> n) & 1 == 0:
                continue

        # coordinate of the shocked price, from the lowest
        y: uint256 = unsafe_add(
            unsafe_div(unsafe_mul(x, unsafe_add(lowest_shock, unsafe_mul(terms.scan_bps, n))), STEPS), origin
        )
        if y < WAD:
            y = 0
        else:
            y = unsafe_div(unsafe_sub(y, WAD), step_e9)
            if y > 2 * ORIGIN:
                y = 2 * ORIGIN
        # quadratic through the three nearest nodes a, b, d of one tier; t is the distance from b
        a: uint256 = 0
        b: uint256 = 0
        d: uint256 = 0
        t: uint256 = 0
        bend: uint256 = 0
        away: uint256 = unsafe_sub(y, ORIGIN) if y > ORIGIN else unsafe_sub(ORIGIN, y)
        if away > OFF_GRID:
            # the line through the two outer nodes; the third weight is 0
            t = unsafe_div(unsafe_sub(away, LAST_BUT_ONE), 3)
            a = 13
            d = 14
            if y < ORIGIN:
                a = 1
                d = 0
            bend = unsafe_mul(unsafe_mul(unsafe_mul(unsafe_sub(away, OFF_GRID), 2 * E9), terms.short_tail), unit_wad)
        elif away <= 3 * E9:
            # nodes 4..10 are one step apart; b keeps a neighbour on both sides
            b = unsafe_sub(unsafe_div(unsafe_add(y, E9 // 2), E9), INNER_ZERO)
            if b < 5:
                b = 5
            elif b > 9:
                b = 9
            t = unsafe_sub(y, unsafe_mul(unsafe_add(b, INNER_ZERO), E9))
            a = unsafe_sub(b, 1)
            d = unsafe_add(b, 1)
        else:
            # three steps apart: nine centres have both neighbours
            b = unsafe_div(unsafe_add(y, 15 * 10**8), 3 * E9)
            if b < OUTER_FIRST:
                b = OUTER_FIRST
            elif b > OUTER_FIRST + 8:
                b = OUTER_FIRST + 8
            # at least -1e9 steps off, so 12e9 makes the quotient positive
            t = unsafe_sub(
                unsafe_div(unsafe_sub(unsafe_add(y, 36 * E9), unsafe_mul(b, 3 * E9)), 3), 12 * E9
            )
            d = OUTER_NODES >> unsafe_mul(unsafe_sub(b, OUTER_FIRST), 8)
            a = d & 255
            b = (d >> 8) & 255
            d = (d >> 16) & 255
        at_a: uint256[3] = nodes[a]
        at_b: uint256[3] = nodes[b]
        at_d: uint256[3] = nodes[d]
        # weights x 2e18, times the lane unit
        if away > OFF_GRID:
            d = unsafe_mul(unsafe_mul(2 * E9, t), unit_wad)
            b = 0
            a = unsafe_sub(unsafe_mul(2 * 10**18, unit_wad), d)
        else:
            a = unsafe_mul(t, t)
            t = unsafe_mul(t, E9)
            d = unsafe_mul(unsafe_add(a, t), unit_wad)
            b = unsafe_mul(unsafe_sub(2 * 10**18, unsafe_add(a, a)), unit_wad)
            a = unsafe_mul(unsafe_sub(a, t), unit_wad)
        t = unsafe_sub(
            unsafe_add(unsafe_add(unsafe_mul(a, at_a[1]), unsafe_mul(b, at_b[1])), unsafe_mul(d, at_d[1])), bend
        )
        moved: uint256 = unsafe_sub(0, sunk)
        if k == 0:
            live.option_value_wad = convert(
                convert(unsafe_sub(unsafe_div(unsafe_add(t, lift), NUM_SCALE), sunk), bytes32), int256
            )
            live.away_e9 = away
            if not terms.is_absolute:
                # from here on, values are counted from the present one
                lift = unsafe_sub(NUM_FLOOR * NUM_SCALE, t)
            if (terms.columns >> CENTRE) & 1 == 0:
                continue
        elif n < CENTRE:
            if terms.high_sloped != 0:
                moved = self._moved(terms.high_sloped, unsafe_sub(convert(n, int256), 4), sunk)
        elif terms.low_sloped != 0:
            moved = self._moved(terms.low_sloped, unsafe_sub(convert(n, int256), 4), sunk)
        base: int256 = convert(convert(unsafe_add(unsafe_div(unsafe_add(t, lift), NUM_SCALE), moved), bytes32), int256)
        t = unsafe_sub(
            unsafe_add(unsafe_add(unsafe_mul(a, at_a[0]), unsafe_mul(b, at_b[0])), unsafe_mul(d, at_d[0])), bend
        )
        down: int256 = convert(convert(unsafe_add(unsafe_div(unsafe_add(t, lift), NUM_SCALE), moved), bytes32), int256)
        t = unsafe_sub(
            unsafe_add(unsafe_add(unsafe_mul(a, at_a[2]), unsafe_mul(b, at_b[2])), unsafe_mul(d, at_d[2])), bend
        )
        up: int256 = convert(convert(unsafe_add(unsafe_div(unsafe_add(t, lift), NUM_SCALE), moved), bytes32), int256)
        live.points[n] = [down, base, up]
        if down < live.lowest_wad:
            live.lowest_wad = down
        if base < live.lowest_wad:
            live.lowest_wad = base
        if up < live.lowest_wad:
            live.lowest_wad = up
    return live


@internal
@pure
def _moved(sloped: int256, steps: int256, sunk: uint256) -> uint256:
    """
    @notice What the delta gains at a price point, less `sunk`.
    """
    return unsafe_sub(convert(convert(delta_one._move(sloped, steps), bytes32), uint256), sunk)
