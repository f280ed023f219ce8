# SPDX-License-Identifier: Apache-2.0
"""Parts of a replay, each alone: money, pushes, paths, the size of the fund."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from risk.errors import BadInput, InsufficientHistory
from risk.factors.fhs import FhsConfig, build_factors, simulate_moves
from risk.liquidity import Liquidity, square_root_impact
from risk.margin import Book
from risk.market import warmup
from risk.replay.fund import fit_tail, size_fund, tail_quantile
from risk.replay.ledger import Ledger, MoneyLost, Sale
from risk.replay.market import ImpactState, PricePath, fhs_path, path_from_history
from risk.replay.pushes import ScanPushes
from risk.replay.settings import Guards, Impact, LiquidatorPolicy, Outage, ReplaySettings

HOUR = 3_600


def small_book(rng: np.random.Generator, accounts: int = 6) -> Book:
    units = np.zeros((accounts, 2, 3))
    units[:, :, 0] = rng.normal(size=(accounts, 2))
    options = tuple(sparse.csr_array(rng.normal(size=(accounts, 3)) * (rng.random((accounts, 3)) < 0.5)) for _ in "ab")
    return Book(
        rng.normal(scale=1e5, size=accounts), units, -1e4 * units[:, :, 0],
        rng.random((accounts, 2)), np.zeros((accounts, 2)), options,
    )  # fmt: skip


# ------------------------------------------------------------------ money


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from(["seize", "pay", "reward", "inject", "sell", "settle"])))
def test_whatever_happens_no_money_appears_or_is_lost(seed: int, moves: list[str]) -> None:
    rng = np.random.default_rng(seed)
    ledger = Ledger(small_book(rng), 5e4, 1e5)
    for move in moves:
        account, u = int(rng.integers(6)), int(rng.integers(2))
        if move == "seize":
            ledger.seize(account, float(rng.choice([0.3, 1.0])), float(rng.uniform(0, 1e4)))
        elif move == "pay":
            ledger.pay_from_fund(float(rng.uniform(0, 1e5)))
        elif move == "reward":
            ledger.reward(account, 25.0)
        elif move == "inject":
            ledger.inject(1_000.0)
        elif move == "sell":
            share = float(rng.random())
            sold = share * ledger.collateral[-1] * (np.arange(2) == u)
            ledger.sell(u, Sale(share * ledger.units[-1, u], share * ledger.options[u][-1], sold, float(rng.normal())))
        else:
            ledger.settle_options(u, rng.random(3) < 0.5, rng.random(3) * 1e3)
        assert ledger.check(move) < 1e-12


def test_a_dollar_from_nowhere_is_found() -> None:
    ledger = Ledger(small_book(np.random.default_rng(1)), 5e4, 1e5)
    ledger.cash[2] += 1.0
    with pytest.raises(MoneyLost, match="off by"):
        ledger.check("now")


def test_the_fund_pays_first_and_then_lenders_in_proportion() -> None:
    nothing = np.zeros((3, 1))
    book = Book(np.array([300.0, 100.0, -50.0]), np.zeros((3, 1, 3)), nothing, nothing, nothing,
                (sparse.csr_array((3, 1)),))  # fmt: skip
    ledger = Ledger(book, 60.0, 0.0)
    assert ledger.pay_from_fund(100.0) == 100.0
    assert (ledger.fund, ledger.covered, ledger.lost) == (0.0, 60.0, 40.0)
    assert ledger.cash.tolist() == pytest.approx([270.0, 90.0, -50.0, 100.0])
    assert ledger.pay_from_fund(1_000.0) == pytest.approx(460.0)
    assert ledger.uncovered == pytest.approx(540.0)


def test_dated_futures_are_refused() -> None:
    book = small_book(np.random.default_rng(1))
    book.units[0, 0, 1] = 1.0
    with pytest.raises(BadInput, match="futures"):
        Ledger(book, 0.0, 0.0)


# ------------------------------------------------------------------ pushes


def test_a_rise_ramps_for_maintenance_and_widens_initial_margin_at_once() -> None:
    pushes = ScanPushes(np.array([2_000]), Guards(), 0.02, 0)
    pushes.step(np.array([0.26]), HOUR)
    assert pushes.in_force(HOUR).tolist() == [2_000] and pushes.widen(HOUR).tolist() == [3_000]
    # half way: 2,300 in force, the rest is 300 / 2,300, rounded up
    assert pushes.in_force(4 * HOUR).tolist() == [2_300] and pushes.widen(4 * HOUR).tolist() == [1_305]
    assert pushes.in_force(7 * HOUR).tolist() == [2_600] and pushes.widen(7 * HOUR).tolist() == [0]


def test_a_fall_is_slow_and_waits() -> None:
    pushes = ScanPushes(np.array([2_000]), Guards(), 0.02, 0)
    for hour in range(1, 13):
        pushes.step(np.array([0.10]), hour * HOUR)
        assert pushes.in_force(hour * HOUR).tolist() == [2_000]
    # proposed at hour 1 with what one hour of decline allows, executed twelve hours later
    pushes.step(np.array([0.10]), 13 * HOUR)
    assert pushes.in_force(13 * HOUR).tolist() == [int(np.ceil(2_000 * 0.98 ** (1 / 24)))]


def test_a_proposal_is_void_when_the_range_has_risen_since() -> None:
    pushes = ScanPushes(np.array([2_000]), Guards(), 0.02, 0)
    pushes.step(np.array([0.10]), HOUR)
    pushes.step(np.array([0.30]), 2 * HOUR)
    pushes.step(np.array([0.30]), 14 * HOUR)
    assert pushes.target.tolist() == [3_000]


def test_parameters_lapse_when_nobody_pushes() -> None:
    pushes = ScanPushes(np.array([2_000]), Guards(), 0.02, 0)
    assert pushes.lapse_bps(48 * HOUR) == 0
    assert pushes.lapse_bps(48 * HOUR + 1) == 500 and pushes.lapse_bps(54 * HOUR) == 1_000
    pushes.step(np.array([0.20]), 49 * HOUR)
    assert pushes.lapse_bps(50 * HOUR) == 0


# ------------------------------------------------------------------ prices


@pytest.fixture(scope="module")
def factors() -> Any:
    past = warmup(["BTC", "ETH"], 1_200, [6e4, 3e3], np.random.default_rng(3), end_ts=1_700_000_000 // HOUR * HOUR)
    return build_factors(past, halflife_bars=72, vol_halflife_bars=240)


@pytest.mark.parametrize("seed", range(5))
def test_a_path_adds_up_to_the_draw_of_the_shipped_law(factors: Any, seed: int) -> None:
    config = FhsConfig(24, 6)
    path = fhs_path(factors, config, 24, np.array([6e4, 3e3]), 0, np.random.default_rng(seed))
    moves = simulate_moves(factors, config, 1, np.random.default_rng(seed))
    assert path.price[-1] / path.price[0] - 1.0 == pytest.approx(moves.price[0], rel=1e-12)
    assert path.hours == 24.0


def test_history_is_cut_by_the_time_of_the_close() -> None:
    past = warmup(["BTC"], 100, [6e4], np.random.default_rng(1), end_ts=99 * HOUR)
    path = path_from_history(past, 10 * HOUR, 20 * HOUR)
    assert path.ts[[0, -1]].tolist() == [10 * HOUR, 20 * HOUR]
    assert path.price[0, 0] == past.close[9, 0] and path.price[-1, 0] == past.close[19, 0]


def test_impact_is_the_square_root_law_and_a_linear_one() -> None:
    state = ImpactState(Impact(1.0, 0.3, 12.0), (Liquidity(1e8, 1e6, 0.04),))
    assert float(state.cost(np.array([1e6]))[0]) == pytest.approx(square_root_impact(1e6, 1e8, 0.04))
    state.sold(np.array([5e6]))
    assert state.log_move[0] == pytest.approx(-0.3 * 0.04 * 0.05)
    state.pass_time(12 * HOUR)
    assert state.log_move[0] == pytest.approx(-0.3 * 0.04 * 0.05 / 2)


@pytest.mark.parametrize("price", [[[1.0]], [[1.0], [0.0]], [[1.0], [np.nan]]])
def test_paths_that_are_no_prices_are_refused(price: list[list[float]]) -> None:
    with pytest.raises(BadInput, match="price path"):
        PricePath(("BTC",), np.arange(len(price)), np.array(price))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Outage(-1.0, 2.0),
        lambda: Impact(-1.0),
        lambda: LiquidatorPolicy(participation=0.0),
        lambda: Guards(push_s=60),
        lambda: ReplaySettings(blocks_per_hour=0),
        lambda: ReplaySettings(scan_multiple=0.0),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Any) -> None:
    with pytest.raises(BadInput):
        make()


# ------------------------------------------------------------------ fund


def test_fund_of_a_known_tail() -> None:
    """GPD with shape 0.3: the true 99.9 % quantile lies inside both intervals, and the tail's is near."""
    draws = stats.genpareto.rvs(0.3, scale=1e6, size=4_000, random_state=np.random.default_rng(2))
    true = float(stats.genpareto.ppf(0.999, 0.3, scale=1e6))
    found = size_fund(draws, np.random.default_rng(3), resamples=500)
    assert found.empirical_interval_usd[0] < true < found.empirical_interval_usd[1]
    assert found.tail_interval_usd is not None and found.tail_usd is not None and found.tail is not None
    assert found.tail_interval_usd[0] < true < found.tail_interval_usd[1]
    assert found.tail_usd == pytest.approx(true, rel=0.25) and found.tail.shape == pytest.approx(0.3, abs=0.2)
    assert found.beyond == pytest.approx(4.0)


def test_tail_formula_by_hand() -> None:
    tail = fit_tail(np.concatenate([np.zeros(900), np.arange(1.0, 101.0)]), 0.1)
    assert tail is not None and (tail.threshold_usd, tail.excesses) == (0.0, 100)
    by_hand = tail.scale / tail.shape * ((1_000 / 100 * 0.001) ** -tail.shape - 1.0)
    assert tail_quantile(tail, 1_000, 0.999) == pytest.approx(by_hand)


def test_too_few_draws_fit_no_tail_and_too_few_paths_no_fund() -> None:
    draws = np.zeros(500)
    draws[:5] = 1e6
    found = size_fund(draws, np.random.default_rng(1), resamples=200)
    assert found.tail is None and found.tail_usd is None and found.empirical_usd == 1e6
    with pytest.raises(InsufficientHistory):
        size_fund(np.zeros(5), np.random.default_rng(1))
    with pytest.raises(BadInput):
        size_fund(np.full(50, -1.0), np.random.default_rng(1))
