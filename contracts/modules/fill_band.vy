# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Prices at which an instrument may be traded
@notice docs/margin-rule.md, section 8. Bounds: those of delta_one and live_grid.
"""

from contracts.modules import constants as c
from contracts.modules import delta_one
from contracts.modules import live_grid
from contracts.modules import margin_inputs
from contracts.modules import row_sum

LANE: constant(uint256) = 2**16 - 1
PAGE: constant(uint256) = 2**160 - 1
LANE_UNIT: constant(uint256) = 2**96 - 1
EVERY_COLUMN: constant(uint256) = 2**9 - 1
# the option word of one unit, long, in slot 0
ONE_UNIT: constant(uint256) = c.LOTS_PER_UNIT << 9


@internal
@view
def _of(
    instrument: uint256, oracle: address, parameters: address, registry: address, table: address
) -> (uint256, uint256, uint256):
    """
    @notice (mark, low, high) of any instrument.
    """
    underlying: uint256 = instrument >> 8
    if underlying >= c.MAX_UNDERLYINGS:
        return 0, 0, 0
    slot: uint256 = instrument & 255
    price_wad: uint256 = margin_inputs._prices(oracle, 1 << underlying, 0)[0] & (2**128 - 1)
    if price_wad == 0:
        return 0, 0, 0
    word: uint256 = margin_inputs._parameters(parameters, 1 << underlying, 0)[1]
    if slot >= c.FUTURE_B_SLOT:
        # slots 255, 254, 253 are the bits 0, 16, 32
        bit: uint256 = unsafe_add(underlying, unsafe_mul(16, unsafe_sub(c.PERP_SLOT, slot)))
        return self._of_delta_one(margin_inputs._marks(registry, 1 << bit)[0], price_wad, slot != c.PERP_SLOT, word)
    page: DynArray[uint256, 33] = margin_inputs._table(table, (1 << underlying) | margin_inputs.WITHOUT_JOINT)
    return self._of_option(slot, price_wad, word, page[1], page[2])


@internal
@pure
def _of_delta_one(
    mark_word: uint256, price_wad: uint256, is_future: bool, parameters: uint256
) -> (uint256, uint256, uint256):
    """
    @notice (mark, low, high) of a perpetual or future: band_bps to either side.
    @param mark_word settlement price (0..95) | expiry (96..127) | carry (128..255)
    """
    mark: int256 = delta_one._mark(mark_word, price_wad, is_future)
    if mark_word & delta_one.SETTLED != 0 or mark <= 0:
        return 0, 0, 0
    mark_wad: uint256 = convert(mark, uint256)
    band_bps: uint256 = (parameters >> 176) & LANE
    # the band is outwards at both ends
    low: uint256 = unsafe_div(unsafe_mul(mark_wad, unsafe_sub(c.BPS, min(band_bps, c.BPS))), c.BPS)
    high: uint256 = unsafe_div(
        unsafe_add(unsafe_mul(mark_wad, unsafe_add(c.BPS, band_bps)), unsafe_sub(c.BPS, 1)), c.BPS
    )
    return mark_wad, low, high


@internal
@view
def _of_option(
    slot: uint256, price_wad: uint256, parameters: uint256, page_1: uint256, page_2: uint256
) -> (uint256, uint256, uint256):
    """
    @notice (mark, low, high) of an option: what its own live grid spans, and a lane unit to either side.
    @param page_1 First page word of the table
    @param page_2 Second page word of the table
    """
    if page_1 & PAGE == 0:
        return 0, 0, 0
    rows: row_sum.RowSum = row_sum._sum_rows([slot | ONE_UNIT], 0, 1, page_1, price_wad, True, True, row_sum.ALL, 0)
    if rows.missing:
        return 0, 0, 0
    live: live_grid.Live = live_grid._evaluate(
        rows.nodes,
        live_grid.Terms(
            low_sloped=0,
            high_sloped=0,
            scan_bps=parameters & LANE,
            columns=EVERY_COLUMN,
            price_wad=price_wad,
            page_2=page_2,
            slack_wad=0,
            short_tail=0,
            is_absolute=True,
        ),
    )
    low: int256 = max_value(int256)
    high: int256 = 0
    for column: int256[3] in live.points:
        for point: int256 in column:
            low = min(low, point)
            high = max(high, point)
    # a lane unit to either side: what rounds to nothing can still be closed
    unit_wad: int256 = convert((page_2 >> 112) & LANE_UNIT, int256)
    return (
        convert(max(live.option_value_wad, 0), uint256),
        convert(max(low - unit_wad, 0), uint256),
        convert(high + unit_wad, uint256),
    )
