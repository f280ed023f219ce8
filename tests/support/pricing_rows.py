# SPDX-License-Identifier: Apache-2.0
"""Rows to re-price: what ``RowVerifier`` takes, beside the page that ``risk.table`` makes of the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace

import numpy as np

from keeper.publish.tables import Surface, surface_slice, surface_tuple
from risk.page import ROW_BYTES, PackedPage, build_page
from risk.pricing.svi import slices_from_smile
from risk.types import OptionSpec, SmileModel, UnderlyingParameters
from risk.units import float_from_wad, unpack_lanes

WAD = 10**18
DAY = 86_400
NOW = 1_800_000_000
SHORT_MINIMUM, DELTA, TAIL = 15, 31, 47
NO_LANE = 48


@dataclass(frozen=True, slots=True)
class Row:
    """``IRowVerifier.Row``, field by field; the defaults are an option at the money, a week before its expiry."""

    is_call: bool = True
    strike_wad: int = 1_500 * WAD
    expiry: int = NOW + 7 * DAY
    settled_price_wad: int = 0
    observed_at: int = NOW
    reference_price_wad: int = 1_500 * WAD
    lane_unit_wad: int = WAD // 40
    step_e9: int = 20_000_000
    vol_up_bps: int = 4_000
    vol_down_bps: int = 2_500
    vol_power_bps: int = 3_000
    short_min_bps: int = 100
    forward_ratio_wad: int = WAD
    discount_wad: int = WAD
    a_wad: int = WAD // 100
    b_wad: int = WAD // 100
    rho_wad: int = -WAD // 5
    m_wad: int = 0
    sigma_wad: int = WAD // 10

    def abi(self) -> tuple[bool | int, ...]:
        """As the encoder wants it."""
        return astuple(self)


@dataclass(frozen=True, slots=True)
class Listed:
    """An option as the registry knows it; ``settled_price_wad`` 0 = not settled."""

    is_call: bool
    strike_wad: int
    expiry: int
    settled_price_wad: int = 0

    def spec(self, slot: int) -> OptionSpec:
        """The same for the float model."""
        settled = float_from_wad(self.settled_price_wad) if self.settled_price_wad else None
        return OptionSpec(slot, self.expiry, float_from_wad(self.strike_wad), self.is_call, settled)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What one page is built from."""

    reference_price_wad: int
    parameters: UnderlyingParameters
    options: tuple[Listed, ...]
    surfaces: tuple[Surface, ...]

    def page(self) -> PackedPage:
        """The page that an honest keeper publishes."""
        return build_page(
            [option.spec(slot) for slot, option in enumerate(self.options)],
            self.reference_price_wad,
            [surface_slice(item) for item in self.surfaces],
            NOW,
            self.parameters,
            len(self.options),
        )

    def row(self, page: PackedPage, slot: int) -> Row:
        """Row of one slot as ``RiskTable`` hands it to the verifier."""
        option, p = self.options[slot], self.parameters
        surface = next((item for item in self.surfaces if item[0] == option.expiry), (0,) * 8)
        return Row(
            option.is_call, option.strike_wad, option.expiry, option.settled_price_wad, NOW, page.reference_price_wad,
            page.lane_unit_wad, page.step_e9, p.vol_up_bps, p.vol_down_bps, p.vol_power_bps, p.short_min_bps,
            *surface[1:],
        )  # fmt: skip


def row_bytes(page: PackedPage, slot: int) -> bytes:
    """The 96 bytes of a slot."""
    return page.rows[ROW_BYTES * slot : ROW_BYTES * (slot + 1)]


def lanes_of(words: Sequence[int] | bytes) -> tuple[int, ...]:
    """The 48 lanes of three words or of a row's bytes."""
    if isinstance(words, bytes):
        words = [int.from_bytes(words[32 * k : 32 * k + 32], "big") for k in range(3)]
    return tuple(lane for word in words for lane in unpack_lanes(word))


def with_lane(row: bytes, lane: int, value: int) -> bytes:
    """The row with one lane replaced."""
    at = 32 * (lane // 16) + 30 - 2 * (lane % 16)
    return row[:at] + value.to_bytes(2, "big") + row[at + 2 :]


def parameters(**lanes: int) -> UnderlyingParameters:
    """Usual parameters with changes; those that price no row are zero."""
    usual = {
        "scan_bps": 2_400,
        "vol_up_bps": 4_000,
        "vol_down_bps": 2_500,
        "vol_power_bps": 3_000,
        "short_min_bps": 100,
    }
    return UnderlyingParameters(**({item.name: 0 for item in fields(UnderlyingParameters)} | usual | lanes))


def random_inputs(rng: np.random.Generator, options: int = 4) -> Inputs:
    """A page somebody might publish: any price scale, smile, tenor and shock that the contracts allow.

    The first option is settled in one page of eight; tenors run from a minute to two years, and past expiry.
    """
    price = int(10 ** rng.uniform(10, 24))
    smile = SmileModel(
        short_vol=10 ** rng.uniform(-1.0, 0.6),
        long_vol=10 ** rng.uniform(-1.0, 0.4),
        reversion=10 ** rng.uniform(-1.0, 1.5),
        rho=rng.uniform(-0.95, 0.95),
        eta=rng.uniform(0.05, 1.0),
        carry_rate=rng.uniform(-0.3, 0.5),
        discount_rate=rng.uniform(-0.02, 0.3),
    )
    tenors = [60, 3_600, DAY // 2, DAY, 7 * DAY, 30 * DAY, 182 * DAY, 730 * DAY, 0, -3_600]
    chosen = [int(item) for item in rng.choice(tenors, options)]
    listed = [
        Listed(bool(rng.integers(2)), max(1, int(price * np.exp(rng.normal(0.0, 0.25)))), NOW + tenor)
        for tenor in chosen
    ]
    if rng.integers(8) == 0:
        listed[0] = replace(listed[0], expiry=NOW - DAY, settled_price_wad=int(price * rng.uniform(0.5, 1.5)))
    expiries = {item.expiry for item in listed if item.expiry > NOW}
    surfaces = tuple(surface_tuple(item) for item in slices_from_smile(smile, sorted(expiries), NOW))
    lanes = parameters(
        scan_bps=int(rng.integers(100, 9_001)),
        vol_up_bps=int(rng.integers(0, 20_000)),
        vol_down_bps=int(rng.integers(0, 10_000)),
        vol_power_bps=int(rng.integers(0, 10_001)),
        short_min_bps=int(rng.integers(0, 1_001)),
    )
    return Inputs(price, lanes, tuple(listed), surfaces)
