# SPDX-License-Identifier: Apache-2.0
"""Speed of the keeper on a large book on a real node: ``python -m scripts.bench_keeper [--json]``.

Runs the shipped code: the assessment and the sync as the daemon calls them, the crash with ``ballast keeper run
--execute`` as a process of its own. docs/keeper-speed.md tells how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from rich.console import Console
from rich.table import Table
from web3 import Web3
from web3.providers import BaseProvider

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from keeper.artifacts import load
from keeper.assess import (
    ParityPolicy,
    assess_all,
    check_parity,
    choose_for_parity,
    liquidatable,
    near_line,
    worst_first,
)
from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts
from keeper.chain.live import LiveReader
from keeper.chain.rpc import Rpc
from keeper.deploy.manifest import manifest_path
from keeper.domain import ContractCall, Snapshot, Unknown
from keeper.index.indexer import Indexer
from keeper.liquidate.candidates import starts
from keeper.store import open_store
from risk.onchain import ChainMarket
from scripts.bench_book import (
    CHAIN_ID,
    KEEPER,
    ROOT,
    Say,
    Site,
    build_site,
    check_book,
    node,
    open_accounts,
    random_states,
    slots_of,
    write_book,
)


class Target(NamedTuple):
    """A figure to stay below, or at."""

    key: str
    what: str
    limit: float


TARGETS = (
    Target("assess_100k_ms", "assessment of all accounts after a price move: ms", 150.0),
    Target("crash_to_auction_blocks", "block with a crash to the first auction transaction accepted: blocks", 1.0),
    Target("idle_rpc_calls", "requests of a cycle when nothing changed", 3.0),
    Target("sync_100k_seconds", "initial sync: s", 60.0),
)


class Counted:
    """Counts the requests of a client by method."""

    def __init__(self, rpc: Rpc) -> None:
        self.methods: list[str] = []
        provider: BaseProvider = rpc.web3.provider
        inner = provider.make_request

        def counting(method: Any, params: Any) -> Any:
            self.methods.append(str(method))
            return inner(method, params)

        provider.make_request = counting  # type: ignore[method-assign]


def live_reader(site: Site, folder: Path, name: str) -> tuple[LiveReader, ChainClient, Counted]:
    """A daemon's reader with a database of its own."""
    rpc = Rpc.connect([site.url], timeout_s=60.0)
    counted = Counted(rpc)
    chain = ChainClient(
        rpc, Contracts(site.manifest.deployed()), CHAIN_ID, multicall=site.manifest.addresses["Multicall"]
    )
    indexer = Indexer(chain, open_store(f"sqlite:///{folder / name}"), start_block=site.manifest.start_block)
    return LiveReader(chain, indexer), chain, counted


def bench_sync(site: Site, folder: Path, say: Say) -> tuple[LiveReader, ChainClient, Counted, dict[str, Any]]:
    """Events and states of all accounts, from an empty database to the first assessment."""
    live, chain, counted = live_reader(site, folder, "sync.sqlite")
    live.progress = lambda done, total: say(f"read {done:,} of {total:,} accounts") if done % 20_480 == 0 else None
    began, processor = time.monotonic(), time.process_time()
    snapshot = live.snapshot()
    assess_all(snapshot)
    took = {"sync_100k_seconds": time.monotonic() - began, "sync_processor_seconds": time.process_time() - processor}
    return live, chain, counted, {**took, "sync_rpc_calls": len(counted.methods)}


def bench_idle(site: Site, live: LiveReader, chain: ChainClient, counted: Counted) -> dict[str, Any]:
    """Requests of a cycle's observation one block on, with nothing in the block; the third of three, as it goes on."""
    policy, methods = ParityPolicy(), list[str]()
    for _ in range(3):
        site.ask("evm_mine")
        counted.methods.clear()
        snapshot = live.snapshot()
        found = assess_all(snapshot)
        chosen = live.affordable(choose_for_parity(found, policy, snapshot.block.hash))
        live.look_near(near_line(found, policy.near_bps, policy.near_limit))
        parity = check_parity(chain, snapshot, found, chosen)
        if parity.mismatches:
            raise SystemExit(f"twin and engine differ: {parity.mismatches[0]}")
        methods = list(counted.methods)
    return {"idle_rpc_calls": len(methods), "idle_methods": methods, "idle_parity_checked": len(parity.checked)}


def bench_assess(snapshot: Snapshot, repeats: int) -> dict[str, Any]:
    """All accounts after a move of every price, with the auctions to start; best and median of several moves."""
    market = snapshot.market
    if isinstance(market, Unknown):
        raise SystemExit(f"the market cannot be read: {market.reason}")
    walls, processors = [], []
    for k in range(repeats):
        moved = replace(snapshot, market=shifted(market, 1.0 - 0.002 * (k + 1)))
        began, processor = time.perf_counter(), time.process_time()
        found = assess_all(moved)
        liquidatable(found)
        starts(moved, found, 16)
        walls.append(1e3 * (time.perf_counter() - began))
        processors.append(1e3 * (time.process_time() - processor))
    below = sum(1 for _ in zip(range(10**6), worst_first(found), strict=False)) if repeats else 0
    return {
        "assess_100k_ms": min(walls),
        "assess_median_ms": sorted(walls)[len(walls) // 2],
        "assess_processor_ms": min(processors),
        "assess_liquidatable_at_last": below,
    }


def shifted(market: ChainMarket, factor: float) -> ChainMarket:
    """The market with every price times a factor."""
    part = int(factor * 10**9)
    prices = {u: p._replace(price=p.price * part // 10**9) for u, p in market.prices.items()}
    others = {c: p._replace(price=p.price * part // 10**9) for c, p in market.collateral_prices.items()}
    return replace(market, prices=prices, collateral_prices=others)


@contextmanager
def daemon(site: Site, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``ballast keeper run --execute``, starting auctions only."""
    settings = f"""
network = "bench"
manifest = "{manifest_path(folder, CHAIN_ID, "bench")}"
confirmations = 1
metrics_port = 0
log_format = "json"
index.head_poll_s = 0.05
liquidator.policy = "start-only"
networks.bench.chain_id = {CHAIN_ID}
budget.per_day_ether = "1000"
budget.per_transaction_ether = "1"
"""
    (folder / "keeper.toml").write_text(settings)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BALLAST_", "RPC_URL", "ETH_"))}
    env = {
        **kept, "RPC_URL_31337": site.url, "PRIVATE_KEY": KEEPER, "PYTHONPATH": str(ROOT), "NO_COLOR": "1",
        "DATABASE_URL": f"sqlite:///{folder / 'keeper.sqlite'}",
    }  # fmt: skip
    command = [sys.executable, "-m", "keeper", "keeper", "run", "--execute", "--config", "keeper.toml"]
    with (folder / "keeper.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def bench_crash(site: Site, folder: Path, say: Say) -> dict[str, Any]:
    """From a block with a lower price to the node's acceptance of the first transaction of the keeper's key."""
    say("the daemon reads the book")
    with mining(site, 1.0), daemon(site, folder) as process:
        log = folder / "keeper.log"
        began = time.monotonic()
        while log.read_text(errors="replace").count('"event": "cycle"') < 4:
            if process.poll() is not None or time.monotonic() - began > 400:
                raise SystemExit(f"the daemon did not come to its cycles:\n{log.read_text(errors='replace')[-3_000:]}")
            time.sleep(0.1)
        say("the price of the second underlying falls")
        before = site.ask("eth_getTransactionCount", site.keeper.address, "pending")
        fallen = fall(site, 1, 0.85)
        number = site.web3.eth.block_number
        while site.ask("eth_getTransactionCount", site.keeper.address, "pending") == before:
            if process.poll() is not None or time.monotonic() - fallen > 60:
                raise SystemExit(f"no auction was started:\n{log.read_text(errors='replace')[-3_000:]}")
            time.sleep(0.01)
        seconds = time.monotonic() - fallen
    return {"crash_to_auction_blocks": seconds, "crash_blocks_mined_meanwhile": site.web3.eth.block_number - number}


@contextmanager
def mining(site: Site, seconds: float) -> Iterator[None]:
    """A block every so often, with what waits: the node's own interval leaves transactions out of its blocks."""
    site.ask("evm_setAutomine", False)
    stop = threading.Event()

    def mine() -> None:
        while not stop.wait(seconds):
            site.ask("evm_mine")

    thread = threading.Thread(target=mine, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=30)


def fall(site: Site, underlying: int, factor: float) -> float:
    """Let a price fall; returns when its block was seen (monotonic s)."""
    price = site.chain.call(ContractCall("PriceOracle", "price", (0, underlying)))[0]
    feed = Web3.to_checksum_address(site.world.feeds[0, underlying])
    contract = site.web3.eth.contract(address=feed, abi=load("MockAggregator").abi)
    data = contract.functions.set_answer(round(factor * price / 10**10))._encode_transaction_data()
    sender = site.world.operator.address
    sent = site.ask("eth_sendTransaction", {"from": sender, "to": feed, "gas": hex(500_000), "data": data})
    asked = time.monotonic()
    while site.ask("eth_getTransactionReceipt", sent) is None:
        if time.monotonic() - asked > 60:
            raise SystemExit("the node does not mine the price; see its log")
        time.sleep(0.01)
    return time.monotonic()


def machine() -> dict[str, Any]:
    """Where this ran."""
    versions = {}
    for name in ("numpy", "scipy", "numba", "web3"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "none"
    return {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "versions": {"python": platform.python_version(), **versions},
        "load_1_minute": os.getloadavg()[0],
    }


def run(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Everything, on a node of its own."""
    with tempfile.TemporaryDirectory(prefix="ballast-bench-") as name:
        folder, now = Path(name), int(time.time()) // 3_600 * 3_600
        with node(folder / "anvil.log", now) as url:
            site = build_site(url, folder, now, say)
            first = site.chain.call(ContractCall("MarginAccounts", "account_count"))
            open_accounts(site, args.accounts, say)
            view = site.chain.snapshot(accounts=())
            if isinstance(view.market, Unknown):
                raise SystemExit(f"the market cannot be read: {view.market.reason}")
            say("making accounts")
            states = random_states(view.market, slots_of(view), args.accounts)
            write_book(site, states, first, say)
            check_book(site, states, first)
            say("sync")
            live, chain, counted, found = bench_sync(site, folder, say)
            found |= {"accounts": args.accounts, **bench_idle(site, live, chain, counted)}
            say("assessment")
            found |= bench_assess(live.snapshot(), args.repeats)
            if not args.no_crash:
                found |= bench_crash(site, folder, say)
    return {**found, **machine()}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object for programs")
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=7, help="price moves to assess")
    parser.add_argument("--no-crash", action="store_true", help="leave the daemon out")
    args = parser.parse_args()
    console = Console(stderr=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    found = run(args, lambda text: console.print(f"{time.strftime('%H:%M:%S')} {text}", markup=False))
    if args.json:
        print(json.dumps(found))
        return
    made = Table("what", "target", "measured", "")
    for target in TARGETS:
        if target.key in found:
            value = found[target.key]
            verdict = "met" if value <= target.limit else "missed"
            made.add_row(target.what, f"{target.limit:g}", f"{value:.4g}", verdict)
    Console().print(made)


if __name__ == "__main__":
    main()
