# SPDX-License-Identifier: Apache-2.0
"""Structured logs on standard error, with secrets taken out."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, TextIO
from urllib.parse import urlsplit

import structlog

SECRET_NAMES = re.compile(r"private.?key|password|secret|token$|api.?key|mnemonic|authorization|^raw$", re.IGNORECASE)
SECRET_URLS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>[^\s'\"<>]+)", re.IGNORECASE)
HIDDEN = "[hidden]"


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
    return SECRET_URLS.sub(_host_only, text)


def _host_only(match: re.Match[str]) -> str:
    if match["scheme"].lower().startswith("sqlite"):
        return match[0]
    try:
        parts = urlsplit(match[0])
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return f"{match['scheme']}://{HIDDEN}"
    rest = f"/{HIDDEN}" if parts.path.strip("/") or parts.query else ""
    user = f"{HIDDEN}@" if parts.username else ""
    return f"{parts.scheme}://{user}{parts.hostname or ''}{port}{rest}"


class Redactor:
    """A structlog processor that hides secrets in every value, whatever its depth."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(secret for secret in secrets if secret)

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Return the event without secrets."""
        return {key: HIDDEN if SECRET_NAMES.search(key) else self._clean(value) for key, value in event.items()}

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return redact_text(value, self._secrets)
        if isinstance(value, BaseException):
            return redact_text(f"{type(value).__name__}: {value}", self._secrets)
        if isinstance(value, dict):
            return {k: HIDDEN if SECRET_NAMES.search(str(k)) else self._clean(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(item) for item in value]
        return value


def configure(
    level: str = "INFO", fmt: str = "plain", *, secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Set the process's logging up.

    Parameters
    ----------
    level
        ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.
    fmt
        ``json`` for one object a line, ``plain`` for people.
    secrets
        Texts that must never appear, for example a private key.
    stream
        Where to write; standard error by default, so that a command's output stays clean.
    """
    target = stream or sys.stderr
    colours = fmt == "plain" and target.isatty()
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if fmt == "json" else structlog.dev.ConsoleRenderer(colors=colours)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            Redactor(secrets),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
