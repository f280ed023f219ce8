# SPDX-License-Identifier: Apache-2.0
"""Ballast's own rule behind the common interface: a page is built and packed for the book, then docs/margin-rule.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from scipy import sparse

from risk.errors import BadInput
from risk.explain import Explanation, explain
from risk.margin import Book as FloatBook
from risk.margin import CollateralMarket, Mark, UnderlyingMarket, margin
from risk.margin import Market as FloatMarket
from risk.methodologies.base import Book, Leg, MarginResult, Market, Scenario, equity, leg_name, strips
from risk.page import PackedPage, pack_page, unpack_page
from risk.table import risk_rows
from risk.types import (
    CollateralParameters,
    GlobalParameters,
    JointScenarios,
    OptionSpec,
    ParameterSet,
    UnderlyingParameters,
)

# industry-typical, for a comparison without a calibration; beside a calibrated set in docs/risk/calibration.md
DEFAULT_GLOBAL = GlobalParameters(10_000, 8_000, 10_000, 2_500, 0)
DEFAULT_UNDERLYING = UnderlyingParameters(1_600, 4_000, 2_500, 3_000, 20, 10, 25, 10, 5_000, 50, 400, 500)


@dataclass(frozen=True, slots=True)
class Ballast:
    """The plug-in, for a calibrated :class:`~risk.types.ParameterSet` or for the defaults of this module."""

    parameters: ParameterSet | None = None
    defaults: UnderlyingParameters = DEFAULT_UNDERLYING
    scales: GlobalParameters = DEFAULT_GLOBAL
    joint: JointScenarios | None = None
    joint_underlyings: tuple[str, ...] = field(default=())
    name: str = "ballast"

    def margin(self, book: Book, market: Market) -> MarginResult:
        """Margin of one account; what haircuts take is part of the demand."""
        held = strips(book, market)
        floats = self._translated(book, market)
        found = margin(floats.book, floats.market)
        full = equity(book, market, held)
        scans = [
            Scenario(f"{strip.name} worst scan point", -float(loss))
            for strip, loss in zip(held, found.scans[0], strict=True)
        ]
        words = explain(floats.book, floats.market, 0)
        joint = [Scenario(", ".join(move.words() for move in words.moves), -words.scenario_loss)] if words.moves else []
        return MarginResult(
            full,
            float(found.im[0]) + full - float(found.equity_im[0]),
            float(found.mm[0]) + full - float(found.equity_mm[0]),
            (*scans, *joint),
        )

    def explain(self, book: Book, market: Market) -> Explanation:
        """What is behind the numbers: worst moves, each position's part, charges, collateral after haircut.

        Parameters
        ----------
        book, market
            One account.

        Returns
        -------
        The explanation of :func:`risk.explain.explain`, positions named by what they are.
        """
        floats = self._translated(book, market)
        found = explain(floats.book, floats.market, 0)
        names = _names(book)
        lines = tuple(line._replace(name=names.get(line.name, line.name)) for line in found.contributions)
        return replace(found, contributions=lines)

    def _translated(self, book: Book, market: Market) -> _Floats:
        names, assets = tuple(market.underlyings), tuple(market.assets)
        units, base = np.zeros((1, len(names), 3)), np.zeros((1, len(names)))
        underlyings, options = [], []
        for u, name in enumerate(names):
            legs = [leg for leg in book.legs if leg.underlying == name]
            marks = _delta_one(legs, market, u, units, base)
            specs = _specs(legs)
            found = self._page(name, market, specs)
            rows = unpack_page(found) if found else None
            underlyings.append(
                UnderlyingMarket(
                    name,
                    market.underlyings[name].spot,
                    self._lanes(name),
                    rows,
                    marks=marks,
                    rows_observed_at=market.now,
                )
            )
            quantities = [sum(leg.quantity for leg in legs if _key(leg) == key) for key in specs]
            options.append(_row(quantities))
        scales, joint = self._shared(names)
        collaterals = tuple(self._collateral(name, market, names) for name in assets)
        tokens = np.array([[book.collateral.get(name, 0.0) for name in assets]]).reshape(1, len(assets))
        floats = FloatBook(np.array([book.cash]), units, base, tokens, np.zeros_like(tokens), tuple(options))
        return _Floats(floats, FloatMarket(scales, tuple(underlyings), collaterals, joint, now=market.now))

    def _lanes(self, name: str) -> UnderlyingParameters:
        if self.parameters is None:
            return self.defaults
        if name not in self.parameters.underlyings:
            raise BadInput(
                f"the parameter set knows {', '.join(self.parameters.underlyings)}, not {name}; calibrate it"
            )
        return self.parameters.underlyings[name]

    def _page(self, name: str, market: Market, specs: Sequence[tuple[int, float, bool]]) -> PackedPage | None:
        if not specs:
            return None
        listed = [OptionSpec(slot, *key) for slot, key in enumerate(specs)]
        quote = market.underlyings[name]
        return pack_page(risk_rows(listed, quote.spot, quote.surfaces, market.now, self._lanes(name), len(listed)))

    def _shared(self, names: tuple[str, ...]) -> tuple[GlobalParameters, JointScenarios | None]:
        """Scales, and the joint scenarios with one column for each underlying of the market (zero = does not move)."""
        scales = self.parameters.global_parameters if self.parameters else self.scales
        joint = self.parameters.joint if self.parameters else self.joint
        known = self.parameters.joint_underlyings if self.parameters else self.joint_underlyings
        if joint is None:
            return scales, None
        if not set(names) <= set(known):
            return scales, None
        columns = [known.index(name) for name in names]
        return scales, JointScenarios(joint.price_bytes[:, columns], joint.vol_bytes[:, columns])

    def _collateral(self, name: str, market: Market, names: tuple[str, ...]) -> CollateralMarket:
        asset = market.assets[name]
        lanes = self.parameters.collaterals.get(name) if self.parameters else None
        if lanes is None:
            cuts = (round(asset.haircut_im * 10_000), round(asset.haircut_mm * 10_000))
            lanes = CollateralParameters(*cuts, 0, 65_535, 0)
        linked = names.index(asset.linked) if asset.linked in names else None
        return CollateralMarket(name, asset.price, lanes, linked)


class _Floats(NamedTuple):
    """The account and the market as the float margin reads them."""

    book: FloatBook
    market: FloatMarket


def _row(quantities: Sequence[float]) -> sparse.csr_array:
    dense = np.array(quantities, dtype=np.float64).reshape(1, len(quantities))
    return sparse.csr_array(dense)  # type: ignore[no-untyped-call]


def _key(leg: Leg) -> tuple[int, float, bool]:
    return leg.expiry, leg.strike, leg.is_call


def _specs(legs: Sequence[Leg]) -> list[tuple[int, float, bool]]:
    return sorted({_key(leg) for leg in legs if leg.kind == "option"})


def _names(book: Book) -> dict[str, str]:
    """The names that :mod:`risk.explain` gives to slots, and what is in them."""
    out = {}
    for name in {leg.underlying for leg in book.legs}:
        legs = [leg for leg in book.legs if leg.underlying == name]
        for slot, (expiry, strike, is_call) in enumerate(_specs(legs)):
            out[f"{name} option {slot}"] = leg_name(Leg(name, 0.0, "option", expiry, strike, is_call))
        for k, expiry in enumerate(sorted({leg.expiry for leg in legs if leg.kind == "future"})):
            out[f"{name} future {254 - k}"] = leg_name(Leg(name, 0.0, "future", expiry))
    return out


def _delta_one(
    legs: Sequence[Leg], market: Market, u: int, units: np.ndarray, base: np.ndarray
) -> tuple[Mark, Mark, Mark]:
    """Fills in units and cost of the perpetual and of at most two futures; returns their marks."""
    futures = sorted({leg.expiry for leg in legs if leg.kind == "future"})
    if len(futures) > 2:
        raise BadInput(f"Ballast lists two futures an underlying, the book holds {len(futures)}; split the book")
    marks = [Mark(), Mark(), Mark()]
    for leg in legs:
        if leg.kind == "option":
            continue
        quote = market.underlyings[leg.underlying]
        place = 0 if leg.kind == "perp" else 1 + futures.index(leg.expiry)
        found = quote.slice(leg.expiry) if place else None
        ratio = found.forward_ratio if found else 1.0
        marks[place] = Mark(carry=ratio - 1.0, expiry=leg.expiry) if place else Mark()
        units[0, u, place] += leg.quantity
        base[0, u] -= leg.quantity * (quote.spot * ratio if leg.entry is None else leg.entry)
    return marks[0], marks[1], marks[2]
