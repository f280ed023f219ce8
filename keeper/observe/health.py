# SPDX-License-Identifier: Apache-2.0
"""Health computed from ages, never from "the process is running".

A keeper that answers 200 while it does nothing is the commonest defect of its peers; so every check here is the age
of the last time something really happened, against a limit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ALONE, LEADER, STANDBY = "alone", "leader", "standby"


@dataclass(frozen=True, slots=True)
class Check:
    """One age or condition: ``age_s`` is None while it never happened, ``text`` says what is wrong."""

    name: str
    age_s: float | None
    limit_s: float | None
    ok: bool
    text: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All checks at one moment."""

    ok: bool
    checks: tuple[Check, ...]

    def as_dict(self) -> dict[str, object]:
        """The JSON that ``/health`` and ``/ready`` return; ``failed`` has a sentence for each check that is not ok."""
        return {
            "ok": self.ok,
            "failed": [c.text for c in self.checks if not c.ok],
            "checks": {c.name: {"age_s": c.age_s, "limit_s": c.limit_s, "ok": c.ok} for c in self.checks},
        }


class HealthBoard:
    """Stamps of what the keeper last saw or did, safe between threads.

    Parameters
    ----------
    limits_s
        Name of each standing check and the greatest age it may have, in seconds. All must be stamped at least once
        before the keeper counts as ready. A stamp without a limit is kept and not judged.
    started_at
        Unix time the process began; a check never stamped is judged by the age of the process.
    of_leader
        Standing checks that only the instance that acts can stamp: a standby is not judged by them.
    """

    def __init__(self, limits_s: Mapping[str, float], started_at: float = 0.0, of_leader: Iterable[str] = ()) -> None:
        self._limits = dict(limits_s)
        self._of_leader = frozenset(of_leader)
        self._role = ALONE
        self._born: dict[str, float] = dict.fromkeys(self._limits, started_at)
        self._at: dict[str, float] = {}
        self._later: set[str] = set()
        self._open: dict[str, tuple[float, float]] = {}
        self._halts: dict[str, str] = {}
        self._conditions: dict[str, str | None] = {}
        self._lock = threading.Lock()

    @property
    def role(self) -> str:
        """``alone`` (no lease: a dry run), ``leader`` or ``standby``."""
        with self._lock:
            return self._role

    def serve_as(self, role: str, now: float) -> None:
        """Record the role; who becomes leader has as long as a new process to stamp the leader's checks."""
        with self._lock:
            if role == self._role:
                return
            self._role = role
            for name in self._of_leader:
                self._at.pop(name, None)
                self._born[name] = now
            if role == STANDBY:
                self._open.clear()

    def expect(self, name: str, limit_s: float, now: float, *, awaited: bool = True) -> None:
        """Add a standing check, for example a job's heartbeat; its age counts from ``now``.

        Where it is not ``awaited``, the keeper counts as ready before the first stamp: a job whose first start is due
        in an hour says nothing about the work of this minute.
        """
        with self._lock:
            self._limits[name] = limit_s
            if not awaited:
                self._later.add(name)
            self._born.setdefault(name, now)

    def stamp(self, name: str, at: float) -> None:
        """Record that standing check ``name`` was last known good at unix time ``at``."""
        with self._lock:
            self._at[name] = at

    def open_work(self, name: str, since: float | None, limit_s: float) -> None:
        """Record the oldest piece of open work of a kind, or None when there is none."""
        with self._lock:
            if since is None:
                self._open.pop(name, None)
            else:
                self._open[name] = (since, limit_s)

    def need(self, name: str, lacking: str | None) -> None:
        """Record a condition of being ready that is no age: None where it holds, else what is lacking."""
        with self._lock:
            self._conditions[name] = lacking

    def halt(self, part: str, why: str) -> None:
        """Record that a part of the keeper is stopped until a person looks."""
        with self._lock:
            self._halts[part] = why

    def resume(self, part: str) -> None:
        """Record that a person lets a part run again."""
        with self._lock:
            self._halts.pop(part, None)

    def halts(self) -> dict[str, str]:
        """Parts that are stopped, and why."""
        with self._lock:
            return dict(self._halts)

    def report(self, now: float) -> Report:
        """Judge every age at unix time ``now``."""
        with self._lock:
            checks = self._ages(now)
        return Report(all(c.ok for c in checks), tuple(checks))

    def readiness(self, now: float) -> Report:
        """Judge every age and condition; what is awaited and was never stamped is not ready, however young."""
        with self._lock:
            checks = [
                Check(c.name, None, c.limit_s, ok=False, text=f"{c.name}: not yet")
                if c.ok and c.name in self._limits and c.age_s is None and c.name not in self._later
                else c
                for c in self._ages(now)
            ]
            checks += [
                Check(name, None, None, lacking is None, f"{name}: {lacking}" if lacking else "")
                for name, lacking in sorted(self._conditions.items())
            ]
        return Report(all(c.ok for c in checks), tuple(checks))

    def ready(self, now: float) -> bool:
        """True once every standing check has been stamped, all ages are in their limits and every condition holds."""
        return self.readiness(now).ok

    def _ages(self, now: float) -> list[Check]:
        skipped = self._of_leader if self._role == STANDBY else frozenset()
        checks = [self._standing(name, now) for name in sorted(self._limits.keys() - skipped)]
        checks += [_aged(name, now - since, limit) for name, (since, limit) in sorted(self._open.items())]
        return checks + [
            Check(f"halt:{part}", None, None, ok=False, text=f"{part} is halted: {why}")
            for part, why in sorted(self._halts.items())
        ]

    def _standing(self, name: str, now: float) -> Check:
        limit = self._limits[name]
        if name in self._at:
            return _aged(name, now - self._at[name], limit)
        # Never seen: fine while the process is younger than the limit.
        waited = now - self._born[name]
        text = "" if waited <= limit else f"{name}: not once in {waited:.0f} s, limit {limit:.0f} s"
        return Check(name, None, limit, waited <= limit, text)


def _aged(name: str, age_s: float, limit_s: float) -> Check:
    ok = age_s <= limit_s
    return Check(name, age_s, limit_s, ok, "" if ok else f"{name}: {age_s:.0f} s old, limit {limit_s:.0f} s")
