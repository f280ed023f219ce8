# SPDX-License-Identifier: Apache-2.0
"""normal_cdf against sixty-digit sums, scipy, and vectors that others published."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

import numpy as np
import pytest
from scipy.special import ndtr

from tests.support.pricing_exact import normal_cdf
from tests.support.revm import Contract, deploy, new_evm
from tests.support.shared import shared_path

WAD: Final = 10**18
# Measured: 1.2. Truncation of exp and of the last quotient are below one each.
CDF_ERROR_WAD: Final = 2
BATCH: Final = 250


@pytest.fixture(scope="module")
def harness() -> Contract:
    return deploy(new_evm(), "contracts/testing/PricingHarness.vy")


def evaluated(harness: Contract, xs: Sequence[int]) -> Iterator[tuple[int, int]]:
    for start in range(0, len(xs), BATCH):
        batch = xs[start : start + BATCH]
        yield from zip(batch, harness.call("cdf", batch), strict=True)


def test_within_two_wads_of_sixty_digits(harness: Contract) -> None:
    """Random points, and both sides of zero and of the borders where the far tails start."""
    random = [int(x * 1e18) for x in np.random.default_rng(20).uniform(-10.0, 10.0, 1_500)]
    borders = [sign * (at + step) for at in (0, 9 * WAD) for step in (-1, 0, 1) for sign in (-1, 1)]
    for x, found in evaluated(harness, random + borders):
        assert abs(found - normal_cdf(Decimal(x) / WAD) * WAD) <= CDF_ERROR_WAD, x


def test_within_1e_15_of_scipy(harness: Contract) -> None:
    """On a grid of a hundredth over [-10, 10]; scipy itself is good to 2e-16 near one."""
    xs = [k * WAD // 100 for k in range(-1_000, 1_001)]
    for x, found in evaluated(harness, xs):
        assert abs(found / WAD - ndtr(x / WAD)) <= 1e-15, x


def test_published_vectors(harness: Contract) -> None:
    """The exact column of two other fixed-point libraries' test vectors."""
    path = shared_path("vectors", "fixedpoint_exp_ln_cdf_vectors.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["function"] in ("cdf", "stdNormalCDF")]
    assert len(rows) == 21
    exact = {int(row["x"]): Decimal(row["exact"]) for row in rows}
    for x, found in evaluated(harness, list(exact)):
        assert abs(found - exact[x]) <= CDF_ERROR_WAD, x


def test_symmetric_and_rising(harness: Contract) -> None:
    """N(x) + N(-x) is one to the wad, and steps of a thousandth never fall."""
    xs = [k * WAD // 1_000 for k in range(-9_498, 9_501, 5)]
    found = [value for _, value in evaluated(harness, xs)]
    assert all(low <= high for low, high in pairwise(found))
    mirrored = [value for _, value in evaluated(harness, [-x for x in xs])]
    assert all(a + b == WAD for a, b in zip(found, mirrored, strict=True))


@pytest.mark.parametrize(
    "x,expected", [(2**255 - 1, WAD), (-(2**255), 0), (10**30, WAD), (-(10**30), 0), (7 * 2**125, WAD)]
)
def test_any_argument_has_an_answer(harness: Contract, x: int, expected: int) -> None:
    """The last one's square is negative in 256 bits."""
    assert harness.call("cdf", [x]) == (expected,)
