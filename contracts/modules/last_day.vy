# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Contracts in their last day
@notice docs/margin-rule.md, section 4: an account with contracts that expire within a day is also judged as if it held
        fewer lots of them, and initial margin as if it held none. Bounds: see underlying_risk; lots gone < 2^62, a scan
        range < 2^16 and a price < 2^90, so the valley is below 2^168.
"""

from contracts.modules import constants as c
from contracts.modules import delta_one
from contracts.modules import row_sum
from contracts.modules import underlying_risk

# a quarter of a quarter of the scan range in bps: the most that a unit of curvature hides between two scan points
VALLEY_BPS: constant(uint256) = 16 * c.BPS


struct Later:
    scan_wad: uint256
    charge_wad: uint256


@internal
@pure
def _without(
    holding: underlying_risk.Holding, ones: delta_one.Position[3], what: uint256, next_s: uint256
) -> underlying_risk.Holding:
    """
    @notice The holding with what is left of its perpetuals and futures; their value stays.
    @param holding The whole holding
    @param ones Perpetual and futures; empty where it has none
    @param what row_sum.LATER or KEPT
    @param next_s Time to the account's next expiry
    """
    kept: underlying_risk.Holding = holding
    for k: uint256 in range(3):
        one: delta_one.Position = ones[k]
        if one.left_s == c.LAST_DAY_S or (what == row_sum.KEPT and one.left_s > next_s):
            continue
        if what == row_sum.LATER:
            one.kept = 0
        kept.moving = unsafe_sub(kept.moving, unsafe_sub(one.moving, one.kept))
        if k != 0:
            kept.futures_moving = unsafe_sub(kept.futures_moving, unsafe_sub(one.moving, one.kept))
            kept.futures_gross = unsafe_sub(
                kept.futures_gross,
                unsafe_sub(convert(abs(one.moving), uint256), convert(abs(one.kept), uint256)),
            )
    return kept


@internal
@pure
def _lower(points: int256[3][9], others: int256[3][9]) -> int256[3][9]:
    """
    @notice The worse of two live grids, point by point.
    """
    lower: int256[3][9] = points
    for n: uint256 in range(9):
        for v: uint256 in range(3):
            lower[n][v] = min(points[n][v], others[n][v])
    return lower


@internal
@pure
def _valley(
    holding: underlying_risk.Holding,
    rows: row_sum.RowSum,
    full_value: int256,
    kept_value: int256,
    points: int256[3][9],
    kept: int256[3][9],
) -> uint256:
    """
    @notice What long options that are gone may hide between two scan points, up: at most what is left of their value
            where all that is gone loses most.
    @param rows Sums over the lots kept, and over those gone
    @param full_value Value of the account's positions
    @param kept_value The same without the options that are gone
    @param points Live grid of the full account
    @param kept Live grid without what is gone
    """
    if rows.gone_long <= rows.gone_short:
        return 0
    scaled: uint256 = unsafe_mul(holding.parameters & underlying_risk.LANE, holding.price_word & (2**128 - 1))
    divisor: uint256 = VALLEY_BPS * c.LOTS_PER_UNIT
    hidden: uint256 = unsafe_div(
        unsafe_add(unsafe_mul(unsafe_sub(rows.gone_long, rows.gone_short), scaled), unsafe_sub(divisor, 1)), divisor
    )
    unit_wad: uint256 = (holding.page_2 >> 112) & (2**96 - 1)
    value: int256 = unsafe_add(
        unsafe_sub(full_value, kept_value),
        convert(underlying_risk._lots_up(rows.gone_short_value, unit_wad), int256),
    )
    # what is gone gains points - kept: the most it loses, at least 0
    lost: int256 = 0
    for n: uint256 in range(9):
        for v: uint256 in range(3):
            lost = max(lost, unsafe_sub(kept[n][v], points[n][v]))
    return min(hidden, convert(max(unsafe_sub(value, lost), 0), uint256))


@internal
@pure
def _later(full: underlying_risk.Part, rest: underlying_risk.Part, valley_wad: uint256) -> Later:
    """
    @notice What initial margin asks without what ends within a day.
    @param full Part of the full account
    @param rest The same without what ends
    @param valley_wad What the full account's longs may hide
    """
    return Later(
        scan_wad=rest.scan_wad, charge_wad=max(unsafe_add(full.charge_wad, valley_wad), rest.charge_wad)
    )


@internal
@pure
def _beyond(asked_wad: uint256, had_wad: uint256) -> uint256:
    """
    @notice What is asked and not had yet.
    """
    return unsafe_sub(max(asked_wad, had_wad), had_wad)


@internal
@pure
def _worse(full: underlying_risk.Part, kept: underlying_risk.Part, valley_wad: uint256) -> underlying_risk.Part:
    """
    @notice The account's part with what it must hold for the lots that are left.
    @param full Part of the full account
    @param kept Part of the account with the lots that count
    @param valley_wad What the full account's longs may hide
    @custom:invariant I-79, I-80
    """
    worse: underlying_risk.Part = full
    worse.scan_wad = max(full.scan_wad, kept.scan_wad)
    worse.charge_wad = max(unsafe_add(full.charge_wad, valley_wad), kept.charge_wad)
    worse.added_wad = max(full.added_wad, kept.added_wad)
    if full.doubt_wad != 0 or kept.doubt_wad != 0:
        # data as old as this are in doubt about all that is asked for
        worse.doubt_wad = unsafe_add(
            full.doubt_wad,
            unsafe_add(
                unsafe_sub(worse.scan_wad, full.scan_wad), unsafe_sub(worse.charge_wad, full.charge_wad)
            ),
        )
    # a rise is judged by the first, a fall by the second
    worse.low_sloped = min(full.low_sloped, kept.low_sloped)
    worse.high_sloped = max(full.high_sloped, kept.high_sloped)
    return worse
