# SPDX-License-Identifier: Apache-2.0
"""A feed that died before anybody had recorded its price valued everything at nothing, with no doubt about it.

Found by reading (threat model, F-03): ``set_feed`` forgot the old record and took no new one. A long account, sound by
hundreds of thousands, could be started and taken whole once the feed had aged to dead, at the fund's expense.
"""

from __future__ import annotations

import pytest

from tests.support.protocol import BTC, DAY, LOTS, PERP, USD, Protocol, Reverted, address_of


def test_a_dead_price_falls_back_to_the_one_it_was_wired_with() -> None:
    world = Protocol()
    world.govern(world.oracle, "set_feed", 0, BTC, world.feed_config(world.feeds[BTC]))
    long, short = (world.open_account(address_of(name)) for name in ("long", "short"))
    world.deposit(long, world.cash, 400_000 * USD, address_of("long"))
    world.deposit(short, world.cash, 4_000_000 * USD, address_of("short"))
    world.fill(BTC << 8 | PERP, long, short, 10 * LOTS, world.mark(BTC << 8 | PERP))
    sound = world.health(long)
    world.wait(DAY + 1)
    price, state, _ = world.oracle.call("price", 0, BTC)
    assert (price // 10**18, state) == (60_000, 2)
    assert world.health(long) == sound > 0
    with pytest.raises(Reverted, match="auction: healthy"):
        world.start(long)
