# SPDX-License-Identifier: Apache-2.0
"""docs/keeper-guarantees.md names tests; each of them exists."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.shared import ROOT

PAGE = ROOT / "docs" / "keeper-guarantees.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
FOUND = sorted(set(NAMED.findall(PAGE.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(("path", "name"), FOUND, ids=[f"{path}::{name}" for path, name in FOUND])
def test_what_the_page_names_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    assert tests if not name else name in tests


def test_every_row_of_the_page_names_a_test() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    bare = [row for row in rows if not NAMED.search(row) and not row.startswith(("| ---", "| what"))]
    assert bare == []
    assert len(rows) > 30
