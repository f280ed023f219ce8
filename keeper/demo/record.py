# SPDX-License-Identifier: Apache-2.0
"""What the demonstration remembers of each hour, and the one object it prints at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

WAD = 10**18


@dataclass(frozen=True, slots=True)
class Health:
    """An account at one block, wad: equity for maintenance, maintenance and initial margin."""

    equity: int
    mm: int
    im: int

    @property
    def ratio(self) -> float:
        """Equity over maintenance margin; 1 is the line, capped at 20 (an account without risk has no ratio)."""
        if self.mm == 0:
            return 20.0 if self.equity >= 0 else -20.0
        return max(-20.0, min(20.0, self.equity / self.mm))


@dataclass(frozen=True, slots=True)
class Hour:
    """One step: prices in USD, amounts in wad, ``health`` by account."""

    ts: int
    block: int
    prices: Mapping[str, float]
    health: Mapping[int, Health]
    epochs: Mapping[str, int]
    push_nonce: int
    open_auctions: int
    insurance_wad: int


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happened: ``kind`` is the name of the chain event."""

    ts: int
    kind: str
    account: int | None
    text: str


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """Who an account is, for tables."""

    number: int
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Totals:
    """The object ``ballast demo --json`` prints.

    ``sold_with_equity_left``: auctions whose first bidder paid, that is, liquidated before they were insolvent;
    ``futures_settled``: positions in dated futures that were paid out at an expiry.
    """

    blocks: int
    accounts: int
    epochs: int
    pushes: int
    proposals: int
    proposals_executed: int
    futures_settled: int
    auctions_started: int
    bids: int
    bad_debt_wad: int
    insurance_paid_wad: int
    conservation_ok: bool
    conservation_faults: tuple[str, ...]
    conservation_checks: int
    parity_checked: int
    parity_mismatches: int
    sold_with_equity_left: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return asdict(self)


@dataclass(slots=True)
class Journal:
    """Collects hours and incidents while the demonstration runs."""

    accounts: list[AccountInfo] = field(default_factory=list)
    hours: list[Hour] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)

    def name_of(self, number: int) -> str:
        """Name of an account, or its number."""
        return next((item.name for item in self.accounts if item.number == number), f"account {number}")
