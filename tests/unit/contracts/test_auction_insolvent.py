# SPDX-License-Identifier: Apache-2.0
"""LiquidationAuction, insolvent phase, on real accounts, engine, parameters, oracle and fund.

The borrower is long 1 BTC from 100,000 with 20,000 of cash. At 70,000 equity is -10,000 and maintenance margin 10,500.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, floor
from typing import Any, Final

import boa
import pytest

from tests.support.auction_market import (
    BIDDER,
    BORROWER,
    BTC,
    GOVERNANCE,
    LOTS,
    OUTSIDER,
    USD,
    WAD,
    Market,
    deploy_market,
)

ANY_NONCE: Final = 2**256 - 1
NO_LIMIT: Final = 2**255 - 1
MINUTE: Final = 60
SOLVENT_S: Final = 15 * MINUTE + 12 * 3_600
DAY: Final = 86_400
# one record of time a day will do; what ticks do: test_auction_clock.py
SETTINGS: Final = (100, 2_000, 10_000, 900, 43_200, 3_600, 1_500, 1_000, 100 * WAD, DAY, 600_000)


@pytest.fixture(scope="module")
def deployment() -> Market:
    market = deploy_market()
    market.trade(BTC, market.borrower, market.maker, LOTS, 100_000)
    market.stake(50_000 * USD)
    market.auction.set_settings(SETTINGS, sender=GOVERNANCE)
    return market


@pytest.fixture
def market(deployment: Market) -> Iterator[Market]:
    with boa.env.anchor():
        yield deployment


@pytest.fixture
def insolvent(market: Market) -> Market:
    market.set_price(BTC, 70_000)
    market.auction.start(market.borrower, 0)
    return market


def bid(market: Market, fraction: int = WAD, max_price: int = NO_LIMIT) -> tuple[int, int]:
    number = market.borrower
    result = market.auction.bid(number, market.bidder, fraction, max_price, 0, ANY_NONCE, sender=BIDDER)
    return tuple(result)


def made(market: Market) -> Any:
    (event,) = [log for log in market.auction.get_logs() if type(log).__name__ == "BidMade"]
    return event


def test_start_finds_the_phase(insolvent: Market) -> None:
    (event,) = [log for log in insolvent.auction.get_logs() if type(log).__name__ == "AuctionStarted"]
    assert (event.phase, event.equity_mark, event.mm) == (2, -10_000 * WAD, 10_500 * WAD)
    assert tuple(insolvent.auction.auction_of(insolvent.borrower)) == (2, boa.env.timestamp, 0, 0, 1)


def test_no_equity_at_all_is_insolvent(market: Market) -> None:
    market.set_price(BTC, 80_000)  # equity exactly 0
    market.auction.start(market.borrower, 0)
    assert market.auction.auction_of(market.borrower).phase == 2


@pytest.mark.parametrize(
    "elapsed_s,payout",
    [(0, 10_000), (30 * MINUTE, 15_250), (60 * MINUTE, 20_500), (20 * 3_600, 20_500)],
)
def test_the_fund_pays_for_the_whole(insolvent: Market, elapsed_s: int, payout: int) -> None:
    boa.env.time_travel(seconds=elapsed_s)
    preview = insolvent.auction.preview_bid(insolvent.borrower, WAD)
    assert (preview.phase, preview.fraction_wad, preview.price_wad) == (2, WAD, -payout * WAD)
    bidder_before = insolvent.engine.assess(insolvent.bidder).equity_mark
    supply_index = insolvent.accounts.cash_totals()[2]
    assert bid(insolvent) == (WAD, -payout * WAD)
    event = made(insolvent)
    assert (event.covered_wad, event.lost_wad) == (payout * WAD, 0)
    assert (event.equity_mm, event.mm) == (0, 0)
    assert insolvent.fund.totalAssets() == (50_000 - payout) * USD
    assert insolvent.accounts.cash_totals()[2] == supply_index
    # the bidder took equity of -10,000 and the payout: it gains the reward, which is at most MM
    assert insolvent.engine.assess(insolvent.bidder).equity_mark - bidder_before == (payout - 10_000) * WAD
    assert insolvent.lots(insolvent.bidder, BTC) == LOTS
    assert insolvent.auction.active_count() == 0


def test_a_fraction_takes_debt_and_payout_alike(insolvent: Market) -> None:
    boa.env.time_travel(seconds=15 * MINUTE)  # payout 10,000 + 10,500 / 4 for the whole
    assert bid(insolvent, WAD // 4) == (WAD // 4, -12_625 * WAD // 4)
    left = insolvent.engine.assess(insolvent.borrower)
    assert (left.equity_mark, left.mm) == (-7_500 * WAD, 7_875 * WAD)
    assert insolvent.auction.auction_of(insolvent.borrower).phase == 2
    assert bid(insolvent)[1] == -12_625 * 3 * WAD // 4
    assert insolvent.fund.totalAssets() == (50_000 - 12_625) * USD


def test_payout_of_a_slice_rounds_down(insolvent: Market) -> None:
    boa.env.time_travel(seconds=1_001)
    whole = 10_000 * WAD + 10_500 * WAD * 1_001 // 3_600
    exact = Fraction(whole * 123_456_789_012_345_678, WAD)
    assert exact.denominator > 1
    assert bid(insolvent, 123_456_789_012_345_678)[1] == -floor(exact)


def test_dust_and_small_slices(insolvent: Market) -> None:
    smallest = ceil(Fraction(100, 10_500) * WAD)  # carries MM of 100
    with boa.reverts("auction: bid too small"):
        bid(insolvent, smallest - 1)
    assert bid(insolvent, smallest)[0] == smallest
    assert bid(insolvent, WAD * 995 // 1_000)[0] == WAD  # 0.5 % would be left with MM of 52


def test_the_bidder_may_ask_for_a_least_payout(insolvent: Market) -> None:
    with boa.reverts("auction: price above limit"):
        bid(insolvent, max_price=-10_001 * WAD)
    assert bid(insolvent, max_price=-10_000 * WAD)[1] == -10_000 * WAD


# ------------------------------------------------------------------ who bears the loss


def drain(market: Market, left_usd: int) -> None:
    """Other losses leave the fund with less: to a successor of MarginAccounts' auction, and from there to nobody."""
    market.fund.set_auction(OUTSIDER, sender=GOVERNANCE)
    market.fund.cover(market.fund.totalAssets() - left_usd * USD, sender=OUTSIDER)
    market.fund.set_auction(market.auction.address, sender=GOVERNANCE)


def test_lenders_bear_what_the_fund_cannot(insolvent: Market) -> None:
    drain(insolvent, 4_000)
    supplied, _, index, _ = insolvent.accounts.cash_totals()
    bidder, maker = (insolvent.accounts.cash_of(n) for n in (insolvent.bidder, insolvent.maker))
    assert bid(insolvent) == (WAD, -10_000 * WAD)
    event = made(insolvent)
    assert (event.covered_wad, event.lost_wad) == (4_000 * WAD, 6_000 * WAD)
    assert insolvent.fund.totalAssets() == 0
    # 6,000 of 2,020,000 supplied
    keep = 1 - Fraction(6_000 * WAD, supplied)
    assert insolvent.accounts.cash_totals()[2] == floor(index * keep)
    assert abs(insolvent.accounts.cash_of(insolvent.maker) - floor(maker * keep)) <= 10**7
    # the bidder's own old cash loses like everybody's; what it is paid for the loss does not
    borrowed = 20_000 * WAD * keep
    assert abs(insolvent.accounts.cash_of(insolvent.bidder) - floor(bidder * keep + borrowed + 10_000 * WAD)) <= 10**7


def test_the_fund_need_not_have_anything(insolvent: Market) -> None:
    drain(insolvent, 0)
    bid(insolvent)
    assert (made(insolvent).covered_wad, made(insolvent).lost_wad) == (0, 10_000 * WAD)


def test_tokens_held_back_all_cash(insolvent: Market) -> None:
    drain(insolvent, 4_000)
    bid(insolvent)
    insolvent.accounts.settle_delta(insolvent.maker, BTC << 8 | 255)
    insolvent.accounts.settle_delta(insolvent.bidder, BTC << 8 | 255)
    claims = sum(insolvent.accounts.cash_of(number) for number in range(4))
    held = insolvent.cash.balanceOf(insolvent.accounts.address) * 10**12
    # 46,000 that the fund sent in drain() are booked to nobody
    assert 0 <= held - 46_000 * WAD - claims <= 10**8


def test_payout_is_rounded_to_raw_units_for_the_accounts(insolvent: Market) -> None:
    fraction = WAD // 3
    payout = 10_000 * WAD * fraction // WAD
    assert bid(insolvent, fraction) == (fraction, -payout)
    assert 50_000 * USD - insolvent.fund.totalAssets() == -(-payout // 10**12)
    assert made(insolvent).covered_wad == payout


# ------------------------------------------------------------------ from phase to phase


def test_a_tick_finds_that_equity_is_gone(market: Market) -> None:
    market.set_price(BTC, 94_000)
    with boa.reverts("auction: none"):
        market.auction.tick(market.borrower)
    market.auction.start(market.borrower, 0)
    boa.env.time_travel(seconds=MINUTE)
    market.set_price(BTC, 80_000)  # equity exactly 0
    market.auction.tick(market.borrower, sender=OUTSIDER)
    (event,) = market.auction.get_logs()
    assert (type(event).__name__, event.account, event.auction) == ("AuctionPhaseChanged", market.borrower, 1)
    assert event.phase == 2
    assert tuple(market.auction.auction_of(market.borrower)) == (2, boa.env.timestamp, MINUTE, 0, 1)
    market.auction.tick(market.borrower)
    assert market.auction.get_logs() == []


def test_nobody_bids(market: Market) -> None:
    market.set_price(BTC, 94_000)
    market.auction.start(market.borrower, 0)
    boa.env.time_travel(seconds=SOLVENT_S - 1)
    last_price = market.auction.preview_bid(market.borrower, WAD).price_wad
    boa.env.time_travel(seconds=1)
    first = market.auction.preview_bid(market.borrower, WAD)
    assert (first.phase, first.price_wad) == (2, 0)
    assert 0 < last_price < WAD  # no jump
    market.auction.tick(market.borrower)
    boa.env.time_travel(seconds=30 * MINUTE)
    # the bidder gets equity of 14,000 and half of the 100 that it lacks to MM
    assert bid(market) == (WAD, -50 * WAD)


def test_a_bid_finds_that_equity_is_gone(market: Market) -> None:
    market.set_price(BTC, 94_000)
    market.auction.start(market.borrower, 0)
    boa.env.time_travel(seconds=10 * MINUTE)
    market.set_price(BTC, 70_000)
    preview = market.auction.preview_bid(market.borrower, WAD // 2)
    assert (preview.phase, preview.price_wad, preview.discount_bps) == (2, -5_000 * WAD, 0)
    assert bid(market, WAD // 2) == (WAD // 2, -5_000 * WAD)
    assert "AuctionPhaseChanged" in [type(log).__name__ for log in market.auction.get_logs()]
    assert tuple(market.auction.auction_of(market.borrower)) == (2, boa.env.timestamp, 10 * MINUTE, 0, 1)


def test_an_account_that_recovers_is_sold_not_given_away(insolvent: Market) -> None:
    boa.env.time_travel(seconds=15 * MINUTE)
    insolvent.set_price(BTC, 90_000)  # equity 10,000, MM 13,500
    # its solvent clock has not run yet
    preview = insolvent.auction.preview_bid(insolvent.borrower, WAD)
    assert (preview.phase, preview.discount_bps) == (1, 100)
    missing = Fraction(13_500 * 115, 100) - 10_000
    fraction = ceil(missing / (missing + 9_900) * WAD)
    assert bid(insolvent) == (fraction, ceil(Fraction(9_900 * fraction)))


def test_a_topped_up_account_ends(insolvent: Market) -> None:
    insolvent.deposit(insolvent.borrower, 21_549 * USD)
    with boa.reverts("auction: unhealthy"):
        insolvent.auction.end(insolvent.borrower)
    insolvent.deposit(insolvent.borrower, 1 * USD)  # equity 11,550 = 1.1 * 10,500
    with boa.reverts("auction: healthy"):
        bid(insolvent)
    insolvent.auction.end(insolvent.borrower)
    assert insolvent.auction.active_count() == 0


def test_a_debt_without_positions_is_written_off_whole(market: Market) -> None:
    debtor = market.accounts.open_account(OUTSIDER)
    market.deposit_ether(debtor, OUTSIDER, 10**18)
    market.accounts.withdraw(debtor, market.cash.address, 2_000 * USD, OUTSIDER, sender=OUTSIDER)
    market.set_price(1, 1_900)
    market.auction.start(debtor, 0)
    result = market.auction.bid(debtor, market.bidder, WAD, NO_LIMIT, 0, ANY_NONCE, sender=BIDDER)
    assert tuple(result) == (WAD, -100 * WAD)
    health = market.engine.assess(debtor)
    assert (health.equity_mark, health.mm) == (0, 0)
    assert market.accounts.cash_of(debtor) == 0


# ------------------------------------------------------------------ hostile surroundings


REENTRANT_CASH: Final = """
# pragma version 0.4.3
name: public(String[8])
symbol: public(String[8])
decimals: public(uint8)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
target: address
payload: Bytes[1024]
entered: public(bool)
tried: public(bool)

@deploy
def __init__():
    self.decimals = 6

@external
def mint(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount

@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True

@external
def arm(target: address, payload: Bytes[1024]):
    self.target = target
    self.payload = payload

@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    return True

@external
def transfer(receiver: address, amount: uint256) -> bool:
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[receiver] += amount
    if self.target != empty(address):
        self.tried = True
        self.entered = raw_call(self.target, self.payload, revert_on_failure=False)
    return True
"""


@pytest.fixture(scope="module")
def hostile() -> Market:
    market = deploy_market(boa.loads(REENTRANT_CASH))
    market.trade(BTC, market.borrower, market.maker, LOTS, 100_000)
    market.stake(50_000 * USD)
    market.set_price(BTC, 70_000)
    market.auction.start(market.borrower, 0)
    return market


@pytest.mark.parametrize("name", ["end", "tick", "start", "bid", "preview_bid"])
def test_a_cash_token_that_calls_back_gets_nowhere(hostile: Market, name: str) -> None:
    with boa.env.anchor():
        token = hostile.cash
        intruder = hostile.accounts.open_account(BORROWER)
        hostile.deposit(intruder, 100_000 * USD)
        hostile.accounts.set_operator(intruder, token.address, 4, 2**64 - 1, sender=BORROWER)
        arguments: tuple[int, ...] = (hostile.borrower,)
        if name == "start":
            arguments = (hostile.borrower, intruder)
        if name == "bid":
            arguments = (hostile.borrower, intruder, WAD, NO_LIMIT, 0, ANY_NONCE)
        elif name == "preview_bid":
            arguments = (hostile.borrower, WAD)
        token.arm(hostile.auction.address, getattr(hostile.auction, name).prepare_calldata(*arguments))
        assert bid(hostile, WAD // 2) == (WAD // 2, -5_000 * WAD)
        assert token.tried()
        assert not token.entered()


def test_only_the_wired_auction_moves_money(insolvent: Market) -> None:
    insolvent.fund.set_auction(OUTSIDER, sender=GOVERNANCE)
    with boa.reverts("fund: not auction"):
        bid(insolvent)
    insolvent.fund.set_auction(insolvent.auction.address, sender=GOVERNANCE)
    insolvent.accounts.set_auction(OUTSIDER, sender=GOVERNANCE)
    with boa.reverts("accounts: not the auction"):
        bid(insolvent)
