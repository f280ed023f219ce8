# SPDX-License-Identifier: Apache-2.0
"""What a long run hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """Figures for the table, and a sentence for each rule that did not hold."""

    figures: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
