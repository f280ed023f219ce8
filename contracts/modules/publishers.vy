# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Publishers and their quorum
@notice An epoch needs the signatures of `quorum` distinct registered publishers. With fewer publishers than that nothing can be
        published: the table ages, and the margin rule's staleness ladder takes over.
@dev A publisher's number is given once and never reused, so that the signers of an old epoch stay who they were.
"""

from contracts.interfaces import IRiskTable
from contracts.modules import bonds
from contracts.modules import errors_table as e
from snekmate.auth import ownable
from snekmate.utils import signature_checker

uses: ownable
uses: bonds


event PublisherSet:
    publisher: indexed(address)
    number: uint256
    allowed: bool
    sender: address


event QuorumSet:
    quorum: uint256


event GuardianSet:
    guardian: indexed(address)


MAX_SIGNERS: constant(uint256) = 8
# numbers 1..255 fit into a byte
_MAX_PUBLISHERS: constant(uint256) = 255


# may forbid a publisher, nothing else; set by governance
guardian: public(address)

# signatures that an epoch needs, 1..8; set by governance
quorum: public(uint256)

# publishers ever registered; their numbers run from 1
publisher_count: public(uint256)
publisher_at: public(HashMap[uint256, address])

# number << 1 | allowed
_members: HashMap[address, uint256]


@deploy
def __init__(guardian: address):
    """
    @notice Quorum starts at one signature
    """
    self.guardian = guardian
    log GuardianSet(guardian=guardian)
    self._store_quorum(1)


@external
def set_publisher(publisher: address, allowed: bool):
    """
    @notice Governance registers or forbids a publisher, at most 255 ever; the guardian may forbid one
    @dev Abuse: as many hostile publishers as the quorum can publish false rows inside the guards until they are challenged.
         Forbidding too many stops publication.
    """
    if msg.sender != ownable.owner:
        assert msg.sender == self.guardian and not allowed, e.NOT_GUARDIAN
    number: uint256 = self._members[publisher] >> 1
    if number == 0:
        assert publisher != empty(address) and allowed, e.NO_PUBLISHER
        number = self.publisher_count + 1
        assert number <= _MAX_PUBLISHERS, e.PUBLISHERS_FULL
        self.publisher_count = number
        self.publisher_at[number] = publisher
    self._members[publisher] = (number << 1) | convert(allowed, uint256)
    log PublisherSet(publisher=publisher, number=number, allowed=allowed, sender=msg.sender)


@external
def set_quorum(quorum: uint256):
    """
    @notice Governance sets how many publishers must sign, 1..8
    @dev Abuse: one lets a single key publish; more than there are publishers stops publication.
    """
    ownable._check_owner()
    self._store_quorum(quorum)


@external
def set_guardian(guardian: address):
    """
    @notice Governance replaces the guardian; the zero address leaves none
    """
    ownable._check_owner()
    self.guardian = guardian
    log GuardianSet(guardian=guardian)


@external
@view
def is_publisher(publisher: address) -> bool:
    """
    @notice Whether a publisher's signature counts, given its bond
    """
    return self._members[publisher] & 1 == 1


@internal
@view
def _check_signatures(digest: bytes32, signatures: DynArray[IRiskTable.Signature, MAX_SIGNERS]) -> uint256:
    """
    @notice Reverts unless enough publishers signed, every signature given being good; returns their numbers, a byte each
    @dev Every signer answers for the epoch with its bond, so none is taken unchecked. Signers ascend: none counts twice.
    @custom:invariant I-36
    """
    assert len(signatures) >= self.quorum, e.TOO_FEW
    signers: uint256 = 0
    last: uint256 = 0
    for item: IRiskTable.Signature in signatures:
        signer: uint256 = convert(item.signer, uint256)
        assert signer > last, e.SIGNER_ORDER
        last = signer
        member: uint256 = self._members[item.signer]
        assert member & 1 == 1, e.NOT_PUBLISHER
        assert bonds._is_bonded(item.signer), e.LOW_BOND
        assert signature_checker._is_valid_signature_now(item.signer, digest, item.signature), e.SIGNATURE
        signers = (signers << 8) | (member >> 1)
    return signers


@internal
@view
def _signers(signers: uint256) -> DynArray[address, MAX_SIGNERS]:
    """
    @notice Addresses behind the numbers, ascending as they signed
    """
    found: DynArray[address, MAX_SIGNERS] = []
    for k: uint256 in range(MAX_SIGNERS):
        number: uint256 = (signers >> (8 * (MAX_SIGNERS - 1 - k))) & 255
        if number != 0:
            found.append(self.publisher_at[number])
    return found


@internal
def _store_quorum(quorum: uint256):
    assert quorum != 0 and quorum <= MAX_SIGNERS, e.BAD_QUORUM
    self.quorum = quorum
    log QuorumSet(quorum=quorum)
