# SPDX-License-Identifier: Apache-2.0
"""Everything of a testnet running together: node, market, keeper; from the first start or where it was stopped."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from web3 import HTTPProvider, Web3

from keeper.errors import ConfigError
from keeper.testnet.build import Progress, build, write_config
from keeper.testnet.home import (
    CHAIN_ID,
    DEPLOYER,
    KEEPER,
    LIQUIDATOR,
    MNEMONIC,
    TRADER,
    Facts,
    Home,
    key_of,
    private_key,
    write_json,
)
from keeper.testnet.market import SYMBOLS, Driver, Feeds, Tape, recorded, simulated
from keeper.testnet.processes import Child, find_anvil, free_port, start_keeper, start_node

CHAIN_PORT, METRICS_PORT, PAGE_PORT = 8545, 9464, 9465
WATCH_S = 0.5
SEED = 1


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person who starts a testnet asks for.

    ``speed`` hours of the market in one real hour; ``tick_s`` seconds between two prices; ``block_s`` between blocks;
    ``people`` how many traders move in beside lenders and makers, None: all there are.
    """

    data: Path | None = None
    speed: float = 1.0
    tick_s: float = 2.0
    block_s: int = 1
    seed: int = SEED
    port: int = CHAIN_PORT
    keeper: bool = True
    people: int | None = None


@dataclass
class Testnet:
    """The parts that run; `start` once, `watch` until told to stop, `stop` always."""

    home: Home
    wishes: Wishes
    say: Progress
    _children: list[Child] = field(default_factory=list)
    _driver: Driver | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> dict[str, Any]:
        """Bring everything up; returns what a person needs to know, which is also in ``running.json``."""
        home, wishes = self.home, self.wishes
        home.folder.mkdir(parents=True, exist_ok=True)
        home.crash_file.unlink(missing_ok=True)
        binary, port = find_anvil(), free_port(wishes.port)
        facts = home.facts() or self._build(binary, port)
        node, url = start_node(binary, port, home.state.resolve(), home.folder / "anvil.log", wishes.block_s, MNEMONIC)
        self._children.append(node)
        self._drive(facts, url)
        metrics_port, page_port = free_port(METRICS_PORT), free_port(PAGE_PORT)
        write_config(home, facts, metrics_port)
        if wishes.keeper:
            key = private_key(KEEPER)
            log = home.folder / "keeper.log"
            self._children.append(
                start_keeper(home.config, url, key, CHAIN_ID, log, ("--page", "--page-port", str(page_port)))
            )
        running = self._describe(facts, url, metrics_port, page_port)
        write_json(home.running_file, running)
        self.say("ready", 1.0)
        return running

    def watch(self, show: Callable[[dict[str, float]], None], every_s: float) -> None:
        """Look after the parts until `ask_to_stop`; raises when one of them ends by itself."""
        facts, due = self.home.facts(), 0.0
        symbols = () if facts is None else facts.symbols
        while not self._stop.wait(WATCH_S):
            for child in self._children:
                child.check()
            if self._driver is not None:
                if self._driver.error is not None:
                    raise self._driver.error
                if time.monotonic() >= due:
                    due = time.monotonic() + every_s
                    show(dict(zip(symbols, self._driver.last, strict=True)))

    def ask_to_stop(self) -> None:
        """End `watch`; returns at once."""
        self._stop.set()

    def stop(self) -> None:
        """End everything that was started: the market, the keeper, and last the node, which keeps its state."""
        if self._driver is not None:
            self._driver.stop()
        for child in reversed(self._children):
            child.stop()
        self._children.clear()
        self.home.running_file.unlink(missing_ok=True)

    def _build(self, binary: Path, port: int) -> Facts:
        """The first start: a node that mines at once, so that hundreds of transactions take seconds."""
        home, wishes = self.home, self.wishes
        if any(home.folder.iterdir()):
            raise ConfigError(
                f"{home.folder} holds something that is no finished testnet; remove it ('--fresh' does), or choose "
                "another --folder"
            )
        node, url = start_node(binary, port, home.state.resolve(), home.folder / "anvil.log", None, MNEMONIC)
        try:
            now = int(time.time())
            path = simulated(wishes.seed, now, SYMBOLS) if wishes.data is None else recorded(wishes.data, now)
            facts = build(home, url, path, self.say, wishes.people)
        finally:
            node.stop()
        home.keep(facts)
        return facts

    def _drive(self, facts: Facts, url: str) -> None:
        """Go on with the market from the prices that the chain has."""
        wishes, now = self.wishes, int(time.time())
        manifest = self.home.load_manifest()
        feeds = Feeds(Web3(HTTPProvider(url)), dict(manifest.price_feeds), key_of(DEPLOYER))
        last = feeds.last()
        if wishes.data is None:
            path = simulated(wishes.seed + now, now, dict(zip(facts.symbols, last, strict=True)))
        else:
            path = recorded(wishes.data, now)
        if path.symbols != facts.symbols:
            raise ConfigError(
                f"the prices are of {', '.join(path.symbols)}, this testnet trades {', '.join(facts.symbols)}; use the "
                "folder of prices that it was made with, or start a new one with --fresh"
            )
        tape = Tape(path.hours, last, wishes.speed)
        self._driver = Driver(tape, feeds, self.home.crash_file, wishes.tick_s, time.time)
        self._driver.start()

    def _describe(self, facts: Facts, url: str, metrics_port: int, page_port: int) -> dict[str, Any]:
        manifest = self.home.load_manifest()
        accounts = {
            "keeper": facts.keeper_account,
            "trader": facts.trader_account,
            "liquidator": facts.liquidator_account,
        }
        return {
            "pid": os.getpid(),
            "chain_id": CHAIN_ID,
            "rpc_url": url,
            "page_url": f"http://127.0.0.1:{page_port}/" if self.wishes.keeper else None,
            "metrics_url": f"http://127.0.0.1:{metrics_port}/metrics",
            "manifest": str(self.home.manifest),
            "keeper_config": str(self.home.config),
            "market": facts.source,
            "contracts": dict(manifest.addresses),
            "tokens": dict(manifest.tokens),
            "keys": {
                name: {
                    "address": key_of(number).address,
                    "private_key": private_key(number),
                    "account": accounts.get(name),
                }
                for name, number in _WHO.items()
            },
        }


_WHO = {"deployer": DEPLOYER, "keeper": KEEPER, "trader": TRADER, "liquidator": LIQUIDATOR}


def clear(home: Home) -> None:
    """Remove a testnet's folder; refuses one that is not a testnet's.

    Raises
    ------
    ConfigError
        The folder holds something else, or the testnet runs.
    """
    if not home.folder.exists():
        return
    known = {home.state.name, home.facts_file.name, home.prices.name, "anvil.log", "deployments"}
    if any(home.folder.iterdir()) and not known & {item.name for item in home.folder.iterdir()}:
        raise ConfigError(f"{home.folder} is no testnet's folder; remove it yourself, or choose another --folder")
    try:
        home.running()
    except ConfigError:
        shutil.rmtree(home.folder)
        return
    raise ConfigError(f"a testnet runs in {home.folder}; stop it first (Ctrl-C where it was started)")
