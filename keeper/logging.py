# SPDX-License-Identifier: Apache-2.0
"""Structured logs on standard error, with secrets taken out.

What other libraries log goes the same way: their errors quote the paths of endpoints, and those are often keys.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import parse_qsl, unquote, urlsplit

import structlog
from pydantic import BaseModel, SecretStr

from keeper.text import plain

SECRET_NAMES = re.compile(r"private.?key|password|secret|token$|api.?key|mnemonic|authorization|^raw$", re.IGNORECASE)
SECRET_URLS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>[^\s'\"<>]+)", re.IGNORECASE)
URL_PATHS = re.compile(r"(?P<lead>\burl: )/[^\s'\"<>]+", re.IGNORECASE)  # urllib3 quotes a path without its host
HIDDEN = "[hidden]"
TRACEBACK, LONGEST = "exception", 10_000
WEB = frozenset({"http", "https", "ws", "wss"})
DATABASES = ("sqlite", "postgresql", "postgres", "mysql", "mariadb", "oracle", "mssql")
LOCAL = frozenset({"json", "jsons", "xml", "xmls", "form", "forms"})  # apprise's names for a web server of one's own
SHORTEST_SECRET = 8  # shorter pieces of a URL are words such as 'v3', which would be hidden everywhere
SHORTEST_PASSWORD = 4
OWN_NEWS = "apscheduler.executors"  # repeats what keeper.service has said of a failed job
SCHEDULER = "apscheduler.scheduler"
OVERLAP = "maximum number of running instances"  # keeper.service says so once, not at each start
_known: list[str] = []


def debugging() -> bool:
    """Whether ``BALLAST_DEBUG=1`` asks for tracebacks."""
    return os.environ.get("BALLAST_DEBUG") == "1"


def redact_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Take known secrets out of a text, and of every URL what follows the host and what precedes it.

    A provider's key is as often a part of the path as of the query, so nothing but scheme, host and port stays.

    Examples
    --------
    >>> redact_text("no answer from https://rpc.example:443/v2/abcdef?x=1")
    'no answer from https://rpc.example:443/[hidden]'
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return URL_PATHS.sub(rf"\g<lead>/{HIDDEN}", SECRET_URLS.sub(_host_only, text))


def scrub(text: str) -> str:
    """Take every secret that this process was configured with out of a text, and what :func:`redact_text` knows."""
    return redact_text(text, _known)


def hide(secret: str) -> None:
    """Take this text, too, out of everything from now on: a key that was read from a file."""
    if len(secret) >= SHORTEST_PASSWORD:
        _known.append(secret)


def secret_texts(value: Any) -> tuple[str, ...]:
    """Every text below a setting that must never appear, longest first.

    Of a URL these are the password, and the path and query with their parts: what follows the host is often a key. Of
    a notification service's URL, such as ``slack://``, the host is one too.

    Examples
    --------
    >>> secret_texts(SecretStr("https://rpc.example/v3/0123456789abcdef"))
    ('/v3/0123456789abcdef', '0123456789abcdef')
    """
    return tuple(sorted(set(_secret_texts(value)), key=lambda text: (-len(text), text)))


def _secret_texts(value: Any) -> list[str]:
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return _url_parts(text) if "://" in text else [text, text.removeprefix("0x")]
    if isinstance(value, BaseModel):
        return [text for name in type(value).model_fields for text in _secret_texts(getattr(value, name))]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for item in value for text in _secret_texts(item)] if isinstance(value, list | tuple) else []


def _url_parts(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return [url]
    scheme, query = parts.scheme.lower(), [value for _, value in parse_qsl(parts.query)]
    passwords = [parts.password or ""]
    pieces = []
    if scheme.partition("+")[0] in DATABASES:
        passwords += query if scheme.startswith("postgres") else []
    else:
        pieces = [parts.path, parts.query, *re.split(r"[/?&=]", f"{parts.path}?{parts.query}"), *query]
        if scheme not in WEB | LOCAL:
            pieces += [parts.netloc, parts.hostname or "", parts.username or "", *re.split("[:@]", parts.netloc)]
    pieces = [piece for piece in pieces if len(piece.strip("/")) >= SHORTEST_SECRET]
    pieces += [word for word in passwords if len(word) >= SHORTEST_PASSWORD]
    return pieces + [unquote(piece) for piece in pieces if unquote(piece) != piece]


def _host_only(match: re.Match[str]) -> str:
    scheme = match["scheme"].lower()
    if scheme.startswith("sqlite"):
        return match[0]
    if scheme.partition("+")[0] not in {*WEB, *LOCAL, *DATABASES}:
        return f"{match['scheme']}://{HIDDEN}"
    try:
        parts = urlsplit(match[0])
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return f"{match['scheme']}://{HIDDEN}"
    rest = f"/{HIDDEN}" if parts.path.strip("/") or parts.query else ""
    user = f"{HIDDEN}@" if parts.username else ""
    return f"{parts.scheme}://{user}{parts.hostname or ''}{port}{rest}"


class Redactor:
    """A structlog processor that hides the secrets of :func:`scrub` in every value, whatever its depth."""

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Return the event without secrets."""
        clean = {key: HIDDEN if SECRET_NAMES.search(key) else self._clean(value) for key, value in event.items()}
        # a traceback has lines; whatever else has them was written by somebody who forges lines of the log
        return {
            key: plain(value, LONGEST) if isinstance(value, str) and key != TRACEBACK else value
            for key, value in clean.items()
        }

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return scrub(value)
        if isinstance(value, BaseException):
            return scrub(f"{type(value).__name__}: {value}")
        if isinstance(value, dict):
            return {k: HIDDEN if SECRET_NAMES.search(str(k)) else self._clean(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(item) for item in value]
        return value


def configure(
    level: str = "INFO", fmt: str = "plain", *, secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Set the process's logging up, that of the libraries included.

    Parameters
    ----------
    level
        ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``. Libraries are heard from ``WARNING`` on.
    fmt
        ``json`` for one object a line, ``plain`` for people.
    secrets
        Texts that must never appear, for example a private key; see :func:`secret_texts`.
    stream
        Where to write; standard error by default, so that a command's output stays clean.
    """
    _known[:] = [secret for secret in secrets if secret]
    target = stream or sys.stderr
    colours = fmt == "plain" and target.isatty()
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if fmt == "json" else structlog.dev.ConsoleRenderer(colors=colours)
    )
    stamps: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    shown: list[structlog.typing.Processor] = [_error_of, structlog.processors.format_exc_info, Redactor()]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *stamps, *shown, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    _configure_libraries(target, level, stamps, [*shown, renderer])


class _Handler(logging.StreamHandler[TextIO]):
    """Where the libraries' logs go: ours, so that setting up again replaces it and no other handler."""


def _no_overlap(record: logging.LogRecord) -> bool:
    return OVERLAP not in record.msg


def _configure_libraries(
    target: TextIO, level: str, stamps: list[structlog.typing.Processor], rest: list[structlog.typing.Processor]
) -> None:
    handler = _Handler(target)
    handler.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    drop_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *stamps], processors=[drop_meta, *rest]
        )
    )
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    logging.getLogger(OWN_NEWS).setLevel(logging.CRITICAL)
    logging.getLogger(SCHEDULER).addFilter(_no_overlap)


def _error_of(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Give an error as type, sentence and line instead of its traceback, unless that is asked for."""
    given = event.get("exc_info")
    if not given or debugging():
        return event
    event.pop("exc_info")
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given is True else given[1]
    if error is not None and "error" not in event:
        text = " ".join(str(error).split())
        event["error"] = f"{type(error).__name__}: {text}" if text else type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)
        if frames:
            event["at"] = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
    return event
