# SPDX-License-Identifier: Apache-2.0
"""The whole protocol with the people of a liquidation: deployed once a process, rolled back after every test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import pytest
from eth_abi.abi import decode
from eth_typing import ABIEvent
from eth_utils.abi import event_abi_to_log_topic

from tests.support.protocol import (
    BTC,
    LOTS,
    PERP,
    USD,
    WAD,
    Protocol,
    Reverted,
    address_of,
    at,
)

MINUTE = 60
MANAGE, TRADE = 4, 1
NO_LIMIT = 2**255 - 1


@dataclass
class World(Protocol):
    """Accounts of the people by name; the borrower has 30,000 USD, everybody else a million, the fund 50,000."""

    owners: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.borrower = self.person("borrower", 30_000)
        self.bidder = self.person("bidder", 1_000_000)
        self.maker = self.person("maker", 1_000_000)
        self.lender = self.person("lender", 1_000_000)
        self.staker = address_of("staker")
        self.stake(50_000 * USD, self.staker)

    def person(self, name: str, usd: int = 0) -> int:
        """An account of somebody, with cash."""
        owner = address_of(name)
        account = self.open_account(owner)
        self.owners[account] = owner
        if usd:
            self.pay_in(account, usd * USD)
        return account

    def pay_in(self, account: int, usd_raw: int) -> None:
        """Cash from a stranger."""
        self.deposit(account, self.cash, usd_raw, self.stranger)

    def trade(self, u: int, buyer: int, seller: int, lots: int) -> None:
        """A fill of perpetuals at the mark."""
        instrument = u << 8 | PERP
        self.fill(instrument, buyer, seller, lots, self.mark(instrument))

    def long_btc(self, lots: int = LOTS) -> None:
        """The borrower buys bitcoin of the maker: the usual beginning."""
        self.trade(BTC, self.borrower, self.maker, lots)

    def buy(self, account: int, bidder: int, fraction: int = WAD, **options: Any) -> tuple[int, int]:
        """A bid of the bidder's owner."""
        return tuple(self.bid(account, bidder, self.owners[bidder], fraction, **options))

    def take(self, account: int, bidder: int, legs: list[tuple[int, int]], least: int = 0) -> int:
        """A bid for single legs."""
        call = (account, bidder, legs, least, 0, 2**256 - 1)
        return int(self.auction.call("bid_legs", *call, caller=self.owners[bidder]))

    def tick(self, account: int) -> None:
        """A record of time."""
        self.auction.call("tick", account)

    def watch(self, account: int, seconds: int, *, step_s: int = 15 * MINUTE) -> None:
        """Let time pass with feeds written and ticks in between."""
        until = self.now + seconds
        while self.now < until:
            self.wait(min(step_s, until - self.now))
            self.refresh()
            self.tick(account)

    def running(self, account: int) -> dict[str, int]:
        """The account's auction as recorded."""
        names = ("phase", "seen_at", "solvent_s", "insolvent_s", "epoch")
        return dict(zip(names, self.auction.call("auction_of", account), strict=True))

    def preview(self, account: int, fraction: int = WAD) -> dict[str, int]:
        """What a bid would do."""
        names = ("phase", "fraction_wad", "price_wad", "discount_bps", "equity_mark", "mm", "nonce")
        return dict(zip(names, self.auction.call("preview_bid", account, fraction), strict=True))

    def cash_of(self, account: int) -> int:
        """Cash, wad."""
        return int(self.accounts.call("cash_of", account))

    def lots(self, account: int, instrument: int) -> int:
        """Signed lots."""
        return int(self.accounts.call("position_of", account, instrument))

    def events(self, contract: str, name: str) -> list[dict[str, Any]]:
        """Events of one name that the last call logged."""
        (item,) = [item for item in at(contract) if item["type"] == "event" and item["name"] == name]
        topic = event_abi_to_log_topic(cast(ABIEvent, item))
        found = []
        for log in self.evm.result.logs:
            topics, data = log.data
            if topics[0] == topic:
                indexed = [i for i in item["inputs"] if i["indexed"]]
                plain = [i for i in item["inputs"] if not i["indexed"]]
                values = {i["name"]: decode([i["type"]], t)[0] for i, t in zip(indexed, topics[1:], strict=True)}
                values |= {i["name"]: v for i, v in zip(plain, decode([i["type"] for i in plain], data), strict=True)}
                found.append(values)
        return found

    @contextmanager
    def undone(self) -> Iterator[World]:
        """What happens inside is rolled back."""
        point, now, quotes, options = self.evm.snapshot(), self.now, list(self.quotes), dict(self.options)
        owners, auction = dict(self.owners), self.auction
        try:
            yield self
        finally:
            self.evm.revert(point)
            self.now, self.quotes, self.options, self.owners = now, quotes, options, owners
            self.auction = auction
            self._block()


@contextmanager
def refused(reason: str) -> Iterator[None]:
    """A call inside reverts with exactly this reason."""
    with pytest.raises(Reverted) as caught:
        yield
    assert str(caught.value) == reason


@lru_cache(maxsize=1)
def deployed() -> World:
    """The one world of this process; use it inside :meth:`World.undone`."""
    return World()


__all__ = ["MANAGE", "MINUTE", "NO_LIMIT", "TRADE", "World", "deployed", "refused"]
