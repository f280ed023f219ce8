# SPDX-License-Identifier: Apache-2.0
"""What goes wrong around a sender on a real node with a real database: fees, nonces, funds, clocks, locks, disks."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from eth_account import Account

from keeper.act import Result
from keeper.chain.client import ChainClient
from keeper.errors import Halt, NoFunds, Transient
from keeper.store import engine
from keeper.tx.fees import FeeCaps
from keeper.tx.journal import State
from tests.soak.bench import POLICY, Bench, Parts, bench
from tests.support.counter_world import GWEI, Bump, FakeClock

pytestmark = pytest.mark.node
LATER = POLICY.bump_after_s


@pytest.fixture
def desk(anvil_binary: Path, tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def parts(desk: Bench, clock: FakeClock) -> Iterator[Parts]:
    built = desk.parts(clock=clock)
    yield built
    built.store.close()


def spike(desk: Bench, gwei: int) -> None:
    """The next block's base fee; the pool offers it only what pays that much."""
    desk.ask("anvil_setNextBlockBaseFeePerGas", hex(gwei * GWEI))


def finished(desk: Bench, parts: Parts, keys: list[int]) -> None:
    """Everything comes to its end, once."""
    for _ in range(3):
        desk.mine(3)
        parts.outbox.reconcile()
    assert desk.audit(keys) == []


def test_a_gas_spike_is_followed_by_both_fields(desk: Bench, parts: Parts, clock: FakeClock) -> None:
    intent = parts.sender.submit(Bump(0))
    (first,) = parts.journal.transactions(intent)
    for gwei in (40, 200, 900):
        spike(desk, gwei)
        desk.mine()
        clock.time += LATER
        parts.outbox.reconcile()
    sent = parts.journal.transactions(intent)
    assert len(sent) >= 3 and sent[0] == first
    for old, new in pairwise(sent):
        assert new.fees.max_fee_wei * 1_000 >= 1_125 * old.fees.max_fee_wei
        assert new.fees.priority_fee_wei * 1_000 >= 1_125 * old.fees.priority_fee_wei
    assert sent[-1].fees.max_fee_wei > 900 * GWEI
    finished(desk, parts, [0])
    assert parts.journal.latest()[0].tx_hash != first.hash


def test_a_spike_above_the_cap_is_waited_out(desk: Bench, clock: FakeClock) -> None:
    tight = desk.parts(clock=clock, policy=replace(POLICY, fees=FeeCaps(10 * GWEI, GWEI)))
    intent = tight.sender.submit(Bump(0))
    for _ in range(8):
        spike(desk, 500)
        desk.mine()
        clock.time += LATER
        tight.outbox.reconcile()
    assert all(item.fees.max_fee_wei <= 10 * GWEI for item in tight.journal.transactions(intent))
    (left,) = tight.journal.open_intents()
    assert left.error is not None and "the fee cap of 10000000000 wei forbids a raise" in left.error
    spike(desk, 500)
    desk.mine()
    with pytest.raises(Transient, match=r"the fee cap of 10000000000 wei forbids a raise.* it goes out when fees fall"):
        tight.sender.submit(Bump(1))
    spike(desk, 1)
    finished(desk, tight, [0])
    tight.store.close()


def test_the_same_key_in_two_keepers_with_two_databases(desk: Bench, parts: Parts, clock: FakeClock) -> None:
    other = replace(desk, database=desk.database.with_name("second.sqlite")).parts(clock=clock)
    ours = parts.sender.submit(Bump(0))
    desk.ask("anvil_dropAllTransactions")
    assert other.sender.submit(Bump(1)).nonce == ours.nonce == 0
    desk.mine(1)
    parts.outbox.reconcile()
    found = parts.journal.get(ours.id)
    assert found is not None and found.state is State.SENT  # one block proves nothing yet
    desk.mine(3)
    parts.outbox.reconcile()
    found = parts.journal.get(ours.id)
    assert found is not None and found.state is State.REPLACED
    assert "nonce 0 was used by a transaction that is not the keeper's" in (found.error or "")
    assert parts.sender.submit(Bump(0)).nonce == 1
    desk.mine(4)
    for each in (parts, other):
        each.outbox.reconcile()
        assert [i.state for i in each.journal.latest()] == [State.FINAL]
        each.store.close()
    assert (desk.total(0), desk.total(1)) == (1, 1)


def test_an_empty_balance_is_named_and_cured_by_a_gift(desk: Bench, parts: Parts) -> None:
    address = desk.signer.address
    parts.sender.submit(Bump(0))
    desk.ask("anvil_setBalance", address, hex(10**9))
    parts.outbox.reconcile()  # keeps watching
    with pytest.raises(
        NoFunds, match=rf"{address} holds 1000000000 wei on chain 31337, Counter\.bump may need \d+ wei"
    ):
        parts.sender.submit(Bump(1))
    desk.ask("anvil_dropAllTransactions")
    parts.outbox.reconcile()
    with pytest.raises(NoFunds, match=rf"{address} holds 1000000000 wei, intent 1 .* may need \d+ wei"):
        parts.sender.advance()
    desk.ask("anvil_setBalance", address, hex(10**18))
    assert parts.outbox.perform(Bump(1)).result is Result.PENDING
    finished(desk, parts, [0, 1])


@pytest.mark.parametrize("skew", [-10 * 86_400, 10 * 86_400], ids=["behind", "ahead"])
def test_a_clock_far_from_the_chains_sends_once(desk: Bench, skew: int) -> None:
    head = desk.web3.eth.get_block("latest")["timestamp"]
    parts = desk.parts(clock=FakeClock(time=int(head) + skew))
    for key in range(3):
        parts.sender.submit(Bump(key))
    desk.ask("anvil_setTime", hex(int(head) + 3 * 86_400))
    finished(desk, parts, [0, 1, 2])
    parts.store.close()


def test_a_locked_database_sends_nothing(desk: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.parts().store.close()
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 100)
    parts = desk.parts(migrate=False)
    with sqlite3.connect(desk.database, isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(Transient, match="is locked by another process"):
            parts.sender.submit(Bump(0))
        parts.outbox.reconcile()
        holder.execute("ROLLBACK")
    holder.close()
    assert desk.ask("txpool_status")["pending"] == "0x0"
    parts.sender.submit(Bump(0))
    finished(desk, parts, [0])
    parts.store.close()


def test_a_database_that_locks_while_a_transaction_leaves(desk: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is out, and the journal could not say so: the same bytes go again, and count once."""
    desk.parts().store.close()
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 100)
    parts = desk.parts(migrate=False)
    holder = sqlite3.connect(desk.database, isolation_level=None)
    send = ChainClient.send_raw

    def lock_after(chain: ChainClient, raw: bytes) -> bytes:
        sent = send(chain, raw)
        holder.execute("BEGIN IMMEDIATE")
        return sent

    with monkeypatch.context() as patch:
        patch.setattr(ChainClient, "send_raw", lock_after)
        with pytest.raises(Transient, match="is locked by another process"):
            parts.sender.submit(Bump(0))
    holder.execute("ROLLBACK")
    holder.close()
    assert [i.state for i in parts.journal.open_intents()] == [State.SIGNED]
    finished(desk, parts, [0])
    parts.store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    where = tmp_path / "small"
    where.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this container may not mount")
    yield where
    subprocess.run(["umount", "--lazy", str(where)], check=True)  # never leave it behind


def test_a_full_disk_sends_nothing_that_is_not_written(desk: Bench, small_disk: Path) -> None:
    small = replace(desk, database=small_disk / "keeper.sqlite")
    parts = small.parts()
    parts.sender.submit(Bump(0))
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as out:
        while True:
            out.write(b"x" * 512)
    sent = 1
    with pytest.raises(Halt, match="has no room left"):
        for sent in range(1, 200):
            parts.sender.submit(Bump(sent))
            desk.mine()
    parts.store.close()
    ballast.unlink()
    again = small.parts()
    done = sorted(int(i.subject) for i in again.journal.latest(300))
    assert desk.web3.eth.get_transaction_count(desk.signer.address, "pending") <= len(done)
    for key in range(sent + 1):
        desk.mine()
        again.outbox.perform(Bump(key))
    finished(small, again, list(range(sent + 1)))
    again.store.close()


def test_another_key_starts_beside_rows_it_must_not_touch(desk: Bench, parts: Parts, clock: FakeClock) -> None:
    theirs = parts.sender.submit(Bump(0))
    second = Account.from_key("0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d")
    ours = desk.parts(clock=clock, signer=type(desk.signer)(second))
    desk.ask("anvil_dropAllTransactions")
    clock.time += 100 * LATER
    ours.outbox.reconcile()
    assert desk.ask("txpool_status")["pending"] == "0x0"
    assert [i.id for i in ours.journal.foreign_intents()] == [theirs.id]
    assert ours.sender.submit(Bump(0)) == theirs
    ours.store.close()
    finished(desk, parts, [0])
