# SPDX-License-Identifier: Apache-2.0
"""``ballast risk backtest`` from files to table, JSON and page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from keeper.cli import app
from risk.market import warmup

END = 1_699_920_000
HEADER = "ts,open,high,low,close,volume\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("prices")
    past = warmup(["BTC"], 3_000, [60e3], np.random.default_rng(1), end_ts=END - 3_600)
    rows = [
        f"{ts},{close!r},{close!r},{close!r},{close!r},{volume!r}"
        for ts, close, volume in zip(
            past.ts.tolist(), past.close[:, 0].tolist(), past.volume[:, 0].tolist(), strict=True
        )
    ]
    (made / "BTCUSDT_1h.csv").write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    return made


def run(folder: Path, *more: str, start: str = "2023-11-10", end: str = "2023-11-14") -> Result:
    args = ("risk", "backtest", "--prices", str(folder), "--symbols", "BTC", "--from", start, "--to", end, *more)
    return CliRunner().invoke(app, args, env={"COLUMNS": "200"})


def test_json_and_page(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    found = run(folder, "--json", "--report", str(page), "--peers", "span,fixed-haircut")
    value = json.loads(found.stdout)
    assert found.exit_code == (0 if value["passed"] else 3), found.output
    assert value["decisions"] == 4
    assert value["no_look_ahead_decisions_checked"] == 3
    assert {row["name"] for row in value["peers"]["mix, 0.99"]} == {"ballast", "span", "fixed-haircut"}
    capital = {row["name"]: row["capital"] for row in value["peers"]["mix, 0.99"]}
    against = value["ballast_over_peer"]["mix, 0.99"]["span"]
    assert against["ratio"] == pytest.approx(capital["ballast"] / capital["span"])
    assert against["low"] <= against["high"]
    # One underlying has no spreads to leave out.
    assert value["ballast_over_peer"]["mix without spreads, 0.99"] == value["ballast_over_peer"]["mix, 0.99"]
    assert set(value["classes"]) >= {"long perp", "short straddle", "lender", "random", "all"}
    assert value["classes"]["all"]["coverage"]["observations"] == 4 * value["accounts"]
    assert value["impulse"] is None
    text = page.read_text(encoding="utf-8")
    # Self-contained: pictures inside, nothing fetched, no script.
    assert text.count("data:image/png;base64,") == 4
    assert "http" not in text
    assert "<script" not in text


@pytest.mark.parametrize(
    ("more", "dates", "words"),
    [
        ((), {"start": "yesterday"}, "--from: time is 'yesterday'"),
        ((), {"end": "2023-11-10"}, "leave room for a horizon"),
        ((), {"start": "2010-01-01", "end": "2010-02-01"}, "has 0 bars in the window"),
        (("--vol", "nowhere"), {}, "volatility folder nowhere does not exist"),
        (("--peers", "simm"), {}, "methodology 'simm' is unknown"),
    ],
)
def test_what_cannot_be_walked_is_refused_in_a_sentence(
    folder: Path, more: tuple[str, ...], dates: dict[str, str], words: str
) -> None:
    found = run(folder, *more, **dates)
    assert found.exit_code not in (0, 3)
    assert words in found.output.replace("\n", " ")
    assert "Traceback" not in found.output
