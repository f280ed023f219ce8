# SPDX-License-Identifier: Apache-2.0
"""Alerts to the operator: logged, counted, sent, not repeated while nothing changes, and called off when over.

docs/runbook.md has an entry for each name.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from keeper.observe.delivery import SEVERITIES, Message
from keeper.observe.metrics import Metrics

REPEAT_S = 3_600
EVENT = "event"  # source of alerts that say what happened once; all others last until their source is silent about them
CRITICAL = frozenset(
    {
        "halted_liquidation",
        "halted_publication",
        "halted_parameters",
        "service_stopped",
        "unhealthy",
        "balance_low",
        "own_page_wrong",
        "page_not_ours",
        "price_disagrees",
    }
)
# Said of a page once, when it is judged: silence afterwards does not mean that it was put right.
HAPPENED = frozenset({"own_page_wrong", "page_challenged", "page_far", "page_not_ours"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """One trouble; times unix s. ``told_at`` is when it last went out, ``recovered_at`` set while it is over."""

    name: str
    key: str
    source: str
    severity: str
    text: str
    first_at: int
    last_at: int
    told_at: int | None
    recovered_at: int | None = None

    @property
    def lasts(self) -> bool:
        """Whether it is a state that goes on, and not something that happened."""
        return self.source != EVENT and self.recovered_at is None


class Alerts:
    """Raises alerts by name; safe between threads, and never waits for anybody.

    Parameters
    ----------
    metrics
        Counts every raised alert, repeated or not.
    repeat_s
        The same trouble is told again only after so many seconds.
    send
        Takes a message on its way; None only logs.
    save
        Takes a trouble that has changed, to be remembered across restarts.
    known
        Troubles of before the restart.
    min_severity
        What is less severe is logged and not sent.
    """

    def __init__(
        self,
        metrics: Metrics,
        repeat_s: int = REPEAT_S,
        *,
        send: Callable[[Message], None] | None = None,
        save: Callable[[Trouble], None] | None = None,
        known: Iterable[Trouble] = (),
        min_severity: str = "warning",
    ) -> None:
        self._metrics = metrics
        self._repeat_s = repeat_s
        self._send = send
        self._save = save
        self._least = SEVERITIES.index(min_severity)
        self._troubles = {(trouble.name, trouble.key): trouble for trouble in known}
        self._seen: dict[str, set[tuple[str, str]]] = {}
        self._lock = threading.Lock()
        self._log = structlog.get_logger("alert")

    def fire(
        self,
        name: str,
        text: str,
        now: float,
        key: str | None = None,
        *,
        severity: str | None = None,
        source: str = EVENT,
    ) -> bool:
        """Raise an alert; returns whether it was told (False: a repetition).

        Parameters
        ----------
        key
            What makes two alerts of a name the same trouble; None: their text.
        severity
            ``info``, ``warning`` or ``critical``; None: by the name.
        source
            Who watches a state that lasts: `settle` of that source calls it off. An event is never called off.
        """
        self._metrics.alerts_total.labels(name).inc()
        at, source = int(now), EVENT if name in HAPPENED else source
        place = (name, fingerprint(text if key is None else key))
        level = severity or ("critical" if name in CRITICAL else "warning")
        with self._lock:
            self._forget(at)
            self._seen.setdefault(source, set()).add(place)
            old = self._troubles.get(place)
            fresh = old is None or old.told_at is None or now - old.told_at >= self._repeat_s
            begun = at if old is None or old.recovered_at is not None else old.first_at
            told = at if fresh else old.told_at if old is not None else None
            new = Trouble(name, place[1], source, level, text, begun, at, told)
            self._troubles[place] = new
            if self._save is not None and (fresh or old is None or old.recovered_at is not None):
                self._save(new)
            self._count()
        if fresh:
            self._log.error(text, alert=name)
            self._tell(Message(f"Ballast: {name}", text, level), level)
        return fresh

    def settle(self, source: str, now: float) -> None:
        """Call off what ``source`` has not raised since the last call: its look at the world is complete."""
        over: list[Trouble] = []
        with self._lock:
            seen = self._seen.pop(source, set())
            for place, trouble in self._troubles.items():
                if trouble.source == source and trouble.lasts and place not in seen:
                    self._troubles[place] = replace(trouble, recovered_at=int(now))
                    over.append(self._troubles[place])
            for trouble in over:
                if self._save is not None:
                    self._save(trouble)
            self._count()
        for trouble in over:
            # Of a trouble that came back within the window nobody was told, so nobody waits for its end.
            if trouble.told_at is not None and trouble.told_at >= trouble.first_at:
                self._log.info("over", alert=trouble.name, text=trouble.text)
                body = f"over after {int(now) - trouble.first_at} s: {trouble.text}"
                self._tell(Message(f"Ballast: {trouble.name} is over", body, "recovered"), trouble.severity)

    def active(self) -> tuple[Trouble, ...]:
        """Troubles that last, oldest first."""
        with self._lock:
            return tuple(sorted((t for t in self._troubles.values() if t.lasts), key=lambda t: t.first_at))

    def _forget(self, now: int) -> None:
        """Drop what is over, or happened, longer ago than the window."""
        self._troubles = {
            place: t
            for place, t in self._troubles.items()
            if t.lasts or now - (t.told_at or t.last_at) < self._repeat_s
        }

    def _count(self) -> None:
        lasting = [trouble.severity for trouble in self._troubles.values() if trouble.lasts]
        for severity in SEVERITIES:
            self._metrics.alerts_active.labels(severity).set(lasting.count(severity))

    def _tell(self, message: Message, severity: str) -> None:
        if self._send is not None and SEVERITIES.index(severity) >= self._least:
            self._send(message)


def fingerprint(text: str) -> str:
    """Short hash that stands for a trouble's key."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
