# SPDX-License-Identifier: Apache-2.0
"""A ``RiskTable`` over the real oracle, registry and parameters: two underlyings, three options on the first."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from eth_abi import encode
from eth_utils import keccak
from pyrevm import BlockEnv

from tests.support.engine_world import WAD, global_word, lanes, underlying_word
from tests.support.revm import Contract, deploy, new_evm

HOUR, DAY = 3_600, 86_400
NOW = 1_800_000_000
GOVERNANCE, GUARDIAN, KEEPER, STRANGER = (f"0x{digit * 40}" for digit in "abcd")
HEADER = "(uint256,uint256,uint256,uint256,uint256,uint256,uint256,bytes32,bytes32)"
SURFACE = "(uint256,uint256,uint256,int256,int256,int256,int256,int256)"
SURFACES = [(NOW + DAY, WAD, WAD, WAD // 100, WAD // 10, -WAD // 2, 0, WAD // 10)]


@dataclass(frozen=True)
class Header:
    """A header that the table accepts as the first of the first underlying."""

    epoch: int = 1
    observed_at: int = NOW
    expires_at: int = NOW + HOUR
    reference: int = 100 * WAD
    unit: int = 10**15
    step: int = 20 * 10**6
    vol: int = 6_000
    model: bytes = b"\x01" * 32
    data: bytes = b"\x02" * 32

    def tuple(self) -> tuple[Any, ...]:
        """In the order of the ABI."""
        return (
            self.epoch, self.observed_at, self.expires_at, self.reference, self.unit, self.step, self.vol,
            self.model, self.data,
        )  # fmt: skip

    def but(self, **changes: Any) -> Header:
        """The same with some fields changed."""
        return replace(self, **changes)


def content_hash(header: Header, rows: bytes) -> bytes:
    """What an epoch commits to."""
    return bytes(keccak(encode([HEADER, f"{SURFACE}[]", "bytes32"], [header.tuple(), SURFACES, keccak(rows)])))


@dataclass
class TableWorld:
    """Live price 100 USD, scan range 24 %: a grid step of 2 %."""

    evm: Any = field(default_factory=new_evm)
    feed: Contract = field(init=False)
    registry: Contract = field(init=False)
    parameters: Contract = field(init=False)
    oracle: Contract = field(init=False)
    table: Contract = field(init=False)
    now: int = NOW

    def __post_init__(self) -> None:
        self.wait(0)
        self.feed = deploy(self.evm, "contracts/testing/MockAggregator.vy", 8, 100 * 10**8)
        self.oracle = deploy(self.evm, "contracts/PriceOracle.vy", GOVERNANCE)
        self.registry = deploy(self.evm, "contracts/InstrumentRegistry.vy", GOVERNANCE, self.oracle.address)
        self.parameters = deploy(self.evm, "contracts/RiskParameters.vy", GOVERNANCE, GUARDIAN)
        self.table = deploy(
            self.evm, "contracts/RiskTable.vy", GOVERNANCE, GUARDIAN, self.registry.address, self.oracle.address,
            self.parameters.address,
        )  # fmt: skip
        self.parameters.call("set_bounds", 0, 0, lanes(*[65_535] * 4), 0, 0, caller=GOVERNANCE)
        self.parameters.call("set_bounds", 1, 0, lanes(*[65_535] * 10), 0, 0, caller=GOVERNANCE)
        self.parameters.call("initialise", 0, 0, global_word(), caller=GOVERNANCE)
        for u in range(2):
            self.list_underlying(u, underlying_word())
        for strike in (90, 100, 110):
            self.registry.call("list_option", 0, NOW + DAY, strike * WAD, True, caller=GOVERNANCE)
        self.table.call("set_keeper", KEEPER, True, caller=GOVERNANCE)

    def list_underlying(self, u: int, word: int) -> None:
        """List the next underlying, priced by the feed."""
        self.registry.call("list_underlying", f"U{u}", True, caller=GOVERNANCE)
        self.parameters.call("initialise", 1, u, word, caller=GOVERNANCE)
        zero = "0x" + "0" * 40
        self.oracle.call("set_feed", 0, u, self.feed.address, DAY, zero, 0, 0, 0, caller=GOVERNANCE)

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds
        self.evm.set_block_env(BlockEnv(number=1, timestamp=self.now))

    def publish(self, header: Header, rows: bytes = bytes(288), underlying: int = 0, caller: str = KEEPER) -> None:
        """Publish, after asking whether it may be done."""
        self.table.call("publish", underlying, header.tuple(), SURFACES, rows, caller=caller)

    def check(self, header: Header, rows: int = 3, underlying: int = 0) -> None:
        """The same guards as a view."""
        self.table.call("check_publish", underlying, header.tuple(), rows, static=True)

    def code(self, word: int) -> bytes:
        """Runtime code of the data contract that a table word points to."""
        return bytes(self.evm.get_code(f"0x{word % 2**160:040x}"))
