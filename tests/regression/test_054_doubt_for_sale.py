# SPDX-License-Identifier: Apache-2.0
"""Worthless options in a forgotten page kept an account from liquidation in everything else.

Found by attack on the deployed system, before any deployment. A day after a page has expired the whole notional of an
account's options in it counted as doubt; now it is what the live grid allows them to gain, as long as the price is on
the grid. 30 far calls on ether, worth nothing, need 91 USD of maintenance margin and cast a doubt of 90,091 USD: over
a position in bitcoin, whose feed is alive and which needs no page. As long as nobody published for ether no auction of
the account started: bitcoin falls by 40 %, equity is 12,000 USD and maintenance margin 17,525, and the loss went on to
where others pay it. The calls could be bought in advance and kept; an outage of one underlying's publishers was all
that was left to wait for.
"""

from __future__ import annotations

from tests.support.protocol import BTC, DAY, ETH, HOUR, LOTS, PERP, USD, Protocol, address_of

OWNER, OTHER = map(address_of, ("owner", "other"))


def world_of_a_forgotten_page(calls: int) -> tuple[Protocol, int]:
    """Two bitcoin at 60,000 and then 36,000, fresh; some worthless calls on ether, whose page is forgotten."""
    world = Protocol()
    owner, other = world.open_account(OWNER), world.open_account(OTHER)
    world.deposit(owner, world.cash, 60_000 * USD, OWNER)
    world.deposit(other, world.cash, 2_000_000 * USD, OTHER)
    perp = BTC << 8 | PERP
    world.fill(perp, owner, other, 2 * LOTS, world.mark(perp))
    expiry = (world.now + 30 * DAY) // HOUR * HOUR
    far = world.list_option(ETH, expiry, 20_000, is_call=True)
    world.wait(60)
    world.refresh()
    world.publish(ETH)
    if calls:
        world.fill(far, owner, other, calls * LOTS, 0)
    world.wait(2 * DAY + 120)
    world.set_price(BTC, 36_000)
    world.refresh()
    assert world.health(owner) < 0
    return world, owner


def test_worthless_calls_protect_no_other_position() -> None:
    world, owner = world_of_a_forgotten_page(calls=30)
    world.start(owner)


def test_without_them_the_auction_starts() -> None:
    world, owner = world_of_a_forgotten_page(calls=0)
    world.start(owner)
