# SPDX-License-Identifier: Apache-2.0
"""CME SPAN: risk arrays of sixteen scenarios an underlying, inter-commodity credit, short-option minimum.

References
----------
CME, *SPAN* methodology; PC-SPAN wiki. Worked arrays: McMillan, *Options as a Strategic Investment*, pp. 668-670.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from risk.methodologies.base import (
    Book,
    FloatArray,
    MarginResult,
    Market,
    Scenario,
    Strip,
    equity,
    haircuts,
    linked_units,
    strips,
)

# fractions of the price scan range and the volatility state, in SPAN's own order; the last two are the extreme moves
MOVES = (0, 0, 1 / 3, 1 / 3, -1 / 3, -1 / 3, 2 / 3, 2 / 3, -2 / 3, -2 / 3, 1, 1, -1, -1)
STATES = (1, -1) * 7
_MIN_VOL = 0.01


def scan_risk(arrays: ArrayLike, quantities: ArrayLike) -> float:
    """Greatest loss over the scenarios, not below zero.

    Parameters
    ----------
    arrays : (n, 16)
        Loss of one long unit of each instrument in each scenario (losses positive, as in a SPAN file).
    quantities : (n,)
        Signed units.

    Examples
    --------
    >>> scan_risk([[100.0, -100.0], [-40.0, 60.0]], [1.0, 1.0])
    60.0
    """
    losses = np.asarray(quantities, dtype=np.float64) @ np.asarray(arrays, dtype=np.float64)
    return float(max(losses.max(), 0.0))


@dataclass(frozen=True, slots=True)
class Range:
    """Scan of one underlying: price as a fraction of spot, volatility in points a year."""

    price: float
    vol: float


@dataclass(frozen=True, slots=True)
class Span:
    """The plug-in.

    ``extreme`` and ``cover``: size of the extreme moves in scan ranges and the share of their loss that counts (today
    3 x at 33 %, originally 2 x at 35 %). ``credits`` between pairs of underlyings are the share of both scan risks that
    is forgiven on offsetting deltas. ``short_minimum`` is a fraction of spot for each option sold.
    ``initial`` scales the demand for opening (CME: 110 % of maintenance for non-members).
    """

    ranges: Mapping[str, Range] = field(default_factory=dict)
    default: Range = Range(0.15, 0.25)
    extreme: float = 3.0
    cover: float = 0.33
    lookahead_s: int = 86_400
    short_minimum: float = 0.005
    credits: Mapping[tuple[str, str], float] = field(default_factory=dict)
    initial: float = 1.1
    name: str = "span"

    def margin(self, book: Book, market: Market) -> MarginResult:
        """Margin of one account; collateral that moves with an underlying is scanned with it, after its haircut."""
        held, scenarios, risks, deltas = strips(book, market), [], {}, {}
        minimum = 0.0
        for strip in held:
            linked = linked_units(book, market, strip.name)
            profits = self.profits(strip, linked)
            scenarios += [Scenario(f"{strip.name} {words}", float(p)) for words, p in zip(_NAMES, profits, strict=True)]
            risks[strip.name] = max(float(-profits.min()), 0.0)
            deltas[strip.name] = strip.spot * (strip.delta_one + linked + float(strip.deltas() @ strip.quantity))
            minimum += self.short_minimum * strip.spot * float(np.maximum(-strip.quantity, 0.0).sum())
        cut_im, cut_mm = haircuts(book, market)
        demand = max(sum(risks.values()) - self._credit(risks, deltas), minimum)
        return MarginResult(
            equity(book, market, held), self.initial * demand + cut_im, demand + cut_mm, tuple(scenarios)
        )

    def profits(self, strip: Strip, linked: float = 0.0) -> FloatArray:
        """Profit in the sixteen scenarios, USD; the extreme ones already scaled by their cover."""
        scan = self.ranges.get(strip.name, self.default)
        moves = np.array([*MOVES, self.extreme, -self.extreme]) * scan.price
        state = np.array([*STATES, 0, 0], dtype=np.float64)[:, None]
        later = strip._replace(tau=np.maximum(strip.tau - self.lookahead_s / 31_536_000, 0.0))
        profits = later.profit(moves, np.maximum(strip.vol + state * scan.vol, _MIN_VOL), linked)
        profits[-2:] *= self.cover
        return profits

    def _credit(self, risks: Mapping[str, float], deltas: Mapping[str, float]) -> float:
        """Inter-commodity credit: the share of both sides' risk that their offsetting deltas make up."""
        total, left = 0.0, dict(deltas)
        for (one, other), rate in self.credits.items():
            a, b = left.get(one, 0.0), left.get(other, 0.0)
            if a * b >= 0.0:
                continue
            paired = min(abs(a), abs(b))
            for name, delta in ((one, a), (other, b)):
                total += rate * risks[name] * paired / abs(deltas[name])
                left[name] = delta - np.sign(delta) * paired
        return total


_NAMES = (
    *(f"{move * 3:+.0f}/3 range, vol {'up' if up > 0 else 'down'}" for move, up in zip(MOVES, STATES, strict=True)),
    "extreme up",
    "extreme down",
)
