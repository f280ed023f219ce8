# SPDX-License-Identifier: Apache-2.0
"""What a cycle does about the world outside the chain: prices in dispute, bids lost to dust, the hedging hook."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from keeper.act import Result
from keeper.assess import assess_all
from keeper.errors import Reverted
from keeper.liquidate.actions import Bid
from keeper.liquidate.hedge import HedgeHook, inventory
from keeper.reference import Quote
from keeper.sanity import PriceCheck, SanityPolicy
from tests.support.keeper_world import NOW, PERP, PRICE, WAD, account, snapshot
from tests.unit.keeper.test_cycle import SICK, FakeChain, FakeOutbox, make


class Desk:
    """A source outside the chain that says one price of everything."""

    def __init__(self, price_wad: int) -> None:
        self.price_wad = price_wad

    def quotes(self, symbol: str) -> tuple[Quote, ...]:
        return (Quote("desk", self.price_wad, NOW),)


def test_nothing_is_sent_while_one_of_two_sources_lies(tmp_path: Path) -> None:
    desk, outbox = Desk(PRICE * 12 // 10), FakeOutbox()
    cycle = make(FakeChain(snapshot(SICK)), tmp_path, outbox=outbox)
    cycle.prices = PriceCheck(desk, SanityPolicy(agree=2))
    report = cycle.run()
    assert outbox.performed == [] and report.decision.actions == () and report.liquidatable == (2,)
    metrics = cycle.instruments.metrics
    assert metrics.alerts_total.labels("price_disagrees")._value.get() == 1
    assert metrics.prices_trusted._value.get() == 0
    assert metrics.price_deviation_bps.labels("ETH")._value.get() == 2_000
    desk.price_wad = PRICE
    cycle.run()
    assert outbox.performed == []  # one look that agrees is not enough
    cycle.run()
    assert [action.kind for action in outbox.performed] == ["start_auction"]
    assert metrics.prices_trusted._value.get() == 1


def test_a_bid_that_somebody_pushed_aside_is_counted_until_one_succeeds(tmp_path: Path) -> None:
    cycle = make(FakeChain(snapshot(SICK)), tmp_path)
    bid = Bid(account=2, bidder_account=1, fraction_wad=WAD, max_price_wad=0, min_health_wad=0, expected_nonce=1)
    for answer, counted in (
        (Reverted("bid refused", reason="auction: nonce"), 1),
        (Reverted("bid refused", reason="auction: nonce"), 2),
        (Reverted("bid refused", reason="auction: price above limit"), 2),
        (Result.DONE, 0),
    ):
        cycle.outbox = FakeOutbox({"bid": answer})
        cycle._act(snapshot(SICK), _Decision((bid,)))  # type: ignore[arg-type]
        assert cycle.contested.get(2, 0) == counted


class _Decision:
    def __init__(self, actions: tuple[Any, ...]) -> None:
        self.actions, self.notes = actions, ()


@pytest.fixture
def desk() -> Iterator[tuple[str, list[dict[str, Any]], dict[str, int]]]:
    """An address that takes JSON: (url, what it took, answers with this status)."""
    took: list[dict[str, Any]] = []
    answer = {"status": 200}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if answer["status"] == 200:
                took.append(body)
            self.send_response(answer["status"])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/inventory", took, answer
    server.shutdown()
    thread.join()
    server.server_close()


def wait_for(took: list[Any], count: int) -> None:
    for _ in range(200):
        if len(took) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"{len(took)} messages came, {count} were awaited")


def test_the_hedging_hook_hears_of_every_change_once(desk: tuple[str, list[dict[str, Any]], dict[str, int]]) -> None:
    url, took, _ = desk
    hook = HedgeHook(url)
    for nonce in (1, 1, 2):
        view = snapshot({7: account(10_000, 1.5, nonce=nonce)})
        hook.offer(view, assess_all(view), 7)
        wait_for(took, nonce)
    hook.offer(view, assess_all(view), 8)  # an account that was not read is no empty one
    hook.stop()
    assert [body["nonce"] for body in took] == ["1", "2"]
    assert took[0]["positions"] == [
        {"instrument": PERP, "name": took[0]["positions"][0]["name"], "lots": 1_500_000, "mark_wad": str(PRICE)}
    ]
    assert took[0]["linear_lots"] == {"ETH": 1_500_000}


def test_what_could_not_be_delivered_is_tried_again_with_the_newest(
    desk: tuple[str, list[dict[str, Any]], dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keeper.liquidate.hedge.RETRY_S", 0.05)
    url, took, answer = desk
    answer["status"] = 503
    hook = HedgeHook(url)
    for nonce in (1, 2):
        view = snapshot({7: account(10_000, 1, nonce=nonce)})
        hook.offer(view, assess_all(view), 7)
        time.sleep(0.1)
    assert took == []
    answer["status"] = 200
    wait_for(took, 1)
    hook.stop()
    assert [body["nonce"] for body in took] == ["2"]


def test_inventory_of_what_cannot_be_read_is_nothing() -> None:
    view = snapshot({7: account(1)})
    assert inventory(view, assess_all(view), 9) is None
