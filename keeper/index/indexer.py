# SPDX-License-Identifier: Apache-2.0
"""Reads events up to the head.

The cursor holds a block's number and hash and moves in the SQL transaction that stores the events. When the chain's
block of that number has another hash, the chain has forked: the cursor goes back to the newest block that still agrees.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, select

from keeper.domain import Block, ContractCall, Event
from keeper.errors import Halt, RangeTooLarge, Transient
from keeper.index import projection
from keeper.ports import Chain
from keeper.store.engine import Store
from keeper.store.models import AccountRow, BlockRow, CursorRow

KEPT_BLOCKS = 512
LISTING_CONTRACTS = frozenset({"InstrumentRegistry", "RiskParameters", "RiskTable"})
LISTING_EVENTS = frozenset({"CollateralListed", "CollateralCapSet", "CollateralHardCapSet"})
LOSS = "LossSocialised"  # it changes what is stored of every credit


@dataclass(frozen=True, slots=True)
class Progress:
    """What one synchronisation did; ``rewound_to`` is the block the cursor fell back to, None without a fork."""

    block: Block
    events: int
    rewound_to: int | None


@dataclass(frozen=True, slots=True)
class Resync:
    """What a comparison with the contracts found: accounts only we know, and accounts only the chain knows."""

    checked: int
    invented: tuple[int, ...]
    missed: tuple[int, ...]

    @property
    def clean(self) -> bool:
        """Whether both agree."""
        return not self.invented and not self.missed


@dataclass(slots=True)
class Changes:
    """What events since the last look say has changed.

    ``accounts`` were opened or touched, also by blocks that are gone; ``listings``: what only events change may have;
    ``everything``: nothing that was read before may be relied on.
    """

    accounts: set[int] = field(default_factory=set)
    listings: bool = False
    everything: bool = False

    def take(self, events: Iterable[Event]) -> None:
        """Add what events say."""
        for event in events:
            args, where = event.args, event.contract
            self.accounts.update(projection.touched(where, event.name, args))
            self.accounts.update(projection.opened(where, event.name, args))
            self.listings |= where in LISTING_CONTRACTS or event.name in LISTING_EVENTS
            self.everything |= event.name == LOSS

    def merge(self, other: Changes) -> None:
        """Add what another one says."""
        self.accounts |= other.accounts
        self.listings |= other.listings
        self.everything |= other.everything


class Indexer:
    """The event cursor of one chain.

    Parameters
    ----------
    start_block
        Block of the deployment: events are read from here on.
    block_range
        Most blocks asked for at once; halved while the node says that is too much.
    """

    def __init__(self, chain: Chain, store: Store, *, start_block: int, block_range: int = 2_000) -> None:
        self._chain = chain
        self._store = store
        self._start = start_block
        self._range = block_range
        self._changes = Changes()
        self._left: tuple[int, bytes] | None = None

    def take_changes(self) -> Changes:
        """What the events stored since the last call say has changed."""
        taken, self._changes = self._changes, Changes()
        return taken

    def sync(self, head: Block | None = None) -> Progress:
        """Read everything up to the head.

        Raises
        ------
        Transient
            The node did not answer, or the chain forked while it was read; what was stored stays.
        Halt
            The fork is deeper than the blocks that are kept.
        """
        target = head or self._chain.block()
        cursor = self.cursor()
        if cursor != self._left:  # another process has read on: what it stored said nothing to this one
            self._changes.everything = True
        try:
            return self._sync(cursor, target)
        finally:
            self._left = self.cursor()

    def _sync(self, cursor: tuple[int, bytes] | None, target: Block) -> Progress:
        if cursor == (target.number, target.hash):
            return Progress(target, 0, None)
        if cursor == (target.number - 1, target.parent_hash):
            return Progress(target, self._write(cursor, target, self._chain.events_of(target)), None)
        rewound_to = self._rewind_if_forked()
        cursor = self.cursor()
        first = self._start if cursor is None else cursor[0] + 1
        count = 0
        for last, events in self._ranges(first, target.number):
            count += self._store_step(cursor, last, events)
            cursor = (last.number, last.hash)
        return Progress(target, count, rewound_to)

    def cursor(self) -> tuple[int, bytes] | None:
        """Number and hash of the last block whose events are stored."""
        with self._store.session() as session:
            row = session.get(CursorRow, self._chain.chain_id)
            return None if row is None else (row.number, row.hash)

    def accounts(self, changed_since: int = 0) -> list[int]:
        """Accounts that exist, those with a change at or after a block."""
        with self._store.session() as session:
            query = select(AccountRow.account).where(
                AccountRow.chain_id == self._chain.chain_id, AccountRow.changed_block >= changed_since
            )
            return sorted(session.scalars(query))

    def resync(self, block: Block) -> Resync:
        """Compare the accounts with ``account_count`` and ``owner_of`` of the contract at the cursor's block.

        Raises
        ------
        Transient
            The cursor is elsewhere, or the contracts cannot be read.
        """
        cursor = self.cursor()
        if cursor != (block.number, block.hash):
            raise Transient(f"events are read up to {cursor and cursor[0]}, not to block {block}; synchronise first")
        count = int(self._chain.call(ContractCall("MarginAccounts", "account_count"), block))
        on_chain = set(range(1, count))  # account 0 is the protocol's own and never opened
        with self._store.session() as session:
            rows = session.scalars(select(AccountRow).where(AccountRow.chain_id == self._chain.chain_id)).all()
            ours = {row.account: row.owner for row in rows}
        both = sorted(on_chain & set(ours))
        owners = self._chain.call_many([ContractCall("MarginAccounts", "owner_of", (a,)) for a in both], block)
        wrong = set()
        for account, owner in zip(both, owners, strict=True):
            if isinstance(owner, Exception):
                raise owner
            if str(owner).lower() != ours[account].lower():
                wrong.add(account)
        return Resync(
            len(both), tuple(sorted(set(ours) - on_chain | wrong)), tuple(sorted(on_chain - set(ours) | wrong))
        )

    def rebuild(self) -> None:
        """Forget everything and start again at the deployment's block with the next `sync`."""
        with self._store.session() as session:
            projection.forget(session, self._chain.chain_id)
        self._changes.everything = True

    def _ranges(self, first: int, last: int) -> Iterator[tuple[Block, Sequence[Event]]]:
        """Yield (last block, events) of each span; it shrinks on range errors only and grows again after success."""
        span = self._range
        while first <= last:
            end = min(first + span - 1, last)
            try:
                before = self._chain.block(end)
                events = self._chain.events(first, end)
            except RangeTooLarge:
                if span == 1:
                    raise
                span = max(1, min(span, end - first + 1) // 2)
                continue
            self._same_chain(before, events)
            yield before, events
            first, span = end + 1, min(span * 2, self._range)

    def _same_chain(self, last: Block, events: Sequence[Event]) -> None:
        """Refuse events that were read while the chain changed."""
        now = self._chain.block(last.number)
        strangers = [e for e in events if e.block_number == last.number and e.block_hash != last.hash]
        if now.hash != last.hash or strangers:
            raise Transient(f"block {last} was replaced while its events were read; they will be read again")

    def _store_step(self, cursor: tuple[int, bytes] | None, last: Block, events: Sequence[Event]) -> int:
        """Store a span of events; ``cursor`` is where it begins."""
        if cursor is not None and self._chain.block(cursor[0]).hash != cursor[1]:
            raise Transient(f"block {cursor[0]} was replaced while later events were read; the cursor will go back")
        return self._write(cursor, last, events)

    def _write(self, cursor: tuple[int, bytes] | None, last: Block, events: Sequence[Event]) -> int:
        chain_id = self._chain.chain_id
        with self._store.session() as session:
            row = session.get(CursorRow, chain_id)
            if cursor != (row and (row.number, row.hash)):
                raise Transient(f"another process reads events of chain {chain_id} too; the cursor is read again")
            count = projection.store_events(session, chain_id, events)
            session.merge(BlockRow(chain_id=chain_id, number=last.number, hash=last.hash, timestamp=last.timestamp))
            session.merge(CursorRow(chain_id=chain_id, number=last.number, hash=last.hash))
            old = select(BlockRow.number).where(BlockRow.chain_id == chain_id).order_by(BlockRow.number.desc())
            oldest = session.scalars(old.offset(KEPT_BLOCKS).limit(1)).one_or_none()
            if oldest is not None:
                session.execute(delete(BlockRow).where(BlockRow.chain_id == chain_id, BlockRow.number <= oldest))
        self._changes.take(events)
        return count

    def _rewind_if_forked(self) -> int | None:
        """Go back to the newest kept block that the chain still has; returns it, None when the cursor stands."""
        cursor = self.cursor()
        if cursor is None or self._has(*cursor):
            return None
        chain_id = self._chain.chain_id
        with self._store.session() as session:
            kept = session.scalars(
                select(BlockRow).where(BlockRow.chain_id == chain_id).order_by(BlockRow.number.desc())
            ).all()
        common = next((row for row in kept if self._has(row.number, row.hash)), None)
        if common is None and len(kept) > KEPT_BLOCKS - 1:
            raise Halt(
                f"chain {chain_id} forked below block {kept[-1].number}, deeper than the {KEPT_BLOCKS} blocks kept; "
                "rebuild the index after checking the endpoint"
            )
        with self._store.session() as session:
            if common is None:
                projection.forget(session, chain_id)
                self._changes.everything = True
                return self._start
            self._changes.accounts |= projection.undone(session, chain_id, common.number)
            self._changes.listings = True
            projection.rewind(session, chain_id, common.number)
            session.merge(CursorRow(chain_id=chain_id, number=common.number, hash=common.hash))
            return common.number

    def _has(self, number: int, block_hash: bytes) -> bool:
        """Whether the chain's block of a number has this hash; a head below the number means no."""
        if number > self._chain.block().number:
            return False
        return self._chain.block(number).hash == block_hash
