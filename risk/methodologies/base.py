# SPDX-License-Identifier: Apache-2.0
"""What every margin methodology reads and returns: one account, one market, one result.

A methodology is anything with a ``name`` and ``margin(book, market) -> MarginResult``; peers' rules and Ballast's own
stand beside each other behind that interface. Amounts in USD, quantities in whole units, times in unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from risk.errors import BadInput
from risk.pricing import black76, svi
from risk.types import SECONDS_PER_DAY, SECONDS_PER_YEAR, SurfaceSlice

FloatArray = NDArray[np.float64]

KINDS = ("perp", "future", "option")


@dataclass(frozen=True, slots=True)
class Leg:
    """One position, ``kind`` perp, future or option; ``quantity`` signed units; ``entry`` USD a unit of delta-one cost.

    ``expiry`` and, for options, ``strike`` and ``is_call`` say which instrument.
    """

    underlying: str
    quantity: float
    kind: str = "perp"
    expiry: int = 0
    strike: float = 0.0
    is_call: bool = True
    entry: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInput(
                f"position kind {self.kind!r} of {self.underlying} is unknown; use one of {', '.join(KINDS)}"
            )
        if not np.isfinite(self.quantity):
            raise BadInput(
                f"quantity {self.quantity} of {self.underlying} {self.kind} must be finite; correct the book"
            )
        if self.kind == "option" and not self.strike > 0.0:
            raise BadInput(f"strike {self.strike} of an option on {self.underlying} must be positive; correct the book")


def leg_name(leg: Leg) -> str:
    """Like ``BTC perpetual``, ``BTC future 2025-03-28`` or ``BTC 65,000 call 2025-03-28``."""
    if leg.kind == "perp":
        return f"{leg.underlying} perpetual"
    day = datetime.fromtimestamp(leg.expiry, UTC).date().isoformat()
    if leg.kind == "future":
        return f"{leg.underlying} future {day}"
    return f"{leg.underlying} {leg.strike:,.10g} {'call' if leg.is_call else 'put'} {day}"


@dataclass(frozen=True, slots=True)
class Book:
    """One account: ``cash`` USD (negative = debt), legs, and collateral tokens by asset name."""

    cash: float = 0.0
    legs: tuple[Leg, ...] = ()
    collateral: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Underlying:
    """``spot`` USD and the volatility surface, one slice an expiry."""

    spot: float
    surfaces: tuple[SurfaceSlice, ...] = ()

    def slice(self, expiry: int) -> SurfaceSlice | None:
        """The slice of an expiry, or ``None``."""
        return next((item for item in self.surfaces if item.expiry == expiry), None)


@dataclass(frozen=True, slots=True)
class Asset:
    """A collateral: ``price`` USD, the underlying whose moves it shares, haircuts as fractions of its value."""

    price: float
    linked: str | None = None
    haircut_im: float = 0.0
    haircut_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class Market:
    """Everything a methodology may look at besides the account."""

    now: int
    underlyings: Mapping[str, Underlying]
    assets: Mapping[str, Asset] = field(default_factory=dict)


class Scenario(NamedTuple):
    """One scenario in words, and the account's profit under it, USD."""

    name: str
    profit: float


@dataclass(frozen=True, slots=True)
class MarginResult:
    """What a methodology demands: the account is sound while ``equity >= im`` and safe while ``equity >= mm``, USD.

    ``equity`` is the account at its marks, collateral in full; haircuts are part of the demand, so that methodologies
    compare. ``scenarios`` in the order of the methodology's own documents.
    """

    equity: float
    im: float
    mm: float
    scenarios: tuple[Scenario, ...] = ()


class Methodology(Protocol):
    """A margin rule as a plug-in."""

    @property
    def name(self) -> str:
        """As given on the command line."""
        ...

    def margin(self, book: Book, market: Market) -> MarginResult:
        """Margin of one account."""
        ...


class Strip(NamedTuple):
    """All positions of one account in one underlying as arrays; options (n,)."""

    name: str
    spot: float
    delta_one: float
    futures: Mapping[int, float]
    quantity: FloatArray
    strike: FloatArray
    is_call: NDArray[np.bool_]
    expiry: NDArray[np.int64]
    tau: FloatArray
    forward: FloatArray
    discount: FloatArray
    vol: FloatArray
    value: FloatArray

    @property
    def days(self) -> FloatArray:
        """Days to expiry of each option."""
        return np.asarray(self.tau * (SECONDS_PER_YEAR / SECONDS_PER_DAY))

    def option_values(self, price_moves: ArrayLike, vols: ArrayLike) -> FloatArray:
        """USD per unit of each option when spot and forwards move; (S, n) from moves (S,) and volatilities (S, n)."""
        moved = np.maximum(1.0 + np.asarray(price_moves, dtype=np.float64)[:, None], 0.0) * self.forward
        return black76.price(moved, self.strike, vols, self.tau, self.discount, self.is_call)

    def profit(self, price_moves: FloatArray, vols: FloatArray, linked: float = 0.0) -> FloatArray:
        """USD profit of the whole strip, and of ``linked`` units of collateral, in each scenario; (S,)."""
        moved = (self.delta_one + linked) * self.spot * price_moves
        return np.asarray(moved + (self.option_values(price_moves, vols) - self.value) @ self.quantity)

    def deltas(self) -> FloatArray:
        """Spot delta of one unit of each option; (n,)."""
        greeks = black76.greeks(self.forward, self.strike, self.vol, self.tau, self.discount, self.is_call)
        return np.asarray(greeks.delta * self.forward / self.spot)


def strips(book: Book, market: Market) -> tuple[Strip, ...]:
    """The account by underlying, priced at the market, in the order of the market's underlyings.

    Raises
    ------
    BadInput
        When a leg names an underlying or an expiry that the market does not have.
    """
    for leg in book.legs:
        if leg.underlying not in market.underlyings:
            raise BadInput(f"the book holds {leg.underlying}, which the market does not quote; add it to the market")
    for asset in book.collateral:
        if asset not in market.assets:
            raise BadInput(f"the book holds collateral {asset}, which the market does not quote; add it to the market")
    return tuple(
        _strip(name, quote, [leg for leg in book.legs if leg.underlying == name], market.now)
        for name, quote in market.underlyings.items()
    )


def _strip(name: str, quote: Underlying, legs: Iterable[Leg], now: int) -> Strip:
    held = list(legs)
    options = [leg for leg in held if leg.kind == "option"]
    slices = [_living(name, quote, leg, now) for leg in options]
    expiry = np.array([leg.expiry for leg in options], dtype=np.int64)
    strike = np.array([leg.strike for leg in options])
    tau = (expiry - now) / SECONDS_PER_YEAR
    forward = quote.spot * np.array([item.forward_ratio for item in slices])
    vol = np.array(
        [
            float(svi.volatility(item.svi, float(np.log(k / f)), float(t)))
            for item, k, f, t in zip(slices, strike, forward, tau, strict=True)
        ]
    )
    discount = np.array([item.discount for item in slices])
    is_call = np.array([leg.is_call for leg in options], dtype=bool)
    futures: dict[int, float] = {}
    for leg in held:
        if leg.kind == "future":
            futures[leg.expiry] = futures.get(leg.expiry, 0.0) + leg.quantity
    return Strip(
        name, quote.spot, sum((leg.quantity for leg in held if leg.kind != "option"), 0.0), futures,
        np.array([leg.quantity for leg in options]), strike, is_call, expiry, tau, forward, discount, vol,
        black76.price(forward, strike, vol, tau, discount, is_call),
    )  # fmt: skip


def _living(name: str, quote: Underlying, leg: Leg, now: int) -> SurfaceSlice:
    found = quote.slice(leg.expiry)
    if found is None:
        raise BadInput(
            f"{name} has no volatility surface for the expiry {leg.expiry} that the book holds; add the slice"
        )
    if leg.expiry <= now:
        raise BadInput(f"an option on {name} expired at {leg.expiry}; settle it into cash before asking for margin")
    return found


def delta_one_value(book: Book, market: Market) -> float:
    """Unsettled profit of perpetuals and futures: units x (mark - entry); an entry not given is the mark.

    A future's mark is spot x its slice's forward ratio, or spot without one.
    """
    total = 0.0
    for leg in book.legs:
        if leg.kind == "option" or leg.entry is None:
            continue
        quote = market.underlyings[leg.underlying]
        found = quote.slice(leg.expiry) if leg.kind == "future" else None
        total += leg.quantity * (quote.spot * (found.forward_ratio if found else 1.0) - leg.entry)
    return total


def equity(book: Book, market: Market, held: Iterable[Strip]) -> float:
    """The account at its marks, collateral in full, USD."""
    options = sum(float(strip.value @ strip.quantity) for strip in held)
    tokens = sum(amount * market.assets[name].price for name, amount in book.collateral.items())
    return book.cash + delta_one_value(book, market) + options + tokens


def linked_units(book: Book, market: Market, underlying: str) -> float:
    """Collateral that moves with an underlying, in units of it."""
    spot = market.underlyings[underlying].spot
    return sum(
        amount * market.assets[name].price / spot
        for name, amount in book.collateral.items()
        if market.assets[name].linked == underlying
    )


def haircuts(book: Book, market: Market) -> tuple[float, float]:
    """What the haircuts of the market's assets take, USD: (initial, maintenance)."""
    values = {name: amount * market.assets[name].price for name, amount in book.collateral.items()}
    initial = sum(value * market.assets[name].haircut_im for name, value in values.items())
    return initial, sum(value * market.assets[name].haircut_mm for name, value in values.items())
