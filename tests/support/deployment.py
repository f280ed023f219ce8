# SPDX-License-Identifier: Apache-2.0
"""A deployment on the embedded chain for tests: configuration, key, client, and everything in one call."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from web3 import Web3

from keeper.artifacts import load
from keeper.chain.embedded import BackendName, make_web3
from keeper.chain.rpc import Rpc
from keeper.deploy.config import DeployConfig, parse_config
from keeper.deploy.execute import Progress, Stage, execute
from keeper.deploy.manifest import Manifest, ManifestFile
from keeper.deploy.outbox import Waiting
from keeper.deploy.plan import Plan, make_plan
from keeper.deploy.steps import Step
from keeper.tx.signer import LocalSigner

ROOT = Path(__file__).resolve().parents[2]
QUICK = Waiting(timeout_s=2.0, poll_s=0.001)


def local_data() -> dict[str, Any]:
    """``config/local.toml`` as parsed, for the embedded chain and with two options an underlying."""
    data = tomllib.loads((ROOT / "config" / "local.toml").read_text(encoding="utf-8"))
    data["network"]["chain_id"] = 1337
    for item in data["underlyings"]:
        item["options"] = {"expiry_days": [7], "strikes_percent": [100]}
    return data


def local_config() -> DeployConfig:
    """The same, validated."""
    return parse_config(local_data(), "local.toml")


@dataclass
class Place:
    """An embedded chain with a deployer's key and a manifest file."""

    web3: Web3
    rpc: Rpc
    signer: LocalSigner
    file: ManifestFile

    def plan(self, config: DeployConfig | None = None) -> Plan:
        """Plan on this chain, going on with the manifest if there is one."""
        return make_plan(config or local_config(), self.rpc, self.signer.address, self.file.load())

    def deploy(self, config: DeployConfig | None = None, **options: Any) -> Manifest:
        """Plan and execute."""
        return execute(self.plan(config), self.rpc, self.signer, self.file, waiting=QUICK, **options)

    def sent(self) -> int:
        """Transactions of the deployer so far."""
        return self.rpc.nonce(self.signer.address)


def embedded_place(folder: Path, backend: BackendName = "revm") -> Place:
    """A fresh chain; the manifest lies under ``folder``."""
    web3 = make_web3(backend, accounts=3)
    signer = LocalSigner.from_key((1).to_bytes(32, "big"), "test key")
    file = ManifestFile(folder / "deployments" / "1337" / "local.json")
    return Place(web3, Rpc.in_process(web3.provider), signer, file)  # type: ignore[arg-type]


def create(place: Place, name: str, *args: object) -> str:
    """Create a contract outside the deployment."""
    artifact = load(name)
    factory = place.web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
    sent = factory.constructor(*args).transact({"from": place.signer.address})
    return str(place.web3.eth.get_transaction_receipt(sent)["contractAddress"])


class KilledError(Exception):
    """Stands for the end of the process."""


def kill_at(stage: Stage, step_id: str) -> Progress:
    """End the run when a step reaches a stage."""

    def look(reached: Stage, step: Step) -> None:
        if (reached, step.id) == (stage, step_id):
            raise KilledError

    return look
