# SPDX-License-Identifier: Apache-2.0
"""What to do, as a pure function of what was seen.

No clock, no network, no randomness: the same situation gives the same decision, so a decision can be replayed from a
stored snapshot. Order matters and is fixed: first what stops losses (turn insolvent, bid, start, end), then what keeps
margin right for everybody (pages, joint scenarios, parameters), then bookkeeping (settlements, price records).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keeper.actions import Action, Bid, EndAuction, RecordPrice, SettleExpiry, SettleOptions, TurnInsolvent
from keeper.assess import Assessments
from keeper.domain import AuctionState, Phase, Price, Snapshot, Unknown
from keeper.liquidate.candidates import starts
from keeper.liquidate.sizing import BidPolicy, Preview, best, bid, offers
from keeper.publish.parameters import IDLE, PushPlan, PushPolicy, plan_push
from keeper.publish.tables import plan_joint, plan_pages
from keeper.publish.triggers import PagePolicy
from risk.onchain import Assessment
from risk.onchain_words import parse_words
from risk.types import ParameterSet

NOT_READ = Unknown("it was not asked for", 0)
LIQUIDATION, PUBLICATION, PARAMETERS = "liquidation", "publication", "parameters"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator allows. A part set to None, or named in ``halted``, does nothing.

    ``starts_per_cycle`` bounds the auctions one cycle starts; ``record_interval_s`` how far apart fall-back prices are
    recorded; ``settle_alarm_s`` how long after an expiry it alarms that no round settles it.
    """

    liquidate: bool = False
    bids: BidPolicy | None = None
    pages: PagePolicy | None = None
    push: PushPolicy | None = None
    push_approved: bool = False
    settle: bool = True
    starts_per_cycle: int = 16
    record_interval_s: int = 6 * 3600
    settle_alarm_s: int = 2 * 3600
    halted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Situation:
    """All that is decided on.

    ``previews`` are the bids possible on each running auction; ``end_buffer_bps`` the health, as a share of the
    maintenance requirement, at which the contract ends one; ``solvent_s`` the length of its solvent phase;
    ``mega_gas_wad`` the cost of a million units of gas in USD wad; ``vol_steps_bps`` the largest steps
    of a page's volatility up and down; ``rounds`` the oracle round that settles each open (underlying, expiry);
    ``recorded`` the time of each price last recorded.
    """

    snapshot: Snapshot
    assessments: Assessments
    previews: Mapping[int, Sequence[Preview] | Unknown] = field(default_factory=dict)
    end_buffer_bps: int | Unknown = NOT_READ
    solvent_s: int | Unknown = NOT_READ
    mega_gas_wad: int | Unknown = NOT_READ
    vol_steps_bps: tuple[int, int] | Unknown = NOT_READ
    rounds: Mapping[tuple[int, int], int | Unknown] = field(default_factory=dict)
    recorded: Mapping[tuple[int, int], int] = field(default_factory=dict)
    target: ParameterSet | None = None
    collateral_names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should know; ``alarm`` when it should wake one.

    Two alarms of one name and ``key`` are the same trouble, whatever numbers their texts give; None: only equal texts.
    """

    name: str
    text: str
    alarm: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Actions in the order to send them, and notes."""

    actions: tuple[Action, ...]
    notes: tuple[Note, ...] = ()


def decide(situation: Situation, policy: Policy) -> Decision:
    """Decide on one situation."""
    actions: list[Action] = []
    notes: list[Note] = []
    if policy.liquidate and LIQUIDATION not in policy.halted:
        actions += _insolvent(situation)
        actions += _bids(situation, policy, notes)
        actions += starts(situation.snapshot, situation.assessments, policy.starts_per_cycle)
        actions += _ends(situation)
    if policy.pages is not None and situation.target is not None and PUBLICATION not in policy.halted:
        actions += _publications(situation, situation.target, policy.pages, notes)
    if policy.push is not None and situation.target is not None and PARAMETERS not in policy.halted:
        plan = push_plan(situation, situation.target, policy.push, policy.push_approved)
        actions += [plan.action] if plan.action is not None else []
        notes += _push_notes(plan)
    if policy.settle:
        actions += _expiries(situation, policy.settle_alarm_s, notes)
        actions += _settlements(situation.snapshot)
        actions += _records(situation, policy.record_interval_s)
    return Decision(tuple(actions), tuple(notes))


def running(snapshot: Snapshot) -> tuple[tuple[int, AuctionState], ...]:
    """Auctions in progress, by account."""
    return tuple(
        (account, auction)
        for account, auction in sorted(snapshot.auctions.items())
        if not isinstance(auction, Unknown) and auction.phase != Phase.NONE
    )


def _insolvent(situation: Situation) -> list[TurnInsolvent]:
    """Solvent auctions whose mark equity is gone or whose time is up, unless the account is cured."""
    if isinstance(situation.solvent_s, Unknown) or isinstance(situation.end_buffer_bps, Unknown):
        return []
    now, found = situation.snapshot.block.timestamp, []
    for account, auction in running(situation.snapshot):
        result = situation.assessments.get(account)
        if auction.phase != Phase.SOLVENT or result is None or isinstance(result, Unknown):
            continue
        late = now >= auction.started_at + situation.solvent_s
        if (result.equity_mark <= 0 or late) and not _cured(result, situation.end_buffer_bps):
            found.append(TurnInsolvent(account, auction.epoch))
    return found


def _cured(result: Assessment, end_buffer_bps: int) -> bool:
    """The contract's own test: maintenance health of at least the end buffer."""
    return result.mm_health * 10_000 >= end_buffer_bps * result.mm


def _bids(situation: Situation, policy: Policy, notes: list[Note]) -> list[Bid]:
    """The best bid of the auction that pays most; one a cycle, because each changes the bidder's account."""
    terms, snapshot, market = policy.bids, situation.snapshot, situation.snapshot.market
    if terms is None or isinstance(market, Unknown) or not running(snapshot):
        return []
    own = snapshot.accounts.get(terms.bidder_account)
    if own is None or isinstance(own, Unknown):
        notes.append(Note("bidder_unreadable", f"account {terms.bidder_account} of the bidder cannot be read", True))
        return []
    if isinstance(situation.mega_gas_wad, Unknown):
        notes.append(Note("gas_price_unknown", f"no bid: {situation.mega_gas_wad.reason}", True))
        return []
    gas_wad = situation.mega_gas_wad * terms.gas_units // 10**6
    candidates = []
    for account, _ in running(snapshot):
        previews, words = situation.previews.get(account, ()), snapshot.accounts[account]
        if isinstance(previews, Unknown) or isinstance(words, Unknown) or account == terms.bidder_account:
            continue
        offer = best(offers(previews, words, own, market, terms, gas_wad), terms.min_profit_wad)
        if offer is not None:
            candidates.append((-offer.profit_wad, account, offer))
    if not candidates:
        return []
    _, account, offer = min(candidates, key=lambda item: item[:2])
    return [bid(account, offer, terms)]


def _ends(situation: Situation) -> list[EndAuction]:
    """Auctions of accounts that are healthy again by the contract's buffer."""
    buffer, found = situation.end_buffer_bps, []
    if isinstance(buffer, Unknown):
        return []
    for account, auction in running(situation.snapshot):
        result = situation.assessments.get(account)
        if result is None or isinstance(result, Unknown):
            continue
        if _cured(result, buffer):
            found.append(EndAuction(account, auction.epoch))
    return found


def _publications(situation: Situation, target: ParameterSet, policy: PagePolicy, notes: list[Note]) -> list[Action]:
    actions: list[Action] = []
    steps = situation.vol_steps_bps
    if isinstance(steps, Unknown):
        notes.append(Note("limits_unread", f"no page: the table's limits could not be read ({steps.reason})"))
        return []
    for plan in plan_pages(situation.snapshot, target, policy, steps):
        if plan.refused is not None:
            notes.append(Note("page_refused", plan.refused, True))
        elif plan.action is not None:
            actions.append(plan.action)
            notes.append(Note("page_due", f"underlying {plan.underlying}: {plan.trigger}"))
    joint = plan_joint(situation.snapshot, target, policy)
    if joint is not None:
        actions.append(joint[0])
        notes.append(Note("joint_due", joint[1]))
    return actions


def push_plan(situation: Situation, target: ParameterSet, policy: PushPolicy, approved: bool) -> PushPlan:
    """Plan of a parameter push in this situation."""
    return plan_push(
        situation.snapshot, situation.assessments, target, situation.collateral_names, policy, approved=approved
    )


def _push_notes(plan: PushPlan) -> list[Note]:
    if plan.refused is not None:
        return [Note("push_refused", plan.refused, True, plan.refusal)]
    if plan.action is not None and plan.impact is not None:
        part = f" at 1/{2**plan.halvings} of the step" if plan.halvings else ""
        text = (
            f"push {plan.action.nonce}: {len(plan.changes)} words{part}, "
            f"{len(plan.impact.newly_liquidatable)} accounts newly liquidatable"
        )
        return [Note("push_due", text)]
    return [Note("push_waiting", plan.waiting)] if plan.waiting not in {None, IDLE} else []


def _expiries(situation: Situation, alarm_s: int, notes: list[Note]) -> list[SettleExpiry]:
    """Settlement of every expiry for which a round is proven; one without is named, and alarms when it is late."""
    found = []
    for (underlying, expiry), number in sorted(situation.rounds.items()):
        if isinstance(number, Unknown):
            late = situation.snapshot.block.timestamp >= expiry + alarm_s
            text = f"underlying {underlying}, expiry {expiry} is not settled: {number.reason}"
            notes.append(Note("expiry_unsettled", text, late, f"{underlying}:{expiry}"))
        else:
            found.append(SettleExpiry(underlying, expiry, number))
    return found


def _settlements(snapshot: Snapshot) -> list[SettleOptions]:
    """Accounts that still hold options of a settled expiry."""
    options = snapshot.options
    if isinstance(options, Unknown):
        return []
    settled = {i for i, option in options.items() if option.settlement_wad}
    if not settled:
        return []
    found = []
    for account, words in sorted(snapshot.accounts.items()):
        if isinstance(words, Unknown):
            continue
        state = parse_words(words)
        for u, positions in sorted(state.options.items()):
            if any(u << 8 | position.slot in settled for position in positions):
                found.append(SettleOptions(account, u, state.nonce))
    return found


def _records(situation: Situation, interval_s: int) -> list[RecordPrice]:
    """Good prices whose recorded fall-back has grown old."""
    prices = situation.snapshot.prices
    if isinstance(prices, Unknown):
        return []
    return [
        RecordPrice(kind, number, price.updated_at)
        for (kind, number), price in sorted(prices.items())
        if _recordable(price) and price.updated_at >= situation.recorded.get((kind, number), 0) + interval_s
    ]


def _recordable(price: Price) -> bool:
    return not price.dead and price.price_wad > 0
