# SPDX-License-Identifier: Apache-2.0
"""``ballast risk *``: an argument that cannot be used ends every command with code 2 and names what it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from keeper.cli import app

CASE = "docs/examples/case.json"
DATES = ["--from", "2022-01-01", "--to", "2022-02-01"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["explain", "--case", "{none}"], "none"),
        (["explain", "--case", CASE, "--parameters", "{none}"], "none"),
        (["explain", "--case", CASE, "--parameters", "README.md"], "malformed"),
        (["margin", "--case", CASE, "--parameters", "{none}"], "none"),
        (["margin", "--case", CASE, "--parameters", "{folder}"], "Is a directory"),
        (["margin", "--case", CASE, "--methodology", "nobody"], "nobody"),
        (["calibrate", "--prices", "{none}", "--out", "{folder}/x.json"], "none"),
        (["calibrate", "--prices", "{none}", "--out", "{none}/x.json"], "--out"),
        (["backtest", "--prices", "{none}", *DATES], "price folder"),
        (["backtest", "--prices", "{none}", "--report", "{none}/x.html", *DATES], "--report"),
        (["replay", "--prices", "{none}", *DATES], "none"),
        (["replay", "--positions", "{none}"], "none"),
        (["adaptive", "--prices", "{none}", *DATES], "none"),
        (["adaptive", "--prices", "{none}", "--report", "{folder}", *DATES], "--report"),
    ],
)
def test_a_bad_argument_is_code_2(tmp_path: Path, arguments: list[str], named: str) -> None:
    filled = [text.format(none=tmp_path / "none", folder=tmp_path) for text in arguments]
    done = CliRunner().invoke(app, ["risk", *filled])
    assert done.exit_code == 2, done.output
    assert named in done.output
    assert "Traceback" not in done.output


def test_a_good_one_is_code_0() -> None:
    assert CliRunner().invoke(app, ["risk", "explain", "--case", CASE, "--json"]).exit_code == 0
