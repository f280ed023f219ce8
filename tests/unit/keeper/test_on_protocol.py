# SPDX-License-Identifier: Apache-2.0
"""The keeper reads, judges and acts on the whole protocol, real contracts only; the contracts are the judge."""

from __future__ import annotations

from typing import Any

import pytest

from keeper.actions import ExecuteProposal, RecordPrice, RetireInstrument, SettleExpiry, SettleMany, SyncPeg
from keeper.assess import assess_all, check_parity
from keeper.decide import Policy
from keeper.domain import AuctionState, Phase, Snapshot, Unknown
from keeper.errors import Reverted
from keeper.index.proposals import QueuedProposal
from keeper.liquidate.actions import Bid, EndAuction, StartAuction, TickAuction
from keeper.liquidate.clock import advanced
from keeper.liquidate.inventory import merge
from keeper.liquidate.sizing import BidPolicy
from keeper.publish.parameters import PushPolicy
from risk.onchain import Assessment
from risk.onchain_words import AccountState, parse_words
from tests.support.city import LENDER, City
from tests.support.protocol import BTC, DAY, ETH, FUTURE, HOUR, PERP, SOL, USD, WAD, ZERO
from tests.support.revm import deploy

START_ONLY = Policy(liquidate=True, settle=False)
BOOKKEEPER = Policy(record_interval_s=10**9)
TICK_S, SOLVENT_S = 900, 900 + DAY // 2


@pytest.fixture
def city() -> City:
    return City()


def read(snapshot: Snapshot, account: int) -> AccountState:
    words = snapshot.accounts[account]
    assert not isinstance(words, Unknown)
    return parse_words(words)


def auction(snapshot: Snapshot, account: int) -> AuctionState:
    found = snapshot.auctions[account]
    assert not isinstance(found, Unknown)
    return found


def judged(snapshot: Snapshot, account: int) -> Assessment:
    found = assess_all(snapshot)[account]
    assert not isinstance(found, Unknown)
    return found


# ------------------------------------------------------------------ parity


def test_the_twin_equals_the_engine_while_data_grow_old(city: City) -> None:
    city.mixed_books()
    p, hand = city.protocol, city.hand(START_ONLY)
    p.registry.call("set_funding_rate", ETH, 10**11, caller=p.keeper)
    doubts = []
    for wait_s in (0, 60, HOUR, 5 * HOUR, 10 * HOUR, 7 * HOUR, HOUR, 3 * DAY):
        p.wait(wait_s)
        if wait_s == HOUR:
            p.set_price(BTC, 66_000)  # one price is fresh again, and further from its page
        snapshot = hand.chain.snapshot()
        found = assess_all(snapshot)
        parity = check_parity(hand.chain, snapshot, found, tuple(found))
        assert parity.checked == tuple(found) and not parity.unread
        assert parity.mismatches == ()
        doubts.append(judged(snapshot, city.debtor).doubt)
    assert doubts[0] == 0 < doubts[-1]


def test_the_twin_equals_the_engine_while_parameters_come_into_force(city: City) -> None:
    city.mixed_books()
    p, hand = city.protocol, city.hand(START_ONLY)
    p.wait(2 * HOUR)
    p.refresh()
    word = int(p.parameters.call("word", 1, ETH))
    tighter = word + 400  # scan range
    p.parameters.call("push", 1, p.now, p.now, b"m" * 32, b"d" * 32, [(1, ETH, tighter)], caller=p.keeper)
    ranges = []
    for wait_s in (0, HOUR, 6 * HOUR):
        p.wait(wait_s)
        snapshot = hand.chain.snapshot()
        found = assess_all(snapshot)
        parity = check_parity(hand.chain, snapshot, found, tuple(found))
        assert parity.checked == tuple(found) and parity.mismatches == ()
        assert not isinstance(snapshot.market, Unknown) and not isinstance(snapshot.parameter_words, Unknown)
        # what is stored is where the ramp leads
        assert snapshot.parameter_words[1, ETH] == tighter
        ranges.append(snapshot.market.underlying_words[ETH] & 0xFFFF)
    assert ranges[0] == word & 0xFFFF < ranges[1] < ranges[2] == tighter & 0xFFFF


# ------------------------------------------------------------------ auctions


def test_a_start_pays_the_keepers_account(city: City) -> None:
    p = city.protocol
    parts = (p.accounts, p.engine, p.fund, p.parameters, p.oracle)
    # no price of gas: the whole reserve is paid
    p.auction = deploy(p.evm, "contracts/LiquidationAuction.vy", p.governance, *(part.address for part in parts), 255)
    p.govern(p.accounts, "set_auction", p.auction.address)
    p.govern(p.fund, "set_auction", p.auction.address)
    city.short_of_margin()
    hand = city.hand(Policy(liquidate=True, settle=False, reward_account=city.own))
    before = read(hand.chain.snapshot(), city.own).cash
    assert hand.turn() == [StartAuction(city.debtor, 0, 64, city.own)]
    after = hand.chain.snapshot()
    assert read(after, city.own).cash - before == 10 * WAD
    assert auction(after, city.debtor).phase == Phase.SOLVENT
    assert hand.turn() == []


def test_nothing_is_started_on_old_data_that_leave_a_doubt(city: City) -> None:
    city.short_of_margin()
    city.protocol.oracle.call("record", 0, ETH)
    city.protocol.wait(2 * DAY)
    hand = city.hand(START_ONLY)
    decision = hand.decide()
    assert decision.actions == ()
    assert [note.name for note in decision.notes] == ["in_doubt"]
    with pytest.raises(Reverted, match="auction: data too old"):
        hand.act(StartAuction(city.debtor, 0))
    city.protocol.refresh()
    assert hand.turn() == [StartAuction(city.debtor, 0, 64)]


def test_the_clock_is_watched_where_nobody_bids(city: City) -> None:
    """Every second until the phase turns is counted, by few transactions."""
    city.short_of_margin()
    p, hand = city.protocol, city.hand(START_ONLY)
    hand.turn()
    began, ticks = p.now, 0
    while auction(hand.chain.snapshot(), city.debtor).phase == Phase.SOLVENT:
        p.wait(60)
        p.refresh()
        before, situation = hand.look()
        actions = hand.turn()
        assert set(map(type, actions)) <= {TickAuction}
        ticks += len(actions)
        if actions:
            assert not isinstance(situation.auction, Unknown)
            expected = advanced(
                auction(before, city.debtor), judged(before, city.debtor), situation.auction, p.now, True
            )
            assert auction(hand.chain.snapshot(), city.debtor) == expected
        assert p.now - began <= SOLVENT_S + 60
    assert p.now - began >= SOLVENT_S
    assert ticks == SOLVENT_S // 720 + 1  # 80 % of tick_s apart


def test_equity_that_is_gone_is_recorded_at_once(city: City) -> None:
    city.short_of_margin()
    p, hand = city.protocol, city.hand(START_ONLY)
    hand.turn()
    p.set_price(ETH, 1_450)
    p.wait(12)
    (tick,) = hand.turn()
    assert tick == TickAuction(city.debtor, p.now - 12)
    assert auction(hand.chain.snapshot(), city.debtor).phase == Phase.INSOLVENT
    assert int(p.auction.call("shortfall_wad")) == -p.assess(city.debtor)["equity_mark"] > 0
    assert hand.turn() == []
    assert [note.name for note in hand.decide().notes] == ["withdrawals_limited"]  # the fund is empty
    p.stake(10**6 * USD, LENDER)
    assert hand.decide().notes == ()
    p.set_price(ETH, 1_975)  # equity is back, and with it the clock of the sale
    p.wait(12)
    assert hand.turn() == [TickAuction(city.debtor, p.now - 12)]
    assert auction(hand.chain.snapshot(), city.debtor).phase == Phase.SOLVENT


def test_an_account_that_nobody_takes_costs_no_gas_for_ever(city: City) -> None:
    city.short_of_margin()
    p, hand = city.protocol, city.hand(START_ONLY)
    hand.turn()
    p.set_price(ETH, 1_450)
    done = []
    for _ in range(100):
        p.wait(720)
        p.refresh()
        done += hand.turn()
    # the turn of the phase, then the hour in which the payout rises
    assert done == [TickAuction(city.debtor, action.seen_at) for action in done]
    assert len(done) == 1 + 3_600 // 720
    p.set_price(ETH, 1_400)
    assert [type(a) for a in hand.turn()] == [TickAuction]  # more is lacking
    assert hand.turn() == []


def test_time_in_doubt_is_not_counted(city: City) -> None:
    city.short_of_margin()
    p, hand = city.protocol, city.hand(START_ONLY)
    hand.turn()
    p.wait(2 * DAY)
    before, situation = hand.look()
    assert judged(before, city.debtor).doubt > 0
    assert hand.turn() == [TickAuction(city.debtor, p.now - 2 * DAY)]
    after = auction(hand.chain.snapshot(), city.debtor)
    assert after.solvent_s == 0 and after.seen_at == p.now
    assert not isinstance(situation.auction, Unknown)
    assert after == advanced(auction(before, city.debtor), judged(before, city.debtor), situation.auction, p.now, True)


def test_a_cured_account_is_released(city: City) -> None:
    city.short_of_margin()
    p, hand = city.protocol, city.hand(START_ONLY)
    hand.turn()
    p.set_price(ETH, 2_300)
    p.wait(800)
    assert hand.turn() == [EndAuction(city.debtor, 1)]
    assert auction(hand.chain.snapshot(), city.debtor).phase == Phase.NONE


def test_a_bid_brings_exactly_what_was_foreseen(city: City) -> None:
    city.mixed_books()
    city.trade(ETH << 8 | PERP, city.debtor, city.rich, 10)
    city.fall(50)
    p = city.protocol
    terms = BidPolicy(bidder_account=city.own, min_profit_wad=WAD, warehouse_bps=0)
    hand = city.hand(Policy(liquidate=True, bids=terms, settle=False, reward_account=city.own))
    assert [type(action) for action in hand.turn()] == [StartAuction]
    p.wait(600)
    before = hand.chain.snapshot()
    (bid,) = hand.decide().actions
    assert isinstance(bid, Bid)
    price_wad = int(p.auction.call("preview_bid", city.debtor, bid.fraction_wad, static=True)[2])
    hand.act(bid)
    after = hand.chain.snapshot()
    got, foreseen = (
        read(after, city.own),
        merge(read(before, city.own), read(before, city.debtor), bid.fraction_wad, price_wad),
    )
    assert (got.cash, dict(got.delta_ones)) == (foreseen.cash, dict(foreseen.delta_ones))
    assert {u: set(held) for u, held in got.options.items()} == {u: set(held) for u, held in foreseen.options.items()}
    assert [(c.asset, c.amount) for c in got.collaterals] == [(c.asset, c.amount) for c in foreseen.collaterals]


def test_no_bid_on_what_is_in_doubt(city: City) -> None:
    city.short_of_margin()
    terms = BidPolicy(bidder_account=city.own, min_profit_wad=WAD, warehouse_bps=0)
    hand = city.hand(Policy(liquidate=True, bids=terms, settle=False))
    hand.turn()
    city.protocol.wait(2 * DAY)
    assert not any(isinstance(action, Bid) for action in hand.decide().actions)


# ------------------------------------------------------------------ expiry


def test_an_expiry_is_settled_paid_out_and_its_slots_are_freed(city: City) -> None:
    city.mixed_books()
    p, hand = city.protocol, city.hand(BOOKKEEPER)
    hand.turn()  # the first records of prices
    expiry = next(iter(p.options.values()))[0]
    p.wait(expiry - p.now - 5)
    p.refresh()
    p.wait(10)
    waiting = hand.decide()
    assert {type(a) for a in waiting.actions} == {RecordPrice}
    assert {note.name for note in waiting.notes} == {"expiry_unsettled"}
    p.wait(30)
    p.refresh()
    first = hand.turn()
    assert [type(a) for a in first if not isinstance(a, RecordPrice)] == [SettleExpiry, SettleExpiry]
    second = [a for a in hand.turn() if not isinstance(a, RecordPrice)]
    assert [(a.underlying, a.accounts) for a in second if isinstance(a, SettleMany)] == [
        (u, (city.rich, city.debtor, city.own)) for u in (BTC, ETH)
    ]
    third: list[Any] = []
    while found := [a for a in hand.turn() if not isinstance(a, RecordPrice)]:
        third += found
    assert {type(a) for a in third} == {RetireInstrument}
    assert sorted(a.instrument for a in third) == sorted([*p.options, BTC << 8 | FUTURE, ETH << 8 | FUTURE])
    left = hand.chain.snapshot()
    assert left.options == {}
    assert not isinstance(left.delta_ones, Unknown)
    assert sorted(left.delta_ones) == [BTC << 8 | PERP, ETH << 8 | PERP, SOL << 8 | PERP]
    assert read(left, city.debtor).delta_ones.keys() == {ETH << 8 | PERP}


def test_a_slot_is_not_freed_while_one_side_waits_for_its_settlement(city: City) -> None:
    """The longs may be paid out one by one; the short must still be there to pay."""
    p, hand = city.protocol, city.hand(BOOKKEEPER)
    instrument = min(p.options)
    city.trade(instrument, city.rich, city.debtor, 1)
    expiry = p.options[instrument][0]
    p.wait(expiry - p.now - 5)
    p.refresh()
    p.wait(40)
    p.refresh()
    hand.turn()
    p.accounts.call("settle_many", [city.rich], instrument >> 8)
    actions = hand.decide().actions
    assert not any(isinstance(a, RetireInstrument) and a.instrument == instrument for a in actions)
    assert [a.accounts for a in actions if isinstance(a, SettleMany)] == [(city.debtor,)]


# ------------------------------------------------------------------ peg and proposals


def test_the_peg_is_synced_when_the_price_of_cash_says_so(city: City) -> None:
    p, hand = city.protocol, city.hand(BOOKKEEPER)
    feed = deploy(p.evm, "contracts/testing/MockAggregator.vy", 8, 10**8)
    p.govern(p.oracle, "set_cash_feed", (feed.address, DAY, 2 * DAY, ZERO, 0, ZERO, 0, 0, 0))
    hand.recorded = dict.fromkeys([(kind, number) for kind in (0, 1) for number in range(3)], p.now)
    for answer, due_bps in ((97_999_999, 1), (95_000_000, 600), (98_000_000, 0)):
        p.wait(60)
        feed.call("set_answer", answer, p.now)
        assert hand.turn() == [SyncPeg(due_bps, p.now)]
        assert int(p.parameters.call("peg_bps")) == due_bps
        assert hand.turn() == []
    feed.call("set_answer", 90_000_000, p.now)
    p.wait(3 * DAY)  # dead: nothing to take in
    assert not any(isinstance(a, SyncPeg) for a in hand.decide().actions)


def test_an_announced_change_is_executed_in_its_time(city: City) -> None:
    p = city.protocol
    hand = city.hand(Policy(push=PushPolicy(100, DAY, 0, 0), settle=False))
    word = int(p.parameters.call("word", 1, ETH))
    changes = ((1, ETH, word - 100),)
    with pytest.raises(Exception, match="params: loosens"):
        p.parameters.call("push", 1, p.now, p.now, b"m" * 32, b"d" * 32, changes, caller=p.keeper)
    number = int(p.parameters.call("propose", 1, p.now, p.now, b"m" * 32, b"d" * 32, changes, caller=p.keeper))
    eta = p.now + DAY // 2
    hand.queued = (QueuedProposal(number, eta, changes),)
    p.wait(DAY // 2 - 1)
    assert hand.turn() == []
    p.wait(1)
    assert hand.turn() == [ExecuteProposal(number, changes)]
    assert int(p.parameters.call("word", 1, ETH)) == word - 100
    assert hand.turn() == []  # no longer open


# ------------------------------------------------------------------ cost of looking


def test_a_quiet_turn_asks_for_nothing_but_the_snapshot(city: City) -> None:
    hand = city.hand(Policy(liquidate=True, bids=BidPolicy(city.own, 0, 0)))
    hand.rpc.requests = 0
    hand.chain.snapshot()
    alone = hand.rpc.requests
    hand.rpc.requests = 0
    hand.look()
    assert hand.rpc.requests == alone
