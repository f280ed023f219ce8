# SPDX-License-Identifier: Apache-2.0
"""Logs: structure for machines, and never a secret."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from keeper.logging import configure, redact_text

KEY = "0x" + "5e" * 32


@pytest.fixture(autouse=True)
def _reset() -> object:
    yield
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
    ],
)
def test_urls_keep_their_host_only(text: str, clean: str) -> None:
    assert redact_text(text) == clean
