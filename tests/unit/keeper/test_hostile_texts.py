# SPDX-License-Identifier: Apache-2.0
"""A contract's revert reason and a node's error are strangers' texts: no log, table or database obeys them."""

from __future__ import annotations

import io

import pytest
import structlog
from eth_abi.abi import encode
from web3.exceptions import ContractLogicError, Web3RPCError

from keeper import logging as keeper_logging
from keeper.chain.failures import ERROR_STRING, classify
from keeper.commands.common import console, table
from keeper.errors import Reverted

EVIL = "\x1b]0;owned\x07\x1b[2J[bold]x[/nope]\n2026-01-01 [info] all is well"


def revert(text: str) -> ContractLogicError:
    return ContractLogicError("execution reverted", data="0x" + (ERROR_STRING + encode(["string"], [text])).hex())


def test_a_reason_is_one_printable_line_of_bounded_length() -> None:
    for text in (EVIL, "A" * 2_000_000):
        error = classify(revert(text), "bump")
        assert isinstance(error, Reverted)
        assert str(error).isprintable() and error.reason.isprintable() and len(str(error)) < 2_000
    said = classify(revert("auction: nonce"), "bump")
    assert isinstance(said, Reverted) and said.reason == "auction: nonce"


def test_a_nodes_error_is_one_printable_line_of_bounded_length() -> None:
    response = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": EVIL * 10_000}}
    error = classify(Web3RPCError("failed", rpc_response=response), "eth_call")  # type: ignore[arg-type]
    assert str(error).isprintable() and len(str(error)) < 2_000


@pytest.mark.parametrize("fmt", ["plain", "json"])
def test_a_log_line_stays_one_line(fmt: str) -> None:
    out = io.StringIO()
    keeper_logging.configure("INFO", fmt, stream=out)
    try:
        structlog.get_logger().warning(EVIL, reason=EVIL)
    finally:
        keeper_logging.configure()
    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue() and "\\u001b" not in out.getvalue()


def test_a_table_shows_markup_and_obeys_none(capsys: pytest.CaptureFixture[str]) -> None:
    made = table("journal", "error")
    made.add_row(EVIL)
    console().print(made)
    shown = capsys.readouterr().out
    assert "[bold]x[/nope]" in shown and "\x1b" not in shown
