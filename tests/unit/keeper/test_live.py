# SPDX-License-Identifier: Apache-2.0
"""Snapshots from what changed equal snapshots read anew, on a complete deployment; and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account
from web3.types import RPCEndpoint

from keeper.assess import ParityPolicy as Parity
from keeper.assess import assess_all, check_parity, choose_for_parity
from keeper.chain import live as live_module
from keeper.chain.embedded import make_backend
from keeper.chain.live import LiveReader
from keeper.chain.rpc import Rpc
from keeper.deploy.config import load_config
from keeper.deploy.execute import Executor
from keeper.deploy.manifest import ManifestFile
from keeper.deploy.plan import make_plan
from keeper.domain import Block, ContractCall, Unknown
from keeper.errors import KeeperError, Transient
from keeper.heads import HeadWatch
from keeper.index.indexer import Indexer
from keeper.store import open_store
from keeper.tx.signer import LocalSigner
from tests.support.shared import ROOT
from tests.unit.keeper.test_reader import CHAIN_ID, Deployment, MoodyProvider


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Deployment]:
    text = (ROOT / "config" / "local.toml").read_text().replace("chain_id = 31337", f"chain_id = {CHAIN_ID}")
    (tmp_path / "local.toml").write_text(text)
    provider = MoodyProvider(make_backend("revm", accounts=4, genesis_timestamp=1_700_000_000))
    rpc = Rpc.in_process(provider)
    signer = LocalSigner(Account.from_key((1).to_bytes(32, "big")))
    plan = make_plan(load_config(tmp_path / "local.toml"), rpc, signer.address)
    manifest = Executor(plan, rpc, signer, ManifestFile(tmp_path / "manifest.json")).run()
    yield Deployment(provider, rpc, manifest.deployed(), manifest.addresses.get("Multicall"), manifest.tokens)


def reader(site: Deployment, folder: Path) -> LiveReader:
    chain = site.chain(site.multicall)
    return LiveReader(chain, Indexer(chain, open_store(f"sqlite:///{folder / 'k.sqlite'}"), start_block=0), workers=1)


def same(site: Deployment, live: LiveReader) -> None:
    """Compare with a reading of everything at the same block."""
    found = live.snapshot()
    read = site.chain(site.multicall).snapshot(block=found.block)
    for name in read.__dataclass_fields__:
        if name not in {"accounts", "auctions"}:
            assert getattr(found, name) == getattr(read, name), name
    assert dict(found.accounts) == dict(read.accounts)
    assert found.auctions == {}
    exact = assess_all(read)
    judged = assess_all(found)
    assert {a: judged[a] for a in judged} == dict(exact)


def test_what_changed_is_read_and_the_rest_carried(site: Deployment, tmp_path: Path) -> None:
    live = reader(site, tmp_path)
    same(site, live)
    site.open_account(5_000 * 10**6)
    same(site, live)
    site.open_account(7_000 * 10**6)
    site.open_account(9_000 * 10**6)
    same(site, live)
    assert live.fresh == {2, 3}
    site.provider.make_request(RPCEndpoint("evm_mine"), [])
    same(site, live)
    assert live.fresh == frozenset()
    assert live.surprises == 0


def test_a_listing_is_noticed(site: Deployment, tmp_path: Path) -> None:
    live = reader(site, tmp_path)
    live.snapshot()
    registry = site.chain().contracts.addresses["InstrumentRegistry"]
    site.send(registry, "set_reduce_only(uint256,bool)", ["uint256", "bool"], 255, True)
    same(site, live)


def test_an_account_that_changed_without_an_event_makes_it_read_all_again(site: Deployment, tmp_path: Path) -> None:
    for _ in range(3):
        site.open_account(1_000 * 10**6)
    live = reader(site, tmp_path)
    live.snapshot()
    held = live.ledger.held[2]
    live.ledger.held[2] = held._replace(words=(held.words[0] + (1 << 160), *held.words[1:]))
    site.provider.make_request(RPCEndpoint("evm_mine"), [])
    live.snapshot()
    assert live.surprises == 1
    assert live.ledger.held[2] == held
    same(site, live)


def test_a_large_book_is_read_in_parts_that_stay_read(
    site: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        site.open_account(1_000 * 10**6)
    monkeypatch.setattr(live_module, "IN_BULK", 2)
    monkeypatch.setattr(live_module, "PART", 2)
    live, told = reader(site, tmp_path), list[tuple[int, int]]()

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        if done == 4 and total == 5:
            raise Transient("the node went away")

    live.progress = progress
    with pytest.raises(KeeperError, match="went away"):
        live.snapshot()
    live.progress = None
    assert sorted(live.ledger.held) == [1, 2, 3, 4]
    same(site, live)
    assert told == [(2, 5), (4, 5)]


def test_answers_for_parity_come_with_the_snapshot(site: Deployment, tmp_path: Path) -> None:
    for _ in range(3):
        site.open_account(1_000 * 10**6)
    live = reader(site, tmp_path)
    chain = live._chain
    for _ in range(2):
        site.provider.make_request(RPCEndpoint("evm_mine"), [])
        view = live.snapshot()
    found = assess_all(view)
    asked = chain.multicall.requests
    chosen = choose_for_parity(found, Parity(), view.block.hash)
    assert check_parity(chain, view, found, chosen).mismatches == ()
    assert chain.multicall.requests == asked
    assert live.quiet
    # each answer is given once: a second look asks the node
    chain.call_many([ContractCall("MarginEngine", "assess", (1,))], view.block)
    assert chain.multicall.requests > asked


def test_an_unreadable_account_is_unknown_and_read_again(site: Deployment, tmp_path: Path) -> None:
    site.open_account(1_000 * 10**6)
    live = reader(site, tmp_path)
    live.snapshot()
    live.ledger.put({1: Unknown("node", 5)}, live.ledger.held[1].then)
    assert live.ledger.doubtful == {1}
    same(site, live)
    assert live.ledger.doubtful == set()


def test_a_watch_calls_for_a_cycle_once_a_head_and_never_during_one() -> None:
    heads = [Block(k, bytes([k]) * 32, b"", k) for k in (1, 1, 2, 3)]
    busy, calls = [False], list[str]()
    watch = HeadWatch(lambda: heads.pop(0), lambda: calls.append("cycle"), lambda: busy[0], 1.0)
    assert [watch.look(), watch.look(), watch.look()] == [True, False, True]
    busy[0] = True
    assert not watch.look()
    busy[0] = False
    assert watch.look()
    assert len(calls) == 3

    def gone() -> Block:
        raise Transient("no node")

    assert not HeadWatch(gone, lambda: calls.append("cycle"), lambda: False, 1.0).look()
    assert len(calls) == 3
