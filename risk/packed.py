# SPDX-License-Identifier: Apache-2.0
"""Accounts of the chain as arrays: from state words (docs/margin-rule.md, section 2) to a book of the float margin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from risk.errors import BadInput
from risk.margin_inputs import Book
from risk.onchain_words import DELTA_ONE_SLOTS, AccountState, parse_words
from risk.units import LOTS_PER_UNIT, WAD

OPTION_SLOTS = 253
LOT_WAD = LOTS_PER_UNIT * WAD
_KIND = {slot: k for k, slot in enumerate(DELTA_ONE_SLOTS)}


class Packed(NamedTuple):
    """Accounts as a book, one row each; ``odd`` (A,) are those that arrays cannot say: only integers may judge them."""

    book: Book
    odd: NDArray[np.bool_]

    def take(self, rows: NDArray[np.int64]) -> Packed:
        """Copies of these rows, in this order."""
        return Packed(self.book.take(rows), self.odd[rows])


@dataclass(slots=True)
class Layout:
    """Numbers of underlyings and collateral assets, and the underlying each asset is linked to, as far as seen."""

    underlyings: int
    collaterals: int
    linked: dict[int, int] = field(default_factory=dict)

    def fits(self, state: AccountState) -> bool:
        """Whether an account has only what the arrays have room for; learns the links of assets."""
        if any(k >> 8 >= self.underlyings for k in state.delta_ones) or any(
            u >= self.underlyings for u in state.options
        ):
            return False
        if any(len({option.slot for option in held}) < len(held) for held in state.options.values()):
            return False
        if any(not held.lots and not held.base for held in state.delta_ones.values()):
            return False
        for item in state.collaterals:
            if item.asset >= self.collaterals or self.linked.setdefault(item.asset, item.linked) != item.linked:
                return False
        return all(link <= self.underlyings for link in self.linked.values())


class _Entries:
    """Options of one underlying as they are met."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.slots: list[int] = []
        self.lots: list[int] = []

    def matrix(self, accounts: int) -> sparse.csr_array:
        """Signed units by account and slot."""
        units = np.array(self.lots, dtype=np.float64) / LOTS_PER_UNIT
        shape = (accounts, OPTION_SLOTS)
        return sparse.csr_array((units, (self.rows, self.slots)), shape=shape)  # type: ignore[no-untyped-call]


def pack_accounts(accounts: Sequence[Sequence[int]], layout: Layout) -> Packed:
    """Arrays of accounts given as state words; words that cannot be read make an odd row of zeros.

    Examples
    --------
    >>> packed = pack_accounts([(0, 5 * 10**18)], Layout(1, 0))
    >>> packed.book.cash.tolist(), packed.odd.tolist()
    ([5.0], [False])
    """
    count, u_count, c_count = len(accounts), layout.underlyings, layout.collaterals
    cash, odd = np.zeros(count), np.zeros(count, dtype=bool)
    units, base = np.zeros((count, u_count, 3)), np.zeros((count, u_count))
    held, use = np.zeros((count, c_count)), np.zeros((count, c_count))
    options = [_Entries() for _ in range(u_count)]
    for row, words in enumerate(accounts):
        try:
            state = parse_words(words)
        except BadInput:
            odd[row] = True
            continue
        if not layout.fits(state):
            odd[row] = True
            continue
        cash[row] = state.cash / WAD
        for instrument, position in state.delta_ones.items():
            u = instrument >> 8
            units[row, u, _KIND[instrument & 0xFF]] = position.lots / LOTS_PER_UNIT
            base[row, u] += position.base / LOT_WAD
        for u, positions in state.options.items():
            entries = options[u]
            entries.rows += [row] * len(positions)
            entries.slots += [option.slot for option in positions]
            entries.lots += [option.lots for option in positions]
        for item in state.collaterals:
            held[row, item.asset] = item.amount / 10**item.decimals
            use[row, item.asset] = item.use_bps / 10_000
    matrices = tuple(entries.matrix(count) for entries in options)
    return Packed(Book(cash, units, base, held, use, matrices), odd)


def join(parts: Iterable[Packed]) -> Packed:
    """One book of several, rows one after the other."""
    listed = list(parts)
    books = [part.book for part in listed]
    dense = {
        name: np.concatenate([getattr(book, name) for book in books])
        for name in ("cash", "units", "base", "collateral", "collateral_use")
    }
    columns = range(len(books[0].options))
    options = tuple(_stacked([book.options[k] for book in books]) for k in columns)
    return Packed(replace(books[0], **dense, options=options), np.concatenate([part.odd for part in listed]))


def _stacked(matrices: list[sparse.csr_array]) -> sparse.csr_array:
    return sparse.vstack(matrices, format="csr")  # type: ignore[no-untyped-call, no-any-return]
