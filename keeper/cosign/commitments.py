# SPDX-License-Identifier: Apache-2.0
"""Which content of each epoch a publisher's key has signed: one, until that one can be published no more.

The contract takes an observation only while it is young. So a content that failed to find its quorum blocks its epoch
for minutes and not for ever; two contents of one epoch that could both be published are never signed. Whoever let a
content die unpublished waits as long again before it may have another one of that epoch: the others go first, or one
publisher that gathers signatures and publishes nothing would silence them all.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from keeper.actions import PublishPage
from keeper.cosign.messages import Table
from keeper.publish.rebuild import content_hash
from keeper.publish.signing import joint_content_hash
from keeper.store import Store
from keeper.store.models import CommitmentRow

JOINT = -1


@dataclass(frozen=True, slots=True)
class Content:
    """What identifies a table's content; ``underlying`` -1: joint scenarios."""

    underlying: int
    epoch: int
    hash: bytes
    observed_at: int


def content_of(table: Table) -> Content:
    """Content of a proposed table."""
    if isinstance(table, PublishPage):
        header = table.header
        hashed = content_hash(header.as_tuple(), table.surfaces, table.rows)
        return Content(table.underlying, header.epoch, hashed, header.observed_at)
    return Content(JOINT, table.joint_epoch, joint_content_hash(table), table.observed_at)


class Commitments:
    """The signatures of one key for one table contract."""

    def __init__(self, store: Store, chain_id: int, contract: str, signer: str) -> None:
        self._store = store
        self._key = {"chain_id": chain_id, "contract": contract.lower(), "signer": signer.lower()}

    def claim(self, content: Content, max_age_s: int, now: int, requester: str) -> str | None:
        """Commit to a content before it is signed; None where it may be signed, else why not.

        Parameters
        ----------
        max_age_s
            Oldest observation that the contract takes.
        now
            Time of the chain, unix s.
        """
        with self._store.session() as session:
            query = select(CommitmentRow).filter_by(**self._key, underlying=content.underlying).with_for_update()
            rows = list(session.scalars(query))
            known = next((row for row in rows if row.epoch == content.epoch), None)
            if known is not None and known.content_hash == content.hash:
                return None
            if known is not None and now <= max(known.dead_at, known.observed_at + max_age_s):
                return (
                    f"0x{known.content_hash.hex()} of this epoch is signed and can be published until {known.dead_at}"
                )
            if known is not None and self._wasted(known, requester) and now <= (until := known.dead_at + max_age_s):
                return f"a content of {requester} was signed and never published; until {until} others go first"
            newest = max((row.observed_at for row in rows), default=0)
            if content.observed_at <= newest:
                return f"a content observed at {newest} is signed, this one was observed at {content.observed_at}"
            session.merge(
                CommitmentRow(
                    **self._key,
                    underlying=content.underlying,
                    epoch=content.epoch,
                    content_hash=content.hash,
                    observed_at=content.observed_at,
                    dead_at=content.observed_at + max_age_s,
                    requester=requester,
                    signed_at=now,
                )
            )
        return None

    def _wasted(self, known: CommitmentRow, requester: str) -> bool:
        """Whether the dead content of this epoch was this very peer's: it would hold up every epoch for ever."""
        return requester.lower() == known.requester.lower() != self._key["signer"]

    def signed(self, content: Content) -> bool:
        """Whether this content is the one that is committed to."""
        with self._store.session() as session:
            key = (*self._key.values(), content.underlying, content.epoch)
            row = session.get(CommitmentRow, key)
            return row is not None and row.content_hash == content.hash
