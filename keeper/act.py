# SPDX-License-Identifier: Apache-2.0
"""Act: guard, send and read back what was decided; in a dry run, say what each action would do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from keeper.actions import Action, ProposeParameters, PublishPage, PushParameters
from keeper.domain import Block, ContractCall
from keeper.errors import Halt, KeeperError, LeaseLost, Reverted
from keeper.ports import Chain
from keeper.races import OVERTAKEN
from risk.page import ROW_BYTES


class Result(StrEnum):
    """What became of an action in this cycle."""

    WOULD = "would send"
    WOULD_REVERT = "would revert"
    PENDING = "pending"
    DONE = "done"
    OVERTAKEN = "overtaken"
    KNOWN = "done before"
    FAILED = "failed"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True)
class Outcome:
    """An action and what became of it; ``detail`` is a reason, a hash or empty."""

    action: Action
    result: Result
    detail: str = ""

    def __str__(self) -> str:
        said = f": {self.detail}" if self.detail else ""
        return f"{self.action.kind} {self.action.subject} (epoch {self.action.epoch}) {self.result}{said}"


class Outbox(Protocol):
    """Carries actions out; one at a time, each exactly once."""

    def perform(self, action: Action) -> Outcome:
        """Send an action, or find that it is under way or done."""

    def reconcile(self) -> tuple[Outcome, ...]:
        """Follow up what earlier cycles sent; returns what has come to an end since."""


def guard(action: Action) -> ContractCall | None:
    """The contract's own check of a publication or a push, as a view; None for other actions."""
    if isinstance(action, PublishPage):
        args = (action.underlying, action.header.as_tuple(), action.surfaces, len(action.rows) // ROW_BYTES)
        return ContractCall("RiskTable", "check_publish", args)
    if isinstance(action, PushParameters | ProposeParameters):
        check = "check_push" if isinstance(action, PushParameters) else "check_propose"
        batch = (action.nonce, action.observed_at, action.expires_at, action.changes)
        return ContractCall("RiskParameters", check, batch)
    return None


def classify(action: Action, error: KeeperError) -> Outcome:
    """Outcome of an action that was refused."""
    if isinstance(error, Reverted) and error.reason in OVERTAKEN:
        return Outcome(action, Result.OVERTAKEN, error.reason)
    return Outcome(action, Result.FAILED, str(error))


def rehearse(chain: Chain, action: Action, block: Block, sender: str | None) -> Outcome:
    """What an action would do at a block, without sending it.

    Without a sender's address only the contract's guard of a publication can be asked; the call itself would be
    refused for its role and say nothing.
    """
    check = guard(action)
    call = action.call if sender is not None else check
    if call is None:
        return Outcome(action, Result.WOULD)
    try:
        chain.call(call, block=block, sender=sender)
    except Reverted as error:
        return Outcome(action, Result.WOULD_REVERT, error.reason)
    except KeeperError as error:
        return Outcome(action, Result.FAILED, str(error))
    return Outcome(action, Result.WOULD)


def execute(chain: Chain, outbox: Outbox, action: Action) -> Outcome:
    """Guard-check an action and send it.

    Raises
    ------
    Halt
        Going on could do harm: the sender or the database says so.
    """
    check = guard(action)
    try:
        if check is not None:
            chain.call(check)
        return outbox.perform(action)
    except (Halt, LeaseLost):
        raise
    except KeeperError as error:
        return classify(action, error)
