# SPDX-License-Identifier: Apache-2.0
"""What the same accounts would have needed at every peer, and what each rule costs once all cover equally often.

A peer's demand of one underlying of an account depends on nothing but that underlying's volatility (its ranges are
fixed, books are fixed in moneyness), and peers add underlyings up. So each part of each account is put through the
peer's own plug-in at a ladder of volatilities, and the days are read off by interpolation: within 0.1 % of the plug-in
on average over accounts, within 7 % for the worst account and volatility (a calendar that needs next to nothing).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from risk.backtest.accounts import Population, universe_at
from risk.backtest.required import SPOT, flat_slices
from risk.backtest.walk import Walk
from risk.books import Universe
from risk.errors import BadInput
from risk.market.history import FloatArray
from risk.methodologies import METHODOLOGIES, methodology
from risk.methodologies.base import Asset, Book, Leg, Market, Methodology, Underlying
from risk.methodologies.deribit import DeribitPm, Terms
from risk.methodologies.span import Range, Span
from risk.types import SECONDS_PER_YEAR

NODES = 20
LOW_VOL, HIGH_VOL = 0.15, 3.0
NOW = 1_700_000_000
# Where the token's own moves are scanned, only the cost of selling it is cut; a lending market has its loan-to-value.
SCANNED_HAIRCUT = (0.01, 0.01)
LENDING_HAIRCUT = (0.25, 0.20)
OWN = "ballast"


def peers(names: Sequence[str] | None = None) -> dict[str, Methodology]:
    """Methodologies with their default rules: those named, or every one but Ballast's own.

    Raises
    ------
    BadInput
        When there is none of a name.

    Examples
    --------
    >>> list(peers(["span"]))
    ['span']
    """
    chosen = [name for name in METHODOLOGIES if name != OWN] if names is None else names
    return {name: methodology(name) for name in chosen}


def in_hindsight(walk: Walk) -> dict[str, Methodology]:
    """SPAN and Deribit's rule with the ranges that would have been right: 99.5 % quantiles of the walk's own moves.

    No venue can have them. They show what is left of a rule's disadvantage once its ranges are beyond reproach.
    """
    names = walk.population.names
    moves = {s: np.abs(walk.loss[:, names.index(f"long perp {s}")]) for s in walk.population.symbols}
    ranges = {s: max(float(np.quantile(move, 0.995)), 1e-3) for s, move in moves.items()}
    return {
        "span, hindsight": Span(ranges={s: Range(width, 0.25) for s, width in ranges.items()}),
        "deribit-pm, hindsight": DeribitPm(terms={s: Terms(width) for s, width in ranges.items()}),
    }


def haircuts_of(name: str) -> tuple[float, float]:
    """(initial, maintenance) haircut of collateral that moves with an underlying."""
    return LENDING_HAIRCUT if name == "fixed-haircut" else SCANNED_HAIRCUT


def account_book(
    population: Population,
    universe: Universe,
    books: FloatArray,
    account: int,
    notional: float,
    haircut: tuple[float, float],
    only: int | None = None,
) -> tuple[Book, Market]:
    """One account as methodologies read it, with its market; `only` one of its underlyings where wanted.

    Parameters
    ----------
    population, universe
        Accounts, and the instruments that their books are of.
    books : (A, M) float64
        Notional of each instrument in units of the account.
    account, notional
        Which account, and USD of a unit of its books.
    haircut
        Initial and maintenance, fractions.
    only
        One underlying alone, by its index.
    """
    legs, tokens, quotes, assets = [], {}, {}, {}
    for u, symbol in enumerate(population.symbols):
        if only not in (None, u):
            continue
        quotes[symbol] = Underlying(SPOT, flat_slices(universe, u, NOW))
        assets[f"token {symbol}"] = Asset(1.0, symbol, *haircut)
        if population.tokens[account, u]:
            tokens[f"token {symbol}"] = float(population.tokens[account, u]) * notional
        for i in np.flatnonzero((universe.underlying == u) & (books[account] != 0.0)):
            units = float(books[account, i]) * notional / SPOT
            if not universe.is_option[i]:
                legs.append(Leg(symbol, units))
                continue
            expiry = NOW + round(float(universe.tau[i]) * SECONDS_PER_YEAR)
            legs.append(
                Leg(symbol, units, "option", expiry, SPOT * float(universe.strike[i]), bool(universe.is_call[i]))
            )
    return Book(0.0, tuple(legs), tokens), Market(NOW, quotes, assets)


def peer_margins(
    walk: Walk,
    notional: float,
    methodologies: Mapping[str, Methodology],
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, FloatArray]:
    """Initial margin (T, A) per USD of gross notional of every account at every decision, by methodology."""
    population = walk.population
    ladder = np.geomspace(LOW_VOL, HIGH_VOL, NODES)
    universes = [universe_at(population.symbols, np.full(len(population.symbols), vol)) for vol in ladder]
    books = [population.books(universe) for universe in universes]
    out = {name: np.zeros_like(walk.loss) for name in methodologies}
    done: dict[tuple[str, bytes], FloatArray] = {}
    for account in range(len(population)):
        for u, symbol in enumerate(population.symbols):
            mine = universes[0].underlying == u
            row = np.concatenate([*(held[account, mine] for held in books), population.tokens[account, u : u + 1]])
            if not row.any():
                continue
            for name, rule in methodologies.items():
                key = (f"{name} {symbol}", row.round(12).tobytes())
                if key not in done:
                    done[key] = _ladder(population, universes, books, account, u, notional, rule)
                # Linear in the logarithm of volatility between neighbours 17 % apart.
                out[name][:, account] += np.interp(np.log(walk.vols[:, u]), np.log(ladder), done[key])
        if progress is not None:
            progress(account + 1, len(population))
    return out


def _ladder(
    population: Population,
    universes: list[Universe],
    books: list[FloatArray],
    account: int,
    u: int,
    notional: float,
    rule: Methodology,
) -> FloatArray:
    """Initial margin of one underlying of an account at each volatility, per USD of the account's notional."""
    found = []
    for universe, held in zip(universes, books, strict=True):
        book, market = account_book(population, universe, held, account, notional, haircuts_of(rule.name), only=u)
        found.append(rule.margin(book, market).im / notional)
    return np.array(found)


@dataclass(frozen=True, slots=True)
class PeerResult:
    """One methodology over a population: per USD of gross notional, weighted.

    ``mean_margin`` and ``rate`` as it stands (initial margin; share of account-days whose loss passed it); ``factor``
    scales it to the coverage wanted, ``capital`` is its mean then. ``out_factor`` comes from the first half of the days
    alone; ``out_rate`` and ``out_capital`` are what it gave in the second. ``late_capital`` is the mean of the second
    half when scaled to the coverage there, with no help from the first.
    """

    name: str
    mean_margin: float
    rate: float
    factor: float
    capital: float
    out_factor: float
    out_rate: float
    out_capital: float
    late_capital: float


def factor_at(loss: FloatArray, margin: FloatArray, weight: FloatArray, level: float) -> float:
    """Least multiple of margins at which losses pass them with probability at most ``1 - level``; infinite if none.

    Parameters
    ----------
    loss, margin : (T, A) float64
    weight : (A,) float64
        Of each account, adding up to 1.

    Raises
    ------
    BadInput
        When the shapes do not fit, a loss is not finite, a margin no number, or the level not inside (0, 1).

    References
    ----------
    docs/risk/backtest.md, formula 8.

    Examples
    --------
    >>> factor_at(np.array([[1.0], [2.0], [3.0], [4.0]]), np.ones((4, 1)), np.ones(1), 0.75)
    3.0
    """
    if loss.shape != margin.shape or weight.shape != loss.shape[1:]:
        raise BadInput(f"losses {loss.shape}, margins {margin.shape} and weights {weight.shape} do not fit; align them")
    if not np.isfinite(loss).all() or np.isnan(margin).any():
        raise BadInput("a loss or margin is no number, so whether it was covered is unknown; leave out that day")
    if not 0.0 < level < 1.0:
        raise BadInput(f"coverage of {level} must lie inside (0, 1); pass 0.99 for 99 %")
    with np.errstate(divide="ignore", invalid="ignore"):
        need = np.where(loss <= 0.0, 0.0, loss / np.maximum(margin, 0.0)).ravel()
    share = np.broadcast_to(weight / loss.shape[0], loss.shape).ravel()
    order = np.argsort(need)[::-1]
    passed = np.cumsum(share[order])
    # The first need that may not be passed: all that are larger together weigh no more than the tail.
    return float(need[order[int(np.argmax(passed > (1.0 - level) * (1.0 + 1e-12)))]])


def compare(walk: Walk, margins: Mapping[str, FloatArray], weight: FloatArray, level: float) -> tuple[PeerResult, ...]:
    """Every methodology at equal coverage, the cheapest first.

    Parameters
    ----------
    walk : Walk
    margins : mapping of name to (T, A) float64
        Initial margins.
    weight : (A,) float64
        From `Population.shares`.
    level : float
        Coverage all are scaled to.
    """
    half = walk.at.size // 2
    out = []
    for name, margin in margins.items():
        factor = factor_at(walk.loss, margin, weight, level)
        early = factor_at(walk.loss[:half], margin[:half], weight, level)
        late, mean_late = early * margin[half:], float((margin[half:] @ weight).mean())
        out.append(
            PeerResult(
                name,
                float((margin @ weight).mean()),
                float(((walk.loss > margin) @ weight).mean()),
                factor,
                factor * float((margin @ weight).mean()),
                early,
                float(((walk.loss[half:] > late) @ weight).mean()),
                early * mean_late,
                factor_at(walk.loss[half:], margin[half:], weight, level) * mean_late,
            )
        )
    return tuple(sorted(out, key=lambda item: item.capital))
