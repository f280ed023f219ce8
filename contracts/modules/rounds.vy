# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title The round that was current at a moment, proved
@notice A proxy numbers rounds phase << 64 | round of the phase's aggregator. Any chain of rounds has exactly one answer
        for a moment, so that nobody may choose between two:
        a phase has begun by a moment if the first complete of its first nine rounds was updated by it;
        the phase that counts is the newest that had begun;
        the round that counts is its last complete round that was updated by the moment.
@dev A round is incomplete when the feed reverts for it, gives zeros, or nothing that a price could be read from.
     Between two complete rounds of one phase stand at most eight incomplete ones: an aggregator has at most one round
     in progress. The aggregator behind a phase is not asked for its last round, because it answers only its proxy. It may
     write on after the proxy has left it, which is why its own next round alone proves nothing.
"""

from contracts.modules import constants as c
from contracts.modules import errors_oracle as err
from contracts.modules import feed_calls

MAX_HOLE: constant(uint256) = 8
MAX_PHASES: constant(uint256) = 8
PHASE_SHIFT: constant(uint256) = 64


@internal
@view
def _price_at(feed: address, decimals: uint256, round_id: uint256, next_round_id: uint256, at: uint256) -> uint256:
    """
    @notice Price (wad) of the round that was current at `at`
    @param next_round_id The next complete round of the phase; or, when there is none, the first of any later phase
    @custom:invariant I-44
    """
    current: uint256 = feed_calls._round_at(feed, round_id)
    assert current != 0, err.ROUND
    assert current >> 128 <= at, err.ROUND_LATE
    phase: uint256 = round_id >> PHASE_SHIFT
    latest_phase: uint256 = feed_calls._latest_id(feed) >> PHASE_SHIFT
    assert phase <= latest_phase and latest_phase - phase <= MAX_PHASES, err.ROUND_PHASE
    first_id: uint256 = 0
    first: uint256 = 0
    first_id, first = self._first(feed, phase)
    assert first != 0 and first >> 128 <= at, err.ROUND_PHASE
    is_first_of_later: bool = False
    for later: uint256 in range(phase + 1, latest_phase + 1, bound=8):
        first_id, first = self._first(feed, later)
        assert first == 0 or first >> 128 > at, err.ROUND_EARLY
        if first != 0 and first_id == next_round_id:
            is_first_of_later = True

    if is_first_of_later:
        # nothing follows in the phase
        assert self._is_hole(feed, round_id + 1, MAX_HOLE + 1), err.ROUND_NEXT
    else:
        assert next_round_id >> PHASE_SHIFT == phase and next_round_id > round_id, err.ROUND_NEXT
        hole: uint256 = next_round_id - round_id - 1
        assert hole <= MAX_HOLE, err.ROUND_NEXT
        following: uint256 = feed_calls._round_at(feed, next_round_id)
        assert following != 0, err.ROUND_NEXT
        assert following >> 128 > at, err.ROUND_EARLY
        assert self._is_hole(feed, round_id + 1, hole), err.ROUND_NEXT
    # answer < 2^90 and the scale <= 1e18: no overflow
    price_wad: uint256 = (current & feed_calls.ANSWER) * 10 ** (18 - decimals)
    assert price_wad <= c.MAX_PRICE_WAD, err.ROUND
    return price_wad


@internal
@view
def _first(feed: address, phase: uint256) -> (uint256, uint256):
    """
    @notice (number, round) of the first complete of the first nine rounds of a phase, or zeros
    """
    for k: uint256 in range(MAX_HOLE + 1):
        round_id: uint256 = (phase << PHASE_SHIFT) + 1 + k
        found: uint256 = feed_calls._round_at(feed, round_id)
        if found != 0:
            return round_id, found
    return 0, 0


@internal
@view
def _is_hole(feed: address, first_id: uint256, count: uint256) -> bool:
    """
    @notice Whether none of `count` (<= 9) rounds is complete
    """
    for k: uint256 in range(count, bound=9):
        if feed_calls._round_at(feed, first_id + k) != 0:
            return False
    return True
