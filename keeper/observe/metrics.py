# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics of the keeper, all prefixed ``ballast_keeper_``.

One `Metrics` object owns one registry, so that two keepers in one process (a test, a demo) never share a counter.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PREFIX = "ballast_keeper"
UNKNOWN = float("nan")  # of a gauge that nothing has set: zero would be an answer, and no alert rule fires on this


class Metrics:
    """Every number the keeper exports.

    Attributes named ``*_total`` are counters; times are unix seconds, durations seconds, chain amounts USD as floats
    (for plots only: nothing reads a metric to decide).
    """

    def __init__(self, version: str, chain_id: int) -> None:
        self.registry = CollectorRegistry()
        self._gauges: list[tuple[Gauge, tuple[str, ...]]] = []
        self._gauge("build_info", "Version that runs and the chain it serves", ("version", "chain_id")).labels(
            version, str(chain_id)
        ).set(1)
        self._cycle_metrics()
        before = len(self._gauges)
        self._book_metrics()
        self._publishing_metrics()
        self._of_leader = self._gauges[before:]
        self._service_metrics()
        self._rpc_metrics()

    def stand_by(self) -> None:
        """Forget what only the instance that acts sees: its last numbers would be taken for present ones."""
        for gauge, labels in self._of_leader:
            if labels:
                gauge.clear()
            else:
                gauge.set(UNKNOWN)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        gauge = Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)
        if not labels:
            gauge.set(UNKNOWN)
        self._gauges.append((gauge, labels))
        return gauge

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _cycle_metrics(self) -> None:
        self.block_number = self._gauge("block_number", "Block of the last snapshot")
        self.cycles_total = self._counter("cycles_total", "Turns of the loop by result", ("result",))
        self.last_cycle_at = self._gauge(
            "last_cycle_timestamp_seconds", "Unix time the last turn with this result ended", ("result",)
        )
        self.cycle_seconds = Histogram(
            f"{PREFIX}_cycle_duration_seconds",
            "Time of one turn of the loop",
            registry=self.registry,
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )
        self.actions_total = self._counter("actions_total", "Decided actions by kind and outcome", ("kind", "outcome"))
        self.halted = self._gauge("halted", "1 while this part is stopped until a person looks", ("part",))

    def _book_metrics(self) -> None:
        self.accounts = self._gauge("accounts", "Accounts by state in the last snapshot", ("state",))
        self.liquidatable_accounts = self._gauge("liquidatable_accounts", "Accounts below maintenance margin")
        self.min_health_usd = self._gauge("min_health_usd", "Lowest maintenance health of any account, USD")
        self.min_health_percent = self._gauge(
            "min_health_percent", "Lowest maintenance health of any account, percent of its maintenance margin"
        )
        self.unknown_oldest_seconds = self._gauge("unknown_oldest_seconds", "Since when the oldest account is unknown")
        self.auctions = self._gauge("auctions", "Auctions that run, by phase", ("phase",))
        self.shortfall_usd = self._gauge("shortfall_usd", "What insolvent accounts lack, as the auction knows it, USD")
        self.withdrawals_limited = self._gauge("withdrawals_limited", "1 while the shortfall exceeds the fund")
        self.insurance_fund_cash = self._gauge("insurance_fund_cash", "Assets of the insurance fund, cash tokens")
        self.model_parity_error = self._gauge(
            "model_parity_error", "Accounts whose integers differed from the engine's in the last comparison"
        )
        self.parity_checks_total = self._counter("parity_checks_total", "Accounts compared with MarginEngine.assess")
        self.parity_mismatches_total = self._counter("parity_mismatches_total", "Comparisons that were not equal")

    def _publishing_metrics(self) -> None:
        self.price_age_seconds = self._gauge("price_age_seconds", "Age of the oracle price", ("underlying",))
        self.price_deviation_bps = self._gauge(
            "price_deviation_bps", "Oracle price against the source outside the chain furthest from it", ("underlying",)
        )
        self.prices_trusted = self._gauge("prices_trusted", "0 while prices are in dispute and nothing is sent")
        self.table_drift_steps = self._gauge(
            "table_drift_steps", "Live price against the page's reference price, in grid steps", ("underlying",)
        )
        self.table_expires_in_seconds = self._gauge(
            "table_expires_in_seconds", "Time the living page has left", ("underlying",)
        )
        self.table_epoch = self._gauge("table_epoch", "Epoch of the living page", ("underlying",))
        self.table_age_seconds = self._gauge(
            "table_age_seconds", "Age of what the living page was made from", ("underlying",)
        )
        self.joint_expires_in_seconds = self._gauge(
            "joint_expires_in_seconds", "Time the living joint scenarios have left"
        )
        self.parameters_age_seconds = self._gauge("parameters_age_seconds", "Time since the last parameter push")
        self.parameters_valid_for_seconds = self._gauge(
            "parameters_valid_for_seconds", "Time the pushed parameters have left"
        )

    def _service_metrics(self) -> None:
        self.jobs_total = self._counter("jobs_total", "Scheduler events by job", ("job", "event"))
        self.job_last_success_at = self._gauge(
            "job_last_success_timestamp_seconds", "Unix time each job last ended well", ("job",)
        )
        self.job_seconds = self._gauge("job_duration_seconds", "Time the job's last good run took", ("job",))
        self.unhandled_exceptions_total = self._counter("unhandled_exceptions_total", "Errors nobody expected")
        self.alerts_total = self._counter("alerts_total", "Alerts raised by name", ("name",))
        self.alerts_active = self._gauge("alerts_active", "Troubles that last, by severity", ("severity",))
        self.messages_total = self._counter(
            "messages_total",
            "Messages to people: alert or margin_call; sent, retried, failed or dropped",
            ("purpose", "result"),
        )
        self.margin_calls_total = self._counter("margin_calls_total", "Margin calls made, by kind", ("kind",))
        self.margin_calls_pending = self._gauge("margin_calls_pending", "Margin calls not delivered yet")
        self.margin_call_oldest_seconds = self._gauge(
            "margin_call_oldest_seconds", "Age of the oldest margin call that is not delivered yet"
        )
        self.transactions_total = self._counter(
            "transactions_total",
            "Events of transactions: sent, raised, withdrawn, waits, filled, replaced, deep_reorg",
            ("kind", "event"),
        )
        self.account_balance = self._gauge("account_balance", "Native token of the key", ("address",))
        self.current_nonce = self._gauge("current_nonce", "Transactions of the key that are mined", ("address",))
        self.intents_total = self._counter(
            "intents_total", "Actions of the journal that have ended, by kind and how", ("kind", "status")
        )
        self.tx_gas_bumps_total = self._counter("tx_gas_bumps_total", "Transactions signed again with higher fees")
        self.tx_fee_gwei = self._gauge("tx_fee_gwei", "Highest fee a unit of gas may cost, of the last transaction")
        self.oldest_intent_seconds = self._gauge(
            "oldest_intent_seconds", "Age of the oldest action that is decided and not mined"
        )
        self.block_checkpoint_lag = self._gauge(
            "block_checkpoint_lag", "Blocks between the head and what events have been read of"
        )
        self.lease_held = self._gauge("lease_held", "1 while this instance is the one that may send")

    def _rpc_metrics(self) -> None:
        """Of each endpoint, named by host and port: the rest of a URL is often a key."""
        by_endpoint = ("endpoint",)
        self.rpc_requests_total = self._counter("rpc_requests_total", "Requests to an endpoint", by_endpoint)
        self.rpc_request_errors_total = self._counter(
            "rpc_request_errors_total", "Failed requests and answers that were not believed", ("endpoint", "kind")
        )
        self.rpc_request_seconds = Histogram(
            f"{PREFIX}_rpc_request_duration_seconds",
            "Time of one request",
            by_endpoint,
            registry=self.registry,
            buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )
        self.rpc_rotations_total = self._counter("rpc_endpoint_rotations_total", "Changes of the endpoint in use")
        self.rpc_rate_limits_total = self._counter("rpc_rate_limits_total", "Requests refused as too many", by_endpoint)
        self.rpc_truncated_logs_total = self._counter(
            "rpc_truncated_logs_total", "Answers from which logs were missing", by_endpoint
        )
        self.rpc_endpoint_usable = self._gauge(
            "rpc_endpoint_usable", "1 while an endpoint is read from or could be, 0 while not", by_endpoint
        )
        self.rpc_endpoint_head = self._gauge("rpc_endpoint_head", "Newest block an endpoint told of", by_endpoint)
        self.rpc_endpoint_head_at = self._gauge(
            "rpc_endpoint_head_timestamp_seconds", "Unix time of that block", by_endpoint
        )
        self.rpc_endpoint_lag = self._gauge(
            "rpc_endpoint_lag_blocks", "Blocks an endpoint was behind the best other one", by_endpoint
        )

    def render(self) -> bytes:
        """Text exposition format of every metric."""
        return generate_latest(self.registry)
