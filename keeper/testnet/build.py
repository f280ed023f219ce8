# SPDX-License-Identifier: Apache-2.0
"""The first start of a testnet: calibrate, deploy, let people move in, publish the first pages, trade."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from web3 import HTTPProvider, Web3

from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts
from keeper.chain.rpc import Rpc
from keeper.demo.daemon import Daemon
from keeper.demo.market import MarketPath
from keeper.demo.population import MAKERS, Person, population
from keeper.demo.settle_in import Town
from keeper.demo.setup import collateral_specs, deploy_data
from keeper.demo.world import World
from keeper.deploy.config import parse_config
from keeper.deploy.execute import Executor
from keeper.deploy.manifest import ManifestFile
from keeper.deploy.plan import make_plan
from keeper.domain import Snapshot, Unknown
from keeper.errors import Permanent
from keeper.publish.calibration import PriceBook
from keeper.store import open_store
from keeper.testnet.home import CHAIN_ID, DEPLOYER, KEEPER, LIQUIDATOR, NETWORK, TRADER, Facts, Home, key_of
from keeper.tx.signer import LocalSigner
from risk.calibrate import CalibrationConfig, calibrate
from risk.market.history import PriceHistory
from risk.types import ParameterSet

Progress = Callable[[str, float], None]
KEEPER_CASH_USD, VISITOR_CASH_USD = 6_000_000.0, 1_000_000.0
FIRST_TURNS = 12  # of the keeper, until the first pages are out


def build(home: Home, url: str, path: MarketPath, say: Progress, traders: int | None = None) -> Facts:
    """Make a testnet on an empty node that mines at once; ``traders`` move in, None: all there are.

    Raises
    ------
    risk.errors.RiskError
        The past cannot be calibrated on.
    keeper.errors.KeeperError
        The deployment or a transaction failed.
    """
    home.folder.mkdir(parents=True, exist_ok=True)
    say("calibrating on the past", 0.0)
    write_prices(home.prices, path.past)
    config = CalibrationConfig.quick(underlyings=path.symbols, collaterals=collateral_specs(path.symbols))
    target = calibrate(path.past, config, np.random.default_rng(int(path.past.content_hash, 16)))
    say("deploying the contracts", 0.15)
    prices = {symbol: float(price) for symbol, price in zip(path.symbols, path.past.close[-1], strict=True)}
    rpc, web3 = Rpc.connect([url]), Web3(HTTPProvider(url))
    _deploy(home, rpc, target, prices)
    manifest = home.load_manifest()
    world = World(web3, manifest.addresses, manifest.tokens, manifest.price_feeds, key_of(DEPLOYER))
    people = population(path.symbols)
    keep = len(people) if traders is None else len(MAKERS) + traders
    return _people(home, rpc, world, path, target, prices, people[:keep], say)


def write_prices(folder: Path, history: PriceHistory) -> None:
    """Hourly closes as the files that a keeper calibrates on."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, symbol in enumerate(history.symbols):
        with gzip.open(folder / f"{symbol}USDT_1h.csv.gz", "wt", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(["ts", "open", "high", "low", "close", "volume"])
            for ts, close, volume in zip(history.ts, history.close[:, k], history.volume[:, k], strict=True):
                rows.writerow([int(ts) * 1_000, close, close, close, close, volume])


def _deploy(home: Home, rpc: Rpc, target: ParameterSet, prices: dict[str, float]) -> None:
    data: dict[str, Any] = deploy_data(target, prices, CHAIN_ID, key_of(KEEPER).address)
    data["network"]["name"] = NETWORK
    deployer = key_of(DEPLOYER)
    plan = make_plan(parse_config(data, "the testnet's configuration"), rpc, deployer.address)
    signer = LocalSigner.from_key(bytes(deployer.key), "the testnet's deployer key")
    Executor(plan, rpc, signer, ManifestFile(home.manifest)).run()


def _people(
    home: Home,
    rpc: Rpc,
    world: World,
    path: MarketPath,
    target: ParameterSet,
    prices: dict[str, float],
    people: Sequence[Person],
    say: Progress,
) -> Facts:
    """Everybody moves in; the keeper publishes the first pages in this process; then people trade."""
    town = Town(world, path.symbols, prices)
    residents = []
    for k, person in enumerate(people):
        say(f"{person.name} moves in", 0.3 + 0.3 * k / len(people))
        residents.append(town.move_in(person))
    own = town.move_in(Person("keeper's own", "liquidator", {"USDC": KEEPER_CASH_USD}))
    world.let_bid(own.owner, own.number, key_of(KEEPER).address)
    trader, liquidator = (_visitor(world, number) for number in (TRADER, LIQUIDATOR))
    say("the keeper publishes its first tables", 0.65)
    snapshot = _first_pages(home, rpc, path, target)
    makers = [item for item in residents if item.person.kind == "market maker"]
    for k, item in enumerate(residents):
        say(f"{item.person.name} trades", 0.7 + 0.3 * k / len(residents))
        town.trade(item, makers, snapshot)
        town.draw(item)
    return Facts(
        symbols=path.symbols,
        prices=prices,
        source=path.source,
        keeper_account=own.number,
        trader_account=trader,
        liquidator_account=liquidator,
        people={item.person.name: item.number for item in residents},
    )


def _visitor(world: World, number: int) -> int:
    """An account for whoever tries the testnet, with cash."""
    owner = key_of(number)
    account = world.open_account(owner)
    world.deposit(owner, account, "USDC", world.raw_amount("USDC", VISITOR_CASH_USD, 1.0))
    return account


def _first_pages(home: Home, rpc: Rpc, path: MarketPath, target: ParameterSet) -> Snapshot:
    """Pages and joint scenarios, by the keeper's own code, key and database, before there is a keeper process."""
    manifest, key = home.load_manifest(), key_of(KEEPER)
    store = open_store(f"sqlite:///{home.folder / 'keeper.sqlite'}")
    signer = LocalSigner.from_key(bytes(key.key), "the testnet's keeper key")
    multicall = manifest.addresses.get("Multicall")
    daemon = Daemon(rpc, manifest.deployed(), multicall, store, signer, PriceBook(path.past))
    daemon.use(target, dict(enumerate(spec.name for spec in collateral_specs(path.symbols))))
    for _ in range(FIRST_TURNS):
        daemon.turn()
        chain = ChainClient(rpc, Contracts(manifest.deployed()), CHAIN_ID, multicall=multicall)
        snapshot = chain.snapshot(accounts=())
        market = snapshot.market
        if not isinstance(market, Unknown) and len(market.pages) == len(path.symbols) and market.joint is not None:
            store.close()
            return snapshot
    raise Permanent(f"the first pages could not be published; see {home.folder}")


def write_config(home: Home, facts: Facts, metrics_port: int) -> None:
    """Settings of the keeper process: bids, publishes and pushes with the guards of a careful operator."""
    text = f'''\
# The keeper of the local testnet; written by 'ballast testnet up' at every start.
network = "{NETWORK}"
manifest = {json.dumps(str(home.manifest.relative_to(home.folder)))}
database_url = "sqlite:///keeper.sqlite"
prices_dir = "prices"
cycle_interval_s = 1
confirmations = 1
lease_s = 10
metrics_port = {metrics_port}

[networks.{NETWORK}]
chain_id = {CHAIN_ID}

[budget]
per_day_ether = "100"
per_transaction_ether = "1"

[liquidator]
policy = "bid"
bidder_account = {facts.keeper_account}
min_profit_usd = "5"
warehouse_bps = 50

[publisher]
enabled = true
push_parameters = true
calibrate_s = 3600
max_newly_liquidatable = 2
max_newly_liquidatable_usd = "500000"
'''
    home.config.write_text(text, encoding="utf-8")
