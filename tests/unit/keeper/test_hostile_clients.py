# SPDX-License-Identifier: Apache-2.0
"""Clients that open connections and ask for nothing: they must not cost the keeper its file descriptors."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from keeper.observe import bounded_protocol
from keeper.observe.server import ObserveServer

CROWD = 3


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObserveServer]:
    monkeypatch.setattr(bounded_protocol, "REQUEST_S", 0.5)
    made = ObserveServer("127.0.0.1", 0, [Route("/x", lambda _: PlainTextResponse("ok"))])
    made.start()
    yield made
    made.stop()


def held(port: int) -> int:
    """Connections of a port that this process has as their server."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_a_crowd_that_asks_for_nothing_is_sent_away(server: ObserveServer) -> None:
    most = bounded_protocol.MOST_CONNECTIONS
    crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(CROWD * most)]
    crowd[0].sendall(b"GET /x HTTP/1.1\r\nX-Slow: ")  # begun and never ended
    try:
        deadline = time.monotonic() + 20
        while held(server.port) > most and time.monotonic() < deadline:
            time.sleep(0.05)
        assert held(server.port) <= most
        while held(server.port) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert held(server.port) == 0
        assert httpx.get(f"http://127.0.0.1:{server.port}/x", timeout=10).text == "ok"
    finally:
        for each in crowd:
            each.close()


def test_who_asks_is_answered_again_and_again_on_one_connection(server: ObserveServer) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=10) as client:
        for _ in range(3):
            assert client.get("/x").text == "ok"
            time.sleep(0.4)
