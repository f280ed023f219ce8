# SPDX-License-Identifier: Apache-2.0
"""Transactions and blocks of the embedded chain: decoding, hashing, and the dictionaries eth-tester expects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account as Keys
from eth_tester.exceptions import ValidationError
from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak
from eth_utils.encoding import big_endian_to_int, int_to_big_endian
from rlp import codec

from keeper.chain.revm_state import BlockContext, Diff, Outcome, bloom

# rlp ships no types.
rlp_encode: Callable[[Any], bytes] = codec.encode
rlp_decode: Callable[[bytes], Any] = codec.decode

EMPTY_UNCLES = keccak(rlp_encode([]))
ZERO_HASH = bytes(32)
ELASTICITY = 2
BASE_FEE_CHANGE_DENOMINATOR = 8


@dataclass(frozen=True, slots=True)
class Transaction:
    """A signed transaction of type 0, 1 or 2. Fees in wei a gas; legacy ones have both fees equal."""

    hash: bytes
    type: int
    sender: bytes
    nonce: int
    gas: int
    max_fee: int
    priority_fee: int
    to: bytes
    value: int
    data: bytes
    chain_id: int | None
    v: int
    r: int
    s: int

    def effective_price(self, base_fee: int) -> int:
        """Wei a gas that the sender pays (EIP-1559)."""
        return min(self.max_fee, base_fee + self.priority_fee)


def decode_transaction(raw: bytes) -> Transaction:
    """Parse a raw signed transaction and recover its sender.

    Raises
    ------
    ValidationError
        Malformed, of a type other than 0, 1, 2, or with an access list.
    """
    kind = raw[0] if raw[0] < 0x80 else 0
    if kind > 2:
        raise ValidationError(f"transaction type not supported: {kind}")
    try:
        items = rlp_decode(raw if kind == 0 else raw[1:])
        sender = to_canonical_address(Keys.recover_transaction(raw))
    except Exception as error:
        raise ValidationError(f"invalid transaction: {error}") from error
    if kind == 0:
        nonce, price, gas, to, value, data, v, r, s = items
        chain = (big_endian_to_int(v) - 35) // 2 if big_endian_to_int(v) >= 35 else None
        prices = (price, price)
    else:
        fixed, (to, value, data, access, v, r, s) = items[:-7], items[-7:]
        if access:
            raise ValidationError("access lists are not supported by this backend")
        chain, nonce, gas = big_endian_to_int(fixed[0]), fixed[1], fixed[-1]
        prices = (fixed[-2], fixed[2])
    number = big_endian_to_int
    return Transaction(
        hash=keccak(raw), type=kind, sender=sender, nonce=number(nonce), gas=number(gas),
        max_fee=number(prices[0]), priority_fee=number(prices[1]), to=to, value=number(value), data=data,
        chain_id=chain, v=number(v), r=number(r), s=number(s),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Executed:
    """A transaction with what it did; ``cumulative_gas`` counts the block up to and including it."""

    tx: Transaction
    outcome: Outcome
    diff: Diff
    cumulative_gas: int


@dataclass(slots=True)
class Block:
    """One block; ``hash`` is empty while it is pending."""

    number: int
    parent_hash: bytes
    timestamp: int
    base_fee: int
    gas_limit: int
    prevrandao: bytes
    parent_state: bytes
    coinbase: bytes = bytes(20)
    txs: list[Executed] = field(default_factory=list)
    reward: Diff = field(default_factory=Diff)
    hash: bytes = b""

    @property
    def gas_used(self) -> int:
        """Gas of all transactions."""
        return self.txs[-1].cumulative_gas if self.txs else 0

    @property
    def tx_root(self) -> bytes:
        """Commitment to the transactions (a plain hash of their hashes, not a trie root)."""
        return keccak(b"".join(item.tx.hash for item in self.txs))

    @property
    def receipts_root(self) -> bytes:
        """Commitment to status, gas and logs of every transaction (not a trie root)."""
        rows = [
            [int(item.outcome.success), item.cumulative_gas,
             [[log.address, list(log.topics), log.data] for log in item.outcome.logs]]
            for item in self.txs
        ]  # fmt: skip
        return keccak(rlp_encode(rows))

    @property
    def state_root(self) -> bytes:
        """Commitment to the history that leads to the state (not a trie root)."""
        return keccak(self.parent_state + self.tx_root) if self.txs else self.parent_state

    @property
    def bloom(self) -> int:
        """Bloom filter of all logs."""
        return bloom(log for item in self.txs for log in item.outcome.logs)

    def header(self) -> list[Any]:
        """Fields in the order of a mainnet header, so that the hash commits to all of them."""
        return [
            self.parent_hash, EMPTY_UNCLES, self.coinbase, self.state_root, self.tx_root, self.receipts_root,
            int_to_big_endian(self.bloom).rjust(256, b"\0"), 0, self.number, self.gas_limit, self.gas_used,
            self.timestamp, b"", self.prevrandao, bytes(8), self.base_fee,
        ]  # fmt: skip

    def context(self) -> BlockContext:
        """What messages in this block see."""
        return BlockContext(self.number, self.timestamp, self.gas_limit, self.coinbase, self.prevrandao)

    def next_base_fee(self) -> int:
        """Base fee of the child block in wei (EIP-1559)."""
        target = self.gas_limit // ELASTICITY
        if self.gas_used == target:
            return self.base_fee
        change = self.base_fee * abs(self.gas_used - target) // target // BASE_FEE_CHANGE_DENOMINATOR
        return self.base_fee + max(change, 1) if self.gas_used > target else self.base_fee - change


def block_dict(block: Block, full: bool) -> dict[str, Any]:
    """The block as eth-tester's validators want it."""
    txs = [transaction_dict(block, i) if full else item.tx.hash for i, item in enumerate(block.txs)]
    header = block.header()
    return {
        "number": block.number, "hash": block.hash or keccak(rlp_encode(header)), "parent_hash": block.parent_hash,
        "nonce": bytes(8), "sha3_uncles": EMPTY_UNCLES, "logs_bloom": block.bloom,
        "transactions_root": block.tx_root, "receipts_root": block.receipts_root, "state_root": block.state_root,
        "coinbase": block.coinbase, "difficulty": 0, "total_difficulty": 0, "mix_hash": block.prevrandao,
        "size": len(rlp_encode(header)), "extra_data": ZERO_HASH, "gas_limit": block.gas_limit,
        "gas_used": block.gas_used, "timestamp": block.timestamp, "transactions": txs, "uncles": [],
        "base_fee_per_gas": block.base_fee,
    }  # fmt: skip


def _place(block: Block, index: int) -> dict[str, Any]:
    mined = bool(block.hash)
    return {
        "block_hash": block.hash if mined else None,
        "block_number": block.number if mined else None,
        "transaction_index": index if mined else None,
    }


def transaction_dict(block: Block, index: int) -> dict[str, Any]:
    """A transaction as eth-tester's validators want it."""
    tx = block.txs[index].tx
    result = {
        "type": tx.type, "hash": tx.hash, "nonce": tx.nonce, **_place(block, index), "from": tx.sender, "to": tx.to,
        "value": tx.value, "gas": tx.gas, "data": tx.data, "gas_price": tx.effective_price(block.base_fee),
        "v": tx.v, "r": tx.r, "s": tx.s,
    }  # fmt: skip
    if tx.type:
        result |= {"chain_id": tx.chain_id, "access_list": (), "y_parity": tx.v}
    if tx.type == 2:
        result |= {"max_fee_per_gas": tx.max_fee, "max_priority_fee_per_gas": tx.priority_fee}
    return result


def log_dicts(block: Block, index: int) -> list[dict[str, Any]]:
    """Logs of one transaction; ``log_index`` counts within the block."""
    first = sum(len(item.outcome.logs) for item in block.txs[:index])
    item = block.txs[index]
    return [
        {
            "type": "mined" if block.hash else "pending", "log_index": first + offset, **_place(block, index),
            "transaction_hash": item.tx.hash, "address": log.address, "data": log.data, "topics": list(log.topics),
        }
        for offset, log in enumerate(item.outcome.logs)
    ]  # fmt: skip


def receipt_dict(block: Block, index: int) -> dict[str, Any]:
    """A receipt as eth-tester's validators want it."""
    item = block.txs[index]
    status = int(item.outcome.success)
    created = None if item.tx.to else keccak(rlp_encode([item.tx.sender, item.tx.nonce]))[12:]
    return {
        **_place(block, index), "contract_address": created, "cumulative_gas_used": item.cumulative_gas,
        "effective_gas_price": item.tx.effective_price(block.base_fee), "from": item.tx.sender,
        "gas_used": item.outcome.gas_used, "logs": log_dicts(block, index),
        "state_root": b"\x01" if status else b"", "status": status, "to": item.tx.to,
        "transaction_hash": item.tx.hash, "type": item.tx.type,
    }  # fmt: skip
