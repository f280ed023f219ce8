# SPDX-License-Identifier: Apache-2.0
"""Answer other publishers: authenticate, limit, judge, commit, sign. One request is judged at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog

from keeper.cosign.commitments import Commitments, content_of
from keeper.cosign.judge import Judge
from keeper.cosign.messages import Request, parse, requester
from keeper.errors import KeeperError, Permanent
from keeper.publish.compare import Difference
from keeper.publish.signing import Publisher, digest
from risk.errors import RiskError

CLOCK_SKEW_S = 60
MINUTE_S = 60.0
Answer = tuple[int, dict[str, Any]]


@dataclass(slots=True)
class RateLimit:
    """At most so many requests a minute of each source; sources that were quiet for a minute are forgotten."""

    per_minute: int
    _seen: dict[str, deque[float]] = field(default_factory=dict)

    def wait_s(self, source: str, now: float) -> float:
        """Seconds until this source may ask again; 0: it may now, and this counts as asked."""
        self._seen = {name: times for name, times in self._seen.items() if times and now - times[-1] < MINUTE_S}
        times = self._seen.setdefault(source, deque())
        while times and now - times[0] >= MINUTE_S:
            times.popleft()
        if len(times) >= self.per_minute:
            return MINUTE_S - (now - times[0])
        times.append(now)
        return 0.0


class Cosigner:
    """The service behind the routes.

    Parameters
    ----------
    peers
        Addresses whose requests are answered.
    clock
        Unix seconds by the wall: requests carry their time.
    busy_s
        How long a request waits for the one before it.
    """

    def __init__(
        self,
        publisher: Publisher,
        judge: Judge,
        commitments: Commitments,
        peers: Sequence[str],
        *,
        per_minute: int,
        busy_s: float,
        clock: Callable[[], int],
    ) -> None:
        self._publisher = publisher
        self._judge = judge
        self._commitments = commitments
        self._peers = {peer.lower() for peer in peers}
        self._hosts, self._signers = RateLimit(10 * per_minute), RateLimit(per_minute)
        self._nonces: dict[bytes, int] = {}
        self._busy_s = busy_s
        self._clock = clock
        self._one, self._book = threading.Lock(), threading.Lock()
        self._log = structlog.get_logger("cosign")

    def identity(self) -> Mapping[str, object]:
        """Who answers here, and for which table."""
        return {
            "signer": self._publisher.signer.address,
            "chain_id": self._publisher.chain_id,
            "verifying_contract": self._publisher.table,
        }

    def admit(self, host: str) -> float:
        """Seconds a host must wait before it is listened to; 0: now."""
        with self._book:
            return self._hosts.wait_s(host, time.monotonic())

    def answer(self, body: bytes) -> Answer:
        """(HTTP status, JSON) of a request."""
        try:
            request = parse(body)
        except Permanent as error:
            return 400, {"error": str(error)}
        try:
            hashed = digest(request.table, request.chain_id, request.verifying_contract)
            refused = self._stranger(request, hashed)
        except (ValueError, OverflowError) as error:  # a number that does not fit its type on chain
            return 400, {"error": f"the table cannot be encoded: {error}"}
        if refused is not None:
            return refused
        if not self._one.acquire(timeout=self._busy_s):
            return 503, {"error": "another request is being judged; ask again"}
        try:
            return self._judged(request)
        except (KeeperError, RiskError) as error:
            self._log.warning(str(error), requester=request.signer)
            return 503, {"error": f"not judged: {type(error).__name__}; ask again later"}
        finally:
            self._one.release()

    def _stranger(self, request: Request, hashed: bytes) -> Answer | None:
        """Refusal of who is no peer, of another chain or table, of an old or repeated request, or of too many."""
        mine = self._publisher
        if request.signer.lower() not in self._peers:
            return 401, {"error": f"{request.signer} is no peer here; its operator must be added to cosign.peers"}
        found = requester(request, hashed)
        if found is None or found.lower() != request.signer.lower():
            return 401, {"error": "the request's signature is not that of its signer"}
        if (request.chain_id, request.verifying_contract.lower()) != (mine.chain_id, mine.table.lower()):
            return 400, {"error": f"this signs for table {mine.table} of chain {mine.chain_id} only"}
        with self._book:
            return self._repeated(request)

    def _repeated(self, request: Request) -> Answer | None:
        now = self._clock()
        if abs(now - request.made_at) > CLOCK_SKEW_S:
            return 401, {"error": f"the request is of {request.made_at}, it is {now} here; check the clocks"}
        self._nonces = {nonce: at for nonce, at in self._nonces.items() if now - at <= 2 * CLOCK_SKEW_S}
        if request.nonce in self._nonces:
            return 401, {"error": "the request was made before; use a new nonce"}
        wait_s = self._signers.wait_s(request.signer.lower(), time.monotonic())
        if wait_s > 0.0:
            return 429, {"error": "too many requests", "retry_after_s": int(wait_s) + 1}
        self._nonces[request.nonce] = now
        return None

    def _judged(self, request: Request) -> Answer:
        content = content_of(request.table)
        found = self._judge.look(request.table)
        if found.differences:
            self._log.info("refused", requester=request.signer, epoch=content.epoch, first=str(found.differences[0]))
            return 409, {"error": "differs from ours", "differences": [asdict(item) for item in found.differences]}
        if not request.sign:
            return 200, {"would_sign": True}
        why = self._commitments.claim(content, found.max_age_s, found.now, request.signer)
        if why is not None:
            item = Difference(str(content.underlying), None, "epoch", why, f"0x{content.hash.hex()}")
            return 409, {"error": "another content is signed", "differences": [asdict(item)]}
        signer, signature = self._publisher.sign(request.table)
        self._log.info("signed", requester=request.signer, underlying=content.underlying, epoch=content.epoch)
        return 200, {"signer": signer, "signature": f"0x{signature.hex()}"}
