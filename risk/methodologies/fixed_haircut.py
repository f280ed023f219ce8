# SPDX-License-Identifier: Apache-2.0
"""Fixed haircuts and leverage, the way lending markets and simple venues do it: no scenario, no offset.

References
----------
Collateral: loan-to-value and liquidation threshold of Aave or Hyperliquid. Perpetuals: notional / leverage. Options
sold: Bybit's rule for accounts without portfolio margin (a share of the index less the distance out of the money).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from risk.methodologies.base import Book, MarginResult, Market, Strip, equity, haircuts, strips


def short_option(
    index: float, strike: float, mark: float, *, is_call: bool, liquidation_fee: float = 0.002
) -> tuple[float, float]:
    """Initial and maintenance demand for one option sold, its value included, USD.

    Examples
    --------
    >>> tuple(round(x) for x in short_option(20_250.0, 18_500.0, 290.0, is_call=False))
    (2315, 938)
    """
    out_of_money = max(strike - index if is_call else index - strike, 0.0)
    maintenance = max(0.03 * index, 0.03 * mark) + mark + liquidation_fee * index
    return max(max(0.15 * index - out_of_money, 0.1 * index) + mark, maintenance), maintenance


@dataclass(frozen=True, slots=True)
class FixedHaircut:
    """The plug-in. ``perp_im`` and ``perp_mm`` are shares of the notional (10 x and 20 x leverage).

    Options held count nothing towards margin, as there; haircuts are those of the market's assets.
    """

    perp_im: float = 0.1
    perp_mm: float = 0.05
    name: str = "fixed-haircut"

    def margin(self, book: Book, market: Market) -> MarginResult:
        """Margin of one account."""
        held = strips(book, market)
        im, mm = haircuts(book, market)
        for strip in held:
            for leg in book.legs:
                if leg.underlying == strip.name and leg.kind != "option":
                    im += abs(leg.quantity) * strip.spot * self.perp_im
                    mm += abs(leg.quantity) * strip.spot * self.perp_mm
            more = _options(strip)
            im, mm = im + more[0], mm + more[1]
        return MarginResult(equity(book, market, held), im, mm)


def _options(strip: Strip) -> tuple[float, float]:
    """Demands for all options: longs lose their value; of shorts the value is in equity already."""
    im = mm = float(np.maximum(strip.quantity, 0.0) @ strip.value)
    for quantity, strike, value, is_call in zip(strip.quantity, strip.strike, strip.value, strip.is_call, strict=True):
        if quantity < 0.0:
            each = short_option(strip.spot, float(strike), float(value), is_call=bool(is_call))
            im += -quantity * (each[0] - value)
            mm += -quantity * (each[1] - value)
    return im, mm
