# SPDX-License-Identifier: Apache-2.0
"""What stands between a keeper and the world in a test: a wire that can be cut, and a gateway that counts sends."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests


class Wire:
    """A TCP proxy on localhost to one port.

    `hold` is what a broken network looks like: connections stay, nothing arrives, new ones get no answer. `mend` lets
    all of it go on. `snap` resets what is open and refuses what is new.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._open = threading.Event()
        self._open.set()
        self._refuses = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        self._open.clear()

    def snap(self) -> None:
        self._refuses = True
        self._end_all()

    def mend(self) -> None:
        self._refuses = False
        self._open.set()

    def close(self) -> None:
        self.mend()
        self._listener.close()
        self._end_all()

    def _end_all(self) -> None:
        pairs, self._pairs = self._pairs, []
        for each in (end for pair in pairs for end in pair):
            _end(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                client.close()
                continue
            threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        self._open.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self._to), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        self._pairs.append((client, server))
        for pair in ((client, server), (server, client)):
            threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                self._open.wait()
                target.sendall(data)
        except OSError:
            pass
        _end(source)
        _end(target)


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@dataclass
class Sends:
    """Raw transactions that went through a gateway, with the time (monotonic s) of each."""

    all: list[tuple[float, str]] = field(default_factory=list)

    def since(self, moment: float) -> list[str]:
        return [raw for at, raw in self.all if at >= moment]


class Gateway(ThreadingHTTPServer):
    """Hands JSON-RPC on to a node and notes every ``eth_sendRawTransaction``."""

    daemon_threads = True

    def __init__(self, node: str) -> None:
        sends = self.sends = Sends()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # the base class prescribes this name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked: Any = json.loads(body)
                for one in asked if isinstance(asked, list) else [asked]:
                    if one["method"] == "eth_sendRawTransaction":
                        sends.all.append((time.monotonic(), one["params"][0]))
                answer = requests.post(node, data=body, headers={"Content-Type": "application/json"}, timeout=10)
                with suppress(OSError):  # the keeper was killed
                    self.send_response(answer.status_code)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(answer.content)))
                    self.end_headers()
                    self.wfile.write(answer.content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
                """Silent."""

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A keeper that is killed breaks its connections: no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def drop(self) -> None:
        self.shutdown()
        self.server_close()
