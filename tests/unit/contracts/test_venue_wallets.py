# SPDX-License-Identifier: Apache-2.0
"""Orders of contract wallets: two of three keys sign; what is malformed, too long or greedy moves nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest
from eth_abi import encode
from eth_account import Account

from tests.support.auction_world import refused
from tests.support.protocol import LOTS, USD, WAD
from tests.support.revm import GAS, Contract, Reverted, deploy
from tests.support.venue_desk import BTC_PERP, MAKER, OTHER, PRICE, TAKER, Desk, Order, opened_desk

# owners, in the order of their addresses
FIRST, SECOND, THIRD = sorted((MAKER, TAKER, OTHER), key=lambda key: int(key.address, 16))
STRANGER: Final = Account.from_key(bytes([99]) * 32)
LIMIT: Final = 1_024
WALLET_GAS: Final = 1_000_000
# a match of two keys takes 284,144; two checks that burn what they may, memory for long signatures
MATCH_GAS: Final = 300_000


@dataclass(frozen=True)
class Office:
    """A desk, a wallet with an account, and its order."""

    desk: Desk
    wallet: Contract
    account: int

    @property
    def buy(self) -> Order:
        return replace(self.desk.buy, account=self.account, signer=self.wallet.address)

    def signed(self, order: Order, *keys: Any) -> bytes:
        return b"".join(self.desk.sign(order, key) for key in keys)

    def match(self, order: Order, signature: bytes, lots: int = LOTS) -> None:
        self.desk.submit(order, signature, self.desk.sell, self.desk.sign(self.desk.sell, TAKER), lots)

    def place(self, code: bytes) -> Order:
        """The maker's order, signed by an operator with this runtime code."""
        head = b"\x60" + bytes([len(code)]) + b"\x60\x0b\x5f\x39\x60" + bytes([len(code)]) + b"\x5f\xf3"
        signer = self.desk.world.evm.deploy(deployer=self.desk.world.stranger, code=head.ljust(11, b"\0") + code)
        self.desk.deal(self.desk.maker, signer, 1)
        return replace(self.desk.buy, signer=signer)

    def attempt(self, order: Order, signature: bytes, gas: int = GAS) -> tuple[str, int]:
        """What a match that reverts says, raw, and the gas that it takes."""
        sell, venue = self.desk.sell, self.desk.venue
        signed = (order.tuple(), signature, sell.tuple(), self.desk.sign(sell, TAKER))
        selector, inputs, _ = venue._codec["match_orders"]
        data = selector + encode(inputs, (*signed, LOTS, PRICE * WAD))
        with pytest.raises(RuntimeError) as caught:
            venue.evm.message_call(caller=self.desk.world.stranger, to=venue.address, calldata=data, gas=gas)
        found = re.search(r"gas_used: (\d+)", str(caught.value))
        return str(caught.value), int(found[1]) if found else 0


@pytest.fixture
def office() -> Iterator[Office]:
    with opened_desk() as desk:
        keys = (FIRST.address, SECOND.address, THIRD.address)
        wallet = deploy(desk.world.evm, "contracts/testing/TwoSignatureWallet.vy", keys)
        account = int(desk.world.accounts.call("open_account", wallet.address))
        desk.world.pay_in(account, 100_000 * USD)
        yield Office(desk, wallet, account)


def test_two_of_three_keys_trade_for_their_wallet(office: Office) -> None:
    for number, pair in enumerate(((FIRST, SECOND), (FIRST, THIRD), (SECOND, THIRD))):
        order = replace(office.buy, nonce=number, lots=LOTS // 10)
        signature = office.signed(order, *pair)
        assert len(signature) == 130
        office.match(order, signature, LOTS // 10)
        assert office.desk.filled(order) == LOTS // 10
    assert office.desk.world.lots(office.account, BTC_PERP) == 3 * LOTS // 10


def test_a_wallet_trades_as_operator_until_its_right_is_taken(office: Office) -> None:
    desk = office.desk
    order = replace(desk.buy, signer=office.wallet.address)
    with refused("venue: signer not authorised"):
        office.match(order, office.signed(order, FIRST, SECOND))
    desk.deal(desk.maker, office.wallet.address, 1)
    office.match(order, office.signed(order, FIRST, SECOND), LOTS // 2)
    desk.deal(desk.maker, office.wallet.address, 0)
    with refused("venue: signer not authorised"):
        office.match(order, office.signed(order, FIRST, SECOND), LOTS // 2)


def test_less_than_two_keys_sign_nothing(office: Office) -> None:
    order = office.buy
    good = office.signed(order, FIRST, SECOND)
    other = office.signed(replace(order, limit_price_wad=order.limit_price_wad + 1), FIRST, SECOND)
    bad = {
        "none": b"",
        "one": good[:65],
        "one and a half": good[:129],
        "the same twice": good[:65] * 2,
        "the wrong way round": good[65:] + good[:65],
        "a stranger": good[:65] + office.signed(order, STRANGER),
        "another order's": other,
        "half another order's": good[:65] + other[65:],
        "one byte changed": good[:7] + bytes([good[7] ^ 1]) + good[8:],
        "shifted": b"\0" + good,
        "zeros": bytes(130),
        "as long as may be, of ones": b"\xff" * LIMIT,
    }
    for signature in bad.values():
        with refused("venue: bad signature"):
            office.match(order, signature)
    assert office.desk.filled(order) == 0
    office.match(order, good)


def test_the_longest_signature_and_one_byte_more(office: Office) -> None:
    """What follows is the wallet's business; another form of a signature fills the same order, not a second one."""
    order, good = office.buy, office.signed(office.buy, SECOND, THIRD)
    office.match(order, good + bytes(LIMIT - 130), LOTS // 2)
    office.match(order, good + b"\x01" * 65, LOTS // 2)
    with refused("venue: lots exceed order"):
        office.match(order, good, 1)
    fresh = replace(order, nonce=7)
    with pytest.raises(Reverted, match="Revert"):  # the decoder of arguments, without a reason
        office.match(fresh, office.signed(fresh, SECOND, THIRD) + bytes(LIMIT - 129), 1)
    assert (office.desk.filled(order), office.desk.filled(fresh)) == (LOTS, 0)


@pytest.mark.parametrize("extra", [b"\0", bytes(65), b"\x01" * (LIMIT - 65)], ids=len)
def test_a_key_signs_with_nothing_behind_it(office: Office, extra: bytes) -> None:
    desk = office.desk
    with refused("venue: bad signature"):
        office.match(desk.buy, desk.sign(desk.buy, MAKER) + extra)
    office.match(desk.buy, desk.sign(desk.buy, MAKER))


def test_the_compact_form_of_a_key(office: Office) -> None:
    """EIP-2098: 64 bytes."""
    desk = office.desk
    signature = desk.sign(desk.buy, MAKER)
    compact = signature[:32] + (int.from_bytes(signature[32:64], "big") | (signature[64] - 27) << 255).to_bytes(32)
    office.match(desk.buy, compact)
    assert desk.filled(desk.buy) == LOTS


# INVALID; a loop without end; a megabyte returned, or reverted with
GREEDY: Final = {
    "invalid": bytes.fromhex("fe"),
    "loop": bytes.fromhex("5b5f56"),
    "bomb": bytes.fromhex("62ffffff5ff3"),
    "revert bomb": bytes.fromhex("62ffffff5ffd"),
}


@pytest.mark.parametrize("signature", [b"", b"\x01" * LIMIT], ids=["short", "long"])
@pytest.mark.parametrize("code", GREEDY)
def test_a_greedy_wallet_costs_its_limit_of_gas_at_most(office: Office, code: str, signature: bytes) -> None:
    said, spent = office.attempt(office.place(GREEDY[code]), signature)
    assert b"venue: bad signature".hex() in said
    assert WALLET_GAS - 1 <= spent < WALLET_GAS + MATCH_GAS


def test_a_long_answer_is_not_copied(office: Office) -> None:
    """200,000 bytes: the memory of the wallet has its price, 95,043 gas; the venue takes 32 of them."""
    spent = [office.attempt(office.place(bytes.fromhex(code)), b"")[1] for code in ("5f5ff3", "62030d405ff3")]
    words = 6_250
    memory = 3 * words + words**2 // 512
    assert memory <= spent[1] - spent[0] < memory + 100


def test_a_match_with_too_little_gas_fills_nothing(office: Office) -> None:
    """Whoever matches cannot make a wallet's check fail and have the rest go on."""
    order, fills = office.buy, 0
    signature = office.signed(order, FIRST, SECOND)
    for gas in range(40_000, 280_000, 20_000):
        office.attempt(order, signature, gas)
        fills += office.desk.filled(order)
    assert fills == 0
    office.match(order, signature)
