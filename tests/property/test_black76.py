# SPDX-License-Identifier: Apache-2.0
"""What no-arbitrage says about every Black-76 price."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from risk.pricing import black76

prices = st.floats(0.01, 1e6)
vols = st.floats(0.0, 5.0)
taus = st.floats(0.0, 3.0)
discounts = st.floats(0.5, 1.1)


@given(prices, prices, vols, taus, discounts)
def test_put_call_parity(forward: float, strike: float, vol: float, tau: float, discount: float) -> None:
    call = float(black76.price(forward, strike, vol, tau, discount, True))
    put = float(black76.price(forward, strike, vol, tau, discount, False))
    assert call - put == pytest.approx(discount * (forward - strike), abs=1e-12 * (forward + strike))


@given(prices, prices, vols, taus, discounts, st.booleans())
def test_price_lies_between_intrinsic_and_its_maximum(
    forward: float, strike: float, vol: float, tau: float, discount: float, is_call: bool
) -> None:
    value = float(black76.price(forward, strike, vol, tau, discount, is_call))
    intrinsic = max(forward - strike if is_call else strike - forward, 0.0)
    hair = 1e-12 * (forward + strike)
    assert discount * intrinsic - hair <= value <= discount * (forward if is_call else strike) + hair


@given(prices, prices, vols, st.floats(0.0, 2.0), taus, st.booleans())
def test_price_rises_with_volatility(
    forward: float, strike: float, vol: float, more: float, tau: float, is_call: bool
) -> None:
    low, high = black76.price(forward, strike, [vol, vol + more], tau, 1.0, is_call)
    assert high >= low - 1e-12 * (forward + strike)


@given(prices, vols, taus, st.lists(prices, min_size=3, max_size=3, unique=True))
def test_call_is_decreasing_and_convex_in_strike(forward: float, vol: float, tau: float, strikes: list[float]) -> None:
    k = np.sort(strikes)
    assume(k[1] - k[0] > 1e-3 * k[1])
    assume(k[2] - k[1] > 1e-3 * k[2])
    c = black76.price(forward, k, vol, tau)
    hair = 1e-12 * (forward + k[2])
    assert c[0] >= c[1] - hair
    assert c[1] >= c[2] - hair
    weight = (k[2] - k[1]) / (k[2] - k[0])
    assert c[1] <= weight * c[0] + (1 - weight) * c[2] + hair


@given(prices, prices, vols, taus, st.floats(0.1, 1000.0))
def test_price_scales_with_the_currency(forward: float, strike: float, vol: float, tau: float, scale: float) -> None:
    value = float(black76.price(forward, strike, vol, tau))
    scaled = float(black76.price(scale * forward, scale * strike, vol, tau))
    assert scaled == pytest.approx(scale * value, rel=1e-9, abs=1e-12 * scale * (forward + strike))


@given(st.floats(-1.5, 1.5), st.floats(0.05, 3.0), st.floats(0.002, 2.0), st.booleans())
def test_implied_volatility_inverts_the_price(k: float, vol: float, tau: float, is_call: bool) -> None:
    strike = 100.0 * float(np.exp(k))
    value = float(black76.price(100.0, strike, vol, tau, 0.97, is_call))
    # The price must carry the time value with enough digits for the volatility to be readable from it at all.
    intrinsic = max(100.0 - strike if is_call else strike - 100.0, 0.0) * 0.97
    assume(value - intrinsic > 1e-6)
    ceiling = 0.97 * (100.0 if is_call else strike)
    assume(ceiling - value > 1e-6)
    found = float(black76.implied_volatility(value, 100.0, strike, tau, 0.97, is_call))
    back = float(black76.price(100.0, strike, found, tau, 0.97, is_call))
    assert back == pytest.approx(value, abs=1e-11 * (100.0 + strike))
    assert found == pytest.approx(vol, rel=1e-4)
