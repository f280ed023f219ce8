# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keeper.actions import (
    ExecuteProposal,
    PushParameters,
    RecordPrice,
    RetireInstrument,
    SettleExpiry,
    SettleMany,
    SyncPeg,
)
from keeper.assess import assess_all
from keeper.decide import LIQUIDATION, NOT_READ, PARAMETERS, Policy, Situation, decide
from keeper.domain import AuctionState, Listing, Peg, Phase, Price, Snapshot, Unknown
from keeper.liquidate.actions import EndAuction, StartAuction, TickAuction
from keeper.liquidate.sizing import BidPolicy
from keeper.publish.parameters import PushPolicy
from keeper.publish.queue import ParameterQueue, Proposal
from keeper.publish.triggers import PagePolicy
from risk.onchain_words import AccountState, DeltaOnePosition, OptionPosition, PriceWord, build_words
from tests.support.keeper_world import (
    ETH_LANES,
    FUTURE,
    NOW,
    PRICE,
    SETTINGS,
    WAD,
    account,
    auction,
    listed_option,
    market,
    snapshot,
    target,
)

LIQUIDATE = Policy(liquidate=True, settle=False)
SOLVENT = auction(Phase.SOLVENT)
IDLE = AuctionState(Phase.NONE, 0, 0, 0, 4)


def situation(view: Snapshot, **extra: Any) -> Situation:
    defaults: dict[str, Any] = {"auction": SETTINGS, "live": True, "mega_gas_wad": 2 * WAD}
    defaults["vol_steps_bps"] = (5_000, 3_500)
    defaults["queue"] = ParameterQueue(3_600, 43_200, 0, {}, ())
    return Situation(view, assess_all(view), **{**defaults, **extra})


def kinds(view: Snapshot, policy: Policy = LIQUIDATE, **extra: Any) -> list[tuple[str, str]]:
    return [(a.kind, a.subject) for a in decide(situation(view, **extra), policy).actions]


def test_an_account_below_maintenance_is_put_up_with_the_cheapest_proof() -> None:
    view = snapshot({1: account(9_000, 1), 2: account(100, 1)}, {1: IDLE, 2: IDLE})
    (start,) = decide(situation(view), LIQUIDATE).actions
    # one underlying: scan point 64 + 9*v + n; the worst of a long is the lowest price, n = 0; v = 0 comes first
    assert start == StartAuction(2, 4, 64)


def test_the_worst_account_starts_first_and_a_cycle_is_bounded() -> None:
    book = {n: account(300 - n, 1) for n in range(1, 9)}
    found = kinds(snapshot(book), replace(LIQUIDATE, starts_per_cycle=3))
    assert found == [("start_auction", "8"), ("start_auction", "7"), ("start_auction", "6")]


def test_an_account_in_auction_or_of_unknown_auction_is_not_started() -> None:
    view = snapshot({1: account(100, 1), 2: account(100, 1)}, {1: SOLVENT, 2: Unknown("lost", 1)})  # type: ignore[dict-item]
    assert kinds(view) == []


def test_a_healthy_account_and_an_unknown_one_are_left_alone() -> None:
    assert kinds(snapshot({1: account(321, 1), 2: Unknown("lost", 1)})) == []


def test_the_reward_goes_to_the_keepers_account() -> None:
    view = snapshot({2: account(100, 1)})
    assert decide(situation(view), replace(LIQUIDATE, reward_account=7)).actions == (StartAuction(2, 0, 64, 7),)


def test_what_is_in_doubt_is_named_and_left_alone() -> None:
    dead = market(prices={0: PriceWord(PRICE, 2, NOW - 86_400, 10_000)})
    decision = decide(situation(snapshot({2: account(100, 1), 3: account(900, 1)}, market=dead)), LIQUIDATE)
    assert decision.actions == ()
    assert [(n.name, n.alarm) for n in decision.notes] == [("in_doubt", False)]
    assert "accounts 2 are below maintenance margin" in decision.notes[0].text


def test_equity_gone_is_recorded() -> None:
    # bought at 2,500, now 2,000: 500 lost of 400
    view = snapshot({1: account(400, 1, entry_usd=2_500)}, {1: SOLVENT})
    assert decide(situation(view), LIQUIDATE).actions == (TickAuction(1, NOW - 600),)


def test_the_end_of_the_clock_is_recorded_and_not_one_second_before() -> None:
    # 3,600 s in all; 600 have passed since 3,000 or 2,999 were counted
    at_end, before = auction(Phase.SOLVENT, 600, 3_000), auction(Phase.SOLVENT, 600, 2_999)
    assert kinds(snapshot({1: account(100, 1)}, {1: at_end})) == [("tick_auction", "1")]
    assert kinds(snapshot({1: account(100, 1)}, {1: before})) == []


def test_only_watched_time_counts() -> None:
    """A day has passed since the last record; one tick of 900 s is all that a record would count."""
    late = auction(Phase.SOLVENT, 86_400, 2_699)
    assert kinds(snapshot({1: account(100, 1)}, {1: late})) == [("tick_auction", "1")]  # lest more be lost
    quick = replace(SETTINGS, tick_s=10**6)
    assert kinds(snapshot({1: account(100, 1)}, {1: auction(Phase.SOLVENT, 900, 2_699)}), auction=quick) == []
    assert kinds(snapshot({1: account(100, 1)}, {1: auction(Phase.SOLVENT, 901, 2_699)}), auction=quick) == [
        ("tick_auction", "1")
    ]


@pytest.mark.parametrize(("age_s", "due"), [(719, False), (720, True), (5_000, True)])
def test_a_clock_nobody_bids_for_is_recorded_in_time(age_s: int, due: bool) -> None:
    """80 % of 900 s."""
    expected = [("tick_auction", "1")] if due else []
    assert kinds(snapshot({1: account(100, 1)}, {1: auction(Phase.SOLVENT, age_s)})) == expected
    gone = account(400, 1, entry_usd=2_500)
    assert kinds(snapshot({1: gone}, {1: auction(Phase.INSOLVENT, age_s)})) == expected


def test_a_clock_is_kept_for_an_account_that_cannot_be_assessed() -> None:
    lost = Unknown("lost", 1)
    assert kinds(snapshot({1: lost}, {1: auction(Phase.SOLVENT, 720)})) == [("tick_auction", "1")]
    assert kinds(snapshot({1: lost}, {1: auction(Phase.SOLVENT, 719)})) == []


def test_a_clock_that_has_run_out_is_recorded_only_while_the_shortfall_is_off() -> None:
    # bought at 2,500, now 2,000: 100 USD lacking
    gone, full = account(400, 1, entry_usd=2_500), auction(Phase.INSOLVENT, 9_999, 3_600)
    view = snapshot({1: gone}, {1: full})
    for known_usd, due in ((100, False), (99, False), (98, True), (0, True), (102, True)):
        expected = [("tick_auction", "1")] if due else []
        assert kinds(view, shortfall_wad=known_usd * WAD) == expected, known_usd
    assert kinds(view, shortfall_wad=Unknown("lost", 1)) == [("tick_auction", "1")]
    running = replace(full, insolvent_s=3_599)
    assert kinds(snapshot({1: gone}, {1: running}), shortfall_wad=100 * WAD) == [("tick_auction", "1")]


def test_losses_beyond_the_fund_wake_somebody() -> None:
    for limited, names in ((True, ["withdrawals_limited"]), (False, []), (Unknown("lost", 1), [])):
        notes = decide(situation(snapshot(), limited=limited), LIQUIDATE).notes
        assert [note.name for note in notes if note.alarm] == names


def test_equity_that_is_back_is_recorded() -> None:
    view = snapshot({1: account(100, 1)}, {1: auction(Phase.INSOLVENT, 60)})
    assert kinds(view) == [("tick_auction", "1")]
    run_down = replace(auction(Phase.INSOLVENT, 60), solvent_s=3_600)
    assert kinds(snapshot({1: account(100, 1)}, {1: run_down})) == []


@pytest.mark.parametrize("live", [True, False])
def test_while_the_sequencer_is_down_no_clock_turns(live: bool) -> None:
    view = snapshot({1: account(100, 1)}, {1: auction(Phase.SOLVENT, 600, 3_000)})
    assert kinds(view, live=live) == ([("tick_auction", "1")] if live else [])


def test_an_insolvent_auction_just_recorded_is_left_alone() -> None:
    view = snapshot({1: account(400, 1, entry_usd=2_500)}, {1: auction(Phase.INSOLVENT, 60, 9_999)})
    assert kinds(view) == []


def test_an_auction_ends_at_the_contracts_buffer() -> None:
    # MM 320, buffer 10 %: 352 ends, 351 does not
    assert decide(situation(snapshot({1: account(352, 1)}, {1: SOLVENT})), LIQUIDATE).actions == (EndAuction(1, 1),)
    assert kinds(snapshot({1: account(351, 1)}, {1: SOLVENT})) == []


def test_nothing_about_auctions_is_decided_on_unread_settings() -> None:
    lost = Unknown("lost", 1)
    view = snapshot({1: account(352, 1), 2: account(400, 1, entry_usd=2_500)}, {1: SOLVENT, 2: SOLVENT})
    assert kinds(view, auction=lost) == []
    assert kinds(view, live=lost) == [("end_auction", "1")]


def test_a_halted_part_does_nothing_and_the_others_go_on() -> None:
    view = snapshot({2: account(100, 1)})
    policy = Policy(liquidate=True, settle=True, halted=frozenset({LIQUIDATION}))
    assert {kind for kind, _ in kinds(view, policy)} == {"record_price"}


def test_observers_decide_nothing() -> None:
    assert kinds(snapshot({2: account(100, 1)}), Policy(settle=False)) == []


def holding(nonce: int, *slots: int, future: bool = False) -> tuple[int, ...]:
    options = {0: tuple(OptionPosition(slot, 5) for slot in slots)} if slots else {}
    delta_ones = {FUTURE: DeltaOnePosition(1, 0)} if future else {}
    return build_words(AccountState(cash=WAD, nonce=nonce, options=options, delta_ones=delta_ones))


SETTLED = listed_option(0, -0.001, 2_000, True, 2_100)
SETTLED_FUTURE = Listing(instrument=FUTURE, expiry=NOW - 10, settlement_wad=PRICE, serial=5, listed_at=NOW - 100)
TO_CASH = Policy(settle=True, record_interval_s=10**10)


def test_settled_positions_are_turned_into_cash_together() -> None:
    view = snapshot(
        {3: holding(7, 0), 4: holding(1, 1), 5: holding(9, 0, 1), 6: holding(2, future=True)},
        options={0: SETTLED, 1: listed_option(1, 30, 1_800, False)},
        delta_ones={FUTURE: SETTLED_FUTURE},
    )
    assert decide(situation(view), TO_CASH).actions == (SettleMany(0, ((3, 7), (5, 9), (6, 2))),)
    unsettled = replace(view, options={0: replace(SETTLED, settlement_wad=0)}, delta_ones={})
    assert decide(situation(unsettled), TO_CASH).actions == ()


def test_settlements_are_cut_to_what_fits_a_block() -> None:
    book = {n: holding(1, 0) for n in range(1, 34)}
    actions = decide(situation(snapshot(book, options={0: SETTLED})), TO_CASH).actions
    assert [len(a.holders) for a in actions if isinstance(a, SettleMany)] == [32, 1]
    many = {k: replace(SETTLED, instrument=k) for k in range(60)}
    full = {n: holding(1, *range(60)) for n in (1, 2)}
    actions = decide(situation(snapshot(full, options=many)), TO_CASH).actions
    assert [a.accounts for a in actions if isinstance(a, SettleMany)] == [(1,), (2,)]


def test_a_slot_is_freed_when_nobody_holds_it() -> None:
    both = {0: SETTLED, 1: replace(SETTLED, instrument=1, serial=8)}
    view = snapshot({3: holding(7, 0), 4: account(10)}, options=both, delta_ones={FUTURE: SETTLED_FUTURE})
    free = [a for a in decide(situation(view), TO_CASH).actions if isinstance(a, RetireInstrument)]
    assert free == [RetireInstrument(1, 8), RetireInstrument(FUTURE, 5)]
    unread = replace(view, accounts={**view.accounts, 9: Unknown("lost", 1)})
    assert not any(isinstance(a, RetireInstrument) for a in decide(situation(unread), TO_CASH).actions)
    bounded = replace(TO_CASH, retires_per_cycle=1)
    assert [a for a in decide(situation(view), bounded).actions if isinstance(a, RetireInstrument)] == free[:1]
    alive = replace(view, options={1: listed_option(1, 30, 1_800, False)}, delta_ones={})
    assert decide(situation(alive), TO_CASH).actions == ()


def test_words_that_cannot_be_parsed_free_and_settle_nothing() -> None:
    view = snapshot({3: (1 << 128, 0)}, options={0: SETTLED})
    assert decide(situation(view), TO_CASH).actions == ()


def test_the_peg_is_synced_only_when_it_is_off() -> None:
    off = Peg(97 * 10**16, 0, NOW - 60, 0)
    assert decide(situation(snapshot(peg=off)), TO_CASH).actions == (SyncPeg(200, NOW - 60),)
    for peg in (replace(off, stored_bps=200), replace(off, state=2), Unknown("lost", 1)):
        assert decide(situation(snapshot(peg=peg)), TO_CASH).actions == ()


def test_a_proposal_is_executed_where_parameters_are_the_keepers_business() -> None:
    item = ExecuteProposal(4, ((1, 0, 5),))
    policy = Policy(push=PushPolicy(100, 86_400, 0, 0), settle=False)
    assert decide(situation(snapshot(), proposals=(item,)), policy).actions == (item,)
    assert decide(situation(snapshot(), proposals=(item,)), Policy(settle=False)).actions == ()
    stale = Proposal(4, item.changes, NOW - 1, NOW + 1, stale=True)
    queue = ParameterQueue(3_600, 43_200, 0, {}, (stale,))
    assert decide(situation(snapshot(), proposals=(item,), queue=queue), policy).actions == ()
    halted = replace(policy, halted=frozenset({PARAMETERS}))
    assert decide(situation(snapshot(), proposals=(item,)), halted).actions == ()


def test_only_a_fresh_price_is_recorded() -> None:
    prices = {(0, 0): Price(PRICE, 1, NOW - 4_000, 300), (1, 0): Price(PRICE, 0, NOW - 60, 0)}
    actions = decide(situation(snapshot(prices=prices)), Policy(settle=True)).actions
    assert actions == (RecordPrice(1, 0, NOW - 60),)


def test_a_price_is_recorded_again_after_the_interval() -> None:
    policy = Policy(settle=True, record_interval_s=3_600)
    recorded = {(0, 0): NOW - 60 - 3_600, (1, 0): NOW - 60 - 3_599}
    assert decide(situation(snapshot(), recorded=recorded), policy).actions == (RecordPrice(0, 0, NOW - 60),)


def test_everything_at_once_comes_in_the_order_of_urgency() -> None:
    book = {
        1: account(400, 1, entry_usd=2_500),
        2: account(100, 1),
        3: account(352, 1),
        4: account(9_000, 1),
    }
    view = snapshot(book, {1: SOLVENT, 3: SOLVENT})
    policy = Policy(
        liquidate=True,
        pages=PagePolicy(500, 1_000, 30, 86_400),
        push=PushPolicy(100, 86_400, 0, 0),
        settle=True,
    )
    wanted = target(underlyings={"ETH": replace(ETH_LANES, scan_bps=1_900)})
    decision = decide(situation(view, target=wanted), policy)
    assert [a.kind for a in decision.actions] == [
        "start_auction", "tick_auction", "end_auction", "publish_page", "push_parameters", "record_price",
        "record_price",
    ]  # fmt: skip


def test_the_same_situation_gives_the_same_decision() -> None:
    view = snapshot({n: account(100 + n, 1) for n in range(1, 30)})
    policy = Policy(liquidate=True, pages=PagePolicy(500, 1_000, 30, 86_400), settle=True)
    assert decide(situation(view, target=target()), policy) == decide(situation(view, target=target()), policy)


def test_a_refused_push_is_a_note_that_wakes_somebody() -> None:
    view = snapshot({2: account(321, 1)})
    policy = Policy(push=PushPolicy(100, 86_400, 0, 0), settle=False)
    wanted = target(underlyings={"ETH": replace(ETH_LANES, scan_bps=2_300)})
    decision = decide(situation(view, target=wanted), policy)
    assert not any(isinstance(a, PushParameters) for a in decision.actions)
    assert [(n.name, n.alarm, n.key) for n in decision.notes] == [("push_refused", True, "impact")]


def test_a_push_of_old_data_waits_and_wakes_nobody() -> None:
    policy = Policy(push=PushPolicy(100, 86_400, 0, 0), settle=False)
    wanted = target(underlyings={"ETH": replace(ETH_LANES, scan_bps=2_300)})
    old = replace(wanted, provenance=replace(wanted.provenance, observed_at=NOW - 3_601))
    decision = decide(situation(snapshot(), target=old), policy)
    assert decision.actions == ()
    assert [(n.name, n.alarm) for n in decision.notes] == [("push_waiting", False)]


def test_nothing_to_push_is_not_worth_a_note() -> None:
    policy = Policy(push=PushPolicy(100, 7 * 86_400, 0, 0), settle=False)
    assert decide(situation(snapshot(), target=target()), policy).notes == ()


def test_no_word_about_gas_while_no_auction_runs() -> None:
    policy = replace(LIQUIDATE, bids=BidPolicy(bidder_account=1, min_profit_wad=0, warehouse_bps=0))
    view = snapshot({1: account(9_000), 2: account(400, 1, entry_usd=2_500)}, {1: IDLE, 2: SOLVENT})
    lost = {"mega_gas_wad": NOT_READ}
    assert [n.name for n in decide(situation(view, **lost), policy).notes] == ["gas_price_unknown"]
    quiet = replace(view, auctions={1: IDLE, 2: IDLE})
    assert decide(situation(quiet, **lost), policy).notes == ()


def test_proven_rounds_settle_their_expiry_before_the_accounts() -> None:
    view = snapshot({3: holding(7, 0)}, options={0: SETTLED})
    found = decide(situation(view, rounds={(0, NOW - 5): (77, 78)}), TO_CASH)
    assert found.actions == (SettleExpiry(0, NOW - 5, 77, 78), SettleMany(0, ((3, 7),)))
    assert not any(a.kind == "settle_expiry" for a in decide(
        situation(snapshot(), rounds={(0, NOW - 5): (77, 78)}), Policy(settle=False)).actions)  # fmt: skip


@pytest.mark.parametrize(("age_s", "alarm"), [(7_199, False), (7_200, True)])
def test_an_expiry_without_a_round_is_named_and_alarms_when_it_is_late(age_s: int, alarm: bool) -> None:
    rounds = {(0, NOW - age_s): Unknown("no round yet", NOW)}
    decision = decide(situation(snapshot(), rounds=rounds), Policy(settle=True))
    assert not any(a.kind == "settle_expiry" for a in decision.actions)
    assert [(n.name, n.alarm, n.key) for n in decision.notes] == [("expiry_unsettled", alarm, f"0:{NOW - age_s}")]
    assert "no round yet" in decision.notes[0].text
