# SPDX-License-Identifier: Apache-2.0
"""Who owns what: accounts, liquidators, insurance fund and the market outside, and every way money moves among them.

Nothing is created: each move takes from one what it gives to another, and :meth:`Ledger.check` compares the sums of
money, positions, collateral and options with what they were at the start plus what liquidators paid in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from risk.errors import BadInput, RiskError
from risk.margin import Book
from risk.market.history import FloatArray

# Floats: of everything that is added up, so much may go astray over a whole replay.
CONSERVATION = 1e-9


class MoneyLost(RiskError):  # noqa: N818 (named for what happened)
    """The sums of a replay no longer agree: a bug, not a result. Report it with the settings and the seed."""


@dataclass(frozen=True, slots=True)
class Sale:
    """What liquidators sold of one underlying: amounts that left them, and the money they got, USD."""

    units: float
    options: FloatArray
    collateral: FloatArray
    money: float


def _dense(matrix: sparse.csr_array) -> FloatArray:
    return np.asarray(matrix.todense(), dtype=np.float64)  # type: ignore[no-untyped-call]


class Ledger:
    """Balances of a replay; arrays as in :class:`risk.margin.Book`, the liquidators in the last row.

    Parameters
    ----------
    book
        The accounts; perpetuals only (column 0 of ``units``).
    fund_usd
        The insurance fund.
    capital_usd
        Cash of the liquidators.

    Attributes
    ----------
    covered, lost : float
        What the fund paid, and what it could not pay and lenders did, USD.
    uncovered : float
        What nobody could pay: lenders had no cash left.
    injected : float
        What liquidators paid in after the start.
    """

    def __init__(self, book: Book, fund_usd: float, capital_usd: float) -> None:
        if book.units[:, :, 1:].any():
            raise BadInput("a replay holds perpetuals and options, no dated futures; leave them out of the book")
        underlyings, assets = book.base.shape[1], book.collateral.shape[1]
        self.cash = np.append(book.cash, capital_usd)
        self.units = np.vstack([book.units[:, :, 0], np.zeros((1, underlyings))])
        self.base = np.vstack([book.base, np.zeros((1, underlyings))])
        self.collateral = np.vstack([book.collateral, np.zeros((1, assets))])
        self.options = [np.vstack([_dense(m), np.zeros((1, m.shape[1]))]) for m in book.options]
        self._sparse: list[sparse.csr_array | None] = [None] * underlyings
        self.fund = fund_usd
        self.covered = self.lost = self.uncovered = self.injected = 0.0
        self.market_cash = 0.0
        self.market_units = -self.units.sum(axis=0)
        self.market_options = [-m.sum(axis=0) for m in self.options]
        self.market_collateral = np.zeros(assets)
        self._start = self._sums()
        self._gross = self._scale()

    @property
    def liquidators(self) -> int:
        """Row of the liquidators."""
        return self.cash.size - 1

    def book(self) -> Book:
        """Every row as a book of the float margin."""
        for u, matrix in enumerate(self.options):
            if self._sparse[u] is None:
                self._sparse[u] = sparse.csr_array(matrix)  # type: ignore[no-untyped-call]
        units = np.zeros((*self.units.shape, 3))
        units[:, :, 0] = self.units
        matrices = tuple(m for m in self._sparse if m is not None)
        return Book(self.cash, units, self.base, self.collateral, np.zeros_like(self.collateral), matrices)

    def seize(self, account: int, fraction: float, price: float) -> None:
        """Move a fraction of everything an account has to the liquidators for `price` (>= 0) in cash.

        References
        ----------
        ``contracts/modules/seizure.vy``, ``_seize``.
        """
        for array in (self.cash, self.units, self.base, self.collateral, *self.options):
            array[-1] += fraction * array[account]
            array[account] *= 1.0 - fraction
        for u, matrix in enumerate(self.options):
            if matrix[-1].any() or matrix[account].any():
                self._sparse[u] = None
        self.cash[account] += price
        self.cash[-1] -= price

    def pay_from_fund(self, amount: float) -> float:
        """Pay the liquidators from the fund, then from all positive cash; what was paid, USD.

        References
        ----------
        ``auction_case._raise_money`` and ``losses._socialise``: each lender loses in proportion to its cash.
        """
        covered = min(self.fund, amount)
        self.fund -= covered
        lent = float(np.maximum(self.cash, 0.0).sum())
        lost = min(amount - covered, lent)
        if lost > 0.0:
            self.cash = np.where(self.cash > 0.0, self.cash * (1.0 - lost / lent), self.cash)
        self.cash[-1] += covered + lost
        self.covered += covered
        self.lost += lost
        self.uncovered += amount - covered - lost
        return covered + lost

    def reward(self, account: int, amount: float) -> None:
        """Pay whoever started an auction from the account's own cash."""
        self.cash[account] -= amount
        self.cash[-1] += amount

    def inject(self, amount: float) -> None:
        """Liquidators pay in new money from outside."""
        self.cash[-1] += amount
        self.injected += amount

    def sell(self, underlying: int, sale: Sale) -> None:
        """Liquidators sell to the market outside; what they close of their perpetual turns its base into cash.

        ``sale.money`` is for everything that leaves, a perpetual counted at its full price: its base is what it cost.
        """
        row, held = self.liquidators, self.units[-1, underlying]
        if sale.units != 0.0:
            closed = self.base[row, underlying] * (sale.units / held)
            self.base[row, underlying] -= closed
            self.cash[row] += closed
        self.units[row, underlying] -= sale.units
        self.market_units[underlying] += sale.units
        self.options[underlying][row] -= sale.options
        self.market_options[underlying] += sale.options
        self.collateral[row] -= sale.collateral
        self.market_collateral += sale.collateral
        self.cash[row] += sale.money
        self.market_cash -= sale.money
        if sale.options.any():
            self._sparse[underlying] = None

    def settle_options(self, underlying: int, slots: FloatArray, payoff: FloatArray) -> None:
        """Turn settled options into cash; `slots` (O,) bool, `payoff` (O,) USD per unit."""
        matrix, paid = self.options[underlying], np.where(slots, payoff, 0.0)
        self.cash = self.cash + matrix @ paid
        self.market_cash += float(self.market_options[underlying] @ paid)
        matrix[:, slots] = 0.0
        self.market_options[underlying][slots] = 0.0
        self._sparse[underlying] = None

    def _sums(self) -> FloatArray:
        money = self.cash.sum() + self.base.sum() + self.fund + self.market_cash - self.injected
        things = [self.units.sum(axis=0) + self.market_units, self.collateral.sum(axis=0) + self.market_collateral]
        things += [m.sum(axis=0) + outside for m, outside in zip(self.options, self.market_options, strict=True)]
        return np.concatenate([[money], *things])

    def _scale(self) -> FloatArray:
        money = np.abs(self.cash).sum() + np.abs(self.base).sum() + self.fund + abs(self.market_cash)
        things = [np.abs(self.units).sum(axis=0), np.abs(self.collateral).sum(axis=0)]
        things += [np.abs(m).sum(axis=0) for m in self.options]
        return np.asarray(np.maximum(np.concatenate([[money], *things]), 1.0), dtype=np.float64)

    def check(self, moment: str) -> float:
        """Largest relative error of the sums; raises when one is beyond what floats explain.

        Raises
        ------
        MoneyLost
        """
        off = np.abs(self._sums() - self._start) / self._gross
        worst = float(off.max())
        if not worst <= CONSERVATION:
            raise MoneyLost(f"sums at {moment} are off by {worst:.2e} of what they add up; report it with the settings")
        return worst
