# SPDX-License-Identifier: Apache-2.0
"""LiquidationAuction, solvent phase, on real accounts, engine, parameters, oracle and fund.

The borrower is long 1 BTC from 100,000 with 20,000 of cash. At 94,000 equity is 14,000 and maintenance margin 14,100.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from typing import Any, Final

import boa
import pytest

from tests.support.auction_market import (
    BIDDER,
    BORROWER,
    BTC,
    ETH,
    GOVERNANCE,
    LOTS,
    MAKER,
    OUTSIDER,
    USD,
    WAD,
    Market,
    deploy_market,
)

ANY_NONCE: Final = 2**256 - 1
NO_LIMIT: Final = 2**255 - 1
MINUTE: Final = 60
DAY: Final = 86_400
TRADE, WITHDRAW, MANAGE = 1, 2, 4
DEFAULTS: Final = (100, 2_000, 10_000, 900, 43_200, 3_600, 1_500, 1_000, 100 * WAD, 900, 600_000)


@pytest.fixture(scope="module")
def deployment() -> Market:
    market = deploy_market()
    market.trade(BTC, market.borrower, market.maker, LOTS, 100_000)
    return market


@pytest.fixture
def market(deployment: Market) -> Iterator[Market]:
    with boa.env.anchor():
        yield deployment


@pytest.fixture
def auctioned(market: Market) -> Market:
    # one record of time a day will do; what ticks do: test_auction_clock.py
    market.auction.set_settings((*DEFAULTS[:9], DAY, DEFAULTS[10]), sender=GOVERNANCE)
    market.set_price(BTC, 94_000)
    market.auction.start(market.borrower, 0)
    return market


def bid(
    market: Market,
    fraction: int = WAD,
    max_price: int = NO_LIMIT,
    min_health: int = 0,
    nonce: int = ANY_NONCE,
    sender: str = BIDDER,
    bidder: int | None = None,
) -> tuple[int, int]:
    number = market.bidder if bidder is None else bidder
    result = market.auction.bid(market.borrower, number, fraction, max_price, min_health, nonce, sender=sender)
    return tuple(result)


def events(market: Market, name: str) -> list[Any]:
    return [log for log in market.auction.get_logs() if type(log).__name__ == name]


# ------------------------------------------------------------------ start


def test_start_below_maintenance_margin(market: Market) -> None:
    market.set_price(BTC, 94_118)  # equity 14,118, MM 14,117.70
    with boa.reverts("auction: healthy"):
        market.auction.start(market.borrower, 0)
    market.set_price(BTC, 94_117)  # equity 14,117, MM 14,117.55
    market.auction.start(market.borrower, 0, sender=OUTSIDER)
    (event,) = events(market, "AuctionStarted")
    assert (event.account, event.auction, event.starter, event.phase) == (market.borrower, 1, OUTSIDER, 1)
    assert (event.equity_mark, event.equity_mm, event.mm) == (14_117 * WAD, 14_117 * WAD, 14_117_550 * WAD // 1_000)
    assert tuple(market.auction.auction_of(market.borrower)) == (1, boa.env.timestamp, 0, 0, 1)
    assert market.auction.active_count() == 1


def test_start_once(auctioned: Market) -> None:
    with boa.reverts("auction: running"):
        auctioned.auction.start(auctioned.borrower, 0)
    with boa.reverts("auction: running"):
        auctioned.auction.start_with(auctioned.borrower, 64 + 9, 0)


def test_an_account_with_nothing_is_healthy(market: Market) -> None:
    for account in (0, 99):
        with boa.reverts("auction: healthy"):
            market.auction.start(account, 0)


def test_start_with_one_scenario(market: Market) -> None:
    worst, mildest = 64 + 9 + 0, 64 + 9 + 8  # base volatility; price down and up by the whole scan range
    with boa.env.anchor():
        market.deposit(market.borrower, 100 * USD)
        market.set_price(BTC, 94_000)
        assert market.engine.assess_at(market.borrower, worst) == (14_100 * WAD, 14_100 * WAD)
        with boa.reverts("auction: healthy"):
            market.auction.start_with(market.borrower, worst, 0)
    market.set_price(BTC, 94_000)
    with boa.reverts("auction: healthy"):
        market.auction.start_with(market.borrower, mildest, 0)
    market.auction.start_with(market.borrower, worst, 0)
    (event,) = events(market, "AuctionStarted")
    assert (event.phase, event.equity_mm, event.mm) == (1, 14_000 * WAD, 14_100 * WAD)


# ------------------------------------------------------------------ what a bid does


def test_bid_in_numbers(auctioned: Market) -> None:
    """1.15 * 14,100 - 14,000 = 2,215 missing; 14,000 * 0.99 = 13,860 for the whole: f = 2,215 / 16,075."""
    fraction = ceil(Fraction(2_215, 16_075) * WAD)
    price = ceil(Fraction(13_860 * WAD * fraction, WAD))
    assert bid(auctioned) == (fraction, price)
    lots = LOTS * fraction // WAD
    assert auctioned.lots(auctioned.borrower, BTC) == LOTS - lots
    assert auctioned.lots(auctioned.bidder, BTC) == lots
    (made,) = events(auctioned, "BidMade")
    left_mm = (LOTS - lots) * 94_000 * 15 * WAD // (100 * LOTS)
    assert (made.account, made.auction, made.bidder_account) == (auctioned.borrower, 1, auctioned.bidder)
    assert (made.fraction_wad, made.price_wad, made.covered_wad, made.lost_wad) == (fraction, price, 0, 0)
    assert made.mm == left_mm
    # value is kept: what the borrower loses is the discount of the slice, up to one lot's value of 94,000e-6
    given_up = Fraction(14_000 * fraction) - price
    assert abs(14_000 * WAD - given_up - made.equity_mm) <= 94 * WAD // 1_000
    # the target is reached to a lot, so the auction is over
    assert abs(made.equity_mm - left_mm * 115 // 100) <= 94_000 * WAD // LOTS
    assert auctioned.auction.active_count() == 0
    assert tuple(auctioned.auction.auction_of(auctioned.borrower)) == (0, 0, 0, 0, 1)


@pytest.mark.parametrize("elapsed_s", [0, 7 * MINUTE + 13, 15 * MINUTE, 5 * 3_600, 12 * 3_600])
@pytest.mark.parametrize("wanted", [WAD, WAD // 10, 123_456_789_012_345_678])
def test_preview_is_what_a_bid_does(auctioned: Market, elapsed_s: int, wanted: int) -> None:
    boa.env.time_travel(seconds=elapsed_s)
    preview = auctioned.auction.preview_bid(auctioned.borrower, wanted)
    before = auctioned.accounts.cash_of(auctioned.bidder)
    assert preview.nonce == auctioned.accounts.nonce_of(auctioned.borrower)
    assert (preview.equity_mark, preview.mm) == (14_000 * WAD, 14_100 * WAD)
    taken = bid(auctioned, wanted, max_price=preview.price_wad, nonce=preview.nonce)
    assert taken == (preview.fraction_wad, preview.price_wad)
    # cash of the borrower (20,000) moves with the slice
    moved = 20_000 * WAD * preview.fraction_wad // WAD
    assert auctioned.accounts.cash_of(auctioned.bidder) == before + moved - preview.price_wad


def test_price_of_a_slice_rounds_up(auctioned: Market) -> None:
    boa.env.time_travel(seconds=433)
    discount = WAD // 100 + 19 * WAD * 433 // 90_000
    exact = Fraction(14_000 * (WAD - discount) * 123_456_789_012_345_678, WAD)
    assert exact.denominator > 1
    assert bid(auctioned, 123_456_789_012_345_678)[1] == ceil(exact)


def test_discount_lowers_the_price_and_raises_the_cap(auctioned: Market) -> None:
    seen = []
    for elapsed_s in (0, 5 * MINUTE, 15 * MINUTE, 3 * 3_600, 12 * 3_600):
        with boa.env.anchor():
            boa.env.time_travel(seconds=elapsed_s)
            preview = auctioned.auction.preview_bid(auctioned.borrower, WAD)
            seen.append((preview.discount_bps, preview.fraction_wad, -preview.price_wad * WAD // preview.fraction_wad))
    assert [discount for discount, _, _ in seen] == [100, 733, 2_000, 3_833, 9_833]
    assert seen == sorted(seen)


def test_partial_bids_go_on_until_cured(auctioned: Market) -> None:
    taken = [bid(auctioned, WAD // 20)[0] for _ in range(2)]
    assert taken == [WAD // 20] * 2
    assert auctioned.auction.active_count() == 1
    bid(auctioned)
    assert auctioned.auction.active_count() == 0
    health = auctioned.engine.assess(auctioned.borrower)
    assert health.mm * 110 // 100 <= health.equity_mm <= health.mm * 1151 // 1000
    assert sum(auctioned.lots(number, BTC) for number in (1, 2, 3)) == 0


def test_a_slice_too_small_is_refused(auctioned: Market) -> None:
    smallest = ceil(Fraction(100, 14_100) * WAD)  # carries MM of 100
    with boa.reverts("auction: bid too small"):
        bid(auctioned, smallest - 1)
    assert bid(auctioned, smallest)[0] == smallest


def test_the_least_slice_itself_is_enough(auctioned: Market) -> None:
    auctioned.auction.set_settings((*DEFAULTS[:8], 141 * WAD, *DEFAULTS[9:]), sender=GOVERNANCE)  # one hundredth of MM
    assert bid(auctioned, WAD // 100)[0] == WAD // 100


@pytest.mark.parametrize("fraction", [0, WAD + 1])
def test_fraction_range(auctioned: Market, fraction: int) -> None:
    with boa.reverts("auction: fraction"):
        bid(auctioned, fraction)


def test_a_small_account_is_taken_whole_and_empty_after(market: Market) -> None:
    small = market.accounts.open_account(OUTSIDER)
    market.deposit(small, 110 * USD)
    market.deposit_ether(small, OUTSIDER, 10**15)  # 4 USD
    market.trade(BTC, small, market.maker, 6_001, 100_000)  # 600.10 USD, MM 90.015
    market.set_price(BTC, 94_000)  # MM 84.61, below the least slice
    market.auction.start(small, 0)
    fraction, price = market.auction.bid(small, market.bidder, 1, NO_LIMIT, 0, ANY_NONCE, sender=BIDDER)
    equity = 110 * WAD + 4 * WAD - 6_001 * 6_000 * WAD // LOTS
    assert (fraction, price) == (WAD, ceil(Fraction(equity * 99, 100)))
    health = market.engine.assess(small)
    assert (health.equity_mark, health.mm) == (price, 0)
    assert market.lots(small, BTC) == 0
    assert market.accounts.collateral_of(small, 0) == 0
    assert market.accounts.collateral_of(market.bidder, 0) == 10**15
    assert market.auction.active_count() == 0


def test_collateral_moves_with_the_slice(market: Market) -> None:
    market.deposit_ether(market.borrower, BORROWER, 10**18)  # 4,000 USD, 3,680 for MM
    market.set_price(BTC, 88_000)
    before = market.engine.assess(market.borrower)
    assert (before.equity_mark, before.equity_mm) == (12_000 * WAD, 11_680 * WAD)
    market.auction.start(market.borrower, 0)
    fraction, price = bid(market)
    # the joint margin of BTC and linked ether without joint scenarios: the sum of the two scans
    mm = 13_200 + 600
    assert before.mm == mm * WAD
    missing = Fraction(mm * 115, 100) - 11_680
    assert fraction == ceil(missing / (missing + 11_880) * WAD)
    assert price == ceil(Fraction(11_880 * fraction))
    moved = 10**18 * fraction // WAD
    assert market.accounts.collateral_of(market.bidder, 0) == moved
    assert market.accounts.collateral_of(market.borrower, 0) == 10**18 - moved


# ------------------------------------------------------------------ what protects whom


def test_price_limit(auctioned: Market) -> None:
    price = auctioned.auction.preview_bid(auctioned.borrower, WAD).price_wad
    with boa.reverts("auction: price above limit"):
        bid(auctioned, max_price=price - 1)
    assert bid(auctioned, max_price=price)[1] == price


def test_nonce_and_dust_deposits(auctioned: Market) -> None:
    seen = auctioned.accounts.nonce_of(auctioned.borrower)
    auctioned.deposit(auctioned.borrower, 1)  # a millionth of a dollar from a stranger
    with boa.reverts("auction: nonce"):
        bid(auctioned, nonce=seen)
    with boa.env.anchor():
        bid(auctioned, nonce=seen + 1)
    bid(auctioned, nonce=ANY_NONCE)


def test_bidder_is_authorised(auctioned: Market) -> None:
    for sender in (OUTSIDER, MAKER, BORROWER):
        with boa.reverts("auction: not authorised"):
            bid(auctioned, sender=sender)
    auctioned.accounts.set_operator(auctioned.bidder, OUTSIDER, TRADE | WITHDRAW, 2**64 - 1, sender=BIDDER)
    with boa.reverts("auction: not authorised"):
        bid(auctioned, sender=OUTSIDER)
    auctioned.accounts.set_operator(auctioned.bidder, OUTSIDER, MANAGE, 2**64 - 1, sender=BIDDER)
    bid(auctioned, sender=OUTSIDER)


def test_no_bid_from_the_account_itself(auctioned: Market) -> None:
    with boa.reverts("auction: own account"):
        bid(auctioned, bidder=auctioned.borrower, sender=BORROWER)


def test_the_owner_may_bid_from_another_account_with_margin(auctioned: Market) -> None:
    other = auctioned.accounts.open_account(BORROWER)
    with boa.reverts("auction: bidder health"):  # a negative wish counts as zero
        bid(auctioned, bidder=other, min_health=-(10**30), sender=BORROWER)
    auctioned.deposit(other, 5_000 * USD)
    bid(auctioned, bidder=other, sender=BORROWER)


def test_bidder_keeps_the_health_it_asks_for(auctioned: Market) -> None:
    with boa.env.anchor():
        bid(auctioned)
        after = auctioned.engine.assess(auctioned.bidder)
    health = after.equity_im - after.im
    with boa.reverts("auction: bidder health"):
        bid(auctioned, min_health=health + 1)
    bid(auctioned, min_health=health)


def test_no_bid_without_auction(market: Market) -> None:
    market.set_price(BTC, 94_000)
    with boa.reverts("auction: none"):
        bid(market)
    with boa.reverts("auction: none"):
        market.auction.preview_bid(market.borrower, WAD)


# ------------------------------------------------------------------ cure


def test_a_cure_ends_the_auction_above_the_end_buffer(auctioned: Market) -> None:
    auctioned.deposit(auctioned.borrower, 1_509 * USD)  # 15,509 of 15,510 = 1.1 * 14,100
    with boa.reverts("auction: unhealthy"):
        auctioned.auction.end(auctioned.borrower)
    preview = auctioned.auction.preview_bid(auctioned.borrower, WAD)
    assert preview.fraction_wad < WAD // 20  # what is missing to 16,215 only
    auctioned.deposit(auctioned.borrower, 1 * USD)
    with boa.reverts("auction: healthy"):  # cured is cured, also before anybody has called end()
        bid(auctioned)
    auctioned.auction.end(auctioned.borrower, sender=OUTSIDER)
    (event,) = events(auctioned, "AuctionEnded")
    assert (event.account, event.auction) == (auctioned.borrower, 1)
    assert (event.equity_mm, event.mm) == (15_510 * WAD, 14_100 * WAD)
    assert auctioned.auction.active_count() == 0
    with boa.reverts("auction: none"):
        auctioned.auction.end(auctioned.borrower)


def test_the_clock_cannot_be_reset_for_nothing(auctioned: Market) -> None:
    boa.env.time_travel(seconds=10 * MINUTE)
    auctioned.deposit(auctioned.borrower, 100 * USD + 1)  # just above MM
    with boa.reverts("auction: unhealthy"):
        auctioned.auction.end(auctioned.borrower)
    auctioned.auction.tick(auctioned.borrower)
    auctioned.set_price(BTC, 93_900)
    with boa.reverts("auction: running"):
        auctioned.auction.start(auctioned.borrower, 0)
    assert auctioned.auction.auction_of(auctioned.borrower).solvent_s == 10 * MINUTE
    assert auctioned.auction.preview_bid(auctioned.borrower, WAD).discount_bps == 1_366


def test_epochs_count_the_auctions(auctioned: Market) -> None:
    bid(auctioned)
    auctioned.set_price(BTC, 80_000)
    auctioned.auction.start(auctioned.borrower, 0)
    assert auctioned.auction.auction_of(auctioned.borrower).epoch == 2


# ------------------------------------------------------------------ dead price


def test_a_dead_price_proves_nothing(auctioned: Market) -> None:
    oracle = boa.load_partial("contracts/PriceOracle.vy").at(auctioned.engine.ORACLE())
    oracle.record(0, BTC)
    boa.env.time_travel(seconds=DAY + 1)  # beyond the feeds' heartbeat
    with boa.reverts("auction: unhealthy"):
        auctioned.auction.end(auctioned.borrower)
    health = auctioned.engine.assess(auctioned.borrower)
    assert health.doubt != 0
    bid(auctioned)  # never blocked


def test_an_account_that_only_dead_prices_call_short_is_left_alone(market: Market) -> None:
    market.set_price(BTC, 94_000)
    oracle = boa.load_partial("contracts/PriceOracle.vy").at(market.engine.ORACLE())
    oracle.record(0, BTC)
    boa.env.time_travel(seconds=DAY + 1)
    with boa.reverts("auction: data too old"):
        market.auction.start(market.borrower, 0)
    with boa.reverts("engine: doubt"):
        market.auction.start_with(market.borrower, 64 + 9, 0)


def test_somebody_elses_dead_price_is_no_obstacle(auctioned: Market) -> None:
    boa.env.time_travel(seconds=DAY + 1)
    auctioned.set_price(BTC, 94_000)  # ether stays dead; neither the borrower nor the bidder has any
    bid(auctioned)


def test_a_bidder_with_a_dead_price_holds_more_margin_but_may_bid(auctioned: Market) -> None:
    auctioned.trade(ETH, auctioned.bidder, auctioned.maker, LOTS, 4_000)
    boa.env.time_travel(seconds=DAY + 1)
    auctioned.set_price(BTC, 94_000)
    bid(auctioned)
