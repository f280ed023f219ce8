# SPDX-License-Identifier: Apache-2.0
"""``ballast risk calibrate`` from files to files: inputs, progress, named warnings, what changed, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from keeper.cli import app
from risk.market.synthetic import simulate_bars
from risk.types import ParameterSet

RUNNER = CliRunner()
END = 1_699_999_200
HOUR = 3_600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two underlyings, an index of one, funding of the other, a book."""
    root = tmp_path_factory.mktemp("data")
    bars = simulate_bars(["BTC", "ETH"], 1_500, [6e4, 3e3], np.random.default_rng(2), start_ts=END - 1_500 * HOUR)
    for name in ("prices", "vol", "funding"):
        (root / name).mkdir()
    for symbol in bars.symbols:
        (root / "prices" / f"{symbol}USDT_1h.csv").write_text(bars.csv(symbol))
    days = range(END - 60 * 86_400, END, 86_400)
    (root / "vol" / "dvol_BTC_1d.csv").write_text("ts,close\n" + "".join(f"{d},{55 + d % 7}\n" for d in days))
    (root / "vol" / "notes.csv").write_text("what\n")
    paid = range(END - 200 * 8 * HOUR, END, 8 * HOUR)
    rates = "".join(f"{t},{0.004 if k % 40 < 3 else 0.0001}\n" for k, t in enumerate(paid))
    (root / "funding" / "ETHUSDT_funding_8h.csv").write_text("ts,funding_rate\n" + rates)
    (root / "book.csv").write_text("account,instrument,quantity\na,BTC-PERP,1\na,ETH-PERP,-20\nb,ETH-SPOT,3\n")
    return root


def calibrate(folder: Path, out: Path, *more: str) -> Result:
    return RUNNER.invoke(
        app, ["risk", "calibrate", "--prices", str(folder / "prices"), "--out", str(out), "--quick", *more]
    )


@pytest.fixture(scope="module")
def first(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    out = tmp_path_factory.mktemp("out") / "first.json"
    return out, calibrate(folder, out, "--to", "2023-11-14T00:00:00Z")


def test_everything_that_can_be_handed_over(folder: Path, first: tuple[Path, Result], tmp_path: Path) -> None:
    out = tmp_path / "second.json"
    inputs = ["--vol", str(folder / "vol"), "--funding", str(folder / "funding"), "--book", str(folder / "book.csv")]
    result = calibrate(folder, out, *inputs, "--previous", str(first[0]), "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    found = ParameterSet.from_json(out.read_text())
    assert said["content_hash"] == found.content_hash()
    assert said["certificate"]["books"] == found.certificate.books  # type: ignore[union-attr]
    assert said["provenance"]["data_hash"] == found.provenance.data_hash
    assert found.surfaces["BTC"].short_vol == pytest.approx(0.55 + (END - 86_400) % 7 / 100)
    assert found.underlyings["ETH"].basis_charge_bps == 120
    names = {(w["name"], w["subject"]) for w in said["warnings"]}
    assert ("derived-volatility", "ETH") in names and ("no-funding", "BTC") in names
    assert any(name == "ignored-file" for name, _ in names)
    moved = {row["field"]: row for row in said["difference"]}
    assert moved["ETH.basis_charge_bps"]["new"] == 120
    assert moved["ETH.basis_charge_bps"]["change"] == pytest.approx(120 / moved["ETH.basis_charge_bps"]["old"] - 1)
    assert set(said["gates"]) == {"es_relative_error", "single_p01", "ratio_p01", "efficiency"}
    assert "choosing joint scenarios" in result.stderr


def test_without_symbols_the_book_says_which(folder: Path, tmp_path: Path) -> None:
    book, out = tmp_path / "one.csv", tmp_path / "x.json"
    book.write_text("account,instrument,quantity\na,ETH-PERP,1\n")
    result = calibrate(folder, out, "--book", str(book))
    assert result.exit_code == 0, result.output
    assert list(ParameterSet.from_json(out.read_text()).underlyings) == ["ETH"]


def test_people_get_tables_and_warnings_go_to_stderr(folder: Path, first: tuple[Path, Result], tmp_path: Path) -> None:
    assert first[1].exit_code == 0, first[1].output
    assert "changes since the last set" not in first[1].stdout
    result = calibrate(folder, tmp_path / "x.json", "--vol", str(folder / "vol"), "--previous", str(first[0]))
    assert result.exit_code == 0, result.output
    assert "changes since the last set" in result.stdout
    assert "BTC.vol_day_bps" in result.stdout or "surface.BTC.short_vol" in result.stdout
    assert "warning: derived-volatility: ETH:" in result.stderr
    assert "warning:" not in result.stdout
    assert "joint scenarios on" in result.stdout and "efficiency" in result.stdout


def test_the_same_set_again_changes_nothing(folder: Path, first: tuple[Path, Result], tmp_path: Path) -> None:
    out = tmp_path / "same.json"
    more = ["--to", "2023-11-14T00:00:00Z", "--previous", str(first[0]), "--json"]
    result = calibrate(folder, out, *more)
    assert result.exit_code == 0, result.output
    assert not any(
        row["field"].split(".")[0] in {"BTC", "ETH", "joint"} for row in json.loads(result.stdout)["difference"]
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--book", "bad.csv"), "bad.csv, line 2: unknown instrument 'DOGE-PERP': DOGE is not calibrated"),
        (("--vol", "nowhere"), "volatility folder nowhere does not exist"),
        (("--funding", "nowhere"), "funding folder nowhere does not exist"),
        (("--on-fault", "guess"), "--on-fault guess is neither raise, drop nor repair"),
        (("--from", "soon"), "--from: time is 'soon'"),
        (("--previous", "bad.csv"), "parameter set JSON is malformed"),
    ],
)
def test_bad_inputs_end_with_one_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.csv").write_text("account,instrument,quantity\na,DOGE-PERP,1\n")
    result = calibrate(folder, tmp_path / "out.json", *more)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert words in " ".join(result.output.split())
    assert not (tmp_path / "out.json").exists()


def test_a_file_with_faults_is_repaired_on_request(folder: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices"
    prices.mkdir()
    lines = (folder / "prices" / "BTCUSDT_1h.csv").read_text().splitlines()
    lines[700], lines[701] = lines[701], lines[700]
    (prices / "BTCUSDT_1h.csv").write_text("\n".join([*lines, lines[-1]]) + "\n")
    assert calibrate(tmp_path, tmp_path / "x.json").exit_code == 2
    result = calibrate(tmp_path, tmp_path / "x.json", "--on-fault", "repair", "--json")
    assert result.exit_code == 0, result.output
    assert {w["name"] for w in json.loads(result.stdout)["warnings"]} == {"unsorted-bars", "duplicate-bars"}
