# SPDX-License-Identifier: Apache-2.0
"""Line and branch coverage of the contracts by the tests that run in titanoboa; `--json FILE` keeps the figures.

Lines: titanoboa's plugin for coverage.py. Branches: `scripts/coverage_branches.py`, both ways of each `if`. Tests that
run in revm (pyrevm: the risk table, the whole protocol, the token zoo, the fuzzer, the mutations) are seen by neither,
so the figures are a lower bound. Arguments go to pytest; without any, all tests that run in titanoboa run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from vyper.ast import nodes
from vyper.ast.parse import parse_to_ast

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.coverage_branches import FILE  # noqa: E402

PLUGIN = "scripts.coverage_branches"
TESTS = ("unit/contracts", "regression", "property", "differential")
# the plugin imports hypothesis before pytest could rewrite it
IGNORED = "ignore::pytest.PytestAssertRewriteWarning"
# line numbers in a row
SHOWN = 8
CONFIGURATION = """
[run]
plugins = boa.coverage
data_file = {folder}/data
include = contracts/*
[report]
include = contracts/*
omit = contracts/testing/*
"""


def boa_tests() -> list[str]:
    """Test files that run contracts in titanoboa, by themselves or through a helper."""
    helpers = [path.stem for path in (ROOT / "tests" / "support").glob("*.py") if "import boa" in _text(path)]
    found = []
    for folder in TESTS:
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py")):
            text = _text(path)
            if "import boa" in text or any(f"tests.support.{helper} import" in text for helper in helpers):
                found.append(str(path.relative_to(ROOT)))
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def measure(arguments: list[str], folder: Path) -> tuple[int, dict[str, Any]]:
    """Run pytest under coverage; (its exit code, coverage.py's report as JSON)."""
    configuration = folder / "coverage.ini"
    configuration.write_text(CONFIGURATION.format(folder=folder), encoding="utf-8")
    coverage = [sys.executable, "-m", "coverage"]
    option = f"--rcfile={configuration}"
    branches = folder / "branches.json"
    run = subprocess.run(
        [*coverage, "run", option, "-m", "pytest", "-q", "-W", IGNORED, "-p", PLUGIN, *arguments],
        cwd=ROOT,
        env={**os.environ, FILE: str(branches)},
        check=False,
    )
    report = folder / "report.json"
    subprocess.run([*coverage, "json", option, "-q", "-o", str(report)], cwd=ROOT, check=True)
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    count_branches(found, json.loads(branches.read_text(encoding="utf-8")))
    return run.returncode, found


def count_branches(report: dict[str, Any], seen: list[tuple[str, int, int, int]]) -> None:
    """Write branches that there are, and that were taken, into coverage.py's report."""
    taken = {(str(Path(path).relative_to(ROOT)), line, column): n for path, line, column, n in seen if _is_ours(path)}
    totals = report["totals"]
    totals["num_branches"] = totals["covered_branches"] = 0
    for name, file in report["files"].items():
        tree = parse_to_ast(_text(ROOT / name))
        places = [(name, n.lineno, n.col_offset) for n in tree.get_descendants((nodes.If, nodes.IfExp))]
        file["summary"] |= {"num_branches": 2 * len(places), "covered_branches": sum(taken.get(p, 0) for p in places)}
        file["half_taken_lines"] = sorted({p[1] for p in places if taken.get(p, 0) < 2})
        for key in ("num_branches", "covered_branches"):
            totals[key] += file["summary"][key]


def _is_ours(path: str) -> bool:
    return Path(path).is_relative_to(ROOT / "contracts")


def show(report: dict[str, Any]) -> None:
    """A line per contract: lines, branches, the lines that no test ran."""
    table = Table(
        "contract", "lines", "branches", "missing lines", title="Coverage by tests in titanoboa (revm not seen)"
    )
    rows = [(name.removeprefix("contracts/"), file) for name, file in report["files"].items()]
    for name, file in [
        *sorted(rows),
        ("all", {"summary": report["totals"], "missing_lines": [], "half_taken_lines": []}),
    ]:
        s = file["summary"]
        table.add_row(
            name,
            f"{s['covered_lines']}/{s['num_statements']} {_percent(s['covered_lines'], s['num_statements'])}",
            f"{s['covered_branches']}/{s['num_branches']} {_percent(s['covered_branches'], s['num_branches'])}",
            _some(file["missing_lines"]),
            _some(file["half_taken_lines"]),
        )
    Console(width=140).print(table)


def _some(lines: list[int]) -> str:
    return ", ".join(map(str, lines[:SHOWN])) + (" .." if len(lines) > SHOWN else "")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def main() -> int:
    """Measure, print, and return pytest's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write coverage.py's report here as well")
    parser.add_argument("tests", nargs="*", help="arguments of pytest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        code, report = measure(options.tests or boa_tests(), Path(folder))
    show(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
