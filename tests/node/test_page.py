# SPDX-License-Identifier: Apache-2.0
"""The live page of a real keeper process in a real browser.

The chain is the demonstration's, with its population, a past with auctions and some that run; screenshots go to
``out/page``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from keeper.decide import Note
from keeper.domain import UnderlyingInfo
from keeper.page.server import PageServer
from keeper.page.view import Source
from keeper.settings_sections import PageSection
from tests.node.browser import CONTRAST, NAMED, Window, browser, chromium
from tests.support.keeper_world import ETH, WAD, account, snapshot
from tests.support.page_source import opened, source_over, stored, turn
from tests.support.page_world import KEY, KeeperPage, PageWorld, keeper_page, page_world
from tests.support.shared import ROOT

pytestmark = pytest.mark.node

SHOTS = ROOT / "out" / "page"
SECTIONS = ("", "account/5", "auctions", "epochs", "parameters", "transactions", "operations")
API = ("status", "accounts", "histogram", "accounts/5", "accounts/5/surface?underlying=1", "epochs", "parameters",
       "auctions", "transactions", "operations")  # fmt: skip
HOSTILE = '<img src=x onerror="window.hacked=1">'
NUMBERS = "() => [...document.querySelectorAll('[data-row]')].map((r) => Number(r.dataset.row))"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageWorld]:
    chromium()  # skipped before anything is built
    with page_world(tmp_path_factory.mktemp("page")) as made:
        yield made


@pytest.fixture(scope="module")
def keeper(world: PageWorld) -> Iterator[KeeperPage]:
    with keeper_page(world) as running:
        yield running


def window(chrome: Browser, width: int = 1440, scheme: Any = "light") -> Window:
    return Window(chrome.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme))


def shot(view: Window, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    view.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def dollars(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def test_the_page_says_what_the_command_line_says(world: PageWorld, keeper: KeeperPage, chrome: Browser) -> None:
    """And what it says follows a move of the price without being asked."""
    view = window(chrome)
    view.go(keeper.url, "[data-row]")
    for share in (0.86, 0.80):
        world.move(1, share)
        told = world.ballast("accounts")
        view.wait("(block) => document.querySelector('caption')?.textContent.includes(`block ${block}`)", told["block"])
        assert view.page.evaluate(NUMBERS) == [row["account"] for row in told["accounts"]]
        for row in told["accounts"]:
            cells = view.page.locator(f'[data-row="{row["account"]}"] > *').all_inner_texts()
            shown = [dollars(cells[k]) for k in (2, 4, 5, 6)]
            exact = [int(row[name]) / WAD for name in ("mm_health", "equity_mark", "mm", "im")]
            assert shown == pytest.approx(exact, abs=0.0051)
    assert "ETH 2,400.00" in view.page.locator("#foot").inner_text()
    assert view.complaints == []
    view.page.close()


def test_one_account_is_explained(world: PageWorld, keeper: KeeperPage, chrome: Browser) -> None:
    told = world.ballast("explain", "5", "--brief")
    view = window(chrome)
    view.go(f"{keeper.url}#/account/5", ".surface canvas")
    view.wait("(text) => document.querySelector('.lead')?.textContent === text", told["status"])
    text = view.page.locator("main").inner_text()
    for part in told["contributions"]:
        assert f"{abs(int(part['profit_wad'])) / WAD:,.2f}" in text
    assert re.sub(r"expiry \d+", "", told["worst"][0])[:12] in text
    drawn = """() => [...document.querySelectorAll("canvas")].map((c) =>
      new Set(new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer)).size)"""
    assert all(colours > 20 for colours in view.page.evaluate(drawn))
    before = view.page.evaluate("document.querySelector('.surface canvas').toDataURL()")
    view.page.focus(".surface canvas")
    view.page.keyboard.press("ArrowLeft")
    assert view.page.evaluate("document.querySelector('.surface canvas').toDataURL()") != before
    view.page.locator("details summary").first.click()
    assert view.page.locator("table.scan td.worst").count() == 1
    world.move(1, 0.81)
    view.wait("() => document.body.textContent.includes('ETH is at 2,430.00 USD')")
    assert view.page.locator("table.scan td.worst").is_visible()  # what was opened stays open
    view.page.get_by_role("button", name="Search trades").click()
    view.page.wait_for_selector("text=Trades that free the most initial margin")
    assert view.complaints == []
    view.page.close()


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")])
def test_every_section_is_readable(keeper: KeeperPage, chrome: Browser, width: int, scheme: str) -> None:
    """No sideways scroll, contrasts of WCAG AA, captions, scopes and names; nothing is asked of another host."""
    view = window(chrome, width, scheme)
    ready = {"": "[data-row]", "account/5": ".surface canvas", "epochs": ".u-over", "operations": "main td"}
    for section in SECTIONS:
        view.go(f"{keeper.url}#/{section}", ready.get(section, "main tbody tr"))
        if section in SECTIONS[:2] or (width, scheme) in {(1440, "light"), (390, "dark")}:
            shot(view, f"{section.replace('/', '-') or 'accounts'}-{width}-{scheme}")
        assert view.overflow <= 0, section
        assert view.page.evaluate(CONTRAST) == [], section
        assert view.page.evaluate(NAMED) == [], section
    assert view.complaints == []
    assert [url for url in view.asked if not url.startswith(keeper.url)] == []
    view.page.close()


def test_the_theme_can_be_chosen_against_the_system(keeper: KeeperPage, chrome: Browser) -> None:
    view = window(chrome)
    view.go(keeper.url, "[data-row]")
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = [view.page.evaluate(ground)]
    for _ in range(2):
        view.page.click("#theme")
        seen.append(view.page.evaluate(ground))
    assert seen[0] == seen[1] != seen[2]
    assert view.page.evaluate(CONTRAST) == []
    view.page.reload()
    view.page.wait_for_selector("[data-row]")
    assert view.page.evaluate(ground) == seen[2]
    view.page.close()


def test_the_keyboard_is_enough(keeper: KeeperPage, chrome: Browser) -> None:
    """Sort by a column and open an account without a mouse; the focus outlives a new turn."""
    view = window(chrome)
    view.go(keeper.url, "[data-row]")
    view.page.keyboard.press("Tab")
    assert view.page.evaluate("document.activeElement.className") == "skip"
    view.page.focus('[data-key="sort account"]')
    view.page.keyboard.press("Enter")
    view.wait("() => document.querySelector('th[aria-sort=ascending]')?.textContent.startsWith('account')")
    shown = view.page.evaluate(NUMBERS)
    assert shown == sorted(shown)
    turns = "Number(performance.getEntriesByType('resource').filter((e) => e.name.includes('histogram')).length)"
    before = view.page.evaluate(turns)
    view.wait(f"(before) => {turns} > before + 1", before)
    assert view.page.evaluate("document.activeElement.dataset.key") == "sort account"
    view.page.focus('[data-key="account 1"]')
    view.page.keyboard.press("Enter")
    view.page.wait_for_selector("h1:has-text('Account 1')")
    view.page.close()


def test_strangers_get_nothing_and_nobody_gets_a_secret(world: PageWorld, keeper: KeeperPage) -> None:
    assert keeper.get("api/accounts", Host="evil.example").status_code == 421
    for path in API:
        assert KEY not in keeper.get(f"api/{path}").text, path
    assert KEY in world.environment["RPC_URL_1337"]
    (endpoint,) = keeper.json("api/operations")["endpoints"]
    assert endpoint["host"] == world.url.removeprefix("http://")


def test_auctions_epochs_and_jobs_are_those_of_the_chain(world: PageWorld, keeper: KeeperPage) -> None:
    told = keeper.json("api/auctions")
    running = {row["account"] for row in told["running"]}
    snapshot_now = world.play.daemon.chain.snapshot()
    assert running == {a for a, item in snapshot_now.auctions.items() if getattr(item, "phase", 0)} and running
    assert told["past"] and all(row["ended"] for row in told["past"])
    assert any(e["name"] == "BidMade" for row in told["past"] for e in row["events"])
    shown = {page["underlying"]: page["epoch"] for page in keeper.json("api/epochs")["pages"]}
    assert shown == {row["underlying"]: row["epoch"] for row in world.ballast("table", "show")["pages"]}
    assert all(len(page["smiles"]) == 2 for page in keeper.json("api/epochs")["pages"])
    jobs = {job["name"]: job for job in keeper.json("api/operations")["jobs"]}
    assert jobs["cycle"]["counts"]["executed"] > 0 and jobs["cycle"]["next_at"] is not None
    journal = keeper.json("api/transactions?limit=200")
    assert journal["matching"] == len(world.ballast("tx", "list", "--limit", "1000"))


# --- a page without a keeper behind it, for what a well keeper never shows ---


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Source]:
    stored(tmp_path, [opened(1)]).close()
    source = source_over(tmp_path, names=lambda: {0: HOSTILE}, network=HOSTILE, interval_s=3_600.0)
    view = snapshot(accounts={1: account(350, 1)}, underlyings={ETH: UnderlyingInfo(ETH, HOSTILE, True, 2)})
    turn(source, view, notes=[Note(HOSTILE, HOSTILE, alarm=True)])
    source.health.halt(HOSTILE, HOSTILE)
    yield source
    source.database.close()


def test_names_of_the_chain_are_text(hostile: Source, chrome: Browser) -> None:
    server = PageServer(hostile, PageSection(port=0))
    server.start()
    view, ready = window(chrome), {"account/1": ".surface canvas"}
    try:
        for section in ("", "account/1", "auctions", "epochs", "parameters", "transactions", "operations"):
            view.go(f"{server.url}#/{section}", ready.get(section, "main td"))
            assert HOSTILE in view.page.locator("body").inner_text()
            assert view.page.locator("img").count() == 0
        assert view.page.evaluate("window.hacked") is None
    finally:
        view.page.close()
        server.stop()


def test_a_lost_connection_is_said_and_found_again(hostile: Source, chrome: Browser) -> None:
    server = PageServer(hostile, PageSection(port=0))
    server.start()
    port = int(server.url.rstrip("/").rsplit(":", 1)[1])
    view = window(chrome)
    try:
        view.go(server.url, "[data-row]")
        assert not view.page.locator(".notice.bad", has_text="Connection lost").count()
        server.stop()
        view.page.wait_for_selector(".notice.bad:has-text('Connection lost')")
        said = view.page.locator(".notice.bad").first.inner_text()
        assert re.search(r"last data \d+ \w+ (\d{4} )?\d\d:\d\d:\d\d UTC", said)
        assert view.page.evaluate("document.body.classList.contains('stale')")
        shot(view, "connection-lost")
        turn(hostile, snapshot(accounts={1: account(349, 1), 2: account(600, 1)}))
        server = PageServer(hostile, PageSection(port=port))
        server.start()
        view.page.wait_for_selector('[data-row="2"]')
        view.wait("() => !document.body.textContent.includes('Connection lost')")
        assert not view.page.evaluate("document.body.classList.contains('stale')")
    finally:
        view.page.close()
        server.stop()
