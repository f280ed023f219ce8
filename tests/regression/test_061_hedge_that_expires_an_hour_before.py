# SPDX-License-Identifier: Apache-2.0
"""A hedge that expires an hour before what it hedges hedged in full until it did.

The first form of the last day (docs/adr/0012) let every contract with less than a day to go count for the part of the
day that is left. A long call against a short one that expires an hour later, a minute before the first expiry: of the
long 0.1 % counts, of the short 4 %, so next to nothing was naked, and without both there was nothing at all. Initial
margin was 11,932 USD, maintenance margin went from 7,558 to 75,919 at an unchanged price when the long settled, and a
rise of 5 % within the hour left 3,064 of debt. Now only what expires next counts less.
"""

from __future__ import annotations

from tests.regression.test_051_hedge_that_expires import settle
from tests.support.protocol import ETH, HOUR, LOTS, USD, Protocol, address_of

SHORT, LONG, LENDER = map(address_of, ("short", "long", "lender"))
SIZE = 100 * LOTS


def world_before_the_first_expiry() -> tuple[Protocol, int, int]:
    """A minute before ``expiry``; ``short`` is long a call of it, short one that expires an hour later."""
    world = Protocol()
    lender = world.open_account(LENDER)
    world.deposit(lender, world.cash, 1_000_000 * USD, LENDER)
    expiry = (world.now // HOUR + 3) * HOUR
    hedge = world.list_option(ETH, expiry, 2_400, is_call=True)
    sold = world.list_option(ETH, expiry + HOUR, 2_400, is_call=True)
    world.wait(60)
    world.refresh()
    world.publish(ETH)
    short, long = world.open_account(SHORT), world.open_account(LONG)
    world.deposit(short, world.cash, 200_000 * USD, SHORT)
    world.deposit(long, world.cash, 400_000 * USD, LONG)
    world.fill(sold, long, short, SIZE, world.mark(sold))
    world.fill(hedge, short, long, SIZE, world.mark(hedge))
    world.wait(expiry - world.now - 60)
    world.refresh()
    world.publish(ETH)
    found = world.assess(short)
    free = (found["equity_im"] - found["im"]) // 10**12 - 1
    if free > 0:
        world.withdraw(short, world.cash, free, SHORT)
    return world, short, expiry


def test_its_settlement_liquidates_nobody_and_a_rise_leaves_no_debt() -> None:
    world, short, expiry = world_before_the_first_expiry()
    assert world.health(short) >= 0
    settle(world, short, expiry)
    world.publish(ETH)
    assert world.health(short) >= 0
    world.set_price(ETH, 3_150)
    world.wait(60)
    world.refresh()
    assert world.assess(short)["equity_mark"] >= 0
