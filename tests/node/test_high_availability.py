# SPDX-License-Identifier: Apache-2.0
"""Two keepers on one PostgreSQL and one node: whichever way the leader fails, the other one takes over in seconds.

Both run as ``ballast keeper run --execute`` with the same key. Each has a wire of its own to the database, to be cut,
and a gateway of its own to the node, which notes what it sends. Their work is recording prices: each new price of a
feed is one action.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from eth_account import Account
from web3 import Web3

from keeper.artifacts import load
from keeper.chain.embedded import set_next_timestamp
from keeper.demo.world import World
from keeper.deploy.config import load_config
from keeper.deploy.config_market import Options
from keeper.deploy.execute import Waiting, execute
from keeper.deploy.manifest import Manifest, ManifestFile, load_manifest
from keeper.deploy.plan import make_plan
from keeper.tx.signer import LocalSigner
from tests.node.conftest import FIRST_KEY, Anvil, free_port
from tests.support.postgres import PostgresServer
from tests.support.proxies import Gateway, Wire
from tests.support.shared import ROOT

# Second account of the mnemonic that anvil uses; public, worth nothing.
KEEPER = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
RECORD_S = 6 * 3_600
TAKEOVER_S = 10.0
PATIENCE_S = 60.0


@dataclass
class Place:
    """Node, database and people's side."""

    folder: Path
    node: Anvil
    server: PostgresServer
    database: str
    manifest_path: Path
    manifest: Manifest
    world: World
    steps: int = 0

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.sql(statement, self.database.rpartition("/")[2])

    def lease(self) -> tuple[str, int] | None:
        found = self.sql("SELECT holder, token FROM leases")
        return (found[0][0], found[0][1]) if found else None

    def step(self) -> None:
        """Six hours later every feed has a new price: as many actions as there are feeds."""
        web3 = self.node.web3
        now = int(web3.eth.get_block("latest")["timestamp"])
        set_next_timestamp(web3, now + RECORD_S + 60)
        self.steps += 1
        for kind, number in self.feeds:
            self.world.set_price(kind, number, 1_000.0 + self.steps)

    @property
    def feeds(self) -> list[tuple[int, int]]:
        return sorted(key for key in self.manifest.price_feeds if key[0] == 0)

    def updated_at(self, kind: int, number: int) -> int:
        """Time of a feed's newest round."""
        feed = self.node.web3.eth.contract(
            address=Web3.to_checksum_address(self.manifest.price_feeds[kind, number]), abi=load("MockAggregator").abi
        )
        return int(feed.functions.latestRoundData().call()[3])

    def wanted(self) -> set[tuple[str, str]]:
        """(subject, epoch) of the action that records the present price of each underlying and collateral asset."""
        return {
            (f"{kind}:{number}", str(self.updated_at(kind, number)))
            for kind, number in self.manifest.price_feeds
            if kind < 2
        }

    def missing(self) -> set[tuple[str, str]]:
        """Those of `wanted` that are not mined yet."""
        return self.wanted() - set(self.sql("SELECT subject, epoch FROM intents WHERE succeeded"))

    def recorded(self) -> int:
        """Prices whose recording is mined, by the journal."""
        return int(self.sql("SELECT count(*) FROM intents WHERE kind = 'record_price' AND succeeded")[0][0])


class Daemon:
    """``ballast keeper run --execute`` with its own wire and gateway."""

    def __init__(self, place: Place, name: str) -> None:
        self.place, self.name = place, name
        self.wire, self.gateway = Wire(place.server.port), Gateway(place.node.url)
        self.port = free_port()
        self.log = place.folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.process is not None:
            self.process.wait()  # it was killed
        database = self.place.database.replace(str(self.place.server.port), str(self.wire.port))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BALLAST_", "RPC_URL", "ETH_"))}
        environment = {
            **kept,
            "PYTHONPATH": str(ROOT),
            "RPC_URL_31337": self.gateway.url,
            "PRIVATE_KEY": KEEPER,
            "DATABASE_URL": database,
            "BALLAST_CYCLE_INTERVAL_S": "0.5",
            "BALLAST_CONFIRMATIONS": "1",
            "METRICS_PORT": str(self.port),
            "LOG_FORMAT": "json",
        }
        arguments = ["--network", "local", "--manifest", str(self.place.manifest_path)]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "keeper", "keeper", "run", "--execute", *arguments],
                cwd=self.place.folder, env=environment, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """As an operator does."""
        self.signal(signal.SIGTERM)
        assert self.process is not None
        assert self.process.wait(timeout=PATIENCE_S) == 0, self.tail()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.wire.close()
        self.gateway.drop()

    def role(self) -> str | None:
        """What ``/ready`` says it is, None while it does not answer."""
        try:
            return str(requests.get(f"http://127.0.0.1:{self.port}/ready", timeout=2).json()["role"])
        except (requests.RequestException, KeyError):
            return None

    def metric(self, name: str) -> float:
        text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text
        return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + " "))

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3_000:]


@pytest.fixture
def place(anvil: Anvil, own_postgres: PostgresServer, deployer: LocalSigner, tmp_path: Path) -> Place:
    full = load_config(ROOT / "config" / "local.toml")
    options = Options(expiry_days=(7,), strikes_percent=(Decimal(100),))
    few = tuple(item.model_copy(update={"options": options}) for item in full.underlyings)
    plan = make_plan(full.model_copy(update={"underlyings": few}), anvil.rpc, deployer.address)
    path = tmp_path / "deployments" / "31337" / "local.json"
    execute(plan, anvil.rpc, deployer, ManifestFile(path), waiting=Waiting(timeout_s=20.0, poll_s=0.02))
    manifest = load_manifest(path)
    account = Account.from_key(FIRST_KEY)
    world = World(anvil.web3, manifest.addresses, manifest.tokens, manifest.price_feeds, account)
    return Place(tmp_path, anvil, own_postgres, own_postgres.create(), path, manifest, world)


@pytest.fixture
def daemons(place: Place) -> Iterator[tuple[Daemon, Daemon]]:
    both = Daemon(place, "north"), Daemon(place, "south")
    try:
        yield both
    finally:
        for each in both:
            each.close()


def wait(what: str, done: Callable[[], bool], *watched: Daemon, within_s: float = PATIENCE_S) -> float:
    """Seconds until something holds."""
    began = time.monotonic()
    while not done():
        tails = "\n".join(f"{each.name}: {each.tail()}" for each in watched)
        assert time.monotonic() - began < within_s, f"not within {within_s} s: {what}\n{tails}"
        time.sleep(0.02)
    return time.monotonic() - began


def taken_over(place: Place, old: Daemon, new: Daemon, fault: Callable[[], None]) -> float:
    """Let the leader fail while it has work; returns the seconds until the standby had the lease."""
    before = place.lease()
    assert before is not None
    done = place.recorded()
    place.step()
    wait("the leader is at work", lambda: place.recorded() > done, old)
    fault()
    seconds = wait("takeover", lambda: (place.lease() or before)[1] > before[1], new, within_s=TAKEOVER_S)
    all_recorded(place, old, new)
    return seconds


def all_recorded(place: Place, *watched: Daemon) -> None:
    wait("all present prices are recorded", lambda: not place.missing(), *watched)


@pytest.mark.node
def test_a_standby_takes_over_whatever_happens_to_the_leader(place: Place, daemons: tuple[Daemon, Daemon]) -> None:
    north, south = daemons
    north.start()
    wait("north leads", lambda: north.role() == "leader", north)
    south.start()
    wait("south stands by", lambda: south.role() == "standby", south)
    all_recorded(place, north, south)
    assert (north.metric("ballast_keeper_lease_held"), south.metric("ballast_keeper_lease_held")) == (1, 0)
    assert south.gateway.sends.all == []

    killed = taken_over(place, north, south, lambda: north.signal(signal.SIGKILL))
    north.start()
    wait("north stands by", lambda: north.role() == "standby", north)

    stopped = taken_over(place, south, north, lambda: south.signal(signal.SIGSTOP))
    woken = time.monotonic()
    south.signal(signal.SIGCONT)
    wait("south stands by", lambda: south.role() == "standby", south)
    place.step()
    all_recorded(place, north, south)
    assert south.gateway.sends.since(woken) == []

    cut = taken_over(place, north, south, north.wire.hold)
    fenced = time.monotonic()
    place.step()
    all_recorded(place, north, south)
    north.wire.mend()
    wait("north stands by", lambda: north.role() == "standby", north)
    assert north.gateway.sends.since(fenced) == []

    place.server.stop()
    place.step()
    time.sleep(1)
    place.server.start()
    all_recorded(place, north, south)  # whoever has it then
    print(f"takeover after kill -9 {killed:.1f} s, SIGSTOP {stopped:.1f} s, cut from the database {cut:.1f} s")
    for each in daemons:
        each.stop()
    once(place, daemons)


def once(place: Place, daemons: tuple[Daemon, Daemon]) -> None:
    """Each price is recorded once, and all that the key has sent is in the journal."""
    intents = place.sql("SELECT kind, subject, epoch FROM intents")
    assert len(set(intents)) == len(intents)
    mined = place.sql("SELECT nonce, intent_id, succeeded FROM transactions WHERE mined_at IS NOT NULL")
    used = place.node.web3.eth.get_transaction_count(Account.from_key(KEEPER).address)
    assert sorted(nonce for nonce, _, _ in mined) == list(range(used))
    assert max(Counter(intent for _, intent, succeeded in mined if succeeded).values()) == 1
    assert place.missing() == set()
    known = {bytes(raw) for (raw,) in place.sql("SELECT raw FROM transactions")}
    sent = {bytes.fromhex(raw[2:]) for each in daemons for _, raw in each.gateway.sends.all}
    assert sent <= known
