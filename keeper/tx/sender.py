# SPDX-License-Identifier: Apache-2.0
"""Carrying actions out: one signer, one transaction after the other, each written down before it leaves."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import structlog

from keeper.actions import Action
from keeper.errors import ConfigError, Halt, Permanent, Transient
from keeper.ports import Chain, Clock, Signer
from keeper.settings import Settings
from keeper.tx.fees import FeeCaps, Fees, first_offer, raised_offer
from keeper.tx.journal import DAY_S, IN_FLIGHT, UNSENT, Intent, Journal, SignedTransaction, State
from keeper.tx.reconcile import Reconciler

SELF_SEND_GAS = 21_000
POLL_S = 1.0
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """Limits of the sender; money in wei.

    ``max_in_flight`` transactions with consecutive nonces may wait in the pool; each has been taken by the node before
    the next one is signed.
    """

    fees: FeeCaps
    per_transaction_wei: int
    per_day_wei: int
    confirmations: int = 2
    failures_in_a_row: int = 5
    max_tries: int = 3
    max_in_flight: int = 8
    bump_after_s: int = 45
    gas_margin_percent: int = 20


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a dry run found: the action would not revert and would need so much gas."""

    action: Action
    gas: int = field(compare=False)


class Sender:
    """The only way to a transaction.

    Parameters
    ----------
    chain, journal, signer, clock
        Ports; journal and signer are of the same address.
    policy
        Limits.
    """

    def __init__(self, chain: Chain, journal: Journal, signer: Signer, clock: Clock, policy: SendPolicy) -> None:
        self._chain = chain
        self._journal = journal
        self._signer = signer
        self._clock = clock
        self._policy = policy
        self._reconciler = Reconciler(chain, journal, clock, policy.confirmations)
        self._lock = threading.RLock()

    def simulate(self, action: Action) -> Simulated:
        """Run an action at the head without sending or writing anything.

        Raises
        ------
        Reverted
            The contract refuses it.
        """
        to, data = self._chain.encode(action.call)
        self._chain.simulate(to, data, self._signer.address, self._chain.block(), str(action.call))
        gas = self._chain.gas_of(to, data, self._signer.address, str(action.call))
        return Simulated(action, gas)

    def submit(self, action: Action) -> Intent:
        """Send an action, unless the journal has it under way or done already.

        Returns
        -------
        Intent
            Its row in the journal; ``state`` tells how far it is.

        Raises
        ------
        Reverted
            The contract refuses it now; nothing was written.
        Transient
            Earlier transactions are not out yet, too many wait, or the node does not answer.
        Halt
            A limit of spending or of failures is reached.
        """
        with self._lock:
            self.advance()
            waiting = self._journal.open_intents()
            self._check_room(waiting)
            to, data = self._chain.encode(action.call)
            done = self._journal.find(action, self._policy.max_tries)
            if done is not None:
                return done
            gas, fees = self._quote(to, data, str(action.call))
            intent, mine = self._journal.claim(action, to, data, self._clock.now(), self._policy.max_tries)
            return self._carry_out(intent, gas, fees) if mine else intent

    def known(self, action: Action) -> Intent | None:
        """Intent of the action that stands, None where it would be sent now."""
        return self._journal.find(action, self._policy.max_tries)

    def carries(self, intent: Intent, action: Action) -> bool:
        """Whether an intent is of exactly this content, and not of an earlier one of the same key."""
        return intent.data == self._chain.encode(action.call)[1]

    def advance(self) -> list[Intent]:
        """Bring every open intent as far as it goes now: receipts, lost transactions, raises, forgotten intents."""
        with self._lock:
            settled = self._reconciler.settle_all()
            first = next((i for i in settled if i.state in IN_FLIGHT), None)
            if first is not None and self._is_stuck(first):
                self._raise_fees(first)
            for intent in self._journal.open_intents():
                if intent.state is State.INTENT:
                    self._resume(intent)
            return settled

    def bump(self, intent: Intent) -> Intent:
        """Replace an intent's transaction by one with higher fees now.

        Raises
        ------
        Permanent
            It does not wait in the pool, or the raise goes over the fee cap or the budget.
        """
        with self._lock:
            current = self._reconciler.settle(intent)
            if current.state not in IN_FLIGHT:
                raise Permanent(f"{current} is {current.state} and has nothing to replace")
            raised = self._raise_fees(current)
            if raised is None:
                raise Permanent(f"{current} cannot be raised within the fee cap or the budget; raise fees.max_fee_gwei")
            return raised

    def cancel(self, intent: Intent) -> Intent:
        """Take the nonce of an intent away from it with an empty transaction to ourselves.

        Raises
        ------
        Permanent
            It is mined already, or the raise goes over the fee cap.
        """
        with self._lock:
            if intent.nonce is None and intent.open:
                return self._journal.close(intent, State.CANCELLED, self._clock.now(), "cancelled before it was signed")
            current = self._reconciler.settle(intent)
            if current.state not in IN_FLIGHT:
                raise Permanent(f"{current} is {current.state} and cannot be cancelled")
            fees = self._raised(current)
            if fees is None:
                raise Permanent(f"{current} cannot be replaced within the fee cap; raise fees.max_fee_gwei")
            fields = self._fields(self._signer.address, b"", current.nonce, SELF_SEND_GAS, fees)
            return self._sign_and_send(current, fields, fees, cancels=True)

    def wait(self, intent: Intent, timeout_s: float, *, final: bool = False) -> Intent:
        """Advance until an intent is mined (``final``: closed).

        Raises
        ------
        Transient
            It is still open after ``timeout_s``.
        """
        deadline = self._clock.now() + timeout_s
        while True:
            self.advance()
            current = self._journal.get(intent.id) or intent
            if not current.open or (current.state is State.MINED and not final):
                return current
            if self._clock.now() >= deadline:
                raise Transient(
                    f"{current} is still {current.state} after {timeout_s} s; see it with 'ballast tx list'"
                )
            self._clock.sleep(POLL_S)

    def _check_room(self, waiting: list[Intent]) -> None:
        unsent = next((i for i in waiting if i.state in UNSENT), None)
        if unsent is not None:
            raise Transient(f"{unsent} is {unsent.state} and not at the node yet; later transactions wait for it")
        in_flight = sum(i.state in IN_FLIGHT for i in waiting)
        if in_flight >= self._policy.max_in_flight:
            raise Transient(
                f"{in_flight} transactions of {self._signer.address} wait to be mined; no more until one is"
            )
        failures = self._journal.failures_in_a_row()
        if failures >= self._policy.failures_in_a_row:
            raise Halt(f"{failures} transactions in a row have reverted; find out why, then acknowledge them")

    def _resume(self, intent: Intent) -> None:
        """Carry out an intent that an earlier process left unsigned; one that is no longer possible is closed."""
        try:
            gas, fees = self._quote(intent.to, intent.data, intent.what)
        except Permanent as error:
            self._journal.close(intent, State.FAILED, self._clock.now(), str(error))
            log.info("intent_dropped", intent=intent.id, reason=str(error))
            return
        self._carry_out(intent, gas, fees)

    def _quote(self, to: str, data: bytes, what: str) -> tuple[int, Fees]:
        """Simulate at the head, then gas limit and fees within all limits."""
        self._chain.simulate(to, data, self._signer.address, self._chain.block(), what)
        gas = self._chain.gas_of(to, data, self._signer.address, what)
        gas += gas * self._policy.gas_margin_percent // 100
        fees = first_offer(self._chain.fees(), self._policy.fees)
        self._check_cost(what, gas * fees.max_fee_wei)
        return gas, fees

    def _carry_out(self, intent: Intent, gas: int, fees: Fees) -> Intent:
        fields = self._fields(intent.to, intent.data, self._next_nonce(), gas, fees)
        return self._sign_and_send(intent, fields, fees, cancels=False)

    def _next_nonce(self) -> int:
        """First nonce that neither the chain nor the journal has used; the node's idea of waiting ones is not asked."""
        used = {i.nonce for i in self._journal.open_intents()}
        nonce = self._chain.nonce(self._signer.address)
        while nonce in used:
            nonce += 1
        return nonce

    def _check_cost(self, what: str, worst_wei: int) -> None:
        if worst_wei > self._policy.per_transaction_wei:
            raise Permanent(
                f"{what} may cost {worst_wei} wei, the limit is {self._policy.per_transaction_wei} wei; "
                "raise budget.per_transaction_ether or wait for lower fees"
            )
        spent = self._journal.spent_since(self._clock.now() - DAY_S)
        if spent + worst_wei > self._policy.per_day_wei:
            raise Halt(
                f"gas of 24 hours would reach {spent + worst_wei} wei, the limit is {self._policy.per_day_wei} wei; "
                "raise budget.per_day_ether or find out what is spending"
            )

    def _fields(self, to: str, data: bytes, nonce: int | None, gas: int, fees: Fees) -> dict[str, Any]:
        return {
            "type": 2,
            "chainId": self._chain.chain_id,
            "nonce": nonce,
            "to": to,
            "value": 0,
            "data": data,
            "gas": gas,
            "maxFeePerGas": fees.max_fee_wei,
            "maxPriorityFeePerGas": fees.priority_fee_wei,
        }

    def _sign_and_send(self, intent: Intent, fields: dict[str, Any], fees: Fees, *, cancels: bool) -> Intent:
        raw, tx_hash = self._signer.sign(fields)
        signed = SignedTransaction(
            tx_hash, raw, fields["nonce"], fields["gas"], fees, cancels=cancels, signed_at=self._clock.now()
        )
        intent = self._journal.sign(intent, signed)
        intent = self._reconciler.broadcast(intent, signed)
        log.info(
            "transaction_sent",
            intent=intent.id,
            kind=intent.kind,
            subject=intent.subject,
            nonce=signed.nonce,
            tx_hash=f"0x{tx_hash.hex()}",
            cancels=cancels,
        )
        return intent

    def _is_stuck(self, intent: Intent) -> bool:
        newest = self._journal.transactions(intent)[-1]
        return self._clock.now() - newest.signed_at >= self._policy.bump_after_s

    def _raised(self, intent: Intent) -> Fees | None:
        newest = self._journal.transactions(intent)[-1]
        return raised_offer(newest.fees, self._chain.fees(), self._policy.fees)

    def _raise_fees(self, intent: Intent) -> Intent | None:
        """Replace a waiting transaction, or leave it when the raise does not fit the cap or the budget."""
        newest = self._journal.transactions(intent)[-1]
        fees = self._raised(intent)
        if fees is None or fees.max_fee_wei * newest.gas_limit > self._policy.per_transaction_wei:
            self._journal.note(
                intent, "waits below the market's fees; the cap or the budget forbids a raise", self._clock.now()
            )
            log.warning("fee_cap_reached", intent=intent.id, max_fee_wei=newest.fees.max_fee_wei)
            return None
        to, data = (self._signer.address, b"") if newest.cancels else (intent.to, intent.data)
        fields = self._fields(to, data, intent.nonce, newest.gas_limit, fees)
        return self._sign_and_send(intent, fields, fees, cancels=newest.cancels)


def policy_from(settings: Settings) -> SendPolicy:
    """Build the limits that the settings ask for."""
    fees, budget = settings.fees, settings.budget
    if fees.max_priority_fee_gwei > fees.max_fee_gwei:
        raise ConfigError(
            f"fees.max_priority_fee_gwei ({fees.max_priority_fee_gwei}) is above fees.max_fee_gwei "
            f"({fees.max_fee_gwei}); lower it"
        )
    caps = FeeCaps(fees.max_fee_wei, fees.max_priority_fee_wei, fees.base_fee_multiplier, fees.bump_percent)
    return SendPolicy(
        fees=caps,
        per_transaction_wei=budget.per_transaction_wei,
        per_day_wei=budget.per_day_wei,
        confirmations=settings.final_after,
        failures_in_a_row=budget.failures_in_a_row,
        max_tries=budget.attempts,
        bump_after_s=fees.bump_after_s,
        gas_margin_percent=fees.gas_margin_percent,
    )
