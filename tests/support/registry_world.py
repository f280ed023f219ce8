# SPDX-License-Identifier: Apache-2.0
"""A registry on the real oracle and settable feeds, with open interest that a test sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import boa

from tests.support.ledger import signed
from tests.support.price_feeds import ZERO, feed_config

WAD: Final = 10**18
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
YEAR_S: Final = 365 * DAY_S
HEARTBEAT_S: Final = 2 * DAY_S
MAX_EXPIRY_S: Final = 2 * 366 * DAY_S
ETH, BTC = 0, 1
PERP, FUTURE_A, FUTURE_B = 255, 254, 253
ROWS: Final = 253
LISTER_ROLE, KEEPER_ROLE = 1, 2
GOVERNANCE: Final = boa.env.generate_address("governance")
KEEPER: Final = boa.env.generate_address("keeper")
LISTER: Final = boa.env.generate_address("lister")
STRANGER: Final = boa.env.generate_address("stranger")


@dataclass(frozen=True)
class RegistryWorld:
    """ETH at 2,000 and BTC at 50,000 USD, both with a perpetual."""

    registry: Any
    oracle: Any
    open: Any
    feeds: dict[int, Any]

    def now(self) -> int:
        """Unix s of the next call."""
        return int(boa.env.timestamp)

    def hour(self, hours: int = 1) -> int:
        """A full hour ahead."""
        return (self.now() // HOUR_S + hours) * HOUR_S

    def travel_to(self, at: int) -> None:
        """Passes time until ``at``."""
        boa.env.time_travel(seconds=at - self.now())

    def touch(self) -> None:
        """Writes every feed again at the price it has."""
        for feed in self.feeds.values():
            feed.set_answer(feed.latestRoundData()[1])

    def pass_expiry(self, underlying: int, expiry: int, price_usd: int) -> int:
        """Writes the price of an expiry just before it and another round just after; returns the first."""
        self.travel_to(expiry - 1)
        self.feeds[underlying].set_answer(price_usd * 10**8)
        round_id = int(self.feeds[underlying].last_round())
        self.travel_to(expiry + 1)
        self.touch()
        return round_id

    def settle(self, underlying: int, expiry: int, price_usd: int) -> None:
        """Passes an expiry and settles it."""
        round_id = self.pass_expiry(underlying, expiry, price_usd)
        self.registry.settle_expiry(underlying, expiry, round_id, round_id + 1, sender=STRANGER)

    def option(self, underlying: int, strike_usd: int, expiry: int, *, is_call: bool = True) -> int:
        """Lists an option."""
        return int(self.registry.list_option(underlying, expiry, strike_usd * WAD, is_call, sender=LISTER))

    def set_funding(self, underlying: int, rate_wad_per_s: int) -> None:
        """Pushes a rate on a fresh price."""
        self.touch()
        self.registry.set_funding_rate(underlying, rate_wad_per_s, sender=KEEPER)

    def mark(self, underlying: int, slot: int) -> tuple[int, int]:
        """(settlement price, carry), read through ``marks`` and required to equal ``mark``; so is the expiry."""
        (word,) = self.registry.marks(1 << underlying + 16 * (PERP - slot))
        price, expiry, carry = mark_parts(word)
        assert (price, carry) == tuple(self.registry.mark(underlying << 8 | slot))
        assert expiry == self.registry.instrument_info(underlying << 8 | slot).expiry
        return price, carry


def mark_parts(word: int) -> tuple[int, int, int]:
    """Settlement price (wad), expiry (unix s) and carry of a word of ``marks``: docs/margin-rule.md, section 3."""
    return word & 2**96 - 1, word >> 96 & 2**32 - 1, signed(word >> 128, 128)


def deploy_registry() -> RegistryWorld:
    """Deploys and wires it; LISTER and KEEPER have their roles."""
    oracle = boa.load("contracts/PriceOracle.vy", GOVERNANCE, ZERO, 0)
    feeds = {
        ETH: boa.load("contracts/testing/MockAggregator.vy", 8, 2_000 * 10**8),
        BTC: boa.load("contracts/testing/MockAggregator.vy", 8, 50_000 * 10**8),
    }
    registry = boa.load("contracts/InstrumentRegistry.vy", GOVERNANCE, oracle.address)
    lots = boa.load("contracts/testing/OpenLotsFixture.vy")
    with boa.env.prank(GOVERNANCE):
        for underlying, feed in feeds.items():
            oracle.set_feed(0, underlying, feed_config(feed.address, HEARTBEAT_S, 3 * DAY_S))
        registry.list_underlying("ETH", True)
        registry.list_underlying("BTC", True)
        registry.set_role(LISTER_ROLE, LISTER, True)
        registry.set_role(KEEPER_ROLE, KEEPER, True)
        registry.set_accounts(lots.address)
    return RegistryWorld(registry, oracle, lots, feeds)
