# SPDX-License-Identifier: Apache-2.0
"""Prices that two sources disagree about: nothing is sent while they do.

The oracle's price is what the contracts act on. Where a source outside the chain says something far from it, one of the
two lies, and whatever the keeper would do at that price could be what the liar wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from keeper.domain import Snapshot, Unknown
from keeper.reference import Quote

BPS = 10_000
WAD = 10**18


class Quotes(Protocol):
    """Where second opinions come from; `keeper.reference.References` is one."""

    def quotes(self, symbol: str) -> Sequence[Quote | Unknown]:
        """The newest quote of each source."""


@dataclass(frozen=True, slots=True)
class SanityPolicy:
    """``max_deviation_bps`` of the lower price; quotes older than ``max_age_s`` say nothing.

    ``required``: an underlying without a quote counts as disagreeing. ``agree``: so many looks in a row without a
    disagreement let the keeper act again.
    """

    max_deviation_bps: int = 500
    max_age_s: int = 60
    required: bool = False
    agree: int = 3


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found: disagreements and underlyings without a second opinion, as sentences by symbol.

    ``trusted`` says whether the keeper may act; ``bps`` is the largest deviation of each underlying.
    """

    trusted: bool
    disagree: dict[str, str]
    unknown: dict[str, str]
    bps: dict[str, int]


@dataclass(slots=True)
class PriceCheck:
    """Compares oracle and sources at every snapshot, and remembers how long they have agreed."""

    source: Quotes
    policy: SanityPolicy = field(default_factory=SanityPolicy)
    _waiting: int = 0

    def look(self, snapshot: Snapshot, now: int) -> Look:
        """Compare at a snapshot; ``now`` is wall-clock time (unix s), which quotes are stamped with."""
        disagree: dict[str, str] = {}
        unknown: dict[str, str] = {}
        bps: dict[str, int] = {}
        for symbol, price_wad in _living(snapshot).items():
            quotes = [q for q in self.source.quotes(symbol) if not isinstance(q, Unknown)]
            fresh = [q for q in quotes if now - q.at <= self.policy.max_age_s]
            if not fresh:
                unknown[symbol] = f"no source outside the chain has a fresh price of {symbol}"
                continue
            worst = max(fresh, key=lambda q: deviation_bps(q.price_wad, price_wad))
            bps[symbol] = deviation_bps(worst.price_wad, price_wad)
            if bps[symbol] > self.policy.max_deviation_bps:
                disagree[symbol] = (
                    f"{symbol} is {price_wad / WAD:,.2f} USD at the oracle and {worst.price_wad / WAD:,.2f} at "
                    f"{worst.source}, {bps[symbol] / 100:.1f} % apart "
                    f"(limit {self.policy.max_deviation_bps / 100:.1f} %)"
                )
        tripped = bool(disagree) or (self.policy.required and bool(unknown))
        self._waiting = self.policy.agree if tripped else max(0, self._waiting - 1)
        return Look(not tripped and self._waiting == 0, disagree, unknown, bps)


def deviation_bps(one_wad: int, other_wad: int) -> int:
    """How far two prices are apart, bps of the lower one, rounded up."""
    low, high = sorted((one_wad, other_wad))
    return -(-(high - low) * BPS // low) if low > 0 else 10**9


def _living(snapshot: Snapshot) -> dict[str, int]:
    """Oracle prices that the contracts would act on, USD wad by symbol; what a dead price means they say themselves."""
    if isinstance(snapshot.prices, Unknown):
        return {}
    return {
        snapshot.symbol(number): price.price_wad
        for (kind, number), price in sorted(snapshot.prices.items())
        if kind == 0 and not price.dead
    }
