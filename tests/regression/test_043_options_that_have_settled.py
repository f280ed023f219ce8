# SPDX-License-Identifier: Apache-2.0
"""An account was sold for options that had settled already.

Found by attack on the deployed system, before any deployment. Between an expiry and the moment when somebody books an
account's settlement, the engine values its options by the page before the expiry and the live price, time value and
all, though what they pay is fixed. Whoever fixed the settlement price could start and bid in the same transaction: the
seller of a call that owed 11,000 USD and nothing more was sold a slice at equity and margin that no longer existed. A
page that was made after the expiry and before the settlement did the same without the time value. The auction now books
what has settled since the page was observed before it judges an account, be it the one that is sold or the bidder's.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, ETH, HOUR, LOTS, USD, WAD

FIRST_POINT = 64


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def withdraw_all(world: World, account: int) -> None:
    """Cash, down to initial margin."""
    found = world.assess(account)
    free = (found["equity_im"] - found["im"]) // WAD - 1
    world.withdraw(account, world.cash, free * USD, world.owners[account])


def sold(world: World) -> tuple[int, int, int]:
    """A seller of one call at its initial margin, two hours before the expiry; returns it, instrument and expiry."""
    call, (expiry, _, _) = next(
        (i, o) for i, o in world.options.items() if i >> 8 == BTC and o[1] == 60_000 * WAD and o[2]
    )
    seller = world.person("seller", 60_000)
    world.wait(expiry - world.now - 3 * HOUR)
    world.refresh()
    world.publish(BTC)
    world.fill(call, world.maker, seller, LOTS, world.mark(call))
    withdraw_all(world, seller)
    world.wait(2 * HOUR)
    world.refresh()
    world.publish(BTC)
    return seller, call, expiry


def settle(world: World, expiry: int, price_at_expiry: float, *prices: float, publish: bool = False) -> None:
    """Passes the expiry and fixes its price when the feed has gone through the others; a page may come in between."""
    world.wait(expiry - 30 - world.now)
    world.set_price(BTC, price_at_expiry)
    at_expiry = world.feeds[BTC].call("last_round")
    for price in prices:
        world.wait(60)
        world.set_price(BTC, price)
        if publish:
            world.publish(BTC)
    world.registry.call("settle_expiry", BTC, expiry, at_expiry, at_expiry + 1)


def expired(world: World, price_at_expiry: float, *prices: float, publish: bool = False) -> tuple[int, int]:
    """The seller just after the settlement, and the instrument."""
    seller, call, expiry = sold(world)
    settle(world, expiry, price_at_expiry, *prices, publish=publish)
    return seller, call


def test_what_it_owes_is_fixed_and_margined_no_more(world: World) -> None:
    seller, _ = expired(world, 71_000, 71_710)
    found = world.assess(seller)
    assert found["equity_mm"] < found["mm"]
    world.accounts.call("settle_options", seller, BTC)
    found = world.assess(seller)
    assert found["mm"] == 0
    assert found["equity_mark"] > 18_000 * WAD


def test_nobody_is_started_for_options_that_have_settled(world: World) -> None:
    seller, _ = expired(world, 71_000, 71_710)
    with refused("auction: healthy"):
        world.start(seller)
    for point in (7, 16, 25):
        # without options there is no active underlying, and nothing to prove
        with refused("engine: several underlyings"):
            world.auction.call("start_with", seller, FIRST_POINT + point, 0)


def test_nor_by_a_page_that_came_before_the_settlement(world: World) -> None:
    """It ends at the next expiry, and no flag says that it is behind."""
    seller, _ = expired(world, 71_000, 71_500, publish=True)
    world.set_price(BTC, 80_000)
    found = world.assess(seller)
    assert found["equity_mm"] < found["mm"]
    assert (found["flags"], found["doubt"]) == (0, 0)
    with refused("auction: healthy"):
        world.start(seller)


def test_what_is_lost_all_the_same_is_started_as_what_it_is(world: World) -> None:
    """Its cash alone is below zero: that is booked, and the auction of it starts."""
    seller, call = expired(world, 95_000, 96_000)
    world.start(seller)
    assert world.lots(seller, call) == 0
    assert world.running(seller)["phase"] == 2
    assert world.auction.call("shortfall_wad") == -world.cash_of(seller)


def test_a_running_auction_sells_nobody_for_them_either(world: World) -> None:
    seller, _, expiry = sold(world)
    world.set_price(BTC, 76_000)
    world.start(seller)
    settle(world, expiry, 71_000, 71_710)
    with refused("auction: settle options first"):
        world.preview(seller)
    with refused("auction: healthy"):
        world.buy(seller, world.bidder)
    with world.undone():
        world.auction.call("end", seller)
        assert world.running(seller)["phase"] == 0
    with world.undone():
        world.tick(seller)
        assert world.running(seller)["phase"] == 0
    world.accounts.call("settle_many", [seller], BTC)
    with refused("auction: healthy"):
        world.preview(seller)


def test_a_preview_is_what_the_bid_takes_once_they_are_booked(world: World) -> None:
    seller, call, expiry = sold(world)
    living = world.list_option(BTC, expiry + 24 * HOUR, 60_000, is_call=True)
    world.wait(60)
    world.publish(BTC)
    world.pay_in(seller, 10_000 * USD)
    world.fill(living, world.maker, seller, LOTS // 10, world.mark(living))
    withdraw_all(world, seller)
    world.set_price(BTC, 76_000)
    world.start(seller)
    settle(world, expiry, 95_000, 96_000)
    with world.undone():
        assert world.buy(seller, world.bidder)[0] > 0
        assert world.lots(seller, call) == 0
    with refused("auction: settle options first"):
        world.preview(seller)
    world.accounts.call("settle_many", [seller], BTC)
    # neither what lives nor what the maker has and has not booked is in the way
    found = world.preview(seller)
    assert world.buy(seller, world.bidder) == (found["fraction_wad"], found["price_wad"])


def test_a_page_that_knows_of_the_settlement_serves_as_it_is(world: World) -> None:
    """Of two underlyings: nothing is booked, since each row is what its option pays."""
    calls = [next(i for i, o in world.options.items() if i >> 8 == u and o[2]) for u in (BTC, ETH)]
    expiry = world.options[calls[0]][0]
    for u in (BTC, ETH):
        world.fill(calls[u], world.maker, world.borrower, LOTS // 100, world.mark(calls[u]))
    world.long_btc()
    world.wait(expiry - 30 - world.now)
    world.refresh()
    before = [feed.call("last_round") for feed in world.feeds]
    world.wait(60)
    world.refresh()
    for u in (BTC, ETH):
        world.registry.call("settle_expiry", u, expiry, before[u], before[u] + 1)
    with world.undone():
        world.publish(BTC)
        world.set_price(BTC, 34_000)
        world.start(world.borrower)
        assert [world.lots(world.borrower, call) for call in calls] == [0, 0]
    world.wait(1)
    for u in (BTC, ETH):
        world.publish(u)
    world.set_price(BTC, 34_000)
    world.start(world.borrower)
    found = world.preview(world.borrower)
    assert [world.lots(world.borrower, call) for call in calls] == [-LOTS // 100, -LOTS // 100]
    assert world.buy(world.borrower, world.bidder) == (found["fraction_wad"], found["price_wad"])


def test_a_bidder_is_judged_by_what_its_own_options_paid(world: World) -> None:
    """A call that is worth 20,000 at the live price and paid nothing is no margin for what a bidder takes."""
    call, (expiry, _, _) = next(
        (i, o) for i, o in world.options.items() if i >> 8 == BTC and o[1] == 60_000 * WAD and o[2]
    )
    bidder = world.person("buyer of a call", 30_000)
    world.wait(expiry - world.now - 3 * HOUR)
    world.refresh()
    world.publish(BTC)
    world.fill(call, bidder, world.maker, LOTS, world.mark(call))
    world.trade(BTC, world.maker, world.borrower, LOTS)
    settle(world, expiry, 59_000, 61_000, publish=True)
    world.set_price(BTC, 80_000)
    world.start(world.borrower)
    world.buy(world.borrower, bidder, WAD // 10)
    assert world.lots(bidder, call) == 0
    assert world.assess(bidder)["equity_im"] >= world.assess(bidder)["im"]
