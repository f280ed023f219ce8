# SPDX-License-Identifier: Apache-2.0
"""Margin of every account of a snapshot with the integer twin, and the twin's parity with the engine on chain.

An account that cannot be assessed is `Unknown`: nothing is decided about it, and it is never taken for healthy.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keeper.domain import ContractCall, Snapshot, Unknown
from keeper.errors import KeeperError
from keeper.ports import Chain
from risk.errors import RiskError
from risk.onchain import Assessment, ChainMarket, assess_words

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


def assess_all(snapshot: Snapshot) -> dict[int, Assessment | Unknown]:
    """Assess every account of a snapshot.

    Returns
    -------
    dict
        Account to its assessment (amounts wad), or `Unknown` with the reason.
    """
    market = snapshot.market
    if isinstance(market, Unknown):
        return dict.fromkeys(snapshot.accounts, market)
    now = snapshot.block.timestamp
    return {account: _assess(words, market, now) for account, words in sorted(snapshot.accounts.items())}


def _assess(words: Sequence[int] | Unknown, market: ChainMarket, now: int) -> Assessment | Unknown:
    if isinstance(words, Unknown):
        return words
    try:
        return assess_words(words, market)
    except KeyError as error:
        return Unknown(f"the snapshot lacks input {error} of the account", now)
    except RiskError as error:
        return Unknown(str(error), now)


def liquidatable(assessments: Assessments) -> tuple[int, ...]:
    """Accounts whose auction may start, whatever old data hide: worst first, equal ones by number."""
    found = [
        (result.mm_health, account)
        for account, result in assessments.items()
        if not isinstance(result, Unknown) and result.liquidatable
    ]
    return tuple(account for _, account in sorted(found))


def in_doubt(assessments: Assessments) -> tuple[int, ...]:
    """Accounts below maintenance margin that might not be if old data were replaced, by number."""
    return tuple(
        account
        for account, result in sorted(assessments.items())
        if not isinstance(result, Unknown) and result.mm_health < 0 and not result.liquidatable
    )


def near_line(assessments: Assessments, near_bps: int) -> tuple[int, ...]:
    """Accounts whose maintenance health is below ``near_bps`` of their requirement, nearest first."""
    found = []
    for account, result in assessments.items():
        if isinstance(result, Unknown) or result.mm == 0:
            continue
        if result.mm_health * BPS < near_bps * result.mm:
            found.append((abs(result.mm_health), account))
    return tuple(account for _, account in sorted(found))


def choose_for_parity(assessments: Assessments, policy: ParityPolicy, block_hash: bytes) -> tuple[int, ...]:
    """Accounts to compare: those near the line, then a sample that the block's hash draws.

    The hash seeds the sample, so the choice is the same for the same snapshot and nobody can steer it.
    """
    near = near_line(assessments, policy.near_bps)[: policy.near_limit]
    rest = sorted(a for a, r in assessments.items() if not isinstance(r, Unknown) and a not in set(near))
    # Not a secret: only unpredictable before the block is made.
    chooser = random.Random(block_hash)  # noqa: S311
    return (*near, *sorted(chooser.sample(rest, min(policy.sample, len(rest)))))


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
