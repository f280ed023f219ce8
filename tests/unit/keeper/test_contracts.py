# SPDX-License-Identifier: Apache-2.0
"""Encoding and decoding by ABI, and the checks before a deployment is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from eth_utils import keccak

from keeper.chain.contracts import Contracts, Deployed
from keeper.domain import ContractCall
from keeper.errors import ConfigError, Permanent
from tests.support.counter_world import World, compiled, make_world

NOBODY = "0x" + "00" * 19 + "01"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    built = make_world(Path(tmp_path_factory.mktemp("contracts")))
    yield built
    built.store.close()


def test_one_value_many_values_and_structs(world: World) -> None:
    assert world.chain.call(ContractCall("Counter", "divide", (7, 2))) == 3
    assert world.chain.call(ContractCall("Counter", "two")) == (7, True)
    assert world.chain.call(ContractCall("Counter", "pair", (5,))) == (5, "pair")


def test_selectors_are_those_of_the_standard() -> None:
    # transfer(address,uint256) = a9059cbb, known from ERC-20
    abi = [
        {
            "type": "function",
            "name": "transfer",
            "inputs": [{"name": "to", "type": "address"}, {"name": "value", "type": "uint256"}],
            "outputs": [{"name": "", "type": "bool"}],
        }
    ]
    contracts = Contracts([Deployed("Token", NOBODY, abi)])
    to, data = contracts.encode(ContractCall("Token", "transfer", (NOBODY, 1)))
    assert (to, data[:4].hex(), len(data)) == (NOBODY, "a9059cbb", 68)


def test_functions_with_defaults_are_told_apart_by_their_arguments() -> None:
    one = {"type": "function", "name": "f", "inputs": [{"name": "a", "type": "uint256"}], "outputs": []}
    two = {**one, "inputs": [{"name": "a", "type": "uint256"}, {"name": "b", "type": "uint256"}]}
    contracts = Contracts([Deployed("C", NOBODY, [one, two])])
    assert contracts.encode(ContractCall("C", "f", (1,)))[1][:4] == keccak(text="f(uint256)")[:4]
    assert contracts.encode(ContractCall("C", "f", (1, 2)))[1][:4] == keccak(text="f(uint256,uint256)")[:4]
    assert contracts.has("C", "f", 2)
    assert not contracts.has("C", "f", 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (ContractCall("Counter", "nothing"), r"Counter\.nothing with 0 arguments is not in the ABI"),
        (ContractCall("Counter", "bump", (-1,)), r"Counter\.bump cannot take \(-1,\)"),
        (ContractCall("Counter", "bump", ("x",)), r"Counter\.bump cannot take"),
        (ContractCall("Elsewhere", "bump", (1,)), r"contract Elsewhere is not in the manifest \(it lists Counter\)"),
    ],
)
def test_calls_that_cannot_be_made(world: World, call: ContractCall, message: str) -> None:
    with pytest.raises(Permanent, match=message):
        world.chain.encode(call)


def test_an_empty_answer_is_no_zero(world: World) -> None:
    with pytest.raises(
        Permanent, match=r"Counter\.divide returned nothing, 0x.* has no contract; if the node was reset"
    ):
        world.chain.contracts.decode(ContractCall("Counter", "divide", (1, 1)), b"")


def test_names_and_addresses(world: World) -> None:
    contracts = world.chain.contracts
    address = contracts.get("Counter").address
    assert contracts.addresses == {"Counter": address}
    assert contracts.name_at(address.lower()) == "Counter"
    assert contracts.name_at(NOBODY) is None


def test_code_at_every_address_is_checked(world: World) -> None:
    _, abi = compiled()
    deployed = world.chain.contracts.get("Counter")
    code = world.chain.rpc.code(deployed.address)
    good = replace(deployed, code_hash=keccak(code))
    Contracts([good]).check(world.chain.rpc)
    with pytest.raises(ConfigError, match=r"Counter has no code at 0x0+1; the manifest is of another chain"):
        Contracts([Deployed("Counter", NOBODY, abi)]).check(world.chain.rpc)
    with pytest.raises(ConfigError, match=r"Counter at 0x.* has code 0x.*, the manifest says 0x6464"):
        Contracts([replace(deployed, code_hash=b"d" * 32)]).check(world.chain.rpc)


def test_start_checks_the_chain_first(world: World) -> None:
    world.chain.start()
