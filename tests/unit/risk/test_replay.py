# SPDX-License-Identifier: Apache-2.0
"""A whole replay: one account by hand, a population through a crash, and the same result whatever runs it."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from keeper.domain import AuctionSettings, AuctionState, Phase
from keeper.liquidate.clock import advanced, cured
from risk.errors import BadInput
from risk.margin import Book, margin
from risk.market import warmup
from risk.onchain import Assessment
from risk.replay import (
    Impact,
    LiquidatorPolicy,
    Outage,
    PopulationConfig,
    Prepared,
    PricePath,
    RealPositions,
    ReplaySettings,
    populate,
    prepare,
    run,
)
from risk.replay.engine import Replay
from risk.replay.market import LiveMarket
from risk.replay.sweep import Paths, Shared, grid, make_tasks, run_tasks

HOUR = 3_600
END = 1_700_000_000 // HOUR * HOUR
NOTHING = Impact(0.0, 0.0)
FREE = LiquidatorPolicy(
    1e9, 0.0, warehouse=0.0, risk=0.0, spread=0.0, option_spread=0.0, gas_usd=5.0, participation=1.0
)
BY_HAND = ReplaySettings(impact=NOTHING, liquidators=FREE, fund_usd=1e6, blocks_per_hour=1)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    past = warmup(["BTC", "ETH"], 1_500, [60e3, 3e3], np.random.default_rng(1), end_ts=END)
    return prepare(past, END + HOUR, np.random.default_rng(2))


@pytest.fixture(scope="module")
def crowd(prepared: Prepared) -> Book:
    people = PopulationConfig(400, gross_usd=1e9)
    return populate(prepared, people, ReplaySettings(), np.random.default_rng(3)).book


def moves(prepared: Prepared, *factors: float) -> PricePath:
    """Hourly prices as multiples of those at the start; both underlyings alike."""
    ts = prepared.inputs.start_ts + HOUR * np.arange(len(factors) + 1)
    return PricePath(("BTC", "ETH"), ts, prepared.price * np.array([1.0, *factors])[:, None])


CRASH = (1.0, 0.98, 0.9, 0.8, 0.7, 0.66, 0.65, 0.66, 0.68, 0.68, 0.69, 0.7)


def one_account(prepared: Prepared, cash: float, units: float = 10.0) -> Book:
    """Long bitcoin perpetuals bought at the start, and a lender."""
    held = np.zeros((2, 2, 3))
    held[0, 0, 0] = units
    base = np.array([[-units * prepared.price[0], 0.0], [0.0, 0.0]])
    assets = np.zeros((2, 3))
    empty = tuple(sparse.csr_array((2, len(o))) for o in prepared.inputs.instruments.options)
    return Book(np.array([cash, 1e6]), held, base, assets, assets, empty)


# ------------------------------------------------------------------ one account by hand


def test_a_sale_to_the_target_by_hand(prepared: Prepared) -> None:
    """Bid at once at 1 %: the fraction, the price and what is left, from the formulas of docs and contract."""
    price = float(prepared.price[0])
    replay = Replay(one_account(prepared, 1.05e5), prepared.inputs, moves(prepared, 0.88), BY_HAND)
    replay.hour(0)
    market = replay.live.at(replay.price, int(replay.path.ts[1]))
    before = margin(one_account(prepared, 1.05e5), market)
    equity, mm = 1.05e5 - 10.0 * 0.12 * price, float(before.mm[0])
    assert float(before.equity_mm[0]) == pytest.approx(equity) and 0.0 < equity < mm
    whole = equity * 0.99
    missing = 1.15 * mm - equity
    fraction = missing / (missing + whole - 1.15 * 25.0)
    assert replay.ledger.units[0, 0] == pytest.approx(10.0 * (1.0 - fraction), rel=1e-9)
    assert replay.tally.bids == 1 and replay.state.phase[0] == 0
    left = margin(replay.ledger.book(), market)
    # the 5 USD of reward were paid out of what was left
    expected = (equity - 5.0) * (1.0 - fraction) + fraction * whole
    assert float(left.equity_mark[0]) == pytest.approx(expected, rel=1e-9)
    assert float(left.equity_mm[0]) >= 1.10 * float(left.mm[0])
    assert float(left.equity_mm[0]) == pytest.approx(1.15 * float(left.mm[0]), rel=1e-3)


def test_a_dear_bid_waits_until_the_discount_pays_for_it(prepared: Prepared) -> None:
    dear = replace(BY_HAND, liquidators=replace(FREE, gas_usd=1_500.0))
    replay = Replay(one_account(prepared, 1.05e5), prepared.inputs, moves(prepared, 0.88, 0.88), dear)
    replay.hour(0)
    assert replay.tally.bids == 0 and replay.state.phase[0] == 1
    equity = float(replay.ledger.book().cash[0]) - 10.0 * 0.12 * float(prepared.price[0])
    replay.hour(1)
    assert replay.tally.bids == 1
    fraction = 1.0 - replay.ledger.units[0, 0] / 10.0
    paid = replay.ledger.cash[0] - (1.0 - fraction) * (equity + 10.0 * 0.12 * float(prepared.price[0]))
    # the bidder's gain is its gas: a competitor would have bid a moment before otherwise
    assert fraction * equity - paid == pytest.approx(1_500.0, rel=1e-6)
    assert 0.01 < 1.0 - paid / (fraction * equity) < 0.30


def test_negative_equity_is_paid_by_the_fund_by_hand(prepared: Prepared) -> None:
    price = float(prepared.price[0])
    path = moves(prepared, 0.7, 0.7)
    replay = Replay(one_account(prepared, 1.5e5), prepared.inputs, path, BY_HAND)
    replay.hour(0)
    equity = 1.5e5 - 10.0 * 0.3 * price
    assert equity < 0.0 and replay.state.phase[0] == 2 and replay.tally.bids == 0
    replay.hour(1)
    summary = replay.result().summary
    assert summary.bad_debt_usd == pytest.approx(-equity)
    # from zero profit on whoever accepts the least gets it: its 5 USD of cost
    assert summary.fund_used_usd == pytest.approx(5.0 - equity)
    assert (summary.lenders_loss_usd, summary.rescued, summary.sold_out) == (0.0, 1, 1)
    poor = run(one_account(prepared, 1.5e5), prepared.inputs, path, replace(BY_HAND, fund_usd=1_000.0)).summary
    assert poor.fund_used_usd == 1_000.0 and poor.lenders_loss_usd == pytest.approx(5.0 - equity - 1_000.0)


def test_a_healthy_account_is_left_alone(prepared: Prepared) -> None:
    summary = run(one_account(prepared, 4e5), prepared.inputs, moves(prepared, 0.88, 0.9), BY_HAND).summary
    assert (summary.bids, summary.liquidated, summary.fund_used_usd, summary.unresolved) == (0, 0, 0.0, 0)


# ------------------------------------------------------------------ a population


@pytest.mark.parametrize("real", [None, RealPositions(np.array([1e3, 5e4, 1e6]), np.array([0.3, 0.6, 0.95]))])
def test_everybody_holds_initial_margin_at_the_start(prepared: Prepared, real: RealPositions | None) -> None:
    found = populate(prepared, PopulationConfig(500, gross_usd=1e9), ReplaySettings(), np.random.default_rng(3), real)
    market = LiveMarket(prepared.inputs, ReplaySettings().guards, 1.0, prepared.price).at(
        prepared.price, prepared.inputs.start_ts
    )
    health = margin(found.book, market)
    assert (health.equity_im >= health.im).all() and (health.im > 0.0).sum() > 400
    assert np.unique(found.kind).tolist() == [0, 1, 2, 3, 4]
    debt, supply = np.minimum(found.book.cash, 0.0).sum(), np.maximum(found.book.cash, 0.0).sum()
    assert 0.0 < -debt <= supply


def test_a_crash_with_and_without_keepers(prepared: Prepared, crowd: Book) -> None:
    settings = ReplaySettings(blocks_per_hour=2, fund_usd=1e6, liquidators=LiquidatorPolicy(3e7))
    watched = run(crowd, prepared.inputs, moves(prepared, *CRASH), settings)
    alone = run(crowd, prepared.inputs, moves(prepared, *CRASH), replace(settings, outages=(Outage(1.0, 7.0),)))
    assert watched.summary.liquidated > 50 and watched.summary.worst_impact > 0.0
    inside = (alone.series.ts - prepared.inputs.start_ts >= HOUR) & (
        alone.series.ts - prepared.inputs.start_ts < 8 * HOUR
    )
    assert (alone.series.auctions[inside] == 0).all() and alone.series.under[inside].max() > 50
    assert alone.summary.pushes < watched.summary.pushes
    assert alone.summary.bad_debt_usd > watched.summary.bad_debt_usd
    assert alone.summary.hours_to_liquidation[1] > watched.summary.hours_to_liquidation[1]
    for found in (watched, alone):
        assert found.summary.conservation < 1e-12
        assert found.summary.fund_used_usd + found.summary.lenders_loss_usd == pytest.approx(found.summary.rescue_usd)


def test_no_impact_and_no_outage_change_nothing(prepared: Prepared, crowd: Book) -> None:
    path, plain = moves(prepared, *CRASH[:6]), ReplaySettings(impact=NOTHING, blocks_per_hour=1)
    first = run(crowd, prepared.inputs, path, plain)
    (point,) = grid("[grid]\nimpact = [0]\noutage_h = [0]", ReplaySettings(blocks_per_hour=1))[1]
    second = run(crowd, prepared.inputs, path, point)
    assert second.summary == first.summary
    assert np.array_equal(first.series.price, path.price[1:]) and not first.series.impact.any()


def test_congestion_and_lack_of_capital_delay_liquidation(prepared: Prepared, crowd: Book) -> None:
    path, settings = moves(prepared, *CRASH), ReplaySettings(blocks_per_hour=1, liquidators=LiquidatorPolicy(1e8))
    free = run(crowd, prepared.inputs, path, settings).summary
    crowded = run(crowd, prepared.inputs, path, replace(settings, auctions_per_block=5)).summary
    assert crowded.bids <= 5 * 12 < free.bids and crowded.unresolved > free.unresolved
    broke = replace(settings, liquidators=replace(settings.liquidators, capital_usd=1e4))
    poor = run(crowd, prepared.inputs, path, broke).summary
    # what rescues pay becomes capital in turn, so some is always taken
    assert poor.seized_usd < 0.5 * free.seized_usd and poor.unresolved > free.unresolved


def test_options_that_expire_become_cash(prepared: Prepared, crowd: Book) -> None:
    """Two weeks at one price a day: every option of the first expiry is gone, and no money with it."""
    ts = prepared.inputs.start_ts + 86_400 * np.arange(16)
    path = PricePath(("BTC", "ETH"), ts, np.tile(prepared.price, (16, 1)))
    replay = Replay(crowd, prepared.inputs, path, ReplaySettings(blocks_per_hour=1))
    for day in range(15):
        replay.hour(day)
    first = min(spec.expiry for spec in prepared.inputs.instruments.options[0])
    due = [spec.expiry == first for spec in prepared.inputs.instruments.options[0]]
    assert not replay.ledger.options[0][:, due].any() and replay.ledger.options[0].any()
    assert replay.tally.worst_sum < 1e-12


def test_clocks_run_as_the_keepers_do(prepared: Prepared, crowd: Book) -> None:
    """``keeper.liquidate.clock``, which follows the contract in integers, beside the arrays of a replay."""
    rng, n, wad = np.random.default_rng(5), len(crowd), 10**18
    replay = Replay(crowd, prepared.inputs, moves(prepared, 1.0), ReplaySettings())
    now = prepared.inputs.start_ts + 600
    mm, equity = rng.integers(1, 1_000, n + 1).astype(float), rng.integers(-500, 1_500, n + 1).astype(float)
    doubt = np.where(rng.random(n + 1) < 0.3, rng.integers(1, 500, n + 1), 0).astype(float)
    found = replace(
        margin(replay.ledger.book(), replay.market), equity_mark=equity, equity_mm=equity - 10.0, mm=mm, doubt=doubt
    )
    state = replay.state
    state.phase[:] = rng.integers(1, 3, n)
    state.seen_at[:] = now - 600
    state.solvent_s[:], state.insolvent_s[:] = rng.integers(0, 44_100, n), rng.integers(0, 4_000, n)
    terms = AuctionSettings(100, 2_000, 10_000, 900, 43_200, 3_600, 1_500, 1_000, 100 * wad, 900, 600_000)
    before = [
        AuctionState(Phase(int(p)), now - 600, int(a), int(b), 1)
        for p, a, b in zip(state.phase, state.solvent_s, state.insolvent_s, strict=True)
    ]
    replay._advance(found, now, 600)
    ended = 0
    for i, auction in enumerate(before):
        mark, low, need, unsure = (int(x[i]) * wad for x in (equity, equity - 10.0, mm, doubt))
        judged = Assessment(mark, low, low, need, need, 0, 0, 255, 0, unsure, ())
        if cured(judged, terms):
            ended += 1
            assert state.phase[i] == 0
            continue
        after = advanced(auction, judged, terms, now, live=True)
        assert (state.phase[i], state.solvent_s[i], state.insolvent_s[i]) == (
            int(after.phase),
            after.solvent_s,
            after.insolvent_s,
        )
    assert 50 < ended < n - 50


# ------------------------------------------------------------------ many at once


@pytest.fixture(scope="module")
def work(prepared: Prepared) -> tuple[Shared, list[Any]]:
    book = populate(prepared, PopulationConfig(60, gross_usd=1e9), ReplaySettings(), np.random.default_rng(4)).book
    base = ReplaySettings(blocks_per_hour=1, liquidators=LiquidatorPolicy(3e7))
    _, points = grid("[grid]\nscan_multiple = [0.8, 1.2]\nimpact = [1]", base)
    return Shared(prepared, book, Paths(6, 7, stress=3.0)), make_tasks(points, 3, 2)


def test_processes_and_a_real_cluster_give_equal_results(work: tuple[Shared, list[Any]]) -> None:
    from distributed import LocalCluster

    shared, tasks = work
    told: list[int] = []
    here = run_tasks(shared, tasks, progress=lambda done, _: told.append(done))
    assert [len(items) for items in here] == [3, 3] and told == [1, 2, 3, 4]
    assert here[0] != here[1] and here[0][0] != here[0][1]
    assert run_tasks(shared, tasks[:2], workers=2) == here[:1]
    with LocalCluster(n_workers=2, processes=True, threads_per_worker=1, dashboard_address=None) as cluster:
        assert run_tasks(shared, tasks, dask=cluster.scheduler_address) == here


def test_without_dask_the_error_names_the_extra(
    work: tuple[Shared, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BadInput, match=r"pip install 'ballast-margin\[research\]'"):
        run_tasks(*work, dask="tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "grid = 3",
        "[grid]\nspeed = [1]",
        "[grid]\nimpact = []",
        "[grid]\nimpact = ['a']",
        "[grid",
        "[grid]\nbuffer = [2]",
    ],
)
def test_sweeps_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        grid(text, ReplaySettings())


def test_history_that_does_not_reach_the_start_is_refused(prepared: Prepared) -> None:
    past = warmup(["BTC"], 100, [6e4], np.random.default_rng(1), end_ts=END)
    with pytest.raises(BadInput, match="no bar before"):
        prepare(past, int(past.ts[0]), np.random.default_rng(1))
    with pytest.raises(BadInput, match="hourly"):
        prepare(replace(past, interval_s=60), END, np.random.default_rng(1))


def test_the_model_knows_nothing_of_what_comes(prepared: Prepared) -> None:
    """Bars from the start on, planted wildly wrong, change nothing."""
    past = warmup(["BTC", "ETH"], 1_500, [60e3, 3e3], np.random.default_rng(1), end_ts=END)
    planted = past
    for hour in range(1, 30):
        planted = planted.extend(END + hour * HOUR, [1.0, 1e9], [1.0, 1.0])
    again = prepare(planted, END + HOUR, np.random.default_rng(2))
    assert again.inputs.parameters.to_json() == prepared.inputs.parameters.to_json()
    assert np.array_equal(again.inputs.scans.current, prepared.inputs.scans.current)
