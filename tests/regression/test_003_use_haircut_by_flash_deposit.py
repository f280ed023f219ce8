# SPDX-License-Identifier: Apache-2.0
"""A deposit borrowed for one transaction made other accounts liquidatable.

Found by review, before any deployment. The haircut for the use of an asset's deposit cap counted for maintenance margin
too. Whoever fills the cap with a flash loan raises that haircut for every holder of the asset, starts auctions, bids at
the first discount and withdraws again, all in one transaction. Use now counts for initial margin only.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def test_others_deposits_do_not_touch_maintenance_margin(world: World) -> None:
    world.deposit(world.borrower, world.tokens[0], 10 * WAD, world.owners[world.borrower])
    world.long_btc()
    before = world.assess(world.borrower)
    world.deposit(world.maker, world.tokens[0], 10**24 - 10 * WAD, world.owners[world.maker])
    after = world.assess(world.borrower)
    assert after["equity_im"] < before["equity_im"]
    assert (after["equity_mm"], after["mm"]) == (before["equity_mm"], before["mm"])
    with refused("auction: healthy"):
        world.start(world.borrower)
