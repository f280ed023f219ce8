# SPDX-License-Identifier: Apache-2.0
"""What the integer twin reads beside the account: section 3 of docs/margin-rule.md, at one block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from risk.onchain_words import PERPETUAL, JointSet, MarkWord, Page, PriceWord

E9 = 10**9


@dataclass(frozen=True, slots=True)
class ChainMarket:
    """Everything but the account that the rule reads, at one block.

    Parameters
    ----------
    timestamp : unix seconds of the block.
    prices, collateral_prices : by underlying / asset number.
    marks : settlement price and carry of each delta-one instrument, by instrument id.
    global_word, underlying_words, collateral_words : parameter words (section 3).
    pages : living page by underlying; absent when there is none.
    joint : the joint scenarios, ``None`` when none were ever published.
    """

    timestamp: int
    prices: Mapping[int, PriceWord]
    collateral_prices: Mapping[int, PriceWord]
    marks: Mapping[int, MarkWord]
    global_word: int
    underlying_words: Mapping[int, int]
    collateral_words: Mapping[int, int]
    pages: Mapping[int, Page] = field(default_factory=dict)
    joint: JointSet | None = None

    def mark(self, instrument: int) -> int:
        """``M_k`` of section 4, wad per unit: settled price, else the price with a future's basis."""
        word, price = self.marks[instrument], self.prices[instrument >> 8].price
        if word.settled:
            return word.settled
        return price if instrument & 0xFF == PERPETUAL else price + price * word.carry // E9
