# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Queue of announced changes
@notice A change that loosens anything waits, can be vetoed, and is then executed by anybody. The queue holds hashes
        alone; the content is in the event.
@dev The last eight proposals can be open. A ninth closes the first, so that a queue full of dead ones blocks nobody.
"""

from contracts.interfaces import IRiskParameters
from contracts.modules import errors_params as e
from contracts.modules import push_roles
from snekmate.auth import ownable

uses: ownable
uses: push_roles


struct Queued:
    # hash of the changes, 0 = closed
    content: bytes32
    # hash of the words they replace, when they were proposed
    present: bytes32
    eta: uint256


_OPEN: constant(uint256) = 8
_EXECUTABLE_S: constant(uint256) = 3 * 86_400


# id of the newest proposal; the first is 1
proposals: public(uint256)

# index id % 8
_queue: Queued[_OPEN]


# ------------------------------------------------------------------ external


@external
def veto(id: uint256):
    """
    @notice Guardian or governance closes an open proposal
    @param id Proposal
    @dev Abuse: a guardian who vetoes everything keeps the parameters tighter than the model wants; tightening goes on.
    """
    assert msg.sender == ownable.owner or msg.sender == push_roles.guardian, e.NOT_GUARDIAN
    assert self._is_open(id), e.NOT_OPEN
    self._queue[id % _OPEN] = empty(Queued)
    log IRiskParameters.ProposalVetoed(id=id, sender=msg.sender)


@external
@view
def proposal(id: uint256) -> (bytes32, uint256, uint256):
    """
    @notice (hash of the changes, executable from, executable until: unix s); zeros when it is vetoed, executed, replaced
            by the eighth after it, or unknown
    """
    if not self._is_open(id):
        return empty(bytes32), 0, 0
    queued: Queued = self._queue[id % _OPEN]
    return queued.content, queued.eta, queued.eta + _EXECUTABLE_S


# ------------------------------------------------------------------ internal


@internal
def _propose(content: bytes32, present: bytes32, eta: uint256) -> uint256:
    id: uint256 = self.proposals + 1
    self.proposals = id
    self._queue[id % _OPEN] = Queued(content=content, present=present, eta=eta)
    return id


@internal
def _take(id: uint256, content: bytes32, present: bytes32):
    """
    @notice Closes a proposal that may be executed now, with this content, on these words
    @custom:invariant I-51
    """
    assert self._is_open(id), e.NOT_OPEN
    queued: Queued = self._queue[id % _OPEN]
    assert content == queued.content, e.OTHER_CONTENT
    assert block.timestamp >= queued.eta, e.NOT_YET
    assert block.timestamp <= queued.eta + _EXECUTABLE_S, e.TOO_LATE
    # what was reviewed was a difference; a push in between has made it another one
    assert present == queued.present, e.STALE
    self._queue[id % _OPEN] = empty(Queued)


@internal
@view
def _is_open(id: uint256) -> bool:
    newest: uint256 = self.proposals
    return id <= newest and id + _OPEN > newest and self._queue[id % _OPEN].content != empty(bytes32)
