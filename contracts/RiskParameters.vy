# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Guarded risk parameters
@notice The slow parameters of the margin rule, set by a keeper inside limits that governance sets. A batch is taken
        whole or refused whole with its reason; nothing is clipped. A batch that only tightens is pushed: initial
        margin follows at once, maintenance margin in a straight line, so that nobody is liquidated in the block of a push.
        Any other batch is proposed, waits, can be vetoed, and is executed by anybody.
@dev A push can never make the margin rule revert, because every stored word has passed lanes._check_consistent:
     the divisors (scan range, depth, size unit) are at least 1, shocked prices stay positive (scan range <= 90 %), and
     im_scale <= 2, the scale for which the rule's products are proven to fit; `ramp` proves the same of every word on
     its way. A word never set reads as the dearest consistent word. Only sync_peg calls another contract.
@custom:kill The guardian pauses pushes, proposals and executions; the parameters then lapse and initial margin rises
             step by step to twice the market risk. Maintenance margin, hence liquidation, stays on the last values.
@custom:trust governance: bounds, guards, roles (through the timelock). guardian: may only stop pushes, forbid
              keepers and veto. keeper: values inside the bounds.
"""

from contracts.interfaces import IRiskParameters
from contracts.modules import constants as c
from contracts.modules import errors_params as e
from contracts.modules import lanes
from contracts.modules import loosening
from contracts.modules import parameter_store
from contracts.modules import peg
from contracts.modules import push_guard
from contracts.modules import push_roles
from contracts.modules import ramp
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: IRiskParameters

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: push_roles[ownable := ownable]
initializes: push_guard[ownable := ownable]
initializes: parameter_store[push_guard := push_guard]
initializes: peg[parameter_store := parameter_store]
initializes: loosening[ownable := ownable, push_roles := push_roles]

exports: (
    # renouncing is left out: without governance nobody could ever correct a bound
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
    # roles
    push_roles.guardian,
    push_roles.is_keeper,
    push_roles.paused,
    push_roles.set_keeper,
    push_roles.set_paused,
    push_roles.set_guardian,
    # limits in time
    push_guard.set_guards,
    push_guard.guards,
    push_guard.lapsed,
    push_guard.status,
    # announced changes
    loosening.proposals,
    loosening.proposal,
    loosening.veto,
    # price of cash
    peg.ORACLE,
    peg.sync_peg,
    peg.peg_bps,
)


_MAX_CHANGES: constant(uint256) = parameter_store.MAX_CHANGES
_FIRST_UNDERLYING: constant(uint256) = lanes.KIND_UNDERLYING * parameter_store.IDS
_FIRST_COLLATERAL: constant(uint256) = lanes.KIND_COLLATERAL * parameter_store.IDS


@deploy
def __init__(governance: address, guardian: address, oracle: address):
    """
    @param governance Owner: the timelock
    @param guardian May stop pushes and veto proposals
    @param oracle PriceOracle, for the price of cash
    """
    assert governance != empty(address), e.NO_GOVERNANCE
    ownable.__init__()
    ownable_2step.__init__()
    push_roles.__init__(guardian)
    push_guard.__init__()
    peg.__init__(oracle)
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
    @notice Tightens the listed words and renews the life of all of them. An empty batch only renews.
    @dev Initial margin feels it in this block, maintenance margin in none: what a lane tightens comes into force over
         guards().ramp_s.
    @param nonce Last nonce + 1
    @param observed_at Time of the newest market data used (unix s): after the last push's, at most max_age_s old
    @param expires_at Last moment this push may be included (unix s)
    @param model_hash Version of the model that computed the values
    @param data_hash Its inputs
    @param changes At most one for each (kind, id); a word equal to the stored one is ignored
    """
    assert push_roles.is_keeper[msg.sender], e.NOT_KEEPER
    self._check_push(nonce, observed_at, expires_at, changes)
    parameter_store._apply(changes)
    log IRiskParameters.ParametersPushed(
        nonce=nonce,
        model_hash=model_hash,
        data_hash=data_hash,
        observed_at=observed_at,
        valid_until=push_guard._record(nonce, observed_at),
        changes=changes,
    )


@external
def propose(
    nonce: uint256,
    observed_at: uint256,
    expires_at: uint256,
    model_hash: bytes32,
    data_hash: bytes32,
    changes: DynArray[IRiskParameters.Change, _MAX_CHANGES],
) -> uint256:
    """
    @notice Announces a batch that may loosen; it can be executed from guards().loosen_delay_s on, for three days. It
            renews nothing. Shares its nonces with push().
    @param nonce Last nonce + 1
    @param observed_at Time of the newest market data used (unix s): not before the last push's, at most max_age_s old
    @param expires_at Last moment this proposal may be included (unix s)
    @param model_hash Version of the model that computed the values
    @param data_hash Its inputs
    @param changes At most one for each (kind, id)
    @return Id of the proposal
    """
    assert push_roles.is_keeper[msg.sender], e.NOT_KEEPER
    eta: uint256 = block.timestamp + push_guard._loosen_delay_s
    self._check_propose(nonce, observed_at, expires_at, changes, eta)
    push_guard._record_nonce(nonce)
    id: uint256 = loosening._propose(keccak256(abi_encode(changes)), parameter_store._present(changes), eta)
    log IRiskParameters.ProposalQueued(
        id=id,
        nonce=nonce,
        model_hash=model_hash,
        data_hash=data_hash,
        observed_at=observed_at,
        eta=eta,
        changes=changes,
    )
    return id


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
    self._check_push(nonce, observed_at, expires_at, changes)


@external
@view
def check_propose(
    nonce: uint256,
    observed_at: uint256,
    expires_at: uint256,
    changes: DynArray[IRiskParameters.Change, _MAX_CHANGES],
):
    """
    @notice Reverts with the reason that propose() would give a keeper now; returns nothing otherwise
    """
    self._check_propose(nonce, observed_at, expires_at, changes, block.timestamp + push_guard._loosen_delay_s)


# ------------------------------------------------------------------ anyone


@external
def execute(id: uint256, changes: DynArray[IRiskParameters.Change, _MAX_CHANGES]):
    """
    @notice Puts an announced batch into force: what it loosens at once, what it tightens as a push would
    @dev Every rule for the content holds now too, and no word of it may have changed since it was announced.
    @param id Proposal
    @param changes Its content, in the same order
    """
    assert not push_roles.paused, e.PAUSED
    loosening._take(id, keccak256(abi_encode(changes)), parameter_store._present(changes))
    parameter_store._check_changes(changes, block.timestamp, True)
    parameter_store._apply(changes)
    log IRiskParameters.ProposalExecuted(id=id, sender=msg.sender)


# ------------------------------------------------------------------ governance


@external
def set_bounds(kind: uint256, low: uint256, high: uint256, step_up: uint256, step_down: uint256):
    """
    @notice Hard bounds and largest steps of every lane of a kind, packed like its words, in units of the lanes
    @dev Values already stored are not touched; the next change of a word must bring every lane of it inside, or nearer.
         Abuse: the width of the bounds is the power of the keeper; lanes._check_consistent holds whatever they are.
    """
    ownable._check_owner()
    parameter_store._set_bounds(kind, low, high, step_up, step_down)


@external
def initialise(kind: uint256, id: uint256, word: uint256):
    """
    @notice First word of the global set (id 0), an underlying or a collateral: inside bounds, consistent, once. A
            collateral counts nothing at first and its haircuts fall to the word over guards().listing_ramp_s.
    @dev Abuse: none beyond that of the bounds.
    """
    ownable._check_owner()
    parameter_store._initialise(kind, id, word)
    log IRiskParameters.WordSet(kind=kind, id=id, word=word)


# ------------------------------------------------------------------ views


@external
@view
@reentrant
def words(underlyings: uint256, collaterals: uint256) -> DynArray[uint256, _MAX_CHANGES]:
    """
    @notice The words that the margin rule uses now: the global one, then one for each set bit (0..15), ascending,
            underlyings first. Lanes that ramp are those of this moment; on top of the stored lanes there are
            global: im_scale raised by lapse and loss of peg, lane 5 the offset floor for initial margin (lane 3 is that
            of maintenance margin); underlying: lane 12 widen_bps (ramp._widen_bps).
    @dev Reentrant: read by the margin engine in the middle of any action. No function here calls out with
         half-written state.
    """
    result: DynArray[uint256, _MAX_CHANGES] = [parameter_store._global()]
    bits: uint256 = underlyings
    # id + 16 <= 31 and id + 32 <= 47
    for id: uint256 in range(c.MAX_UNDERLYINGS):
        if bits == 0:
            break
        if bits & 1 != 0:
            stored: uint256 = parameter_store._words[unsafe_add(id, _FIRST_UNDERLYING)]
            if block.timestamp < stored >> ramp.END_SHIFT or stored == 0:
                stored = parameter_store._underlying(id, stored)
            result.append(stored & ramp.IN_FORCE)
        bits >>= 1
    bits = collaterals
    for id: uint256 in range(c.MAX_COLLATERALS):
        if bits == 0:
            break
        if bits & 1 != 0:
            stored: uint256 = parameter_store._words[unsafe_add(id, _FIRST_COLLATERAL)]
            if block.timestamp < stored >> ramp.END_SHIFT or stored == 0:
                stored = parameter_store._collateral(id, stored)
            result.append(stored & ramp.IN_FORCE)
        bits >>= 1
    return result


@external
@view
@reentrant
def word(kind: uint256, id: uint256) -> uint256:
    """
    @notice The stored lanes, which are the target of a ramp; 0 if never initialised
    @dev Reentrant for the same reason as words().
    """
    return parameter_store._words[parameter_store._index(kind, id)] & lanes.MASK


@external
@view
@reentrant
def in_force(kind: uint256, id: uint256) -> uint256:
    """
    @notice The word as words() gives it
    @dev Reentrant for the same reason as words().
    """
    index: uint256 = parameter_store._index(kind, id)
    if kind == lanes.KIND_GLOBAL:
        return parameter_store._global()
    if kind == lanes.KIND_UNDERLYING:
        return parameter_store._underlying(id, parameter_store._words[index])
    return parameter_store._collateral(id, parameter_store._words[index])


@external
@view
@reentrant
def underlying_at(id: uint256, at: uint256) -> uint256:
    """
    @notice Lanes of an underlying that were in force at `at` (unix s), or at the start of its last ramp if that is later;
            without widen_bps
    @dev What a page of the risk table observed then has to say. A lane that has loosened since is that of now.
         Reentrant for the same reason as words().
    """
    return parameter_store._underlying_at(id, at)


@external
@view
def ramp_ends_at(kind: uint256, id: uint256) -> uint256:
    """
    @notice End of the word's last ramp (unix s), 0 if there was none
    """
    return parameter_store._words[parameter_store._index(kind, id)] >> ramp.END_SHIFT


@external
@view
def changed_at(kind: uint256, id: uint256) -> uint256:
    """
    @notice When the word last changed (unix s); its next change is allowed min_interval_s later
    """
    return parameter_store._changed_at[parameter_store._index(kind, id)]


@external
@view
def bounds(kind: uint256) -> (uint256, uint256, uint256, uint256):
    """
    @notice (low, high, step up, step down), packed like the words of the kind
    """
    return (
        parameter_store._low[kind],
        parameter_store._high[kind],
        parameter_store._step_up[kind],
        parameter_store._step_down[kind],
    )


# ------------------------------------------------------------------ internal


@internal
@view
def _check_push(
    nonce: uint256,
    observed_at: uint256,
    expires_at: uint256,
    changes: DynArray[IRiskParameters.Change, _MAX_CHANGES],
):
    assert not push_roles.paused, e.PAUSED
    push_guard._check_header(nonce, observed_at, expires_at, False)
    parameter_store._check_changes(changes, block.timestamp, False)


@internal
@view
def _check_propose(
    nonce: uint256,
    observed_at: uint256,
    expires_at: uint256,
    changes: DynArray[IRiskParameters.Change, _MAX_CHANGES],
    eta: uint256,
):
    assert not push_roles.paused, e.PAUSED
    push_guard._check_header(nonce, observed_at, expires_at, True)
    parameter_store._check_changes(changes, eta, True)
