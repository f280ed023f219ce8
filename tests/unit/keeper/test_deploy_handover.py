# SPDX-License-Identifier: Apache-2.0
"""The hand-over: to a timelock in one batch after its delay, or to an address; interrupted, refused, read back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from web3.exceptions import Web3Exception

from keeper.artifacts import load
from keeper.chain.embedded import mine_at
from keeper.deploy.config import DeployConfig, parse_config
from keeper.deploy.execute import Stage
from keeper.deploy.handover import ACCEPT_OWNERSHIP, OWNED, Handover, batch_id
from keeper.deploy.manifest import Manifest
from keeper.deploy.plan import estimate, plan_json, plan_table
from keeper.deploy.steps import Call, resolve
from keeper.deploy.verify import problems, verify
from keeper.errors import ConfigError, Permanent
from keeper.tx.signer import LocalSigner
from tests.support.deployment import QUICK, KilledError, Place, embedded_place, kill_at, local_data

DELAY_S = 7_200
OTHER = LocalSigner.from_key((2).to_bytes(32, "big"), "test key")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return embedded_place(tmp_path)


def config(**timelock: Any) -> DeployConfig:
    """One underlying, nothing else, owned by a timelock."""
    data = local_data()
    data["underlyings"] = [{**data["underlyings"][1], "options": {}, "futures": []}]
    del data["roles"]["governance"]
    data["timelock"] = {"delay_s": DELAY_S, "proposers": ["deployer"], **timelock}
    return parse_config({**data, "collateral": []}, "tiny")


def owned_by(place: Place, manifest: Manifest) -> dict[str, str]:
    return {name: ownable(place, manifest, name).functions.owner().call() for name in OWNED}


def ownable(place: Place, manifest: Manifest, name: str) -> Any:
    return place.web3.eth.contract(manifest.addresses[name], abi=load(name).abi)  # type: ignore[call-overload]


def pass_time(place: Place, seconds: int) -> None:
    mine_at(place.web3, place.web3.eth.get_block("latest")["timestamp"] + seconds)


def states(manifest: Manifest, place: Place) -> dict[str, str]:
    found = verify(manifest, place.rpc)
    return {item.subject.removeprefix("owner of "): item.state for item in found if item.subject.startswith("owner of")}


def test_the_last_steps_offer_everything_and_schedule_the_batch(place: Place) -> None:
    steps = place.plan(config()).steps
    assert [step.id for step in steps[-len(OWNED) - 1 :]] == [
        *(f"{name}.transfer_ownership Timelock" for name in OWNED),
        "Timelock.schedule_batch acceptance",
    ]


def test_the_plan_shows_the_batch_to_people_and_programs(place: Place) -> None:
    plan = place.plan(config())
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(plan_table(plan))
    text = console.export_text()
    # no predecessor, no salt, the delay
    assert f"0x{ACCEPT_OWNERSHIP.hex()}, 0x0, 0x0, {DELAY_S}" in text
    assert "afterwards, by Timelock" in text
    last = json.loads(plan_json(plan))["steps"][-1]
    assert last["args"][2] == [{"hex": ACCEPT_OWNERSHIP.hex()}] * len(OWNED)


def test_every_contract_with_an_owner_is_handed_over() -> None:
    """Against the ABI: a new contract cannot be forgotten."""
    from keeper.artifacts import names

    ownables = {name for name in names() if any(item.get("name") == "transfer_ownership" for item in load(name).abi)}
    # the extension's own storage belongs to nobody from its constructor on
    assert ownables - {"MarginAccountsExtension"} == set(OWNED)


def test_the_identifier_of_the_batch_is_the_timelocks_own(place: Place) -> None:
    manifest = place.deploy(config())
    timelock = ownable(place, manifest, "Timelock")
    step = next(step for step in place.plan(config()).steps if step.id.startswith("Timelock.schedule_batch"))
    assert isinstance(step, Call)
    args = resolve(step.args, manifest.addresses)
    assert timelock.functions.hash_operation_batch(*args[:5]).call() == resolve(batch_id(OWNED), manifest.addresses)
    assert args[5] == DELAY_S
    record = manifest.step(step.id)
    assert record is not None
    assert record.gas_used <= estimate(step) <= record.gas_used * 5 // 4


def test_the_batch_waits_for_the_delay_and_then_anybody_accepts(place: Place) -> None:
    manifest = place.deploy(config())
    timelock = manifest.addresses["Timelock"]
    assert manifest.owner == timelock
    assert set(states(manifest, place).values()) == {"pending"}
    hand = Handover(manifest, place.rpc)
    left = hand.state()
    block = place.web3.eth.get_block(manifest.steps[-1].block or 0)
    assert (left.calls, left.ready_at, left.complete) == ((), block["timestamp"] + DELAY_S, False)
    # a clock ahead of the chain does not help: the contract judges
    early = hand.state(now=left.ready_at)
    with pytest.raises(Permanent, match="would revert with 'timelock_controller: operation is not ready'"):
        hand.send(early, config().network, place.signer, place.file, QUICK)
    pass_time(place, DELAY_S)
    fund(place, OTHER.address)
    hand.send(hand.state(), config().network, OTHER, place.file, QUICK)
    assert set(owned_by(place, manifest).values()) == {timelock}
    assert hand.state().complete
    assert set(states(manifest, place).values()) == {"ok"}
    assert problems(verify(manifest, place.rpc)) == []
    # the deployer may do nothing any more, and the deployment is still recognised as complete
    with pytest.raises(Web3Exception, match="caller is not the owner"):
        ownable(place, manifest, "PriceOracle").functions.share_feed(0, 0).transact({"from": place.signer.address})
    sent = place.sent()
    assert place.deploy(config()).complete
    assert place.sent() == sent


def test_a_deployer_who_is_no_proposer_leaves_the_scheduling_to_one(place: Place) -> None:
    wanted = config(proposers=[OTHER.address], executors=[OTHER.address])
    manifest = place.deploy(wanted)
    assert manifest.step("Timelock.schedule_batch acceptance") is None
    hand = Handover(manifest, place.rpc)
    left = hand.state()
    assert [(call.what, left.role) for call in left.calls] == [("Timelock.schedule_batch", "proposer")]
    with pytest.raises(ConfigError, match=f"{place.signer.address} is not proposer; use that key, or send the calls"):
        hand.send(left, wanted.network, place.signer, place.file, QUICK)
    fund(place, OTHER.address)
    hand.send(left, wanted.network, OTHER, place.file, QUICK)
    pass_time(place, DELAY_S)
    left = hand.state()
    with pytest.raises(ConfigError, match="is not executor"):
        hand.send(left, wanted.network, place.signer, place.file, QUICK)
    hand.send(left, wanted.network, OTHER, place.file, QUICK)
    assert hand.state().complete
    # once more: nothing is left to be sent
    assert hand.state().calls == ()


def test_a_batch_that_was_cancelled_is_scheduled_again(place: Place) -> None:
    manifest = place.deploy(config())
    timelock = ownable(place, manifest, "Timelock")
    number = resolve(batch_id(OWNED), manifest.addresses)
    timelock.functions.cancel(number).transact({"from": place.signer.address})
    hand = Handover(manifest, place.rpc)
    hand.send(hand.state(), config().network, place.signer, place.file, QUICK)
    assert timelock.functions.is_operation_pending(number).call()


def test_an_address_accepts_each_and_goes_on_where_it_stopped(place: Place) -> None:
    data = local_data()
    data["underlyings"] = [{**data["underlyings"][1], "options": {}, "futures": []}]
    data["roles"]["governance"] = OTHER.address
    wanted = parse_config({**data, "collateral": []}, "tiny")
    manifest = place.deploy(wanted)
    hand = Handover(manifest, place.rpc)
    assert [call.what for call in hand.state().calls] == [f"{name}.accept_ownership" for name in OWNED]
    with pytest.raises(ConfigError, match="is not owner"):
        hand.send(hand.state(), wanted.network, place.signer, place.file, QUICK)
    fund(place, OTHER.address)
    ownable(place, manifest, "RiskTable").functions.accept_ownership().transact({"from": OTHER.address})
    left = hand.state()
    assert len(left.calls) == len(OWNED) - 1
    hand.send(left, wanted.network, OTHER, place.file, QUICK)
    assert hand.state().complete
    assert set(owned_by(place, manifest).values()) == {OTHER.address}


def test_nothing_is_accepted_of_a_deployment_that_is_not_complete(place: Place) -> None:
    with pytest.raises(KilledError):
        place.deploy(config(), progress=kill_at("done", "RiskParameters.transfer_ownership Timelock"))
    manifest = place.file.load()
    assert manifest is not None
    with pytest.raises(ConfigError, match=r"RiskTable has not been offered to 0x.*; complete the deployment first"):
        Handover(manifest, place.rpc).state()
    assert place.deploy(config()).complete


@pytest.mark.parametrize("stage", ["intent", "sent", "mined", "done"])
@pytest.mark.parametrize("step_id", ["deploy Timelock", "Timelock.schedule_batch acceptance"])
def test_killed_and_resumed_around_the_timelock(place: Place, stage: Stage, step_id: str) -> None:
    with pytest.raises(KilledError):
        place.deploy(config(), progress=kill_at(stage, step_id))
    manifest = place.deploy(config())
    assert manifest.complete
    assert place.file.load() == manifest
    assert place.sent() == len([step for step in manifest.steps if step.block])
    assert problems(verify(manifest, place.rpc)) == []


def test_other_roles_of_the_timelock_than_recorded_are_shown(place: Place) -> None:
    manifest = place.deploy(config())
    manifest.contracts["Timelock"].constructor_args = [60, [OTHER.address], [OTHER.address]]
    changed = {item.subject for item in verify(manifest, place.rpc) if item.state == "changed"}
    assert changed == {
        "delay of the timelock", f"timelock proposer {OTHER.address}", f"timelock executor {OTHER.address}",
    }  # fmt: skip


def fund(place: Place, address: str) -> None:
    place.web3.eth.send_transaction({"from": place.signer.address, "to": address, "value": 10**18})  # type: ignore[typeddict-item]
