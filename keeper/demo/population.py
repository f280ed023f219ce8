# SPDX-License-Identifier: Apache-2.0
"""The people of the demonstration: who holds what, in dollars, before it is turned into lots and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Leg:
    """One trade. ``usd`` is signed notional at the first price: positive buys.

    ``kind`` is perp, future, call or put; ``moneyness`` is strike over spot, ``days`` the time to expiry: the nearest
    of the ladders of `keeper.demo.setup` is taken.
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


K = 1_000.0

# Lenders, and the two market makers everybody trades against: long-lived and rich.
MAKERS = (
    Person("lender Ada", "lender", {"USDC": 4_000_000}),
    Person("lender Ben", "lender", {"USDC": 2_500_000}),
    Person("maker North", "market maker", {"USDC": 9_000_000, "WETH": 1_500_000}),
    Person("maker South", "market maker", {"USDC": 9_000_000, "WBTC": 1_500_000}),
)

# Traders on three underlyings, here called first, second and third.
TRADERS = (
    Person("covered writer", "covered writer", {"WETH": 600 * K}, (Leg("second", "call", -600 * K, 1.1),), 1.5),
    Person("covered writer, staked", "covered writer", {"wstETH": 500 * K},
           (Leg("second", "call", -450 * K, 1.1),), 1.4),
    Person("covered writer, BTC", "covered writer", {"WBTC": 800 * K}, (Leg("first", "call", -700 * K, 1.1),), 1.5),
    Person("straddle seller", "short straddle", {"USDC": 400 * K},
           (Leg("second", "call", -500 * K, 1.0), Leg("second", "put", -500 * K, 1.0)), 1.15),
    Person("strangle seller", "short strangle", {"USDC": 400 * K},
           (Leg("first", "call", -600 * K, 1.1, 7), Leg("first", "put", -600 * K, 0.9, 7)), 1.2),
    Person("straddle seller, third coin", "short straddle", {"USDC": 200 * K},
           (Leg("third", "call", -200 * K, 1.0), Leg("third", "put", -200 * K, 1.0)), 1.2),
    Person("pair trader", "cross-underlying hedge", {"USDC": 300 * K},
           (Leg("second", "perp", 700 * K), Leg("first", "perp", -650 * K)), 1.3),
    Person("pair trader, third coin", "cross-underlying hedge", {"USDC": 300 * K},
           (Leg("third", "perp", 300 * K), Leg("second", "perp", -330 * K)), 1.2),
    Person("leveraged bull", "leveraged long on ETH", {"WETH": 300 * K}, (Leg("second", "perp", 500 * K),), 1.12),
    Person("borrower against ETH", "borrower", {"WETH": 500 * K}, (), 1.25),
    Person("borrower against staked ETH", "borrower", {"wstETH": 400 * K}, (), 1.35),
    Person("borrower against BTC", "borrower", {"WBTC": 600 * K}, (), 1.3),
    Person("bull, first coin", "leveraged long", {"USDC": 200 * K}, (Leg("first", "perp", 800 * K),), 1.08),
    Person("bull, third coin", "leveraged long", {"USDC": 200 * K}, (Leg("third", "perp", 400 * K),), 1.1),
    Person("bear", "leveraged short", {"USDC": 200 * K}, (Leg("second", "perp", -500 * K),), 1.15),
    Person("insured holder", "protective put", {"WETH": 400 * K}, (Leg("second", "put", 400 * K, 0.9),), 2.0),
    Person("put spread", "bear put spread", {"USDC": 100 * K},
           (Leg("first", "put", 500 * K, 1.0), Leg("first", "put", -500 * K, 0.9)), 1.3),
    Person("call spread", "bull call spread", {"USDC": 100 * K},
           (Leg("second", "call", 400 * K, 1.0), Leg("second", "call", -400 * K, 1.1)), 1.3),
    Person("condor", "iron condor", {"USDC": 150 * K},
           (Leg("first", "put", 300 * K, 0.8), Leg("first", "put", -300 * K, 0.9),
            Leg("first", "call", -300 * K, 1.1), Leg("first", "call", 300 * K, 1.2)), 1.25),
    Person("calendar", "calendar spread", {"USDC": 150 * K},
           (Leg("second", "call", -400 * K, 1.0, 7), Leg("second", "call", 400 * K, 1.0, 30)), 1.3),
    Person("risk reversal", "risk reversal", {"USDC": 150 * K},
           (Leg("second", "put", -300 * K, 0.9), Leg("second", "call", 300 * K, 1.1)), 1.15),
    Person("put seller", "naked put", {"USDC": 200 * K}, (Leg("first", "put", -500 * K, 0.9, 7),), 1.1),
    Person("dispersion", "three-coin book", {"USDC": 400 * K, "WETH": 100 * K},
           (Leg("first", "call", -300 * K, 1.0), Leg("second", "call", 250 * K, 1.0), Leg("third", "perp", 100 * K),
            Leg("first", "perp", 120 * K)), 1.3),
    Person("basis trader", "cash-and-carry", {"USDC": 150 * K},
           (Leg("second", "future", 300 * K, days=1), Leg("second", "perp", -300 * K)), 1.3),
    Person("miner", "forward seller", {"WBTC": 200 * K}, (Leg("first", "future", -200 * K, days=1),), 1.4),
    Person("small fish", "leveraged long", {"USDC": 3 * K}, (Leg("second", "perp", 10 * K),), 1.1),
)  # fmt: skip


def population(symbols: tuple[str, ...]) -> list[Person]:
    """Everybody, makers first.

    ``symbols``: the underlyings; the first two are those that WBTC and WETH are linked to. With two only, the second is
    the third as well.
    """
    named = dict(zip(("first", "second", "third"), (*symbols, symbols[-1]), strict=False))
    return [
        replace(person, legs=tuple(replace(leg, symbol=named[leg.symbol]) for leg in person.legs))
        for person in MAKERS + TRADERS
    ]
