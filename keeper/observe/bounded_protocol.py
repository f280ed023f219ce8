# SPDX-License-Identifier: Apache-2.0
"""A server's side of HTTP that no crowd of clients can turn into a keeper without file descriptors.

Each connection costs a descriptor, and a process that has none left can neither ask a node nor open its database. So
there are so many connections and no more, and one that asks for nothing is closed.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 64
REQUEST_S = 10.0


class BoundedProtocol(H11Protocol):
    """Refuses connections beyond `MOST_CONNECTIONS`; closes one without a whole request head after `REQUEST_S`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or end it at once."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self.loop.call_later(REQUEST_S, self._ask_or_go)

    def _ask_or_go(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.abort()
