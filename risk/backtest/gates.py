# SPDX-License-Identifier: Apache-2.0
"""Whether a backtest lets a calibration be pushed, and what must be explained even if it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from risk.backtest.daily import holm
from risk.backtest.statistics import ClassResult
from risk.errors import GateFailed

SIZE = 0.05


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition: ``value`` against ``limit``; ``enforced`` when a failure stops a push, else it is a remark."""

    name: str
    value: float
    limit: float
    passed: bool
    enforced: bool


def gates(classes: Sequence[ClassResult], level: float) -> tuple[Gate, ...]:
    """Conditions on every class and on all pooled.

    Enforced: the tests by day (rate, independence, dynamic quantile, Z2) are not rejected at 5 %, each so adjusted for
    the number of classes that a right model fails it once in twenty backtests (Holm), and maintenance margin is passed
    no more often than the level allows. Remarks: what a test says of one class alone, and a share of red zones.

    A forecast may be refused for being too cautious as well: both sides of the rate count.

    References
    ----------
    docs/risk/backtest.md, "Gates".
    """
    tests = {
        "rate by day": [item.coverage.by_day for item in classes],
        "independence": [item.coverage.independence for item in classes],
        "dynamic quantile": [item.coverage.dynamic for item in classes],
        "z2 by day": [item.shortfall.z2_p for item in classes],
    }
    found: list[Gate] = []
    for name, alone in tests.items():
        for item, p, adjusted in zip(classes, alone, holm(alone), strict=True):
            found.append(Gate(f"{item.name}: {name}", adjusted, SIZE, adjusted >= SIZE, enforced=True))
            found.append(Gate(f"{item.name}: {name}, alone", p, SIZE, p >= SIZE, enforced=False))
    limit = 1.0 - level
    for item in classes:
        red = item.coverage.zones[2]
        found.append(Gate(f"{item.name}: maintenance passed", item.mm_rate, limit, item.mm_rate <= limit, True))
        found.append(Gate(f"{item.name}: red zone", red, 0.0, red <= 0.0, False))
    return tuple(found)


def passed(found: Sequence[Gate]) -> bool:
    """Whether nothing that is enforced failed."""
    return all(gate.passed for gate in found if gate.enforced)


def require(found: Sequence[Gate]) -> None:
    """Refuse a model whose backtest fails.

    Raises
    ------
    GateFailed
        Naming every enforced gate that failed.
    """
    failed = [f"{g.name} is {g.value:.4g}, limit {g.limit:.4g}" for g in found if g.enforced and not g.passed]
    if failed:
        raise GateFailed(f"backtest fails its gates: {'; '.join(failed)}; keep the parameters in force")
