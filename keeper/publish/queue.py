# SPDX-License-Identifier: Apache-2.0
"""What stands between a calibration and the parameters in force: limits in time, last changes, announced proposals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keeper.domain import Block, ContractCall, Unknown
from keeper.errors import KeeperError
from keeper.index.proposals import QueuedProposal
from keeper.ports import Chain

CONTRACT = "RiskParameters"
MIN_INTERVAL, LOOSEN_DELAY, MIN_SCAN_MULTIPLE = 1, 6, 8  # fields of RiskParameters.guards
Key = tuple[int, int]  # kind, id
Change = tuple[int, int, int]  # kind, id, word


@dataclass(frozen=True, slots=True)
class Proposal:
    """An open proposal: executable by anybody in ``eta..until`` (unix s), unless one of its words changed meanwhile."""

    id: int
    changes: tuple[Change, ...]
    eta: int
    until: int
    stale: bool

    @property
    def words(self) -> dict[Key, int]:
        """The words it would set."""
        return {(kind, number): word for kind, number, word in self.changes}

    def living(self, now: int) -> bool:
        """Whether anybody can still execute it, now or later."""
        return not self.stale and now <= self.until


@dataclass(frozen=True, slots=True)
class ParameterQueue:
    """``changed_at`` is the time (unix s) of each word's last change; ``proposals`` are the open ones, oldest first."""

    min_interval_s: int
    loosen_delay_s: int
    min_scan_multiple_bps: int
    changed_at: Mapping[Key, int]
    proposals: tuple[Proposal, ...]

    def living(self, now: int) -> tuple[Proposal, ...]:
        """Proposals that can still be executed, now or later."""
        return tuple(item for item in self.proposals if item.living(now))

    def changeable(self, key: Key, at: int) -> bool:
        """Whether the word may change at a time (unix s)."""
        return at >= self.changed_at.get(key, 0) + self.min_interval_s


def read_queue(
    chain: Chain, block: Block, words: Iterable[Key], queued: Sequence[QueuedProposal]
) -> ParameterQueue | Unknown:
    """Read the queue at a block.

    Parameters
    ----------
    words
        Every (kind, id) that is initialised.
    queued
        Proposals that events tell of; the contract says which of them are open.
    """
    keys = sorted(words)
    calls = [
        ContractCall(CONTRACT, "guards"),
        *(ContractCall(CONTRACT, "changed_at", key) for key in keys),
        *(ContractCall(CONTRACT, "proposal", (item.id,)) for item in queued),
    ]
    answers = chain.call_many(calls, block)
    for answer in answers:
        if isinstance(answer, KeeperError):
            return Unknown(str(answer), block.timestamp)
    guards, rest = answers[0], answers[1:]
    changed_at = dict(zip(keys, rest, strict=False))
    found = []
    for item, (_, eta, until) in zip(queued, rest[len(keys) :], strict=True):
        if eta != 0:
            announced_at = eta - guards[LOOSEN_DELAY]
            stale = any(changed_at.get((kind, number), 0) > announced_at for kind, number, _ in item.changes)
            found.append(Proposal(item.id, item.changes, eta, until, stale))
    return ParameterQueue(
        guards[MIN_INTERVAL], guards[LOOSEN_DELAY], guards[MIN_SCAN_MULTIPLE], changed_at, tuple(found)
    )
