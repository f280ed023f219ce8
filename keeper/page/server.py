# SPDX-License-Identifier: Apache-2.0
"""The page's own port, served in a thread beside the keeper."""

from __future__ import annotations

from keeper.observe.server import ObserveServer
from keeper.page.app import Page
from keeper.page.view import Source
from keeper.settings_sections import PageSection


class PageServer:
    """Serves the page until `stop`.

    It has a port of its own because ``/metrics`` is often opened to a collector elsewhere, and the page must not be.

    Raises
    ------
    ConfigError
        The address cannot be bound.
    """

    def __init__(self, source: Source, section: PageSection) -> None:
        self._page = Page(source, section.allowed_hosts)
        self._server = ObserveServer(section.host, section.port, self._page.routes, "page.port")
        host = f"[{section.host}]" if ":" in section.host else section.host
        self.url = f"http://{host}:{self._server.port}/"

    def start(self) -> None:
        """Begin to serve."""
        self._server.start()

    def stop(self) -> None:
        """End the streams and free the port."""
        self._page.stop()
        self._server.stop()
