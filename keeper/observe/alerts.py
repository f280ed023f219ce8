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
        The same trouble under the same name is logged again only after so many seconds.
    """

    def __init__(self, metrics: Metrics, repeat_s: int = REPEAT_S) -> None:
        self._metrics = metrics
        self._repeat_s = repeat_s
        self._logged: dict[tuple[str, str], float] = {}
        self._log = structlog.get_logger("alert")

    def fire(self, name: str, text: str, now: float, key: str | None = None) -> bool:
        """Raise an alert; returns whether it was logged (False: a repetition).

        Parameters
        ----------
        key
            What makes two alerts of a name the same trouble; None: their text.
        """
        self._metrics.alerts_total.labels(name).inc()
        self._logged = {known: at for known, at in self._logged.items() if now - at < self._repeat_s}
        trouble = (name, text if key is None else key)
        if trouble in self._logged:
            return False
        self._logged[trouble] = now
        self._log.error(text, alert=name)
        return True
