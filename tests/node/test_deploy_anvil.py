# SPDX-License-Identifier: Apache-2.0
"""Deploying to a real node, killed in the middle at many places and started again: everything once, nothing twice."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keeper.cli import app
from keeper.deploy.config import DeployConfig, load_config
from keeper.deploy.config_market import Options
from keeper.deploy.execute import Stage, Waiting, execute
from keeper.deploy.handover import Handover
from keeper.deploy.manifest import Manifest, ManifestFile, load_manifest
from keeper.deploy.plan import Plan, make_plan
from keeper.deploy.steps import Deploy, Step
from keeper.deploy.verify import problems, verify
from keeper.tx.signer import LocalSigner
from tests.node.conftest import FIRST_KEY, Anvil

pytestmark = pytest.mark.node

ROOT = Path(__file__).resolve().parents[2]
GOVERNANCE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"  # anvil's second account
QUICK = Waiting(timeout_s=20.0, poll_s=0.02)


class KilledError(Exception):
    """Stands for the end of the process."""


class Killer:
    """Ends the run at the n-th time that a stage is reached."""

    def __init__(self, stage: Stage, count: int) -> None:
        self.stage, self.left = stage, count

    def __call__(self, stage: Stage, step: Step) -> None:
        if stage == self.stage:
            self.left -= 1
            if self.left == 0:
                raise KilledError(f"{stage} {step.id}")


@pytest.fixture(scope="module")
def full_config() -> DeployConfig:
    return load_config(ROOT / "config" / "local.toml")


@pytest.fixture(scope="module")
def config(full_config: DeployConfig) -> DeployConfig:
    """Every kind of step, few options."""
    options = Options(expiry_days=(7,), strikes_percent=(Decimal(100),))
    few = tuple(item.model_copy(update={"options": options}) for item in full_config.underlyings)
    return full_config.model_copy(update={"underlyings": few})


@pytest.fixture
def file(tmp_path: Path) -> ManifestFile:
    return ManifestFile(tmp_path / "deployments" / "31337" / "local.json")


def contracts_created(anvil: Anvil) -> list[str]:
    """Every contract that any transaction of the chain has created."""
    web3 = anvil.web3
    found = []
    for number in range(web3.eth.block_number + 1):
        for transaction in web3.eth.get_block(number)["transactions"]:
            receipt = web3.eth.get_transaction_receipt(transaction)  # type: ignore[arg-type]
            assert receipt["status"] == 1
            if receipt["contractAddress"] is not None:
                found.append(str(receipt["contractAddress"]))
    return found


def check_complete(anvil: Anvil, plan: Plan, manifest: Manifest, deployer: LocalSigner) -> None:
    """Plan, manifest and chain agree, transaction by transaction."""
    created = contracts_created(anvil)
    assert len(created) == len(plan.creations)
    assert Counter(created) == Counter(item.address for item in manifest.contracts.values())
    sent = [step for step in manifest.steps if step.block]
    assert anvil.web3.eth.get_transaction_count(deployer.address) == len(sent)  # type: ignore[arg-type]
    assert {step.id for step in manifest.steps} == {step.id for step in plan.steps}
    assert manifest.complete
    assert problems(verify(manifest, anvil.rpc)) == []


def test_whole_deployment(anvil: Anvil, deployer: LocalSigner, full_config: DeployConfig, file: ManifestFile) -> None:
    plan = make_plan(full_config, anvil.rpc, deployer.address)
    manifest = execute(plan, anvil.rpc, deployer, file, waiting=QUICK)
    check_complete(anvil, plan, manifest, deployer)
    assert file.load() == manifest
    assert sum(step.gas_used for step in manifest.steps) < plan.gas


@pytest.mark.parametrize(
    ("stage", "count"),
    [("intent", 1), ("intent", 7), ("sent", 3), ("sent", 11), ("mined", 2), ("mined", 40), ("done", 5), ("sent", 52)],
)
def test_killed_once_and_resumed(
    anvil: Anvil, deployer: LocalSigner, config: DeployConfig, file: ManifestFile, stage: Stage, count: int
) -> None:
    plan = make_plan(config, anvil.rpc, deployer.address)
    with pytest.raises(KilledError):
        execute(plan, anvil.rpc, deployer, file, progress=Killer(stage, count), waiting=QUICK)
    again = make_plan(config, anvil.rpc, deployer.address, file.load())
    assert again.steps == plan.steps
    manifest = execute(again, anvil.rpc, deployer, file, waiting=QUICK)
    check_complete(anvil, plan, manifest, deployer)


def test_killed_between_sending_and_recording_at_every_step(
    anvil: Anvil, deployer: LocalSigner, config: DeployConfig, file: ManifestFile
) -> None:
    """The worst moment, every time: each run gets exactly one transaction out."""
    plan = make_plan(config, anvil.rpc, deployer.address)
    for _ in plan.steps:
        with pytest.raises(KilledError):
            execute(plan, anvil.rpc, deployer, file, progress=Killer("sent", 1), waiting=QUICK)
    manifest = execute(plan, anvil.rpc, deployer, file, waiting=QUICK)
    check_complete(anvil, plan, manifest, deployer)
    assert all(len(step.attempts) <= 1 for step in manifest.steps)


def test_running_again_sends_nothing(
    anvil: Anvil, deployer: LocalSigner, config: DeployConfig, file: ManifestFile
) -> None:
    plan = make_plan(config, anvil.rpc, deployer.address)
    execute(plan, anvil.rpc, deployer, file, waiting=QUICK)
    before = file.path.read_text(), anvil.web3.eth.block_number
    stages: list[Stage] = []
    again = make_plan(config, anvil.rpc, deployer.address, file.load())
    execute(again, anvil.rpc, deployer, file, progress=lambda stage, _: stages.append(stage), waiting=QUICK)
    assert set(stages) == {"skipped"}
    assert (file.path.read_text(), anvil.web3.eth.block_number) == before


def test_the_command_asks_before_it_sends_and_not_when_nothing_is_left(
    anvil: Anvil, deployer: LocalSigner, config: DeployConfig, file: ManifestFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RPC_URL_31337", anvil.url)
    monkeypatch.setenv("PRIVATE_KEY", FIRST_KEY)
    monkeypatch.setattr("keeper.deploy.config.load_config", lambda _path: config)
    command = ["deploy", "--config", "few.toml", "--manifest", str(file.path)]
    refused = CliRunner().invoke(app, command, input="n\n")
    assert (refused.exit_code, anvil.web3.eth.block_number) == (1, 0)
    assert "error: nothing was sent; run again with --yes to send" in refused.stderr
    plan = make_plan(config, anvil.rpc, deployer.address)
    execute(plan, anvil.rpc, deployer, file, waiting=QUICK)
    before = file.path.read_text(), anvil.web3.eth.block_number
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.stderr
    assert "every step is done; nothing is sent" in again.stderr and "send these transactions?" not in again.stderr
    assert (file.path.read_text(), anvil.web3.eth.block_number) == before


def test_governance_accepts_and_the_deployer_is_locked_out(
    anvil: Anvil, deployer: LocalSigner, config: DeployConfig, file: ManifestFile
) -> None:
    roles = config.roles.model_copy(update={"governance": GOVERNANCE})
    config = config.model_copy(update={"roles": roles})
    plan = make_plan(config, anvil.rpc, deployer.address)
    manifest = execute(plan, anvil.rpc, deployer, file, waiting=QUICK)
    waiting = [item for item in verify(manifest, anvil.rpc) if item.state == "pending"]
    assert [item.subject.removeprefix("owner of ") for item in waiting] == list(plan.acceptances)
    web3 = anvil.web3
    for call in Handover(manifest, anvil.rpc).state().calls:
        web3.eth.send_transaction({"from": GOVERNANCE, "to": call.to, "data": call.data})  # type: ignore[typeddict-item]
    assert all(item.state == "ok" for item in verify(manifest, anvil.rpc))
    # the deployment is still recognised as complete, although its key may do nothing any more
    again = make_plan(config, anvil.rpc, deployer.address, file.load())
    assert execute(again, anvil.rpc, deployer, file, waiting=QUICK).complete


def test_a_timelock_takes_over_by_the_same_command(
    anvil: Anvil, deployer: LocalSigner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an operator does it: deploy, look, wait, accept, look again."""
    text = (ROOT / "config" / "local.toml").read_text()
    timelock = '[timelock]\ndelay_s = 86400\nproposers = ["deployer"]\n'
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('governance = "deployer"\n', "").replace("[7, 30]", "[7]") + timelock)
    monkeypatch.chdir(tmp_path)
    env = {"PRIVATE_KEY": FIRST_KEY, "COLUMNS": "200"}

    def ballast(*args: str) -> str:
        command = ["deploy", "--config", str(path), "--rpc-url", anvil.url, *args]
        result = CliRunner().invoke(app, command, env=env)
        assert result.exit_code == 0, result.output
        return result.output

    assert "--accept, until Timelock owns everything" in ballast("--yes")
    manifest = load_manifest(tmp_path / "deployments" / "31337" / "local.json")
    assert "the timelock can accept from" in ballast("--accept")
    web3 = anvil.web3
    web3.provider.make_request("evm_increaseTime", [86_401])  # type: ignore[arg-type]
    web3.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
    nonce = web3.eth.get_transaction_count(deployer.address)  # type: ignore[arg-type]
    assert "Timelock.execute_batch" in ballast("--accept", "--yes")
    assert web3.eth.get_transaction_count(deployer.address) == nonce + 1  # type: ignore[arg-type]
    assert f"{manifest.owner} owns every contract" in ballast("--accept")
    assert all(item.state == "ok" for item in verify(manifest, anvil.rpc))


def test_every_creation_is_at_the_address_that_was_recorded_before_it(
    anvil: Anvil, deployer: LocalSigner, config: DeployConfig, file: ManifestFile
) -> None:
    predicted: dict[str, str] = {}

    def look(stage: Stage, step: Step) -> None:
        manifest = file.load()
        if stage == "intent" and isinstance(step, Deploy) and manifest is not None:
            record = manifest.step(step.id)
            assert record is not None
            predicted[step.contract] = str(record.attempts[-1].address)

    plan = make_plan(config, anvil.rpc, deployer.address)
    manifest = execute(plan, anvil.rpc, deployer, file, progress=look, waiting=QUICK)
    assert predicted == {name: item.address for name, item in manifest.contracts.items()}
