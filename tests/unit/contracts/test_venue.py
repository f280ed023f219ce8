# SPDX-License-Identifier: Apache-2.0
"""SignedTradeVenue: orders signed off chain with eth-account, matched by anybody, on the whole protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from tests.support.auction_world import refused
from tests.support.protocol import BTC, LOTS, WAD, address_of
from tests.support.revm import deploy
from tests.support.venue_desk import (
    BTC_PERP,
    MAKER,
    OTHER,
    PRICE,
    TAKER,
    Desk,
    opened_desk,
)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with opened_desk() as desk:
        yield desk


# ------------------------------------------------------------------ matching


def test_a_match_books_a_fill(desk: Desk) -> None:
    desk.match(desk.buy, desk.sell, LOTS // 4, 59_950)
    (event,) = desk.world.events("SignedTradeVenue", "OrdersMatched")
    assert (event["instrument"], event["lots"], event["price_wad"]) == (BTC_PERP, LOTS // 4, 59_950 * WAD)
    assert (event["buy_filled_lots"], event["sell_filled_lots"]) == (LOTS // 4, LOTS // 4)
    assert event["buy_hash"] == desk.venue.call("order_hash", desk.buy.tuple())
    assert desk.world.accounts.call("delta_of", desk.maker, BTC_PERP)[0] == LOTS // 4
    assert desk.world.lots(desk.taker, BTC_PERP) == -LOTS // 4
    assert desk.world.assess(desk.maker)["equity_mark"] == (100_000 * 4 + 50) * WAD // 4


def test_an_order_fills_in_parts_and_no_further(desk: Desk) -> None:
    big = replace(desk.sell, lots=10 * LOTS)
    desk.match(desk.buy, big, LOTS // 4, 60_100)
    desk.match(desk.buy, big, LOTS * 3 // 4, 59_900)
    with refused("venue: lots exceed order"):
        desk.match(desk.buy, big, 1)
    desk.match(replace(desk.buy, nonce=2), big, 1)
    assert (desk.filled(desk.buy), desk.filled(big)) == (LOTS, LOTS + 1)


def test_no_match_below_the_least_fill_but_the_last(desk: Desk) -> None:
    picky = replace(desk.buy, min_fill_lots=LOTS // 2)
    with refused("venue: fill below minimum"):
        desk.match(picky, desk.sell, LOTS // 2 - 1)
    desk.match(picky, desk.sell, LOTS * 3 // 4)
    with refused("venue: fill below minimum"):
        desk.match(picky, desk.sell, LOTS // 4 - 1)
    desk.match(picky, desk.sell, LOTS // 4)
    assert desk.filled(picky) == LOTS
    other = replace(desk.sell, min_fill_lots=LOTS, nonce=3)
    with refused("venue: fill below minimum"):
        desk.match(replace(desk.buy, nonce=3), other, LOTS - 1)


NOBODY: Final = "0x" + 40 * "0"


@pytest.mark.parametrize(
    ("buy", "sell", "lots", "price_usd", "reason"),
    [
        ({"is_buy": False}, {}, 1, PRICE, "venue: not buyer and seller"),
        ({}, {"is_buy": True}, 1, PRICE, "venue: not buyer and seller"),
        ({"instrument": 511}, {}, 1, PRICE, "venue: instruments differ"),
        ({"serial": 77}, {}, 1, PRICE, "venue: instruments differ"),
        ({"serial": 77}, {"serial": 77}, 1, PRICE, "venue: other listing"),
        ({}, {}, 0, PRICE, "venue: zero lots"),
        ({}, {}, 1, 60_101, "venue: price outside limit"),
        ({}, {}, 1, 59_899, "venue: price outside limit"),
        ({"lots": 0}, {}, 1, PRICE, "venue: lots exceed order"),
        ({}, {"lots": 0}, 1, PRICE, "venue: lots exceed order"),
        ({"expires_at": 1}, {}, 1, PRICE, "venue: order expired"),
        ({}, {"expires_at": 1}, 1, PRICE, "venue: order expired"),
        ({"account": 1}, {}, 1, PRICE, "venue: signer not authorised"),
        ({"account": 9_999, "signer": NOBODY}, {}, 1, PRICE, "venue: signer not authorised"),
        ({"account": 0, "signer": NOBODY}, {}, 1, PRICE, "venue: signer not authorised"),
        ({"signer": TAKER.address}, {}, 1, PRICE, "venue: signer not authorised"),
    ],
)
def test_orders_that_do_not_match(
    desk: Desk, buy: dict[str, Any], sell: dict[str, Any], lots: int, price_usd: int, reason: str
) -> None:
    with refused(reason):
        desk.match(replace(desk.buy, **buy), replace(desk.sell, **sell), lots, price_usd)


def test_the_last_second_of_an_order(desk: Desk) -> None:
    order = replace(desk.buy, expires_at=desk.world.now + 60)
    desk.world.wait(60)
    desk.match(order, desk.sell, 1)
    desk.world.wait(1)
    with refused("venue: order expired"):
        desk.match(order, desk.sell, 1)


def test_what_margin_or_the_band_refuses_fills_nothing(desk: Desk) -> None:
    with refused("accounts: below initial margin"):
        desk.match(replace(desk.buy, lots=10 * LOTS), replace(desk.sell, lots=10 * LOTS), 10 * LOTS)
    with refused("fill: price band"):
        desk.match(replace(desk.buy, limit_price_wad=70_000 * WAD), desk.sell, 1, 70_000)
    assert desk.filled(desk.buy) == 0


def test_both_sides_of_one_account(desk: Desk) -> None:
    with refused("accounts: same account"):
        own = replace(desk.sell, account=desk.maker, signer=MAKER.address)
        desk.match(desk.buy, own, 1, keys=(MAKER, MAKER))


def test_a_venue_that_is_not_allowed(desk: Desk) -> None:
    desk.world.govern(desk.world.accounts, "set_venue", desk.venue.address, False)
    with refused("accounts: not a venue"):
        desk.match(desk.buy, desk.sell, 1)


# ------------------------------------------------------------------ signatures


@pytest.mark.parametrize("field", ["lots", "min_fill_lots", "limit_price_wad", "max_fee_bps", "expires_at", "nonce"])
def test_a_signature_covers_every_field(desk: Desk, field: str) -> None:
    changed = replace(desk.buy, **{field: getattr(desk.buy, field) + 1})
    with refused("venue: bad signature"):
        desk.submit(changed, desk.sign(desk.buy, MAKER), desk.sell, desk.sign(desk.sell, TAKER), 2)


def test_forged_signatures(desk: Desk) -> None:
    signed = desk.sign(desk.buy, MAKER)
    sell = desk.sign(desk.sell, TAKER)
    bad = "venue: bad signature"
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high_s = (order - int.from_bytes(signed[32:64], "big")).to_bytes(32, "big")
    twin = signed[:32] + high_s + bytes([55 - signed[64]])
    for forged, reason in (
        (b"", bad),
        (signed[:63], bad),
        (sell, bad),
        (desk.sign(desk.buy, OTHER), bad),
        (bytes(65), "ecdsa: invalid signature"),
        (twin, "ecdsa: invalid signature `s` value"),
    ):
        with refused(reason):
            desk.submit(desk.buy, forged, desk.sell, sell, 1)


def test_no_replay_on_another_chain_or_venue(desk: Desk) -> None:
    sell = desk.sign(desk.sell, TAKER)
    for elsewhere in (desk.sign(desk.buy, MAKER, chain_id=10), desk.sign(desk.buy, MAKER, venue=address_of("other"))):
        with refused("venue: bad signature"):
            desk.submit(desk.buy, elsewhere, desk.sell, sell, 1)
    second = deploy(
        desk.world.evm, "contracts/SignedTradeVenue.vy",
        desk.world.governance, desk.world.accounts.address, desk.world.registry.address,
    )  # fmt: skip
    desk.world.govern(desk.world.accounts, "set_venue", second.address, True)
    args = (desk.buy.tuple(), desk.sign(desk.buy, MAKER), desk.sell.tuple(), sell, 1, PRICE * WAD)
    with refused("venue: bad signature"):
        second.call("match_orders", *args)


def test_an_operator_signs_with_the_right_to_trade_until_its_last_second(desk: Desk) -> None:
    order = replace(desk.buy, signer=OTHER.address)
    keys = (OTHER, TAKER)
    with refused("venue: signer not authorised"):
        desk.match(order, desk.sell, 1, keys=keys)
    desk.deal(desk.maker, OTHER.address, 2 | 4)  # WITHDRAW and MANAGE are not TRADE
    with refused("venue: signer not authorised"):
        desk.match(order, desk.sell, 1, keys=keys)
    desk.deal(desk.maker, OTHER.address, 1, desk.world.now + 60)
    desk.world.wait(60)
    desk.match(order, desk.sell, 1, keys=keys)
    desk.world.wait(1)
    with refused("venue: signer not authorised"):
        desk.match(order, desk.sell, 1, keys=keys)
    desk.deal(desk.maker, OTHER.address, 1)
    desk.match(order, desk.sell, 1, keys=keys)
    desk.deal(desk.maker, OTHER.address, 0)
    with refused("venue: signer not authorised"):
        desk.match(order, desk.sell, 1, keys=keys)


# PUSH32 word; PUSH0; MSTORE; PUSH1 32; PUSH0; RETURN
def answers(word: bytes) -> bytes:
    return b"\x7f" + word.ljust(32, b"\0") + b"\x5f\x52\x60\x20\x5f\xf3"


@pytest.mark.parametrize(
    "code,accepted",
    [
        (answers(bytes.fromhex("1626ba7e")), True),
        (answers(bytes.fromhex("ffffffff")), False),
        (b"\x5f\x5f\xfd", False),  # reverts
        (b"\x00", False),  # returns nothing
        (b"\x60\x01\x5f\x55" + answers(bytes.fromhex("1626ba7e")), False),  # writes: the call is static
    ],
)
def test_a_contract_signs_by_eip_1271(desk: Desk, code: bytes, accepted: bool) -> None:
    head = b"\x60" + bytes([len(code)]) + b"\x60\x0b\x5f\x39\x60" + bytes([len(code)]) + b"\x5f\xf3"
    wallet = desk.world.evm.deploy(deployer=desk.world.stranger, code=head.ljust(11, b"\0") + code)
    desk.deal(desk.maker, wallet, 1)
    order = replace(desk.buy, signer=wallet)
    signed = desk.sign(desk.sell, TAKER)
    if accepted:
        desk.submit(order, b"anything", desk.sell, signed, 1)
        assert desk.filled(order) == 1
    else:
        with refused("venue: bad signature"):
            desk.submit(order, b"anything", desk.sell, signed, 1)


# ------------------------------------------------------------------ cancelling


def test_cancelling_by_nonce(desk: Desk) -> None:
    word, bit = 513 >> 8, 513 & 255
    order = replace(desk.buy, nonce=513)
    with refused("venue: signer not authorised"):
        desk.venue.call("cancel_nonces", desk.maker, word, 1 << bit, caller=desk.world.stranger)
    with refused("venue: signer not authorised"):
        desk.venue.call("cancel_nonces", desk.maker, word, 1 << bit, caller=TAKER.address)
    desk.match(order, desk.sell, 1)
    desk.venue.call("cancel_nonces", desk.maker, word, 1 << bit, caller=MAKER.address)
    (event,) = desk.world.events("SignedTradeVenue", "NoncesCancelled")
    assert (event["account"], event["word"], event["bitmap"]) == (desk.maker, 2, 2)
    with refused("venue: order cancelled"):
        desk.match(order, desk.sell, 1)
    # its neighbours, the same nonce of another account and another word live on
    desk.match(replace(order, nonce=512), desk.sell, 1)
    desk.match(replace(order, nonce=257), desk.sell, 1)
    desk.match(desk.buy, replace(desk.sell, nonce=513), 1)
    # bits are only ever added
    desk.venue.call("cancel_nonces", desk.maker, word, 1, caller=MAKER.address)
    assert desk.venue.call("cancelled", desk.maker, word) == 3
    with refused("venue: order cancelled"):
        desk.match(replace(order, nonce=512), desk.sell, 1)


def test_all_of_a_word_and_the_largest_nonce(desk: Desk) -> None:
    largest = replace(desk.sell, nonce=2**256 - 1)
    desk.match(desk.buy, largest, 1)
    desk.deal(desk.taker, OTHER.address, 1)
    desk.venue.call("cancel_nonces", desk.taker, (2**256 - 1) >> 8, 2**256 - 1, caller=OTHER.address)
    for nonce in (2**256 - 1, 2**256 - 256):
        with refused("venue: order cancelled"):
            desk.match(desk.buy, replace(largest, nonce=nonce), 1)
    desk.match(desk.buy, replace(largest, nonce=2**256 - 257), 1)


# ------------------------------------------------------------------ fees


def test_fees_within_bound_and_limit(desk: Desk) -> None:
    with refused("ownable: caller is not the owner"):
        desk.venue.call("set_fee", 1, caller=desk.world.stranger)
    with refused("venue: fee above bound"):
        desk.world.govern(desk.venue, "set_fee", 101)
    desk.world.govern(desk.venue, "set_fee", 100)
    desk.world.govern(desk.venue, "set_fee", 10)
    assert desk.world.events("SignedTradeVenue", "FeeSet") == [{"fee_bps": 10}]
    before = [desk.world.cash_of(account) for account in (0, desk.maker, desk.taker)]
    args = (desk.buy.tuple(), desk.sign(desk.buy, MAKER), desk.sell.tuple(), desk.sign(desk.sell, TAKER))
    desk.venue.call("match_orders", *args, 3, PRICE * WAD + 1)
    after = [desk.world.cash_of(account) for account in (0, desk.maker, desk.taker)]
    fee = 180 * 10**12 + 1  # 3 lots x price x 10 bps, and 3e-9 wad more: up
    moved = [b - a for a, b in zip(before, after, strict=True)]
    assert moved == [2 * fee, -fee, -fee]
    desk.world.govern(desk.venue, "set_fee", 11)
    with refused("venue: fee above order limit"):
        desk.match(desk.buy, desk.sell, 1)
    generous = replace(desk.buy, max_fee_bps=11)
    with refused("venue: fee above order limit"):
        desk.match(generous, desk.sell, 1)
    desk.match(generous, replace(desk.sell, max_fee_bps=11), 1)


def test_governance_changes_hands_in_two_steps(desk: Desk) -> None:
    successor = address_of("successor")
    desk.world.govern(desk.venue, "transfer_ownership", successor)
    assert desk.venue.call("owner") == desk.world.governance
    with refused("ownable_2step: caller is not the new owner"):
        desk.venue.call("accept_ownership", caller=desk.world.stranger)
    desk.venue.call("accept_ownership", caller=successor)
    assert desk.venue.call("owner") == successor
    assert "renounce_ownership" not in desk.venue.functions


def test_a_slot_used_again_is_another_instrument(desk: Desk) -> None:
    """The same number, listed anew, has another serial: an order for the old listing is worth nothing."""
    option = BTC << 8
    serial = desk.world.registry.call("listing", option)[0]
    assert serial != desk.world.registry.call("listing", option + 1)[0]
    buy = replace(desk.buy, instrument=option, serial=serial + 1, limit_price_wad=10_000 * WAD)
    sell = replace(desk.sell, instrument=option, serial=serial + 1, limit_price_wad=0)
    with refused("venue: other listing"):
        desk.match(buy, sell, 1, 500)


def test_constants(desk: Desk) -> None:
    assert desk.venue.call("MAX_FEE_BPS") == 100
    assert desk.venue.call("ACCOUNTS") == desk.world.accounts.address
    assert desk.venue.call("REGISTRY") == desk.world.registry.address
    assert desk.venue.call("eip712Domain")[1:5] == ("Ballast", "1", 1, desk.venue.address)
