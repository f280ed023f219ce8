# SPDX-License-Identifier: Apache-2.0
"""Hold somebody else's page or scenarios against one's own calibration, and name what differs.

Surfaces are compared where they matter, as volatilities at several strikes of each expiry, because different raw SVI
parameters can be the same smile. Rows are compared as values, because two lane units can say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keeper.actions import PageHeader, PublishJoint, PublishPage
from risk.page import ROW_BYTES, PackedPage
from risk.pricing.svi import volatility
from risk.table import NODES
from risk.types import SECONDS_PER_YEAR, OptionSpec, SurfaceSlice

BPS = 10_000
WAD = 10**18
DEVIATIONS = (-2.0, -1.0, 0.0, 1.0, 2.0)
TAIL_BITS = 11
MOST = 32  # differences that are named; the first of them say enough


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two honest calibrations may lie apart.

    ``vol_bps`` of a volatility; ``ratio_bps`` of a forward ratio or a discount; ``value_bps`` of the reference price,
    for each lane of a row; ``price_bps`` of the oracle's price, for the reference price; ``joint_steps`` of the 127
    steps of a joint scenario's moves.
    """

    vol_bps: int = 500
    ratio_bps: int = 50
    value_bps: int = 200
    price_bps: int = 100
    joint_steps: int = 8


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two publishers see differently; ``expiry`` in unix s, None where the field has none."""

    underlying: str
    expiry: int | None
    field: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        when = "" if self.expiry is None else f" expiry {self.expiry}"
        return f"{self.underlying}{when} {self.field}: ours {self.ours}, theirs {self.theirs}"


def surface_differences(
    symbol: str, ours: Sequence[SurfaceSlice], theirs: Sequence[SurfaceSlice], now: int, tolerance: Tolerance
) -> Iterator[Difference]:
    """Yield what differs between two surfaces observed at ``now`` (unix s)."""
    mine, other = ({item.expiry: item for item in slices if item.expiry > now} for slices in (ours, theirs))
    for expiry in sorted(mine.keys() | other.keys()):
        if expiry not in mine or expiry not in other:
            yield Difference(symbol, expiry, "surface", *("present" if expiry in s else "none" for s in (mine, other)))
            continue
        yield from _slice_differences(symbol, mine[expiry], other[expiry], (expiry - now) / SECONDS_PER_YEAR, tolerance)


def _slice_differences(
    symbol: str, ours: SurfaceSlice, theirs: SurfaceSlice, tau: float, tolerance: Tolerance
) -> Iterator[Difference]:
    for field in ("forward_ratio", "discount"):
        a, b = getattr(ours, field), getattr(theirs, field)
        if not abs(b - a) * BPS <= tolerance.ratio_bps * abs(a):
            yield Difference(symbol, ours.expiry, field, f"{a:.6f}", f"{b:.6f}")
    at_the_money = float(volatility(ours.svi, 0.0, tau))
    for deviation in DEVIATIONS:
        k = deviation * at_the_money * tau**0.5
        a, b = float(volatility(ours.svi, k, tau)), float(volatility(theirs.svi, k, tau))
        if not abs(b - a) * BPS <= tolerance.vol_bps * a:  # also where one is not a number
            yield Difference(symbol, ours.expiry, f"volatility at {deviation:+.0f} deviations", f"{a:.4f}", f"{b:.4f}")


def header_differences(
    symbol: str, ours: PageHeader, theirs: PageHeader, price_wad: int, tolerance: Tolerance
) -> Iterator[Difference]:
    """Yield what differs between two headers of the same observation, beyond what the contract itself checks."""
    if abs(theirs.reference_price_wad - price_wad) * BPS > tolerance.price_bps * price_wad:
        yield Difference(symbol, None, "reference_price_wad", str(price_wad), str(theirs.reference_price_wad))
    if abs(theirs.atm_vol_bps - ours.atm_vol_bps) * BPS > tolerance.vol_bps * ours.atm_vol_bps:
        yield Difference(symbol, None, "atm_vol_bps", str(ours.atm_vol_bps), str(theirs.atm_vol_bps))
    for field in ("step_e9", "vol_up_bps", "vol_down_bps", "vol_power_bps", "short_min_bps"):
        a, b = getattr(ours, field), getattr(theirs, field)
        if a != b:
            yield Difference(symbol, None, field, str(a), str(b))
    # a page of a short life would soon stop withdrawals; a long one the contract refuses
    life, wanted = theirs.expires_at - theirs.observed_at, ours.expires_at - ours.observed_at
    if 2 * life < wanted:
        yield Difference(symbol, None, "expires_at", str(ours.expires_at), str(theirs.expires_at))


def row_differences(
    symbol: str, ours: PackedPage, theirs: PublishPage, specs: Sequence[OptionSpec], tolerance: Tolerance
) -> Iterator[Difference]:
    """Yield for each option the lane that lies furthest from one's own, where it lies too far."""
    if len(ours.rows) != len(theirs.rows):
        yield Difference(symbol, None, "rows", *(str(len(item) // ROW_BYTES) for item in (ours.rows, theirs.rows)))
        return
    a, hours = _values(ours.rows, ours.lane_unit_wad)
    b, other_hours = _values(theirs.rows, theirs.header.lane_unit_wad)
    price = theirs.header.reference_price_wad / WAD
    rounding = 2.0 * max(ours.lane_unit_wad, theirs.header.lane_unit_wad) / WAD
    allowed = max(tolerance.value_bps * price / BPS, rounding)
    for spec in specs:
        kind = "call" if spec.is_call else "put"
        name = f"slot {spec.slot} ({spec.strike:g} {kind})"
        if hours[spec.slot] != other_hours[spec.slot]:
            yield Difference(symbol, spec.expiry, f"{name} hour", *(str(h[spec.slot]) for h in (hours, other_hours)))
        apart = np.abs(a[spec.slot] - b[spec.slot])
        lane = int(apart.argmax())
        if apart[lane] > allowed:
            mine, other = (f"{values[spec.slot, lane]:.4f}" for values in (a, b))
            yield Difference(symbol, spec.expiry, f"{name} {_lane_name(lane)}", mine, other)


def _values(rows: bytes, unit_wad: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Every lane in USD, shape (rows, 48), and the hours, shape (rows,)."""
    lanes = np.frombuffer(rows, dtype=">u2").reshape(-1, 3, 16)[:, :, ::-1].astype(np.int64)
    hours = lanes[:, 2, 15] >> TAIL_BITS
    lanes[:, 2, 15] &= (1 << TAIL_BITS) - 1
    return np.asarray(lanes.reshape(-1, 48) * (unit_wad / WAD), dtype=np.float64), hours


def _lane_name(lane: int) -> str:
    word, place = divmod(lane, 16)
    if place == len(NODES):
        return ("short minimum", "delta", "tail")[word]
    return f"value at {NODES[place]:+d} steps, volatility {('down', 'base', 'up')[word]}"


def joint_differences(ours: PublishJoint, theirs: PublishJoint, tolerance: Tolerance) -> Iterator[Difference]:
    """Yield scenarios of either set that have none like them in the other."""
    mine, other = (_moves(item.scenarios) for item in (ours, theirs))
    if not len(mine) or not len(other):
        yield Difference("joint", None, "scenarios", str(len(mine)), str(len(other)))
        return
    apart = np.abs(mine[:, None, :] - other[None, :, :]).max(axis=2)
    for k in np.flatnonzero(apart.min(axis=0) > tolerance.joint_steps).tolist():
        near = mine[int(apart[:, k].argmin())]
        yield Difference("joint", None, f"scenario {k}", _move_text(near), _move_text(other[k]))
    for k in np.flatnonzero(apart.min(axis=1) > tolerance.joint_steps).tolist():
        near = other[int(apart[k].argmin())]
        yield Difference("joint", None, f"our scenario {k}", _move_text(mine[k]), _move_text(near))


def _moves(scenarios: bytes) -> NDArray[np.int64]:
    """Moves of price and volatility in steps, shape (scenarios, 32)."""
    return np.frombuffer(scenarios, dtype=np.int8).reshape(-1, 32)[:, ::-1].astype(np.int64)


def _move_text(moves: NDArray[np.int64]) -> str:
    used = int(np.flatnonzero(moves).max(initial=-1)) + 1
    return " ".join(f"{price:+d}/{vol:+d}" for price, vol in moves[: used + used % 2].reshape(-1, 2).tolist())
