# SPDX-License-Identifier: Apache-2.0
"""Option values and Greeks beyond the stored files: the rest of Haug, py_vollib's other Greeks, QuantLib itself."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from risk.pricing import black76
from tests.support.shared import shared_path
from tests.unit.risk.test_black76 import haug_greeks, rows

# Haug (1998), p. 24: spot 110, strike 100, r = q = 10 %; by type and years, volatilities 15, 25, 35 %
HAUG_SPOT_110 = {
    ("call", 0.1): (9.9413, 10.3556, 11.1381), ("call", 0.5): (10.5769, 12.7857, 15.3086),
    ("put", 0.1): (0.0408, 0.4551, 1.2376), ("put", 0.5): (1.0646, 3.2734, 5.7963),
}  # fmt: skip
# p. 2-8: type, strike, spot, q, r, t, vol, value
HAUG_MORE = (("put", 19, 19, 0.10, 0.10, 0.75, 0.28, 1.7011), ("put", 70, 75, 0.05, 0.10, 0.50, 0.35, 4.0870))


def row(kind: str, strike: float, spot: float, q: float, r: float, t: float, vol: float) -> dict[str, str]:
    return {
        "type": kind,
        **{
            name: repr(float(value))
            for name, value in zip(("strike", "spot", "q", "r", "t", "vol"), (strike, spot, q, r, t, vol), strict=True)
        },
    }


def test_the_rest_of_haugs_values() -> None:
    """The file of 29 and these 14 make the 43 of QuantLib's suite."""
    more = [(*item[:7], item[7]) for item in HAUG_MORE]
    for (kind, years), values in HAUG_SPOT_110.items():
        more += [(kind, 100, 110, 0.1, 0.1, years, vol, v) for vol, v in zip((0.15, 0.25, 0.35), values, strict=True)]
    assert len(more) + len(rows("quantlib_haug_european_values.csv")) == 43
    for *inputs, value in more:
        assert haug_greeks(row(*inputs))["value"] == pytest.approx(value, abs=1e-4), inputs


def test_all_of_haugs_greeks() -> None:
    """The file of 8 and these 3 make the 11 of QuantLib's suite."""
    table = rows("quantlib_haug_european_greeks.csv")
    assert len(table) == 8
    for item in table:
        assert haug_greeks(item)[item["greek"]] == pytest.approx(float(item["value"]), abs=1e-4), item
    put = haug_greeks(row("put", 100, 105, 0.10, 0.10, 0.5, 0.36))
    assert put["delta"] * 105 / put["value"] == pytest.approx(-4.8775, abs=1e-4)
    assert haug_greeks(row("call", 60, 55, 0.0, 0.10, 0.75, 0.30))["vega"] == pytest.approx(18.9358, abs=1e-4)
    theta = haug_greeks(row("put", 405, 430, 0.05, 0.07, 1 / 12, 0.20))["theta"]
    assert theta / 365 == pytest.approx(-0.0855, abs=1e-4)


@pytest.mark.parametrize("side", ["C", "P"])
def test_every_greek_of_py_vollibs_grid(side: str) -> None:
    """Delta, gamma, theta and rho a year, vega: to the digits that are printed."""
    with shared_path("vectors", "py_vollib_bs_grid.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 68
    s, k, r, t, v = (np.array([float(item[key]) for item in table]) for key in ("S", "K", "R", "t", "v"))
    forward, discount, is_call = s * np.exp(r * t), np.exp(-r * t), side == "C"
    g = black76.greeks(forward, k, v, t, discount, is_call)
    ratio = forward / s
    found = {
        "D": g.delta * ratio,
        "G": g.gamma * ratio**2,
        "V": g.vega,
        "T": g.theta - r * s * g.delta * ratio,
        "R": g.rho + t * s * g.delta * ratio,
    }
    for name, values in found.items():
        want = np.array([float(item[side + name]) for item in table])
        assert values == pytest.approx(want, rel=1e-8, abs=1e-6), side + name


def test_quantlib_itself() -> None:
    """Two thousand random options: value, delta and implied volatility of QuantLib's own Black formula."""
    ql = pytest.importorskip("QuantLib", reason="QuantLib is an extra (peers)")
    rng = np.random.default_rng(7)
    n = 2_000
    forward, moneyness = 10 ** rng.uniform(0, 5, n), np.exp(rng.normal(0, 0.4, n))
    strike, vol, tau = forward * moneyness, rng.uniform(0.05, 2.5, n), rng.uniform(1 / 365, 2.0, n)
    discount, is_call = np.exp(-rng.uniform(0, 0.2, n)), rng.random(n) < 0.5
    got = black76.price(forward, strike, vol, tau, discount, is_call)
    kinds = [ql.Option.Call if call else ql.Option.Put for call in is_call]
    total = vol * np.sqrt(tau)
    inputs = list(zip(kinds, strike.tolist(), forward.tolist(), total.tolist(), discount.tolist(), strict=True))
    want = np.array([ql.blackFormula(*item) for item in inputs])
    assert np.abs((got - want) / (forward + strike)).max() < 1e-14
