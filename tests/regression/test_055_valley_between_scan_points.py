# SPDX-License-Identifier: Apache-2.0
"""Hours before its expiry a long straddle has its valley between two scan points, and needs next to no margin.

The scan looks at nine prices a quarter of the scan range apart, 6 % here, and at none between. A call and a put struck
3 % below the price are worth 3 % now, 3 % at the point 6 % below, and nothing half way. Only shorts pay the short
minimum, so 100 of each, worth 9,002 USD six hours before the expiry, ask for 1,663 USD of initial margin, of which the
scan is 6; the rest of their value can be taken out. A fall of 1 % costs 2,940 by full revaluation: equity is -1,277
before anybody could act, and -4,914 in the valley. Whoever wrote them, with the same owner, has gained it. A linear
programme over strikes finds 124 bps of notional beyond initial margin an hour before the expiry, 103 six hours, 68 a
day, none three days at 80 % volatility; with the calibrated scan range of ether (15 %) 67, 46, 10 and none.

Since docs/adr/0012 long options pay for the valley in their last day.
"""

from __future__ import annotations

import pytest

from tests.support.protocol import ETH, HOUR, LOTS, USD, Protocol, address_of

BUYER, WRITER, LENDER = map(address_of, ("buyer", "writer", "lender"))
SIZE, HOURS, VOLATILITY = 100 * LOTS, 6, 0.4


def world_with_a_straddle(strike_usd: int) -> tuple[Protocol, int]:
    """``buyer`` holds the straddle and initial margin, six hours before the expiry, at a price of 3,000."""
    world = Protocol()
    lender = world.open_account(LENDER)
    world.deposit(lender, world.cash, 1_000_000 * USD, LENDER)
    expiry = (world.now // HOUR + HOURS + 1) * HOUR
    legs = [world.list_option(ETH, expiry, strike_usd, is_call=is_call) for is_call in (True, False)]
    world.wait(expiry - HOURS * HOUR - world.now)
    world.refresh()
    world.publish(ETH, vol=VOLATILITY)
    buyer, writer = world.open_account(BUYER), world.open_account(WRITER)
    world.deposit(buyer, world.cash, 60_000 * USD, BUYER)
    world.deposit(writer, world.cash, 400_000 * USD, WRITER)
    for leg in legs:
        world.fill(leg, buyer, writer, SIZE, world.mark(leg))
    found = world.assess(buyer)
    world.withdraw(buyer, world.cash, (found["equity_im"] - found["im"]) // 10**12 - 1, BUYER)
    return world, buyer


def fall(world: Protocol, usd: int) -> None:
    """A new price, with a page of its own."""
    world.set_price(ETH, usd)
    world.wait(60)
    world.refresh()
    world.publish(ETH, vol=VOLATILITY)


@pytest.mark.parametrize("usd", [2_970, 2_910])
def test_a_small_fall_leaves_no_debt(usd: int) -> None:
    world, buyer = world_with_a_straddle(2_910)
    fall(world, usd)
    assert world.assess(buyer)["equity_mark"] >= 0


def test_a_valley_at_a_scan_point_is_seen() -> None:
    world, buyer = world_with_a_straddle(2_820)
    fall(world, 2_820)
    assert world.assess(buyer)["equity_mark"] >= 0
