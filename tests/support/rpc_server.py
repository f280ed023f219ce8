# SPDX-License-Identifier: Apache-2.0
"""A JSON-RPC server on localhost whose answers a test writes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """An HTTP answer; ``body`` is a JSON-RPC ``result`` or ``error`` object, or raw text."""

    body: Mapping[str, Any] | str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Script = Callable[[str, list[Any]], Answer]


def result(value: Any) -> Answer:
    return Answer({"result": value})


def error(code: int, message: str, data: Any = None) -> Answer:
    body: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    return Answer({"error": body})


@dataclass
class Served:
    """A running server and the methods it was asked for."""

    url: str
    asked: list[str]


@contextmanager
def serve(script: Script) -> Iterator[Served]:
    """Run a server until the block ends."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(request["method"])
            answer = script(request["method"], request["params"])
            if isinstance(answer.body, str):
                payload = answer.body.encode()
            else:
                payload = json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer.body}).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            with suppress(BrokenPipeError):  # the client has given up waiting
                self.end_headers()
                self.wfile.write(payload)

        def log_message(self, *_args: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{server.server_port}/secret-key", asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
