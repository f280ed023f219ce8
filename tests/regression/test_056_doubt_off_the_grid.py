# SPDX-License-Identifier: Apache-2.0
"""Worthless options still keep an account from liquidation when the price has left the grid of a forgotten page.

What the live grid bounds casts no doubt beyond it since 054, but off the grid the whole notional is doubt again. The
grid ends 30 % from the reference price here, so 30 far calls on ether, worth nothing, shield a position in bitcoin in
the one case in which it matters: nobody published for two days and the market fell by a third. The doubt is 61,562 USD
for a requirement of 62, though a call struck at 20,000 is worth even less at 2,050 than it was.
"""

from __future__ import annotations

import pytest

from tests.support.protocol import BTC, DAY, ETH, HOUR, LOTS, PERP, USD, Protocol, Reverted, address_of

OWNER, OTHER = map(address_of, ("owner", "other"))


@pytest.mark.xfail(
    strict=True,
    raises=Reverted,
    reason="accepted risk R-37: off the grid the notional of longs is doubt, not their tail",
)
def test_worthless_calls_protect_nothing_when_their_underlying_falls() -> None:
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
    world.fill(far, owner, other, 30 * LOTS, 0)
    world.wait(2 * DAY + 120)
    world.set_price(BTC, 36_000)
    world.set_price(ETH, 2_050)
    world.refresh()
    assert world.health(owner) < 0
    world.start(owner)
