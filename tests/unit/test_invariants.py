# SPDX-License-Identifier: Apache-2.0
"""The page of invariants against the repository: what it names exists, and no tag in a contract is without an entry."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from functools import cache

import pytest

from tests.support.shared import ROOT

PAGE = ROOT / "docs" / "invariants.md"
MODEL = ROOT / "docs" / "threat-model.md"
CONTRACTS = [*sorted((ROOT / "contracts").glob("*.vy")), *sorted((ROOT / "contracts" / "modules").glob("*.vy"))]

HEADING = re.compile(r"^### (I-\d{2,})$", re.MULTILINE)
OPEN = re.compile(r"Open: (F-\d\d)")
CODE = re.compile(r"`(contracts/[\w/]+\.vy): (\w+)`")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
TAG = re.compile(r"@custom:invariant (I-\d{2,}(?:, I-\d{2,})*)")
ANY_TAG = re.compile(r"@custom:invariant\b.*")


@dataclass(frozen=True)
class Invariant:
    """One entry of the page."""

    id: str
    formula: str
    code: list[tuple[str, str]] = field(default_factory=list)
    tests: list[tuple[str, str]] = field(default_factory=list)
    open: tuple[str, ...] = ()


def entry(name: str, body: str) -> Invariant:
    lines, _, tests = body.partition("- tests:")
    formula = "".join(line for line in lines.splitlines() if line.startswith("    "))
    joined = " ".join(line.strip() for line in lines.splitlines())
    found = tuple(OPEN.findall(joined))
    return Invariant(name, formula, CODE.findall(joined), TEST.findall(tests), found)


def entries() -> list[Invariant]:
    parts = HEADING.split(PAGE.read_text(encoding="utf-8"))[1:]
    # a group's heading ends the body of the entry before it
    return [entry(name, body.split("\n## ")[0]) for name, body in zip(parts[::2], parts[1::2], strict=True)]


INVARIANTS = entries()
IDS = [invariant.id for invariant in INVARIANTS]


@cache
def functions(path: str) -> frozenset[str]:
    """Names of the functions, classes and constants that a source defines; those of a contract by their `def`."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".vy"):
        return frozenset(re.findall(r"^def (\w+)\(", text, re.MULTILINE))
    names = [n.name for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    return frozenset(names)


def missing(names: list[tuple[str, str]]) -> list[str]:
    """Which of these (file, name) do not exist."""
    return [
        f"{path}: {name}" if (ROOT / path).is_file() else f"{path}: no such file"
        for path, name in names
        if not (ROOT / path).is_file() or name not in functions(path)
    ]


def tags() -> dict[str, list[str]]:
    """Files that are tagged with each id."""
    found: dict[str, list[str]] = {}
    for path in CONTRACTS:
        for ids in TAG.findall(path.read_text(encoding="utf-8")):
            for name in ids.split(", "):
                found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return found


def test_ids_are_consecutive() -> None:
    assert [f"I-{k:02d}" for k in range(1, len(IDS) + 1)] == IDS
    assert len(IDS) > 60


@pytest.mark.parametrize("invariant", INVARIANTS, ids=IDS)
def test_lines_and_tests_exist(invariant: Invariant) -> None:
    assert invariant.formula, f"{invariant.id} has no formula"
    assert invariant.code, f"{invariant.id} names no lines"
    assert invariant.tests or invariant.open, f"{invariant.id} names no test, and no finding that says why"
    gone = missing(invariant.code) + missing(invariant.tests)
    assert not gone, f"docs/invariants.md, {invariant.id}: not in the repository any more: {'; '.join(gone)}"


@pytest.mark.parametrize("invariant", INVARIANTS, ids=IDS)
def test_its_lines_point_back(invariant: Invariant) -> None:
    files = {path for path, _ in invariant.code}
    tagged = set(tags().get(invariant.id, []))
    assert files & tagged, f"none of {sorted(files)} says `@custom:invariant {invariant.id}`"


def test_no_tag_is_an_orphan() -> None:
    strange = {name: files for name, files in tags().items() if name not in IDS}
    assert not strange, f"tags without an entry in docs/invariants.md: {strange}"
    by_id = {invariant.id: {path for path, _ in invariant.code} for invariant in INVARIANTS}
    elsewhere = [f"{name} in {path}" for name, files in tags().items() for path in files if path not in by_id[name]]
    assert not elsewhere, f"tagged in a file that docs/invariants.md does not name: {elsewhere}"


def test_every_tag_has_a_number() -> None:
    for path in CONTRACTS:
        for line in ANY_TAG.findall(path.read_text(encoding="utf-8")):
            assert TAG.match(line), f"{path.name}: {line}"


def test_what_is_named_is_a_test() -> None:
    """Or a rule, an invariant or an actor of the stateful tests and the fuzzer."""
    for invariant in INVARIANTS:
        for path, name in invariant.tests:
            if name.startswith("test_") or "/stateful/" in path or "/fuzz/" in path:
                continue
            pytest.fail(f"{invariant.id}: {path}::{name} is no test")


def test_findings_are_described() -> None:
    model = MODEL.read_text(encoding="utf-8")
    for invariant in INVARIANTS:
        for finding in invariant.open:
            assert f"**{finding}**" in model, (
                f"{invariant.id} is open by {finding}, which the threat model does not describe"
            )


def test_the_threat_model_names_what_exists() -> None:
    text = " ".join(MODEL.read_text(encoding="utf-8").split())
    assert not missing(TEST.findall(text)), f"docs/threat-model.md: {missing(TEST.findall(text))}"
    assert not missing(CODE.findall(text)), f"docs/threat-model.md: {missing(CODE.findall(text))}"
    unknown = set(re.findall(r"\bI-\d{2,}", text)) - set(IDS)
    assert not unknown, f"docs/threat-model.md: {sorted(unknown)}"
    risks = re.findall(r"\*\*(R-\d\d)\*\*", text)
    assert risks == [f"R-{k:02d}" for k in range(1, len(risks) + 1)]
    mentioned = set(re.findall(r"\bR-\d\d", text)) | set(re.findall(r"\bF-\d\d", text))
    described = set(risks) | set(re.findall(r"\*\*(F-\d\d)\*\*", text))
    assert mentioned <= described, f"docs/threat-model.md: {sorted(mentioned - described)}"


@pytest.mark.parametrize("page", ["invariants", "threat-model", "liquidators"])
def test_lines_of_the_pages_stay_short(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    # a table's row is one line
    long = [n for n, line in enumerate(text.splitlines(), 1) if len(line) > 140]
    assert not long, f"docs/{page}.md: lines {long}"
