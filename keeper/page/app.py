# SPDX-License-Identifier: Apache-2.0
"""Routes of the page, and what keeps strangers out of them.

Only reading, only for hosts by their own name (a page elsewhere that points its name at 127.0.0.1 is refused), only
with scripts and styles of this package.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keeper.commands.common import exact
from keeper.errors import KeeperError, Transient
from keeper.logging import scrub
from keeper.page.view import Source, View
from keeper.page.views.account import account, advice, surface
from keeper.page.views.accounts import Query, accounts, histogram
from keeper.page.views.auctions import auctions
from keeper.page.views.epochs import epochs
from keeper.page.views.operations import operations
from keeper.page.views.parameters import parameters
from keeper.page.views.status import beat, status
from keeper.page.views.transactions import transactions
from risk.errors import BadInput, RiskError

STATIC = Path(__file__).parent / "static"
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
LOOK_S, BEAT_S = 0.25, 3.0
MOST_STREAMS = 16
LONGEST_PATH = 200
OWN_SITES = (b"same-origin", b"none")  # a browser says where a request comes from: no other page may cost us work
Build = Callable[[Request], dict[str, Any]]


class Guard:
    """Refuses whatever is not a GET under a name of ours, and adds the security headers to every answer.

    Parameters
    ----------
    names
        Host names that may stand in the Host header, without port.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or host_name(hosts[0]) not in self._names:
            return PlainTextResponse("this host name is not served; see page.allowed_hosts in the settings\n", 421)
        if len(scope["path"]) > LONGEST_PATH:
            return PlainTextResponse("there is no such path\n", 414)
        sites = [value for name, value in scope["headers"] if name == b"sec-fetch-site"]
        if scope["path"] != "/" and any(site not in OWN_SITES for site in sites):
            return PlainTextResponse("this is for the page itself; open it at /\n", 403)
        if scope["method"] not in {"GET", "HEAD"}:
            return PlainTextResponse("this page is read-only\n", 405, headers={"Allow": "GET, HEAD"})
        return None


def host_name(host: str) -> str:
    """Name of a Host header without its port.

    Examples
    --------
    >>> host_name("LOCALHOST:9465"), host_name("[::1]:9465")
    ('localhost', '[::1]')
    """
    name, colon, port = host.strip().lower().rpartition(":")
    return name if colon and port.isdecimal() else host.strip().lower()


class Page:
    """The page's application.

    Parameters
    ----------
    source
        What it shows.
    allowed_hosts
        Names under which it may be asked for, beside those of this machine.
    """

    def __init__(self, source: Source, allowed_hosts: Sequence[str] = ()) -> None:
        self._source = source
        self._stopping = threading.Event()
        self._streams = 0
        self._searching = threading.Lock()
        self._kept: dict[str, tuple[int, dict[str, Any]]] = {}
        inner = Starlette(routes=self._routes())
        self.app: ASGIApp = Guard(inner, (*LOCAL_NAMES, *allowed_hosts))

    @property
    def routes(self) -> list[BaseRoute]:
        """For a server of Starlette routes."""
        return [Mount("/", app=self.app)]

    def stop(self) -> None:
        """End the streams, so that the server can stop."""
        self._stopping.set()
        self._source.database.close()

    def _routes(self) -> list[BaseRoute]:
        source = self._source
        builders: dict[str, Build] = {
            "/api/status": lambda _: status(source),
            "/api/accounts": lambda r: accounts(source, self._view(), query_of(r)),
            "/api/histogram": lambda _: self._once("histogram", partial(histogram, source)),
            "/api/accounts/{number:int}": lambda r: account(source, self._view(), r.path_params["number"]),
            "/api/accounts/{number:int}/surface": self._surface,
            "/api/accounts/{number:int}/advice": self._advice,
            "/api/epochs": lambda _: self._once("epochs", partial(epochs, source)),
            "/api/parameters": lambda _: self._once("parameters", partial(parameters, source)),
            "/api/auctions": lambda _: self._once("auctions", partial(auctions, source)),
            "/api/transactions": lambda r: transactions(
                source, r.query_params.get("state", ""), integer(r, "offset", 0), integer(r, "limit", 50)
            ),
            "/api/operations": lambda _: operations(source),
        }
        return [
            Route("/", lambda _: FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})),
            *(Route(path, answering(build), methods=["GET"]) for path, build in builders.items()),
            Route("/api/stream", self._stream, methods=["GET"]),
            Mount("/static", app=StaticFiles(directory=STATIC)),
        ]

    def _view(self) -> View:
        view = self._source.feed.view
        if view is None:
            role = self._source.health.role
            why = "a standby assesses nothing" if role == "standby" else "the first turn has not ended yet"
            raise Transient(f"there is nothing to show: {why}; the page will ask again")
        return view

    def _once(self, name: str, build: Callable[[View], dict[str, Any]]) -> dict[str, Any]:
        """What depends on the view alone is worked out once for each."""
        view = self._view()
        kept = self._kept.get(name)
        if kept is None or kept[0] != view.number:
            kept = (view.number, build(view))
            self._kept[name] = kept
        return kept[1]

    def _surface(self, request: Request) -> dict[str, Any]:
        return surface(self._view(), request.path_params["number"], integer(request, "underlying", 0))

    def _advice(self, request: Request) -> dict[str, Any]:
        """A search takes a processor for a while, so there is one at a time."""
        if not self._searching.acquire(timeout=10):
            raise Transient("another search is under way; try again in a moment")
        try:
            return advice(self._source, self._view(), request.path_params["number"])
        finally:
            self._searching.release()

    async def _stream(self, request: Request) -> Response:
        if self._streams >= MOST_STREAMS:
            return JSONResponse({"error": f"{MOST_STREAMS} pages are open already; close one"}, 503)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._beats(request), media_type="text/event-stream", headers=headers)

    async def _beats(self, request: Request) -> AsyncIterator[str]:
        """One message at once, then with every new view and every few seconds."""
        self._streams += 1
        try:
            last, waited = -1, BEAT_S
            yield "retry: 1000\n\n"
            while not self._stopping.is_set() and not await request.is_disconnected():
                view = self._source.feed.view
                number = 0 if view is None else view.number
                if number != last or waited >= BEAT_S:
                    last, waited = number, 0.0
                    yield f"data: {json.dumps(beat(self._source))}\n\n"
                await asyncio.sleep(LOOK_S)
                waited += LOOK_S
        finally:
            self._streams -= 1


def query_of(request: Request) -> Query:
    """The query of ``/api/accounts``."""
    given = request.query_params
    return Query(
        sort=given.get("sort", "mm_health"),
        descending=given.get("order", "ascending") == "descending",
        search=given.get("search", ""),
        state=given.get("state", ""),
        offset=integer(request, "offset", 0),
        limit=integer(request, "limit", 50),
    )


def integer(request: Request, name: str, default: int) -> int:
    """An integer of the query.

    Raises
    ------
    BadInput
        It is something else.
    """
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not text.removeprefix("-").isdecimal() or len(text) > 12:
        raise BadInput(f"{name} must be an integer")
    return int(text)


def answering(build: Build) -> Callable[[Request], Response]:
    """An endpoint, run beside the event loop, that turns expected errors into a sentence."""

    def endpoint(request: Request) -> Response:
        code = 200
        try:
            body = exact(build(request))
        except BadInput as error:
            code, body = 400, {"error": scrub(str(error))}
        except Transient as error:
            code, body = 503, {"error": scrub(str(error))}
        except (KeeperError, RiskError, KeyError) as error:
            code, body = 500, {"error": scrub(str(error))}
        return JSONResponse(body, code, headers={"Cache-Control": "no-store"})

    return endpoint
