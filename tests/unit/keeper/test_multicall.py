# SPDX-License-Identifier: Apache-2.0
"""Batches through the real aggregate3, and what happens to calls that fail alone or together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hexbytes import HexBytes

from keeper.artifacts import load
from keeper.chain.multicall import Call, Multicall
from keeper.chain.rpc import Rpc
from keeper.domain import ContractCall
from keeper.errors import KeeperError, Reverted, Transient
from tests.support.counter_world import World, make_world
from tests.support.rpc_server import error, serve


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    built = make_world(tmp_path)
    yield built
    built.store.close()


@pytest.fixture
def address(world: World) -> str:
    sent = world.web3.eth.send_transaction(
        {"from": world.web3.eth.accounts[3], "data": HexBytes(load("Multicall").bytecode)}
    )
    found = world.web3.eth.wait_for_transaction_receipt(sent)["contractAddress"]
    assert found is not None
    return found


def call(world: World, function: str, *args: object) -> Call:
    to, data = world.chain.encode(ContractCall("Counter", function, args))
    return Call(to, data, f"Counter.{function}")


def number(answer: bytes | KeeperError) -> int:
    assert isinstance(answer, bytes)
    return int.from_bytes(answer, "big")


@pytest.mark.parametrize("batch", [1, 2, 3, 64])
def test_answers_come_in_order_whatever_the_batch(world: World, address: str, batch: int) -> None:
    calls = [call(world, "divide", 100 * k, 100) for k in range(10)]
    answers = Multicall(world.chain.rpc, address, batch).run(calls, world.chain.block().number)
    assert list(map(number, answers)) == list(range(10))


def test_plain_calls_where_there_is_no_contract(world: World, address: str) -> None:
    assert Multicall.detect(world.chain.rpc).address is None
    assert Multicall.detect(world.chain.rpc, address).address == address
    calls = [call(world, "divide", 9, 3), call(world, "divide", 9, 0)]
    plain = Multicall(world.chain.rpc, None).run(calls, world.chain.block().number)
    batched = Multicall(world.chain.rpc, address).run(calls, world.chain.block().number)
    assert number(plain[0]) == number(batched[0]) == 3
    for failed in (plain[1], batched[1]):
        assert isinstance(failed, Reverted)
        assert "Counter.divide" in str(failed)


def test_one_failure_leaves_the_others_alone_and_keeps_its_reason(world: World, address: str) -> None:
    world.other(ContractCall("Counter", "close", (True,)))
    calls = [call(world, "divide", 8, 2), call(world, "bump", 1), call(world, "silent"), call(world, "divide", 9, 3)]
    first, refused, silent, last = Multicall(world.chain.rpc, address).run(calls, world.chain.block().number)
    assert (number(first), number(last)) == (4, 3)
    assert isinstance(refused, Reverted)
    assert refused.reason == "counter: closed"
    assert isinstance(silent, Reverted)
    assert silent.reason == ""


def test_a_batch_that_the_contract_refuses_is_halved(world: World, address: str) -> None:
    # our Multicall takes 64 calls at most; the reader does not need to know
    calls = [call(world, "divide", k, 1) for k in range(150)]
    answers = Multicall(world.chain.rpc, address, batch=150).run(calls, world.chain.block().number)
    assert list(map(number, answers)) == list(range(150))


def test_reads_are_pinned_to_their_block(world: World, address: str) -> None:
    before = world.chain.block().number
    world.other(ContractCall("Counter", "bump", (5,)))
    many = Multicall(world.chain.rpc, address)
    calls = [call(world, "total", 5)] * 2
    assert list(map(number, many.run(calls, before))) == [0, 0]
    assert list(map(number, many.run(calls, before + 1))) == [1, 1]


def test_a_dead_node_gives_errors_not_zeros(world: World) -> None:
    with serve(lambda method, params: error(-32603, "Internal error")) as node:
        many = Multicall(Rpc.connect([node.url]), world.chain.contracts.get("Counter").address)
        answers = many.run([call(world, "divide", 1, 1)] * 3, 1)
    assert [type(answer) for answer in answers] == [Transient] * 3


def test_something_else_at_the_address_is_not_believed(world: World) -> None:
    wrong = world.chain.contracts.get("Counter").address
    answers = Multicall(world.chain.rpc, wrong).run([call(world, "divide", 6, 3)] * 2, world.chain.block().number)
    assert list(map(number, answers)) == [2, 2]


def test_nothing_to_ask() -> None:
    with serve(lambda method, params: error(-32603, "never asked")) as node:
        assert Multicall(Rpc.connect([node.url]), None).run([], 1) == []
        assert node.asked == []
