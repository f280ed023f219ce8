# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title What an epoch may say about time, volatility, expiries and prices
"""

from contracts.interfaces import IInstrumentRegistry
from contracts.interfaces import IPriceOracle
from contracts.interfaces import IRiskParameters
from contracts.interfaces import IRiskTable
from contracts.modules import constants as c
from contracts.modules import epochs
from contracts.modules import errors_table as e
from contracts.modules import lanes
from snekmate.auth import ownable

uses: ownable
uses: epochs


event LimitsSet:
    limits: Limits


# min_interval_s: between two epochs of one underlying, and of the joint scenarios; max_age_s: of the observation;
# page_life_s, joint_life_s: longest time to expiry; price_tolerance_bps: reference price against the live one;
# vol_up_bps, vol_down_bps: largest relative step of the at-the-money volatility from one epoch to the next
struct Limits:
    min_interval_s: uint256
    max_age_s: uint256
    page_life_s: uint256
    joint_life_s: uint256
    price_tolerance_bps: uint256
    vol_up_bps: uint256
    vol_down_bps: uint256


# expiries after the observation; settled and expired options need none
MAX_SURFACES: constant(uint256) = c.MAX_SURFACES

_MINUTE: constant(uint256) = 60
_HOUR: constant(uint256) = 3_600
_DAY: constant(uint256) = 86_400
# strikes lie within 20 times the price at their listing; a lane counts to 65,535
_MAX_UNITS_PER_PRICE: constant(uint256) = 256
_MAX_TOLERANCE_BPS: constant(uint256) = 1_000
# 1,000 % a year
_MAX_VOL_BPS: constant(uint256) = 100_000
_MAX_VOL_UP_BPS: constant(uint256) = 20_000
_MAX_VOL_DOWN_BPS: constant(uint256) = 7_500


REGISTRY: public(immutable(address))
ORACLE: public(immutable(address))
PARAMETERS: public(immutable(address))


_limits: Limits


@deploy
def __init__(registry: address, oracle: address, parameters: address):
    """
    @notice Limits start at: 1 minute apart, 10 minutes old, life of a page 1 day and of the scenarios 30 days, 2 %
            off the live price, volatility +50 % or -35 % an epoch
    """
    REGISTRY = registry
    ORACLE = oracle
    PARAMETERS = parameters
    self._store_limits(
        Limits(
            min_interval_s=_MINUTE,
            max_age_s=10 * _MINUTE,
            page_life_s=_DAY,
            joint_life_s=30 * _DAY,
            price_tolerance_bps=200,
            vol_up_bps=5_000,
            vol_down_bps=3_500,
        )
    )


@external
def set_limits(limits: Limits):
    """
    @notice Governance sets what publish() allows, inside bounds
    @dev Abuse: tight limits stop the table until it expires, wide ones let publishers move it fast. Tolerance is at most
         10 %, a volatility step at most +200 % or -75 %, a page lives at most a week and scenarios at most 90 days.
    """
    ownable._check_owner()
    self._store_limits(limits)


@external
@view
def limits() -> Limits:
    """
    @notice What publish() allows
    """
    return self._limits


@external
@view
def check_publish(
    underlying: uint256,
    header: IRiskTable.Header,
    surfaces: DynArray[IRiskTable.Surface, MAX_SURFACES],
    row_count: uint256,
):
    """
    @notice Reverts with the reason that publish() would give now, signatures left aside; returns nothing otherwise
    @param underlying Underlying
    @param header As for publish
    @param surfaces As for publish
    @param row_count Number of rows
    """
    self._check_page(underlying, header, surfaces, row_count)


@internal
def _store_limits(limits: Limits):
    assert limits.min_interval_s <= _DAY, e.BAD_LIMITS
    assert limits.max_age_s >= _MINUTE and limits.max_age_s <= _DAY, e.BAD_LIMITS
    assert limits.page_life_s >= _HOUR and limits.page_life_s <= 7 * _DAY, e.BAD_LIMITS
    assert limits.joint_life_s >= _HOUR and limits.joint_life_s <= 90 * _DAY, e.BAD_LIMITS
    assert limits.price_tolerance_bps != 0 and limits.price_tolerance_bps <= _MAX_TOLERANCE_BPS, e.BAD_LIMITS
    assert limits.vol_up_bps != 0 and limits.vol_up_bps <= _MAX_VOL_UP_BPS, e.BAD_LIMITS
    assert limits.vol_down_bps != 0 and limits.vol_down_bps <= _MAX_VOL_DOWN_BPS, e.BAD_LIMITS
    self._limits = limits
    log LimitsSet(limits=limits)


@internal
@view
def _check_page(
    underlying: uint256,
    header: IRiskTable.Header,
    surfaces: DynArray[IRiskTable.Surface, MAX_SURFACES],
    row_count: uint256,
):
    """
    @notice Everything that must hold for a page to become the living one
    @custom:invariant I-37
    """
    assert underlying < staticcall IInstrumentRegistry(REGISTRY).underlying_count(), e.UNKNOWN_UNDERLYING
    meta: uint256 = epochs._meta[underlying]
    assert header.epoch == epochs._last_epoch(underlying) + 1, e.BAD_EPOCH
    self._check_times(
        header.observed_at,
        header.expires_at,
        self._limits.page_life_s,
        epochs._observed_at(epochs._pages[underlying][0]),
        epochs._published_at(meta),
    )
    self._check_surfaces(header, surfaces)
    self._check_vol(header.atm_vol_bps, epochs._vol_bps(meta))
    price: uint256 = (staticcall IPriceOracle(ORACLE).read(1 << underlying, 0))[0]
    assert (price >> 128) & 255 == c.PRICE_FRESH, e.PRICE_NOT_FRESH
    self._check_price(header.reference_price_wad, price & (2**128 - 1))
    # a unit far too large passes every check of a row, as all lanes are 0 or 1, and what packing can hide, charged to
    # each lot, would make every holder of an option liquidatable
    assert header.lane_unit_wad != 0, e.LANE_UNIT
    assert header.lane_unit_wad <= max(header.reference_price_wad // _MAX_UNITS_PER_PRICE, 1), e.LANE_UNIT
    self._check_shocks(underlying, header)
    # not more either: rows for slots not yet used would make a later listing tradable at a margin of zero
    assert row_count == staticcall IInstrumentRegistry(REGISTRY).row_count(underlying), e.ROW_COUNT


@internal
@view
def _check_times(observed_at: uint256, expires_at: uint256, life_s: uint256, last_observed_at: uint256, last_at: uint256):
    """
    @notice What every epoch must say about time, unix s.
    @param life_s Longest time to expiry
    @param last_observed_at Observation of the epoch before, 0 if none
    @param last_at When that was published, 0 if never
    """
    assert observed_at <= block.timestamp, e.OBSERVED_IN_FUTURE
    assert observed_at > last_observed_at, e.OBSERVED_NOT_NEWER
    assert block.timestamp - observed_at <= self._limits.max_age_s, e.OBSERVED_TOO_OLD
    assert expires_at > block.timestamp, e.EXPIRED
    assert expires_at - block.timestamp <= life_s, e.LIFE_TOO_LONG
    if last_at != 0:
        assert block.timestamp - last_at >= self._limits.min_interval_s, e.TOO_SOON


@internal
@view
def _check_vol(atm_vol_bps: uint256, last_bps: uint256):
    """
    @notice Bounds the step of the at-the-money volatility (bps a year); `last_bps` 0 = first epoch.
    """
    assert atm_vol_bps != 0 and atm_vol_bps <= _MAX_VOL_BPS, e.VOL
    if last_bps == 0:
        return
    assert atm_vol_bps * c.BPS <= last_bps * (c.BPS + self._limits.vol_up_bps), e.VOL_STEP
    assert atm_vol_bps * c.BPS >= last_bps * (c.BPS - self._limits.vol_down_bps), e.VOL_STEP


@internal
@view
def _check_price(reference_wad: uint256, live_wad: uint256):
    """
    @notice The reference price must be near the live one.
    @custom:invariant I-38
    """
    assert reference_wad != 0 and reference_wad <= c.MAX_PRICE_WAD, e.REFERENCE
    apart: uint256 = max(reference_wad, live_wad) - min(reference_wad, live_wad)
    assert apart * c.BPS <= live_wad * self._limits.price_tolerance_bps, e.REFERENCE


@internal
@view
def _check_surfaces(header: IRiskTable.Header, surfaces: DynArray[IRiskTable.Surface, MAX_SURFACES]):
    """
    @notice Surfaces ascend by expiry, and a page ends at the first expiry it has ahead: after that nobody may be margined by
            a page that knows neither the option's time value nor its settlement.
    """
    last: uint256 = 0
    for surface: IRiskTable.Surface in surfaces:
        assert surface.expiry > last, e.SURFACE_ORDER
        last = surface.expiry
        if last > header.observed_at:
            assert header.expires_at <= last, e.OUTLIVES_EXPIRY


@internal
@view
def _check_shocks(underlying: uint256, header: IRiskTable.Header):
    """
    @notice Grid step, volatility shocks and short minimum are those of the underlying's parameters, lanes 0..3 and 9
    @dev The step is that of the stored scan range, so that the grid still spans the scan when its ramp has ended. The
         others reach maintenance margin through the rows alone: they are those in force at the observation, or a page
         would bring a push in at once.
    @custom:invariant I-50
    """
    scan_bps: uint256 = lanes._lane(staticcall IRiskParameters(PARAMETERS).word(lanes.KIND_UNDERLYING, underlying), 0)
    # a twelfth of the scan range, in 1e-9: the scan then ends at the twelfth grid step
    assert header.step_e9 != 0 and header.step_e9 == scan_bps * 10**5 // 12, e.GRID_STEP
    word: uint256 = staticcall IRiskParameters(PARAMETERS).underlying_at(underlying, header.observed_at)
    assert header.vol_up_bps == lanes._lane(word, 1), e.SHOCKS
    assert header.vol_down_bps == lanes._lane(word, 2), e.SHOCKS
    assert header.vol_power_bps == lanes._lane(word, 3), e.SHOCKS
    assert header.short_min_bps == lanes._lane(word, 9), e.SHOCKS
