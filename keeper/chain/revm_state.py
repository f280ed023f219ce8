# SPDX-License-Identifier: Apache-2.0
"""World state of the embedded chain, executed by revm.

pyrevm keeps everything a message touched in one open journal: an account or slot that is still in the journal is *warm*
and keeps its old "original value" for the next message, so gas would come out too low. Here every message runs between
a checkpoint and a revert, and what it changed is written back into the cold database under the journal. Each message
starts as cold as a transaction on a real node, and the recorded difference is an exact undo log.

Where it differs from a node (pyrevm 0.3.7 offers no way round): ``BLOCKHASH`` gives a placeholder, ``BASEFEE`` gives 0
(``GASPRICE`` too in constructors), ``BALANCE`` of the sender inside its own transaction has not yet paid for gas, and
access lists, blobs and EIP-7702 are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from eth_utils.crypto import keccak
from pyrevm import EVM, AccountInfo, BlockEnv, CfgEnv, Env

# The newest rules pyrevm 0.3.7 has; what Prague adds for ordinary transactions is the calldata floor below.
SPEC_ID = "CANCUN"
_REVERT = re.compile(r"Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}")
_STORAGE = re.compile(r"StorageChange \{ address: 0x([0-9a-f]{40}), key: (\d+), had_value: Some")
_DESTROYED = re.compile(r"AccountDestroyed \{ address: 0x([0-9a-f]{40})")


class InvalidMessageError(Exception):
    """revm refused to start the message (funds, intrinsic gas, initcode size)."""


@dataclass(frozen=True, slots=True)
class Account:
    """Nonce, balance in wei and code of an account."""

    nonce: int = 0
    balance: int = 0
    code: bytes = b""


@dataclass(frozen=True, slots=True)
class BlockContext:
    """What a message sees of its block. Times in unix seconds, gas in units."""

    number: int
    timestamp: int
    gas_limit: int
    coinbase: bytes
    prevrandao: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """One top-level call (``to`` set) or creation (``to`` empty). Value and gas price in wei."""

    sender: bytes
    to: bytes
    data: bytes
    value: int
    gas: int
    gas_price: int = 0


@dataclass(frozen=True, slots=True)
class Log:
    """One event as emitted."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a message; ``halt`` names an exceptional stop, ``output`` is return or revert data."""

    success: bool
    gas_used: int
    output: bytes = b""
    logs: tuple[Log, ...] = ()
    halt: str | None = None


@dataclass(slots=True)
class Diff:
    """What a message changed: (before, after) for each account and each storage slot."""

    accounts: dict[bytes, tuple[Account, Account]] = field(default_factory=dict)
    storage: dict[tuple[bytes, int], tuple[int, int]] = field(default_factory=dict)


def calldata_floor(data: bytes) -> int:
    """Least gas of a transaction that carries ``data``.

    References
    ----------
    EIP-7623: 21000 + 10 a token, a zero byte is one token and any other byte four.
    """
    zeros = data.count(0)
    return 21_000 + 10 * (zeros + 4 * (len(data) - zeros))


class RevmState:
    """Accounts and storage, with execution that never changes them by itself.

    Parameters
    ----------
    chain_id
        What the ``CHAINID`` opcode answers.
    gas_limit
        Block gas limit.
    """

    def __init__(self, chain_id: int, gas_limit: int) -> None:
        env = Env(cfg=CfgEnv(chain_id=chain_id), block=BlockEnv(number=0, gas_limit=gas_limit))
        self._evm = EVM(env=env, gas_limit=gas_limit, spec_id=SPEC_ID)
        self._accounts: dict[bytes, Account] = {}
        self._storage: dict[tuple[bytes, int], int] = {}

    def account(self, address: bytes) -> Account:
        """The account, empty when nobody has touched it."""
        return self._accounts.get(address, Account())

    def slot(self, address: bytes, key: int) -> int:
        """Value of a storage slot."""
        return self._storage.get((address, key), 0)

    def set_account(self, address: bytes, account: Account) -> None:
        """Write an account, bypassing any message (genesis, fees, undo)."""
        self._accounts[address] = account
        info = AccountInfo(balance=account.balance, nonce=account.nonce, code=account.code or None)  # type: ignore[call-arg]
        self._evm.insert_account_info(_hex(address), info)

    def set_slot(self, address: bytes, key: int, value: int) -> None:
        """Write a storage slot, bypassing any message."""
        self._storage[(address, key)] = value
        # The insertion loads the account; the revert makes it cold again and leaves the value in the database.
        checkpoint = self._evm.snapshot()
        self._evm.insert_account_storage(_hex(address), key, value)
        self._evm.revert(checkpoint)

    def apply(self, diff: Diff) -> None:
        """Make a difference take effect."""
        for address, (_, after) in diff.accounts.items():
            self.set_account(address, after)
        for (address, key), (_, new) in diff.storage.items():
            self.set_slot(address, key, new)

    def undo(self, diff: Diff) -> None:
        """Take a difference back. Differences must be undone in reverse order."""
        for (address, key), (old, _) in diff.storage.items():
            self.set_slot(address, key, old)
        for address, (before, _) in diff.accounts.items():
            self.set_account(address, before)

    def execute(self, message: Message, block: BlockContext) -> tuple[Outcome, Diff]:
        """Run a message and report what it would change, fees and the sender's nonce excluded.

        Raises
        ------
        InvalidMessageError
            revm refused it before the first opcode.
        """
        self._enter_block(block)
        checkpoint = self._evm.snapshot()
        self._evm.reset_transient_storage()
        try:
            outcome = self._run(message)
            diff = self._difference() if outcome.success else Diff()
        finally:
            self._evm.revert(checkpoint)
        return outcome, diff

    def _enter_block(self, block: BlockContext) -> None:
        self._evm.set_block_env(
            BlockEnv(
                number=block.number,
                coinbase=_hex(block.coinbase),
                timestamp=block.timestamp,
                prevrandao=block.prevrandao,
                gas_limit=block.gas_limit,
                excess_blob_gas=0,
            )
        )

    def _run(self, message: Message) -> Outcome:
        sender, floor = _hex(message.sender), calldata_floor(message.data)
        if message.gas < floor:
            raise InvalidMessageError(f"intrinsic gas too low: gas {message.gas}, minimum needed {floor}")
        created, output = None, b""
        try:
            if message.to:
                target = _hex(message.to)
                output = self._evm.message_call(
                    sender, target, message.data, message.value, message.gas, message.gas_price
                )
            else:
                # pyrevm charges fees for creations, but not for calls; a price of 0 leaves both to the backend.
                created = self._evm.deploy(sender, message.data, message.value, message.gas, 0)
        except RuntimeError as error:
            return self._failure(error, floor)
        result: Any = self._evm.result
        logs = tuple(_log(entry) for entry in result.logs)
        gas = max(result.gas_used, floor)
        if created is not None:
            output = self._code(self._evm.basic(created))
        return Outcome(True, gas, bytes(output), logs)

    def _failure(self, error: RuntimeError, floor: int) -> Outcome:
        result = self._evm.result
        text = str(error)
        if text.startswith(("Transaction(", "Initial gas", "Header(")):
            raise InvalidMessageError(text) from error
        if result is None:
            raise error
        gas = max(result.gas_used, floor)
        if result.is_halt:
            return Outcome(False, gas, halt=str(result.reason))
        match = _REVERT.search(text)
        return Outcome(False, gas, bytes.fromhex(match[1]) if match else b"")

    def _difference(self) -> Diff:
        diff = Diff()
        journal = self._evm.journal_str
        journal = journal[journal.rfind(", journal: [[") :]
        destroyed = {bytes.fromhex(found) for found in _DESTROYED.findall(journal)}
        for text, info in self._evm.journal_state.items():
            address = bytes.fromhex(text[2:])
            before = self.account(address)
            code = before.code or self._code(info)  # code never changes once deployed, and hashing it is slow
            after = Account() if address in destroyed else Account(info.nonce, info.balance, code)
            if after != before:
                diff.accounts[address] = (before, after)
        for text, key_text in set(_STORAGE.findall(journal)):
            address, key = bytes.fromhex(text), int(key_text)
            old, new = self.slot(address, key), self._evm.storage(_hex(address), key)
            if old != new and address not in destroyed:
                diff.storage[(address, key)] = (old, new)
        return diff

    @staticmethod
    def _code(info: AccountInfo) -> bytes:
        """Code as deployed: revm pads what it has analysed with 33 zero bytes, the hash tells which."""
        code = bytes(info.code or b"")
        if not code or keccak(code) == info.code_hash:
            return code
        if keccak(code[:-33]) == info.code_hash:
            return code[:-33]
        return b"" if not code.strip(b"\0") else code


def _log(entry: Any) -> Log:
    topics, data = entry.data
    return Log(bytes.fromhex(entry.address[2:]), tuple(bytes(topic) for topic in topics), bytes(data))


def _hex(address: bytes) -> str:
    return "0x" + address.hex()


def bloom(logs: Iterable[Log]) -> int:
    """2048-bit bloom filter of addresses and topics (yellow paper, section 4.3.1)."""
    bits = 0
    for log in logs:
        for item in (log.address, *log.topics):
            digest = keccak(item)
            for i in (0, 2, 4):
                bits |= 1 << (int.from_bytes(digest[i : i + 2], "big") & 2047)
    return bits
