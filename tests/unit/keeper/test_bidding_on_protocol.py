# SPDX-License-Identifier: Apache-2.0
"""Bids for parts and for single legs on the real contracts: what was foreseen is what comes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keeper.decide import Policy
from keeper.domain import AuctionState, Phase, Snapshot, Unknown
from keeper.errors import Reverted
from keeper.liquidate.actions import Bid, BidLegs, EndAuction, StartAuction
from keeper.liquidate.moves import moved, positions
from keeper.liquidate.sizing import BidPolicy
from risk.onchain import assess_words, price_band
from risk.onchain_words import AccountState, build_words, parse_words
from tests.support.city import DEBTOR, KEEPER, City
from tests.support.protocol import BTC, ETH, PERP, USD, WAD
from tests.support.protocol_chain import Hand

TERMS = BidPolicy(bidder_account=0, min_profit_wad=WAD, warehouse_bps=100)


@pytest.fixture
def city() -> City:
    return City()


def policy(city: City, terms: BidPolicy = TERMS) -> Policy:
    own = replace(terms, bidder_account=city.own)
    return Policy(liquidate=True, bids=own, settle=False, reward_account=city.own)


def state(snapshot: Snapshot, account: int) -> AccountState:
    words = snapshot.accounts[account]
    assert not isinstance(words, Unknown)
    return parse_words(words)


def two_risks(city: City) -> Hand:
    """The debtor long ETH and BTC and below maintenance margin; the keeper short ETH, with all the BTC it may have."""
    p = city.protocol
    city.trade(ETH << 8 | PERP, city.debtor, city.rich, 12)
    city.trade(BTC << 8 | PERP, city.debtor, city.rich, 0.6)
    city.trade(ETH << 8 | PERP, city.rich, city.own, 5)
    city.trade(BTC << 8 | PERP, city.own, city.rich, 1)
    city.fall(25)
    hand = city.hand(policy(city, replace(TERMS, max_gross_wad=50_000 * WAD)))
    assert [type(action) for action in hand.turn()] == [StartAuction]
    p.wait(600)
    p.refresh()
    return hand


def test_a_leg_that_hedges_the_bidder_is_taken_where_the_whole_does_not_fit(city: City) -> None:
    hand = two_risks(city)
    before = hand.chain.snapshot()
    (action,) = hand.decide().actions
    assert isinstance(action, BidLegs)
    assert [instrument for instrument, _ in action.legs] == [ETH << 8 | PERP]
    hand.act(action)
    after, market = hand.chain.snapshot(), before.market
    assert not isinstance(market, Unknown)
    foreseen = state(before, city.own)
    for instrument, lots in action.legs:
        foreseen = moved(foreseen, market, instrument, lots, price_band(market, instrument).mark)
    got = state(after, city.own)
    assert positions(got) == positions(foreseen)
    now, then = (assess_words(build_words(item), market) for item in (got, foreseen))
    # the reward is at least what was asked for, which is what was foreseen less the slack
    assert now.equity_mark - then.equity_mark >= action.min_reward_wad > 0
    before_own = assess_words(build_words(state(before, city.own)), market)
    assert now.im < before_own.im  # and the hedge gives margin back


def test_without_anything_to_hedge_a_fraction_of_everything_is_bid_for(city: City) -> None:
    city.trade(ETH << 8 | PERP, city.debtor, city.rich, 18)
    city.trade(BTC << 8 | PERP, city.debtor, city.rich, 0.3)
    city.fall(25)
    hand = city.hand(policy(city))
    hand.turn()
    city.protocol.wait(600)
    city.protocol.refresh()
    assert [type(action) for action in hand.decide().actions] == [Bid]


def test_a_bidder_with_little_margin_takes_what_it_can_carry(city: City) -> None:
    """The part that bisection finds is one that the contract sells, and leaves the bidder its health."""
    city.short_of_margin()
    p = city.protocol
    hand = city.hand(policy(city, replace(TERMS, min_im_health_wad=998_000 * WAD)))
    hand.turn()
    p.wait(600)
    p.refresh()
    (action,) = hand.decide().actions
    assert isinstance(action, Bid | BidLegs)
    hand.act(action)
    snapshot = hand.chain.snapshot()
    assert not isinstance(snapshot.market, Unknown)
    left = assess_words(snapshot.accounts[city.own], snapshot.market)  # type: ignore[arg-type]
    assert 998_000 * WAD <= left.im_health < 998_100 * WAD


def test_bids_lost_to_dust_give_way_to_one_that_accepts_any_nonce(city: City) -> None:
    """Somebody deposits one unit before each bid; the third is not to be stopped."""
    city.short_of_margin()
    p = city.protocol
    hand = city.hand(policy(city))
    hand.turn()
    p.wait(600)
    p.refresh()
    for lost in range(3):
        hand.contested = {city.debtor: lost}
        (action,) = hand.decide().actions
        assert isinstance(action, Bid | BidLegs)
        p.deposit(city.debtor, p.cash, 1, DEBTOR)
        if lost < 2:
            with pytest.raises(Reverted, match="auction: nonce"):
                hand.act(action)
    hand.act(action)
    auction = hand.chain.snapshot().auctions[city.debtor]
    assert isinstance(auction, AuctionState) and auction.phase == Phase.NONE  # cured and ended


def test_several_auctions_are_bid_for_in_one_cycle_and_every_bid_holds(city: City) -> None:
    p = city.protocol
    others = [p.open_account(KEEPER) for _ in range(3)]
    for account in others:
        p.deposit(account, p.cash, 30_000 * USD, KEEPER)
        city.trade(ETH << 8 | PERP, account, city.rich, 20)
    city.short_of_margin()
    hand = city.hand(policy(city))
    hand.turn()
    p.wait(600)
    p.refresh()
    made = [action for action in hand.decide().actions if isinstance(action, Bid | BidLegs)]
    assert {action.account for action in made} == {city.debtor, *others}
    for action in made:
        hand.act(action)  # reverts where what was foreseen of the earlier ones was wrong


def test_an_account_that_falls_again_is_put_up_again(city: City) -> None:
    """Cured by a deposit and ended, then below maintenance margin once more: a new auction under the next number."""
    city.short_of_margin()
    p, hand = city.protocol, city.hand(Policy(liquidate=True, settle=False))
    (first,) = hand.turn()
    assert isinstance(first, StartAuction) and first.epoch == 0
    p.deposit(city.debtor, p.cash, 5_000 * USD, DEBTOR)
    assert [type(action) for action in hand.turn()] == [EndAuction]
    city.fall(25)
    (again,) = hand.turn()
    assert isinstance(again, StartAuction) and again.account == first.account and again.epoch == 1
