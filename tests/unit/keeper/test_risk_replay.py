# SPDX-License-Identifier: Apache-2.0
"""``ballast risk replay`` through the command line: small runs, plots, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keeper.cli import app
from keeper.errors import ConfigError
from tests.support.shared import shared_path

SMALL = ("--accounts", "40", "--hours", "6", "--blocks-per-hour", "1", "--size", "1e8")


def run(*args: str) -> Result:
    return CliRunner().invoke(app, ["risk", "replay", *args])


def test_a_simulated_replay_prints_json_and_repeats(tmp_path: Path) -> None:
    page = tmp_path / "replay.html"
    first = run(*SMALL, "--simulate", "3", "--stress", "2", "--report", str(page), "--json")
    assert first.exit_code == 0, first.stderr
    found = json.loads(first.stdout)
    assert found["accounts"] == 40 and found["hours"] == 6.0 and found["conservation"] < 1e-12
    assert found["symbols"] == ["BTC", "ETH", "SOL", "LINK"] and found["parameters"].startswith("0x")
    text = page.read_text(encoding="utf-8")
    assert "data:image/png;base64," in text and "conservation" in text
    assert run(*SMALL, "--simulate", "3", "--stress", "2", "--json").stdout == first.stdout
    assert run(*SMALL, "--simulate", "4", "--stress", "2", "--json").stdout != first.stdout


def test_a_sweep_is_a_table(tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text("[grid]\nbuffer = [0.10, 0.20]\n", encoding="utf-8")
    found = run(*SMALL, "--sweep", str(file))
    assert found.exit_code == 0, found.stderr
    assert "buffer 0.1" in found.stdout and "buffer 0.2" in found.stdout and "sums agree" in found.stdout


def test_help_names_the_table_that_a_sweep_file_holds() -> None:
    # Square brackets in a help text are markup: a "[grid]" vanished and left "a  of parameters".
    found = CliRunner().invoke(app, ["risk", "replay", "--help"], env={"COLUMNS": "200"})
    assert "table grid of parameters" in found.stdout


@pytest.mark.parametrize(
    "args,words",
    [
        (("--outage", "3"), "START,HOURS"),
        (("--from", "2020-03-08"), "--from needs --prices"),
        (("--hours", "7"), "multiple of 6"),
        (("--simulate", "1", "--dask", "nowhere:1", "--paths", "2"), "no Dask scheduler answers"),
        (("--positions", "absent.csv"), "absent.csv"),
    ],
)
def test_refusals_are_one_sentence(args: tuple[str, ...], words: str) -> None:
    found = run(*SMALL[:2], *SMALL[4:], *args)
    assert found.exit_code in {1, ConfigError.exit_code} and found.stdout == ""
    last = found.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and words in last


def test_real_borrowers_through_the_crash_of_march_2020(tmp_path: Path) -> None:
    prices = shared_path("data", "prices", "hourly")
    people = shared_path("data", "liquidations", "steth_aave_positions_2023-06.csv.gz")
    window = ("--prices", str(prices), "--symbols", "BTC,ETH", "--from", "2020-03-12", "--to", "2020-03-13T06:00")
    found = run(*SMALL[:2], *SMALL[4:], *window, "--positions", str(people), "--json")
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["liquidated"] > 0
    assert run(*SMALL, "--prices", str(prices), "--symbols", "BTC,ETH").exit_code == ConfigError.exit_code
