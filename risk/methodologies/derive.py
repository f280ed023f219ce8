# SPDX-License-Identifier: Apache-2.0
"""Derive v2's PMRM_2: scenarios of spot and volatility, skew scenarios, a basis contingency and add-ons.

One underlying an account, as there. Derive states margin as a *balance*: an account is sound while its initial balance
is not negative. :func:`pmrm2` returns those balances; :class:`DerivePmrm2` turns them into demands that compare with
other methodologies.

References
----------
Derive v2-core, ``PMRM_2`` and ``PMRMLib_2``; formulas as read and re-computed on its published cases (docs/risk-
methodology.md, section on peers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from risk.methodologies.base import Book, FloatArray, MarginResult, Market, Scenario, Strip, delta_one_value, strips
from risk.pricing import black76
from risk.types import SECONDS_PER_DAY, SECONDS_PER_YEAR

UP, NONE, DOWN, LINEAR, ABS = "Up", "None", "Down", "LINEAR", "ABS"
_REFERENCE_DTE = 30.0


@dataclass(frozen=True, slots=True)
class Shock:
    """A scenario: ``spot`` multiplies price and forwards, ``vol`` is up, down, none or a skew, ``damping`` a weight."""

    spot: float
    vol: str
    damping: float = 1.0

    @property
    def is_skew(self) -> bool:
        """Whether the smile is tilted in place of spot and level being moved."""
        return self.vol in (LINEAR, ABS)


def _shocks() -> tuple[Shock, ...]:
    grid = [
        Shock(1.0 + move, vol) for move in (0.135, 0.09, 0.045, 0.0, -0.045, -0.09, -0.135) for vol in (DOWN, NONE, UP)
    ]
    tails = [Shock(1.0 + move, UP, 0.2 * 0.18 / abs(move)) for move in (-0.66, -0.33, 0.5, 1.0, 2.0, 3.0)]
    return (Shock(1.18, UP), *grid, Shock(0.82, UP), *tails, Shock(1.0, LINEAR), Shock(1.0, ABS))


@dataclass(frozen=True, slots=True)
class VolShock:
    """Relative volatility shocks at 30 days, their tenor powers up to and beyond it, and the least shocked-up one."""

    up: float = 0.5
    down: float = 0.275
    short_power: float = 0.3
    long_power: float = 0.13
    min_up: float = 0.45
    dte_floor: float = 1.0


@dataclass(frozen=True, slots=True)
class Discounts:
    """How shocked values are discounted, longs (value > 0) and shorts: static factor, rate multiple, rate add-on."""

    long_static: float = 0.95
    long_rate: float = 1.0
    long_add: float = 0.08
    short_static: float = 1.04
    short_rate: float = 0.5
    short_add: float = 0.08


@dataclass(frozen=True, slots=True)
class Skew:
    """Tilt of the smile: caps with their slope in sqrt(tau), and the log-moneyness at which they are reached."""

    linear_cap: float = 0.15
    linear_slope: float = -0.05
    abs_cap: float = 0.15
    abs_slope: float = -0.05
    min_k_star: float = 0.01
    width: float = 4.0
    vol_static: float = 0.6
    vol_scale: float = -0.1


@dataclass(frozen=True, slots=True)
class Contingencies:
    """Loss factors, the basis contingency, charges on perpetuals and naked shorts, oracle confidence, peg."""

    mm_factor: float = 0.8
    im_factor: float = 1.0
    basis_up: float = 1.045
    basis_down: float = 0.955
    basis_add: float = 0.5
    basis_mult: float = 2.0
    mm_perp: float = 0.015
    im_perp: float = 0.005
    mm_option: float = 0.003
    im_option: float = 0.002
    peg_threshold: float = 0.98
    peg_factor: float = 2.0
    confidence_threshold: float = 0.55
    confidence_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything a manager is configured with; the defaults are those of Derive's published cases."""

    shocks: tuple[Shock, ...] = field(default_factory=_shocks)
    vol: VolShock = VolShock()
    discounts: Discounts = Discounts()
    skew: Skew = Skew()
    other: Contingencies = Contingencies()


@dataclass(frozen=True, slots=True)
class Token:
    """A collateral: units, USD each, whether it moves with the underlying, haircuts, oracle confidence 0..1."""

    amount: float
    price: float
    risk_cancelling: bool = False
    haircut_im: float = 0.0
    haircut_mm: float = 0.0
    confidence: float = 1.0
    confidence_threshold: float = 0.55


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one expiry, arrays (n,); ``discount`` the mark's, ``rate`` a year, ``confidence`` the feeds' least."""

    seconds: int
    forward: float
    rate: float
    discount: float
    strike: FloatArray
    is_call: NDArray[np.bool_]
    amount: FloatArray
    vol: FloatArray
    confidence: float = 1.0

    @property
    def tau(self) -> float:
        """Years to expiry."""
        return self.seconds / SECONDS_PER_YEAR

    def value(self, spot: float, vol: FloatArray) -> float:
        """Value of all of them, USD; a discount factor above one (a negative rate) counts as one."""
        prices = black76.price(self.forward * spot, self.strike, vol, self.tau, min(self.discount, 1.0), self.is_call)
        return float(prices @ self.amount)


@dataclass(frozen=True, slots=True)
class Account:
    """An account of one manager, in USD; ``stable`` is the price of the cash asset."""

    spot: float
    cash: float = 0.0
    perps: float = 0.0
    perp_price: float = 0.0
    perp_pnl: float = 0.0
    funding: float = 0.0
    stable: float = 1.0
    tokens: tuple[Token, ...] = ()
    expiries: tuple[Options, ...] = ()
    spot_confidence: float = 1.0
    perp_confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Balances:
    """Margin balances in USD as Derive states them, the mark to market, and each scenario's damped profit."""

    im: float
    mm: float
    mark_to_market: float
    basis: float
    profits: tuple[float, ...]


def pmrm2(account: Account, rules: Rules) -> Balances:
    """Margin balances of an account.

    References
    ----------
    ``M = factor*min(min_s PnL_s, basis, 0) - contingencies + MtM`` with the factor of initial margin raised by the loss
    of peg.
    """
    vols = [_Vols(item, rules) for item in account.expiries]
    values = [item.value(1.0, item.vol) for item in account.expiries]
    profits = tuple(_profit(account, shock, rules, vols, values) for shock in rules.shocks)
    basis = _basis(account, rules, values)
    worst = min(*profits, basis, 0.0)
    other, held = rules.other, [token.amount * token.price / account.stable for token in account.tokens]
    mark = sum(values) + sum(held) + account.perp_pnl + account.funding + account.cash
    perps, naked = abs(account.perps) * account.spot, _naked(account) * account.spot
    mm_cut = sum(value * token.haircut_mm for value, token in zip(held, account.tokens, strict=True))
    im_cut = sum(value * token.haircut_im for value, token in zip(held, account.tokens, strict=True))
    mm_added = other.mm_perp * perps + other.mm_option * naked + mm_cut
    im_added = other.im_perp * perps + other.im_option * naked + im_cut + _confidence(account, rules, held)
    im_factor = other.im_factor + other.peg_factor * max(other.peg_threshold - account.stable, 0.0)
    return Balances(
        mark + im_factor * worst - mm_added - im_added, mark + other.mm_factor * worst - mm_added, mark, basis, profits
    )


class _Vols:
    """Volatilities and discount factors of one expiry under every kind of shock."""

    def __init__(self, item: Options, rules: Rules) -> None:
        days = item.seconds / SECONDS_PER_DAY
        power = rules.vol.short_power if days <= _REFERENCE_DTE else rules.vol.long_power
        scale = (_REFERENCE_DTE / max(days, rules.vol.dte_floor)) ** power
        self.by_shock = {
            UP: np.maximum(item.vol * (1.0 + rules.vol.up * scale), rules.vol.min_up),
            DOWN: item.vol * max(1.0 - rules.vol.down * scale, 0.0),
            NONE: item.vol,
            LINEAR: item.vol * self._tilt(item, rules.skew, is_abs=False),
            ABS: item.vol * self._tilt(item, rules.skew, is_abs=True),
        }
        rate, tau, terms = max(item.rate, 0.0), item.tau, rules.discounts
        self.long = terms.long_static * np.exp(-tau * (rate * terms.long_rate + terms.long_add))
        short = terms.short_static * np.exp(tau * (rate * terms.short_rate + terms.short_add))
        self.short = min(1.0 / min(item.discount, 1.0), float(short))

    @staticmethod
    def _tilt(item: Options, skew: Skew, *, is_abs: bool) -> FloatArray:
        """Multiple of each volatility; one that would be negative is zero."""
        root = float(np.sqrt(item.tau))
        limit = skew.abs_cap + skew.abs_slope * root if is_abs else skew.linear_cap + skew.linear_slope * root
        k_star = max(skew.min_k_star, skew.width * root * (skew.vol_static + skew.vol_scale * root))
        k = np.log(item.strike / item.forward)
        tilt = np.clip((np.abs(k) if is_abs else k) * limit / k_star, -limit, limit)
        return np.asarray(np.maximum(1.0 + tilt, 0.0))

    def discounted(self, value: float) -> float:
        """A shocked value, discounted as a long or a short one."""
        return value * float(self.long if value > 0.0 else self.short)


def _profit(account: Account, shock: Shock, rules: Rules, vols: Sequence[_Vols], values: Sequence[float]) -> float:
    profit = 0.0
    for item, state, value in zip(account.expiries, vols, values, strict=True):
        change = state.discounted(item.value(shock.spot, state.by_shock[shock.vol])) - value
        # a skew can turn either way, so whichever way it hurts counts
        profit += -abs(change) if shock.is_skew else change
    if not shock.is_skew:
        linked = sum(token.amount * token.price for token in account.tokens if token.risk_cancelling) / account.stable
        profit += (account.perps * account.perp_price + linked) * (shock.spot - 1.0)
    return profit * shock.damping


def _basis(account: Account, rules: Rules, values: Sequence[float]) -> float:
    """Forwards that move apart: the worse of both moves in each expiry, the more the longer."""
    other, total = rules.other, 0.0
    for item, value in zip(account.expiries, values, strict=True):
        worst = min(item.value(other.basis_up, item.vol) - value, item.value(other.basis_down, item.vol) - value, 0.0)
        total += worst * (other.basis_add + other.basis_mult * item.tau)
    return total


def _naked(account: Account) -> float:
    """Units sold short, calls and puts of one strike netted."""
    total = 0.0
    for item in account.expiries:
        for strike in np.unique(item.strike):
            total += max(-float(item.amount[item.strike == strike].sum()), 0.0)
    return total


def _confidence(account: Account, rules: Rules, held: Sequence[float]) -> float:
    """What initial margin asks for where an oracle is unsure: (1 - confidence) of the notional that depends on it."""

    def share(confidence: float, threshold: float) -> float:
        return rules.other.confidence_scale * (1.0 - confidence) if confidence < threshold else 0.0

    least, threshold = account.spot_confidence, rules.other.confidence_threshold
    total = 0.0
    for value, token in zip(held, account.tokens, strict=True):
        total += value * share(min(least, token.confidence), token.confidence_threshold)
    if account.perps:
        least = min(least, account.perp_confidence)
        total += abs(account.perps) * account.spot * share(least, threshold)
    for item in account.expiries:
        total += float(np.abs(item.amount).sum()) * account.spot * share(min(least, item.confidence), threshold)
    return total


@dataclass(frozen=True, slots=True)
class DerivePmrm2:
    """The plug-in: each underlying of a book is an account of its own there, demands add up; cash is in the first."""

    rules: Rules = Rules()
    name: str = "derive-pmrm2"

    def margin(self, book: Book, market: Market) -> MarginResult:
        """Margin of one account; tokens that move with no underlying are in the first manager."""
        cash, equity, im, mm, scenarios = book.cash + delta_one_value(book, market), 0.0, 0.0, 0.0, []
        for index, strip in enumerate(strips(book, market)):
            found = pmrm2(_account(book, market, strip, cash if index == 0 else 0.0, is_first=index == 0), self.rules)
            equity += found.mark_to_market
            im += found.mark_to_market - found.im
            mm += found.mark_to_market - found.mm
            scenarios += [
                Scenario(f"{strip.name} {words(shock)}", profit)
                for shock, profit in zip(self.rules.shocks, found.profits, strict=True)
            ]
        return MarginResult(equity, im, mm, tuple(scenarios))


def words(shock: Shock) -> str:
    """A scenario for people, like ``+18.0%, vol up``."""
    if shock.is_skew:
        return f"skew {shock.vol.lower()}"
    return f"{shock.spot - 1.0:+.1%}, vol {shock.vol.lower()}"


def _account(book: Book, market: Market, strip: Strip, cash: float, *, is_first: bool) -> Account:
    tokens = tuple(
        Token(amount, asset.price, asset.linked == strip.name, asset.haircut_im - asset.haircut_mm, asset.haircut_mm)
        for name, amount in book.collateral.items()
        if (asset := market.assets[name]).linked == strip.name or (is_first and asset.linked is None)
    )
    expiries = []
    for expiry in np.unique(strip.expiry):
        mine = strip.expiry == expiry
        discount = float(strip.discount[mine][0])
        expiries.append(
            Options(
                int(expiry) - market.now,
                float(strip.forward[mine][0]),
                -float(np.log(discount)) / ((int(expiry) - market.now) / SECONDS_PER_YEAR),
                discount,
                strip.strike[mine],
                strip.is_call[mine],
                strip.quantity[mine],
                strip.vol[mine],
            )
        )
    return Account(strip.spot, cash, strip.delta_one, strip.spot, tokens=tokens, expiries=tuple(expiries))
