# SPDX-License-Identifier: Apache-2.0
"""Packaged ABIs and bytecode: complete, consistent with their manifest, deployable; the exporter notices any change."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from web3 import Web3

from keeper import artifacts
from keeper.chain.embedded import make_web3
from keeper.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", [*artifacts.names(), *artifacts.names(testing=True)])
def test_every_contract_loads(name: str) -> None:
    artifact = artifacts.load(name)
    assert artifact.bytecode
    assert artifact.entry["compiler"] == "vyper 0.4.3"
    assert artifact.entry["evm_version"] == "prague"
    assert (ROOT / artifact.entry["source"]).is_file()


@pytest.mark.parametrize("name", artifacts.names())
def test_every_contract_fits_the_code_size_limit(name: str) -> None:
    assert artifacts.load(name).runtime_size <= 24_576


def test_unknown_contract_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="contract 'Nonsense' is not among the exported ones"):
        artifacts.load("Nonsense")


def test_selectors_and_topics_are_the_published_ones() -> None:
    # constants of the ecosystem, not of this compiler
    token, multicall = artifacts.load("TestToken").entry, artifacts.load("Multicall").entry
    assert token["selectors"]["transfer(address,uint256)"] == "0xa9059cbb"
    topic = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    assert token["topics"]["Transfer(address,address,uint256)"] == topic
    assert multicall["selectors"]["aggregate3((address,bool,bytes)[])"] == "0x82ad56cb"


def test_deployed_code_matches_and_other_code_does_not() -> None:
    w3 = make_web3()
    artifact = artifacts.load("PriceOracle")
    factory = w3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
    sent = factory.constructor(w3.eth.accounts[1], "0x" + "00" * 20, 0).transact({"from": w3.eth.accounts[0]})
    code = bytes(w3.eth.get_code(w3.eth.get_transaction_receipt(sent)["contractAddress"]))  # type: ignore[arg-type]
    assert artifact.matches_code(code)
    assert not artifact.matches_code(code[:-1])
    assert not artifact.matches_code(b"\x00" + code[1:])
    assert not artifacts.load("Multicall").matches_code(code)


def test_immutables_do_not_count_towards_the_hash() -> None:
    w3 = make_web3()
    artifact = artifacts.load("MarginEngine")
    factory = w3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
    codes = []
    for seed in (1, 2):
        parts = [Web3.to_checksum_address(bytes([seed, i] * 10)) for i in range(5)]
        sent = factory.constructor(*parts).transact({"from": w3.eth.accounts[0]})
        codes.append(bytes(w3.eth.get_code(w3.eth.get_transaction_receipt(sent)["contractAddress"])))  # type: ignore[arg-type]
    assert codes[0] != codes[1]
    assert all(artifact.matches_code(code) for code in codes)


def test_multicall_runs_calls_and_tolerates_failures() -> None:
    w3 = make_web3()
    artifact = artifacts.load("Multicall")
    sent = (
        w3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        .constructor()
        .transact({"from": w3.eth.accounts[0]})
    )
    multicall = w3.eth.contract(w3.eth.get_transaction_receipt(sent)["contractAddress"], abi=artifact.abi)
    number = multicall.encode_abi("getBlockNumber")
    answers = multicall.functions.aggregate3(
        [(multicall.address, True, number), (multicall.address, True, b"\xff" * 4), (multicall.address, True, number)]
    ).call()
    assert [good for good, _ in answers] == [True, False, True]
    assert int.from_bytes(answers[0][1], "big") == w3.eth.block_number
    with pytest.raises(Exception, match="multicall: call failed"):
        multicall.functions.aggregate3([(multicall.address, False, b"\xff" * 4)]).call()


@pytest.fixture
def copied_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "abi"
    shutil.copytree(artifacts.data_dir(), folder)
    monkeypatch.setattr(artifacts, "_PACKAGED", folder)
    artifacts.manifest.cache_clear()
    artifacts.load.cache_clear()
    yield folder
    artifacts.manifest.cache_clear()
    artifacts.load.cache_clear()


def test_packaged_data_come_before_the_checkout(copied_data: Path) -> None:
    assert artifacts.data_dir() == copied_data


@pytest.mark.parametrize("file", ["PriceOracle.json", "bytecode/PriceOracle.hex"])
def test_tampered_data_are_refused(copied_data: Path, file: str) -> None:
    path = copied_data / file
    if file.endswith(".json"):
        path.write_text(json.dumps(json.loads(path.read_text())[1:]))
    else:
        path.write_text(path.read_text().strip()[:-2] + "00")
    with pytest.raises(ConfigError, match=r"PriceOracle in .* does not match its manifest; reinstall"):
        artifacts.load("PriceOracle")


def test_missing_file_is_one_clear_sentence(copied_data: Path) -> None:
    (copied_data / "layout/PriceOracle.json").unlink()
    with pytest.raises(ConfigError, match=r"contract data of PriceOracle in .* cannot be read"):
        artifacts.load("PriceOracle")


class TestExporter:
    """The comparison that `--check` prints."""

    @staticmethod
    def files(selectors: dict[str, str], layout: str = "0x1") -> dict[str, str]:
        entry = {"selectors": selectors, "topics": {}, "layout_hash": layout}
        return {"manifest.json": json.dumps({"contracts": {"Vault": entry}})}

    def test_says_what_is_additive_and_what_breaks(self) -> None:
        from scripts import export_abi

        old, new = self.files({"a()": "0x1", "b()": "0x2"}), self.files({"b()": "0x2", "c()": "0x3"}, "0x2")
        assert export_abi.describe(old, new) == [
            "differs: manifest.json",
            "Vault: breaking, a() is gone",
            "Vault: additive, c() is new",
            "Vault: storage or immutable layout changed",
        ]
        assert export_abi.describe(old, old) == []

    def test_missing_and_left_over_files(self) -> None:
        from scripts import export_abi

        lines = export_abi.describe({"Gone.json": "x"}, {"New.json": "y"})
        assert lines == ["missing: New.json", "left over: Gone.json"]

    def test_oversized_code(self) -> None:
        from scripts import export_abi

        entries = {
            "Big": {"runtime_size": 24_576, "immutables_size": 32},
            "Fits": {"runtime_size": 24_576, "immutables_size": 0},
        }
        assert export_abi.oversized(entries) == ["Big: 24608 bytes of code, limit 24576"]


def test_sources_match_the_exported_data() -> None:
    """The whole `--check`, as CI runs it."""
    done = subprocess.run(
        [sys.executable, "scripts/export_abi.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
