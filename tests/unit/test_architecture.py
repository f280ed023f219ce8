# SPDX-License-Identifier: Apache-2.0
"""docs/architecture.md names files and functions; each of them exists."""

from __future__ import annotations

import re

import pytest

from tests.support.shared import ROOT

PAGE = ROOT / "docs" / "architecture.md"
NAMED = re.compile(r"`((?:contracts|risk|keeper)/[\w/]+(?:\.\w+|/))(?:: (\w+))?`")
FOUND = sorted(set(NAMED.findall(PAGE.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(("path", "name"), FOUND, ids=[f"{path} {name}".strip() for path, name in FOUND])
def test_what_the_page_names_exists(path: str, name: str) -> None:
    file = ROOT / path
    assert file.exists()
    if name:
        assert re.search(rf"^\s*def {name}\(", file.read_text(encoding="utf-8"), re.MULTILINE), name


def test_every_journey_names_what_it_passes() -> None:
    parts = PAGE.read_text(encoding="utf-8").split("\n## One ")[1:]
    assert len(parts) == 5
    assert all(len(NAMED.findall(part)) >= 4 for part in parts)
