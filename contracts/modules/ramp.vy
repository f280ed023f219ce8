# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Words that come into force over time
@notice A stored word is its target: lanes in bits 0..191, bits 192..207 for the owner of the word, the end of its ramp
        (unix s) in bits 208..247; 0 there means that it has never ramped. Its origin has the lanes from which they
        move and, in bits 208..247, the start. Until the end each lane lies on the straight line between the two,
        rounded towards the origin, so that nobody feels a second of it early.
@dev A word in force is as consistent as the two it lies between. Write f, t and p for lanes in force, of the target
     and of the origin. _restart lets a lane begin where it is in force or at its target, so
     (1) f lies between p and t: a divisor stays >= 1, the scan range in 100..9,000, every other limit of a single lane
         holds, by induction over restarts.
     (2) mm_scale and im_scale: im_scale never ramps, and mm_scale, which tightens up, comes from below: f <= t <= im_scale.
     (3) the two haircuts: outside a listing haircut_im does not ramp and haircut_mm comes from below, as in (2). In a
         listing both start at 100 %. A haircut that falls is rounded up and one that rises is rounded down. Both
         falling: a line from a pair in order to a pair in order stays in order, and so does ceil of it. haircut_im
         falling, haircut_mm rising: ceil >= floor. haircut_im at its target: haircut_mm is at most its own target or
         began at or below the haircut_im then in force, which was below the new target.
     The multiple of the volatility is a rule for targets alone, since no margin reads the volatility.
"""

from contracts.modules import constants as c
from contracts.modules import lanes


END_SHIFT: constant(uint256) = 208
# a stored word at or above it carries the end of a ramp
HAS_END: constant(uint256) = 2**208
# all that a word in force can carry
IN_FORCE: constant(uint256) = 2**208 - 1

# what an underlying's word in force carries on top of its lanes
WIDEN_SHIFT: constant(uint256) = 192
MAX_WIDEN_BPS: constant(uint256) = 30_000

# Lanes that maintenance margin reads, by its pages or itself; they ramp when they tighten. The rest (initial margin
# alone, or no margin) is in force at once. haircut_im ramps in a listing only, where it falls.
# mm_scale, offset_floor, reserve | scan, vol_up, vol_down, delta, option and basis charge, depth, short_min
# | haircut_mm, size_haircut, size_unit
_RAMPS: constant(uint256[lanes.KINDS]) = [
    2**1 + 2**3 + 2**4, 2**10 - 1 - 2**3 - 2**7, 2**1 + 2**2 + 2**3
]


struct Restart:
    # the new target with the end of its ramp; bits 192..207 are zero
    stored: uint256
    # where its lanes begin, with the start; 0 when nothing ramps
    origin: uint256


@internal
@pure
def _at(stored: uint256, origin: uint256, now: uint256) -> uint256:
    """
    @notice Lanes in force at `now` (unix s), not before the start
    @custom:invariant I-50
    """
    target: uint256 = stored & lanes.MASK
    ends_at: uint256 = stored >> END_SHIFT
    if now >= ends_at:
        return target
    starts_at: uint256 = origin >> END_SHIFT
    gone_s: uint256 = now - starts_at
    whole_s: uint256 = ends_at - starts_at
    word: uint256 = 0
    for k: uint256 in range(lanes.LANES):
        begin: uint256 = lanes._lane(origin, k)
        end: uint256 = lanes._lane(target, k)
        value: uint256 = end
        if begin < end:
            value = begin + (end - begin) * gone_s // whole_s
        elif begin > end:
            value = begin - (begin - end) * gone_s // whole_s
        word |= value << (k * lanes.LANE_BITS)
    return word


@internal
@pure
def _restart(kind: uint256, stored: uint256, origin: uint256, target: uint256, now: uint256, ramp_s: uint256) -> Restart:
    """
    @notice Turns a stored word towards a new target. A lane that ramps goes on from where it is in force, so no push
            makes one jump; a lane that loosens against what is in force is there at once.
    @dev A change that tightens nothing leaves the end alone, and none brings it nearer: neither can an execution that
         anybody times stretch a ramp for ever, nor does a push shorten a listing.
    @param kind Kind of the word
    @param stored Stored word before
    @param origin Its origin
    @param target New lanes
    @param now Time of the change (unix s)
    @param ramp_s Length of a new ramp (s)
    """
    in_force: uint256 = self._at(stored, origin, now)
    ends_at: uint256 = stored >> END_SHIFT
    moves: bool = False
    begins: uint256 = 0
    for k: uint256 in range(lanes.LANES):
        before: uint256 = lanes._lane(in_force, k)
        old: uint256 = lanes._lane(stored, k)
        new: uint256 = lanes._lane(target, k)
        begin: uint256 = new
        if lanes._tighter(kind, k, new, before):
            if (_RAMPS[kind] >> k) & 1 != 0:
                begin = before
                if lanes._tighter(kind, k, new, old):
                    ends_at = max(ends_at, now + ramp_s)
        elif lanes._tighter(kind, k, before, old):
            # only a listing is tighter in force than its target: it goes on falling
            begin = before
        moves = moves or begin != new
        begins |= begin << (k * lanes.LANE_BITS)
    if not moves:
        return Restart(stored=target, origin=0)
    return Restart(stored=target | ends_at << END_SHIFT, origin=begins | now << END_SHIFT)


@internal
@pure
def _listing(word: uint256, now: uint256, listing_ramp_s: uint256) -> Restart:
    """
    @notice A new collateral counts nothing (both haircuts 100 %) and reaches its word in a straight line
    @custom:invariant I-55
    """
    if listing_ramp_s == 0:
        return Restart(stored=word, origin=0)
    begins: uint256 = (word >> 32) << 32 | c.BPS << 16 | c.BPS
    return Restart(stored=word | (now + listing_ramp_s) << END_SHIFT, origin=begins | now << END_SHIFT)


@internal
@pure
def _widen_bps(in_force: uint256, target: uint256) -> uint256:
    """
    @notice By how much the lane of an underlying that is farthest from its target still falls short of it:
            ceil(1e4 * (tighter / looser - 1)) of the two, at most 30,000. Initial margin grows by it, up against the
            account, and so feels a push at once.
    """
    widest: uint256 = 0
    for k: uint256 in range(lanes.LANES):
        a: uint256 = lanes._lane(in_force, k)
        b: uint256 = lanes._lane(target, k)
        if a == b:
            continue
        low: uint256 = min(a, b)
        if low == 0:
            return MAX_WIDEN_BPS
        widest = max(widest, (c.BPS * (max(a, b) - low) + low - 1) // low)
    return min(widest, MAX_WIDEN_BPS)
