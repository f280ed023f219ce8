# SPDX-License-Identifier: Apache-2.0
"""A universe of instruments and sampled books of them: what joint scenarios are chosen for and measured on.

Everything is per USD of notional with spot at 1, so books of different underlyings add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.errors import BadInput
from risk.factors.fhs import Moves
from risk.market.history import FloatArray, IntArray
from risk.pricing import black76
from risk.table import MIN_VOLATILITY, tenor_scale

DAYS_A_YEAR = 365.0
GRID_POINTS = 9
# The lattice of options, the same for every underlying.
TENORS_DAYS = (7.0, 30.0, 90.0)
STRIKES_SD = (-1.5, -0.75, 0.0, 0.75, 1.5)


@dataclass(frozen=True, slots=True)
class Shocks:
    """Width of each underlying's scan, (k,) fractions: price range, vol up and down at 30 days, tenor power."""

    scan: FloatArray
    vol_up: FloatArray
    vol_down: FloatArray
    power: FloatArray


@dataclass(frozen=True, slots=True)
class Universe:
    """Instruments; arrays (M,). ``strike`` is a multiple of spot; a perpetual has ``tau`` 0 and ``strike`` 0."""

    symbols: tuple[str, ...]
    underlying: IntArray
    is_option: NDArray[np.bool_]
    strike: FloatArray
    tau: FloatArray
    is_call: NDArray[np.bool_]
    vol: FloatArray

    @property
    def size(self) -> int:
        """Number of instruments M."""
        return int(self.underlying.size)

    def perp(self, u: int) -> int:
        """Index of the perpetual of underlying `u`."""
        return int(np.flatnonzero((self.underlying == u) & ~self.is_option)[0])

    def values(self, price: FloatArray, vol: FloatArray, power: FloatArray) -> FloatArray:
        """Value of each instrument after moves of its own underlying.

        Parameters
        ----------
        price, vol : (n, k)
            Simple move of spot; relative move of the 30-day volatility.
        power : (k,)
            Tenor power of the volatility move.

        Returns
        -------
        (n, M) float64
            A perpetual is worth its price move.
        """
        out = np.empty((price.shape[0], self.size))
        for u in range(len(self.symbols)):
            mine = self.underlying == u
            linear, option = np.flatnonzero(mine & ~self.is_option), np.flatnonzero(mine & self.is_option)
            out[:, linear] = price[:, u, None]
            if option.size == 0:
                continue
            scale = tenor_scale(self.tau[option] * DAYS_A_YEAR, float(power[u]))
            shocked = np.maximum(self.vol[option] * (1.0 + vol[:, u, None] * scale), MIN_VOLATILITY)
            spot = np.maximum(1.0 + price[:, u, None], 1e-6)
            out[:, option] = black76.price(
                spot, self.strike[option], shocked, self.tau[option], 1.0, self.is_call[option]
            )
        return out

    def pnl(self, moves: Moves, power: FloatArray) -> FloatArray:
        """(n, M) profit of each instrument under joint moves, by full revaluation."""
        zero = np.zeros((1, len(self.symbols)))
        return self.values(moves.price, moves.vol, power) - self.values(zero, zero, power)

    def grid(self, shocks: Shocks) -> FloatArray:
        """(M, 3, 9) profit on the engine's live grid: volatility down, base, up by nine prices over the scan range.

        References
        ----------
        docs/margin-rule.md, section 4, ``G``.
        """
        k = len(self.symbols)
        price = np.linspace(-1.0, 1.0, GRID_POINTS)[:, None] * shocks.scan
        base = self.values(np.zeros((1, k)), np.zeros((1, k)), shocks.power)
        out = np.empty((self.size, 3, GRID_POINTS))
        for state, vol in enumerate((-shocks.vol_down, np.zeros(k), shocks.vol_up)):
            moved = self.values(price, np.broadcast_to(vol, price.shape), shocks.power)
            out[:, state, :] = (moved - base).T
        return out

    def deltas(self) -> FloatArray:
        """(M,) profit per unit move of spot, by central difference of 1 %."""
        k = len(self.symbols)
        step = np.full((1, k), 0.01)
        zero = np.zeros((1, k))
        power = np.zeros(k)
        return np.asarray((self.values(step, zero, power) - self.values(-step, zero, power))[0] / 0.02)


def build_universe(
    symbols: Sequence[str],
    vols: FloatArray,
    *,
    tenors_days: Sequence[float] = TENORS_DAYS,
    strikes_sd: Sequence[float] = STRIKES_SD,
) -> Universe:
    """One perpetual and a lattice of calls and puts for each underlying.

    Parameters
    ----------
    symbols : sequence of str
    vols : (k,)
        Annual at-the-money volatility.
    tenors_days, strikes_sd : sequence of float
        Lattice: strikes in standard deviations of the log price to expiry.

    Raises
    ------
    BadInput
        When there is not one positive volatility for each symbol.

    Examples
    --------
    >>> build_universe(["BTC"], np.array([0.6])).size
    31
    """
    if len(symbols) != vols.size or not (vols > 0).all():
        raise BadInput(f"universe: {len(symbols)} symbols and volatilities {vols}; give one positive volatility each")
    rows: list[tuple[int, bool, float, float, bool, float]] = []
    for u in range(len(symbols)):
        rows.append((u, False, 0.0, 0.0, False, float(vols[u])))
        for days in tenors_days:
            tau = days / DAYS_A_YEAR
            for z in strikes_sd:
                strike = float(np.exp(z * vols[u] * np.sqrt(tau)))
                rows.extend((u, True, strike, tau, call, float(vols[u])) for call in (True, False))
    cols = list(zip(*rows, strict=True))
    return Universe(
        tuple(symbols),
        np.array(cols[0], dtype=np.int64),
        np.array(cols[1], dtype=np.bool_),
        np.array(cols[2], dtype=np.float64),
        np.array(cols[3], dtype=np.float64),
        np.array(cols[4], dtype=np.bool_),
        np.array(cols[5], dtype=np.float64),
    )


def sample_books(universe: Universe, n: int, rng: np.random.Generator, *, live: FloatArray | None = None) -> FloatArray:
    """Books to choose scenarios for: random, structured, cross-hedged, and live ones as they are and perturbed.

    Parameters
    ----------
    universe : Universe
    n : int
        Number wanted; with live books a third of them are live or perturbed live.
    rng : numpy.random.Generator
    live : (b, M) float64, optional
        USD notional of each instrument in real books.

    Returns
    -------
    (n, M) float64
        USD notional of each instrument, gross 1.

    Raises
    ------
    BadInput
        When no book is asked for, or live books do not fit the universe.
    """
    if n < 1:
        raise BadInput(f"{n} books asked for; ask for at least one")
    parts: list[FloatArray] = []
    left = n
    if live is not None and live.size:
        if live.ndim != 2 or live.shape[1] != universe.size:
            raise BadInput(f"live books have shape {live.shape}; the universe has {universe.size} instruments")
        real = live[rng.permutation(live.shape[0])[: n // 6 + 1]]
        picked = live[rng.integers(live.shape[0], size=max(0, n // 3 - real.shape[0]))]
        parts += [real, picked * np.exp(0.4 * rng.standard_normal(picked.shape))]
        left = n - sum(p.shape[0] for p in parts)
    shares = np.array([0.40, 0.15, 0.15, 0.15, 0.15])
    counts = np.floor(shares * left).astype(np.int64)
    counts[0] += left - counts.sum()
    makers = (_random_legs, _spreads, _straddles, _covered_writes, _cross_pairs)
    parts += [make(universe, int(c), rng) for make, c in zip(makers, counts, strict=True)]
    books = np.vstack(parts)[:n]
    gross = np.abs(books).sum(axis=1, keepdims=True)
    books = books / np.where(gross > 0, gross, 1.0)
    return np.asarray(books[rng.permutation(books.shape[0])], dtype=np.float64)


def _random_legs(universe: Universe, n: int, rng: np.random.Generator) -> FloatArray:
    """1 to 12 legs of random size; half hedged to delta zero, each underlying in itself or all in one other."""
    books = np.zeros((n, universe.size))
    most = 12
    legs = rng.integers(universe.size, size=(n, most))
    sizes = rng.choice((-1.0, 1.0), size=(n, most)) * np.exp(0.8 * rng.standard_normal((n, most)))
    sizes[np.arange(most) >= rng.integers(1, most + 1, size=(n, 1))] = 0.0
    np.add.at(books, (np.arange(n)[:, None], legs), sizes)
    own, cross = np.arange(n) % 4 == 0, np.arange(n) % 4 == 1
    deltas = universe.deltas()
    by_underlying = np.stack([books @ (deltas * (universe.underlying == u)) for u in range(len(universe.symbols))], 1)
    perps = np.array([universe.perp(u) for u in range(len(universe.symbols))])
    books[np.ix_(own, perps)] -= by_underlying[own]
    hedge = perps[rng.integers(perps.size, size=n)]
    np.add.at(books, (np.flatnonzero(cross), hedge[cross]), -by_underlying[cross].sum(axis=1))
    return books


def _pick(universe: Universe, n: int, rng: np.random.Generator, *, call: bool) -> IntArray:
    """`n` random options of one type."""
    pool = np.flatnonzero(universe.is_option & (universe.is_call == call))
    return np.asarray(pool[rng.integers(pool.size, size=n)], dtype=np.int64)


def _legs_per_book(n: int, rng: np.random.Generator) -> tuple[IntArray, FloatArray]:
    """Book number and signed size of 1..3 structures in each of n books."""
    book = np.repeat(np.arange(n), rng.integers(1, 4, size=n))
    return book, rng.choice((-1.0, 1.0), size=book.size) * np.exp(0.5 * rng.standard_normal(book.size))


def _spreads(universe: Universe, n: int, rng: np.random.Generator) -> FloatArray:
    """Verticals and calendars: two options of one type on one underlying, opposite signs."""
    books = np.zeros((n, universe.size))
    book, size = _legs_per_book(n, rng)
    per = universe.size // len(universe.symbols)
    call = bool(rng.integers(2))
    first = _pick(universe, book.size, rng, call=call)
    pool = np.flatnonzero(universe.is_option[:per] & (universe.is_call[:per] == call))
    second = universe.underlying[first] * per + pool[rng.integers(pool.size, size=book.size)]
    np.add.at(books, (book, first), size)
    np.add.at(books, (book, second), -size)
    return books


def _straddles(universe: Universe, n: int, rng: np.random.Generator) -> FloatArray:
    """A call and a put of one underlying, same sign; mostly short."""
    books = np.zeros((n, universe.size))
    book, size = _legs_per_book(n, rng)
    size = np.where(rng.random(book.size) < 0.7, -np.abs(size), size)
    calls = _pick(universe, book.size, rng, call=True)
    np.add.at(books, (book, calls), size)
    # The lattice lists the put of a strike right after its call.
    np.add.at(books, (book, calls + 1), size)
    return books


def _covered_writes(universe: Universe, n: int, rng: np.random.Generator) -> FloatArray:
    """Long the underlying and short a call, or short it and short a put."""
    books = np.zeros((n, universe.size))
    book, size = _legs_per_book(n, rng)
    call = bool(rng.integers(2))
    options = _pick(universe, book.size, rng, call=call)
    perps = np.array([universe.perp(u) for u in range(len(universe.symbols))])[universe.underlying[options]]
    ratio = rng.uniform(0.5, 1.5, book.size)
    np.add.at(books, (book, perps), np.abs(size) * (1.0 if call else -1.0))
    np.add.at(books, (book, options), -np.abs(size) * ratio)
    return books


def _cross_pairs(universe: Universe, n: int, rng: np.random.Generator) -> FloatArray:
    """Perpetuals only: random long-short and same-way mixes over the underlyings."""
    books = np.zeros((n, universe.size))
    k = len(universe.symbols)
    perps = np.array([universe.perp(u) for u in range(k)])
    weights = rng.choice((-1.0, 1.0), size=(n, k)) * np.exp(0.7 * rng.standard_normal((n, k)))
    keep = rng.random((n, k)) < min(1.0, 2.5 / k)
    keep[np.arange(n), rng.integers(k, size=n)] = True
    books[:, perps] = weights * keep
    return books
