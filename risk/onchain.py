# SPDX-License-Identifier: Apache-2.0
"""Integer twin of ``contracts/MarginEngine.vy``: the margin rule of ``docs/margin-rule.md`` on Python integers.

Nothing here was transcribed from the contract: both follow the document, and ``tests/differential`` compares them
integer by integer. Section numbers in comments are those of the document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from risk.onchain_collateral import BPS, CollateralValue, ceil_div, collateral_values
from risk.onchain_market import ChainMarket
from risk.onchain_options import unit_values
from risk.onchain_underlying import (
    FLAG_JOINT_MISSING,
    FLAG_OFF_GRID,
    FLAG_PRICE_DEAD,
    FLAG_ROW_MISSING,
    FLAG_TABLE_EXPIRED,
    UnderlyingResult,
    assess_underlying,
)
from risk.onchain_words import DELTA_ONE_SLOTS, AccountState, JointSet, lane, parse_words

__all__ = [
    "FLAG_JOINT_MISSING",
    "FLAG_OFF_GRID",
    "FLAG_PRICE_DEAD",
    "FLAG_ROW_MISSING",
    "FLAG_TABLE_EXPIRED",
    "Assessment",
    "Band",
    "ChainMarket",
    "UnderlyingResult",
    "assess",
    "assess_at",
    "assess_words",
    "grid",
    "holds_initial_margin",
    "price_band",
    "underlying_results",
]

WAD = 10**18
JOINT_DENOMINATOR = 127 * 127
LINEAR_DENOMINATOR = 127 * BPS
NO_JOINT = 255


class Assessment(NamedTuple):
    """Result of ``assess``; all amounts wad. Field order is that of the contract's struct."""

    equity_mark: int
    equity_im: int
    equity_mm: int
    im: int
    mm: int
    market_risk: int
    charges: int
    worst_joint: int
    flags: int
    doubt: int
    scans: tuple[int, ...]

    @property
    def im_health(self) -> int:
        """Equity less initial margin, wad."""
        return self.equity_im - self.im

    @property
    def mm_health(self) -> int:
        """Equity less maintenance margin, wad; an account is below maintenance margin when it is negative."""
        return self.equity_mm - self.mm

    @property
    def liquidatable(self) -> bool:
        """Whether a liquidation may start: below maintenance margin by more than the data leave in doubt."""
        return self.equity_mm + self.doubt < self.mm


def joint_point(g: Sequence[Sequence[int]], price_byte: int, volatility_byte: int) -> int:
    """``z_u(j)`` of section 5: bilinear on the 27 points, times 127 squared; bytes -127..127."""
    k = (price_byte + 127) * 4
    cell = min(k // 127, 7)
    f = k - 127 * cell
    w = volatility_byte
    other = g[2] if w >= 0 else g[0]
    base = g[1][cell] * (127 - f) + g[1][cell + 1] * f
    return base * (127 - abs(w)) + (other[cell] * (127 - f) + other[cell + 1] * f) * abs(w)


def _joint_loss(results: Sequence[UnderlyingResult], joint: JointSet, j: int) -> int:
    gridded = linear = 0
    for item in results:
        p, w = (max(byte, -127) for byte in joint.bytes_of(j, item.underlying))
        if item.optioned:
            gridded += joint_point(item.grid, p, w)
        else:
            linear += (item.delta_low if p >= 0 else item.delta_high) * item.scan_bps * p
    return max(0, -(gridded // JOINT_DENOMINATOR + linear // LINEAR_DENOMINATOR))


def worst_joint(results: Sequence[UnderlyingResult], joint: JointSet) -> tuple[int, int]:
    """(greatest loss, its lowest index or 255)."""
    worst, index = 0, NO_JOINT
    for j in range(joint.count):
        loss = _joint_loss(results, joint, j)
        if loss > worst:
            worst, index = loss, j
    return worst, index


class _Risk(NamedTuple):
    """Market risk, the one for initial margin, worst joint scenario, flags."""

    market_risk: int
    initial: int
    worst_joint: int
    flags: int


def _market_risk(results: Sequence[UnderlyingResult], market: ChainMarket) -> _Risk:
    """Section 5."""
    if len(results) < 2:
        scan = results[0].scan if results else 0
        return _Risk(scan, scan, NO_JOINT, 0)
    scans = [r.scan for r in results]
    loss, index, flags = sum(scans), NO_JOINT, FLAG_JOINT_MISSING
    if market.joint is not None:
        loss, index = worst_joint(results, market.joint)
        flags = FLAG_TABLE_EXPIRED if market.joint.expires_at < market.timestamp else 0
    floor, initial_floor = (ceil_div(lane(market.global_word, k) * sum(scans), BPS) for k in (3, 5))
    risk = max(loss, floor, 2 * max(scans) - sum(scans))
    return _Risk(risk, max(risk, initial_floor), index, flags)


class _Parts(NamedTuple):
    state: AccountState
    collateral: list[CollateralValue]
    results: list[UnderlyingResult]

    @property
    def reserved(self) -> bool:
        """Whether margin keeps the reward of a liquidation's caller: section 7."""
        return self.state.has_position or self.state.cash < 0

    @property
    def equity(self) -> int:
        """Equity but for collateral, wad."""
        return self.state.cash + sum(item.delta_one_value + item.option_value for item in self.results)

    @property
    def charges(self) -> int:
        return sum(item.charge for item in self.results)

    @property
    def doubt(self) -> int:
        return sum(item.doubt for item in self.results) + sum(item.doubt for item in self.collateral)

    def reserve(self, market: ChainMarket) -> int:
        """``reserve_wad``."""
        return lane(market.global_word, 4) * WAD if self.reserved else 0


def _parts(words: Sequence[int], market: ChainMarket, next_s: Mapping[int, int] | None = None) -> _Parts:
    state = parse_words(words)
    collateral = list(collateral_values(state, market.collateral_prices, market.collateral_words).values())
    linked: dict[int, int] = {}
    for item in collateral:
        if item.linked:
            linked[item.linked - 1] = linked.get(item.linked - 1, 0) + item.value
    active = sorted({*(k >> 8 for k in state.delta_ones), *state.options, *linked})
    ends = next_s or {}
    results = [assess_underlying(state, u, market, linked.get(u, 0), ends.get(u)) for u in active]
    return _Parts(state, collateral, results)


def underlying_results(
    words: Sequence[int], market: ChainMarket, next_s: Mapping[int, int] | None = None
) -> list[UnderlyingResult]:
    """Section 4 for each active underlying, ascending: what the numbers of ``assess`` are made of.

    ``next_s``: for a part of an account, that account's seconds to the next expiry, by underlying.
    """
    return _parts(words, market, next_s).results


def assess_words(words: Sequence[int], market: ChainMarket) -> Assessment:
    """Assess an account from the words of ``MarginAccounts.state``.

    Raises
    ------
    risk.errors.BadInput
        when the words do not have the layout of section 2.
    KeyError
        when the market lacks an input that the account needs.
    """
    parts = _parts(words, market)
    risk = _market_risk(parts.results, market)
    flags = risk.flags | (FLAG_PRICE_DEAD if any(item.dead for item in parts.collateral) else 0)
    for item in parts.results:
        flags |= item.flags
    charges, equity, reserve = parts.charges, parts.equity, parts.reserve(market)
    word = market.global_word
    return Assessment(
        equity_mark=equity + sum(item.value for item in parts.collateral),
        equity_im=equity - sum(item.lost for item in parts.results) + sum(item.counted_im for item in parts.collateral),
        equity_mm=equity + sum(item.counted_mm for item in parts.collateral),
        im=ceil_div(lane(word, 0) * (risk.initial + sum(item.ahead_scan for item in parts.results)), BPS)
        + ceil_div(lane(word, 2) * (charges + sum(item.ahead_charge for item in parts.results)), BPS)
        + sum(item.drift + item.wide for item in parts.results)
        + reserve,
        mm=ceil_div(lane(word, 1) * risk.market_risk, BPS) + charges + reserve,
        market_risk=risk.market_risk,
        charges=charges,
        worst_joint=risk.worst_joint,
        flags=flags,
        doubt=parts.doubt,
        scans=tuple(item.scan for item in parts.results),
    )


assess = assess_words


def holds_initial_margin(words: Sequence[int], market: ChainMarket) -> tuple[bool, int]:
    """``(equity_im >= im, flags)``; raises as `assess_words`."""
    found = assess_words(words, market)
    return found.im_health >= 0, found.flags


def assess_at(words: Sequence[int], market: ChainMarket, scenario: int) -> tuple[int, int]:
    """``(equity_mm, bound)`` of one scenario; ``equity_mm < bound`` proves the account below maintenance margin.

    Raises
    ------
    ValueError
        when the scenario is not one that the account may be judged by, or the data leave a doubt (section 7).
    """
    parts = _parts(words, market)
    results = parts.results
    if parts.doubt:
        raise ValueError("stale data prove nothing; wait for a fresh price or page")
    if scenario < 64:
        if len(results) < 2 or market.joint is None or scenario >= market.joint.count:
            raise ValueError(f"joint scenario {scenario} needs two active underlyings and an existing scenario")
        loss = _joint_loss(results, market.joint, scenario)
    else:
        v, n = divmod(scenario - 64, 9)
        if len(results) != 1 or v > 2:
            raise ValueError(f"scan point {scenario} needs exactly one active underlying and an id of 64..90")
        loss = max(0, -results[0].grid[v][n])
    equity = parts.equity + sum(item.counted_mm for item in parts.collateral)
    return equity, ceil_div(lane(market.global_word, 1) * loss, BPS) + parts.charges + parts.reserve(market)


def grid(words: Sequence[int], market: ChainMarket, underlying: int) -> tuple[int, ...]:
    """The 27 numbers G of one underlying, index ``9 * v + n``; zeros when it is not active."""
    for item in _parts(words, market).results:
        if item.underlying == underlying:
            return tuple(value for row in item.grid for value in row)
    return (0,) * 27


class Band(NamedTuple):
    """Section 8, wad per unit: what an instrument is worth, and the least and the most it may trade at."""

    mark: int
    low: int
    high: int


NO_BAND = Band(0, 0, 0)


def price_band(market: ChainMarket, instrument: int) -> Band:
    """Band of fills of an instrument by its id; all 0 when it has no price or row, or is settled.

    Raises
    ------
    KeyError
        when the market lacks an input of the instrument.
    """
    u, slot = divmod(instrument, 256)
    price, word = market.prices[u].price, market.underlying_words[u]
    if price == 0:
        return NO_BAND
    if slot in DELTA_ONE_SLOTS:
        if market.marks[instrument].settled:
            return NO_BAND
        mark, band = market.mark(instrument), lane(word, 11)
        return Band(mark, mark * (BPS - band) // BPS, ceil_div(mark * (BPS + band), BPS))
    page = market.pages.get(u)
    found = unit_values(slot, page, price, lane(word, 0)) if page is not None else None
    if found is None:
        return NO_BAND
    # beyond the grid the straight line may fall below zero; what is returned are unsigned prices
    unit = market.pages[u].lane_unit
    return Band(max(0, found[0]), max(0, min(found[1]) - unit), max(0, *found[1]) + unit)
