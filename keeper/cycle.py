# SPDX-License-Identifier: Apache-2.0
"""One turn of the keeper: observe, assess, decide, act, record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from keeper.act import Outbox, Outcome, Result, execute, rehearse
from keeper.actions import (
    Action,
    ChallengeRow,
    ExecuteProposal,
    ProposeParameters,
    PublishJoint,
    PublishPage,
    PushParameters,
    RecordPrice,
)
from keeper.assess import (
    Assessments,
    Parity,
    ParityPolicy,
    assess_all,
    check_parity,
    choose_for_parity,
    liquidatable,
    near_line,
    unknown_of,
    worst_of,
)
from keeper.chain.live import LiveReader
from keeper.cosign.quorum import Quorum
from keeper.cosign.turn import completed
from keeper.decide import LIQUIDATION, PARAMETERS, PUBLICATION, Decision, Policy, Situation, decide
from keeper.domain import Snapshot, Unknown
from keeper.errors import Halt
from keeper.index.proposals import QueuedProposal
from keeper.liquidate.actions import Bid, BidLegs
from keeper.liquidate.hedge import HedgeHook
from keeper.logging import scrub
from keeper.observe.alerts import Alerts
from keeper.observe.board import Instruments
from keeper.ports import Chain, Clock
from keeper.publish.approvals import Approval, no_approvals
from keeper.publish.readback import verify
from keeper.publish.records import log, log_refused
from keeper.publish.shadow import Shadow
from keeper.publish.signing import Publisher
from keeper.publish.verifier import wrong_rows_before
from keeper.publish.watch import Watch
from keeper.recorder import REFUSED, SENT, SHADOW, Recorder
from keeper.report import CycleReport
from keeper.sanity import PriceCheck
from keeper.situation import Quotes, observe
from risk.types import ParameterSet

WAD = 10**18
NONCE_CHANGED = "auction: nonce"
BATCHES = (PushParameters, ProposeParameters)
SOURCE = "cycle"  # of the alerts that last until a turn is silent about them
PUBLICATIONS = (PublishPage, PublishJoint, *BATCHES)
SHADOWED = (*PUBLICATIONS, ExecuteProposal, ChallengeRow)


@dataclass(slots=True)
class Cycle:
    """The loop's body, wired from ports.

    Attributes
    ----------
    outbox
        None is a dry run: every action is rehearsed at the block of the snapshot and nothing is sent.
    sender
        Address that a dry run rehearses for, when one is known.
    target
        The parameters and surfaces to publish from; None until there is a calibration.
    proposals
        Gives the announced parameter changes that events tell of.
    contested
        Bids in a row on each account that were lost because somebody had changed its nonce.
    prices
        Compares the oracle with sources outside the chain; while they disagree nothing is sent.
    hedge
        Told what the bidder's account holds whenever that has changed.
    live
        Where snapshots come from in a daemon; None reads everything anew from ``chain``.
    seen
        Gets each snapshot as soon as it is read.
    publisher
        Signs what goes into the risk table; without one a publication has no signature.
    follower
        Gets what each turn saw, to warn owners of accounts; must return at once.
    approvals
        Gives what a person has approved and is good at a time (unix s).
    shadow
        What was decided in shadow mode, where nothing of it is sent.
    watch
        Judges what others publish, by the contracts' verifier, which is then also asked about one's own pages.
    quorum
        Gathers the signatures of other publishers; without it a table bears this one's alone.
    show
        Is given what each turn saw and did, for the live page; must return at once.
    """

    chain: Chain
    clock: Clock
    recorder: Recorder
    instruments: Instruments
    alerts: Alerts
    quotes: Quotes
    policy: Policy
    parity_policy: ParityPolicy = field(default_factory=ParityPolicy)
    outbox: Outbox | None = None
    sender: str | None = None
    target: ParameterSet | None = None
    collateral_names: Mapping[int, str] = field(default_factory=dict)
    recorded: dict[tuple[int, int], int] = field(default_factory=dict)
    proposals: Callable[[], Sequence[QueuedProposal]] = tuple
    publisher: Publisher | None = None
    contested: dict[int, int] = field(default_factory=dict)
    live: LiveReader | None = None
    seen: Callable[[Snapshot], None] | None = None
    prices: PriceCheck | None = None
    hedge: HedgeHook | None = None
    follower: Callable[[Situation], None] | None = None
    approvals: Callable[[int], Mapping[bytes, Approval]] = no_approvals
    shadow: Shadow = field(default_factory=Shadow)
    watch: Watch | None = None
    quorum: Quorum | None = None
    show: Callable[[Situation, CycleReport], None] | None = None

    def run(self) -> CycleReport:
        """Do one turn.

        Raises
        ------
        Transient, Permanent
            The snapshot could not be read; nothing was done.
        Halt
            The sender or the database must not go on.
        """
        began = time.monotonic()
        run = self.recorder.begin(self.clock.now())
        try:
            report = self._turn(began)
        except Exception as error:
            self.recorder.finish(run, self.clock.now(), None, "error", {"error": scrub(str(error))})
            self.instruments.failed(self.clock.now())
            raise
        self.recorder.finish(run, self.clock.now(), report.block.number, report.result, report.detail())
        self.instruments.cycle(report.result, report.duration_s, self.clock.now())
        structlog.get_logger("cycle").info(
            "cycle", block=str(report.block), result=report.result, actions=[str(o) for o in report.outcomes]
        )
        return report

    def _turn(self, began: float) -> CycleReport:
        self._halts()
        late = () if self.outbox is None else self.outbox.reconcile()
        self._read_back([o.action for o in late if o.result is Result.DONE])
        for outcome in late:
            if isinstance(outcome.action, Bid | BidLegs):
                self._count_lost(outcome.action, outcome)
        snapshot = self.chain.snapshot() if self.live is None else self.live.snapshot()
        if self.seen is not None:
            self.seen(snapshot)
        assessments = assess_all(snapshot)
        parity = self._parity(snapshot, assessments)
        situation = self._observe(snapshot, assessments)
        decision = decide(situation, self._policy(snapshot))
        decision = self._with_watch(snapshot, decision)
        self._announce(decision)
        log_refused(self.recorder, decision, self.clock.now())
        outcomes = (*late, *self._act(snapshot, decision))
        self.instruments.book(situation, self.clock.now())
        if self.hedge is not None and self.policy.bids is not None:
            self.hedge.offer(snapshot, assessments, self.policy.bids.bidder_account)
        if self.follower is not None:
            self.follower(situation)
        self.alerts.settle(SOURCE, self.clock.now())
        self.recorder.assessments(assessments, snapshot.block.number, snapshot.block.timestamp)
        report = CycleReport(
            block=snapshot.block,
            accounts=len(assessments),
            unknown=unknown_of(assessments),
            liquidatable=liquidatable(assessments),
            worst=worst_of(assessments),
            parity=parity,
            decision=decision,
            outcomes=outcomes,
            halted=tuple(sorted(self.recorder.halted())),
            duration_s=time.monotonic() - began,
        )
        if self.show is not None:
            self.show(situation, report)
        return report

    def _halts(self) -> None:
        """Tell of the parts that are stopped, also after a restart, and of those that were resumed."""
        self.instruments.halts(self.recorder.halted())
        for part, why in sorted(self.instruments.health.halts().items()):
            self._told_of(part, why, self.clock.now())

    def _told_of(self, part: str, why: str, now: int) -> None:
        text = f"{part} is halted: {why}; see 'ballast keeper resume'"
        self.alerts.fire(f"halted_{part}", text, now, part, source=SOURCE)

    def _policy(self, snapshot: Snapshot) -> Policy:
        """What the operator allows, less what is halted; nothing at all while prices are in dispute."""
        if self._prices_agree(snapshot):
            return replace(self.policy, halted=frozenset(self.recorder.halted()))
        return Policy(settle=False)

    def _prices_agree(self, snapshot: Snapshot) -> bool:
        if self.prices is None:
            return True
        now = self.clock.now()
        look = self.prices.look(snapshot, now)
        self.instruments.sanity(look)
        for symbol, why in look.disagree.items():
            self.alerts.fire("price_disagrees", f"nothing is sent: {why}", now, symbol, source=SOURCE)
        for symbol, why in look.unknown.items():
            self.alerts.fire("price_unconfirmed", f"{why}; check sanity.sources", now, symbol, source=SOURCE)
        return look.trusted

    def _observe(self, snapshot: Snapshot, assessments: Assessments) -> Situation:
        situation = observe(
            self.chain,
            snapshot,
            assessments,
            self.policy,
            self.quotes,
            self.recorded,
            self.target,
            self.collateral_names,
            self.proposals(),
            self.contested,
        )
        if self.policy.pages is None and self.policy.push is None:
            return situation
        planning = self.shadow.planning(snapshot) if self.policy.shadow else None
        return replace(situation, approvals=self.approvals(snapshot.block.timestamp), planning=planning)

    def _with_watch(self, snapshot: Snapshot, decision: Decision) -> Decision:
        """Decision with challenges in front: a wrong page harms everybody, and the contract itself finds it wrong."""
        if self.watch is None:
            return decision
        found = self.watch.look(snapshot, self.target)
        return replace(decision, actions=(*found.actions, *decision.actions), notes=(*found.notes, *decision.notes))

    def _sound(self, snapshot: Snapshot, action: Action) -> bool:
        """Whether the contracts' own verifier finds nothing wrong with a page that is about to be published."""
        if self.watch is None or not isinstance(action, PublishPage) or isinstance(snapshot.options, Unknown):
            return True
        wrong = wrong_rows_before(self.chain, snapshot.block, action, snapshot.options)
        if not wrong:
            return True
        said = wrong.reason if isinstance(wrong, Unknown) else "; ".join(map(str, wrong[:8]))
        text = f"page of {snapshot.symbol(action.underlying)}, epoch {action.epoch} is not published: {said}"
        self.alerts.fire("page_wrong", text, self.clock.now(), action.subject)
        log(self.recorder, action, self.clock.now(), REFUSED, None, text)
        return False

    def _parity(self, snapshot: Snapshot, assessments: Assessments) -> Parity:
        """Compare twin and engine; a mismatch stops liquidation until a person resumes it."""
        chosen = choose_for_parity(assessments, self.parity_policy, snapshot.block.hash)
        if self.live is not None:
            chosen = self.live.affordable(chosen)
            self.live.look_near(near_line(assessments, self.parity_policy.near_bps, self.parity_policy.near_limit))
        parity = check_parity(self.chain, snapshot, assessments, chosen)
        if self.live is not None:
            self.live.distrust((*parity.unread, *(item.account for item in parity.mismatches)))
        self.instruments.parity(parity)
        if parity.mismatches:
            first = parity.mismatches[0]
            self.halt(LIQUIDATION, f"{len(parity.mismatches)} accounts differ from the engine; first: {first}")
        return parity

    def halt(self, part: str, why: str) -> None:
        """Stop a part of the keeper until a person resumes it."""
        now = self.clock.now()
        self.recorder.halt(part, now)
        self.instruments.halt(part, why)
        self._told_of(part, why, now)

    def _announce(self, decision: Decision) -> None:
        for note in decision.notes:
            if note.alarm:
                self.alerts.fire(note.name, note.text, self.clock.now(), note.key, source=SOURCE)
            else:
                structlog.get_logger("decision").info(note.text, note=note.name)

    def _act(self, snapshot: Snapshot, decision: Decision) -> tuple[Outcome, ...]:
        outcomes = []
        for wanted in decision.actions:
            if not self._sound(snapshot, wanted):
                continue
            if self.policy.shadow and isinstance(wanted, SHADOWED):
                outcomes += self._pretend(snapshot, wanted, decision)
                continue
            action = self._signed(snapshot, wanted)
            if action is None:
                continue
            if self.outbox is None:
                outcome = rehearse(self.chain, action, snapshot.block, self.sender)
            else:
                outcome = execute(self.chain, self.outbox, action)
                self._follow(action, outcome)
            if outcome.result is Result.KNOWN:
                continue  # nothing was sent: no news
            self.instruments.action(action.kind, outcome.result)
            outcomes.append(outcome)
            if outcome.result is Result.FAILED:
                self.alerts.fire(f"action_{action.kind}", str(outcome), self.clock.now())
        self._read_back([o.action for o in outcomes if o.result is Result.DONE])
        return tuple(outcomes)

    def _signed(self, snapshot: Snapshot, action: Action) -> Action | None:
        """Action with the signatures it needs; None where they could not be had yet, which is told."""
        if self.quorum is None or self.outbox is None or not isinstance(action, PublishPage | PublishJoint):
            return action if self.publisher is None else self.publisher.endorse(action)
        return completed(self.quorum, action, snapshot.block, self.alerts, self.clock.now())

    def _pretend(self, snapshot: Snapshot, action: Action, decision: Decision) -> list[Outcome]:
        """Shadow mode: judge and record what would be sent, and send nothing."""
        if not self.shadow.take(action):
            return []
        said = rehearse(self.chain, action, snapshot.block, None)
        impact = next((item.impact for item in decision.considered if item.action is action), None)
        log(self.recorder, action, self.clock.now(), SHADOW, impact, said.detail)
        self.instruments.action(action.kind, Result.SHADOW)
        return [Outcome(action, Result.SHADOW, said.detail or "not sent")]

    def _follow(self, action: Action, outcome: Outcome) -> None:
        """Keep what was sent, do not record the same price again, and count bids that were lost to dust."""
        if isinstance(action, Bid | BidLegs):
            self._count_lost(action, outcome)
        if outcome.result in {Result.DONE, Result.PENDING}:
            log(self.recorder, action, self.clock.now(), SENT)
        if isinstance(action, RecordPrice) and outcome.result in {Result.DONE, Result.PENDING, Result.KNOWN}:
            self.recorded[action.oracle_kind, action.id] = action.updated_at

    def _count_lost(self, action: Bid | BidLegs, outcome: Outcome) -> None:
        """Bids in a row that a changed nonce has cost, also those that were beaten in their block and told late."""
        if outcome.result is Result.DONE:
            self.contested.pop(action.account, None)
        elif NONCE_CHANGED in outcome.detail:
            self.contested[action.account] = self.contested.get(action.account, 0) + 1

    def _read_back(self, done: list[Action]) -> None:
        """Compare the chain with every publication of this turn; a difference stops publishing."""
        published = [action for action in done if isinstance(action, PUBLICATIONS)]
        if not published:
            return
        after = self.chain.snapshot(accounts=())
        for action in published:
            try:
                verify(after, action)
            except Halt as error:
                self.halt(PARAMETERS if isinstance(action, BATCHES) else PUBLICATION, str(error))
