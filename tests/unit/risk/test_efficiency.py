# SPDX-License-Identifier: Apache-2.0
"""Trades, withdrawals and swaps against answers that follow from the rule by hand."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import pytest

from risk.efficiency import Health, Holding, Instrument, best_trades, swaps, withdrawals
from risk.errors import BadInput
from risk.methodologies import METHODOLOGIES, Asset, Book, FixedHaircut, Leg, Market, Underlying, methodology
from risk.methodologies.editable import CaseAccount, demands

NOW = 1_750_000_000
MARKET = Market(
    NOW,
    {"BTC": Underlying(50_000.0), "ETH": Underlying(2_500.0)},
    {"WETH": Asset(2_500.0, "ETH", 0.10, 0.05), "DAI": Asset(1.0, None, 0.02, 0.01)},
)


class Quadratic:
    """Health ``100 - (x - 3)^2``: the best trade is 3 units, whatever the grid of sizes."""

    instruments = (Instrument("X", "x", 10.0, 0.0), Instrument("held", "h", 10.0, 4.0))
    holdings = (Holding("cash", None, 1.0, 50.0),)

    def traded(self, instrument: Instrument, units: float) -> Health:
        peak = 3.0 if instrument.key == "x" else -4.0
        return Health(100.0 - (units - peak) ** 2, 0.0)

    def moved(self, units: Mapping[Hashable | None, float]) -> Health:
        return Health(91.0 + units.get(None, 0.0), 0.0)


def test_sizes_are_refined_to_the_optimum() -> None:
    closed, found = best_trades(Quadratic())
    assert (closed.name, closed.units, closed.frees_im, closed.closes) == ("held", -4.0, 9.0, True)
    assert (found.name, found.closes) == ("X", False)
    assert found.units == pytest.approx(3.0, abs=0.1) and found.frees_im == pytest.approx(9.0, abs=0.01)
    with pytest.raises(BadInput, match="ask for at least one"):
        best_trades(Quadratic(), 0)


def test_closing_what_is_held_frees_its_margin() -> None:
    """Fixed leverage: 10 % of the notional, and no hedge counts."""
    account = CaseAccount(Book(10_000.0, (Leg("BTC", 0.5, entry=48_000.0), Leg("ETH", -2.0))), MARKET, FixedHaircut())
    trades = best_trades(account)
    assert [(t.name, t.units, t.closes) for t in trades] == [
        ("BTC perpetual", -0.5, True),
        ("ETH perpetual", 2.0, True),
    ]
    assert [t.frees_im for t in trades] == pytest.approx([2_500.0, 500.0])
    assert [t.frees_mm for t in trades] == pytest.approx([1_250.0, 250.0])
    assert trades[0].words() == (
        "close sell 0.5 BTC perpetual: frees 2,500.00 USD of initial margin, 10.0 % of its notional"
    )


@pytest.mark.parametrize("name", [name for name in sorted(METHODOLOGIES) if name != "fixed-haircut"])
def test_a_hedge_is_found_where_the_rule_knows_hedges(name: str) -> None:
    """Collateral that follows ETH is hedged by selling as much: every scenario rule frees margin by it."""
    account = CaseAccount(Book(1_000.0, collateral={"WETH": 4.0}), MARKET, methodology(name))
    trade = best_trades(account, 1)[0]
    assert trade.name == "ETH perpetual" and not trade.closes
    # a whole hedge, but where charges on both sides (least delta, roll) stop it earlier
    assert -4.2 < trade.units < -2.0
    assert trade.frees_im > 0.05 * 10_000.0


def test_nothing_to_trade_for_an_account_without_risk() -> None:
    for name in METHODOLOGIES:
        assert best_trades(CaseAccount(Book(1_000.0), MARKET, methodology(name))) == ()


def test_a_trade_keeps_the_profit_of_what_it_nets() -> None:
    """Selling 1 of 3 bought at 40,000, at a mark of 50,000: equity stays, whether profit is in the leg or in cash."""
    account = CaseAccount(Book(0.0, (Leg("BTC", 3.0, entry=40_000.0),)), MARKET, FixedHaircut())
    perp = next(item for item in account.instruments if item.name == "BTC perpetual")
    for units, left in ((-1.0, 2.0), (-3.0, 0.0), (-4.0, 1.0), (2.0, 5.0)):
        assert account.traded(perp, units).im == pytest.approx(30_000.0 - 0.1 * left * 50_000.0)


def test_withdrawals_by_hand() -> None:
    """3,000 to spare: WETH worth 3,000 / 0.9, all 1,500 DAI at 0.98. Cheapest in health first."""
    book = Book(-2_470.0, (Leg("BTC", 1.0),), {"DAI": 1_500.0, "WETH": 4.0})
    account = CaseAccount(book, MARKET, FixedHaircut())
    spare = -2_470.0 + 0.98 * 1_500.0 + 0.9 * 10_000.0 - 5_000.0
    assert account.moved({}).im == pytest.approx(spare) == pytest.approx(3_000.0)
    found = {item.name: item for item in withdrawals(account)}
    assert list(found) == ["WETH", "DAI"]  # no cash: it is a debt
    assert found["WETH"].value == pytest.approx(3_000.0 / 0.9) and found["WETH"].cost == pytest.approx(0.9)
    assert (found["DAI"].value, found["DAI"].cost) == (1_500.0, pytest.approx(0.98))
    poor = CaseAccount(Book(-6_000.0, book.legs, book.collateral), MARKET, FixedHaircut())
    assert [item.units for item in withdrawals(poor)] == [0.0, 0.0]


def test_swaps_by_hand() -> None:
    """Into cash a swap gains the haircut, into another asset the difference of both."""
    account = CaseAccount(Book(0.0, (), {"WETH": 4.0}), MARKET, FixedHaircut())
    assert [(s.source, s.target) for s in swaps(account)] == [("WETH", "cash"), ("WETH", "DAI")]
    assert [s.gains_im for s in swaps(account)] == pytest.approx([1_000.0, 800.0])
    assert [s.gains_mm for s in swaps(account)] == pytest.approx([500.0, 400.0])
    assert swaps(account)[0].words() == "10,000.00 USD of WETH into cash: initial health +1,000.00 USD"


def test_a_hedging_collateral_is_worth_more_than_its_price() -> None:
    """Short 4 ETH against 4 WETH: taking the hedge away costs its value less haircut, and the scan it had covered."""
    account = CaseAccount(
        Book(5_000.0, (Leg("ETH", -4.0),), {"WETH": 4.0, "DAI": 1_000.0}), MARKET, methodology("span")
    )
    found = withdrawals(account)
    assert [item.name for item in found] == ["DAI", "cash", "WETH"]
    assert found[-1].cost > 1.0


def test_a_peer_that_cannot_judge_says_why() -> None:
    book = Book(0.0, tuple(Leg("BTC", 1.0, "future", NOW + 86_400 * k) for k in (1, 2, 3)))
    found = {item.name: item for item in demands(book, MARKET, {name: methodology(name) for name in METHODOLOGIES})}
    assert "two futures an underlying" in found["ballast"].problem and found["ballast"].im == 0.0
    assert found["span"].problem == "" and found["span"].im > 0.0
