# SPDX-License-Identifier: Apache-2.0
"""Everything that talks to people, wired from the settings: operator alerts, margin calls, and the watch over both."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from keeper.observe.addresses import load_addresses
from keeper.observe.alert_store import AlertStore
from keeper.observe.alerts import Alerts
from keeper.observe.delivery import Delivery, Message, RateLimit, check_address
from keeper.observe.health import HealthBoard
from keeper.observe.margin_calls import MarginDesk
from keeper.observe.margin_store import MarginStore
from keeper.observe.metrics import Metrics
from keeper.observe.outlet import Outlet
from keeper.observe.watch import HealthCollector, Watch
from keeper.settings import Settings
from keeper.store import Store

LAST_WORDS_S = 10.0


class Office:
    """Alerts and margin calls of one keeper; nothing leaves it before `open`.

    Raises
    ------
    ConfigError
        An address cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        chain_id: int,
        metrics: Metrics,
        health: HealthBoard,
        clock: Callable[[], float],
    ) -> None:
        self._urls = settings.alerts.destinations
        for url in self._urls:
            check_address(url, "alerts", webhooks=False)
        self._delivery = Delivery(metrics)
        self._limit = RateLimit(settings.alerts.per_minute)
        self._outlets: list[Outlet] = []
        self._memory = AlertStore(store, chain_id)
        self.alerts = Alerts(
            metrics,
            settings.alerts.repeat_s,
            send=self._send,
            save=self._memory.save,
            known=self._memory.load(),
            min_severity=settings.alerts.min_severity,
        )
        self._watch = Watch(health, self.alerts, clock)
        metrics.registry.register(HealthCollector(health, clock))
        given, self.desk = settings.margin_calls, None
        book = load_addresses(given)
        if book:
            secret = given.secret.get_secret_value() if given.secret else None
            delivery = Delivery(metrics, given.timeout_s, secret)
            self.desk = MarginDesk(given, book, MarginStore(store, chain_id), delivery, self.alerts, metrics, clock)

    def open(self) -> None:
        """Begin to deliver, to write down and to watch."""
        self._memory.start()
        self._outlets = [Outlet(url, self._delivery, self._limit) for url in self._urls]
        self._watch.start()
        if self.desk is not None:
            self.desk.start()

    def close(self) -> None:
        """Deliver what is left as far as that is quick, then stop."""
        self._watch.close()
        if self.desk is not None:
            self.desk.close(LAST_WORDS_S)
        left = [outlet for outlet in self._outlets if not outlet.close(LAST_WORDS_S)]
        if left:
            structlog.get_logger("alert").warning("alerts were not delivered", addresses=len(left))
        self._memory.close()

    def _send(self, message: Message) -> None:
        for outlet in self._outlets:
            outlet.put(message)
