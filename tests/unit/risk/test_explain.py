# SPDX-License-Identifier: Apache-2.0
"""Explanations add up to the number they explain, and say which term binds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from risk.explain import explain
from risk.margin import Book, CollateralMarket, Market, UnderlyingMarket, margin
from risk.table import NODES, RiskRows
from risk.types import CollateralParameters, GlobalParameters, JointScenarios, UnderlyingParameters

PLAIN = UnderlyingParameters(2_000, 4_000, 2_500, 3_000, 100, 0, 0, 0, 100, 0)
SCALES = GlobalParameters(10_000, 8_000, 10_000, 2_000)
CRASH = JointScenarios(np.array([[-127, -100], [127, 120]], np.int8), np.array([[127, 80], [-50, 0]], np.int8))
PAIR = (UnderlyingMarket("BTC", 100.0, PLAIN), UnderlyingMarket("ETH", 10.0, PLAIN))


def book(perps: list[float], collateral: float = 0.0) -> Book:
    units = np.array([perps])
    wide = np.full((1, 1), collateral)
    options = tuple(sparse.csr_array((1, 4)) for _ in perps)
    return Book(np.zeros(1), units, 0.0 * units, 0.0 * units, wide, 0.0 * wide, options)


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
    one = np.zeros((1, 1))
    short = Book(np.zeros(1), one, one, one, np.zeros((1, 0)), np.zeros((1, 0)),
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
