# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title When a push may come, and how long it lives
@notice Nonce, freshness of the observation, the lapse of parameters that nobody renews, and the limits in time.
"""

from contracts.modules import constants as c
from contracts.modules import errors_params as e
from snekmate.auth import ownable

uses: ownable


event GuardsSet:
    guards: Guards


# max_age_s: oldest observation a push may carry; min_interval_s: between two changes of the same word; ttl_s: life of
# the parameters after a push; then im_scale rises by lapse_step_bps at once and after every lapse_interval_s; ramp_s:
# over which maintenance margin takes a tightening in; loosen_delay_s: from a proposal to its execution;
# listing_ramp_s: over which a new collateral comes to count; min_scan_multiple_bps: least scan range over the
# one-day volatility, 0 = no such rule
struct Guards:
    max_age_s: uint256
    min_interval_s: uint256
    ttl_s: uint256
    lapse_step_bps: uint256
    lapse_interval_s: uint256
    ramp_s: uint256
    loosen_delay_s: uint256
    listing_ramp_s: uint256
    min_scan_multiple_bps: uint256


# the part that every margin call reads: one slot
struct Status:
    nonce: uint256
    pushed_at: uint256
    observed_at: uint256
    valid_until: uint256
    lapse_step_bps: uint256
    lapse_interval_s: uint256


_MINUTE: constant(uint256) = 60
_HOUR: constant(uint256) = 3_600
_DAY: constant(uint256) = 86_400
_MASK_16: constant(uint256) = 2**16 - 1
_MASK_40: constant(uint256) = 2**40 - 1
_MASK_48: constant(uint256) = 2**48 - 1


# nonce 0..47 | pushed at 48..87 | observed at 88..127 | valid until 128..167 | lapse step bps 168..183
# | lapse interval s 184..223
_status: uint256

# seconds, see Guards
_max_age_s: uint256
_min_interval_s: uint256
_ttl_s: uint256
_ramp_s: uint256
_loosen_delay_s: uint256
_listing_ramp_s: uint256
_min_scan_multiple_bps: uint256


@deploy
def __init__():
    """
    @notice Guards start at: age 1 h, interval 1 h, life 2 days, then +5 % of scale at once and every 6 h; ramp 6 h,
            delay 12 h, listing 3 days, scan range at least 3 daily volatilities
    """
    ttl_s: uint256 = 2 * _DAY
    self._store_guards(
        Guards(
            max_age_s=_HOUR,
            min_interval_s=_HOUR,
            ttl_s=ttl_s,
            lapse_step_bps=500,
            lapse_interval_s=6 * _HOUR,
            ramp_s=6 * _HOUR,
            loosen_delay_s=12 * _HOUR,
            listing_ramp_s=3 * _DAY,
            min_scan_multiple_bps=3 * c.BPS,
        ),
        block.timestamp + ttl_s,
    )


# ------------------------------------------------------------------ external


@external
def set_guards(guards: Guards):
    """
    @notice Governance sets the limits in time. Present values keep their life and their ramps, and open proposals
            their times.
    @dev Abuse: a long life hides a dead keeper (30 days at most); a ramp of a second lets a push liquidate; a short delay
         leaves the guardian an hour for a veto.
    """
    ownable._check_owner()
    self._store_guards(guards, self._load_status().valid_until)


@external
@view
def guards() -> Guards:
    """
    @notice The limits in time
    """
    status: Status = self._load_status()
    return Guards(
        max_age_s=self._max_age_s,
        min_interval_s=self._min_interval_s,
        ttl_s=self._ttl_s,
        lapse_step_bps=status.lapse_step_bps,
        lapse_interval_s=status.lapse_interval_s,
        ramp_s=self._ramp_s,
        loosen_delay_s=self._loosen_delay_s,
        listing_ramp_s=self._listing_ramp_s,
        min_scan_multiple_bps=self._min_scan_multiple_bps,
    )


@external
@view
def lapsed() -> bool:
    """
    @notice Whether the parameters are past their life, so that im_scale is being raised
    """
    return block.timestamp > self._load_status().valid_until


@external
@view
def status() -> (uint256, uint256, uint256, uint256, uint256):
    """
    @notice (last nonce, last push at, last observed at, valid until: unix s, minimum interval s)
    """
    status: Status = self._load_status()
    return status.nonce, status.pushed_at, status.observed_at, status.valid_until, self._min_interval_s


# ------------------------------------------------------------------ internal


@internal
@view
def _check_header(nonce: uint256, observed_at: uint256, expires_at: uint256, proposes: bool):
    """
    @notice What a push or a proposal must satisfy whatever it carries. A proposal may come from the same observation
            as the last push: the model gives both halves at once.
    """
    status: Status = self._load_status()
    assert nonce == status.nonce + 1, e.BAD_NONCE
    assert observed_at <= block.timestamp, e.OBSERVED_IN_FUTURE
    assert observed_at >= status.observed_at + convert(not proposes, uint256), e.OBSERVED_NOT_NEWER
    # a value and the time it was observed are one batch: an old time refuses the value with it
    assert block.timestamp - observed_at <= self._max_age_s, e.OBSERVED_TOO_OLD
    assert block.timestamp <= expires_at, e.EXPIRED


@internal
def _record(nonce: uint256, observed_at: uint256) -> uint256:
    """
    @notice Stores a checked push's header
    @return New end of life of the parameters (unix s)
    """
    status: Status = self._load_status()
    status.nonce = nonce
    status.pushed_at = block.timestamp
    status.observed_at = observed_at
    status.valid_until = block.timestamp + self._ttl_s
    self._store_status(status)
    return status.valid_until


@internal
def _record_nonce(nonce: uint256):
    """
    @notice Stores a checked proposal's nonce; it renews nothing, since nothing of it is in force
    """
    status: Status = self._load_status()
    status.nonce = nonce
    self._store_status(status)


@internal
@view
def _lapse_bps() -> uint256:
    """
    @notice What the lapse adds to im_scale now, uncapped: 0 while the parameters live
    """
    # every margin call comes here: unpack one field while the parameters live
    if block.timestamp <= (self._status >> 128) & _MASK_40:
        return 0
    status: Status = self._load_status()
    return (1 + (block.timestamp - status.valid_until) // status.lapse_interval_s) * status.lapse_step_bps


@internal
def _store_guards(guards: Guards, valid_until: uint256):
    assert guards.max_age_s >= _MINUTE and guards.max_age_s <= _DAY, e.GUARDS
    assert guards.min_interval_s >= _MINUTE and guards.min_interval_s <= 7 * _DAY, e.GUARDS
    assert guards.ttl_s >= _HOUR and guards.ttl_s <= 30 * _DAY, e.GUARDS
    assert guards.lapse_step_bps >= 1 and guards.lapse_step_bps <= c.BPS, e.GUARDS
    assert guards.lapse_interval_s >= _MINUTE and guards.lapse_interval_s <= 7 * _DAY, e.GUARDS
    assert guards.ramp_s >= 1 and guards.ramp_s <= 7 * _DAY, e.GUARDS
    assert guards.loosen_delay_s >= _HOUR and guards.loosen_delay_s <= 7 * _DAY, e.GUARDS
    assert guards.listing_ramp_s <= 30 * _DAY, e.GUARDS
    assert guards.min_scan_multiple_bps <= 10 * c.BPS, e.GUARDS
    self._max_age_s = guards.max_age_s
    self._min_interval_s = guards.min_interval_s
    self._ttl_s = guards.ttl_s
    self._ramp_s = guards.ramp_s
    self._loosen_delay_s = guards.loosen_delay_s
    self._listing_ramp_s = guards.listing_ramp_s
    self._min_scan_multiple_bps = guards.min_scan_multiple_bps
    status: Status = self._load_status()
    status.valid_until = valid_until
    status.lapse_step_bps = guards.lapse_step_bps
    status.lapse_interval_s = guards.lapse_interval_s
    self._store_status(status)
    log GuardsSet(guards=guards)


@internal
@view
def _load_status() -> Status:
    packed: uint256 = self._status
    return Status(
        nonce=packed & _MASK_48,
        pushed_at=(packed >> 48) & _MASK_40,
        observed_at=(packed >> 88) & _MASK_40,
        valid_until=(packed >> 128) & _MASK_40,
        lapse_step_bps=(packed >> 168) & _MASK_16,
        lapse_interval_s=(packed >> 184) & _MASK_40,
    )


@internal
def _store_status(status: Status):
    # times are block times plus at most 30 days (< 2^40); the nonce rises by one a push (< 2^48); the last two are
    # bounded in _store_guards
    self._status = (
        status.nonce
        | status.pushed_at << 48
        | status.observed_at << 88
        | status.valid_until << 128
        | status.lapse_step_bps << 168
        | status.lapse_interval_s << 184
    )
