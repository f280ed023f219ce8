# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Stored parameter words, their limits and what is in force
@notice The layout of a stored word is that of `ramp`. The global word has the peg's share of im_scale in bits 192..207.
"""

from contracts.interfaces import IRiskParameters
from contracts.modules import constants as c
from contracts.modules import errors_params as e
from contracts.modules import lanes
from contracts.modules import push_guard
from contracts.modules import ramp

uses: push_guard


IDS: constant(uint256) = 16
_WORDS: constant(uint256) = lanes.KINDS * IDS
MAX_CHANGES: constant(uint256) = 1 + c.MAX_UNDERLYINGS + c.MAX_COLLATERALS
_PEG_SHIFT: constant(uint256) = 192
_PEG_MASK: constant(uint256) = (2**16 - 1) << 192


# index kind * 16 + id; 0 = never initialised
_words: uint256[_WORDS]

# read only while a word ramps
_origins: uint256[_WORDS]

# time of the last change of each word
_changed_at: uint256[_WORDS]

# hard bounds and largest steps of a kind, each packed like its words
_low: uint256[lanes.KINDS]
_high: uint256[lanes.KINDS]
_step_up: uint256[lanes.KINDS]
_step_down: uint256[lanes.KINDS]


# ------------------------------------------------------------------ changes


@internal
@view
def _check_changes(changes: DynArray[IRiskParameters.Change, MAX_CHANGES], at: uint256, may_loosen: bool):
    """
    @notice Every rule for what a batch contains
    @param changes The batch
    @param at When it takes effect (unix s)
    @param may_loosen Whether it has been announced
    @custom:invariant I-49
    """
    seen: uint256 = 0
    for change: IRiskParameters.Change in changes:
        index: uint256 = self._index(change.kind, change.id)
        assert seen & (1 << index) == 0, e.DUPLICATE
        seen |= 1 << index
        self._check_change(change, index, at, may_loosen)


@internal
@view
def _check_change(change: IRiskParameters.Change, index: uint256, at: uint256, may_loosen: bool):
    kind: uint256 = change.kind
    old: uint256 = self._words[index] & lanes.MASK
    assert old != 0, e.UNKNOWN_ID
    if change.word == old:
        return
    assert at >= self._changed_at[index] + push_guard._min_interval_s, e.TOO_SOON
    lanes._check_unused(kind, change.word)
    if not may_loosen:
        lanes._check_tightens(kind, old, change.word)
    lanes._check_bounds(old, change.word, self._low[kind], self._high[kind])
    lanes._check_steps(old, change.word, self._step_up[kind], self._step_down[kind])
    self._check_together(kind, old, change.word)


@internal
@view
def _check_together(kind: uint256, old: uint256, new: uint256):
    lanes._check_consistent(kind, new)
    if kind == lanes.KIND_UNDERLYING:
        lanes._check_scan_multiple(old, new, push_guard._min_scan_multiple_bps)


@internal
def _apply(changes: DynArray[IRiskParameters.Change, MAX_CHANGES]):
    """
    @notice Stores a checked batch; a word equal to the stored one is left alone, with its ramp
    """
    for change: IRiskParameters.Change in changes:
        index: uint256 = self._index(change.kind, change.id)
        stored: uint256 = self._words[index]
        if change.word != stored & lanes.MASK:
            restart: ramp.Restart = ramp._restart(
                change.kind, stored, self._origins[index], change.word, block.timestamp, push_guard._ramp_s
            )
            self._replace(change.kind, change.id, restart, stored & _PEG_MASK if index == 0 else 0)


@internal
def _initialise(kind: uint256, id: uint256, word: uint256):
    """
    @notice Checks and stores a first word; a collateral begins its listing
    """
    index: uint256 = self._index(kind, id)
    assert self._words[index] == 0, e.ALREADY_SET
    self._check_together(kind, 0, word)
    # no consistent word lies inside bounds that were never set: they are all zero
    lanes._check_bounds(word, word, self._low[kind], self._high[kind])
    restart: ramp.Restart = ramp.Restart(stored=word, origin=0)
    if kind == lanes.KIND_COLLATERAL:
        restart = ramp._listing(word, block.timestamp, push_guard._listing_ramp_s)
    self._replace(kind, id, restart, 0)


@internal
def _replace(kind: uint256, id: uint256, restart: ramp.Restart, peg: uint256):
    index: uint256 = self._index(kind, id)
    self._words[index] = restart.stored | peg
    self._changed_at[index] = block.timestamp
    if restart.origin != 0:
        self._origins[index] = restart.origin
        log IRiskParameters.RampStarted(
            kind=kind,
            id=id,
            from_word=restart.origin & lanes.MASK,
            word=restart.stored & lanes.MASK,
            ends_at=restart.stored >> ramp.END_SHIFT,
        )


@internal
def _set_bounds(kind: uint256, low: uint256, high: uint256, step_up: uint256, step_down: uint256):
    assert kind < lanes.KINDS, e.UNKNOWN_ID
    lanes._check_unused(kind, low | high | step_up | step_down)
    lanes._check_order(low, high)
    self._low[kind] = low
    self._high[kind] = high
    self._step_up[kind] = step_up
    self._step_down[kind] = step_down
    log IRiskParameters.BoundsSet(kind=kind, low=low, high=high, step_up=step_up, step_down=step_down)


# ------------------------------------------------------------------ peg


@internal
@view
def _peg_bps() -> uint256:
    return (self._words[0] & _PEG_MASK) >> _PEG_SHIFT


@internal
def _set_peg(peg_bps: uint256):
    """
    @param peg_bps At most 19,600
    """
    stored: uint256 = self._words[0]
    # peg bits on an empty word would make it look initialised
    assert stored != 0, e.UNKNOWN_ID
    self._words[0] = stored & ~_PEG_MASK | peg_bps << _PEG_SHIFT


# ------------------------------------------------------------------ views


@internal
@view
def _global() -> uint256:
    """
    @notice Global word in force: lapse and loss of peg in its im_scale, which alone they touch, so that neither
            liquidates anybody; the offset floor of maintenance margin in lane 3 and of initial margin in lane 5
    @custom:invariant I-24
    """
    stored: uint256 = self._words[0]
    if stored == 0:
        return lanes.UNSET_GLOBAL
    word: uint256 = stored & lanes.MASK
    floor_bps: uint256 = lanes._lane(word, 3)
    if stored >= ramp.HAS_END:
        word = self._ramped(0, stored)
    word |= floor_bps << (5 * lanes.LANE_BITS)
    extra_bps: uint256 = ((stored & _PEG_MASK) >> _PEG_SHIFT) + push_guard._lapse_bps()
    if extra_bps == 0:
        return word
    im_scale_bps: uint256 = lanes._lane(word, 0)
    return word - im_scale_bps + min(im_scale_bps + extra_bps, lanes.MAX_IM_SCALE_BPS)


@internal
@view
def _underlying(id: uint256, stored: uint256) -> uint256:
    """
    @notice Word of an underlying in force, with widen_bps in lane 12
    @param id Underlying
    @param stored Its stored word
    """
    if stored == 0:
        return lanes.UNSET_UNDERLYING
    if block.timestamp >= stored >> ramp.END_SHIFT:
        return stored & lanes.MASK
    word: uint256 = self._ramped(lanes.KIND_UNDERLYING * IDS + id, stored)
    return word | ramp._widen_bps(word, stored) << ramp.WIDEN_SHIFT


@internal
@view
def _underlying_at(id: uint256, at: uint256) -> uint256:
    """
    @notice Lanes of an underlying in force at `at` (unix s), or at the start of its last ramp if that is later
    @param id Underlying
    @param at After the end of the last ramp these are the stored lanes
    @custom:invariant I-50
    """
    index: uint256 = self._index(lanes.KIND_UNDERLYING, id)
    stored: uint256 = self._words[index]
    if stored == 0:
        return lanes.UNSET_UNDERLYING
    if at >= stored >> ramp.END_SHIFT:
        return stored & lanes.MASK
    origin: uint256 = self._origins[index]
    return ramp._at(stored, origin, max(at, origin >> ramp.END_SHIFT))


@internal
@view
def _collateral(id: uint256, stored: uint256) -> uint256:
    """
    @notice Word of a collateral in force
    @param id Collateral
    @param stored Its stored word
    """
    if stored == 0:
        return lanes.UNSET_COLLATERAL
    return self._ramped(lanes.KIND_COLLATERAL * IDS + id, stored)


@internal
@view
def _ramped(index: uint256, stored: uint256) -> uint256:
    """
    @notice Lanes in force of a word that has ramped; one more slot is read until the end
    """
    if block.timestamp >= stored >> ramp.END_SHIFT:
        return stored & lanes.MASK
    return ramp._at(stored, self._origins[index], block.timestamp)


@internal
@view
def _present(changes: DynArray[IRiskParameters.Change, MAX_CHANGES]) -> bytes32:
    """
    @notice Hash of the stored words that a batch would change
    """
    present: DynArray[uint256, MAX_CHANGES] = []
    for change: IRiskParameters.Change in changes:
        present.append(self._words[self._index(change.kind, change.id)] & lanes.MASK)
    return keccak256(abi_encode(present))


@internal
@pure
def _index(kind: uint256, id: uint256) -> uint256:
    assert kind < lanes.KINDS and id < (1 if kind == lanes.KIND_GLOBAL else IDS), e.UNKNOWN_ID
    return kind * IDS + id
