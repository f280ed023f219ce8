# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Who may push, when, and for how long a push lives
@notice Roles, nonce, freshness of the observation, and the lapse of parameters that nobody renews.
"""

from contracts.modules import constants as c
from contracts.modules import errors_params as e
from snekmate.auth import ownable

uses: ownable


event KeeperSet:
    keeper: indexed(address)
    allowed: bool
    sender: address


event GuardianSet:
    guardian: indexed(address)


event PausedSet:
    paused: bool
    sender: address


event GuardsSet:
    guards: Guards


# max_age_s: oldest observation a push may carry; min_interval_s: between two changes of the same word; ttl_s: life of
# the parameters after a push; then im_scale rises by lapse_step_bps at once and after every lapse_interval_s
struct Guards:
    max_age_s: uint256
    min_interval_s: uint256
    ttl_s: uint256
    lapse_step_bps: uint256
    lapse_interval_s: uint256


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


# stops new parameters, nothing else; set by governance
guardian: public(address)

# who may push; set by governance, cleared by the guardian too
is_keeper: public(HashMap[address, bool])

# no push while true; set by guardian or governance, cleared by governance alone
paused: public(bool)

# nonce 0..47 | pushed at 48..87 | observed at 88..127 | valid until 128..167 | lapse step bps 168..183
# | lapse interval s 184..223
_status: uint256

# seconds, see Guards
_max_age_s: uint256
_min_interval_s: uint256
_ttl_s: uint256


@deploy
def __init__(guardian: address):
    """
    @notice Guards start at: age 1 h, interval 1 h, life 2 days, then +5 % of scale at once and every 6 h
    """
    self.guardian = guardian
    log GuardianSet(guardian=guardian)
    ttl_s: uint256 = 2 * _DAY
    self._store_guards(
        Guards(max_age_s=_HOUR, min_interval_s=_HOUR, ttl_s=ttl_s, lapse_step_bps=500, lapse_interval_s=6 * _HOUR),
        block.timestamp + ttl_s,
    )


# ------------------------------------------------------------------ external


@external
def set_keeper(keeper: address, allowed: bool):
    """
    @notice Governance allows or forbids a keeper; the guardian may forbid one
    @dev Abuse: a hostile keeper can walk every word to its bound, one step an interval. The bounds are the damage.
    """
    if msg.sender != ownable.owner:
        assert msg.sender == self.guardian and not allowed, e.NOT_GUARDIAN
    self.is_keeper[keeper] = allowed
    log KeeperSet(keeper=keeper, allowed=allowed, sender=msg.sender)


@external
def set_paused(paused: bool):
    """
    @notice Guardian or governance stops all pushes; governance alone resumes them
    @dev Abuse: pausing for ever lets the parameters lapse: initial margin rises to at most twice the market risk, and
         nobody is liquidated by that.
    """
    if msg.sender != ownable.owner:
        assert msg.sender == self.guardian and paused, e.NOT_GUARDIAN
    self.paused = paused
    log PausedSet(paused=paused, sender=msg.sender)


@external
def set_guardian(guardian: address):
    """
    @notice Governance replaces the guardian; the zero address leaves none
    """
    ownable._check_owner()
    self.guardian = guardian
    log GuardianSet(guardian=guardian)


@external
def set_guards(guards: Guards):
    """
    @notice Governance sets the limits in time. The life of the present values is not changed: the next push renews it.
    @dev Abuse: a long life hides a dead keeper; the longest is 30 days.
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
def _check_header(nonce: uint256, observed_at: uint256, expires_at: uint256):
    """
    @notice What a push must satisfy whatever it carries
    """
    assert not self.paused, e.PAUSED
    status: Status = self._load_status()
    assert nonce == status.nonce + 1, e.BAD_NONCE
    assert observed_at <= block.timestamp, e.OBSERVED_IN_FUTURE
    assert observed_at > status.observed_at, e.OBSERVED_NOT_NEWER
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
@view
def _lapse_bps() -> uint256:
    """
    @notice What the lapse adds to im_scale now, uncapped: 0 while the parameters live
    """
    status: Status = self._load_status()
    if block.timestamp <= status.valid_until:
        return 0
    return (1 + (block.timestamp - status.valid_until) // status.lapse_interval_s) * status.lapse_step_bps


@internal
def _store_guards(guards: Guards, valid_until: uint256):
    assert guards.max_age_s >= _MINUTE and guards.max_age_s <= _DAY, e.GUARDS
    assert guards.min_interval_s >= _MINUTE and guards.min_interval_s <= 7 * _DAY, e.GUARDS
    assert guards.ttl_s >= _HOUR and guards.ttl_s <= 30 * _DAY, e.GUARDS
    assert guards.lapse_step_bps >= 1 and guards.lapse_step_bps <= c.BPS, e.GUARDS
    assert guards.lapse_interval_s >= _MINUTE and guards.lapse_interval_s <= 7 * _DAY, e.GUARDS
    self._max_age_s = guards.max_age_s
    self._min_interval_s = guards.min_interval_s
    self._ttl_s = guards.ttl_s
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
