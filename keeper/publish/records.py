# SPDX-License-Identifier: Apache-2.0
"""What is kept of everything that was built for publication, whatever became of it."""

from __future__ import annotations

from typing import Any

from keeper.actions import Action, ParameterBatch, PublishJoint, PublishPage
from keeper.decide import Decision
from keeper.publish.impact import Impact
from keeper.recorder import REFUSED, WAITING, Recorder


def log(
    recorder: Recorder, action: Action, at: int, verdict: str, impact: Impact | None = None, said: str | None = None
) -> None:
    """Keep a page, joint scenarios or a batch under its verdict; other actions are not kept.

    ``said`` is what the contract's own check or the guard answered.
    """
    judged: dict[str, Any] = {} if said is None else {"said": said}
    if impact is not None:
        judged["impact"] = {
            "newly_liquidatable": list(impact.newly_liquidatable),
            "unknown": list(impact.unknown),
            "cured": list(impact.cured),
            "equity_wad": str(impact.equity_wad),
        }
    if isinstance(action, PublishPage):
        recorder.page(action, at, verdict, **judged)
    elif isinstance(action, PublishJoint):
        recorder.joint(action, at, verdict, **judged)
    elif isinstance(action, ParameterBatch):
        recorder.push(action, at, verdict, **judged)


def log_refused(recorder: Recorder, decision: Decision, at: int) -> None:
    """Keep what waits for a person, so that it can be looked at and approved."""
    for item in decision.considered:
        if item.refused is not None:
            verdict = WAITING if isinstance(item.action, ParameterBatch) else REFUSED
            log(recorder, item.action, at, verdict, item.impact, item.refused)
