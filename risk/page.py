# SPDX-License-Identifier: Apache-2.0
"""Pages: the rows of a risk table as the bytes that are published (docs/margin-rule.md, section 3), and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from risk.errors import BadInput
from risk.expiry_hours import TAIL_BITS, TAIL_MAX
from risk.table import MAX_ROWS, NODES, RiskRows, risk_rows
from risk.types import LANE_MAX, OptionSpec, SurfaceSlice, UnderlyingParameters
from risk.units import E9, float_from_wad, lane_unit_wad, lanes_nearest, lanes_up, values_from_lanes, wad_nearest

ROW_BYTES = 96


@dataclass(frozen=True, slots=True)
class PackedPage:
    """What is published for one underlying: the row bytes (without STOP byte) and the numbers of page word 2."""

    rows: bytes
    reference_price_wad: int
    lane_unit_wad: int
    step_e9: int

    @property
    def row_count(self) -> int:
        """Number of rows, used or not."""
        return len(self.rows) // ROW_BYTES


def pack_page(rows: RiskRows) -> PackedPage:
    """Rows as page bytes: values to the nearest lane, header lanes rounded up, one lane unit for the page.

    A tail that is not zero gets one lane more, for what the rounding of the outer nodes may tilt its line. It
    shares its lane with the hour of the expiry.

    Raises
    ------
    BadInput
        When a value is negative or not finite, or there are more than 253 rows.

    Examples
    --------
    >>> page = pack_page(RiskRows(np.ones((1, 3, 15)), np.zeros(1), np.zeros(1), np.zeros(1), 100.0, 0.01))
    >>> page.row_count, page.step_e9
    (1, 10000000)
    """
    count = rows.values.shape[0]
    if rows.values.shape != (count, 3, len(NODES)) or count > MAX_ROWS:
        raise BadInput(f"rows of shape {rows.values.shape} must be (n <= {MAX_ROWS}, 3, {len(NODES)})")
    headers = (rows.short_minimum, rows.absolute_delta, rows.tail)
    # a tail has eleven bits, and one lane more of its own
    parts = (rows.values, *headers, rows.tail * (LANE_MAX / (TAIL_MAX - 1)))
    largest = max(float(part.max(initial=0.0)) for part in parts)
    unit = lane_unit_wad(largest)
    lanes = np.zeros((count, 3, 16), dtype=np.uint16)
    lanes[:, :, :15] = lanes_nearest(rows.values, unit)
    for word, header in enumerate(headers):
        lanes[:, word, 15] = lanes_up(header, unit)
    tail = lanes[:, 2, 15]
    tail = np.minimum(np.where(rows.tail > 0.0, tail + 1, tail), TAIL_MAX)
    lanes[:, 2, 15] = tail | (0 if rows.hour is None else rows.hour.astype(np.uint16) << TAIL_BITS)
    # Lane 0 holds the lowest bits of a big-endian word, so lanes run backwards through its bytes.
    data = lanes[:, :, ::-1].astype(">u2").tobytes()
    return PackedPage(data, wad_nearest(rows.reference_price), unit, round(rows.step * E9))


def unpack_page(page: PackedPage) -> RiskRows:
    """Floats of a page, lane by lane: each value is its lane times the lane unit.

    Raises
    ------
    BadInput
        When the bytes are not whole rows.
    """
    if len(page.rows) % ROW_BYTES:
        raise BadInput(f"page of {len(page.rows)} bytes is not a multiple of {ROW_BYTES}; strip the STOP byte")
    lanes = np.frombuffer(page.rows, dtype=">u2").reshape(-1, 3, 16)[:, :, ::-1]
    lanes, hour = lanes.copy(), (lanes[:, 2, 15] >> TAIL_BITS).astype(np.int64)
    lanes[:, 2, 15] &= TAIL_MAX
    values = values_from_lanes(lanes, page.lane_unit_wad)
    return RiskRows(
        values=values[:, :, :15],
        short_minimum=values[:, 0, 15],
        absolute_delta=values[:, 1, 15],
        tail=values[:, 2, 15],
        reference_price=float_from_wad(page.reference_price_wad),
        step=page.step_e9 / E9,
        lane_unit=float_from_wad(page.lane_unit_wad),
        hour=hour,
    )


def build_page(
    options: Sequence[OptionSpec],
    reference_price_wad: int,
    slices: Sequence[SurfaceSlice],
    now: int,
    parameters: UnderlyingParameters,
    row_count: int,
) -> PackedPage:
    """Price and pack the page of one underlying: what the keeper publishes.

    ``row_count`` is the registry's; slots without an option become zero rows.

    Raises
    ------
    BadInput
        As :func:`risk_rows` and :func:`pack_page`.

    References
    ----------
    docs/risk-methodology.md, formula 7.4.
    """
    rows = risk_rows(options, float_from_wad(reference_price_wad), slices, now, parameters, row_count)
    packed = pack_page(rows)
    # The reference price is the oracle's integer, not its float image.
    return PackedPage(packed.rows, reference_price_wad, packed.lane_unit_wad, packed.step_e9)
