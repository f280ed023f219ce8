# SPDX-License-Identifier: Apache-2.0
"""The cycle's outbox over the transaction sender: proves the lease, sends, follows up what was not mined at once."""

from __future__ import annotations

import structlog

from keeper.act import Outcome, Result
from keeper.actions import Action
from keeper.errors import Transient
from keeper.lease import Lease
from keeper.races import CONTESTED
from keeper.tx.journal import Intent, Journal, State
from keeper.tx.sender import Sender

log = structlog.get_logger()
OPEN = frozenset({State.INTENT, State.SIGNED, State.SENT})


class SenderOutbox:
    """Implements `keeper.act.Outbox`.

    Parameters
    ----------
    lease
        Shows before the work of an action that it would be in vain; the journal proves it where it counts. None where
        the operator has said that this is the only keeper (a command that runs once).
    """

    def __init__(self, sender: Sender, journal: Journal, lease: Lease | None) -> None:
        self._sender = sender
        self._journal = journal
        self._lease = lease
        self._waiting: dict[int, Action] = {}

    def perform(self, action: Action) -> Outcome:
        """Send an action, or find that it is under way or done.

        Raises
        ------
        LeaseLost
            Another keeper may send.
        Halt
            A limit is reached.
        Transient, Permanent
            The node or the contract refused it.
        """
        if self._lease is not None:
            self._lease.in_time()
        before = self._sender.known(action)
        if before is not None and outcome_of(action, before).result is Result.DONE:
            return Outcome(action, Result.KNOWN, "an earlier cycle or process sent it")
        intent = self._sender.submit(action)
        if intent.state in OPEN and not self._sender.carries(intent, action):
            # built anew while the first is on its way: what is read back must be what was sent
            return Outcome(action, Result.KNOWN, "an earlier content of this epoch is under way")
        if intent.state in OPEN:
            # A chain that mines at once already has the receipt.
            self._sender.advance()
            intent = self._journal.get(intent.id) or intent
        outcome = outcome_of(action, intent)
        if outcome.result is Result.PENDING:
            self._waiting.setdefault(intent.id, action)
        return outcome

    def advance(self) -> None:
        """Bring open intents forward; outcomes are kept for the next `reconcile`."""
        self._sender.advance()

    def reconcile(self) -> tuple[Outcome, ...]:
        """Bring open intents forward; returns the outcomes of actions of this process that ended since.

        What cannot be sent now (no ether, fees above the cap, a node that does not answer) waits: it must not keep the
        keeper from watching.

        Raises
        ------
        LeaseLost
            Another keeper may send.
        Halt
            A limit is reached.
        """
        if self._lease is not None:
            self._lease.in_time()
        try:
            self._sender.advance()
        except Transient as error:
            log.warning("transactions_wait", reason=str(error))
        ended = []
        for intent_id, action in list(self._waiting.items()):
            intent = self._journal.get(intent_id)
            if intent is None or intent.state in OPEN:
                continue
            del self._waiting[intent_id]
            ended.append(outcome_of(action, intent))
        return tuple(ended)


def outcome_of(action: Action, intent: Intent) -> Outcome:
    """What the state of an intent means for its action."""
    said = f"0x{intent.tx_hash.hex()}" if intent.tx_hash is not None else (intent.error or intent.state)
    if intent.state in OPEN:
        return Outcome(action, Result.PENDING, said)
    if intent.state is State.FINAL or (intent.state is State.MINED and intent.succeeded):
        return Outcome(action, Result.DONE, said)
    if intent.state is State.CANCELLED:
        return Outcome(action, Result.OVERTAKEN, intent.error or "cancelled by an operator")
    why = intent.error or f"reverted in {said}"
    lost = intent.tx_hash is not None and action.kind in CONTESTED
    return Outcome(action, Result.OVERTAKEN if lost else Result.FAILED, why)
