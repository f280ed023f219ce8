# SPDX-License-Identifier: Apache-2.0
"""Risk tables: prices at nodes, volatility states, settled options, and the exact bytes of a page."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import page as page_bytes
from risk import table
from risk.errors import BadInput
from risk.pricing import black76, svi
from risk.types import SECONDS_PER_DAY, OptionSpec, SmileModel, SurfaceSlice, SviSlice, UnderlyingParameters

NOW = 1_800_000_000
LANES = UnderlyingParameters(1_800, 4_000, 2_500, 3_000, 50, 30, 20, 5, 500, 100, 0, 0)
FLAT_HALF = SviSlice(0.25 * 30 / 365, 0.0, 0.0, 0.0, 0.1)
MONTH = SurfaceSlice(NOW + 30 * SECONDS_PER_DAY, 1.01, 0.99, FLAT_HALF)


def call(slot: int = 0, strike: float = 100.0, expiry: int = MONTH.expiry, settled: float | None = None) -> OptionSpec:
    return OptionSpec(slot, expiry, strike, True, settled)


def test_nodes_are_priced_on_the_forward_with_shocked_volatility() -> None:
    got = table.node_values([call()], 100.0, 0.015, [MONTH], NOW, 4_000, 2_500, 3_000)
    assert got.shape == (1, 3, 15)
    # At 30 days the shock is the lane itself: 0.5 becomes 0.375 and 0.7. Node 14 is fifteen steps up.
    for state, vol in enumerate((0.375, 0.5, 0.7)):
        for node, spot in ((0, 77.5), (7, 100.0), (8, 101.5), (14, 122.5)):
            expected = black76.price(spot * 1.01, 100.0, vol, 30 / 365, 0.99)
            assert got[0, state, node] == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(("days", "factor"), [(30.0, 1.0), (1.0, 30**0.3), (0.2, 30**0.3), (90.0, 3**-0.3)])
def test_shocks_scale_with_tenor_and_stop_growing_below_a_day(days: float, factor: float) -> None:
    down, base, up = table.shocked_volatilities(np.array([0.6]), np.array([days]), 0.4, 0.25, 0.3)[0]
    assert base == 0.6
    assert up == pytest.approx(0.6 * (1 + 0.4 * factor))
    assert down == pytest.approx(0.6 * (1 - 0.25 * factor))


def test_down_state_keeps_a_positive_volatility() -> None:
    assert table.shocked_volatilities(np.array([0.6]), np.array([1.0]), 0.4, 0.9, 0.5)[0, 0] == table.MIN_VOLATILITY


def test_smile_sticks_to_the_strike() -> None:
    smile = SurfaceSlice(MONTH.expiry, 1.0, 1.0, SviSlice(0.01, 0.05, -0.4, 0.0, 0.1))
    got = table.node_values([call(strike=120.0)], 100.0, 0.015, [smile], NOW, 0, 0, 0)
    vol = float(svi.volatility(smile.svi, np.log(1.2), 30 / 365))
    assert got[0, 1, 0] == pytest.approx(float(black76.price(77.5, 120.0, vol, 30 / 365)), rel=1e-12)
    assert got[0, 1, 14] == pytest.approx(float(black76.price(122.5, 120.0, vol, 30 / 365)), rel=1e-12)


def test_settled_options_are_constant_and_expired_ones_intrinsic() -> None:
    options = [call(0, settled=130.0, expiry=NOW - 10), call(1, expiry=NOW - 10), OptionSpec(2, NOW, 100.0, False)]
    rows = table.risk_rows(options, 100.0, [], NOW, LANES, 3)
    assert (rows.values[0] == 30.0).all()
    assert rows.values[1, :, [0, 7, 14]].tolist() == [[0.0] * 3, [0.0] * 3, [pytest.approx(22.5)] * 3]
    assert rows.values[2, 0, 0] == pytest.approx(22.5)
    assert rows.short_minimum.tolist() == [0.0, 1.0, 1.0]
    assert rows.absolute_delta[0] == 0.0


def test_header_amounts_are_minimum_and_dollar_delta() -> None:
    rows = table.risk_rows([call(2)], 100.0, [MONTH], NOW, LANES, 4)
    assert rows.short_minimum.tolist() == [0.0, 0.0, 1.0, 0.0]
    bump = 1e-3
    up, down = (float(black76.price((100.0 + move) * 1.01, 100.0, 0.5, 30 / 365, 0.99)) for move in (bump, -bump))
    assert rows.absolute_delta[2] == pytest.approx(100.0 * (up - down) / (2 * bump), rel=1e-6)
    assert not rows.values[[0, 1, 3]].any()


def test_page_bytes_sit_where_the_rule_says() -> None:
    values = np.arange(90, dtype=float).reshape(2, 3, 15)
    rows = table.RiskRows(values, np.array([3.0, 4.5]), np.array([500.0, 65_535.0]), np.zeros(2), 100.0, 0.015)
    page = page_bytes.pack_page(rows)
    assert (page.lane_unit_wad, page.reference_price_wad, page.step_e9) == (10**18, 10**20, 15_000_000)
    assert page.row_count == 2
    for slot in range(2):
        words = [int.from_bytes(page.rows[96 * slot + 32 * v : 96 * slot + 32 * v + 32], "big") for v in range(3)]
        for v in range(3):
            assert [words[v] >> 16 * n & 0xFFFF for n in range(15)] == values[slot, v].astype(int).tolist()
        # Headers round up: 4.5 becomes 5.
        assert [word >> 240 for word in words] == [(3, 5)[slot], (500, 65_535)[slot], 0]


def test_largest_value_sets_a_lane_unit_that_uses_the_whole_lane() -> None:
    rows = table.RiskRows(np.full((1, 3, 15), 123.456), np.zeros(1), np.zeros(1), np.zeros(1), 100.0, 0.015)
    page = page_bytes.pack_page(rows)
    assert page.rows[30:32] == b"\xff\xff"
    assert page.lane_unit_wad == -(-123_456 * 10**15 // 65_535)


amounts = st.floats(0.0, 1e6)


@settings(max_examples=40)
@given(st.lists(amounts, min_size=45, max_size=45), amounts, amounts)
def test_unpacking_is_within_half_a_lane_and_headers_never_below(
    values: list[float], minimum: float, delta: float
) -> None:
    rows = table.RiskRows(
        np.reshape(values, (1, 3, 15)), np.array([minimum]), np.array([delta]), np.zeros(1), 100.0, 0.015
    )
    page = page_bytes.pack_page(rows)
    back = page_bytes.unpack_page(page)
    hair = 1e-9 * (1.0 + max(values))
    assert np.abs(back.values - rows.values).max() <= 0.5 * back.lane_unit + hair
    assert minimum - 1e-9 * (1 + minimum) <= back.short_minimum[0] < minimum + back.lane_unit * 1.001
    assert delta - 1e-9 * (1 + delta) <= back.absolute_delta[0] < delta + back.lane_unit * 1.001
    # The lanes come back as they were: word 3, lane 14 first.
    lanes = np.rint(back.values[0, 2, ::-1] / back.lane_unit).astype(">u2")
    assert page.rows[66:96] == lanes.tobytes()


def test_page_of_a_registry_has_a_zero_row_for_every_free_slot() -> None:
    slices = svi.slices_from_smile(SmileModel(0.6, 0.7, 4.0, -0.2, 0.9), [MONTH.expiry], NOW)
    page = page_bytes.build_page([call(3), call(5, strike=110.0)], 100 * 10**18 + 7, slices, NOW, LANES, 7)
    assert page.row_count == 7
    assert page.reference_price_wad == 100 * 10**18 + 7
    assert page.step_e9 == 1_800 * 10**5 // 12
    used = [any(page.rows[96 * slot : 96 * slot + 96]) for slot in range(7)]
    assert used == [False, False, False, True, False, True, False]


def test_unusable_inputs_are_refused() -> None:
    with pytest.raises(BadInput, match="no surface slice"):
        table.node_values([call()], 100.0, 0.015, [], NOW, 0, 0, 0)
    with pytest.raises(BadInput, match="reference price"):
        table.node_values([call()], 0.0, 0.015, [MONTH], NOW, 0, 0, 0)
    with pytest.raises(BadInput, match="grid step"):
        table.node_values([call()], 100.0, 0.08, [MONTH], NOW, 0, 0, 0)
    with pytest.raises(BadInput, match="slot 0 has strike"):
        table.node_values([call(strike=0.0)], 100.0, 0.015, [MONTH], NOW, 0, 0, 0)
    with pytest.raises(BadInput, match="distinct"):
        table.risk_rows([call(1), call(1)], 100.0, [MONTH], NOW, LANES, 2)
    with pytest.raises(BadInput, match="below 1"):
        table.risk_rows([call(1)], 100.0, [MONTH], NOW, LANES, 1)
    with pytest.raises(BadInput, match="<= 253 rows"):
        # slots 253 and 254 are futures
        table.risk_rows([call(253)], 100.0, [MONTH], NOW, LANES, 254)
    with pytest.raises(BadInput, match="multiple of 96"):
        page_bytes.unpack_page(page_bytes.PackedPage(b"\0" * 95, 1, 1, 1))


def test_widest_scan_range_reaches_a_worthless_spot() -> None:
    wide = UnderlyingParameters(9_000, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0)
    put = OptionSpec(0, MONTH.expiry, 100.0, False)
    rows = table.risk_rows([put], 100.0, [MONTH], NOW, wide, 1)
    assert rows.values[0, 1, 0] == pytest.approx(0.99 * 100.0)
