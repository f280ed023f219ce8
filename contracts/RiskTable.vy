# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# pragma optimize gas
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Risk table epochs
@license GNU Affero General Public License v3.0 only
@notice For each underlying, a page with a row for every option: its value at 15 prices and three volatilities. And the
        joint scenarios over several underlyings. Anybody may publish what a quorum of publishers signed, inside guards; each
        epoch is a data contract of its own, and one storage write switches to it, so no reader ever sees half an epoch.
@dev Everything an epoch was computed from is in its event and, as a hash, in storage: anybody can recompute any row, and whoever
     finds one in force that is off by more than the tolerance can have the chain recompute it, which revokes the epoch
     and takes from its signers' bonds; while the terms name a verifier.
@custom:kill The guardian forbids publishers; with fewer than the quorum left the table ages and the margin rule's staleness
             ladder takes over. Readers are served the last epoch in force.
@custom:trust governance (a timelock): publishers, quorum, limits, terms of challenges. guardian: may only forbid a publisher.
              publishers: a quorum of them can move margins inside the limits until a challenge.
"""

from contracts.interfaces import IInstrumentRegistry
from contracts.interfaces import IRiskTable
from contracts.modules import bonds
from contracts.modules import challenges
from contracts.modules import constants as c
from contracts.modules import digests
from contracts.modules import epochs
from contracts.modules import errors_table as e
from contracts.modules import page_code
from contracts.modules import publishers
from contracts.modules import table_guard
from snekmate.auth import ownable
from snekmate.auth import ownable_2step
from snekmate.utils import eip712_domain_separator

implements: IRiskTable

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: eip712_domain_separator
initializes: digests[eip712_domain_separator := eip712_domain_separator]
initializes: epochs
initializes: bonds[ownable := ownable]
initializes: publishers[ownable := ownable, bonds := bonds]
initializes: table_guard[ownable := ownable, epochs := epochs]

exports: (
    # renouncing is left out: without governance nobody could ever replace a publisher
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
    # EIP-5267
    eip712_domain_separator.eip712Domain,
    # roles and limits
    publishers.guardian,
    publishers.quorum,
    publishers.is_publisher,
    publishers.publisher_count,
    publishers.publisher_at,
    publishers.set_guardian,
    publishers.set_publisher,
    publishers.set_quorum,
    table_guard.set_limits,
    table_guard.limits,
    # publication
    table_guard.REGISTRY,
    table_guard.ORACLE,
    table_guard.PARAMETERS,
    table_guard.check_publish,
    digests.page_digest,
    digests.joint_digest,
    # epochs
    epochs.read,
    epochs.page_info,
    epochs.previous_page,
    epochs.last_epoch,
    epochs.rows_of,
    # bonds
    bonds.BOND_TOKEN,
    bonds.set_terms,
    bonds.terms,
    bonds.deposit_bond,
    bonds.request_bond_withdrawal,
    bonds.withdraw_bond,
    bonds.bond,
    bonds.claim_reward,
    bonds.reward_raw,
)


interface Listings:
    def listing_count() -> uint256: view


@deploy
def __init__(
    governance: address,
    guardian: address,
    registry: address,
    oracle: address,
    parameters: address,
    bond_token: address,
):
    """
    @param governance Owner: the timelock
    @param guardian May forbid a publisher
    @param registry InstrumentRegistry: how many rows a page needs, and what each stands for
    @param oracle PriceOracle: the live price that the reference price is held against
    @param parameters RiskParameters: what grid step, shocks and short minimum are held against
    @param bond_token Cash token, in which publishers are bonded
    """
    assert governance != empty(address), e.NO_GOVERNANCE
    ownable.__init__()
    ownable_2step.__init__()
    eip712_domain_separator.__init__("Ballast RiskTable", "1")
    bonds.__init__(bond_token)
    publishers.__init__(guardian)
    table_guard.__init__(registry, oracle, parameters)
    ownable._transfer_ownership(governance)


# ------------------------------------------------------------------ publication


@external
def publish(
    underlying: uint256,
    header: IRiskTable.Header,
    surfaces: DynArray[IRiskTable.Surface, table_guard.MAX_SURFACES],
    rows: Bytes[page_code.MAX_BYTES],
    signatures: DynArray[IRiskTable.Signature, publishers.MAX_SIGNERS],
):
    """
    @notice Stores the rows of one underlying and makes them the living epoch; anybody may bring what publishers signed
    @dev A signature is good for one epoch number of one underlying here, and while the observation is young enough.
    @param underlying Underlying, listed
    @param header Epoch (last + 1), times (unix s), reference price, lane unit (wad per unit), grid step (1e-9),
           at-the-money volatility (bps a year), shocks and short minimum (bps), hashes of model and data
    @param surfaces What the rows were priced with, one an expiry, ascending
    @param rows 96 bytes for each option slot, from slot 0
    @param signatures Of page_digest(), at least `quorum`, ascending by signer; every one must be good
    """
    assert len(rows) % c.ROW_BYTES == 0, e.ROW_LENGTH
    table_guard._check_page(underlying, header, surfaces, len(rows) // c.ROW_BYTES)
    content_hash: bytes32 = keccak256(abi_encode(header, surfaces, keccak256(rows)))
    signers: uint256 = publishers._check_signatures(digests._page_digest(underlying, content_hash), signatures)
    page: address = raw_create(
        concat(page_code.PUSH2, convert(convert(len(rows) + 1, uint16), bytes2), page_code.COPY, rows)
    )
    epochs._switch(
        underlying, page, header, content_hash, signers, staticcall Listings(table_guard.REGISTRY).listing_count()
    )
    log IRiskTable.PagePublished(
        underlying=underlying,
        epoch=header.epoch,
        page=page,
        header=header,
        surfaces=surfaces,
        content_hash=content_hash,
        signers=publishers._signers(signers),
    )


@external
def publish_joint(
    epoch: uint256,
    observed_at: uint256,
    expires_at: uint256,
    model_hash: bytes32,
    data_hash: bytes32,
    scenarios: Bytes[digests.JOINT_BYTES],
    signatures: DynArray[IRiskTable.Signature, publishers.MAX_SIGNERS],
):
    """
    @notice Stores the joint scenarios and makes them the living ones; anybody may bring what publishers signed
    @param epoch Last epoch of the joint scenarios + 1
    @param observed_at Time of the newest market data used (unix s)
    @param expires_at When they expire (unix s)
    @param model_hash Version of the model
    @param data_hash Its inputs
    @param scenarios 32 bytes each, 1..64
    @param signatures Of joint_digest(), as for publish
    """
    count: uint256 = len(scenarios) // 32
    assert len(scenarios) % 32 == 0 and count != 0, e.SCENARIOS
    assert epoch == ((epochs._joint >> 160) & epochs.MASK_32) + 1, e.BAD_EPOCH
    last: uint256 = epochs._joint_meta
    table_guard._check_times(observed_at, expires_at, table_guard._limits.joint_life_s, last >> 32, last & epochs.MASK_32)
    signers: uint256 = publishers._check_signatures(
        digests._joint_digest(epoch, observed_at, expires_at, model_hash, data_hash, scenarios), signatures
    )
    # always the length of 64 scenarios, of which `count` are in force, as the engine copies code in constant lengths
    # only; copying past the end of the initcode gives zeros
    page: address = raw_create(
        concat(page_code.PUSH2, convert(convert(digests.JOINT_BYTES + 1, uint16), bytes2), page_code.COPY, scenarios)
    )
    epochs._joint = convert(page, uint256) | (epoch << 160) | (count << 192) | (expires_at << 200)
    epochs._joint_meta = block.timestamp | (observed_at << 32)
    log IRiskTable.JointPublished(
        epoch=epoch,
        page=page,
        count=count,
        observed_at=observed_at,
        expires_at=expires_at,
        model_hash=model_hash,
        data_hash=data_hash,
        signers=publishers._signers(signers),
    )


# ------------------------------------------------------------------ challenge


@external
def challenge(
    underlying: uint256,
    slot: uint256,
    header: IRiskTable.Header,
    surfaces: DynArray[IRiskTable.Surface, table_guard.MAX_SURFACES],
    rows_hash: bytes32,
):
    """
    @notice Revokes the living epoch, or the one before it, if the row of `slot` is not what its inputs give: every signer loses
            the penalty, or all of a smaller bond, half of which is credited to the caller. Readers return to the epoch
            before.
    @dev Whoever copies a challenge out of the mempool takes the reward; the epoch is revoked all the same. The previous epoch
         may be challenged so that a liar does not escape by publishing a true one on top, and so that nobody returns to it.
    @param underlying Underlying
    @param slot Option slot
    @param header As published
    @param surfaces As published
    @param rows_hash keccak256 of the rows
    @custom:invariant I-40
    """
    verdict: challenges.Verdict = empty(challenges.Verdict)
    is_living: bool = False
    verdict, is_living = self._judge(underlying, slot, header, surfaces, rows_hash)
    assert verdict.wrong, e.NOT_WRONG
    meta: uint256 = epochs._meta[underlying] if is_living else epochs._previous_meta[underlying]
    slashed_raw: uint256 = 0
    signers: DynArray[address, publishers.MAX_SIGNERS] = publishers._signers(epochs._signers(meta))
    for signer: address in signers:
        slashed_raw += bonds._slash(signer)
    bonds._credit(msg.sender, slashed_raw)
    epochs._revoke(underlying, is_living, staticcall Listings(table_guard.REGISTRY).listing_count())
    log IRiskTable.EpochRevoked(
        underlying=underlying,
        epoch=header.epoch,
        challenger=msg.sender,
        slot=slot,
        lane=verdict.lane,
        expected=verdict.expected,
        published=verdict.published,
        slashed_raw=slashed_raw,
        living_epoch=0 if epochs._content[underlying] == empty(bytes32) else epochs._epoch(epochs._pages[underlying][0]),
    )


@external
@view
def check(
    underlying: uint256,
    slot: uint256,
    header: IRiskTable.Header,
    surfaces: DynArray[IRiskTable.Surface, table_guard.MAX_SURFACES],
    rows_hash: bytes32,
) -> (bool, uint256, uint256, uint256):
    """
    @notice (wrong, lane = 16 * word + lane, expected, published) of the row, as challenge() would find it
    """
    verdict: challenges.Verdict = (self._judge(underlying, slot, header, surfaces, rows_hash))[0]
    return verdict.wrong, verdict.lane, verdict.expected, verdict.published


# ------------------------------------------------------------------ views


@external
@view
def signers_of(underlying: uint256) -> DynArray[address, publishers.MAX_SIGNERS]:
    """
    @notice Publishers that answer for the living epoch, ascending
    """
    return publishers._signers(epochs._signers(epochs._meta[underlying]))


@external
@view
@reentrant
def has_row(instrument: uint256) -> bool:
    """
    @notice Whether the living page has a row made for this option: observed after it was listed, as a slot is used again
    @dev Reentrant for the same reason as read.
    """
    if instrument >> 8 >= c.MAX_UNDERLYINGS:
        return False
    word: uint256 = epochs._pages[instrument >> 8][0]
    if instrument & 255 >= page_code._row_count(word):
        return False
    listed_at: uint256 = staticcall IInstrumentRegistry(table_guard.REGISTRY).listed_at(instrument)
    return listed_at != 0 and epochs._observed_at(word) > listed_at


# ------------------------------------------------------------------ internal


@internal
@view
def _judge(
    underlying: uint256,
    slot: uint256,
    header: IRiskTable.Header,
    surfaces: DynArray[IRiskTable.Surface, table_guard.MAX_SURFACES],
    rows_hash: bytes32,
) -> (challenges.Verdict, bool):
    """
    @notice Verdict on a row of an epoch in force, and whether that is the living epoch
    """
    assert underlying < c.MAX_UNDERLYINGS, e.UNKNOWN_UNDERLYING
    content_hash: bytes32 = keccak256(abi_encode(header, surfaces, rows_hash))
    is_living: bool = content_hash == epochs._content[underlying]
    assert is_living or content_hash == epochs._previous_content[underlying], e.NOT_IN_FORCE
    word: uint256 = epochs._pages[underlying][0] if is_living else epochs._previous_pages[underlying][0]
    verdict: challenges.Verdict = challenges._judge(
        table_guard.REGISTRY,
        bonds._terms.verifier,
        bonds._terms.tolerance_lanes,
        (underlying << 8) | slot,
        header,
        surfaces,
        page_code._row(word, slot),
    )
    return verdict, is_living
