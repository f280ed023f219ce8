# SPDX-License-Identifier: Apache-2.0
"""Beyond the grid: the line through the outer nodes never overvalues a long, line plus tail never undervalues a short.

The finding that led here: extrapolating the last quadratic made accounts rich (docs/adr/0006-straight-tails.md).
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from risk.grid import interpolation_weights
from risk.onchain import ChainMarket, assess_words
from risk.onchain_words import (
    AccountState,
    DeltaOnePosition,
    MarkWord,
    OptionPosition,
    Page,
    PriceWord,
    build_words,
    instrument_id,
)
from risk.page import build_page, pack_page
from risk.pricing.svi import slices_from_smile
from risk.table import NODES, RiskRows, node_values, risk_rows
from risk.types import OptionSpec, SmileModel, UnderlyingParameters

NOW, DAY, WAD = 1_800_000_000, 86_400, 10**18
PERPETUAL = instrument_id(0, 255)
SMILE = SmileModel(0.75, 0.60, 6.0, -0.15, 0.8, carry_rate=0.06, discount_rate=0.03)


@given(
    strike=st.floats(0.4, 2.5),
    hours=st.integers(1, 180 * 24),
    is_call=st.booleans(),
    scan_bps=st.integers(500, 6_000),
    steps=st.floats(15.0, 60.0),
    up=st.booleans(),
)
def test_line_and_tail_enclose_the_value(
    strike: float, hours: int, is_call: bool, scan_bps: int, steps: float, up: bool
) -> None:
    option = OptionSpec(0, NOW + 3_600 * hours, 1_000.0 * strike, is_call)
    lanes = UnderlyingParameters(scan_bps, 4_500, 2_500, 3_000, 0, 0, 0, 0, 1, 0, 0, 0)
    slices = slices_from_smile(SMILE, [option.expiry], NOW)
    rows = risk_rows([option], 1_000.0, slices, NOW, lanes, 1)
    y = steps if up else -steps
    assume(1.0 + y * rows.step > 0.0 and steps / 15.0 * rows.step <= 0.075)
    # the value at y, from a grid of its own whose outermost node is there
    wide = abs(y) / 15.0 * rows.step
    true = node_values([option], 1_000.0, wide, slices, NOW, 4_500, 2_500, 3_000)[0, :, 14 if up else 0]
    # the volatility of a strike is sticky, so only the spot differs between the two grids
    line = rows.values[0] @ interpolation_weights([y])[0]
    allowed = 1e-9 * 1_000.0
    assert (line <= true + allowed).all()
    assert (true <= line + rows.tail[0] * (steps - 15.0) + allowed).all()


def payoff_rows(legs: list[tuple[float, bool]]) -> RiskRows:
    """Options at expiry (no volatility at all), strikes in grid steps of 1.25 % from 3,000: the sharpest bends."""
    spot = 3_000.0 * (1.0 + 0.0125 * np.array(NODES))
    options = [OptionSpec(k, NOW, 3_000.0 * (1.0 + 0.0125 * node), call) for k, (node, call) in enumerate(legs)]
    lanes = UnderlyingParameters(1_500, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0)
    rows = risk_rows(options, 3_000.0, [], NOW, lanes, len(options))
    sign = np.array([1.0 if call else -1.0 for _, call in legs])[:, None]
    strikes = np.array([option.strike for option in options])[:, None]
    assert np.allclose(rows.values[:, 1], np.maximum(sign * (spot - strikes), 0.0), atol=1e-6)
    return rows


def market(rows: RiskRows, price: float) -> ChainMarket:
    packed = pack_page(rows)
    page = Page("", 1, NOW, NOW + DAY, packed.reference_price_wad, packed.lane_unit_wad, packed.step_e9, packed.rows)
    lanes = UnderlyingParameters(1_500, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0).lanes()
    word = sum(lane << (16 * k) for k, lane in enumerate(lanes))
    scale = 10_000 | 8_000 << 16 | 10_000 << 32
    prices, marks = {0: PriceWord(int(price * WAD), 0, NOW, 0)}, {PERPETUAL: MarkWord(0, 0)}
    return ChainMarket(NOW, prices, {}, marks, scale, {0: word}, {}, {0: page})


def assessed(rows: RiskRows, lots: list[int], perp: int, steps: float) -> tuple[float, float]:
    """(equity at mark, scan) in USD of one-unit options and a perpetual opened at the live price."""
    price = 3_000.0 * (1.0 + 0.0125 * steps)
    perps = {PERPETUAL: DeltaOnePosition(perp * 10**6, -perp * 10**6 * int(price * WAD))} if perp else {}
    options = {0: tuple(OptionPosition(k, n * 10**6) for k, n in enumerate(lots))}
    result = assess_words(build_words(AccountState(0, delta_ones=perps, options=options)), market(rows, price))
    return result.equity_mark / WAD, result.market_risk / WAD


@pytest.mark.parametrize(
    ("legs", "lots", "perp", "steps", "equity", "scan"),
    [
        ([(12, True), (15, True)], [1, -1], -1, 6, 0.0, 371.0),
        ([(12, True), (15, True)], [1, -1], -1, 12, 0.0, 405.0),
        ([(12, True), (15, True)], [1, -1], -2, 15, 112.5, 1_069.0),
        ([(12, True), (15, True)], [1, -1], -3, 20, 112.5, 1_688.0),
        ([(-12, False), (-15, False)], [1, -1], 0, -30, 112.5, 0.0),
        ([(9, True), (12, True)], [-1, 1], 0, 60, -112.5, 0.0),
        ([(0, True)], [-1], 0, 100, -3_750.0, 1_013.0),
        ([(16, True)], [-1], 0, 30, -525.0, 619.0),
    ],
)
def test_accounts_that_the_quadratic_made_rich(
    legs: list[tuple[float, bool]], lots: list[int], perp: int, steps: float, equity: float, scan: float
) -> None:
    """The review's accounts; ``equity`` and ``scan`` revalue the payoffs directly. Never better than those."""
    found_equity, found_scan = assessed(payoff_rows(legs), lots, perp, steps)
    assert found_equity <= equity + 1.0
    assert found_equity - 0.8 * found_scan <= equity - 0.8 * scan + 4.0
    assert found_scan >= scan - 4.0 or found_equity < equity - (scan - found_scan)


def test_a_page_carries_the_tail() -> None:
    option = OptionSpec(0, NOW + 7 * DAY, 3_000.0, True)
    lanes = UnderlyingParameters(1_600, 4_500, 2_500, 3_000, 0, 0, 0, 0, 1, 0, 0, 0)
    page = build_page([option], 3_000 * WAD, slices_from_smile(SMILE, [option.expiry], NOW), NOW, lanes, 1)
    tail = int.from_bytes(page.rows[64:66], "big")
    rows = risk_rows([option], 3_000.0, slices_from_smile(SMILE, [option.expiry], NOW), NOW, lanes, 1)
    assert tail - 2 <= rows.tail[0] * WAD / page.lane_unit_wad <= tail - 1
