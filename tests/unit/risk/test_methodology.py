# SPDX-License-Identifier: Apache-2.0
"""docs/risk-methodology.md and the docstrings name each other: no formula without code, no citation without formula."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from risk.types import CollateralParameters, GlobalParameters, SmileModel, UnderlyingParameters
from tests.support.shared import ROOT

PAGE = ROOT / "docs" / "risk-methodology.md"
FORMULA = re.compile(r"\*\*\((\d+\.\d+)\)\*\*\s+((?:`risk\.[\w.]+`(?:, )?)+)")
CITATION = re.compile(r"docs/risk-methodology\.md,\s+formula\s+(\d+\.\d+)")


def formulas() -> Iterator[tuple[str, str]]:
    """Number of each formula with each function that the page ties to it."""
    for number, names in FORMULA.findall(PAGE.read_text(encoding="utf-8")):
        for name in re.findall(r"`(risk\.[\w.]+)`", names):
            yield number, name


def docstring(name: str) -> str:
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found.__doc__ or ""
    raise AssertionError(f"{name} does not exist")


def cited() -> dict[str, list[Path]]:
    out: dict[str, list[Path]] = {}
    for path in sorted((ROOT / "risk").rglob("*.py")):
        for number in CITATION.findall(path.read_text(encoding="utf-8")):
            out.setdefault(number, []).append(path)
    return out


@pytest.mark.parametrize(("number", "name"), list(formulas()))
def test_each_formula_is_named_by_the_function_that_computes_it(number: str, name: str) -> None:
    assert number in CITATION.findall(docstring(name)), f"the docstring of {name} should cite formula {number}"


def test_each_citation_has_its_formula() -> None:
    known = {number for number, _ in formulas()}
    assert len(known) >= 30
    assert set(cited()) <= known
    bold = set(re.findall(r"\*\*\((\d+\.\d+)\)\*\*", PAGE.read_text(encoding="utf-8")))
    assert bold == known, "a formula of the page names no function"


def test_every_number_of_a_parameter_set_has_its_origin() -> None:
    page = (ROOT / "docs" / "risk" / "calibration.md").read_text(encoding="utf-8")
    table = page.partition("## Where each number comes from")[2].partition("\n## ")[0]
    lanes = [f for kind in (GlobalParameters, UnderlyingParameters, CollateralParameters) for f in fields(kind)]
    for field in [*lanes, *fields(SmileModel)]:
        assert re.search(rf"`(surfaces\.\*\.)?{field.name}`", table), f"docs/risk/calibration.md lacks {field.name}"
