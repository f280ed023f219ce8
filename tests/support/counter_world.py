# SPDX-License-Identifier: Apache-2.0
"""A tiny contract on the embedded chain, a node that keeps transactions waiting, and a process that dies on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from eth_tester.backends.base import BaseChainBackend
from hexbytes import HexBytes
from vyper.compiler import compile_code
from web3 import Web3
from web3.types import RPCEndpoint, RPCResponse

from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts, Deployed
from keeper.chain.embedded import EmbeddedProvider, make_backend
from keeper.chain.rpc import Rpc
from keeper.domain import ContractCall
from keeper.store import Store, open_store
from keeper.tx.fees import FeeCaps
from keeper.tx.journal import Journal
from keeper.tx.sender import Sender, SendPolicy
from keeper.tx.signer import LocalSigner

CHAIN_ID = 1337
GWEI = 10**9
SOURCE = """
# pragma version 0.4.3
# pragma evm-version prague

struct Pair:
    small: uint256
    text: String[32]

event AccountOpened:
    account: indexed(uint256)
    owner: indexed(address)

event CashDeposited:
    account: indexed(uint256)
    sender: address
    amount_raw: uint256
    cash_wad: int256

event Labelled:
    label: indexed(String[32])
    pairs: DynArray[Pair, 4]

account_count: public(uint256)
owner_of: public(HashMap[uint256, address])
total: public(HashMap[uint256, uint256])
closed: public(bool)

@deploy
def __init__():
    self.account_count = 1

@external
def open_account(owner: address):
    account: uint256 = self.account_count
    self.account_count = account + 1
    self.owner_of[account] = owner
    log AccountOpened(account=account, owner=owner)

@external
def deposit(account: uint256, amount_raw: uint256):
    log CashDeposited(account=account, sender=msg.sender, amount_raw=amount_raw, cash_wad=-convert(amount_raw, int256))

@external
def label(text: String[32], pairs: DynArray[Pair, 4]):
    log Labelled(label=text, pairs=pairs)

@external
def bump(key: uint256):
    assert not self.closed, "counter: closed"
    self.total[key] += 1

@external
def take(key: uint256):
    assert not self.closed, "auction: nonce"
    self.total[key] += 1

@external
def close(closed: bool):
    self.closed = closed

@external
@view
def pair(small: uint256) -> Pair:
    return Pair(small=small, text="pair")

@external
@view
def two() -> (uint256, bool):
    return 7, True

@external
@view
def silent():
    raise

@external
@view
def divide(a: uint256, b: uint256) -> uint256:
    return a // b
"""


@lru_cache(maxsize=1)
def compiled() -> tuple[bytes, list[dict[str, Any]]]:
    """Creation code and ABI of the tiny contract."""
    out = compile_code(SOURCE, contract_path="Counter.vy", output_formats=("bytecode", "abi"))
    return bytes.fromhex(out["bytecode"][2:]), out["abi"]


@dataclass(frozen=True, slots=True)
class Bump:
    """An action on the tiny contract; landing twice shows in ``total``."""

    key: int
    turn: int = 0
    kind: ClassVar[str] = "bump"

    @property
    def subject(self) -> str:
        return str(self.key)

    @property
    def epoch(self) -> int:
        return self.turn

    @property
    def call(self) -> ContractCall:
        return ContractCall("Counter", "bump", (self.key,))


@dataclass(frozen=True, slots=True)
class Take:
    """A bid of sorts: anybody can be first."""

    key: int
    turn: int = 0
    kind: ClassVar[str] = "bid"

    @property
    def subject(self) -> str:
        return str(self.key)

    @property
    def epoch(self) -> int:
        return self.turn

    @property
    def call(self) -> ContractCall:
        return ContractCall("Counter", "take", (self.key,))


def _fields(raw: bytes) -> tuple[str, int, int, int]:
    """(sender, nonce, max fee, tip) of a raw type-2 transaction."""
    sender = Account.recover_transaction(raw)
    decoded = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    return sender, decoded["nonce"], decoded["maxFeePerGas"], decoded["maxPriorityFeePerGas"]


class PoolProvider(EmbeddedProvider):
    """The embedded chain with a transaction pool in front: geth's rules for nonces and replacements.

    ``paused`` keeps transactions waiting until `mine`; `lose` drops what waits; ``before_send`` and ``after_send`` run
    before and after a transaction is taken, to fail there. ``asked`` lists the methods asked for. ``least_fee_wei`` is
    what the pool wants now; ``blocks_behind`` makes the count of transactions that of an older block.
    """

    def __init__(self, backend: BaseChainBackend) -> None:
        super().__init__(backend)
        self.paused = False
        self.pool: dict[tuple[str, int], bytes] = {}
        self.seen: list[bytes] = []
        self.asked: list[str] = []
        self.before_send: Callable[[], None] | None = None
        self.after_send: Callable[[], None] | None = None
        self.least_fee_wei = 0
        self.blocks_behind = 0

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        self.asked.append(method)
        if method == "eth_sendRawTransaction":
            if self.before_send is not None:
                self.before_send()
            answer = self._send(bytes(HexBytes(params[0])), params)
            if self.after_send is not None:
                self.after_send()
            return answer
        if method == "eth_getTransactionCount" and params[1] == "latest" and self.blocks_behind:
            params = [params[0], hex(self.backend.get_block_by_number("latest")["number"] - self.blocks_behind)]
        if method == "eth_getTransactionByHash" and self._waiting(bytes(HexBytes(params[0]))):
            return {"jsonrpc": "2.0", "id": 0, "result": {"hash": HexBytes(params[0]).to_0x_hex(), "nonce": 0}}
        return super().make_request(method, params)

    def _waiting(self, tx_hash: bytes) -> bool:
        return any(bytes(Web3.keccak(raw)) == tx_hash for raw in self.pool.values())

    def _send(self, raw: bytes, params: Any) -> RPCResponse:
        self.seen.append(raw)
        if not self.paused:
            return super().make_request(RPCEndpoint("eth_sendRawTransaction"), params)
        sender, nonce, max_fee, tip = _fields(raw)
        if max_fee < self.least_fee_wei:
            return _refusal("transaction underpriced")
        mined = int(self.backend.get_nonce(bytes.fromhex(sender[2:])))
        if nonce < mined:
            return _refusal(f"nonce too low: next nonce {mined}, tx nonce {nonce}")
        held = self.pool.get((sender, nonce))
        if held == raw:
            return _refusal("already known")
        if held is not None:
            _, _, old_fee, old_tip = _fields(held)
            if max_fee * 10 < old_fee * 11 or tip * 10 < old_tip * 11 or tip <= old_tip:
                return _refusal("replacement transaction underpriced")
        self.pool[sender, nonce] = raw
        return {"jsonrpc": "2.0", "id": 0, "result": Web3.keccak(raw).to_0x_hex()}

    def mine(self) -> None:
        """Put everything that waits into blocks, in the order of nonces."""
        waiting = sorted(self.pool.items(), key=lambda item: item[0][1])
        self.pool.clear()
        for _, raw in waiting:
            super().make_request(RPCEndpoint("eth_sendRawTransaction"), [HexBytes(raw).to_0x_hex()])
        super().make_request(RPCEndpoint("evm_mine"), [])

    def lose(self) -> None:
        """Forget everything that waits, as a restarted node does."""
        self.pool.clear()


def _refusal(message: str) -> RPCResponse:
    return {"jsonrpc": "2.0", "id": 0, "error": {"code": -32000, "message": message}}


@dataclass
class FakeClock:
    """A clock that moves only when somebody sleeps; each sleep mines a block where asked to."""

    time: int = 1_700_000_000
    on_sleep: Callable[[], None] | None = None

    def now(self) -> int:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(1, int(seconds))
        if self.on_sleep is not None:
            self.on_sleep()


POLICY = SendPolicy(
    fees=FeeCaps(max_fee_wei=200 * GWEI, max_priority_fee_wei=5 * GWEI),
    per_transaction_wei=10**18,
    per_day_wei=100 * 10**18,
    confirmations=2,
)


@dataclass
class World:
    """The tiny contract, deployed three times under the names tests use, and the keeper's parts around it."""

    provider: PoolProvider
    chain: ChainClient
    store: Store
    keeper_key: int = 1
    clock: FakeClock = field(default_factory=FakeClock)
    policy: SendPolicy = POLICY

    @property
    def web3(self) -> Web3:
        return self.chain.rpc.web3

    @property
    def signer(self) -> LocalSigner:
        return LocalSigner(Account.from_key(self.keeper_key.to_bytes(32, "big")))

    @property
    def journal(self) -> Journal:
        return Journal(self.store, CHAIN_ID, self.signer.address)

    def sender(self, policy: SendPolicy | None = None) -> Sender:
        """A sender as a new process would build it."""
        return Sender(self.chain, self.journal, self.signer, self.clock, policy or self.policy)

    def total(self, key: int) -> int:
        return int(self.chain.call(ContractCall("Counter", "total", (key,))))

    def other(self, call: ContractCall, who: int = 1) -> None:
        """Somebody else's transaction, mined at once; ``who`` is an unlocked account that is not the keeper's."""
        to, data = self.chain.encode(call)
        self.web3.eth.send_transaction({"from": self.web3.eth.accounts[who], "to": to, "data": HexBytes(data)})

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.provider.mine()


def deploy_counter(web3: Web3) -> str:
    """Deploy the tiny contract from an account that is not the keeper's."""
    code, _ = compiled()
    tx_hash = web3.eth.send_transaction({"from": web3.eth.accounts[2], "data": HexBytes(code)})
    address = web3.eth.wait_for_transaction_receipt(tx_hash)["contractAddress"]
    assert address is not None
    return address


def make_world(folder: Path, url: str | None = None) -> World:
    """A fresh chain, contract and database."""
    provider = PoolProvider(make_backend("revm", genesis_timestamp=1_700_000_000))
    rpc = Rpc.in_process(provider)
    address = deploy_counter(rpc.web3)
    _, abi = compiled()
    contracts = Contracts([Deployed("Counter", address, abi)])
    return World(
        provider, ChainClient(rpc, contracts, CHAIN_ID), open_store(url or f"sqlite:///{folder}/keeper.sqlite")
    )


class Killed(BaseException):
    """The process dies here: no handler of the keeper may catch this."""


class Fuse:
    """Kills at the n-th step; a step is the moment before or after any call to the outside world."""

    def __init__(self, after: int | None = None) -> None:
        self.left = after
        self.steps = 0

    def tick(self) -> None:
        self.steps += 1
        if self.left is not None:
            if self.left == 0:
                raise Killed
            self.left -= 1


class Guarded:
    """A port whose every call passes the fuse before and after."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.tick()
            result = value(*args, **kwargs)
            self._fuse.tick()
            return result

        return call


def mortal_sender(world: World, fuse: Fuse) -> Sender:
    """A sender that dies when the fuse burns out."""
    parts = (Guarded(part, fuse) for part in (world.chain, world.journal, world.signer))
    chain, journal, signer = parts
    return Sender(chain, journal, signer, world.clock, world.policy)  # type: ignore[arg-type]
