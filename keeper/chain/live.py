# SPDX-License-Identifier: Apache-2.0
"""Snapshots for a daemon: what moves by itself is read in every block, everything else when an event says so.

One block ahead of the last and without events, a snapshot costs three requests: the head, its logs, and one batch with
the market, a few accounts drawn by the block's hash to check the ledger by, and the engine's own assessment of the
accounts that will be compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import structlog
from web3 import Web3

from keeper.assess import ParityPolicy, draw
from keeper.chain.bulk import read_accounts
from keeper.chain.client import ChainClient
from keeper.chain.multicall import WORD, Call
from keeper.chain.reader import COUNTS, Reads, account_calls, listing_calls, live_calls
from keeper.domain import AuctionState, Block, ContractCall, Phase, Snapshot, Unknown
from keeper.errors import KeeperError, Transient
from keeper.index.indexer import Changes, Indexer
from keeper.ledger import Ledger
from risk.onchain_cash import Indices, cap_use_bps

Progress = Callable[[int, int], None]

TOTALS = ContractCall("MarginAccounts", "cash_totals")
LIMITS = ContractCall("RiskTable", "limits")
PARENT_HASH, TIMESTAMP = (
    bytes(Web3.keccak(text=text)[:4]) for text in ("getBlockHash(uint256)", "getCurrentBlockTimestamp()")
)
IN_BULK = 512  # accounts from which they are read in parts, side by side
PART = 1_024
CHECKED = 4  # accounts drawn in each block to compare with the ledger
PRICE_AND_STATE = 2**136 - 1
LISTINGS_EVERY = 600  # snapshots after which what only events change is read again


class LiveReader:
    """Reads snapshots of the head from what is known and what has changed.

    Parameters
    ----------
    chain, indexer
        Where to read, and what tells of changes.
    parity
        Which accounts a cycle compares with the engine: their answers are asked for together with the market.
    workers
        Requests at a time while a large book is read.
    progress
        Told how many accounts of how many are read, while a large book is read.
    """

    def __init__(
        self,
        chain: ChainClient,
        indexer: Indexer,
        parity: ParityPolicy | None = None,
        *,
        workers: int = 4,
        progress: Progress | None = None,
    ) -> None:
        self._chain = chain
        self._indexer = indexer
        self._parity = parity or ParityPolicy()
        self._workers = workers
        self.progress = progress
        self.ledger = Ledger()
        self._auctions: dict[int, AuctionState | Unknown] = {}
        self._listings: dict[str, Any] = {}
        self._listings_age = 0
        self._counts: tuple[int, int, int] | None = None
        self._due = Changes()
        self._near: tuple[int, ...] = ()
        self._asked_ahead: frozenset[int] = frozenset()
        self._moved_before: object = None
        self.fresh: frozenset[int] = frozenset()
        self.quiet = False
        self.surprises = 0

    def snapshot(self) -> Snapshot:
        """Read the head.

        Raises
        ------
        Transient
            The node did not answer, or the chain forked meanwhile; what was read of it stays.
        Halt
            The fork is deeper than the index goes back.
        """
        block = self._indexer.sync().block
        self._due.merge(self._indexer.take_changes())
        if self._due.everything:
            self._forget()
        self._listings_age += 1
        if self._due.listings or self._listings_age >= LISTINGS_EVERY:
            self._listings, self._listings_age, self._counts = {}, 0, None
        return self._assemble(self._read(block))

    def affordable(self, accounts: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the accounts to compare with the engine that are worth a request: where nothing moved, none more."""
        return tuple(a for a in accounts if a in self._asked_ahead) if self.quiet else accounts

    def look_near(self, accounts: Iterable[int]) -> None:
        """Name the accounts nearest to the line, nearest first: the next batch asks the engine about them."""
        self._near = tuple(accounts)

    def distrust(self, accounts: Iterable[int]) -> None:
        """Read these accounts again in the next snapshot."""
        self._due.accounts.update(accounts)

    def _forget(self) -> None:
        self.ledger.forget()
        self._auctions, self._listings, self._counts = {}, {}, None

    def _read(self, block: Block) -> Reads:
        """Read all that is due at a block into the ledger; returns the answers about the market."""
        asked = self._chain.multicall.requests
        reads = Reads(self._chain.reader, block, self._listings)
        if self._counts is None:
            counts = reads.needed(*COUNTS.values())
            self._counts = (counts[0], counts[1], counts[2])
        count, underlyings, collaterals = self._counts
        due = {account for account in self._due.accounts | self.ledger.doubtful if account}
        due.update(self._missing(count))
        if len(due) > IN_BULK:
            self._read_in_bulk(block, sorted(due))
            due = set()
        reads.add_all(live_calls(underlyings, collaterals) | {f"count {name}": call for name, call in COUNTS.items()})
        reads.add_all({"totals": TOTALS, "limits": LIMITS})
        reads.add_new(listing_calls(underlyings, collaterals))
        sample = draw(range(1, count), min(CHECKED, count - 1), block.hash)
        read = sorted({*due, *sample, *self._running()})
        for account in read:
            reads.add_all(account_calls(account))
        ahead = self._ahead(count, block, reads.waiting)
        reads.add_all({f"assess {call.args[0]}": call for call in ahead})
        self._run(reads, block, asked)
        self._take(reads, read, due, ahead)
        return reads

    def _missing(self, count: int) -> list[int]:
        """Accounts below a count that the ledger has never seen."""
        if self.ledger.size >= count - 1:
            return []
        return [account for account in range(1, count) if not self.ledger.has(account)]

    def _ahead(self, count: int, block: Block, waiting: int) -> list[ContractCall]:
        """What the cycle will ask of the engine, as far as the batch has room: a sample, and accounts near the line."""
        if self._chain.multicall.address is None or count < 2:
            return []
        room = max(0, self._chain.multicall.batch - waiting - len(("parent", "time")))
        drawn = draw(range(1, count), min(self._parity.sample, count - 1), block.hash)
        chosen = list(dict.fromkeys((*drawn, *self._near[: self._parity.near_limit])))[:room]
        self._asked_ahead = frozenset(chosen)
        return [ContractCall("MarginEngine", "assess", (account,)) for account in chosen]

    def _run(self, reads: Reads, block: Block, asked: int) -> None:
        """Run the batch; where it was one request that says itself what it read, the block needs no second look."""
        address = self._chain.multicall.address
        identity = [] if address is None else _identity(address, block)
        said = reads.run(identity)
        single = self._chain.multicall.requests == asked + 1
        proven = [block.parent_hash, block.timestamp.to_bytes(WORD, "big")]
        if not single or said != proven:
            self._chain.reader.check_same(block)

    def _take(self, reads: Reads, read: list[int], due: set[int], ahead: list[ContractCall]) -> None:
        """Put what was read into the ledger and keep what the cycle will ask for."""
        words, auctions = reads.accounts(read)
        moved = self.ledger.put(words, self._indices(reads))
        self._put_auctions(auctions)
        surprised = [account for account in moved if account not in due and not isinstance(words[account], Unknown)]
        moving = self._moving(reads)
        self.quiet = not moved and not self._due.accounts and moving == self._moved_before
        self._moved_before = moving
        self.fresh = frozenset(moved)
        self._due = Changes()
        if surprised:
            self.surprises += len(surprised)
            structlog.get_logger("live").warning(
                "accounts changed without an event; every account will be read again", accounts=surprised
            )
            self._due.everything = True
        kept = {call: reads.results[f"assess {call.args[0]}"] for call in ahead}
        self._chain.remember({**kept, LIMITS: reads.results["limits"]}, reads.block)
        wanted = listing_calls(*self._counts[1:]) if self._counts else {}
        self._listings = {
            key: value
            for key, value in reads.results.items()
            if (key in wanted or key.startswith("instrument ")) and not isinstance(value, KeeperError)
        }

    def _moving(self, reads: Reads) -> object:
        """Prices, parameters in force and tables: what moves the margin of everybody."""
        prices, words, table = (reads.results[key] for key in ("prices", "words", "table"))
        if isinstance(prices, KeeperError):
            return None
        return [word & PRICE_AND_STATE for word in prices], words, table

    def _indices(self, reads: Reads) -> Indices:
        totals = reads.results["totals"]
        if isinstance(totals, KeeperError):
            raise totals
        return Indices(totals[2], totals[3])

    def _put_auctions(self, auctions: Mapping[int, AuctionState | Unknown]) -> None:
        for account, auction in auctions.items():
            if isinstance(auction, Unknown) or auction.phase != Phase.NONE or auction.epoch:
                self._auctions[account] = auction
            else:
                self._auctions.pop(account, None)

    def _running(self) -> list[int]:
        """Accounts whose auction runs, or is not known: what counts time there tells no event."""
        return [
            a for a, auction in self._auctions.items() if isinstance(auction, Unknown) or auction.phase != Phase.NONE
        ]

    def _read_in_bulk(self, block: Block, accounts: list[int]) -> None:
        """Read many accounts in parts, several at a time; parts that were read stay read when a later one fails."""
        (totals,) = self._chain.call_many([TOTALS], block)
        if isinstance(totals, KeeperError):
            raise totals
        then, parts = Indices(totals[2], totals[3]), [accounts[k : k + PART] for k in range(0, len(accounts), PART)]
        done = 0
        with ThreadPoolExecutor(self._workers) as pool:
            for words, auctions in pool.map(lambda part: read_accounts(self._chain, part, block), parts):
                self.ledger.put(words, then)
                self._put_auctions(auctions)
                self._due.accounts.difference_update(words)
                done += len(words)
                if self.progress is not None:
                    self.progress(done, len(accounts))
        self._chain.reader.check_same(block)

    def _assemble(self, reads: Reads) -> Snapshot:
        counts = tuple(reads.results[f"count {name}"] for name in COUNTS)
        for answer in counts:
            if isinstance(answer, KeeperError):
                raise answer
        count, underlyings, collaterals = counts
        if self._counts is None or counts[1:] != self._counts[1:]:
            self._counts = None
            raise Transient(f"underlyings or collateral were listed in block {reads.block}; it will be read again")
        self._counts = (count, underlyings, collaterals)
        self.ledger.drop_from(count)
        missing = self._missing(count)
        if missing:
            self._read_in_bulk(reads.block, missing)
        now, use = self._indices(reads), _uses(reads, collaterals)
        book = self.ledger.book(now, use, underlyings, collaterals, reads.block.timestamp)
        accounts = replace(book, fresh=self.fresh)
        auctions = {a: state for a, state in self._auctions.items() if a < count}
        snapshot = self._chain.reader.assemble(reads, underlyings, collaterals, accounts, auctions)
        self._listings.update({k: v for k, v in reads.results.items() if k.startswith("instrument ")})
        return snapshot


def _identity(address: str, block: Block) -> list[Call]:
    """Calls by which a batch says which block it was run at."""
    parent = PARENT_HASH + (block.number - 1).to_bytes(WORD, "big") if block.number else PARENT_HASH + bytes(WORD)
    return [Call(address, parent, "hash of the parent block"), Call(address, TIMESTAMP, "time of the block")]


def _uses(reads: Reads, collaterals: int) -> dict[int, int]:
    """Use of each deposit cap, bps."""
    infos = {c: reads.results[f"collateral {c}"] for c in range(collaterals)}
    return {c: cap_use_bps(info[4], info[3]) for c, info in infos.items() if not isinstance(info, KeeperError)}
