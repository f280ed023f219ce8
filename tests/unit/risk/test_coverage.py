# SPDX-License-Identifier: Apache-2.0
"""Backtest statistics against published examples and tables."""

from __future__ import annotations

import json
from math import comb
from typing import Any

import numpy as np
import pytest

from risk.coverage import (
    accepted_breaches,
    acerbi_szekely,
    adaptive_rate,
    conditional_coverage,
    independence,
    kupiec,
    procyclicality,
    shortfall_critical,
    traffic_light,
    transitions,
)
from risk.errors import BadInput
from risk.measures import student_es, student_var
from tests.support.shared import shared_path


def vectors() -> dict[str, Any]:
    return dict(json.loads(shared_path("vectors", "var_backtest_vectors.json").read_text()))


def test_kupiec_and_christoffersen_of_mathworks() -> None:
    want = vectors()["mathworks"]
    pof = kupiec(want["observations"], want["failures"], 1.0 - want["var_level"])
    ind = independence([[want["N00"], want["N01"]], [want["N10"], want["N11"]]])
    both = conditional_coverage(pof, ind)
    assert pof == pytest.approx((want["LRatioPOF"], want["PValuePOF"]), abs=5e-6)
    assert ind == pytest.approx((want["LRatioCCI"], want["PValueCCI"]), abs=5e-6)
    assert both == pytest.approx((want["LRatioCC"], want["PValueCC"]), abs=5e-6)


def test_a_sequence_of_hits() -> None:
    want = vectors()["hit_sequence"]
    hits = np.zeros(want["n"], dtype=bool)
    hits[want["hits_at_zero_based_index"]] = True
    pof, ind = kupiec(want["n"], int(hits.sum()), want["p"]), independence(transitions(hits))
    assert pof == pytest.approx((want["LR_pof"], want["p_pof"]), rel=1e-7)
    assert ind.statistic == pytest.approx(want["LR_ind"], rel=1e-12)
    both = conditional_coverage(pof, ind)
    assert both == pytest.approx((want["LR_cc"], want["p_cc"]), rel=1e-9)
    assert both.rejected() and not pof.rejected()


@pytest.mark.parametrize(
    ("observations", "rate", "low", "high"),
    [
        (255, 0.01, 0, 6), (510, 0.01, 2, 10), (1000, 0.01, 5, 16),
        (255, 0.05, 7, 20), (510, 0.05, 17, 35), (1000, 0.05, 38, 64),
        (255, 0.10, 17, 35), (510, 0.10, 39, 64), (1000, 0.10, 82, 119),
        (365, 0.01, 1, 7), (730, 0.01, 3, 13), (1095, 0.01, 6, 18),
    ],
)  # fmt: skip
def test_kupiecs_table(observations: int, rate: float, low: int, high: int) -> None:
    """Kupiec (1995), table 2, with its open intervals closed; the last row for markets that never close."""
    found = accepted_breaches(observations, rate)
    # at 255 days and 1 % no breach at all is rejected by the ratio (p = 0.0236), though the table starts at 0
    assert found == ((1, 6) if (observations, rate) == (255, 0.01) else (low, high))


def test_basel_zones() -> None:
    table = vectors()["basel_table2"]
    zones = [traffic_light(table["n"], k, table["p"]) for k in range(12)]
    assert zones == ["green"] * 5 + ["yellow"] * 5 + ["red"] * 2
    other = vectors()["cfrm17"]
    zones = [traffic_light(other["n"], k, other["p"]) for k in range(16)]
    assert (zones.index("yellow"), zones.index("red")) == (other["yellow_start"], other["red_start"])


@pytest.mark.parametrize(
    ("degrees", "size", "want"),
    [(3.0, 0.05, -0.81), (5.0, 0.05, -0.73), (10.0, 0.05, -0.71), (np.inf, 0.05, -0.70),
     (3.0, 0.01, -1.32), (np.inf, 0.01, -1.04)],
)  # fmt: skip
def test_critical_values_of_z2(degrees: float, size: float, want: float) -> None:
    """T = 250, tail 2.5 %; the paper's table has -0.70 and the simulation of others the rest."""
    found = shortfall_critical(250, 0.025, size, 40_000, np.random.default_rng(1), degrees)
    assert found == pytest.approx(want, abs=0.04)


def test_z_scores_of_a_right_and_a_low_forecast() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_t(5.0, 200_000)
    var, es = student_var(5.0, 0.975), student_es(5.0, 0.975)
    z1, z2 = acerbi_szekely(x, np.full(x.size, var), np.full(x.size, es), 0.025)
    assert (z1, z2) == pytest.approx((0.0, 0.0), abs=0.03)
    low = acerbi_szekely(x, np.full(x.size, 0.7 * var), np.full(x.size, 0.7 * es), 0.025)
    assert low[1] < -0.7
    assert np.isnan(acerbi_szekely([1.0], [1.0], [1.0], 0.1)[0])


def test_procyclicality_sees_a_slow_rise_and_a_fast_one() -> None:
    series = np.r_[np.full(50, 1.0), np.linspace(1.0, 2.0, 31), np.full(5, 2.0), 1.0, 3.0]
    found = procyclicality(series)
    assert (found.peak_to_trough, found.rise_1d, found.rise_30d) == pytest.approx((3.0, 2.0, 2.0))
    slow = procyclicality(np.linspace(1.0, 2.0, 31))
    assert (slow.rise_1d, slow.rise_5d, slow.rise_30d) == pytest.approx((1 / 30, 5 / 30, 1.0))


def test_adaptive_rate_drifts_with_the_error() -> None:
    quiet, loud = adaptive_rate(np.zeros(365), 0.01), adaptive_rate(np.r_[np.ones(20), np.zeros(345)], 0.01)
    assert quiet[-1] == pytest.approx(0.01 + 365 * 0.01 * 0.01)
    assert quiet[-1] - loud[-1] == pytest.approx(20 * 0.01)


@pytest.mark.parametrize("call", [
    lambda: kupiec(0, 0, 0.01), lambda: kupiec(10, 11, 0.01), lambda: kupiec(10, 1, 1.0),
    lambda: transitions([0, 2]), lambda: procyclicality([1.0, 0.0]), lambda: acerbi_szekely([1.0], [1.0], [0.0], 0.1),
])  # fmt: skip
def test_nonsense_is_refused(call: Any) -> None:
    with pytest.raises(BadInput):
        call()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_shortfall_test_refuses_what_is_no_number(place: int) -> None:
    # Unnoticed, a profit or VaR of nan never breaches: Z2 was +1, the best there is.
    values = [[-3.0, 1.0, 1.0, 1.0], [1.0] * 4, [2.0] * 4]
    assert acerbi_szekely(*values, 0.25)[1] == pytest.approx(-0.5)  # type: ignore[arg-type]
    values[place][0] = float("nan")
    with pytest.raises(BadInput, match="must be finite"):
        acerbi_szekely(*values, 0.25)  # type: ignore[arg-type]


@pytest.mark.parametrize(("observations", "breaches"), [(250, 300), (250, -1), (0, 0)])
def test_impossible_counts_have_no_light(observations: int, breaches: int) -> None:
    with pytest.raises(BadInput, match="breaches of"):
        traffic_light(observations, breaches)


def test_green_is_due_less_often_than_the_name_of_its_bound() -> None:
    # 365 days at 1 %: green up to 6, yellow up to 12 breaches, by the binomial law itself.
    law = [comb(365, x) * 0.01**x * 0.99 ** (365 - x) for x in range(366)]
    share = {zone: sum(p for x, p in enumerate(law) if traffic_light(365, x) == zone) for zone in ("green", "yellow")}
    assert (round(share["green"], 4), round(share["yellow"], 4)) == (0.9235, 0.0764)


def test_other_unusable_input_is_refused() -> None:
    for counts in ([[-1, 2], [3, 4]], [[1, 2, 3], [1, 2, 3]], [[float("nan"), 1], [1, 1]]):
        with pytest.raises(BadInput, match="four counts"):
            independence(counts)
    with pytest.raises(BadInput, match="positive series"):
        procyclicality([1.0, float("inf")])
    with pytest.raises(BadInput, match="rate of 5"):
        adaptive_rate([0, 1], 5.0)
    with pytest.raises(BadInput, match="0 observations"):
        shortfall_critical(0, 0.01, 0.05, 10, np.random.default_rng(1))
