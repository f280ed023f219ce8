# SPDX-License-Identifier: Apache-2.0
"""House rules a machine can check: sizes, layering, licences, no traces of a developer's machine."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.shared import ROOT

FILE_LINES, FUNCTION_LINES, MODULE_LINES = 400, 40, 300
PYTHON = [p for d in ("risk", "keeper", "scripts") for p in sorted((ROOT / d).rglob("*.py"))]
DEPLOYABLES = sorted((ROOT / "contracts").glob("*.vy"))
MODULES = sorted((ROOT / "contracts" / "modules").glob("*.vy"))


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    body = node.body
    if (
        isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
        and isinstance(body[0].value.value, str)
    ):
        body = body[1:]
    return (node.end_lineno or 0) - body[0].lineno + 2 if body else 1


@pytest.mark.parametrize("path", PYTHON, ids=short)
def test_python_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert code_lines(node) <= FUNCTION_LINES, f"{short(path)}:{node.lineno} {node.name}"


@pytest.mark.parametrize("path", DEPLOYABLES + MODULES, ids=short)
def test_contract_files_stay_short(path: Path) -> None:
    limit = MODULE_LINES if path.parent.name == "modules" else FILE_LINES
    assert path.read_text(encoding="utf-8").count("\n") <= limit


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", PYTHON, ids=short)
def test_imports_point_inwards(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    forbidden = {"risk": {"keeper", "tests", "scripts"}, "keeper": {"tests", "scripts"}, "scripts": {"tests"}}[package]
    assert not imports(path) & forbidden


@pytest.mark.parametrize("path", PYTHON + DEPLOYABLES + MODULES, ids=short)
def test_every_source_says_its_licence(path: Path) -> None:
    want = "AGPL-3.0-only" if path.suffix == ".vy" else "Apache-2.0"
    head = "\n".join(path.read_text(encoding="utf-8").splitlines()[:6])
    assert f"SPDX-License-Identifier: {want}" in head


def test_risk_reads_no_clock_network_or_environment() -> None:
    banned = {"time", "os", "requests", "httpx", "socket", "urllib", "web3", "random"}
    for path in sorted((ROOT / "risk").rglob("*.py")):
        assert not imports(path) & banned, short(path)


def test_revert_reasons_are_short_and_named() -> None:
    reason = re.compile(r'constant\(String\[\d+\]\)\s*=\s*"([^"]*)"')
    seen = 0
    for path in sorted((ROOT / "contracts" / "modules").glob("errors_*.vy")):
        for text in reason.findall(path.read_text(encoding="utf-8")):
            seen += 1
            assert len(text.encode()) <= 32, (short(path), text)
            assert re.fullmatch(r"[a-z ]+: .+", text), (short(path), text)
    assert seen > 30


def test_no_path_of_a_machine_is_committed() -> None:
    found = subprocess.run(
        ["git", "grep", "-nIE", r"/(home|Users)/[A-Za-z]|/root[/]", "--", ".", ":!tests/unit/test_style.py"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.stdout == ""
