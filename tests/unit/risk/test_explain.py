# SPDX-License-Identifier: Apache-2.0
"""Explanations add up to the number they explain, and say which term binds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from risk.explain import explain
from risk.margin import Book, CollateralMarket, Mark, Market, UnderlyingMarket, margin
from risk.table import NODES, RiskRows
from risk.types import CollateralParameters, GlobalParameters, JointScenarios, UnderlyingParameters
from tests.unit.risk.test_margin import Twins

PLAIN = UnderlyingParameters(2_000, 4_000, 2_500, 3_000, 100, 0, 0, 0, 100, 0, 0, 0)
SCALES = GlobalParameters(10_000, 8_000, 10_000, 2_000, 0)
CRASH = JointScenarios(np.array([[-127, -100], [127, 120]], np.int8), np.array([[127, 80], [-50, 0]], np.int8))
PAIR = (UnderlyingMarket("BTC", 100.0, PLAIN), UnderlyingMarket("ETH", 10.0, PLAIN))


def book(perps: list[float], collateral: float = 0.0) -> Book:
    units = np.zeros((1, len(perps), 3))
    units[0, :, 0] = perps
    wide = np.full((1, 1), collateral)
    options = tuple(sparse.csr_array((1, 4)) for _ in perps)
    return Book(np.zeros(1), units, np.zeros((1, len(perps))), wide, 0.0 * wide, options)


COIN = CollateralMarket("WETH", 10.0, CollateralParameters(1_000, 500, 0, 1, 0), linked=1)


def test_joint_scenario_in_words_and_contributions_that_add_up() -> None:
    told = explain(book([3.0, 0.0], collateral=20.0), Market(SCALES, PAIR, (COIN,), CRASH), 0)
    assert told.binding == "joint"
    assert told.scenario == "BTC -20.0 %, vol up; ETH -15.7 %, vol up 63 %"
    # 3 BTC lose 20 % of 300, 20 WETH 100/127 of 20 % of 200.
    assert [line.name for line in told.contributions] == ["BTC perpetual", "WETH collateral"]
    assert [line.profit for line in told.contributions] == pytest.approx([-60.0, -40.0 * 100 / 127])
    assert told.scenario_loss == pytest.approx(float(told.result.market_risk[0]))
    assert [(line.name, line.value, line.counted_im, line.counted_mm) for line in told.collateral] == [
        ("WETH", 200.0, 180.0, 190.0)
    ]


def test_single_underlying_is_explained_by_its_scan_point() -> None:
    line = 100.0 * (1.0 + np.array(NODES) / 60.0)
    values = np.stack([line - 5.0, line, line + 5.0])[None]
    rows = RiskRows(values, np.zeros(1), np.zeros(1), np.zeros(1), 100.0, 1.0 / 60.0, 0.008)
    market = Market(SCALES, (UnderlyingMarket("ETH", 100.0, PLAIN, rows),))
    short = Book(np.zeros(1), np.zeros((1, 1, 3)), np.zeros((1, 1)), np.zeros((1, 0)), np.zeros((1, 0)),
                 (sparse.csr_array((np.array([-2.0]), ([0], [0])), shape=(1, 1)),))  # fmt: skip
    told = explain(short, market, 0)
    assert told.binding == "scan"
    assert told.scenario == "ETH +20.0 %, vol up"
    # 20 on price and 5 on volatility for each of two units, and five eighths of a lane unit.
    assert told.contributions[0].profit == pytest.approx(-50.01)
    assert told.scenario_loss == pytest.approx(float(margin(short, market).market_risk[0]))


@pytest.mark.parametrize(
    ("perps", "joint", "binding"),
    [
        ([1.0, -10.0], CRASH, "offset floor"),
        ([1.0, 0.001], JointScenarios(np.array([[-9, -9]], np.int8), np.zeros((1, 2), np.int8)), "dominant underlying"),
        ([1.0, -10.0], None, "sum of scans"),
        ([0.0, 0.0], CRASH, "none"),
    ],
)
def test_binding_term_is_named(perps: list[float], joint: JointScenarios | None, binding: str) -> None:
    told = explain(book(perps), Market(SCALES, PAIR, (COIN,), joint), 0)
    assert told.binding == binding


def test_an_idle_account_says_so() -> None:
    assert explain(book([0.0, 0.0]), Market(SCALES, PAIR, (COIN,)), 0).scenario == "no position at risk"


def test_futures_are_named_by_their_slot_and_settled_ones_have_no_risk() -> None:
    held = book([0.0, 0.0])
    held.units[0, 0] = [0.0, 2.0, 5.0]
    pair = (replace(PAIR[0], marks=(Mark(), Mark(carry=0.1), Mark(90.0))), PAIR[1])
    told = explain(held, Market(SCALES, pair, (COIN,)), 0)
    assert [(line.name, line.profit) for line in told.contributions] == [("BTC future 254", pytest.approx(-44.0))]
    assert told.scenario_loss == pytest.approx(float(told.result.market_risk[0]))


def test_data_that_are_fresh_say_so() -> None:
    told = explain(book([1.0, 0.0]), Market(SCALES, PAIR, (COIN,)), 0)
    assert [line.words() for line in told.staleness] == ["BTC: data fresh"]
    assert (told.reserve, told.phased_in_risk, told.doubt) == (0.0, 0.0, 0.0)


def test_widening_doubt_and_reserve_name_their_sources() -> None:
    line = 100.0 * (1.0 + np.array(NODES) / 60.0)
    rows = RiskRows(np.broadcast_to(line, (1, 3, 15)).copy(), np.zeros(1), np.zeros(1), np.zeros(1), 100.0, 1.0 / 60.0)
    # read 4.5 steps from its reference price, an hour past its expiry
    item = UnderlyingMarket("ETH", 107.5, replace(PLAIN, widen_bps=500), rows, 1_000, late_bps=1_000)
    held = Book(np.full(1, -9.0), np.zeros((1, 1, 3)), np.zeros((1, 1)), np.zeros((1, 0)), np.zeros((1, 0)),
                (sparse.csr_array((np.array([2.0]), ([0], [0])), shape=(1, 1)),))  # fmt: skip
    market = Market(replace(SCALES, reserve_usd=25), (item,), now=4_600)
    told = explain(held, market, 0)
    (stale,) = told.staleness
    assert (stale.price_late_bps, stale.phased_in_bps) == (1_000, 500)
    assert (stale.page_age_bps, stale.page_distance_bps, stale.widen_bps) == (10_000, 5_000, 11_500)
    assert stale.amount == pytest.approx(1.15 * float(told.result.market_risk[0] + told.result.charges[0]))
    assert stale.words() == (
        "ETH: initial margin 115.0 % wider (phased in 5.0 %, price late 10.0 %, page age 100.0 %); "
        "option value of 215.00 USD lost with its page"
    )
    assert told.reserve == 25.0
    gone = explain(held, replace(market, now=1_000 + 86_401), 0)
    assert gone.doubt == pytest.approx(float(gone.result.doubt[0])) == pytest.approx(gone.staleness[0].doubt)
    assert gone.staleness[0].words().endswith(f"; {gone.doubt:.2f} USD in doubt")
    assert gone.result.equity_mm[0] == pytest.approx(215.0 - 9.0)


def test_rising_offset_floor_is_told_apart() -> None:
    market = Market(replace(SCALES, im_offset_floor_bps=5_000), PAIR, (COIN,), CRASH)
    told = explain(book([1.0, -10.0]), market, 0)
    assert told.binding == "offset floor"
    assert told.phased_in_risk == pytest.approx(0.3 * 40.0)


def test_dead_collateral_shows_its_doubt() -> None:
    told = explain(book([0.0, 0.0], collateral=20.0), Market(SCALES, PAIR, (replace(COIN, dead=True),)), 0)
    (line,) = told.collateral
    assert (line.counted_im, line.counted_mm, line.doubt, line.late_bps) == (0.0, pytest.approx(150.0), 250.0, 10_000)


SOON = 6 * 3_600


def test_a_last_day_is_told_and_the_parts_are_those_of_the_lots_that_count() -> None:
    held = book([0.0, 0.0])
    held.units[0, 0] = [4.0, -4.0, 0.0]
    pair = (replace(PAIR[0], marks=(Mark(), Mark(expiry=SOON), Mark())), PAIR[1])
    told = explain(held, Market(SCALES, pair, (COIN,)), 0)
    # a quarter of the future hedges a quarter of 20 % of 400; a charge of 1 % on the 300 that stand alone
    assert {line.name: line.profit for line in told.contributions} == {
        "BTC perpetual": pytest.approx(-80.0),
        "BTC future 254": pytest.approx(20.0),
    }
    assert told.scenario_loss == pytest.approx(float(told.result.market_risk[0])) == pytest.approx(60.0)
    (line,) = told.last_day
    assert line[1:] == pytest.approx((60.0, 3.0009, 20.0, 1.0007), abs=1e-6)
    assert line.words() == (
        "BTC, contracts in their last day: they count for the part of it that is left: scan 60.00 USD more, "
        "charges 3.00 USD more; initial margin already does without them: scan 20.00 USD more, charges 1.00 USD more"
    )
    assert float(told.result.im[0]) == pytest.approx(80.0 + 4.0016)


def test_a_last_day_that_changes_nothing_says_so_and_none_is_not_told() -> None:
    held = book([0.0, 0.0])
    held.units[0, 0] = [0.0, -4.0, 0.0]
    pair = (replace(PAIR[0], marks=(Mark(), Mark(expiry=SOON), Mark())), PAIR[1])
    (line,) = explain(held, Market(SCALES, pair, (COIN,)), 0).last_day
    assert line.words() == "BTC, contracts in their last day: nothing more is asked for"
    later = (replace(PAIR[0], marks=(Mark(), Mark(expiry=9 * SOON), Mark())), PAIR[1])
    assert explain(held, Market(SCALES, later, (COIN,)), 0).last_day == ()


def test_parts_of_random_accounts_in_their_last_day_add_up() -> None:
    twins = Twins(3, 40)
    held, seen, ending = twins.book(), twins.market(), 0
    for account, state in enumerate(twins.states):
        told = explain(held, seen, account)
        if told.binding in {"scan", "joint"}:
            ending += bool(told.last_day)
            bound = 1e-12 * twins.notional(state)
            assert told.scenario_loss == pytest.approx(float(told.result.market_risk[0]), abs=bound)
    assert ending > 10
