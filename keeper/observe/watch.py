# SPDX-License-Identifier: Apache-2.0
"""Tells the operator what ``/health`` would, for those who have nothing that asks it; in a thread of its own.

The cycle may hang, and with it every job: this thread looks on, and only the end of the process silences it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from keeper.observe.alerts import Alerts
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import PREFIX

SOURCE = "watch"
EVERY_S = 5.0


class Watch:
    """Raises ``unhealthy`` for each failed check of the board, and calls it off."""

    def __init__(
        self, board: HealthBoard, alerts: Alerts, clock: Callable[[], float], every_s: float = EVERY_S
    ) -> None:
        self._board = board
        self._alerts = alerts
        self._clock = clock
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def look(self) -> None:
        """Look once. Halted parts have alerts of their own."""
        now = self._clock()
        for check in self._board.report(now).checks:
            if not check.ok and not check.name.startswith("halt:"):
                self._alerts.fire("unhealthy", check.text, now, check.name, source=SOURCE)
        self._alerts.settle(SOURCE, now)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.look()


class HealthCollector(Collector):
    """Ages, limits and verdicts of the board as metrics, computed when they are asked for: a hung cycle shows."""

    def __init__(self, board: HealthBoard, clock: Callable[[], float]) -> None:
        self._board = board
        self._clock = clock

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        now = self._clock()
        health, ready = self._board.report(now), self._board.readiness(now)
        ages = GaugeMetricFamily(f"{PREFIX}_health_age_seconds", "Age of what a check looks at", labels=["check"])
        limits = GaugeMetricFamily(f"{PREFIX}_health_limit_seconds", "Greatest healthy age", labels=["check"])
        failed = GaugeMetricFamily(f"{PREFIX}_health_failed", "1 while the check fails", labels=["check"])
        for check in health.checks:
            if check.age_s is not None:
                ages.add_metric([check.name], check.age_s)
            if check.limit_s is not None:
                limits.add_metric([check.name], check.limit_s)
            failed.add_metric([check.name], 0 if check.ok else 1)
        yield from (ages, limits, failed)
        yield GaugeMetricFamily(f"{PREFIX}_healthy", "What /health says", value=int(health.ok))
        yield GaugeMetricFamily(f"{PREFIX}_ready", "What /ready says", value=int(ready.ok))
