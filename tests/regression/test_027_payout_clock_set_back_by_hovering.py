# SPDX-License-Identifier: Apache-2.0
"""The clock of what the fund pays for a lost account could be set back to nothing, again and again.

Found by review, before any deployment. An account in the insolvent phase that had equity again, by a cent, went on
sale, and its payout started from zero if the loss came back. An owner who topped up one unit more than was lacking
whenever the market brought the account near zero kept it for as long as he liked: all of the gains his, all of the
losses the lenders'.

Now the clock runs back while the account has equity, as fast as it ran up, so that a moment of equity is worth a
moment. It is not kept either: then the first to see a loss come back would be paid at once what others had to wait
for.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import BTC, USD, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def lost_for(world: World, seconds: int) -> None:
    world.long_btc()
    world.set_price(BTC, 25_000)
    world.start(world.borrower)
    world.watch(world.borrower, seconds)


def test_a_moment_of_equity_is_worth_a_moment(world: World) -> None:
    lost_for(world, 1_800)
    before = world.preview(world.borrower)["price_wad"]
    world.pay_in(world.borrower, 5_001 * USD)
    world.tick(world.borrower)
    running = world.running(world.borrower)
    assert (running["phase"], running["solvent_s"], running["insolvent_s"]) == (1, 0, 1_800)
    world.watch(world.borrower, 60)
    world.set_price(BTC, 24_000)
    world.tick(world.borrower)
    running = world.running(world.borrower)
    assert (running["phase"], running["solvent_s"], running["insolvent_s"]) == (2, 60, 1_740)
    reward = -world.preview(world.borrower)["price_wad"] - 999 * WAD
    assert reward > (-before - 5_000 * WAD) * 9 // 10


def test_a_longer_recovery_takes_it_all_back(world: World) -> None:
    lost_for(world, 1_800)
    world.set_price(BTC, 31_000)
    world.tick(world.borrower)
    world.watch(world.borrower, 1_799)
    assert world.running(world.borrower)["insolvent_s"] == 1
    world.watch(world.borrower, 1)
    assert world.running(world.borrower)["insolvent_s"] == 0
    world.set_price(BTC, 25_000)
    assert world.preview(world.borrower)["price_wad"] == -5_000 * WAD


def test_hovering_for_long_runs_the_other_clock_out(world: World) -> None:
    """Whatever the equity does, one of two clocks runs, and the first is never set back."""
    lost_for(world, 0)
    for hour in range(26):
        world.set_price(BTC, 30_100 if hour % 2 else 29_900)
        world.watch(world.borrower, 3_600)
    running = world.running(world.borrower)
    assert running["solvent_s"] == 900 + 43_200
    assert running["phase"] == 2
    world.set_price(BTC, 30_100)
    world.tick(world.borrower)
    assert world.running(world.borrower)["phase"] == 2
    assert world.preview(world.borrower)["price_wad"] < 0
