# SPDX-License-Identifier: Apache-2.0
"""LiquidationAuction: what a record of time counts, when phases change, what the known shortfall is and does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import MINUTE, World, deployed, refused
from tests.support.protocol import BTC, DAY, ETH, HOUR, LOTS, USD, WAD, address_of

SOLVENT_S = 900 + 43_200


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        world.long_btc()
        yield world


def begin(world: World, btc_usd: int) -> None:
    world.set_price(BTC, btc_usd)
    world.start(world.borrower)


# ------------------------------------------------------------------ ticks


@pytest.mark.parametrize("passed_s,counted_s", [(0, 0), (1, 1), (900, 900), (901, 900), (HOUR, 900)])
def test_a_record_counts_a_tick_at_the_most(world: World, passed_s: int, counted_s: int) -> None:
    begin(world, 39_000)
    world.wait(passed_s)
    world.tick(world.borrower)
    running = world.running(world.borrower)
    assert running == {"phase": 1, "seen_at": world.now, "solvent_s": counted_s, "insolvent_s": 0, "epoch": 1}


def test_the_preview_sees_what_a_record_would(world: World) -> None:
    begin(world, 39_000)
    world.wait(450)
    assert world.preview(world.borrower)["discount_bps"] == 1_050
    world.tick(world.borrower)
    assert world.preview(world.borrower)["discount_bps"] == 1_050
    world.wait(450)
    assert world.preview(world.borrower)["discount_bps"] == 2_000


def test_a_bid_records_too(world: World) -> None:
    begin(world, 39_000)
    world.wait(600)
    world.buy(world.borrower, world.bidder, WAD // 50)
    assert world.running(world.borrower)["solvent_s"] == 600
    world.take(world.borrower, world.bidder, [(BTC << 8 | 255, LOTS // 50)])
    assert world.running(world.borrower)["solvent_s"] == 600


def test_the_solvent_clock_stops_at_its_end_and_the_other_starts_from_nothing(world: World) -> None:
    begin(world, 39_000)
    world.watch(world.borrower, SOLVENT_S - 1)
    assert world.running(world.borrower)["phase"] == 1
    world.watch(world.borrower, 1)
    (event,) = world.events("LiquidationAuction", "AuctionPhaseChanged")
    assert (event["account"], event["auction"], event["phase"]) == (world.borrower, 1, 2)
    running = world.running(world.borrower)
    assert (running["phase"], running["solvent_s"], running["insolvent_s"]) == (2, SOLVENT_S, 0)
    world.watch(world.borrower, 600)
    running = world.running(world.borrower)
    assert (running["solvent_s"], running["insolvent_s"]) == (SOLVENT_S, 600)
    # unsold though it has equity: no shortfall
    assert world.auction.call("shortfall_wad") == 0


def test_a_tick_ends_what_is_cured(world: World) -> None:
    begin(world, 39_000)
    world.set_price(BTC, 41_000)
    world.tick(world.borrower)
    (event,) = world.events("LiquidationAuction", "AuctionEnded")
    assert (event["account"], event["auction"]) == (world.borrower, 1)
    assert world.auction.call("active_count") == 0
    with refused("auction: none"):
        world.tick(world.borrower)


def test_nothing_ends_while_its_health_hangs_on_dead_data(world: World) -> None:
    begin(world, 39_000)
    world.set_price(BTC, 41_000)
    world.oracle.call("record", 0, BTC)
    world.wait(DAY + 1)
    with refused("auction: unhealthy"):
        world.auction.call("end", world.borrower)
    world.tick(world.borrower)
    assert world.running(world.borrower)["phase"] == 1
    # nor is it sold: it stands above its target as far as anybody knows
    world.set_price(BTC, 45_000)
    world.oracle.call("record", 0, BTC)
    world.wait(DAY + 1)
    with refused("auction: healthy"):
        world.buy(world.borrower, world.bidder)
    world.refresh()
    world.auction.call("end", world.borrower)


# ------------------------------------------------------------------ phases by the equity of the moment


def test_start_by_proof_records_no_loss_and_the_first_look_finds_it(world: World) -> None:
    world.set_price(BTC, 25_000)
    world.auction.call("start_with", world.borrower, 73, 0)
    (event,) = world.events("LiquidationAuction", "AuctionStarted")
    assert (event["phase"], event["equity_mark"], event["equity_mm"]) == (1, -5_000 * WAD, -5_000 * WAD)
    assert world.auction.call("shortfall_wad") == 0
    with world.undone():
        assert world.buy(world.borrower, world.bidder) == (WAD, -5_000 * WAD)
    world.tick(world.borrower)
    assert world.running(world.borrower)["phase"] == 2
    assert world.auction.call("shortfall_wad") == 5_000 * WAD


def test_a_proof_that_proves_nothing(world: World) -> None:
    world.set_price(BTC, 39_000)
    with refused("auction: healthy"):
        world.auction.call("start_with", world.borrower, 73 + 8, 0)
    with refused("engine: no scenario"):
        world.auction.call("start_with", world.borrower, 0, 0)  # one underlying has no joint scenarios
    with refused("engine: several underlyings"):
        world.auction.call("start_with", world.lender, 73, 0)  # none at all


def test_equity_of_exactly_nothing_is_none(world: World) -> None:
    begin(world, 30_000)
    assert world.assess(world.borrower)["equity_mark"] == 0
    assert world.running(world.borrower)["phase"] == 2
    assert world.preview(world.borrower)["price_wad"] == 0


# ------------------------------------------------------------------ shortfall and withdrawals


def test_withdrawals_are_limited_while_the_fund_is_short(world: World) -> None:
    begin(world, 25_000)
    assert not world.auction.call("withdrawals_limited")  # 5,000 against 50,000
    world.set_price(BTC, 100)
    assert not world.auction.call("withdrawals_limited")
    poorer = world.person("poorer", 60_000)
    world.set_price(BTC, 60_000)
    world.trade(BTC, poorer, world.maker, 2 * LOTS)
    world.set_price(BTC, 100)
    world.tick(world.borrower)
    world.start(poorer)
    lacking = (29_900 + 59_800) * WAD
    assert world.auction.call("shortfall_wad") == lacking
    assert world.auction.call("withdrawals_limited")
    world.stake((lacking // 10**12) - 50_000 * USD - 1, address_of("saviour"))
    assert world.auction.call("withdrawals_limited")
    world.stake(1, address_of("saviour"))
    assert not world.auction.call("withdrawals_limited")


def test_nobody_turns_the_limit_on_at_will_or_keeps_it_on(world: World) -> None:
    """Without a fund any loss limits; it takes a real one, and whoever looks or bids takes the limit off."""
    world.govern(world.fund, "set_auction", world.stranger)
    world.fund.call("cover", 50_000 * USD, caller=world.stranger)
    world.govern(world.fund, "set_auction", world.auction.address)
    assert not world.auction.call("withdrawals_limited")
    begin(world, 29_999)
    assert world.auction.call("withdrawals_limited")
    with world.undone():
        world.set_price(BTC, 30_001)
        world.tick(world.borrower)
        assert not world.auction.call("withdrawals_limited")
    with world.undone():
        world.pay_in(world.borrower, USD)
        assert world.auction.call("withdrawals_limited")  # until somebody looks
        world.tick(world.borrower)
        assert not world.auction.call("withdrawals_limited")
    world.buy(world.borrower, world.bidder)
    (event,) = world.events("LiquidationAuction", "BidMade")
    assert (event["covered_wad"], event["lost_wad"]) == (0, WAD)
    assert not world.auction.call("withdrawals_limited")


def test_a_loss_of_lenders_is_shared_and_rounded_against_them(world: World) -> None:
    world.govern(world.fund, "set_auction", world.stranger)
    world.fund.call("cover", 48_000 * USD, caller=world.stranger)
    world.govern(world.fund, "set_auction", world.auction.address)
    begin(world, 25_000)
    before = world.cash_of(world.lender)
    supplied, _, index, _ = world.accounts.call("cash_totals")
    world.buy(world.borrower, world.bidder)
    (event,) = world.events("LiquidationAuction", "BidMade")
    assert (event["covered_wad"], event["lost_wad"]) == (2_000 * WAD, 3_000 * WAD)
    lost = before - world.cash_of(world.lender)
    share = 3_000 * WAD * before // (supplied if supplied > before else before)
    assert share <= lost <= share + 2 * 10**9
    assert world.accounts.call("cash_totals")[2] < index


def test_an_account_in_auction_may_be_traded_down_but_not_emptied(world: World) -> None:
    begin(world, 39_000)
    owner = world.owners[world.borrower]
    with refused("accounts: below initial margin"):
        world.withdraw(world.borrower, world.cash, 1, owner)
    with refused("accounts: below initial margin"):
        world.trade(ETH, world.borrower, world.maker, LOTS)
    world.trade(BTC, world.maker, world.borrower, LOTS // 2)
    world.auction.call("end", world.borrower)


def test_an_hour_of_ticks_pays_no_more_than_the_reward(world: World) -> None:
    begin(world, 25_000)
    found = world.assess(world.borrower)
    world.watch(world.borrower, 30 * MINUTE)
    assert world.preview(world.borrower)["price_wad"] == -5_000 * WAD - found["mm"] // 2
    world.watch(world.borrower, 5 * HOUR)
    assert world.preview(world.borrower)["price_wad"] == -5_000 * WAD - found["mm"]
    taker = world.assess(world.bidder)["equity_mark"]
    world.buy(world.borrower, world.bidder)
    assert abs(world.assess(world.bidder)["equity_mark"] - taker - found["mm"]) < WAD


# ------------------------------------------------------------------ who gets what at the ends of the clocks


def test_above_maintenance_margin_nothing_is_given_away(world: World) -> None:
    """Unsold for a day, then back above MM but inside the end buffer: any free sale would lower its health."""
    begin(world, 39_000)
    world.watch(world.borrower, SOLVENT_S)
    world.set_price(BTC, 39_700)
    assert 0 < world.health(world.borrower) < world.assess(world.borrower)["mm"] // 10
    for fraction in (WAD, WAD // 2):
        with refused("auction: health fell"):
            world.buy(world.borrower, world.bidder, fraction)
    world.set_price(BTC, 39_000)
    equity = world.assess(world.borrower)["equity_mark"]
    before = world.assess(world.bidder)["equity_mark"]
    taken, price = world.buy(world.borrower, world.bidder)
    # the first second of the insolvent phase, as the last of the other: for nothing
    assert (taken, price) == (WAD, 0)
    assert world.assess(world.bidder)["equity_mark"] - before == equity


def test_a_short_account_is_no_bidder_and_a_healthy_one_in_auction_is(world: World) -> None:
    other = world.person("other", 30_000)
    world.trade(BTC, other, world.maker, LOTS)
    begin(world, 39_000)
    world.start(other)
    with refused("auction: bidder health"):
        world.buy(world.borrower, other)
    world.pay_in(other, 100_000 * USD)
    world.buy(world.borrower, other)
    assert world.running(other)["phase"] == 1  # nobody has ended it yet
    world.tick(other)
    assert world.running(other)["phase"] == 0


def test_a_bid_with_the_right_to_manage_and_no_other(world: World) -> None:
    begin(world, 39_000)
    helper, owner = address_of("helper"), world.owners[world.bidder]
    call = (world.borrower, world.bidder, WAD // 10, 2**255 - 1, 0, 2**256 - 1)
    for rights, until in ((1 | 2, 2**64 - 1), (4, world.now - 1)):
        world.accounts.call("set_operator", world.bidder, helper, rights, until, caller=owner)
        with refused("auction: not authorised"):
            world.auction.call("bid", *call, caller=helper)
    world.accounts.call("set_operator", world.bidder, helper, 4, world.now, caller=owner)
    world.auction.call("bid", *call, caller=helper)
    with refused("auction: not authorised"):
        world.auction.call("bid", world.borrower, 0, *call[2:], caller=helper)
    with refused("accounts: protocol account"):
        world.govern(world.auction, "bid", world.borrower, 0, *call[2:])
