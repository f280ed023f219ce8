# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Guarded risk parameters
@notice The slow parameters of the margin rule, pushed by a keeper inside limits that governance sets. A push is a
        batch that is taken whole or refused whole with its reason; nothing is clipped.
@dev A push can never make the margin rule revert, because every stored word has passed lanes._check_consistent:
     the divisors (scan range, depth, size unit) are at least 1, shocked prices stay positive (scan range <= 90 %), and
     im_scale <= 2, the scale for which the rule's products are proven to fit. A word never set reads as the
     dearest consistent word. No function calls another contract.
@custom:kill The guardian pauses pushes; the parameters then lapse and initial margin rises step by step to twice the
             market risk. Maintenance margin, hence liquidation, stays on the last values.
@custom:trust governance: bounds, guards, roles (through the timelock). guardian: may only stop pushes. keeper: values
              inside the bounds.
"""

from contracts.interfaces import IRiskParameters
from contracts.modules import constants as c
from contracts.modules import errors_params as e
from contracts.modules import lanes
from contracts.modules import push_guard
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: IRiskParameters

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: push_guard[ownable := ownable]

exports: (
    # renouncing is left out: without governance nobody could ever correct a bound
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
    # roles and limits in time
    push_guard.guardian,
    push_guard.is_keeper,
    push_guard.paused,
    push_guard.set_keeper,
    push_guard.set_paused,
    push_guard.set_guardian,
    push_guard.set_guards,
    push_guard.guards,
    push_guard.lapsed,
    push_guard.status,
)


_IDS: constant(uint256) = 16
_WORDS: constant(uint256) = lanes.KINDS * _IDS
_MAX_CHANGES: constant(uint256) = 1 + c.MAX_UNDERLYINGS + c.MAX_COLLATERALS


# index kind * 16 + id; 0 = never initialised
_words: uint256[_WORDS]

# time of the last change of each word
_changed_at: uint256[_WORDS]

# hard bounds and largest steps of a kind, each packed like its words
_low: uint256[lanes.KINDS]
_high: uint256[lanes.KINDS]
_step_up: uint256[lanes.KINDS]
_step_down: uint256[lanes.KINDS]


@deploy
def __init__(governance: address, guardian: address):
    """
    @param governance Owner: the timelock
    @param guardian May stop pushes
    """
    assert governance != empty(address), e.NO_GOVERNANCE
    ownable.__init__()
    ownable_2step.__init__()
    push_guard.__init__(guardian)
    ownable._transfer_ownership(governance)


# ------------------------------------------------------------------ keeper


@external
def push(
    nonce: uint256,
    observed_at: uint256,
    expires_at: uint256,
    model_hash: bytes32,
    data_hash: bytes32,
    changes: DynArray[IRiskParameters.Change, _MAX_CHANGES],
):
    """
    @notice Replaces the listed words and renews the life of all of them. An empty batch only renews.
    @param nonce Last nonce + 1
    @param observed_at Time of the newest market data used (unix s): after the last push's, at most max_age_s old
    @param expires_at Last moment this push may be included (unix s)
    @param model_hash Version of the model that computed the values
    @param data_hash Its inputs
    @param changes At most one for each (kind, id); a word equal to the stored one is ignored
    """
    assert push_guard.is_keeper[msg.sender], e.NOT_KEEPER
    self._check(nonce, observed_at, expires_at, changes)
    for change: IRiskParameters.Change in changes:
        index: uint256 = self._index(change.kind, change.id)
        if self._words[index] != change.word:
            self._words[index] = change.word
            self._changed_at[index] = block.timestamp
    log IRiskParameters.ParametersPushed(
        nonce=nonce,
        model_hash=model_hash,
        data_hash=data_hash,
        observed_at=observed_at,
        valid_until=push_guard._record(nonce, observed_at),
        changes=changes,
    )


@external
@view
def check_push(
    nonce: uint256,
    observed_at: uint256,
    expires_at: uint256,
    changes: DynArray[IRiskParameters.Change, _MAX_CHANGES],
):
    """
    @notice Reverts with the reason that push() would give a keeper now; returns nothing otherwise
    """
    self._check(nonce, observed_at, expires_at, changes)


# ------------------------------------------------------------------ governance


@external
def set_bounds(kind: uint256, low: uint256, high: uint256, step_up: uint256, step_down: uint256):
    """
    @notice Hard bounds and largest steps of every lane of a kind, packed like its words, in units of the lanes
    @dev Values already stored are not touched; their next change must land inside. Abuse: the width of the bounds
         is the power of the keeper; lanes._check_consistent holds whatever they are.
    """
    ownable._check_owner()
    assert kind < lanes.KINDS, e.UNKNOWN_ID
    lanes._check_unused(kind, low | high | step_up | step_down)
    lanes._check_order(low, high)
    self._low[kind] = low
    self._high[kind] = high
    self._step_up[kind] = step_up
    self._step_down[kind] = step_down
    log IRiskParameters.BoundsSet(kind=kind, low=low, high=high, step_up=step_up, step_down=step_down)


@external
def initialise(kind: uint256, id: uint256, word: uint256):
    """
    @notice First word of the global set (id 0), an underlying or a collateral: inside bounds, consistent, once
    """
    ownable._check_owner()
    index: uint256 = self._index(kind, id)
    assert self._words[index] == 0, e.ALREADY_SET
    lanes._check_consistent(kind, word)
    # no consistent word lies inside bounds that were never set: they are all zero
    lanes._check_bounds(word, self._low[kind], self._high[kind])
    self._words[index] = word
    self._changed_at[index] = block.timestamp
    log IRiskParameters.WordSet(kind=kind, id=id, word=word)


# ------------------------------------------------------------------ views


@external
@view
@reentrant
def words(underlyings: uint256, collaterals: uint256) -> DynArray[uint256, _MAX_CHANGES]:
    """
    @notice The words that the margin rule uses now: the global one (im_scale raised when the parameters have lapsed),
            then one for each set bit (0..15), ascending, underlyings first
    @dev Reentrant: read by the margin engine in the middle of any action. No function here calls out, so no
         half-written state can be seen.
    """
    result: DynArray[uint256, _MAX_CHANGES] = [self._global_word()]
    bits: uint256 = underlyings
    for id: uint256 in range(c.MAX_UNDERLYINGS):
        if bits == 0:
            break
        if bits & 1 != 0:
            stored: uint256 = self._words[lanes.KIND_UNDERLYING * _IDS + id]
            result.append(stored if stored != 0 else lanes.UNSET_UNDERLYING)
        bits >>= 1
    bits = collaterals
    for id: uint256 in range(c.MAX_COLLATERALS):
        if bits == 0:
            break
        if bits & 1 != 0:
            stored: uint256 = self._words[lanes.KIND_COLLATERAL * _IDS + id]
            result.append(stored if stored != 0 else lanes.UNSET_COLLATERAL)
        bits >>= 1
    return result


@external
@view
@reentrant
def word(kind: uint256, id: uint256) -> uint256:
    """
    @notice The stored word, 0 if never initialised
    @dev Reentrant for the same reason as words().
    """
    return self._words[self._index(kind, id)]


@external
@view
def changed_at(kind: uint256, id: uint256) -> uint256:
    """
    @notice When the word last changed (unix s); its next change is allowed min_interval_s later
    """
    return self._changed_at[self._index(kind, id)]


@external
@view
def bounds(kind: uint256) -> (uint256, uint256, uint256, uint256):
    """
    @notice (low, high, step up, step down), packed like the words of the kind
    """
    return self._low[kind], self._high[kind], self._step_up[kind], self._step_down[kind]


# ------------------------------------------------------------------ internal


@internal
@view
def _check(
    nonce: uint256,
    observed_at: uint256,
    expires_at: uint256,
    changes: DynArray[IRiskParameters.Change, _MAX_CHANGES],
):
    push_guard._check_header(nonce, observed_at, expires_at)
    seen: uint256 = 0
    for change: IRiskParameters.Change in changes:
        index: uint256 = self._index(change.kind, change.id)
        assert seen & (1 << index) == 0, e.DUPLICATE
        seen |= 1 << index
        self._check_change(change, index)


@internal
@view
def _check_change(change: IRiskParameters.Change, index: uint256):
    kind: uint256 = change.kind
    old: uint256 = self._words[index]
    assert old != 0, e.UNKNOWN_ID
    if change.word == old:
        return
    assert block.timestamp >= self._changed_at[index] + push_guard._min_interval_s, e.TOO_SOON
    lanes._check_bounds(change.word, self._low[kind], self._high[kind])
    lanes._check_steps(old, change.word, self._step_up[kind], self._step_down[kind])
    lanes._check_consistent(kind, change.word)


@internal
@pure
def _index(kind: uint256, id: uint256) -> uint256:
    assert kind < lanes.KINDS and id < (1 if kind == lanes.KIND_GLOBAL else _IDS), e.UNKNOWN_ID
    return kind * _IDS + id


@internal
@view
def _global_word() -> uint256:
    """
    @notice Global word with the lapse in its im_scale; mm_scale is never touched, so a lapse liquidates nobody
    """
    word: uint256 = self._words[0]
    if word == 0:
        return lanes.UNSET_GLOBAL
    lapse_bps: uint256 = push_guard._lapse_bps()
    if lapse_bps == 0:
        return word
    im_scale_bps: uint256 = lanes._lane(word, 0)
    return word - im_scale_bps + min(im_scale_bps + lapse_bps, lanes.MAX_IM_SCALE_BPS)
