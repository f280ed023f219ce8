# SPDX-License-Identifier: Apache-2.0
"""Margin of every account of a snapshot with the integer twin, and the twin's parity with the engine on chain.

An account that cannot be assessed is `Unknown`: nothing is decided about it, and it is never taken for healthy.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from keeper.domain import ContractCall, Snapshot, Unknown
from keeper.errors import KeeperError
from keeper.judged import Judged, judge
from keeper.ledger import AccountBook
from keeper.ports import Chain
from risk.onchain import Assessment

BPS = 10_000
Assessments = Mapping[int, Assessment | Unknown]


@dataclass(frozen=True, slots=True)
class ParityPolicy:
    """Which accounts are compared with the engine each cycle.

    ``near_bps``: health below this share of the maintenance requirement counts as near the line; ``near_limit`` and
    ``sample`` bound the calls of one cycle.
    """

    near_bps: int = 1_000
    near_limit: int = 32
    sample: int = 8


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An account for which the twin and the engine disagree; ``fields`` are (name, twin, engine)."""

    account: int
    fields: tuple[tuple[str, object, object], ...]

    def __str__(self) -> str:
        parts = "; ".join(f"{name}: twin {ours}, engine {theirs}" for name, ours, theirs in self.fields)
        return f"account {self.account}: {parts}"


@dataclass(frozen=True, slots=True)
class Parity:
    """Outcome of one comparison; ``unread`` accounts could not be asked about."""

    checked: tuple[int, ...]
    mismatches: tuple[Mismatch, ...]
    unread: Mapping[int, Unknown]


def assess_all(snapshot: Snapshot) -> Assessments:
    """Assess every account of a snapshot.

    Returns
    -------
    mapping
        Account to its assessment (amounts wad), or `Unknown` with the reason. Of a book that the ledger keeps only
        those that are looked up are computed; the questions below are answered for all.
    """
    market, accounts = snapshot.market, snapshot.accounts
    if isinstance(market, Unknown):
        return dict.fromkeys(accounts, market)
    if isinstance(accounts, AccountBook):
        judged = Judged.of(accounts, market)
        if judged is not None:
            return judged
    now = snapshot.block.timestamp
    return {account: judge(words, market, now) for account, words in sorted(accounts.items())}


def unknown_of(assessments: Assessments) -> dict[int, Unknown]:
    """Accounts that cannot be judged, and why."""
    if isinstance(assessments, Judged):
        return assessments.unknown()
    return {account: result for account, result in assessments.items() if isinstance(result, Unknown)}


def worst_of(assessments: Assessments) -> tuple[int, int] | None:
    """(account, maintenance health in wad) of the lowest, None where nothing is known."""
    if isinstance(assessments, Judged):
        return assessments.worst
    found = [(r.mm_health, account) for account, r in assessments.items() if not isinstance(r, Unknown)]
    return None if not found else (min(found)[1], min(found)[0])


def least_share_of(assessments: Assessments) -> float:
    """Least maintenance health as a share of the requirement, to show; NaN where nobody has a requirement."""
    if isinstance(assessments, Judged):
        return assessments.least_share()
    known = (r for r in assessments.values() if not isinstance(r, Unknown))
    return min((r.mm_health / r.mm for r in known if r.mm), default=float("nan"))


def worst_first(assessments: Assessments) -> Iterator[int]:
    """Accounts whose auction may start, worst first, equal ones by number; judged as far as the caller goes."""
    if not isinstance(assessments, Judged):
        yield from liquidatable(assessments)
        return
    for account in assessments.worst_first():
        result = assessments[account]
        if not isinstance(result, Unknown) and result.liquidatable:
            yield account


def liquidatable(assessments: Assessments) -> tuple[int, ...]:
    """Accounts whose auction may start, whatever old data hide: worst first, equal ones by number."""
    if isinstance(assessments, Judged):
        return assessments.liquidatable()
    found = [
        (result.mm_health, account)
        for account, result in assessments.items()
        if not isinstance(result, Unknown) and result.liquidatable
    ]
    return tuple(account for _, account in sorted(found))


def in_doubt(assessments: Assessments) -> tuple[int, ...]:
    """Accounts below maintenance margin that might not be if old data were replaced, by number."""
    if isinstance(assessments, Judged):
        return assessments.in_doubt()
    return tuple(
        account
        for account, result in sorted(assessments.items())
        if not isinstance(result, Unknown) and result.mm_health < 0 and not result.liquidatable
    )


def near_line(assessments: Assessments, near_bps: int, limit: int | None = None) -> tuple[int, ...]:
    """Accounts whose maintenance health is below ``near_bps`` of their requirement; the ``limit`` nearest first."""
    if isinstance(assessments, Judged):
        return assessments.near(near_bps, len(assessments) if limit is None else limit)
    found = []
    for account, result in assessments.items():
        if isinstance(result, Unknown) or result.mm == 0:
            continue
        if result.mm_health * BPS < near_bps * result.mm:
            found.append((abs(result.mm_health), account))
    return tuple(account for _, account in sorted(found)[:limit])


def sample_of(assessments: Assessments, size: int, block_hash: bytes) -> tuple[int, ...]:
    """Accounts that the block's hash draws, by number: the same for the same block, and nobody can steer it."""
    if isinstance(assessments, Judged):
        return draw(assessments.numbers.tolist(), size, block_hash)
    return draw(sorted(a for a, r in assessments.items() if not isinstance(r, Unknown)), size, block_hash)


def draw(accounts: Sequence[int], size: int, block_hash: bytes) -> tuple[int, ...]:
    """``size`` of the accounts, by number, as a block's hash draws them."""
    # Not a secret: only unpredictable before the block is made.
    chooser = random.Random(block_hash)  # noqa: S311
    return tuple(sorted(chooser.sample(accounts, min(size, len(accounts)))))


def choose_for_parity(assessments: Assessments, policy: ParityPolicy, block_hash: bytes) -> tuple[int, ...]:
    """Accounts to compare: those near the line, then a sample that the block's hash draws."""
    near = near_line(assessments, policy.near_bps, policy.near_limit)
    drawn = sample_of(assessments, policy.sample, block_hash)
    return (*near, *(account for account in drawn if account not in near))


def check_parity(chain: Chain, snapshot: Snapshot, assessments: Assessments, accounts: Sequence[int]) -> Parity:
    """Compare the twin's integers with ``MarginEngine.assess`` at the block of the snapshot.

    A call that fails says nothing about parity: the account is reported as unread. So is one that differs once and
    agrees when everything about it is read again: a node may answer for its head block while it is already making the
    next one, with the state of one and the time of the other. Only a difference that stays is a mismatch.
    """
    parity = _compare_all(chain, snapshot, assessments, accounts)
    if not parity.mismatches:
        return parity
    doubtful = tuple(item.account for item in parity.mismatches)
    second = chain.snapshot(accounts=doubtful, block=snapshot.block)
    again = _compare_all(chain, second, assess_all(second), doubtful)
    confirmed = {item.account for item in again.mismatches}
    unstable = Unknown("the node's first answer was not of this block", snapshot.block.timestamp)
    return Parity(
        checked=tuple(account for account in parity.checked if account not in doubtful or account in confirmed),
        mismatches=again.mismatches,
        unread={**parity.unread, **dict.fromkeys((a for a in doubtful if a not in confirmed), unstable)},
    )


def _compare_all(chain: Chain, snapshot: Snapshot, assessments: Assessments, accounts: Sequence[int]) -> Parity:
    asked = [account for account in accounts if not isinstance(assessments[account], Unknown)]
    calls = [ContractCall("MarginEngine", "assess", (account,)) for account in asked]
    checked, mismatches, unread = [], [], {}
    for account, raw in zip(asked, chain.call_many(calls, snapshot.block), strict=True):
        ours = assessments[account]
        if isinstance(raw, KeeperError):
            unread[account] = Unknown(str(raw), snapshot.block.timestamp)
        elif not isinstance(ours, Unknown):
            checked.append(account)
            fields = compare(ours, raw)
            if fields:
                mismatches.append(Mismatch(account, fields))
    return Parity(tuple(checked), tuple(mismatches), unread)


def compare(ours: Assessment, raw: Sequence[object]) -> tuple[tuple[str, object, object], ...]:
    """Fields in which the twin's result and the contract's struct differ: (name, twin, engine)."""
    theirs = (*raw[:-1], tuple(raw[-1]))  # type: ignore[arg-type]
    if len(theirs) != len(ours):
        return (("fields", len(ours), len(theirs)),)
    return tuple(
        (name, mine, other) for name, mine, other in zip(ours._fields, ours, theirs, strict=True) if mine != other
    )
