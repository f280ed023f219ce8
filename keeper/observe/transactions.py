# SPDX-License-Identifier: Apache-2.0
"""What happens to transactions, as metrics and alerts: the sender's listener."""

from __future__ import annotations

from collections.abc import Callable

from keeper.observe.alerts import Alerts
from keeper.observe.metrics import Metrics
from keeper.tx.journal import Journal
from keeper.tx.records import Intent

ALARMS = {
    "replaced": "key_used_elsewhere",
    "deep_reorg": "deep_reorg",
    "waits": "transaction_waits",
    "stranded": "transaction_waits",
}


class TransactionNews:
    """Counts every event of the sender, and raises an alert for those a person should know of."""

    def __init__(self, metrics: Metrics, alerts: Alerts, now: Callable[[], int]) -> None:
        self._metrics = metrics
        self._alerts = alerts
        self._now = now

    def __call__(self, event: str, intent: Intent) -> None:
        """One event of one intent."""
        self._metrics.transactions_total.labels(intent.kind, event).inc()
        if event in ALARMS:
            text = f"{intent}: {intent.error or event}; see 'ballast tx show {intent.id}'"
            self._alerts.fire(ALARMS[event], text, self._now(), str(intent.id))


def announce_other_keys(journal: Journal, alerts: Alerts, now: int) -> None:
    """Tell the operator of actions that wait under a key which is not this keeper's: it never touches them."""
    for intent in journal.foreign_intents():
        text = f"{intent} is {intent.state} under key {intent.sender}, which this keeper does not hold; it stays there"
        alerts.fire("open_under_another_key", text, now, str(intent.id))
