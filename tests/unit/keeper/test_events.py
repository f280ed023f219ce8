# SPDX-License-Identifier: Apache-2.0
"""Logs of a real contract, decoded by ABI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_utils import keccak

from keeper.chain.events import EventDecoder
from keeper.domain import ContractCall
from keeper.errors import Permanent
from tests.support.counter_world import World, make_world

OWNER = "0x" + "ab" * 20


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    built = make_world(tmp_path)
    yield built
    built.store.close()


def test_fields_indexed_plain_negative_and_nested(world: World) -> None:
    first = world.chain.block().number + 1
    world.other(ContractCall("Counter", "open_account", (OWNER,)))
    world.other(ContractCall("Counter", "deposit", (1, 500)))
    world.other(ContractCall("Counter", "label", ("hello", [(1, "one"), (2, "two")])))
    opened, cash, labelled = world.chain.events(first, first + 2)
    assert (opened.contract, opened.name, dict(opened.args)) == (
        "Counter",
        "AccountOpened",
        {"account": 1, "owner": OWNER},
    )
    assert (cash.args["account"], cash.args["amount_raw"], cash.args["cash_wad"]) == (1, 500, -500)
    assert labelled.args["label"] == keccak(text="hello")  # of an indexed string the chain keeps the hash only
    assert labelled.args["pairs"] == ((1, "one"), (2, "two"))
    assert [e.block_number for e in (opened, cash, labelled)] == [first, first + 1, first + 2]
    assert opened.block_hash == world.chain.block(first).hash


def test_only_the_asked_blocks(world: World) -> None:
    start = world.chain.block().number
    for amount in range(3):
        world.other(ContractCall("Counter", "deposit", (1, amount)))
    assert [e.args["amount_raw"] for e in world.chain.events(start + 2, start + 2)] == [1]


def test_strangers_are_left_out_and_order_is_the_chains(world: World) -> None:
    start = world.chain.block().number
    for amount in range(2):
        world.other(ContractCall("Counter", "deposit", (1, amount)))
    address = world.chain.contracts.get("Counter").address
    logs = world.chain.rpc.logs(start + 1, start + 2, [address])
    decoder = EventDecoder(world.chain.contracts)
    assert [e.args["amount_raw"] for e in decoder.decode_all(reversed(logs))] == [0, 1]
    assert decoder.decode({**logs[0], "address": OWNER}) is None
    assert decoder.decode({**logs[0], "topics": [b"\x01" * 32]}) is None
    assert decoder.decode({**logs[0], "topics": []}) is None


def test_a_log_that_does_not_fit_is_an_error(world: World) -> None:
    start = world.chain.block().number
    world.other(ContractCall("Counter", "deposit", (1, 7)))
    (log,) = world.chain.rpc.logs(start + 1, start + 1, [world.chain.contracts.get("Counter").address])
    decoder = EventDecoder(world.chain.contracts)
    with pytest.raises(Permanent, match=r"Counter\.CashDeposited in block \d+ does not fit its ABI"):
        decoder.decode({**log, "data": b"\x01"})
    with pytest.raises(Permanent, match="has 0 topics, its ABI says 1"):
        decoder.decode({**log, "topics": log["topics"][:1]})
