# SPDX-License-Identifier: Apache-2.0
"""LiquidationAuction: bids for chosen positions. What they pay, what they may not do, and that they bleed nobody."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, ETH, LOTS, USD, WAD

PERP = BTC << 8 | 255
PUT = BTC << 8  # strike 48,000
ETH_PERP = ETH << 8 | 255
NOT_REDUCED = "seize: leg does not reduce"
ZERO_LOTS = "positions: lots"


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        world.long_btc()
        yield world


@pytest.fixture
def short(world: World) -> World:
    """Equity 9,000, MM 9,448, discount 10.5 %."""
    world.set_price(BTC, 39_000)
    world.start(world.borrower)
    world.watch(world.borrower, 450)
    return world


def size(found: dict[str, int]) -> int:
    return found["mm"] + max(found["equity_mark"] - found["equity_mm"], 0)


def test_a_leg_pays_as_much_for_each_unit_of_relief_as_a_slice(short: World) -> None:
    before = short.assess(short.borrower)
    with short.undone():
        taken, price = short.buy(short.borrower, short.bidder, WAD // 10)
        slice_relief = size(before) - size(short.assess(short.borrower))
        slice_gain = before["equity_mark"] * taken // WAD - price
    taker = short.assess(short.bidder)["equity_mark"]
    reward = short.take(short.borrower, short.bidder, [(PERP, LOTS // 10)])
    (event,) = short.events("LiquidationAuction", "LegsTaken")
    after = short.assess(short.borrower)
    relief = size(before) - size(after)
    gain = 9_000 * WAD * 1_050 // 10_000
    assert (event["account"], event["bidder_account"]) == (short.borrower, short.bidder)
    assert (event["relief_wad"], event["reward_wad"]) == (relief, reward)
    assert (event["equity_mm"], event["mm"]) == (after["equity_mm"], after["mm"])
    assert reward == floor(relief * gain // size(before))
    # the reserve of 10 USD does not shrink with a slice, hence up to 10 of 9,448 of difference
    assert abs(reward * slice_relief - slice_gain * relief) < slice_gain * relief * 11 // 9_448
    # at the mark: the bidder has gained the reward, the account has paid it
    assert short.assess(short.bidder)["equity_mark"] - taker == reward
    assert before["equity_mark"] - after["equity_mark"] == reward
    assert short.lots(short.borrower, PERP) == LOTS * 9 // 10


def test_health_rises_and_repetition_earns_no_more_than_slices(short: World) -> None:
    with short.undone():
        start = short.assess(short.bidder)["equity_mark"]
        for _ in range(3):
            short.buy(short.borrower, short.bidder, WAD // 20)
        slices = short.assess(short.bidder)["equity_mark"] - start
    health, rewards = short.health(short.borrower), 0
    for _ in range(3):
        lots = short.lots(short.borrower, PERP) // 20
        rewards += short.take(short.borrower, short.bidder, [(PERP, lots)])
        assert short.health(short.borrower) > health
        health = short.health(short.borrower)
    assert rewards <= slices * 1_001 // 1_000


def test_not_beyond_the_target_and_the_target_ends_the_auction(short: World) -> None:
    with refused("auction: more than needed"):
        short.take(short.borrower, short.bidder, [(PERP, LOTS // 2)])
    short.take(short.borrower, short.bidder, [(PERP, LOTS * 10 // 100)])
    assert short.running(short.borrower)["phase"] == 1
    short.take(short.borrower, short.bidder, [(PERP, LOTS * 5 // 100)])
    assert short.auction.call("active_count") == 0
    with refused("auction: none"):
        short.take(short.borrower, short.bidder, [(PERP, 1)])


def test_too_little_to_be_worth_its_rounding(short: World) -> None:
    with refused("auction: bid too small"):
        short.take(short.borrower, short.bidder, [(PERP, LOTS // 100)])


@pytest.mark.parametrize(
    "legs,reason",
    [
        ([], "auction: no relief"),
        ([(PERP, -LOTS // 10)], NOT_REDUCED),
        ([(PERP, LOTS + 1)], NOT_REDUCED),
        ([(PERP, LOTS // 10), (PERP, LOTS)], NOT_REDUCED),
        ([(PERP, 0)], ZERO_LOTS),
        ([(ETH_PERP, 1)], NOT_REDUCED),
        ([(PUT + 100, 1)], "auction: leg without a mark"),
        ([(16 << 8 | 255, 1)], "auction: leg without a mark"),
        ([(2**200, 1)], "auction: leg without a mark"),
    ],
)
def test_legs_that_are_refused(short: World, legs: list[tuple[int, int]], reason: str) -> None:
    with refused(reason):
        short.take(short.borrower, short.bidder, legs)


def test_a_hedge_may_not_be_taken_away(world: World) -> None:
    """A leg whose loss raises the requirement of the rest is no relief."""
    world.fill(PUT + 3, world.borrower, world.maker, LOTS // 5, world.mark(PUT + 3))
    for price in range(54_000, 24_000, -3_000):
        world.set_price(BTC, price)
        world.wait(3_600)
        world.refresh()
        world.publish(BTC)
        if world.health(world.borrower) < 0:
            break
    world.start(world.borrower)
    with refused("auction: no relief"):
        world.take(world.borrower, world.bidder, [(PUT + 3, LOTS // 10)])


def test_the_bidders_limits(short: World) -> None:
    legs = [(PERP, LOTS // 10)]
    owner = short.owners[short.bidder]
    call = (short.borrower, short.bidder, legs)
    with short.undone():
        reward = short.take(short.borrower, short.bidder, legs)
        after = short.assess(short.bidder)
    health = after["equity_im"] - after["im"]
    nonce = short.accounts.call("nonce_of", short.borrower)
    for rest, reason in (
        ((reward + 1, 0, 2**256 - 1), "auction: price above limit"),
        ((reward, health + 1, 2**256 - 1), "auction: bidder health"),
        ((reward, health, nonce + 1), "auction: nonce"),
    ):
        with refused(reason):
            short.auction.call("bid_legs", *call, *rest, caller=owner)
    with refused("auction: not authorised"):
        short.auction.call("bid_legs", *call, reward, health, nonce, caller=short.stranger)
    with refused("auction: own account"):
        short.auction.call("bid_legs", short.borrower, short.borrower, legs, 0, 0, nonce)
    short.auction.call("bid_legs", *call, reward, health, nonce, caller=owner)


def test_a_bidder_without_margin(short: World) -> None:
    poor = short.person("poor", 100)
    with refused("auction: bidder health"):
        short.take(short.borrower, poor, [(PERP, LOTS // 10)])


def test_nothing_of_a_lost_account_and_nothing_of_a_cured_one(short: World) -> None:
    with short.undone():
        short.set_price(BTC, 29_000)
        with refused("auction: insolvent"):
            short.take(short.borrower, short.bidder, [(PERP, LOTS // 10)])
    short.pay_in(short.borrower, 5_000 * USD)
    with refused("auction: healthy"):
        short.take(short.borrower, short.bidder, [(PERP, LOTS // 10)])


def test_legs_of_several_kinds_at_once(world: World) -> None:
    world.fill(PUT, world.maker, world.borrower, LOTS // 10, world.mark(PUT))
    world.trade(ETH, world.borrower, world.maker, LOTS // 10)
    world.wait(3_600)
    world.set_price(BTC, 40_000)
    world.refresh()
    world.publish(BTC)
    world.set_price(BTC, 39_300)
    if world.health(world.borrower) >= 0:
        world.set_price(BTC, 39_000)
    world.start(world.borrower)
    before = world.assess(world.bidder)["equity_mark"]
    legs = [(PERP, LOTS // 20), (PUT, -LOTS // 20), (ETH_PERP, LOTS // 20), (PERP, LOTS // 20)]
    reward = world.take(world.borrower, world.bidder, legs)
    assert world.lots(world.borrower, PERP) == LOTS * 9 // 10
    assert world.lots(world.bidder, PUT) == -LOTS // 20
    # the bidder's own slack for packed rows is the only difference
    assert 0 <= reward - (world.assess(world.bidder)["equity_mark"] - before) < WAD
