# SPDX-License-Identifier: Apache-2.0
"""Search for the books a scenario set serves worst: the least requirement for what they can lose.

A trader who knows the scenarios sizes the legs he holds so that the requirement falls faster than the Expected
Shortfall. The search does the same: it walks down the logarithm of the ratio in the logarithms of the leg sizes, so a
book keeps its legs and their signs. The books it ends with are cutting planes: `risk.joint` adds them, and their
tail scenarios, to what the next scenarios are chosen for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from risk.books import Universe
from risk.errors import BadInput
from risk.market.history import FloatArray, IntArray
from risk.scenarios import Float32Array, tail_count

# Longest step in the logarithm of a leg size, and how it grows and shrinks.
FIRST_STEP, MAX_STEP, GROW, SHRINK = 0.3, 1.0, 1.3, 0.5


@dataclass(frozen=True, slots=True)
class AdversaryConfig:
    """How hard the search tries.

    Attributes
    ----------
    rounds : int
        Times the worst books found are added and scenarios chosen for them; 0 leaves the search out.
    slots : int
        Scenarios kept for each round.
    books : int
        Books the search starts from: those with the least ratio.
    steps : int
        Steps of the descent.
    min_target : float
        Books that can lose less than this share of gross notional are not searched: charges cover them.
    """

    rounds: int = 2
    slots: int = 8
    books: int = 150
    steps: int = 12
    min_target: float = 0.005

    def __post_init__(self) -> None:
        if self.rounds < 0 or min(self.slots, self.books, self.steps) < 1 or not 0 < self.min_target < 1:
            raise BadInput(
                f"adversary of {self.rounds} rounds, {self.slots} slots, {self.books} books, {self.steps} steps, least "
                f"target {self.min_target}: rounds must not be negative, counts at least 1, the target within (0, 1)"
            )


@dataclass(frozen=True, slots=True)
class Found:
    """Books (b, M) of gross notional 1 with their ratio and target, (b,), in the order of the starting books."""

    books: FloatArray
    ratio: FloatArray
    target: FloatArray


class _Point(NamedTuple):
    """Requirement and target of books, (b,), and their gradients in the holdings, (b, M)."""

    requirement: FloatArray
    target: FloatArray
    up: FloatArray
    loss: FloatArray


@dataclass(frozen=True, slots=True)
class Adversary:
    """What the search is played on.

    Attributes
    ----------
    universe : Universe
    grid : (M, 3, 9) float64
    by_draw : (M, n) float32
        Profit of each instrument in each draw.
    instrument : (M, J) float64
        Profit of each instrument in each scenario (`risk.scenarios.instrument_pnl`).
    offset_floor : float
    level : float
    """

    universe: Universe
    grid: FloatArray
    by_draw: Float32Array
    instrument: FloatArray
    offset_floor: float
    level: float

    def search(self, start: FloatArray, config: AdversaryConfig) -> Found:
        """Walk from each starting book towards the least requirement over Expected Shortfall.

        Parameters
        ----------
        start : (b, M) float64
            Books of gross notional 1 with two underlyings or more.
        config : AdversaryConfig

        Returns
        -------
        Found
            No ratio is above that of its starting book.

        References
        ----------
        Tasche (2000), *Risk contributions and performance measurement*, for the gradient of Expected Shortfall (the
        tail mean of each leg); Kelley (1960) for cutting planes.
        """
        books = start.copy()
        at = self._point(books)
        ratio = at.requirement / at.target
        step = np.full(ratio.size, FIRST_STEP)
        for _ in range(config.steps):
            # In the logarithm of the sizes: no leg changes sign or leaves.
            slope = (at.up / np.maximum(at.requirement, 1e-12)[:, None] - at.loss / at.target[:, None]) * books
            slope /= np.maximum(np.abs(slope).max(axis=1, keepdims=True), 1e-12)
            tried = books * np.exp(-step[:, None] * slope)
            tried /= np.abs(tried).sum(axis=1, keepdims=True)
            new = self._point(tried)
            found = new.requirement / np.maximum(new.target, 1e-12)
            better = (found < ratio) & (new.target > config.min_target)
            step = np.where(better, np.minimum(GROW * step, MAX_STEP), SHRINK * step)
            books[better], ratio[better] = tried[better], found[better]
            for old, fresh in zip(at, new, strict=True):
                old[better] = fresh[better]
        return Found(books, ratio, at.target)

    def _point(self, books: FloatArray) -> _Point:
        target, loss = self._shortfall(books)
        requirement, up = self._requirement(books)
        return _Point(requirement, target, up, loss)

    def _shortfall(self, books: FloatArray) -> tuple[FloatArray, FloatArray]:
        n = self.by_draw.shape[1]
        tail = tail_count(n, self.level)
        worst = np.argpartition(books.astype(np.float32) @ self.by_draw, tail - 1, axis=1)[:, :tail]
        # A row of ones over each book's tail, times the draws: the tail mean of every instrument.
        mask = np.zeros((books.shape[0], n), dtype=np.float32)
        np.put_along_axis(mask, worst, np.float32(1.0 / tail), axis=1)
        gradient = -(mask @ self.by_draw.T).astype(np.float64)
        return np.einsum("bm,bm->b", books, gradient), gradient

    def _requirement(self, books: FloatArray) -> tuple[FloatArray, FloatArray]:
        rows = np.arange(books.shape[0])
        profit = books @ self.instrument
        joint, joint_slope = np.maximum(-profit.min(axis=1), 0.0), -self.instrument[:, profit.argmin(axis=1)].T
        scans, slopes = self._scans(books)
        total, total_slope = scans.sum(axis=1), slopes.sum(axis=1)
        large = scans.argmax(axis=1)
        options = np.stack([joint, self.offset_floor * total, 2.0 * scans[rows, large] - total], axis=1)
        which = options.argmax(axis=1)
        dominant = 2.0 * slopes[rows, large] - total_slope
        slope = np.where(
            (which == 0)[:, None],
            joint_slope,
            np.where((which == 1)[:, None], self.offset_floor * total_slope, dominant),
        )
        return options.max(axis=1), slope

    def _scans(self, books: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Scan of each underlying, (b, k), and its gradient, (b, k, M)."""
        k = len(self.universe.symbols)
        scans, slopes = np.zeros((books.shape[0], k)), np.zeros((books.shape[0], k, self.universe.size))
        for u in range(k):
            mine = np.flatnonzero(self.universe.underlying == u)
            flat = self.grid[mine].reshape(mine.size, -1)
            profit = books[:, mine] @ flat
            scans[:, u] = np.maximum(-profit.min(axis=1), 0.0)
            slopes[:, u, mine] = -flat[:, profit.argmin(axis=1)].T * (scans[:, u] > 0)[:, None]
        return scans, slopes


def least(values: FloatArray, targets: FloatArray, config: AdversaryConfig) -> IntArray:
    """Rows of the books to start from: the least ratios among those that can lose enough.

    Parameters
    ----------
    values, targets : (b,) float64
        Ratio of requirement to target, and the target, USD, of each book.
    config : AdversaryConfig

    Returns
    -------
    (at most ``config.books``,) int64 rows, least ratio first.
    """
    eligible = np.flatnonzero(targets > config.min_target)
    return np.asarray(eligible[np.argsort(values[eligible], kind="stable")[: config.books]], dtype=np.int64)
