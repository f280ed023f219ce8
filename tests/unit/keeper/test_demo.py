# SPDX-License-Identifier: Apache-2.0
"""The demonstration lives through its crash, and everything it counts comes from the chain."""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pytest

from keeper.demo import run_demo
from keeper.demo.market import HOURS_BEFORE, MarketPath, recorded_path, synthetic_path
from keeper.demo.population import population
from keeper.demo.setup import strike_step
from risk.errors import BadInput, InsufficientHistory
from tests.support.shared import shared_path

CRASH_HOURS = HOURS_BEFORE + 10


@pytest.mark.xdist_group("demo")
def test_the_demonstration_liquidates_and_conserves(tmp_path: Path) -> None:
    report = tmp_path / "deep" / "report.html"
    said: list[str] = []
    totals = run_demo(report=report, hours=CRASH_HOURS, progress=lambda text, _: said.append(text))
    assert totals.accounts >= 20
    assert totals.conservation_ok and totals.conservation_faults == ()
    assert totals.conservation_checks > CRASH_HOURS
    assert totals.parity_checked > 500 and totals.parity_mismatches == 0
    assert totals.auctions_started > 5 and totals.bids > 5
    assert totals.epochs > 6 and totals.pushes >= 1
    assert totals.proposals_executed >= 1
    assert totals.bad_debt_wad == 0
    page = report.read_text()
    assert totals.futures_settled == everybody_is_paid(page)
    assert page.count("<svg") == 5 == page.count('<svg role="img" aria-label="')
    assert 'aria-label="Insurance fund. Assets of the ERC-4626 vault' in page
    assert "equity_mm, start" in page
    for loads in ("<script", "<link", "<img", "src=", 'href="http', "url(http", "@import"):
        assert loads not in page, loads
    for person in population(("BTC", "ETH", "SOL")):
        assert person.name in page
    assert len(said) >= CRASH_HOURS


def everybody_is_paid(page: str) -> int:
    """Positions in futures that an expiry paid out, by the report; each future's add up to nothing, so none is left.

    Two futures expire on the second day, some hours before the last. Each has the trader and the maker of its one
    trade, and the keeper's account too where that trader was liquidated: on its last day a future hedges less and less
    (docs/margin-rule.md, section 4), so how much of that there is depends on the calibration.
    """
    row = re.compile(r"<td>(BidMade|DeltaSettled)</td><td>([^<]+)</td><td>([^<]+)</td>")
    found = row.findall(html.unescape(page))
    paid = [(who, what.partition(", profit ")) for kind, who, what in found if kind == "DeltaSettled"]
    sold = {who for kind, who, _ in found if kind == "BidMade"}
    for future, trader in (("future on ETH", "basis trader"), ("future on BTC", "miner")):
        profits = {who: int(profit.replace(",", "")) for who, (name, _, profit) in paid if name == future}
        assert len(profits.keys() & {"maker North", "maker South"}) == 1
        others = profits.keys() - {"maker North", "maker South"}
        assert others == {trader} or (trader in sold and others <= {trader, "keeper's own"}), others
        assert abs(sum(profits.values())) <= len(profits), "whole dollars: what one gains another has lost"
        assert max(profits.values()) > 1_000
    assert len({(who, name) for who, (name, _, _) in paid}) == len(paid), "nobody is paid twice"
    return len(paid)


def test_everybody_is_there_with_two_underlyings_as_well() -> None:
    people = population(("BTC", "ETH"))
    assert {leg.symbol for person in people for leg in person.legs} == {"BTC", "ETH"}


@pytest.mark.parametrize(("price", "step"), [(60_000, 200), (3_000, 10), (140, 0.5), (3.2, 0.01), (0.24, 0.001)])
def test_strike_steps_are_round(price: float, step: float) -> None:
    assert strike_step(price) == pytest.approx(step)


def test_the_simulated_market_is_the_same_for_a_seed() -> None:
    one, two, other = (synthetic_path(seed, 1_893_456_000) for seed in (5, 5, 6))
    assert one.hours.content_hash == two.hours.content_hash != other.hours.content_hash
    assert one.past.ts[-1] + 3_600 == one.hours.ts[0]
    assert (one.hours.close.min(axis=0) < 0.8 * one.hours.close[0]).all()


@pytest.fixture(scope="module")
def march() -> MarketPath:
    return recorded_path(shared_path("data", "prices", "hourly"))


def test_recorded_prices_are_cut_around_the_worst_day(march: MarketPath) -> None:
    """12 March 2020 is the worst day of BTC and ETH in the recorded history (SOURCES.md: -39.5 % and -44.6 %)."""
    assert march.symbols[:2] == ("BTC", "ETH") and len(march.symbols) == 3
    low = int(march.hours.ts[np.argmin(march.hours.close[:, 0])])
    assert np.datetime64("2020-03-12") <= np.datetime64(low, "s") <= np.datetime64("2020-03-14")
    assert march.past.ts[-1] < march.hours.ts[0]


def test_a_folder_without_underlyings_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        recorded_path(tmp_path / "missing")
    text = "ts,open,high,low,close,volume\n" + "".join(f"{1_600_000_000 + 3_600 * k},1,1,1,1,1\n" for k in range(50))
    (tmp_path / "BTCUSDT_1h.csv").write_text(text)
    with pytest.raises(InsufficientHistory, match="at least two files"):
        recorded_path(tmp_path)
