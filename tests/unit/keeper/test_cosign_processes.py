# SPDX-License-Identifier: Apache-2.0
"""Three publishers with a quorum of two, each a real process over a deployed protocol; one of them lies."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account

from keeper.actions import PublishPage
from keeper.app import SystemClock, connect
from keeper.chain.embedded import mine_at
from keeper.cosign.messages import PATH, ask
from keeper.cosign.service import RateLimit
from keeper.cosign.wire import quorum_of
from keeper.cycle import Cycle
from keeper.decide import Policy
from keeper.observe.alerts import Alerts
from keeper.observe.board import Instruments, standing_limits
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics
from keeper.outbox import SenderOutbox
from keeper.publish.signing import Publisher, digest
from keeper.publish.tables import plan_pages
from keeper.publish.triggers import PagePolicy
from keeper.recorder import Recorder
from keeper.settings import load_settings
from keeper.situation import NativePrice
from keeper.store import open_store
from keeper.tx.fees import FeeCaps
from keeper.tx.journal import Journal
from keeper.tx.sender import Sender, policy_from
from keeper.tx.signer import LocalSigner
from risk.types import ParameterSet
from tests.support.cosigners import Member, answering, wanted
from tests.support.embedded_node import DEPLOYER_KEY, Node, deployed_node

LIAR_KEY, OTHER_KEY = (5).to_bytes(32, "big"), (6).to_bytes(32, "big")
DEAD = "http://127.0.0.1:9"


@dataclass
class Guild:
    """The deployer proposes; ``other`` and ``strange`` serve: one with the same data, one with other data."""

    node: Node
    first: Member
    other: Member
    strange: Member
    urls: dict[str, str]

    def later(self, seconds: int = 120) -> None:
        head = self.node.web3.eth.get_block("latest")["timestamp"]
        mine_at(self.node.web3, int(head) + seconds)

    def epochs(self) -> list[int]:
        table = self.node.world().contract("RiskTable")
        return [int(table.functions.last_epoch(u).call()) for u in range(2)]

    def signers(self) -> set[str]:
        table = self.node.world().contract("RiskTable")
        return {signer for u in range(2) for signer in table.functions.signers_of(u).call()}


@pytest.fixture(scope="module")
def guild(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guild]:
    folder = Path(tmp_path_factory.mktemp("guild"))
    with deployed_node(folder) as node, ExitStack() as running:
        world = node.world()
        table = world.contract("RiskTable")
        for key in (LIAR_KEY, OTHER_KEY):
            world.sender.send(node.deployer, table.functions.set_publisher(Account.from_key(key).address, True))
            world.sender.transfer(node.deployer, Account.from_key(key).address, 10**18)
        world.sender.send(node.deployer, table.functions.set_quorum(2))
        first, other, strange = (
            Member(node, folder / name, key)
            for name, key in (("first", DEPLOYER_KEY), ("other", OTHER_KEY), ("strange", LIAR_KEY))
        )
        everybody = [(DEAD, member.address) for member in (first, other, strange)]
        other.write(everybody, wanted())
        strange.write(everybody, wanted(vol=0.75))
        services = {member.address: member.serving() for member in (other, strange)}
        with ThreadPoolExecutor() as pool:  # each takes seconds to start
            urls = dict(zip(services, pool.map(lambda item: item.__enter__(), services.values()), strict=True))
        for service in services.values():
            running.push(service)
        yield Guild(node, first, other, strange, urls)


def commitments(member: Member) -> list[tuple[int, int]]:
    with sqlite3.connect(f"file:{member.folder / 'k.sqlite'}?mode=ro", uri=True) as db:
        return db.execute("select underlying, epoch from commitments order by 1, 2").fetchall()


def outcomes(text: str) -> dict[str, Any]:
    return {f"{row['kind']} {row['subject']}": row for row in json.loads(text)}


def test_two_honest_publishers_publish_although_the_third_sees_another_market(guild: Guild) -> None:
    guild.later()
    guild.first.write([(guild.urls[m.address], m.address) for m in (guild.strange, guild.other)], wanted())
    dry = guild.first.publish()
    assert dry.exit_code == 0, dry.stderr
    for row in outcomes(dry.stdout).values():
        if row["kind"] == "publish_page":
            assert row["willing"] == [guild.other.address]
            (refusal,) = row["refused"]
            assert refusal.startswith(guild.strange.address) and "volatility" in refusal and "0.7500" in refusal
    assert guild.epochs() == [0, 0] and commitments(guild.other) == [], "to be asked commits nobody"
    done = guild.first.publish("--execute")
    assert done.exit_code == 0, (done.stdout, done.stderr)
    assert guild.epochs() == [1, 1]
    assert guild.signers() == {guild.first.address, guild.other.address}
    assert commitments(guild.other) == [(-1, 1), (0, 1), (1, 1)]
    assert {c for c in commitments(guild.strange) if c[0] >= 0} == set()


def test_a_shifted_surface_gets_no_signature(guild: Guild) -> None:
    guild.later()
    before, signed = guild.epochs(), commitments(guild.other)
    liar = Member(guild.node, guild.first.folder.parent / "liar", LIAR_KEY)
    liar.write([(guild.urls[guild.other.address], guild.other.address)], wanted(carry=0.4))
    result = liar.publish("--execute")
    assert result.exit_code == 1
    rows = [row for name, row in outcomes(result.stdout).items() if name.startswith("publish_page")]
    assert len(rows) == 2
    for row in rows:
        assert row["outcome"].startswith("not sent: 1 of 2 signatures") and guild.other.address in row["outcome"]
        assert "forward_ratio" in row["outcome"]
    assert guild.epochs() == before
    assert [c for c in commitments(guild.other) if c[0] >= 0] == [c for c in signed if c[0] >= 0]


def test_garbage_for_a_signature_is_left_out_and_named(guild: Guild) -> None:
    guild.later()
    before = guild.epochs()

    def garbage(body: dict[str, Any]) -> tuple[int, bytes]:
        answer = {"signer": body["signer"], "signature": "0x" + "5a" * 65} if body["sign"] else {"would_sign": True}
        return 200, json.dumps(answer).encode()

    with answering(garbage) as liar:
        guild.first.write([(liar, guild.strange.address)], wanted())
        alone = guild.first.publish("--execute")
        assert alone.exit_code == 1 and guild.epochs() == before
        row = outcomes(alone.stdout)["publish_page 0"]
        assert f"{guild.strange.address}: gave a signature that is not its own" in row["outcome"]
        guild.later(700)  # what the first has signed can be published no more
        urls = [(liar, guild.strange.address), (guild.urls[guild.other.address], guild.other.address)]
        guild.first.write(urls, wanted())
        done = guild.first.publish("--execute")
    assert done.exit_code == 0, (done.stdout, done.stderr)
    assert guild.epochs() == [number + 1 for number in before]
    assert guild.signers() == {guild.first.address, guild.other.address}


def test_a_second_content_of_an_epoch_waits_until_the_first_is_dead(guild: Guild) -> None:
    guild.later()
    before = guild.epochs()
    only = [(guild.urls[guild.other.address], guild.other.address)]

    def forgetful(body: dict[str, Any]) -> tuple[int, bytes]:
        return (200, b'{"would_sign": true}') if not body["sign"] else (500, b"{}")

    with answering(forgetful) as liar:
        guild.first.write([(liar, guild.strange.address)], wanted())
        assert guild.first.publish("--execute").exit_code == 1
    guild.first.write(only, wanted())
    guild.later(60)
    second = guild.first.publish("--execute")
    assert second.exit_code == 1 and guild.epochs() == before
    assert "of this epoch is signed and can be published until" in outcomes(second.stdout)["publish_page 1"]["outcome"]
    guild.later(700)
    assert guild.first.publish("--execute").exit_code == 0
    assert guild.epochs() == [number + 1 for number in before]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda _: (409, b'{"error": "no", "differences": []}'), "answered 409: no"),
        (lambda _: (200, b"<html>"), "does not answer (JSONDecodeError)"),
        (lambda _: (200, b"[1]"), "does not answer (ValueError)"),
        (lambda _: (200, b'{"would_sign": 1}'), "gave no answer that can be read"),
        (lambda _: (200, b'"' + b"x" * 200_000 + b'"'), "does not answer (TransportError)"),
        (lambda _: (302, b"{}"), "answered 302"),
    ],
)
def test_whoever_refuses_or_talks_nonsense_is_named(guild: Guild, answer: Any, why: str) -> None:
    guild.later()
    with answering(answer) as url:
        guild.first.write([(url, guild.other.address), (DEAD, guild.strange.address)], wanted())
        row = outcomes(guild.first.publish().stdout)["publish_page 0"]
    assert any(item.startswith(f"{guild.other.address}: {why}") for item in row["refused"]), row
    assert f"{guild.strange.address}: does not answer (ConnectError)" in row["refused"]


def page_of(member: Member, want: ParameterSet) -> PublishPage:
    """A page of the first underlying that is due now, built by the member's own rules."""
    connection = connect(load_settings(member.folder / "ballast.toml", **member.overrides))
    snapshot = connection.chain.snapshot()
    plans = plan_pages(snapshot, want, PagePolicy(10**9, 10**9, 0, 86_400), (5_000, 3_500))
    action = plans[0].action
    assert action is not None, plans[0]
    return action


def ask_of(member: Member, page: PublishPage, **changes: Any) -> dict[str, Any]:
    """A signed request; changes are of its signed fields."""
    chain_id, contract = member.node.manifest.chain_id, member.node.manifest.addresses["RiskTable"]
    signer = LocalSigner.from_key(member.key, "test")
    fields: dict[str, Any] = {"chain_id": chain_id, "contract": contract, "sign": True}
    fields |= {"now": int(time.time()), "nonce": os.urandom(32), **changes}
    return ask(page, digest(page, fields["chain_id"], fields["contract"]), signer, **fields)


def test_only_peers_with_a_young_and_new_request_of_their_own_are_heard(guild: Guild) -> None:
    guild.later()
    guild.first.write([], wanted())
    page = page_of(guild.first, wanted())
    url = guild.urls[guild.other.address] + PATH
    stranger = Member(guild.node, guild.first.folder, (9).to_bytes(32, "big"))
    good = ask_of(guild.first, page)
    now = int(time.time())

    def said(body: Any) -> tuple[int, str]:
        answer = httpx.post(url, content=body) if isinstance(body, bytes) else httpx.post(url, json=body)
        return answer.status_code, answer.json().get("error", "")

    status, why = said(ask_of(stranger, page))
    assert status == 401 and why.startswith(f"{stranger.address} is no peer here")
    for wrong in (
        {**good, "signature": "0x" + "11" * 65},
        {**good, "signer": guild.strange.address},
        {**good, "nonce": "0x" + "22" * 32},
        {**good, "made_at": good["made_at"] + 1},
        {**good, "sign": False},
        {**good, "page": {**good["page"], "underlying": 1}},
    ):
        assert said(wrong) == (401, "the request's signature is not that of its signer"), wrong
    for off in (-61, 3_600):
        status, why = said(ask_of(guild.first, page, now=now + off))
        assert status == 401 and "check the clocks" in why
    assert said(ask_of(guild.first, page, chain_id=5))[0] == 400
    assert said(ask_of(guild.first, page, contract=guild.node.manifest.addresses["MarginEngine"]))[0] == 400
    misshapen = [json.dumps({**good, **change}).encode() for change in ({"more": 1}, {"page": None}, {"nonce": "0x00"})]
    for broken in (b"", b"[]", b"{", *misshapen):
        assert said(broken)[0] == 400
    assert said(b" " * 600_000)[0] == 413
    assert commitments(guild.other).count((0, page.epoch)) == 0, "nothing of this was signed"
    assert said(good) == (200, "")
    assert said(good) == (401, "the request was made before; use a new nonce")
    assert commitments(guild.other).count((0, page.epoch)) == 1
    again = httpx.post(url, json=ask_of(guild.first, page)).json()
    assert again["signer"] == guild.other.address  # the same content again, under a new request
    other = replace(page, header=replace(page.header, observed_at=page.header.observed_at - 1))
    assert httpx.post(url, json=ask_of(guild.first, other)).status_code == 409


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"epoch": 99}, "epoch"),
        ({"observed_at": 1_700_000_000}, "contract"),
        ({"atm_vol_bps": 7_000}, "atm_vol_bps"),
        ({"reference_price_wad": 60_900 * 10**18}, "reference_price_wad"),
        ({"vol_up_bps": 4_001}, "contract"),
        ({"lane_unit_wad": 10**17}, "row of slot 0"),
    ],
)
def test_every_field_that_differs_is_named(guild: Guild, change: dict[str, int], field: str) -> None:
    guild.later(700)
    guild.first.write([], wanted())
    page = page_of(guild.first, wanted())
    page = replace(page, header=replace(page.header, **change))  # type: ignore[arg-type]
    answer = httpx.post(guild.urls[guild.other.address] + PATH, json=ask_of(guild.first, page), timeout=30)
    assert answer.status_code == 409, answer.text
    assert any(item["field"].startswith(field) for item in answer.json()["differences"]), answer.json()


def keeper_of(guild: Guild, alarms: list[str], peers: list[tuple[str, str]], turn_s: int = 0) -> Cycle:
    """The first member's keeper, publishing pages with the signatures of these peers."""
    first = guild.first
    first.write(peers, wanted(), turn_s=turn_s)
    settings = load_settings(first.folder / "ballast.toml", **first.overrides, database_url=first.env["DATABASE_URL"])
    chain, store = connect(settings).chain, open_store(first.env["DATABASE_URL"])
    signer = LocalSigner.from_key(first.key, "test")
    publisher = Publisher(signer, chain.chain_id, guild.node.manifest.addresses["RiskTable"])
    metrics, journal = Metrics("t", chain.chain_id), Journal(store, chain.chain_id, signer.address)
    policy = replace(policy_from(settings), fees=FeeCaps(500 * 10**9, 5 * 10**9))
    alerts = Alerts(metrics, save=lambda trouble: alarms.append(f"{trouble.name}: {trouble.text}"))
    return Cycle(
        chain=chain,
        clock=SystemClock(),
        recorder=Recorder(store, chain.chain_id),
        instruments=Instruments(metrics, HealthBoard(standing_limits(12), 0)),
        alerts=alerts,
        quotes=NativePrice("ETH"),
        policy=Policy(pages=PagePolicy(300, 1_000, 3_600, 86_400), settle=False),
        outbox=SenderOutbox(Sender(chain, journal, signer, SystemClock(), policy), journal, None),
        sender=signer.address,
        target=wanted(),
        publisher=publisher,
        quorum=quorum_of(settings, chain, store, publisher),
    )


def test_a_keeper_sends_what_has_its_quorum_and_says_who_refused_what_has_not(guild: Guild) -> None:
    guild.later(7_200)
    before, alarms = guild.epochs(), list[str]()
    short = keeper_of(guild, alarms, [(guild.urls[guild.strange.address], guild.strange.address)])
    refused = [o for o in short.run().outcomes if o.action.kind == "publish_page"]  # of scenarios they think alike
    assert refused == [] and guild.epochs() == before
    assert {text.partition(":")[0] for text in alarms} == {"quorum_short"}
    assert all(guild.strange.address in text and "1 of 2 signatures" in text for text in alarms)
    alarms.clear()
    waits = keeper_of(guild, alarms, [(guild.urls[m.address], m.address) for m in (guild.strange, guild.other)], 10**6)
    first_in_turn = (waits.run().outcomes, waits.run().outcomes)
    assert alarms == [] and first_in_turn[1] == (), "another's turn, or done"
    ready = keeper_of(guild, alarms, [(guild.urls[m.address], m.address) for m in (guild.strange, guild.other)])
    done = {o.action.subject for o in (*first_in_turn[0], *ready.run().outcomes) if o.action.kind == "publish_page"}
    assert alarms == [] and done == {"0", "1"} and guild.epochs() == [number + 1 for number in before]
    assert guild.signers() == {guild.first.address, guild.other.address}


def test_who_asks_too_often_waits() -> None:
    limit = RateLimit(2)
    assert [limit.wait_s("a", at) for at in (0.0, 10.0, 20.0, 60.0, 61.0)] == [0.0, 0.0, 40.0, 0.0, 9.0]
    assert limit.wait_s("b", 61.0) == 0.0
