# SPDX-License-Identifier: Apache-2.0
"""svi and vol_shock against sixty digits, the float model, and smiles that others published."""

from __future__ import annotations

import json
from decimal import Decimal
from math import log, sqrt
from typing import Final

import numpy as np
import pytest

from risk.table import shocked_volatilities, tenor_scale
from tests.support.pricing_exact import total_deviation
from tests.support.revm import Contract, deploy, new_evm
from tests.support.shared import shared_path

WAD: Final = 10**18
DAY: Final = 86_400
YEAR: Final = 365 * DAY
MAX_DEVIATION: Final = 100 * WAD


@pytest.fixture(scope="module")
def harness() -> Contract:
    return deploy(new_evm(), "contracts/testing/PricingHarness.vy")


def test_variance_of_a_smile_within_its_bound(harness: Contract) -> None:
    """Two roots and the products lose at most 1e-17 of variance for b <= 1 and |k| <= 4. Measured: 5.3e-18."""
    rng = np.random.default_rng(30)
    for _ in range(800):
        a, b, rho, m, sigma = rng.uniform([-0.01, 0.0, -1.0, -1.0, 0.0], [0.5, 1.0, 1.0, 1.0, 1.0])
        smile = tuple(int(item * 1e18) for item in (a, b, rho, m, sigma))
        k = int(rng.uniform(-3.0, 3.0) * 1e18)
        exact = total_deviation(k, (smile[0], smile[1], smile[2], smile[3], smile[4]))
        found = harness.call("total_deviation", k, smile)
        assert abs(found - exact) * max(exact, WAD // 10**6) <= 10 * WAD, (k, smile)


def test_published_smiles(harness: Contract) -> None:
    """A live protocol's own tests of its on-chain SVI, relative tolerance 1e-9 for their printed digits."""
    data = json.loads(shared_path("vectors", "derive_utils_black76_svi.json").read_text(encoding="utf-8"))
    smiles = [item for item in data["svi"] if "vols" in item]
    assert len(smiles) == 3
    for item in smiles:
        smile = [int(item[name] * 1e18) for name in ("a", "b", "rho", "m", "sigma")]
        for strike, vol in zip(item["strikes"], item["vols"], strict=True):
            found = harness.call("total_deviation", int(log(strike / item["fwd"]) * 1e18), smile) / WAD
            assert found / sqrt(item["tau"]) == pytest.approx(vol, rel=1e-9)


@pytest.mark.parametrize(
    "smile,k,expected",
    [
        ((-WAD, 0, 0, 0, 0), 0, 0),  # negative variance counts as none
        ((WAD // 4, 0, 0, 0, 0), 5 * WAD, WAD // 2),  # flat
        ((0, WAD, WAD, 0, 0), 2 * WAD, 2 * WAD),  # steepest legal wing
        ((0, WAD, WAD, 0, 0), -2 * WAD, 0),  # and its flat side
        ((0, WAD, 0, -WAD, 0), 3 * WAD, 2 * WAD),  # vertex at m, a kink without sigma
    ],
)
def test_limits_of_a_smile(harness: Contract, smile: tuple[int, ...], k: int, expected: int) -> None:
    assert harness.call("total_deviation", k, smile) == expected


@pytest.mark.parametrize("time_s", [1, 60, DAY - 1, DAY, 7 * DAY, 30 * DAY, 730 * DAY, 2**40 - 1])
@pytest.mark.parametrize("power_bps", [0, 1, 3_000, 5_000, 10_000, 65_535])
def test_tenor_scale(harness: Contract, time_s: int, power_bps: int) -> None:
    found = harness.call("tenor_scale", time_s, power_bps) / WAD
    expected = float(tenor_scale(np.array([time_s / DAY]), power_bps / 10_000)[()][0])
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-17)


def test_tenor_scale_is_one_at_thirty_days(harness: Contract) -> None:
    assert harness.call("tenor_scale", 30 * DAY, 3_000) == WAD
    assert harness.call("tenor_scale", 7 * DAY, 0) == WAD


@pytest.mark.parametrize("vol", [0.0, 0.001, 0.0101, 0.6, 5.0])
@pytest.mark.parametrize("time_s", [60, 7 * DAY, 730 * DAY])
@pytest.mark.parametrize("shock", [(0, 0, 0), (4_000, 2_500, 3_000), (15_000, 9_000, 10_000), (65_535, 65_535, 10_000)])
def test_shocked_deviations_are_those_of_the_float_model(
    harness: Contract, vol: float, time_s: int, shock: tuple[int, int, int]
) -> None:
    """Floor of one per cent on each state; a shock of more than everything ends at the floor too."""
    up, down, power = (item / 10_000 for item in shock)
    root = sqrt(time_s / YEAR)
    found = harness.call("total_deviations", int(vol * root * 1e18), time_s, *shock)
    expected = shocked_volatilities(np.array([vol]), np.array([time_s / DAY]), up, down, power)[0] * root
    for one, other in zip(found, expected, strict=True):
        assert one / WAD == pytest.approx(min(other, 100.0), rel=1e-11, abs=1e-15)


def test_a_deviation_is_capped_where_no_price_moves_any_more(harness: Contract) -> None:
    """At the cap a call is worth its discounted forward to the wad of both N, however far the strike."""
    assert harness.call("total_deviations", 2**89, DAY, 65_535, 0, 65_535) == (MAX_DEVIATION,) * 3
    for strike in (1, WAD, 2**90 - 1):
        assert harness.call("value", True, 100 * WAD, strike, MAX_DEVIATION, WAD) == 100 * WAD
        assert harness.call("value", False, 100 * WAD, strike, MAX_DEVIATION, WAD) == strike


def test_sixty_digit_anchor_itself() -> None:
    """The anchor against a smile done by hand: w = 0.04 + 0.4 * (-0.2 * 0.3 + 0.5)."""
    smile = (4 * WAD // 100, 4 * WAD // 10, -2 * WAD // 10, 0, 4 * WAD // 10)
    assert abs(total_deviation(3 * WAD // 10, smile) / WAD - Decimal("0.216").sqrt()) < Decimal("1e-30")
