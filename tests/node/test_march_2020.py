# SPDX-License-Identifier: Apache-2.0
"""The week of 9 to 14 March 2020 on a real node, with the command line and the keeper as processes of their own.

BTC, ETH and LINK fall by half in two days. Contracts are deployed by ``ballast deploy``, the keeper runs as
``ballast keeper run --execute``, is killed with SIGKILL in the worst hour and started again. Prices are the recorded
hourly closes; their times are moved so that the chain begins now (a keeper is right to distrust a head of 2020).
"""

from __future__ import annotations

import csv
import gzip
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from eth_account import Account

from keeper.assess import assess_all, check_parity
from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts
from keeper.chain.embedded import set_next_timestamp
from keeper.demo.checks import check_conservation
from keeper.demo.population import Person, population
from keeper.demo.settle_in import Resident, Town
from keeper.demo.setup import collateral_specs, deploy_data
from keeper.demo.world import WAD, World
from keeper.deploy.manifest import Manifest, load_manifest
from keeper.domain import Snapshot, Unknown
from risk.calibrate import CalibrationConfig, calibrate
from risk.market.history import PriceHistory
from risk.market.load import load_prices
from tests.node.conftest import Anvil, start_anvil
from tests.support.shared import shared_path
from tests.support.toml import dump

HOUR = 3_600
SYMBOLS = ("BTC", "ETH", "LINK")
FIRST = int(datetime(2020, 3, 9, tzinfo=UTC).timestamp())
LAST = int(datetime(2020, 3, 15, tzinfo=UTC).timestamp())
# Accounts 1 and 2 of the mnemonic that anvil uses; public, worth nothing.
DEPLOYER = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
KEEPER = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
NAMES = (
    "lender Ada", "lender Ben", "maker North", "maker South", "covered writer", "straddle seller", "pair trader",
    "leveraged bull", "borrower against ETH", "borrower against BTC", "bull, first coin", "bull, third coin",
    "bear", "insured holder", "put seller", "condor",
)  # fmt: skip
SETTLE_S = 20.0
START_S = 60.0  # a process of its own loads its libraries first: four seconds of a processor that is shared


@dataclass
class Week:
    """Everything the test holds."""

    folder: Path
    past: PriceHistory
    hours: PriceHistory
    node: Anvil
    manifest: Manifest
    world: World
    chain: ChainClient

    @property
    def database(self) -> Path:
        return self.folder / "keeper.sqlite"


def moved(history: PriceHistory, shift: int) -> PriceHistory:
    return PriceHistory(history.symbols, history.ts + shift, history.close, history.volume, history.interval_s)


def write_prices(folder: Path, history: PriceHistory) -> None:
    folder.mkdir()
    for k, symbol in enumerate(history.symbols):
        with gzip.open(folder / f"{symbol}USDT_1h.csv.gz", "wt", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(["ts", "open", "high", "low", "close", "volume"])
            for ts, close, volume in zip(history.ts, history.close[:, k], history.volume[:, k], strict=True):
                rows.writerow([int(ts) * 1_000, close, close, close, close, volume])


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BALLAST_", "RPC_URL", "ETH_"))}
    return {**kept, "NO_COLOR": "1", **more}


def ballast(*arguments: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "keeper", *arguments],
        cwd=folder, env=environment(**env), capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


@pytest.fixture
def week(anvil_binary: Path, tmp_path: Path) -> Iterator[Week]:
    source = shared_path("data", "prices", "hourly")
    recorded = load_prices(source, list(SYMBOLS), "1h", start=FIRST - 400 * 86_400, end=LAST)
    cut = int(np.searchsorted(recorded.ts, FIRST))
    begin = int(time.time()) // HOUR * HOUR + HOUR
    shift = begin - FIRST
    part = [
        PriceHistory(recorded.symbols, recorded.ts[s], recorded.close[s], recorded.volume[s], HOUR)
        for s in (slice(0, cut), slice(cut, None))
    ]
    past, hours = (moved(item, shift) for item in part)
    write_prices(tmp_path / "prices", past)
    nodes = start_anvil(anvil_binary, tmp_path / "anvil.log", "--timestamp", str(begin), "--gas-limit", "60000000")
    node = next(nodes)
    try:
        yield deployed(tmp_path, past, hours, node)
    finally:
        nodes.close()


def deployed(folder: Path, past: PriceHistory, hours: PriceHistory, node: Anvil) -> Week:
    """Deploy with the command line; the parameters are those of a calibration on the past."""
    config = CalibrationConfig.quick(underlyings=SYMBOLS, collaterals=collateral_specs(SYMBOLS))
    target = calibrate(past, config, np.random.default_rng(1))
    prices = {symbol: float(price) for symbol, price in zip(SYMBOLS, past.close[-1], strict=True)}
    keeper = Account.from_key(KEEPER).address
    data = deploy_data(target, prices, 31337, keeper)
    data["network"]["name"] = "march"
    (folder / "deploy.toml").write_text(dump(data))
    run = ballast(
        "deploy", "--network", "march", "--config", "deploy.toml", "--yes", folder=folder,
        RPC_URL_31337=node.url, PRIVATE_KEY=DEPLOYER,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    manifest = load_manifest(folder / "deployments" / "31337" / "march.json")
    world = World(node.web3, manifest.addresses, manifest.tokens, manifest.price_feeds, Account.from_key(DEPLOYER))
    chain = ChainClient(node.rpc, Contracts(manifest.deployed()), 31337, multicall=manifest.addresses.get("Multicall"))
    return Week(folder, past, hours, node, manifest, world, chain)


@dataclass(frozen=True)
class Run:
    """A finished cycle: its number in the database, the block it saw, whether it sent anything."""

    number: int
    block: int
    sent: bool


class KeeperProcess:
    """``ballast keeper run --execute``, killed and started at will."""

    def __init__(self, week: Week, bidder: int) -> None:
        self.week = week
        settings = {
            "network": "march",
            "cycle_interval_s": 0.4,
            "confirmations": 1,
            "prices_dir": "prices",
            "lease_s": 5,
            "metrics_port": 0,
            "log_format": "json",
            "networks": {"march": {"chain_id": 31337}},
            "budget": {"per_day_ether": "1000", "per_transaction_ether": "1"},
            "liquidator": {"policy": "bid", "bidder_account": bidder, "min_profit_usd": "5", "warehouse_bps": 50},
            "publisher": {
                "enabled": True, "push_parameters": True, "heartbeat_s": 43_200, "calibrate_s": 60,
                "max_newly_liquidatable": 2, "max_newly_liquidatable_usd": "500000",
            },
        }  # fmt: skip
        (week.folder / "keeper.toml").write_text(dump(settings))
        self.log = (week.folder / "keeper.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait for its first cycle."""
        before = self._last_run()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "keeper", "keeper", "run", "--execute", "--config", "keeper.toml"],
            cwd=self.week.folder, stdout=self.log, stderr=subprocess.STDOUT,
            env=environment(
                RPC_URL_31337=self.week.node.url, PRIVATE_KEY=KEEPER, DATABASE_URL=f"sqlite:///{self.week.database}"
            ),
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while (found := self._last_run()) is None or (before is not None and found.number == before.number):
            assert self.process.poll() is None, self.tail()
            assert time.monotonic() < deadline, f"no cycle {START_S} s after the start\n{self.tail()}"
            time.sleep(0.05)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=60) == 0

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def tail(self) -> str:
        return (self.week.folder / "keeper.log").read_text(errors="replace")[-3_000:]

    def settle(self) -> None:
        """Wait until a cycle that began after the last price has found nothing more to send."""
        deadline = time.monotonic() + SETTLE_S
        head = self.week.node.web3.eth.block_number
        while time.monotonic() < deadline:
            assert self.process is not None and self.process.poll() is None, self.tail()
            found = self._last_run()
            if found is not None and found.block >= head and not found.sent:
                return
            time.sleep(0.05)
        raise AssertionError(f"the keeper did not settle at block {head}: {self._last_run()}\n{self.tail()}")

    def _last_run(self) -> Run | None:
        """The newest finished cycle."""
        if not self.week.database.exists():
            return None
        with sqlite3.connect(f"file:{self.week.database}?mode=ro", uri=True, timeout=5) as db:
            try:
                row = db.execute(
                    "select id, block_number, detail from runs where finished_at is not null order by id desc limit 1"
                ).fetchone()
            except sqlite3.OperationalError:
                return None
        if row is None or row[1] is None:
            return None
        assert '"halted": []' in row[2], self.tail()
        return Run(int(row[0]), int(row[1]), " done" in row[2] or " pending" in row[2])


def settle_in(week: Week, keeper: KeeperProcess, bidder: Resident, town: Town) -> list[Resident]:
    people = [person for person in population(SYMBOLS) if person.name in NAMES]
    residents = [town.move_in(person) for person in people]
    snapshot = published(week, keeper)
    makers = [item for item in residents if item.person.kind == "market maker"]
    for item in residents:
        town.trade(item, makers, snapshot)
        town.draw(item)
    return [*residents, bidder]


def published(week: Week, keeper: KeeperProcess) -> Snapshot:
    """Wait for the first pages: cycles are quiet while the first calibration runs beside them."""
    deadline = time.monotonic() + 3 * SETTLE_S
    while time.monotonic() < deadline:
        keeper.settle()
        snapshot = week.chain.snapshot()
        market = snapshot.market
        if not isinstance(market, Unknown) and len(market.pages) == len(SYMBOLS) and market.joint is not None:
            return snapshot
        time.sleep(0.2)
    raise AssertionError(f"the keeper has not published its first pages\n{keeper.tail()}")


def play(week: Week, hour: int) -> None:
    moment = int(week.hours.ts[hour]) + HOUR
    for u, price in enumerate(week.hours.close[hour]):
        head = int(week.node.web3.eth.get_block("latest")["timestamp"])
        set_next_timestamp(week.node.web3, max(moment, head + 1))
        week.world.set_price(0, u, float(price))


def checked(week: Week) -> Snapshot:
    snapshot = week.chain.snapshot()
    assert check_conservation(week.chain, week.world, snapshot).faults == ()
    return snapshot


@pytest.mark.node
@pytest.mark.xdist_group("march")
def test_accounts_are_liquidated_before_they_are_insolvent(week: Week) -> None:
    prices = {symbol: float(price) for symbol, price in zip(SYMBOLS, week.past.close[-1], strict=True)}
    town = Town(week.world, SYMBOLS, prices)
    bidder = town.move_in(Person("keeper's own", "liquidator", {"USDC": 6_000_000.0}))
    operator = Account.from_key(KEEPER).address
    week.world.let_bid(bidder.owner, bidder.number, operator)
    keeper = KeeperProcess(week, bidder.number)
    keeper.start()
    worst = int(np.argmin(np.diff(np.log(week.hours.close[:, 0])))) + 1
    try:
        residents = settle_in(week, keeper, bidder, town)
        for hour in range(len(week.hours.ts)):
            play(week, hour)
            if hour == worst:
                time.sleep(0.5)  # somewhere in the middle of what the worst hour makes it do
                keeper.kill()
                checked(week)
                keeper.start()
            keeper.settle()
            snapshot = checked(week)
        found = assess_all(snapshot)
        parity = check_parity(week.chain, snapshot, found, sorted(found))
        assert len(parity.checked) == len(residents) and parity.mismatches == ()
        keeper.stop()
    finally:
        keeper.close()
    judge(week, snapshot)


def judge(week: Week, snapshot: Snapshot) -> None:
    """Liquidations happened in time, losses were nobody's but the owners', and nothing was sent twice."""
    events = week.chain.events(0, snapshot.block.number)
    starts = [e for e in events if e.name == "AuctionStarted"]
    bids = [e for e in events if e.name == "BidMade"]
    assert len({e.args["account"] for e in starts}) >= 5
    first: dict[tuple[int, int], int] = {}
    for bid in bids:
        first.setdefault((bid.args["account"], bid.args["auction"]), bid.args["price_wad"])
    in_time = sum(price > 0 for price in first.values())
    print(f"auctions {len(starts)}, sold with equity left {in_time} of {len(first)}, bids {len(bids)}")
    assert in_time >= 5
    assert in_time >= 0.7 * len(first)
    assert sum(e.args["lost_wad"] for e in bids) == 0
    assert max(Counter((e.args["account"], e.args["auction"]) for e in starts).values()) == 1
    nothing_sent_twice(week)
    funds = [v for v in assess_all(snapshot).values() if not isinstance(v, Unknown) and v.equity_mark < -WAD]
    assert funds == []


def nothing_sent_twice(week: Week) -> None:
    """Every transaction of the keeper's key is in the journal, once, and no action was done by two of them."""
    with sqlite3.connect(week.database) as db:
        intents = db.execute("select kind, subject, epoch from intents").fetchall()
        mined = db.execute("select nonce, intent_id, succeeded from transactions where mined_at is not null").fetchall()
    assert len(set(intents)) == len(intents)
    done = [intent for _, intent, succeeded in mined if succeeded]
    assert len(set(done)) == len(done)
    web3 = week.node.web3
    sent = web3.eth.get_transaction_count(Account.from_key(KEEPER).address)
    assert sorted(nonce for nonce, _, _ in mined) == list(range(sent))
    assert sent > 50
