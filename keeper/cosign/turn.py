# SPDX-License-Identifier: Apache-2.0
"""One table of a cycle and its quorum: signed, waiting, or told to be short of signatures."""

from __future__ import annotations

import structlog

from keeper.actions import Action, PublishJoint, PublishPage
from keeper.cosign.quorum import Quorum
from keeper.domain import Block
from keeper.errors import Halt, KeeperError
from keeper.observe.alerts import Alerts


def completed(
    quorum: Quorum, action: PublishPage | PublishJoint, block: Block, alerts: Alerts, now: int
) -> Action | None:
    """Table with the signatures it needs; None where they could not be had yet, which is told.

    Raises
    ------
    Halt
        The contract signs something else than this publisher would.
    """
    log = structlog.get_logger("quorum")
    try:
        found = quorum.complete(action, block)
    except Halt:
        raise
    except KeeperError as error:
        log.warning(str(error), kind=action.kind, subject=action.subject)
        return None
    if found.short is not None:
        text = f"{action.kind} {action.subject}, epoch {action.epoch} is not sent: {found.short}"
        alerts.fire("quorum_short", text, now, f"{action.kind} {action.subject}")
    elif found.waiting is not None:
        log.info(found.waiting, kind=action.kind, subject=action.subject)
    return found.table
