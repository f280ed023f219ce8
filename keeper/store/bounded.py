# SPDX-License-Identifier: Apache-2.0
"""Sessions of PostgreSQL that do not wait for ever.

The server's own timeouts do not help a client whose packets no longer arrive, and the kernel's do not where something
between the two still acknowledges them. So the client gives a session up that has said nothing for too long.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import psycopg
from sqlalchemy import Engine, event


def bound(engine: Engine, silence_s: float) -> None:
    """Let sessions of an engine end when the server says nothing for so many seconds while it is asked something."""

    class Bounded(psycopg.Connection[Any]):
        """A session that gives up."""

        def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **named: Any) -> Any:
            """Run what libpq wants done."""
            return super().wait(_until_silent(gen, self, silence_s), *arguments, **named)

    def connect(_dialect: Any, _record: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return Bounded.connect(*arguments, **named)

    event.listen(engine, "do_connect", connect)


def _until_silent(
    inner: Generator[Any, Any, Any], connection: psycopg.Connection[Any], silence_s: float
) -> Generator[Any, Any, Any]:
    """Pass a generator of psycopg through; it is sent nothing (0) after each interval in which the socket was idle."""
    try:
        wanted = next(inner)
        heard = time.monotonic()
        while True:
            ready = yield wanted
            now = time.monotonic()
            if ready:
                heard = now
            elif now - heard >= silence_s:
                connection.pgconn.finish()
                raise psycopg.OperationalError(f"no answer for {silence_s:g} s")
            wanted = inner.send(ready)
    except StopIteration as end:
        return end.value
