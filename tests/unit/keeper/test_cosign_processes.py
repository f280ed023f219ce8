# SPDX-License-Identifier: Apache-2.0
"""Three publishers with a quorum of two, each a real process over a deployed protocol; one of them lies."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from keeper.chain.embedded import mine_at
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
        (lambda _: (200, b'"' + b"x" * 200_000 + b'"'), "does not answer (ValueError)"),
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
