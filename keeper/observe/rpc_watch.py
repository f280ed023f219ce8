# SPDX-License-Identifier: Apache-2.0
"""Counts what becomes of the requests to the endpoints."""

from __future__ import annotations

from keeper.chain.endpoint import Head
from keeper.observe.metrics import Metrics

RATE_LIMIT = "rate_limit"


class RpcInstruments:
    """Implements `keeper.chain.pool_policy.Watcher` over the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def asked(self, endpoint: str, seconds: float) -> None:
        """One request was answered or failed."""
        self._metrics.rpc_requests_total.labels(endpoint).inc()
        self._metrics.rpc_request_seconds.labels(endpoint).observe(seconds)

    def failed(self, endpoint: str, kind: str) -> None:
        """A request failed, or its answer was not believed."""
        self._metrics.rpc_request_errors_total.labels(endpoint, kind).inc()
        if kind == RATE_LIMIT:
            self._metrics.rpc_rate_limits_total.labels(endpoint).inc()

    def rotated(self) -> None:
        """Reads go to another endpoint from here on."""
        self._metrics.rpc_rotations_total.inc()

    def saw_head(self, endpoint: str, head: Head, lag: int) -> None:
        """An endpoint told of its newest block."""
        self._metrics.rpc_endpoint_head.labels(endpoint).set(head.number)
        self._metrics.rpc_endpoint_head_at.labels(endpoint).set(head.timestamp)
        self._metrics.rpc_endpoint_lag.labels(endpoint).set(lag)

    def usable(self, endpoint: str, now: bool) -> None:
        """An endpoint may be read from, or may not any more."""
        self._metrics.rpc_endpoint_usable.labels(endpoint).set(1 if now else 0)

    def truncated(self, endpoint: str) -> None:
        """Logs were missing from an answer."""
        self._metrics.rpc_truncated_logs_total.labels(endpoint).inc()
