# SPDX-License-Identifier: Apache-2.0
"""Margin methodologies as plug-ins: peers' rules and Ballast's own, one interface.

>>> sorted(METHODOLOGIES)
['ballast', 'deribit-pm', 'derive-pmrm2', 'fixed-haircut', 'paradex', 'span']
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from risk.errors import BadInput
from risk.methodologies.ballast import Ballast
from risk.methodologies.base import Asset, Book, Leg, MarginResult, Market, Methodology, Scenario, Underlying
from risk.methodologies.deribit import DeribitPm
from risk.methodologies.derive import DerivePmrm2
from risk.methodologies.fixed_haircut import FixedHaircut
from risk.methodologies.paradex import Paradex
from risk.methodologies.span import Span

__all__ = [
    "METHODOLOGIES",
    "Asset",
    "Ballast",
    "Book",
    "DeribitPm",
    "DerivePmrm2",
    "FixedHaircut",
    "Leg",
    "MarginResult",
    "Market",
    "Methodology",
    "Paradex",
    "Scenario",
    "Span",
    "Underlying",
    "methodology",
]

METHODOLOGIES: Mapping[str, Callable[[], Methodology]] = {
    "ballast": Ballast,
    "deribit-pm": DeribitPm,
    "derive-pmrm2": DerivePmrm2,
    "fixed-haircut": FixedHaircut,
    "paradex": Paradex,
    "span": Span,
}


def methodology(name: str) -> Methodology:
    """A methodology with its default rules, by name.

    Raises
    ------
    BadInput
        When there is none of that name.
    """
    if name not in METHODOLOGIES:
        raise BadInput(f"methodology {name!r} is unknown; choose one of {', '.join(sorted(METHODOLOGIES))}")
    return METHODOLOGIES[name]()
