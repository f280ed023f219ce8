# SPDX-License-Identifier: Apache-2.0
"""Case files: one account and one market as JSON, for any methodology.

    {"now": 1740000000,
     "market": {"underlyings": {"BTC": {"spot": 60000, "vol": 0.6}, "ETH": {"spot": 3000, "vol": 0.7}},
                "assets": {"WETH": {"price": 3000, "linked": "ETH"}}},
     "book": {"cash": 10000, "collateral": {"WETH": 1.5},
              "legs": [{"underlying": "BTC", "kind": "option", "quantity": -1, "expiry": 1742592000, "strike": 65000,
                        "is_call": true}]}}

An underlying gives a flat ``vol`` (with an optional ``rate``), or ``surfaces``: a list of ``{"expiry", "forward_ratio",
"discount", "svi": {a, b, rho, m, sigma}}``; docs/risk/cases.md has every field. For
``derive-pmrm2``, Derive's own case files are read as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from risk.errors import BadInput
from risk.methodologies import Ballast, DerivePmrm2, methodology
from risk.methodologies.base import Asset, Book, Leg, Market, Scenario, Underlying
from risk.methodologies.derive import pmrm2, words
from risk.methodologies.derive_case import is_derive_case, read_case
from risk.types import SECONDS_PER_YEAR, ParameterSet, SurfaceSlice, SviSlice

# of a flat surface: SVI with no slope and no curvature
_FLAT_SIGMA = 0.1
# No market trades at 500 % for long: what is above is a volatility in percent.
_MAX_VOL = 5.0


@dataclass(frozen=True, slots=True)
class CaseResult:
    """``im`` and ``mm`` as the methodology states them: demands in USD, for Derive's own cases its signed balances."""

    im: float
    mm: float
    scenarios: tuple[Scenario, ...]
    equity: float

    def plain(self) -> dict[str, Any]:
        """For JSON: profits of the scenarios in USD, with their names beside them."""
        return {
            "im": self.im,
            "mm": self.mm,
            "equity": self.equity,
            "scenarios": [item.profit for item in self.scenarios],
            "scenario_names": [item.name for item in self.scenarios],
        }


def run_case(name: str, path: Path, parameters: ParameterSet | None = None) -> CaseResult:
    """Margin of the case in a file under a methodology.

    Raises
    ------
    BadInput
        When the file cannot be read, lacks a field, or the methodology is unknown.
    """
    raw = _read(path)
    chosen = Ballast(parameters) if name == Ballast().name and parameters is not None else methodology(name)
    if is_derive_case(raw):
        if not isinstance(chosen, DerivePmrm2):
            raise BadInput(
                f"{path} is one of Derive's cases, which name their own rules; use --methodology derive-pmrm2"
            )
        account, rules = read_case(raw)
        found = pmrm2(account, rules)
        named = tuple(Scenario(words(s), p) for s, p in zip(rules.shocks, found.profits, strict=True))
        return CaseResult(found.im, found.mm, named, found.mark_to_market)
    result = chosen.margin(*parse_case(raw))
    return CaseResult(result.im, result.mm, result.scenarios, result.equity)


def load_case(path: Path) -> tuple[Book, Market]:
    """Account and market of a case file of one's own.

    Raises
    ------
    BadInput
        When the file cannot be read, lacks a field, or is one of Derive's, which name their own rules.
    """
    raw = _read(path)
    if is_derive_case(raw):
        raise BadInput(f"{path} is one of Derive's cases; only 'risk margin --methodology derive-pmrm2' reads those")
    return parse_case(raw)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"case {path} cannot be read ({error.strerror}); check the path") from error
    except json.JSONDecodeError as error:
        raise BadInput(f"case {path} is not JSON: {error}; correct the file") from error


def parse_case(raw: object) -> tuple[Book, Market]:
    """Account and market of a case document.

    Raises
    ------
    BadInput
        When a field is missing, unknown, of the wrong type or without meaning: a volatility in percent, a link to an
        underlying that the market does not have, a price or amount that is no number.
    """
    if not isinstance(raw, Mapping):
        raise BadInput("a case is an object with now, market and book; see the documentation of risk margin")
    try:
        now = int(raw["now"])
        book, quotes = raw["book"], raw["market"]
        legs = tuple(Leg(**item) for item in book.get("legs", ()))
        expiries = sorted({leg.expiry for leg in legs if leg.kind != "perp"})
        market = Market(
            now,
            {name: _underlying(item, expiries, now) for name, item in quotes["underlyings"].items()},
            {name: Asset(**item) for name, item in quotes.get("assets", {}).items()},
        )
        _check_options(legs, quotes["underlyings"])
        account = Book(float(book.get("cash", 0.0)), legs, dict(book.get("collateral", {})))
        _check(account, market)
        return account, market
    except BadInput:
        raise
    except KeyError as error:
        raise BadInput(f"the case has no field {error}; add it") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"the case cannot be read: {error}; correct the field") from error


def _check_options(legs: tuple[Leg, ...], quotes: Mapping[str, Mapping[str, Any]]) -> None:
    for leg in legs:
        quote = quotes.get(leg.underlying)
        if leg.kind == "option" and quote is not None and not {"vol", "surfaces"} & set(quote):
            # Else a volatility of zero would price it.
            raise BadInput(f"the book holds options on {leg.underlying}, which has no volatility; add vol or surfaces")


def _check(book: Book, market: Market) -> None:
    """Values that every methodology would take and each make something else of."""
    for name, quote in market.underlyings.items():
        if not 0.0 < quote.spot < np.inf:
            raise BadInput(f"spot of {name} is {quote.spot}; write a positive price in USD")
    for name, asset in market.assets.items():
        if not 0.0 <= asset.price < np.inf:
            raise BadInput(f"price of collateral {name} is {asset.price}; write USD a unit")
        if not (0.0 <= asset.haircut_im <= 1.0 and 0.0 <= asset.haircut_mm <= 1.0):
            raise BadInput(f"haircuts of {name} are {asset.haircut_im} and {asset.haircut_mm}; write fractions, 0 to 1")
        if asset.linked is not None and asset.linked not in market.underlyings:
            # Nothing would scan its price, as if it were a stablecoin.
            raise BadInput(
                f"collateral {name} is linked to {asset.linked}, which the market does not quote; add {asset.linked} "
                "to market.underlyings, or leave linked out"
            )
    amounts = {"cash": book.cash} | {f"collateral {name}": amount for name, amount in book.collateral.items()}
    for name, amount in amounts.items():
        if not np.isfinite(amount) or (name != "cash" and amount < 0.0):
            raise BadInput(f"{name} of the book is {amount}; write a finite amount, negative for a debt in cash alone")


def _underlying(raw: Mapping[str, Any], expiries: list[int], now: int) -> Underlying:
    if "surfaces" in raw:
        slices = tuple(
            SurfaceSlice(int(s["expiry"]), float(s["forward_ratio"]), float(s["discount"]), SviSlice(**s["svi"]))
            for s in raw["surfaces"]
        )
        return Underlying(float(raw["spot"]), slices)
    vol, rate = float(raw.get("vol", 0.0)), float(raw.get("rate", 0.0))
    if not 0.0 <= vol <= _MAX_VOL or not abs(rate) <= 1.0:
        raise BadInput(f"vol {vol} and rate {rate} of an underlying are no fractions a year; write 0.6 for 60 %")
    return Underlying(float(raw["spot"]), tuple(_flat(vol, rate, expiry, now) for expiry in expiries if expiry > now))


def _flat(vol: float, rate: float, expiry: int, now: int) -> SurfaceSlice:
    tau = (expiry - now) / SECONDS_PER_YEAR
    carry = float(np.exp(rate * tau))
    return SurfaceSlice(expiry, carry, 1.0 / carry, SviSlice(vol * vol * tau, 0.0, 0.0, 0.0, _FLAT_SIGMA))
