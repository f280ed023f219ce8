# SPDX-License-Identifier: Apache-2.0
"""Everything the demonstration plays on: the chain, the deployment, the people's side and the keeper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3

from keeper.chain.embedded import make_web3, mine_at, set_next_timestamp
from keeper.chain.rpc import Rpc
from keeper.demo.daemon import Daemon
from keeper.demo.market import HOUR, MarketPath
from keeper.demo.setup import collateral_specs, deploy_config
from keeper.demo.world import World
from keeper.deploy.execute import Executor
from keeper.deploy.manifest import Manifest, ManifestFile, manifest_path
from keeper.deploy.plan import make_plan
from keeper.publish.calibration import PriceBook
from keeper.store import open_store
from keeper.tx.signer import LocalSigner
from risk.calibrate import CalibrationConfig, calibrate
from risk.types import ParameterSet

DEPLOYER_KEY, KEEPER_KEY = 1, 2  # keys of the embedded chain's funded accounts
UNDERLYING = 0


@dataclass(slots=True)
class Stage:
    """Chain, contracts, people's side, keeper."""

    web3: Web3
    world: World
    daemon: Daemon
    keeper: LocalAccount
    config: CalibrationConfig
    manifest: Manifest

    def set_price(self, underlying: int, usd: float, moment: int) -> None:
        """Write a price round, at ``moment`` (unix s) or as soon after as the chain allows."""
        head = int(self.web3.eth.get_block("latest")["timestamp"])
        set_next_timestamp(self.web3, max(moment, head + 1))
        self.world.set_price(UNDERLYING, underlying, usd)

    def pass_time(self, seconds: int) -> None:
        """Let chain time pass."""
        mine_at(self.web3, int(self.web3.eth.get_block("latest")["timestamp"]) + seconds)


def _key(number: int) -> LocalAccount:
    signer: LocalAccount = Account.from_key(number.to_bytes(32, "big"))
    return signer


def build_stage(path: MarketPath, folder: Path) -> Stage:
    """Calibrate on the past, start a chain at its end and deploy to it.

    Parameters
    ----------
    folder : for the manifest and the keeper's database.

    Raises
    ------
    risk.errors.RiskError
        The past is too short or fails the gates of the calibration.
    keeper.errors.KeeperError
        The deployment failed.
    """
    config = CalibrationConfig.quick(underlyings=path.symbols, collaterals=collateral_specs(path.symbols))
    target = calibrate(path.past, config, np.random.default_rng(int(path.past.content_hash, 16)))
    start = int(path.past.ts[-1]) + HOUR
    web3 = make_web3("revm", accounts=4, genesis_timestamp=start)
    rpc = Rpc.in_process(web3.provider)
    deployer, keeper = _key(DEPLOYER_KEY), _key(KEEPER_KEY)
    manifest = _deploy(rpc, path, target, deployer, keeper.address, folder)
    world = World(web3, manifest.addresses, manifest.tokens, manifest.price_feeds, deployer)
    store = open_store(f"sqlite:///{folder / 'keeper.sqlite'}")
    signer = LocalSigner.from_key(bytes(keeper.key), "the demonstration's keeper key")
    multicall = manifest.addresses.get("Multicall")
    daemon = Daemon(rpc, manifest.deployed(), multicall, store, signer, PriceBook(path.past))
    daemon.use(target, dict(enumerate(spec.name for spec in collateral_specs(path.symbols))))
    return Stage(web3, world, daemon, keeper, config, manifest)


def _deploy(
    rpc: Rpc, path: MarketPath, target: ParameterSet, deployer: LocalAccount, keeper: str, folder: Path
) -> Manifest:
    prices = {symbol: float(price) for symbol, price in zip(path.symbols, path.past.close[-1], strict=True)}
    config = deploy_config(target, prices, rpc.chain_id(), keeper)
    plan = make_plan(config, rpc, deployer.address)
    file = ManifestFile(manifest_path(folder, config.network.chain_id, config.network.name))
    signer = LocalSigner.from_key(bytes(deployer.key), "the demonstration's deployer key")
    return Executor(plan, rpc, signer, file).run()
