# SPDX-License-Identifier: Apache-2.0
"""The page's files: small, from nowhere else, and without a way for a text of the chain to become markup."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from keeper.page.app import STATIC

OWN = sorted(path for path in STATIC.rglob("*") if path.is_file() and "vendor" not in path.parts)
SCRIPTS = [path for path in OWN if path.suffix == ".js"]
VENDORED = {
    "uPlot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uPlot.esm.js": "5dd9b3281aa64b461b42d9945f6adb2649d346502b12281a9ae0d46599a80eba",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}  # of version 1.6.32 as published


def name(path: Path) -> str:
    return str(path.relative_to(STATIC))


def test_all_of_it_is_small() -> None:
    assert sum(path.stat().st_size for path in STATIC.rglob("*") if path.is_file()) < 400_000


def test_what_others_wrote_is_unchanged_and_has_its_licence() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (STATIC / "vendor").iterdir()}
    assert found == VENDORED


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_scripts_never_turn_text_into_markup_or_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", text
    )
    assert "SPDX-License-Identifier: Apache-2.0" in text
    assert text.count("\n") < 300


@pytest.mark.parametrize("path", OWN, ids=name)
def test_nothing_is_asked_of_another_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\(", text)


def test_the_frame_has_no_inline_script_or_style() -> None:
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\son\w+=|\sstyle=|javascript:", text)
    assert re.findall(r"<script[^>]*>(.*?)</script>", text) == [""]


def test_every_module_that_is_imported_is_there() -> None:
    for path in SCRIPTS:
        for wanted in re.findall(r'from "(\.[^"]+)"', path.read_text(encoding="utf-8")):
            assert (path.parent / wanted).is_file(), f"{name(path)}: {wanted}"
