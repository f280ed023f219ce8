# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title What an account's holdings in one underlying are worth, may lose and are charged
@notice docs/margin-rule.md, section 4.

        Bounds that the unchecked operations rest on: lots < 2^55, sums of lots < 2^62, of lots x lanes < 2^78, a price
        < 2^90, a lane unit < 2^96, a parameter lane < 2^16, the value of the delta < 2^226 (see delta_one), so a grid value
        < 2^229 and the gross delta < 2^227; what is squared is capped at 2^112 first, and a depth is < 2^90. A charge is
        below 2^231, and scan and charge widened fourfold below 2^246 before the division.
"""

from contracts.modules import constants as c
from contracts.modules import delta_one
from contracts.modules import live_grid
from contracts.modules import row_sum
from contracts.modules import staleness

LANE: constant(uint256) = 2**16 - 1
LOTS: constant(int256) = 10**6
PAGE: constant(uint256) = 2**160 - 1
# values above it are charged as if they were it, so that no product leaves 256 bits
MAX_CHARGED: constant(uint256) = 2**112
# the unit of the depth lane: 10,000 USD
MONEY_UNIT: constant(uint256) = 10**22
# initial margin is widened by this much at most
MAX_WIDEN_BPS: constant(uint256) = 30_000


struct Holding:
    # price (0..127) | state (128..135) | late_bps (200..215)
    price_word: uint256
    parameters: uint256
    # perpetuals and futures: value, and what of it moves with the price, lot x wad
    delta_one: int256
    moving: int256
    # the same of the futures alone: its sum, and that of its absolute values
    futures_moving: int256
    futures_gross: uint256
    # value of the collateral linked to the underlying
    linked_wad: uint256
    # page, 0 without options
    page_1: uint256
    page_2: uint256
    # price points to compute, one bit each; the net delta needs bits 3 and 5
    columns: uint256


struct Part:
    # value of perpetuals, futures and options
    equity_wad: int256
    # value of options that counts for nothing in initial margin
    lost_wad: uint256
    # greatest loss in the live grid
    scan_wad: uint256
    charge_wad: uint256
    # what initial margin asks for drift and widening
    added_wad: uint256
    doubt_wad: uint256
    flags: uint256
    # value that moves one for one with the price, times the scan range: for a fall and for a rise
    low_sloped: int256
    high_sloped: int256


@internal
@pure
def _slopes(holding: Holding) -> (int256, int256, uint256):
    """
    @notice (dv_lo x scan range, dv_hi x scan range, gross delta without options). Linked collateral and the perpetual
            have one mark and are netted; a future has its own.
    """
    low: int256 = convert(holding.linked_wad, int256)
    high: int256 = low
    if holding.moving != 0:
        whole: int256 = delta_one._floor_lots(holding.moving)
        low = unsafe_add(low, whole)
        high = unsafe_add(low, convert(unsafe_mul(whole, LOTS) != holding.moving, int256))
    spot: int256 = unsafe_add(
        unsafe_sub(holding.moving, holding.futures_moving), unsafe_mul(convert(holding.linked_wad, int256), LOTS)
    )
    scan_bps: int256 = convert(holding.parameters & LANE, int256)
    return unsafe_mul(low, scan_bps), unsafe_mul(high, scan_bps), self._lots_up(
        unsafe_add(convert(abs(spot), uint256), holding.futures_gross), 1
    )


@internal
@view
def _flat(holding: Holding) -> Part:
    """
    @notice Evaluates an underlying without options: two straight lines.
    """
    part: Part = empty(Part)
    gross: uint256 = 0
    part.low_sloped, part.high_sloped, gross = self._slopes(holding)
    part.equity_wad = delta_one._floor_lots(holding.delta_one)
    spread: uint256 = convert(
        abs(unsafe_sub(delta_one._move(part.low_sloped, 1), delta_one._move(part.high_sloped, -1))), uint256
    )
    # each half is a straight line rounded down, so the lowest value is at an end
    rise: int256 = delta_one._move(part.low_sloped, 4)
    fall: int256 = delta_one._move(part.high_sloped, -4)
    part.scan_wad = convert(unsafe_sub(0, min(min(rise, fall), 0)), uint256)
    part.charge_wad = self._delta_charge(spread, gross, holding.parameters)
    part.added_wad = self._widened(part, holding.parameters, (holding.price_word >> 200) & LANE)
    if (holding.price_word >> 128) & 255 == c.PRICE_DEAD:
        part.doubt_wad = unsafe_add(
            convert(max(max(rise, fall), 0), uint256), unsafe_add(part.scan_wad, part.charge_wad)
        )
    return part


@internal
@view
def _optioned(holding: Holding, rows: row_sum.RowSum) -> (Part, int256[3][9]):
    """
    @notice Evaluates an underlying with options; also returns its live grid.
    @param holding Its inputs
    @param rows Sums over its options
    """
    part: Part = empty(Part)
    gross: uint256 = 0
    part.low_sloped, part.high_sloped, gross = self._slopes(holding)
    part.equity_wad = delta_one._floor_lots(holding.delta_one)
    price_wad: uint256 = holding.price_word & (2**128 - 1)
    late_bps: uint256 = (holding.price_word >> 200) & LANE
    is_stale: bool = (holding.price_word >> 128) & 255 == c.PRICE_DEAD
    if rows.missing:
        part.flags = c.FLAG_ROW_MISSING
    live: live_grid.Live = empty(live_grid.Live)
    charge_wad: uint256 = rows.missing_charge_wad
    if holding.page_1 & PAGE == 0:
        live.points = live_grid._straight(part.low_sloped, part.high_sloped)
        live.lowest_wad = min(min(live.points[0][1], live.points[8][1]), 0)
    else:
        unit_wad: uint256 = (holding.page_2 >> 112) & (2**96 - 1)
        live = live_grid._evaluate(
            rows.nodes,
            live_grid.Terms(
                low_sloped=part.low_sloped,
                high_sloped=part.high_sloped,
                scan_bps=holding.parameters & LANE,
                columns=holding.columns,
                price_wad=price_wad,
                page_2=holding.page_2,
                # five eighths of a lane unit a lot is the most that packing can hide; up, against the account
                slack_wad=unsafe_div(
                    unsafe_add(unsafe_mul(unsafe_mul(rows.gross_lots, unit_wad), 5), 8 * c.LOTS_PER_UNIT - 1),
                    8 * c.LOTS_PER_UNIT,
                ),
                short_tail=rows.short_tail,
                is_absolute=False,
            ),
        )
        part.equity_wad = unsafe_add(part.equity_wad, live.option_value_wad)
        # all charges up, against the account
        depth: uint256 = unsafe_mul(max((holding.parameters >> 128) & LANE, 1), MONEY_UNIT)
        notional: uint256 = min(self._lots_up(rows.gross_lots, price_wad), MAX_CHARGED)
        gross = unsafe_add(gross, self._lots_up(rows.gross_delta, unit_wad))
        charge_wad = unsafe_add(
            unsafe_add(charge_wad, self._impact(notional, (holding.parameters >> 80) & LANE, depth)),
            self._lots_up(rows.short_minimum, unit_wad),
        )
        part.added_wad = unsafe_div(
            unsafe_add(
                unsafe_mul(
                    unsafe_mul(notional, (holding.parameters >> 112) & LANE), min(live.away_e9, live_grid.OFF_GRID)
                ),
                10**13 - 1,
            ),
            10**13,
        )
        if live.away_e9 > live_grid.OFF_GRID:
            part.flags |= c.FLAG_OFF_GRID
        page_late_bps: uint256 = 0
        is_dead: bool = False
        page_late_bps, is_dead = staleness._late_page(holding.page_1, live.away_e9)
        late_bps = unsafe_add(late_bps, page_late_bps)
        if is_dead:
            part.flags |= c.FLAG_TABLE_EXPIRED
            part.lost_wad = convert(max(live.option_value_wad, 0), uint256)
            if staleness._is_doubtful(holding.page_1):
                is_stale = True
                # off the grid, or with rows that may be another option's, the live grid bounds nothing
                if live.away_e9 > live_grid.OFF_GRID or holding.page_1 >> 224 == 0:
                    part.doubt_wad = notional
    part.scan_wad = convert(unsafe_sub(0, live.lowest_wad), uint256)
    # the base volatility's slope round the live price
    spread: uint256 = convert(abs(unsafe_sub(live.points[5][1], live.points[3][1])), uint256)
    part.charge_wad = unsafe_add(charge_wad, self._delta_charge(spread, gross, holding.parameters))
    part.added_wad = unsafe_add(part.added_wad, self._widened(part, holding.parameters, late_bps))
    if is_stale:
        part.doubt_wad = unsafe_add(
            unsafe_add(part.doubt_wad, live_grid._highest(live.points)), unsafe_add(part.scan_wad, part.charge_wad)
        )
    return part, live.points


@internal
@pure
def _widened(part: Part, parameters: uint256, late_bps: uint256) -> uint256:
    """
    @notice What initial margin asks on top while parameters come into force and data is late, up.
    @custom:invariant I-18
    """
    widen_bps: uint256 = min(unsafe_add((parameters >> 192) & LANE, late_bps), MAX_WIDEN_BPS)
    if widen_bps == 0:
        return 0
    return unsafe_div(
        unsafe_add(unsafe_mul(unsafe_add(part.scan_wad, part.charge_wad), widen_bps), c.BPS - 1), c.BPS
    )


@internal
@pure
def _delta_charge(spread_wad: uint256, gross_wad: uint256, parameters: uint256) -> uint256:
    """
    @notice Charges for the value of the net delta and for what of the gross delta it does not cover, up.
    @param spread_wad What half of the scan range, upwards from a quarter below, changes the value by
    """
    scan_bps: uint256 = parameters & LANE
    net: uint256 = min(
        unsafe_div(unsafe_add(unsafe_mul(spread_wad, 20_000), unsafe_sub(scan_bps, 1)), scan_bps), MAX_CHARGED
    )
    depth: uint256 = unsafe_mul(max((parameters >> 128) & LANE, 1), MONEY_UNIT)
    charge: uint256 = self._impact(net, (parameters >> 64) & LANE, depth)
    if gross_wad > net:
        basis: uint256 = unsafe_mul(unsafe_div(unsafe_sub(gross_wad, net), 2), (parameters >> 96) & LANE)
        charge = unsafe_add(charge, unsafe_div(unsafe_add(basis, c.BPS - 1), c.BPS))
    return charge


@internal
@pure
def _lots_up(lots: uint256, each_wad: uint256) -> uint256:
    """
    @notice ceil(lots * wad per unit / 1e6): < 2^175 for options, < 2^227 for what moves of perpetuals and futures
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


@internal
@view
def _is_stale(holding: Holding) -> bool:
    """
    @notice Whether the doubt about an underlying is asked for, which needs the whole live grid.
    """
    if (holding.price_word >> 128) & 255 == c.PRICE_DEAD:
        return True
    return holding.page_1 & PAGE != 0 and staleness._is_doubtful(holding.page_1)
