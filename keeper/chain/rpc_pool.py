# SPDX-License-Identifier: Apache-2.0
"""Which endpoint answers a read, and whether its answer may be acted on.

An endpoint is asked only while it is on the right chain, not resting after a failure, and its head is fresh. A read at
a block that was read before goes to endpoints that have shown this very block, by hash. Heads come from answers that
were asked for anyway; the other endpoints are probed beside the loop, one head each `PoolPolicy.probe_s`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from web3 import Web3

from keeper.chain.endpoint import EndpointState
from keeper.chain.endpoint_guard import EndpointGuard
from keeper.domain import Block
from keeper.errors import Behind, ConfigError, KeeperError, RangeTooLarge, Refused, Transient, Underpriced

T = TypeVar("T")
KEPT_PINS = 256


class Pool(EndpointGuard):
    """Endpoints of one chain, and what is read from them."""

    # what is read

    def read(self, what: str, ask: Callable[[EndpointState], T], *, pin: int | None = None) -> T:
        """Ask the endpoints in turn; the first answer counts.

        Parameters
        ----------
        ask
            Makes its requests through `request`.
        pin
            Block that an endpoint must have, with the hash that `pinned` says, before it is asked.

        Raises
        ------
        Transient
            No endpoint can answer, none is fresh, or none has the pinned block; what a contract or a node says for
            good is raised as it is.
        """
        last: KeeperError | None = None
        failed: list[EndpointState] = []
        for state in self.turns():
            try:
                self.prove(state, pin)
                answer = ask(state)
            except (RangeTooLarge, Underpriced):
                raise
            except (Transient, Refused) as error:
                last = error
                if not isinstance(error, Behind):
                    failed.append(state)
                elif pin is not None:
                    state.agreed.pop(pin, None)
                continue
            self.answered(state, failed)
            return answer
        raise last or self.nobody(what)

    def head(self, what: str, ask: Callable[[Web3], Block]) -> Block:
        """Newest block of the first endpoint whose head is fresh.

        Raises
        ------
        Transient
            None is; the message says for each endpoint why.
        """
        last: KeeperError | None = None
        failed: list[EndpointState] = []
        asked: list[str] = []
        for state in self.turns(head=True):
            try:
                self.prove(state, None, asks_head=True)
                block = self.request(state, what, ask)
            except (Transient, Refused) as error:
                last = error
                failed.append(state)
                continue
            if self._stands_still(state, block):
                self._hear_others(state)
            self._observe(state, block)
            if state.stale:
                asked.append(state.stale)
                continue
            self.pin(state, block)
            self.answered(state, failed)
            self._probe_others()
            return block
        self._probe_others()
        if asked:
            raise Transient(
                f"no endpoint has a fresh head ({'; '.join(asked)}); nothing is done until one has"
            ) from last
        raise last or self.nobody(what)

    def pin(self, state: EndpointState, block: Block) -> None:
        """Remember a block that an endpoint gave: reads at its number are of this very block."""
        with self._lock:
            state.agree(block.number, block.hash)
            self._pins.pop(block.number, None)
            self._pins[block.number] = block.hash
            if len(self._pins) > KEPT_PINS:
                del self._pins[next(iter(self._pins))]

    def pinned(self, number: int) -> bytes | None:
        """Hash of the block that reads at a number are of, None where it was never read."""
        return self._pins.get(number)

    def another(self, than: EndpointState, pin: int) -> EndpointState | None:
        """Another endpoint that may be asked and has a block, None where there is none."""
        for state in self._open(head=False):
            if state is not than:
                try:
                    self.prove(state, pin)
                except KeeperError:
                    continue
                return state
        return None

    # chain id

    def check_chain(self, expected: int) -> None:
        """Ask every endpoint for its chain id; those on another chain are left out from here on.

        Raises
        ------
        ConfigError
            Some are on another chain and none is on the right one.
        Transient
            None answers.
        """
        self.expected = expected
        last: KeeperError | None = None
        for state in self.states:
            try:
                self._check_chain(state)
            except (Transient, Refused) as error:
                last = error
        if any(state.chain_at is not None for state in self.states):
            return
        wrong = [(state.name, state.wrong_chain) for state in self.states if state.wrong_chain is not None]
        if wrong:
            self.expected = None
            for state in self.states:  # the settings may be what is wrong: the next check starts anew
                state.wrong_chain, state.rest_until = None, 0.0
            name, found = wrong[0]
            raise ConfigError(
                f"endpoint {name} is on chain {found}, settings expect {expected}; correct the URL or the chain id"
            )
        raise last or self.nobody("eth_chainId")

    # whom to ask

    def turns(self, *, head: bool = False) -> list[EndpointState]:
        """Endpoints that may be asked now, best first; waits a moment where there is none.

        A head is not waited for while all are out of order: nothing has begun yet that waiting could save.
        """
        turns = self._open(head=head)
        if not turns:
            worth = [state for state in self.states if self._trusted(state) and not (head and state.doubted)]
            wait = min(map(self._wait_of, worth), default=None)
            if wait is not None and 0 < wait <= self.policy.max_wait_s:
                self.times.sleep(wait)
                turns = self._open(head=head)
        return turns

    def _open(self, *, head: bool) -> list[EndpointState]:
        now = self.times.now()
        with self._lock:
            ready = [state for state in self.states if state.rest_until <= now]
            if not head:
                ready = [state for state in ready if not state.stale or self._old(state)]
            rank = {id(state): place for place, state in enumerate(self._ranked(head=head))}

        def key(state: EndpointState) -> tuple[bool, bool, bool, int]:
            return self._doubts(state), bool(state.stale), state.bucket.wait_s() > 0, rank[id(state)]

        return sorted(ready, key=key)

    def _ranked(self, *, head: bool) -> list[EndpointState]:
        """Order of preference: the one in use until the next head, then by weight or as given."""
        if not head:
            return [self._current, *(state for state in self.states if state is not self._current)]
        if not self.policy.spread:
            return self.states
        for state in self.states:  # smooth weighted round robin
            state.credit += state.limits.weight
        best = max(self.states, key=lambda state: state.credit)
        best.credit -= sum(state.limits.weight for state in self.states)
        return [best, *(state for state in self.states if state is not best)]

    def _trusted(self, state: EndpointState) -> bool:
        return state.wrong_chain is None and (not state.stale or self._old(state))

    def _wait_of(self, state: EndpointState) -> float:
        return max(state.rest_until - self.times.now(), 0.0)

    def nobody(self, what: str) -> Transient:
        """Why no endpoint was asked."""
        now = self.times.now()
        reasons, waits = [], []
        for state in self.states:
            if state.rest_until > now:
                waits.append(state.rest_until - now)
                reasons.append(f"{state.name} rests {state.rest_until - now:.1f} s more after: {state.rest_why}")
            elif state.stale:
                reasons.append(state.stale)
        return Transient(
            f"{what} was not asked, no endpoint is usable ({'; '.join(reasons)})",
            retry_after_s=min(waits, default=None),
        )
