# SPDX-License-Identifier: Apache-2.0
"""The margin rule in floats, for a whole book at once.

Same rule as docs/margin-rule.md, without its roundings (but for whole basis points of haircut and of lateness).
``risk.onchain`` gives the exact integers of one account, ``risk.explain`` the reasons; this module is for calibration
and monitoring of many.

Float against integer: every amount differs from the integer twin's by at most ``2e-9`` of the account's gross notional
(options, delta-one instruments, linked collateral) plus ``1e-12`` of its cash plus 1e-9 USD; 1.7e-10 was the
largest of 480 random accounts (``pytest -s tests/unit/risk/test_margin.py``). The notional term is the chain's floor of
a grid coordinate to 1e-9 of a step, which enters with the slope of the profile; everything else is a few wads. Exempt
are coordinates within 1e-9 of a midpoint between nodes, where the two may choose neighbouring triples, or of a distance
from the reference price at which its lateness gains a basis point, and charges on size far beyond the depth, which grow
with its square.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.margin_collateral import HAIR, collateral_values, linked_values
from risk.margin_inputs import (
    Book,
    CollateralMarket,
    FloatArray,
    Mark,
    Market,
    UnderlyingMarket,
    check_shapes,
)
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

NO_JOINT = 255
_BLOCK = 8_192


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


def margin(book: Book, market: Market, *, threads: int = 1) -> MarginResult:
    """Margin of every account of a book.

    Parameters
    ----------
    book, market
        Accounts and market, with equally many underlyings and collateral assets.
    threads
        Worker threads over blocks of accounts; the result does not depend on it.

    Raises
    ------
    BadInput
        When the shapes of book and market do not agree.

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
    # An empty book is one empty block, so that the result still has its columns.
    blocks = [book.block(low, min(low + _BLOCK, len(book))) for low in range(0, max(len(book), 1), _BLOCK)]
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        return _joined(list(pool.map(lambda block: margin_block(block, market, live), blocks)))


def margin_block(book: Book, market: Market, live: tuple[LiveUnderlying, ...]) -> MarginResult:
    """Margin of a block of accounts small enough for its arrays to stay in cache."""
    collateral = collateral_values(book, market)
    results = [underlying_result(book, k, item, linked_values(k, collateral, market)) for k, item in enumerate(live)]
    risk = _market_risk(book, results, live, market)
    charges = np.sum([item.charge for item in results], axis=0)
    added = np.sum([item.drift + item.wide for item in results], axis=0)
    lost = np.sum([item.lost for item in results], axis=0)
    common = book.cash + np.sum([item.delta_one_value + item.option_value for item in results], axis=0)
    scale, flags = market.global_parameters, risk.flags | collateral.flags
    held = np.any([item.held for item in results], axis=0) | (book.cash < 0.0)
    reserve = np.where(held, float(scale.reserve_usd), 0.0)
    for item in results:
        flags |= item.flags
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
        doubt=np.sum([item.doubt for item in results], axis=0) + collateral.doubt.sum(axis=1),
        scans=np.stack([item.scan for item in results], axis=1),
    )


class _Risk(NamedTuple):
    """Section 5: market risk, the one for initial margin, worst joint scenario and flags, each (A,)."""

    market_risk: FloatArray
    initial: FloatArray
    worst_joint: IntArray
    flags: IntArray


def _market_risk(
    book: Book, results: list[UnderlyingResult], live: tuple[LiveUnderlying, ...], market: Market
) -> _Risk:
    """Section 5."""
    scans = np.stack([item.scan for item in results], axis=1)
    several = np.flatnonzero(np.sum([item.active for item in results], axis=0) >= 2)
    total = scans.sum(axis=1)
    worst, flags = np.full(total.size, NO_JOINT), np.zeros(total.size, dtype=np.int64)
    # With one active underlying the sum of scans is its scan, and with none it is zero.
    risk = total.copy()
    if not several.size:
        return _Risk(risk, risk, worst, flags)
    if market.joint is None:
        loss = total[several]
        flags[several] = FLAG_JOINT_MISSING
    else:
        losses, scenarios = _joint_losses(book, results, live)
        loss, worst[several] = losses[several], scenarios[several]
        flags[several] = FLAG_TABLE_EXPIRED if market.joint_expires_at < market.now else 0
    floor = fraction_from_bps(market.global_parameters.offset_floor_bps) * total[several]
    dominant = 2.0 * scans[several].max(axis=1) - total[several]
    risk[several] = np.maximum(loss, np.maximum(floor, dominant))
    initial = risk.copy()
    initial_floor = fraction_from_bps(market.global_parameters.im_offset_floor_bps) * total[several]
    initial[several] = np.maximum(risk[several], initial_floor)
    return _Risk(risk, initial, worst, flags)


def _joint_losses(
    book: Book, results: list[UnderlyingResult], live: tuple[LiveUnderlying, ...]
) -> tuple[FloatArray, IntArray]:
    """Greatest joint loss of every account of a block and the lowest scenario that has it.

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
    # A perfect hedge loses nothing but the last bits of its sums: that is no scenario's loss.
    real = lowest < -HAIR * np.sum([item.scan for item in results], axis=0)
    return np.where(real, -lowest, 0.0), np.where(real, index, NO_JOINT)


def _joined(parts: list[MarginResult]) -> MarginResult:
    return MarginResult(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _RESULT_FIELDS})
