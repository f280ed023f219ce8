# SPDX-License-Identifier: Apache-2.0
"""Plan one guarded push of risk parameters: towards the model's target, inside the chain's limits, in one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from keeper.actions import PushParameters
from keeper.assess import Assessments
from keeper.domain import ParameterBounds, ParameterStatus, Snapshot, Unknown
from keeper.publish.impact import Impact, measure, with_changes
from keeper.publish.words import COLLATERAL, GLOBAL, UNDERLYING, Stuck, halfway, outside_deadband, step_towards
from risk.types import ParameterSet
from risk.units import pack_collateral, pack_global, pack_underlying

Key = tuple[int, int]
Change = tuple[int, int, int]
MAX_CHANGES = 33
MAX_HALVINGS = 6  # a sixty-fourth of a step; each one is a recomputation of every account
IDLE = "every parameter is inside the deadband and the heartbeat is not due"


@dataclass(frozen=True, slots=True)
class PushPolicy:
    """When to push, and how much harm a push may do without a person's approval.

    ``deadband_bps`` of a lane's present value; ``heartbeat_s`` renews even unchanged parameters; ``inclusion_s`` how
    long a signed push may wait to be mined.
    """

    deadband_bps: int
    heartbeat_s: int
    max_newly_liquidatable: int
    max_newly_liquidatable_wad: int
    require_approval: bool = False
    inclusion_s: int = 900


@dataclass(frozen=True, slots=True)
class PushPlan:
    """Outcome of planning: the push, or why there is none.

    ``refused`` needs a person, ``refusal`` names its kind; ``waiting`` does not. ``changes`` are what the push changes,
    or would; ``halvings`` how often the step was halved until its impact was within the limits.
    """

    action: PushParameters | None
    changes: tuple[Change, ...] = ()
    impact: Impact | None = None
    waiting: str | None = None
    refused: str | None = None
    refusal: str | None = None
    halvings: int = 0


def target_words(target: ParameterSet, snapshot: Snapshot, collateral_names: Mapping[int, str]) -> dict[Key, int]:
    """Words the model wants, by (kind, id); underlyings and collaterals that it does not know are left alone."""
    words: dict[Key, int] = {(GLOBAL, 0): pack_global(target.global_parameters)}
    underlyings = {} if isinstance(snapshot.underlyings, Unknown) else snapshot.underlyings
    for number, info in sorted(underlyings.items()):
        if info.symbol in target.underlyings:
            words[UNDERLYING, number] = pack_underlying(target.underlyings[info.symbol])
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
    approved: bool = False,
) -> PushPlan:
    """Decide on a push from one snapshot.

    Parameters
    ----------
    collateral_names
        Name under which the model knows each collateral asset.
    approved
        A person has seen the impact and takes it.
    """
    status, words, bounds = snapshot.parameters, snapshot.parameter_words, snapshot.parameter_bounds
    if isinstance(status, Unknown) or isinstance(words, Unknown) or isinstance(bounds, Unknown):
        return PushPlan(None, waiting="the parameters on chain could not be read; the next cycle reads them again")
    changes: list[Change] = []
    moved = False
    for (kind, number), wanted in sorted(target_words(target, snapshot, collateral_names).items()):
        current = words.get((kind, number), 0)
        if current == 0:
            continue  # not initialised: governance sets the first word
        word = step_towards(kind, current, wanted, bounds[kind])
        if isinstance(word, Stuck):
            return PushPlan(None, refused=str(word), refusal="stuck")
        if word != current:
            changes.append((kind, number, word))
            moved = moved or outside_deadband(current, word, policy.deadband_bps)
    batch = tuple(changes[:MAX_CHANGES])
    due = snapshot.block.timestamp >= status.pushed_at + policy.heartbeat_s
    if not moved and not due:
        return PushPlan(None, batch, waiting=IDLE)
    waiting = _too_early(status, target, snapshot.block.timestamp)
    if waiting is not None:
        return PushPlan(None, batch, waiting=waiting)
    found = _choose(snapshot, assessments, batch, words, bounds, policy, approved)
    if found.waiting is not None or found.refused is not None:
        return found
    action = _action(target, status.nonce + 1, snapshot.block.timestamp + policy.inclusion_s, found.changes)
    return replace(found, action=action)


def _too_early(status: ParameterStatus, target: ParameterSet, now: int) -> str | None:
    if now < status.pushed_at + status.min_interval_s:
        return f"the last push is {now - status.pushed_at} s old, the interval is {status.min_interval_s} s"
    if target.provenance.observed_at <= status.observed_at:
        return f"the calibration's data of {target.provenance.observed_at} is not newer than the last push's"
    if now - target.provenance.observed_at > status.max_age_s:
        return (
            f"the calibration's data are {now - target.provenance.observed_at} s old, the contract takes "
            f"{status.max_age_s} s; the next calibration brings newer ones"
        )
    if target.provenance.observed_at > now:
        return f"the calibration's data of {target.provenance.observed_at} is newer than the block's time {now}"
    return None


def _choose(
    snapshot: Snapshot,
    assessments: Assessments,
    batch: tuple[Change, ...],
    words: Mapping[Key, int],
    bounds: Mapping[int, ParameterBounds],
    policy: PushPolicy,
    approved: bool,
) -> PushPlan:
    """Largest part of a batch whose impact is within the limits; a plan without its action."""
    market = snapshot.market
    if isinstance(market, Unknown):
        return PushPlan(None, batch, waiting=f"the market could not be read ({market.reason}); read it again")
    whole = PushPlan(None, batch, measure(snapshot, assessments, with_changes(market, batch)))
    if approved:
        return whole
    refused = _excess(whole, policy)
    if refused is None:
        return _held(whole, policy)
    if whole.impact is not None and whole.impact.newly_liquidatable:
        for count, smaller in enumerate(_halves(batch, words, bounds, policy.deadband_bps), start=1):
            impact = measure(snapshot, assessments, with_changes(market, smaller))
            plan = PushPlan(None, smaller, impact, halvings=count)
            if _excess(plan, policy) is None:
                return _held(plan, policy)
    return replace(whole, refused=refused, refusal="impact")


def _excess(plan: PushPlan, policy: PushPolicy) -> str | None:
    if plan.impact is None:
        return None
    return plan.impact.refusal(policy.max_newly_liquidatable, policy.max_newly_liquidatable_wad)


def _held(plan: PushPlan, policy: PushPolicy) -> PushPlan:
    """Plan that waits for a person where the operator wants to see every push."""
    if not policy.require_approval:
        return plan
    text = f"{len(plan.changes)} words wait for approval; run 'ballast params push --approve --execute'"
    return replace(plan, refused=text, refusal="approval")


def _halves(
    batch: tuple[Change, ...], words: Mapping[Key, int], bounds: Mapping[int, ParameterBounds], deadband_bps: int
) -> Iterator[tuple[Change, ...]]:
    """Yield the batch with every lane's move halved again and again, while some lane moves beyond the deadband."""
    for _ in range(MAX_HALVINGS):
        smaller = []
        for kind, number, word in batch:
            current = words[kind, number]
            legal = step_towards(kind, current, halfway(current, word), bounds[kind])
            if not isinstance(legal, Stuck) and legal != current:
                smaller.append((kind, number, legal))
        same = tuple(smaller) == batch
        batch = tuple(smaller)
        if same or not any(outside_deadband(words[kind, n], word, deadband_bps) for kind, n, word in batch):
            return
        yield batch


def _action(target: ParameterSet, nonce: int, expires_at: int, changes: tuple[Change, ...]) -> PushParameters:
    return PushParameters(
        nonce=nonce,
        observed_at=target.provenance.observed_at,
        expires_at=expires_at,
        model_hash=bytes.fromhex(target.provenance.model_hash.removeprefix("0x")),
        data_hash=bytes.fromhex(target.provenance.data_hash.removeprefix("0x")),
        changes=changes,
    )
