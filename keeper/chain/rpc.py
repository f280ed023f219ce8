# SPDX-License-Identifier: Apache-2.0
"""A client of one chain over one or more endpoints: bytes and integers in and out, every failure classified.

No method returns a default where the node failed: it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import TransactionNotFound
from web3.providers import BaseProvider
from web3.types import BlockIdentifier, FilterParams, LogReceipt, TxParams

from keeper.chain.broadcast import broadcast
from keeper.chain.endpoint import Endpoint, EndpointState, Limits, read_block, whole
from keeper.chain.log_reader import LogReader
from keeper.chain.pool_policy import PoolPolicy, Times, Watcher
from keeper.chain.rpc_pool import Pool
from keeper.domain import Block, FeeQuote, Receipt
from keeper.errors import Behind, ConfigError, KeeperError, RateLimited, Refused, Reverted, Unreachable

T = TypeVar("T")
INTRINSIC_GAS = 21_000  # of any transaction, before 4 for each zero byte of its data and 16 for each other one


@dataclass(frozen=True, slots=True)
class RpcOptions:
    """Rules of the pool, limits of every endpoint, and of those named by host and port."""

    policy: PoolPolicy = field(default_factory=PoolPolicy)
    limits: Limits = field(default_factory=Limits)
    named: Mapping[str, Limits] = field(default_factory=dict)
    times: Times = field(default_factory=Times)


class Rpc:
    """The chain behind its endpoints.

    Parameters
    ----------
    endpoints
        Where to read, best first; the next one is asked when one fails, rests, lags or is on another chain.
    senders
        Where transactions go, each of them; none: to the first of ``endpoints`` that takes them.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], senders: Sequence[Endpoint] = (), options: RpcOptions | None = None
    ) -> None:
        if not endpoints:
            raise ConfigError("there is no RPC endpoint to read from; set ETH_RPC_URL")
        chosen = options or RpcOptions()
        self._pool = Pool(endpoints, chosen.policy, chosen.limits, chosen.named, chosen.times)
        self._senders = Pool(senders, chosen.policy, chosen.limits, chosen.named, chosen.times) if senders else None
        self._logs = LogReader(self._pool)

    @classmethod
    def connect(
        cls,
        urls: Sequence[str],
        *,
        send_url: str | Sequence[str] | None = None,
        timeout_s: float = 10.0,
        options: RpcOptions | None = None,
    ) -> Rpc:
        """Build a client of HTTP endpoints; nothing is asked yet."""
        send_urls = [send_url] if isinstance(send_url, str) else send_url or ()
        senders = [Endpoint.http(url, timeout_s) for url in send_urls]
        return cls([Endpoint.http(url, timeout_s) for url in urls], senders, options)

    @classmethod
    def in_process(cls, provider: BaseProvider, name: str = "embedded") -> Rpc:
        """Build a client of a chain inside this process."""
        return cls([Endpoint(provider, name)])

    @property
    def web3(self) -> Web3:
        """The first endpoint's web3, for what this class has no method for."""
        return self._pool.states[0].endpoint.web3

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The endpoints to read from, then those to send to where they are others."""
        return (self._pool,) if self._senders is None else (self._pool, self._senders)

    def watch(self, watcher: Watcher) -> None:
        """Tell ``watcher`` what becomes of every request from here on."""
        for pool in self.pools:
            pool.watcher = watcher
            for state in pool.states:
                watcher.usable(state.name, not state.stale and state.wrong_chain is None and not state.failures)

    def check_chain(self, expected: int) -> None:
        """Ask every endpoint, those to send to as well, for its chain id; what is on another chain is left out.

        Raises
        ------
        ConfigError
            No endpoint to read from, or none to send to, is on the right chain.
        Transient
            None answers.
        """
        for pool in self.pools:
            pool.check_chain(expected)

    def chain_id(self) -> int:
        """Chain id of the node."""
        return self._read("eth_chainId", lambda web3: web3.eth.chain_id)

    def block(self, number: int | None = None) -> Block:
        """Header of a block, the head where ``number`` is None; later reads at its number are of this very block.

        Raises
        ------
        Transient
            No endpoint has the block, or none has a fresh head.
        """
        if number is None:
            return self._pool.head("eth_getBlockByNumber of latest", read_block)

        def read(state: EndpointState) -> Block:
            what = f"eth_getBlockByNumber of {number}"
            block = self._pool.request(state, what, lambda web3: read_block(web3, number))
            self._pool.pin(state, block)
            return block

        return self._pool.read(f"eth_getBlockByNumber of {number}", read)

    def call(self, to: str, data: bytes, block: int, *, sender: str | None = None, what: str = "eth_call") -> bytes:
        """Return data of a call at a block.

        Raises
        ------
        Reverted
            The contract refuses.
        """
        fields: TxParams = {"to": Web3.to_checksum_address(to), "data": HexBytes(data)}
        if sender is not None:
            fields["from"] = Web3.to_checksum_address(sender)

        def ask(web3: Web3, at: Any) -> bytes:
            return bytes(web3.eth.call(fields, at, ccip_read_enabled=False))

        return self._at_block(what, block, ask)

    def code(self, address: str, block: int | None = None) -> bytes:
        """Code at an address; empty where there is no contract."""
        checked = Web3.to_checksum_address(address)
        what = f"eth_getCode of {address}"
        if block is None:
            return self._read(what, lambda web3: bytes(web3.eth.get_code(checked, "latest")))
        return self._at_block(what, block, lambda web3, at: bytes(web3.eth.get_code(checked, at)))

    def estimate_gas(self, to: str, data: bytes, sender: str, what: str = "eth_estimateGas") -> int:
        """Gas that a transaction needs at the head."""
        fields: TxParams = {
            "from": Web3.to_checksum_address(sender),
            "to": Web3.to_checksum_address(to),
            "data": HexBytes(data),
        }
        least = INTRINSIC_GAS + 4 * len(data) + 12 * sum(1 for byte in data if byte)

        def read(web3: Web3) -> int:
            gas = whole(web3.eth.estimate_gas(fields), 63)
            if gas < least:  # a transaction with so little is taken by no node, and all later ones would wait for it
                raise ValueError(f"{gas} gas is less than the {least} that its data cost")
            return gas

        return self._read(what, read)

    def nonce(self, address: str, block: int | None = None) -> int:
        """Transactions of an address mined up to a block, the head where None; without those that only wait."""
        at: BlockIdentifier = "latest" if block is None else block
        checked = Web3.to_checksum_address(address)
        what = f"eth_getTransactionCount of {address}"
        return self._read(what, lambda web3: whole(web3.eth.get_transaction_count(checked, at), 63))

    def balance(self, address: str) -> int:
        """Wei of an address at the head."""
        checked = Web3.to_checksum_address(address)
        return self._read(f"eth_getBalance of {address}", lambda web3: whole(web3.eth.get_balance(checked), 256))

    def fees(self) -> FeeQuote:
        """Base fee of the head and the tip the node suggests.

        Raises
        ------
        Permanent
            The chain has no base fee (before London).
        """

        def read(web3: Web3) -> FeeQuote:
            head = web3.eth.get_block("latest")
            if "baseFeePerGas" not in head:
                raise Refused(f"block {head['number']} has no base fee; the keeper needs a chain with EIP-1559")
            return FeeQuote(whole(head["baseFeePerGas"], 128), whole(web3.eth.max_priority_fee, 128))

        return self._read("fees of the head block", read)

    def send_raw(self, raw: bytes) -> bytes:
        """Broadcast a signed transaction; success also where a node has it already. Returns the hash."""
        broadcast(self._senders or self._pool, raw, everywhere=self._senders is not None)
        return bytes(Web3.keccak(raw))

    def knows(self, tx_hash: bytes) -> bool:
        """Whether the node has the transaction, mined or waiting."""

        def read(web3: Web3) -> bool:
            try:
                web3.eth.get_transaction(HexBytes(tx_hash))
            except TransactionNotFound:
                return False
            return True

        return self._read(f"eth_getTransactionByHash of 0x{tx_hash.hex()}", read)

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """Receipt of a transaction, None where it is not mined."""

        def read(web3: Web3) -> Receipt | None:
            try:
                got = web3.eth.get_transaction_receipt(HexBytes(tx_hash))
            except TransactionNotFound:
                return None
            if bytes(got["transactionHash"]) != tx_hash:
                raise ValueError("the receipt is of another transaction")
            return Receipt(
                tx_hash=tx_hash,
                block_number=whole(got["blockNumber"], 63),
                block_hash=bytes(got["blockHash"]),
                succeeded=whole(got["status"], 1) == 1,
                gas_used=whole(got["gasUsed"], 63),
                effective_gas_price_wei=whole(got["effectiveGasPrice"], 128),
                logs=tuple(got["logs"]),
            )

        return self._read(f"eth_getTransactionReceipt of 0x{tx_hash.hex()}", read)

    def logs(self, first: int, last: int, addresses: Sequence[str]) -> list[LogReceipt]:
        """Logs of the addresses in blocks ``first..last``, both included, in as many requests as the endpoint wants.

        Raises
        ------
        RangeTooLarge
            The node refuses a single block.
        """
        return self._logs.read(first, last, addresses)

    def logs_of(self, block_hash: bytes, addresses: Sequence[str]) -> list[LogReceipt]:
        """Logs of the addresses in one block, named by its hash: a node that has another block there refuses."""
        filters: FilterParams = {
            "blockHash": HexBytes(block_hash),
            "address": [Web3.to_checksum_address(address) for address in addresses],
        }
        return self._read(f"eth_getLogs of block 0x{block_hash.hex()}", lambda web3: list(web3.eth.get_logs(filters)))

    def _read(self, what: str, ask: Callable[[Web3], T]) -> T:
        return self._pool.read(what, lambda state: self._pool.request(state, what, ask))

    def _at_block(self, what: str, number: int, ask: Callable[[Web3, Any], T]) -> T:
        """Read at a block: by the hash of the block that was read before, so that no other fork can answer."""

        def read(state: EndpointState) -> T:
            pinned = self._pool.pinned(number)
            if pinned is None or not state.endpoint.remote or state.by_hash is False:
                return self._pool.request(state, what, lambda web3: ask(web3, number))
            at = {"blockHash": f"0x{pinned.hex()}", "requireCanonical": True}
            try:
                answer = self._pool.request(state, what, lambda web3: ask(web3, at))
            except (Reverted, Behind, RateLimited, Unreachable):
                raise
            except KeeperError:
                if state.by_hash:
                    raise
                # Perhaps a node without EIP-1898; it has shown the block's hash, so its number will do.
                answer = self._pool.request(state, what, lambda web3: ask(web3, number))
                state.by_hash = False
                return answer
            state.by_hash = True
            return answer

        return self._pool.read(what, read, pin=number)
