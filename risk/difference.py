# SPDX-License-Identifier: Apache-2.0
"""What changed between two parameter sets, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from risk.types import ParameterSet

# Fields of a certificate a person compares; hashes and seeds differ always.
_CERTIFICATE = ("scenarios", "ratio_min", "ratio_p01", "ratio_median", "ratio_p99", "ratio_mean", "efficiency")


@dataclass(frozen=True, slots=True)
class Difference:
    """One field: ``old`` or ``new`` is None where the set has no such thing."""

    field: str
    old: float | str | None
    new: float | str | None

    @property
    def change(self) -> float | None:
        """``new / old - 1``, where both are numbers and the old one is not zero."""
        if isinstance(self.old, str) or isinstance(self.new, str) or not self.old or self.new is None:
            return None
        return float(self.new / self.old - 1.0)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"field": self.field, "old": self.old, "new": self.new, "change": self.change}


def difference(old: ParameterSet, new: ParameterSet) -> tuple[Difference, ...]:
    """Every field that differs, in the order global, underlyings, collaterals, surfaces, scenarios, certificate.

    Examples
    --------
    >>> Difference("BTC.scan_bps", 1_200, 1_500).change
    0.25
    """
    before, after = dict(_fields(old)), dict(_fields(new))
    names = list(after) + [name for name in before if name not in after]
    found = (Difference(name, before.get(name), after.get(name)) for name in names)
    return tuple(item for item in found if item.old != item.new)


def _fields(parameters: ParameterSet) -> Iterator[tuple[str, float | str]]:
    yield from _of("global", parameters.global_parameters)
    yield from _group("", parameters.underlyings)
    yield from _group("collateral.", parameters.collaterals)
    yield from _group("surface.", parameters.surfaces)
    if parameters.joint is not None:
        yield "joint.scenarios", f"{len(parameters.joint)} of {', '.join(parameters.joint_underlyings)}"
        rows = zip(parameters.joint.price_bytes.tolist(), parameters.joint.vol_bytes.tolist(), strict=True)
        for number, (price, vol) in enumerate(rows):
            yield f"joint.{number}", f"price {price} vol {vol}"
    if parameters.certificate is not None:
        for name in _CERTIFICATE:
            yield f"certificate.{name}", getattr(parameters.certificate, name)


def _group(prefix: str, records: Mapping[str, Any]) -> Iterator[tuple[str, float | str]]:
    for symbol, record in records.items():
        yield from _of(prefix + symbol, record)


def _of(name: str, record: Any) -> Iterator[tuple[str, float | str]]:
    for item in fields(record):
        yield f"{name}.{item.name}", getattr(record, item.name)
