# SPDX-License-Identifier: Apache-2.0
"""A server that speaks whatever bytes a test wants, and what hostile ones say."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
PAUSE_S = 0.1
Speak = Callable[[socket.socket], None]


@contextmanager
def raw_server(speak: Speak) -> Iterator[str]:
    """A server that answers every connection with whatever ``speak`` writes."""
    listening = socket.create_server(("127.0.0.1", 0))

    def each(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65_536)
            speak(connection)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=each, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        listening.close()


def drip_body(connection: socket.socket) -> None:
    """A body that comes byte by byte."""
    connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
    _drip(connection)


def drip_head(connection: socket.socket) -> None:
    """A header that never ends."""
    connection.sendall(HEAD + b"X-Slow: ")
    _drip(connection)


def _drip(connection: socket.socket) -> None:
    for _ in range(80):
        connection.sendall(b" ")
        time.sleep(PAUSE_S)


def bomb(connection: socket.socket) -> None:
    """Four million bytes in a few thousand."""
    body = gzip.compress(b" " * (4 << 20))
    connection.sendall(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def elsewhere(connection: socket.socket) -> None:
    """A redirection."""
    connection.sendall(b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")
