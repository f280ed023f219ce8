# SPDX-License-Identifier: Apache-2.0
"""Two sources of prices, one of which lies: a real HTTP server beside the oracle's price."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from keeper.domain import Price, Unknown
from keeper.errors import ConfigError, Transient
from keeper.reference import Quote, References, Source, price_wad
from keeper.sanity import PriceCheck, SanityPolicy, deviation_bps
from keeper.settings import load_settings
from tests.support.keeper_world import NOW, PRICE, WAD, snapshot


@dataclass
class Exchange:
    """Answers prices by symbol; what is no price goes out as it is."""

    prices: dict[str, object] = field(default_factory=dict)
    status: int = 200
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    state = Exchange()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            name = self.path.rpartition("=")[2]
            body = json.dumps({"data": [{"last": state.prices.get(name)}]}).encode()
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/ticker?key=s3cret&pair={{symbol}}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def references(exchange: Exchange, clock: int = NOW) -> References:
    source = Source(exchange.url, "data.0.last", {"ETH": "ETHUSD"})
    return References([source], ["ETH"], 5, lambda: clock)


def test_a_price_that_agrees_is_trusted_and_one_twenty_percent_off_is_not(exchange: Exchange) -> None:
    found = references(exchange)
    check = PriceCheck(found, SanityPolicy(max_deviation_bps=500, agree=3))
    exchange.prices["ETHUSD"] = "2010.5"
    found.refresh()
    assert exchange.asked == ["/ticker?key=s3cret&pair=ETHUSD"]
    assert check.look(snapshot(), NOW).trusted
    exchange.prices["ETHUSD"] = 2_400
    found.refresh()
    look = check.look(snapshot(), NOW)
    assert not look.trusted and look.bps == {"ETH": 2_000}
    assert look.disagree["ETH"] == (
        "ETH is 2,000.00 USD at the oracle and 2,400.00 at 127.0.0.1, 20.0 % apart (limit 5.0 %)"
    )
    exchange.prices["ETHUSD"] = 2_000
    found.refresh()
    # the keeper acts again after three looks that agree, not at the first
    assert [check.look(snapshot(), NOW).trusted for _ in range(4)] == [False, False, True, True]
    found.stop()


def test_it_does_not_matter_which_of_the_two_lies(exchange: Exchange) -> None:
    found = references(exchange)
    exchange.prices["ETHUSD"] = 2_000
    found.refresh()
    lying = snapshot(prices={(0, 0): Price(PRICE * 6 // 5, 0, NOW - 60, 0)})
    assert not PriceCheck(found).look(lying, NOW).trusted
    dead = snapshot(prices={(0, 0): Price(PRICE * 6 // 5, 2, NOW - 86_400, 10_000)})
    assert PriceCheck(found).look(dead, NOW).trusted  # the contracts judge a dead price by themselves
    found.stop()


@pytest.mark.parametrize("said", [None, "n/a", 0, -1, float("nan"), float("inf"), "1e30", [], {}])
def test_what_is_no_price_is_unknown_and_never_zero(exchange: Exchange, said: object) -> None:
    found = references(exchange)
    exchange.prices["ETHUSD"] = said
    found.refresh()
    (quote,) = found.quotes("ETH")
    assert isinstance(quote, Unknown) and "s3cret" not in quote.reason
    look = PriceCheck(found).look(snapshot(), NOW)
    assert look.trusted and "no source outside the chain" in look.unknown["ETH"]
    assert not PriceCheck(found, SanityPolicy(required=True)).look(snapshot(), NOW).trusted
    found.stop()


def test_a_source_that_fails_is_named_without_its_key_and_remembered_since(exchange: Exchange) -> None:
    found = references(exchange)
    exchange.status = 503
    found.refresh()
    (first,) = found.quotes("ETH")
    assert isinstance(first, Unknown) and first.since == NOW
    assert "503" in first.reason and "127.0.0.1" in first.reason and "s3cret" not in first.reason
    found.stop()
    with pytest.raises(Transient, match=r"price of BTC at nowhere\.invalid failed"), httpx.Client() as client:
        Source("http://nowhere.invalid/{symbol}", "price").fetch(client, "BTC")


def test_an_old_quote_says_nothing() -> None:
    class Fixed:
        def quotes(self, symbol: str) -> tuple[Quote, ...]:
            return (Quote("desk", PRICE * 2, NOW - 61),)

    assert PriceCheck(Fixed()).look(snapshot(), NOW).unknown
    assert PriceCheck(Fixed(), SanityPolicy(max_age_s=61)).look(snapshot(), NOW).disagree


def test_the_thread_asks_by_itself_and_ends(exchange: Exchange) -> None:
    exchange.prices["ETHUSD"] = 2_000
    found = References([Source(exchange.url, "data.0.last", {"ETH": "ETHUSD"})], ["ETH"], 0.05, lambda: NOW)
    assert isinstance(found.quotes("ETH")[0], Unknown)
    found.start()
    for _ in range(100):
        if len(exchange.asked) >= 3:
            break
        threading.Event().wait(0.05)
    found.stop()
    assert len(exchange.asked) >= 3
    assert found.quotes("ETH") == (Quote("127.0.0.1", 2_000 * WAD, NOW),)


def test_deviation_is_of_the_lower_price() -> None:
    assert deviation_bps(100, 120) == deviation_bps(120, 100) == 2_000
    assert deviation_bps(0, 1) == 10**9


def test_numbers_are_read_exactly() -> None:
    assert price_wad({"p": "0.000000000000000001"}, "p", "x") == 1
    assert price_wad({"p": 1234.5}, "p", "x") == 12345 * 10**17


def test_a_source_needs_a_place_for_the_symbol_and_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "ballast.toml"
    file.write_text('[[sanity.sources]]\nurl = "https://desk.example/eth?key=s3cret"\n')
    with pytest.raises(ConfigError, match="symbol") as error:
        load_settings(file, chain_id=1)
    assert "s3cret" not in str(error.value)
