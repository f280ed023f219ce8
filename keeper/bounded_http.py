# SPDX-License-Identifier: Apache-2.0
"""HTTP whose answers end: within a time in all, and below a size, whatever the other side does.

A timeout of ``requests`` is for each piece of an answer, so a byte every few seconds holds the caller for ever; and an
answer is unpacked into memory however long it is. Both would silence the keeper, so both end the request here.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

import httpx
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

WHOLE_ANSWER = 3  # times the timeout of a piece
MAX_BYTES = 256 << 20
PIECE = 1 << 16


class _Timed(io.RawIOBase):
    """A socket's bytes until a moment of the monotonic clock."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._piece_s = sock.gettimeout()
        self._end = None if self._piece_s is None else time.monotonic() + WHOLE_ANSWER * self._piece_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._end is not None and self._piece_s is not None:
            left = self._end - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer did not end in time")
            self._sock.settimeout(min(left, self._piece_s))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response that is read to its end, headers and all, within ``WHOLE_ANSWER`` timeouts."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_Timed(sock), PIECE)


class _Plain(HTTPConnection):
    response_class = _Response


class _Secure(HTTPSConnection):
    response_class = _Response


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class _Adapter(HTTPAdapter):
    """Reads a whole answer at once, below a size as it is unpacked."""

    def __init__(self, max_bytes: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._max_bytes = max_bytes

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        response = super().send(request, *args, **kwargs)
        parts, size = [], 0
        try:
            for part in response.iter_content(PIECE):
                size += len(part)
                if size > (self._max_bytes or MAX_BYTES):
                    raise requests.exceptions.ContentDecodingError("the answer is too long")
                parts.append(part)
        except (OSError, HTTPError) as error:
            response.close()
            if isinstance(error, requests.RequestException):
                raise
            raise requests.exceptions.ReadTimeout(str(error), request=request) from error
        response._content = b"".join(parts)  # what `requests` itself does with a body
        return response


def bounded_session(max_bytes: int | None = None) -> requests.Session:
    """A session whose answers end in time and below a size; it follows no redirection."""
    session = requests.Session()
    session.max_redirects = 0
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(max_bytes, pool_maxsize=32))
    return session


class _Transport(httpx.BaseTransport):
    """Carries the requests of an ``httpx`` client over a bounded session."""

    def __init__(self, max_bytes: int) -> None:
        self._session = bounded_session(max_bytes)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        wait = request.extensions["timeout"]
        try:
            got = self._session.request(
                request.method,
                str(request.url),
                headers={name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.raw},
                data=request.read(),
                timeout=(wait["connect"], wait["read"]),
                allow_redirects=False,
            )
        except requests.Timeout as error:
            raise httpx.ReadTimeout(str(error), request=request) from error
        except requests.ConnectionError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        except (requests.RequestException, OSError) as error:
            raise httpx.TransportError(str(error), request=request) from error
        unpacked = {"content-encoding", "content-length", "transfer-encoding"}
        headers = [(name, value) for name, value in got.headers.items() if name.lower() not in unpacked]
        return httpx.Response(got.status_code, headers=headers, content=got.content)

    def close(self) -> None:
        self._session.close()


def bounded_client(timeout_s: float, max_bytes: int) -> httpx.Client:
    """A client for strangers' servers: answers end within ``WHOLE_ANSWER`` timeouts and below a size.

    Parameters
    ----------
    timeout_s
        Of connecting, and of each piece of an answer, s.
    max_bytes
        Longest answer, unpacked.
    """
    return httpx.Client(timeout=timeout_s, follow_redirects=False, transport=_Transport(max_bytes))
