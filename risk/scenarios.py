# SPDX-License-Identifier: Apache-2.0
"""Choose at most 64 joint scenarios, in the bytes that go on chain.

Definitions. A *book* is a row of USD notionals of a `Universe`. Its *target* is the Expected Shortfall of its loss
under full revaluation of simulated moves. Its *requirement* is the market risk of docs/margin-rule.md, section 5,
without charges: ``scan`` with one underlying, else ``max(joint, kappa * sum scan, 2 * max scan - sum scan)``. *Ratio*
is requirement / target.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from risk.books import GRID_POINTS, Shocks, Universe
from risk.errors import BadInput, CalibrationFailed
from risk.factors.fhs import Moves
from risk.market.history import FloatArray
from risk.types import JointScenarios

MAX_SCENARIOS = 64
BYTE = 127
# Books that can lose less than this share of gross notional are covered by the charges, not by scenarios.
MIN_TARGET = 1e-3
TILE = 256
ROWS = 24

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SelectionConfig:
    """How scenarios are chosen.

    Attributes
    ----------
    count : int
        At most this many.
    level : float
        Confidence of the Expected Shortfall.
    scales : tuple of float
        Multiples of each tail mean offered as candidates (Jensen: a mean over a tail is milder than the tail).
    overshoot : float
        lambda in shortfall^2 + lambda * overshoot^2.
    max_candidates : int
    target : float
        Ratio aimed at.
    """

    count: int = MAX_SCENARIOS
    level: float = 0.99
    scales: tuple[float, ...] = (1.0, 1.15, 1.3)
    overshoot: float = 0.15
    max_candidates: int = 6000
    target: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_SCENARIOS:
            raise BadInput(f"{self.count} joint scenarios asked for; the engine takes 1..{MAX_SCENARIOS}")
        if not 0.5 < self.level < 1:
            raise BadInput(f"confidence level is {self.level}; it must lie between 0.5 and 1")


@dataclass(frozen=True, slots=True)
class Sample:
    """Books with what they can lose.

    Attributes
    ----------
    books : (b, M) float64
    target : (b,) float64
        Expected Shortfall, USD for gross notional 1.
    scans : (b, k) float64
        Scan of each underlying.
    active : (b, k) bool
    tails : (b, t) int64
        Draws that make up each book's tail, worst first.
    """

    books: FloatArray
    target: FloatArray
    scans: FloatArray
    active: BoolArray
    tails: NDArray[np.int64]

    def with_books(self, other: Sample) -> Sample:
        """The books of both samples, measured on the same draws."""
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Sample(*(np.concatenate(pair) for pair in pairs))

    def several(self, most: int | None = None) -> Sample:
        """Only the books with two underlyings or more, the ones joint scenarios are for; at most `most` of them.

        Raises
        ------
        CalibrationFailed
            When there is none.
        """
        keep = np.flatnonzero(self.active.sum(axis=1) >= 2)[:most]
        if keep.size == 0:
            raise CalibrationFailed("no sampled book holds two underlyings; sample more books")
        return Sample(self.books[keep], self.target[keep], self.scans[keep], self.active[keep], self.tails[keep])


def quantise(moves: Moves, shocks: Shocks) -> JointScenarios:
    """Moves as bytes, each rounded away from zero, clamped at the edge of the scan.

    Parameters
    ----------
    moves : Moves
        (n, k) price and relative volatility moves.
    shocks : Shocks

    References
    ----------
    docs/risk-methodology.md, formula 8.4.

    Examples
    --------
    >>> s = Shocks(np.array([0.2]), np.array([0.5]), np.array([0.25]), np.array([0.3]))
    >>> q = quantise(Moves(np.array([[-0.1]]), np.array([[0.5]])), s)
    >>> int(q.price_bytes[0, 0]), int(q.vol_bytes[0, 0])
    (-64, 127)
    """
    price = moves.price / shocks.scan * BYTE
    vol = np.where(moves.vol >= 0, moves.vol / shocks.vol_up, moves.vol / shocks.vol_down) * BYTE
    # One part in 1e9 keeps an exact 127 from rounding up through float noise.
    away = [np.sign(x) * np.ceil(np.abs(x) * (1 - 1e-9)) for x in (price, vol)]
    bytes_ = [np.clip(x, -BYTE, BYTE).astype(np.int8) for x in away]
    return JointScenarios(bytes_[0], bytes_[1])


def instrument_pnl(universe: Universe, grid: FloatArray, joint: JointScenarios) -> FloatArray:
    """Profit of each instrument in each scenario, as the engine interpolates it.

    Parameters
    ----------
    universe : Universe
    grid : (M, 3, 9) float64
        From `Universe.grid`.
    joint : JointScenarios
        J scenarios.

    Returns
    -------
    (M, J) float64

    References
    ----------
    docs/margin-rule.md, section 5, ``z_u``.
    """
    out = np.empty((universe.size, len(joint)))
    for u in range(len(universe.symbols)):
        mine = np.flatnonzero(universe.underlying == u)
        weights = _cell_weights(joint.price_bytes[:, u], joint.vol_bytes[:, u])
        out[mine] = grid[mine].reshape(mine.size, 3 * GRID_POINTS) @ weights.T
    return out


def _cell_weights(price_bytes: NDArray[np.int8], vol_bytes: NDArray[np.int8]) -> FloatArray:
    """(J, 27) bilinear weights on the grid."""
    k = (price_bytes.astype(np.int64) + BYTE) * 4
    cell = np.minimum(k // BYTE, GRID_POINTS - 2)
    f = (k - BYTE * cell) / BYTE
    w = vol_bytes.astype(np.int64)
    g = np.abs(w) / BYTE
    other = np.where(w >= 0, 2, 0)
    out = np.zeros((k.size, 3, GRID_POINTS))
    rows = np.arange(k.size)
    for state, weight in ((1, 1.0 - g), (other, g)):
        out[rows, state, cell] += weight * (1.0 - f)
        out[rows, state, cell + 1] += weight * f
    return out.reshape(k.size, 3 * GRID_POINTS)


def measure_books(
    universe: Universe, grid: FloatArray, pnl: FloatArray, books: FloatArray, level: float, *, tail_rows: int = 0
) -> Sample:
    """Target and scans of each book; books that cannot lose to speak of are left out.

    Parameters
    ----------
    universe : Universe
    grid : (M, 3, 9)
    pnl : (n, M)
        Instrument profits under simulated moves.
    books : (b, M)
    level : float
        Confidence.
    tail_rows : int
        How many tail draws to keep for each book (0 = none).

    Raises
    ------
    CalibrationFailed
        When no book is left.

    References
    ----------
    docs/risk-methodology.md, formula 8.1.
    """
    tail = tail_count(pnl.shape[0], level)
    by_draw = np.ascontiguousarray(pnl.T, dtype=np.float32)
    target = np.empty(books.shape[0])
    tails = np.empty((books.shape[0], min(tail, tail_rows)), dtype=np.int64)
    for lo in range(0, books.shape[0], TILE):
        result = books[lo : lo + TILE].astype(np.float32) @ by_draw
        if tail_rows:
            worst = np.argpartition(result, tail - 1, axis=1)[:, :tail]
            losses = np.take_along_axis(result, worst, axis=1)
            order = np.argsort(losses, axis=1)[:, _spread(tail, tails.shape[1])]
            tails[lo : lo + TILE] = np.take_along_axis(worst, order, axis=1)
        else:
            losses = np.partition(result, tail - 1, axis=1)[:, :tail]
        target[lo : lo + TILE] = -losses.mean(axis=1, dtype=np.float64)
    keep = target > MIN_TARGET
    if not keep.any():
        raise CalibrationFailed("no sampled book can lose anything; check the simulated moves")
    kept = books[keep]
    scans, active = scan_losses(universe, grid, kept)
    return Sample(kept, target[keep], scans, active, tails[keep])


def tail_count(n: int, level: float) -> int:
    """Draws in the tail of n.

    Examples
    --------
    >>> tail_count(20_000, 0.99)
    200
    """
    # The hair keeps 1 % of 20,000 at 200, whatever the last bit of 1 - 0.99.
    return max(1, int(np.ceil((1.0 - level) * n - 1e-6)))


def _spread(tail: int, rows: int) -> NDArray[np.int64]:
    """`rows` ranks spread evenly over the tail, the worst first."""
    return np.linspace(0, tail - 1, rows).astype(np.int64)


def scan_losses(universe: Universe, grid: FloatArray, books: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Scan of each underlying in each book, and whether it is there at all: both (b, k)."""
    k = len(universe.symbols)
    scans = np.zeros((books.shape[0], k))
    active = np.zeros((books.shape[0], k), dtype=np.bool_)
    for u in range(k):
        mine = np.flatnonzero(universe.underlying == u)
        held = books[:, mine]
        scans[:, u] = np.maximum(0.0, -(held @ grid[mine].reshape(mine.size, -1)).min(axis=1))
        active[:, u] = (held != 0.0).any(axis=1)
    return scans, active


def floors(sample: Sample, offset_floor: float) -> FloatArray:
    """(b,) requirement without any scenario: kappa and dominance floors, or the scan of a single underlying."""
    total, largest = sample.scans.sum(axis=1), sample.scans.max(axis=1)
    several = np.maximum(offset_floor * total, 2.0 * largest - total)
    return np.asarray(np.where(sample.active.sum(axis=1) >= 2, several, largest), dtype=np.float64)


def ratios(sample: Sample, instrument: FloatArray, offset_floor: float) -> FloatArray:
    """(b,) requirement over target, given (M, J) instrument profits in the scenarios."""
    joint = np.maximum(0.0, -(sample.books @ instrument).min(axis=1))
    base = floors(sample, offset_floor)
    several = sample.active.sum(axis=1) >= 2
    return np.asarray(np.where(several, np.maximum(base, joint), base) / sample.target, dtype=np.float64)


def candidates(sample: Sample, moves: Moves, shocks: Shocks, config: SelectionConfig) -> JointScenarios:
    """Scenarios worth considering: tail means of each book (whole, and the side of its worst draw) and single draws.

    Two-sided books (a short straddle) have a tail whose mean is no move at all; the one-sided means and the draws at
    the edge and the middle of the tail stand for those.

    References
    ----------
    docs/risk-methodology.md, formula 8.2.
    """
    scaled = np.concatenate([moves.price / shocks.scan, moves.vol / shocks.vol_up], axis=1)
    tails = scaled[sample.tails]
    side = np.einsum("btf,bf->bt", tails, tails[:, 0, :]) >= 0
    one_sided = (tails * side[:, :, None]).sum(axis=1) / side.sum(axis=1, keepdims=True)
    means = np.concatenate([tails.mean(axis=1), one_sided])
    middle = tails.shape[1] // 2
    points = np.concatenate([tails[:, middle, :], tails[:, -1, :], tails[:, middle // 2, :]])
    pool = np.concatenate([scale * means for scale in config.scales] + [points])
    k = moves.price.shape[1]
    quantised = quantise(Moves(pool[:, :k] * shocks.scan, pool[:, k:] * shocks.vol_up), shocks)
    unique = np.unique(np.concatenate([quantised.price_bytes, quantised.vol_bytes], axis=1), axis=0)
    if unique.shape[0] > config.max_candidates:
        unique = unique[np.linspace(0, unique.shape[0] - 1, config.max_candidates).astype(np.int64)]
    return JointScenarios(np.ascontiguousarray(unique[:, :k]), np.ascontiguousarray(unique[:, k:]))


def select(
    sample: Sample,
    universe: Universe,
    grid: FloatArray,
    pool: JointScenarios,
    offset_floor: float,
    config: SelectionConfig,
    *,
    forced: JointScenarios | None = None,
) -> JointScenarios:
    """Greedy choice: at each step the scenario that lowers shortfall^2 + lambda * overshoot^2 most.

    Parameters
    ----------
    sample : Sample
        Training books; only those with two underlyings or more matter.
    universe, grid
        As in `instrument_pnl`.
    pool : JointScenarios
        Candidates.
    offset_floor : float
        kappa, a fraction.
    config : SelectionConfig
    forced : JointScenarios, optional
        Taken first.

    Returns
    -------
    JointScenarios
        At most ``config.count``, forced first, then in order of choice.

    References
    ----------
    docs/risk-methodology.md, formula 8.3.
    """
    joined = pool if forced is None else stack(forced, pool)
    several = sample.active.sum(axis=1) >= 2
    target = sample.target[several]
    losses = -(sample.books[several] @ instrument_pnl(universe, grid, joined)) / target[:, None]
    table = np.ascontiguousarray(losses.T, dtype=np.float32)
    current = (floors(sample, offset_floor)[several] / target).astype(np.float32)
    chosen: list[int] = []
    n_forced = 0 if forced is None else len(forced)
    for step in range(min(config.count, len(joined))):
        if step < n_forced:
            best = step
        else:
            costs = _costs(table, current, config)
            best = int(np.argmin(costs))
            if costs[best] >= float(_costs(current[None, :], current, config)[0]) * (1 - 1e-7):
                break
        chosen.append(best)
        current = np.maximum(current, table[best])
    rows = np.array(chosen, dtype=np.int64)
    return JointScenarios(joined.price_bytes[rows], joined.vol_bytes[rows])


def _costs(table: Float32Array, current: Float32Array, config: SelectionConfig) -> Float32Array:
    """(c,) cost of the books' ratios, at least `current`, once each row of `table` joins."""
    out = np.empty(table.shape[0], dtype=np.float32)
    for lo in range(0, table.shape[0], ROWS):
        # A few rows at a time stay in cache; short^2 + lambda * over^2 = lambda * gap^2 + (1 - lambda) * short^2.
        gap = np.maximum(table[lo : lo + ROWS], current)
        gap -= np.float32(config.target)
        cost = np.float32(config.overshoot) * np.einsum("cb,cb->c", gap, gap)
        short = np.minimum(gap, np.float32(0.0), out=gap)
        out[lo : lo + ROWS] = cost + np.float32(1.0 - config.overshoot) * np.einsum("cb,cb->c", short, short)
    return out


def stack(first: JointScenarios, second: JointScenarios) -> JointScenarios:
    """Scenarios of both sets, in order."""
    return JointScenarios(
        np.concatenate([first.price_bytes, second.price_bytes]), np.concatenate([first.vol_bytes, second.vol_bytes])
    )
