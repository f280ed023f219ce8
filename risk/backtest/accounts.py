# SPDX-License-Identifier: Apache-2.0
"""The accounts a backtest follows: fixed books in moneyness space, struck anew at every decision.

An account is a row of USD notionals on the instruments of `risk.books.build_universe` (spot at 1) and of collateral
tokens that move with an underlying. Strikes are standard deviations away from spot, so a class stays what its name
says however volatility moves; an account that hedges its delta does so anew at every decision as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from risk.books import Universe, build_universe, sample_books
from risk.errors import BadInput
from risk.market.history import FloatArray, IntArray

TENORS_DAYS = (7.0, 30.0)
STRIKES_SD = (-1.0, 0.0, 1.0)
# How people use a venue like this one: an assumption, not a measurement; every result is also given class by class.
MIX: Mapping[str, float] = {
    "long perp": 0.20,
    "short perp": 0.12,
    "spread": 0.12,
    "long straddle": 0.04,
    "short straddle": 0.06,
    "short strangle": 0.06,
    "covered write": 0.10,
    "risk reversal": 0.04,
    "calendar": 0.04,
    "lender": 0.12,
    "delta-hedged": 0.06,
    "random": 0.04,
}


@dataclass(frozen=True, slots=True)
class Population:
    """A accounts of gross notional 1.

    Attributes
    ----------
    symbols : tuple of str
        k underlyings.
    names, classes : tuple of str
        Of each account.
    weights : (A, M) float64
        USD notional of each instrument of the universe.
    tokens : (A, k) float64
        USD of collateral that moves with each underlying.
    hedged : (A,) bool
        Whether the delta of each underlying is taken out with its own perpetual.
    """

    symbols: tuple[str, ...]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    weights: FloatArray
    tokens: FloatArray
    hedged: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.names)

    def members(self, name: str) -> IntArray:
        """Accounts of a class."""
        return np.flatnonzero(np.array(self.classes) == name)

    def some(self, accounts: IntArray) -> Population:
        """Only these accounts."""
        return Population(
            self.symbols,
            tuple(self.names[i] for i in accounts),
            tuple(self.classes[i] for i in accounts),
            self.weights[accounts],
            self.tokens[accounts],
            self.hedged[accounts],
        )

    def shares(self, mix: Mapping[str, float] | None = None) -> FloatArray:
        """(A,) weight of each account, adding up to 1: each class its share of the mix, or all classes the same."""
        kinds = list(dict.fromkeys(self.classes))
        count = {kind: self.classes.count(kind) for kind in kinds}
        raw = np.array([(1.0 if mix is None else mix.get(kind, 0.0)) / count[kind] for kind in self.classes])
        return np.asarray(raw / raw.sum())

    def books(self, universe: Universe) -> FloatArray:
        """(A, M) notionals at a universe: as they are, and the hedged ones with their hedge."""
        out = self.weights.copy()
        deltas = universe.deltas()
        for u in range(len(self.symbols)):
            net = out[self.hedged] @ (deltas * (universe.underlying == u))
            out[self.hedged, universe.perp(u)] -= net
        return out


def universe_at(symbols: Sequence[str], vols: FloatArray) -> Universe:
    """The instruments of a backtest at annual volatilities (k,)."""
    return build_universe(symbols, vols, tenors_days=TENORS_DAYS, strikes_sd=STRIKES_SD)


def build_population(symbols: Sequence[str], rng: np.random.Generator, *, random: int = 16) -> Population:
    """Every class on every underlying, spreads on every ordered pair, and random books.

    Parameters
    ----------
    symbols : sequence of str
    rng : numpy.random.Generator
        Of the random books.
    random : int
        Number of random books, at most.

    Raises
    ------
    BadInput
        When there is no symbol.

    Examples
    --------
    >>> found = build_population(["BTC", "ETH"], np.random.default_rng(1))
    >>> len(found), found.names[:2]
    (53, ('long perp BTC', 'long perp ETH'))
    """
    if not symbols:
        raise BadInput("a population needs an underlying; name at least one symbol")
    universe = universe_at(symbols, np.full(len(symbols), 0.8))
    rows = [(kind, name, legs, tokens, kind == "delta-hedged") for kind, name, legs, tokens in _structures(symbols)]
    weights, held = np.zeros((len(rows), universe.size)), np.zeros((len(rows), len(symbols)))
    for n, (_, _, legs, tokens, _) in enumerate(rows):
        for index, size in legs:
            weights[n, index] += size
        for u, size in tokens:
            held[n, u] += size
    drawn = sample_books(universe, random, rng) if random else np.zeros((0, universe.size))
    # A sampled book may cancel itself out; nothing can be said about nothing.
    drawn = drawn[np.abs(drawn).sum(axis=1) > 0.0]
    random = drawn.shape[0]
    gross = np.maximum(np.abs(weights).sum(axis=1) + held.sum(axis=1), 1e-12)[:, None]
    return Population(
        tuple(symbols),
        (*(row[1] for row in rows), *(f"random {n}" for n in range(random))),
        (*(row[0] for row in rows), *("random" for _ in range(random))),
        np.vstack([weights / gross, drawn]),
        np.vstack([held / gross, np.zeros((random, len(symbols)))]),
        np.array([*(row[4] for row in rows), *(False for _ in range(random))]),
    )


Legs = list[tuple[int, float]]


def _structures(symbols: Sequence[str]) -> Iterator[tuple[str, str, Legs, Legs]]:
    """(class, name, legs, tokens) of each structured account."""
    k = len(symbols)
    for kind, sign in (("long perp", 1.0), ("short perp", -1.0)):
        for u, symbol in enumerate(symbols):
            yield kind, f"{kind} {symbol}", [(_perp(u), sign)], []
    for a, b in permutations(range(k), 2):
        yield "spread", f"{symbols[a]} against {symbols[b]}", [(_perp(a), 1.0), (_perp(b), -1.0)], []
    for u, symbol in enumerate(symbols):
        yield from _option_structures(u, symbol)
        yield "lender", f"{symbol} for cash", [], [(u, 1.0)]
    if k > 1:
        yield "lender", "basket for cash", [], [(u, 1.0) for u in range(k)]
    for u, symbol in enumerate(symbols):
        other = (u + 1) % k
        short = [(_option(u, 1, s, call), -1.0) for s, call in ((0, False), (2, True))]
        yield "delta-hedged", f"strangle {symbol}, hedged", short, []
        if k == 1:
            continue
        pair = [(_option(u, 1, 1, True), -1.0), (_option(other, 1, 1, True), 1.0)]
        yield "delta-hedged", f"volatility {symbols[other]} against {symbol}, hedged", pair, []


def _option_structures(u: int, symbol: str) -> Iterator[tuple[str, str, Legs, Legs]]:
    """Structures of options on one underlying."""
    for tenor, days in enumerate(TENORS_DAYS):
        straddle = [_option(u, tenor, 1, call) for call in (True, False)]
        strangle = [_option(u, tenor, 2, True), _option(u, tenor, 0, False)]
        yield "long straddle", f"long straddle {symbol} {days:.0f}d", [(i, 1.0) for i in straddle], []
        yield "short straddle", f"short straddle {symbol} {days:.0f}d", [(i, -1.0) for i in straddle], []
        yield "short strangle", f"short strangle {symbol} {days:.0f}d", [(i, -1.0) for i in strangle], []
    call, put = _option(u, 1, 2, True), _option(u, 1, 0, False)
    yield "covered write", f"covered call {symbol} perp", [(_perp(u), 1.0), (call, -1.0)], []
    yield "covered write", f"covered call {symbol} token", [(call, -1.0)], [(u, 1.0)]
    yield "risk reversal", f"long risk reversal {symbol}", [(call, 1.0), (put, -1.0)], []
    yield "risk reversal", f"short risk reversal {symbol}", [(call, -1.0), (put, 1.0)], []
    near, far = _option(u, 0, 1, True), _option(u, 1, 1, True)
    yield "calendar", f"long calendar {symbol}", [(near, -1.0), (far, 1.0)], []
    yield "calendar", f"short calendar {symbol}", [(near, 1.0), (far, -1.0)], []


def _perp(u: int) -> int:
    return u * (1 + 2 * len(TENORS_DAYS) * len(STRIKES_SD))


def _option(u: int, tenor: int, strike: int, call: bool) -> int:
    """Index of an option in the order of `build_universe`: a call, then its put, strike by strike, tenor by tenor."""
    return _perp(u) + 1 + 2 * (tenor * len(STRIKES_SD) + strike) + (0 if call else 1)
