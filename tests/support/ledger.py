# SPDX-License-Identifier: Apache-2.0
"""A ledger of real contracts with a settable engine, table and auction in front, for tests of the books."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import boa

from tests.support.accounts_contract import load_accounts
from tests.support.price_feeds import ZERO, feed_config

WAD: Final = 10**18
USD: Final = 10**6  # raw units of the cash token
LOTS: Final = 10**6  # of one unit
PERP, FUTURE_A, FUTURE_B = 255, 254, 253
TRADE, WITHDRAW, MANAGE = 1, 2, 4
ALL_RIGHTS: Final = 7
FOREVER: Final = 2**64 - 1
ETH, BTC = 0, 1
WETH, WBTC = 0, 1  # collateral assets
ETH_PERP: Final = ETH << 8 | PERP
BTC_PERP: Final = BTC << 8 | PERP
HEARTBEAT_S: Final = 86_400
HOUR_S: Final = 3_600
ALL: Final = 2**256 - 1

GOVERNANCE: Final = boa.env.generate_address("governance")
GUARDIAN: Final = boa.env.generate_address("guardian")
STEWARD: Final = boa.env.generate_address("steward")
KEEPER: Final = boa.env.generate_address("keeper")
VENUE: Final = boa.env.generate_address("venue")
AUCTION: Final = boa.env.generate_address("auction")
ALICE: Final = boa.env.generate_address("alice")
BOB: Final = boa.env.generate_address("bob")
CAROL: Final = boa.env.generate_address("carol")
STRANGER: Final = boa.env.generate_address("stranger")


@dataclass(frozen=True)
class Ledger:
    """The contracts, and the numbers of the actors' accounts."""

    accounts: Any
    gate: Any
    auction: Any
    registry: Any
    oracle: Any
    cash: Any
    weth: Any
    wbtc: Any
    feeds: dict[int, Any]
    alice: int
    bob: int
    carol: int

    def set_price(self, underlying: int, price_usd: int) -> None:
        """Writes the feed of an underlying (also the feed of its collateral)."""
        self.feeds[underlying].set_answer(price_usd * 10**8)

    def deposit(self, account: int, token: Any, amount_raw: int, sender: str = STRANGER) -> None:
        """Mints, approves, deposits."""
        token.mint(sender, amount_raw)
        token.approve(self.accounts.address, amount_raw, sender=sender)
        self.accounts.deposit(account, token.address, amount_raw, sender=sender)

    def fill(self, instrument: int, buyer: int, seller: int, lots: int, price_wad: int, *fees_wad: int) -> None:
        """A fill by the venue; ``fees_wad`` = (buyer's, seller's), 0 if left out."""
        self.accounts.apply_fill((instrument, buyer, seller, lots, price_wad, *(fees_wad or (0, 0))), sender=VENUE)

    def list_option(self, underlying: int, strike_usd: int, *, is_call: bool, hours: int = 24) -> tuple[int, int]:
        """Lists an option that expires on the hour, ``hours`` ahead; returns (instrument, expiry)."""
        expiry = (int(boa.env.timestamp) // HOUR_S + hours) * HOUR_S
        instrument = self.registry.list_option(underlying, expiry, strike_usd * WAD, is_call, sender=GOVERNANCE)
        return int(instrument), expiry

    def expire(self, underlying: int, expiry: int, price_usd: int) -> None:
        """Writes the price of the expiry, passes it, writes a later round and settles."""
        feed = self.feeds[underlying]
        feed.set_answer(price_usd * 10**8)
        round_id = feed.last_round()
        boa.env.time_travel(seconds=expiry - int(boa.env.timestamp) + 1)
        for later in self.feeds.values():
            later.set_answer(later.latestRoundData()[1])
        self.registry.settle_expiry(underlying, expiry, round_id, round_id + 1)

    def list_future(self, underlying: int, hours: int = 24) -> tuple[int, int]:
        """Lists a future that expires on the hour; returns (instrument, expiry)."""
        expiry = (int(boa.env.timestamp) // HOUR_S + hours) * HOUR_S
        return int(self.registry.list_future(underlying, expiry, sender=GOVERNANCE)), expiry

    def delta(self, account: int, instrument: int) -> tuple[int, int]:
        """(lots, base in lot x wad), unpacked from the state words independently of the contract."""
        deltas, _ = self.positions(account)
        return deltas.get(instrument, (0, 0))

    def perp(self, account: int, underlying: int) -> tuple[int, int]:
        """(lots, base in lot x wad) of a perpetual, from the state words."""
        return self.delta(account, underlying << 8 | PERP)

    def options(self, account: int, underlying: int) -> list[tuple[int, int]]:
        """(slot, signed lots) in stored order, unpacked from the state words."""
        return self.positions(account)[1].get(underlying, [])

    def positions(self, account: int) -> tuple[dict[int, tuple[int, int]], dict[int, list[tuple[int, int]]]]:
        """Delta-one positions by instrument, options by underlying."""
        words = list(self.accounts.state(account))
        head = words[0]
        rest = iter(words[2 + bin(head >> 144 & 0xFFFF).count("1") :])
        deltas: dict[int, tuple[int, int]] = {}
        options: dict[int, list[tuple[int, int]]] = {}
        for u in range(16):
            for slot, shift in ((PERP, 128), (FUTURE_A, 224), (FUTURE_B, 240)):
                if head >> shift + u & 1:
                    word = next(rest)
                    deltas[u << 8 | slot] = signed(word & 2**64 - 1, 64), signed(word >> 64, 192)
            count = head >> 8 * u & 0xFF
            option_words = [next(rest) for _ in range(-(-count // 4))]
            lanes = [word >> 64 * k & 2**64 - 1 for word in option_words for k in range(4)]
            options[u] = [(lane & 255, -(lane >> 9) if lane & 256 else lane >> 9) for lane in lanes[:count]]
        assert next(rest, None) is None
        return deltas, options


def signed(value: int, bits: int) -> int:
    """Two's complement."""
    return value - (1 << bits) if value >> (bits - 1) else value


def deploy_ledger(cash: Any = None) -> Ledger:
    """Deploys and wires everything: ETH at 2,000 and BTC at 50,000 USD; no balances and no interest."""
    cash = cash or boa.load("contracts/testing/TestToken.vy", "USD Coin", "USDC", 6)
    weth = boa.load("contracts/testing/TestToken.vy", "Wrapped Ether", "WETH", 18)
    wbtc = boa.load("contracts/testing/TestToken.vy", "Wrapped Bitcoin", "WBTC", 8)
    oracle = boa.load("contracts/PriceOracle.vy", GOVERNANCE, ZERO, 0)
    registry = boa.load("contracts/InstrumentRegistry.vy", GOVERNANCE, oracle.address)
    accounts = load_accounts(GOVERNANCE, GUARDIAN, cash.address, registry.address, oracle.address)
    gate = boa.load("contracts/testing/GateFixture.vy")
    boa.env.set_code(AUCTION, boa.env.get_code(gate.address))
    auction = boa.load_partial("contracts/testing/GateFixture.vy").at(AUCTION)
    feeds = {
        ETH: boa.load("contracts/testing/MockAggregator.vy", 8, 2_000 * 10**8),
        BTC: boa.load("contracts/testing/MockAggregator.vy", 8, 50_000 * 10**8),
    }
    with boa.env.prank(GOVERNANCE):
        for kind in (0, 1):
            for id_, feed in feeds.items():
                oracle.set_feed(kind, id_, feed_config(feed.address, HEARTBEAT_S))
        registry.list_underlying("ETH", True)
        registry.list_underlying("BTC", True)
        registry.set_role(2, KEEPER, True)
        registry.set_accounts(accounts.address)
        accounts.list_collateral(weth.address, ETH + 1, 1_000 * WAD, 10_000 * WAD)
        accounts.list_collateral(wbtc.address, BTC + 1, 100 * 10**8, 1_000 * 10**8)
        accounts.set_engine(gate.address)
        accounts.set_table(gate.address)
        accounts.set_auction(AUCTION)
        accounts.set_steward(STEWARD)
        accounts.set_venue(VENUE, True)
        accounts.set_rates(0, 0, 0, 9_000, 0)
    numbers = [accounts.open_account(owner) for owner in (ALICE, BOB, CAROL)]
    return Ledger(accounts, gate, auction, registry, oracle, cash, weth, wbtc, feeds, *numbers)
