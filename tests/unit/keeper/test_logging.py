# SPDX-License-Identifier: Apache-2.0
"""Logs: structure for machines, and never a secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pydantic import SecretStr

from keeper.logging import configure, redact_text, scrub, secret_texts
from keeper.settings import load_settings

KEY = "0x" + "5e" * 32


@pytest.fixture(autouse=True)
def _reset() -> Iterator[None]:
    yield
    configure()  # forgets the secrets of the test, and its stream
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_object_a_line_with_level_and_time() -> None:
    stream = io.StringIO()
    configure("INFO", "json", stream=stream)
    structlog.get_logger().info("transaction_sent", account=7, nonce=2**70)
    structlog.get_logger().debug("not shown")
    (line,) = lines(stream)
    assert (line["event"], line["account"], line["nonce"], line["level"]) == ("transaction_sent", 7, 2**70, "info")
    assert str(line["timestamp"]).endswith("Z")


@pytest.mark.parametrize("fmt", ["json", "plain"])
def test_secrets_never_appear(fmt: str) -> None:
    stream = io.StringIO()
    configure("INFO", fmt, secrets=[KEY], stream=stream)
    log = structlog.get_logger()
    log.info("start", private_key="abc-plain-secret", note=f"the key is {KEY}", nested={"password": "abc-plain-secret"})
    log.warning("rpc", url="https://user:abc-plain-secret@rpc.example:8545/v2/abc-plain-secret?k=abc-plain-secret")
    log.error("failed", error=ValueError("https://rpc.example/abc-plain-secret"), many=["x", (KEY,)])
    try:
        raise RuntimeError(f"no answer from https://rpc.example/abc-plain-secret with {KEY}")
    except RuntimeError:
        log.exception("crashed")
    text = stream.getvalue()
    assert "abc-plain-secret" not in text
    assert KEY not in text
    assert "rpc.example" in text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://rpc.example", "https://rpc.example"),
        ("https://rpc.example/", "https://rpc.example"),
        ("https://rpc.example:8545/key", "https://rpc.example:8545/[hidden]"),
        ("postgresql://me:pw@db.example/keeper", "postgresql://[hidden]@db.example/[hidden]"),
        ("sqlite:///keeper.sqlite", "sqlite:///keeper.sqlite"),
        ("http://[broken/x", "http://[hidden]"),
        ("no url here", "no url here"),
        ("Max retries exceeded with url: /v3/key (Caused", "Max retries exceeded with url: /[hidden] (Caused"),
        ("with url: / (Caused", "with url: / (Caused"),
    ],
)
def test_urls_keep_their_host_only(text: str, clean: str) -> None:
    assert redact_text(text) == clean


@pytest.mark.parametrize("name", ["apscheduler.scheduler", "urllib3.connectionpool", "web3", "requests", "sqlalchemy"])
def test_libraries_log_through_the_same_redaction(name: str) -> None:
    stream = io.StringIO()
    configure("INFO", "json", secrets=["/v3/plain-secret", "plain-secret"], stream=stream)
    logging.getLogger(name).warning("no answer from %s", "/v3/plain-secret")
    try:
        raise OSError("POST /v3/plain-secret failed")
    except OSError:
        logging.getLogger(name).exception("failed")
    assert "plain-secret" not in stream.getvalue()
    first, second = lines(stream)
    assert (first["event"], first["logger"], first["level"]) == ("no answer from [hidden]", name, "warning")
    assert (second["event"], second["error"]) == ("failed", "OSError: POST [hidden] failed")


def test_libraries_are_heard_from_warnings_on() -> None:
    stream = io.StringIO()
    configure("DEBUG", "json", stream=stream)
    logging.getLogger("urllib3.connectionpool").info("connection kept")
    logging.getLogger("apscheduler.executors.default").error("the service has said it")
    assert lines(stream) == []


def test_setting_up_again_leaves_one_handler() -> None:
    old, new = io.StringIO(), io.StringIO()
    configure("INFO", "json", stream=old)
    configure("INFO", "json", stream=new)
    logging.getLogger("web3").warning("once")
    assert (len(lines(old)), len(lines(new))) == (0, 1)


@pytest.mark.parametrize(("debug", "traceback"), [("", False), ("1", True)])
def test_an_error_is_one_sentence_unless_debugging(
    monkeypatch: pytest.MonkeyPatch, debug: str, traceback: bool
) -> None:
    monkeypatch.setenv("BALLAST_DEBUG", debug)
    stream = io.StringIO()
    configure("INFO", "json", stream=stream)
    try:
        raise KeyError("x")
    except KeyError:
        structlog.get_logger().exception("unexpected error")
    (line,) = lines(stream)
    assert ("exception" in line) is traceback
    if not traceback:
        assert line["error"] == "KeyError: 'x'" and str(line["at"]).startswith("test_logging.py:")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (SecretStr(KEY), (KEY, KEY[2:])),
        (SecretStr("https://rpc.example/v3/abcdefgh"), ("/v3/abcdefgh", "abcdefgh")),
        (SecretStr("https://rpc.example/?key=abcdefgh"), ("key=abcdefgh", "abcdefgh")),
        (SecretStr("https://rpc.example/v3"), ()),
        (SecretStr("https://rpc.example"), ()),
        (SecretStr("postgresql://me:password1@db.example/warehouse"), ("password1",)),
        (SecretStr("sqlite:///ballast-keeper.sqlite"), ()),
        ({"a": (SecretStr("one"),), "b": [SecretStr("three")]}, ("three", "one")),
        ("not a secret", ()),
    ],
)
def test_secrets_are_found_wherever_they_are(value: object, found: tuple[str, ...]) -> None:
    assert secret_texts(value) == found


def test_every_secret_of_the_settings_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BALLAST_DEBUG", "1")  # asks for tracebacks; it is no setting
    monkeypatch.setenv("RPC_URL_31337", "https://a.example/v3/first-api-key,https://b.example/second-api-key")
    monkeypatch.setenv("TX_RPC_URL", "https://c.example/?auth=third-api-key")
    monkeypatch.setenv("PRIVATE_KEY", KEY)
    configure(secrets=secret_texts(load_settings(chain_id=31337)), stream=io.StringIO())
    text = scrub(f"POST /v3/first-api-key, second-api-key, auth=third-api-key, {KEY}, {KEY[2:]}")
    assert text == "POST [hidden], [hidden], [hidden], [hidden], [hidden]"
