# SPDX-License-Identifier: Apache-2.0
"""exp and ln of the contracts against the exact column of five libraries' published vectors."""

from __future__ import annotations

import csv
from decimal import Decimal, localcontext
from typing import Final

import pytest

from tests.support.revm import Contract, Reverted, deploy, new_evm
from tests.support.shared import shared_path

WAD: Final = 10**18
# where the exponential leaves 256 bits, and below which it is zero
EXP_LIMIT: Final = 135_305_999_368_893_231_589
EXP_ZERO: Final = -41_446_531_673_892_822_313
# Measured: 1.0 wad up to e^4, 1.2e-20 of the value beyond; 1.0 for the logarithm.
EXP_ERROR_WAD: Final = 1
EXP_ERROR_RELATIVE: Final = Decimal("2e-20")
LN_ERROR_WAD: Final = 1


@pytest.fixture(scope="module")
def harness() -> Contract:
    return deploy(new_evm(), "contracts/testing/FixedPointHarness.vy")


def vectors(*names: str) -> dict[int, Decimal]:
    """Exact values by argument, over all libraries."""
    with shared_path("vectors", "fixedpoint_exp_ln_cdf_vectors.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["function"] in names and row["exact"]]
    # e^(-2^255) has an exponent that no Decimal holds; `test_beyond_the_domain` takes that argument
    return {int(row["x"]): Decimal(row["exact"]) for row in rows if abs(int(row["x"])) < 2**255}


def test_exp(harness: Contract) -> None:
    exact = {x: value for x, value in vectors("exp", "wad_exp", "expWad").items() if x < EXP_LIMIT}
    assert len(exact) == 45
    found = dict(zip(exact, harness.call("exp", list(exact)), strict=True))
    with localcontext() as context:
        context.prec = 100
        for x, value in exact.items():
            assert abs(found[x] - value) <= EXP_ERROR_WAD + EXP_ERROR_RELATIVE * value, x


def test_ln(harness: Contract) -> None:
    exact = {x: value for x, value in vectors("ln", "wad_ln", "lnWad").items() if x > 0}
    assert len(exact) == 27
    found = dict(zip(exact, harness.call("ln", list(exact)), strict=True))
    for x, value in exact.items():
        assert abs(found[x] - value) <= LN_ERROR_WAD, x


def test_beyond_the_domain(harness: Contract) -> None:
    """A result that 256 bits cannot hold reverts; one below half a wad is zero."""
    assert harness.call("exp", [EXP_ZERO, -(2**255)]) == (0, 0)
    for function, argument in (("exp", EXP_LIMIT), ("exp", 2**255 - 1)):
        with pytest.raises(Reverted):
            harness.call(function, [argument])
