# SPDX-License-Identifier: Apache-2.0
"""Where keys come from, and that they never show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from eth_account import Account

from keeper.errors import ConfigError
from keeper.logging import configure, scrub
from keeper.settings import load_settings
from keeper.tx.signer import LocalSigner, load_signer

# the address of private key 1 is a well-known point of the curve
KEY = "0x" + "00" * 31 + "01"
ADDRESS = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("PRIVATE_KEY", "PRIVATE_KEY_FILE", "ETH_KEYSTORE", "ETH_KEYSTORE_ACCOUNT", "ETH_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    configure()  # knows no key yet
    yield
    configure()
    structlog.reset_defaults()


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    path = tmp_path / "operator"
    path.write_text(json.dumps(Account.encrypt(KEY, "open sesame", kdf="pbkdf2", iterations=2)))
    (tmp_path / "password").write_text("open sesame\n")
    return path


def test_from_the_environment_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVATE_KEY", "0x" + "22" * 32)
    assert load_signer(load_settings()).address != ADDRESS
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("PRIVATE_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(ConfigError, match=r"^PRIVATE_KEY_FILE and PRIVATE_KEY are set together .*; unset all but one$"):
        load_signer(load_settings())
    monkeypatch.delenv("PRIVATE_KEY")
    assert load_signer(load_settings()).address == ADDRESS
    assert scrub(f"the key is {KEY}") == "the key is 0x[hidden]"


def test_from_a_keystore(keystore: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETH_KEYSTORE", str(keystore))
    with pytest.raises(ConfigError, match="needs its password; set ETH_PASSWORD"):
        load_signer(load_settings())
    monkeypatch.setenv("ETH_PASSWORD", str(tmp_path / "password"))
    assert load_signer(load_settings()).address == ADDRESS
    assert scrub(KEY) == "0x[hidden]"


def test_from_a_keystore_of_foundry_by_name(keystore: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keeper.tx.signer.FOUNDRY_KEYSTORES", keystore.parent)
    monkeypatch.setenv("ETH_KEYSTORE_ACCOUNT", "operator")
    monkeypatch.setenv("ETH_PASSWORD", str(tmp_path / "password"))
    assert load_signer(load_settings()).address == ADDRESS


def test_a_wrong_password_or_a_broken_keystore(keystore: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETH_KEYSTORE", str(keystore))
    monkeypatch.setenv("ETH_PASSWORD", str(tmp_path / "password"))
    (tmp_path / "password").write_text("hunter2")
    with pytest.raises(ConfigError, match="cannot be opened") as caught:
        load_signer(load_settings())
    assert "hunter2" not in str(caught.value)
    keystore.write_text("{}")
    with pytest.raises(ConfigError, match="cannot be opened"):
        load_signer(load_settings())


@pytest.mark.parametrize("text", ["", "feedbeef", "zz" * 32, "0x" + "00" * 32])
def test_what_is_no_key_is_refused_and_not_repeated(text: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(ConfigError, match="does not hold a private key") as caught:
        load_signer(load_settings(private_key_file=tmp_path / "key"))
    assert not text or text not in str(caught.value)


def test_no_key_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no key to sign with; set PRIVATE_KEY_FILE"):
        load_signer(load_settings())
    with pytest.raises(ConfigError, match=r"PRIVATE_KEY_FILE '.*gone' cannot be read"):
        load_signer(load_settings(private_key_file=tmp_path / "gone"))


def test_a_signature_recovers_to_the_address_and_repr_hides_the_key() -> None:
    signer = LocalSigner.from_key(KEY, "test")
    fields = {
        "type": 2,
        "chainId": 1,
        "nonce": 0,
        "to": ADDRESS,
        "value": 0,
        "data": b"",
        "gas": 21_000,
        "maxFeePerGas": 2,
        "maxPriorityFeePerGas": 1,
    }
    raw, _ = signer.sign(fields)
    assert Account.recover_transaction(raw) == ADDRESS
    assert signer.sign(fields)[0] == raw  # deterministic: the same fields are the same transaction
    assert repr(signer) == f"LocalSigner({ADDRESS})"


@pytest.mark.parametrize(("mode", "told"), [(0o644, True), (0o600, False), (0o640, False)])
def test_a_key_that_everybody_can_read_is_told_of(tmp_path: Path, mode: int, told: bool) -> None:
    file = tmp_path / "key"
    file.write_text("11" * 32)
    file.chmod(mode)
    with structlog.testing.capture_logs() as lines:
        load_signer(load_settings(private_key_file=file))
    assert any("can be read by every user" in line["event"] for line in lines) == told
