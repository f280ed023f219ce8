# SPDX-License-Identifier: Apache-2.0
"""What a replay reports: totals, times to liquidation, and series for plots."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from risk.market.history import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Series:
    """One row a block: ``ts`` unix s, ``price`` with and ``path`` without impact (n, k) USD, the rest (n,).

    ``under`` accounts below maintenance margin, ``auctions`` running, ``free`` initial margin liquidators have left,
    ``inventory`` gross USD they hold, ``im`` and ``mm`` of all accounts, ``scan`` in force, (n, k) bps.
    """

    ts: IntArray
    price: FloatArray
    path: FloatArray
    under: IntArray
    auctions: IntArray
    fund: FloatArray
    lost: FloatArray
    free: FloatArray
    inventory: FloatArray
    im: FloatArray
    mm: FloatArray
    scan: IntArray

    @property
    def impact(self) -> FloatArray:
        """(n, k) price over that without liquidations, less one."""
        return np.asarray(self.price / self.path - 1.0, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Summary:
    """Totals of a replay, USD, counts, hours.

    Attributes
    ----------
    bad_debt_usd : float
        Negative equity of accounts at the moment they were taken over.
    rescue_usd : float
        Paid to bidders for it in all: bad debt and their reward.
    fund_used_usd, lenders_loss_usd, uncovered_usd : float
        Who paid that; ``uncovered`` is what nobody could.
    open_shortfall_usd : float
        Negative equity still in accounts at the end.
    liquidated, rescued, sold_out : int
        Accounts with a bid; taken in the insolvent phase; sold whole.
    seized_usd : float
        Gross notional taken over.
    hours_to_liquidation : tuple of float
        Median, 90 % and longest time from below maintenance margin to a bid that ended it; zeros where there was none.
    unresolved : int
        Accounts below maintenance margin at the end.
    peak_im_usd, peak_mm_usd : float
        Largest sum of margin over accounts.
    peak_scan_bps : int
    liquidator_profit_usd : float
        Equity at mark of liquidators at the end, less what they put in.
    injected_usd : float
        What they put in after the start.
    trading_cost_usd : float
        Spread and temporary impact they paid.
    worst_impact : float
        Largest move of a price by liquidations, a fraction.
    lowest_free_usd : float
        Least free initial margin of liquidators.
    lenders_usd : float
        Positive cash at the start.
    conservation : float
        Largest relative error of the sums.
    """

    accounts: int
    hours: float
    bad_debt_usd: float
    rescue_usd: float
    fund_used_usd: float
    lenders_loss_usd: float
    uncovered_usd: float
    open_shortfall_usd: float
    liquidated: int
    rescued: int
    sold_out: int
    bids: int
    seized_usd: float
    hours_to_liquidation: tuple[float, float, float]
    unresolved: int
    peak_under: int
    peak_im_usd: float
    peak_mm_usd: float
    peak_scan_bps: int
    pushes: int
    liquidator_profit_usd: float
    injected_usd: float
    trading_cost_usd: float
    worst_impact: float
    lowest_free_usd: float
    lenders_usd: float
    conservation: float

    def plain(self) -> dict[str, Any]:
        """JSON-safe."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """Totals and series of one replay; ``symbols`` name the columns."""

    symbols: tuple[str, ...]
    summary: Summary
    series: Series


def time_quantiles(hours: list[float]) -> tuple[float, float, float]:
    """Median, 90 % quantile and largest; zeros of nothing."""
    if not hours:
        return 0.0, 0.0, 0.0
    values = np.array(hours)
    return float(np.median(values)), float(np.quantile(values, 0.9)), float(values.max())
