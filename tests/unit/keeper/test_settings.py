# SPDX-License-Identifier: Apache-2.0
"""Settings: order of sources, conventions, and one clear sentence for each mistake."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from keeper.errors import ConfigError
from keeper.settings import load_settings

TOML = """
network = "sepolia"
cycle_interval_s = 30
[networks.sepolia]
chain_id = 11155111
rpc_urls = ["https://toml.example/key"]
confirmations = 5
manifest = "my/manifest.json"
[fees]
max_fee_gwei = 1.5
bump_percent = 13
"""
KNOWN = ("ETH_RPC_URL", "TX_RPC_URL", "DATABASE_URL", "PRIVATE_KEY", "PRIVATE_KEY_FILE", "ETH_KEYSTORE")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*KNOWN, "ETH_KEYSTORE_ACCOUNT", "ETH_PASSWORD", "LOG_LEVEL", "LOG_FORMAT", "BALLAST_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "keeper.toml"
    path.write_text(TOML)
    return path


def test_defaults_are_safe() -> None:
    settings = load_settings(chain_id=1)
    assert settings.execute is False
    assert settings.liquidator.policy == "none"
    assert settings.publisher.enabled is False
    assert settings.manifest_path == Path("deployments/1/local.json")
    assert settings.final_after == 2


def test_command_line_over_environment_over_file(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(toml).fees.max_fee_gwei == Decimal("1.5")
    monkeypatch.setenv("BALLAST_FEES__MAX_FEE_GWEI", "3")
    settings = load_settings(toml)
    assert (settings.fees.max_fee_gwei, settings.fees.bump_percent) == (Decimal(3), Decimal(13))
    settings = load_settings(toml, fees={"max_fee_gwei": 4})
    assert (settings.fees.max_fee_wei, settings.fees.bump_percent) == (4 * 10**9, Decimal(13))


def test_network_of_the_file(toml: Path) -> None:
    settings = load_settings(toml)
    assert settings.expected_chain_id == 11155111
    assert settings.endpoints == ("https://toml.example/key",)
    assert settings.final_after == 5
    assert settings.manifest_path == Path("my/manifest.json")
    assert load_settings(toml, confirmations=9).final_after == 9


def test_endpoints_in_the_order_operators_expect(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETH_RPC_URL", "https://fallback.example")
    assert load_settings(toml).endpoints == ("https://fallback.example",)
    monkeypatch.setenv("RPC_URL_11155111", "https://a.example, https://b.example")
    monkeypatch.setenv("RPC_URL_1", "https://mainnet.example")
    assert load_settings(toml).endpoints == ("https://a.example", "https://b.example")
    assert load_settings(toml, rpc_url="https://cli.example").endpoints == ("https://cli.example",)


def test_conventional_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TX_RPC_URL", "https://relay.example")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///other.sqlite")
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("LOG_FORMAT", "json")
    settings = load_settings()
    assert settings.send_endpoints == ("https://relay.example",)
    assert settings.database_url.get_secret_value() == "sqlite:///other.sqlite"
    assert (settings.log_level, settings.log_format) == ("DEBUG", "json")


def test_config_file_by_environment_or_in_the_folder(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BALLAST_CONFIG", str(toml))
    assert load_settings().network == "sepolia"
    monkeypatch.delenv("BALLAST_CONFIG")
    toml.rename(toml.with_name("ballast.toml"))
    assert load_settings().network == "sepolia"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("BALLAST_FEES__MAX_FE_GWEI", "3", "unknown setting 'fees.max_fe_gwei'; did you mean 'fees.max_fee_gwei'?"),
        ("BALLAST_QWERTZUIOP", "3", "unknown setting 'qwertzuiop'; remove it"),
        ("BALLAST_FEES__MAX_FEE_GWEI", "x", "setting 'fees.max_fee_gwei' is 'x': input should be a valid decimal"),
        (
            "BALLAST_FEES__BUMP_PERCENT",
            "5",
            "setting 'fees.bump_percent' is '5': input should be greater than",
        ),
        ("BALLAST_LIQUIDATOR__POLICY", "all", "setting 'liquidator.policy' is 'all': input should be 'none'"),
        ("BALLAST_LIQUIDATOR__POLICY", "bid", "policy 'bid' needs bidder_account"),
        ("BALLAST_CYCLE_INTERVAL_S", "0", "setting 'cycle_interval_s' is '0': input should be greater than 0"),
        ("BALLAST_EXECUTE", "perhaps", "setting 'execute' is 'perhaps': input should be a valid boolean"),
        ("LOG_FORMAT", "xml", "setting 'log_format' is 'xml': input should be 'plain' or 'json'"),
    ],
)
def test_one_sentence_for_each_mistake(name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_key_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keeper.toml"
    path.write_text("[publisher]\nheartbeat = 5\n")
    with pytest.raises(ConfigError, match=r"'publisher\.heartbeat'; did you mean 'publisher\.heartbeat_s'"):
        load_settings(path)


def test_a_file_that_is_not_there_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'.*none\.toml' does not exist; pass --config"):
        load_settings(tmp_path / "none.toml")
    path = tmp_path / "keeper.toml"
    path.write_text("network = sepolia\n")
    with pytest.raises(ConfigError, match=r"is not TOML: .*line 1"):
        load_settings(path)


def test_what_is_missing_says_how_to_set_it() -> None:
    with pytest.raises(ConfigError, match=r"network 'local' has no chain id .*BALLAST_CHAIN_ID"):
        _ = load_settings().expected_chain_id
    with pytest.raises(ConfigError, match="has no RPC endpoint; set RPC_URL_10"):
        _ = load_settings(chain_id=10).endpoints


def test_secrets_show_neither_in_text_nor_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVATE_KEY", "0xfeedfeedfeed")
    monkeypatch.setenv("RPC_URL_1", "https://rpc.example/very-secret")
    settings = load_settings(chain_id=1)
    assert "feedfeed" not in repr(settings)
    assert "very-secret" not in repr(settings)
    monkeypatch.setenv("BALLAST_PRIVATE_KEY__X", "0xfeedfeedfeed")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "feedfeed" not in str(caught.value)
