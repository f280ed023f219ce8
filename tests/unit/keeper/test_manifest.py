# SPDX-License-Identifier: Apache-2.0
"""The manifest: exact round trip, atomic writes, and what happens when the disk says no."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from keeper import artifacts
from keeper.deploy.manifest import (
    Attempt,
    ContractRecord,
    Manifest,
    ManifestFile,
    StepRecord,
    decode_check,
    encode_checks,
    load_manifest,
    manifest_path,
)
from keeper.deploy.steps import AtLeast, Check, Hashed, Ref
from keeper.errors import ConfigError, Permanent


@pytest.fixture
def file(tmp_path: Path) -> ManifestFile:
    return ManifestFile(manifest_path(tmp_path, 1337, "local"))


@pytest.fixture
def manifest() -> Manifest:
    attempt = Attempt(tx_hash="0x01", nonce=3, gas=21_000, max_fee_wei=10**19, priority_fee_wei=1)
    check = Check("RiskParameters", "word", (1, 2), (2**159 + 1,))
    step = StepRecord(id="a step", attempts=[attempt], checks=encode_checks((check,)))
    return Manifest(
        network="local", chain_id=1337, deployer="0xd", governance="0xg", started_at=1, start_block=0,
        spots={"ETH": "3000.5"}, decimals={}, steps=[step],
    )  # fmt: skip


def test_round_trip_keeps_big_integers(file: ManifestFile, manifest: Manifest) -> None:
    file.save(manifest)
    loaded = file.load()
    assert loaded == manifest
    assert loaded is not None
    assert decode_check(loaded.steps[0].checks[0]).expect == (2**159 + 1,)


def test_path_is_by_chain_and_network(file: ManifestFile, tmp_path: Path) -> None:
    assert file.path == tmp_path / "1337" / "local.json"


def test_checks_with_references_and_bounds_round_trip() -> None:
    hashed = Hashed(("address[]", "bytes"), ((Ref("D"),), b"\x00\xff"))
    check = Check("A", "view", (Ref("B"), 1, hashed), (Ref("C"), None, AtLeast(5), (1, "x")))
    assert decode_check(encode_checks((check,))[0]) == check


def test_the_owner_is_an_address_or_the_contract_of_that_name(manifest: Manifest) -> None:
    assert manifest.owner == "0xg"
    manifest.governance = "Timelock"
    manifest.external["Timelock"] = "0xt"
    assert manifest.owner == "0xt"


def test_missing_file_is_none_or_an_error(file: ManifestFile) -> None:
    assert file.load() is None
    with pytest.raises(ConfigError, match=r"local\.json does not exist; deploy first"):
        load_manifest(file.path)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}'])
def test_damaged_file_is_refused(file: ManifestFile, text: str) -> None:
    file.path.parent.mkdir(parents=True)
    file.path.write_text(text)
    with pytest.raises(ConfigError, match=r"is damaged .*; restore it from version control"):
        file.load()


def test_full_disk_leaves_the_old_content(
    file: ManifestFile, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.save(manifest)
    before = file.path.read_text()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Permanent, match=r"cannot be written \(No space left on device\); free space"):
        file.save(manifest.model_copy(update={"network": "other"}))
    assert file.path.read_text() == before
    assert [path.name for path in file.path.parent.iterdir()] == ["local.json"]


def test_folder_that_cannot_be_made(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(Permanent, match="cannot be written"):
        ManifestFile(tmp_path / "taken" / "1337" / "local.json").save(manifest)


def test_killed_before_the_rename_leaves_the_old_content(
    file: ManifestFile, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.save(manifest)

    def die(_self: Path, _target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        file.save(manifest.model_copy(update={"network": "other"}))
    assert json.loads(file.path.read_text())["network"] == "local"


def test_an_abi_that_is_not_the_deployments_is_refused(manifest: Manifest) -> None:
    entry = artifacts.manifest()["contracts"]["MarginEngine"]
    record = ContractRecord(
        address="0x" + "11" * 20, artifact="MarginEngine", version="1", tx_hash="0x", block=1,
        code_hash="0x" + "22" * 32,
        constructor_args=[], constructor_data="0x", abi_hash=entry["abi_hash"], integrity="", compiler="",
        evm_version="", optimiser="",
    )  # fmt: skip
    manifest.contracts["MarginEngine"] = record
    (deployed,) = manifest.deployed()
    assert (deployed.name, deployed.code_hash) == ("MarginEngine", b"\x22" * 32)
    manifest.contracts["MarginEngine"] = record.model_copy(update={"abi_hash": "0x" + "33" * 32})
    with pytest.raises(ConfigError, match=r"ABI of MarginEngine is 0x.* the manifest says 0x33.*use the keeper of the"):
        manifest.deployed()
