# SPDX-License-Identifier: Apache-2.0
"""The ``Chain`` port over a node and the contracts of one deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keeper.chain.contracts import Contracts
from keeper.chain.events import EventDecoder
from keeper.chain.failures import reverted
from keeper.chain.multicall import Multicall
from keeper.chain.reader import SnapshotReader
from keeper.chain.rpc import Rpc
from keeper.domain import Block, ContractCall, Event, FeeQuote, Receipt, Snapshot
from keeper.errors import KeeperError, Reverted


class ChainClient:
    """Implements :class:`keeper.ports.Chain`.

    Parameters
    ----------
    rpc
        Connected client.
    contracts
        Contracts of the manifest.
    chain_id
        Chain id the settings expect; `start` checks it.
    multicall
        Address of a contract with ``aggregate3``; None looks for Multicall3.
    """

    def __init__(
        self, rpc: Rpc, contracts: Contracts, chain_id: int, *, multicall: str | None = None, batch: int = 64
    ) -> None:
        self.rpc = rpc
        self.contracts = contracts
        self._chain_id = chain_id
        self._multicall = Multicall.detect(rpc, multicall, batch)
        self._reader = SnapshotReader(rpc, contracts, self._multicall, chain_id)
        self._decoder = EventDecoder(contracts)
        self._ahead: dict[ContractCall, Any] = {}
        self._ahead_of = b""

    @property
    def reader(self) -> SnapshotReader:
        """What snapshots are read by."""
        return self._reader

    @property
    def multicall(self) -> Multicall:
        """What many calls go through."""
        return self._multicall

    def start(self) -> None:
        """Check chain id and code before anything is believed.

        Raises
        ------
        ConfigError
            The endpoint is on another chain, or a contract is not what the manifest says.
        """
        self.rpc.check_chain(self._chain_id)
        self.contracts.check(self.rpc)

    @property
    def chain_id(self) -> int:
        """Chain id of the settings."""
        return self._chain_id

    def block(self, number: int | None = None) -> Block:
        """Return a block; None is the head."""
        return self.rpc.block(number)

    def snapshot(self, accounts: Sequence[int] | None = None, block: Block | None = None) -> Snapshot:
        """Read everything a cycle needs at one block."""
        return self._reader.snapshot(accounts, block)

    def call(self, call: ContractCall, block: Block | None = None, sender: str | None = None) -> Any:
        """Call a function at a block (default: the head) and decode what it returns."""
        if block is not None and sender is None and (found := self._asked_ahead([call], block)):
            if isinstance(found[0], KeeperError):
                raise found[0]
            return found[0]
        to, data = self.contracts.encode(call)
        number = (block or self.rpc.block()).number
        try:
            return self.contracts.decode(call, self.rpc.call(to, data, number, sender=sender, what=str(call)))
        except Reverted as error:
            raise reverted(f"{call}{call.args!r:.80}", error.reason) from error

    def call_many(self, calls: Sequence[ContractCall], block: Block) -> list[Any]:
        """Call many functions at a block; each result is the decoded value or a ``KeeperError``."""
        known = self._asked_ahead(calls, block)
        missing = [k for k in range(len(calls)) if k not in known]
        answers = self._reader.fetch([calls[k] for k in missing], block) if missing else ()
        known.update(zip(missing, answers, strict=True))
        return [known[k] for k in range(len(calls))]

    def remember(self, answers: Mapping[ContractCall, Any], block: Block) -> None:
        """Keep answers of a block that will be asked for: each is given once, the second time the node is asked."""
        self._ahead, self._ahead_of = dict(answers), block.hash

    def _asked_ahead(self, calls: Sequence[ContractCall], block: Block) -> dict[int, Any]:
        """Answers that are kept, by place in the list."""
        if block.hash != self._ahead_of or not self._ahead:
            return {}
        return {k: self._ahead.pop(call) for k, call in enumerate(calls) if call in self._ahead}

    def read(self, to: str, data: bytes, block: Block, what: str) -> bytes:
        """Return data of a call at a block, also of contracts that the manifest does not name."""
        return self.rpc.call(to, data, block.number, what=what)

    def code(self, address: str, block: Block) -> bytes:
        """Code of a contract at a block; empty where there is none."""
        return self.rpc.code(address, block.number)

    def encode(self, call: ContractCall) -> tuple[str, bytes]:
        """Return (address, call data)."""
        return self.contracts.encode(call)

    def estimate_gas(self, call: ContractCall, sender: str) -> int:
        """Gas the call needs at the head."""
        to, data = self.contracts.encode(call)
        return self.gas_of(to, data, sender, str(call))

    def simulate(self, to: str, data: bytes, sender: str, block: Block, what: str) -> bytes:
        """Run a transaction at a block without sending it."""
        return self.rpc.call(to, data, block.number, sender=sender, what=what)

    def gas_of(self, to: str, data: bytes, sender: str, what: str) -> int:
        """Gas a transaction needs at the head."""
        return self.rpc.estimate_gas(to, data, sender, what=f"estimate of {what}")

    def nonce(self, address: str, block_number: int | None = None) -> int:
        """Transactions of ``address`` mined up to a block, the head where None."""
        return self.rpc.nonce(address, block_number)

    def balance(self, address: str) -> int:
        """Wei of ``address`` at the head."""
        return self.rpc.balance(address)

    def fees(self) -> FeeQuote:
        """Fees now."""
        return self.rpc.fees()

    def send_raw(self, raw: bytes) -> bytes:
        """Broadcast a signed transaction."""
        return self.rpc.send_raw(raw)

    def knows(self, tx_hash: bytes) -> bool:
        """Whether the node has the transaction, mined or waiting."""
        return self.rpc.knows(tx_hash)

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """Receipt, None where the transaction is not mined."""
        return self.rpc.receipt(tx_hash)

    def events_of(self, block: Block) -> list[Event]:
        """Decoded events of one block and no other of its number, in order."""
        return self._decoder.decode_all(self.rpc.logs_of(block.hash, list(self.contracts.addresses.values())))

    def events(self, first: int, last: int) -> list[Event]:
        """Decoded events in blocks ``first..last``, in order."""
        return self._decoder.decode_all(self.rpc.logs(first, last, list(self.contracts.addresses.values())))
