# SPDX-License-Identifier: Apache-2.0
"""Every external function of every deployable is called by name in some test. A search of the sources of the tests."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import Final

import pytest

from tests.support.revm import compiled
from tests.support.shared import ROOT

DEPLOYABLES: Final = sorted(path.stem for path in (ROOT / "contracts").glob("*.vy"))
# contract.function -> why no test calls it
UNCALLED: Final[dict[str, str]] = {}


def functions(contract: str) -> list[str]:
    """External functions by name."""
    return sorted({item["name"] for item in compiled(f"contracts/{contract}.vy")[1] if item["type"] == "function"})


@lru_cache(maxsize=1)
def called() -> frozenset[str]:
    """Names that tests call: ``contract.name(..)``, ``contract.call("name", ..)``, and names in quotes in tables."""
    found: set[str] = set()
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path == Path(__file__) or "node" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= {n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
        found |= {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return frozenset(found)


@pytest.mark.parametrize("contract", DEPLOYABLES)
def test_each_function_is_called(contract: str) -> None:
    missing = [name for name in functions(contract) if name not in called() and f"{contract}.{name}" not in UNCALLED]
    assert missing == []


def test_exceptions_are_still_needed() -> None:
    for key in UNCALLED:
        contract, name = key.split(".")
        assert name in functions(contract) and name not in called()
