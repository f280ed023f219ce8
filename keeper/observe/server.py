# SPDX-License-Identifier: Apache-2.0
"""``/health``, ``/ready`` and ``/metrics`` on one local port.

Read-only and three routes, so the standard library's server is enough.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST

from keeper.errors import ConfigError
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics

Answer = tuple[int, str, bytes]


def answer(path: str, metrics: Metrics, board: HealthBoard, now: float) -> Answer:
    """(status, content type, body) of one request; 503 when the keeper is not healthy or not ready."""
    if path == "/metrics":
        return 200, CONTENT_TYPE_LATEST, metrics.render()
    if path in {"/health", "/ready"}:
        report = board.report(now)
        ok = report.ok if path == "/health" else board.ready(now)
        body = {**report.as_dict(), "ok": ok, "halted": board.halts()}
        return (200 if ok else 503), "application/json", json.dumps(body).encode()
    return 404, "text/plain", b"routes: /health /ready /metrics\n"


class ObserveServer:
    """Serves `answer` in a thread of its own until `stop`.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes any free one (see ``port`` after `start`).
    clock
        Unix seconds.

    Raises
    ------
    ConfigError
        The address cannot be bound.
    """

    def __init__(self, host: str, port: int, metrics: Metrics, board: HealthBoard, clock: Callable[[], float]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the base class prescribes this name
                status, kind, body = answer(self.path.partition("?")[0], metrics, board, clock())
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
                """Silent: a probe every few seconds is not news."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port} ({error.strerror}); set METRICS_PORT to a free port or 0"
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="observe", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and free the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(timeout=5)
        self._server.server_close()
