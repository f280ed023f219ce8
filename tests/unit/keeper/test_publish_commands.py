# SPDX-License-Identifier: Apache-2.0
"""A person's word on the command line, and what the keeper makes of it; what shadow mode built, as it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from keeper.act import Result as Done
from keeper.actions import PublishPage, PushParameters
from keeper.app import connect
from keeper.cli import app
from keeper.outbox import SenderOutbox
from keeper.publish.approvals import covers, digest_of, living, page_digest
from keeper.publish.impact import Impact
from keeper.publish.records import log
from keeper.publish.tables import plan_pages
from keeper.publish.triggers import PagePolicy
from keeper.recorder import Recorder
from keeper.settings import load_settings
from keeper.store import Store, open_store
from keeper.tx.journal import Journal
from keeper.tx.sender import Sender, policy_from
from keeper.tx.signer import LocalSigner
from tests.support.cosigners import wanted
from tests.support.embedded_node import DEPLOYER_KEY, GENESIS, Node, deployed_node

WORDS = ((1, 0, 5), (1, 1, 6))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with deployed_node(Path(tmp_path_factory.mktemp("node"))) as found:
        yield found


class Desk:
    """One operator's database and commands."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node, self.url = node, f"sqlite:///{folder / 'k.sqlite'}"
        self.store: Store = open_store(self.url)
        self.recorder = Recorder(self.store, node.manifest.chain_id)
        manifest, chain_id = node.manifest_path, node.manifest.chain_id
        self.settings = load_settings(manifest=manifest, rpc_url=node.url, chain_id=chain_id, database_url=self.url)
        self.chain = connect(self.settings).chain
        self.now = self.chain.block().timestamp

    def run(self, *words: str) -> Result:
        place = ["--manifest", str(self.node.manifest_path), "--rpc-url", self.node.url]
        env = {"DATABASE_URL": self.url, "LOG_LEVEL": "ERROR", "COLUMNS": "200"}
        return CliRunner().invoke(app, [*words, *place], env=env)

    def approvals(self, at: int) -> Any:
        return living(self.store, self.node.manifest.chain_id, at)

    def page(self) -> PublishPage:
        snapshot = self.chain.snapshot()
        action = plan_pages(snapshot, wanted(), PagePolicy(1, 1, 1, 86_400), (5_000, 3_500))[0].action
        assert action is not None
        return action


@pytest.fixture
def desk(node: Node, tmp_path: Path) -> Iterator[Desk]:
    found = Desk(node, tmp_path)
    yield found
    found.store.close()


def batch(nonce: int) -> PushParameters:
    return PushParameters(nonce, GENESIS, GENESIS + 900, b"m" * 32, b"d" * 32, WORDS)


def test_a_waiting_batch_is_listed_and_approved_by_its_hash_for_an_hour(desk: Desk) -> None:
    nonce = desk.chain.snapshot(accounts=()).parameters.nonce + 1  # type: ignore[union-attr]
    action = batch(nonce)
    log(desk.recorder, action, desk.now, "waiting", Impact((4, 9), 10**18, (), (11,)), "2 words wait for approval")
    log(desk.recorder, batch(nonce - 1), desk.now, "waiting")  # the chain has moved on
    (row,) = json.loads(desk.run("params", "waiting", "--json").stdout)
    digest = digest_of(action)
    assert (row["hash"], row["newly_liquidatable"], row["words"]) == (digest.hex(), [4, 9], 2)
    assert digest.hex()[:16] in desk.run("params", "waiting").stdout
    for wrong in ("deadbeef", digest.hex()[:7]):
        refused = desk.run("params", "approve", wrong)
        assert refused.exit_code == 2 and "0 waiting batches begin with" in refused.stderr
    done = desk.run("params", "approve", digest.hex()[:8])
    assert done.exit_code == 0 and "accounts 4, 9, 11 may fall" in done.stdout
    impact = Impact((9,), 0, (), (11,))
    assert covers(desk.approvals(desk.now), digest, impact, desk.now + 3_599)
    assert not covers(desk.approvals(desk.now), digest, impact, desk.now + 3_600)
    assert not covers(desk.approvals(desk.now), digest, replace(impact, newly_liquidatable=(9, 10)), desk.now)
    assert desk.approvals(desk.now + 3_600) == {}


def test_a_refused_page_is_shown_beside_the_chain_and_approved(desk: Desk) -> None:
    page = desk.page()
    assert desk.run("table", "approve", "BTC").exit_code == 2  # nothing waits
    log(desk.recorder, page, desk.now, "refused", Impact((3, 5), 0, (), ()), "2 accounts")
    later = replace(page, header=replace(page.header, atm_vol_bps=6_100))
    log(desk.recorder, later, desk.now + 1, "refused", Impact((3,), 0, (), ()))
    (row,) = json.loads(desk.run("table", "diff", "--json").stdout)  # the newest stands for all
    assert row["symbol"] == "BTC" and row["newly_liquidatable"] == [3]
    assert ["atm_vol_bps", 6_100, 0] in row["fields"]
    assert "BTC" in desk.run("table", "diff").stdout
    done = desk.run("table", "approve", "BTC")
    assert done.exit_code == 0 and "accounts 3 may fall" in done.stdout
    digest = page_digest(0, page.epoch)
    assert covers(desk.approvals(desk.now), digest, Impact((3,), 0, (), ()), desk.now)
    assert not covers(desk.approvals(desk.now), digest, Impact((5,), 0, (), ()), desk.now)


def test_what_the_shadow_built_is_shown_apart(desk: Desk) -> None:
    log(desk.recorder, desk.page(), desk.now, "shadow", None, "table: too soon")
    log(desk.recorder, batch(77), desk.now, "shadow")
    (row,) = json.loads(desk.run("table", "diff", "--shadow", "--json").stdout)
    assert (row["symbol"], row["said"]) == ("BTC", "table: too soon")
    (push,) = json.loads(desk.run("params", "waiting", "--shadow", "--json").stdout)
    assert push["nonce"] == 77
    assert json.loads(desk.run("table", "diff", "--json").stdout) == []
    assert json.loads(desk.run("params", "waiting", "--json").stdout) == []


def test_a_content_built_anew_while_the_first_is_under_way_is_not_taken_for_it(desk: Desk, node: Node) -> None:
    """Else what is read back would be compared with what was never sent, and publishing would halt for nothing."""
    signer = LocalSigner.from_key(DEPLOYER_KEY, "test")
    settings = desk.settings.model_copy(update={"fees": desk.settings.fees.model_copy(update={"max_fee_gwei": 500})})
    clock = type("Clock", (), {"now": lambda _: desk.now, "sleep": lambda _, __: None})()
    journal = Journal(desk.store, node.manifest.chain_id, signer.address)
    sender = Sender(desk.chain, journal, signer, clock, policy_from(settings))
    first, second = (replace(batch(1), observed_at=GENESIS + k) for k in (1, 2))
    to, data = desk.chain.encode(first.call)
    intent, mine = journal.claim(first, to, data, desk.now, 3)
    assert mine and sender.carries(intent, first) and not sender.carries(intent, second)
    outbox = SenderOutbox(sender, journal, None)
    sender.submit = lambda action: intent  # type: ignore[method-assign]
    assert outbox.perform(second).result is Done.KNOWN
    assert outbox._waiting == {}
