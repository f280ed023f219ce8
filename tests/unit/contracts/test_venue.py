# SPDX-License-Identifier: Apache-2.0
"""SignedTradeVenue: orders signed off chain with eth-account, matched by anybody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import boa
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from tests.support.ledger import ALICE, ETH_PERP, GOVERNANCE, LOTS, STRANGER, WAD, Ledger, deploy_ledger

MAKER_KEY: Final = Account.from_key((11).to_bytes(32, "big"))
TAKER_KEY: Final = Account.from_key((12).to_bytes(32, "big"))
OTHER_KEY: Final = Account.from_key((13).to_bytes(32, "big"))
FIELDS: Final = [
    {"name": "account", "type": "uint256"},
    {"name": "signer", "type": "address"},
    {"name": "instrument", "type": "uint256"},
    {"name": "is_buy", "type": "bool"},
    {"name": "lots", "type": "uint256"},
    {"name": "limit_price_wad", "type": "uint256"},
    {"name": "max_fee_bps", "type": "uint256"},
    {"name": "expires_at", "type": "uint256"},
    {"name": "salt", "type": "uint256"},
]


@dataclass(frozen=True)
class Order:
    account: int
    signer: str
    instrument: int = ETH_PERP
    is_buy: bool = True
    lots: int = 10 * LOTS
    limit_price_wad: int = 2_000 * WAD
    max_fee_bps: int = 10
    expires_at: int = 2**40
    salt: int = 1

    def tuple(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field["name"]) for field in FIELDS)


@dataclass(frozen=True)
class Desk:
    ledger: Ledger
    venue: Any
    maker: int
    taker: int

    def sign(self, order: Order, key: Any) -> bytes:
        chain_id = boa.env.evm.patch.chain_id
        domain = {"name": "Ballast", "version": "1", "chainId": chain_id, "verifyingContract": self.venue.address}
        message = {field["name"]: getattr(order, field["name"]) for field in FIELDS}
        signable = encode_typed_data(domain, {"Order": FIELDS}, message)
        return bytes(key.sign_message(signable).signature)

    def match(self, buy: Order, sell: Order, lots: int, price_wad: int, keys: tuple[Any, Any] | None = None) -> None:
        buyer, seller = keys or (MAKER_KEY, TAKER_KEY)
        self.venue.match_orders(
            buy.tuple(), self.sign(buy, buyer), sell.tuple(), self.sign(sell, seller), lots, price_wad, sender=STRANGER
        )

    @property
    def buy(self) -> Order:
        return Order(self.maker, MAKER_KEY.address)

    @property
    def sell(self) -> Order:
        return Order(self.taker, TAKER_KEY.address, is_buy=False, limit_price_wad=1_990 * WAD)


@pytest.fixture(scope="module")
def deployment() -> Desk:
    ledger = deploy_ledger()
    venue = boa.load("contracts/SignedTradeVenue.vy", GOVERNANCE, ledger.accounts.address)
    ledger.accounts.set_venue(venue.address, True, sender=GOVERNANCE)
    maker, taker = (ledger.accounts.open_account(key.address) for key in (MAKER_KEY, TAKER_KEY))
    return Desk(ledger, venue, maker, taker)


@pytest.fixture
def desk(deployment: Desk) -> Iterator[Desk]:
    with boa.env.anchor():
        yield deployment


def test_a_match_books_a_fill(desk: Desk) -> None:
    desk.match(desk.buy, desk.sell, 4 * LOTS, 1_995 * WAD)
    (log,) = [log for log in desk.venue.get_logs() if type(log).__name__ == "OrdersMatched"]
    assert (log.instrument, log.lots, log.price_wad) == (ETH_PERP, 4 * LOTS, 1_995 * WAD)
    assert (log.buy_filled_lots, log.sell_filled_lots) == (4 * LOTS, 4 * LOTS)
    assert desk.ledger.perp(desk.maker, 0) == (4 * LOTS, -4 * LOTS * 1_995 * WAD, 0)
    assert desk.ledger.perp(desk.taker, 0) == (-4 * LOTS, 4 * LOTS * 1_995 * WAD, 0)


def test_an_order_fills_in_parts_and_no_further(desk: Desk) -> None:
    big = replace(desk.sell, lots=100 * LOTS)
    desk.match(desk.buy, big, 4 * LOTS, 2_000 * WAD)
    desk.match(desk.buy, big, 6 * LOTS, 1_990 * WAD)
    with boa.reverts("venue: lots exceed order"):
        desk.match(desk.buy, big, 1, 1_995 * WAD)
    desk.match(replace(desk.buy, salt=2), big, 1, 1_995 * WAD)
    assert desk.venue.filled_lots(desk.venue.order_hash(big.tuple())) == 10 * LOTS + 1


@pytest.mark.parametrize(
    ("buy", "sell", "lots", "price_usd", "reason"),
    [
        ({"is_buy": False}, {}, 1, 1_995, "venue: not buyer and seller"),
        ({}, {"is_buy": True}, 1, 1_995, "venue: not buyer and seller"),
        ({"instrument": 511}, {}, 1, 1_995, "venue: instruments differ"),
        ({}, {}, 0, 1_995, "venue: zero lots"),
        ({}, {}, 1, 2_001, "venue: price outside limit"),
        ({}, {}, 1, 1_989, "venue: price outside limit"),
        ({"lots": 0}, {}, 1, 1_995, "venue: lots exceed order"),
        ({"expires_at": 1}, {}, 1, 1_995, "venue: order expired"),
        ({}, {"expires_at": 1}, 1, 1_995, "venue: order expired"),
        ({"account": 1}, {}, 1, 1_995, "venue: signer not authorised"),
        ({"account": 99, "signer": "0x" + 40 * "0"}, {}, 1, 1_995, "venue: signer not authorised"),
        ({"signer": TAKER_KEY.address}, {}, 1, 1_995, "venue: signer not authorised"),
    ],
)
def test_orders_that_do_not_match(
    desk: Desk, buy: dict[str, Any], sell: dict[str, Any], lots: int, price_usd: int, reason: str
) -> None:
    with boa.reverts(reason):
        desk.match(replace(desk.buy, **buy), replace(desk.sell, **sell), lots, price_usd * WAD)


def test_a_signature_covers_every_field(desk: Desk) -> None:
    signed_buy = desk.sign(desk.buy, MAKER_KEY)
    signed_sell = desk.sign(desk.sell, TAKER_KEY)
    for field in ("lots", "limit_price_wad", "max_fee_bps", "expires_at", "salt"):
        changed = replace(desk.buy, **{field: getattr(desk.buy, field) + 1})
        with boa.reverts("venue: bad signature"):
            desk.venue.match_orders(changed.tuple(), signed_buy, desk.sell.tuple(), signed_sell, 1, 1_995 * WAD)
    with boa.reverts("venue: bad signature"):
        desk.venue.match_orders(desk.buy.tuple(), signed_sell, desk.sell.tuple(), signed_sell, 1, 1_995 * WAD)
    bad = "venue: bad signature"
    for forged, reason in ((b"", bad), (signed_buy[:63], bad), (bytes(65), "ecdsa: invalid signature")):
        with boa.reverts(reason):
            desk.venue.match_orders(desk.buy.tuple(), forged, desk.sell.tuple(), signed_sell, 1, 1_995 * WAD)


def test_an_operator_signs_until_revoked(desk: Desk) -> None:
    order = replace(desk.buy, signer=OTHER_KEY.address)
    keys = (OTHER_KEY, TAKER_KEY)
    with boa.reverts("venue: signer not authorised"):
        desk.match(order, desk.sell, 1, 1_995 * WAD, keys)
    desk.ledger.accounts.set_operator(desk.maker, OTHER_KEY.address, True, sender=MAKER_KEY.address)
    desk.match(order, desk.sell, 1, 1_995 * WAD, keys)
    desk.ledger.accounts.set_operator(desk.maker, OTHER_KEY.address, False, sender=MAKER_KEY.address)
    with boa.reverts("venue: signer not authorised"):
        desk.match(order, desk.sell, 1, 1_995 * WAD, keys)


def test_cancelling(desk: Desk) -> None:
    with boa.reverts("venue: signer not authorised"):
        desk.venue.cancel(desk.buy.tuple(), sender=ALICE)
    desk.venue.cancel(desk.buy.tuple(), sender=MAKER_KEY.address)
    with boa.reverts("venue: order cancelled"):
        desk.match(desk.buy, desk.sell, 1, 1_995 * WAD)
    desk.match(replace(desk.buy, salt=2), desk.sell, 1, 1_995 * WAD)


def test_fees_within_bound_and_limit(desk: Desk) -> None:
    with boa.reverts("ownable: caller is not the owner"):
        desk.venue.set_fee(1, sender=STRANGER)
    with boa.reverts("venue: fee above bound"):
        desk.venue.set_fee(101, sender=GOVERNANCE)
    desk.venue.set_fee(10, sender=GOVERNANCE)
    desk.match(desk.buy, desk.sell, 3, 1_995 * WAD + 1)
    # 3 lots x price x 10 bps = 5.985e12 + 3e-9 wad: up
    cash = [desk.ledger.accounts.cash_of(k) for k in (0, desk.maker, desk.taker)]
    assert cash == [2 * (5_985 * 10**9 + 1), -5_985 * 10**9 - 1, -5_985 * 10**9 - 1]
    desk.venue.set_fee(11, sender=GOVERNANCE)
    with boa.reverts("venue: fee above order limit"):
        desk.match(desk.buy, desk.sell, 1, 1_995 * WAD)


def test_a_venue_that_is_not_allowed(desk: Desk) -> None:
    desk.ledger.accounts.set_venue(desk.venue.address, False, sender=GOVERNANCE)
    with boa.reverts("accounts: not a venue"):
        desk.match(desk.buy, desk.sell, 1, 1_995 * WAD)
