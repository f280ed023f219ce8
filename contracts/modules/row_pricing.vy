# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Lanes of one row
@notice Prices an option on the 15 x 3 grid and expresses it in lane units, as risk/table.py does: sticky strike,
        volatility not below 1 %, settled = payoff, expired and not settled = intrinsic value of each node.
@dev A publisher who could make this revert could not be challenged. So _is_sane comes first and bounds every input; the
     bounds of the arithmetic below and in the modules are proven from it.
"""

from contracts.interfaces import IRowVerifier
from contracts.modules import black76
from contracts.modules import constants as c
from contracts.modules import fixed_math
from contracts.modules import svi
from contracts.modules import vol_shock
from snekmate.utils import math


LANE_MAX: constant(uint256) = 2**16 - 1
LANES: constant(uint256) = 48

# header lanes
SHORT_MINIMUM_LANE: constant(uint256) = 15
DELTA_LANE: constant(uint256) = 31
TAIL_LANE: constant(uint256) = 47
_NODES: constant(uint256) = 15
_STEPS: constant(int256[_NODES]) = [-15, -12, -9, -6, -3, -2, -1, 0, 1, 2, 3, 6, 9, 12, 15]

_E9: constant(uint256) = 10**9
# a twelfth of a scan range of 90 %
_MAX_STEP_E9: constant(uint256) = 75_000_000
_MAX_TIME: constant(uint256) = 2**40
_MAX_LANE_UNIT: constant(uint256) = 2**96
_MAX_BPS: constant(uint256) = 2**16
# a forward outside 1/100 .. 100 of the price, or a discount outside 1/100 .. 2, is no market's within two years
_MIN_RATIO_WAD: constant(uint256) = c.WAD // 100
_MAX_RATIO_WAD: constant(uint256) = 100 * c.WAD
_MIN_DISCOUNT_WAD: constant(uint256) = c.WAD // 100
_MAX_DISCOUNT_WAD: constant(uint256) = 2 * c.WAD


@internal
@pure
def _is_sane(row: IRowVerifier.Row) -> bool:
    """
    @notice Whether the row can be priced: always, where the slot has no option
    """
    if row.expiry == 0:
        return True
    if (
        row.strike_wad == 0
        or row.strike_wad > c.MAX_PRICE_WAD
        or row.expiry >= _MAX_TIME
        or row.settled_price_wad > c.MAX_PRICE_WAD
        or row.reference_price_wad == 0
        or row.reference_price_wad > c.MAX_PRICE_WAD
        or row.lane_unit_wad == 0
        or row.lane_unit_wad >= _MAX_LANE_UNIT
        or row.step_e9 == 0
        or row.step_e9 > _MAX_STEP_E9
        or max(max(row.vol_up_bps, row.vol_down_bps), max(row.vol_power_bps, row.short_min_bps)) >= _MAX_BPS
    ):
        return False
    return row.expiry <= row.observed_at or (
        row.forward_ratio_wad >= _MIN_RATIO_WAD
        and row.forward_ratio_wad <= _MAX_RATIO_WAD
        and row.discount_wad >= _MIN_DISCOUNT_WAD
        and row.discount_wad <= _MAX_DISCOUNT_WAD
        and svi._is_sane(row.a_wad, row.b_wad, row.rho_wad, row.m_wad, row.sigma_wad)
    )


@internal
@pure
def _counts(row: IRowVerifier.Row) -> uint256[LANES]:
    """
    @notice Lane units of each lane of a sane row, lane = 16 * word + lane; not stopped at 65,535, so that a lane unit
            too small for the row shows. Values to the nearest, headers up.
    """
    counts: uint256[LANES] = empty(uint256[LANES])
    if row.expiry == 0:
        return counts
    if row.settled_price_wad != 0 and row.expiry <= row.observed_at:
        payoff: uint256 = black76._intrinsic_wad(row.is_call, row.settled_price_wad, row.strike_wad)
        for k: uint256 in range(LANES):
            if k % 16 != _NODES:
                counts[k] = self._nearest(payoff, row.lane_unit_wad)
        return counts
    return self._living_counts(row)


@internal
@pure
def _living_counts(row: IRowVerifier.Row) -> uint256[LANES]:
    """
    @notice The same for an option that is not settled
    """
    ratio: uint256 = c.WAD
    discount: uint256 = c.WAD
    log_wad: int256 = 0
    base: uint256 = 0
    deviations: uint256[3] = empty(uint256[3])
    if row.expiry > row.observed_at:
        ratio = row.forward_ratio_wad
        discount = row.discount_wad
        # prices below 2^90 and the ratio's bounds: at most 63 + 5, and with a node of 1e-9 .. 2.125 of the price below 90
        log_wad = math._wad_ln(convert(row.reference_price_wad * ratio, int256)) - math._wad_ln(
            convert(row.strike_wad * c.WAD, int256)
        )
        base = svi._total_deviation(-log_wad, row.a_wad, row.b_wad, row.rho_wad, row.m_wad, row.sigma_wad)
        deviations = vol_shock._total_deviations(
            base, row.expiry - row.observed_at, row.vol_up_bps, row.vol_down_bps, row.vol_power_bps
        )

    counts: uint256[LANES] = self._values(row, ratio, discount, log_wad, deviations)
    # 2^90 2^27 2^67 2^61 3 < 2^247
    steepest: uint256 = 3 * row.reference_price_wad * row.step_e9 * ratio * discount // (_E9 * c.WAD**2)
    tail: uint256 = self._tail(row.is_call, counts, convert(steepest, int256), 3 * row.lane_unit_wad)
    unit: uint256 = row.lane_unit_wad
    for k: uint256 in range(LANES):
        counts[k] = self._nearest(counts[k], unit)
    counts[TAIL_LANE] = tail
    # the lane unit is below 2^96 and the minimum below 2^16 2^90
    counts[SHORT_MINIMUM_LANE] = fixed_math._mul_div_up(
        row.short_min_bps, row.reference_price_wad, c.BPS * row.lane_unit_wad
    )
    # the delta's volatility has no floor: it is that of the smile; the products are below 2^90 2^67 2^61
    forward: uint256 = row.reference_price_wad * ratio // c.WAD
    delta: uint256 = black76._absolute_delta_wad(row.is_call, forward, row.strike_wad, log_wad, base, discount)
    counts[DELTA_LANE] = fixed_math._mul_div_up(row.reference_price_wad * ratio, delta, row.lane_unit_wad * c.WAD**2)
    return counts


@internal
@pure
def _values(
    row: IRowVerifier.Row, ratio: uint256, discount: uint256, log_wad: int256, deviations: uint256[3]
) -> uint256[LANES]:
    """
    @notice Values of the 45 nodes, wad, at their lanes; 0 at the header lanes
    @param log_wad ln(forward / strike) at the reference price
    """
    values: uint256[LANES] = empty(uint256[LANES])
    is_alive: bool = row.expiry > row.observed_at
    n: uint256 = 0
    for steps: int256 in _STEPS:
        # the outermost node of a scan range above 80 % would lie below zero
        node_e9: int256 = max(convert(_E9, int256) + steps * convert(row.step_e9, int256), 0)
        # below 2^90 2^32 2^67
        forward: uint256 = row.reference_price_wad * convert(node_e9, uint256) * ratio // (_E9 * c.WAD)
        node_log: int256 = 0
        if is_alive and node_e9 != 0:
            node_log = log_wad + math._wad_ln(node_e9 * convert(_E9, int256))
        values[n] = black76._value_wad(row.is_call, forward, row.strike_wad, node_log, deviations[0], discount)
        values[n + 16] = black76._value_wad(row.is_call, forward, row.strike_wad, node_log, deviations[1], discount)
        values[n + 32] = black76._value_wad(row.is_call, forward, row.strike_wad, node_log, deviations[2], discount)
        n += 1
    return values


@internal
@pure
def _tail(is_call: bool, values: uint256[LANES], steepest: int256, unit: uint256) -> uint256:
    """
    @notice What the value may gain at most beyond an edge on the line through its two outer nodes, in lane units a grid
            step, rounded up and, unless it is zero, one more for the rounding of those nodes
    @param steepest Slope of the discounted forward over three grid steps, wad
    @param unit Of three lanes, wad
    """
    call_slope: int256 = steepest if is_call else 0
    put_slope: int256 = 0 if is_call else steepest
    gain: int256 = 0
    for state: uint256 in range(3):
        first: uint256 = 16 * state
        above: int256 = convert(values[first + 14], int256) - convert(values[first + 13], int256)
        below: int256 = convert(values[first], int256) - convert(values[first + 1], int256)
        gain = max(gain, max(call_slope - above, put_slope - below))
    count: uint256 = fixed_math._div_up(convert(gain, uint256), unit)
    return count if count == 0 or count >= c.MAX_TAIL else count + 1


@internal
@pure
def _hour(row: IRowVerifier.Row) -> uint256:
    """
    @notice When the option expires, in hours from the hour before the observation's; 0 if in more than 30, if it is
            settled, or where there is none. Bits 11..15 of the tail lane.
    @custom:invariant I-81
    """
    if row.expiry == 0 or (row.settled_price_wad != 0 and row.expiry <= row.observed_at):
        return 0
    hour: uint256 = max(row.expiry // c.HOUR_S, row.observed_at // c.HOUR_S) - row.observed_at // c.HOUR_S + 1
    return hour if hour <= c.MAX_HOUR else 0


@internal
@pure
def _nearest(value_wad: uint256, unit_wad: uint256) -> uint256:
    """
    @notice value / unit to the nearest integer, halves up; value < 2^200, 0 < unit < 2^96
    """
    return unsafe_div(unsafe_add(value_wad, unit_wad >> 1), unit_wad)
