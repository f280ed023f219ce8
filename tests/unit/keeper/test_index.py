# SPDX-License-Identifier: Apache-2.0
"""The event cursor: forks, restarts, range limits, and comparison with the contract."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from web3.types import RPCEndpoint

from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts, Deployed
from keeper.domain import Block, ContractCall, Event
from keeper.errors import RangeTooLarge, Transient
from keeper.index.indexer import Indexer
from keeper.index.projection import rebuild, storable, store_events
from keeper.index.proposals import QueuedProposal, queued_proposals
from keeper.store.models import AccountRow, CursorRow, EventRow
from tests.support.counter_world import CHAIN_ID, World, make_world

OWNERS = ["0x" + f"{k:040x}" for k in range(0xA0, 0xB0)]


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    built = make_world(tmp_path, database_url)
    deployed = built.chain.contracts.get("Counter")
    contracts = Contracts([Deployed("MarginAccounts", deployed.address, deployed.abi)])
    built.chain = ChainClient(built.chain.rpc, contracts, CHAIN_ID)
    yield built
    built.store.close()


def indexer(world: World, chain: Any = None, block_range: int = 2_000) -> Indexer:
    return Indexer(chain or world.chain, world.store, start_block=0, block_range=block_range)


def open_account(world: World, k: int) -> None:
    world.other(ContractCall("MarginAccounts", "open_account", (OWNERS[k],)))


def deposit(world: World, account: int, amount: int = 1) -> None:
    world.other(ContractCall("MarginAccounts", "deposit", (account, amount)))


def contents(world: World) -> tuple[list[Any], list[Any]]:
    """Everything the index knows, to compare two indexes."""
    with world.store.session() as session:
        events = session.scalars(select(EventRow).order_by(EventRow.block_number, EventRow.log_index)).all()
        accounts = session.scalars(select(AccountRow).order_by(AccountRow.account)).all()
        return (
            [(e.block_number, e.block_hash, e.log_index, e.name, e.args) for e in events],
            [(a.account, a.owner, a.opened_block, a.changed_block) for a in accounts],
        )


def test_accounts_and_when_they_changed(world: World) -> None:
    open_account(world, 0)
    open_account(world, 1)
    deposit(world, 1, 2**200)
    head = world.chain.block()
    progress = indexer(world).sync()
    assert (progress.block, progress.events, progress.rewound_to) == (head, 3, None)
    assert indexer(world).accounts() == [1, 2]
    assert indexer(world).accounts(changed_since=head.number) == [1]
    assert indexer(world).cursor() == (head.number, head.hash)
    events, _ = contents(world)
    assert events[2][4]["amount_raw"] == str(2**200)


def test_nothing_new_asks_the_node_once(world: World) -> None:
    indexer(world).sync()
    world.provider.asked.clear()
    assert indexer(world).sync().events == 0
    assert world.provider.asked == ["eth_getBlockByNumber"]


def test_a_restart_reads_only_what_is_new(world: World) -> None:
    open_account(world, 0)
    indexer(world).sync()
    open_account(world, 1)
    assert indexer(world).sync().events == 1
    assert indexer(world).accounts() == [1, 2]


class Limited:
    """A chain that refuses long ranges, as providers do, each with its own limit."""

    def __init__(self, inner: ChainClient, limit: int) -> None:
        self._inner = inner
        self.limit = limit
        self.spans: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def events(self, first: int, last: int) -> Sequence[Event]:
        self.spans.append(last - first + 1)
        if last - first + 1 > self.limit:
            raise RangeTooLarge("eth_getLogs: block range too large")
        return self._inner.events(first, last)


def test_ranges_are_split_on_range_errors_and_nothing_is_skipped(world: World) -> None:
    for k in range(8):
        open_account(world, k)
        deposit(world, k + 1)
    limited = Limited(world.chain, 3)
    progress = indexer(world, limited, block_range=16).sync()
    assert progress.events == 16
    assert limited.spans[:3] == [16, 8, 4]
    assert max(span for span in limited.spans if span <= 3) <= 3
    assert indexer(world).accounts() == list(range(1, 9))


def test_a_limit_below_one_block_is_an_error_not_a_gap(world: World) -> None:
    open_account(world, 0)
    with pytest.raises(RangeTooLarge):
        indexer(world, Limited(world.chain, 0)).sync()
    assert indexer(world).cursor() is None


class Flaky(Limited):
    """A chain whose n-th log request fails for a passing reason."""

    def events(self, first: int, last: int) -> Sequence[Event]:
        self.spans.append(last - first + 1)
        if len(self.spans) == self.limit:
            raise Transient("eth_getLogs was rate-limited")
        return self._inner.events(first, last)


def test_other_errors_do_not_split_and_the_cursor_stays_behind_what_is_stored(world: World) -> None:
    for k in range(6):
        open_account(world, k)
    flaky = Flaky(world.chain, 3)
    with pytest.raises(Transient, match="rate-limited"):
        indexer(world, flaky, block_range=2).sync()
    assert flaky.spans == [2, 2, 2]
    cursor = indexer(world).cursor()
    assert cursor is not None
    assert cursor[0] == 3
    indexer(world).sync()
    assert indexer(world).accounts() == list(range(1, 7))


def snapshot(world: World) -> Any:
    return world.web3.manager.request_blocking(RPCEndpoint("evm_snapshot"), [])


def fork_back_to(world: World, mark: Any) -> None:
    world.web3.manager.request_blocking(RPCEndpoint("evm_revert"), [mark])


def test_a_fork_rewinds_to_the_last_common_block(world: World) -> None:
    open_account(world, 0)
    indexer(world).sync()
    common = world.chain.block().number
    mark = snapshot(world)
    open_account(world, 1)
    indexer(world).sync()
    deposit(world, 1)
    indexer(world).sync()
    fork_back_to(world, mark)
    open_account(world, 2)
    world.mine(2)
    progress = indexer(world).sync()
    assert (progress.rewound_to, progress.events) == (common, 1)
    assert contents(world)[1] == [(1, OWNERS[0], common, common), (2, OWNERS[2], common + 1, common + 1)]


def test_a_fork_to_a_shorter_chain(world: World) -> None:
    mark = snapshot(world)
    for k in range(3):
        open_account(world, k)
        indexer(world).sync()
    fork_back_to(world, mark)
    open_account(world, 5)
    indexer(world).sync()
    assert [row[1] for row in contents(world)[1]] == [OWNERS[5]]


def test_random_forks_leave_what_a_fresh_index_finds(world: World, tmp_path: Path) -> None:
    dice = random.Random(7)
    marks: list[Any] = []
    count = 0
    for _ in range(60):
        choice = dice.random()
        if choice < 0.3:
            marks.append(snapshot(world))
        elif choice < 0.45 and marks:
            place = dice.randrange(len(marks))
            fork_back_to(world, marks[place])
            del marks[place:]
        elif choice < 0.7:
            count += 1
            open_account(world, count % len(OWNERS))
        else:
            deposit(world, dice.randrange(1, 6), dice.randrange(100))
        if dice.random() < 0.6:
            indexer(world, block_range=dice.choice([1, 3, 100])).sync()
    indexer(world).sync()
    found = contents(world)
    assert found[0]
    indexer(world).rebuild()
    assert contents(world) == ([], [])
    indexer(world).sync()
    assert contents(world) == found


def test_a_fork_while_events_are_read_stores_nothing(world: World) -> None:
    open_account(world, 0)
    mark = snapshot(world)
    open_account(world, 1)

    class Forking(Limited):
        def events(self, first: int, last: int) -> Sequence[Event]:
            found = self._inner.events(first, last)
            fork_back_to(world, mark)
            open_account(world, 2)
            return found

    with pytest.raises(Transient, match="was replaced while its events were read"):
        indexer(world, Forking(world.chain, 0)).sync()
    assert contents(world) == ([], [])
    indexer(world).sync()
    assert [row[1] for row in contents(world)[1]] == [OWNERS[0], OWNERS[2]]


def test_rows_and_cursor_move_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    open_account(world, 0)

    class Dead(BaseException):
        pass

    def die(*_args: Any, **_kwargs: Any) -> None:
        raise Dead

    monkeypatch.setattr("keeper.index.indexer.select", die)  # the step after events, block and cursor are written
    with pytest.raises(Dead):
        indexer(world)._store_step(None, world.chain.block(), world.chain.events(0, world.chain.block().number))
    monkeypatch.undo()
    assert contents(world) == ([], [])
    assert indexer(world).cursor() is None


def test_resync_finds_what_the_index_missed_or_made_up(world: World) -> None:
    for k in range(3):
        open_account(world, k)
    block = indexer(world).sync().block
    assert indexer(world).resync(block).clean
    with world.store.session() as session:
        session.delete(session.get_one(AccountRow, (CHAIN_ID, 2)))
        session.get_one(AccountRow, (CHAIN_ID, 3)).owner = OWNERS[9]
        session.add(AccountRow(chain_id=CHAIN_ID, account=77, owner=OWNERS[0], opened_block=0, changed_block=0))
    found = indexer(world).resync(block)
    assert (found.invented, found.missed) == ((3, 77), (2, 3))
    with world.store.session() as session:
        rebuild(session, CHAIN_ID)
    assert indexer(world).resync(block).clean


def test_resync_needs_the_cursor_at_the_block(world: World) -> None:
    open_account(world, 0)
    indexer(world).sync()
    open_account(world, 1)
    with pytest.raises(Transient, match="synchronise first"):
        indexer(world).resync(world.chain.block())


def test_two_chains_in_one_database_do_not_mix(world: World) -> None:
    open_account(world, 0)
    with world.store.session() as session:
        session.add(CursorRow(chain_id=999, number=5, hash=b"\x01" * 32))
        session.add(AccountRow(chain_id=999, account=1, owner=OWNERS[3], opened_block=1, changed_block=1))
    indexer(world).sync()
    indexer(world).rebuild()
    with world.store.session() as session:
        assert session.get(AccountRow, (999, 1)) is not None


def test_values_survive_json() -> None:
    assert storable({1: 2}) == {1: 2}
    assert storable((2**53, -(2**53), 2**53 - 1, True, b"\x01", ("x", (2**60,)))) == [
        str(2**53),
        str(-(2**53)),
        2**53 - 1,
        True,
        "0x01",
        ["x", [str(2**60)]],
    ]


def test_head_given_from_outside_is_the_last_block_read(world: World) -> None:
    open_account(world, 0)
    early: Block = world.chain.block()
    open_account(world, 1)
    assert indexer(world).sync(early).events == 1
    assert indexer(world).accounts() == [1]


def event(number: int, contract: str, name: str, **args: Any) -> Event:
    return Event(number, b"b" * 32, 0, b"t" * 32, contract, name, args)


def test_announced_changes_until_they_are_closed(world: World) -> None:
    word = 2**255 + 1
    queued = [
        event(n, "RiskParameters", "ProposalQueued", id=n, eta=1_000 + n, changes=((1, 0, word), (2, 3, 7)))
        for n in range(1, 11)
    ]
    closing = [
        event(20, "RiskParameters", "ProposalExecuted", id=4, sender=OWNERS[0]),
        event(21, "RiskParameters", "ProposalVetoed", id=6, sender=OWNERS[0]),
        event(22, "RiskTable", "ProposalExecuted", id=5, sender=OWNERS[0]),
    ]
    with world.store.session() as session:
        store_events(session, CHAIN_ID, [*queued, *closing])
    found = queued_proposals(world.store, CHAIN_ID)
    # of ten the contract keeps the last eight
    assert [item.id for item in found] == [3, 5, 7, 8, 9, 10]
    assert found[0] == QueuedProposal(3, 1_003, ((1, 0, word), (2, 3, 7)))
    assert queued_proposals(world.store, CHAIN_ID + 1) == ()


def test_every_event_of_an_account_marks_it_and_a_closed_one_has_no_owner(world: World) -> None:
    opened = [event(k, "MarginAccounts", "AccountOpened", account=k, owner=OWNERS[k]) for k in (1, 2)]
    two = event(3, "MarginAccounts", "Transferred", from_account=1, to_account=2, token=OWNERS[5])
    closed = event(4, "MarginAccounts", "AccountClosed", account=2, dust_wad=0)
    with world.store.session() as session:
        store_events(session, CHAIN_ID, [*opened, two, closed])
    _, accounts = contents(world)
    assert accounts == [(1, OWNERS[1], 1, 3), (2, "0x" + "00" * 20, 2, 4)]
