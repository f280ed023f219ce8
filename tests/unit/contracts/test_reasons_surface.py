# SPDX-License-Identifier: Apache-2.0
"""What other tests have no reason to ask: fixed addresses and numbers, simple reads, constructors, Multicall."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import boa
import pyrevm
import pytest
from eth_abi import encode
from eth_utils import keccak

from tests.support.protocol import DAY, ETH, HOUR, ZERO, Protocol, selector
from tests.support.revm import Contract, deploy
from tests.support.shared import ROOT
from tests.support.token_zoo import odd_protocol

SOMEBODY: Final = "0x" + "77" * 20
DEAD: Final = 2  # state of a price


@pytest.fixture(scope="module")
def deployed() -> Protocol:
    return Protocol()


@pytest.fixture
def world(deployed: Protocol) -> Iterator[Protocol]:
    mark = deployed.evm.snapshot()
    yield deployed
    deployed.evm.revert(mark)


def desk(world: Protocol) -> Contract:
    governance, accounts, registry = world.governance, world.accounts.address, world.registry.address
    return deploy(world.evm, "contracts/SignedTradeVenue.vy", governance, accounts, registry)


def test_each_contract_says_what_it_is_wired_to(world: Protocol) -> None:
    """Fixed at deployment; what governance can set is tested with its setter."""
    fixed = {
        "auction": ("ACCOUNTS", "ENGINE", "FUND", "PARAMETERS"),
        "engine": ("ACCOUNTS", "PARAMETERS", "REGISTRY", "TABLE"),
        "lens": ("ACCOUNTS", "ENGINE", "REGISTRY"),
        "table": ("PARAMETERS", "REGISTRY"),
        "fund": ("ACCOUNTS",),
    }
    for name, getters in fixed.items():
        for getter in getters:
            assert getattr(world, name).call(getter) == getattr(world, getter.lower()).address
    venue = desk(world)
    assert (venue.call("ACCOUNTS"), venue.call("REGISTRY")) == (world.accounts.address, world.registry.address)


def test_numbers_that_clients_read(world: Protocol) -> None:
    registry = {
        "DELISTING_NOTICE_S": 7 * DAY, "EXPIRY_STEP_S": HOUR, "ROLE_LISTER": 1, "ROLE_KEEPER": 2, "STRIKE_RATIO": 20,
        "MAX_FUNDING_BPS_PER_DAY": 1_000, "MAX_EXPIRY_S": 732 * DAY, "GOVERNANCE_SETTLES_AFTER_S": 3 * DAY,
        "FUNDING_TTL_S": DAY,
    }  # fmt: skip
    assert {name: world.registry.call(name) for name in registry} == registry
    kinds = ("KIND_UNDERLYING", "KIND_COLLATERAL", "KIND_CASH")
    assert [world.oracle.call(kind) for kind in kinds] == [0, 1, 2]
    venue = desk(world)
    assert venue.call("MAX_FEE_BPS") == 100
    source = (ROOT / "contracts/SignedTradeVenue.vy").read_text(encoding="utf-8")
    typed = re.search(r'"(Order\([^"]+\))"', source)
    assert typed is not None
    assert venue.call("ORDER_TYPE_HASH") == keccak(text=typed.group(1))


def test_who_has_a_role(world: Protocol) -> None:
    assert [world.registry.call("has_role", role, world.keeper) for role in (1, 2)] == [False, True]
    assert [world.parameters.call("is_keeper", who) for who in (world.keeper, SOMEBODY)] == [True, False]
    assert [world.accounts.call("is_venue", who) for who in (world.venue, SOMEBODY)] == [True, False]


def test_until_when_something_is_paused(world: Protocol) -> None:
    assert world.accounts.call("paused_until", 0) == 0
    world.accounts.call("pause", 0, 2 * HOUR, caller=world.guardian)
    assert world.accounts.call("paused_until", 0) == world.now + 2 * HOUR


def test_a_table_needs_governance(world: Protocol) -> None:
    addresses = [getattr(world, name).address for name in ("registry", "oracle", "parameters", "cash")]
    with pytest.raises(RuntimeError, match=b"table: no governance".hex()):
        deploy(world.evm, "contracts/RiskTable.vy", ZERO, world.guardian, *addresses)


def test_an_auction_needs_governance_and_cash_of_18_decimals() -> None:
    world = odd_protocol()
    addresses = [getattr(world, name).address for name in ("accounts", "engine", "fund", "parameters", "oracle")]
    with pytest.raises(RuntimeError, match=b"auction: no governance".hex()):
        deploy(world.evm, "contracts/LiquidationAuction.vy", ZERO, *addresses, ETH)
    world.cash.call("set_decimals", 19)
    with pytest.raises(RuntimeError, match=b"auction: cash decimals".hex()):
        deploy(world.evm, "contracts/LiquidationAuction.vy", world.governance, *addresses, ETH)


def test_a_feed_is_not_called_dead_for_want_of_gas(world: Protocol) -> None:
    """A caller with little gas must not make a feed that burns it look dead; with enough it is what it is."""
    feed, oracle = world.feeds[ETH].address, world.oracle
    code = bytes(world.evm.get_code(feed)).removesuffix(bytes(33))
    world.evm.insert_account_info(feed, pyrevm.AccountInfo(nonce=1, code=bytes.fromhex("5b5f56")))  # loops
    try:
        data = selector("price(uint256,uint256)") + encode(["uint256", "uint256"], [0, ETH])
        for gas, reason in ((60_000, "oracle: too little gas"), (150_000, "oracle: too little gas"), (400_000, None)):
            ask = {"caller": SOMEBODY, "to": oracle.address, "calldata": data, "gas": gas, "is_static": True}
            if reason is None:
                assert world.evm.message_call(**ask)[32:64] == (DEAD).to_bytes(32, "big")
            else:
                with pytest.raises(RuntimeError, match=reason.encode().hex()):
                    world.evm.message_call(**ask)
    finally:
        world.evm.insert_account_info(feed, pyrevm.AccountInfo(nonce=1, code=code))


# ------------------------------------------------------------------ Multicall


@pytest.fixture(scope="module")
def multicall() -> Any:
    return boa.load("contracts/Multicall.vy")


def test_multicall_reads_the_block(multicall: Any) -> None:
    assert multicall.getBlockNumber() == boa.env.evm.patch.block_number
    assert multicall.getCurrentBlockTimestamp() == boa.env.timestamp
    # only the last 256
    with pytest.raises(boa.BoaError, match="clamp lt number"):
        multicall.getBlockHash(10**9)
    past = boa.env.evm.patch.block_number - 1
    assert len(multicall.getBlockHash(past)) == 32
    boa.env.set_balance(SOMEBODY, 7)
    assert multicall.getEthBalance(SOMEBODY) == 7


def test_multicall_tolerates_what_it_is_told_to(multicall: Any) -> None:
    good = multicall.getEthBalance.prepare_calldata(SOMEBODY)
    for tolerated in (True, False):
        assert [r[0] for r in multicall.aggregate3([(multicall.address, tolerated, good)])] == [True]
    bad = (multicall.address, False, b"\xde\xad\xbe\xef")
    with boa.reverts("multicall: call failed"):
        multicall.aggregate3([bad])
    ((success, _),) = multicall.aggregate3([(multicall.address, True, b"\xde\xad\xbe\xef")])
    assert success is False
