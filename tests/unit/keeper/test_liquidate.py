# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keeper.assess import assess_all
from keeper.decide import Policy, Situation, decide
from keeper.domain import ContractCall, Phase, Snapshot, Unknown
from keeper.errors import Reverted
from keeper.liquidate import bidding
from keeper.liquidate.actions import Bid
from keeper.liquidate.candidates import starts, witness
from keeper.liquidate.inventory import assess_merged, merge
from keeper.liquidate.sizing import Bidder, BidPolicy, Offer, Preview, best, bid, offers
from keeper.situation import read_previews
from risk.onchain import assess_at, assess_words
from risk.onchain_words import (
    AccountState,
    CollateralPosition,
    DeltaOnePosition,
    MarkWord,
    OptionPosition,
    build_words,
    parse_words,
)
from tests.support.keeper_world import (
    BLOCK,
    FUTURE,
    NOW,
    PERP,
    PRICE,
    SETTINGS,
    WAD,
    account,
    auction,
    market,
    snapshot,
)

BIDDER, SOLD = 1, 2
POLICY = BidPolicy(bidder_account=BIDDER, min_profit_wad=5 * WAD, warehouse_bps=100)
SOLVENT = auction(Phase.SOLVENT)


def preview(fraction: float, price_usd: float, equity_usd: int = 300, nonce: int = 1) -> Preview:
    return Preview(Phase.SOLVENT, int(fraction * WAD), int(price_usd * WAD), 1_000, equity_usd * WAD, 320 * WAD, nonce)


# ------------------------------------------------------------------ candidates


def test_the_witness_is_a_proof_the_twin_accepts() -> None:
    words = account(100, 1)
    scenario = witness(words, market(), 255)
    assert scenario is not None
    equity, bound = assess_at(words, market(), scenario)
    assert equity < bound


def test_a_healthy_account_has_no_witness() -> None:
    assert witness(account(5_000, 1), market(), 255) is None


def test_an_account_that_only_the_full_rule_condemns_is_started_without_scenario() -> None:
    """Cash alone below zero: no underlying is active, so no scenario may judge it."""
    view = snapshot({2: account(-50)})
    assert [(s.account, s.scenario) for s in starts(view, assess_all(view), 10)] == [(2, None)]


def test_the_protocols_own_account_is_never_started() -> None:
    view = snapshot({0: account(-50)})
    assert starts(view, assess_all(view), 10) == ()


# ------------------------------------------------------------------ inventory


def test_a_merged_perpetual_keeps_the_sum_of_profits() -> None:
    mine = AccountState(cash=0, delta_ones={PERP: DeltaOnePosition(2_000_000, -2_000_000 * 1_900 * WAD)})
    theirs = AccountState(cash=0, delta_ones={PERP: DeltaOnePosition(-1_000_000, 1_000_000 * 2_100 * WAD)})
    both = merge(mine, theirs, WAD, 0)
    # 2 bought at 1,900 and 1 sold at 2,100, now 2,000: 200 + 100
    assert assess_words(build_words(both), market()).equity_mark == 300 * WAD
    assert both.delta_ones[PERP].lots == 1_000_000


def test_funding_owed_is_kept_when_entries_differ() -> None:
    now = market(marks={k: MarkWord(0, 30 * WAD if k == PERP else 0) for k in (PERP, FUTURE, 253)})
    mine, theirs = (
        AccountState(cash=0, delta_ones={PERP: DeltaOnePosition(1_000_000, 1_000_000 * (entry - 2_000) * WAD)})
        for entry in (10, 25)
    )
    both = assess_words(build_words(merge(mine, theirs, WAD, 0)), now)
    assert both.equity_mark == -25 * WAD  # 20 and 5 owed


def test_what_closes_becomes_cash_rounded_against_the_bidder() -> None:
    mine = AccountState(cash=5, delta_ones={PERP: DeltaOnePosition(1, -7), FUTURE: DeltaOnePosition(3, 9)})
    theirs = AccountState(cash=0, delta_ones={PERP: DeltaOnePosition(-1, -1_999_994)})
    both = merge(mine, theirs, WAD, 0)
    assert both.delta_ones == {FUTURE: DeltaOnePosition(3, 9)}
    assert both.cash == 5 - 3  # floor(-2,000,001 / 1e6)


def test_half_of_everything_moves_and_the_price_is_paid() -> None:
    mine = AccountState(cash=1_000 * WAD)
    theirs = AccountState(
        cash=-100 * WAD,
        collaterals=(CollateralPosition(0, 3 * 10**18, 50, 18, 1),),
        options={0: (OptionPosition(3, -7), OptionPosition(5, 10))},
    )
    both = merge(mine, theirs, WAD // 2, 40 * WAD)
    assert both.cash == (1_000 - 50 - 40) * WAD
    assert both.collaterals == (CollateralPosition(0, 15 * 10**17, 50, 18, 1),)
    assert both.options == {0: (OptionPosition(3, -3), OptionPosition(5, 5))}


def test_too_many_positions_are_not_carried() -> None:
    many = AccountState(cash=0, options={u: tuple(OptionPosition(s, 1) for s in range(65)) for u in (0, 1)})
    found = assess_merged(many, market(), NOW)
    assert isinstance(found, Unknown) and "128 positions" in found.reason


# ------------------------------------------------------------------ sizing


def value(
    quote: Preview, cash: int = 10_000, gas: int = 2, policy: BidPolicy = POLICY, own_eth: float = 0.0
) -> tuple[Offer, ...]:
    bidder = Bidder.of(parse_words(account(cash, own_eth)), market())
    return offers(quote, parse_words(account(300, 1)), bidder, policy, gas * WAD, WAD // 4)


def test_profit_is_value_less_price_warehouse_and_gas() -> None:
    offer = value(preview(1.0, 270))[0]
    # 300 - 270 - 1 % of the 400 USD of initial margin that comes with 1 ETH - 2
    assert offer.profit_wad == (300 - 270 - 4 - 2) * WAD
    assert offer.im_health_wad == (10_000 + 300 - 270 - 400) * WAD


def test_parts_down_to_the_least_slice_are_looked_at() -> None:
    assert [o.preview.fraction_wad for o in value(preview(1.0, 270))] == [WAD, WAD // 2, WAD // 4]


def test_a_part_costs_its_share_rounded_against_the_bidder() -> None:
    paid = Preview(Phase.INSOLVENT, WAD, -100, 0, -50, 320 * WAD, 1)
    assert paid.part(WAD // 3).price_wad == -33
    assert replace(paid, price_wad=100).part(WAD // 3).price_wad == 34


def test_the_largest_part_that_the_inventory_can_carry_is_found() -> None:
    """300 of cash, 30 of profit and 400 of initial margin for the whole: 300 + 30 f - 400 f = 0 at f = 0.8108."""
    found = value(preview(1.0, 270), cash=300)
    assert max(o.preview.fraction_wad for o in found) == pytest.approx(300 / 370 * WAD, rel=1e-3)
    assert all(o.im_health_wad >= 0 for o in found)


def test_limits_of_margin_and_of_notional_are_kept() -> None:
    """1 ETH is 2,000 USD of notional and 400 of initial margin."""
    narrow = replace(POLICY, max_im_wad=100 * WAD)
    assert max(o.preview.fraction_wad for o in value(preview(1.0, 270), policy=narrow)) == pytest.approx(
        WAD // 4, rel=1e-3
    )
    flat = replace(POLICY, max_gross_wad=1_000 * WAD)
    assert max(o.preview.fraction_wad for o in value(preview(1.0, 270), policy=flat)) == pytest.approx(
        WAD // 2, rel=1e-3
    )
    # what is beyond a limit already may shrink: 5 ETH short, 1 long comes in
    assert max(o.preview.fraction_wad for o in value(preview(1.0, 270), policy=flat, own_eth=-5)) == WAD


def test_a_book_that_hedges_the_bidder_costs_no_warehouse() -> None:
    assert value(preview(1.0, 270), own_eth=-1, gas=0)[0].profit_wad == 30 * WAD


def test_an_insolvent_account_pays_the_bidder() -> None:
    """Equity -100, the fund pays 150: worth 50 before costs."""
    quote = Preview(Phase.INSOLVENT, WAD, -150 * WAD, 0, -100 * WAD, 320 * WAD, 1)
    bidder = Bidder.of(parse_words(account(10_000)), market())
    offer = offers(quote, parse_words(account(400, 1, entry_usd=2_500)), bidder, POLICY, 0, WAD // 4)[0]
    assert offer.profit_wad == (50 - 4) * WAD


def test_the_most_profitable_offer_wins_and_the_minimum_holds() -> None:
    small, large = Offer(preview(0.5, 1), 6 * WAD, 0), Offer(preview(1.0, 1), 9 * WAD, 0)
    assert best([small, large], 5 * WAD) == large
    assert best([small, large], 10 * WAD) is None
    assert best([], 0) is None


def test_the_highest_price_never_gives_away_the_minimum_profit() -> None:
    rich, poor = Offer(preview(1.0, 270), 24 * WAD, 0), Offer(preview(1.0, 270), 5 * WAD + 7, 0)
    assert bid(SOLD, rich, POLICY).max_price_wad == 270 * WAD + 300 * WAD * 50 // 10_000
    assert bid(SOLD, poor, POLICY).max_price_wad == 270 * WAD + 7
    assert bid(SOLD, rich, POLICY).expected_nonce == 1
    assert bid(SOLD, rich, POLICY).bidder_account == BIDDER


# ------------------------------------------------------------------ the decision


def situation(view: Snapshot, previews: dict[int, Any], gas: Any = WAD) -> Situation:
    return Situation(view, assess_all(view), previews=previews, auction=SETTINGS, live=True, mega_gas_wad=gas)


def decided(previews: dict[int, Any], gas: Any = WAD, book: dict[int, Any] | None = None) -> Any:
    accounts = book or {BIDDER: account(10_000), SOLD: account(300, 1), 3: account(290, 1)}
    view = snapshot(accounts, {SOLD: SOLVENT, 3: SOLVENT})
    return decide(situation(view, previews, gas), Policy(liquidate=True, bids=POLICY, settle=False))


def test_the_auction_that_pays_most_is_bid_for_first() -> None:
    found = decided({SOLD: preview(1.0, 270), 3: preview(1.0, 250)})
    assert [(a.kind, a.account) for a in found.actions] == [("bid", 3), ("bid", SOLD)]


def test_a_second_bid_counts_what_the_first_has_taken() -> None:
    """500 of cash carry one whole account (500 + 50 - 400 = 150) and a part of the second."""
    books = {BIDDER: account(500), SOLD: account(300, 1), 3: account(300, 1)}
    first, second = decided({SOLD: preview(1.0, 270), 3: preview(1.0, 250)}, book=books).actions
    assert (first.account, first.fraction_wad) == (3, WAD)
    # 150 + 30 f - 400 f = 0
    assert second.account == SOLD and second.fraction_wad == pytest.approx(150 / 370 * WAD, rel=2e-3)


def test_gas_may_cost_what_leaves_the_least_profit_and_no_more() -> None:
    """270 for 300: 30, less 4 of warehouse; gas of 1.50 USD was counted, 5 USD are the least: 21 USD of gas at most."""
    view = snapshot({BIDDER: account(10_000), SOLD: account(300, 1)}, {SOLD: SOLVENT})
    seen = replace(situation(view, {SOLD: preview(1.0, 270)}), native_usd_wad=2_000 * WAD)
    (made,) = decide(seen, Policy(liquidate=True, bids=POLICY, settle=False)).actions
    assert isinstance(made, Bid) and made.gas_budget_wei == 21 * WAD // 2_000


def test_bids_of_a_cycle_are_limited() -> None:
    view = snapshot({BIDDER: account(10_000), SOLD: account(300, 1), 3: account(290, 1)}, {SOLD: SOLVENT, 3: SOLVENT})
    one = Policy(liquidate=True, bids=replace(POLICY, bids_per_cycle=1), settle=False)
    found = decide(situation(view, {SOLD: preview(1.0, 270), 3: preview(1.0, 250)}), one)
    assert [a.account for a in found.actions if isinstance(a, Bid)] == [3]


def crowd(count: int, block: int) -> tuple[Any, set[int]]:
    """A decision among so many auctions of equal books, and whose legs were searched."""
    accounts = {BIDDER: account(10_000, -1), **{k: account(300, 1) for k in range(SOLD, SOLD + count)}}
    auctions = {k: SOLVENT for k in accounts if k != BIDDER}
    view = replace(snapshot(accounts, auctions), block=replace(BLOCK, number=block))
    previews = {k: preview(1.0, 260 + k / 1_000) for k in auctions}
    searched = set()
    original = bidding.plan_legs

    def counting(sale: Any, *args: Any) -> Any:
        searched.add(round((sale.preview.price_wad / WAD - 260) * 1_000))
        return original(sale, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bidding, "plan_legs", counting)
        patch.setattr(bidding, "_overlap", lambda *_: True)
        found = decide(situation(view, previews), Policy(liquidate=True, bids=POLICY, settle=False))
    return found, searched


def test_a_crowd_of_auctions_does_not_hold_up_the_turn() -> None:
    """Somebody who opens hundreds of accounts to be liquidated would otherwise silence the keeper for minutes."""
    count = 3 * bidding.MOST_VALUED
    found, searched = crowd(count, 1)
    waiting = [note for note in found.notes if "its turn to be valued comes later" in note.text]
    assert len(waiting) == count - bidding.MOST_VALUED
    assert 0 < len(searched) <= bidding.MOST_SEARCHED
    assert [action.kind for action in found.actions].count("bid") == POLICY.bids_per_cycle


def test_every_auction_of_a_crowd_has_its_turn() -> None:
    lots = [bidding.Lot(k, AccountState(cash=0), None, preview(1.0, 300 - k % 7)) for k in range(100)]  # type: ignore[arg-type]
    seen = [{lot.account for lot in bidding.in_turn(lots, 32, turn)} for turn in range(6)]
    assert set().union(*seen) == set(range(100))
    assert all(len(each) == 32 for each in seen)
    best = {lot.account for lot in sorted(lots, key=lambda lot: (-lot.gain_wad, lot.account))[:16]}
    assert all(best <= each for each in seen)


def test_a_bid_lost_to_dust_accepts_any_nonce_after_a_while() -> None:
    view = snapshot({BIDDER: account(10_000), SOLD: account(300, 1)}, {SOLD: SOLVENT})
    policy = Policy(liquidate=True, bids=POLICY, settle=False)
    for lost, told in ((1, 1), (2, 2**256 - 1)):
        seen = replace(situation(view, {SOLD: preview(1.0, 270)}), contested={SOLD: lost})
        (made,) = decide(seen, policy).actions
        assert made.call.args[-1] == told and made.epoch == 1


def words(found: Any) -> dict[str, str]:
    """Texts of the notes about missing bids, by account."""
    assert not any(n.alarm for n in found.notes if n.name == "no_bid")
    return {n.key: n.text for n in found.notes if n.name == "no_bid"}


def test_an_unprofitable_auction_gets_no_bid_and_a_word_why() -> None:
    """Half of 300 USD at 297.50: 1.25, less 1 % of the 200 USD of initial margin that it brings, less gas of 1.50."""
    found = decided({SOLD: preview(1.0, 297.5), 3: preview(1.0, 250)})
    assert [a.account for a in found.actions] == [3]
    assert words(found) == {
        str(SOLD): (
            f"no bid for account {SOLD}: the best of 2 sizes, 50.0% of it, would earn -2.25 USD after warehousing and "
            "gas; liquidator.min_profit_usd is 5.00"
        )
    }
    assert decided({SOLD: preview(1.0, 299)}).actions == ()


def test_a_bidder_that_cannot_carry_an_account_says_so() -> None:
    poor = {BIDDER: account(1), SOLD: account(300, 1)}
    view = snapshot(poor, {SOLD: SOLVENT})
    found = decide(situation(view, {SOLD: preview(1.0, 270)}), Policy(liquidate=True, bids=POLICY, settle=False))
    assert not any(isinstance(a, Bid) for a in found.actions)
    assert f"account {BIDDER} of the bidder cannot carry any part of it" in words(found)[str(SOLD)]


def test_an_unknown_price_of_gas_or_bidder_means_no_bid_and_an_alert() -> None:
    found = decided({SOLD: preview(1.0, 270)}, gas=Unknown("no native price", 1))
    assert found.actions == () and [n.name for n in found.notes if n.alarm] == ["gas_price_unknown"]
    lost = {BIDDER: Unknown("not read", 1), SOLD: account(300, 1), 3: account(290, 1)}
    found = decided({SOLD: preview(1.0, 270)}, book=lost)
    assert found.actions == () and [n.name for n in found.notes if n.alarm] == ["bidder_unreadable"]


def test_unknown_previews_are_skipped() -> None:
    found = decided({SOLD: Unknown("auction: healthy", 1)})
    assert found.actions == ()
    assert words(found)[str(SOLD)] == f"no bid for account {SOLD}: auction: healthy"


def test_previews_are_read_at_the_block() -> None:
    class Chain:
        def call_many(self, calls: list[ContractCall], block: object) -> list[Any]:
            assert block == BLOCK
            return [self.answer(*call.args) for call in calls]

        @staticmethod
        def answer(number: int, fraction: int) -> Any:
            if number == 3:
                return Reverted("auction: healthy", reason="auction: healthy")
            return (1, min(fraction, 8 * 10**17), 5 * 10**17, 500, 300 * WAD, 320 * WAD, 9)

    found = read_previews(Chain(), BLOCK, [SOLD, 3], POLICY)  # type: ignore[arg-type]
    assert isinstance(found[3], Unknown)
    assert found[SOLD] == Preview(Phase.SOLVENT, 8 * 10**17, 5 * 10**17, 500, 300 * WAD, 320 * WAD, 9)


@pytest.mark.parametrize("fraction_wad", [WAD, WAD // 3, 10**12])
def test_merging_never_creates_equity(fraction_wad: int) -> None:
    """Rounding of lots is against nobody by more than a lot's worth a position."""
    sold = parse_words(account(300, 1.234567, entry_usd=1_990))
    mine = parse_words(account(10_000, -0.7654321))
    before = assess_words(build_words(mine), market()).equity_mark
    gone = assess_words(build_words(sold), market()).equity_mark * fraction_wad // WAD
    after = assess_words(build_words(merge(mine, sold, fraction_wad, 0)), market()).equity_mark
    assert abs(after - before - gone) <= PRICE // 10**6 + 10


def test_the_policys_largest_fraction_is_asked_first() -> None:
    small = replace(POLICY, max_fraction_wad=WAD // 4)

    asked: list[int] = []

    class Chain:
        def call_many(self, calls: list[ContractCall], block: object) -> list[Any]:
            asked.extend(call.args[1] for call in calls)
            return [Reverted("x", reason="x") for _ in calls]

    read_previews(Chain(), BLOCK, [SOLD], small)  # type: ignore[arg-type]
    assert asked == [WAD // 4]
