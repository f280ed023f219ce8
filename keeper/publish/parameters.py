# SPDX-License-Identifier: Apache-2.0
"""Plan one guarded push of risk parameters: towards the model's target, inside the chain's limits, in one batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keeper.actions import PushParameters
from keeper.assess import Assessments
from keeper.domain import ParameterStatus, Snapshot, Unknown
from keeper.publish.impact import Impact, measure, with_changes
from keeper.publish.words import COLLATERAL, GLOBAL, UNDERLYING, Stuck, outside_deadband, step_towards
from risk.types import ParameterSet
from risk.units import pack_collateral, pack_global, pack_underlying

Key = tuple[int, int]
MAX_CHANGES = 33


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

    ``refused`` needs a person; ``waiting`` does not. ``changes`` are what the push changes, or would.
    """

    action: PushParameters | None
    changes: tuple[tuple[int, int, int], ...] = ()
    impact: Impact | None = None
    waiting: str | None = None
    refused: str | None = None


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
    changes: list[tuple[int, int, int]] = []
    moved = False
    for (kind, number), wanted in sorted(target_words(target, snapshot, collateral_names).items()):
        current = words.get((kind, number), 0)
        if current == 0:
            continue  # not initialised: governance sets the first word
        word = step_towards(kind, current, wanted, bounds[kind])
        if isinstance(word, Stuck):
            return PushPlan(None, refused=str(word))
        if word != current:
            changes.append((kind, number, word))
            moved = moved or outside_deadband(current, word, policy.deadband_bps)
    batch = tuple(changes[:MAX_CHANGES])
    due = snapshot.block.timestamp >= status.pushed_at + policy.heartbeat_s
    if not moved and not due:
        return PushPlan(None, batch, waiting="every parameter is inside the deadband and the heartbeat is not due")
    waiting = _too_early(status, target, snapshot.block.timestamp)
    if waiting is not None:
        return PushPlan(None, batch, waiting=waiting)
    return _guarded(snapshot, assessments, target, status.nonce + 1, batch, policy, approved)


def _too_early(status: ParameterStatus, target: ParameterSet, now: int) -> str | None:
    if now < status.pushed_at + status.min_interval_s:
        return f"the last push is {now - status.pushed_at} s old, the interval is {status.min_interval_s} s"
    if target.provenance.observed_at <= status.observed_at:
        return f"the calibration's data of {target.provenance.observed_at} is not newer than the last push's"
    if target.provenance.observed_at > now:
        return f"the calibration's data of {target.provenance.observed_at} is newer than the block's time {now}"
    return None


def _guarded(
    snapshot: Snapshot,
    assessments: Assessments,
    target: ParameterSet,
    nonce: int,
    changes: tuple[tuple[int, int, int], ...],
    policy: PushPolicy,
    approved: bool,
) -> PushPlan:
    market = snapshot.market
    if isinstance(market, Unknown):
        return PushPlan(None, changes, waiting=f"the market could not be read ({market.reason}); read it again")
    impact = measure(snapshot, assessments, with_changes(market, changes))
    if not approved:
        refused = impact.refusal(policy.max_newly_liquidatable, policy.max_newly_liquidatable_wad)
        if refused is None and policy.require_approval:
            refused = f"{len(changes)} words wait for approval; run 'ballast params push --approve --execute'"
        if refused is not None:
            return PushPlan(None, changes, impact, refused=refused)
    action = PushParameters(
        nonce=nonce,
        observed_at=target.provenance.observed_at,
        expires_at=snapshot.block.timestamp + policy.inclusion_s,
        model_hash=bytes.fromhex(target.provenance.model_hash.removeprefix("0x")),
        data_hash=bytes.fromhex(target.provenance.data_hash.removeprefix("0x")),
        changes=changes,
    )
    return PushPlan(action, changes, impact)
