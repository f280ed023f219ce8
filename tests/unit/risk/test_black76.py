# SPDX-License-Identifier: Apache-2.0
"""Black-76 against published tables: Haug (through QuantLib's suite), py_vollib's grid, a contract's 18-digit cases."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from risk.errors import BadInput
from risk.pricing import black76
from tests.support.shared import shared_path

UINT128_MAX = (2**128 - 1) / 1e18


def rows(name: str) -> list[dict[str, str]]:
    with shared_path("vectors", name).open(newline="") as file:
        return list(csv.DictReader(file))


def carry(row: dict[str, str]) -> dict[str, float]:
    """Generalised Black-Scholes inputs with the forward and discount factor that Black-76 takes."""
    spot, r, q, t = (float(row[key]) for key in ("spot", "r", "q", "t"))
    return {
        "spot": spot,
        "forward": spot * np.exp((r - q) * t),
        "discount": float(np.exp(-r * t)),
        "r": r,
        "q": q,
        "t": t,
        "strike": float(row["strike"]),
        "vol": float(row["vol"]),
    }


def haug_greeks(row: dict[str, str]) -> dict[str, float]:
    x = carry(row)
    is_call = row["type"] == "call"
    args = (x["forward"], x["strike"], x["vol"], x["t"], x["discount"], is_call)
    g = black76.greeks(*args)
    ratio, value = x["forward"] / x["spot"], float(black76.price(*args))
    delta = float(g.delta) * ratio
    return {
        "delta": delta,
        "gamma": float(g.gamma) * ratio**2,
        "vega": float(g.vega),
        # Calendar time also rolls the forward towards spot at r - q.
        "theta": float(g.theta) - (x["r"] - x["q"]) * x["spot"] * delta,
        "rho": float(g.rho) + x["t"] * x["spot"] * delta,
        "dividendRho": -x["t"] * x["spot"] * delta,
        "value": value,
    }


def test_haug_values() -> None:
    table = rows("quantlib_haug_european_values.csv")
    assert len(table) >= 29
    for row in table:
        x = carry(row)
        got = black76.price(x["forward"], x["strike"], x["vol"], x["t"], x["discount"], row["type"] == "call")
        assert got == pytest.approx(float(row["value"]), abs=float(row["tol"])), row


def test_haug_greeks() -> None:
    table = rows("quantlib_haug_european_greeks.csv")
    checked = 0
    for row in table:
        got = haug_greeks(row)
        if row["greek"] in got:
            assert got[row["greek"]] == pytest.approx(float(row["value"]), abs=1e-4), row
            checked += 1
    assert checked >= 8


def test_py_vollib_grid() -> None:
    table = rows("py_vollib_bs_grid.csv")
    assert len(table) >= 68
    s, k, r, t, v = (np.array([float(row[key]) for row in table]) for key in ("S", "K", "R", "t", "v"))
    forward, discount = s * np.exp(r * t), np.exp(-r * t)
    calls, puts = (black76.price(forward, k, v, t, discount, call) for call in (True, False))
    assert calls == pytest.approx([float(row["bs_call"]) for row in table], abs=5e-7)
    assert puts == pytest.approx([float(row["bs_put"]) for row in table], abs=5e-7)
    # The far tail keeps its relative accuracy: the first value is 2e-26.
    assert calls[0] == pytest.approx(float(table[0]["call_vals"]), rel=1e-8)
    g = black76.greeks(forward, k, v, t, discount, True)
    assert g.delta * forward / s == pytest.approx([float(row["CD"]) for row in table], abs=1e-6)
    assert g.gamma * (forward / s) ** 2 == pytest.approx([float(row["CG"]) for row in table], abs=1e-6)


def _amount(text: str | float) -> float:
    special = {"1 wei": 1e-18, "uint128max wei": UINT128_MAX, "uint128max*1e-18": UINT128_MAX}
    return special.get(str(text)) or float(text)


def test_contract_cases_including_extremes() -> None:
    cases = json.loads(shared_path("vectors", "derive_utils_black76_svi.json").read_text())["black76"]
    assert len(cases) == 9
    for case in cases:
        tau = case["time_to_expiry_sec"] / (365 * 86_400)
        args = (_amount(case["fwd"]), _amount(case["strike"]), case["vol"], tau, case["discount"])
        for side in ("call", "put"):
            got = float(black76.price(*args, side == "call"))
            assert got == pytest.approx(_amount(case[side]), rel=1e-11, abs=1e-12), (case, side)
        delta = float(black76.greeks(*args, True).delta)
        assert delta == pytest.approx(float(case["undiscounted_call_delta"]) * case["discount"], abs=1e-9), case


@pytest.mark.parametrize(
    ("forward", "strike", "vol", "tau", "call", "put"),
    [
        (120.0, 100.0, 0.0, 1.0, 18.0, 0.0),
        (80.0, 100.0, 0.7, 0.0, 0.0, 18.0),
        (100.0, 100.0, 0.0, 0.0, 0.0, 0.0),
        (0.0, 100.0, 0.7, 1.0, 0.0, 90.0),
        (100.0, 0.0, 0.7, 1.0, 90.0, 0.0),
        (0.0, 0.0, 0.7, 1.0, 0.0, 0.0),
    ],
)
def test_limits_are_discounted_intrinsic_values(
    forward: float, strike: float, vol: float, tau: float, call: float, put: float
) -> None:
    assert float(black76.price(forward, strike, vol, tau, 0.9, True)) == pytest.approx(call)
    assert float(black76.price(forward, strike, vol, tau, 0.9, False)) == pytest.approx(put)
    g = black76.greeks(forward, strike, vol, tau, 0.9, True)
    assert np.isfinite([g.delta, g.gamma, g.vega, g.theta, g.rho]).all()


def test_limits_inside_a_large_array_leave_its_neighbours_alone() -> None:
    forward = np.full(40_000, 100.0)
    vol = np.full(40_000, 0.5)
    vol[::7] = 0.0
    got = black76.price(forward, 100.0, vol, 1.0)
    assert (got[::7] == 0.0).all()
    assert got[1::7] == pytest.approx(float(black76.price(100.0, 100.0, 0.5, 1.0)))


@pytest.mark.parametrize(
    ("position", "name"), [(0, "forward"), (1, "strike"), (2, "volatility"), (3, "tau"), (4, "discount")]
)
@pytest.mark.parametrize("bad", [-1e-9, np.nan, np.inf])
def test_unusable_inputs_are_refused_by_name(position: int, name: str, bad: float) -> None:
    args: list[object] = [100.0, 100.0, 0.5, 1.0, 1.0]
    args[position] = np.array([0.5, bad])
    with pytest.raises(BadInput, match=name):
        black76.price(*args)
    with pytest.raises(BadInput, match=name):
        black76.greeks(*args)


def test_threads_do_not_change_a_bit() -> None:
    rng = np.random.default_rng(1)
    forward, vol = rng.uniform(50, 150, 100_003), rng.uniform(0.1, 2, 100_003)
    call = rng.random(100_003) < 0.5
    one = black76.price(forward, 100.0, vol, 0.3, 0.99, call)
    assert np.array_equal(one, black76.price(forward, 100.0, vol, 0.3, 0.99, call, threads=2))
    pieces = [float(black76.price(forward[i], 100.0, vol[i], 0.3, 0.99, call[i])) for i in range(0, 100_003, 9_001)]
    assert one[::9_001] == pytest.approx(pieces, rel=1e-13)


def test_broadcasting_gives_the_shape_of_the_grid() -> None:
    got = black76.price(np.array([90.0, 110.0]), np.array([[95.0], [100.0], [105.0]]), 0.5, 0.2)
    assert got.shape == (3, 2)
    assert got[2, 1] == black76.price(110.0, 105.0, 0.5, 0.2)


@pytest.mark.parametrize(
    ("greek", "index", "step", "tolerance"),
    [("delta", 0, 1e-3, 1e-7), ("vega", 2, 1e-5, 1e-5), ("theta", 3, 1e-6, 1e-4)],
)
@pytest.mark.parametrize("is_call", [True, False])
def test_greeks_are_slopes_of_the_price(greek: str, index: int, step: float, tolerance: float, is_call: bool) -> None:
    rate = 0.04

    def value(bump: float) -> float:
        args = [105.0, 100.0, 0.6, 0.25]
        args[index] += bump
        return float(black76.price(*args, np.exp(-rate * args[3]), is_call))

    slope = (value(step) - value(-step)) / (2 * step)
    g = black76.greeks(105.0, 100.0, 0.6, 0.25, np.exp(-rate * 0.25), is_call)
    sign = -1.0 if greek == "theta" else 1.0
    assert float(getattr(g, greek)) == pytest.approx(sign * slope, abs=tolerance)


def test_implied_volatility_of_quotes_without_one_is_nan() -> None:
    with np.errstate(all="raise"):
        got = black76.implied_volatility([0.0, 10.0, 100.0, 120.0, 5.0], [100.0, 110.0, 100.0, 100.0, 100.0], 100.0,
                                         [1.0, 1.0, 1.0, 1.0, 0.0])  # fmt: skip
    assert np.isnan(got).all()
    with pytest.raises(BadInput, match="value"):
        black76.implied_volatility(-1.0, 100.0, 100.0, 1.0)


def test_implied_volatility_of_haug_values() -> None:
    for row in rows("quantlib_haug_european_values.csv"):
        x = carry(row)
        args = (x["forward"], x["strike"], x["t"], x["discount"], row["type"] == "call")
        price = black76.price(x["forward"], x["strike"], x["vol"], x["t"], x["discount"], row["type"] == "call")
        assert black76.implied_volatility(price, *args) == pytest.approx(x["vol"], rel=1e-9)
