# SPDX-License-Identifier: Apache-2.0
"""Endpoints that try to silence the keeper: answers that never end, that fill the memory, or that are no answers."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from keeper.chain import bounded_http
from keeper.chain.endpoint import Endpoint
from keeper.chain.rpc import Rpc
from keeper.errors import Refused, Unreachable
from tests.support.rpc_server import Answer, result, serve

HOLDER = "0x" + "11" * 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
TIMEOUT_S = 0.4


@contextmanager
def raw_server(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that answers every connection with whatever ``speak`` writes."""
    listening = socket.create_server(("127.0.0.1", 0))

    def each(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65_536)
            speak(connection)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=each, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        listening.close()


def drip_body(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
    drip(connection)


def drip_head(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"X-Slow: ")
    drip(connection)


def drip(connection: socket.socket) -> None:
    for _ in range(60):
        connection.sendall(b" ")
        time.sleep(TIMEOUT_S / 4)


def bomb(connection: socket.socket) -> None:
    body = gzip.compress(b" " * (4 << 20))
    connection.sendall(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def elsewhere(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("speak", [drip_body, drip_head], ids=["body", "head"])
def test_an_answer_byte_by_byte_ends_in_time(speak: Callable[[socket.socket], None]) -> None:
    with raw_server(speak) as url:
        began = time.monotonic()
        with pytest.raises(Unreachable):
            Rpc([Endpoint.http(url, TIMEOUT_S)]).balance(HOLDER)
        assert time.monotonic() - began < (bounded_http.WHOLE_ANSWER + 2) * TIMEOUT_S


def test_an_answer_that_would_fill_the_memory_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "MAX_BYTES", 1 << 20)
    with raw_server(bomb) as url, pytest.raises(Unreachable, match="ContentDecodingError"):
        Rpc([Endpoint.http(url, 2.0)]).balance(HOLDER)


def test_no_redirection_is_followed() -> None:
    with raw_server(elsewhere) as url, pytest.raises(Refused, match="HTTP 307"):
        Rpc([Endpoint.http(url, 2.0)]).balance(HOLDER)


CHAIN = 1337
JUNK = [None, 5, "hello", [], {}, "0x", "-0x5", "0xzz", True, 1.5, float("nan"), {"number": None}, "0x" + "f" * 70]
READS: dict[str, Callable[[Rpc], object]] = {
    "block": lambda rpc: rpc.block(100).number == 100,
    "head": lambda rpc: rpc.block().number == 100,
    "gas": lambda rpc: rpc.estimate_gas(HOLDER, b"", HOLDER) == 42,
    "nonce": lambda rpc: rpc.nonce(HOLDER) == 42,
    "balance": lambda rpc: rpc.balance(HOLDER) == 42,
    "fees": lambda rpc: rpc.fees().base_fee_wei == 1,
    "receipt": lambda rpc: rpc.receipt(b"\1" * 32) is None,
    "logs": lambda rpc: rpc.logs(99, 100, [HOLDER]) == [],
}


def honest(method: str, params: list[Any]) -> Answer:
    if method == "eth_getBlockByNumber":
        number = 100 if params[0] == "latest" else int(params[0], 16)
        hashes = {"hash": f"0x{number:064x}", "parentHash": f"0x{number - 1:064x}"}
        return result({**hashes, "number": hex(number), "timestamp": "0x1", "baseFeePerGas": "0x1"})
    answers = {"eth_chainId": hex(CHAIN), "eth_getLogs": [], "eth_getTransactionReceipt": None}
    return result(answers.get(method, "0x2a"))


@pytest.mark.parametrize("name", READS)
def test_an_answer_that_is_none_sends_the_question_to_the_next_endpoint(name: str) -> None:
    """None of them may be believed, and none may end the turn while another endpoint answers."""
    said: list[Any] = [None]

    def hostile(method: str, params: list[Any]) -> Answer:
        return honest(method, params) if method == "eth_chainId" or said[0] is honest else result(said[0])

    with serve(hostile) as first, serve(honest) as second:
        for junk in JUNK:
            if (name in {"receipt", "logs"} and junk in (None, [])) or (name in {"gas", "nonce", "balance"} and junk == 5):
                continue  # a true answer, or a lie that only another endpoint could tell from one
            said[0] = honest
            rpc = Rpc.connect([first.url, second.url], timeout_s=2.0)
            rpc.check_chain(CHAIN)
            rpc.block()
            said[0] = junk
            assert READS[name](rpc), junk
