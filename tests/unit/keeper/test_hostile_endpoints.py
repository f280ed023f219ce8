# SPDX-License-Identifier: Apache-2.0
"""Endpoints that try to silence the keeper: answers that never end, that fill the memory, or that are no answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpx
import pytest

from keeper import bounded_http
from keeper.chain.endpoint import Endpoint
from keeper.chain.freshness import FreshPolicy
from keeper.chain.pool_policy import PoolPolicy, Times
from keeper.chain.rpc import Rpc, RpcOptions
from keeper.cosign.quorum import _post
from keeper.errors import Refused, Transient, Unreachable
from keeper.observe.delivery import Delivery, Message
from keeper.observe.metrics import Metrics
from keeper.reference import Source
from tests.support.raw_server import Speak, bomb, drip_body, drip_head, elsewhere, raw_server
from tests.support.rpc_server import Answer, result, serve

HOLDER = "0x" + "11" * 20
TIMEOUT_S = 0.4
CHAIN, GAS = 1337, 50_000


def strangers(url: str) -> dict[str, Callable[[], object]]:
    """Whom else the keeper asks or tells: a source of prices, an owner's webhook, another publisher."""
    source = Source(url + "{symbol}", "price")
    letter = Message("title", "text", "warning", {"kind": "warning"})
    delivery = Delivery(Metrics("test", CHAIN), TIMEOUT_S, sleep=lambda _: None)
    return {
        "price": lambda: source.fetch(bounded_http.bounded_client(TIMEOUT_S, 1 << 20), "ETH"),
        "webhook": lambda: delivery._post(url, letter),
        "publisher": lambda: _post(url, {}, TIMEOUT_S),
    }


@pytest.mark.parametrize("speak", [drip_body, drip_head, bomb], ids=["body", "head", "bomb"])
@pytest.mark.parametrize("who", ["price", "webhook", "publisher"])
def test_no_stranger_holds_a_thread_of_the_keeper(who: str, speak: Speak) -> None:
    """One owner's webhook that never ends its answer would silence the margin calls of all the others."""
    with raw_server(speak) as url:
        began = time.monotonic()
        with pytest.raises((Transient, httpx.HTTPError)):
            strangers(url)[who]()
        assert time.monotonic() - began < (bounded_http.WHOLE_ANSWER + 2) * TIMEOUT_S


@pytest.mark.parametrize("speak", [drip_body, drip_head], ids=["body", "head"])
def test_an_answer_byte_by_byte_ends_in_time(speak: Speak) -> None:
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


JUNK = [None, 5, "hello", [], {}, "0x", "-0x5", "0xzz", True, 1.5, float("nan"), {"number": None}, "0x" + "f" * 70]
READS: dict[str, Callable[[Rpc], object]] = {
    "block": lambda rpc: rpc.block(100).number == 100,
    "head": lambda rpc: rpc.block().number == 100,
    "gas": lambda rpc: rpc.estimate_gas(HOLDER, b"", HOLDER) == GAS,
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
    answers = {
        "eth_estimateGas": hex(GAS),
        "eth_chainId": hex(CHAIN),
        "eth_getLogs": [],
        "eth_getTransactionReceipt": None,
    }
    return result(answers.get(method, "0x2a"))


# true answers, and lies that only another endpoint could tell from one
TRUE_OR_LIE: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("nonce", "balance"), (5,)),
    **dict.fromkeys(("receipt", "logs"), (None, [])),
}


@pytest.mark.parametrize("name", READS)
def test_an_answer_that_is_none_sends_the_question_to_the_next_endpoint(name: str) -> None:
    """None of them may be believed, and none may end the turn while another endpoint answers."""
    said: list[Any] = [None]

    def hostile(method: str, params: list[Any]) -> Answer:
        return honest(method, params) if method == "eth_chainId" or said[0] is honest else result(said[0])

    with serve(hostile) as first, serve(honest) as second:
        for junk in JUNK:
            if junk in TRUE_OR_LIE.get(name, ()):
                continue
            said[0] = honest
            rpc = Rpc.connect([first.url, second.url], timeout_s=2.0)
            rpc.check_chain(CHAIN)
            rpc.block()
            said[0] = junk
            assert READS[name](rpc), junk


def node(head: Callable[[], int]) -> Callable[[str, list[Any]], Answer]:
    """An endpoint with a young head of any number."""

    def script(method: str, params: list[Any]) -> Answer:
        if method == "eth_getBlockByNumber" and params[0] == "latest":
            number = head()
            hashes = {"hash": f"0x{number:064x}", "parentHash": f"0x{number - 1:064x}"}
            return result({**hashes, "number": hex(number), "timestamp": hex(int(time.time()))})
        return honest(method, params)

    return script


@pytest.mark.parametrize("lie", [10**15, 2_000])
@pytest.mark.parametrize("place", [0, 2])
def test_one_endpoint_with_an_invented_head_does_not_shut_out_two_honest_ones(place: int, lie: int) -> None:
    said = [100, 100, 100]
    with ExitStack() as stack:
        urls = [stack.enter_context(serve(node(partial(said.__getitem__, k)))).url for k in range(3)]
        times = Times(beside=lambda work: work())
        rpc = Rpc.connect(urls, options=RpcOptions(PoolPolicy(fresh=FreshPolicy(stale_s=60), probe_s=0), times=times))
        rpc.check_chain(CHAIN)
        assert rpc.block().number == 100
        said[place] = lie
        seen = [rpc.block().number for _ in range(4)]
    assert seen == [100] * 4
