# SPDX-License-Identifier: Apache-2.0
"""Reading a deployment back: every difference between the record and the chain is found and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from keeper.artifacts import hex_hash, load
from keeper.deploy.manifest import Manifest
from keeper.deploy.verify import findings_table, problems, verify
from keeper.errors import ConfigError
from tests.support.deployment import KilledError, Place, create, embedded_place, kill_at


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return embedded_place(tmp_path)


def test_changed_wiring_is_wrong(place: Place) -> None:
    manifest = place.deploy()
    send(place, manifest, "SignedTradeVenue", "set_fee", 7)
    (finding,) = problems(verify(manifest, place.rpc))
    assert finding.subject == "SignedTradeVenue.set_fee"
    assert "SignedTradeVenue.fee_bps = (7,), expected (2,)" in finding.detail


def test_other_owner_is_wrong_and_an_offer_is_pending(place: Place) -> None:
    manifest = place.deploy()
    manifest.governance = place.web3.eth.accounts[1]
    states = {item.subject: item.state for item in verify(manifest, place.rpc)}
    assert states["owner of PriceOracle"] == "wrong"
    send(place, manifest, "PriceOracle", "transfer_ownership", manifest.governance)
    states = {item.subject: item.state for item in verify(manifest, place.rpc)}
    assert states["owner of PriceOracle"] == "pending"


def test_other_code_is_wrong_and_stops_there(place: Place) -> None:
    manifest = place.deploy()
    manifest.contracts["PriceOracle"].address = manifest.contracts["RiskTable"].address
    found = problems(verify(manifest, place.rpc))
    assert [item.subject for item in found] == ["code of PriceOracle"]
    assert findings_table(found).row_count == 1


def test_another_chain_is_a_config_error(place: Place) -> None:
    manifest = place.deploy().model_copy(update={"chain_id": 5})
    with pytest.raises(ConfigError, match="the node is on chain 1337, the manifest is of chain 5"):
        verify(manifest, place.rpc)


def test_a_ledger_on_another_registry_than_its_extension_is_wrong(place: Place) -> None:
    manifest = place.deploy()
    other = create(place, "MarginAccountsExtension", *of_extension(manifest, "PriceOracle"))
    code = place.rpc.code(other)
    manifest.contracts["MarginAccountsExtension"].address = other
    manifest.contracts["MarginAccountsExtension"].code_hash = hex_hash(code)
    found = {item.subject: item.detail for item in problems(verify(manifest, place.rpc))}
    assert set(found) == {
        "MarginAccounts.EXTENSION", "MarginAccountsExtension.registry", "immutables of MarginAccountsExtension",
    }  # fmt: skip
    assert found["immutables of MarginAccountsExtension"].startswith("settlement.REGISTRY differ between")


def test_a_registry_on_another_oracle_is_wrong(place: Place) -> None:
    manifest = place.deploy()
    record = manifest.contracts["InstrumentRegistry"]
    record.address = create(place, "InstrumentRegistry", place.signer.address, manifest.addresses["RiskTable"])
    record.code_hash = hex_hash(place.rpc.code(record.address))
    found = {item.subject: item.detail for item in problems(verify(manifest, place.rpc))}
    assert found["oracle of InstrumentRegistry"] == manifest.addresses["RiskTable"].lower()
    assert "RiskTable.REGISTRY" in found


def test_a_contract_on_another_parameter_store_is_wrong(place: Place) -> None:
    manifest = place.deploy()
    record = manifest.contracts["MarginEngine"]
    args = [place.signer.address if at == 3 else arg for at, arg in enumerate(record.constructor_args)]
    record.address = create(place, "MarginEngine", *args)
    record.code_hash = hex_hash(place.rpc.code(record.address))
    found = [item.subject for item in problems(verify(manifest, place.rpc))]
    assert "MarginEngine.PARAMETERS" in found
    assert "MarginLens.ENGINE" in found
    assert "MarginAccounts.set_engine MarginEngine" in found


def test_unfinished_steps_are_pending(place: Place) -> None:
    with pytest.raises(KilledError):
        place.deploy(progress=kill_at("intent", "deploy RiskTable"))
    manifest = place.file.load()
    assert manifest is not None
    pending = [item.subject for item in verify(manifest, place.rpc) if item.state == "pending"]
    assert pending == ["deploy RiskTable"]


def of_extension(manifest: Manifest, registry: str) -> list[str]:
    """Constructor arguments of an extension with another contract as its registry."""
    cash, _, oracle = manifest.contracts["MarginAccountsExtension"].constructor_args
    return [cash, manifest.addresses[registry], oracle]


def send(place: Place, manifest: Manifest, name: str, function: str, *args: object) -> None:
    target = place.web3.eth.contract(manifest.addresses[name], abi=load(name).abi)  # type: ignore[call-overload]
    target.functions[function](*args).transact({"from": place.signer.address})
