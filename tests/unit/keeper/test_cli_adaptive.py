# SPDX-License-Identifier: Apache-2.0
"""``ballast risk adaptive`` on files: table, JSON, page, and one sentence for what cannot be used."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from keeper.cli import app
from risk.market import PriceHistory
from risk.market.history import utc
from tests.support.garch_market import garch_market

WINDOW = ("--from", "2018-09-01", "--to", "2019-01-01", "--trees", "3")


def write(folder: Path, history: PriceHistory, symbol: str) -> None:
    folder.mkdir(exist_ok=True)
    rows = zip(history.ts, history.close[:, 0], history.volume[:, 0], strict=True)
    lines = [
        f"{utc(int(t))},{c!r},{c!r},{c!r},{c!r},{v!r}" for t, c, v in ((t, float(c), float(v)) for t, c, v in rows)
    ]
    (folder / f"{symbol}USDT_1h.csv").write_text("ts,open,high,low,close,volume\n" + "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market") / "prices"
    history = garch_market(760, 3).history
    write(folder, history, "BTC")
    write(folder, history.window(start=int(history.ts[24 * 670])), "SOL")
    vol = folder.parent / "vol"
    vol.mkdir()
    (vol / "dvol_BTC_1d.csv").write_text("date,close\n2018-01-01,80\n2018-01-02,81\n")
    return folder


def run(*args: str) -> Result:
    return CliRunner().invoke(app, ["risk", "adaptive", *args])


def test_json_and_page(prices: Path, tmp_path: Path) -> None:
    page = tmp_path / "adaptive.html"
    result = run("--prices", str(prices), "--vol", str(prices.parent / "vol"), *WINDOW, "--json", "--report", str(page))
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["verdict"] in {"on", "off"}
    assert found["features_looking_ahead"] == []
    assert found["left_out"] == {"SOL": "30 days, 500 needed"}
    btc = found["symbols"]["BTC"]
    assert (btc["days"], btc["first"], btc["last"]) == (122, "2018-09-01T00:00Z", "2018-12-31T00:00Z")
    assert set(btc["models"]) == {"adaptive", "garch", "fhs", "ewma", "long history"}
    assert found["config"]["trees"] == 3
    text = page.read_text()
    assert f"Adaptive layer: {found['verdict']}" in text
    assert "SOL left out: 30 days, 500 needed" in text


def test_table_and_verdict_for_people(prices: Path) -> None:
    result = run("--prices", str(prices), *WINDOW, "--symbols", "BTC")
    assert result.exit_code == 0, result.output
    assert "BTC, 122 days 2018-09-01..2018-12-31" in result.stdout
    for words in ("long history", "features that look ahead: none", "rule: on, only if", "verdict: adaptive o"):
        assert words in result.stdout


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--from", "2019-01-01", "--to", "2018-01-01"), "--from 2019-01-01 is not before --to 2018-01-01"),
        (("--from", "soon", "--to", "2018-01-01"), "--from: time is 'soon'"),
        (("--from", "2018-01-01", "--to", "2018-02-01"), "no symbol can be forecast from 2018-01-01T00:00Z"),
        ((*WINDOW, "--symbols", "DOGE"), "no price file for DOGE"),
        ((*WINDOW, "--symbols", "BTC", "--funding", "nowhere"), "funding folder nowhere does not exist"),
    ],
)
def test_one_sentence_for_what_cannot_be_used(prices: Path, args: tuple[str, ...], why: str) -> None:
    result = run("--prices", str(prices), *(args if "--symbols" in args else (*args, "--symbols", "BTC")))
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert why in result.stderr
    assert result.stdout == ""


def test_the_missing_library_is_named(prices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    result = run("--prices", str(prices), *WINDOW, "--symbols", "BTC")
    assert result.exit_code == 1
    assert "pip install 'ballast-margin[research]'" in result.stderr
