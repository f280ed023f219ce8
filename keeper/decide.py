# SPDX-License-Identifier: Apache-2.0
"""What to do, as a pure function of what was seen.

No clock, no network, no randomness: the same situation gives the same decision, so a decision can be replayed from a
stored snapshot. Order matters and is fixed: first what stops losses (bid, start, tick, end), then what keeps margin
right for everybody (pages, joint scenarios, parameters), then bookkeeping (settlements, peg, prices, free slots).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from keeper.actions import (
    Action,
    ExecuteProposal,
    ProposeParameters,
    PublishJoint,
    PublishPage,
    PushParameters,
    RecordPrice,
    SettleExpiry,
    SyncPeg,
)
from keeper.assess import Assessments, in_doubt
from keeper.domain import AuctionSettings, Price, Snapshot, Unknown
from keeper.liquidate.actions import NO_REWARD, Bid, BidLegs
from keeper.liquidate.bidding import Auctions, bids
from keeper.liquidate.candidates import starts
from keeper.liquidate.clock import ends, ticks
from keeper.liquidate.sizing import BidPolicy, Preview
from keeper.publish.approvals import Approval, covers, digest_of, page_digest
from keeper.publish.check import PageCheck, PageGuard, check_joint, check_page
from keeper.publish.impact import Impact
from keeper.publish.parameters import IDLE, PushPlan, PushPolicy, plan_push
from keeper.publish.queue import ParameterQueue
from keeper.publish.tables import plan_joint, plan_pages
from keeper.publish.triggers import PagePolicy
from keeper.settlement import Rounds, retirements, settlements
from risk.types import ParameterSet

NOT_READ = Unknown("it was not asked for", 0)
LIQUIDATION, PUBLICATION, PARAMETERS = "liquidation", "publication", "parameters"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator allows. A part set to None, or named in ``halted``, does nothing.

    ``reward_account`` gets the reward for starting auctions; ``starts_per_cycle`` bounds the auctions one cycle starts,
    ``retires_per_cycle`` the slots it frees; ``record_interval_s`` is how far apart fall-back prices are recorded,
    ``settle_alarm_s`` how long after an expiry it alarms that no round settles it. ``page_guard`` limits the harm a
    page may do; ``shadow`` judges and records what would be published and pushed, and sends none of it.
    """

    liquidate: bool = False
    bids: BidPolicy | None = None
    pages: PagePolicy | None = None
    push: PushPolicy | None = None
    page_guard: PageGuard = field(default_factory=PageGuard)
    shadow: bool = False
    settle: bool = True
    reward_account: int = NO_REWARD
    starts_per_cycle: int = 16
    retires_per_cycle: int = 8
    record_interval_s: int = 6 * 3600
    settle_alarm_s: int = 2 * 3600
    halted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Situation:
    """All that is decided on.

    ``previews`` are the largest bids possible on each running auction and ``contested`` how many bids in a row were
    lost to a changed nonce; ``auction`` the settings of auctions and ``live``
    whether their clocks may run (the sequencer is up); ``shortfall_wad`` what insolvent accounts lack as the
    auction knows it, ``limited`` whether that exceeds the insurance fund and withdrawals are limited;
    ``mega_gas_wad`` the cost of a million units of gas and ``native_usd_wad`` of the native token, USD wad;
    ``vol_steps_bps`` the largest steps of a page's volatility up and down, ``page_interval_s`` the least time between
    two pages of an underlying; ``rounds`` the two oracle rounds that settle
    each open (underlying, expiry);
    ``proposals`` the announced batches that may be executed now and ``queue`` all that are open, with the limits in
    time; ``recorded`` the time of each price last recorded; ``approvals`` what a person approved, by digest;
    ``planning`` is what pages are planned on where that is not what was seen (in shadow mode: as if they had been
    published).
    """

    snapshot: Snapshot
    assessments: Assessments
    previews: Mapping[int, Preview | Unknown] = field(default_factory=dict)
    auction: AuctionSettings | Unknown = NOT_READ
    live: bool | Unknown = NOT_READ
    limited: bool | Unknown = NOT_READ
    shortfall_wad: int | Unknown = NOT_READ
    mega_gas_wad: int | Unknown = NOT_READ
    native_usd_wad: int | Unknown = NOT_READ
    vol_steps_bps: tuple[int, int] | Unknown = NOT_READ
    page_interval_s: int = 0
    rounds: Mapping[tuple[int, int], Rounds | Unknown] = field(default_factory=dict)
    proposals: Sequence[ExecuteProposal] = ()
    queue: ParameterQueue | Unknown = NOT_READ
    recorded: Mapping[tuple[int, int], int] = field(default_factory=dict)
    contested: Mapping[int, int] = field(default_factory=dict)
    approvals: Mapping[bytes, Approval] = field(default_factory=dict)
    planning: Snapshot | None = None
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
class Considered:
    """A publication or a batch with its impact: to be sent (``refused`` None), or why a person must look first."""

    action: PublishPage | PublishJoint | PushParameters | ProposeParameters
    impact: Impact | None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Actions in the order to send them, notes, and what was considered for publication, refused or not."""

    actions: tuple[Action, ...]
    notes: tuple[Note, ...] = ()
    considered: tuple[Considered, ...] = ()


def decide(situation: Situation, policy: Policy) -> Decision:
    """Decide on one situation."""
    actions: list[Action] = []
    notes: list[Note] = []
    considered: list[Considered] = []
    if policy.liquidate and LIQUIDATION not in policy.halted:
        actions += _liquidations(situation, policy, notes)
    if policy.pages is not None and situation.target is not None and PUBLICATION not in policy.halted:
        considered += _publications(situation, situation.target, policy.pages, policy.page_guard, notes)
        actions += [item.action for item in considered if item.refused is None]
    if policy.push is not None and PARAMETERS not in policy.halted:
        actions += _parameters(situation, policy.push, notes, considered)
    if policy.settle:
        actions += _expiries(situation, policy.settle_alarm_s, notes)
        actions += settlements(situation.snapshot)
        actions += _peg(situation.snapshot)
        actions += _records(situation, policy.record_interval_s)
        actions += retirements(situation.snapshot, policy.retires_per_cycle)
    return Decision(tuple(actions), tuple(notes), tuple(considered))


def _liquidations(situation: Situation, policy: Policy, notes: list[Note]) -> list[Action]:
    """What auctions need: bids, new ones, records of their clocks, and the end of cured ones."""
    snapshot, assessments = situation.snapshot, situation.assessments
    made = _bids(situation, policy, notes)
    recorded = frozenset(item.account for item in made)
    waiting = in_doubt(assessments)
    if waiting:
        text = f"accounts {', '.join(map(str, waiting))} are below maintenance margin, but old data leave that in doubt"
        notes.append(Note("in_doubt", text))
    if situation.limited is True:
        text = (
            "the losses of accounts in auction exceed the insurance fund; withdrawals are limited until they are taken"
        )
        notes.append(Note("withdrawals_limited", text, True))
    return [
        *made,
        *starts(snapshot, assessments, policy.starts_per_cycle, policy.reward_account),
        *ticks(snapshot, assessments, situation.auction, situation.live, situation.shortfall_wad, recorded),
        *ends(snapshot, assessments, situation.auction),
    ]


def _bids(situation: Situation, policy: Policy, notes: list[Note]) -> list[Bid | BidLegs]:
    """Bids on running auctions, the one that pays most first, and why there is none on the others."""
    if policy.bids is None:
        return []
    found = bids(
        Auctions(
            situation.snapshot,
            situation.assessments,
            situation.previews,
            situation.auction,
            situation.mega_gas_wad,
            situation.native_usd_wad,
            situation.contested,
        ),
        policy.bids,
    )
    notes += [
        Note("no_bid", f"no bid for account {item.account}: {item.why}", False, str(item.account))
        for item in found.none
    ]
    if found.trouble is not None:
        notes.append(Note(*found.trouble, True))
    return list(found.made)


def _publications(
    situation: Situation, target: ParameterSet, policy: PagePolicy, guard: PageGuard, notes: list[Note]
) -> list[Considered]:
    """Pages and scenarios that are due, each checked; one that fails its check is named and not sent."""
    found: list[Considered] = []
    seen, planning, steps = situation.snapshot, situation.planning or situation.snapshot, situation.vol_steps_bps
    if isinstance(steps, Unknown):
        notes.append(Note("limits_unread", f"no page: the table's limits could not be read ({steps.reason})"))
        return []
    for plan in plan_pages(planning, target, policy, steps, situation.page_interval_s):
        name = seen.symbol(plan.underlying)
        if plan.refused is not None:
            notes.append(Note("page_refused", plan.refused, True))
        elif plan.action is not None:
            check = check_page(seen, situation.assessments, plan.action, guard)
            digest = page_digest(plan.underlying, plan.action.epoch)
            found.append(_considered(situation, plan.action, check, digest, f"page of {name}", notes))
            notes.append(Note("page_due", f"{name}: {plan.trigger}"))
    joint = plan_joint(planning, target, policy)
    if joint is not None:
        check = check_joint(seen, situation.assessments, joint[0], guard)
        digest = page_digest(-1, joint[0].epoch)
        found.append(_considered(situation, joint[0], check, digest, "joint scenarios", notes))
        notes.append(Note("joint_due", joint[1]))
    return found


def _considered(
    situation: Situation,
    action: PublishPage | PublishJoint,
    check: PageCheck,
    digest: bytes,
    name: str,
    notes: list[Note],
) -> Considered:
    """Publication with the outcome of its check; no approval covers a page that is wrong in itself."""
    if check.problems:
        text = f"{name}, epoch {action.epoch} is not published: {'; '.join(check.problems)}"
        notes.append(Note("page_wrong", text, True, name))
        return Considered(action, check.impact, text)
    approved = covers(situation.approvals, digest, check.impact, situation.snapshot.block.timestamp)
    if check.refused is None or approved:
        return Considered(action, check.impact)
    notes.append(Note("page_refused", f"{name}, epoch {action.epoch}: {check.refused}", True, name))
    return Considered(action, check.impact, check.refused)


def _parameters(
    situation: Situation, policy: PushPolicy, notes: list[Note], considered: list[Considered]
) -> list[Action]:
    """The push or proposal that is due, and announced batches whose time has come, unless a word changed since."""
    queue = situation.queue
    void = frozenset[int]() if isinstance(queue, Unknown) else {item.id for item in queue.proposals if item.stale}
    if situation.target is None:
        return [item for item in situation.proposals if item.id not in void]
    plan = _with_approval(situation, push_plan(situation, situation.target, policy))
    notes += _push_notes(plan)
    batch = plan.action or plan.candidate
    if batch is not None:
        considered.append(Considered(batch, plan.impact, plan.refused))
    for number in plan.unwanted:
        text = f"proposal {number} would leave parameters looser than the calibration wants; the guardian can veto it"
        notes.append(Note("proposal_unwanted", text, True, str(number)))
    executable = [item for item in situation.proposals if item.id not in {*void, *plan.unwanted}]
    return [*([plan.action] if plan.action is not None else []), *executable]


def _with_approval(situation: Situation, plan: PushPlan) -> PushPlan:
    """Plan that may go because a person approved exactly this batch, and no more harm than it does now."""
    batch, now = plan.candidate, situation.snapshot.block.timestamp
    if batch is None or not covers(situation.approvals, digest_of(batch), plan.impact, now):
        return plan
    return replace(plan, action=batch, candidate=None, refused=None, refusal=None)


def push_plan(situation: Situation, target: ParameterSet, policy: PushPolicy) -> PushPlan:
    """Plan of a parameter push in this situation."""
    return plan_push(
        situation.snapshot,
        situation.assessments,
        target,
        situation.collateral_names,
        policy,
        situation.queue,
    )


def _push_notes(plan: PushPlan) -> list[Note]:
    if plan.refused is not None:
        return [Note("push_refused", plan.refused, True, plan.refusal)]
    if plan.action is not None and plan.impact is not None:
        part = f" at 1/{2**plan.halvings} of the step" if plan.halvings else ""
        what = "push" if isinstance(plan.action, PushParameters) else "proposal"
        text = (
            f"{what} {plan.action.nonce}: {len(plan.changes)} words{part}, "
            f"{len(plan.impact.newly_liquidatable)} accounts newly liquidatable"
        )
        return [Note("push_due", text)]
    return [Note("push_waiting", plan.waiting)] if plan.waiting not in {None, IDLE} else []


def _expiries(situation: Situation, alarm_s: int, notes: list[Note]) -> list[SettleExpiry]:
    """Settlement of every expiry for which the rounds are proven; one without is named, and alarms when it is late."""
    found = []
    for (underlying, expiry), numbers in sorted(situation.rounds.items()):
        if isinstance(numbers, Unknown):
            late = situation.snapshot.block.timestamp >= expiry + alarm_s
            text = f"{situation.snapshot.symbol(underlying)}, expiry {expiry} is not settled: {numbers.reason}"
            notes.append(Note("expiry_unsettled", text, late, f"{underlying}:{expiry}"))
        else:
            found.append(SettleExpiry(underlying, expiry, *numbers))
    return found


def _peg(snapshot: Snapshot) -> list[SyncPeg]:
    """The parameters should take the price of cash in when it says something else than they have stored."""
    peg = snapshot.peg
    if isinstance(peg, Unknown) or peg.due_bps == peg.stored_bps:
        return []
    return [SyncPeg(peg.due_bps, peg.updated_at)]


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
    return price.fresh and price.price_wad > 0
