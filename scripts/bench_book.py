# SPDX-License-Identifier: Apache-2.0
"""A node with a deployment and a book of any size, for ``scripts/bench_keeper.py``.

Accounts are opened by transactions, many to a batch, so that the events that a keeper reads are real. What they hold is
then written into the storage of ``MarginAccounts`` after ``abi/layout``: fills one by one would take days. Every number
that a view returns follows from that storage; ``check_book`` reads some accounts back through the contract.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from web3 import HTTPProvider, Web3

from keeper.chain.bulk import read_accounts
from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts
from keeper.chain.multicall import AGGREGATE3, Call, encode_calls
from keeper.chain.rpc import Rpc
from keeper.demo.daemon import Daemon
from keeper.demo.market import MarketPath, synthetic_path
from keeper.demo.setup import collateral_specs, deploy_data
from keeper.demo.world import World
from keeper.deploy.config import parse_config
from keeper.deploy.execute import Executor
from keeper.deploy.manifest import Manifest, ManifestFile, manifest_path
from keeper.deploy.plan import make_plan
from keeper.domain import ContractCall, Snapshot, Unknown
from keeper.publish.calibration import PriceBook
from keeper.store import open_store
from keeper.tx.signer import LocalSigner
from risk.calibrate import CalibrationConfig, calibrate
from risk.onchain import ChainMarket
from risk.onchain_words import AccountState, DeltaOnePosition, OptionPosition, build_words, instrument_id
from risk.packed import Layout, pack_accounts
from risk.screen import screen

ROOT = Path(__file__).resolve().parent.parent
# Keys of the mnemonic that anvil uses; public, worth nothing.
DEPLOYER = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
KEEPER = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
CHAIN_ID, WAD, PERPETUAL = 31337, 10**18, 255
OPEN_AT_ONCE, WRITE_AT_ONCE = 60, 2_000
Say = Callable[[str], None]


@dataclass
class Site:
    """A node with everything deployed and published."""

    url: str
    web3: Web3
    manifest: Manifest
    world: World
    chain: ChainClient
    keeper: LocalAccount

    def ask(self, method: str, *params: Any) -> Any:
        """One request."""
        answer = self.web3.provider.make_request(method, list(params))  # type: ignore[arg-type]
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]


def find_anvil() -> str:
    """The node's binary, named by ANVIL, installed by ``make node`` or on the path."""
    installed = sorted((ROOT / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil*"))
    found = os.environ.get("ANVIL") or (str(installed[0]) if installed else shutil.which("anvil"))
    if not found:
        raise SystemExit("no anvil: run 'make node' (needs npm), or set ANVIL to the binary")
    return found


@contextmanager
def node(log: Path, timestamp: int) -> Iterator[str]:
    """Run a node on a free port; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [find_anvil(), "--port", str(port), "--silent", "--hardfork", "prague", "--gas-limit", "1000000000"]
    command += ["--timestamp", str(timestamp), "--transaction-block-keeper", "100000"]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 30
        try:
            while not Web3(HTTPProvider(url, exception_retry_configuration=None)).is_connected():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"anvil did not start; see {log}")
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()


def build_site(url: str, folder: Path, now: int, say: Say) -> Site:
    """Deploy to the node, calibrate, and publish the first pages and joint scenarios."""
    path = synthetic_path(7, now)
    say("calibrating")
    config = CalibrationConfig.quick(underlyings=path.symbols, collaterals=collateral_specs(path.symbols))
    target = calibrate(path.past, config, np.random.default_rng(1))
    rpc, deployer, keeper = Rpc.connect([url]), Account.from_key(DEPLOYER), Account.from_key(KEEPER)
    say("deploying")
    manifest = _deploy(rpc, path, target, keeper.address, folder)
    web3 = Web3(HTTPProvider(url, request_kwargs={"timeout": 120}, exception_retry_configuration=None))
    world = World(web3, manifest.addresses, manifest.tokens, manifest.price_feeds, deployer)
    signer = LocalSigner.from_key(KEEPER, "anvil's second account")
    store = open_store(f"sqlite:///{folder / 'publisher.sqlite'}")
    multicall = manifest.addresses["Multicall"]
    daemon = Daemon(rpc, manifest.deployed(), multicall, store, signer, PriceBook(path.past))
    daemon.use(target, dict(enumerate(spec.name for spec in collateral_specs(path.symbols))))
    say("publishing pages")
    for _ in range(8):
        daemon.turn()
        market = daemon.chain.snapshot(accounts=()).market
        if isinstance(market, ChainMarket) and len(market.pages) == len(path.symbols) and market.joint is not None:
            break
    else:
        raise SystemExit("the pages were not published; run with BALLAST_DEBUG=1")
    chain = ChainClient(rpc, Contracts(manifest.deployed()), CHAIN_ID, multicall=multicall)
    return Site(url, web3, manifest, world, chain, keeper)


def _deploy(rpc: Rpc, path: MarketPath, target: Any, keeper: str, folder: Path) -> Manifest:
    prices = {symbol: float(price) for symbol, price in zip(path.symbols, path.past.close[-1], strict=True)}
    data = deploy_data(target, prices, CHAIN_ID, keeper)
    data["network"]["name"] = "bench"
    config = parse_config(data, "the benchmark's configuration")
    signer = LocalSigner.from_key(DEPLOYER, "anvil's first account")
    file = ManifestFile(manifest_path(folder, CHAIN_ID, "bench"))
    return Executor(make_plan(config, rpc, signer.address), rpc, signer, file).run()


def open_accounts(site: Site, count: int, say: Say) -> None:
    """Open accounts through our Multicall, 60 to a transaction; their owner is the deployer."""
    accounts, owner = site.manifest.addresses["MarginAccounts"], site.world.operator.address
    _, data = site.chain.encode(ContractCall("MarginAccounts", "open_account", (owner,)))
    nonce = int(site.web3.eth.get_transaction_count(owner))
    site.ask("evm_setAutomine", False)
    for begin in range(0, count, OPEN_AT_ONCE):
        size = min(OPEN_AT_ONCE, count - begin)
        calls = [Call(accounts, data, "open")] * size
        site.ask(
            "eth_sendTransaction",
            {
                "from": owner, "to": site.manifest.addresses["Multicall"], "gas": hex(30_000_000),
                "nonce": hex(nonce), "data": "0x" + (AGGREGATE3 + encode_calls(calls)).hex(),
            },
        )  # fmt: skip
        nonce += 1
        if begin // OPEN_AT_ONCE % 25 == 24:
            site.ask("evm_mine")
            say(f"opened {begin + size:,} accounts")
    site.ask("evm_mine")
    site.ask("evm_setAutomine", True)


def random_states(market: ChainMarket, slots: dict[int, list[int]], count: int, seed: int = 5) -> list[AccountState]:
    """Eight positions each: seven options and a perpetual, with cash for a margin of 3 % to a few times the need."""
    rng, names = np.random.default_rng(seed), sorted(slots)
    states = []
    for _ in range(count):
        options: dict[int, dict[int, int]] = {}
        while sum(map(len, options.values())) < 7:
            u = int(rng.choice(names))
            slot = int(rng.choice(slots[u]))
            value = rng.normal() * 2e9 * WAD / market.prices[u].price
            options.setdefault(u, {})[slot] = int(value) or 1
        u = int(rng.choice(names))
        lots = int(rng.normal() * 5e9 * WAD / market.prices[u].price) or 1
        held = {instrument_id(u, PERPETUAL): DeltaOnePosition(lots, -lots * market.mark(instrument_id(u, PERPETUAL)))}
        sold = {v: tuple(OptionPosition(s, q) for s, q in sorted(found.items())) for v, found in options.items()}
        states.append(AccountState(0, 1, (), held, sold))
    layout = Layout(len(market.prices), len(market.collateral_prices))
    found = screen(pack_accounts([build_words(state) for state in states], layout), market, layout.linked)
    if found is None:
        raise SystemExit("the market of the benchmark cannot be screened")
    spare = 0.03 + rng.lognormal(-0.5, 1.0, count)
    cash = -found.health + found.result.mm * spare
    return [
        AccountState(int(usd * 10**6) * 10**12, 1, (), state.delta_ones, state.options)
        for usd, state in zip(cash, states, strict=True)
    ]


def write_book(site: Site, states: list[AccountState], first: int, say: Say) -> None:
    """Write what accounts ``first``.. hold into the storage of the contract."""
    layout = json.loads((ROOT / "abi" / "layout" / "MarginAccounts.json").read_text())["storage_layout"]
    at = {(m, n): item["slot"] for m, part in layout.items() for n, item in part.items() if "slot" in item}
    target, writes, supplied, borrowed = site.manifest.addresses["MarginAccounts"], [], 0, 0
    with httpx.Client(timeout=120) as client:
        for k, state in enumerate(states):
            account, words = first + k, build_words(state)
            supplied, borrowed = supplied + max(0, state.cash), borrowed + max(0, -state.cash)
            writes.append((mapped(at["heads", "_heads"], account), words[0]))
            writes.append((mapped(at["cash", "_balances"], account), state.cash & (2**160 - 1)))
            deltas, options = mapped(at["positions", "_deltas"], account), mapped(at["positions", "_options"], account)
            cursor = 2
            for u in range(16):
                if instrument_id(u, PERPETUAL) in state.delta_ones:
                    writes.append((deltas + (u << 2), words[cursor]))
                    cursor += 1
                for j in range((len(state.options.get(u, ())) + 3) // 4):
                    writes.append((options + (u << 5) + j, words[cursor]))
                    cursor += 1
            if len(writes) >= WRITE_AT_ONCE or k == len(states) - 1:
                _write(client, site.url, target, writes)
                writes = []
            if k % 20_000 == 19_999:
                say(f"wrote {k + 1:,} accounts")
        totals = int(site.ask("eth_getStorageAt", target, hex(at["cash", "_totals"]), "latest"), 16)
        supplied, borrowed = supplied + (totals & (2**128 - 1)), borrowed + (totals >> 128)
        _write(client, site.url, target, [(at["cash", "_totals"], supplied | borrowed << 128)])
    site.ask("evm_mine")


def mapped(slot: int, key: int) -> int:
    """Storage slot of a key of a Vyper mapping."""
    return int.from_bytes(keccak(slot.to_bytes(32, "big") + key.to_bytes(32, "big")), "big")


def _write(client: httpx.Client, url: str, target: str, writes: list[tuple[int, int]]) -> None:
    body = [
        {"jsonrpc": "2.0", "id": k, "method": "anvil_setStorageAt", "params": [target, hex(at), f"0x{value:064x}"]}
        for k, (at, value) in enumerate(writes)
    ]
    answers = client.post(url, json=body).json()
    if any("error" in answer for answer in answers):
        raise SystemExit(f"the node refused to write storage: {answers[0]}")


def check_book(site: Site, states: list[AccountState], first: int) -> None:
    """Compare what the contract says of some accounts with what was meant."""
    picked = range(0, len(states), max(1, len(states) // 50))
    words, _ = read_accounts(site.chain, [first + k for k in picked], site.chain.block())
    for k in picked:
        found, meant = words[first + k], build_words(states[k])
        if isinstance(found, Unknown) or found[0] != meant[0] or found[2:] != meant[2:]:
            raise SystemExit(f"account {first + k} is not what was written: {found} in place of {meant}")


def slots_of(snapshot: Snapshot) -> dict[int, list[int]]:
    """Slots of the listed options, by underlying."""
    if isinstance(snapshot.options, Unknown):
        raise SystemExit(f"options cannot be read: {snapshot.options.reason}")
    found: dict[int, list[int]] = {}
    for item in snapshot.options.values():
        found.setdefault(item.underlying, []).append(item.slot)
    return found
