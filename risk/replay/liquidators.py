# SPDX-License-Identifier: Apache-2.0
"""What liquidators do: bid as soon as a bid earns its cost, as far as their margin carries, and sell what they took.

Competition makes the first bid that pays the one that is made: what a bid earns rises with the clock, so the moment at
which it covers its cost is found by bisection, and the bid happens then if that lies in the time that has passed. A bid
costs its impact, the warehousing of its initial margin and its gas, as ``keeper/liquidate/sizing.py`` counts them, and
what the price may do while they sell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from risk.market.history import FloatArray, IntArray
from risk.replay.auction import account_size, discount, max_fraction, payout, taken_fraction
from risk.replay.ledger import Ledger, Sale
from risk.replay.market import ImpactState, Instruments
from risk.replay.settings import AuctionTerms, LiquidatorPolicy

# Of the time since the last look: after so many halvings a bid is made at its moment to far below a second.
HALVINGS = 32
# Nobody sells sooner than that after a bid.
SHORTEST_HOLD_H = 0.25
# A bid that covers its cost to the last bit is one that pays.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Cases:
    """Accounts in auction, (m,) each unless said otherwise.

    ``clock_from`` and ``clock_to``, s: what the clock of the phase showed at the last record and shows now. ``dollars``
    (m, k) dollar delta by underlying; ``notional`` gross notional of options, USD.
    """

    account: IntArray
    insolvent: NDArray[np.bool_]
    clock_from: FloatArray
    clock_to: FloatArray
    equity_mark: FloatArray
    equity_im: FloatArray
    equity_mm: FloatArray
    im: FloatArray
    mm: FloatArray
    dollars: FloatArray
    notional: FloatArray
    doubtful: NDArray[np.bool_]

    @property
    def size(self) -> FloatArray:
        """What holding each account takes."""
        return account_size(self.equity_mark, self.equity_mm, self.mm)


@dataclass(frozen=True, slots=True)
class Offers:
    """A bid for each case, (m,): ``whole_price`` for the whole account, below 0 when the bidder is paid, USD.

    ``capital`` is the free initial margin that the whole account would take. Only those ``ready`` may be made.
    """

    fraction: FloatArray
    cap: FloatArray
    whole_price: FloatArray
    clock: FloatArray
    profit: FloatArray
    capital: FloatArray
    ready: NDArray[np.bool_]


def bid_cost(cases: Cases, fraction: FloatArray, policy: LiquidatorPolicy, impact: ImpactState) -> FloatArray:
    """What taking and selling a fraction of each account costs, (m,) USD."""
    traded = np.abs(cases.dollars) * fraction[:, None]
    hours = np.maximum(traded / impact.capacity(policy.participation, 3_600.0), SHORTEST_HOLD_H)
    falling = policy.risk * impact.hour_vol * np.sqrt(hours)
    selling = (traded * (policy.spread + impact.cost(traded) + falling)).sum(axis=1)
    holding = fraction * (policy.warehouse * np.maximum(cases.im, 0.0) + policy.option_spread * cases.notional)
    return np.asarray(policy.gas_usd + selling + holding, dtype=np.float64)


def make_offers(
    cases: Cases, terms: AuctionTerms, policy: LiquidatorPolicy, impact: ImpactState, reserve: float
) -> Offers:
    """The bid that competition would make for each account since the last look."""
    sold = _solvent(cases, terms, policy, impact, reserve)
    saved = _insolvent(cases, terms, policy, impact)
    fraction, cap, price, clock, profit, allowed = (
        np.where(cases.insolvent, b, a) for a, b in zip(sold, saved, strict=True)
    )
    enough = profit >= -ROUNDING * np.abs(cases.mm)
    return Offers(
        fraction=fraction,
        cap=cap,
        whole_price=price,
        clock=clock,
        profit=profit,
        capital=cases.im - cases.equity_im + price,
        ready=allowed.astype(bool) & enough & (clock <= cases.clock_to),
    )


Terms = tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]


def _solvent(cases: Cases, terms: AuctionTerms, policy: LiquidatorPolicy, impact: ImpactState, reserve: float) -> Terms:
    """The first moment since the last look at which a bid pays, by bisection; never where none in that time does."""
    equity, size = np.maximum(cases.equity_mark, 1e-9), cases.size
    target, fixed = cases.mm * (1.0 + terms.target_buffer), reserve * (1.0 + terms.target_buffer)

    def at(clock: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
        price = equity * (1.0 - discount(np.minimum(clock, terms.solvent_s), terms))
        cap = max_fraction(cases.equity_mm, target, price, fixed)
        fraction, allowed = taken_fraction(np.ones_like(cap), cap, size, terms)
        profit = fraction * (equity - price) - bid_cost(cases, fraction, policy, impact)
        return fraction, cap, price, profit, allowed.astype(np.float64)

    early, late = cases.clock_from, cases.clock_to
    pays_early, pays_late = at(early)[3] >= 0.0, at(late)[3] >= 0.0
    low, high = early.copy(), np.where(pays_early, early, late)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        pays = at(middle)[3] >= 0.0
        low, high = np.where(pays, low, middle), np.where(pays, middle, high)
    fraction, cap, price, profit, allowed = at(high)
    return fraction, cap, price, np.where(pays_early | pays_late, high, np.inf), profit, allowed


def _insolvent(cases: Cases, terms: AuctionTerms, policy: LiquidatorPolicy, impact: ImpactState) -> Terms:
    size, whole = cases.size, np.ones(cases.size.size)
    held = np.maximum(cases.equity_mark, 0.0)
    cost = bid_cost(cases, whole, policy, impact)
    share = np.maximum(cost - held, 0.0) / np.maximum(size - held, 1e-9)
    clock = np.maximum(cases.clock_from, np.where(share > 1.0, np.inf, share * terms.insolvent_s))
    paid = payout(cases.equity_mark, size, np.minimum(clock, terms.insolvent_s), terms)
    # A loss that old data may have made up is nobody's to pay.
    paid = np.where(cases.doubtful, 0.0, paid)
    profit = cases.equity_mark + paid - cost
    return whole, whole, -paid, clock, profit, np.ones(size.size)


def affordable(offers: Offers, i: int, free: float, size: float, terms: AuctionTerms) -> float:
    """Fraction of case `i` that free initial margin carries; 0 when that is too little to be allowed."""
    fraction = float(offers.fraction[i])
    if offers.capital[i] * fraction <= free:
        return fraction
    fraction = max(free, 0.0) / float(offers.capital[i])
    return fraction if size * fraction >= terms.min_slice_usd else 0.0


@dataclass(frozen=True, slots=True)
class Unwound:
    """What liquidators sold in a step: net USD by underlying (k,), and what the selling cost them."""

    usd: FloatArray
    cost: float


def unwind(
    ledger: Ledger,
    price: FloatArray,
    values: list[FloatArray],
    deltas: list[FloatArray],
    instruments: Instruments,
    impact: ImpactState,
    policy: LiquidatorPolicy,
    seconds: float,
) -> Unwound:
    """Sell what liquidators hold, as fast as their share of the volume allows, at the cost of doing so.

    Parameters
    ----------
    price : (k,)
    values, deltas
        By underlying: value and dollar delta of a unit of each option, USD.
    seconds : float
        Time since the last step.
    """
    links, prices = instruments.links(), instruments.collateral_prices(price)
    held = ledger.collateral[-1] * prices
    room = impact.capacity(policy.participation, seconds)
    usd, total = np.zeros(price.size), 0.0
    for u in range(price.size):
        options = ledger.options[u][-1]
        perpetual, assets = ledger.units[-1, u] * price[u], held * links[:, u]
        gross = abs(perpetual) + assets.sum() + float(np.abs(options) @ np.abs(deltas[u]))
        notional = float(np.abs(options).sum() * price[u])
        if gross + notional == 0.0:
            continue
        share = min(1.0, float(room[u]) / gross) if gross > 0.0 else 1.0
        net = share * (perpetual + assets.sum() + float(options @ deltas[u]))
        usd[u] = net
        cost = abs(net) * (policy.spread + float(impact.cost(usd)[u])) + share * notional * policy.option_spread
        worth = share * (perpetual + assets.sum() + float(options @ values[u]))
        sold = np.where(links[:, u] > 0, share * ledger.collateral[-1], 0.0)
        ledger.sell(u, Sale(share * ledger.units[-1, u], share * options, sold, worth - cost))
        total += cost
    impact.sold(usd)
    return Unwound(usd, total)
