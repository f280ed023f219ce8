# SPDX-License-Identifier: Apache-2.0
"""Rules, clocks and the listener of an endpoint pool."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from keeper.chain.endpoint import Head
from keeper.chain.freshness import FreshPolicy


@dataclass(frozen=True, slots=True)
class PoolPolicy:
    """Rules of a pool; times in seconds.

    Attributes
    ----------
    probe_s
        How often the head of an endpoint that is not in use is asked for, and how old a head may be to judge by.
    still_s
        How long a head may stand still before the others are asked at once.
    chain_check_s
        How often each endpoint is asked for its chain id while all is well.
    pause_s, max_pause_s
        Rest after the first failure, doubled with each further one, and its limit; of a Retry-After too.
    max_wait_s
        How long a read waits for an endpoint that rests or has used up its rate, where no other can answer.
    spread
        Cycles go to the endpoints by weight; False: always to the first that can answer.
    """

    fresh: FreshPolicy = field(default_factory=FreshPolicy)
    probe_s: float = 30.0
    still_s: float = 20.0
    chain_check_s: float = 300.0
    pause_s: float = 1.0
    max_pause_s: float = 30.0
    max_wait_s: float = 2.0
    spread: bool = False


class Watcher(Protocol):
    """Who is told what the pool does; `keeper.observe.rpc_watch` counts it."""

    def asked(self, endpoint: str, seconds: float) -> None:
        """One request was answered or failed."""

    def failed(self, endpoint: str, kind: str) -> None:
        """A request failed."""

    def rotated(self) -> None:
        """Reads go to another endpoint from here on."""

    def saw_head(self, endpoint: str, head: Head, lag: int) -> None:
        """An endpoint told of its newest block."""

    def usable(self, endpoint: str, now: bool) -> None:
        """An endpoint may be read from, or may not any more."""

    def truncated(self, endpoint: str) -> None:
        """Logs were missing from an answer."""


class Silent:
    """Tells nobody."""

    def asked(self, endpoint: str, seconds: float) -> None:
        """Nothing."""

    def failed(self, endpoint: str, kind: str) -> None:
        """Nothing."""

    def rotated(self) -> None:
        """Nothing."""

    def saw_head(self, endpoint: str, head: Head, lag: int) -> None:
        """Nothing."""

    def usable(self, endpoint: str, now: bool) -> None:
        """Nothing."""

    def truncated(self, endpoint: str) -> None:
        """Nothing."""


def _in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="rpc-probe", daemon=True).start()


@dataclass(frozen=True, slots=True)
class Times:
    """Clocks of a pool: monotonic seconds, unix seconds, waiting, and how work is done beside the loop."""

    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    beside: Callable[[Callable[[], None]], None] = _in_thread
