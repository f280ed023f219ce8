# SPDX-License-Identifier: Apache-2.0
"""``ballast tx bump`` and ``tx cancel`` on transactions that wait in a node's pool."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from eth_account import Account
from typer.testing import CliRunner, Result

from keeper.actions import RecordPrice
from keeper.app import prices_recorded
from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts
from keeper.chain.embedded import make_backend
from keeper.chain.rpc import Rpc
from keeper.cli import app
from keeper.commands.daemon_news import log_open
from keeper.domain import Receipt
from keeper.recorder import Recorder
from keeper.store import Store, open_store
from keeper.tx.fees import Fees
from keeper.tx.journal import Intent, Journal, SignedTransaction, State
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

    def look(self, *args: str) -> Any:
        """JSON of a command that asks no node."""
        result = CliRunner().invoke(
            app, ["tx", *args, "--json", "--manifest", str(self.node.manifest_path)], env=self.env
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

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


def test_the_list_can_be_narrowed(desk: Desk) -> None:
    waiting = desk.waiting()
    owner = Account.from_key(DEPLOYER_KEY).address
    journal = Journal(desk.store, CHAIN_ID, owner)
    other, _ = journal.claim(RecordPrice(1, 7, 9), "0x" + "11" * 20, b"", GENESIS, 3)
    journal.close(other, State.FAILED, GENESIS, "refused")

    def ids(*args: str) -> list[int]:
        return [row["id"] for row in desk.look("list", *args)]

    assert sorted(ids()) == sorted([waiting.id, other.id])
    assert ids("--state", "failed") == [other.id]
    assert ids("--open") == [waiting.id]
    assert sorted(ids("--open", "--state", "failed")) == sorted([waiting.id, other.id])
    assert ids("--subject", "1:7") == [other.id]
    assert ids("--kind", "bid") == []
    assert len(ids("--kind", "record_price", "--limit", "1")) == 1


def test_the_list_shows_the_transaction_that_waits(desk: Desk) -> None:
    waiting = desk.waiting()
    (row,) = desk.look("list", "--open")
    (attempt,) = desk.look("show", str(waiting.id))["attempts"]
    assert row["state"] == "sent" and row["tx"] == attempt["tx"]
    where = ["--manifest", str(desk.node.manifest_path)]
    said = CliRunner().invoke(app, ["tx", "list", *where], env={**desk.env, "COLUMNS": "140"})
    assert f"{row['tx'][:10]}…{row['tx'][-8:]}" in said.stdout


def test_a_start_says_what_the_run_before_left_open(desk: Desk) -> None:
    def said() -> list[str]:
        with structlog.testing.capture_logs() as logs:
            log_open(desk.store, CHAIN_ID)
        return [" ".join(str(line[name]) for name in ("event", "action") if name in line) for line in logs]

    assert said() == ["nothing is open in the journal"]
    intent = desk.waiting()
    recorder = Recorder(desk.store, CHAIN_ID)
    run = recorder.begin(GENESIS)
    killed, left = said()
    assert "has no end" in killed and left == f"open in the journal, followed up {intent}"
    recorder.finish(run, GENESIS, 1, "ok", {})
    assert said() == [left]


def test_prices_recorded_before_a_restart_are_known_after_it(desk: Desk) -> None:
    journal = Journal(desk.store, CHAIN_ID, Account.from_key(DEPLOYER_KEY).address)
    for action, state in ((RecordPrice(0, 1, 50), State.FINAL), (RecordPrice(0, 1, 70), State.FAILED)):
        intent, _ = journal.claim(action, "0x" + "11" * 20, b"", GENESIS, 3)
        journal.close(intent, state, GENESIS)
    journal.claim(RecordPrice(1, 12, 60), "0x" + "11" * 20, b"", GENESIS, 3)
    assert prices_recorded(desk.store, CHAIN_ID) == {(0, 1): 50, (1, 12): 60}
    assert prices_recorded(desk.store, CHAIN_ID + 1) == {}


def test_an_unknown_state_is_refused_with_those_there_are(desk: Desk) -> None:
    result = CliRunner().invoke(app, ["tx", "list", "--state", "lost"], env={**desk.env, "NO_COLOR": "1"})
    assert result.exit_code == 2
    assert "lost" in result.stderr and "replaced" in result.stderr


def test_show_has_every_attempt(desk: Desk) -> None:
    intent = desk.waiting()
    assert desk.run("bump", str(intent.id), "--execute").exit_code == 0
    assert desk.run("cancel", str(intent.id), "--execute").exit_code == 0
    found = desk.look("show", str(intent.id))
    assert [(row["what"], row["outcome"], row["nonce"]) for row in found["attempts"]] == [
        ("acts", "waits", intent.nonce), ("acts", "waits", intent.nonce), ("cancels", "waits", intent.nonce)
    ]  # fmt: skip
    for _ in range(3):
        desk.pool.mine()
    desk.sender.advance()
    found = desk.look("show", str(intent.id))
    assert (found["state"], found["call"], found["sender"]) == ("cancelled", "PriceOracle.record", intent.sender)
    assert [row["outcome"] for row in found["attempts"]] == ["not mined", "not mined", "mined"]
    assert int(found["attempts"][2]["cost_wei"]) > 0 and found["tx"] == found["attempts"][2]["tx"]


def test_show_for_people(desk: Desk) -> None:
    intent = desk.waiting()
    where = ["--manifest", str(desk.node.manifest_path)]
    said = CliRunner().invoke(app, ["tx", "show", str(intent.id), *where], env=desk.env)
    assert said.exit_code == 0 and "PriceOracle.record" in said.stdout and "waits" in said.stdout
    missing = CliRunner().invoke(app, ["tx", "show", "77", *where], env=desk.env)
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert (
        missing.stderr
        == f"error: there is no intent 77 of chain {CHAIN_ID} in {desk.store.name}; see 'ballast tx list'\n"
    )


def test_acknowledging_lets_the_keeper_go_on(desk: Desk) -> None:
    owner = Account.from_key(DEPLOYER_KEY).address
    journal = Journal(desk.store, CHAIN_ID, owner)
    for nonce in range(2):
        intent, _ = journal.claim(RecordPrice(0, nonce, 9), "0x" + "11" * 20, b"", GENESIS, 3)
        sent = SignedTransaction(bytes([nonce]) * 32, b"", nonce, 1, Fees(1, 1), cancels=False, signed_at=GENESIS)
        journal.mined(journal.sign(intent, sent), Receipt(sent.hash, 1, b"", False, 1, 1), GENESIS)
    assert journal.failures_in_a_row() == 2
    assert desk.look("acknowledge") == {"acknowledged": 2}
    assert journal.failures_in_a_row() == 0
    assert desk.look("acknowledge") == {"acknowledged": 0}
