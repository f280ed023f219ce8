# SPDX-License-Identifier: Apache-2.0
"""One account under one methodology, for :mod:`risk.efficiency`; and the same account at every peer."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from risk.efficiency import Health, Holding, Instrument
from risk.errors import BadInput, RiskError
from risk.methodologies.base import Book, Leg, Market, Methodology, leg_name, strips

# strikes to offer beside those held, as shares of the spot
_STRIKES = (0.8, 0.9, 1.0, 1.1, 1.2)


class Demand(NamedTuple):
    """What one methodology asks for, USD; ``problem`` says why it cannot judge the book, and the numbers are 0 then."""

    name: str
    equity: float
    im: float
    mm: float
    problem: str = ""


def demands(book: Book, market: Market, rules: Mapping[str, Methodology]) -> tuple[Demand, ...]:
    """The same book under every methodology, in their order.

    Parameters
    ----------
    book, market
        One account.
    rules
        Methodologies by name.

    Returns
    -------
    One entry a rule; a rule that refuses the book says why.
    """
    out = []
    for name, rule in rules.items():
        try:
            found = rule.margin(book, market)
        except RiskError as error:
            out.append(Demand(name, 0.0, 0.0, 0.0, str(error)))
        else:
            out.append(Demand(name, found.equity, found.im, found.mm))
    return tuple(out)


@dataclass
class CaseAccount:
    """An account of a case file under one methodology; implements :class:`risk.efficiency.Editable`.

    What may be traded: the perpetual of each underlying, the futures and options held, and at each expiry that has a
    surface calls and puts struck at 80 to 120 % of the spot.
    """

    book: Book
    market: Market
    rule: Methodology

    @cached_property
    def instruments(self) -> tuple[Instrument, ...]:
        """What may be traded."""
        held: dict[Leg, float] = {}
        for leg in self.book.legs:
            held[_bare(leg)] = held.get(_bare(leg), 0.0) + leg.quantity
        for name, quote in self.market.underlyings.items():
            held.setdefault(Leg(name, 0.0), 0.0)
            for surface in quote.surfaces:
                if surface.expiry > self.market.now:
                    for share in _STRIKES:
                        for is_call in (True, False):
                            strike = float(f"{share * quote.spot:.3g}")
                            held.setdefault(Leg(name, 0.0, "option", surface.expiry, strike, is_call), 0.0)
        spots = {name: quote.spot for name, quote in self.market.underlyings.items()}
        return tuple(
            Instrument(leg_name(leg), leg, spots[leg.underlying], units)
            for leg, units in held.items()
            if leg.underlying in spots
        )

    @cached_property
    def holdings(self) -> tuple[Holding, ...]:
        """Cash and every asset of the market."""
        held = self.book.collateral
        assets = (Holding(name, name, asset.price, held.get(name, 0.0)) for name, asset in self.market.assets.items())
        return (Holding("cash", None, 1.0, self.book.cash), *assets)

    def traded(self, instrument: Instrument, units: float) -> Health:
        """Health after signed units of one instrument change hands at its mark."""
        leg = instrument.key
        if not isinstance(leg, Leg):
            raise BadInput(f"{instrument.name} is not of this account; take it from its instruments")
        mark = self._mark(leg)
        same = [item for item in self.book.legs if _bare(item) == leg]
        others = tuple(item for item in self.book.legs if _bare(item) != leg)
        quantity, cash = sum(item.quantity for item in same) + units, self.book.cash
        if leg.kind == "option":
            return self._health(replace(self.book, cash=cash - units * mark, legs=_with(others, leg, quantity, None)))
        # netting a position keeps the profit that its parts had
        profit = sum(item.quantity * (mark - item.entry) for item in same if item.entry is not None)
        entry = mark - profit / quantity if quantity != 0.0 else None
        cash += profit if quantity == 0.0 else 0.0
        return self._health(replace(self.book, cash=cash, legs=_with(others, leg, quantity, entry)))

    def moved(self, units: Mapping[Hashable | None, float]) -> Health:
        """Health after units of cash and collateral come in or leave."""
        tokens = dict(self.book.collateral)
        for name, amount in units.items():
            if isinstance(name, str):
                tokens[name] = max(tokens.get(name, 0.0) + amount, 0.0)
        return self._health(replace(self.book, cash=self.book.cash + units.get(None, 0.0), collateral=tokens))

    def _health(self, book: Book) -> Health:
        found = self.rule.margin(book, self.market)
        return Health(found.equity - found.im, found.equity - found.mm)

    def _mark(self, leg: Leg) -> float:
        """USD a unit: of an option its value, of a future the spot with its basis."""
        quote = self.market.underlyings[leg.underlying]
        if leg.kind == "option":
            alone = strips(Book(legs=(replace(leg, quantity=1.0),)), self.market)
            return next(float(strip.value[0]) for strip in alone if strip.name == leg.underlying)
        found = quote.slice(leg.expiry) if leg.kind == "future" else None
        return quote.spot * (found.forward_ratio if found else 1.0)


def _bare(leg: Leg) -> Leg:
    """The instrument of a leg."""
    return replace(leg, quantity=0.0, entry=None)


def _with(others: tuple[Leg, ...], leg: Leg, quantity: float, entry: float | None) -> tuple[Leg, ...]:
    return others if quantity == 0.0 else (*others, replace(leg, quantity=quantity, entry=entry))
