# SPDX-License-Identifier: Apache-2.0
"""Plan one change of the risk parameters towards the model's target, inside the chain's limits, in one batch.

What tightens is pushed and in force for initial margin at once. What loosens is proposed: it waits, may be vetoed, and
is void when one of its words changes meanwhile; so a push leaves words with a living proposal alone, unless it is
urgent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from keeper.actions import ProposeParameters, PushParameters
from keeper.assess import Assessments
from keeper.domain import ParameterBounds, ParameterStatus, Snapshot, Unknown
from keeper.publish.impact import Impact, measure, with_changes
from keeper.publish.queue import Change, Key, ParameterQueue, Proposal
from keeper.publish.words import (
    COLLATERAL,
    GLOBAL,
    UNDERLYING,
    Stuck,
    halfway,
    loosening_part,
    loosens_too_far,
    looser_than,
    only_tightens,
    outside_deadband,
    step_towards,
    tightening_part,
)
from risk.types import ParameterSet
from risk.units import pack_collateral, pack_global, pack_underlying

MAX_CHANGES = 33
MAX_OPEN = 8  # a ninth proposal would close the first
MAX_HALVINGS = 6  # a sixty-fourth of a step; each one is a recomputation of every account
IDLE = "every parameter is inside the deadband and the heartbeat is not due"


@dataclass(frozen=True, slots=True)
class PushPolicy:
    """When to push, and how much harm a push may do without a person's approval.

    ``deadband_bps`` of a lane's present value; ``heartbeat_s`` renews even unchanged parameters; ``inclusion_s`` how
    long a signed push may wait to be mined; ``urgent_bps`` of a lane's present value: a word that must tighten by more
    is pushed even if that makes a proposal void.
    """

    deadband_bps: int
    heartbeat_s: int
    max_newly_liquidatable: int
    max_newly_liquidatable_wad: int
    require_approval: bool = False
    inclusion_s: int = 900
    urgent_bps: int = 1_000


@dataclass(frozen=True, slots=True)
class PushPlan:
    """Outcome of planning: the push or the proposal, or why there is neither.

    ``refused`` needs a person, ``refusal`` names its kind; ``waiting`` does not. ``changes`` are what the batch
    changes, or would; ``halvings`` how often the step was halved until its impact was within the limits; ``unwanted``
    proposals that anybody may execute and the model no longer wants, for the guardian to veto. ``candidate`` is what a
    refused plan would send if a person approved it.
    """

    action: PushParameters | ProposeParameters | None
    changes: tuple[Change, ...] = ()
    impact: Impact | None = None
    waiting: str | None = None
    refused: str | None = None
    refusal: str | None = None
    halvings: int = 0
    unwanted: tuple[int, ...] = ()
    candidate: PushParameters | ProposeParameters | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """All that a batch is chosen from."""

    words: Mapping[Key, int]
    bounds: Mapping[int, ParameterBounds]
    wanted: Mapping[Key, int]
    queue: ParameterQueue
    policy: PushPolicy
    now: int

    def step(self, key: Key, goal: int, *, pushing: bool) -> int | Stuck:
        """Legal word of one change towards a goal."""
        multiple = self.queue.min_scan_multiple_bps
        return step_towards(key[0], self.words[key], goal, self.bounds[key[0]], multiple, pushing=pushing)

    def past(self, key: Key, word: int, by_bps: int) -> bool:
        """Whether a word would loosen the stored one past what the model wants."""
        wanted = self.wanted.get(key)
        return wanted is not None and loosens_too_far(key[0], self.words[key], word, wanted, by_bps)


def target_words(target: ParameterSet, snapshot: Snapshot, collateral_names: Mapping[int, str]) -> dict[Key, int]:
    """Words the model wants, by (kind, id); underlyings and collaterals that it does not know are left alone."""
    words: dict[Key, int] = {(GLOBAL, 0): pack_global(replace(target.global_parameters, im_offset_floor_bps=0))}
    underlyings = {} if isinstance(snapshot.underlyings, Unknown) else snapshot.underlyings
    for number, info in sorted(underlyings.items()):
        if info.symbol in target.underlyings:
            words[UNDERLYING, number] = pack_underlying(replace(target.underlyings[info.symbol], widen_bps=0))
    for number, name in sorted(collateral_names.items()):
        if name in target.collaterals:
            words[COLLATERAL, number] = pack_collateral(target.collaterals[name])
    return words


def plan_push(
    snapshot: Snapshot,
    assessments: Assessments,
    target: ParameterSet,
    collateral_names: Mapping[int, str],
    policy: PushPolicy,
    queue: ParameterQueue | Unknown,
    approved: bool = False,
) -> PushPlan:
    """Decide on a push, or where none is due on a proposal, from one snapshot.

    Parameters
    ----------
    collateral_names
        Name under which the model knows each collateral asset.
    queue
        `keeper.publish.queue.read_queue` at the snapshot's block.
    approved
        A person has seen the impact and takes it.
    """
    status, words, bounds = snapshot.parameters, snapshot.parameter_words, snapshot.parameter_bounds
    unread = "the parameters on chain could not be read; the next cycle reads them again"
    if isinstance(status, Unknown) or isinstance(words, Unknown):
        return PushPlan(None, waiting=unread)
    if isinstance(bounds, Unknown) or isinstance(queue, Unknown):
        return PushPlan(None, waiting=unread)
    wanted = {
        key: word
        for key, word in sorted(target_words(target, snapshot, collateral_names).items())
        if words.get(key, 0) != 0  # a word not initialised: governance sets the first one
    }
    place = _Place(words, bounds, wanted, queue, policy, snapshot.block.timestamp)
    living = queue.living(place.now)
    unwanted = tuple(item.id for item in living if _unwanted(item, place))
    found = _push(snapshot, assessments, target, status, place, living, approved)
    if found.action is None and found.waiting is not None and found.refused is None:
        proposed = _propose(snapshot, assessments, target, status, place, living, approved)
        found = proposed if proposed is not None else found
    return replace(found, unwanted=unwanted)


def _unwanted(item: Proposal, place: _Place) -> bool:
    """Whether a proposal would loosen a word past what the model now wants, by more than the deadband."""
    return any(place.past(key, word, place.policy.deadband_bps) for key, word in item.words.items())


# ------------------------------------------------------------------ what tightens


def _push(
    snapshot: Snapshot,
    assessments: Assessments,
    target: ParameterSet,
    status: ParameterStatus,
    place: _Place,
    living: Sequence[Proposal],
    approved: bool,
) -> PushPlan:
    changes = _tightening(place, living)
    if isinstance(changes, Stuck):
        return PushPlan(None, refused=str(changes), refusal="stuck")
    moved = any(outside_deadband(place.words[k, n], word, place.policy.deadband_bps) for k, n, word in changes)
    if not moved and place.now < status.pushed_at + place.policy.heartbeat_s:
        return PushPlan(None, changes, waiting=IDLE)
    waiting = _unusable(status, target, place.now, status.observed_at + 1)
    if waiting is not None:
        return PushPlan(None, changes, waiting=waiting)
    found = _choose(snapshot, assessments, changes, place, approved)
    return _with_action(found, PushParameters(*_content(target, status, place, found.changes)))


def _tightening(place: _Place, living: Sequence[Proposal]) -> tuple[Change, ...] | Stuck:
    """Every word that may be pushed, as far as one push may; a stuck lane only where some lane wants to move."""
    changes: list[Change] = []
    for key, wanted in place.wanted.items():
        current = place.words[key]
        goal = tightening_part(key[0], current, wanted)
        if goal == current or not place.queue.changeable(key, place.now):
            continue
        word = place.step(key, goal, pushing=True)
        if isinstance(word, Stuck):
            if isinstance(place.step(key, wanted, pushing=False), Stuck):
                return word
            continue  # a proposal brings the lane back first
        if word != current and not (_held(key, living) and not _urgent(key, word, place, living)):
            changes.append((*key, word))
    return tuple(changes[:MAX_CHANGES])


def _held(key: Key, living: Sequence[Proposal]) -> bool:
    return any(key in item.words for item in living)


def _urgent(key: Key, word: int, place: _Place, living: Sequence[Proposal]) -> bool:
    """Whether a word must not wait for its proposal: it tightens by much, or the proposal would loosen by much."""
    by = place.policy.urgent_bps
    if looser_than(key[0], place.words[key], word, by):
        return True
    return any(place.past(key, item.words[key], by) for item in living if key in item.words)


# ------------------------------------------------------------------ what loosens


def _propose(
    snapshot: Snapshot,
    assessments: Assessments,
    target: ParameterSet,
    status: ParameterStatus,
    place: _Place,
    living: Sequence[Proposal],
    approved: bool,
) -> PushPlan | None:
    """Proposal of what only a proposal may move, None where there is nothing to propose now."""
    eta = place.now + place.queue.loosen_delay_s
    if len([item for item in place.queue.proposals if place.now <= item.until]) >= MAX_OPEN:
        return None
    changes: list[Change] = []
    for key, wanted in place.wanted.items():
        current = place.words[key]
        goal = loosening_part(key[0], current, wanted)
        if _held(key, living) or not place.queue.changeable(key, eta):
            continue
        word = place.step(key, goal, pushing=False)
        if isinstance(word, Stuck):
            return PushPlan(None, refused=str(word), refusal="stuck")
        if word != current and not only_tightens(key[0], current, word):
            changes.append((*key, word))
    batch = tuple(changes[:MAX_CHANGES])
    if not any(outside_deadband(place.words[k, n], word, place.policy.deadband_bps) for k, n, word in batch):
        return None
    waiting = _unusable(status, target, place.now, status.observed_at)
    if waiting is not None:
        return PushPlan(None, batch, waiting=waiting)
    found = _choose(snapshot, assessments, batch, place, approved, pushing=False)
    return _with_action(found, ProposeParameters(*_content(target, status, place, found.changes)))


# ------------------------------------------------------------------ common to both


def _with_action(found: PushPlan, action: PushParameters | ProposeParameters) -> PushPlan:
    """Plan with its action, or where a person must look first with its candidate."""
    if found.waiting is not None:
        return found
    return replace(found, candidate=action) if found.refused is not None else replace(found, action=action)


def _unusable(status: ParameterStatus, target: ParameterSet, now: int, not_before: int) -> str | None:
    """Why the calibration's data cannot go into a batch now; ``not_before`` is the oldest observation it may carry."""
    observed_at = target.provenance.observed_at
    if observed_at < not_before:
        return f"the calibration's data of {observed_at} is not newer than the last push's"
    if now - observed_at > status.max_age_s:
        return (
            f"the calibration's data are {now - observed_at} s old, the contract takes {status.max_age_s} s; "
            "the next calibration brings newer ones"
        )
    if observed_at > now:
        return f"the calibration's data of {observed_at} is newer than the block's time {now}"
    return None


def _choose(
    snapshot: Snapshot,
    assessments: Assessments,
    batch: tuple[Change, ...],
    place: _Place,
    approved: bool,
    *,
    pushing: bool = True,
) -> PushPlan:
    """Largest part of a batch whose impact is within the limits; a plan without its action."""
    market, policy = snapshot.market, place.policy
    if isinstance(market, Unknown):
        return PushPlan(None, batch, waiting=f"the market could not be read ({market.reason}); read it again")
    whole = PushPlan(None, batch, measure(snapshot, assessments, with_changes(market, batch)))
    if approved:
        return whole
    refused = _excess(whole, policy)
    if refused is None:
        return _approval(whole, policy)
    if whole.impact is not None and whole.impact.newly_liquidatable:
        for count, smaller in enumerate(_halves(batch, place, pushing=pushing), start=1):
            impact = measure(snapshot, assessments, with_changes(market, smaller))
            plan = PushPlan(None, smaller, impact, halvings=count)
            if _excess(plan, policy) is None:
                return _approval(plan, policy)
    return replace(whole, refused=refused, refusal="impact")


def _excess(plan: PushPlan, policy: PushPolicy) -> str | None:
    if plan.impact is None:
        return None
    return plan.impact.refusal(policy.max_newly_liquidatable, policy.max_newly_liquidatable_wad)


def _approval(plan: PushPlan, policy: PushPolicy) -> PushPlan:
    """Plan that waits for a person where the operator wants to see every change."""
    if not policy.require_approval:
        return plan
    what = f"{len(plan.changes)} words wait" if plan.changes else "a push that only renews the validity waits"
    text = f"{what} for approval; see 'ballast params waiting'"
    return replace(plan, refused=text, refusal="approval")


def _halves(batch: tuple[Change, ...], place: _Place, *, pushing: bool) -> Iterator[tuple[Change, ...]]:
    """Yield the batch with every lane's move halved again and again, while some lane moves beyond the deadband."""
    for _ in range(MAX_HALVINGS):
        smaller = []
        for kind, number, word in batch:
            current = place.words[kind, number]
            legal = place.step((kind, number), halfway(current, word), pushing=pushing)
            if not isinstance(legal, Stuck) and legal != current:
                smaller.append((kind, number, legal))
        same = tuple(smaller) == batch
        batch = tuple(smaller)
        deadband = place.policy.deadband_bps
        if same or not any(outside_deadband(place.words[kind, n], word, deadband) for kind, n, word in batch):
            return
        yield batch


def _content(
    target: ParameterSet, status: ParameterStatus, place: _Place, changes: tuple[Change, ...]
) -> tuple[int, int, int, bytes, bytes, tuple[Change, ...]]:
    """Fields of a batch in the order of the contract."""
    return (
        status.nonce + 1,
        target.provenance.observed_at,
        place.now + place.policy.inclusion_s,
        bytes.fromhex(target.provenance.model_hash.removeprefix("0x")),
        bytes.fromhex(target.provenance.data_hash.removeprefix("0x")),
        changes,
    )
