# SPDX-License-Identifier: Apache-2.0
"""A hedge that is about to expire hedged in full until it did, and then not at all.

Nothing in the margin rule knew when an option or a future of an account ends. One minute before the expiry a short
perpetual against a long future, or against a long call deep in the money, needed a few dollars; the owner took the rest
out. At the settlement the perpetual stood alone: maintenance margin went from 10 to 72,613 USD at an unchanged price,
equity is 10. A second account of the same owner has the other side and its margin, so that a move either way is won by
one and, beyond some dollars, lost by nobody: 14,990 USD of debt for a move of 5 % in 100 ether, however fast the
liquidation. Since docs/adr/0012 a contract counts less and less over its last day, and not at all for initial margin.
"""

from __future__ import annotations

import pytest

from tests.support.protocol import ETH, HOUR, LOTS, PERP, USD, Protocol, address_of

SHORT, LONG, LENDER = map(address_of, ("short", "long", "lender"))
SIZE = 100 * LOTS


def world_before_expiry(*, is_future: bool) -> tuple[Protocol, int, int]:
    """A minute before the expiry; ``short`` holds a hedged short perpetual and initial margin."""
    world = Protocol()
    lender = world.open_account(LENDER)
    world.deposit(lender, world.cash, 1_000_000 * USD, LENDER)
    expiry = (world.now // HOUR + 3) * HOUR
    perp = ETH << 8 | PERP
    if is_future:
        hedge = int(world.govern(world.registry, "list_future", ETH, expiry))
    else:
        hedge = world.list_option(ETH, expiry, 2_400, is_call=True)
        world.wait(60)
        world.refresh()
        world.publish(ETH)
    short, long = world.open_account(SHORT), world.open_account(LONG)
    world.deposit(short, world.cash, 200_000 * USD, SHORT)
    world.deposit(long, world.cash, 400_000 * USD, LONG)
    world.fill(perp, long, short, SIZE, world.mark(perp))
    world.fill(hedge, short, long, SIZE, world.mark(hedge))
    world.wait(expiry - world.now - 60)
    world.refresh()
    found = world.assess(short)
    free = (found["equity_im"] - found["im"]) // 10**12 - 1
    if free > 0:
        world.withdraw(short, world.cash, free, SHORT)
    return world, short, expiry


def settle(world: Protocol, account: int, expiry: int) -> None:
    """Settle the expiry by its rounds, and the account, at an unchanged price."""
    world.wait(90)
    world.refresh()
    last = int(world.feeds[ETH].call("last_round"))
    world.registry.call("settle_expiry", ETH, expiry, last - 1, last)
    world.accounts.call("settle_many", [account], ETH)


@pytest.mark.parametrize("is_future", [True, False])
def test_a_move_within_the_scan_range_leaves_no_debt(is_future: bool) -> None:
    world, short, expiry = world_before_expiry(is_future=is_future)
    settle(world, short, expiry)
    # it could not be sold in between: it has what the other leg needs
    assert world.health(short) >= 0
    world.set_price(ETH, 3_150)
    world.wait(60)
    world.refresh()
    assert world.assess(short)["equity_mark"] >= 0


@pytest.mark.parametrize("is_future", [True, False])
def test_settlement_at_an_unchanged_price_liquidates_nobody_who_held_initial_margin(is_future: bool) -> None:
    world, short, expiry = world_before_expiry(is_future=is_future)
    assert world.health(short) >= 0
    settle(world, short, expiry)
    assert world.health(short) >= 0
