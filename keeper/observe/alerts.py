# SPDX-License-Identifier: Apache-2.0
"""Alerts: logged, counted, and not repeated while nothing has changed.

Where they go from the log or the metric is the operator's choice; docs/runbook.md has an entry for each name.
"""

from __future__ import annotations

import structlog

from keeper.observe.metrics import Metrics

REPEAT_S = 3_600


class Alerts:
    """Raises alerts by name.

    Parameters
    ----------
    metrics
        Counts every raised alert, repeated or not.
    repeat_s
        The same text under the same name is logged again only after so many seconds.
    """

    def __init__(self, metrics: Metrics, repeat_s: int = REPEAT_S) -> None:
        self._metrics = metrics
        self._repeat_s = repeat_s
        self._last: dict[str, tuple[str, float]] = {}
        self._log = structlog.get_logger("alert")

    def fire(self, name: str, text: str, now: float) -> bool:
        """Raise an alert; returns whether it was logged (False: a repetition)."""
        self._metrics.alerts_total.labels(name).inc()
        said, at = self._last.get(name, ("", float("-inf")))
        if said == text and now - at < self._repeat_s:
            return False
        self._last[name] = (text, now)
        self._log.error(text, alert=name)
        return True
