# SPDX-License-Identifier: Apache-2.0
"""``/health``, ``/ready`` and ``/metrics``, read-only, and a thread that serves any Starlette routes beside them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Sequence

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from keeper.errors import ConfigError
from keeper.observe.bounded_protocol import BoundedProtocol
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics

Answer = tuple[int, str, bytes]
BACKLOG = 64
STOP_S = 5.0


def answer(path: str, metrics: Metrics, board: HealthBoard, now: float) -> Answer:
    """(status, content type, body) of one request; 503 when the keeper is not healthy or not ready."""
    if path == "/metrics":
        return 200, CONTENT_TYPE_LATEST, metrics.render()
    report = board.report(now) if path == "/health" else board.readiness(now)
    body = {**report.as_dict(), "role": board.role, "halted": board.halts()}
    return (200 if report.ok else 503), "application/json", json.dumps(body).encode()


def observe_routes(metrics: Metrics, board: HealthBoard, clock: Callable[[], float]) -> list[BaseRoute]:
    """Routes of ``/health``, ``/ready`` and ``/metrics``.

    Parameters
    ----------
    clock
        Unix seconds.
    """

    def endpoint(request: Request) -> Response:
        status, kind, body = answer(request.url.path, metrics, board, clock())
        return Response(body, status, media_type=kind, headers={"Cache-Control": "no-store"})

    return [Route(path, endpoint, methods=["GET"]) for path in ("/health", "/ready", "/metrics")]


class ObserveServer:
    """Serves Starlette routes in a thread of its own until `stop`.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes any free one: ``port`` is the one taken.
    routes
        What to serve; anything else answers 404 with the list of paths.
    setting
        What to change where the address cannot be bound.

    Raises
    ------
    ConfigError
        The address cannot be bound.
    """

    def __init__(self, host: str, port: int, routes: Sequence[BaseRoute], setting: str = "METRICS_PORT") -> None:
        known = " ".join(sorted(route.path for route in routes if isinstance(route, Route)))

        def missing(_request: Request, _error: Exception) -> Response:
            return PlainTextResponse(f"routes: {known}\n", 404)

        self._socket = _listen(host, port, setting)
        self.port: int = self._socket.getsockname()[1]
        app = Starlette(routes=list(routes), exception_handlers={404: missing})
        # Logs go the keeper's way, and a probe every few seconds is not news.
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=int(STOP_S),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="observe", daemon=True)

    def start(self) -> None:
        """Begin to serve; requests from now on are answered."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and free the port."""
        if self._thread.is_alive():
            self._server.should_exit = True
            self._thread.join(timeout=2 * STOP_S)
        self._socket.close()


def _listen(host: str, port: int, setting: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
            bound.listen(BACKLOG)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror}); set {setting} to a free port or 0"
        ) from error
    return bound
