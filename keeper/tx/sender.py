# SPDX-License-Identifier: Apache-2.0
"""Carrying actions out: one signer, one transaction after the other, each written down before it leaves."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import structlog

from keeper.actions import Action, FillNonce
from keeper.errors import Halt, Permanent, Reverted, Transient, Underpriced
from keeper.ports import Chain, Clock, Signer
from keeper.tx.fees import Fees
from keeper.tx.journal import IN_FLIGHT, UNSENT, Intent, Journal, SignedTransaction, State
from keeper.tx.policy import SendPolicy, policy_from
from keeper.tx.purse import Purse
from keeper.tx.reconcile import Listener, Reconciler, unheard

__all__ = ["SendPolicy", "Sender", "Simulated", "policy_from"]
SELF_SEND_GAS = 21_000
POLL_S = 1.0
log = structlog.get_logger()


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
    listener
        Told what happens to an intent: ``sent``, ``raised``, ``withdrawn``, ``waits`` (a raise does not fit),
        ``filled``, ``stranded``, ``replaced``, ``deep_reorg``.
    """

    def __init__(
        self,
        chain: Chain,
        journal: Journal,
        signer: Signer,
        clock: Clock,
        policy: SendPolicy,
        listener: Listener = unheard,
    ) -> None:
        self._chain = chain
        self._journal = journal
        self._signer = signer
        self._clock = clock
        self._policy = policy
        self._listener = listener
        self._reconciler = Reconciler(chain, journal, clock, policy.confirmations, listener)
        self._purse = Purse(chain, journal, clock, policy, signer.address)
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

        An action may say in ``gas_budget_wei`` what its gas may cost at most, first offer and raises alike.

        Returns
        -------
        Intent
            Its row in the journal; ``state`` tells how far it is.

        Raises
        ------
        Reverted
            The contract refuses it now; nothing was written.
        Transient
            Earlier transactions are not out yet, too many wait, the signer cannot pay, or the node does not answer.
        Halt
            A limit of spending or of failures is reached.
        """
        with self._lock:
            self.advance()
            self._check_room(self._journal.open_intents())
            to, data = self._chain.encode(action.call)
            done = self._journal.find(action, self._policy.max_tries)
            if done is not None:
                return done
            gas, fees = self._quote(to, data, str(action.call), getattr(action, "gas_budget_wei", None))
            nonce = self._next_nonce()
            intent, mine = self._journal.claim(action, to, data, self._clock.now(), self._policy.max_tries)
            return self._carry_out(intent, nonce, gas, fees) if mine else intent

    def known(self, action: Action) -> Intent | None:
        """Intent of the action that stands, None where it would be sent now."""
        return self._journal.find(action, self._policy.max_tries)

    def carries(self, intent: Intent, action: Action) -> bool:
        """Whether an intent is of exactly this content, and not of an earlier one of the same key."""
        return intent.data == self._chain.encode(action.call)[1]

    def advance(self) -> list[Intent]:
        """Bring every open intent as far as it goes now: receipts, lost transactions, raises, forgotten intents."""
        with self._lock:
            self._reconciler.refresh()
            self._reconciler.reopen()
            settled = self._settle_all()
            waiting = [i for i in settled if i.state in IN_FLIGHT]
            if waiting:
                self._fill_gaps(waiting)
                if self._is_stuck(waiting[0]) and not self._stranded(waiting):
                    self._unstick(waiting[0])
            for intent in self._journal.open_intents():
                if intent.state is State.INTENT:
                    self._resume(intent)
            return settled

    def bump(self, intent: Intent) -> Intent:
        """Replace an intent's transaction by one with higher fees now.

        Raises
        ------
        Permanent
            It does not wait in the pool, the raise goes over the fee cap or the budget, or the key is another one.
        """
        with self._lock:
            self._reconciler.refresh()
            current = self._reconciler.settle(self._own(intent))
            if current.state not in IN_FLIGHT:
                raise Permanent(f"{current} is {current.state} and has nothing to replace")
            raised = self._raise_fees(current)
            if isinstance(raised, str):
                raise Permanent(f"{current} cannot be raised: {raised}")
            return raised

    def cancel(self, intent: Intent) -> Intent:
        """Take the nonce of an intent away from it with an empty transaction to ourselves.

        Raises
        ------
        Permanent
            It is mined already, the raise goes over the fee cap, or the key is another one.
        """
        with self._lock:
            if self._own(intent).nonce is None and intent.open:
                return self._journal.close(intent, State.CANCELLED, self._clock.now(), "cancelled before it was signed")
            self._reconciler.refresh()
            current = self._reconciler.settle(intent)
            if current.state not in IN_FLIGHT:
                raise Permanent(f"{current} is {current.state} and cannot be cancelled")
            newest = self._journal.transactions(current)[-1]
            fees = self._purse.raised(current, newest, SELF_SEND_GAS)
            if isinstance(fees, str):
                raise Permanent(f"{current} cannot be replaced: {fees}")
            return self._replace_by_nothing(current, fees)

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

    def _own(self, intent: Intent) -> Intent:
        if (intent.chain_id, intent.sender) != (self._chain.chain_id, self._signer.address):
            raise Permanent(
                f"{intent} is of {intent.sender} on chain {intent.chain_id}, not of {self._signer.address} on chain "
                f"{self._chain.chain_id}; use that key and chain"
            )
        return intent

    def _settle_all(self) -> list[Intent]:
        """Settle every open intent that has a nonce, in the order of the nonces.

        One that cannot be sent holds up the later ones, because they would wait for its nonce; the first in the queue
        is raised at once where the node has lost it and wants higher fees for it now.
        """
        settled: list[Intent] = []
        for intent in self._journal.open_intents():
            if intent.nonce is None:
                continue
            try:
                settled.append(self._reconciler.settle(intent))
            except Underpriced as error:
                if any(earlier.state in IN_FLIGHT for earlier in settled):
                    raise
                settled.append(self._outbid(self._journal.get(intent.id) or intent, error))
        return settled

    def _outbid(self, intent: Intent, error: Underpriced) -> Intent:
        raised = self._raise_fees(intent)
        if isinstance(raised, str):
            raise Transient(f"{intent} was refused ({error}) and {raised}; it goes out when fees fall") from error
        return raised

    def _check_room(self, waiting: list[Intent]) -> None:
        unsent = next((i for i in waiting if i.state in UNSENT), None)
        if unsent is not None:
            raise Transient(f"{unsent} is {unsent.state} and not at the node yet; later transactions wait for it")
        in_flight = sum(i.state in IN_FLIGHT for i in waiting)
        if in_flight >= self._policy.max_in_flight:
            raise Transient(
                f"{in_flight} transactions of {self._signer.address} wait to be mined; no more until one is"
            )
        self._check_failures()

    def _check_failures(self) -> None:
        failures = self._journal.failures_in_a_row()
        if failures >= self._policy.failures_in_a_row:
            raise Halt(
                f"{failures} transactions in a row have reverted; find out why with 'ballast tx list --state failed', "
                "then let the keeper go on with 'ballast tx acknowledge'"
            )

    def _resume(self, intent: Intent) -> None:
        """Carry out an intent that an earlier process left unsigned; one that is no longer possible is closed."""
        try:
            self._check_room([i for i in self._journal.open_intents() if i.state is not State.INTENT])
        except Transient as error:
            log.info("intent_waits", intent=intent.id, reason=str(error))
            return
        try:
            gas, fees = self._quote(intent.to, intent.data, intent.what, intent.gas_budget_wei)
        except Permanent as error:
            self._journal.close(intent, State.FAILED, self._clock.now(), str(error))
            log.info("intent_dropped", intent=intent.id, reason=str(error))
            return
        self._carry_out(intent, self._next_nonce(), gas, fees)

    def _quote(self, to: str, data: bytes, what: str, budget_wei: int | None) -> tuple[int, Fees]:
        """Simulate at the head, then gas limit and fees within all limits."""
        self._chain.simulate(to, data, self._signer.address, self._chain.block(), what)
        gas = self._chain.gas_of(to, data, self._signer.address, what)
        gas += gas * self._policy.gas_margin_percent // 100
        return gas, self._purse.first(what, gas, budget_wei)

    def _carry_out(self, intent: Intent, nonce: int, gas: int, fees: Fees) -> Intent:
        fields = self._fields(intent.to, intent.data, nonce, gas, fees)
        return self._sign_and_send(intent, fields, fees, cancels=False)

    def _next_nonce(self) -> int:
        """First nonce that neither the chain nor the journal has used; the node's idea of waiting ones is not asked.

        Raises
        ------
        Transient
            The endpoint counts fewer transactions than the journal has seen mined: a nonce of its count is used up.
        """
        nonce, mined = self._chain.nonce(self._signer.address), self._journal.last_mined_nonce()
        if mined is not None and mined >= nonce:
            raise Transient(
                f"the endpoint counts {nonce} transactions of {self._signer.address}, nonce {mined} is mined by the "
                "journal; the endpoint is behind or its chain was rewound, nothing is sent until they agree"
            )
        used = {i.nonce for i in self._journal.open_intents()}
        while nonce in used:
            nonce += 1
        return nonce

    def _fill_gaps(self, waiting: list[Intent]) -> None:
        """Use up nonces below the first waiting one that belong to nothing: a fork or a refusal has freed them."""
        first, nonce = waiting[0].nonce or 0, self._chain.nonce(self._signer.address)
        mined = self._journal.last_mined_nonce()
        held = {i.nonce for i in self._journal.open_intents()}
        missing = [n for n in range(nonce, first) if n not in held]
        if not missing or (mined is not None and mined >= nonce):
            return
        if len(missing) > self._policy.max_in_flight:
            if self._is_stuck(waiting[0]):
                return  # `_stranded` gives it up
            raise Transient(
                f"{waiting[0]} has nonce {first}, the endpoint counts {nonce} of {self._signer.address}; "
                "check that the endpoint is of the same chain and up to date"
            )
        for free in missing:
            action = FillNonce(self._signer.address, free)
            fees = self._purse.first(f"filling nonce {free}", SELF_SEND_GAS, None)
            intent, mine = self._journal.claim(action, self._signer.address, b"", self._clock.now(), len(missing))
            if mine:
                log.warning("nonce_gap_filled", nonce=free, before=first)
                self._listener("filled", self._carry_out(intent, free, SELF_SEND_GAS, fees))

    def _stranded(self, waiting: list[Intent]) -> bool:
        """Give up what was signed far above the nonces in use: an endpoint had lied, and nobody will fill the gap."""
        first, nonce = waiting[0].nonce or 0, self._chain.nonce(self._signer.address)
        mined = self._journal.last_mined_nonce()
        if first - nonce <= self._policy.max_in_flight or (mined is not None and mined >= nonce):
            return False
        for intent in waiting:
            said = f"nonce {intent.nonce} is far above {nonce}, which is next; an endpoint gave a wrong count"
            self._listener("stranded", self._journal.close(intent, State.FAILED, self._clock.now(), said))
        return True

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
        self._listener("sent", intent)
        return intent

    def _is_stuck(self, intent: Intent) -> bool:
        """Signed long ago; or in the future, where the clock has been set back since."""
        newest = self._journal.transactions(intent)[-1]
        return abs(self._clock.now() - newest.signed_at) >= self._policy.bump_after_s

    def _unstick(self, intent: Intent) -> None:
        """Raise the fees of a waiting transaction; take it back where it would revert by now."""
        newest = self._journal.transactions(intent)[-1]
        if not newest.cancels:
            try:
                self._chain.simulate(intent.to, intent.data, self._signer.address, self._chain.block(), intent.what)
            except Reverted as error:
                self._withdraw(intent, newest, f"it waited and would revert by now ('{error.reason}')")
                return
        self._raise_fees(intent)

    def _withdraw(self, intent: Intent, newest: SignedTransaction, why: str) -> None:
        fees = self._purse.raised(intent, newest, SELF_SEND_GAS)
        if isinstance(fees, str):
            said = f"{why}; it cannot be taken back: {fees}"
            self._listener("waits", self._journal.note(intent, said, self._clock.now()))
            return
        log.warning("withdrawn", intent=intent.id, reason=why)
        intent = self._journal.withdraw(intent, f"{why}; its nonce is taken back", self._clock.now())
        self._listener("withdrawn", self._replace_by_nothing(intent, fees))

    def _replace_by_nothing(self, intent: Intent, fees: Fees) -> Intent:
        fields = self._fields(self._signer.address, b"", intent.nonce, SELF_SEND_GAS, fees)
        return self._sign_and_send(intent, fields, fees, cancels=True)

    def _raise_fees(self, intent: Intent) -> Intent | str:
        """Replace a waiting transaction, or leave it where the raise does not fit; the text says why."""
        newest = self._journal.transactions(intent)[-1]
        fees = self._purse.raised(intent, newest, newest.gas_limit)
        if isinstance(fees, str):
            said = f"waits below the market's fees: {fees}"
            log.warning("waits_below_market", intent=intent.id, max_fee_wei=newest.fees.max_fee_wei, reason=fees)
            self._listener("waits", self._journal.note(intent, said, self._clock.now()))
            return fees
        to, data = (self._signer.address, b"") if newest.cancels else (intent.to, intent.data)
        fields = self._fields(to, data, intent.nonce, newest.gas_limit, fees)
        raised = self._sign_and_send(intent, fields, fees, cancels=newest.cancels)
        self._listener("raised", raised)
        return raised
