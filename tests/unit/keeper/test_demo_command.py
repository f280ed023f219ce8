# SPDX-License-Identifier: Apache-2.0
"""``ballast demo`` as a person runs it: one object on standard output, a few lines of progress, an honest exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from keeper.cli import app
from keeper.commands import demonstration
from risk.market.synthetic import warmup
from tests.support.shared import ROOT

KEYS = {
    "blocks", "accounts", "epochs", "pushes", "auctions_started", "bids", "bad_debt_wad", "insurance_paid_wad",
    "conservation_ok", "parity_checked", "parity_mismatches", "seconds",
}  # fmt: skip
END = 1_700_000_000 // 3_600 * 3_600
Bars = list[list[str]]


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """The command in a process and a folder of its own, not on a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "keeper", "demo", *args],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip


@pytest.mark.xdist_group("demo")
def test_two_hours_give_one_object_and_a_report(tmp_path: Path) -> None:
    done = run(tmp_path, "--hours", "2", "--seed", "5", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert set(found) >= KEYS
    assert found["conservation_ok"] is True and found["parity_mismatches"] == 0
    assert found["accounts"] >= 20 and found["epochs"] >= 4 and found["parity_checked"] >= 20
    assert found["blocks"] > found["accounts"] and found["bad_debt_wad"] == 0
    assert (tmp_path / "out" / "demo.html").read_text().startswith("<!doctype html>")
    # nothing but progress: at most a line for every tenth, and none of the alerts
    lines = done.stderr.splitlines()
    assert 2 <= len(lines) <= 11
    shares = [int(line.split("%")[0]) for line in lines]
    assert shares == sorted(set(shares)) and all(b - a >= 10 for a, b in pairwise(shares))


def good(symbol: str, count: int) -> Bars:
    past = warmup([symbol], count, [3_000.0], np.random.default_rng(3), end_ts=END)
    return [
        [str(int(ts)), *[repr(float(close[0]))] * 4, repr(float(volume[0]))]
        for ts, close, volume in zip(past.ts, past.close, past.volume, strict=True)
    ]


def write(folder: Path, symbol: str, bars: Bars) -> None:
    text = "\n".join(["ts,open,high,low,close,volume", *(",".join(bar) for bar in bars)]) + "\n"
    (folder / f"{symbol}USDT_1h.csv").write_text(text)


def spoil(value: str) -> Callable[[Bars], None]:
    def change(bars: Bars) -> None:
        bars[500][4] = value

    return change


def duplicate(bars: Bars) -> None:
    bars.insert(501, bars[500])


def shorten(bars: Bars) -> None:
    del bars[:1_500]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "no price file in"),
        (spoil("nan"), "line 502: close is 'nan', not a number"),
        (spoil("-3"), "line 502: close is -3, prices must be above zero"),
        (duplicate, "line 503: time"),
        (shorten, "hourly bars precede the crash, 1,440 are needed"),
    ],
    ids=["empty folder", "nan", "negative price", "duplicate", "too short"],
)
def test_bad_files_end_in_one_sentence(tmp_path: Path, change: Callable[[Bars], None] | None, said: str) -> None:
    folder = tmp_path / "prices"
    folder.mkdir()
    if change is not None:
        for symbol in ("BTC", "ETH"):
            bars = good(symbol, 1_800)
            change(bars)
            write(folder, symbol, bars)
    done = run(tmp_path, "--data", "prices", "--json")
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and said in line
    assert not (tmp_path / "out").exists()


def test_unwritable_report_is_said_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(tmp_path, "--report", "file/demo.html")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "report file/demo.html cannot be written: " in line


@pytest.mark.xdist_group("demo")
def test_a_mismatch_of_twin_and_engine_is_a_result_with_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("keeper.assess.compare", lambda _ours, _theirs: (("mm", 1, 2),))
    done = CliRunner().invoke(app, ["demo", "--hours", "1", "--json"])
    assert done.exit_code == 1, done.output
    assert json.loads(done.stdout)["parity_mismatches"] > 0
    assert done.stderr.splitlines()[-1].startswith("error: twin and engine differ")


def test_lines_come_at_most_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with demonstration.progress() as show:
        for k in range(1_001):
            show("hour", k / 1_000)
    lines = capsys.readouterr().err.splitlines()
    assert 10 <= len(lines) <= 11 and lines[0].startswith("  0% hour") and lines[-1].startswith("100% ")


def test_a_terminal_gets_one_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    with demonstration.progress() as show:
        show("hour 1 of 2", 0.5)
    shown = capsys.readouterr()
    assert "━" in shown.err and "done" in shown.err and shown.out == ""
