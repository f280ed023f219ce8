# SPDX-License-Identifier: Apache-2.0
"""A whole book judged at once, with a bound on what floats may get wrong: who certainly holds maintenance margin.

The float margin (``risk.margin``) runs on tables made of the chain's own integers: the coordinates of the grid and the
nodes it reads are those of the contract, so what is left are the roundings of sums. Wherever the bound does not settle
the sign, the integer twin (``risk.onchain``) has to judge; a decision takes its numbers from the twin alone.

The bound. ``M`` is the sum of the absolute values of all that is added up for an account. A sum of n terms is off by
at most ``n u M``, u = 2^-53; entries of the tables by less than 20 u of themselves; n is at most a few hundred. Charges
enter with their slope, at most ``k1 + k2 M``. Floors and ceilings of the chain are a few wad a term. Books beyond
2.5e13 USD, where the chain caps, are left to the twin (docs/keeper-speed.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.errors import RiskError
from risk.fast import Engine
from risk.margin import MarginResult, margin
from risk.margin_inputs import Book, CollateralMarket, FloatArray, Mark, Market, UnderlyingMarket
from risk.onchain import ChainMarket
from risk.onchain_collateral import DEAD
from risk.onchain_market import E9
from risk.onchain_options import grid_coordinates_e9
from risk.onchain_words import DELTA_ONE_SLOTS, PERPETUAL, Page, instrument_id, lane
from risk.packed import Packed
from risk.page import PackedPage, unpack_page
from risk.table import RiskRows
from risk.types import (
    SECONDS_PER_DAY,
    CollateralParameters,
    GlobalParameters,
    JointScenarios,
    UnderlyingParameters,
)
from risk.units import float_from_wad, fraction_from_bps

_EPSILON, _EPSILON_LAST_DAY = 4e-13, 2e-10
_ABSOLUTE_USD = 1e-9
_WAD_A_UNIT = 4e-18
_CAPPED_USD = 2.5e13
_DEPTH_USD = 10_000.0


class Screened(NamedTuple):
    """One entry a row of the book, USD.

    ``health`` is equity less maintenance margin and off by at most ``error``, which is infinite where floats must not
    judge; ``doubt`` by at most twice that. ``result`` are the float margin's other numbers, for showing.
    """

    health: FloatArray
    error: FloatArray
    doubt: FloatArray
    result: MarginResult

    @property
    def sound(self) -> NDArray[np.bool_]:
        """Rows that certainly hold maintenance margin."""
        return np.asarray(self.health > self.error)

    @property
    def below(self) -> NDArray[np.bool_]:
        """Rows that are certainly below it."""
        return np.asarray(self.health < -self.error)

    @property
    def startable(self) -> NDArray[np.bool_]:
        """Rows that are certainly below it by more than old data leave in doubt."""
        return np.asarray(self.health + self.doubt < -3.0 * self.error)

    @property
    def open(self) -> NDArray[np.bool_]:
        """Rows of which the sign is not settled."""
        return ~(self.sound | self.below)


def screen(
    packed: Packed,
    market: ChainMarket,
    linked: Mapping[int, int],
    *,
    threads: int = 1,
    engine: Engine = "auto",
) -> Screened | None:
    """Judge every row; None where the market itself is not one that floats can say, and the twin must judge all.

    Parameters
    ----------
    packed
        Accounts, with cash as it shows at the block of the market.
    market
        What the twin reads, with underlyings and collateral assets numbered from 0.
    linked
        Underlying + 1 by collateral asset, 0 for none.
    """
    try:
        floats = float_market(market, linked)
        if floats is None:
            return None
        result = margin(packed.book, floats, threads=threads, engine=engine)
        error = error_bound(packed.book, floats)
    except (RiskError, KeyError, OverflowError, ZeroDivisionError):
        return None
    error[packed.odd] = np.inf
    return Screened(result.equity_mm - result.mm, error, result.doubt, result)


def float_market(market: ChainMarket, linked: Mapping[int, int]) -> Market | None:
    """The chain's market in floats; None where it has no float equal (joint scenarios without one)."""
    count = len(market.prices)
    joint = market.joint
    if joint is not None and not joint.count:
        return None
    return Market(
        GlobalParameters(*(lane(market.global_word, k) for k in range(6))),
        tuple(_underlying(market, u) for u in range(count)),
        tuple(_collateral(market, c, linked.get(c, 0)) for c in range(len(market.collateral_prices))),
        joint=None if joint is None else _joint(joint.scenarios, count),
        joint_expires_at=0 if joint is None else joint.expires_at,
        now=market.timestamp,
    )


def _underlying(market: ChainMarket, u: int) -> UnderlyingMarket:
    price, word, page = market.prices[u], market.underlying_words[u], market.pages.get(u)
    scan_bps, found = lane(word, 0), None if page is None else _rows(page)
    times = {}
    if page is not None:
        coordinates = grid_coordinates_e9(page, price.price, scan_bps)
        times = {
            "rows_expire_at": page.expires_at,
            "rows_observed_at": page.observed_at,
            "coordinates_e9": coordinates,
        }
    return UnderlyingMarket(
        name=str(u),
        price=float_from_wad(price.price),
        parameters=UnderlyingParameters(*(lane(word, k) for k in range(13))),
        rows=found,
        marks=tuple(_mark(market, instrument_id(u, slot)) for slot in DELTA_ONE_SLOTS),  # type: ignore[arg-type]
        dead=price.state == DEAD,
        late_bps=price.late_bps,
        **times,  # type: ignore[arg-type]
    )


@lru_cache(maxsize=64)
def _rows(page: Page) -> RiskRows:
    return unpack_page(PackedPage(page.rows, page.reference_price, page.lane_unit, page.step_e9))


def _mark(market: ChainMarket, instrument: int) -> Mark:
    word = market.marks[instrument]
    carry = float_from_wad(word.carry) if instrument & 0xFF == PERPETUAL else word.carry / E9
    return Mark(float_from_wad(word.settled), carry, word.expiry)


def _collateral(market: ChainMarket, asset: int, link: int) -> CollateralMarket:
    price, word = market.collateral_prices[asset], market.collateral_words[asset]
    return CollateralMarket(
        name=str(asset),
        price=float_from_wad(price.price),
        parameters=CollateralParameters(*(lane(word, k) for k in range(5))),
        linked=link - 1 if link else None,
        dead=price.state == DEAD,
        late_bps=price.late_bps,
    )


@lru_cache(maxsize=8)
def _joint(scenarios: tuple[int, ...], count: int) -> JointScenarios:
    raw = np.frombuffer(b"".join(word.to_bytes(32, "big") for word in scenarios), dtype=np.int8).reshape(-1, 32)
    order = np.arange(count)
    return JointScenarios(raw[:, 31 - 2 * order].copy(), raw[:, 30 - 2 * order].copy())


def error_bound(book: Book, market: Market) -> FloatArray:
    """Most by which the float health of each account (A,) can be off, USD; infinite where floats must not judge."""
    size, dust = np.abs(book.cash), np.zeros(len(book))
    for k, asset in enumerate(market.collaterals):
        # once as value, once as what counts of it, once as exposure
        size += 4.0 * np.abs(book.collateral[:, k]) * asset.price
    slope, curve = 1.0 + 3.0 * fraction_from_bps(market.global_parameters.mm_scale_bps), 0.0
    ending = False
    for k, item in enumerate(market.underlyings):
        size += np.abs(book.base[:, k])
        per_unit = np.array([abs(mark.settled) + 2.0 * item.price * (1.0 + abs(mark.carry)) for mark in item.marks])
        per_unit[0] += abs(item.marks[0].carry)
        lots = np.abs(book.units[:, k])
        size += lots @ per_unit
        dust += lots.sum(axis=1) * _WAD_A_UNIT
        size += abs(book.options[k]) @ _row_sizes(item, book.options[k].shape[1])
        per, squared = _charge_slopes(item)
        slope, curve = max(slope, per + slope), max(curve, squared)
        ending |= _may_end(item, market.now)
    epsilon = _EPSILON_LAST_DAY if ending else _EPSILON
    growth = slope + curve * size
    error = epsilon * size * growth + dust * growth + _ABSOLUTE_USD * growth
    return np.where(np.isfinite(error) & (size < _CAPPED_USD), error, np.inf)


def _row_sizes(item: UnderlyingMarket, slots: int) -> FloatArray:
    """What a unit of each option may add to any sum, USD, in absolute value (slots,)."""
    sizes = np.full(slots, item.price)
    if item.rows is None or item.coordinates_e9 is None:
        return sizes
    rows, count = item.rows, min(len(item.rows.values), slots)
    y = np.abs(np.array(item.coordinates_e9)) / E9
    # Inside the grid the weights of three nodes add up to at most 5/4; beyond it the line's grow with the distance.
    reach = max(1.25, float(2.0 * (y.max() - 12.0) / 3.0 + 1.0))
    tails = rows.tail[:count] * max(0.0, float(y.max()) - 15.0)
    largest = rows.values[:count].max(axis=(1, 2), initial=0.0)
    sizes[:count] += 4.0 * reach * largest + 2.0 * tails + rows.absolute_delta[:count] + rows.short_minimum[:count]
    return sizes + 2.0 * rows.lane_unit


def _charge_slopes(item: UnderlyingMarket) -> tuple[float, float]:
    """Most that a dollar more of the sums may add to the charges, constant and by dollar of size."""
    lanes = item.parameters
    delta, option = fraction_from_bps(lanes.delta_charge_bps), fraction_from_bps(lanes.option_charge_bps)
    basis, reach = fraction_from_bps(lanes.basis_charge_bps), 4.0 / fraction_from_bps(lanes.scan_bps)
    depth = max(1, lanes.depth) * _DEPTH_USD
    return delta * reach + option + basis * reach + 2.0, 2.0 * (delta * reach * reach + option) / depth


def _may_end(item: UnderlyingMarket, now: int) -> bool:
    """Whether a contract may be in its last day, where whole lots are counted in floats."""
    hours = item.rows is not None and item.rows.hour is not None and bool((item.rows.hour > 0).any())
    return hours or any(mark.expiry and mark.expiry < now + SECONDS_PER_DAY for mark in item.marks)
