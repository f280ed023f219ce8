# SPDX-License-Identifier: Apache-2.0
"""A client of one chain over one or more endpoints: bytes and integers in and out, every failure classified.

No method returns a default where the node failed: it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar
from urllib.parse import urlsplit

from hexbytes import HexBytes
from web3 import HTTPProvider, Web3
from web3.exceptions import BlockNotFound, TransactionNotFound
from web3.providers import BaseProvider
from web3.types import BlockIdentifier, FilterParams, LogReceipt, TxParams

from keeper.chain.failures import AlreadyKnown, classify
from keeper.domain import Block, FeeQuote, Receipt
from keeper.errors import ConfigError, Halt, Permanent, RangeTooLarge, Transient, Underpriced

T = TypeVar("T")
# They ask for the chain id before each call, refuse blocks of proof-of-authority chains, and look names up.
UNWANTED = ("validation", "gas_price_strategy", "ens_name_to_address")


class Endpoint:
    """One node; ``name`` is its host and port, because the rest of a URL is often a key."""

    def __init__(self, provider: BaseProvider, name: str) -> None:
        self.web3 = Web3(provider)
        for unwanted in UNWANTED:
            self.web3.middleware_onion.remove(unwanted)
        self.name = name

    @classmethod
    def http(cls, url: str, timeout_s: float) -> Endpoint:
        """Connect to an HTTP endpoint.

        Raises
        ------
        ConfigError
            The URL is not http or https.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"RPC endpoint with scheme '{parts.scheme}' is not usable; give an http(s) URL with a host"
            )
        provider = HTTPProvider(url, request_kwargs={"timeout": timeout_s}, exception_retry_configuration=None)
        return cls(provider, f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname)


class Rpc:
    """The chain behind its endpoints.

    Parameters
    ----------
    endpoints
        Where to read, best first; the next one is asked when one fails for a passing reason.
    sender
        Where transactions go; None for the first of ``endpoints``.
    """

    def __init__(self, endpoints: Sequence[Endpoint], sender: Endpoint | None = None) -> None:
        if not endpoints:
            raise ConfigError("there is no RPC endpoint to read from; set ETH_RPC_URL")
        self._endpoints = list(endpoints)
        self._sender = sender or self._endpoints[0]

    @classmethod
    def connect(cls, urls: Sequence[str], *, send_url: str | None = None, timeout_s: float = 10.0) -> Rpc:
        """Build a client of HTTP endpoints; nothing is asked yet."""
        sender = Endpoint.http(send_url, timeout_s) if send_url else None
        return cls([Endpoint.http(url, timeout_s) for url in urls], sender)

    @classmethod
    def in_process(cls, provider: BaseProvider, name: str = "embedded") -> Rpc:
        """Build a client of a chain inside this process."""
        return cls([Endpoint(provider, name)])

    @property
    def web3(self) -> Web3:
        """The first endpoint's web3, for what this class has no method for."""
        return self._endpoints[0].web3

    def check_chain(self, expected: int) -> None:
        """Ask every endpoint, the sending one too, for its chain id.

        Raises
        ------
        ConfigError
            One is on another chain.
        Transient
            None answers.
        """
        for endpoint in [*self._endpoints, self._sender]:
            found = _at(endpoint, "eth_chainId", lambda web3: web3.eth.chain_id)
            if found != expected:
                raise ConfigError(
                    f"endpoint {endpoint.name} is on chain {found}, settings expect {expected}; "
                    "correct the URL or the chain id"
                )

    def chain_id(self) -> int:
        """Chain id of the node."""
        return self._read("eth_chainId", lambda web3: web3.eth.chain_id)

    def block(self, number: int | None = None) -> Block:
        """Header of a block, the head where ``number`` is None."""
        asked: BlockIdentifier = "latest" if number is None else number
        name = "latest" if number is None else str(number)

        def read(web3: Web3) -> Block:
            try:
                got = web3.eth.get_block(asked)
            except BlockNotFound as error:
                raise Transient(f"block {name} is not at the node yet; it will be tried again") from error
            return Block(got["number"], bytes(got["hash"]), bytes(got["parentHash"]), got["timestamp"])

        return self._read(f"eth_getBlockByNumber of {name}", read)

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
        return self._read(what, lambda web3: bytes(web3.eth.call(fields, block, ccip_read_enabled=False)))

    def code(self, address: str, block: int | None = None) -> bytes:
        """Code at an address; empty where there is no contract."""
        at: BlockIdentifier = "latest" if block is None else block
        checked = Web3.to_checksum_address(address)
        return self._read(f"eth_getCode of {address}", lambda web3: bytes(web3.eth.get_code(checked, at)))

    def estimate_gas(self, to: str, data: bytes, sender: str, what: str = "eth_estimateGas") -> int:
        """Gas that a transaction needs at the head."""
        fields: TxParams = {
            "from": Web3.to_checksum_address(sender),
            "to": Web3.to_checksum_address(to),
            "data": HexBytes(data),
        }
        return self._read(what, lambda web3: web3.eth.estimate_gas(fields))

    def nonce(self, address: str, block: int | None = None) -> int:
        """Transactions of an address mined up to a block, the head where None; without those that only wait."""
        at: BlockIdentifier = "latest" if block is None else block
        checked = Web3.to_checksum_address(address)
        what = f"eth_getTransactionCount of {address}"
        return self._read(what, lambda web3: web3.eth.get_transaction_count(checked, at))

    def balance(self, address: str) -> int:
        """Wei of an address at the head."""
        checked = Web3.to_checksum_address(address)
        return self._read(f"eth_getBalance of {address}", lambda web3: web3.eth.get_balance(checked))

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
                raise Permanent(f"block {head['number']} has no base fee; the keeper needs a chain with EIP-1559")
            return FeeQuote(int(head["baseFeePerGas"]), int(web3.eth.max_priority_fee))

        return self._read("fees of the head block", read)

    def send_raw(self, raw: bytes) -> bytes:
        """Broadcast a signed transaction; success also where the node has it already. Returns the hash."""
        with suppress(AlreadyKnown):
            _at(self._sender, "eth_sendRawTransaction", lambda web3: web3.eth.send_raw_transaction(HexBytes(raw)))
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
            return Receipt(
                tx_hash=bytes(got["transactionHash"]),
                block_number=got["blockNumber"],
                block_hash=bytes(got["blockHash"]),
                succeeded=got["status"] == 1,
                gas_used=got["gasUsed"],
                effective_gas_price_wei=got["effectiveGasPrice"],
                logs=tuple(got["logs"]),
            )

        return self._read(f"eth_getTransactionReceipt of 0x{tx_hash.hex()}", read)

    def logs(self, first: int, last: int, addresses: Sequence[str]) -> list[LogReceipt]:
        """Logs of the addresses in blocks ``first..last``, both included.

        Raises
        ------
        RangeTooLarge
            The node wants a smaller span.
        """
        filters: FilterParams = {
            "fromBlock": first,
            "toBlock": last,
            "address": [Web3.to_checksum_address(address) for address in addresses],
        }
        return self._read(f"eth_getLogs of blocks {first}..{last}", lambda web3: list(web3.eth.get_logs(filters)))

    def _read(self, what: str, ask: Callable[[Web3], T]) -> T:
        """Ask the endpoints in turn; only a passing failure moves on to the next."""
        last: Transient | None = None
        for endpoint in self._endpoints:
            try:
                return _at(endpoint, what, ask)
            except (RangeTooLarge, Underpriced):
                raise
            except Transient as error:
                last = error
        if last is None:
            raise Halt(f"{what} was never asked; there are no endpoints, restart with a valid configuration")
        raise last


def _at(endpoint: Endpoint, what: str, ask: Callable[[Web3], T]) -> T:
    try:
        return ask(endpoint.web3)
    except Exception as error:  # whatever a node or a transport raises is classified, none is swallowed
        raise classify(error, f"{what} at {endpoint.name}") from error
