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
    linked_wad: int256
    page_1: uint256
    page_2: uint256
    # index of the first option word, number of options
    first: uint256
    options: uint256
    # price points to compute, one bit each; the net delta needs bits 3 and 5
    columns: uint256


struct Part:
    # perpetual's profit and value of the options
    equity_wad: int256
    # live grid by price point and volatility state, and its greatest loss
    points: int256[3][9]
    scan_wad: uint256
    charge_wad: uint256
    drift_wad: uint256
    flags: uint256


@internal
@view
def _part(words: DynArray[uint256, c.MAX_WORDS], holding: Holding) -> Part:
    """
    @notice Evaluates one underlying. Bounds: lots < 2^55, price < 2^90, quote < 2^191, linked value < 2^222.
    @param words State words, of which the option words are read
    @param holding Everything else
    """
    part: Part = empty(Part)
    mark: int256 = holding.lots * convert(holding.price_wad, int256)
    # down, against the account
    part.equity_wad = fixed_math._floor_div(mark + holding.quote - holding.lots * holding.funding_wad, LOTS)
    terms: live_grid.Terms = empty(live_grid.Terms)
    terms.delta_low_wad = fixed_math._floor_div(mark, LOTS) + holding.linked_wad
    terms.delta_high_wad = fixed_math._ceil_div(mark, LOTS) + holding.linked_wad
    terms.scan_bps = convert(holding.parameters & LANE, int256)
    terms.columns = holding.columns

    rows: row_sum.RowSum = empty(row_sum.RowSum)
    unit: uint256 = 0
    if holding.options != 0:
        page: address = convert(holding.page_1 & (2**160 - 1), address)
        rows = row_sum._sum_rows(words, holding.first, holding.options, page, holding.price_wad)
        if rows.missing:
            part.flags = c.FLAG_ROW_MISSING
        if page != empty(address):
            if block.timestamp > holding.page_1 >> 224:
                part.flags |= c.FLAG_TABLE_EXPIRED
            unit = (holding.page_2 >> 112) & (2**96 - 1)
            terms.has_rows = True
            terms.price_wad = convert(holding.price_wad, int256)
            terms.reference_wad = convert(holding.page_2 & (2**112 - 1), int256)
            terms.step_e9 = convert(holding.page_2 >> 208, int256)
            terms.unit_wad = convert(unit, int256)
            # five eighths of a lane unit a lot is the most that packing can hide; up, against the account
            terms.slack_wad = convert(fixed_math._mul_div_up(rows.gross_lots * 5, unit, 8 * c.LOTS_PER_UNIT), int256)

    live: live_grid.Live = live_grid._evaluate(rows.nodes, terms)
    part.points = live.points
    part.equity_wad += live.option_value_wad
    part.scan_wad = convert(-live.lowest_wad, uint256)
    if abs(live.coordinate_e9) > live_grid.OFF_GRID:
        part.flags |= c.FLAG_OFF_GRID

    # all charges up, against the account. Value of the net delta: the base volatility's slope round the live price
    net: uint256 = min(
        fixed_math._mul_div_up(
            convert(abs(live.points[5][1] - live.points[3][1]), uint256), 20_000, max(holding.parameters & LANE, 1)
        ),
        MAX_CHARGED,
    )
    notional: uint256 = min(fixed_math._mul_div_up(rows.gross_lots, holding.price_wad, c.LOTS_PER_UNIT), MAX_CHARGED)
    gross: uint256 = convert(max(abs(terms.delta_low_wad), abs(terms.delta_high_wad)), uint256)
    gross += fixed_math._mul_div_up(rows.gross_delta, unit, c.LOTS_PER_UNIT)
    depth: uint256 = max((holding.parameters >> 128) & LANE, 1) * MONEY_UNIT
    part.charge_wad = (
        self._impact(net, (holding.parameters >> 64) & LANE, depth)
        + self._impact(notional, (holding.parameters >> 80) & LANE, depth)
        + fixed_math._mul_div_up(rows.short_minimum, unit, c.LOTS_PER_UNIT)
        + rows.missing_charge_wad
    )
    if gross > net:
        part.charge_wad += fixed_math._mul_div_up((gross - net) // 2, (holding.parameters >> 96) & LANE, c.BPS)
    if notional != 0:
        away: uint256 = convert(min(abs(live.coordinate_e9), live_grid.OFF_GRID), uint256)
        part.drift_wad = fixed_math._mul_div_up(notional * ((holding.parameters >> 112) & LANE), away, 10**13)
    return part


@internal
@pure
def _impact(value_wad: uint256, charge_bps: uint256, depth_wad: uint256) -> uint256:
    """
    @notice ceil(value * charge * (depth + value) / (1e4 * depth)): grows with the size against the market's depth.
    """
    return fixed_math._mul_div_up(value_wad * charge_bps, depth_wad + value_wad, c.BPS * depth_wad)
