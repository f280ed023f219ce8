# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keeper.actions import (
    EndAuction,
    PushParameters,
    RecordPrice,
    SettleExpiry,
    SettleOptions,
    StartAuction,
    TurnInsolvent,
)
from keeper.assess import assess_all
from keeper.decide import LIQUIDATION, NOT_READ, Policy, Situation, decide
from keeper.domain import AuctionState, OptionInfo, Phase, Snapshot, Unknown
from keeper.liquidate.sizing import BidPolicy
from keeper.publish.parameters import PushPolicy
from keeper.publish.triggers import PagePolicy
from risk.onchain_words import AccountState, OptionPosition, build_words
from tests.support.keeper_world import ETH_LANES, NOW, WAD, account, snapshot, target

LIQUIDATE = Policy(liquidate=True, settle=False)
SOLVENT = AuctionState(Phase.SOLVENT, NOW - 600, 1)
IDLE = AuctionState(Phase.NONE, 0, 4)


def situation(view: Snapshot, **extra: Any) -> Situation:
    defaults: dict[str, Any] = {"end_buffer_bps": 1_000, "solvent_s": 3_600, "mega_gas_wad": 2 * WAD}
    defaults["vol_steps_bps"] = (5_000, 3_500)
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


def test_equity_gone_turns_a_solvent_auction() -> None:
    # bought at 2,500, now 2,000: 500 lost of 400
    view = snapshot({1: account(400, 1, entry_usd=2_500)}, {1: SOLVENT})
    assert decide(situation(view), LIQUIDATE).actions == (TurnInsolvent(1, 1),)


def test_the_clock_turns_a_solvent_auction_and_not_one_second_before() -> None:
    at_end = AuctionState(Phase.SOLVENT, NOW - 3_600, 1)
    before = AuctionState(Phase.SOLVENT, NOW - 3_599, 1)
    assert kinds(snapshot({1: account(100, 1)}, {1: at_end})) == [("turn_insolvent", "1")]
    assert kinds(snapshot({1: account(100, 1)}, {1: before})) == []


def test_an_insolvent_auction_is_not_turned_again() -> None:
    view = snapshot({1: account(400, 1, entry_usd=2_500)}, {1: AuctionState(Phase.INSOLVENT, NOW - 9_999, 1)})
    assert kinds(view) == []


def test_an_auction_ends_at_the_contracts_buffer() -> None:
    # MM 320, buffer 10 %: 352 ends, 351 does not
    assert decide(situation(snapshot({1: account(352, 1)}, {1: SOLVENT})), LIQUIDATE).actions == (EndAuction(1, 1),)
    assert kinds(snapshot({1: account(351, 1)}, {1: SOLVENT})) == []


def test_nothing_about_auctions_is_decided_on_unread_settings() -> None:
    lost = Unknown("lost", 1)
    view = snapshot({1: account(352, 1), 2: account(400, 1, entry_usd=2_500)}, {1: SOLVENT, 2: SOLVENT})
    assert kinds(view, end_buffer_bps=lost, solvent_s=lost) == []


def test_a_halted_part_does_nothing_and_the_others_go_on() -> None:
    view = snapshot({2: account(100, 1)})
    policy = Policy(liquidate=True, settle=True, halted=frozenset({LIQUIDATION}))
    assert {kind for kind, _ in kinds(view, policy)} == {"record_price"}


def test_observers_decide_nothing() -> None:
    assert kinds(snapshot({2: account(100, 1)}), Policy(settle=False)) == []


def test_settled_options_are_turned_into_cash() -> None:
    words = build_words(AccountState(cash=WAD, nonce=7, options={0: (OptionPosition(0, 5),)}))
    settled = {0: OptionInfo(0, NOW - 10, 2_000 * WAD, True, 2_100 * WAD)}
    view = snapshot({3: words}, options=settled)
    actions = decide(situation(view), Policy(settle=True)).actions
    assert SettleOptions(3, 0, 7) in actions
    unsettled = {0: replace(settled[0], settlement_wad=0)}
    assert not any(isinstance(a, SettleOptions) for a in decide(
        situation(snapshot({3: words}, options=unsettled)), Policy(settle=True)).actions)  # fmt: skip


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
        "turn_insolvent", "start_auction", "end_auction", "publish_page", "push_parameters", "record_price",
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


def test_a_proven_round_settles_its_expiry_before_the_accounts() -> None:
    words = build_words(AccountState(cash=WAD, nonce=7, options={0: (OptionPosition(0, 5),)}))
    settled = {0: OptionInfo(0, NOW - 10, 2_000 * WAD, True, 2_100 * WAD)}
    found = decide(situation(snapshot({3: words}, options=settled), rounds={(0, NOW - 5): 77}), Policy(settle=True))
    assert [a for a in found.actions if a.kind.startswith("settle")] == [
        SettleExpiry(0, NOW - 5, 77), SettleOptions(3, 0, 7),
    ]  # fmt: skip
    assert not any(a.kind == "settle_expiry" for a in decide(
        situation(snapshot(), rounds={(0, NOW - 5): 77}), Policy(settle=False)).actions)  # fmt: skip


@pytest.mark.parametrize(("age_s", "alarm"), [(7_199, False), (7_200, True)])
def test_an_expiry_without_a_round_is_named_and_alarms_when_it_is_late(age_s: int, alarm: bool) -> None:
    rounds = {(0, NOW - age_s): Unknown("no round yet", NOW)}
    decision = decide(situation(snapshot(), rounds=rounds), Policy(settle=True))
    assert not any(a.kind == "settle_expiry" for a in decision.actions)
    assert [(n.name, n.alarm, n.key) for n in decision.notes] == [("expiry_unsettled", alarm, f"0:{NOW - age_s}")]
    assert "no round yet" in decision.notes[0].text
