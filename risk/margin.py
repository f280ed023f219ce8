# SPDX-License-Identifier: Apache-2.0
"""The margin rule in floats, for a whole book at once.

Same rule as docs/margin-rule.md, without its roundings (but for whole basis points of haircut and of lateness).
``risk.onchain`` gives the exact integers of one account, ``risk.explain`` the reasons; this module is for calibration
and monitoring of many. Accounts with contracts in their last day are judged by risk/margin_last_day.py, whatever the
engine; their lots are whole, as on chain.

Float against integer: every amount differs from the integer twin's by at most ``2e-9`` of the account's gross notional
(options, delta-one instruments, linked collateral) plus ``1e-12`` of its cash plus 1e-9 USD; 1.7e-10 was the
largest of 480 random accounts (``pytest -s tests/unit/risk/test_margin.py``). The notional term is the chain's floor of
a grid coordinate to 1e-9 of a step, which enters with the slope of the profile; everything else is a few wads. Exempt
are coordinates within 1e-9 of a midpoint between nodes, where the two may choose neighbouring triples, or of a distance
from the reference price at which its lateness gains a basis point, and charges on size far beyond the depth, which grow
with its square.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from risk.fast import Engine, use_compiled
from risk.margin_collateral import HAIR, collateral_values, linked_values
from risk.margin_inputs import (
    Book,
    CollateralMarket,
    FloatArray,
    Mark,
    Market,
    UnderlyingMarket,
    check_finite,
    check_shapes,
)
from risk.margin_last_day import LastDay, last_day
from risk.margin_underlying import (
    FLAG_JOINT_MISSING,
    FLAG_OFF_GRID,
    FLAG_PRICE_DEAD,
    FLAG_ROW_MISSING,
    FLAG_TABLE_EXPIRED,
    LiveUnderlying,
    UnderlyingResult,
    live_underlyings,
    underlying_result,
)
from risk.types import BPS
from risk.units import fraction_from_bps

if TYPE_CHECKING:
    from risk.fast.margin import Tables

__all__ = [
    "FLAG_JOINT_MISSING",
    "FLAG_OFF_GRID",
    "FLAG_PRICE_DEAD",
    "FLAG_ROW_MISSING",
    "FLAG_TABLE_EXPIRED",
    "NO_JOINT",
    "Book",
    "CollateralMarket",
    "MarginResult",
    "Mark",
    "Market",
    "UnderlyingMarket",
    "margin",
    "margin_block",
]

IntArray = NDArray[np.int64]
_T = TypeVar("_T", np.float64, np.int64)

NO_JOINT = 255
_BLOCK = 8_192
_LEAST_COMPILED = 16_384


@dataclass(frozen=True, slots=True)
class MarginResult:
    """One entry an account (USD unless named); ``scans`` is (A, U), 0 where an underlying is inactive.

    ``worst_joint`` and ``flags`` as docs/margin-rule.md, sections 5 and 7.
    """

    equity_mark: FloatArray
    equity_im: FloatArray
    equity_mm: FloatArray
    im: FloatArray
    mm: FloatArray
    market_risk: FloatArray
    charges: FloatArray
    worst_joint: IntArray
    flags: IntArray
    doubt: FloatArray
    scans: FloatArray


_RESULT_FIELDS = tuple(item.name for item in fields(MarginResult))


def margin(book: Book, market: Market, *, threads: int = 1, engine: Engine = "auto") -> MarginResult:
    """Margin of every account of a book.

    Parameters
    ----------
    book, market
        Accounts and market, with equally many underlyings and collateral assets.
    threads
        Worker threads over blocks of accounts; the result does not depend on it.
    engine
        ``"auto"`` takes the compiled kernel from 16,384 accounts where numba is installed, ``"numpy"`` never,
        ``"compiled"`` always. Amounts differ by at most 1e-13 of the account's gross notional.

    Raises
    ------
    BadInput
        When the shapes of book and market do not agree, the book holds a number that is not finite, or the engine is
        not installed.

    References
    ----------
    docs/margin-rule.md, sections 4 to 7.

    Examples
    --------
    >>> from scipy import sparse
    >>> from risk.types import GlobalParameters, UnderlyingParameters
    >>> eth = UnderlyingMarket("ETH", 2000.0, UnderlyingParameters(2000, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0))
    >>> market = Market(GlobalParameters(10_000, 8_000, 10_000, 0, 0), (eth,))
    >>> perpetual, nothing = np.array([[[1.0, 0.0, 0.0]]]), np.zeros((1, 0))
    >>> book = Book(np.zeros(1), perpetual, np.array([[-2000.0]]), nothing, nothing, (sparse.csr_array((1, 0)),))
    >>> result = margin(book, market)
    >>> float(result.im[0]), float(result.mm[0])
    (400.0, 320.0)
    """
    check_shapes(book, market)
    live = live_underlyings(book, market)
    packed = None
    if use_compiled(engine, len(book), _LEAST_COMPILED):
        from risk.margin_compiled import pack_rows

        packed = pack_rows(live)

    def work(low: int) -> MarginResult:
        block = book.block(low, min(low + _BLOCK, len(book)))
        check_finite(block, low)
        return margin_block(block, market, live, packed)

    # An empty book is one empty block, so that the result still has its columns.
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        return _joined(list(pool.map(work, range(0, max(len(book), 1), _BLOCK))))


def margin_block(
    book: Book, market: Market, live: tuple[LiveUnderlying, ...], packed: Tables | None = None
) -> MarginResult:
    """Margin of a block of accounts small enough for its arrays to stay in cache; compiled where rows are packed."""
    collateral = collateral_values(book, market)
    linked = [linked_values(k, collateral, market) for k in range(len(live))]
    results, joint = _judged(book, live, linked, packed)
    ending = last_day(book, live, linked, market)
    if ending is not None:
        ending.enter(results)
    risk = _market_risk(results, market, lambda: _worst_joint(book, results, live, market, joint, ending))
    charges = _total(item.charge for item in results)
    added = _total(item.drift + item.wide for item in results)
    lost = _total(item.lost for item in results)
    common = book.cash + _total(item.delta_one_value + item.option_value for item in results)
    scale, flags = market.global_parameters, risk.flags | collateral.flags
    held = book.cash < 0.0
    for item in results:
        held |= item.held
        flags |= item.flags
    reserve = np.where(held, float(scale.reserve_usd), 0.0)
    if ending is not None:
        ending.enter_ahead(added, scale)
    return MarginResult(
        equity_mark=common + collateral.value.sum(axis=1),
        equity_im=common - lost + collateral.counted_im.sum(axis=1),
        equity_mm=common + collateral.counted_mm.sum(axis=1),
        im=(scale.im_scale_bps * risk.initial + scale.im_charge_scale_bps * charges) / BPS + added + reserve,
        mm=scale.mm_scale_bps * risk.market_risk / BPS + charges + reserve,
        market_risk=risk.market_risk,
        charges=charges,
        worst_joint=risk.worst_joint,
        flags=flags,
        doubt=_total(item.doubt for item in results) + collateral.doubt.sum(axis=1),
        scans=np.stack([item.scan for item in results], axis=1),
    )


def _judged(
    book: Book, live: tuple[LiveUnderlying, ...], linked: list[FloatArray], packed: Tables | None
) -> tuple[list[UnderlyingResult], tuple[FloatArray, IntArray] | None]:
    """Section 4 but for the last day; with packed rows also the least joint profits, which the kernel has found."""
    if packed is None:
        return [underlying_result(book, k, item, linked[k]) for k, item in enumerate(live)], None
    from risk.margin_compiled import compiled_results

    return compiled_results(book, live, linked, packed)


class _Risk(NamedTuple):
    """Section 5: market risk, the one for initial margin, worst joint scenario and flags, each (A,)."""

    market_risk: FloatArray
    initial: FloatArray
    worst_joint: IntArray
    flags: IntArray


def _market_risk(
    results: list[UnderlyingResult], market: Market, least_profit: Callable[[], tuple[FloatArray, IntArray]]
) -> _Risk:
    """Section 5; `least_profit` is asked where there are joint scenarios and somebody they apply to."""
    total, largest = _total(item.scan for item in results), np.maximum.reduce([item.scan for item in results])
    several = _total(item.active.astype(np.int64) for item in results) >= 2
    nowhere = np.full(total.size, NO_JOINT)
    if not several.any():
        # With one active underlying the sum of scans is its scan, and with none it is zero.
        return _Risk(total, total, nowhere, np.zeros(total.size, dtype=np.int64))
    if market.joint is None:
        loss, worst, flag = total, nowhere, FLAG_JOINT_MISSING
    else:
        lowest, scenarios = least_profit()
        # A perfect hedge loses nothing but the last bits of its sums: that is no scenario's loss.
        real = lowest < -HAIR * total
        loss, worst = np.where(real, -lowest, 0.0), np.where(real & several, scenarios, NO_JOINT)
        flag = FLAG_TABLE_EXPIRED if market.joint_expires_at < market.now else 0
    floor, initial_floor = (
        fraction_from_bps(bps) * total
        for bps in (market.global_parameters.offset_floor_bps, market.global_parameters.im_offset_floor_bps)
    )
    risk = np.where(several, np.maximum(loss, np.maximum(floor, 2.0 * largest - total)), total)
    initial = np.where(several, np.maximum(risk, initial_floor), total)
    return _Risk(risk, initial, worst, np.where(several, flag, 0))


def _worst_joint(
    book: Book,
    results: list[UnderlyingResult],
    live: tuple[LiveUnderlying, ...],
    market: Market,
    joint: tuple[FloatArray, IntArray] | None,
    ending: LastDay | None,
) -> tuple[FloatArray, IntArray]:
    """Least joint profit of every account and its scenario, from the worse grid where something ends within a day."""
    lowest, worst = joint or _least_profit(book, results, live)
    if ending is not None and market.joint is not None:
        ending.enter_joint(lowest, worst, market.joint)
    return lowest, worst


def _least_profit(
    book: Book, results: list[UnderlyingResult], live: tuple[LiveUnderlying, ...]
) -> tuple[FloatArray, IntArray]:
    """Least joint profit of every account of a block and the lowest scenario that has it.

    Linear in positions, so it needs no 27-point grids: one sparse product an underlying. The weights of the 27 points
    add up to 1 in each scenario, which is why the slack enters whole.
    """
    dollars = np.stack([item.dollars for item in results], axis=1)
    profit = dollars @ np.stack([item.joint_moves for item in live])
    for options, item, result in zip(book.options, live, results, strict=True):
        if options.nnz:
            profit += options @ item.joint_rows
            if item.joint_tails.any():
                profit += np.multiply.outer(result.short_tail, item.joint_tails)
    index = profit.argmin(axis=1)
    lowest = np.take_along_axis(profit, index[:, None], axis=1)[:, 0] - np.sum([item.slack for item in results], axis=0)
    return lowest, index


def _total(parts: Iterable[NDArray[_T]]) -> NDArray[_T]:
    """Sum of one array an underlying."""
    return functools.reduce(np.add, parts)


def _joined(parts: list[MarginResult]) -> MarginResult:
    return MarginResult(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _RESULT_FIELDS})
