# SPDX-License-Identifier: Apache-2.0
"""Health computed from ages, never from "the process is running".

A keeper that answers 200 while it does nothing is the commonest defect of its peers; so every check here is the age
of the last time something really happened, against a limit.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One age: ``age_s`` is None while it never happened."""

    name: str
    age_s: float | None
    limit_s: float
    ok: bool


@dataclass(frozen=True, slots=True)
class Report:
    """All checks at one moment."""

    ok: bool
    checks: tuple[Check, ...]

    def as_dict(self) -> dict[str, object]:
        """The JSON that ``/health`` returns."""
        return {
            "ok": self.ok,
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
    """

    def __init__(self, limits_s: Mapping[str, float], started_at: float = 0.0) -> None:
        self._limits = dict(limits_s)
        self._started_at = started_at
        self._at: dict[str, float] = {}
        self._open: dict[str, tuple[float, float]] = {}
        self._halts: dict[str, str] = {}
        self._lock = threading.Lock()

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

    def halt(self, part: str, why: str) -> None:
        """Record that a part of the keeper is stopped until a person looks."""
        with self._lock:
            self._halts[part] = why

    def halts(self) -> dict[str, str]:
        """Parts that are stopped, and why."""
        with self._lock:
            return dict(self._halts)

    def report(self, now: float) -> Report:
        """Judge every age at unix time ``now``."""
        with self._lock:
            checks = [self._standing(name, now) for name in sorted(self._limits)]
            checks += [
                Check(name, now - since, limit, now - since <= limit)
                for name, (since, limit) in sorted(self._open.items())
            ]
            checks += [Check(f"halt:{part}", None, 0.0, False) for part in sorted(self._halts)]
        return Report(all(c.ok for c in checks), tuple(checks))

    def ready(self, now: float) -> bool:
        """True once every standing check has been stamped and all ages are in their limits."""
        with self._lock:
            stamped = self._limits.keys() <= self._at.keys()
        return stamped and self.report(now).ok

    def _standing(self, name: str, now: float) -> Check:
        limit = self._limits[name]
        if name not in self._at:
            # Never seen: fine while the process is younger than the limit.
            return Check(name, None, limit, now - self._started_at <= limit)
        age = now - self._at[name]
        return Check(name, age, limit, age <= limit)
