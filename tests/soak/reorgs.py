# SPDX-License-Identifier: Apache-2.0
"""Forks of depth 1 to 32 at random: the projection equals a fresh sync, every action is done once.

Between forks a market opens accounts and pays in, and the shipped sender carries actions out. A fork drops the last
blocks with all that was in them, as long as before, shorter or longer. After each the indexer that has lived through
all of them is compared, row by row, with one that reads the chain for the first time.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from sqlalchemy import select

from keeper.act import Result, execute
from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts, Deployed
from keeper.chain.rpc import Rpc
from keeper.domain import ContractCall
from keeper.errors import Permanent, Transient
from keeper.index.indexer import Indexer
from keeper.store import Store, open_store
from keeper.store.models import AccountRow, EventRow
from tests.soak.bench import CHAIN_ID, Bench, Parts, bench
from tests.soak.outcome import Outcome
from tests.support.counter_world import Bump, compiled

COUNT = 300
DEEPEST = 32
OWNER = "0x{:040x}"
QUIET_BLOCKS = 4
EPISODE = 50


def contents(store: Store) -> tuple[list[Any], list[Any]]:
    """Everything an index knows."""
    with store.session() as session:
        events = session.scalars(select(EventRow).order_by(EventRow.block_number, EventRow.log_index)).all()
        accounts = session.scalars(select(AccountRow).order_by(AccountRow.account)).all()
        return (
            [(e.block_number, e.block_hash, e.log_index, e.tx_hash, e.contract, e.name, e.args) for e in events],
            [(a.account, a.owner, a.opened_block, a.changed_block) for a in accounts],
        )


@dataclass
class Forks:
    """A market on a chain that keeps changing its mind."""

    desk: Bench
    dice: random.Random
    parts: Parts
    market: ChainClient
    index: Indexer
    keys: list[int] = field(default_factory=list)
    owed: list[int] = field(default_factory=list)
    depths: Counter[int] = field(default_factory=Counter)
    dropped: int = 0
    compared: int = 0
    events: int = 0
    violations: list[str] = field(default_factory=list)

    def activity(self) -> None:
        """What people and the keeper do between two forks."""
        for _ in range(self.dice.randrange(2, 7)):
            chance = self.dice.random()
            if chance < 0.4:
                owner = OWNER.format(self.dice.randrange(1, 2**64))
                self.people(ContractCall("MarginAccounts", "open_account", (owner,)))
            elif chance < 0.7:
                self.people(ContractCall("MarginAccounts", "deposit", (self.dice.randrange(1, 9), 7)))
            else:
                self.owed.append(len(self.keys))
                self.keys.append(len(self.keys))
            self.keeper()
            self.desk.mine(self.dice.choice((1, 1, 1, 2, 3)))
            if self.dice.random() < 0.5:
                self.read()

    def people(self, call: ContractCall) -> None:
        """A transaction of somebody's, which nobody sends again after a fork."""
        _, data = self.market.encode(call)
        eth = self.desk.web3.eth
        nonce = eth.get_transaction_count(eth.accounts[1])
        eth.send_transaction(
            {"from": eth.accounts[1], "to": self.desk.contract, "data": data, "gas": 300_000, "nonce": nonce}  # type: ignore[typeddict-item]
        )

    def keeper(self) -> None:
        """A cycle: follow up, and ask for all that is not done, as a decision on the chain's state does."""
        self.parts.outbox.reconcile()
        for key in list(self.owed):
            result = execute(self.parts.chain, self.parts.outbox, Bump(key)).result
            if result is Result.KNOWN:
                self.owed.remove(key)
            elif result is Result.FAILED:
                break  # no room now: the others would meet the same

    def read(self) -> None:
        """Bring the index to the head; a fork under way is read again."""
        for _ in range(5):
            try:
                self.index.sync()
                return
            except Transient:
                continue
        self.violations.append("the index could not follow the chain")

    def fork(self) -> None:
        """Drop the last blocks; the new branch is as long, shorter or longer."""
        head = self.desk.web3.eth.block_number
        depth = self.dice.randint(1, min(self.dice.choice((4, 8, DEEPEST)), head - 1))
        before = self.desk.mined()
        kind = self.dice.random()
        if kind < 0.6:
            self.desk.ask("anvil_reorg", depth, [])
            self.desk.ask("anvil_dropAllTransactions")
        else:
            self.desk.ask("anvil_rollback", depth)
            self.desk.ask("anvil_dropAllTransactions")
            self.desk.mine(self.dice.randint(1, depth + 3))
        if not self.desk.web3.eth.get_code(self.desk.contract):
            raise Permanent(f"the node lost the state of block {head - depth}; run fewer forks on one chain")
        self.depths[depth] += 1
        self.dropped += len(before - self.desk.mined())

    def compare(self) -> None:
        """The index that lived through it all, and one that reads for the first time."""
        self.read()
        fresh = open_store("sqlite://")
        Indexer(self.market, fresh, start_block=0).sync()
        if contents(self.parts.store) != contents(fresh):
            self.violations.append(f"the projection differs from a fresh sync after fork {sum(self.depths.values())}")
        fresh.close()
        self.compared += 1
        self.events += len(contents(self.parts.store)[0])

    def finish(self) -> None:
        """Let everything come to rest."""
        for _ in range(60):
            self.keeper()
            self.desk.mine(QUIET_BLOCKS)
            self.parts.outbox.reconcile()
            if not self.owed and not self.parts.journal.open_intents():
                return


def run(count: int, seed: int) -> Outcome:
    """Fork ``count`` times, on a new chain every `EPISODE` forks: the node forgets the states of old blocks."""
    began, wrong = time.monotonic(), list[str]()
    total: Counter[str] = Counter()
    depths: Counter[int] = Counter()
    console = Console(stderr=True)
    for first in track(range(0, count, EPISODE), "chains", console=console):
        forks, figures = episode(min(EPISODE, count - first), seed + first)
        depths += forks.depths
        total.update(figures)
        wrong += [f"chain {first // EPISODE}: {text}" for text in forks.violations]
    figures_of_all = {
        "forks": count, "seed": seed, "deepest": max(depths),
        "mean_depth": round(sum(d * n for d, n in depths.items()) / count, 1), **total,
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
    return Outcome(figures_of_all, wrong)


def episode(count: int, seed: int) -> tuple[Forks, dict[str, int]]:
    """Some forks on one chain."""
    with tempfile.TemporaryDirectory() as name, bench(Path(name)) as desk:
        parts = desk.parts()
        contracts = Contracts([Deployed("MarginAccounts", desk.contract, compiled()[1])])
        market = ChainClient(Rpc.connect([desk.url]), contracts, CHAIN_ID)
        forks = Forks(desk, random.Random(seed), parts, market, Indexer(market, parts.store, start_block=0))
        desk.mine(DEEPEST)
        for _ in range(count):
            forks.activity()
            forks.fork()
            forks.keeper()
            forks.compare()
        forks.finish()
        forks.compare()
        forks.violations += desk.audit(forks.keys)
        events, accounts = contents(parts.store)
        figures = {
            "compared_with_fresh_sync": forks.compared, "actions": len(forks.keys),
            "keeper_transactions_dropped": forks.dropped, "events_compared": forks.events, "events": len(events),
            "accounts": len(accounts), "blocks": desk.web3.eth.block_number,
        }  # fmt: skip
        parts.store.close()
        return forks, figures
