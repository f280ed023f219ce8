# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Profit and loss of one underlying at 27 points round the live price
@notice docs/margin-rule.md, section 4: nine price moves of a quarter of the scan range, three volatility states.

        Bounds that the unchecked operations below rest on. Values come from sums with |V| < 2^78 (see row_sum), grid
        coordinates are clamped to +-45e9, so |t| <= 11e9 inside the outer tier and |t| <= 15e8 inside the inner one,
        the weights are below 2^68 each and a weighted sum below 2^149; lane units are below 2^96, so its product with
        one is below 2^245. Delta-one values are below 2^223 (2^128 raw units at 2^90 each, 16 assets) and a scan
        range and step below 2^19 together, so their product is below 2^242. x is below 2^150 (price below 2^90
        times 1e18) and its shocked value below 2^168.
"""

SIGNED_WAD: constant(int256) = 10**18
E9: constant(int256) = 10**9
# a quarter of the scan range, in bps of a bps
STEPS: constant(int256) = 40_000
MAX_COORDINATE: constant(int256) = 45 * 10**9
OFF_GRID: constant(int256) = 15 * 10**9
# value x 2e18 (weights) x 1e6 (lots)
NUM_SCALE: constant(int256) = 2 * 10**24
# nodes of the outer tier, one byte each from the lowest: 0 1 2 3 4 7 10 11 12 13 14
OUTER_NODES: constant(uint256) = (
    1 * 2**8 + 2 * 2**16 + 3 * 2**24 + 4 * 2**32 + 7 * 2**40 + 10 * 2**48 + 11 * 2**56 + 12 * 2**64 + 13 * 2**72 + 14 * 2**80
)


struct Terms:
    # value that moves one for one with the price, rounded against the account for a fall and for a rise
    delta_low_wad: int256
    delta_high_wad: int256
    scan_bps: int256
    price_wad: int256
    reference_wad: int256
    step_e9: int256
    unit_wad: int256
    slack_wad: int256
    has_rows: bool
    # which of the nine price points to compute, one bit each
    columns: uint256


struct Live:
    # by price point and then volatility state
    points: int256[3][9]
    lowest_wad: int256
    option_value_wad: int256
    coordinate_e9: int256


struct Weights:
    node_a: uint256
    node_b: uint256
    node_d: uint256
    a: int256
    b: int256
    d: int256


@internal
@pure
def _evaluate(nodes: int256[3][15], terms: Terms) -> Live:
    """
    @notice Fills the live grid. Points not asked for stay 0.
    @param nodes Sums of lots x lanes by price node and volatility state
    @param terms Everything else of the underlying
    @return Live grid, its lowest value (at most 0), value of the options now and the live price's grid coordinate
    """
    live: Live = empty(Live)
    now_num: int256 = 0
    x: int256 = 0
    if terms.has_rows:
        x = unsafe_div(unsafe_mul(terms.price_wad, SIGNED_WAD), terms.reference_wad)
        live.coordinate_e9 = self._coordinate(x, 0, terms.scan_bps, terms.step_e9)
        now: Weights = self._weights(live.coordinate_e9)
        now_num = unsafe_add(
            unsafe_add(unsafe_mul(now.a, nodes[now.node_a][1]), unsafe_mul(now.b, nodes[now.node_b][1])),
            unsafe_mul(now.d, nodes[now.node_d][1]),
        )
        live.option_value_wad = unsafe_sub(self._value(unsafe_mul(now_num, terms.unit_wad)), terms.slack_wad)

    for i: uint256 in range(9):
        if (terms.columns >> i) & 1 == 0:
            continue
        step: int256 = unsafe_sub(convert(i, int256), 4)
        delta: int256 = terms.delta_low_wad
        if step < 0:
            delta = terms.delta_high_wad
        delta = unsafe_mul(unsafe_mul(delta, terms.scan_bps), step)
        moved: int256 = unsafe_div(delta, STEPS)
        # a truncated quotient above the true one is one too high: floor, against the account
        moved = unsafe_sub(moved, convert(unsafe_mul(moved, STEPS) > delta, int256))
        point: int256[3] = [moved, moved, moved]
        if terms.has_rows:
            moved = unsafe_sub(moved, terms.slack_wad)
            w: Weights = self._weights(self._coordinate(x, step, terms.scan_bps, terms.step_e9))
            at_a: int256[3] = nodes[w.node_a]
            at_b: int256[3] = nodes[w.node_b]
            at_d: int256[3] = nodes[w.node_d]
            num: int256 = unsafe_add(
                unsafe_add(unsafe_mul(w.a, at_a[0]), unsafe_mul(w.b, at_b[0])), unsafe_mul(w.d, at_d[0])
            )
            point[0] = unsafe_add(moved, self._value(unsafe_mul(unsafe_sub(num, now_num), terms.unit_wad)))
            num = unsafe_add(
                unsafe_add(unsafe_mul(w.a, at_a[1]), unsafe_mul(w.b, at_b[1])), unsafe_mul(w.d, at_d[1])
            )
            point[1] = unsafe_add(moved, self._value(unsafe_mul(unsafe_sub(num, now_num), terms.unit_wad)))
            num = unsafe_add(
                unsafe_add(unsafe_mul(w.a, at_a[2]), unsafe_mul(w.b, at_b[2])), unsafe_mul(w.d, at_d[2])
            )
            point[2] = unsafe_add(moved, self._value(unsafe_mul(unsafe_sub(num, now_num), terms.unit_wad)))
        live.points[i] = point
        live.lowest_wad = min(live.lowest_wad, min(point[0], min(point[1], point[2])))
    return live


@internal
@pure
def _value(product: int256) -> int256:
    """
    @notice floor(product / 2e24): lots x lane units x weights to wad, against the account.
    """
    quotient: int256 = unsafe_div(product, NUM_SCALE)
    return unsafe_sub(quotient, convert(unsafe_mul(quotient, NUM_SCALE) > product, int256))


@internal
@pure
def _coordinate(x: int256, step: int256, scan_bps: int256, step_e9: int256) -> int256:
    """
    @notice Where the price moved by `step` quarters of the scan range lies on the grid.
    @param x Live price / reference price, 1e18 = 1
    @return 1e-9 of a grid step, clamped to +-45e9
    """
    product: int256 = unsafe_mul(x, unsafe_add(STEPS, unsafe_mul(scan_bps, step)))
    shocked: int256 = unsafe_div(product, STEPS)
    shocked = unsafe_sub(shocked, convert(unsafe_mul(shocked, STEPS) > product, int256))
    shocked = unsafe_sub(shocked, SIGNED_WAD)
    y: int256 = unsafe_div(shocked, step_e9)
    y = unsafe_sub(y, convert(unsafe_mul(y, step_e9) > shocked, int256))
    return max(min(y, MAX_COORDINATE), -MAX_COORDINATE)


@internal
@pure
def _weights(y: int256) -> Weights:
    """
    @notice Quadratic through the three nearest nodes of one tier: weights of the nodes, x 2e18.
    @param y Grid coordinate, -45e9..45e9
    """
    w: Weights = empty(Weights)
    t: int256 = 0
    if -3 * E9 <= y and y <= 3 * E9:
        # the nearest node one grid step apart, kept where it has a neighbour on both sides: 5..9. Adding 35e8 makes
        # the numerator positive, so that division is floor
        b: int256 = max(min(unsafe_add(unsafe_div(unsafe_add(y, 35 * 10**8), E9), 4), 9), 5)
        t = unsafe_sub(y, unsafe_mul(unsafe_sub(b, 7), E9))
        w.node_b = convert(b, uint256)
        w.node_a = unsafe_sub(w.node_b, 1)
        w.node_d = unsafe_add(w.node_b, 1)
    else:
        # three grid steps apart; m = 0..8 counts from the lowest centre. 45e9 + 15e8 makes the numerator positive
        m: int256 = max(min(unsafe_sub(unsafe_div(unsafe_add(y, 465 * 10**8), 3 * E9), 11), 8), 0)
        # (y - 3e9 (m - 4)) is above -36e9: floor again
        t = unsafe_sub(unsafe_div(unsafe_add(unsafe_sub(y, unsafe_mul(m, 3 * E9)), 48 * E9), 3), 12 * E9)
        outer: uint256 = OUTER_NODES >> unsafe_mul(convert(m, uint256), 8)
        w.node_a = outer & 255
        w.node_b = (outer >> 8) & 255
        w.node_d = (outer >> 16) & 255
    w.a = unsafe_mul(t, unsafe_sub(t, E9))
    w.b = unsafe_mul(2, unsafe_sub(SIGNED_WAD, unsafe_mul(t, t)))
    w.d = unsafe_mul(t, unsafe_add(t, E9))
    return w
