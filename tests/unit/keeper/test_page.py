# SPDX-License-Identifier: Apache-2.0
"""The page's API against numbers worked out by hand, and who may ask it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from keeper.chain.rpc import Rpc
from keeper.decide import Note
from keeper.domain import Phase, Unknown
from keeper.errors import Transient
from keeper.index.projection import store_events
from keeper.page.app import POLICY, Page
from keeper.page.view import Source, endpoints
from keeper.page.views.accounts import Query, accounts
from keeper.page.views.auctions import discount_bps
from keeper.store import Store
from keeper.store.models import AlertRow, PushRow
from risk.onchain import Assessment
from risk.onchain_words import AccountState, CollateralPosition, build_words
from risk.units import pack_underlying
from tests.support.keeper_world import ETH, ETH_LANES, NOW, SETTINGS, WAD, account, auction, snapshot
from tests.support.page_source import Client, event, opened, source_over, stored, turn

# One perpetual of 1 ETH bought at 2,000: maintenance margin 320, initial 400. Cash decides the rest.
BOOK: dict[int, Any] = {
    1: account(1_000, 1),
    2: account(300, 1),  # liquidatable: 20 short
    3: account(350, 1),  # below initial
    4: Unknown("the call failed", NOW - 30),
    5: account(50),  # nothing at risk
    6: account(310, 1),  # in auction
}
VIEW = snapshot(accounts=BOOK, auctions={6: auction(Phase.SOLVENT)})
OTHER = "0xBB00000000000000000000000000000000000002"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = stored(tmp_path, [*(opened(a) for a in range(1, 6)), opened(6, OTHER)])
    yield made
    made.close()


@pytest.fixture
def source(store: Store, tmp_path: Path) -> Iterator[Source]:
    made = source_over(tmp_path)
    turn(made, VIEW)
    yield made
    made.database.close()


@pytest.fixture
def client(source: Source) -> Client:
    return Client(Page(source).app)


def rows(client: Client, query: str = "") -> list[int]:
    return [row["account"] for row in client.get(f"/api/accounts?{query}").json()["rows"]]


# --- who may ask ---


@pytest.mark.parametrize("host", ["localhost", "localhost:9465", "127.0.0.1:1", "[::1]:9465", "LOCALHOST"])
def test_names_of_this_machine_are_served(client: Client, host: str) -> None:
    assert client.get("/api/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9465", "localhost.evil.example", "127.0.0.1.nip.io", ""]
)
def test_a_name_that_somebody_pointed_here_is_refused(client: Client, host: str) -> None:
    for path in ("/", "/api/status", "/api/accounts", "/static/js/main.js"):
        found = client.get(path, headers={"Host": host})
        assert (found.status_code, "accounts" in found.text) == (421, False)


def test_a_name_of_the_settings_is_served(source: Source) -> None:
    client = Client(Page(source, ["keeper.lan"]).app, "http://keeper.lan")
    assert client.get("/api/status").status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", ""])
def test_another_page_in_the_browser_cannot_make_the_keeper_work(client: Client, site: str) -> None:
    """An image of every account's search, on any page the operator visits, would take a processor from the cycle."""
    asked = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    for path in ("/api/accounts/1/advice", "/api/stream", "/static/style.css"):
        assert client.get(path, headers=asked).status_code == 403
    assert client.get("/", headers=asked).status_code == 200  # a link to it may be followed
    for own in ("same-origin", "none"):
        assert client.get("/api/status", headers={"Sec-Fetch-Site": own}).status_code == 200


def test_a_number_of_thousands_of_digits_is_refused(client: Client) -> None:
    assert client.get(f"/api/accounts/{'9' * 5_000}").status_code == 414


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_nothing_can_be_written(client: Client, method: str) -> None:
    for path in ("/", "/api/accounts", "/api/accounts/1", "/static/style.css"):
        assert client.request(method, path).status_code == 405


@pytest.mark.parametrize("path", ["/", "/api/status", "/api/nothing", "/static/style.css", "/static/../app.py", "/x"])
def test_every_answer_says_what_a_browser_may_do(client: Client, path: str) -> None:
    found = client.get(path)
    assert found.headers["Content-Security-Policy"] == POLICY
    assert "unsafe" not in POLICY and "http" not in POLICY
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["X-Frame-Options"] == "DENY"
    assert "access-control-allow-origin" not in found.headers


def test_files_beside_the_static_ones_are_not_served(client: Client) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd"):
        assert client.get(path).status_code == 404


# --- accounts ---


def test_unknown_on_top_then_the_worst_first(client: Client) -> None:
    assert rows(client) == [4, 2, 6, 3, 5, 1]
    # by health 1, 5 are 680 and 50; downwards the unknown stay on top
    assert rows(client, "order=descending") == [4, 1, 5, 3, 6, 2]
    assert rows(client, "sort=account&order=descending") == [4, 6, 5, 3, 2, 1]
    assert rows(client, "sort=cover") == [4, 2, 6, 3, 1, 5]


def test_amounts_are_exact_and_states_are_named(client: Client) -> None:
    found = {row["account"]: row for row in client.get("/api/accounts").json()["rows"]}
    assert found[2]["mm_health"] == str(-20 * WAD)
    assert (found[2]["mm"], found[2]["im"]) == (str(320 * WAD), str(400 * WAD))
    assert {a: row["state"] for a, row in found.items()} == {
        1: "healthy", 2: "liquidatable", 3: "below initial", 4: "unknown", 5: "healthy", 6: "in auction",
    }  # fmt: skip
    assert found[4]["unknown"] == "the call failed" and found[4]["since"] == NOW - 30
    assert "equity_mark" not in found[4]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("search=2", [2]),
        ("search=0xbb", [6]),
        ("search=0xABCD&sort=account", [4, 1, 2, 3, 5]),
        ("search=0xcc", []),
        ("search=0x%25", []),
        ("search=<img>", []),
        ("state=liquidatable", [2]),
        ("state=risky", [4, 2, 6, 3]),
        ("offset=1&limit=2", [2, 6]),
        ("offset=99", []),
    ],
)
def test_search_filter_and_pages(client: Client, query: str, expected: list[int]) -> None:
    assert rows(client, query) == expected


@pytest.mark.parametrize("query", ["sort=owner", "state=fine", "limit=0", "limit=501", "offset=-1", "limit=ten"])
def test_a_query_without_sense_is_refused_with_a_sentence(client: Client, query: str) -> None:
    found = client.get(f"/api/accounts?{query}")
    assert found.status_code == 400 and len(found.json()["error"]) > 10


def test_histogram_counts_every_account_once(client: Client) -> None:
    found = client.get("/api/histogram").json()
    counts = {item["low"]: item["accounts"] for item in found["bins"] if item["accounts"]}
    # covers: 1,000/320, 300/320, 350/320, 310/320
    assert counts == {3.0: 1, 0.9: 2, 1.05: 1}
    assert (found["no_requirement"], found["unknown"]) == (1, 1)


def test_a_hundred_thousand_accounts_stay_quick(source: Source) -> None:
    one = Assessment(WAD, WAD, WAD, 0, 0, 0, 0, 255, 0, 0, ())
    book = {a: one._replace(mm=a * WAD // 7, im=a * WAD // 5) for a in range(1, 100_001)}
    turn(source, snapshot(accounts=dict.fromkeys(book, ())), book)
    view = source.feed.view
    assert view is not None
    source.feed.columns(view)
    began = time.process_time()
    found = accounts(source, view, Query(sort="cover", search="99", offset=50))
    took = time.process_time() - began
    assert (found["total"], found["matching"]) == (100_000, 1 + 10 + 100 + 1_000)
    assert took < 0.5


# --- one account ---


def test_value_over_price_by_hand(client: Client) -> None:
    """Cash 500 and 1 ETH: equity p - 1,500, needed 0.16 p, so they meet at 1,500 / 0.84."""
    found = client.get("/api/accounts/3/surface?underlying=0").json()
    cash = 350 - 2_000
    assert found["prices"][0] == 1_600 and found["prices"][-1] == 2_400 and found["price_now"] == 2_000
    for v in range(3):
        assert found["equity"][v] == pytest.approx([p + cash for p in found["prices"]])
    assert found["need_mm"] == pytest.approx([0.16 * p for p in found["prices"]])
    assert found["need_im"] == pytest.approx([0.20 * p for p in found["prices"]])
    assert found["crossings"] == pytest.approx([1_650 / 0.84])
    assert found["scan"]["profit_usd"][1] == pytest.approx([-400 + 100 * n for n in range(9)])
    assert found["scan"]["worst"] in {0, 9, 18}


def test_collateral_moves_with_what_it_follows(tmp_path: Path, store: Store) -> None:
    """One WETH: 5 % haircut and 0.8 of a scan of 20 % for maintenance; 10 % and the whole scan for initial."""
    weth = CollateralPosition(asset=0, amount=10**18, use_bps=0, decimals=18, linked=ETH + 1)
    source = source_over(tmp_path)
    turn(source, snapshot(accounts={1: build_words(AccountState(cash=-1_500 * WAD, collaterals=(weth,)))}))
    found = Client(Page(source).app).get("/api/accounts/1/surface").json()
    assert found["equity"][1] == pytest.approx([p - 1_500 for p in found["prices"]])
    assert found["need_mm"] == pytest.approx([(0.05 + 0.16) * p for p in found["prices"]])
    assert found["need_im"] == pytest.approx([(0.10 + 0.20) * p for p in found["prices"]])
    assert found["crossings"] == pytest.approx([1_500 / 0.79])
    source.database.close()


def test_an_account_says_why(client: Client) -> None:
    found = client.get("/api/accounts/2").json()
    assert found["status"] == "liquidatable: 20.00 USD below maintenance margin"
    assert found["owner"] == "0xAbCdEf0000000000000000000000000000000001"
    assert found["worst"] == ["ETH -20.00 %: loss 400.00 USD alone"]
    (leg,) = found["legs"]
    assert (leg["symbol"], leg["kind"], leg["units"], leg["mark_usd"], leg["value_usd"]) == (
        "ETH", "perpetual", 1.0, 2_000.0, 0.0,
    )  # fmt: skip
    assert client.get("/api/accounts/2/advice").json()["trades"]


def test_what_cannot_be_judged_is_unknown_and_never_zero(client: Client) -> None:
    assert client.get("/api/accounts/4").json()["unknown"] == "the call failed"
    for part in ("surface", "advice"):
        found = client.get(f"/api/accounts/4/{part}")
        assert found.status_code == 503 and "the call failed" in found.json()["error"]


@pytest.mark.parametrize("path", ["/api/accounts/99", "/api/accounts/99/surface", "/api/accounts/5/surface",
                                  "/api/accounts/1/surface?underlying=7"])  # fmt: skip
def test_what_does_not_exist_is_refused(client: Client, path: str) -> None:
    assert client.get(path).status_code == 400


# --- parameters, auctions, operations ---


def test_a_push_is_shown_lane_by_lane(store: Store, source: Source) -> None:
    old = pack_underlying(ETH_LANES)
    tighter = pack_underlying(replace(ETH_LANES, scan_bps=2_150, depth=9_000))
    push = {
        "nonce": 1, "model_hash": b"\x00" * 32, "data_hash": b"\x00" * 32, "observed_at": NOW, "valid_until": NOW + 9,
        "changes": ((1, 0, tighter),),
    }  # fmt: skip
    later = {**push, "nonce": 2, "changes": ((1, 0, old), (2, 0, 7))}
    events = [
        event(1, "RiskParameters", "WordSet", {"kind": 1, "id": 0, "word": old}),
        event(2, "RiskParameters", "ParametersPushed", push),
        event(3, "RiskParameters", "ParametersPushed", later),
    ]
    with store.session() as session:
        store_events(session, source.chain_id, events)
    client = Client(Page(source).app)
    second, first = client.get("/api/parameters").json()["history"]
    assert first["diff"] == [
        {"about": "ETH", "lane": "scan_bps", "unit": "%", "old": 20.0, "new": 21.5, "tighter": True},
        {"about": "ETH", "lane": "depth", "unit": "USD", "old": 100_000_000, "new": 90_000_000, "tighter": True},
    ]
    assert [line["tighter"] for line in second["diff"][:2]] == [False, False]
    # nothing told of the collateral's word before, so there is no old value: unknown, not zero
    assert {line["old"] for line in second["diff"][2:]} == {None}
    assert second["diff"][2]["about"] == "collateral WETH"


@pytest.mark.parametrize(
    ("elapsed_s", "bps"), [(0, 100), (450, 1_050), (900, 2_000), (2_250, 6_000), (3_600, 10_000), (9_999, 10_000)]
)
def test_the_discount_follows_its_clock(elapsed_s: int, bps: int) -> None:
    assert discount_bps(elapsed_s, SETTINGS) == bps


def test_auctions_run_and_are_over(store: Store, source: Source) -> None:
    start = {"account": 6, "auction": 1, "starter": OTHER, "phase": 1, "equity_mark": 310 * WAD, "equity_mm": 310 * WAD,
             "mm": 320 * WAD, "reward_wad": WAD}  # fmt: skip
    over = {**start, "account": 3}
    bid = {"account": 3, "auction": 1, "bidder_account": 1, "fraction_wad": WAD // 2, "price_wad": 90 * WAD,
           "covered_wad": 0, "lost_wad": 5 * WAD, "equity_mm": 1, "mm": 1}  # fmt: skip
    end = {"account": 3, "auction": 1, "equity_mm": 1, "mm": 1}
    names = [("AuctionStarted", start), ("AuctionStarted", over), ("BidMade", bid), ("AuctionEnded", end)]
    with store.session() as session:
        store_events(session, source.chain_id, [event(k, "LiquidationAuction", n, a) for k, (n, a) in enumerate(names)])
    client = Client(Page(source).app)
    found = client.get("/api/auctions").json()
    (live,), (past,) = found["running"], found["past"]
    assert (live["account"], live["phase"], live["events"][0]["name"]) == (6, "solvent", "AuctionStarted")
    assert live["discount_bps"] is None  # nobody has told the terms: unknown, not zero
    assert past["ended"] and [e["name"] for e in past["events"]] == ["AuctionStarted", "BidMade", "AuctionEnded"]
    assert (past["events"][1]["fraction"], past["events"][1]["lost_usd"]) == (0.5, 5.0)


def test_alarms_show_without_their_secrets(source: Source) -> None:
    turn(source, VIEW, notes=[Note("push_refused", "https://rpc.example/v2/deadbeefdeadbeef said no", alarm=True)])
    source.health.halt("liquidation", "parity")
    source.metrics.alerts_total.labels("push_refused").inc()
    client = Client(Page(source).app)
    found = client.get("/api/operations").json()
    assert [item["name"] for item in found["alerts"]["now"]] == ["liquidation", "push_refused"]
    assert "deadbeef" not in str(found) and found["alerts"]["counts"] == {"push_refused": 1}
    assert [item["host"] for item in found["endpoints"]] == ["rpc.example"]
    assert found["jobs"][0]["next_at"] == NOW + 12


def test_alerts_of_before_a_restart_are_shown(store: Store, source: Source) -> None:
    with store.session() as session:
        for key, over in (("a", None), ("b", NOW - 5)):
            session.add(
                AlertRow(chain_id=source.chain_id, name="head_late", key=key, source="health", severity="critical",
                         text="no block for 200 s", first_at=NOW - 300, last_at=NOW - 100, recovered_at=over)
            )  # fmt: skip
    told = Client(Page(source).app).get("/api/operations").json()["alerts"]["told"]
    assert sorted((item["recovered_at"] or 0) for item in told) == [0, NOW - 5]
    assert {item["severity"] for item in told} == {"critical"}


def test_a_batch_that_waits_shows_its_impact_and_what_it_would_change(store: Store, source: Source) -> None:
    wanted = pack_underlying(replace(ETH_LANES, scan_bps=1_900))
    content = {"changes": [[1, 0, hex(wanted)]], "said": "too many", "impact": {"newly_liquidatable": [3]}}
    with store.session() as session:
        session.add(
            PushRow(
                chain_id=source.chain_id, nonce=6, digest=b"\x07" * 32, built_at=NOW, verdict="waiting", content=content
            )
        )
    (batch,) = Client(Page(source).app).get("/api/parameters").json()["batches"]
    assert (batch["verdict"], batch["said"], batch["impact"]) == ("waiting", "too many", {"newly_liquidatable": [3]})
    assert batch["diff"] == [
        {"about": "ETH", "lane": "scan_bps", "unit": "%", "old": 20.0, "new": 19.0, "tighter": False}
    ]


def test_an_endpoint_in_trouble_says_why_and_never_its_key() -> None:
    rpc = Rpc.connect(
        ["https://rpc.example/v2/deadbeefdeadbeef", "http://127.0.0.1:1/secret"],
        send_url="https://relay.example/k/feedfacefeed",
    )
    first, second, relay = endpoints(rpc)
    assert [(e.host, e.use) for e in (first, second, relay)] == [
        ("rpc.example", "read"), ("127.0.0.1:1", "read"), ("relay.example", "send"),
    ]  # fmt: skip
    state = rpc.pools[0].states[0]
    state.failures, state.rest_why = 2, "no answer from https://rpc.example/v2/deadbeefdeadbeef"
    assert endpoints(rpc)[0].trouble == "no answer from https://rpc.example/[hidden]"
    state.wrong_chain = 5
    assert endpoints(rpc)[0].trouble == "it is on chain 5"
    assert endpoints(rpc)[1].trouble == ""


def test_before_the_first_turn_there_is_a_reason(store: Store, tmp_path: Path) -> None:
    source = source_over(tmp_path)
    client = Client(Page(source).app)
    assert client.get("/api/status").json()["view"] is None
    found = client.get("/api/accounts")
    assert found.status_code == 503 and "first turn" in found.json()["error"]
    source.health.serve_as("standby", NOW)
    assert "standby" in client.get("/api/accounts").json()["error"]
    source.database.close()


# --- it must never hold the keeper up ---


def test_a_view_is_handed_over_while_readers_work(source: Source) -> None:
    with source.feed._lock:
        turn(source, VIEW)
    assert source.feed.view is not None and source.feed.view.number == 2


def test_the_database_is_read_only_and_bounded_in_time(store: Store, source: Source, tmp_path: Path) -> None:
    with pytest.raises(Transient, match="readonly"), source.database.session() as session:
        session.execute(text("delete from accounts"))
    endless = "with recursive n(k) as (select 1 union all select k + 1 from n) select count(*) from n"
    began = time.monotonic()
    with pytest.raises(Transient, match="interrupted"), source.database.session() as session:
        session.execute(text(endless))
    assert time.monotonic() - began < 10
    with source.database.session() as session:
        assert session.scalar(text("select count(*) from accounts")) == 6
        with store.session() as writer:  # while a reader is in the middle of its transaction
            writer.execute(text("update accounts set changed_block = 7"))
    with sqlite3.connect(tmp_path / "keeper.sqlite") as direct:
        assert direct.execute("select distinct changed_block from accounts").fetchall() == [(7,)]
    direct.close()


def test_a_database_that_is_away_is_said_so(source: Source, tmp_path: Path) -> None:
    (tmp_path / "keeper.sqlite").rename(tmp_path / "elsewhere.sqlite")
    client = Client(Page(source).app)
    found = client.get("/api/transactions")
    assert found.status_code == 503 and "did not answer" in found.json()["error"]
