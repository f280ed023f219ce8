# SPDX-License-Identifier: Apache-2.0
"""Accounts of a backtest, their revaluation and what Ballast requires of them, against numbers made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from risk.backtest.accounts import MIX, build_population, universe_at
from risk.backtest.revalue import aged_profit
from risk.errors import BadInput
from risk.factors.fhs import Moves
from risk.pricing import black76

SYMBOLS = ["BTC", "ETH"]


def population():
    return build_population(SYMBOLS, np.random.default_rng(1))


def test_every_class_is_there_and_gross_is_one() -> None:
    found = population()
    assert set(found.classes) == set(MIX)
    gross = np.abs(found.weights).sum(axis=1) + found.tokens.sum(axis=1)
    # A hedge comes on top; random books are normalised by the sampler.
    assert gross == pytest.approx(np.ones(len(found)))
    assert found.shares(MIX).sum() == pytest.approx(1.0)
    assert found.shares(MIX)[found.members("lender")].sum() == pytest.approx(MIX["lender"])
    assert found.shares()[found.members("lender")].sum() == pytest.approx(1.0 / len(MIX))


def test_names_say_what_the_weights_hold() -> None:
    found, universe = population(), universe_at(SYMBOLS, np.array([0.6, 0.9]))
    row = found.weights[found.names.index("short straddle ETH 7d")]
    legs = np.flatnonzero(row)
    assert row[legs].tolist() == [-0.5, -0.5]
    assert universe.underlying[legs].tolist() == [1, 1]
    assert universe.strike[legs].tolist() == [1.0, 1.0]
    assert universe.tau[legs] * 365 == pytest.approx([7.0, 7.0])
    assert universe.is_call[legs].tolist() == [True, False]
    spread = found.weights[found.names.index("BTC against ETH")]
    assert spread[[universe.perp(0), universe.perp(1)]].tolist() == [0.5, -0.5]


def test_hedged_accounts_have_no_delta_and_others_keep_theirs() -> None:
    found, universe = population(), universe_at(SYMBOLS, np.array([0.6, 0.9]))
    books = found.books(universe)
    for u in range(2):
        net = books @ (universe.deltas() * (universe.underlying == u))
        assert net[found.hedged] == pytest.approx(np.zeros(int(found.hedged.sum())), abs=1e-12)
    assert np.array_equal(books[~found.hedged], found.weights[~found.hedged])


def test_no_symbol_is_refused_and_one_is_enough() -> None:
    with pytest.raises(BadInput, match="needs an underlying"):
        build_population([], np.random.default_rng(1))
    assert "spread" not in build_population(["BTC"], np.random.default_rng(1)).classes


def test_profit_of_a_short_straddle_by_black_76() -> None:
    found, vol = population(), 0.8
    universe = universe_at(SYMBOLS, np.full(2, vol))
    moves = Moves(np.array([[0.1, -0.2]]), np.array([[0.0, 0.5]]))
    held = np.hstack([found.books(universe), found.tokens])
    profit = (held @ aged_profit(universe, moves, np.full(2, 0.3), 86_400)[0])[
        found.names.index("short straddle ETH 30d")
    ]
    tau = 29 / 365
    # Volatility of a tenor moves by (30/DTE)^0.3 times that of 30 days.
    shocked = vol * (1.0 + 0.5 * (30 / 29) ** 0.3)
    after = sum(float(black76.price(0.8, 1.0, shocked, tau, 1.0, call)) for call in (True, False))
    before = sum(float(black76.price(1.0, 1.0, vol, 30 / 365, 1.0, call)) for call in (True, False))
    assert profit == pytest.approx(-0.5 * (after - before), rel=1e-12)


def test_an_option_that_ends_within_the_horizon_is_worth_its_payoff() -> None:
    universe = universe_at(["BTC"], np.array([0.5]))
    moves = Moves(np.array([[0.3]]), np.array([[0.0]]))
    change = aged_profit(universe, moves, np.zeros(1), 8 * 86_400)[0]
    call = int(np.flatnonzero(universe.is_call & (universe.strike == 1.0))[0])
    paid = float(black76.price(1.0, 1.0, 0.5, 7 / 365))
    assert change[call] == pytest.approx(0.3 - paid)
    assert change[-1] == 0.3
