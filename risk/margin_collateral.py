# SPDX-License-Identifier: Apache-2.0
"""What collateral counts for, in floats and for a whole book: section 6 of docs/margin-rule.md."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from risk.margin_inputs import Book, FloatArray, Market
from risk.onchain import FLAG_PRICE_DEAD
from risk.types import BPS, CollateralParameters
from risk.units import fraction_from_bps

IntArray = NDArray[np.int64]

USD_PER_DEPTH = 10_000.0
HAIR = 1e-13
DEAD_HAIRCUT_BPS = 2_000


class CollateralResult(NamedTuple):
    """Section 6: (A, C) values and doubt in USD, and the flags (A,)."""

    value: FloatArray
    counted_im: FloatArray
    counted_mm: FloatArray
    doubt: FloatArray
    flags: IntArray


def collateral_values(book: Book, market: Market) -> CollateralResult:
    """Section 6 of the rule: value and counted value of each collateral asset of each account."""
    value, im, mm, doubt = (np.zeros(book.collateral.shape) for _ in range(4))
    flags = np.zeros(len(book), dtype=np.int64)
    for k, item in enumerate(market.collaterals):
        lanes = item.parameters
        value[:, k] = book.collateral[:, k] * item.price
        # other people's deposits count against initial margin only
        use = _whole_bps(lanes.use_haircut_bps * book.collateral_use[:, k])
        kept = _counted(value[:, k], BPS - lanes.haircut_im_bps - use, lanes)
        im[:, k] = kept * (1.0 - fraction_from_bps(item.lateness_bps))
        dead_bps = DEAD_HAIRCUT_BPS if item.dead else 0
        mm[:, k] = _counted(value[:, k], np.float64(BPS - lanes.haircut_mm_bps - dead_bps), lanes)
        if item.dead:
            flags |= np.where(book.collateral[:, k] > 0.0, FLAG_PRICE_DEAD, 0)
            doubt[:, k] = np.maximum(2.0 * value[:, k] - mm[:, k], 0.0)
    return CollateralResult(value, im, mm, doubt, flags)


def _counted(value: FloatArray, kept_bps: FloatArray | np.float64, lanes: CollateralParameters) -> FloatArray:
    """What holdings (A,) count for: a parabola in their size up to its peak, constant beyond."""
    kept = np.maximum(kept_bps, 0.0) / BPS
    if lanes.size_haircut_bps == 0:
        return np.asarray(value * kept)
    slope = fraction_from_bps(lanes.size_haircut_bps) / (max(1, lanes.size_unit) * USD_PER_DEPTH)
    sized = np.minimum(value, kept / (2.0 * slope))
    return np.asarray(np.maximum(sized * (kept - slope * sized), 0.0))


def _whole_bps(value: FloatArray) -> FloatArray:
    """Upwards to whole basis points: the one rounding of the rule too coarse to leave out (1 bp of a collateral)."""
    return np.ceil(value * (1.0 - HAIR))


def linked_values(index: int, collateral: CollateralResult, market: Market) -> FloatArray:
    """Value (A,) of the collateral linked to one underlying."""
    mine = [k for k, item in enumerate(market.collaterals) if item.linked == index]
    return np.asarray(collateral.value[:, mine].sum(axis=1), dtype=np.float64)
