# SPDX-License-Identifier: Apache-2.0
"""What Ballast requires of every account of a population: pages built and packed, then the float margin rule."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from risk.backtest.accounts import Population
from risk.books import Universe
from risk.margin import Book, CollateralMarket, Market, UnderlyingMarket, margin
from risk.market.history import FloatArray
from risk.page import pack_page, unpack_page
from risk.table import risk_rows
from risk.types import SECONDS_PER_YEAR, OptionSpec, ParameterSet, SurfaceSlice, SviSlice, UnderlyingParameters

# The rule is homogeneous in the price, so every underlying may stand at the same one.
SPOT = 100.0


class Required(NamedTuple):
    """(A,) demands per USD of gross notional, what haircuts take included."""

    initial: FloatArray
    maintenance: FloatArray


def flat_slices(universe: Universe, underlying: int, now: int) -> tuple[SurfaceSlice, ...]:
    """Flat surface of one underlying of a universe, one slice a tenor; forward at spot, no discount."""
    mine = (universe.underlying == underlying) & universe.is_option
    vol = float(universe.vol[mine][0])
    return tuple(
        SurfaceSlice(_expiry(now, tau), 1.0, 1.0, SviSlice(vol * vol * float(tau), 0.0, 0.0, 0.0, 0.1))
        for tau in np.unique(universe.tau[mine])
    )


def required(
    population: Population, universe: Universe, books: FloatArray, parameters: ParameterSet, notional: float, now: int
) -> Required:
    """Margin of every account, docs/margin-rule.md, with fresh pages and live prices.

    Parameters
    ----------
    population : Population
    universe : Universe
        At the volatilities of the decision.
    books : (A, M) float64
        From `Population.books`.
    parameters : ParameterSet
        In force.
    notional : float
        Gross USD of each account; charges grow with it.
    now : int
        Epoch seconds.
    """
    accounts, names = len(population), population.symbols
    units, base = np.zeros((accounts, len(names), 3)), np.zeros((accounts, len(names)))
    underlyings, options = [], []
    for u, name in enumerate(names):
        perp = books[:, universe.perp(u)] * notional
        units[:, u, 0], base[:, u] = perp / SPOT, -perp
        lanes = parameters.underlyings[name]
        underlyings.append(_underlying(universe, u, name, lanes, now))
        held = books[:, (universe.underlying == u) & universe.is_option] * (notional / SPOT)
        options.append(sparse.csr_array(held))  # type: ignore[no-untyped-call]
    collaterals = tuple(
        CollateralMarket(name, 1.0, parameters.collaterals[name], linked=u) for u, name in enumerate(names)
    )
    # Debt as a borrower has it; what an account is worth does not enter its demand.
    cash = np.where(population.tokens.sum(axis=1) > 0.0, -0.5, 1.0) * notional
    tokens = population.tokens * notional
    found = margin(
        Book(cash, units, base, tokens, np.zeros_like(tokens), tuple(options)),
        Market(parameters.global_parameters, tuple(underlyings), collaterals, parameters.joint, now=now),
    )
    initial = found.im + found.equity_mark - found.equity_im
    maintenance = found.mm + found.equity_mark - found.equity_mm
    return Required(initial / notional, maintenance / notional)


def _underlying(universe: Universe, u: int, name: str, lanes: UnderlyingParameters, now: int) -> UnderlyingMarket:
    mine = np.flatnonzero((universe.underlying == u) & universe.is_option)
    listed = [
        OptionSpec(slot, _expiry(now, universe.tau[i]), SPOT * float(universe.strike[i]), bool(universe.is_call[i]))
        for slot, i in enumerate(mine)
    ]
    rows = risk_rows(listed, SPOT, flat_slices(universe, u, now), now, lanes, len(listed))
    return UnderlyingMarket(name, SPOT, lanes, unpack_page(pack_page(rows)), rows_observed_at=now)


def _expiry(now: int, tau: float) -> int:
    return now + round(float(tau) * SECONDS_PER_YEAR)
