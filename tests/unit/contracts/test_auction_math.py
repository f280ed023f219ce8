# SPDX-License-Identifier: Apache-2.0
"""auction_math against worked numbers, exact fractions, and the auction vectors of a live protocol.

The vectors (shared data, read in place) come from a Dutch auction with the same shape. Their signs and names: BM is
the buffer margin, a balance that is negative below target, so ``target - equity_mm = -BM``; d is the fraction of value
paid, so ``price = (MtM - R) d`` for the portfolio without the cash R that earlier bids brought in, and R is worth
R. Hence their ``f = BM / (BM - MtM d - R (1 - d))`` is ours at ``price = (MtM - R) d + R``.
"""

from __future__ import annotations

import json
from fractions import Fraction
from math import ceil, floor
from typing import Any, Final

import boa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.shared import shared_path

WAD: Final = 10**18
DEFAULT: Final = (100, 2_000, 10_000, 900, 43_200)
VECTORS: Final = ("vectors", "derive_other", "integration-tests__liquidation__liquidationTests.json")
VECTOR_CLOCK: Final = (200, 2_000, 10_000, 100, 14_400)  # 0.98 to 0.8 in 100 s, to 0 in 4 h
VECTOR_BUFFER_BPS: Final = 2_000


@pytest.fixture(scope="module")
def auction_math() -> Any:
    return boa.load("contracts/testing/AuctionMathHarness.vy")


# ------------------------------------------------------------------ discount


@pytest.mark.parametrize(
    "elapsed_s,discount",
    [
        (0, Fraction(1, 100)),
        (450, Fraction(105, 1_000)),
        (899, Fraction(1, 100) + Fraction(19, 100) * Fraction(899, 900)),
        (900, Fraction(20, 100)),
        (900 + 21_600, Fraction(60, 100)),
        (900 + 43_199, Fraction(20, 100) + Fraction(80, 100) * Fraction(43_199, 43_200)),
        (900 + 43_200, Fraction(1)),
        (10**9, Fraction(1)),
    ],
)
def test_discount(auction_math: Any, elapsed_s: int, discount: Fraction) -> None:
    assert auction_math.discount_wad(elapsed_s, *DEFAULT) == floor(discount * WAD)


def test_discount_never_falls(auction_math: Any) -> None:
    times = sorted((*range(880, 920), *range(0, 50_000, 997), 44_100))
    values = [auction_math.discount_wad(elapsed_s, *DEFAULT) for elapsed_s in times]
    assert values == sorted(values)


# ------------------------------------------------------------------ price and fraction


def test_price_rounds_for_the_account(auction_math: Any) -> None:
    assert auction_math.price_wad(1_000 * WAD, WAD // 10) == 900 * WAD
    assert auction_math.price_wad(3, WAD // 2) == 2  # 1.5 up
    assert auction_math.price_wad(1, WAD - 1) == 1
    assert auction_math.price_wad(10**30, WAD) == 0


def test_max_fraction_worked_example(auction_math: Any) -> None:
    # equity 60, MM 100, buffer 15 %: 55 missing; sold at 54 for the whole: f = 55 / 109
    target = auction_math.buffered(100 * WAD, 1_500)
    assert target == 115 * WAD
    assert auction_math.max_fraction(60 * WAD, target, 54 * WAD, 0) == ceil(Fraction(55, 109) * WAD)


@pytest.mark.parametrize(
    "equity_mm,target,price,fraction",
    [
        (115, 115, 50, 0),  # nothing missing
        (200, 115, 50, 0),
        (0, 0, 0, 0),
        (114, 115, 0, WAD),  # sold for nothing: all of it
        (-5, 0, 5, WAD // 2),
        (114, 115, 10**40, 1),  # rounds up to the least fraction
    ],
)
def test_max_fraction_edges(auction_math: Any, equity_mm: int, target: int, price: int, fraction: int) -> None:
    assert auction_math.max_fraction(equity_mm, target, price, 0) == fraction


def test_buffered_rounds_against_the_account(auction_math: Any) -> None:
    assert auction_math.buffered(1, 1) == 2
    assert auction_math.buffered(0, 5_000) == 0


AMOUNT: Final = st.integers(0, 2**140)


@settings(max_examples=100, deadline=None)
@given(missing=st.integers(1, 2**140), equity_mm=st.integers(-(2**140), 2**140), price=AMOUNT)
def test_max_fraction_reaches_the_target_and_no_more(
    auction_math: Any, missing: int, equity_mm: int, price: int
) -> None:
    fraction = auction_math.max_fraction(equity_mm, equity_mm + missing, price, 0)
    assert 0 < fraction <= WAD

    def left(f: int) -> int:
        return (WAD - f) * -missing + f * price  # what is above target afterwards, times 1e18

    assert left(fraction) >= 0
    assert left(fraction - 1) < 0


def test_what_does_not_shrink_is_part_of_the_target_of_any_rest(auction_math: Any) -> None:
    # equity 60, target 115 of which 15 stay whatever is sold, price 54: left (1-f)60 + 54f = (1-f)100 + 15
    fraction = auction_math.max_fraction(60 * WAD, 115 * WAD, 54 * WAD, 15 * WAD)
    assert fraction == ceil(Fraction(55, 94) * WAD)
    left = (1 - Fraction(fraction, WAD)) * 60 + Fraction(fraction, WAD) * 54
    assert 0 <= left - (1 - Fraction(fraction, WAD)) * 100 - 15 < Fraction(1, 10**15)


@pytest.mark.parametrize("price,fixed", [(15, 15), (0, 15), (14, 15)])
def test_a_price_that_does_not_pay_for_the_fixed_part_sells_all(auction_math: Any, price: int, fixed: int) -> None:
    assert auction_math.max_fraction(60, 115, price, fixed) == WAD
    assert auction_math.max_fraction(60, 115, fixed + 1, fixed) < WAD


# ------------------------------------------------------------------ size and reward of legs


@pytest.mark.parametrize(
    "equity_mark,equity_mm,mm,size",
    [(100, 80, 30, 50), (100, 100, 30, 30), (-5, -5, 30, 30), (-5, -25, 30, 50), (0, 0, 0, 0), (10, 11, 30, 30)],
)
def test_size_is_mm_and_haircuts(auction_math: Any, equity_mark: int, equity_mm: int, mm: int, size: int) -> None:
    assert auction_math.size(equity_mark, equity_mm, mm) == size


def test_reward_of_legs_is_that_of_a_slice_by_the_unit_of_relief(auction_math: Any) -> None:
    # a tenth of the size relieved, equity 900, discount 20 %: as a bid for a tenth, 18
    assert auction_math.legs_reward_wad(10 * WAD, 100 * WAD, 900 * WAD, WAD // 5) == 18 * WAD
    assert auction_math.legs_reward_wad(10, 3, 1, WAD) == 3  # 3.33 down
    assert auction_math.legs_reward_wad(10, 3, 2, WAD // 2 - 1) == 0  # the gain is rounded down first
    assert auction_math.legs_reward_wad(0, 3, 10**30, WAD) == 0


# ------------------------------------------------------------------ dust


@pytest.mark.parametrize(
    "fraction,mm,minimum,result",
    [
        (WAD // 2, 200, 100, WAD // 2),  # 100 left is enough
        (WAD // 2, 199, 100, WAD),
        (WAD // 2, 100, 101, WAD),
        (WAD, 100, 100, WAD),
        (1, 0, 100, WAD),  # a debt without positions
        (1, 10**30, 100, 1),
    ],
)
def test_dust_is_taken_whole(auction_math: Any, fraction: int, mm: int, minimum: int, result: int) -> None:
    assert auction_math.whole_if_dust(fraction, mm, minimum) == result


# ------------------------------------------------------------------ insolvent payout


@pytest.mark.parametrize(
    "equity_mark,mm,elapsed_s,payout",
    [
        (-30, 100, 0, 30),  # covers the loss: the bidder takes an account worth zero
        (-30, 100, 1_800, 80),
        (-30, 100, 3_600, 130),
        (-30, 100, 10**9, 130),
        (0, 100, 0, 0),
        (0, 100, 900, 25),
        (40, 100, 3_600, 60),  # unsold though solvent: up to equity of MM for the bidder
        (100, 100, 3_600, 0),
        (150, 100, 3_600, 0),
        (-30, 0, 3_600, 30),
        (-1, 1, 3_599, 1),  # the reward rounds down
    ],
)
def test_payout(auction_math: Any, equity_mark: int, mm: int, elapsed_s: int, payout: int) -> None:
    assert auction_math.payout_wad(equity_mark, mm, elapsed_s, 3_600) == payout


# ------------------------------------------------------------------ a peer's vectors


def solvent_actions() -> list[tuple[dict[str, Any], int, int]]:
    """(results, time, cash that earlier bids brought) of the vectors' solvent auctions."""
    cases = json.loads(shared_path(*VECTORS).read_text())
    actions = []
    for name in ("Test1", "Test2", "Test3", "Test4", "Test5", "Test6"):
        reserved = 0
        for action in cases[name]["Actions"]:
            actions.append((action["Results"], action["Time"], reserved))
            reserved += action["Results"]["ExpectedBidPrice"]
    return actions


def close(ours: int, theirs: int) -> bool:
    # the vectors are float numbers times 1e18: 15 digits
    return abs(ours - theirs) <= abs(theirs) * 1e-12


def test_fraction_and_price_are_a_peers(auction_math: Any) -> None:
    actions = solvent_actions()
    assert len(actions) == 10
    for results, elapsed_s, reserved in actions:
        mark, mm = results["PreMtM"], results["PreMtM"] - results["PreMM"]  # their MM is a balance: equity - MM
        target = auction_math.buffered(mm, VECTOR_BUFFER_BPS)
        assert close(mark - target, results["PreBM"])

        discount = auction_math.discount_wad(elapsed_s, *VECTOR_CLOCK)
        sold = auction_math.price_wad(mark - reserved, discount)
        fraction = auction_math.max_fraction(mark, target, sold + reserved, 0)
        assert close(fraction, results["PreFMax"])

        taken = min(fraction, results["fLiquidatedOfOriginal"]) if reserved else results["FinalPercentageReceived"]
        assert close(sold * taken // WAD, results["ExpectedBidPrice"])
