# SPDX-License-Identifier: Apache-2.0
"""A small market of real contracts for auction tests: perpetuals of BTC and ETH, cash, ether as collateral.

Parameters are chosen so that margins can be done in the head: a perpetual's maintenance margin is 15 % of its value,
initial margin 1.2 times that, ether has a haircut of 8 % (12 % initial), there are no charges and no reserve.
tests/support/protocol.py has all of the protocol at usual parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import boa

from tests.support.accounts_contract import load_accounts
from tests.support.price_feeds import ZERO, feed_config

WAD: Final = 10**18
USD: Final = 10**6  # raw units of the cash token
LOTS: Final = 10**6  # of one unit
BTC, ETH = 0, 1
PERP: Final = 255
HEARTBEAT_S: Final = 86_400

GOVERNANCE: Final = boa.env.generate_address("governance")
GUARDIAN: Final = boa.env.generate_address("guardian")
VENUE: Final = boa.env.generate_address("venue")
BORROWER: Final = boa.env.generate_address("borrower")
BIDDER: Final = boa.env.generate_address("bidder")
MAKER: Final = boa.env.generate_address("maker")
STAKER: Final = boa.env.generate_address("staker")
OUTSIDER: Final = boa.env.generate_address("outsider")


def pack(lanes: list[int]) -> int:
    return sum(value << (16 * k) for k, value in enumerate(lanes))


#                         im_scale mm_scale im_charge floor reserve
GLOBAL_WORD: Final = pack([12_000, 10_000, 12_000, 5_000, 0])
#                              scan vol+ vol- power delta option basis drift depth short day band
UNDERLYING_WORD: Final = pack([1_500, 4_000, 2_500, 3_000, 0, 0, 0, 0, 60_000, 0, 400, 5_000])
#                           im  mm  size unit use
COLLATERAL_WORD: Final = pack([1_200, 800, 0, 60_000, 0])


@dataclass(frozen=True)
class Market:
    """The contracts, and the numbers of the actors' margin accounts."""

    accounts: Any
    engine: Any
    parameters: Any
    auction: Any
    fund: Any
    cash: Any
    ether: Any
    feeds: dict[int, Any]
    borrower: int
    bidder: int
    maker: int

    def set_price(self, underlying: int, price_usd: int) -> None:
        """Writes the feed of an underlying, and of ether as collateral with it."""
        self.feeds[underlying].set_answer(price_usd * 10**8)

    def trade(self, underlying: int, buyer: int, seller: int, lots: int, price_usd: int) -> None:
        """A fill without fees."""
        fill = (underlying << 8 | PERP, buyer, seller, lots, price_usd * WAD, 0, 0)
        self.accounts.apply_fill(fill, sender=VENUE)

    def deposit(self, account: int, usd_raw: int, sender: str = OUTSIDER) -> None:
        """Cash for an account, minted for the occasion."""
        self.cash.mint(sender, usd_raw)
        self.cash.approve(self.accounts.address, usd_raw, sender=sender)
        self.accounts.deposit(account, self.cash.address, usd_raw, sender=sender)

    def deposit_ether(self, account: int, owner: str, amount_raw: int) -> None:
        """Ether for an account from its owner, minted for the occasion."""
        self.ether.mint(owner, amount_raw)
        self.ether.approve(self.accounts.address, amount_raw, sender=owner)
        self.accounts.deposit(account, self.ether.address, amount_raw, sender=owner)

    def stake(self, usd_raw: int) -> None:
        """Puts cash into the insurance fund."""
        self.cash.mint(STAKER, usd_raw)
        self.cash.approve(self.fund.address, usd_raw, sender=STAKER)
        self.fund.deposit(usd_raw, STAKER, sender=STAKER)

    def lots(self, account: int, underlying: int) -> int:
        """Signed lots of a perpetual."""
        return int(self.accounts.position_of(account, underlying << 8 | PERP))


def _parameters(oracle: str) -> Any:
    contract = boa.load("contracts/RiskParameters.vy", GOVERNANCE, GUARDIAN, oracle)
    words = {0: GLOBAL_WORD, 1: UNDERLYING_WORD, 2: COLLATERAL_WORD}
    used = {0: 5, 1: 12, 2: 5}
    with boa.env.prank(GOVERNANCE):
        # collateral counts in full at once
        contract.set_guards((3_600, 3_600, 30 * 86_400, 500, 6 * 3_600, 6 * 3_600, 12 * 3_600, 0, 30_000))
        for kind, word in words.items():
            contract.set_bounds(kind, 0, (1 << 16 * used[kind]) - 1, 0, 0)
            for id_ in ((0,), (BTC, ETH), (0,))[kind]:
                contract.initialise(kind, id_, word)
    return contract


def deploy_market(cash: Any = None) -> Market:
    """Deploys and wires everything; the borrower has 20,000 USD, bidder and maker a million each.

    ``cash`` is the cash token, by default a plain one with 6 decimals.
    """
    cash = cash or boa.load("contracts/testing/TestToken.vy", "US Dollar", "USD", 6)
    ether = boa.load("contracts/testing/TestToken.vy", "Wrapped Ether", "WETH", 18)
    oracle = boa.load("contracts/PriceOracle.vy", GOVERNANCE, ZERO, 0)
    registry = boa.load("contracts/InstrumentRegistry.vy", GOVERNANCE, oracle.address)
    accounts = load_accounts(GOVERNANCE, GUARDIAN, cash.address, registry.address, oracle.address)
    parameters = _parameters(oracle.address)
    table = boa.load(
        "contracts/RiskTable.vy",
        GOVERNANCE, GUARDIAN, registry.address, oracle.address, parameters.address, cash.address,
    )  # fmt: skip
    engine = boa.load(
        "contracts/MarginEngine.vy",
        accounts.address, registry.address, oracle.address, parameters.address, table.address,
    )  # fmt: skip
    fund = boa.load("contracts/InsuranceFund.vy", GOVERNANCE, accounts.address, cash.address)
    auction = boa.load(
        "contracts/LiquidationAuction.vy",
        GOVERNANCE, accounts.address, engine.address, fund.address, parameters.address, oracle.address, 255,
    )  # fmt: skip
    feeds = {
        BTC: boa.load("contracts/testing/MockAggregator.vy", 8, 100_000 * 10**8),
        ETH: boa.load("contracts/testing/MockAggregator.vy", 8, 4_000 * 10**8),
    }
    with boa.env.prank(GOVERNANCE):
        for underlying in (BTC, ETH):
            oracle.set_feed(0, underlying, feed_config(feeds[underlying].address, HEARTBEAT_S))
            oracle.record(0, underlying)
        oracle.share_feed(0, ETH)
        registry.list_underlying("BTC", True)
        registry.list_underlying("ETH", True)
        accounts.list_collateral(ether.address, ETH + 1, 10**24, 10**24)
        accounts.set_engine(engine.address)
        accounts.set_table(table.address)
        accounts.set_auction(auction.address)
        accounts.set_venue(VENUE, True)
        fund.set_auction(auction.address)
    numbers = [accounts.open_account(owner) for owner in (BORROWER, BIDDER, MAKER)]
    market = Market(accounts, engine, parameters, auction, fund, cash, ether, feeds, *numbers)
    for account, usd in zip(numbers, (20_000, 1_000_000, 1_000_000), strict=True):
        market.deposit(account, usd * USD)
    return market
