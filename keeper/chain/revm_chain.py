# SPDX-License-Identifier: Apache-2.0
"""Blocks of the embedded chain: sealing, snapshots, time, lookups, and the state after any block."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from eth_tester.backends.base import BaseChainBackend
from eth_tester.exceptions import BlockNotFound, SnapshotNotFound, TransactionNotFound, ValidationError
from eth_utils.crypto import keccak

from keeper.chain.revm_block import ZERO_HASH, Block, block_dict, log_dicts, receipt_dict, rlp_encode, transaction_dict
from keeper.chain.revm_state import Account, Diff, RevmState

GENESIS_BALANCE_WEI = 10**24
INITIAL_BASE_FEE_WEI = 10**9


class RevmChain(BaseChainBackend):
    """The block-keeping half of :class:`keeper.chain.revm_backend.RevmBackend`.

    Parameters
    ----------
    funded
        Addresses that start with 1,000,000 ETH.
    chain_id, gas_limit
        Of the chain; gas limit of a block in gas.
    genesis_timestamp
        Unix seconds; now when None.
    """

    def __init__(self, funded: Sequence[bytes], chain_id: int, gas_limit: int, genesis_timestamp: int | None) -> None:
        self.chain_id = chain_id
        self._gas_limit = gas_limit
        self._genesis_timestamp = int(time.time()) if genesis_timestamp is None else genesis_timestamp
        self._funded = tuple(funded)
        self.reset_to_genesis()

    # ------------------------------------------------------------------ lifecycle

    def reset_to_genesis(self) -> None:
        """Back to block 0 with only the funded accounts."""
        self._state = RevmState(self.chain_id, self._gas_limit)
        for address in self._funded:
            self._state.set_account(address, Account(0, GENESIS_BALANCE_WEI))
        genesis = Block(
            0, ZERO_HASH, self._genesis_timestamp, INITIAL_BASE_FEE_WEI, self._gas_limit, ZERO_HASH, ZERO_HASH
        )
        self._blocks: list[Block] = []
        self._by_hash: dict[bytes, int] = {}
        self._tx_place: dict[bytes, tuple[int, int]] = {}
        self._forks = 0
        self._seal(genesis)

    def take_snapshot(self) -> bytes:
        """Identify the latest block."""
        return self._blocks[-1].hash

    def revert_to_snapshot(self, snapshot: bytes) -> None:
        """Drop every later block and all pending transactions, and undo what they did."""
        if snapshot not in self._by_hash:
            raise SnapshotNotFound(f"No snapshot found for id: {snapshot.hex()}")
        target = self._by_hash[snapshot]
        self._drop_pending()
        while self._blocks[-1].number > target:
            block = self._blocks.pop()
            self._undo(block)
            del self._by_hash[block.hash]
            for item in block.txs:
                self._tx_place.pop(item.tx.hash, None)
        # A re-mined chain must not repeat the hashes of the one that was dropped.
        self._forks += 1
        self._open_pending()

    def _drop_pending(self) -> None:
        self._undo(self._pending)
        for item in self._pending.txs:
            self._tx_place.pop(item.tx.hash, None)

    def _undo(self, block: Block) -> None:
        self._state.undo(block.reward)
        for item in reversed(block.txs):
            self._state.undo(item.diff)

    def _redo(self, block: Block) -> None:
        for item in block.txs:
            self._state.apply(item.diff)
        self._state.apply(block.reward)

    def _open_pending(self) -> None:
        parent = self._blocks[-1]
        number = parent.number + 1
        randao = keccak(parent.hash + number.to_bytes(8, "big") + self._forks.to_bytes(8, "big"))
        self._pending = Block(
            number,
            parent.hash,
            parent.timestamp + 1,
            parent.next_base_fee(),
            self._gas_limit,
            randao,
            parent.state_root,
        )

    def _seal(self, block: Block) -> None:
        block.hash = keccak(rlp_encode(block.header()))
        self._blocks.append(block)
        self._by_hash[block.hash] = block.number
        self._open_pending()

    def time_travel(self, to_timestamp: int) -> int:
        """As py-evm's backend: mine a block one second before, so that the pending block has ``to_timestamp``."""
        self._pending.timestamp = to_timestamp - 1
        self.mine_blocks()
        return to_timestamp

    def set_next_timestamp(self, timestamp: int) -> None:
        """Give the pending block this time in unix seconds, without mining."""
        if timestamp <= self._blocks[-1].timestamp:
            raise ValidationError(f"timestamp {timestamp} is not after the latest block's {self._blocks[-1].timestamp}")
        self._pending.timestamp = timestamp

    def mine_blocks(self, num_blocks: int = 1, coinbase: bytes = bytes(20)) -> tuple[bytes, ...]:
        """Seal the pending block, then empty ones; returns their hashes."""
        hashes = []
        for _ in range(num_blocks):
            block = self._pending
            block.coinbase = coinbase
            block.reward = self._reward(block)
            self._state.apply(block.reward)
            self._seal(block)
            hashes.append(block.hash)
        return tuple(hashes)

    def _reward(self, block: Block) -> Diff:
        tips = sum(
            item.outcome.gas_used * (item.tx.effective_price(block.base_fee) - block.base_fee) for item in block.txs
        )
        if not tips:
            return Diff()
        before = self._state.account(block.coinbase)
        return Diff({block.coinbase: (before, Account(before.nonce, before.balance + tips, before.code))})

    # ------------------------------------------------------------------ blocks and receipts

    def _block(self, which: int | str) -> Block:
        if which == "pending":
            return self._pending
        if which in ("latest", "safe", "finalized"):
            return self._blocks[-1]
        number = 0 if which == "earliest" else which
        if isinstance(number, int) and 0 <= number < len(self._blocks):
            return self._blocks[number]
        raise BlockNotFound(f"No block found for block number: {which}")

    def _locate(self, transaction_hash: bytes) -> tuple[Block, int]:
        place = self._tx_place.get(transaction_hash)
        if place is None:
            raise TransactionNotFound(f"No transaction found for transaction hash: 0x{transaction_hash.hex()}")
        number, index = place
        return (self._pending if number == len(self._blocks) else self._blocks[number]), index

    def get_block_by_number(self, block_number: int | str, full_transaction: bool = True) -> dict[str, Any]:
        """A block by number or tag."""
        return block_dict(self._block(block_number), full_transaction)

    def get_block_by_hash(self, block_hash: bytes, full_transaction: bool = True) -> dict[str, Any]:
        """A canonical block by hash."""
        return block_dict(self._blocks[self.number_of(block_hash)], full_transaction)

    def number_of(self, block_hash: bytes) -> int:
        """Number of the canonical block with this hash; BlockNotFound otherwise."""
        if block_hash not in self._by_hash:
            raise BlockNotFound(f"No block found for block hash: 0x{block_hash.hex()}")
        return self._by_hash[block_hash]

    @property
    def head(self) -> int:
        """Number of the latest block."""
        return self._blocks[-1].number

    def get_transaction_by_hash(self, transaction_hash: bytes) -> dict[str, Any]:
        """A transaction, mined or pending."""
        return transaction_dict(*self._locate(transaction_hash))

    def get_transaction_receipt(self, transaction_hash: bytes) -> dict[str, Any]:
        """A receipt; its block fields are None while pending."""
        return receipt_dict(*self._locate(transaction_hash))

    def logs(self, first: int, last: int) -> Iterator[dict[str, Any]]:
        """Logs of the blocks ``first..last`` in order."""
        for block in self._blocks[max(first, 0) : last + 1]:
            for index in range(len(block.txs)):
                yield from log_dicts(block, index)

    def get_fee_history(
        self, block_count: int = 1, newest_block: int | str = "latest", reward_percentiles: Sequence[int] = ()
    ) -> dict[str, Any]:
        """eth_feeHistory; rewards are what each block's transactions tipped, by position rather than gas weight."""
        newest = self._block("latest" if newest_block == "pending" else newest_block)
        blocks = self._blocks[max(0, newest.number + 1 - block_count) : newest.number + 1]
        rewards = []
        for block in blocks:
            tips = sorted(item.tx.effective_price(block.base_fee) - block.base_fee for item in block.txs) or [0]
            rewards.append([tips[min(len(tips) - 1, int(len(tips) * p / 100))] for p in reward_percentiles])
        return {
            "oldest_block": blocks[0].number,
            "base_fee_per_gas": [block.base_fee for block in blocks] + [newest.next_base_fee()],
            "gas_used_ratio": [block.gas_used / block.gas_limit for block in blocks],
            "reward": rewards,
        }

    # ------------------------------------------------------------------ state at a block

    @contextmanager
    def _at(self, which: int | str) -> Iterator[Block]:
        """State after the block ``which``: later ones are undone for the time being."""
        target = self._block(which)
        later = [block for block in (*self._blocks[target.number + 1 :], self._pending) if block is not target]
        later = [block for block in later if block.txs]
        for block in reversed(later):
            self._undo(block)
        try:
            yield target
        finally:
            for block in later:
                self._redo(block)
