# SPDX-License-Identifier: Apache-2.0
"""A node behind the few methods of revm that ``tests.support.revm`` and ``tests.support.protocol`` use.

For what revm cannot show here: its message calls know no base fee. Every call is a transaction in a block of its own,
at the time and base fee set for it. The node must impersonate anybody.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from pyrevm import BlockEnv
from web3 import Web3

GAS = 100_000_000
MINED_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class NodeLog:
    """A log as revm gives it: (topics, data)."""

    data: tuple[list[bytes], bytes]


@dataclass(frozen=True)
class NodeResult:
    """What the last transaction left."""

    logs: list[NodeLog]
    gas_price: int


class NodeEvm:
    """Messages as transactions; ``base_fee`` and ``tip`` in wei are those of the next ones."""

    def __init__(self, web3: Web3) -> None:
        self.web3 = web3
        self.base_fee = 0
        self.tip = 0
        self.result = NodeResult([], 0)
        self._known: set[str] = set()
        self.ask("anvil_setBlockTimestampInterval", 0)

    def ask(self, method: str, *params: Any) -> Any:
        """One request; an error of the node is an error of the test."""
        answer = self.web3.provider.make_request(method, list(params))  # type: ignore[arg-type]
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def set_block_env(self, block: BlockEnv) -> None:
        """Go to a time; the block's base fee is this object's."""
        self.ask("evm_setNextBlockTimestamp", block.timestamp)
        self.ask("evm_mine")

    def snapshot(self) -> str:
        """A state to come back to, once."""
        return str(self.ask("evm_snapshot"))

    def revert(self, mark: str) -> None:
        """Come back."""
        assert self.ask("evm_revert", mark)
        self._known.clear()

    def deploy(self, deployer: str, code: bytes, gas: int) -> str:
        """Create a contract."""
        receipt = self._transact({"from": deployer, "data": "0x" + code.hex(), "gas": hex(min(gas, GAS))})
        assert receipt["status"] == "0x1"
        return str(receipt["contractAddress"])

    def message_call(self, caller: str, to: str, calldata: bytes, gas: int, is_static: bool = False) -> bytes:
        """A transaction, or a call when static; raises as revm does when it reverts."""
        call = {"from": caller, "to": to, "data": "0x" + calldata.hex(), "gas": hex(min(gas, GAS))}
        if is_static:
            return bytes.fromhex(self.ask("eth_call", call, "latest")[2:])
        receipt = self._transact(call)
        options = {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": True}}
        output = str(self.ask("debug_traceTransaction", receipt["transactionHash"], options).get("output", "0x"))
        if receipt["status"] != "0x1":
            raise RuntimeError(f"Revert {{ output: {output} }}")
        logs = [
            NodeLog(([bytes.fromhex(t[2:]) for t in log["topics"]], bytes.fromhex(log["data"][2:])))
            for log in receipt["logs"]
        ]
        self.result = NodeResult(logs, int(receipt["effectiveGasPrice"], 16))
        return bytes.fromhex(output[2:])

    def _transact(self, call: dict[str, Any]) -> dict[str, Any]:
        sender = call["from"]
        if sender not in self._known:
            self.ask("anvil_setBalance", sender, hex(10**24))
            self._known.add(sender)
        self.ask("anvil_setNextBlockBaseFeePerGas", hex(self.base_fee))
        fees = {"maxFeePerGas": hex(self.base_fee + self.tip), "maxPriorityFeePerGas": hex(self.tip)}
        sent = self.ask("eth_sendTransaction", call | fees)
        deadline = time.monotonic() + MINED_TIMEOUT_S
        while time.monotonic() < deadline:
            receipt: dict[str, Any] | None = self.ask("eth_getTransactionReceipt", sent)
            if receipt is not None:
                return receipt
            time.sleep(0.005)
        raise AssertionError(f"transaction {sent} is not mined after {MINED_TIMEOUT_S} s")
