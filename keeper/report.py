# SPDX-License-Identifier: Apache-2.0
"""What one turn of the keeper saw and did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keeper.act import Outcome, Result
from keeper.assess import Parity
from keeper.decide import Decision
from keeper.domain import Block, Unknown


@dataclass(frozen=True, slots=True)
class CycleReport:
    """What one turn saw and did; healths in USD wad."""

    block: Block
    accounts: int
    unknown: Mapping[int, Unknown]
    liquidatable: tuple[int, ...]
    worst: tuple[int, int] | None
    parity: Parity
    decision: Decision
    outcomes: tuple[Outcome, ...]
    halted: tuple[str, ...]
    duration_s: float

    @property
    def result(self) -> str:
        """One word for the run row and the metric."""
        if self.halted:
            return "halted"
        return "failed" if any(o.result is Result.FAILED for o in self.outcomes) else "ok"

    def detail(self) -> dict[str, object]:
        """JSON of the run row."""
        return {
            "accounts": self.accounts,
            "unknown": len(self.unknown),
            "liquidatable": list(self.liquidatable[:50]),
            "worst_account": None if self.worst is None else self.worst[0],
            "worst_health_wad": None if self.worst is None else str(self.worst[1]),
            "parity": {"checked": len(self.parity.checked), "mismatches": len(self.parity.mismatches)},
            "actions": [str(outcome) for outcome in self.outcomes],
            "notes": [note.text for note in self.decision.notes],
            "halted": list(self.halted),
            "duration_s": round(self.duration_s, 3),
        }
