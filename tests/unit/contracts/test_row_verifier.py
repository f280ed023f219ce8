# SPDX-License-Identifier: Apache-2.0
"""RowVerifier against risk/table.py, lane by lane, and against publishers who would rather not be verified."""

from __future__ import annotations

from dataclasses import astuple, fields, replace
from itertools import product
from typing import Any, Final

import numpy as np
import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.publish.tables import surface_tuple
from risk.types import SurfaceSlice, SviSlice
from tests.support.pricing_rows import (
    DAY,
    DELTA,
    NO_LANE,
    NOW,
    SHORT_MINIMUM,
    TAIL,
    WAD,
    Inputs,
    Listed,
    Row,
    lanes_of,
    parameters,
    random_inputs,
    row_bytes,
    with_lane,
)
from tests.support.revm import CALLER, GAS, Contract, deploy, new_evm

LANE_MAX: Final = 2**16 - 1
TAIL_MAX: Final = 2**11 - 1
MAX_PRICE: Final = 2**90 - 1
# What passes every honest row; a tail of almost zero is 0 in one program and 2 in the other, which the verifier allows.
TOLERANCE: Final = 1
PASSES: Final = (False, 0, 0, 0)
UNPRICEABLE: Final = (True, NO_LANE, 0, 0)
PAGES: Final = 400
# One row with its 21,000 and calldata, of the 450,000 that a challenge may cost.
GAS_LIMIT: Final = 280_000
WEEK: Final = surface_tuple(SurfaceSlice(NOW + 7 * DAY, 1.01, 0.999, SviSlice(0.01, 0.01, -0.2, 0.0, 0.1)))


@pytest.fixture(scope="module")
def verifier() -> Contract:
    return deploy(new_evm(), "contracts/RowVerifier.vy")


def pack(words: tuple[int, int, int]) -> bytes:
    return b"".join(word.to_bytes(32, "big") for word in words)


def honest(verifier: Contract, row: Row) -> bytes:
    """The row's bytes as the verifier itself prices them."""
    return pack(verifier.call("lanes", row.abi()))


def mismatch(verifier: Contract, row: Row, published: bytes, tolerance: int = TOLERANCE) -> Any:
    return verifier.call("mismatch", row.abi(), published, tolerance)


def inputs(*options: Listed, price: int = 1_500 * WAD, **lanes: int) -> Inputs:
    return Inputs(price, parameters(**lanes), options, (WEEK,))


# ------------------------------------------------------------------ the same as risk/table.py


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_random_pages(verifier: Contract, seed: int) -> None:
    """Four options on each page of any scale, smile, tenor and shock: values and headers within their bounds.

    Measured over 3.6 million values and 80,000 headers of each kind: values and minimum equal, delta one less on
    chain where it is below a wad and not zero, tail 0 for 2 likewise (and 2 for 0 by float noise).
    """
    rng = np.random.default_rng(seed)
    for _ in range(PAGES // 4):
        case = random_inputs(rng)
        page = case.page()
        for slot in range(len(case.options)):
            row, published = case.row(page, slot), row_bytes(page, slot)
            difference = np.subtract(lanes_of(verifier.call("lanes", row.abi())), lanes_of(published))
            assert abs(difference[TAIL]) <= 2, row
            difference[TAIL] = 0
            assert abs(difference).max() <= 1, row
            assert verifier.call("is_sane", row.abi())
            assert mismatch(verifier, row, published) == PASSES, row


@pytest.mark.parametrize("is_call", [True, False])
@pytest.mark.parametrize("strike", [900, 1_500, 2_100])
@pytest.mark.parametrize("expiry,settled", [(NOW - DAY, 0), (NOW, 0), (NOW - DAY, 1_400), (NOW, 1_600)])
def test_expired_options(verifier: Contract, is_call: bool, strike: int, expiry: int, settled: int) -> None:
    """Settled: the payoff on each node and no header. Not settled: intrinsic at each node with all three headers."""
    case = inputs(Listed(is_call, strike * WAD, expiry, settled * WAD))
    page = case.page()
    lanes = lanes_of(verifier.call("lanes", case.row(page, 0).abi()))
    difference = np.subtract(lanes, lanes_of(row_bytes(page, 0)))
    assert abs(difference[TAIL]) <= 2
    assert not np.delete(difference, TAIL).any()
    assert bool(lanes[SHORT_MINIMUM]) == (settled == 0)
    # with its kink inside the grid, a payoff has no tail
    assert settled or bool(lanes[TAIL] & TAIL_MAX) == (strike != 1_500)
    assert lanes[TAIL] >> 11 == (settled == 0)
    if settled:
        assert lanes[SHORT_MINIMUM] == lanes[DELTA] == lanes[TAIL] == 0
        assert len(set(np.delete(lanes, [SHORT_MINIMUM, DELTA, TAIL]))) == 1


@pytest.mark.parametrize("is_call", [True, False])
def test_nodes_at_a_price_of_zero(verifier: Contract, is_call: bool) -> None:
    """A scan range of 90 % puts the outermost node below zero: a call is worth nothing there, a put its strike."""
    case = inputs(Listed(is_call, 1_500 * WAD, NOW + 7 * DAY), scan_bps=9_000)
    page = case.page()
    lanes = lanes_of(verifier.call("lanes", case.row(page, 0).abi()))
    assert lanes == lanes_of(row_bytes(page, 0))
    discounted_strike = round(1_500 * WAD * WEEK[2] / WAD / page.lane_unit_wad)
    assert lanes[0] == (0 if is_call else discounted_strike)


def test_a_slot_without_an_option_has_a_zero_row(verifier: Contract) -> None:
    """Whatever the header says; a row that is not zero there is wrong."""
    for row in (Row(expiry=0, strike_wad=0), Row(expiry=0, lane_unit_wad=0, step_e9=2**255)):
        assert verifier.call("lanes", row.abi()) == (0, 0, 0)
        assert verifier.call("is_sane", row.abi())
        assert mismatch(verifier, row, bytes(96)) == PASSES
        assert mismatch(verifier, row, with_lane(bytes(96), 3, 9)) == (True, 3, 0, 9)


# ------------------------------------------------------------------ what a wrong row looks like


@pytest.mark.parametrize("lane", range(48))
def test_each_lane_is_compared(verifier: Contract, lane: int) -> None:
    """The tolerance passes both ways and one more does not; the tail has one more to give."""
    row = Row()
    published = honest(verifier, row)
    expected = lanes_of(published)[lane]
    extra = int(lane == TAIL)
    for sign in (-1, 1):
        last = expected + sign * (TOLERANCE + extra)
        if 0 <= last <= LANE_MAX:
            assert mismatch(verifier, row, with_lane(published, lane, last)) == PASSES
        if 0 <= last + sign <= LANE_MAX:
            found = mismatch(verifier, row, with_lane(published, lane, last + sign))
            assert found == (True, lane, expected, last + sign)


def test_the_lane_furthest_off_is_named(verifier: Contract) -> None:
    row = Row()
    published = honest(verifier, row)
    lanes = lanes_of(published)
    for lane, off in ((2, 5), (20, 9), (40, 7), (TAIL, 9)):
        published = with_lane(published, lane, lanes[lane] + off)
    assert mismatch(verifier, row, published) == (True, 20, lanes[20], lanes[20] + 9)
    assert mismatch(verifier, row, published, 8) == (True, 20, lanes[20], lanes[20] + 9)
    assert mismatch(verifier, row, published, 9) == PASSES
    assert mismatch(verifier, row, published, 2**256 - 1) == PASSES


def test_no_tolerance_is_exact(verifier: Contract) -> None:
    row = Row()
    published = honest(verifier, row)
    assert mismatch(verifier, row, published, 0) == PASSES
    lanes = lanes_of(published)
    assert mismatch(verifier, row, with_lane(published, 8, lanes[8] + 1), 0) == (True, 8, lanes[8], lanes[8] + 1)


@pytest.mark.parametrize("changed", [
    {"is_call": False}, {"strike_wad": 1_510 * WAD}, {"expiry": NOW + 8 * DAY}, {"observed_at": NOW + DAY},
    {"reference_price_wad": 1_501 * WAD}, {"lane_unit_wad": WAD // 41}, {"step_e9": 20_500_000},
    {"vol_up_bps": 4_100}, {"vol_down_bps": 2_600}, {"vol_power_bps": 3_100}, {"short_min_bps": 101},
    {"forward_ratio_wad": WAD * 1_001 // 1_000}, {"discount_wad": WAD * 999 // 1_000}, {"a_wad": WAD * 11 // 1_000},
    {"b_wad": WAD * 12 // 1_000},
    {"rho_wad": -WAD // 4}, {"m_wad": WAD // 20}, {"sigma_wad": WAD // 8},
])  # fmt: skip
def test_every_input_matters(verifier: Contract, changed: dict[str, Any]) -> None:
    """A row priced from one input changed a little is wrong."""
    row = Row(strike_wad=1_600 * WAD)
    published = honest(verifier, row)
    assert mismatch(verifier, row, published) == PASSES
    assert mismatch(verifier, replace(row, **changed), published)[0]


# ------------------------------------------------------------------ publishers who would rather not be verified


NONSENSE: Final = [
    {"reference_price_wad": 0}, {"reference_price_wad": MAX_PRICE + 1}, {"lane_unit_wad": 0}, {"lane_unit_wad": 2**96},
    {"step_e9": 0}, {"step_e9": 75_000_001}, {"strike_wad": 0}, {"strike_wad": MAX_PRICE + 1}, {"expiry": 2**40},
    {"settled_price_wad": MAX_PRICE + 1}, {"vol_up_bps": 2**16}, {"vol_down_bps": 2**16}, {"vol_power_bps": 2**16},
    {"short_min_bps": 2**16}, {"forward_ratio_wad": 0}, {"forward_ratio_wad": WAD // 100 - 1},
    {"forward_ratio_wad": 100 * WAD + 1}, {"discount_wad": 0}, {"discount_wad": WAD // 100 - 1},
    {"discount_wad": 2 * WAD + 1}, {"a_wad": 10**24 + 1}, {"a_wad": -(10**24) - 1}, {"b_wad": -1},
    {"b_wad": 10**24 + 1}, {"rho_wad": WAD + 1}, {"rho_wad": -WAD - 1}, {"m_wad": 10**24 + 1}, {"m_wad": -(10**24) - 1},
    {"sigma_wad": -1},
    {"sigma_wad": 10**24 + 1},
]  # fmt: skip


@pytest.mark.parametrize("changed", NONSENSE)
def test_nonsense_is_wrong_and_never_reverts(verifier: Contract, changed: dict[str, Any]) -> None:
    """Whatever row goes with it, even the zero words that lanes() answers."""
    row = replace(Row(), **changed)
    assert not verifier.call("is_sane", row.abi())
    assert verifier.call("lanes", row.abi()) == (0, 0, 0)
    for published in (bytes(96), b"\xff" * 96, honest(verifier, Row())):
        assert mismatch(verifier, row, published, 2**256 - 1) == UNPRICEABLE


SURFACE_FIELDS: Final = ("forward_ratio_wad", "discount_wad", "a_wad", "b_wad", "rho_wad", "m_wad", "sigma_wad")


@pytest.mark.parametrize("changed", [item for item in NONSENSE if next(iter(item)) in SURFACE_FIELDS])
@pytest.mark.parametrize("settled", [0, 1_600 * WAD])
def test_the_surface_of_an_expired_option_is_not_read(
    verifier: Contract, changed: dict[str, Any], settled: int
) -> None:
    row = Row(expiry=NOW, settled_price_wad=settled)
    odd = replace(row, **changed)
    assert verifier.call("is_sane", odd.abi())
    assert mismatch(verifier, odd, honest(verifier, row), 0) == PASSES


@pytest.mark.parametrize("length", [0, 1, 32, 64, 95])
def test_a_short_row_is_wrong(verifier: Contract, length: int) -> None:
    assert mismatch(verifier, Row(), honest(verifier, Row())[:length]) == UNPRICEABLE


def test_a_lane_unit_too_small_is_no_disguise(verifier: Contract) -> None:
    """With a unit of one wad each lane would be full, whatever the option is worth: full lanes are wrong then."""
    row = Row(lane_unit_wad=1)
    published = honest(verifier, row)
    assert max(lanes_of(published)) == LANE_MAX
    wrong, lane, expected, found = mismatch(verifier, row, published)
    assert wrong and expected > LANE_MAX and found == lanes_of(published)[lane]


def test_the_smallest_lane_unit_passes(verifier: Contract) -> None:
    """The packing's own choice fills the largest lane to the brim without leaving the tolerance."""
    case = inputs(Listed(True, 1_500 * WAD, NOW + 7 * DAY), Listed(False, 4_000 * WAD, NOW + 7 * DAY))
    page = case.page()
    rows = [row_bytes(page, slot) for slot in range(2)]
    assert max(lane for row in rows for lane in lanes_of(row)) >= LANE_MAX - 1
    assert all(mismatch(verifier, case.row(page, slot), rows[slot]) == PASSES for slot in range(2))


def test_a_full_tail_lane_gets_no_lane_more(verifier: Contract) -> None:
    """Of a call far out of the money the tail is the largest number, and its lane the last one there is."""
    case = inputs(Listed(True, 15_000 * WAD, NOW + 7 * DAY), short_min_bps=0)
    page = case.page()
    published = row_bytes(page, 0)
    assert lanes_of(published)[TAIL] == TAIL_MAX
    assert mismatch(verifier, case.row(page, 0), published) == PASSES
    assert mismatch(verifier, case.row(page, 0), with_lane(published, TAIL, 9)) == (True, TAIL, TAIL_MAX, 9)


@pytest.mark.parametrize(("hours", "said"), [(0, 1), (1, 2), (30, 31), (31, 0)])
def test_the_hour_of_the_expiry_must_be_exact(verifier: Contract, hours: int, said: int) -> None:
    """A publisher who says a later hour, or none, would let a contract hedge until it ends."""
    row = Row(observed_at=NOW + 1_800, expiry=NOW + 1_800 if hours == 0 else NOW + 3_600 * hours)
    published = honest(verifier, row)
    lane = lanes_of(published)[TAIL]
    assert lane >> 11 == said
    assert mismatch(verifier, row, published, 0) == PASSES
    for lie in {0, 1, 31, (said + 1) % 32} - {said}:
        found = mismatch(verifier, row, with_lane(published, TAIL, int(lane) & TAIL_MAX | lie << 11), 65_535)
        assert found == (True, TAIL, said << 11, lie << 11)


def test_a_settlement_does_not_reach_back(verifier: Contract) -> None:
    """A row observed before its expiry cannot have been settled: a later settlement makes no honest row wrong."""
    before = Row(settled_price_wad=0)
    after = replace(before, settled_price_wad=1_900 * WAD)
    published = honest(verifier, before)
    assert mismatch(verifier, after, published, 0) == PASSES
    at_expiry = replace(after, observed_at=after.expiry)
    assert mismatch(verifier, at_expiry, published)[0]
    assert lanes_of(honest(verifier, at_expiry))[7] == round(400 * WAD / after.lane_unit_wad)


EXTREMES: Final = {
    "strike_wad": (1, MAX_PRICE), "expiry": (NOW + 1, 2**40 - 1), "reference_price_wad": (1, MAX_PRICE),
    "lane_unit_wad": (1, 2**96 - 1), "step_e9": (1, 66_666_666, 75_000_000),
    "forward_ratio_wad": (WAD // 100, 100 * WAD), "discount_wad": (2 * WAD,), "shocks": (0, 2**16 - 1),
}  # fmt: skip
SMILES: Final = [
    (0, 0, 0, 0, 0), (-(10**24), 0, 0, 0, 0), (10**24, 10**24, WAD, -(10**24), 10**24),
    (10**24, 10**24, -WAD, 10**24, 10**24), (-(10**24), 10**24, WAD, 10**24, 0), (1, 0, 0, 0, 0), (0, 1, 0, 0, 1),
]  # fmt: skip


@pytest.mark.parametrize("smile", SMILES)
@pytest.mark.parametrize("is_call", [True, False])
def test_the_corners_of_what_is_sane_have_an_answer(
    verifier: Contract, smile: tuple[int, int, int, int, int], is_call: bool
) -> None:
    """Every product in the pricing at its largest and every divisor at its smallest: no revert."""
    for strike, expiry, price, unit, step, ratio, discount, shock in product(*EXTREMES.values()):
        row = Row(
            is_call, strike, expiry, 0, NOW, price, unit, step, shock, shock, shock, shock, ratio, discount, *smile
        )
        assert verifier.call("is_sane", row.abi())
        mismatch(verifier, row, bytes(96))


def any_field(name: str) -> st.SearchStrategy[int]:
    """Any word the ABI takes, often one near the value that a good row has or a bound of the type."""
    usual = getattr(Row(), name)
    signed = name in ("a_wad", "b_wad", "rho_wad", "m_wad", "sigma_wad")
    low, high = (-(2**255), 2**255 - 1) if signed else (0, 2**256 - 1)
    near = st.integers(-WAD if signed else 0, 2 * abs(usual) + WAD)
    return st.one_of(st.just(usual), near, st.sampled_from([low, 0, 1, high]), st.integers(low, high))


ANY_ROW: Final = st.builds(
    Row, is_call=st.booleans(), **{item.name: any_field(item.name) for item in fields(Row) if item.name != "is_call"}
)


def sane_field(name: str) -> st.SearchStrategy[int]:
    """The whole range that is_sane() admits."""
    lowest, highest = SANE_RANGES[name]
    return st.one_of(st.integers(lowest, highest), st.sampled_from([lowest, highest]), st.just(getattr(Row(), name)))


SANE_RANGES: Final = {
    "strike_wad": (1, MAX_PRICE), "expiry": (1, 2**40 - 1), "settled_price_wad": (0, MAX_PRICE),
    "observed_at": (0, 2**256 - 1), "reference_price_wad": (1, MAX_PRICE), "lane_unit_wad": (1, 2**96 - 1),
    "step_e9": (1, 75_000_000), "vol_up_bps": (0, 2**16 - 1), "vol_down_bps": (0, 2**16 - 1),
    "vol_power_bps": (0, 2**16 - 1), "short_min_bps": (0, 2**16 - 1), "forward_ratio_wad": (WAD // 100, 100 * WAD),
    "discount_wad": (WAD // 100, 2 * WAD), "a_wad": (-(10**24), 10**24), "b_wad": (0, 10**24), "rho_wad": (-WAD, WAD),
    "m_wad": (-(10**24), 10**24), "sigma_wad": (0, 10**24),
}  # fmt: skip
SANE_ROW: Final = st.builds(Row, is_call=st.booleans(), **{name: sane_field(name) for name in SANE_RANGES})


@settings(max_examples=600, deadline=None)
@given(
    row=st.one_of(ANY_ROW, SANE_ROW),
    published=st.one_of(st.binary(max_size=96), st.binary(min_size=96, max_size=96)),
    tolerance=st.integers(0, 2**256 - 1),
)
def test_no_input_reverts(verifier: Contract, row: Row, published: bytes, tolerance: int) -> None:
    """Any row at all: an answer, and one that agrees with is_sane() and lanes()."""
    sane = verifier.call("is_sane", row.abi())
    own = honest(verifier, row)
    wrong, lane, expected, found = mismatch(verifier, row, published, tolerance)
    assert lane <= NO_LANE and found <= LANE_MAX
    if not sane or len(published) < 96:
        assert (wrong, lane) == (True, NO_LANE)
    if not wrong:
        assert (lane, expected, found) == (0, 0, 0)
    if sane:
        again = mismatch(verifier, row, own, 0)
        assert again == PASSES or again[2] > LANE_MAX


# ------------------------------------------------------------------ cost


def test_gas_of_one_row(verifier: Contract) -> None:
    """The dearest of many rows, as a whole transaction, so that the rest of a challenge has 170,000 gas."""
    rng = np.random.default_rng(40)
    used = []
    selector, kinds, _ = verifier._codec["mismatch"]
    for _ in range(60):
        case = random_inputs(rng)
        page = case.page()
        for slot in range(len(case.options)):
            data = encode(kinds, (case.row(page, slot).abi(), row_bytes(page, slot), TOLERANCE))
            verifier.evm.message_call(caller=CALLER, to=verifier.address, calldata=selector + data, gas=GAS)
            used.append(verifier.evm.result.gas_used)
    assert 200_000 < max(used) <= GAS_LIMIT


def test_row_has_the_fields_of_the_interface(verifier: Contract) -> None:
    """The tests' row and the contract's name the same fields in the same order."""
    (row,) = verifier.functions["is_sane"]["inputs"]
    assert [item["name"] for item in row["components"]] == [item.name for item in fields(Row)]
    assert len(astuple(Row())) == 19
