# SPDX-License-Identifier: Apache-2.0
"""The pool over real HTTP servers with a clock of the test's own: who is asked, who rests, whose answer counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from keeper.chain.endpoint import Limits, TokenBucket
from keeper.chain.freshness import FreshPolicy
from keeper.chain.pool_policy import PoolPolicy, Times
from keeper.chain.rpc import Rpc, RpcOptions
from keeper.errors import (
    ConfigError,
    NonceTooLow,
    Permanent,
    RangeTooLarge,
    RateLimited,
    Refused,
    Transient,
    Underpriced,
)
from keeper.observe.metrics import Metrics
from keeper.observe.rpc_watch import RpcInstruments
from tests.support.rpc_server import Answer, Served, error, result, serve

CHAIN = 1337
WALL = 1_700_000_000
HOLDER = "0x" + "11" * 20
HTML = Answer("<html>bad gateway</html>", status=502)


@dataclass
class Clock:
    """Time that moves when the test says so, and when somebody sleeps."""

    at: float = 0.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return WALL + self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


@dataclass
class Node:
    """A node with a head, whose methods can be made to answer otherwise."""

    clock: Clock
    chain: int = CHAIN
    number: int = 100
    fork: int = 0
    age_s: int = 0
    served: Served = field(init=False)
    answers: dict[str, Answer] = field(default_factory=dict)

    def block(self, number: int) -> dict[str, str]:
        time = WALL + int(self.clock.at) - self.age_s - 12 * (self.number - number)
        return {
            "number": hex(number),
            "hash": f"0x{number:032x}{self.fork:032x}",
            "parentHash": f"0x{number - 1:032x}{self.fork:032x}",
            "timestamp": hex(time),
        }

    def __call__(self, method: str, params: list[Any]) -> Answer:
        if method in self.answers or "*" in self.answers:
            return self.answers.get(method) or self.answers["*"]
        if method == "eth_chainId":
            return result(hex(self.chain))
        if method == "eth_getBlockByNumber":
            number = self.number if params[0] == "latest" else int(params[0], 16)
            return result(self.block(number) if number <= self.number else None)
        if method == "eth_call":
            if isinstance(params[1], dict) and params[1]["blockHash"] != self.block(self.pinned(params))["hash"]:
                return error(-32001, "Resource not found")
            return result(f"0x{self.fork:064x}")
        return result("0x2a")

    def pinned(self, params: list[Any]) -> int:
        return int(params[1]["blockHash"][2:34], 16)

    @property
    def asked(self) -> list[str]:
        return self.served.asked

    @property
    def name(self) -> str:
        return self.served.url.removeprefix("http://").partition("/")[0]


@dataclass
class World:
    """Two nodes and a client of both."""

    clock: Clock
    first: Node
    second: Node
    rpc: Rpc
    metrics: Metrics

    def seen(self, name: str, **labels: str) -> float:
        registry: CollectorRegistry = self.metrics.registry
        return registry.get_sample_value(f"ballast_keeper_{name}", labels) or 0.0


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def make(stack: ExitStack, limits: Limits | None = None, send: bool = False, **policy: Any) -> World:
    clock = Clock()
    nodes = [Node(clock), Node(clock)]
    for node in nodes:
        node.served = stack.enter_context(serve(node))
    times = Times(clock.now, clock.wall, clock.sleep, lambda work: work())
    options = RpcOptions(PoolPolicy(**policy), limits or Limits(), {}, times)
    urls = [node.served.url for node in nodes]
    rpc = Rpc.connect(urls, send_url=urls if send else None, timeout_s=2.0, options=options)
    metrics = Metrics("test", CHAIN)
    rpc.watch(RpcInstruments(metrics))
    rpc.check_chain(CHAIN)
    for node in nodes:
        node.asked.clear()
    return World(clock, nodes[0], nodes[1], rpc, metrics)


@pytest.fixture
def world(stack: ExitStack) -> World:
    return make(stack)


def test_a_dead_first_endpoint_is_not_asked_on_each_call(world: World) -> None:
    world.first.answers["*"] = HTML
    for _ in range(20):
        assert world.rpc.balance(HOLDER) == 42
    assert world.first.asked == ["eth_getBalance"]
    assert world.second.asked == ["eth_getBalance"] * 20
    assert world.seen("rpc_endpoint_rotations_total") == 1
    assert world.seen("rpc_request_errors_total", endpoint=world.first.name, kind="unreachable") == 1
    assert world.seen("rpc_endpoint_usable", endpoint=world.first.name) == 0


def test_rests_grow_and_end_with_a_chain_id(world: World) -> None:
    world.first.answers["*"] = HTML
    tried = []
    for second in range(120):
        world.clock.at = float(second)
        before = len(world.first.asked)
        world.rpc.block()
        tried += [second] * (len(world.first.asked) - before)
    gaps = [after - before for before, after in pairwise(tried)]
    assert gaps[:4] == [1, 2, 4, 8] and set(gaps[5:]) <= {30}
    assert set(world.first.asked[1:]) == {"eth_chainId"}  # it would have had to say its chain before anything else
    world.first.answers.clear()
    world.clock.at += 31
    world.rpc.block()  # its probe runs beside this
    world.first.asked.clear()
    world.rpc.block()
    assert world.first.asked == ["eth_getBlockByNumber"]
    assert world.seen("rpc_endpoint_usable", endpoint=world.first.name) == 1


def test_an_endpoint_that_comes_back_on_another_chain_is_left_out(world: World) -> None:
    world.first.answers["*"] = HTML
    world.rpc.block()
    world.first.answers.clear()
    world.first.chain = 1
    for _ in range(10):
        world.clock.at += 40
        world.rpc.block()
    assert set(world.first.asked[1:]) == {"eth_chainId"}
    assert world.seen("rpc_request_errors_total", endpoint=world.first.name, kind="wrong_chain") >= 1
    world.second.answers["*"] = HTML
    with pytest.raises(Transient, match="HTTP 502"):
        world.rpc.block()
    with pytest.raises(Transient, match=rf"{world.first.name} is on chain 1, not 1337"):
        world.rpc.block()
    world.first.chain = CHAIN
    world.clock.at += 31
    assert world.rpc.block().number == 100


def test_a_lie_told_while_all_seems_well_is_found_by_the_next_check(stack: ExitStack) -> None:
    world = make(stack, chain_check_s=60.0)
    world.rpc.block()
    world.first.chain = 5
    world.clock.at += 61
    world.rpc.block()  # the check runs beside it
    world.first.asked.clear()
    world.rpc.block()
    assert world.first.asked == []


def test_at_start_a_lying_endpoint_is_left_out_and_a_dead_one_rests(stack: ExitStack) -> None:
    clock = Clock()
    nodes = [Node(clock, chain=1), Node(clock, answers={"*": HTML}), Node(clock)]
    for node in nodes:
        node.served = stack.enter_context(serve(node))
    rpc = Rpc.connect([node.served.url for node in nodes])
    rpc.check_chain(CHAIN)
    assert rpc.block().number == 100
    assert nodes[0].asked == nodes[1].asked == ["eth_chainId"]
    with pytest.raises(ConfigError, match="is on chain 1, settings expect 1337"):
        Rpc.connect([nodes[0].served.url]).check_chain(CHAIN)
    with pytest.raises(Transient, match="HTTP 502"):
        Rpc.connect([nodes[1].served.url]).check_chain(CHAIN)


def test_an_idle_cycle_asks_nothing_that_was_not_asked_for(world: World) -> None:
    world.rpc.block()
    world.first.asked.clear()
    world.second.asked.clear()
    for _ in range(10):  # two minutes of cycles
        world.clock.at += 12
        world.first.number = world.second.number = world.first.number + 1
        block = world.rpc.block()
        world.rpc.call(HOLDER, b"", block.number)
        world.rpc.block(block.number)
    assert len(world.first.asked) == 30
    assert world.second.asked == ["eth_getBlockByNumber"] * 3


@pytest.mark.parametrize(("age_s", "good"), [(59, True), (61, False), (-61, False), (-59, True)])
def test_a_head_must_be_young(stack: ExitStack, age_s: int, good: bool) -> None:
    world = make(stack, fresh=FreshPolicy(stale_s=60))
    world.first.age_s = world.second.age_s = age_s
    if good:
        assert world.rpc.block().number == 100
        return
    with pytest.raises(Transient, match=r"no endpoint has a fresh head .*61 s"):
        world.rpc.block()
    for read in (lambda: world.rpc.balance(HOLDER), lambda: world.rpc.nonce(HOLDER), world.rpc.fees):
        with pytest.raises(Transient, match="no endpoint is usable"):
            read()
    with pytest.raises(Transient, match="no endpoint is usable"):
        world.rpc.send_raw(b"\x02\x01")
    world.first.age_s = 0
    assert world.rpc.block().number == 100
    assert world.rpc.balance(HOLDER) == 42


def test_without_a_limit_a_head_may_be_of_any_age(world: World) -> None:
    world.first.age_s = 10**7
    assert world.rpc.block().number == 100


def test_an_endpoint_that_lags_is_not_read_from(world: World) -> None:
    world.rpc.block()
    world.first.number, world.second.number = 101, 121
    world.clock.at += 31
    world.rpc.block()  # the probe hears of block 121
    world.first.asked.clear()
    block = world.rpc.block()
    assert block.number == 121
    assert world.first.asked == ["eth_getBlockByNumber"]
    assert world.seen("rpc_endpoint_lag_blocks", endpoint=world.first.name) == 20
    world.second.answers["*"] = HTML  # the chain has been at 121 all the same
    for _ in range(2):
        with pytest.raises(Transient, match="20 blocks behind"):
            world.rpc.block()
    with pytest.raises(Transient, match=r"502|no endpoint is usable"):
        world.rpc.balance(HOLDER)
    assert "eth_getBalance" not in world.first.asked
    world.first.number = 119
    assert world.rpc.block().number == 119
    assert world.rpc.balance(HOLDER) == 42


def test_a_head_that_stands_still_is_compared_at_once(world: World) -> None:
    """The first node has lost its peers; the probe of the second is not due for long."""
    world.rpc.block()
    world.second.number = 109
    world.clock.at += 19
    assert world.rpc.block().number == 100
    assert world.second.asked == ["eth_getBlockByNumber"]
    world.clock.at += 5
    assert world.rpc.block().number == 109
    assert world.seen("rpc_request_errors_total", endpoint=world.first.name, kind="lagging") == 1


def test_a_small_lag_is_no_fault(world: World) -> None:
    world.second.number = 108
    world.rpc.block()
    assert world.rpc.block().number == 100


def test_reads_of_a_block_are_of_that_very_block(world: World) -> None:
    """The second endpoint has another fork: it must not answer a part of the snapshot."""
    world.second.fork = 7
    block = world.rpc.block()
    assert int.from_bytes(world.rpc.call(HOLDER, b"", block.number), "big") == 0
    world.first.answers["eth_call"] = HTML
    with pytest.raises(Transient, match="another block 100"):
        world.rpc.call(HOLDER, b"", block.number)
    assert "eth_call" not in world.second.asked
    world.second.fork = 0
    assert int.from_bytes(world.rpc.call(HOLDER, b"", block.number), "big") == 0
    assert "eth_call" in world.second.asked


def test_an_endpoint_without_the_block_answers_no_part(world: World) -> None:
    world.second.number = 99
    block = world.rpc.block()
    world.first.answers["eth_call"] = HTML
    with pytest.raises(Transient, match="block 100 is not at the node yet"):
        world.rpc.call(HOLDER, b"", block.number)
    with pytest.raises(Transient, match="block 100 is not at the node yet"):
        world.rpc.logs(99, 100, [HOLDER])
    assert "eth_getLogs" not in world.second.asked[-1:]


def test_behind_one_url_another_node_without_the_block_cannot_answer(world: World) -> None:
    block = world.rpc.block()
    world.first.fork = world.second.fork = 3  # the balancer sends us to a node on another fork
    with pytest.raises(Transient, match=r"Resource not found|another block"):
        world.rpc.call(HOLDER, b"", block.number)


def test_a_node_without_block_hashes_in_calls_is_read_by_number(world: World) -> None:
    block = world.rpc.block()
    real = world.first.__call__

    def old(method: str, params: list[Any]) -> Answer:
        if method == "eth_call" and isinstance(params[1], dict):
            return error(-32602, "invalid argument 1: cannot unmarshal object into Go value of type string")
        return real(method, params)

    world.first.answers = {}
    with serve(old) as node:
        rpc = Rpc.connect([node.url])
        rpc.check_chain(CHAIN)
        assert rpc.block() == block
        for _ in range(3):
            assert rpc.call(HOLDER, b"", block.number) == bytes(32)
        assert node.asked.count("eth_call") == 4  # refused once, then never tried again


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [
        (Answer("slow down", status=429, headers={"Retry-After": "17"}), 17),
        (error(-32005, "limit", {"rate": {"backoff_seconds": 9}}), 9),
        (error(-32090, "Too many requests, reason: call rate limit exhausted, retry in 10s"), 10),
        (error(429, "over your plan"), 1),
        (error(-32007, "50/second request limit reached - reduce calls per second"), 1),
    ],
)
def test_a_rate_limit_is_honoured(world: World, answer: Answer, wait_s: int) -> None:
    world.first.answers["*"] = answer
    world.rpc.block()
    world.first.answers.clear()
    world.first.asked.clear()
    world.clock.at += wait_s - 0.01
    world.rpc.block()
    assert world.first.asked == []
    world.clock.at += 0.02
    world.rpc.block()
    assert world.first.asked == ["eth_getBlockByNumber"]
    assert world.seen("rpc_rate_limits_total", endpoint=world.first.name) == 1


def test_a_short_wait_is_waited_off_where_nobody_else_can_answer(world: World) -> None:
    world.first.answers["*"] = world.second.answers["*"] = Answer("", status=429, headers={"Retry-After": "1.5"})
    with pytest.raises(RateLimited):
        world.rpc.balance(HOLDER)
    world.first.answers.clear()
    assert world.rpc.balance(HOLDER) == 42
    assert world.clock.slept == [1.5]
    world.first.answers["*"] = world.second.answers["*"] = Answer("", status=429, headers={"Retry-After": "60"})
    with pytest.raises(RateLimited):
        world.rpc.balance(HOLDER)
    with pytest.raises(Transient, match=r"rests 60\.0 s more") as caught:
        world.rpc.balance(HOLDER)
    assert caught.value.retry_after_s == 60
    assert world.clock.slept == [1.5]


def test_own_limit_spreads_requests_and_waits(stack: ExitStack) -> None:
    world = make(stack, Limits(requests_per_s=2.0, burst=3))
    world.clock.at += 10
    for _ in range(6):
        world.rpc.balance(HOLDER)
    assert (len(world.first.asked), len(world.second.asked), world.clock.slept) == (3, 3, [])
    world.rpc.balance(HOLDER)
    assert world.clock.slept == [0.5]


def test_token_bucket() -> None:
    clock = Clock()
    bucket = TokenBucket(2.0, 1, clock.now)
    bucket.take()
    assert bucket.wait_s() == 0.5
    clock.at = 0.5
    assert bucket.wait_s() == 0.0
    assert TokenBucket(None, 1, clock.now).wait_s() == 0.0


def test_errors_in_bodies_count_once_another_endpoint_proves_the_fault(world: World) -> None:
    world.first.answers["eth_getBalance"] = error(-32603, "Internal error")
    for _ in range(6):
        assert world.rpc.balance(HOLDER) == 42
        world.rpc.block()  # back to the first, while it does not rest
    assert world.first.asked.count("eth_getBalance") == 3
    assert world.seen("rpc_request_errors_total", endpoint=world.first.name, kind="node") == 3


def test_an_error_that_every_endpoint_gives_is_nobodys_fault(world: World) -> None:
    world.first.answers["eth_getBalance"] = world.second.answers["eth_getBalance"] = error(-32603, "Internal error")
    for _ in range(10):
        with pytest.raises(Transient, match="Internal error"):
            world.rpc.balance(HOLDER)
    assert world.rpc.code(HOLDER) == b"\x2a"
    assert world.clock.slept == []


@pytest.mark.parametrize(
    "answer", [Answer("key", status=401), Answer("gone", status=404), error(-32601, "the method does not exist")]
)
def test_what_one_endpoint_refuses_another_may_serve(world: World, answer: Answer) -> None:
    world.first.answers["eth_getBalance"] = answer
    assert world.rpc.balance(HOLDER) == 42
    world.second.answers["eth_getBalance"] = answer
    with pytest.raises(Refused):
        world.rpc.balance(HOLDER)


def test_answers_that_are_final_are_not_shopped_around(world: World) -> None:
    world.first.answers["eth_getBalance"] = error(-32602, "invalid argument 0")
    with pytest.raises(Permanent):
        world.rpc.balance(HOLDER)
    world.first.answers["eth_getLogs"] = error(-32005, "query returned more than 10000 results")
    with pytest.raises(RangeTooLarge):
        world.rpc.logs(5, 5, [HOLDER])
    assert world.second.asked == []


def test_cycles_are_shared_out_by_weight(stack: ExitStack) -> None:
    clock = Clock()
    nodes = [Node(clock), Node(clock)]
    for node in nodes:
        node.served = stack.enter_context(serve(node))
    times = Times(clock.now, clock.wall, clock.sleep, lambda work: None)
    named = {nodes[0].name: Limits(weight=3)}
    rpc = Rpc.connect(
        [node.served.url for node in nodes], options=RpcOptions(PoolPolicy(spread=True), Limits(), named, times)
    )
    for _ in range(40):
        rpc.block()
    assert [len(node.asked) for node in nodes] == [30, 10]


def test_a_transaction_goes_to_every_sending_endpoint(stack: ExitStack) -> None:
    world = make(stack, send=True)
    world.rpc.send_raw(b"\x02\x01")
    assert world.first.asked == world.second.asked == ["eth_sendRawTransaction"]
    world.first.answers["eth_sendRawTransaction"] = HTML
    world.rpc.send_raw(b"\x02\x01")
    world.clock.at += 5
    world.first.answers["eth_sendRawTransaction"] = error(-32000, "nonce too low")
    world.rpc.send_raw(b"\x02\x02")  # one took it
    world.second.answers["eth_sendRawTransaction"] = HTML
    with pytest.raises(NonceTooLow):
        world.rpc.send_raw(b"\x02\x03")
    world.clock.at += 60
    world.first.answers["eth_sendRawTransaction"] = error(-32000, "replacement transaction underpriced")
    with pytest.raises(Underpriced):
        world.rpc.send_raw(b"\x02\x04")
    world.first.answers["eth_sendRawTransaction"] = error(-32000, "already known")
    world.rpc.send_raw(b"\x02\x04")


def test_without_sending_endpoints_the_first_that_answers_decides(world: World) -> None:
    world.first.answers["eth_sendRawTransaction"] = HTML
    world.rpc.send_raw(b"\x02\x01")
    assert world.second.asked == ["eth_sendRawTransaction"]
    world.second.answers["eth_sendRawTransaction"] = error(-32000, "nonce too low")
    with pytest.raises(NonceTooLow):
        world.rpc.send_raw(b"\x02\x01")


def test_two_endpoints_of_one_host_have_two_names(stack: ExitStack) -> None:
    clock = Clock()
    node = Node(clock)
    node.served = stack.enter_context(serve(node))
    rpc = Rpc.connect([node.served.url, node.served.url + "2"])
    assert [state.name for state in rpc.pools[0].states] == [node.name, f"{node.name}#2"]
