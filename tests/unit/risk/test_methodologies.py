# SPDX-License-Identifier: Apache-2.0
"""Margin methodologies against numbers their owners or textbooks publish (Derive has a file of its own)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from keeper.cli import app
from risk.errors import BadInput
from risk.methodologies import (
    METHODOLOGIES,
    Asset,
    Ballast,
    Book,
    DeribitPm,
    FixedHaircut,
    Leg,
    Market,
    Methodology,
    Paradex,
    Span,
    Underlying,
    methodology,
)
from risk.methodologies.base import strips
from risk.methodologies.cases import parse_case
from risk.methodologies.deribit import ETH, InverseResult, inverse_perp
from risk.methodologies.fixed_haircut import short_option
from risk.methodologies.paradex import EXTENDED, REGULAR, minimum_delta
from risk.methodologies.span import Range, scan_risk
from risk.pricing import black76
from risk.types import SECONDS_PER_YEAR, SurfaceSlice, SviSlice

NOW = 1_750_000_000
# McMillan, Options as a Strategic Investment, pp. 668-670: losses of one long unit, scenarios 1..16
FUTURE = (0, 0, -3330, -3330, 3330, 3330, -6670, -6670, 6670, 6670, -10000, -10000, 10000, 10000, -7000, 7000)
CALL = (-460, 610, -2640, -1730, 1270, 2340, -5210, -4540, 2540, 3430, -8060, -7640, 3380, 3990, -3130, 1500)


def flat(expiry: int, vol: float) -> SurfaceSlice:
    tau = (expiry - NOW) / SECONDS_PER_YEAR
    return SurfaceSlice(expiry, 1.0, 1.0, SviSlice(vol * vol * tau, 0.0, 0.0, 0.0, 0.1))


def market(spot: float = 100.0, vol: float = 0.6, days: int = 30, **more: Underlying) -> Market:
    expiry = NOW + days * 86_400
    return Market(NOW, {"BTC": Underlying(spot, (flat(expiry, vol),)), **more})


def option(quantity: float, strike: float, *, is_call: bool = True, days: int = 30, name: str = "BTC") -> Leg:
    return Leg(name, quantity, "option", NOW + days * 86_400, strike, is_call)


# ------------------------------------------------------------------ published numbers


def test_span_arrays_of_a_covered_write() -> None:
    assert scan_risk([FUTURE], [1.0]) == 10_000.0
    assert scan_risk([CALL], [1.0]) == 3_990.0
    assert scan_risk([FUTURE, CALL], [1.0, -1.0]) == 6_620.0
    assert scan_risk([CALL], [0.0]) == 0.0


def test_span_scenarios_of_a_future_are_the_published_ones() -> None:
    """A range of 20 points at 500 USD a point; extremes are twice the range at 35 %."""
    rule = Span(default=Range(0.1, 0.0), extreme=2.0, cover=0.35, lookahead_s=0)
    (strip,) = strips(Book(legs=(Leg("BTC", 1.0),)), market(100_000.0))
    # the book prints thirds of 10,000 as 3,330 and 6,670
    assert rule.profits(strip) == pytest.approx([-loss for loss in FUTURE], abs=4.0)


def test_deribit_inverse_perpetual_to_the_last_digit() -> None:
    """A live reply of pme/simulate: short 0.999487053 ETH-PERP."""
    found: InverseResult = inverse_perp(-0.999487053, ETH, 2_000.0)
    assert found.profits[8] == pytest.approx(-0.15246412672881, abs=1e-13)
    assert found.profits[0] == pytest.approx(0.219399597, abs=5e-10)
    assert found.profits[9:].tolist() == [0.0] * 8
    assert found.roll == pytest.approx(0.004997435265, abs=1e-15)
    assert found.im == pytest.approx(0.157461562, abs=5e-10)
    assert found.mm == pytest.approx(0.125969250, abs=5e-10)


def test_paradex_minimum_delta_and_scenario_table() -> None:
    assert minimum_delta(1.0 - 1.5, 1.0 + 1.5, 70_000.0) == pytest.approx(1_400.0)
    assert len(REGULAR) == 16
    assert [round(weight, 4) for _, _, weight in EXTENDED] == [0.2424, 0.4848, 0.32, 0.16, 0.08, 0.0533, 0.04, 0.032]


def test_bybit_short_put() -> None:
    assert short_option(20_250.0, 18_500.0, 290.0, is_call=False) == pytest.approx((2_315.0, 938.0))


def test_hyperliquid_collateral() -> None:
    """10,000 HYPE at 40 USD and 50 % borrow 200,000 USD and not a dollar more."""
    rule = FixedHaircut()
    quotes = Market(NOW, {}, {"HYPE": Asset(40.0, haircut_im=0.5, haircut_mm=0.4)})
    for cash, is_sound in ((-200_000.0, True), (-200_001.0, False)):
        found = rule.margin(Book(cash, collateral={"HYPE": 10_000.0}), quotes)
        assert (found.equity >= found.im) is is_sound


# ------------------------------------------------------------------ what every one of them must do


@pytest.mark.parametrize("name", sorted(METHODOLOGIES))
def test_nothing_held_needs_nothing(name: str) -> None:
    found = methodology(name).margin(Book(1_000.0), market())
    assert (found.equity, found.im, found.mm) == (1_000.0, 0.0, 0.0)


@pytest.mark.parametrize("name", sorted(METHODOLOGIES))
def test_equity_is_the_book_at_its_marks(name: str) -> None:
    book = Book(50.0, (Leg("BTC", 2.0, entry=90.0), option(3.0, 105.0)), {"GOLD": 2.0})
    quotes = Market(NOW, market().underlyings, {"GOLD": Asset(7.0)})
    tau = 30 / 365
    call = float(black76.price(100.0, 105.0, 0.6, tau))
    # a page counts in lanes and takes five eighths of one from each unit held
    assert methodology(name).margin(book, quotes).equity == pytest.approx(50.0 + 20.0 + 3.0 * call + 14.0, abs=1e-9)


@pytest.mark.parametrize("name", sorted(METHODOLOGIES))
def test_demands_are_positive_ordered_and_grow_with_size(name: str) -> None:
    one = methodology(name).margin(Book(0.0, (Leg("BTC", -1.0), option(-2.0, 110.0))), market())
    two = methodology(name).margin(Book(0.0, (Leg("BTC", -2.0), option(-4.0, 110.0))), market())
    assert 0.0 < one.mm <= one.im
    assert two.im == pytest.approx(2.0 * one.im, rel=1e-3)
    assert two.mm == pytest.approx(2.0 * one.mm, rel=1e-3)


@pytest.mark.parametrize("name", [name for name in sorted(METHODOLOGIES) if name != "fixed-haircut"])
def test_a_covered_call_needs_less_than_a_naked_one(name: str) -> None:
    rule = methodology(name)
    naked = rule.margin(Book(0.0, (option(-1.0, 105.0),)), market())
    covered = rule.margin(Book(0.0, (option(-1.0, 105.0), Leg("BTC", 0.5))), market())
    assert covered.im < naked.im


def test_fixed_haircut_knows_no_hedge() -> None:
    rule = FixedHaircut()
    apart = [rule.margin(Book(0.0, (leg,)), market()).im for leg in (option(-1.0, 105.0), Leg("BTC", 0.5))]
    assert rule.margin(Book(0.0, (option(-1.0, 105.0), Leg("BTC", 0.5))), market()).im == pytest.approx(sum(apart))


# ------------------------------------------------------------------ by hand


def test_deribit_grid_of_one_short_call() -> None:
    """+16 % and volatility up at 30 days: 0.6 x 1.5; the roll shock is 1 % of the delta."""
    found = DeribitPm().margin(Book(0.0, (option(-1.0, 110.0),)), market())
    tau = 30 / 365
    before, after = (float(black76.price(f, 110.0, v, tau)) for f, v in ((100.0, 0.6), (116.0, 0.9)))
    delta = float(black76.greeks(100.0, 110.0, 0.6, tau).delta)
    # the extended moves are damped to nothing at this size
    assert found.im == pytest.approx(after - before + 100.0 * 0.01 * delta, rel=1e-12)
    assert found.mm == pytest.approx(0.8 * found.im)
    assert len(found.scenarios) == 35


def test_paradex_scan_of_one_short_put() -> None:
    found = Paradex(fee=0.0).margin(Book(0.0, (option(-1.0, 95.0, is_call=False),)), market())
    tau = 30 / 365
    states = ((100.0, 0.6), (84.0, 0.84), (34.0, 0.84))
    before, near, far = (float(black76.price(f, 95.0, v, tau, 1.0, False)) for f, v in states)
    assert found.scenarios[1].profit == pytest.approx(before - near, rel=1e-12)
    # -66 % at a weight of 16/66 is worse
    assert found.im == pytest.approx((far - before) * 16 / 66, rel=1e-12)
    assert found.mm == pytest.approx(0.5 * found.im)


def test_span_credit_between_underlyings() -> None:
    quotes = market(ETH=Underlying(100.0))
    book = Book(0.0, (Leg("BTC", 1.0), Leg("ETH", -1.0)))
    plain = Span().margin(book, quotes).mm
    assert Span(credits={("BTC", "ETH"): 0.5}).margin(book, quotes).mm == pytest.approx(0.5 * plain)
    same_way = Book(0.0, (Leg("BTC", 1.0), Leg("ETH", 1.0)))
    assert Span(credits={("BTC", "ETH"): 0.5}).margin(same_way, quotes).mm == pytest.approx(plain)


def test_ballast_is_its_own_rule() -> None:
    """16 % of a perpetual's value; the charge on the delta by hand from docs/margin-rule.md."""
    found = Ballast().margin(Book(0.0, (Leg("BTC", -1.0),)), market(50_000.0))
    charge = 50_000.0 * 20 / 10_000 * (1 + 50_000.0 / 50e6)
    assert found.im == pytest.approx(0.16 * 50_000.0 + charge, rel=1e-9)
    assert found.mm == pytest.approx(0.8 * 0.16 * 50_000.0 + charge, rel=1e-9)


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"now": None}, "now"),
        ({"book": {"legs": [{"underlying": "DOGE", "quantity": 1}]}}, "DOGE"),
        ({"book": {"collateral": {"LUNA": 1}}}, "LUNA"),
        ({"book": {"legs": [{"underlying": "BTC", "quantity": 1, "kind": "swap"}]}}, "swap"),
        ({"book": {"legs": [{"underlying": "BTC", "quantity": 1, "kind": "option", "expiry": NOW - 1, "strike": 9}]}},
         "no volatility surface"),
        ({"book": {"legs": [{"underlying": "BTC", "quantity": float("nan")}]}}, "finite"),
        ({"book": {"legs": [{"underlying": "BTC", "size": 1}]}}, "size"),
        ({"book": {"cash": float("nan")}}, "cash of the book is nan"),
        ({"book": {"collateral": {"USDC": -5}}}, "collateral USDC of the book is -5"),
        ({"market": {"underlyings": {"BTC": {"spot": 100, "vol": 80}}}}, "write 0.6 for 60 %"),
        ({"market": {"underlyings": {"BTC": {"spot": 0}}}}, "spot of BTC is 0"),
        ({"market": {"underlyings": {"BTC": {"spot": 100}}, "assets": {"WETH": {"price": 9, "linked": "ETH"}}}},
         "WETH is linked to ETH, which the market does not quote; add ETH"),
        ({"market": {"underlyings": {}, "assets": {"DAI": {"price": float("nan")}}}}, "price of collateral DAI is nan"),
        ({"market": {"underlyings": {}, "assets": {"DAI": {"price": 1, "haircut_im": 10}}}}, "haircuts of DAI are 10"),
        ({"market": {"underlyings": {"BTC": {"spot": 100}}},
          "book": {"legs": [{"underlying": "BTC", "quantity": 1, "kind": "option", "expiry": NOW + 9, "strike": 9}]}},
         "options on BTC, which has no volatility"),
    ],
)  # fmt: skip
def test_bad_cases_name_what_is_wrong(change: dict[str, object], named: str) -> None:
    raw: dict[str, object] = {"now": NOW, "book": {}, "market": {"underlyings": {"BTC": {"spot": 100, "vol": 0.5}}}}
    raw.update(change)
    rule: Methodology = Ballast()
    with pytest.raises(BadInput, match=named):
        rule.margin(*parse_case({key: value for key, value in raw.items() if value is not None}))


def test_the_command_on_a_case_of_ones_own(tmp_path: Path) -> None:
    case = tmp_path / "case.json"
    legs = [{"underlying": "BTC", "quantity": -1, "kind": "option", "expiry": NOW + 30 * 86_400, "strike": 110}]
    quotes = {"underlyings": {"BTC": {"spot": 100, "vol": 0.6}}}
    case.write_text(json.dumps({"now": NOW, "book": {"cash": 5, "legs": legs}, "market": quotes}))
    for name in sorted(METHODOLOGIES):
        done = CliRunner().invoke(app, ["risk", "margin", "--methodology", name, "--case", str(case), "--json"])
        printed = json.loads(done.stdout)
        assert 0.0 < printed["mm"] <= printed["im"]
        assert all(np.isfinite(printed["scenarios"]))
    people = CliRunner().invoke(app, ["risk", "margin", "--methodology", "span", "--case", str(case)])
    assert "extreme up" in people.stdout
    wrong = CliRunner().invoke(app, ["risk", "margin", "--methodology", "simm", "--case", str(case)])
    assert (wrong.exit_code, "choose one of ballast" in wrong.output) == (2, True) or "choose one of" in wrong.output
