# SPDX-License-Identifier: Apache-2.0
"""The people of the demonstration: who holds what, in dollars, before it is turned into lots and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Leg:
    """One trade. ``usd`` is signed notional at the first price: positive buys.

    ``kind`` is perp, call or put; ``moneyness`` is strike over spot, ``days`` the time to expiry of an option: both from
    the ladder of `keeper.demo.setup`.
    """

    symbol: str
    kind: str
    usd: float
    moneyness: float = 1.0
    days: int = 30


@dataclass(frozen=True, slots=True)
class Person:
    """An account: token -> dollars deposited (``USDC`` is cash), trades, and how much margin is kept.

    ``buffer`` is initial-margin equity over initial margin after all surplus cash was withdrawn (below zero cash it
    borrows); None leaves everything in.
    """

    name: str
    kind: str
    deposits: Mapping[str, float]
    legs: tuple[Leg, ...] = field(default=())
    buffer: float | None = None


def makers(a: str, b: str, c: str) -> list[Person]:
    """Lenders and the two market makers everybody trades against (long-lived, rich)."""
    return [
        Person("lender Ada", "lender", {"USDC": 4_000_000}),
        Person("lender Ben", "lender", {"USDC": 2_500_000}),
        Person("maker North", "market maker", {"USDC": 9_000_000, "WETH": 1_500_000}),
        Person("maker South", "market maker", {"USDC": 9_000_000, "WBTC": 1_500_000}),
    ]


def traders(a: str, b: str, c: str) -> list[Person]:
    """Traders on three underlyings; ``a`` and ``b`` are those that WBTC and WETH are linked to."""
    k = 1_000.0
    return [
        Person("covered writer", "covered writer", {"WETH": 600 * k}, (Leg(b, "call", -600 * k, 1.1),), 1.5),
        Person("covered writer, staked", "covered writer", {"wstETH": 500 * k}, (Leg(b, "call", -450 * k, 1.1),), 1.4),
        Person("covered writer, BTC", "covered writer", {"WBTC": 800 * k}, (Leg(a, "call", -700 * k, 1.1),), 1.5),
        Person("straddle seller", "short straddle", {"USDC": 400 * k},
               (Leg(b, "call", -500 * k, 1.0), Leg(b, "put", -500 * k, 1.0)), 1.15),
        Person("strangle seller", "short strangle", {"USDC": 400 * k},
               (Leg(a, "call", -600 * k, 1.1, 7), Leg(a, "put", -600 * k, 0.9, 7)), 1.2),
        Person("straddle seller, third coin", "short straddle", {"USDC": 200 * k},
               (Leg(c, "call", -200 * k, 1.0), Leg(c, "put", -200 * k, 1.0)), 1.2),
        Person("pair trader", "cross-underlying hedge", {"USDC": 300 * k},
               (Leg(b, "perp", 700 * k), Leg(a, "perp", -650 * k)), 1.3),
        Person("pair trader, third coin", "cross-underlying hedge", {"USDC": 300 * k},
               (Leg(c, "perp", 300 * k), Leg(b, "perp", -330 * k)), 1.2),
        Person("leveraged bull", "leveraged long on ETH", {"WETH": 300 * k}, (Leg(b, "perp", 500 * k),), 1.12),
        Person("borrower against ETH", "borrower", {"WETH": 500 * k}, (), 1.25),
        Person("borrower against staked ETH", "borrower", {"wstETH": 400 * k}, (), 1.35),
        Person("borrower against BTC", "borrower", {"WBTC": 600 * k}, (), 1.3),
        Person("bull, first coin", "leveraged long", {"USDC": 200 * k}, (Leg(a, "perp", 800 * k),), 1.08),
        Person("bull, third coin", "leveraged long", {"USDC": 200 * k}, (Leg(c, "perp", 400 * k),), 1.1),
        Person("bear", "leveraged short", {"USDC": 200 * k}, (Leg(b, "perp", -500 * k),), 1.15),
        Person("insured holder", "protective put", {"WETH": 400 * k}, (Leg(b, "put", 400 * k, 0.9),), 2.0),
        Person("put spread", "bear put spread", {"USDC": 100 * k},
               (Leg(a, "put", 500 * k, 1.0), Leg(a, "put", -500 * k, 0.9)), 1.3),
        Person("call spread", "bull call spread", {"USDC": 100 * k},
               (Leg(b, "call", 400 * k, 1.0), Leg(b, "call", -400 * k, 1.1)), 1.3),
        Person("condor", "iron condor", {"USDC": 150 * k},
               (Leg(a, "put", 300 * k, 0.8), Leg(a, "put", -300 * k, 0.9),
                Leg(a, "call", -300 * k, 1.1), Leg(a, "call", 300 * k, 1.2)), 1.25),
        Person("calendar", "calendar spread", {"USDC": 150 * k},
               (Leg(b, "call", -400 * k, 1.0, 7), Leg(b, "call", 400 * k, 1.0, 30)), 1.3),
        Person("risk reversal", "risk reversal", {"USDC": 150 * k},
               (Leg(b, "put", -300 * k, 0.9), Leg(b, "call", 300 * k, 1.1)), 1.15),
        Person("put seller", "naked put", {"USDC": 200 * k}, (Leg(a, "put", -500 * k, 0.9, 7),), 1.1),
        Person("dispersion", "three-coin book", {"USDC": 400 * k, "WETH": 100 * k},
               (Leg(a, "call", -300 * k, 1.0), Leg(b, "call", 250 * k, 1.0), Leg(c, "perp", 100 * k),
                Leg(a, "perp", 120 * k)), 1.3),
        Person("small fish", "leveraged long", {"USDC": 3 * k}, (Leg(b, "perp", 10 * k),), 1.1),
    ]  # fmt: skip


def population(symbols: tuple[str, ...]) -> list[Person]:
    """Everybody, makers first. ``symbols``: the first three underlyings, those linked to WBTC and WETH in front."""
    a, b, c = (*symbols, symbols[-1])[:3]
    return makers(a, b, c) + traders(a, b, c)
