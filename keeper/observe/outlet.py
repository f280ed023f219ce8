# SPDX-License-Identifier: Apache-2.0
"""Where operator alerts leave the process: one thread for each address, so that none holds up another or the cycle."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

import structlog

from keeper.errors import Permanent, Transient
from keeper.observe.delivery import Delivery, Message, RateLimit, host_of

MOST_WAITING = 200
DIGEST_FROM = 5  # so many waiting messages become one
FIRST_PAUSE_S, LONGEST_PAUSE_S = 15.0, 300.0


class Outlet:
    """Messages to one address, in order; what waits too long for its turn is put together.

    Parameters
    ----------
    limit
        Shared between outlets; counts by address.
    """

    def __init__(self, url: str, delivery: Delivery, limit: RateLimit) -> None:
        self._url = url
        self._delivery = delivery
        self._limit = limit
        self._waiting: deque[Message] = deque(maxlen=MOST_WAITING)
        self._change = threading.Condition()
        self._busy = False
        self._stopped = False
        self._pause_s = 0.0
        self._thread = threading.Thread(target=self._run, name=f"alerts {host_of(url)}", daemon=True)
        self._thread.start()

    def put(self, message: Message) -> None:
        """Add a message; returns at once. The oldest goes when too many wait."""
        with self._change:
            self._waiting.append(message)
            self._change.notify_all()

    def close(self, timeout_s: float) -> bool:
        """Wait for what is left to go out, then stop; False when something did not."""
        end = time.monotonic() + timeout_s
        with self._change:
            while (self._waiting or self._busy) and (left := end - time.monotonic()) > 0:
                self._change.wait(left)
            empty = not self._waiting and not self._busy
            self._stopped = True
            self._change.notify_all()
        self._thread.join(timeout=max(0.0, end - time.monotonic()))
        return empty

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            pause = self._send(taken)
            with self._change:
                self._busy = False
                self._change.notify_all()
                if pause and not self._stopped:
                    self._change.wait_for(lambda: self._stopped, pause)

    def _take(self) -> list[Message] | None:
        """Wait for messages and for room under the limit; None at the end."""
        with self._change:
            while not self._stopped:
                if not self._waiting:
                    self._change.wait()
                    continue
                wait = self._limit.take(self._url, time.monotonic())
                if wait <= 0:
                    self._busy = True
                    count = len(self._waiting) if len(self._waiting) >= DIGEST_FROM else 1
                    return [self._waiting.popleft() for _ in range(count)]
                self._change.wait_for(lambda: self._stopped, wait)
        return None

    def _send(self, taken: list[Message]) -> float:
        """Deliver; returns the seconds to wait before the next try after a failure."""
        try:
            self._delivery.send(self._url, taken[0] if len(taken) == 1 else digest(taken), "alert")
        except Transient as error:
            structlog.get_logger("alert").warning(str(error), waiting=len(taken))
            with self._change:
                self._waiting.extendleft(reversed(taken[-(MOST_WAITING - len(self._waiting)) :]))
            self._pause_s = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * self._pause_s))
            return self._pause_s
        except Permanent as error:
            structlog.get_logger("alert").error(str(error))
        except Exception:  # noqa: BLE001  (a library's fault must not end the only way to tell somebody)
            structlog.get_logger("alert").exception("message not delivered", address=host_of(self._url))
        self._pause_s = 0.0
        return 0.0


def digest(messages: Sequence[Message]) -> Message:
    """Many messages as one, as severe as the worst."""
    order = ("recovered", "info", "warning", "critical")
    worst = max((message.severity for message in messages), key=order.index)
    body = "\n".join(f"- {message.title}: {message.body}" for message in messages)
    return Message(f"{len(messages)} messages of the keeper", body, worst)
