# SPDX-License-Identifier: Apache-2.0
"""A SignedTradeVenue on the whole protocol, and orders signed off chain with eth-account."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from eth_account import Account
from eth_account.messages import encode_typed_data

from tests.support.auction_world import World, deployed
from tests.support.protocol import BTC, LOTS, PERP, USD, WAD
from tests.support.revm import Contract, deploy

BTC_PERP: Final = BTC << 8 | PERP
MAKER, TAKER, OTHER = (Account.from_key(bytes([number]) * 32) for number in (11, 12, 13))
TYPES: Final = {
    "account": "uint256", "signer": "address", "instrument": "uint256", "serial": "uint256", "is_buy": "bool",
    "lots": "uint256", "min_fill_lots": "uint256", "limit_price_wad": "uint256", "max_fee_bps": "uint256",
    "expires_at": "uint256", "nonce": "uint256",
}  # fmt: skip
FIELDS: Final = [{"name": name, "type": kind} for name, kind in TYPES.items()]
PRICE: Final = 60_000
FOREVER: Final = 2**64 - 1


@dataclass(frozen=True)
class Order:
    """An order of the contract; the default buys a bitcoin."""

    account: int
    signer: str
    instrument: int = BTC_PERP
    serial: int = 0
    is_buy: bool = True
    lots: int = LOTS
    min_fill_lots: int = 0
    limit_price_wad: int = 60_100 * WAD
    max_fee_bps: int = 10
    expires_at: int = 2**40
    nonce: int = 1

    def tuple(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in TYPES)


@dataclass(frozen=True)
class Desk:
    """The venue, its two accounts and the serial of the bitcoin perpetual."""

    world: World
    venue: Contract
    maker: int
    taker: int
    serial: int

    def sign(self, order: Order, key: Any, chain_id: int = 1, venue: str | None = None) -> bytes:
        domain = {
            "name": "Ballast", "version": "1", "chainId": chain_id, "verifyingContract": venue or self.venue.address,
        }  # fmt: skip
        message = {name: getattr(order, name) for name in TYPES}
        return bytes(key.sign_message(encode_typed_data(domain, {"Order": FIELDS}, message)).signature)

    def match(
        self, buy: Order, sell: Order, lots: int, price_usd: int = PRICE, keys: tuple[Any, Any] = (MAKER, TAKER)
    ) -> None:
        self.submit(buy, self.sign(buy, keys[0]), sell, self.sign(sell, keys[1]), lots, price_usd)

    def submit(
        self, buy: Order, signed_buy: bytes, sell: Order, signed_sell: bytes, lots: int, price_usd: int = PRICE
    ) -> None:
        stranger = self.world.stranger
        args = (buy.tuple(), signed_buy, sell.tuple(), signed_sell, lots, price_usd * WAD)
        self.venue.call("match_orders", *args, caller=stranger)

    def filled(self, order: Order) -> int:
        return int(self.venue.call("filled_lots", self.venue.call("order_hash", order.tuple())))

    def deal(self, account: int, who: str, rights: int, until: int = FOREVER) -> None:
        owner = self.world.owners[account]
        self.world.accounts.call("set_operator", account, who, rights, until, caller=owner)

    @property
    def buy(self) -> Order:
        return Order(self.maker, MAKER.address, serial=self.serial)

    @property
    def sell(self) -> Order:
        return Order(self.taker, TAKER.address, serial=self.serial, is_buy=False, limit_price_wad=59_900 * WAD)


@contextmanager
def opened_desk() -> Iterator[Desk]:
    """A desk with a maker and a taker of 100,000 USD each."""
    with deployed().undone() as world:
        venue = deploy(
            world.evm, "contracts/SignedTradeVenue.vy", world.governance, world.accounts.address, world.registry.address
        )
        world.govern(world.accounts, "set_venue", venue.address, True)
        numbers = []
        for key in (MAKER, TAKER):
            number = world.open_account(key.address)
            world.owners[number] = key.address
            world.pay_in(number, 100_000 * USD)
            numbers.append(number)
        yield Desk(world, venue, numbers[0], numbers[1], world.registry.call("listing", BTC_PERP)[0])
