# SPDX-License-Identifier: Apache-2.0
"""What to do about a margin: the trade that frees the most, the collateral that can leave or be swapped at least cost.

The search knows no rule. It asks an :class:`Editable` account what its health would be after a change at mark prices,
so the same code serves any methodology on a case file and the integer twin on an account of the chain. Health is equity
less requirement; charges, haircuts and offsets are whatever the rule makes of the changed account. Fees are left out.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, Protocol

from risk.errors import BadInput

# shares of the book's gross notional that are tried in each instrument, either way
_SHARES = (1 / 16, 1 / 4, 1.0)
_GOLDEN = 0.6180339887498949
_LEAST_USD = 0.01


class Health(NamedTuple):
    """Equity less initial and less maintenance requirement, USD."""

    im: float
    mm: float


class Instrument(NamedTuple):
    """Something to trade: USD of notional a unit (the underlying's price) and signed units held."""

    name: str
    key: Hashable
    price: float
    held: float


class Holding(NamedTuple):
    """Cash or a collateral asset: USD a unit and units held; cash has the key ``None`` and a price of 1."""

    name: str
    key: Hashable | None
    price: float
    held: float

    @property
    def value(self) -> float:
        """USD at mark."""
        return self.price * self.held


class Editable(Protocol):
    """An account that can be asked what it would be after a change."""

    @property
    def instruments(self) -> Sequence[Instrument]:
        """What may be traded."""
        ...

    @property
    def holdings(self) -> Sequence[Holding]:
        """Cash and every collateral asset of the market, held or not."""
        ...

    def traded(self, instrument: Instrument, units: float) -> Health:
        """Health after signed units of one instrument change hands at its mark."""
        ...

    def moved(self, units: Mapping[Hashable | None, float]) -> Health:
        """Health after units of cash and collateral come in (positive) or leave, by key."""
        ...


class Trade(NamedTuple):
    """One trade at mark: signed units, USD notional, and what it frees of each margin, USD."""

    name: str
    units: float
    notional: float
    frees_im: float
    frees_mm: float
    closes: bool

    def words(self) -> str:
        """Like ``sell 1.5 ETH perpetual: frees 840.00 USD of initial margin, 18.7 % of its notional``."""
        done = ("close " if self.closes else "") + ("buy" if self.units > 0.0 else "sell")
        share = 100 * self.frees_im / self.notional
        return (
            f"{done} {_units(self.units)} {self.name}: frees {self.frees_im:,.2f} USD of initial margin, "
            f"{share:.1f} % of its notional"
        )


class Withdrawal(NamedTuple):
    """The most of one holding that can leave with initial margin still held, and what each USD of it costs in health.

    ``cost`` is the initial health lost for each USD of the first hundredth that leaves: below 1 by the haircut, above
    it where the holding hedges the book.
    """

    name: str
    units: float
    value: float
    cost: float

    def words(self) -> str:
        """Like ``WETH: 1.2 (3,600.00 USD) can leave; each USD costs 0.90 of initial health``."""
        return (
            f"{self.name}: {_units(self.units)} ({self.value:,.2f} USD) can leave; "
            f"each USD costs {self.cost:.2f} of initial health"
        )


class Swap(NamedTuple):
    """All of one holding into another at mark: USD that move, and what initial and maintenance health gain."""

    source: str
    target: str
    value: float
    gains_im: float
    gains_mm: float

    def words(self) -> str:
        """Like ``4,500.00 USD of WETH into cash: initial health +450.00 USD``."""
        return f"{self.value:,.2f} USD of {self.source} into {self.target}: initial health {self.gains_im:+,.2f} USD"


def best_trades(account: Editable, count: int = 3) -> tuple[Trade, ...]:
    """The single trades that free the most initial margin, one an instrument, best first.

    Each instrument is tried at its closing quantity and at shares of the book's gross notional either way; the best
    sizes are then refined by golden section between their neighbours, so a reported size is a local optimum.

    Parameters
    ----------
    account
        Where to ask.
    count
        How many to report, at most.

    Returns
    -------
    Trades that free at least a cent, fewer than ``count`` when there are not so many.

    Raises
    ------
    BadInput
        When ``count`` is below one.
    """
    if count < 1:
        raise BadInput(f"{count} trades make no list; ask for at least one")
    gross = sum(abs(item.held) * item.price for item in account.instruments)
    gross += sum(abs(item.value) for item in account.holdings if item.key is not None)
    base = account.moved({})
    found = [_coarse(account, item, gross, base) for item in account.instruments if item.price > 0.0 and gross > 0.0]
    found.sort(key=lambda item: -item[0].frees_im)
    refined = [_refined(account, trade, instrument, near, base) for trade, instrument, near in found[: count + 4]]
    return tuple(sorted((t for t in refined if t.frees_im >= _LEAST_USD), key=lambda t: -t.frees_im))[:count]


def withdrawals(account: Editable) -> tuple[Withdrawal, ...]:
    """What can leave of cash and of each collateral held, cheapest in health first.

    Returns
    -------
    One entry a holding that has any; ``units`` is 0 where initial margin is not held already.
    """
    base, out = account.moved({}), []
    for item in account.holdings:
        if item.held > 0.0 and item.price > 0.0:
            first = account.moved({item.key: -0.01 * item.held})
            cost = (base.im - first.im) / (0.01 * item.value)
            units = _most(account, item) if base.im >= 0.0 else 0.0
            out.append(Withdrawal(item.name, units, units * item.price, cost))
    return tuple(sorted(out, key=lambda w: (w.cost, w.name)))


def swaps(account: Editable) -> tuple[Swap, ...]:
    """All of each collateral held into cash or any other asset of the market, at mark, best for health first.

    Returns
    -------
    One entry for each ordered pair.
    """
    base, out = account.moved({}), []
    for source in account.holdings:
        if source.key is None or source.value <= 0.0:
            continue
        for target in account.holdings:
            if target.key != source.key and target.price > 0.0:
                after = account.moved({source.key: -source.held, target.key: source.value / target.price})
                gains = after.im - base.im, after.mm - base.mm
                out.append(Swap(source.name, target.name, source.value, *gains))
    return tuple(sorted(out, key=lambda s: -s.gains_im))


def _units(units: float) -> str:
    """Six digits, never an exponent for a size that somebody might type."""
    size = abs(units)
    return f"{size:,.0f}" if size >= 100_000.0 else f"{size:,.6g}"


def _trade(account: Editable, item: Instrument, units: float, base: Health) -> Trade:
    after = account.traded(item, units)
    closes = units == -item.held
    return Trade(item.name, units, abs(units) * item.price, after.im - base.im, after.mm - base.mm, closes)


def _coarse(
    account: Editable, item: Instrument, gross: float, base: Health
) -> tuple[Trade, Instrument, tuple[float, float]]:
    """The best of the sizes tried, and the sizes beside it."""
    sizes = {sign * share * gross / item.price for share in _SHARES for sign in (-1.0, 1.0)} | {0.0}
    if item.held != 0.0:
        sizes.add(-item.held)
    ordered = sorted(sizes)
    trades = [_trade(account, item, units, base) for units in ordered if units != 0.0]
    best = max(trades, key=lambda trade: trade.frees_im)
    at = ordered.index(best.units)
    return best, item, (ordered[max(at - 1, 0)], ordered[min(at + 1, len(ordered) - 1)])


def _refined(account: Editable, best: Trade, item: Instrument, near: tuple[float, float], base: Health) -> Trade:
    """Golden section between the neighbours of the best size; keeps the best seen."""
    low, high = near
    left, right = high - (high - low) * _GOLDEN, low + (high - low) * _GOLDEN
    first, second = (_trade(account, item, units, base) for units in (left, right))
    for _ in range(12):
        best = max((best, first, second), key=lambda trade: trade.frees_im)
        if first.frees_im >= second.frees_im:
            high, right, second = right, left, first
            left = high - (high - low) * _GOLDEN
            first = _trade(account, item, left, base)
        else:
            low, left, first = left, right, second
            right = low + (high - low) * _GOLDEN
            second = _trade(account, item, right, base)
    return max((best, first, second), key=lambda trade: trade.frees_im)


def _most(account: Editable, item: Holding) -> float:
    """Most units that can leave with initial health at or above zero."""
    if account.moved({item.key: -item.held}).im >= 0.0:
        return item.held
    low, high = 0.0, item.held
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if account.moved({item.key: -middle}).im >= 0.0 else (low, middle)
    return low
