# SPDX-License-Identifier: Apache-2.0
"""Parameter words of sixteen 16-bit lanes, and the legal word nearest to a target.

The contract refuses a whole batch when one lane breaks a bound, a step or a consistency rule; it clips nothing. So the
keeper itself chooses, lane by lane, the legal value nearest to what the model wants, and keeps coupled lanes in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from keeper.domain import ParameterBounds
from risk.types import CollateralParameters, GlobalParameters, UnderlyingParameters
from risk.units import pack_lanes, unpack_lanes

BPS = 10_000
GLOBAL, UNDERLYING, COLLATERAL = 0, 1, 2
KIND_NAMES = {GLOBAL: "global", UNDERLYING: "underlying", COLLATERAL: "collateral"}
LANE_NAMES = {
    GLOBAL: tuple(item.name for item in fields(GlobalParameters)),
    UNDERLYING: tuple(item.name for item in fields(UnderlyingParameters)),
    COLLATERAL: tuple(item.name for item in fields(CollateralParameters)),
}
# (kind, lane that must not be the smaller, lane that must not be the greater): IM never below MM
COUPLED = ((GLOBAL, 0, 1), (COLLATERAL, 0, 1))


@dataclass(frozen=True, slots=True)
class Stuck:
    """A lane that no legal change can bring inside its bounds: governance narrowed them past one step."""

    kind: int
    lane: int
    value: int
    low: int
    high: int

    def __str__(self) -> str:
        name = LANE_NAMES[self.kind][self.lane]
        return (
            f"{KIND_NAMES[self.kind]} {name} = {self.value} lies more than one step outside its bounds "
            f"{self.low}..{self.high}; governance must set bounds or steps that can be met"
        )


def step_towards(kind: int, current: int, target: int, bounds: ParameterBounds) -> int | Stuck:
    """Legal word nearest to ``target`` that one push may set in place of ``current``.

    Every lane moves towards its target inside bounds and one step; where that would put a lane of initial margin below
    its lane of maintenance margin, the former rises as far as it may and the latter waits for it.
    """
    old = unpack_lanes(current)
    spans = _legal(kind, old, bounds)
    if isinstance(spans, Stuck):
        return spans
    new = [min(max(want, low), high) for want, (low, high) in zip(unpack_lanes(target), spans, strict=True)]
    for coupled_kind, upper, lower in COUPLED:
        if coupled_kind == kind and new[upper] < new[lower]:
            new[upper] = min(spans[upper][1], new[lower])
            new[lower] = min(new[lower], new[upper])
            if new[lower] < spans[lower][0]:
                return Stuck(kind, lower, new[lower], *spans[lower])
    return pack_lanes(new)


def _legal(kind: int, old: Sequence[int], bounds: ParameterBounds) -> list[tuple[int, int]] | Stuck:
    low, high = unpack_lanes(bounds.low), unpack_lanes(bounds.high)
    up, down = unpack_lanes(bounds.step_up), unpack_lanes(bounds.step_down)
    spans = []
    for k, value in enumerate(old):
        span = (max(low[k], value - down[k]), min(high[k], value + up[k]))
        if span[0] > span[1]:
            return Stuck(kind, k, value, low[k], high[k])
        spans.append(span)
    return spans


def halfway(current: int, new: int) -> int:
    """Word whose every lane has moved half as far, rounded towards where it is now."""
    pairs = zip(unpack_lanes(current), unpack_lanes(new), strict=True)
    return pack_lanes([before + (after - before) // 2 if after >= before else before - (before - after) // 2
                       for before, after in pairs])  # fmt: skip


def outside_deadband(current: int, new: int, deadband_bps: int) -> bool:
    """Whether some lane moves by more than ``deadband_bps`` of its present value."""
    return any(
        abs(after - before) * BPS > deadband_bps * before
        for before, after in zip(unpack_lanes(current), unpack_lanes(new), strict=True)
        if after != before
    )


def describe(kind: int, current: int, new: int) -> tuple[tuple[str, int, int], ...]:
    """Lanes that differ: (name, now, then)."""
    pairs = zip(LANE_NAMES[kind], unpack_lanes(current), unpack_lanes(new), strict=False)
    return tuple((name, before, after) for name, before, after in pairs if before != after)
