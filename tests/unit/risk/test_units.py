# SPDX-License-Identifier: Apache-2.0
"""The crossing between floats and integers: directions, ties, ranges, words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk import units
from risk.errors import BadInput
from risk.types import CollateralParameters, GlobalParameters, UnderlyingParameters

lanes = st.integers(0, 0xFFFF)


def test_floats_are_read_as_the_decimal_they_print() -> None:
    assert units.wad_nearest(0.1) == 10**17
    assert units.wad_nearest(2_000.1) == 2_000_100_000_000_000_000_000
    assert units.wad_down(1e40) == 10**58


@pytest.mark.parametrize(
    ("value", "down", "nearest", "up"),
    [(2.4e-6, 2, 2, 3), (-2.4e-6, -3, -2, -2), (2.5e-6, 2, 2, 3), (3.5e-6, 3, 4, 4), (1e-6, 1, 1, 1), (-0.0, 0, 0, 0)],
)
def test_directions(value: float, down: int, nearest: int, up: int) -> None:
    assert (units.lots_down(value), units.lots_nearest(value), units.lots_up(value)) == (down, nearest, up)


def test_basis_points() -> None:
    assert (units.bps_down(0.16004), units.bps_nearest(0.16006), units.bps_up(0.16001)) == (1600, 1601, 1601)
    assert units.fraction_from_bps(units.bps_nearest(0.18)) == 0.18


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(BadInput, match="wad"):
        units.wad_up(bad)


@given(st.floats(-1e12, 1e12))
def test_up_and_down_bracket_the_value(value: float) -> None:
    low, high = units.wad_down(value), units.wad_up(value)
    assert 0 <= high - low <= 1
    assert low <= units.wad_nearest(value) <= high
    assert units.float_from_wad(units.wad_nearest(value)) == pytest.approx(value, rel=1e-15, abs=1e-18)


@pytest.mark.parametrize("scan_bps", [100, 1_600, 1_799, 9_000])
def test_grid_step_is_a_twelfth_of_the_scan_range_rounded_down(scan_bps: int) -> None:
    step = units.step_e9_from_scan(scan_bps)
    assert step <= scan_bps / 1e4 / 12 * 1e9 < step + 1


@given(st.floats(0.0, 1e9))
def test_lane_unit_is_the_smallest_that_fits(largest: float) -> None:
    unit = units.lane_unit_wad(largest)
    assert units.lanes_up([largest], unit)[0] <= 0xFFFF
    # One part in 2**50 is the slop of the float quotient.
    assert unit == 1 or (unit * (1 - 2**-48) - 2) * 0xFFFF < units.wad_up(largest)


@pytest.mark.parametrize("bad", [-1.0, np.nan, 1e40])
def test_impossible_lane_units_are_refused(bad: float) -> None:
    with pytest.raises(BadInput):
        units.lane_unit_wad(bad)


def test_lanes_round_as_named_and_refuse_what_does_not_fit() -> None:
    unit = 10**18
    assert units.lanes_nearest([0.4, 0.6, 65_535.4], unit).tolist() == [0, 1, 65_535]
    assert units.lanes_up([0.4, 1.0], unit).tolist() == [1, 1]
    for bad in ([65_536.0], [-0.6], [np.nan]):
        with pytest.raises(BadInput, match="lane"):
            units.lanes_nearest(bad, unit)


@given(st.lists(lanes, max_size=16))
def test_lanes_of_a_word_round_trip(values: list[int]) -> None:
    word = units.pack_lanes(values)
    assert units.unpack_lanes(word) == (*values, *[0] * (16 - len(values)))
    assert all(word >> 16 * k & 0xFFFF == value for k, value in enumerate(values))


def test_parameter_words_have_the_documented_lanes() -> None:
    whole = sum(k + 1 << 16 * k for k in range(6))
    assert units.pack_global(GlobalParameters(1, 2, 3, 4, 5, 6)) == whole
    assert units.unpack_global(whole) == GlobalParameters(1, 2, 3, 4, 5, im_offset_floor_bps=6)
    word = units.pack_underlying(UnderlyingParameters(*range(1, 14)))
    assert [word >> 16 * k & 0xFFFF for k in range(14)] == [*range(1, 14), 0]
    found = units.unpack_underlying(word)
    assert (found.short_min_bps, found.vol_day_bps, found.band_bps, found.widen_bps) == (10, 11, 12, 13)
    coin = CollateralParameters(1_000, 500, 10, 20, 30)
    assert units.unpack_collateral(units.pack_collateral(coin)) == coin


def test_ranges_are_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"UnderlyingParameters\.vol_up_bps = 65536"):
        UnderlyingParameters(1, 65_536, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    with pytest.raises(BadInput, match="haircut_mm_bps"):
        CollateralParameters(1, 5.0, 0, 0, 0)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="lane 1"):
        units.pack_lanes([0, -1])
    with pytest.raises(BadInput, match="17 lanes"):
        units.pack_lanes([0] * 17)
    with pytest.raises(BadInput, match="256-bit"):
        units.unpack_lanes(1 << 256)
    with pytest.raises(BadInput, match="beyond its 6"):
        units.unpack_global(1 << 96)
    with pytest.raises(BadInput, match="beyond its 13"):
        units.unpack_underlying(1 << 208)
