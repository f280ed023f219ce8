# SPDX-License-Identifier: Apache-2.0
"""Logs through endpoints that refuse ranges and keep logs back without saying so; and the span that is learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from keeper.chain.endpoint import Limits
from keeper.chain.rpc import Rpc, RpcOptions
from keeper.chain.spans import FIRST_RUN, Span
from keeper.errors import RangeTooLarge, Transient
from tests.support.rpc_server import Answer, error, result, serve

EMITTER = "0x" + "22" * 20
HEAD = 4_000
EVERY = 7  # blocks between logs
ALL = list(range(EVERY, HEAD + 1, EVERY))


def word(number: int) -> str:
    return f"0x{number:064x}"


def log(number: int) -> dict[str, Any]:
    return {
        "address": EMITTER,
        "topics": [word(1)],
        "data": "0x",
        "blockNumber": hex(number),
        "blockHash": word(number),
        "transactionHash": word(number),
        "transactionIndex": "0x0",
        "logIndex": "0x0",
        "removed": False,
    }


@dataclass
class Provider:
    """A provider of logs: ``widest`` blocks at once or an error, ``cut`` turns an honest answer into what it gives."""

    widest: int = HEAD
    refusal: Answer = field(default_factory=lambda: error(-32005, "block range too large"))
    cut: Callable[[list[int]], list[int]] = list
    head: int = HEAD
    spans: list[int] = field(default_factory=list)
    refused: int = 0

    def __call__(self, method: str, params: list[Any]) -> Answer:
        if method == "eth_chainId":
            return result("0x539")
        if method == "eth_getBlockByNumber":
            number = self.head if params[0] == "latest" else int(params[0], 16)
            header = {"number": hex(number), "hash": word(number), "parentHash": word(number - 1), "timestamp": "0x1"}
            return result(header if number <= self.head else None)
        if method == "eth_getBlockReceipts":
            number = int(params[0], 16)
            return result([{"logs": [log(number)] if number in ALL else []}])
        assert method == "eth_getLogs"
        first, last = int(params[0]["fromBlock"], 16), min(int(params[0]["toBlock"], 16), self.head)
        if last - first + 1 > self.widest:
            self.refused += 1
            return self.refusal
        self.spans.append(last - first + 1)
        return result([log(number) for number in self.cut([n for n in ALL if first <= n <= last])])


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def client(stack: ExitStack, *providers: Provider, limits: Limits | None = None) -> Rpc:
    urls = [stack.enter_context(serve(provider)).url for provider in providers]
    rpc = Rpc.connect(urls, options=RpcOptions(limits=limits or Limits()))
    rpc.check_chain(1337)
    return rpc


def numbers(rpc: Rpc, first: int, last: int) -> list[int]:
    rpc.block(last)
    return [int(item["blockNumber"]) for item in rpc.logs(first, last, [EMITTER])]


def test_the_span_is_learned_and_kept(stack: ExitStack) -> None:
    provider = Provider(widest=500)
    rpc = client(stack, provider)
    assert numbers(rpc, 1, 2_000) == [n for n in ALL if n <= 2_000]
    assert provider.refused == 2  # 2,000 and 1,000
    assert numbers(rpc, 2_001, 4_000) == [n for n in ALL if n > 2_000]
    assert provider.refused == 2
    assert rpc.pools[0].states[0].span.learned == 500


def test_a_growth_too_far_goes_back_to_what_was_good() -> None:
    span = Span(learned=500)
    for _ in range(FIRST_RUN):
        span.accepted(500)
    assert span.blocks(10_000) == 625
    span.refused(625)
    assert span.blocks(10_000) == 500
    for _ in range(FIRST_RUN):
        span.accepted(500)
    assert span.blocks(10_000) == 500  # the next try comes after twice as many
    for _ in range(FIRST_RUN):
        span.accepted(500)
    assert span.blocks(10_000) == 625
    span.accepted(20)  # a short range says nothing
    assert span.blocks(10_000) == 625


def test_an_operators_limit_is_never_passed(stack: ExitStack) -> None:
    provider = Provider()
    rpc = client(stack, provider, limits=Limits(max_log_range=300))
    assert numbers(rpc, 1, HEAD) == ALL
    assert max(provider.spans) == 300


def test_a_quota_error_splits_nothing(stack: ExitStack) -> None:
    provider = Provider(widest=0, refusal=error(-32005, "daily request count exceeded, request rate limited"))
    rpc = client(stack, provider)
    with pytest.raises(Transient, match="rate-limited") as caught:
        numbers(rpc, 1, HEAD)
    assert not isinstance(caught.value, RangeTooLarge)
    assert provider.refused == 1
    assert rpc.pools[0].states[0].span.learned is None


def test_a_single_block_that_is_too_much(stack: ExitStack) -> None:
    with pytest.raises(RangeTooLarge):
        numbers(client(stack, Provider(widest=0)), 1, HEAD)


CUTS: dict[str, Callable[[list[int]], list[int]]] = {
    "the first hundred": lambda found: found[:100],
    "the last hundred": lambda found: found[-100:],
    "the first ten": lambda found: found[:10],
    "none of long ranges": lambda found: [] if len(found) > 200 else found,
}


@pytest.mark.parametrize("cut", list(CUTS)[:3])
@pytest.mark.parametrize("alone", [True, False])
def test_logs_kept_back_are_found(stack: ExitStack, cut: str, alone: bool) -> None:
    liar = Provider(cut=CUTS[cut])
    rpc = client(stack, liar) if alone else client(stack, liar, Provider())
    found = [n for first in range(1, HEAD, 1_000) for n in numbers(rpc, first, first + 999)]
    assert found == ALL
    assert rpc.pools[0].states[0].span.learned is not None


@pytest.mark.parametrize("alone", [True, False])
def test_an_empty_answer_is_looked_at_now_and_then(stack: ExitStack, alone: bool) -> None:
    liar = Provider(cut=CUTS["none of long ranges"])
    rpc = client(stack, liar) if alone else client(stack, liar, Provider())
    rpc._logs._chance = lambda: 0.0  # this answer is one of the sample
    assert numbers(rpc, 1, HEAD) == ALL


def test_an_honest_provider_is_hardly_asked_twice(stack: ExitStack) -> None:
    provider = Provider()
    rpc = client(stack, provider)
    rpc._logs._chance = lambda: 1.0
    for first in range(1, HEAD, 100):
        numbers(rpc, first, first + 99)
    assert len(provider.spans) == 40 + 2 * 2  # 14, then once 15 logs: only these two answers were the longest so far


def test_an_endpoint_that_has_not_reached_the_block_gives_no_part(stack: ExitStack) -> None:
    rpc = client(stack, Provider(widest=0, refusal=Answer("", status=502)), Provider(head=2_000))
    with pytest.raises(Transient, match="block 4000 is not at the node yet"):
        numbers(rpc, 1, HEAD)


def test_logs_of_other_blocks_are_not_believed(stack: ExitStack) -> None:
    provider = Provider(cut=lambda found: [*found, HEAD])
    with pytest.raises(Transient, match="has a log of block 4000"):
        numbers(client(stack, provider), 1, 100)
