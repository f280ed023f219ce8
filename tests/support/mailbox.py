# SPDX-License-Identifier: Apache-2.0
"""A real HTTP server that keeps what is posted to it, and can be told to refuse or to hang."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Post:
    """One request."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.raw)
        return made


@dataclass
class Mailbox:
    """``answers`` are statuses to give first, then 200; ``hang_s`` is how long each answer takes."""

    port: int = 0
    posts: list[Post] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    hang_s: float = 0.0

    def url(self, scheme: str = "http", path: str = "/hook") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def wait(self, count: int, timeout_s: float = 10.0) -> list[Post]:
        """The first ``count`` posts, when they have come."""
        end = time.monotonic() + timeout_s
        while len(self.posts) < count:
            assert time.monotonic() < end, f"{len(self.posts)} of {count} posts came"
            time.sleep(0.01)
        return self.posts[:count]


@contextmanager
def mailbox(port: int = 0) -> Iterator[Mailbox]:
    """Serve until the block ends."""
    box = Mailbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the base class prescribes this name
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(box.hang_s)
            status = box.answers.pop(0) if box.answers else 200
            box.posts.append(Post(self.path, dict(self.headers), raw))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    box.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield box
    finally:
        server.shutdown()
        server.server_close()
