# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of the liquidation auction in floats, for arrays of accounts.

The same formulas as ``contracts/modules/auction_math.vy`` and ``auction_terms.vy``, without their roundings:
each result differs from the contract's integers by at most 1e-9 of itself (tests/unit/risk/test_replay_auction.py runs
both).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from risk.market.history import FloatArray
from risk.replay.settings import AuctionTerms

SOLVENT, INSOLVENT = 1, 2


def discount(elapsed_s: FloatArray, terms: AuctionTerms) -> FloatArray:
    """Discount on equity (n,) after so much of the solvent clock, s: linear to ``fast``, then linear to ``slow``.

    Examples
    --------
    >>> discount(np.array([0.0, 450.0, 22_500.0, 1e9]), AuctionTerms()).round(3).tolist()
    [0.01, 0.105, 0.6, 1.0]
    """
    knots = [0.0, terms.fast_s, terms.solvent_s]
    return np.asarray(np.interp(elapsed_s, knots, [terms.start, terms.fast, terms.slow]), dtype=np.float64)


def max_fraction(equity_mm: FloatArray, target: FloatArray, price: FloatArray, fixed: float) -> FloatArray:
    """Least fraction (n,) whose sale at `price` for the whole brings maintenance equity to the target of the rest.

    Amounts in USD; ``fixed`` is the part of the target that does not shrink with the account. 0 when nothing is
    missing, at most 1.

    References
    ----------
    ``auction_math._max_fraction``: ``f = missing / (missing + price - fixed)``, 1 when ``price <= fixed``.

    Examples
    --------
    >>> float(max_fraction(np.array([90.0]), np.array([115.0]), np.array([100.0]), 0.0)[0])
    0.2
    """
    missing = np.maximum(target - equity_mm, 0.0)
    spare = price - fixed
    share = missing / np.where(spare > 0.0, missing + spare, 1.0)
    return np.asarray(np.where(missing == 0.0, 0.0, np.where(spare > 0.0, share, 1.0)), dtype=np.float64)


def account_size(equity_mark: FloatArray, equity_mm: FloatArray, mm: FloatArray) -> FloatArray:
    """What holding each account (n,) takes in all, USD: maintenance margin and the haircuts of its collateral."""
    return np.asarray(mm + np.maximum(equity_mark - equity_mm, 0.0), dtype=np.float64)


def payout(equity_mark: FloatArray, size: FloatArray, elapsed_s: FloatArray, terms: AuctionTerms) -> FloatArray:
    """What a bidder is paid for the whole of an insolvent account, (n,) USD: its negative equity and a rising reward.

    Examples
    --------
    >>> payout(np.array([-50.0, 30.0]), np.array([100.0, 100.0]), np.array([1_800.0, 3_600.0]), AuctionTerms()).tolist()
    [100.0, 70.0]
    """
    reward = np.where(equity_mark < 0.0, size, np.maximum(size - equity_mark, 0.0))
    share = np.minimum(elapsed_s, terms.insolvent_s) / terms.insolvent_s
    return np.asarray(np.maximum(-equity_mark, 0.0) + reward * share, dtype=np.float64)


def taken_fraction(
    wanted: FloatArray, cap: FloatArray, size: FloatArray, terms: AuctionTerms
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Fraction (n,) that a bid takes, and whether it may: all when the rest would be dust, no slice that is too small.

    References
    ----------
    ``auction_terms._fraction``.
    """
    fraction = np.minimum(wanted, cap)
    fraction = np.where(size * (1.0 - fraction) < terms.min_slice_usd, 1.0, fraction)
    allowed = (fraction > 0.0) & ((fraction >= cap) | (size * fraction >= terms.min_slice_usd))
    return fraction, allowed
