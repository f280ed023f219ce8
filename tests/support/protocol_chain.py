# SPDX-License-Identifier: Apache-2.0
"""The whole protocol of `tests.support.protocol` as a chain that the keeper reads and acts on, without a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from eth_utils.crypto import keccak

from keeper.actions import Action
from keeper.assess import assess_all
from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts, Deployed
from keeper.chain.failures import revert_reason, reverted
from keeper.decide import Decision, Policy, Situation, decide
from keeper.domain import Block, FeeQuote, Snapshot
from keeper.situation import NativePrice, observe
from tests.support.protocol import Protocol
from tests.support.revm import Contract

CHAIN_ID = 1
GAS = 100_000_000
NAMES = {
    "MarginAccounts": "accounts",
    "MarginEngine": "engine",
    "LiquidationAuction": "auction",
    "PriceOracle": "oracle",
    "InstrumentRegistry": "registry",
    "RiskParameters": "parameters",
    "RiskTable": "table",
    "RowVerifier": "verifier",
}


class ProcessRpc:
    """The part of `keeper.chain.rpc.Rpc` that reading needs; ``requests`` counts calls to the node."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.requests = 0

    def block(self, number: int | None = None) -> Block:
        """The block of now."""
        now = self.protocol.now
        return Block(now if number is None else number, keccak(now.to_bytes(8, "big")), b"", now)

    def code(self, address: str, block: int | None = None) -> bytes:
        """Runtime code of an address."""
        # the analysed code of revm ends in 33 zero bytes that are not there
        return bytes(self.protocol.evm.get_code(address) or b"").removesuffix(bytes(33))

    def call(self, to: str, data: bytes, block: int, *, sender: str | None = None, what: str = "eth_call") -> bytes:
        """A call whose changes are dropped."""
        self.requests += 1
        evm = self.protocol.evm
        mark = evm.snapshot()
        try:
            return self.send(to, data, sender or self.protocol.stranger, what)
        finally:
            evm.revert(mark)

    def send(self, to: str, data: bytes, sender: str, what: str) -> bytes:
        """A call whose changes stay."""
        try:
            return bytes(self.protocol.evm.message_call(caller=sender, to=to, calldata=data, gas=GAS))
        except RuntimeError as error:
            output = str(error).partition("output: 0x")[2].partition(" ")[0].strip(" })")
            raise reverted(what, revert_reason(bytes.fromhex(output))) from error

    def fees(self) -> FeeQuote:
        """One gwei and no tip."""
        return FeeQuote(10**9, 0)


@dataclass
class Hand:
    """A keeper's observe, decide and act on the protocol; ``sender`` signs what it does."""

    protocol: Protocol
    policy: Policy
    sender: str
    queued: tuple[Any, ...] = ()
    recorded: dict[tuple[int, int], int] = field(default_factory=dict)
    contested: dict[int, int] = field(default_factory=dict)
    rpc: ProcessRpc = field(init=False)
    chain: ChainClient = field(init=False)

    def __post_init__(self) -> None:
        self.rpc = ProcessRpc(self.protocol)
        deployed = []
        for name, attribute in NAMES.items():
            contract: Contract = getattr(self.protocol, attribute)
            deployed.append(Deployed(name, contract.address, tuple(contract.functions.values())))
        rpc: Any = self.rpc
        self.chain = ChainClient(rpc, Contracts(deployed), CHAIN_ID)

    def look(self) -> tuple[Snapshot, Situation]:
        """Everything that a decision is made on."""
        snapshot = self.chain.snapshot()
        found = assess_all(snapshot)
        quotes = NativePrice("ETH")
        situation = observe(
            self.chain, snapshot, found, self.policy, quotes, self.recorded, None, {}, self.queued, self.contested
        )
        return snapshot, situation

    def decide(self) -> Decision:
        """What it would do now."""
        return decide(self.look()[1], self.policy)

    def act(self, action: Action) -> None:
        """Carry an action out; raises `keeper.errors.Reverted` where the contract refuses."""
        to, data = self.chain.encode(action.call)
        self.rpc.send(to, data, self.sender, str(action.call))

    def turn(self) -> list[Action]:
        """Decide and do it all; returns what was done."""
        actions = list(self.decide().actions)
        for action in actions:
            self.act(action)
        return actions
