# SPDX-License-Identifier: Apache-2.0
"""Whether a head may be acted on: young by the wall clock, and not far behind the heads of other endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.chain.endpoint import Head

FASTEST = 100  # blocks a second


@dataclass(frozen=True, slots=True)
class FreshPolicy:
    """Limits of freshness.

    Attributes
    ----------
    stale_s
        Greatest age of a head by the wall clock, either way, in seconds; None does not judge it (a development chain's
        clock stands still or runs ahead).
    max_lag_blocks
        Most blocks a head may be behind the best one of another endpoint.
    remember_s
        How long another endpoint's head counts after it was seen, also when that endpoint has since died: the chain
        has been that far.
    """

    stale_s: float | None = None
    max_lag_blocks: int = 8
    remember_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """``lag`` in blocks behind the best other head; ``why`` the head is not to be acted on, empty where it is."""

    lag: int
    kind: str = ""
    why: str = ""


def invented(policy: FreshPolicy, head: Head, other: Head) -> bool:
    """Whether more blocks lie between two heads than any chain makes in the time between them."""
    between_s = max(0, head.timestamp - other.timestamp) + max(0.0, head.seen_at - other.seen_at) + 1
    return head.number - other.number > policy.max_lag_blocks + FASTEST * between_s


def judge(policy: FreshPolicy, head: Head, others: Sequence[Head], wall: float) -> Verdict:
    """Judge a head that was seen just now.

    Parameters
    ----------
    others
        Heads of the other endpoints. They were seen earlier, so the lag is never overstated.
    wall
        Unix time, seconds.

    Examples
    --------
    >>> judge(FreshPolicy(stale_s=60), Head(7, 1_000, 0.0), [], 1_100.0).why
    'has a head 100 s old (block 7, limit 60 s)'
    """
    seen = [other for other in others if head.seen_at - other.seen_at <= policy.remember_s]
    if len(seen) > 1 and all(invented(policy, head, other) for other in seen):
        return Verdict(0, "invented", f"has a head no chain can have reached (block {head.number})")
    numbers = sorted([head.number, *(other.number for other in seen)])
    young = policy.stale_s is not None and abs(wall - head.timestamp) <= policy.stale_s
    # one of three or more that is ahead of all may lie; one that is young and not behind the rest is good enough
    best = numbers[-2] if young and len(numbers) > 2 else numbers[-1]
    lag = max(0, best - head.number)
    if lag > policy.max_lag_blocks:
        best = head.number + lag
        return Verdict(lag, "lagging", f"is {lag} blocks behind (at {head.number}, the best at {best})")
    if policy.stale_s is None:
        return Verdict(lag)
    age = wall - head.timestamp
    if age > policy.stale_s:
        return Verdict(lag, "stale", f"has a head {age:.0f} s old (block {head.number}, limit {policy.stale_s:.0f} s)")
    if -age > policy.stale_s:
        return Verdict(
            lag,
            "clock",
            f"has a head {-age:.0f} s ahead of this machine's clock (block {head.number}); check the clock",
        )
    return Verdict(lag)
