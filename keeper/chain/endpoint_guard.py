# SPDX-License-Identifier: Apache-2.0
"""What an endpoint must show before it is believed, and what follows when it fails.

It rests longer with each failure in a row and, back from one, shows its chain id. Its head is judged whenever it is
heard of; endpoints that are not in use are probed beside the loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

import structlog
from web3 import Web3

from keeper.chain.endpoint import Endpoint, EndpointState, Head, Limits, make_states, read_block
from keeper.chain.failures import AlreadyKnown, classify
from keeper.chain.freshness import judge
from keeper.chain.pool_policy import PoolPolicy, Silent, Times, Watcher
from keeper.domain import Block
from keeper.errors import (
    Behind,
    KeeperError,
    NotOffered,
    RangeTooLarge,
    RateLimited,
    Refused,
    Transient,
    Underpriced,
    Unreachable,
)

T = TypeVar("T")
OWN_FAULTS_ALLOWED = 3  # JSON-RPC errors where another endpoint had an answer, before one rests
FAULTS_FORGOTTEN_S = 600.0
LONGEST_RETRY_AFTER_S = 3_600.0
KINDS: Mapping[type[KeeperError], str] = {
    Behind: "behind",
    RateLimited: "rate_limit",
    Refused: "refused",
    Unreachable: "unreachable",
    RangeTooLarge: "range",
}


class EndpointGuard:
    """Endpoints of one chain, and who may be asked.

    Parameters
    ----------
    endpoints
        Best first.
    policy, limits, named
        Rules; limits of every endpoint, and of those that are named by host and port.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        policy: PoolPolicy | None = None,
        limits: Limits | None = None,
        named: Mapping[str, Limits] | None = None,
        times: Times | None = None,
    ) -> None:
        self.policy = policy or PoolPolicy()
        self.times = times or Times()
        self.states = make_states(endpoints, limits or Limits(), named or {}, self.times.now)
        self.watcher: Watcher = Silent()
        self.expected: int | None = None
        self._pins: dict[int, bytes] = {}
        self._current = self.states[0]
        self._lock = threading.RLock()
        self._probing = False
        self._log = structlog.get_logger("rpc")

    def request(self, state: EndpointState, what: str, ask: Callable[[Web3], T]) -> T:
        """One request to one endpoint, counted and classified; a failure of the endpoint makes it rest."""
        self._await(state)
        state.bucket.take()
        began = time.monotonic()
        try:
            return ask(state.endpoint.web3)
        except Exception as raised:  # whatever a node or a transport raises is classified, none is swallowed
            error = classify(raised, f"{what} at {state.name}")
            self._failed(state, error)
            raise error from raised
        finally:
            self.watcher.asked(state.name, time.monotonic() - began)

    def _await(self, state: EndpointState) -> None:
        wait = state.bucket.wait_s()
        if wait > self.policy.max_wait_s:
            raise RateLimited(
                f"{state.name} has had its {state.limits.requests_per_s:g} requests a second; "
                "raise rpc.requests_per_s or add an endpoint",
                retry_after_s=wait,
            )
        if wait > 0:
            self.times.sleep(wait)

    def _check_chain(self, state: EndpointState) -> None:
        found = self.request(state, "eth_chainId", lambda web3: web3.eth.chain_id)
        with self._lock:
            if found == self.expected:
                self.watcher.usable(state.name, not state.stale)
                if state.wrong_chain is not None:
                    self._log.warning("endpoint is on the right chain again", endpoint=state.name)
                state.wrong_chain, state.chain_at, state.doubted = None, self.times.now(), False
                return
            self.watcher.failed(state.name, "wrong_chain")
            if state.wrong_chain != found:
                self._log.error(
                    f"endpoint {state.name} is on chain {found}, not {self.expected}; it is not used, correct its URL"
                )
            state.wrong_chain, state.chain_at = found, None
            state.agreed.clear()
            state.head = None
            self._rest(state, self.policy.max_pause_s, f"{state.name} is on chain {found}, not {self.expected}")
        raise Transient(f"endpoint {state.name} is on chain {found}, not {self.expected}; correct its URL")

    def _doubts(self, state: EndpointState) -> bool:
        """Whether it has to show its chain id first; where no chain id is expected, none can be wrong."""
        return self.expected is not None and (state.doubted or state.wrong_chain is not None)

    def _old(self, state: EndpointState) -> bool:
        return state.head is None or self.times.now() - state.head.seen_at >= self.policy.probe_s

    # what an endpoint must show

    def prove(self, state: EndpointState, pin: int | None = None, *, asks_head: bool = False) -> None:
        """Make an endpoint show its chain id, head and the pinned block where that is in doubt."""
        if self._doubts(state):
            self._check_chain(state)
        if not asks_head and self._must_show_head(state):
            self._ask_head(state)
            if state.stale:
                raise Behind(f"{state.stale}; it is not read from")
        wanted = None if pin is None else self._pins.get(pin)
        if pin is None or wanted is None or not state.endpoint.remote or state.agreed.get(pin) == wanted:
            return
        found = self.request(state, f"eth_getBlockByNumber of {pin}", lambda web3: read_block(web3, pin))
        if found.hash != wanted:
            self.watcher.failed(state.name, "behind")
            raise Behind(f"{state.name} has another block {pin} than the one read before; it will be read again")
        state.agree(pin, wanted)

    def _must_show_head(self, state: EndpointState) -> bool:
        """Its head is old or unknown, and there is something to compare it with."""
        if state.head is None:
            return any(other.head is not None for other in self.states if other is not state)
        return self._old(state) and (bool(state.stale) or len(self.states) > 1)

    def _ask_head(self, state: EndpointState) -> None:
        self._observe(state, self.request(state, "eth_getBlockByNumber of latest", read_block))

    def _observe(self, state: EndpointState, block: Block) -> None:
        """Judge a head against the clock and the other endpoints' heads."""
        now = self.times.now()
        with self._lock:
            old = state.head
            same = old is not None and old.number == block.number
            head = Head(block.number, block.timestamp, now, old.since if old is not None and same else now)
            others = [other.head for other in self.states if other is not state and other.head is not None]
            verdict = judge(self.policy.fresh, head, others, self.times.wall())
            if verdict.why and not state.stale:
                self._log.warning(f"{state.name} {verdict.why}; it is not read from")
            if verdict.why:
                self.watcher.failed(state.name, verdict.kind)
            state.head = head
            state.stale = f"{state.name} {verdict.why}" if verdict.why else ""
        self.watcher.saw_head(state.name, head, verdict.lag)
        self.watcher.usable(state.name, not state.stale)

    def _stands_still(self, state: EndpointState, block: Block) -> bool:
        """Whether a head has not moved for so long that another endpoint should be heard before it is believed."""
        old = state.head
        if old is None or block.number > old.number:
            return False
        return self.times.now() - old.since >= self.policy.still_s

    def _hear_others(self, than: EndpointState) -> None:
        """Ask the other endpoints for their heads now, those that answer and were not heard for `still_s`."""
        for state in self.states:
            now = self.times.now()
            heard = state.head is not None and now - state.head.seen_at < self.policy.still_s
            if state is than or heard or state.rest_until > now or self._doubts(state):
                continue
            with suppress(KeeperError):  # `_failed` has counted it
                self._ask_head(state)

    # what became of it

    def answered(self, state: EndpointState, failed: Sequence[EndpointState] = ()) -> None:
        """An endpoint gave what those before it could not: the fault was theirs."""
        with self._lock:
            self._recovered(state)
            for other in failed:
                if other.rest_until <= self.times.now() and not other.stale:
                    self._blame(other)
            if state is not self._current:
                self._current = state
                self.watcher.rotated()

    def _blame(self, state: EndpointState) -> None:
        """Count an error that another endpoint did not have; from some number on it rests after each, and longer."""
        now = self.times.now()
        state.faults = 1 if now - state.fault_at > FAULTS_FORGOTTEN_S else state.faults + 1
        state.fault_at = now
        if state.faults >= OWN_FAULTS_ALLOWED:
            pause = min(
                self.policy.pause_s * 2.0 ** min(state.faults - OWN_FAULTS_ALLOWED, 32), self.policy.max_pause_s
            )
            self._rest(state, pause, f"{state.faults} errors that other endpoints did not have")

    def _recovered(self, state: EndpointState) -> None:
        if state.failures:
            self._log.info("endpoint answers again", endpoint=state.name)
            self.watcher.usable(state.name, not state.stale)
        state.failures = 0

    def _failed(self, state: EndpointState, error: KeeperError) -> None:
        """Count a failure; what only this endpoint is to blame for makes it rest."""
        kind = next((name for each, name in KINDS.items() if isinstance(error, each)), None)
        if isinstance(error, AlreadyKnown | Underpriced) or (kind is None and not isinstance(error, Transient)):
            return  # an answer, though not the one hoped for
        self.watcher.failed(state.name, kind or "node")
        if not state.endpoint.remote or not isinstance(error, Unreachable | RateLimited | Refused):
            return
        if isinstance(error, NotOffered):
            return  # the other methods are there
        with self._lock:
            state.failures += 1
            asked = error.retry_after_s if isinstance(error, Transient) else None
            pause = self._pause(state) if asked is None else min(asked, LONGEST_RETRY_AFTER_S)
            if state.failures == 1 and not isinstance(error, RateLimited):
                self._log.warning(f"endpoint rests: {error}", endpoint=state.name, pause_s=round(pause, 1))
            self._rest(state, pause, str(error))
            state.doubted = state.doubted or not isinstance(error, RateLimited)

    def _pause(self, state: EndpointState) -> float:
        doubled = self.policy.pause_s * 2.0 ** min(state.failures - 1, 32)
        return float(min(doubled, self.policy.max_pause_s))

    def _rest(self, state: EndpointState, pause: float, why: str) -> None:
        state.rest_until = self.times.now() + pause
        state.rest_why = why
        self.watcher.usable(state.name, False)

    # beside the loop

    def _probe_others(self) -> None:
        """Start a probe of every endpoint that was not heard of for a while, unless one is under way."""
        due = [state for state in self.states if self._due(state)]
        if not due or self._probing:
            return
        self._probing = True
        self.times.beside(lambda: self._probe(due))

    def _due(self, state: EndpointState) -> bool:
        now = self.times.now()
        if state.rest_until > now or not state.endpoint.remote:
            return False
        return self._chain_due(state) or (state is not self._current and self._old(state))

    def _chain_due(self, state: EndpointState) -> bool:
        if self.expected is None:
            return False
        checked = state.chain_at
        return state.doubted or checked is None or self.times.now() - checked >= self.policy.chain_check_s

    def _probe(self, due: Sequence[EndpointState]) -> None:
        try:
            for state in due:
                try:
                    if self._chain_due(state):
                        self._check_chain(state)
                    if self._old(state):
                        self._ask_head(state)
                    self._recovered(state)
                except KeeperError:
                    continue  # `_failed` has counted it and made it rest
        finally:
            self._probing = False
