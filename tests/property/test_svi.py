# SPDX-License-Identifier: Apache-2.0
"""Whatever the smile model's numbers, its slices admit no static arbitrage."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from risk.pricing import svi
from risk.types import SECONDS_PER_DAY, SmileModel, SviSlice

smiles = st.builds(
    SmileModel,
    short_vol=st.floats(0.1, 3.0),
    long_vol=st.floats(0.1, 2.0),
    reversion=st.floats(0.1, 50.0),
    rho=st.floats(-0.9, 0.9),
    eta=st.floats(0.05, 1.05),
)


@given(smiles, st.lists(st.integers(1, 720), min_size=2, max_size=5, unique=True))
def test_smile_slices_have_no_static_arbitrage(smile: SmileModel, days: list[int]) -> None:
    slices = svi.slices_from_smile(smile, [SECONDS_PER_DAY * day for day in days], 0)
    assert not any(svi.has_butterfly_arbitrage(item.svi) for item in slices)
    for near, far in pairwise(slices):
        assert svi.calendar_gap(near.svi, far.svi) >= -1e-12


@given(
    st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(-0.99, 0.99), st.floats(-1.0, 1.0), st.floats(0.01, 2.0),
    st.floats(-3.0, 3.0), st.floats(-3.0, 3.0),
)  # fmt: skip
def test_total_variance_is_convex_and_mirrors(
    a: float, b: float, rho: float, m: float, sigma: float, x: float, y: float
) -> None:
    slice_, mirror = SviSlice(a, b, rho, m, sigma), SviSlice(a, b, -rho, -m, sigma)
    w = svi.total_variance(slice_, [x, 0.5 * (x + y), y])
    assert w[1] <= 0.5 * (w[0] + w[2]) + 1e-12
    assert svi.total_variance(mirror, -x) == pytest.approx(w[0], abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.2, 1.5), st.floats(-0.6, 0.6), st.floats(0.1, 1.2), st.floats(0.02, 1.0))
def test_fit_reproduces_smiles_of_the_model(vol: float, rho: float, eta: float, tau: float) -> None:
    assume(eta * (1 + abs(rho)) < 1.9)
    (item,) = svi.slices_from_smile(SmileModel(vol, vol, 1.0, rho, eta), [round(tau * 365 * SECONDS_PER_DAY)], 0)
    years = item.expiry / (365 * SECONDS_PER_DAY)
    k = np.linspace(-2, 2, 21) * vol * np.sqrt(years)
    fit = svi.fit_slice(k, svi.volatility(item.svi, k, years), years)
    assert fit.rmse < 1e-4 * vol
