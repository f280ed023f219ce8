# SPDX-License-Identifier: Apache-2.0
"""What was noticed about input that is used all the same: named, so that a program can ask for it by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Something repaired, replaced or merely doubtful.

    Attributes
    ----------
    name : str
        Kind, such as ``missing-bars``; docs/risk/calibration.md lists all.
    subject : str
        Symbol or file.
    text : str
        What was found and what was done about it.
    """

    name: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.subject}: {self.text}"


def plain(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """For JSON.

    Examples
    --------
    >>> plain([Finding("zero-volume", "DOGE", "no trades")])
    [{'name': 'zero-volume', 'subject': 'DOGE', 'text': 'no trades'}]
    """
    return [{"name": item.name, "subject": item.subject, "text": item.text} for item in findings]
