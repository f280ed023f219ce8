# SPDX-License-Identifier: Apache-2.0
"""Deployment configuration: the shipped files are valid; whatever is wrong is named in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keeper.deploy.config import load_config, parse_config
from keeper.deploy.config_market import Feed
from keeper.errors import ConfigError
from tests.support.deployment import ROOT, local_data

Change = Callable[[dict[str, Any]], Any]
TOKEN = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"


@pytest.mark.parametrize("name", ["local.toml", "sepolia.toml"])
def test_shipped_files_are_valid(name: str) -> None:
    config = load_config(ROOT / "config" / name)
    assert config.network.name == name.removesuffix(".toml")
    assert bool(config.mocks()) == config.network.allow_mocks


def test_sepolia_uses_no_mocks() -> None:
    assert load_config(ROOT / "config" / "sepolia.toml").mocks() == []


def set_in(*path: Any, value: Any) -> Change:
    def change(data: dict[str, Any]) -> None:
        target: Any = data
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return change


CASES: list[tuple[Change, str]] = [
    (set_in("network", "chain_id", value=0), r"network\.chain_id = '0': Input should be greater than 0"),
    (set_in("roles", "guardan", value="deployer"), "guardan = 'deployer': no such setting; did you mean 'guardian'"),
    (set_in("network", "colour", value="red"), r"network\.colour = 'red': no such setting; the settings here are"),
    (set_in("network", "allow_mocks", value=False), "token USDC is a mock; set network.allow_mocks on a local chain"),
    (set_in("network", "chain_id", value=11155111), "token USDC is a mock and chain 11155111 is not local"),
    (set_in("roles", "guardian", value="0x12"), r"roles\.guardian = '0x12': '0x12' is not an address"),
    (set_in("roles", "guardian", value=TOKEN.replace("Bd", "bD")), "has a wrong checksum; copy the address again"),
    (set_in("roles", "guardian", value="0x" + "0" * 40), "the zero address can hold no role"),
    (set_in("roles", "keepers", value=[]), r"roles\.keepers = '\[\]'"),
    (set_in("cash", "token", value=TOKEN), "USDC needs exactly one of token .* and mock"),
    (set_in("cash", "symbol", value="WETH"), "cash and collateral name WETH twice"),
    (set_in("underlyings", 1, "symbol", value="BTC"), "underlyings name BTC twice"),
    (set_in("underlyings", 0, "feed", value={}), "a feed needs exactly one of address and mock"),
    (set_in("underlyings", 0, "feed", "heartbeat_s", value=5), r"underlyings\.0\.feed\.heartbeat_s = '5'"),
    (set_in("underlyings", 0, "parameters", "scan_bps", value=99), r"underlyings\.0\.parameters\.scan_bps = '99'"),
    (set_in("underlyings", 0, "options", value={"expiries": [1_800_000_001]}), "expiry 1800000001 is not on the hour"),
    (set_in("collateral", 0, "linked", value="DOGE"), "collateral WETH is linked to DOGE, which is not an underlying"),
    (set_in("collateral", 0, "linked", value=None), "collateral WETH has no price"),
    (set_in("collateral", 0, "parameters", "haircut_mm_bps", value=501), "haircut_im_bps 500 is below"),
    (set_in("collateral", 1, "rate", "low", value=2), r"rate bounds are 2\.\.1\.6; low must not exceed high"),
    (set_in("parameters", "initial", "im_scale_bps", value=9_000), "im_scale_bps 9000 is below mm_scale_bps 10000"),
    (set_in("fund", "seed", value=-1), r"fund\.seed = '-1'"),
    (set_in("roles", "governance", value=None), "nobody would own the contracts; name roles.governance or give a"),
    (set_in("timelock", value={"delay_s": 1, "proposers": [TOKEN]}), "leave roles.governance out and name proposers"),
    (set_in("timelock", value={"delay_s": 2_592_001, "proposers": [TOKEN]}), r"timelock\.delay_s = '2592001'"),
    (set_in("timelock", value={"delay_s": 1, "proposers": []}), r"timelock\.proposers = '\[\]'"),
    (
        set_in("timelock", value={"delay_s": 1, "proposers": [TOKEN], "executors": ["all"]}),
        r"timelock\.executors\.0.* = 'all': 'all' is not an address",
    ),
    (set_in("roles", "quorum", value=2), "quorum 2 is above the number of publishers, 1"),
    (set_in("network", "gas_underlying", value="SOL"), "network.gas_underlying is SOL, which is not an underlying"),
    (set_in("underlyings", 0, "feed", "dead_s", value=172_799), "dead_s 172799 is below heartbeat_s 172800"),
    (set_in("underlyings", 0, "feed", "dead_s", value=604_801), r"feed\.dead_s = '604801'"),
    (set_in("underlyings", 0, "feed", "secondary", value={"address": TOKEN}), "secondary and max_deviation_bps belong"),
    (set_in("underlyings", 0, "feed", "max_deviation_bps", value=100), "secondary and max_deviation_bps belong"),
    (set_in("underlyings", 0, "futures", value=[7, 7]), "two futures of one expiry are one instrument"),
    (set_in("underlyings", 0, "futures", value=[7, 14, 30]), r"underlyings\.0\.futures"),
    (set_in("underlyings", 0, "parameters", "band_bps", value=0), r"underlyings\.0\.parameters\.band_bps = '0'"),
    (set_in("collateral", 0, "hard_cap", value=99_999), "hard_cap 99999 of WETH is below its cap 100000"),
    (set_in("cash", "symbol", value="ETH"), "feeds name ETH twice; every symbol once"),
    (set_in("sequencer", value={"address": "0x12"}), r"sequencer\.address = '0x12': '0x12' is not an address"),
    (set_in("parameters", "initial", "reserve_usd", value=1_001), r"parameters\.initial\.reserve_usd = '1001'"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), CASES)
def test_each_mistake_is_one_sentence(change: Change, message: str) -> None:
    data = local_data()
    change(data)
    with pytest.raises(ConfigError, match=message) as caught:
        parse_config(data, "mine.toml")
    text = str(caught.value)
    assert text.startswith("mine.toml: ")
    assert "\n" not in text
    assert text.endswith("; correct it and run again")


def test_publishers_are_the_keepers_unless_named_and_count_once() -> None:
    data = local_data()
    del data["roles"]["publishers"]
    assert parse_config(data, "x").roles.signers == ("deployer",)
    data["roles"]["publishers"] = [TOKEN, TOKEN]
    assert parse_config(data, "x").roles.signers == (TOKEN,)
    data["roles"]["quorum"] = 2
    with pytest.raises(ConfigError, match="quorum 2 is above the number of publishers, 1"):
        parse_config(data, "x")


@pytest.mark.parametrize(
    ("heartbeat_s", "dead_s"), [(60, 86_400), (43_200, 86_400), (43_201, 86_402), (172_800, 345_600)]
)
def test_a_price_is_dead_after_two_heartbeats_and_a_day_at_least(heartbeat_s: int, dead_s: int) -> None:
    feed = Feed.model_validate({"address": TOKEN, "heartbeat_s": heartbeat_s})
    assert feed.dead_after_s == dead_s
    assert Feed.model_validate({"address": TOKEN, "dead_s": 7_200}).dead_after_s == 7_200


def test_missing_section_names_the_key() -> None:
    data = local_data()
    del data["roles"]
    with pytest.raises(ConfigError, match=r"mine\.toml: roles: Field required"):
        parse_config(data, "mine.toml")


def test_several_mistakes_are_counted() -> None:
    data = local_data()
    data["network"]["a"], data["network"]["b"] = 1, 2
    with pytest.raises(ConfigError, match=r"\(1 more\)"):
        parse_config(data, "mine.toml")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml does not exist; give the path"):
        load_config(tmp_path / "none.toml")


def test_not_toml(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("network = ")
    with pytest.raises(ConfigError, match=r"bad\.toml is not TOML \(Invalid value"):
        load_config(path)


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_on_chain_moves_between_local_chains_only() -> None:
    config = parse_config(local_data(), "local.toml")
    assert config.on_chain(31337).network.chain_id == 31337
    with pytest.raises(ConfigError, match="chain 1 is not a local chain"):
        config.on_chain(1)
