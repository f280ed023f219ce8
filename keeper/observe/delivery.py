# SPDX-License-Identifier: Apache-2.0
"""Messages to people: a signed JSON POST, or whatever service an apprise URL names.

Never called from the cycle. A message that does not get through is tried again a few times here; what happens after
that is the caller's business. Only messages are retried this way, never a transaction.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from keeper.bounded_http import bounded_client
from keeper.errors import ConfigError, Permanent, Transient
from keeper.observe.metrics import Metrics

SIGNATURE = "X-Ballast-Signature"
WEBHOOK = frozenset({"http", "https"})
SEVERITIES = ("info", "warning", "critical")
ATTEMPTS = 3
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 5.0
MAX_ANSWER_BYTES = 1 << 16
BUSY = frozenset({408, 425, 429})
NOTIFY = {"info": "info", "warning": "warning", "critical": "failure", "recovered": "success"}


@dataclass(frozen=True, slots=True)
class Message:
    """What a person reads, and as ``data`` what a program does; ``severity`` also ``recovered``."""

    title: str
    body: str
    severity: str
    data: Mapping[str, Any] = field(default_factory=dict)


def sign(secret: str, at: int, body: bytes) -> str:
    """Signature header of a webhook: ``t=<unix s>,v1=<hex HMAC-SHA256 of "<t>.<body>">``.

    Examples
    --------
    >>> sign("secret", 1700000000, b"{}")[:20]
    't=1700000000,v1=44db'
    """
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def host_of(url: str) -> str:
    """What may be said of an address: its scheme, and the host of a web server."""
    parts = urlsplit(url)
    web = parts.scheme in WEBHOOK or parts.scheme in {"json", "jsons"}
    return f"{parts.scheme}://{parts.hostname}" if web else f"{parts.scheme}://"


def check_address(url: str, where: str, webhooks: bool = True) -> None:
    """Make sure that a message could be sent to ``url``; ``where`` names the setting.

    Raises
    ------
    ConfigError
        It is neither a web address (where ``webhooks`` may be given) nor an apprise URL.
    """
    if webhooks and urlsplit(url).scheme in WEBHOOK and urlsplit(url).hostname:
        return
    import apprise  # slow to load, and needed only where there are addresses

    if apprise.Apprise.instantiate(url, suppress_exceptions=True) is None:
        kinds = "https:// or an apprise URL" if webhooks else "an apprise URL, such as slack:// or tgram://"
        raise ConfigError(f"{where} holds an address that cannot be used; give {kinds}")


class RateLimit:
    """At most so many messages a minute to one destination."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._sent: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def take(self, destination: str, now: float) -> float:
        """Count a message and return 0, or return the seconds to wait before there is room for one."""
        with self._lock:
            sent = self._sent.setdefault(destination, deque())
            while sent and now - sent[0] >= 60:
                sent.popleft()
            if len(sent) >= self._per_minute:
                return 60 - (now - sent[0])
            sent.append(now)
            return 0.0


class Delivery:
    """Sends messages, and tries again what may yet succeed.

    Parameters
    ----------
    secret
        Key of the signature of webhooks; without one they carry no signature.
    sleep
        Waits between attempts.
    """

    def __init__(
        self,
        metrics: Metrics,
        timeout_s: float = 10.0,
        secret: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._secret = secret
        self._sleep = sleep

    def send(self, url: str, message: Message, purpose: str) -> None:
        """Deliver one message.

        Parameters
        ----------
        purpose
            ``alert`` or ``margin_call``: a label of the counters.

        Raises
        ------
        Transient
            No attempt got through; trying again later may help.
        Permanent
            The other side refuses it.
        """
        once = self._post if urlsplit(url).scheme in WEBHOOK and purpose != "alert" else self._apprise
        retrying = Retrying(
            retry=retry_if_exception_type(Transient),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S, jitter=FIRST_WAIT_S),
            sleep=self._sleep,
            before_sleep=lambda _state: self._metrics.messages_total.labels(purpose, "retried").inc(),
            reraise=True,
        )
        try:
            retrying(once, url, message)
        except Exception:
            self._metrics.messages_total.labels(purpose, "failed").inc()
            raise
        self._metrics.messages_total.labels(purpose, "sent").inc()

    def _post(self, url: str, message: Message) -> None:
        body = json.dumps(message.data, sort_keys=True, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "ballast-keeper"}
        if self._secret:
            headers[SIGNATURE] = sign(self._secret, int(time.time()), body)
        where = host_of(url)
        try:
            with bounded_client(self._timeout_s, MAX_ANSWER_BYTES) as client:
                answer = client.post(url, content=body, headers=headers)
        except httpx.InvalidURL as error:
            raise Permanent(f"webhook {where} is no address; correct margin_calls") from error
        except httpx.HTTPError as error:
            raise Transient(f"webhook {where} did not answer ({type(error).__name__}); check the address") from error
        if answer.status_code >= 500 or answer.status_code in BUSY:
            raise Transient(f"webhook {where} answered {answer.status_code}; it will be tried again")
        if not answer.is_success:
            raise Permanent(f"webhook {where} refused with {answer.status_code}; correct the address")

    @staticmethod
    def _apprise(url: str, message: Message) -> None:
        import apprise

        one = apprise.Apprise()
        if not one.add(url):
            raise Permanent(f"address {host_of(url)} is no apprise URL; correct it")
        kind = apprise.NotifyType(NOTIFY[message.severity])
        if not one.notify(title=message.title, body=message.body, notify_type=kind):
            raise Transient(f"address {host_of(url)} did not take the message; its log lines say why")
