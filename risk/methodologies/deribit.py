# SPDX-License-Identifier: Apache-2.0
"""Deribit's portfolio margin: a 9 x 3 grid, damped extended moves, delta and roll shocks, initial = maintenance / 0.8.

References
----------
Deribit API documentation (2024) and a live reply of ``pme/simulate``; the delta shock follows a third party's reading
and is the only part not pinned by Deribit's own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

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

EXTENDED = (-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
_REFERENCE_DTE = 30.0


@dataclass(frozen=True, slots=True)
class Terms:
    """One underlying: ``price`` range, relative volatility shocks at 30 days, least shocked-up volatility, roll shock
    (annual rate and least move), dampener USD, delta shock (threshold USD, slope per USD, cap).
    """

    price: float
    up: float = 0.5
    down: float = 0.25
    min_vol: float = 0.5
    roll_rate: float = 0.075
    roll_min: float = 0.01
    dampener: float = 100_000.0
    delta_threshold: float = 20e6
    delta_slope: float = 5e-5
    delta_cap: float = 0.1


BTC = Terms(0.16)
ETH = Terms(0.18, up=0.4, roll_rate=0.05, roll_min=0.005, dampener=200_000.0, delta_slope=4e-6)


def vol_shocks(vol: FloatArray, days: FloatArray, terms: Terms) -> tuple[FloatArray, FloatArray]:
    """Volatilities of the down and the up state.

    Parameters
    ----------
    vol, days : (n,)
        Volatility a year, days to expiry.
    terms
        Of the underlying.

    Returns
    -------
    Two (n,) arrays, volatility a year.

    Examples
    --------
    >>> down, up = vol_shocks(np.array([0.6]), np.array([30.0]), BTC)
    >>> round(float(down[0]), 6), round(float(up[0]), 6)
    (0.45, 0.9)
    """
    scale = (_REFERENCE_DTE / np.maximum(days, 1.0)) ** np.where(days < _REFERENCE_DTE, 0.30, 0.13)
    up = np.maximum(vol * (1.0 + terms.up * scale), terms.min_vol)
    return np.maximum(vol * (1.0 - terms.down * scale), 0.0), up


def extended(profit: float, move: float, terms: Terms, spot: float, *, weight: float = 1.0, is_coin: bool) -> float:
    """Profit of an extended move after weighting by ``range/|move|`` and damping; coins when ``is_coin``, else USD."""
    sign, reach = np.sign(move), terms.price
    factor = (1.0 + move) / (1.0 + sign * reach) if is_coin else 1.0
    scaled = profit * weight * reach / abs(move) * factor
    allowance = (max(abs(move) / reach, 1.0) - 1.0) * terms.dampener
    if is_coin:
        allowance /= (1.0 + sign * reach) * spot
    return float(np.sign(scaled) * max(abs(scaled) - allowance, 0.0))


@dataclass(frozen=True, slots=True)
class InverseResult:
    """Demand in coins, with its parts; ``profits`` of the 9 + 8 scenarios before the offset of gains."""

    im: float
    mm: float
    roll: float
    worst: float
    profits: FloatArray


def inverse_perp(size_coin: float, terms: Terms, spot: float) -> InverseResult:
    """A coin-settled perpetual alone, as ``pme/simulate`` shows it: ``size_coin`` signed, in coins at the index.

    Examples
    --------
    >>> found = inverse_perp(-0.999487053, ETH, 2_000.0)
    >>> round(found.im, 9), round(found.mm, 9)
    (0.157461562, 0.12596925)
    """
    moves = np.linspace(-terms.price, terms.price, 9)
    far = [extended(size_coin * (1.0 - 1.0 / (1.0 + move)), move, terms, spot, is_coin=True) for move in EXTENDED]
    found = np.concatenate([size_coin * (1.0 - 1.0 / (1.0 + moves)), far])
    roll = terms.roll_min * abs(size_coin)
    worst = max(-float(found.min()), 0.0)
    im = worst + roll + abs(size_coin) * _delta_shock(abs(size_coin) * spot, spot, terms)
    return InverseResult(im, 0.8 * im, roll, worst, found)


def _delta_shock(delta_usd: float, spot: float, terms: Terms) -> float:
    """Share of the delta that a large one costs: rises with USD above the threshold, capped."""
    return min(max(delta_usd - terms.delta_threshold, 0.0) * terms.delta_slope / spot, terms.delta_cap)


@dataclass(frozen=True, slots=True)
class DeribitPm:
    """The plug-in, USD-settled (linear) books. Underlyings add up: what Deribit lets gains of one pay for losses of
    another is not applied, since a grid that holds the move of zero has no gain as its worst.
    """

    terms: Mapping[str, Terms] = field(default_factory=lambda: {"BTC": BTC, "ETH": ETH})
    default: Terms = Terms(0.24, up=0.5, min_vol=0.6)
    name: str = "deribit-pm"

    def margin(self, book: Book, market: Market) -> MarginResult:
        """Margin of one account."""
        held, scenarios, total = strips(book, market), [], 0.0
        for strip in held:
            terms = self.terms.get(strip.name, self.default)
            linked = linked_units(book, market, strip.name)
            names, profits = grid(strip, terms, linked)
            scenarios += [Scenario(f"{strip.name} {name}", float(p)) for name, p in zip(names, profits, strict=True)]
            total += max(-float(profits.min()), 0.0) + self._shocks(strip, terms, linked, market.now)
        cut_im, cut_mm = haircuts(book, market)
        return MarginResult(equity(book, market, held), total + cut_im, 0.8 * total + cut_mm, tuple(scenarios))

    def _shocks(self, strip: Strip, terms: Terms, linked: float, now: int) -> float:
        """Delta and roll shocks; the delta of long options does not reduce the delta shock."""
        option_deltas = strip.deltas() * strip.quantity
        net = strip.delta_one + linked + float(option_deltas.sum())
        without = strip.delta_one + linked + float(option_deltas[strip.quantity < 0.0].sum())
        usd = max(abs(net), abs(without)) * strip.spot
        return usd * _delta_shock(usd, strip.spot, terms) + self._roll(strip, option_deltas, terms, linked, now)

    def _roll(self, strip: Strip, option_deltas: FloatArray, terms: Terms, linked: float, now: int) -> float:
        """``max(exp(rate*tau)-1, min)`` of each expiry's delta; perpetuals and spot at the minimum."""
        by_expiry = dict(strip.futures)
        for expiry, delta in zip(strip.expiry, option_deltas, strict=True):
            by_expiry[int(expiry)] = by_expiry.get(int(expiry), 0.0) + float(delta)
        undated = strip.delta_one - sum(strip.futures.values()) + linked
        total = abs(undated) * terms.roll_min
        for expiry, delta in by_expiry.items():
            tau = (expiry - now) / 31_536_000
            total += abs(delta) * max(float(np.expm1(terms.roll_rate * tau)), terms.roll_min)
        return total * strip.spot


def grid(strip: Strip, terms: Terms, linked: float = 0.0) -> tuple[tuple[str, ...], FloatArray]:
    """Names and profits (35,) of the 27 grid points and the eight extended moves, USD."""
    down, up = vol_shocks(strip.vol, strip.days, terms)
    moves = np.linspace(-terms.price, terms.price, 9)
    names, parts = [], []
    for state, vols in (("down", down), ("base", strip.vol), ("up", up)):
        parts.append(strip.profit(moves, np.broadcast_to(vols, (9, vols.size)), linked))
        names += [f"{move:+.1%}, vol {state}" for move in moves]
    far = np.array(EXTENDED)
    raw = strip.profit(far, np.broadcast_to(up, (far.size, up.size)), linked)
    damped = [extended(float(p), float(m), terms, strip.spot, is_coin=False) for p, m in zip(raw, far, strict=True)]
    names += [f"{move:+.0%} extended" for move in far]
    return tuple(names), np.concatenate([*parts, damped])
