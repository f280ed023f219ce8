# SPDX-License-Identifier: Apache-2.0
"""An anvil that mines when told to, the tiny contract on it, and the keeper's sender over SQLite beside it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hexbytes import HexBytes
from web3 import HTTPProvider, Web3
from web3.types import RPCEndpoint

from keeper.app import SystemClock
from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts, Deployed
from keeper.chain.rpc import Rpc
from keeper.domain import ContractCall
from keeper.outbox import SenderOutbox
from keeper.ports import Clock
from keeper.store import Store, open_store
from keeper.tx.fees import FeeCaps
from keeper.tx.journal import Journal
from keeper.tx.sender import Sender, SendPolicy
from keeper.tx.signer import LocalSigner
from tests.node.conftest import FIRST_KEY, find_anvil, start_anvil
from tests.support.counter_world import GWEI, compiled, deploy_counter

CHAIN_ID = 31_337
POLICY = SendPolicy(
    fees=FeeCaps(max_fee_wei=2_000 * GWEI, max_priority_fee_wei=5 * GWEI),
    per_transaction_wei=10**18,
    per_day_wei=10**22,
    confirmations=2,
    failures_in_a_row=10**6,
    max_tries=10**6,
    bump_after_s=1,
)


@dataclass
class Parts:
    """What a keeper's process builds at its start, as far as sending goes."""

    store: Store
    chain: ChainClient
    journal: Journal
    sender: Sender
    outbox: SenderOutbox


@dataclass
class Bench:
    """The market's side: node, contract, and the path of the keeper's database."""

    url: str
    contract: str
    database: Path

    @cached_property
    def web3(self) -> Web3:
        return Web3(HTTPProvider(self.url, exception_retry_configuration=None))

    @property
    def signer(self) -> LocalSigner:
        return LocalSigner.from_key(FIRST_KEY, "anvil's first account")

    def ask(self, method: str, *params: Any) -> Any:
        return self.web3.manager.request_blocking(RPCEndpoint(method), list(params))

    def mine(self, blocks: int = 1) -> None:
        self.ask("anvil_mine", hex(blocks))

    def other(self, call: ContractCall) -> None:
        """Somebody else's transaction, in a block at once."""
        to, data = self.contracts.encode(call)
        accounts = self.web3.eth.accounts
        self.web3.eth.send_transaction({"from": accounts[1], "to": to, "data": HexBytes(data), "gas": 300_000})  # type: ignore[typeddict-item]
        self.mine()

    @property
    def contracts(self) -> Contracts:
        _, abi = compiled()
        return Contracts([Deployed("Counter", self.contract, abi)])

    def parts(
        self,
        *,
        migrate: bool = True,
        policy: SendPolicy = POLICY,
        clock: Clock | None = None,
        signer: LocalSigner | None = None,
        url: str | None = None,
    ) -> Parts:
        """What a new process builds."""
        key, time = signer or self.signer, clock or SystemClock()
        store = open_store(f"sqlite:///{self.database}", migrate=migrate)
        chain = ChainClient(Rpc.connect([url or self.url]), self.contracts, CHAIN_ID)
        journal = Journal(store, CHAIN_ID, key.address)
        sender = Sender(chain, journal, key, time, policy)
        return Parts(store, chain, journal, sender, SenderOutbox(sender, journal, None))

    def total(self, key: int) -> int:
        to, data = self.contracts.encode(ContractCall("Counter", "total", (key,)))
        return int.from_bytes(self.web3.eth.call({"to": to, "data": HexBytes(data)}), "big")  # type: ignore[typeddict-item]

    def states(self) -> dict[int, str]:
        """State of each action in the journal."""
        return dict(self.rows("select cast(subject as integer), state from intents where kind = 'bump'"))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the keeper's database, as another program reads them."""
        with closing(sqlite3.connect(self.database, timeout=30)) as db:
            try:
                return db.execute(query).fetchall()
            except sqlite3.OperationalError:  # the first process has not made the tables yet
                return []

    def audit(self, keys: list[int]) -> list[str]:
        """Every rule of the journal that does not hold now that all is quiet."""
        wrong = [f"action {key} was done {n} times" for key in keys if (n := self.total(key)) != 1]
        states = self.states()
        wrong += [f"action {k} is {states.get(k)} in the journal" for k in keys if states.get(k) != "final"]
        wrong += [f"intent {row} is open" for row in self.rows(OPEN)]
        chain = self.mined()
        journal = {bytes(row[0]): int(row[1]) for row in self.rows(MINED)}
        wrong += [f"transaction 0x{h.hex()} is on chain but not mined in the journal" for h in chain - set(journal)]
        wrong += [f"transaction 0x{h.hex()} is mined in the journal but not on chain" for h in set(journal) - chain]
        done = Counter(row[0] for row in self.rows(GOOD))
        wrong += [f"intent {intent} succeeded {count} times" for intent, count in done.items() if count > 1]
        if len(chain) != self.web3.eth.get_transaction_count(self.signer.address):
            wrong.append("the key's nonce does not match its transactions in blocks")
        return wrong

    def mined(self) -> set[bytes]:
        """Hashes of the key's transactions in the chain's present blocks."""
        found: set[bytes] = set()
        for number in range(self.web3.eth.block_number + 1):
            for item in self.web3.eth.get_block(number, full_transactions=True)["transactions"]:
                if not isinstance(item, bytes) and item["from"] == self.signer.address:
                    found.add(bytes(item["hash"]))
        return found


OPEN = "select id, state from intents where state in ('intent', 'signed', 'sent', 'mined')"
MINED = "select hash, intent_id from transactions where mined_at is not null"
GOOD = "select intent_id from transactions where mined_at is not null and succeeded and not cancels"


@contextmanager
def bench(folder: Path, name: str = "keeper") -> Iterator[Bench]:
    """A fresh node and contract; blocks come only from `Bench.mine`."""
    binary = find_anvil()
    if binary is None:
        raise SystemExit("no anvil: run `make node` (needs npm) or set ANVIL to the binary")
    for node in start_anvil(binary, folder / f"{name}-anvil.log", "--order", "fifo"):
        address = deploy_counter(node.web3)
        made = Bench(node.url, address, folder / f"{name}.sqlite")
        made.ask("evm_setAutomine", False)
        yield made
