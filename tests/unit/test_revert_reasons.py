# SPDX-License-Identifier: Apache-2.0
"""No revert reason is dead, none is written twice, and each is asserted as text by some test. By search."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

import pytest

from tests.support.shared import ROOT

ERRORS: Final = sorted((ROOT / "contracts" / "modules").glob("errors_*.vy"))
CONSTANT: Final = re.compile(r'^(\w+): constant\(String\[32\]\) = "([^"]+)"$', re.MULTILINE)
# reason -> why no test can see it
UNREACHABLE: Final[dict[str, str]] = {
    "math: denominator": "no caller divides by what may be zero; a division by zero would revert without it as well",
}


def reasons() -> list[tuple[Path, str, str]]:
    """(module, constant, text) of every reason."""
    return [(path, name, text) for path in ERRORS for name, text in CONSTANT.findall(path.read_text(encoding="utf-8"))]


@lru_cache(maxsize=1)
def contracts() -> dict[Path, str]:
    """Sources of everything that is deployed."""
    return {
        path: path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "contracts").rglob("*.vy"))
        if "testing" not in path.parts
    }


def users(module: Path, constant: str) -> list[str]:
    """Contracts that raise a reason, under whatever name they import its module."""
    found = []
    for path, source in contracts().items():
        imported = re.search(rf"import {module.stem}(?: as (\w+))?$", source, re.MULTILINE)
        if imported and re.search(rf"\b{imported.group(1) or module.stem}\.{constant}\b", source):
            found.append(path.name)
    return found


def strings(path: Path) -> Iterator[str]:
    """Strings of a test that are no docstrings; ``f"^table: {reason}$"`` counts with each string of the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    plain = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs | parts
    ]
    # data that a deployment reverts with
    plain += [
        n.value.decode(errors="replace")
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and isinstance(n.value, bytes)
    ]
    yield from plain
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and len(node.values) > 1 and isinstance(node.values[0], ast.Constant):
            prefix = str(node.values[0].value).lstrip("^")
            if re.fullmatch(r"[a-z]+: ", prefix):
                yield from (prefix + text for text in plain)


@lru_cache(maxsize=1)
def asserted() -> frozenset[str]:
    """Every text that tests name, bare of the marks of a pattern; alternatives apart."""
    found = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if path != Path(__file__):
            for text in strings(path):
                found |= {text, *re.split(r"[|()]", text.replace("\\", "").strip("^$"))}
    return frozenset(text.strip("^$") for text in found)


@pytest.mark.parametrize("module", ERRORS, ids=lambda path: path.stem)
def test_no_reason_is_dead(module: Path) -> None:
    dead = [name for path, name, _ in reasons() if path == module and not users(path, name)]
    assert dead == []


@pytest.mark.parametrize("module", ERRORS, ids=lambda path: path.stem)
def test_each_reason_is_asserted(module: Path) -> None:
    missing = [text for path, _, text in reasons() if path == module and text not in asserted() | UNREACHABLE.keys()]
    assert missing == []


def test_exceptions_are_still_needed() -> None:
    assert set(UNREACHABLE) & asserted() == set()


def test_reasons_are_short_and_said_once() -> None:
    texts = [text for _, _, text in reasons()]
    assert len(texts) == len(set(texts))
    assert [text for text in texts if len(text) > 32 or not re.fullmatch(r"[a-z]+: [\w ,'-]+", text)] == []


def test_reasons_said_in_place_are_asserted_too() -> None:
    """Contracts without a module of reasons: a text in quotes after assert, raise or _fail."""
    own = re.compile(r'(?:assert [^\n]*, |raise |_fail\()"([^"]+)"')
    found = {text: path.name for path, source in contracts().items() for text in own.findall(source)}
    assert set(found) > {"timelock: delay", "multicall: call failed"}
    assert {text: name for text, name in found.items() if text not in asserted() | UNREACHABLE.keys()} == {}
