# SPDX-License-Identifier: Apache-2.0
"""``ballast tx bump`` and ``tx cancel`` on transactions that wait in a node's pool."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from eth_account import Account
from typer.testing import CliRunner, Result

from keeper.actions import RecordPrice
from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts
from keeper.chain.embedded import make_backend
from keeper.chain.rpc import Rpc
from keeper.cli import app
from keeper.store import Store, open_store
from keeper.tx.journal import Intent, Journal, State
from keeper.tx.sender import Sender
from keeper.tx.signer import LocalSigner
from tests.support.counter_world import POLICY, FakeClock, PoolProvider
from tests.support.embedded_node import CHAIN_ID, DEPLOYER_KEY, GENESIS, STRANGER_KEY, Node, deployed_node


@dataclass
class Desk:
    """An operator beside a keeper whose transaction waits."""

    node: Node
    pool: PoolProvider
    store: Store
    env: dict[str, str]
    epochs: int = field(default=0)

    @property
    def sender(self) -> Sender:
        rpc = Rpc.in_process(self.pool)
        chain = ChainClient(rpc, Contracts(self.node.manifest.deployed()), CHAIN_ID)
        signer = LocalSigner(Account.from_key(DEPLOYER_KEY))
        return Sender(chain, Journal(self.store, CHAIN_ID, signer.address), signer, FakeClock(), POLICY)

    def waiting(self) -> Intent:
        """Send something that stays in the pool."""
        self.pool.paused = True
        self.epochs += 1
        intent = self.sender.submit(RecordPrice(0, 0, self.epochs))
        assert intent.state is State.SENT
        return intent

    def get(self, intent: Intent) -> Intent:
        found = Journal(self.store, CHAIN_ID, "").get(intent.id)
        assert found is not None
        return found

    def run(self, *args: str, key: bytes | None = DEPLOYER_KEY, **env: str) -> Result:
        secret = {} if key is None else {"PRIVATE_KEY": "0x" + key.hex()}
        where = ["--manifest", str(self.node.manifest_path), "--rpc-url", self.node.url]
        return CliRunner().invoke(app, ["tx", *args, *where], env={**self.env, **secret, **env})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, PoolProvider]]:
    pool = PoolProvider(make_backend("revm", accounts=4, genesis_timestamp=GENESIS))
    with deployed_node(Path(tmp_path_factory.mktemp("node")), pool) as node:
        yield node, pool


@pytest.fixture
def desk(served: tuple[Node, PoolProvider], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.chdir(tmp_path)
    node, pool = served
    url = f"sqlite:///{tmp_path / 'keeper.sqlite'}"
    store = open_store(url)
    yield Desk(node, pool, store, {"DATABASE_URL": url, "LOG_LEVEL": "ERROR"})
    pool.mine()
    store.close()


def fees(desk: Desk, intent: Intent) -> list[tuple[int, int]]:
    sent = Journal(desk.store, CHAIN_ID, intent.sender).transactions(desk.get(intent))
    return [(item.fees.max_fee_wei, item.fees.priority_fee_wei) for item in sent]


@pytest.mark.parametrize("verb", ["bump", "cancel"])
def test_a_dry_run_says_what_it_would_send_and_needs_no_key(desk: Desk, verb: str) -> None:
    intent = desk.waiting()
    before = dict(desk.pool.pool)
    result = desk.run(verb, str(intent.id), "--json", key=None)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    ((old_fee, old_tip),) = fees(desk, intent)
    assert (found["executed"], found["state"], found["nonce"]) == (False, "sent", intent.nonce)
    assert int(found["max_fee_wei"]) * 1_000 >= old_fee * 1_125
    assert int(found["priority_fee_wei"]) * 1_000 >= old_tip * 1_125
    assert desk.pool.pool == before
    said = desk.run(verb, str(intent.id), key=None)
    assert said.stdout.startswith(f"dry run: {verb} of intent {intent.id} (record_price 0:0, epoch {intent.epoch}): ")
    assert said.stdout.endswith("; add --execute to send\n")


def test_a_bump_replaces_the_waiting_transaction(desk: Desk) -> None:
    intent = desk.waiting()
    result = desk.run("bump", str(intent.id), "--execute", "--json")
    assert result.exit_code == 0, result.stderr
    (old_fee, _), (new_fee, _) = fees(desk, intent)
    assert new_fee * 1_000 >= old_fee * 1_125 and int(json.loads(result.stdout)["max_fee_wei"]) == new_fee
    sent = Journal(desk.store, CHAIN_ID, intent.sender).transactions(desk.get(intent))
    assert list(desk.pool.pool.values()) == [sent[-1].raw]
    for _ in range(3):
        desk.pool.mine()
    desk.sender.advance()
    done = desk.get(intent)
    assert (done.state, done.tx_hash, done.succeeded) == (State.FINAL, sent[-1].hash, True)


def test_a_cancellation_takes_the_nonce(desk: Desk) -> None:
    intent = desk.waiting()
    result = desk.run("cancel", str(intent.id), "--execute")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"cancel of intent {intent.id}") and result.stdout.endswith("now sent\n")
    for _ in range(3):
        desk.pool.mine()
    desk.sender.advance()
    assert desk.get(intent).state is State.CANCELLED


def test_what_is_mined_has_nothing_to_replace(desk: Desk) -> None:
    intent = desk.waiting()
    desk.pool.mine()
    desk.sender.advance()
    for verb in ("bump", "cancel"):
        result = desk.run(verb, str(intent.id), "--execute")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            f"error: intent {intent.id} (record_price 0:0, epoch {intent.epoch}) is mined, nothing of it waits; "
            "see 'ballast tx list'\n"
        )


def test_the_fee_cap_holds(desk: Desk) -> None:
    intent = desk.waiting()
    ((old_fee, _),) = fees(desk, intent)
    cap = str(old_fee / 10**9)
    result = desk.run("bump", str(intent.id), BALLAST_FEES__MAX_FEE_GWEI=cap, BALLAST_FEES__MAX_PRIORITY_FEE_GWEI="1")
    assert result.exit_code == 1
    assert " wei; raise fees.max_fee_gwei" in result.stderr


def test_another_key_is_refused_before_anything_is_sent(desk: Desk) -> None:
    intent = desk.waiting()
    before = dict(desk.pool.pool)
    result = desk.run("cancel", str(intent.id), "--execute", key=STRANGER_KEY)
    assert result.exit_code == 2
    assert f"was signed by {intent.sender}, the key is of 0x" in result.stderr
    assert desk.pool.pool == before


def test_executing_without_a_key_is_refused(desk: Desk) -> None:
    intent = desk.waiting()
    result = desk.run("bump", str(intent.id), "--execute", key=None)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no key to sign with" in result.stderr


def test_an_intent_that_does_not_exist_is_one_sentence(desk: Desk) -> None:
    result = desk.run("bump", "77")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: there is no intent 77 in sqlite://") and result.stderr.count("\n") == 1


def test_an_unsigned_intent_is_cancelled_without_a_transaction(desk: Desk) -> None:
    owner = Account.from_key(DEPLOYER_KEY).address
    intent, _ = Journal(desk.store, CHAIN_ID, owner).claim(RecordPrice(1, 0, 9), "0x" + "11" * 20, b"", GENESIS, 3)
    assert desk.run("bump", str(intent.id)).exit_code == 1
    dry = desk.run("cancel", str(intent.id))
    assert "no transaction needed, it is not signed; add --execute" in dry.stdout
    result = desk.run("cancel", str(intent.id), "--execute", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["state"] == "cancelled"
    assert desk.get(intent).state is State.CANCELLED
