# SPDX-License-Identifier: Apache-2.0
"""``ballast risk explain`` on the documented example, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from keeper.cli import app
from keeper.commands.risk_explain import _print
from risk.methodologies import METHODOLOGIES, Ballast, methodology
from risk.methodologies.cases import load_case
from risk.types import JointScenarios
from tests.support.shared import ROOT, shared_path

NOTHING = '{"now": 1, "market": {"underlyings": {}}, "book": {}}'
EXAMPLE = ROOT / "docs" / "examples" / "case.json"


@pytest.fixture(scope="module")
def explained() -> dict[str, Any]:
    done = CliRunner().invoke(app, ["risk", "explain", "--case", str(EXAMPLE), "--json"])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_it_agrees_with_risk_margin(explained: dict[str, Any]) -> None:
    for name in METHODOLOGIES:
        done = CliRunner().invoke(app, ["risk", "margin", "--methodology", name, "--case", str(EXAMPLE), "--json"])
        margin = json.loads(done.stdout)
        peer = next(item for item in explained["peers"] if item["name"] == name)
        assert (peer["im"], peer["mm"], peer["equity"], peer["problem"]) == (
            margin["im"], margin["mm"], margin["equity"], "",
        )  # fmt: skip
    own = next(item for item in explained["peers"] if item["name"] == "ballast")
    assert (explained["im"], explained["mm"]) == (own["im"], own["mm"])


def test_contributions_add_up_and_carry_names(explained: dict[str, Any]) -> None:
    lines = {line["name"]: line["profit"] for line in explained["contributions"]}
    assert set(lines) == {
        "BTC perpetual", "BTC 66,000 call 2025-03-21", "ETH future 2025-03-21", "ETH 2,700 put 2025-03-21",
        "WETH collateral",
    }  # fmt: skip
    assert sum(lines.values()) == pytest.approx(-explained["worst"]["loss"])
    # 0.5 BTC lose 16 % of 60,000, 2 WETH gain 16 % of 3,000
    assert lines["BTC perpetual"] == pytest.approx(-4_800.0) and lines["WETH collateral"] == pytest.approx(960.0)
    assert explained["worst"]["words"] == "BTC -16.0 %, vol up; ETH +16.0 %, vol down"
    haircuts = {item["name"]: item["counted_im"] / item["value"] for item in explained["collateral"]}
    assert haircuts == {"WETH": pytest.approx(0.9), "DAI": pytest.approx(0.97)}


def test_the_parts_of_margin_add_up(explained: dict[str, Any]) -> None:
    parts = {part["name"]: part for part in explained["parts"]}
    charges = sum(line["profit"] for line in explained["charges"])
    risk = parts["market risk and charges"]
    # typical scales: market risk counts whole for initial and 0.8 for maintenance margin, charges whole for both
    assert (risk["im"] - charges) * 0.8 == pytest.approx(risk["mm"] - charges)
    # 10 and 5 % of 6,000 USD of WETH, 3 and 2 % of 4,995 of DAI
    assert (parts["haircuts of collateral"]["im"], parts["haircuts of collateral"]["mm"]) == pytest.approx(
        (749.85, 399.9)
    )
    assert parts["reserve for the caller of a liquidation"]["im"] == 0.0
    rounding = parts["option values as the page rounds them"]
    assert 0.0 < rounding["im"] < 1.0
    assert rounding["im"] == pytest.approx(rounding["mm"])


def test_a_floor_that_decides_says_what_it_asks_for(capsys: pytest.CaptureFixture[str]) -> None:
    book, market = load_case(EXAMPLE)
    rule = methodology("ballast")
    assert isinstance(rule, Ballast)
    # nine tenths of the summed losses against a joint scenario in which nothing moves
    still = JointScenarios(np.zeros((1, 2), np.int8), np.zeros((1, 2), np.int8))
    rule = replace(
        rule, joint=still, joint_underlyings=("BTC", "ETH"), scales=replace(rule.scales, offset_floor_bps=9_000)
    )
    told = rule.explain(book, market)
    _print(Console(width=200), told, rule.margin(book, market))
    said = capsys.readouterr().out
    assert told.binding == "offset floor"
    assert f"market risk is {0.9 * told.scenario_loss:,.2f} USD, the losses of all underlyings together" in said
    assert "what margin adds up from" in said


def test_trades_free_what_they_say(explained: dict[str, Any], tmp_path: Path) -> None:
    """The best trade put into the case by hand lowers the requirement by what was promised."""
    best = explained["trades"][0]
    raw = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    _, strike, kind, _ = best["name"].split()
    leg = {"underlying": best["name"].split()[0], "kind": "option", "quantity": best["units"], "expiry": 1742592000}
    raw["book"]["legs"].append({**leg, "strike": float(strike.replace(",", "")), "is_call": kind == "call"})
    case = tmp_path / "after.json"
    case.write_text(json.dumps(raw), encoding="utf-8")
    done = CliRunner().invoke(app, ["risk", "margin", "--case", str(case), "--json"])
    after = json.loads(done.stdout)
    # the premium is not paid here, so equity rises by it and the demand alone tells what was freed
    freed = explained["im"] - after["im"]
    assert freed == pytest.approx(best["frees_im"], abs=0.01) and freed > 1_000.0


def test_the_table_for_people() -> None:
    done = CliRunner().invoke(app, ["risk", "explain", "--case", str(EXAMPLE), "--trades", "1"])
    assert done.exit_code == 0, done.output
    for said in (
        "worst scenario: BTC -16.0 %",
        "the same book at each methodology",
        "can leave; each USD costs",
        "into cash",
    ):
        assert said in done.stdout
    assert done.stdout.count("frees") == 1


def test_the_documented_last_day_is_told() -> None:
    case = EXAMPLE.with_name("case-last-day.json")
    done = CliRunner().invoke(app, ["risk", "explain", "--case", str(case), "--trades", "1", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    (line,) = found["last_day"]
    said = (ROOT / "docs" / "risk" / "cases.md").read_text(encoding="utf-8")
    assert line["words"] in " ".join(said.split())
    assert sum(item["profit"] for item in found["contributions"]) == pytest.approx(-found["worst"]["loss"])
    # the perpetual alone is what is left: 16 % of 12,000
    assert found["worst"]["loss"] + line["ahead_scan"] == pytest.approx(1_920.0)
    assert found["worst"]["loss"] - line["scan"] == pytest.approx(50.72, abs=0.005)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "has no field"), ("not json", "is not JSON"), (NOTHING, "no underlying")],
)  # fmt: skip
def test_what_cannot_be_explained_is_refused(tmp_path: Path, text: str, said: str) -> None:
    case = tmp_path / "case.json"
    case.write_text(text, encoding="utf-8")
    done = CliRunner().invoke(app, ["risk", "explain", "--case", str(case)])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_derives_cases_are_not_ones_own() -> None:
    path = shared_path("vectors", "derive_pmrm2", "test_12_risk_cancelling_naked_short_call.json")
    done = CliRunner().invoke(app, ["risk", "explain", "--case", str(path)])
    assert done.exit_code == 2 and "derive-pmrm2" in done.output
