# SPDX-License-Identifier: Apache-2.0
"""The replay's auction arithmetic against the contract's own integers, and against numbers by hand."""

from __future__ import annotations

from typing import Any

import boa
import numpy as np
import pytest

from risk.errors import BadInput
from risk.replay.auction import account_size, discount, max_fraction, payout, taken_fraction
from risk.replay.settings import AuctionTerms
from tests.support.shared import ROOT

WAD = 10**18
TERMS = AuctionTerms()
CLOCK = (100, 2_000, 10_000, 900, 43_200)
RELATIVE = 1e-9


@pytest.fixture(scope="module")
def contract() -> Any:
    return boa.load("contracts/testing/AuctionMathHarness.vy")


def test_defaults_are_the_contracts() -> None:
    text = (ROOT / "contracts/modules/auction_terms.vy").read_text(encoding="utf-8")
    for line in (
        "start_bps=100",
        "fast_bps=2_000",
        "slow_bps=10_000",
        "fast_s=15 * _MINUTE",
        "slow_s=_DAY // 2",
        "insolvent_s=60 * _MINUTE",
        "target_buffer_bps=1_500",
        "end_buffer_bps=1_000",
        "min_slice_wad=100 * c.WAD",
        "tick_s=15 * _MINUTE",
    ):
        assert line in text
    assert (TERMS.start, TERMS.fast, TERMS.slow, TERMS.fast_s, TERMS.slow_s) == (0.01, 0.2, 1.0, 900.0, 43_200.0)
    assert (TERMS.insolvent_s, TERMS.target_buffer, TERMS.end_buffer) == (3_600.0, 0.15, 0.10)
    assert (TERMS.min_slice_usd, TERMS.tick_s) == (100.0, 900.0)


@pytest.mark.parametrize("seconds", [0, 1, 450, 899, 900, 901, 22_500, 44_099, 44_100, 10**6])
def test_discount_is_the_contracts(contract: Any, seconds: int) -> None:
    ours = float(discount(np.array([float(seconds)]), TERMS)[0])
    assert ours == pytest.approx(contract.discount_wad(seconds, *CLOCK) / WAD, rel=RELATIVE)


@pytest.mark.parametrize("seed", range(20))
def test_fraction_and_payout_are_the_contracts(contract: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mm, equity_mm = (int(v * 1e6) * WAD // 1_000 for v in rng.uniform(0.1, 5.0, 2))
    equity_mark, fixed = equity_mm + int(rng.integers(0, 10**6)) * WAD, 28 * WAD
    price = contract.price_wad(equity_mark, contract.discount_wad(700, *CLOCK))
    target = contract.buffered(mm, 1_500)
    theirs = contract.max_fraction(equity_mm, target, price, fixed) / WAD
    usd = [np.array([v / WAD]) for v in (equity_mm, target, price)]
    assert float(max_fraction(*usd, fixed / WAD)[0]) == pytest.approx(theirs, rel=RELATIVE, abs=1e-15)
    size = contract.size(equity_mark, equity_mm, mm)
    ours = account_size(*(np.array([v / WAD]) for v in (equity_mark, equity_mm, mm)))
    assert float(ours[0]) == pytest.approx(size / WAD, rel=RELATIVE)
    for equity in (-mm // 3, mm // 5, 2 * size):
        paid = payout(np.array([equity / WAD]), np.array([size / WAD]), np.array([1_234.0]), TERMS)
        assert float(paid[0]) == pytest.approx(contract.payout_wad(equity, size, 1_234, 3_600) / WAD, rel=RELATIVE)


def test_slices_as_the_contract_takes_them(contract: Any) -> None:
    size, cap = np.array([1_000.0, 1_000.0, 150.0]), np.array([0.5, 0.95, 0.5])
    fraction, allowed = taken_fraction(np.array([1.0, 1.0, 0.1]), cap, size, TERMS)
    assert fraction.tolist() == [0.5, 1.0, 0.1] and allowed.tolist() == [True, True, False]
    for wanted, whole in ((0.5, 0.5), (0.95, 1.0)):
        assert contract.whole_if_dust(int(wanted * 1e6) * 10**12, 1_000 * WAD, 100 * WAD) / WAD == whole


@pytest.mark.parametrize(
    "wrong",
    [{"start": 0.3}, {"slow": 1.1}, {"fast_s": 0.0}, {"end_buffer": 0.15}, {"target_buffer": 0.9}],
)
def test_terms_that_the_contract_would_refuse(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        AuctionTerms(**wrong)
