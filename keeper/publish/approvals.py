# SPDX-License-Identifier: Apache-2.0
"""A person's word for one batch of parameters or one page, and what it covers.

A batch is approved by the digest of its kind, its nonce and its words, so nothing else can be sent in its place. A page
is built anew each cycle, so it is its underlying and epoch that are approved. Either way the word covers the accounts
that the person was shown: one more that would fall, and it covers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eth_abi.abi import encode
from eth_utils.crypto import keccak
from sqlalchemy import select

from keeper.actions import ParameterBatch
from keeper.publish.impact import Impact
from keeper.store import Store
from keeper.store.models import ApprovalRow


@dataclass(frozen=True, slots=True)
class Approval:
    """Good until ``expires_at`` (unix s), for at most the accounts named."""

    digest: bytes
    what: str
    accounts: frozenset[int]
    expires_at: int


def batch_digest(kind: str, nonce: int, changes: Iterable[tuple[int, int, int]]) -> bytes:
    """What a batch is approved by.

    Examples
    --------
    >>> batch_digest("push_parameters", 7, [(0, 0, 5)]).hex()[:8]
    '0b04bec0'
    """
    words = [tuple(change) for change in changes]
    return bytes(keccak(encode(["string", "uint256", "(uint256,uint256,uint256)[]"], [kind, nonce, words])))


def digest_of(action: ParameterBatch) -> bytes:
    """`batch_digest` of an action."""
    return batch_digest(action.kind, action.nonce, action.changes)


def page_digest(underlying: int, epoch: int) -> bytes:
    """What the page of an underlying's next epoch is approved by; -1: the joint scenarios."""
    return bytes(keccak(encode(["string", "int256", "uint256"], ["publish_page", underlying, epoch])))


def covers(approvals: Mapping[bytes, Approval], digest: bytes, impact: Impact | None, now: int) -> bool:
    """Whether a living approval covers this content and all the harm it would do."""
    found = approvals.get(digest)
    if found is None or now >= found.expires_at:
        return False
    return impact is None or frozenset((*impact.newly_liquidatable, *impact.unknown)) <= found.accounts


def approve(store: Store, chain_id: int, approval: Approval, now: int) -> None:
    """Write a person's word down; a later one of the same content replaces it."""
    with store.session() as session:
        session.merge(
            ApprovalRow(
                chain_id=chain_id,
                digest=approval.digest,
                what=approval.what,
                accounts=sorted(approval.accounts),
                approved_at=now,
                expires_at=approval.expires_at,
            )
        )


def no_approvals(_now: int) -> Mapping[bytes, Approval]:
    """Nothing is approved."""
    return {}


def living(store: Store, chain_id: int, now: int) -> dict[bytes, Approval]:
    """Approvals that have not expired, by digest."""
    with store.session() as session:
        query = select(ApprovalRow).where(ApprovalRow.chain_id == chain_id, ApprovalRow.expires_at > now)
        return {
            bytes(row.digest): Approval(bytes(row.digest), row.what, frozenset(row.accounts), row.expires_at)
            for row in session.scalars(query)
        }
