# SPDX-License-Identifier: Apache-2.0
"""What collateral counts for, in integers: section 6 of docs/margin-rule.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from risk.onchain_words import AccountState, PriceWord, lane

BPS = 10_000
VALUE_CAP = 2**112
DEAD = 2
DEAD_HAIRCUT_BPS = 2_000


def ceil_div(a: int, b: int) -> int:
    """``a / b`` rounded towards plus infinity, ``b > 0``."""
    return -(-a // b)


class CollateralValue(NamedTuple):
    """One asset: value, what counts and doubt, wad; ``linked`` is the underlying + 1, 0 for none."""

    value: int
    counted_im: int
    counted_mm: int
    doubt: int
    linked: int
    dead: bool


def collateral_values(
    state: AccountState, prices: Mapping[int, PriceWord], words: Mapping[int, int]
) -> dict[int, CollateralValue]:
    """Section 6 by asset."""
    result = {}
    for item in state.collaterals:
        price = prices[item.asset]
        word = words[item.asset]
        value = item.amount * price.price // 10**item.decimals
        dead = price.state == DEAD
        # other people's deposits count against initial margin only
        use = ceil_div(lane(word, 4) * item.use_bps, BPS)
        im = _counted(value, lane(word, 0) + use, word) * (BPS - price.late_bps) // BPS
        mm = _counted(value, lane(word, 1) + (DEAD_HAIRCUT_BPS if dead else 0), word)
        doubt = max(0, 2 * value - mm) if dead else 0
        linked = item.linked if item.amount else 0
        result[item.asset] = CollateralValue(value, im, mm, doubt, linked, dead)
    return result


def _counted(value: int, haircut_bps: int, word: int) -> int:
    """What a holding counts for: a parabola in its size up to the peak, constant beyond."""
    size_bps, unit = lane(word, 2), max(1, lane(word, 3)) * 10**22
    kept = max(0, BPS - haircut_bps)
    sized = min(value, VALUE_CAP)
    if size_bps > 0:
        sized = min(sized, unit * kept // (2 * size_bps))
    return max(0, sized * kept // BPS - ceil_div(size_bps * sized * sized, unit * BPS))
