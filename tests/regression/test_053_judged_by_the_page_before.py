# SPDX-License-Identifier: Apache-2.0
"""A challenge of one row liquidated whoever was short in an option listed since the page before.

A revoked page gives way to the one before it. When something was listed in between, that one counts as expired, so that
nothing leaves by it; but maintenance margin went on by it at once. Shorts in the new options have no row there and are
charged the whole price of the underlying, longs count nothing, and an option in a slot that was used before is judged
by the row of another. One lane of one row had to be wrong, by a publisher's mistake, in an option nobody holds: whoever
saw it waited for shorts, challenged, started the auction in the same transaction, and was paid for the challenge.
Health of 16,253 USD became -9,799, at an unchanged price and with no doubt. Now such a page counts as forgotten.
"""

from __future__ import annotations

import pytest
from eth_utils.crypto import keccak

from tests.support.protocol import DAY, ETH, HOUR, LOTS, USD, Protocol, Reverted, address_of

SELLER, BUYER = map(address_of, ("seller", "buyer"))


def world_with_a_wrong_row() -> tuple[Protocol, int, tuple[object, ...]]:
    """An option listed since the first page and sold by ``seller``; what a challenge of slot 0 of the second needs."""
    world = Protocol()
    world.wait(600)
    world.refresh()
    expiry = (world.now + 20 * DAY) // HOUR * HOUR
    call = world.list_option(ETH, expiry, 3_600, is_call=True)
    world.wait(60)
    world.refresh()
    header, surfaces, packed = world.page(ETH)
    rows = bytearray(packed.rows)
    rows[40] ^= 0x10
    world.submit(ETH, header, surfaces, bytes(rows))
    seller, buyer = world.open_account(SELLER), world.open_account(BUYER)
    for owner, account in ((SELLER, seller), (BUYER, buyer)):
        world.deposit(account, world.cash, 20_000 * USD, owner)
    world.fill(call, buyer, seller, 10 * LOTS, world.mark(call))
    return world, seller, (ETH, 0, header, surfaces, keccak(bytes(rows)))


def test_a_challenge_makes_nobody_liquidatable() -> None:
    world, seller, claim = world_with_a_wrong_row()
    assert world.health(seller) > 10_000 * 10**18
    world.table.call("challenge", *claim, caller=world.stranger)
    with pytest.raises(Reverted, match="auction: data too old"):
        world.start(seller)


def test_the_next_page_restores_it() -> None:
    world, seller, claim = world_with_a_wrong_row()
    before = world.health(seller)
    world.table.call("challenge", *claim, caller=world.stranger)
    world.wait(60)
    world.refresh()
    # the helper numbers pages by the living one, which is the first again
    header, surfaces, packed = world.page(ETH)
    header = (int(world.table.call("last_epoch", ETH)) + 1, *header[1:])
    world.submit(ETH, header, surfaces, packed.rows)
    assert abs(world.health(seller) - before) < 10 * 10**18
