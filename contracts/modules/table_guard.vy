# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Who may publish, and what an epoch may say about time and volatility
"""

from contracts.modules import constants as c
from contracts.modules import errors_table as e
from snekmate.auth import ownable

uses: ownable


event KeeperSet:
    keeper: indexed(address)
    allowed: bool
    sender: address


event GuardianSet:
    guardian: indexed(address)


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


_MINUTE: constant(uint256) = 60
_HOUR: constant(uint256) = 3_600
_DAY: constant(uint256) = 86_400
_MAX_TOLERANCE_BPS: constant(uint256) = 1_000
# 1,000 % a year
_MAX_VOL_BPS: constant(uint256) = 100_000
_MAX_VOL_UP_BPS: constant(uint256) = 20_000
_MAX_VOL_DOWN_BPS: constant(uint256) = 7_500


# may disable a keeper, nothing else; set by governance
guardian: public(address)

# who may publish; set by governance, cleared by the guardian too
is_keeper: public(HashMap[address, bool])

_limits: Limits


@deploy
def __init__(guardian: address):
    """
    @notice Limits start at: 1 minute apart, 10 minutes old, life of a page 1 day and of the scenarios 30 days, 2 %
            off the live price, volatility +50 % or -35 % an epoch
    """
    self.guardian = guardian
    log GuardianSet(guardian=guardian)
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
def set_keeper(keeper: address, allowed: bool):
    """
    @notice Governance allows or forbids a keeper; the guardian may forbid one
    @dev Abuse: a hostile keeper can publish false rows inside the guards; whoever recomputes them sees it.
    """
    if msg.sender != ownable.owner:
        assert msg.sender == self.guardian and not allowed, e.NOT_GUARDIAN
    self.is_keeper[keeper] = allowed
    log KeeperSet(keeper=keeper, allowed=allowed, sender=msg.sender)


@external
def set_guardian(guardian: address):
    """
    @notice Governance replaces the guardian; the zero address leaves none
    """
    ownable._check_owner()
    self.guardian = guardian
    log GuardianSet(guardian=guardian)


@external
def set_limits(limits: Limits):
    """
    @notice Governance sets what publish() allows, inside bounds
    @dev Abuse: tight limits stop the table until it expires, wide ones let a keeper move it fast. Tolerance is at most
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
    """
    assert reference_wad != 0 and reference_wad <= c.MAX_PRICE_WAD, e.REFERENCE
    apart: uint256 = max(reference_wad, live_wad) - min(reference_wad, live_wad)
    assert apart * c.BPS <= live_wad * self._limits.price_tolerance_bps, e.REFERENCE
