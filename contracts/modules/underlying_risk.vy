# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title What an account's holdings in one underlying are worth, may lose and are charged
@notice docs/margin-rule.md, section 4.
"""

from contracts.modules import constants as c
from contracts.modules import fixed_math
from contracts.modules import live_grid
from contracts.modules import row_sum

LANE: constant(uint256) = 2**16 - 1
LOTS: constant(int256) = 10**6
# values above it are charged as if they were it, so that no product leaves 256 bits
MAX_CHARGED: constant(uint256) = 2**112
# the unit of the depth lane: 10,000 USD
MONEY_UNIT: constant(uint256) = 10**22


struct Holding:
    price_wad: uint256
    parameters: uint256
    # perpetual: signed lots, quote, and how much its funding index has risen since entry
    lots: int256
    quote: int256
    funding_wad: int256
    # value of the collateral linked to the underlying
    linked_wad: uint256
    page_1: uint256
    page_2: uint256
    # price points to compute, one bit each; the net delta needs bits 3 and 5
    columns: uint256


struct Part:
    # perpetual's profit and value of the options
    equity_wad: int256
    live: live_grid.Live
    # greatest loss in the live grid
    scan_wad: uint256
    charge_wad: uint256
    drift_wad: uint256
    flags: uint256


@internal
@view
def _part(holding: Holding, rows: row_sum.RowSum) -> Part:
    """
    @notice Evaluates one underlying.
    @dev Bounds that the unchecked operations rest on: lots < 2^55, sums of lots < 2^62, of lots x lanes < 2^78, a price
         < 2^90, a lane unit < 2^96, a parameter lane < 2^16, linked collateral < 2^222, so a grid value < 2^224 and
         the gross delta < 2^223; what is squared is capped at 2^112 first, and a depth is < 2^90.
    @param holding Its inputs
    @param rows Sums over its options; empty when there are none
    """
    part: Part = empty(Part)
    terms: live_grid.Terms = empty(live_grid.Terms)
    terms.delta_low_wad = convert(holding.linked_wad, int256)
    terms.delta_high_wad = terms.delta_low_wad
    if holding.lots != 0 or holding.quote != 0:
        mark: int256 = unsafe_mul(holding.lots, convert(holding.price_wad, int256))
        # all against the account: profit down, a fall from the lower value, a rise from the higher
        part.equity_wad = fixed_math._floor_div(mark + holding.quote - holding.lots * holding.funding_wad, LOTS)
        whole: int256 = fixed_math._floor_div(mark, LOTS)
        terms.delta_low_wad = unsafe_add(terms.delta_low_wad, whole)
        terms.delta_high_wad = unsafe_add(terms.delta_low_wad, convert(unsafe_mul(whole, LOTS) != mark, int256))
    terms.scan_bps = holding.parameters & LANE
    terms.columns = holding.columns

    if rows.missing:
        part.flags = c.FLAG_ROW_MISSING
    has_rows: bool = holding.page_1 & (2**160 - 1) != 0
    if has_rows:
        if block.timestamp > holding.page_1 >> 224:
            part.flags |= c.FLAG_TABLE_EXPIRED
        terms.price_wad = holding.price_wad
        terms.reference_wad = holding.page_2 & (2**112 - 1)
        terms.step_e9 = holding.page_2 >> 208
        terms.unit_wad = (holding.page_2 >> 112) & (2**96 - 1)
        # five eighths of a lane unit a lot is the most that packing can hide; up, against the account
        terms.slack_wad = unsafe_div(
            unsafe_add(unsafe_mul(unsafe_mul(rows.gross_lots, terms.unit_wad), 5), 8 * c.LOTS_PER_UNIT - 1),
            8 * c.LOTS_PER_UNIT,
        )
        terms.short_tail = rows.short_tail
        part.live = live_grid._evaluate(rows.nodes, terms)
    else:
        part.live = live_grid._linear(terms)
    part.equity_wad = unsafe_add(part.equity_wad, part.live.option_value_wad)
    part.scan_wad = convert(unsafe_sub(0, part.live.lowest_wad), uint256)

    # all charges up, against the account. Value of the net delta: the base volatility's slope round the live price
    spread: uint256 = convert(abs(unsafe_sub(part.live.points[5][1], part.live.points[3][1])), uint256)
    net: uint256 = min(
        unsafe_div(unsafe_add(unsafe_mul(spread, 20_000), unsafe_sub(terms.scan_bps, 1)), terms.scan_bps), MAX_CHARGED
    )
    gross: uint256 = convert(max(abs(terms.delta_low_wad), abs(terms.delta_high_wad)), uint256)
    depth: uint256 = unsafe_mul(max((holding.parameters >> 128) & LANE, 1), MONEY_UNIT)
    part.charge_wad = self._impact(net, (holding.parameters >> 64) & LANE, depth)
    if has_rows:
        notional: uint256 = min(self._lots_up(rows.gross_lots, holding.price_wad), MAX_CHARGED)
        gross = unsafe_add(gross, self._lots_up(rows.gross_delta, terms.unit_wad))
        part.charge_wad = unsafe_add(
            unsafe_add(part.charge_wad, self._impact(notional, (holding.parameters >> 80) & LANE, depth)),
            self._lots_up(rows.short_minimum, terms.unit_wad),
        )
        part.drift_wad = unsafe_div(
            unsafe_add(
                unsafe_mul(
                    unsafe_mul(notional, (holding.parameters >> 112) & LANE), min(part.live.away_e9, live_grid.OFF_GRID)
                ),
                10**13 - 1,
            ),
            10**13,
        )
        if part.live.away_e9 > live_grid.OFF_GRID:
            part.flags |= c.FLAG_OFF_GRID
    if gross > net:
        basis: uint256 = unsafe_mul(unsafe_div(unsafe_sub(gross, net), 2), (holding.parameters >> 96) & LANE)
        part.charge_wad = unsafe_add(part.charge_wad, unsafe_div(unsafe_add(basis, c.BPS - 1), c.BPS))
    part.charge_wad = unsafe_add(part.charge_wad, rows.missing_charge_wad)
    return part


@internal
@pure
def _lots_up(lots: uint256, each_wad: uint256) -> uint256:
    """
    @notice ceil(lots * wad per unit / 1e6), < 2^175
    """
    return unsafe_div(unsafe_add(unsafe_mul(lots, each_wad), c.LOTS_PER_UNIT - 1), c.LOTS_PER_UNIT)


@internal
@pure
def _impact(amount_wad: uint256, charge_bps: uint256, depth_wad: uint256) -> uint256:
    """
    @notice ceil(amount * charge * (depth + amount) / (1e4 * depth)): grows with the size against the market's depth.
    @dev amount <= 2^112, charge < 2^16, depth < 2^90: the product is below 2^242
    """
    divisor: uint256 = unsafe_mul(c.BPS, depth_wad)
    return unsafe_div(
        unsafe_add(
            unsafe_mul(unsafe_mul(amount_wad, charge_bps), unsafe_add(depth_wad, amount_wad)), unsafe_sub(divisor, 1)
        ),
        divisor,
    )
