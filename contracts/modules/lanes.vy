# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Words of sixteen 16-bit lanes
@notice The checks a parameter word must pass (docs/margin-rule.md, section 3, names the lanes). A word that fails is
        refused: no lane is ever clipped to a bound, because clipping one of two fields that mean something together
        publishes a pair nobody computed.
"""

from contracts.modules import constants as c
from contracts.modules import errors_params as e


KIND_GLOBAL: constant(uint256) = 0
KIND_UNDERLYING: constant(uint256) = 1
KIND_COLLATERAL: constant(uint256) = 2
KINDS: constant(uint256) = 3

LANE_BITS: constant(uint256) = 16
_LANE_MASK: constant(uint256) = 2**16 - 1

# No word has more lanes than this; what lies above them in a stored word is the business of `ramp`.
LANES: constant(uint256) = 12
MASK: constant(uint256) = 2**(12 * 16) - 1

# lanes in use of a global, an underlying and a collateral word
_USED: constant(uint256[KINDS]) = [5, 12, 5]

# Which way a lane tightens: one bit a lane, for each kind. A lane in neither set and not free below loosens both
# ways, so that a push may not move it at all.
# global: im_scale, mm_scale, im_charge_scale, offset_floor, reserve_usd
# underlying: scan, vol_up, vol_down, delta, option, basis and drift charge, short_min (3 is vol_power: a higher power
# shocks short tenors more and long ones less)
# collateral: haircut_im, haircut_mm, size_haircut, use_haircut
_TIGHTENS_UP: constant(uint256[KINDS]) = [2**5 - 1, 2**10 - 1 - 2**3 - 2**8, 2**5 - 1 - 2**3]
# underlying: depth; collateral: size_unit. Both are divisors of a charge.
_TIGHTENS_DOWN: constant(uint256[KINDS]) = [0, 2**8, 2**3]
# underlying: vol_day (an estimate that no margin reads, tied to scan below) and band (it refuses fills, it is no margin)
_FREE: constant(uint256[KINDS]) = [0, 2**10 + 2**11, 0]

# above 2 the products of the margin rule would no longer be proven to fit
MAX_IM_SCALE_BPS: constant(uint256) = 20_000
_MIN_SCAN_BPS: constant(uint256) = 100
_MAX_SCAN_BPS: constant(uint256) = 9_000
_MAX_RESERVE_USD: constant(uint256) = 1_000
_MAX_BAND_BPS: constant(uint256) = 5_000

# What a word that was never set reads as: the dearest consistent one, so that a missing initialisation can neither
# give credit (haircuts of zero) nor divide by zero (scan range of zero). Zero is no legal word of any kind.
# im_scale 2, mm_scale 2, im_charge_scale 2, offset_floor 1, reserve 1,000, offset floor for initial margin 1
UNSET_GLOBAL: constant(uint256) = 20_000 | 20_000 << 16 | 20_000 << 32 | 10_000 << 48 | 1_000 << 64 | 10_000 << 80
# scan 90 %, volatility +100 % / -90 %, power 0, delta, option and basis charge 10 %, drift 1 %, depth 1, short 5 %,
# band 0.01 %
UNSET_UNDERLYING: constant(uint256) = (
    9_000
    | 10_000 << 16
    | 9_000 << 32
    | 1_000 << 64
    | 1_000 << 80
    | 1_000 << 96
    | 100 << 112
    | 1 << 128
    | 500 << 144
    | 1 << 176
)
# both haircuts 100 %, size_unit 1
UNSET_COLLATERAL: constant(uint256) = 10_000 | 10_000 << 16 | 1 << 48


@internal
@pure
def _lane(word: uint256, k: uint256) -> uint256:
    """
    @notice Lane `k` (0..15) of a word
    """
    return (word >> (k * LANE_BITS)) & _LANE_MASK


@internal
@pure
def _tighter(kind: uint256, k: uint256, a: uint256, b: uint256) -> bool:
    """
    @notice Whether value `a` of lane `k` is strictly tighter than `b`
    """
    if a > b:
        return (_TIGHTENS_UP[kind] >> k) & 1 != 0
    return a < b and (_TIGHTENS_DOWN[kind] >> k) & 1 != 0


@internal
@pure
def _check_tightens(kind: uint256, old: uint256, new: uint256):
    """
    @notice Every lane that changes is free, or gets tighter
    """
    for k: uint256 in range(LANES):
        before: uint256 = self._lane(old, k)
        after: uint256 = self._lane(new, k)
        assert before == after or (_FREE[kind] >> k) & 1 != 0 or self._tighter(kind, k, after, before), e.LOOSENS


@internal
@pure
def _check_unused(kind: uint256, word: uint256):
    """
    @notice Lanes that mean nothing must be zero, so that giving them a meaning later finds no old content
    """
    assert word >> (_USED[kind] * LANE_BITS) == 0, e.UNUSED_LANE


@internal
@pure
def _check_order(low: uint256, high: uint256):
    """
    @notice low <= high in every lane
    """
    for k: uint256 in range(LANES):
        assert self._lane(low, k) <= self._lane(high, k), e.BOUNDS_ORDER


@internal
@pure
def _check_bounds(old: uint256, new: uint256, low: uint256, high: uint256):
    """
    @notice low <= new <= high in every lane, or at least strictly nearer than before
    @dev New bounds may leave a stored word outside by more than a step; it could otherwise never move again. With
         old == new nothing is nearer, so that a first word must lie inside.
    @custom:invariant I-54
    """
    for k: uint256 in range(LANES):
        before: uint256 = self._lane(old, k)
        after: uint256 = self._lane(new, k)
        assert after >= self._lane(low, k) or after > before, e.BELOW_LOW
        assert after <= self._lane(high, k) or after < before, e.ABOVE_HIGH


@internal
@pure
def _check_steps(old: uint256, new: uint256, step_up: uint256, step_down: uint256):
    """
    @notice -step_down <= new - old <= step_up in every lane, in units of the lane
    """
    for k: uint256 in range(LANES):
        before: uint256 = self._lane(old, k)
        after: uint256 = self._lane(new, k)
        if after > before:
            assert after - before <= self._lane(step_up, k), e.STEP_UP
        elif after < before:
            assert before - after <= self._lane(step_down, k), e.STEP_DOWN


@internal
@pure
def _check_consistent(kind: uint256, word: uint256):
    """
    @notice What the lanes of a word must satisfy together, whatever the governed bounds say
    @dev These are the facts the margin rule relies on for never reverting and for IM >= MM.
    @custom:invariant I-52, I-53
    """
    self._check_unused(kind, word)
    if kind == KIND_GLOBAL:
        self._check_global(word)
    elif kind == KIND_UNDERLYING:
        self._check_underlying(word)
    else:
        self._check_collateral(word)


@internal
@pure
def _check_scan_multiple(old: uint256, new: uint256, multiple_bps: uint256):
    """
    @notice scan_bps * 1e4 >= multiple_bps * vol_day_bps for an underlying, or at least strictly nearer to it
    @dev One model run gives both. `old` is 0 for a first word, which lacks nothing, so the new one may lack nothing.
    """
    lack: uint256 = self._lack(new, multiple_bps)
    assert lack == 0 or lack < self._lack(old, multiple_bps), e.SCAN_MULTIPLE


@internal
@pure
def _lack(word: uint256, multiple_bps: uint256) -> uint256:
    needed: uint256 = multiple_bps * self._lane(word, 10)
    given: uint256 = self._lane(word, 0) * c.BPS
    return needed - given if needed > given else 0


@internal
@pure
def _check_global(word: uint256):
    im_scale_bps: uint256 = self._lane(word, 0)
    mm_scale_bps: uint256 = self._lane(word, 1)
    im_charge_scale_bps: uint256 = self._lane(word, 2)
    # MM carries the charges once, so IM must carry them at least once for IM >= MM to hold
    assert (
        mm_scale_bps >= 1
        and im_scale_bps >= mm_scale_bps
        and im_scale_bps <= MAX_IM_SCALE_BPS
        and im_charge_scale_bps >= c.BPS
    ), e.SCALES
    assert self._lane(word, 3) <= c.BPS, e.OFFSET_FLOOR
    assert self._lane(word, 4) <= _MAX_RESERVE_USD, e.RESERVE


@internal
@pure
def _check_underlying(word: uint256):
    scan_bps: uint256 = self._lane(word, 0)
    # the rule divides by the scan range, and a price may not be scanned to zero or below
    assert scan_bps >= _MIN_SCAN_BPS and scan_bps <= _MAX_SCAN_BPS, e.SCAN
    assert self._lane(word, 2) < c.BPS, e.VOL_DOWN  # a volatility of zero has no price
    assert self._lane(word, 8) >= 1, e.DEPTH  # divisor
    band_bps: uint256 = self._lane(word, 11)
    # zero would forbid every fill at a price between two ticks
    assert band_bps >= 1 and band_bps <= _MAX_BAND_BPS, e.BAND


@internal
@pure
def _check_collateral(word: uint256):
    haircut_im_bps: uint256 = self._lane(word, 0)
    assert haircut_im_bps <= c.BPS and haircut_im_bps >= self._lane(word, 1), e.HAIRCUTS
    assert self._lane(word, 3) >= 1, e.SIZE_UNIT  # divisor
