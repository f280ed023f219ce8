# SPDX-License-Identifier: Apache-2.0
"""Parameter words of sixteen 16-bit lanes, which way each lane tightens, and the legal word nearest to a target.

The contract refuses a whole batch when one lane breaks a bound, a step, its direction or a consistency rule; it clips
nothing. So the keeper itself chooses, lane by lane, the legal value nearest to what the model wants, and keeps coupled
lanes in order.
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
# Stored lanes; the records have one more for the global set and an underlying, which the contract computes.
USED = {GLOBAL: 5, UNDERLYING: 12, COLLATERAL: 5}
LANE_NAMES = {
    GLOBAL: tuple(item.name for item in fields(GlobalParameters))[: USED[GLOBAL]],
    UNDERLYING: tuple(item.name for item in fields(UnderlyingParameters))[: USED[UNDERLYING]],
    COLLATERAL: tuple(item.name for item in fields(CollateralParameters))[: USED[COLLATERAL]],
}
# Directions of lanes.vy. A lane in none of the three (the power of the volatility shock) loosens both ways.
TIGHTENS_UP = {
    GLOBAL: frozenset({0, 1, 2, 3, 4}),
    UNDERLYING: frozenset({0, 1, 2, 4, 5, 6, 7, 9}),
    COLLATERAL: frozenset({0, 1, 2, 4}),
}
TIGHTENS_DOWN: dict[int, frozenset[int]] = {GLOBAL: frozenset(), UNDERLYING: frozenset({8}), COLLATERAL: frozenset({3})}
FREE: dict[int, frozenset[int]] = {GLOBAL: frozenset(), UNDERLYING: frozenset({10, 11}), COLLATERAL: frozenset()}
# (kind, lane that must not be the smaller, lane that must not be the greater): IM never below MM
COUPLED = ((GLOBAL, 0, 1), (COLLATERAL, 0, 1))
SCAN, VOL_DAY = 0, 10


@dataclass(frozen=True, slots=True)
class Stuck:
    """A lane that no legal change can bring inside its limits: governance left it no step that does."""

    kind: int
    lane: int
    value: int
    low: int
    high: int

    def __str__(self) -> str:
        name = LANE_NAMES[self.kind][self.lane]
        return (
            f"{KIND_NAMES[self.kind]} {name} = {self.value} cannot be brought nearer to {self.low}..{self.high}; "
            "governance must set bounds or steps that can be met"
        )


def tighter(kind: int, lane: int, a: int, b: int) -> bool:
    """Whether value ``a`` of a lane is strictly tighter than ``b``."""
    return (a > b and lane in TIGHTENS_UP[kind]) or (a < b and lane in TIGHTENS_DOWN[kind])


def only_tightens(kind: int, old: int, new: int) -> bool:
    """Whether a push may replace one word by the other: every lane that changes is free or gets tighter."""
    pairs = enumerate(zip(unpack_lanes(old), unpack_lanes(new), strict=True))
    return all(a == b or k in FREE[kind] or tighter(kind, k, b, a) for k, (a, b) in pairs)


def tightening_part(kind: int, current: int, target: int) -> int:
    """Word with every lane at the tighter of the two values; a free lane at the target's."""
    return _mixed(kind, current, target, loosening=False)


def loosening_part(kind: int, current: int, target: int) -> int:
    """Word with the lanes that only a proposal may move at the target, the others where they are; free lanes follow."""
    return _mixed(kind, current, target, loosening=True)


def _mixed(kind: int, current: int, target: int, *, loosening: bool) -> int:
    pairs = zip(unpack_lanes(current), unpack_lanes(target), strict=True)
    return pack_lanes(
        [
            then if k in FREE[kind] or (tighter(kind, k, then, now) != loosening) else now
            for k, (now, then) in enumerate(pairs)
        ]
    )


def step_towards(
    kind: int, current: int, target: int, bounds: ParameterBounds, multiple_bps: int = 0, *, pushing: bool = False
) -> int | Stuck:
    """Legal word nearest to ``target`` that one change may set in place of ``current``.

    Every lane moves towards its target inside bounds and one step; where that would put a lane of initial margin below
    its lane of maintenance margin, or the scan range below its multiple of the daily volatility, the one rises as far
    as it may and the other waits for it.

    Parameters
    ----------
    multiple_bps
        Least scan range over the one-day volatility; 0 = no such rule.
    pushing
        Move no lane that only a proposal may move.
    """
    old = unpack_lanes(current)
    spans = _legal(kind, old, bounds, pushing)
    if isinstance(spans, Stuck):
        return spans
    new = [min(max(want, low), high) for want, (low, high) in zip(unpack_lanes(target), spans, strict=True)]
    for coupled_kind, upper, lower in COUPLED:
        if coupled_kind == kind and new[upper] < new[lower]:
            new[upper] = min(spans[upper][1], new[lower])
            new[lower] = min(new[lower], new[upper])
            if new[lower] < spans[lower][0]:
                return Stuck(kind, lower, new[lower], *spans[lower])
    if kind == UNDERLYING and multiple_bps:
        return _with_multiple(old, new, spans, multiple_bps)
    return pack_lanes(new)


def _with_multiple(
    old: Sequence[int], new: list[int], spans: Sequence[tuple[int, int]], multiple_bps: int
) -> int | Stuck:
    """Scan range up to its multiple of the volatility as far as it may, the volatility no higher than that allows."""
    needed = -(-multiple_bps * new[VOL_DAY] // BPS)
    new[SCAN] = min(max(new[SCAN], needed), spans[SCAN][1])
    allowed = new[SCAN] * BPS // multiple_bps
    new[VOL_DAY] = max(min(new[VOL_DAY], allowed), spans[VOL_DAY][0])
    lack, before = (max(0, multiple_bps * lanes[VOL_DAY] - lanes[SCAN] * BPS) for lanes in (new, old))
    if lack and lack >= before and list(old) != new:
        return Stuck(UNDERLYING, SCAN, new[SCAN], needed, spans[SCAN][1])
    return pack_lanes(new)


def _legal(kind: int, old: Sequence[int], bounds: ParameterBounds, pushing: bool) -> list[tuple[int, int]] | Stuck:
    """Least and greatest value that each lane may take now; one outside its bounds must come nearer to them."""
    low, high = unpack_lanes(bounds.low), unpack_lanes(bounds.high)
    up, down = unpack_lanes(bounds.step_up), unpack_lanes(bounds.step_down)
    spans = []
    for k, value in enumerate(old):
        fixed_up = pushing and k not in TIGHTENS_UP[kind] | FREE[kind]
        fixed_down = pushing and k not in TIGHTENS_DOWN[kind] | FREE[kind]
        least = value if fixed_down else value - down[k]
        most = value if fixed_up else value + up[k]
        span = (min(max(low[k], least), most), max(min(high[k], most), least))
        if (value < low[k] and span[0] <= value) or (value > high[k] and span[1] >= value):
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
    pairs = zip(unpack_lanes(current), unpack_lanes(new), strict=True)
    return any(_beyond(before, after, deadband_bps) for before, after in pairs)


def looser_than(kind: int, word: int, wanted: int, by_bps: int) -> bool:
    """Whether some lane of ``word`` is looser than that of ``wanted`` by more than ``by_bps`` of what it is."""
    pairs = enumerate(zip(unpack_lanes(word), unpack_lanes(wanted), strict=True))
    return any(tighter(kind, k, want, there) and _beyond(there, want, by_bps) for k, (there, want) in pairs)


def loosens_too_far(kind: int, current: int, word: int, wanted: int, by_bps: int) -> bool:
    """Whether ``word`` in place of ``current`` loosens some lane past ``wanted`` by more than ``by_bps`` of it."""
    lanes = zip(*map(unpack_lanes, (current, word, wanted)), strict=True)
    return any(
        tighter(kind, k, now, then) and tighter(kind, k, want, then) and _beyond(then, want, by_bps)
        for k, (now, then, want) in enumerate(lanes)
    )


def _beyond(before: int, after: int, by_bps: int) -> bool:
    return abs(after - before) * BPS > by_bps * before


def describe(kind: int, current: int, new: int) -> tuple[tuple[str, int, int], ...]:
    """Lanes that differ: (name, now, then)."""
    pairs = zip(LANE_NAMES[kind], unpack_lanes(current), unpack_lanes(new), strict=False)
    return tuple((name, before, after) for name, before, after in pairs if before != after)
