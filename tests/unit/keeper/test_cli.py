# SPDX-License-Identifier: Apache-2.0
"""Bad input through the command line: one sentence, the right exit code, no traceback."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from keeper import __version__
from keeper.cli import app
from keeper.commands import common
from keeper.commands.common import exact, explain_error
from keeper.errors import ConfigError, Halt, Transient
from risk.errors import GateFailed, InsufficientHistory
from risk.market.synthetic import warmup
from risk.types import ParameterSet
from tests.support.shared import ROOT

END = 1_700_000_000 // 3_600 * 3_600
KEY = "0x" + "ab" * 32


def run(*args: str, **env: str) -> Result:
    return CliRunner().invoke(app, list(args), env=env)


def sentence(result: Result, code: int) -> str:
    """Standard error of a refused command: one line, nothing on standard output."""
    assert result.exit_code == code, (result.exit_code, result.output)
    lines = result.stderr.splitlines()
    assert len([line for line in lines if line.startswith("error: ")]) == 1
    assert "Traceback" not in result.output
    return lines[-1]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("BALLAST_", "RPC_URL_")) and name != "BALLAST_SHARED":
            monkeypatch.delenv(name)
    for name in ("ETH_RPC_URL", "PRIVATE_KEY", "PRIVATE_KEY_FILE", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_the_version_is_the_packages() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"ballast {__version__}\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert __version__ == project["version"] == newest[1]


@pytest.mark.parametrize(
    "command",
    [
        "accounts", "explain", "doctor", "deploy", "demo", "keeper run", "keeper status", "keeper resume",
        "params show", "params diff", "params push", "table show", "table verify", "tx list", "db upgrade",
        "config show", "risk calibrate",
    ],
)  # fmt: skip
def test_every_command_has_help(command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_an_unknown_command_is_refused() -> None:
    assert run("liquidate-everything").exit_code == 2


# ------------------------------------------------------------------ configuration


def test_a_missing_configuration_file() -> None:
    said = sentence(run("accounts", "--config", "nowhere.toml"), 2)
    assert said == "error: configuration file 'nowhere.toml' does not exist; pass --config with the right path"


def test_a_configuration_file_that_is_not_toml(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("cycle_interval_s = = 3\n")
    assert "is not TOML" in sentence(run("accounts", "--config", "bad.toml"), 2)


def test_a_misspelt_setting_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "k.toml").write_text("cycle_intervall_s = 3\n")
    said = sentence(run("config", "show", "--config", "k.toml"), 2)
    assert "cycle_intervall_s" in said and "did you mean 'cycle_interval_s'?" in said


def test_a_value_of_the_wrong_type_is_named(tmp_path: Path) -> None:
    (tmp_path / "k.toml").write_text("[publisher]\ndrift_bps = -4\n")
    assert "publisher.drift_bps" in sentence(run("config", "show", "--config", "k.toml"), 2)


def test_no_network_at_all() -> None:
    said = sentence(run("accounts"), 2)
    assert "has no chain id" in said and "deploy first, or change to the folder of the deployment" in said
    assert "deployments in this folder: none" in said


def test_a_misspelt_network_is_told_which_there_are(tmp_path: Path) -> None:
    manifest = tmp_path / "deployments" / "31337" / "local.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    assert "deployments in this folder: local" in sentence(run("accounts", "--network", "lcoal"), 2)


def test_a_manifest_that_does_not_exist() -> None:
    said = sentence(run("accounts", "--manifest", "nowhere.json", "--rpc-url", "http://127.0.0.1:9"), 2)
    assert said == "error: manifest nowhere.json does not exist; deploy first or give the path of the right one"


def test_a_damaged_manifest(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"format": 1, "netw')
    assert "is damaged" in sentence(run("accounts", "--manifest", "m.json"), 2)


def test_secrets_are_never_shown() -> None:
    result = run(
        "config",
        "show",
        PRIVATE_KEY=KEY,
        ETH_RPC_URL="https://rpc.example/v2/s3cr3t",
        DATABASE_URL="postgresql://u:pw@db/x",
    )
    assert result.exit_code == 0
    for secret in ("abab", "s3cr3t", "pw@"):
        assert secret not in result.output
    assert json.loads(result.stdout)["eth_rpc_url"] == ["https://rpc.example/[hidden]"]


def test_a_key_that_is_no_key_is_not_printed(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2-not-hex")
    result = run("deploy", "--config", str(ROOT / "config" / "local.toml"), "--rpc-url", "http://127.0.0.1:9",
                 PRIVATE_KEY_FILE="key")  # fmt: skip
    assert result.exit_code != 0
    assert "hunter2" not in result.output


def test_a_deployment_configuration_that_does_not_exist() -> None:
    assert "does not exist" in sentence(run("deploy", "--config", "nowhere.toml"), 2)


def test_a_deployment_to_the_network_of_another_file() -> None:
    said = sentence(run("deploy", "--config", str(ROOT / "config" / "local.toml"), "--network", "sepolia"), 2)
    assert "is of network local, not sepolia" in said


def test_a_deployment_to_an_unreachable_node() -> None:
    result = run("deploy", "--config", str(ROOT / "config" / "local.toml"), "--rpc-url", "http://127.0.0.1:9",
                 PRIVATE_KEY=KEY)  # fmt: skip
    assert "127.0.0.1" in sentence(result, 75)


# ------------------------------------------------------------------ database


def test_the_database_is_upgraded(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'k.sqlite'}"
    for _ in range(2):
        result = run("db", "upgrade", DATABASE_URL=url)
        assert result.exit_code == 0 and "is at the newest schema" in result.stdout


def test_a_database_in_a_folder_that_does_not_exist() -> None:
    sentence(run("db", "upgrade", DATABASE_URL="sqlite:////nonexistent-folder/k.sqlite"), 3)


def test_a_database_of_an_unknown_kind() -> None:
    assert "DATABASE_URL is not usable" in sentence(run("db", "upgrade", DATABASE_URL="oracle9i://x"), 2)


def test_resuming_what_is_not_halted(tmp_path: Path) -> None:
    result = run(
        "keeper", "resume", "liquidation", DATABASE_URL=f"sqlite:///{tmp_path / 'k.sqlite'}", BALLAST_CHAIN_ID="5"
    )
    assert sentence(result, 2) == "error: part 'liquidation' is not halted (halted: nothing); name one that is"


# ------------------------------------------------------------------ price files

Bars = list[list[str]]


def good_bars(count: int = 1_000) -> Bars:
    past = warmup(["BTC"], count, [60_000.0], np.random.default_rng(3), end_ts=END)
    return [
        [str(int(ts)), *[repr(float(close[0]))] * 4, repr(float(volume[0]))]
        for ts, close, volume in zip(past.ts, past.close, past.volume, strict=True)
    ]


def write(folder: Path, bars: Sequence[Sequence[str]], header: str = "ts,open,high,low,close,volume") -> Path:
    folder.mkdir(exist_ok=True)
    text = "\n".join([header, *(",".join(bar) for bar in bars)]) + "\n"
    (folder / "BTCUSDT_1h.csv").write_text(text)
    return folder


def calibrate(folder: Path, out: str = "out.json", *more: str) -> Result:
    return run("risk", "calibrate", "--prices", str(folder), "--out", out, "--quick", *more)


def test_a_folder_that_does_not_exist() -> None:
    said = sentence(calibrate(Path("nowhere")), 2)
    assert said == "error: price folder nowhere does not exist; create it or point to the folder with the price files"


def test_a_folder_without_price_files(tmp_path: Path) -> None:
    (tmp_path / "prices").mkdir()
    assert "no price file in" in sentence(calibrate(tmp_path / "prices"), 2)


def test_an_empty_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "prices", [])
    (folder / "BTCUSDT_1h.csv").write_text("")
    assert "BTCUSDT_1h.csv is empty; export it again" in sentence(calibrate(folder), 2)


def test_a_file_with_a_header_alone(tmp_path: Path) -> None:
    assert "has 0 usable bars" in sentence(calibrate(write(tmp_path / "prices", [])), 2)


def test_a_file_that_is_too_short(tmp_path: Path) -> None:
    said = sentence(calibrate(write(tmp_path / "prices", good_bars(100))), 2)
    assert "100 bars of BTC, 720 are needed" in said  # thirty horizons of a day


def test_a_missing_column(tmp_path: Path) -> None:
    folder = write(tmp_path / "prices", [bar[:5] for bar in good_bars(50)], "ts,open,high,low,close")
    assert "missing column volume" in sentence(calibrate(folder), 2)


def spoil(column: int, value: str) -> Callable[[Bars], None]:
    def change(bars: Bars) -> None:
        bars[500][column] = value

    return change


def duplicate(bars: Bars) -> None:
    bars.insert(501, bars[500])


def swap(bars: Bars) -> None:
    bars[500], bars[501] = bars[501], bars[500]


SPOILT = [
    (spoil(4, "nan"), "line 502: close is 'nan', not a number"),
    (spoil(4, ""), "line 502: close is '', not a number"),
    (spoil(4, "inf"), "line 502: close is 'inf', not a number"),
    (spoil(4, "-5"), "line 502: close is -5, prices must be above zero"),
    (spoil(3, "0"), "line 502: low is 0, prices must be above zero"),
    (spoil(5, "-1"), "line 502: volume is -1, it must not be negative"),
    (spoil(0, "yesterday"), "line 502: time is 'yesterday'"),
    (duplicate, "line 503: time 2023-"),
    (swap, "is out of order; sort by time"),
]


@pytest.mark.parametrize(("change", "said"), SPOILT, ids=[text[:40] for _, text in SPOILT])
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, change: Callable[[Bars], None], said: str) -> None:
    bars = good_bars()
    change(bars)
    message = sentence(calibrate(write(tmp_path / "prices", bars)), 2)
    assert said in message and "BTCUSDT_1h.csv" in message
    assert not (tmp_path / "out.json").exists()


@pytest.mark.filterwarnings("ignore::risk.errors.RiskWarning")
def test_gaps_are_named_in_the_result(tmp_path: Path) -> None:
    bars = good_bars(1_500)
    del bars[700:705]
    result = calibrate(write(tmp_path / "prices", bars))
    assert result.exit_code == 0, result.output
    found = ParameterSet.from_json((tmp_path / "out.json").read_text())
    assert found.provenance.diagnostics["gap_count"] == 1
    assert "5 bars missing" in found.provenance.diagnostics["gaps"][0]


def test_a_good_folder_gives_the_same_parameters_twice(tmp_path: Path) -> None:
    folder = write(tmp_path / "prices", good_bars(1_500))
    for out in ("a.json", "b.json"):
        result = calibrate(folder, out, "--collateral", "WBTC=BTC")
        assert result.exit_code == 0, result.output
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    found = ParameterSet.from_json((tmp_path / "a.json").read_text())
    assert list(found.underlyings) == ["BTC"] and list(found.collaterals) == ["WBTC"]
    assert 0 < found.underlyings["BTC"].scan_bps <= 9_000 and math.isfinite(found.surfaces["BTC"].short_vol)


def test_a_full_disk_keeps_the_old_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "prices", good_bars(1_000))
    (tmp_path / "out.json").write_text("the old one")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(common.os, "fsync", full)
    said = sentence(calibrate(folder), 3)
    assert "No space left on device" in said and "free disk space and run again" in said
    assert (tmp_path / "out.json").read_text() == "the old one"
    assert list(tmp_path.glob(".*.tmp")) == []


# ------------------------------------------------------------------ the parts themselves


def test_each_error_has_its_exit_code() -> None:
    assert explain_error(ConfigError("a"))[1] == 2
    assert explain_error(Transient("a"))[1] == 75
    assert explain_error(Halt("a"))[1] == 3
    assert explain_error(InsufficientHistory("a"))[1] == 2
    assert explain_error(GateFailed("a"))[1] == 1
    assert explain_error(PermissionError(13, "Permission denied", "x")) == (
        "file 'x' cannot be used (Permission denied); check the path and its permissions", 2
    )  # fmt: skip
    assert explain_error(ConnectionRefusedError(111, "Connection refused"))[1] == 1


def test_json_never_rounds_an_amount() -> None:
    assert exact({"a": 2**53, "b": 2**53 + 1, "c": [-(2**60)], "d": True, "e": b"\x01"}) == {
        "a": 2**53, "b": "9007199254740993", "c": ["-1152921504606846976"], "d": True, "e": "0x01",
    }  # fmt: skip


def test_a_traceback_is_shown_on_demand() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "keeper", "accounts", "--config", "nowhere.toml"],
        env={**os.environ, "BALLAST_DEBUG": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" in done.stderr and "ConfigError" in done.stderr
