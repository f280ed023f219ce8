# SPDX-License-Identifier: Apache-2.0
"""The embedded chain as a web3 connection that answers like a node.

eth-tester raises Python exceptions where a node answers with an error object. :class:`EmbeddedProvider` turns them back
into what geth sends, so that the keeper's error handling is the same here and in production; it also adds reads pinned
by block hash, quick ``eth_getLogs`` and the time controls known from anvil.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

from eth_abi.abi import encode
from eth_tester.backends.base import BaseChainBackend
from eth_tester.backends.pyevm.main import PyEVMBackend
from eth_tester.exceptions import BlockNotFound, TransactionFailed, ValidationError
from eth_tester.main import EthereumTester
from eth_utils.conversions import to_bytes
from eth_utils.exceptions import ValidationError as UtilsValidationError
from hexbytes import HexBytes
from web3 import EthereumTesterProvider, Web3
from web3.types import RPCEndpoint, RPCResponse

from keeper.chain.revm_backend import CHAIN_ID, GAS_LIMIT, CallReverted, RevmBackend
from keeper.chain.revm_chain import GENESIS_BALANCE_WEI

ZERO_ADDRESS = "0x" + "00" * 20
BackendName = Literal["revm", "pyevm"]
_WITH_SENDER = frozenset({"eth_call", "eth_estimateGas", "eth_sendTransaction"})
_PINNED = {"eth_call": 1, "eth_estimateGas": 1, "eth_getBalance": 1, "eth_getCode": 1, "eth_getTransactionCount": 1,
           "eth_getStorageAt": 2}  # fmt: skip


class EmbeddedProvider(EthereumTesterProvider):
    """JSON-RPC of the embedded chain.

    Parameters
    ----------
    backend
        An eth-tester backend.
    """

    def __init__(self, backend: BaseChainBackend) -> None:
        tester: Any = EthereumTester
        super().__init__(tester(backend))
        self.backend: Any = backend  # eth-tester ships no types
        accounts = self.ethereum_tester.get_accounts()  # type: ignore[union-attr]
        self._default_sender = accounts[0] if accounts else ZERO_ADDRESS
        self._own: dict[str, Callable[[Any], Any]] = {
            "eth_chainId": lambda _: CHAIN_ID,
            "net_version": lambda _: str(CHAIN_ID),
            "evm_setNextBlockTimestamp": lambda params: self.set_next_timestamp(_integer(params[0])),
            "evm_increaseTime": lambda params: self.increase_time(_integer(params[0])),
        }
        if isinstance(backend, RevmBackend):
            self._own["eth_getLogs"] = lambda params: self._logs(backend, params[0])
            self._own["eth_blockNumber"] = lambda _: backend.head
            self._own["eth_call"] = lambda params: _call(backend, *params)

    def request_func(self, w3: Web3, middleware_onion: Any) -> Callable[..., RPCResponse]:
        """Put web3's eth-tester middleware in front, which knows block hashes as text only."""
        inner = super().request_func(w3, middleware_onion)
        return lambda method, params: inner(method, self._prepare(method, params))

    def _prepare(self, method: str, params: Any) -> list[Any]:
        """Hashes as text, and the default sender filled in: web3 would ask for all accounts before every call."""
        ready: list[Any] = [item.to_0x_hex() if isinstance(item, HexBytes) else item for item in params]
        if method in _WITH_SENDER and ready and "from" not in ready[0]:
            ready[0] = {**ready[0], "from": self._default_sender}
        return ready

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer one request; errors come back as error objects, never as exceptions."""
        try:
            params = self._unpin(method, params)
            if method in self._own:
                return _result(self._own[method](params))
            namespace, _, endpoint = method.partition("_")
            handler = (self.api_endpoints or {}).get(namespace, {}).get(endpoint)
            if handler is None:
                return _error(-32601, f"the method {method} does not exist/is not available")
            return _result(handler(self.ethereum_tester, params))
        except TransactionFailed as error:
            return _reverted(error)
        except BlockNotFound as error:
            return _error(-32000, f"header not found: {error}")
        except (ValidationError, UtilsValidationError) as error:
            return _error(-32000, str(error))
        except NotImplementedError:
            return _error(-32601, f"the method {method} does not exist/is not available")

    def _unpin(self, method: str, params: Any) -> Any:
        """Replace a block hash by the number of that canonical block, or raise BlockNotFound."""
        at = _PINNED.get(method)
        if at is None or len(params) <= at:
            return params
        block = params[at]
        if isinstance(block, dict):
            block = block.get("blockHash", block.get("blockNumber"))
        if isinstance(block, str) and len(block) == 66:
            block = self._number_of(to_bytes(hexstr=block))
        elif isinstance(block, int) and block >= 2**64:  # web3's middleware has read a hash as a number
            block = self._number_of(block.to_bytes(32, "big"))
        elif isinstance(block, str) and block.startswith("0x"):
            block = int(block, 16)
        return [*params[:at], block, *params[at + 1 :]]

    def _number_of(self, block_hash: bytes) -> int:
        return int(self.backend.get_block_by_hash(block_hash, False)["number"])

    def _logs(self, backend: RevmBackend, query: dict[str, Any]) -> list[dict[str, Any]]:
        if "blockHash" in query:
            first = last = backend.number_of(bytes(HexBytes(query["blockHash"])))
        else:
            first, last = (_height(query.get(key), backend) for key in ("from_block", "to_block"))
        wanted = query.get("address")
        addresses = {to_bytes(hexstr=item) for item in ([wanted] if isinstance(wanted, str) else wanted or [])}
        topics = [_choices(item) for item in query.get("topics") or []]
        normalise = self.ethereum_tester.normalizer.normalize_outbound_log_entry  # type: ignore[union-attr]
        return [
            normalise(log)
            for log in backend.logs(first, last)
            if (not addresses or log["address"] in addresses) and _matches(log["topics"], topics)
        ]

    def set_next_timestamp(self, timestamp: int) -> int:
        """Time of the next block in unix seconds; it must be after the latest block's."""
        if isinstance(self.backend, RevmBackend):
            self.backend.set_next_timestamp(timestamp)
        else:
            chain = self.backend.chain
            chain.header = chain.header.copy(timestamp=timestamp)
        return timestamp

    def increase_time(self, seconds: int) -> int:
        """Put the next block ``seconds`` after where it would be."""
        pending = int(self.backend.get_block_by_number("pending", False)["timestamp"])
        return self.set_next_timestamp(pending + seconds)


def _call(backend: RevmBackend, fields: dict[str, Any], block: int | str = "latest") -> str:
    """eth_call past eth-tester's validators, which cost more than the call itself."""
    message: dict[str, Any] = {name: _integer(fields[name]) for name in ("gas", "value") if name in fields}
    message |= {name: bytes(HexBytes(fields[name] or b"")) for name in ("from", "to", "data") if name in fields}
    return "0x" + backend.call(message, block).hex()


def _integer(value: int | str) -> int:
    return int(value, 0) if isinstance(value, str) else value


def _height(value: Any, backend: RevmBackend) -> int:
    if isinstance(value, int):
        return value
    return 0 if value == "earliest" else backend.head


def _choices(item: Any) -> set[bytes] | None:
    if item is None:
        return None
    return {to_bytes(hexstr=text) for text in ([item] if isinstance(item, str) else item)}


def _matches(topics: list[bytes], wanted: list[set[bytes] | None]) -> bool:
    if len(topics) < len(wanted):
        return False
    return all(choice is None or topic in choice for topic, choice in zip(topics, wanted, strict=False))


def _result(value: Any) -> RPCResponse:
    return {"jsonrpc": "2.0", "id": 0, "result": value}


def _error(code: int, message: str, data: str | None = None) -> RPCResponse:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": 0, "error": error}  # type: ignore[typeddict-item]


def _reverted(error: TransactionFailed) -> RPCResponse:
    """Geth's answer to a reverted call: code 3, the reason in the message, the raw data beside it."""
    reason = str(error.args[0]) if error.args else ""
    if isinstance(error, CallReverted):
        data = error.data
    else:  # py-evm's backend keeps the text only
        data = bytes.fromhex("08c379a0") + encode(["string"], [reason]) if reason and reason != "b''" else b""
    message = f"execution reverted: {reason}" if data else f"execution reverted {reason}".strip()
    return _error(3, message, "0x" + data.hex())


def make_backend(
    backend: BackendName = "revm", accounts: int = 10, genesis_timestamp: int | None = None
) -> BaseChainBackend:
    """A fresh chain: accounts have the private keys 1..``accounts`` and 1,000,000 ETH each, 60M gas a block."""
    if backend == "revm":
        return RevmBackend(accounts, genesis_timestamp=genesis_timestamp)
    when = int(time.time()) if genesis_timestamp is None else genesis_timestamp
    reference: Any = PyEVMBackend
    chain = reference(
        reference.generate_genesis_params({"gas_limit": GAS_LIMIT, "timestamp": when}),
        reference.generate_genesis_state({"balance": GENESIS_BALANCE_WEI}, accounts),
    )
    type(chain.chain).chain_id = CHAIN_ID
    built: BaseChainBackend = chain
    return built


def make_web3(backend: BackendName = "revm", accounts: int = 10, *, genesis_timestamp: int | None = None) -> Web3:
    """Connect to a fresh embedded chain.

    Parameters
    ----------
    backend
        ``revm`` (fast) or ``pyevm`` (the reference).
    accounts
        Funded, unlocked accounts; number ``i`` has the private key ``i + 1``.
    genesis_timestamp
        Unix seconds of block 0; now when None. py-evm's later blocks follow the wall clock all the same.

    Examples
    --------
    >>> w3 = make_web3(accounts=2, genesis_timestamp=1_700_000_000)
    >>> w3.eth.chain_id, len(w3.eth.accounts), w3.eth.block_number
    (1337, 2, 0)
    """
    return Web3(EmbeddedProvider(make_backend(backend, accounts, genesis_timestamp)))


def set_next_timestamp(w3: Web3, timestamp: int) -> None:
    """Time of the next block in unix seconds; also works on anvil."""
    w3.manager.request_blocking(RPCEndpoint("evm_setNextBlockTimestamp"), [timestamp])


def mine_at(w3: Web3, timestamp: int) -> None:
    """Mine one empty block with exactly this time in unix seconds; also works on anvil."""
    set_next_timestamp(w3, timestamp)
    w3.manager.request_blocking(RPCEndpoint("evm_mine"), [])
