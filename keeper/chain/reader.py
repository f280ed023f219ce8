# SPDX-License-Identifier: Apache-2.0
"""Everything a cycle decides on, read at one block.

The block's hash is compared before and after, so that a snapshot never mixes two forks. What cannot be read is
``Unknown`` and says since when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from keeper.chain.contracts import Contracts
from keeper.chain.market import (
    blob_addresses,
    build_market,
    delta_one_ids,
    listing,
    marks_bitmap,
    page_status,
    split_prices,
    table_status,
)
from keeper.chain.multicall import Call, Multicall
from keeper.chain.rpc import Rpc
from keeper.domain import (
    AuctionState,
    Block,
    CollateralInfo,
    ContractCall,
    Listing,
    OptionInfo,
    PageStatus,
    ParameterBounds,
    ParameterStatus,
    Peg,
    Phase,
    Price,
    Snapshot,
    TableStatus,
    UnderlyingInfo,
    Unknown,
)
from keeper.errors import KeeperError, Permanent, Transient
from risk.onchain import ChainMarket

T = TypeVar("T")
CASH = (2, 0)  # kind and id of the cash token's price
UNDERLYING = 1  # kind of an underlying's parameter word
COUNTS = {
    "accounts": ContractCall("MarginAccounts", "account_count"),
    "underlyings": ContractCall("InstrumentRegistry", "underlying_count"),
    "collaterals": ContractCall("MarginAccounts", "collateral_count"),
}
STOP = 1  # length of the byte that keeps a blob from being executed


class SnapshotReader:
    """Reads snapshots; keeps immutable blobs and the times of first failures between them.

    Parameters
    ----------
    chain_id
        Goes into the snapshot.
    first_account
        Lowest account to read; 0 is the protocol's own and has no margin. ``account_count`` counts it too.
    """

    def __init__(
        self, rpc: Rpc, contracts: Contracts, multicall: Multicall, chain_id: int, first_account: int = 1
    ) -> None:
        self._rpc = rpc
        self._contracts = contracts
        self._multicall = multicall
        self._chain_id = chain_id
        self._first_account = first_account
        self._blobs: dict[str, bytes] = {}
        self._since: dict[str, int] = {}

    def snapshot(self, accounts: Sequence[int] | None = None, block: Block | None = None) -> Snapshot:
        """Read a snapshot.

        Parameters
        ----------
        accounts
            Accounts to read; None for all that exist.
        block
            Block to pin to; None for the head.

        Raises
        ------
        Transient
            The block left the chain while it was read, or the counts of accounts and markets cannot be read.
        """
        pinned = block or self._rpc.block()
        if block is not None:
            self.check_same(pinned)
        reads = Reads(self, pinned)
        snapshot = self._read(reads, accounts)
        self.check_same(pinned)
        return snapshot

    def _read(self, reads: Reads, accounts: Sequence[int] | None) -> Snapshot:
        count, underlyings, collaterals = reads.needed(*COUNTS.values())
        listed = range(self._first_account, count) if accounts is None else accounts
        reads.add_all(live_calls(underlyings, collaterals))
        reads.add_all(listing_calls(underlyings, collaterals))
        for account in listed:
            reads.add_all(account_calls(account))
        reads.run()
        words, auctions = reads.accounts(listed)
        return self.assemble(reads, underlyings, collaterals, words, auctions)

    def assemble(
        self,
        reads: Reads,
        underlyings: int,
        collaterals: int,
        accounts: Mapping[int, tuple[int, ...] | Unknown],
        auctions: Mapping[int, AuctionState | Unknown],
    ) -> Snapshot:
        """Make a snapshot of the answers to `live_calls` and `listing_calls`, and of accounts that were read."""
        u_ids, c_ids = range(underlyings), range(collaterals)
        prices = reads.get("prices", lambda words: split_prices(words, len(u_ids), len(c_ids)))
        infos = reads.all((u, f"underlying {u}", _underlying(u)) for u in u_ids)
        return Snapshot(
            chain_id=self._chain_id,
            block=reads.block,
            market=self._market(reads, prices, len(u_ids), len(c_ids)),
            accounts=accounts,
            auctions=auctions,
            prices=prices,
            parameters=self._parameters(reads),
            parameter_words=reads.all((i, f"word {i[0]} {i[1]}", int) for i in _parameter_ids(u_ids, c_ids)),
            parameter_bounds=reads.all((k, f"bounds {k}", lambda v: ParameterBounds(*v)) for k in range(3)),
            ramp_ends=reads.all((u, f"ramp {u}", int) for u in u_ids),
            table=self._table(reads, u_ids),
            underlyings=infos,
            collaterals=reads.all((c, f"collateral {c}", _collateral(c)) for c in c_ids),
            options=infos if isinstance(infos, Unknown) else self._options(reads, infos),
            delta_ones=self._listings(reads, delta_one_ids(len(u_ids))),
            peg=self._peg(reads),
            addresses=self._contracts.addresses,
        )

    def _market(
        self, reads: Reads, prices: Mapping[tuple[int, int], Price] | Unknown, u_count: int, c_count: int
    ) -> ChainMarket | Unknown:
        """Build the twin's market, or say why there is none."""
        parts: list[Any] = []
        for key in ("marks", "words", "table"):
            part: Sequence[int] | Unknown = reads.get(key, tuple)
            if isinstance(part, Unknown):
                return part
            parts.append(part)
        if isinstance(prices, Unknown):
            return prices
        marks, words, table = parts
        blobs: dict[str, bytes] = {}
        for address in blob_addresses(table):
            try:
                blobs[address] = self._blob(address, reads.block)
            except KeeperError as error:
                return self.unknown(f"blob {address}", error, reads.block)
        try:
            return build_market(reads.block.timestamp, prices, marks, words, table, blobs, u_count, c_count)
        except (ValueError, IndexError) as error:
            return self.unknown("market", Permanent(f"market words do not fit the margin rule ({error})"), reads.block)

    def _blob(self, address: str, block: Block) -> bytes:
        """Content of a data contract; immutable, so it is read once."""
        if address not in self._blobs:
            code = self._rpc.code(address, block.number)
            if len(code) <= STOP:
                raise Transient(f"data contract {address} has no code at block {block}; it will be read again")
            self._blobs[address] = code[STOP:]
        return self._blobs[address]

    def _parameters(self, reads: Reads) -> ParameterStatus | Unknown:
        max_age_s: int | Unknown = reads.get("guards", lambda v: v[0])
        if isinstance(max_age_s, Unknown):
            return max_age_s
        return reads.get("status", lambda v: ParameterStatus(*(*v, max_age_s)))

    def _peg(self, reads: Reads) -> Peg | Unknown:
        stored_bps: int | Unknown = reads.get("peg", int)
        if isinstance(stored_bps, Unknown):
            return stored_bps
        return reads.get("cash price", lambda v: Peg(*(*v, stored_bps)))

    def _table(self, reads: Reads, u_ids: range) -> TableStatus | Unknown:
        pages: dict[int, PageStatus] = {}
        for u in u_ids:
            rows: int | Unknown = reads.get(f"rows {u}", int)
            wanted: int | Unknown = reads.get(f"rows wanted {u}", int)
            last: int | Unknown = reads.get(f"last epoch {u}", int)
            if isinstance(rows, Unknown):
                return rows
            if isinstance(wanted, Unknown):
                return wanted
            if isinstance(last, Unknown):
                return last
            page = reads.get(f"page {u}", _page(u, rows, wanted, last))
            if isinstance(page, Unknown):
                return page
            pages[u] = page
        return reads.get("table", lambda words: table_status(words, pages))

    def _options(self, reads: Reads, underlyings: Mapping[int, UnderlyingInfo]) -> Mapping[int, OptionInfo] | Unknown:
        ids = [info.id << 8 | slot for info in underlyings.values() for slot in range(info.option_slots)]
        reads.add_new(_instrument_calls(ids))
        reads.run()
        found = self._listings(reads, ids)
        if isinstance(found, Unknown):
            return found
        return {i: item for i, item in found.items() if isinstance(item, OptionInfo)}

    def _listings(self, reads: Reads, ids: Iterable[int]) -> Mapping[int, Listing] | Unknown:
        """Those of the instruments that are listed."""
        found = reads.all((i, f"instrument {i}", partial(listing, i)) for i in ids)
        return found if isinstance(found, Unknown) else {i: item for i, item in found.items() if item is not None}

    def check_same(self, block: Block) -> None:
        """Make sure that a block is still of the chain.

        Raises
        ------
        Transient
            It was replaced.
        """
        now = self._rpc.block(block.number)
        if now.hash != block.hash:
            raise Transient(f"block {block} was replaced by {now} while it was read; it will be read again")

    def unknown(self, key: str, error: KeeperError, block: Block) -> Unknown:
        """Make an ``Unknown`` that remembers when this value was first unreadable."""
        return Unknown(str(error), self._since.setdefault(key, block.timestamp))

    def seen(self, key: str) -> None:
        """Forget an earlier failure of a value."""
        self._since.pop(key, None)

    def fetch(self, calls: Sequence[ContractCall], block: Block, raw: Sequence[Call] = ()) -> list[Any]:
        """Run calls at a block: for each its decoded result, or the error; for ``raw`` calls what they return."""
        encoded = [Call(*self._contracts.encode(call), f"{call}{call.args!r:.60}") for call in calls]
        answers = self._multicall.run([*encoded, *raw], block.number)
        results: list[Any] = []
        for call, answer in zip(calls, answers, strict=False):
            try:
                results.append(answer if isinstance(answer, KeeperError) else self._contracts.decode(call, answer))
            except Permanent as error:
                results.append(error)
        return [*results, *answers[len(calls) :]]


class Reads:
    """Calls of one snapshot, gathered under keys and run together.

    ``earlier`` are results of an earlier block that still hold.
    """

    def __init__(self, reader: SnapshotReader, block: Block, earlier: Mapping[str, Any] | None = None) -> None:
        self._reader = reader
        self.block = block
        self._waiting: dict[str, ContractCall] = {}
        self.results: dict[str, Any] = dict(earlier or {})

    @property
    def waiting(self) -> int:
        """Calls on the list."""
        return len(self._waiting)

    def add_all(self, calls: Mapping[str, ContractCall]) -> None:
        """Put calls on the list."""
        self._waiting.update(calls)

    def add_new(self, calls: Mapping[str, ContractCall]) -> None:
        """Put those on the list that have no result yet."""
        self.add_all({key: call for key, call in calls.items() if key not in self.results})

    def run(self, raw: Sequence[Call] = ()) -> list[Any]:
        """Run the calls on the list; returns what ``raw`` calls return."""
        if not self._waiting and not raw:
            return []
        results = self._reader.fetch(list(self._waiting.values()), self.block, raw)
        self.results.update(zip(self._waiting, results, strict=False))
        count = len(self._waiting)
        self._waiting.clear()
        return results[count:]

    def accounts(
        self, listed: Iterable[int]
    ) -> tuple[dict[int, tuple[int, ...] | Unknown], dict[int, AuctionState | Unknown]]:
        """Words and auctions of accounts for which `account_calls` ran."""
        words = {a: self.get(f"account {a}", tuple) for a in listed}
        return words, {a: self.get(f"auction {a}", auction_state) for a in listed}

    def needed(self, *calls: ContractCall) -> list[Any]:
        """Run calls without which there is no snapshot."""
        results = self._reader.fetch(calls, self.block)
        for result in results:
            if isinstance(result, KeeperError):
                raise result
        return results

    def get(self, key: str, make: Callable[[Any], T]) -> T | Unknown:
        """Return a result as ``make`` turns it out, or ``Unknown``."""
        result = self.results[key]
        if isinstance(result, KeeperError):
            return self._reader.unknown(key, result, self.block)
        self._reader.seen(key)
        try:
            return make(result)
        except (ValueError, TypeError, IndexError) as error:
            return self._reader.unknown(
                key, Permanent(f"{key} cannot be understood ({error}); update the keeper"), self.block
            )

    def all(self, items: Iterable[tuple[Any, str, Callable[[Any], T]]]) -> dict[Any, T] | Unknown:
        """Return all results by id, or the first ``Unknown``."""
        found: dict[Any, T] = {}
        for name, key, make in items:
            value = self.get(key, make)
            if isinstance(value, Unknown):
                return value
            found[name] = value
        return found


def live_calls(underlyings: int, collaterals: int) -> dict[str, ContractCall]:
    """What may differ in every block, without any event of ours."""
    u_bits, c_bits = (1 << underlyings) - 1, (1 << collaterals) - 1
    infos = {f"collateral {c}": ContractCall("MarginAccounts", "collateral_info", (c,)) for c in range(collaterals)}
    return {
        "prices": ContractCall("PriceOracle", "read", (u_bits, c_bits)),
        "marks": ContractCall("InstrumentRegistry", "marks", (marks_bitmap(underlyings),)),
        "words": ContractCall("RiskParameters", "words", (u_bits, c_bits)),
        "cash price": ContractCall("PriceOracle", "price", CASH),
        "peg": ContractCall("RiskParameters", "peg_bps"),
        "table": ContractCall("RiskTable", "read", (u_bits,)),
        "status": ContractCall("RiskParameters", "status"),
        **infos,
    }


def listing_calls(underlyings: int, collaterals: int) -> dict[str, ContractCall]:
    """What changes with events only."""
    u_ids, found = range(underlyings), {"guards": ContractCall("RiskParameters", "guards")}
    for kind in range(3):
        found[f"bounds {kind}"] = ContractCall("RiskParameters", "bounds", (kind,))
    for kind, number in _parameter_ids(u_ids, range(collaterals)):
        found[f"word {kind} {number}"] = ContractCall("RiskParameters", "word", (kind, number))
    found |= _instrument_calls(delta_one_ids(underlyings))
    for u in u_ids:
        found[f"underlying {u}"] = ContractCall("InstrumentRegistry", "underlying_info", (u,))
        found[f"ramp {u}"] = ContractCall("RiskParameters", "ramp_ends_at", (UNDERLYING, u))
        found[f"page {u}"] = ContractCall("RiskTable", "page_info", (u,))
        found[f"last epoch {u}"] = ContractCall("RiskTable", "last_epoch", (u,))
        found[f"rows {u}"] = ContractCall("RiskTable", "rows_of", (u,))
        found[f"rows wanted {u}"] = ContractCall("InstrumentRegistry", "row_count", (u,))
    return found


def account_calls(account: int) -> dict[str, ContractCall]:
    """State and auction of one account."""
    return {
        f"account {account}": ContractCall("MarginAccounts", "state", (account,)),
        f"auction {account}": ContractCall("LiquidationAuction", "auction_of", (account,)),
    }


def _instrument_calls(instruments: Iterable[int]) -> dict[str, ContractCall]:
    return {f"instrument {i}": ContractCall("InstrumentRegistry", "instrument_info", (i,)) for i in instruments}


def _parameter_ids(u_ids: range, c_ids: range) -> list[tuple[int, int]]:
    """(kind, id) of every parameter word."""
    return [(0, 0), *((1, u) for u in u_ids), *((2, c) for c in c_ids)]


def auction_state(value: Any) -> AuctionState:
    """Unpack ``LiquidationAuction.auction_of``."""
    return AuctionState(Phase(value[0]), *value[1:])


def _underlying(u: int) -> Callable[[Any], UnderlyingInfo]:
    return lambda v: UnderlyingInfo(u, v[0], v[1], v[2])


def _collateral(c: int) -> Callable[[Any], CollateralInfo]:
    return lambda v: CollateralInfo(c, v[0], v[1], v[2] - 1 if v[2] else None, v[3], v[4])


def _page(u: int, rows: int, wanted: int, last: int) -> Callable[[Any], PageStatus]:
    return lambda v: page_status(u, v, rows, wanted, last)
