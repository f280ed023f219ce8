# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium for tests of the page, and what every page of ours must keep to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
WAIT_MS = 60_000

# Contrast of every visible text with what is behind it (WCAG 2.2, 1.4.3); returns what falls short.
CONTRAST = """() => {
  const parse = (text) => {
    const srgb = text.match(/color\\(srgb ([\\d.e-]+) ([\\d.e-]+) ([\\d.e-]+)(?: \\/ ([\\d.e-]+))?\\)/);
    if (srgb) return [...srgb.slice(1, 4).map((x) => 255 * Number(x)), srgb[4] === undefined ? 1 : Number(srgb[4])];
    const [r, g, b, a] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a === undefined ? 1 : a];
  };
  const over = (top, under) => top.slice(0, 3).map((x, k) => x * top[3] + under[k] * (1 - top[3]));
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const light = (rgb) => rgb.map((x) => x / 255).map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4))
    .reduce((sum, x, k) => sum + x * [0.2126, 0.7152, 0.0722][k], 0);
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const box = element.getBoundingClientRect();
    if (!own || !box.width || element.disabled || element.closest(".hidden, .skip, noscript")) continue;
    const style = getComputedStyle(element);
    const back = behind(element);
    const front = over(parse(style.color), back);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`${element.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""

# Tables need a caption and scopes, controls and pictures a name.
NAMED = """() => {
  const wrong = [];
  for (const table of document.querySelectorAll("main table:not(.u-legend)")) {
    if (!table.querySelector("caption")?.textContent.trim()) wrong.push("a table without caption");
    for (const th of table.querySelectorAll("th")) if (!th.scope) wrong.push(`no scope: ${th.textContent}`);
  }
  for (const one of document.querySelectorAll("button, a, input, [role=img], canvas")) {
    if (one.parentElement.closest("[role=img]")) continue;
    const name = one.getAttribute("aria-label") ?? one.labels?.[0]?.textContent ?? one.textContent;
    if (!name.trim()) wrong.push(`no name: ${one.outerHTML.slice(0, 80)}`);
  }
  return wrong;
}"""


def chromium() -> Path:
    """The browser; without one the test is skipped, in CI it fails."""
    named = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if named is None:
        message = "no chromium: install the package 'chromium' or set CHROMIUM to the binary"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return Path(named)


@dataclass
class Window:
    """A browser's page with everything that it complained about and asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def go(self, url: str, ready: str = "main .panel") -> None:
        """Open an address, or a section of the one that is open, and wait until something is shown."""
        self.page.goto(url)
        self.page.wait_for_selector(ready)

    def wait(self, script: str, argument: Any = None) -> None:
        """Wait until a script says yes."""
        self.page.wait_for_function(script, arg=argument)

    @property
    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser for the time of a test."""
    binary = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(binary), args=ARGUMENTS)
        try:
            yield started
        finally:
            started.close()
