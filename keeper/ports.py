# SPDX-License-Identifier: Apache-2.0
"""What the keeper's core asks of the outside world, as protocols.

Every method raises :class:`keeper.errors.Transient` or :class:`keeper.errors.Permanent` when it cannot answer;
none answers with a default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from keeper.domain import Block, ContractCall, Event, FeeQuote, Receipt, Snapshot


class Clock(Protocol):
    """Wall-clock time."""

    def now(self) -> int:
        """Unix time in seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class Signer(Protocol):
    """One key; it signs and forgets."""

    @property
    def address(self) -> str:
        """Checksummed address of the key."""

    def sign(self, transaction: dict[str, Any]) -> tuple[bytes, bytes]:
        """Return (raw signed transaction, its hash)."""


class Chain(Protocol):
    """The chain the contracts of the manifest live on."""

    @property
    def chain_id(self) -> int:
        """Chain id, checked at start."""

    def block(self, number: int | None = None) -> Block:
        """Return a block; None is the head."""

    def snapshot(self, accounts: Sequence[int] | None = None, block: Block | None = None) -> Snapshot:
        """Read everything a cycle needs at one block; None reads every account at the head."""

    def call(self, call: ContractCall, block: Block | None = None, sender: str | None = None) -> Any:
        """``eth_call`` at a block; raises ``Reverted`` with the contract's reason."""

    def call_many(self, calls: Sequence[ContractCall], block: Block) -> list[Any]:
        """Run many calls at one block; each result is the decoded value or a ``KeeperError``."""

    def read(self, to: str, data: bytes, block: Block, what: str) -> bytes:
        """Return data of a call at a block, also of contracts that the manifest does not name."""

    def code(self, address: str, block: Block) -> bytes:
        """Code of a contract at a block; empty where there is none."""

    def encode(self, call: ContractCall) -> tuple[str, bytes]:
        """Return (address, call data)."""

    def estimate_gas(self, call: ContractCall, sender: str) -> int:
        """Gas the call needs at the head; raises ``Reverted`` with the contract's reason."""

    def simulate(self, to: str, data: bytes, sender: str, block: Block, what: str) -> bytes:
        """Run a transaction at a block without sending it; raises ``Reverted`` with the contract's reason."""

    def gas_of(self, to: str, data: bytes, sender: str, what: str) -> int:
        """Gas a transaction needs at the head."""

    def nonce(self, address: str, block_number: int | None = None) -> int:
        """Transactions of ``address`` mined up to a block, the head where None; never those that only wait."""

    def balance(self, address: str) -> int:
        """Wei of ``address`` at the head."""

    def fees(self) -> FeeQuote:
        """Fees now."""

    def send_raw(self, raw: bytes) -> bytes:
        """Broadcast; a node that already has the transaction is success. Returns the hash."""

    def knows(self, tx_hash: bytes) -> bool:
        """Whether the node has the transaction, mined or waiting."""

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """Receipt, None where the transaction is not mined."""

    def events_of(self, block: Block) -> Sequence[Event]:
        """Decoded events of one block and no other of its number, in order."""

    def events(self, first: int, last: int) -> Sequence[Event]:
        """Decoded events of the manifest's contracts in blocks ``first..last``, in order."""
