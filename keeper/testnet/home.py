# SPDX-License-Identifier: Apache-2.0
"""The folder of a local testnet, and what is known about it from one start to the next."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from keeper.deploy.manifest import Manifest, load_manifest, manifest_path
from keeper.errors import ConfigError

NETWORK, CHAIN_ID = "testnet", 31337
DEPLOYER, KEEPER, TRADER, LIQUIDATOR = range(4)  # accounts of the mnemonic
# The mnemonic that anvil and hardhat use: public, worth nothing on any chain.
MNEMONIC = "test test test test test test test test test test test junk"


def key_of(number: int) -> LocalAccount:
    """An account of the mnemonic, funded by the node with 10,000 ether."""
    Account.enable_unaudited_hdwallet_features()
    signer: LocalAccount = Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{number}")
    return signer


def private_key(number: int) -> str:
    """Its key as hex: public, worth nothing on any real chain."""
    return f"0x{bytes(key_of(number).key).hex()}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the first start decided: underlyings in order, their prices then (USD), and whose account is whose."""

    symbols: tuple[str, ...]
    prices: dict[str, float]
    source: str
    keeper_account: int
    trader_account: int
    liquidator_account: int
    people: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of one testnet."""

    folder: Path

    @property
    def state(self) -> Path:
        """The node's memory between starts."""
        return self.folder / "anvil-state.json"

    @property
    def facts_file(self) -> Path:
        """What the first start decided; there once it was finished."""
        return self.folder / "testnet.json"

    @property
    def running_file(self) -> Path:
        """Addresses and process of the testnet while it is up."""
        return self.folder / "running.json"

    @property
    def crash_file(self) -> Path:
        """An order to the market, taken by the process that drives it."""
        return self.folder / "crash.json"

    @property
    def prices(self) -> Path:
        """Price files that the keeper calibrates on."""
        return self.folder / "prices"

    @property
    def config(self) -> Path:
        """The keeper's settings."""
        return self.folder / "keeper.toml"

    @property
    def manifest(self) -> Path:
        """The deployment."""
        return manifest_path(self.folder / "deployments", CHAIN_ID, NETWORK)

    def load_manifest(self) -> Manifest:
        """The deployment as it was written."""
        return load_manifest(self.manifest)

    def facts(self) -> Facts | None:
        """What the first start decided, None before it was finished."""
        if not self.facts_file.is_file():
            return None
        data = json.loads(self.facts_file.read_text(encoding="utf-8"))
        return Facts(**{**data, "symbols": tuple(data["symbols"])})

    def keep(self, facts: Facts) -> None:
        """Write down what the first start decided."""
        write_json(self.facts_file, asdict(facts))

    def running(self) -> dict[str, Any]:
        """What `ballast testnet up` wrote when it was ready.

        Raises
        ------
        ConfigError
            None runs in this folder.
        """
        if self.running_file.is_file():
            found: dict[str, Any] = json.loads(self.running_file.read_text(encoding="utf-8"))
            if _alive(found["pid"]):
                return found
        raise ConfigError(
            f"no testnet runs in {self.folder}; start one with 'ballast testnet up --folder {self.folder}'"
        )


def write_json(path: Path, data: object) -> None:
    """Write a file at once, so that a reader never sees half of it."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(data, indent=2), encoding="utf-8")
    part.replace(path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
