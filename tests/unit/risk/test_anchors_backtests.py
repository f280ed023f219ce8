# SPDX-License-Identifier: Apache-2.0
"""More published numbers of VaR, ES and their backtests: Kupiec, Basel, Jorion, MathWorks, ORE, Prisma."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.special import bdtr, bdtrc, ndtri

from risk import measures
from risk.coverage import accepted_breaches, acerbi_szekely, kupiec, shortfall_critical, traffic_light
from tests.support.shared import shared_path


def vectors() -> dict[str, Any]:
    return dict(json.loads(shared_path("vectors", "var_backtest_vectors.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("observations", "rate", "above", "below"),
    [(255, 0.025, 2, 12), (510, 0.025, 6, 21), (1000, 0.025, 15, 36),
     (255, 0.075, 11, 28), (510, 0.075, 27, 51), (1000, 0.075, 59, 92)],
)  # fmt: skip
def test_the_other_columns_of_kupiecs_table(observations: int, rate: float, above: int, below: int) -> None:
    """Open intervals, as Kupiec (1995) prints them."""
    low, high = accepted_breaches(observations, rate)
    assert (low - 1, high + 1) == (above, below)


def test_basel_table_2() -> None:
    """Cumulative probabilities of the 1996 document, and the zones cut at 95 and 99.99 %."""
    table = vectors()["basel_table2"]
    for breaches, percent in table["cumulative_pct_up_to_k"].items():
        assert 100 * bdtr(int(breaches), table["n"], table["p"]) == pytest.approx(percent, abs=0.005)
    green, yellow = table["zones"]["green"], table["zones"]["yellow"]
    for count, zone in ((green[1], "green"), (yellow[0], "yellow"), (yellow[1], "yellow"), (yellow[1] + 1, "red")):
        assert traffic_light(table["n"], count, table["p"]) == zone


def test_jorions_errors_of_both_kinds() -> None:
    want = vectors()["jorion"]
    assert 100 * bdtrc(4, 250, 0.01) == pytest.approx(want["type1_pct"], abs=0.05)
    assert 100 * bdtr(4, 250, 0.03) == pytest.approx(want["type2_pct"], abs=0.05)
    assert traffic_light(250, 4) == "green" != traffic_light(250, 5)


def test_traffic_lights_of_mathworks() -> None:
    want, other = vectors()["mathworks"], vectors()["mathworks_tl2"]
    light = want["traffic_light"]
    assert traffic_light(want["observations"], want["failures"], 1 - want["var_level"]) == light["zone"]
    assert bdtr(want["failures"], want["observations"], 0.05) == pytest.approx(light["Probability"], abs=5e-6)
    assert bdtrc(want["failures"] - 1, want["observations"], 0.05) == pytest.approx(light["TypeI"], abs=5e-6)
    zone = traffic_light(other["observations"], other["exceptions"], round(1 - other["var_level"], 9))
    assert ["green", "yellow", "red"].index(zone) + 1 == other["zone"]


@pytest.mark.parametrize(
    ("degrees", "size", "want", "tolerance"),
    [(5.0, 0.01, -1.10, 0.05), (10.0, 0.01, -1.06, 0.05), (np.inf, 1e-4, -1.83, 0.15), (5.0, 0.05, -0.73, 0.02)],
)
def test_acerbi_szekely_critical_values(degrees: float, size: float, want: float, tolerance: float) -> None:
    """T = 250, tail 2.5 %: 200,000 paths of another program; the paper prints -0.70 and -1.8 for 5 % and 0.01 %."""
    found = shortfall_critical(250, 0.025, size, 30_000, np.random.default_rng(3), degrees)
    assert found == pytest.approx(want, abs=tolerance)


def test_unconditional_t_of_mathworks() -> None:
    """N = 1966, tail 2.5 %, t with 3 degrees: 1 % critical value -0.42986, and Z2 = -0.38265 has p = 0.018566."""
    rng = np.random.default_rng(4)
    assert shortfall_critical(1_966, 0.025, 0.01, 6_000, rng, 3.0) == pytest.approx(-0.42986, abs=0.03)
    assert shortfall_critical(1_966, 0.025, 0.018566, 6_000, rng, 3.0) == pytest.approx(-0.38265, abs=0.03)


def test_z_scores_worked_by_hand() -> None:
    """Four days, ES 2: losses of 3 and 1.5 breach a VaR of 1; Z1 = -4.5/2/2 + 1, Z2 = -4.5/2/(4 x 0.25) + 1."""
    found = acerbi_szekely([-3.0, -1.5, 0.5, 2.0], [1.0] * 4, [2.0] * 4, 0.25)
    assert found == pytest.approx((-0.125, -1.25))


def test_kupiec_rejects_where_it_should() -> None:
    """The negative beside the positive: 57 of 1,043 is compatible with 5 %, not with 1 % or 10 %."""
    assert not kupiec(1_043, 57, 0.05).rejected()
    assert kupiec(1_043, 57, 0.01).rejected() and kupiec(1_043, 57, 0.10).rejected()


@pytest.mark.parametrize("name", ["negative_gamma_chi2", "case002"])
def test_full_revaluation_meets_ores_exact_delta_gamma_quantiles(name: str) -> None:
    """A position of gamma alone: profit ``gamma s^2 z^2 / 2``. No delta-gamma VaR is shipped: revaluation is full.

    Profits at two million midpoints of the normal law: the grid errs by one part in ten thousand near its middle.
    """
    data = json.loads(shared_path("vectors", "ore_deltagammavar_vectors.json").read_text(encoding="utf-8"))
    case = next(item for item in data["cases"] if item["name"] == name)
    z = ndtri((np.arange(2_000_000) + 0.5) / 2_000_000)
    profit = 0.5 * case["gamma"][0][0] * case["omega"][0][0] * z * z
    # ORE states the quantile of the profit at p, a gain when positive
    quantile = measures.value_at_risk(-profit, case["p"])
    assert quantile == pytest.approx(case["exact"], rel=2e-4)


@pytest.mark.parametrize(("low", "factor"), [(0.95, 1.92945), (0.90, 2.77253)])
def test_prismas_tail_scaling(low: float, factor: float) -> None:
    """Eurex Prisma scales a low quantile to 99 % by Student t with 3 degrees."""
    assert measures.student_var(3.0, 0.99) / measures.student_var(3.0, low) == pytest.approx(factor, abs=5e-6)
