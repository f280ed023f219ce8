# SPDX-License-Identifier: Apache-2.0
"""Paradex's portfolio margin: 16 regular and 8 extended scenarios, or a charge on delta where that is more.

References
----------
docs.paradex.trade, *Portfolio margin*.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from risk.methodologies.base import (
    Book,
    MarginResult,
    Market,
    Scenario,
    Strip,
    equity,
    haircuts,
    linked_units,
    strips,
)

_REFERENCE_DTE = 30.0
# price move, volatility shock, weight
REGULAR = (
    (0.16, 0.4, 1.0), (-0.16, 0.4, 1.0),
    *((move, vol, 1.0) for move in (0.12, 0.08, 0.04, 0.0, -0.04, -0.08, -0.12) for vol in (0.4, -0.22)),
)  # fmt: skip
EXTENDED = tuple((move, 0.4, 0.16 / abs(move)) for move in (-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0))


def minimum_delta(net: float, gross: float, spot: float, *, net_rate: float = 0.02, hedged_rate: float = 0.01) -> float:
    """Least demand, USD: 2 % of the net delta and 1 % of what is hedged, ``(gross - |net|)/2``.

    Examples
    --------
    >>> round(minimum_delta(1.0 - 5 * 0.3, 1.0 + 5 * 0.3, 70_000.0), 6)
    1400.0
    """
    return (net_rate * abs(net) + hedged_rate * (gross - abs(net)) / 2.0) * spot


@dataclass(frozen=True, slots=True)
class Paradex:
    """The plug-in. ``days_floor`` bounds the tenor scaling; ``fee`` of the notional is set aside for closing."""

    days_floor: float = 1.0
    fee: float = 0.0003
    name: str = "paradex"

    def margin(self, book: Book, market: Market) -> MarginResult:
        """Margin of one account; underlyings add up."""
        held, scenarios, total, fees = strips(book, market), [], 0.0, 0.0
        for strip in held:
            linked = linked_units(book, market, strip.name)
            names, profits = self.profits(strip, linked)
            scenarios += [Scenario(f"{strip.name} {name}", float(p)) for name, p in zip(names, profits, strict=True)]
            deltas = [strip.delta_one, linked, *(strip.deltas() * strip.quantity)]
            least = minimum_delta(sum(deltas), sum(map(abs, deltas)), strip.spot)
            total += max(-float(profits.min()), least, 0.0)
            fees += self.fee * strip.spot * (abs(strip.delta_one) + float(np.abs(strip.quantity).sum()))
        cut_im, cut_mm = haircuts(book, market)
        return MarginResult(
            equity(book, market, held), total + fees + cut_im, 0.5 * total + fees + cut_mm, tuple(scenarios)
        )

    def profits(self, strip: Strip, linked: float = 0.0) -> tuple[tuple[str, ...], np.ndarray]:
        """Names and weighted profits (24,), USD."""
        moves, shocks, weights = (np.array(column) for column in zip(*REGULAR, *EXTENDED, strict=True))
        days = np.maximum(strip.days, self.days_floor)
        scale = (_REFERENCE_DTE / days) ** np.where(days < _REFERENCE_DTE, 0.30, 0.13)
        vols = np.maximum(strip.vol * (1.0 + shocks[:, None] * scale), 0.0)
        names = tuple(f"{move:+.0%}, vol {shock:+.0%}" for move, shock in zip(moves, shocks, strict=True))
        return names, strip.profit(moves, vols, linked) * weights
