# SPDX-License-Identifier: Apache-2.0
"""Replay of the whole protocol: prices, margin, pushes, auctions, liquidators, fund and lenders, block by block.

In each block prices move on along the path and with what was sold before; the book is judged by the float margin;
unless keepers and liquidators are out, parameters and pages are renewed, auctions start, advance and end by the
contract's rules and bids are made; liquidators sell. The sums of everything are checked in each block.

An account that was sold to its target is not judged again in that block: selling the fraction of ``max_fraction``
leaves it at the target buffer, above the end buffer, because margin shrinks at least in proportion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from risk.errors import BadInput
from risk.grid import live_grid
from risk.margin import Book, MarginResult, Market, margin, margin_block
from risk.margin_inputs import check_shapes
from risk.margin_underlying import live_underlyings
from risk.market.history import FloatArray, IntArray
from risk.replay.auction import INSOLVENT, SOLVENT
from risk.replay.ledger import Ledger
from risk.replay.liquidators import Cases, Offers, affordable, make_offers, unwind
from risk.replay.market import ImpactState, LiveMarket, ModelInputs, PricePath
from risk.replay.results import ReplayResult, Series, Summary, time_quantiles
from risk.replay.settings import ReplaySettings
from risk.units import fraction_from_bps

Progress = Callable[[int, int], None]
HOUR_S = 3_600
SMALL_BOOK = 8_000


@dataclass(slots=True)
class _Auctions:
    """State of the auctions by account, as ``auction_states.State``; times unix s, clocks s."""

    phase: IntArray
    seen_at: FloatArray
    solvent_s: FloatArray
    insolvent_s: FloatArray
    below_since: FloatArray

    @classmethod
    def empty(cls, accounts: int) -> _Auctions:
        zero = np.zeros(accounts)
        return cls(np.zeros(accounts, dtype=np.int64), zero, zero.copy(), zero.copy(), np.full(accounts, np.nan))

    def end(self, account: int) -> None:
        self.phase[account] = 0
        self.solvent_s[account] = self.insolvent_s[account] = 0.0


@dataclass(slots=True)
class _Tally:
    """What is counted on the way."""

    bad_debt: float = 0.0
    rescue: float = 0.0
    seized: float = 0.0
    cost: float = 0.0
    bids: int = 0
    worst_sum: float = 0.0
    liquidated: set[int] = field(default_factory=set)
    rescued: set[int] = field(default_factory=set)
    sold_out: set[int] = field(default_factory=set)
    hours: list[float] = field(default_factory=list)
    rows: list[tuple[object, ...]] = field(default_factory=list)


def judge(book: Book, market: Market) -> MarginResult:
    """``risk.margin.margin``, without its pool of threads where one block of accounts is all there is."""
    if len(book) > SMALL_BOOK:
        return margin(book, market)
    check_shapes(book, market)
    return margin_block(book, market, live_underlyings(book, market))


class Replay:
    """One replay on its way; :func:`run` is the way to use it."""

    def __init__(self, book: Book, inputs: ModelInputs, path: PricePath, settings: ReplaySettings) -> None:
        self.settings, self.inputs, self.path = settings, inputs, path
        self.ledger = Ledger(book, settings.fund_usd, settings.liquidators.capital_usd)
        self.live = LiveMarket(inputs, settings.guards, settings.scan_multiple, path.price[0])
        self.impact = ImpactState(settings.impact, inputs.liquidity)
        self.impact.hour_vol = np.sqrt(self.live.volatility.fast)
        self.state = _Auctions.empty(len(book))
        self.tally = _Tally()
        self.lenders = float(np.maximum(book.cash, 0.0).sum())
        self._last_at, self._was_out, self._closed = int(path.ts[0]), False, path.price[0]
        self.price, self.market, self.found = path.price[0], self.live.at(path.price[0], int(path.ts[0])), None

    def hour(self, h: int) -> None:
        """From one row of the path to the next."""
        blocks = self.settings.blocks_per_hour
        before, after = np.log(self.path.price[h]), np.log(self.path.price[h + 1])
        start, length = int(self.path.ts[h]), int(self.path.ts[h + 1] - self.path.ts[h])
        for b in range(1, blocks + 1):
            plain = np.exp(before + (after - before) * (b / blocks))
            self.block(plain if b < blocks else self.path.price[h + 1], start + length * b // blocks)
        self.live.volatility.observe(np.log(self.price / self._closed))
        self.impact.hour_vol = np.sqrt(self.live.volatility.fast)
        self._closed = self.price

    def block(self, plain: FloatArray, now: int) -> None:
        """One moment."""
        passed = now - self._last_at
        out = self.settings.is_out((now - int(self.path.ts[0])) / HOUR_S)
        self.impact.pass_time(passed)
        self.price = plain * np.exp(self.impact.log_move)
        self._settle_expired(now)
        if not out:
            self.live.look(self.price, now)
        self.market = self.live.at(self.price, now)
        found = judge(self.ledger.book(), self.market)
        under = self._watch(found, now)
        if not out:
            self._advance(found, now, passed)
            self._start(found, under, now)
            self._bid(found, now)
        self._unwind(passed)
        self._record(found, under, plain, now)
        self._last_at, self._was_out = now, out

    def _settle_expired(self, now: int) -> None:
        for u, specs in enumerate(self.inputs.instruments.options):
            due = np.array([spec.expiry <= now and spec.expiry not in self.live.settled[u] for spec in specs])
            if not due.any():
                continue
            signs = np.array([1.0 if spec.is_call else -1.0 for spec in specs])
            strikes = np.array([spec.strike for spec in specs])
            payoff = np.maximum(signs * (self.price[u] - strikes), 0.0)
            self.ledger.settle_options(u, due, payoff)
            self.live.settled[u] |= {spec.expiry: float(self.price[u]) for spec in specs if spec.expiry <= now}

    def _watch(self, found: MarginResult, now: int) -> NDArray[np.bool_]:
        """Accounts below maintenance margin, and since when."""
        under = (found.equity_mm < found.mm)[:-1]
        since = self.state.below_since
        since[under & np.isnan(since)] = now
        since[~under & (self.state.phase == 0)] = np.nan
        return np.asarray(under)

    def _advance(self, found: MarginResult, now: int, passed: int) -> None:
        """Clocks and phases of running auctions, ``auction_states._advanced``; cured ones end."""
        state, terms = self.state, self.settings.auction
        running = np.flatnonzero(state.phase)
        # Watched all the time, a clock counts all of it; after an outage one tick.
        counted = min(float(passed), terms.tick_s) if self._was_out else float(passed)
        equity_mm, mm, doubt = found.equity_mm[running], found.mm[running], found.doubt[running]
        doubtful = (doubt != 0.0) & (equity_mm + doubt >= mm)
        seconds = np.where(doubtful, 0.0, np.where(state.seen_at[running] < now, counted, 0.0))
        solvent = state.phase[running] == SOLVENT
        clock, other = state.solvent_s[running], state.insolvent_s[running]
        state.solvent_s[running] = np.where(solvent, np.minimum(clock + seconds, terms.solvent_s), clock)
        state.insolvent_s[running] = np.where(solvent, np.maximum(other - seconds, 0.0), other + seconds)
        for_sale = (found.equity_mark[running] > 0.0) & (state.solvent_s[running] < terms.solvent_s)
        state.phase[running] = np.where(for_sale, SOLVENT, INSOLVENT)
        state.seen_at[running] = now
        for account in running[equity_mm - doubt >= mm * (1.0 + terms.end_buffer)]:
            state.end(int(account))

    def _start(self, found: MarginResult, under: NDArray[np.bool_], now: int) -> None:
        """Auctions of accounts below maintenance margin by more than is in doubt, the worst first."""
        lacking = (found.mm - found.equity_mm - found.doubt)[:-1]
        ready = np.flatnonzero(under & (self.state.phase == 0) & (lacking > 0.0))
        ready = ready[np.argsort(-lacking[ready], kind="stable")]
        limit = self.settings.auctions_per_block
        self._left = limit if limit else ready.size + self.state.phase.size
        reserve = float(self.market.global_parameters.reserve_usd)
        for account in ready[: self._left]:
            equity = float(found.equity_mark[account])
            self.state.phase[account] = SOLVENT if equity > 0.0 else INSOLVENT
            self.state.seen_at[account] = now
            if equity > 0.0:
                self.ledger.reward(int(account), min(reserve, self.settings.liquidators.gas_usd, equity))
        self._left -= min(ready.size, self._left)

    def _cases(self, found: MarginResult, passed: float) -> Cases:
        running = np.flatnonzero(self.state.phase)
        insolvent = self.state.phase[running] == INSOLVENT
        clock = np.where(insolvent, self.state.insolvent_s[running], self.state.solvent_s[running])
        exposed = self.ledger.collateral[running] * self.inputs.instruments.collateral_prices(self.price)
        dollars = self.ledger.units[running] * self.price + exposed @ self.inputs.instruments.links()
        notional = np.zeros(running.size)
        for u, matrix in enumerate(self.ledger.options):
            dollars[:, u] += matrix[running] @ self.live.deltas[u]
            notional += np.abs(matrix[running]).sum(axis=1) * self.price[u]
        doubt = found.doubt[running]
        equity_mark, equity_im, equity_mm = (x[running] for x in (found.equity_mark, found.equity_im, found.equity_mm))
        return Cases(
            account=running,
            insolvent=insolvent,
            clock_from=np.maximum(clock - passed, 0.0),
            clock_to=clock,
            equity_mark=equity_mark,
            equity_im=equity_im,
            equity_mm=equity_mm,
            im=found.im[running],
            mm=found.mm[running],
            dollars=dollars,
            notional=notional,
            doubtful=(doubt != 0.0) & (equity_mm + doubt >= found.mm[running]),
        )

    def _bid(self, found: MarginResult, now: int) -> None:
        if not self.state.phase.any():
            return
        policy, reserve = self.settings.liquidators, float(self.market.global_parameters.reserve_usd)
        passed = min(float(now - self._last_at), self.settings.auction.tick_s if self._was_out else np.inf)
        cases = self._cases(found, passed)
        offers = make_offers(cases, self.settings.auction, policy, self.impact, reserve)
        free = float(found.equity_im[-1] - found.im[-1])
        wanted = policy.replenish_per_hour * policy.capital_usd * (now - self._last_at) / HOUR_S
        added = min(wanted, max(policy.capital_usd - free, 0.0))
        self.ledger.inject(added)
        free += added
        ready = np.flatnonzero(offers.ready)
        for i in ready[np.argsort(-offers.profit[ready], kind="stable")]:
            if self._left == 0:
                break
            fraction = affordable(offers, int(i), free, float(cases.size[i]), self.settings.auction)
            if fraction > 0.0:
                free -= fraction * float(offers.capital[i])
                self._take(cases, offers, int(i), fraction, now)
                self._left -= 1

    def _take(self, cases: Cases, offers: Offers, i: int, fraction: float, now: int) -> None:
        """One bid: ``LiquidationAuction.bid``."""
        account, tally, price = int(cases.account[i]), self.tally, float(offers.whole_price[i]) * fraction
        if cases.insolvent[i]:
            paid = self.ledger.pay_from_fund(-price)
            self.ledger.seize(account, fraction, 0.0)
            tally.rescue += paid
            tally.bad_debt += fraction * max(-float(cases.equity_mark[i]), 0.0)
            tally.rescued.add(account)
        else:
            self.ledger.seize(account, fraction, price)
        tally.bids += 1
        tally.liquidated.add(account)
        tally.seized += fraction * float(np.abs(cases.dollars[i]).sum() + cases.notional[i])
        if fraction == 1.0:
            tally.sold_out.add(account)
        if fraction == 1.0 or (not cases.insolvent[i] and fraction >= offers.cap[i]):
            self.state.end(account)
            tally.hours.append((now - self.state.below_since[account]) / HOUR_S)
            self.state.below_since[account] = np.nan

    def _unwind(self, passed: int) -> None:
        values = [
            live_grid(row.rows, row.price, fraction_from_bps(row.parameters.scan_bps)).value
            for row in self.market.underlyings
            if row.rows is not None
        ]
        instruments, policy = self.inputs.instruments, self.settings.liquidators
        done = unwind(self.ledger, self.price, values, self.live.deltas, instruments, self.impact, policy, passed)
        self.tally.cost += done.cost

    def _record(self, found: MarginResult, under: NDArray[np.bool_], plain: FloatArray, now: int) -> None:
        self.tally.worst_sum = max(self.tally.worst_sum, self.ledger.check(f"{now} (unix s)"))
        held = np.abs(self.ledger.units[-1] * self.price).sum()
        held += self.ledger.collateral[-1] @ self.inputs.instruments.collateral_prices(self.price)
        self.tally.rows.append((
            now, self.price, plain, int(under.sum()), int((self.state.phase > 0).sum()), self.ledger.fund,
            self.ledger.lost, float(found.equity_im[-1] - found.im[-1]), float(held), float(found.im[:-1].sum()),
            float(found.mm[:-1].sum()), self.live.pushes.in_force(now),
        ))  # fmt: skip

    def result(self) -> ReplayResult:
        """Totals and series, the last prices applied to what is left."""
        series = Series(*(np.array(column) for column in zip(*self.tally.rows, strict=True)))
        found = judge(self.ledger.book(), self.market)
        return ReplayResult(self.path.symbols, self._summary(found, series), series)

    def _summary(self, found: MarginResult, series: Series) -> Summary:
        tally, ledger, policy = self.tally, self.ledger, self.settings.liquidators
        equity = found.equity_mark[:-1]
        return Summary(
            accounts=int(equity.size),
            hours=self.path.hours,
            bad_debt_usd=tally.bad_debt,
            rescue_usd=tally.rescue,
            fund_used_usd=ledger.covered,
            lenders_loss_usd=ledger.lost,
            uncovered_usd=ledger.uncovered,
            open_shortfall_usd=float(np.maximum(-equity, 0.0).sum()),
            liquidated=len(tally.liquidated),
            rescued=len(tally.rescued),
            sold_out=len(tally.sold_out),
            bids=tally.bids,
            seized_usd=tally.seized,
            hours_to_liquidation=time_quantiles(tally.hours),
            unresolved=int((found.equity_mm < found.mm)[:-1].sum()),
            peak_under=int(series.under.max()),
            peak_im_usd=float(series.im.max()),
            peak_mm_usd=float(series.mm.max()),
            peak_scan_bps=int(series.scan.max()),
            pushes=self.live.pushes.pushes,
            liquidator_profit_usd=float(found.equity_mark[-1]) - policy.capital_usd - ledger.injected,
            injected_usd=ledger.injected,
            trading_cost_usd=tally.cost,
            worst_impact=float(np.abs(series.impact).max()),
            lowest_free_usd=float(series.free.min()),
            lenders_usd=self.lenders,
            conservation=tally.worst_sum,
        )


def run(
    book: Book,
    inputs: ModelInputs,
    path: PricePath,
    settings: ReplaySettings,
    progress: Progress | None = None,
) -> ReplayResult:
    """Replay a book along a path.

    Parameters
    ----------
    book
        Accounts at the first prices of the path, of the instruments of `inputs`.
    inputs
        Calibrated before the path begins.
    path
        Prices that do not know of the liquidations of this replay.
    settings
    progress : callable, optional
        Called with (hours done, hours in all).

    Raises
    ------
    BadInput
        When book, instruments and path do not belong together.
    MoneyLost
        When sums do not agree: a bug.
    """
    if path.symbols != inputs.instruments.symbols:
        raise BadInput(f"path of {path.symbols} for a market of {inputs.instruments.symbols}; use the same symbols")
    replay = Replay(book, inputs, path, settings)
    steps = path.ts.size - 1
    for h in range(steps):
        replay.hour(h)
        if progress is not None:
            progress(h + 1, steps)
    return replay.result()
