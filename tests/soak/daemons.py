# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of the complete ``ballast keeper run --execute`` over a scripted market: the same end as without.

Ten days on a deployed protocol: prices move every day, the cash token loses its peg and finds it again, an
expiry passes. The keeper records prices, takes the peg in, settles the expiry and frees its slots. It is
killed in the middle of what each day makes it do, and in the middle of its start. The contracts' state at the end is
compared with a run of the same market that nobody disturbed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from eth_account import Account
from rich.console import Console
from rich.progress import track

from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts
from keeper.chain.embedded import set_next_timestamp
from keeper.demo.world import World
from keeper.deploy.config import load_config
from keeper.deploy.config_market import Options
from keeper.deploy.execute import execute
from keeper.deploy.manifest import Manifest, ManifestFile
from keeper.deploy.outbox import Waiting
from keeper.deploy.plan import make_plan
from keeper.domain import Unknown
from keeper.tx.signer import LocalSigner
from tests.node.conftest import FIRST_KEY, ROOT, Anvil, find_anvil, start_anvil
from tests.soak.bench import MINED, OPEN, Bench
from tests.soak.outcome import Outcome

COUNT = 20
DAYS = 10
DAY = 86_400
PEG = {2: 1.0, 4: 0.97, 6: 0.96, 8: 1.0, 10: 0.975}  # USD of a cash token, by day
# Second account of the mnemonic that anvil uses; public, worth nothing.
KEEPER_KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
START_S = 180.0
SETTLE_S = 180.0
UNSENT = (" done", " pending", " failed")


@dataclass
class Town:
    """A deployed protocol on a node, and the keeper's process beside it."""

    folder: Path
    node: Anvil
    manifest: Manifest
    begin: int
    kills: int = 0
    process: subprocess.Popen[bytes] | None = None
    violations: list[str] = field(default_factory=list)

    @property
    def database(self) -> Path:
        return self.folder / "keeper.sqlite"

    @property
    def records(self) -> Bench:
        """Reader of the keeper's database."""
        return Bench(self.node.url, "", self.database)

    def start(self) -> None:
        """Start the process; returns at once."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BALLAST_", "RPC_URL", "ETH_"))}
        told = {
            "PYTHONPATH": str(ROOT), "RPC_URL_31337": self.node.url, "PRIVATE_KEY": KEEPER_KEY, "METRICS_PORT": "0",
            "DATABASE_URL": f"sqlite:///{self.database}", "BALLAST_CYCLE_INTERVAL_S": "0.3", "BALLAST_LEASE_S": "5",
            "BALLAST_CONFIRMATIONS": "1", "BALLAST_BUDGET__PER_DAY_ETHER": "1000", "LOG_FORMAT": "json",
        }  # fmt: skip
        manifest = self.folder / "manifest.json"
        command = [sys.executable, "-m", "keeper", "keeper", "run", "--execute", "--network", "local"]
        with (self.folder / "keeper.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--manifest", str(manifest)], cwd=self.folder, env={**kept, **told}, stdout=log, stderr=log
            )

    def kill(self) -> None:
        assert self.process is not None
        if self.process.poll() is not None:
            self.violations.append(f"the keeper ended by itself: {self.tail()}")
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.kills += 1

    def tail(self) -> str:
        return (self.folder / "keeper.log").read_text(errors="replace")[-600:]

    def settle(self) -> None:
        """Wait for a cycle at the head that had nothing to send, with nothing open in the journal."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                raise SystemExit(f"the keeper ended by itself: {self.tail()}")
            rows = self.records.rows(
                "select block_number, detail from runs where finished_at is not null order by id desc limit 1"
            )
            head = self.node.web3.eth.block_number
            quiet = bool(rows) and rows[0][0] == head and not any(word in rows[0][1] for word in UNSENT)
            if quiet and not [row for row in self.records.rows(OPEN) if row[1] != "mined"]:
                return
            time.sleep(0.05)
        raise SystemExit(f"the keeper did not come to rest in {SETTLE_S} s: {self.tail()}")

    def play(self, world: World, day: int) -> None:
        """A day's prices, the same in every run."""
        dice = random.Random(day)
        for kind, count in ((0, len(self.underlyings)), (1, len(self.collaterals))):
            for number in range(count):
                self.at(day * DAY + 10 * number + 1_000 * kind)
                usual = (self.underlyings, self.collaterals)[kind][number]
                world.set_price(kind, number, usual * (1 + dice.uniform(-0.04, 0.04)))
        if day in PEG:
            self.at(day * DAY + 3_000)
            world.set_price(2, 0, PEG[day])

    def at(self, moment: int) -> None:
        head = int(self.node.web3.eth.get_block("latest")["timestamp"])
        set_next_timestamp(self.node.web3, max(self.begin + moment, head + 1))

    underlyings: tuple[float, ...] = ()
    collaterals: tuple[float, ...] = ()

    def end(self, chain: ChainClient) -> dict[str, Any]:
        """What the contracts say that a keeper's actions have made; times from the begin."""
        view = chain.snapshot(accounts=())
        assert not isinstance(view.prices, Unknown) and not isinstance(view.options, Unknown)
        assert not isinstance(view.peg, Unknown) and not isinstance(view.delta_ones, Unknown)
        events = chain.events(0, view.block.number)
        named: dict[str, int] = {}
        for event in events:
            named[event.name] = named.get(event.name, 0) + 1
        listed = [*view.options.values(), *view.delta_ones.values()]
        return {
            "prices": {str(key): str(price.price_wad) for key, price in sorted(view.prices.items())},
            "listed": sorted((item.instrument, item.serial, str(item.settlement_wad)) for item in listed),
            "stored_bps": view.peg.stored_bps,
            "events": named,
        }


@contextmanager
def town(folder: Path, begin: int) -> Iterator[Town]:
    """A fresh deployment of a small market."""
    folder.mkdir()
    binary = find_anvil()
    if binary is None:
        raise SystemExit("no anvil: run `make node` (needs npm) or set ANVIL to the binary")
    options = ("--timestamp", str(begin), "--gas-limit", "60000000")
    with closing(start_anvil(binary, folder / "anvil.log", *options)) as nodes:
        node = next(nodes)
        full = load_config(ROOT / "config" / "local.toml")
        few = Options(expiry_days=(7,), strikes_percent=(Decimal(100),))
        markets = tuple(item.model_copy(update={"options": few}) for item in full.underlyings)
        key = LocalSigner.from_key(FIRST_KEY, "anvil's first account")
        plan = make_plan(full.model_copy(update={"underlyings": markets}), node.rpc, key.address)
        manifest = execute(
            plan, node.rpc, key, ManifestFile(folder / "manifest.json"), waiting=Waiting(timeout_s=60.0, poll_s=0.02)
        )
        made = Town(folder, node, manifest, begin)
        try:
            yield made
        finally:
            if made.process is not None and made.process.poll() is None:
                made.process.kill()
                made.process.wait()


def market(place: Town, kills: int, dice: random.Random) -> dict[str, Any]:
    """Ten days; the kills are spread over them."""
    web3, manifest = place.node.web3, place.manifest
    world = World(web3, manifest.addresses, manifest.tokens, manifest.price_feeds, Account.from_key(FIRST_KEY))
    chain = ChainClient(place.node.rpc, Contracts(manifest.deployed()), 31_337)
    view = chain.snapshot(accounts=())
    assert not isinstance(view.prices, Unknown)
    usual = {key: price.price_wad / 10**18 for key, price in view.prices.items()}
    place.underlyings = tuple(usual[0, n] for n in range(sum(kind == 0 for kind, _ in usual)))
    place.collaterals = tuple(usual[1, n] for n in range(sum(kind == 1 for kind, _ in usual)))
    place.start()
    place.settle()
    for day in track(range(1, DAYS + 1), "days", console=Console(stderr=True)):
        place.play(world, day)
        for _ in range(kills * day // DAYS - place.kills):
            time.sleep(dice.uniform(0.0, dice.choice((1.5, 12.0))))
            place.kill()
            place.start()
        place.settle()
    return place.end(chain)


def audit(place: Town) -> list[str]:
    """The key's transactions are those of the journal, and no action succeeded twice."""
    keeper = Account.from_key(KEEPER_KEY).address
    count = place.node.web3.eth.get_transaction_count(keeper)
    journal = {bytes(row[0]) for row in place.records.rows(MINED)}
    chain = {
        bytes(item["hash"])
        for number in range(place.node.web3.eth.block_number + 1)
        for item in place.node.web3.eth.get_block(number, full_transactions=True)["transactions"]
        if not isinstance(item, bytes) and item["from"] == keeper
    }
    wrong = [f"{len(chain ^ journal)} transactions are in one of chain and journal only"] if chain != journal else []
    wrong += [f"the key has sent {count} transactions, the chain has {len(chain)}"] if count != len(chain) else []
    return wrong + place.violations


def run(count: int, seed: int) -> Outcome:
    """Kill ``count`` times."""
    began, begin = time.monotonic(), int(time.time()) // 3_600 * 3_600
    with tempfile.TemporaryDirectory() as name:
        ends = []
        for label, kills in (("calm", 0), ("killed", count)):
            with town(Path(name, label), begin) as place:
                ends.append(market(place, kills, random.Random(seed)))
                wrong = audit(place)
                rows = place.records.rows("select kind, count(*) from intents group by kind")
        if ends[0] != ends[1]:
            wrong.append(f"the end differs from the run without kills: {json.dumps(ends)}")
        figures = {
            "kills": count, "seed": seed, "days": DAYS, "actions": dict(rows),
            "settled_expiries": ends[1]["events"].get("ExpirySettled", 0), "stored_bps": ends[1]["stored_bps"],
            "listed_at_the_end": len(ends[1]["listed"]), "seconds": round(time.monotonic() - began, 1),
        }  # fmt: skip
        return Outcome(figures, wrong)
