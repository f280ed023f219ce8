# SPDX-License-Identifier: Apache-2.0
"""The walk: nothing reads the future, planted leaks are caught, losses and margins agree with independent paths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from risk.backtest import BacktestConfig, Data, Population, build_population, check_no_look_ahead, until, walk
from risk.backtest.impulse import calmest, impulse_response, stepped
from risk.backtest.peers import account_book, haircuts_of, peer_margins, peers
from risk.backtest.walk import Walk, alter_future
from risk.errors import BadInput, GateFailed, LookAhead
from risk.factors.fhs import FactorHistory
from risk.market import PriceHistory, warmup
from risk.methodologies import Ballast

DAY = 86_400
END = 1_699_920_000
SYMBOLS = ["BTC", "ETH"]


@pytest.fixture(scope="module")
def prices() -> PriceHistory:
    return warmup(SYMBOLS, 4_000, [60e3, 3e3], np.random.default_rng(1), end_ts=END - 3_600)


@pytest.fixture(scope="module")
def index(prices: PriceHistory) -> PriceHistory:
    """A volatility index of BTC for the last hundred days, bars that close at midnight."""
    ts = END - DAY * np.arange(100, 0, -1, dtype=np.int64)
    level = 60.0 * np.exp(np.cumsum(0.04 * np.random.default_rng(2).standard_normal((100, 1)), axis=0))
    return PriceHistory(("BTC",), ts, level, np.zeros((100, 1)), DAY)


@pytest.fixture(scope="module")
def population() -> Population:
    return build_population(SYMBOLS, np.random.default_rng(3), random=4)


def config(days: int = 6, **changes: object) -> BacktestConfig:
    return BacktestConfig(END - days * DAY, END, refit_days=3, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(prices: PriceHistory, index: PriceHistory) -> Data:
    return Data.build(prices, index, config().calibration)


@pytest.fixture(scope="module")
def done(data: Data, population: Population) -> Walk:
    return walk(data, population, config())


# ------------------------------------------------------------------ no look-ahead


@pytest.mark.parametrize("days", [1, 3, 40])
def test_a_prefix_of_the_factors_is_what_the_prefix_of_the_data_gives(
    data: Data, prices: PriceHistory, index: PriceHistory, days: int
) -> None:
    time = END - days * DAY
    known = Data.build(prices.window(end=time - 3_599), index.window(end=time - DAY + 1), config().calibration).factors
    cut = until(data.factors, time)
    for name in ("ts", "changes", "sigma", "level"):
        assert np.array_equal(getattr(known, name), getattr(cut, name)), name


def test_the_future_does_not_matter(data: Data, population: Population) -> None:
    assert check_no_look_ahead(data, population, config(4), END - 2 * DAY, np.random.default_rng(7)) == 3


def tomorrow(factors: FactorHistory, time: int) -> FactorHistory:
    """A view that knows the next day."""
    return until(factors, time + DAY)


def next_bar(factors: FactorHistory, time: int) -> FactorHistory:
    """A view that knows nothing but the volatility forecast of one bar later."""
    seen = until(factors, time)
    sigma = seen.sigma.copy()
    sigma[-1] = factors.sigma[min(seen.ts.size + 1, factors.sigma.shape[0] - 1)]
    return replace(seen, sigma=sigma)


def whole_sample(factors: FactorHistory, time: int) -> FactorHistory:
    """A view that scales what is known by a deviation over the whole history: the classic leak of normalisation."""
    seen = until(factors, time)
    ratio = factors.changes.std(axis=0) / seen.changes.std(axis=0)
    return replace(seen, changes=seen.changes * ratio)


@pytest.mark.parametrize("leak", [tomorrow, next_bar, whole_sample])
def test_planted_leaks_are_caught(data: Data, population: Population, leak: object) -> None:
    with pytest.raises(LookAhead, match="something reads the future"):
        check_no_look_ahead(
            data,
            population,
            config(4),
            END - 2 * DAY,
            np.random.default_rng(7),
            view=leak,  # type: ignore[arg-type]
        )


def test_only_the_future_is_altered(prices: PriceHistory) -> None:
    time = END - 2 * DAY
    other = alter_future(prices, time, np.random.default_rng(1))
    before = prices.ts + 3_600 <= time
    assert np.array_equal(other.close[before], prices.close[before])
    assert not (other.close[~before] == prices.close[~before]).any()


def test_an_index_that_does_not_close_at_decisions_is_refused(
    prices: PriceHistory, index: PriceHistory, population: Population
) -> None:
    late = replace(index, ts=index.ts + 6 * 3_600)
    with pytest.raises(BadInput, match="do not close at midnight"):
        walk(Data.build(prices, late, config().calibration), population, config())


# ------------------------------------------------------------------ what is measured


def test_loss_of_perpetuals_is_the_move(done: Walk, prices: PriceHistory) -> None:
    close = dict(zip((prices.ts + 3_600).tolist(), prices.close[:, 0], strict=True))
    moves = [close[int(t) + DAY] / close[int(t)] - 1.0 for t in done.at]
    names = done.population.names
    assert done.loss[:, names.index("long perp BTC")] == pytest.approx([-m for m in moves], rel=1e-12)
    assert done.loss[:, names.index("short perp BTC")] == pytest.approx(moves, rel=1e-12)
    assert done.loss[:, names.index("BTC for cash")] == pytest.approx([-m for m in moves], rel=1e-12)


def test_volatility_is_the_index_where_there_is_one(done: Walk, data: Data, index: PriceHistory) -> None:
    last = index.close[index.ts + DAY == done.at[-1]][0, 0] / 100.0
    assert done.vols[-1, 0] == pytest.approx(last)
    slow = until(data.factors, int(done.at[-1])).level[-1, 1]
    assert done.vols[-1, 1] == pytest.approx(config().calibration.smile.premium * slow)


def test_expected_shortfall_is_beyond_var_and_forecasts_are_no_margins(done: Walk) -> None:
    assert (done.es >= done.var).all()
    # With floor and stressed weight the mean margin lies above the mean shortfall.
    assert done.initial.mean() > done.es.mean()
    assert (done.initial > done.maintenance).all()


def test_margin_is_that_of_the_plug_in(data: Data, population: Population) -> None:
    from risk.backtest.accounts import universe_at
    from risk.backtest.decide import Decider
    from risk.backtest.required import required

    decider = Decider(data, population, config())
    row = decider.decide(
        until(data.factors, END - 2 * DAY), END - 2 * DAY, data.prices.close[-1], data.prices.close[-1]
    )
    parameters = decider.parameters
    assert parameters is not None
    universe = universe_at(SYMBOLS, row.vols)
    books, tokens = population.books(universe), ["lender", "covered write", "short strangle", "spread"]
    demand = required(population, universe, books, parameters, 100_000.0, END - 2 * DAY)
    named = replace(parameters, collaterals={f"token {s}": parameters.collaterals[s] for s in SYMBOLS})
    for kind in tokens:
        account = int(population.members(kind)[0])
        book, market = account_book(population, universe, books, account, 100_000.0, (0.01, 0.01))
        cash = -50_000.0 if kind == "lender" else 100_000.0
        found = Ballast(parameters=named).margin(replace(book, cash=cash), market)
        # The unit of a page is that of its dearest option, so a page of all instruments is coarser than one of two.
        near = 1e-9 if kind in ("lender", "spread") else 1e-3
        assert demand.initial[account] * 1e5 == pytest.approx(found.im, rel=near), kind
        assert demand.maintenance[account] * 1e5 == pytest.approx(found.mm, rel=near), kind


def test_a_decision_without_a_price_is_named_not_filled(prices: PriceHistory, population: Population) -> None:
    hole = (prices.ts >= END - 3 * DAY - 8 * 3_600) & (prices.ts < END - 3 * DAY + 2 * 3_600)
    cut = PriceHistory(prices.symbols, prices.ts[~hole], prices.close[~hole], prices.volume[~hole], 3_600)
    found = walk(Data.build(cut, None, config().calibration), population, config(4))
    # Both the decision at the hole and the one whose horizon ends there.
    assert len(found.skipped) == 2
    assert "no price within 6 h" in found.skipped[0]
    assert found.at.size == 2


def test_bad_settings_and_symbols_are_refused(data: Data) -> None:
    with pytest.raises(BadInput, match="midnight"):
        BacktestConfig(END - DAY + 3_600, END + DAY)
    with pytest.raises(BadInput, match="leave room"):
        BacktestConfig(END - DAY, END - DAY + 3_600)
    with pytest.raises(BadInput, match="confidence"):
        BacktestConfig(END - 9 * DAY, END, level=1.2)
    with pytest.raises(BadInput, match="accounts in SOL"):
        walk(data, build_population(["SOL"], np.random.default_rng(1)), config())


def test_a_first_calibration_that_fails_its_gates_stops_the_walk(data: Data, population: Population) -> None:
    base = config()
    strict = replace(base.calibration, gates=replace(base.calibration.gates, max_relative_error=1e-6))
    with pytest.raises(GateFailed, match="es_relative_error"):
        walk(data, population, replace(base, calibration=strict))


def test_every_decision_is_made_and_every_calibration_passed(done: Walk) -> None:
    assert done.at.tolist() == [END - n * DAY for n in range(6, 0, -1)]
    assert (done.skipped, done.refused) == ((), ())


# ------------------------------------------------------------------ peers and impulse


def test_days_read_off_the_ladder_agree_with_the_plug_in(done: Walk) -> None:
    from risk.backtest.accounts import universe_at

    population = done.population
    few = [int(population.members(kind)[0]) for kind in ("short strangle", "spread", "delta-hedged", "lender")]
    some = replace(
        done, population=population.some(np.array(few)), loss=done.loss[:, few], initial=done.initial[:, few]
    )
    found = peer_margins(some, 100_000.0, peers())
    universe = universe_at(SYMBOLS, done.vols[2])
    books = some.population.books(universe)
    for name, rule in peers().items():
        for n in range(len(few)):
            book, market = account_book(some.population, universe, books, n, 100_000.0, haircuts_of(name))
            direct = rule.margin(book, market).im / 100_000.0
            assert found[name][2, n] == pytest.approx(direct, rel=0.01, abs=2e-4), (name, some.population.names[n])


def test_a_step_raises_margin_at_once_and_wears_off(prices: PriceHistory, population: Population) -> None:
    data = Data.build(prices, None, config().calibration)
    few = population.some(np.concatenate([population.members(k) for k in ("long perp", "spread")]))
    time = END - 65 * DAY
    found = impulse_response(data, few, config(), time, -0.25)
    ratio = found.ratio["long perp"]
    assert ratio[found.days <= 0] == pytest.approx(np.ones(6))
    assert ratio[found.days == 1][0] > 1.1
    assert found.peak == ratio.max()
    # In so short a history the step stays in the stressed period: most of it wears off, not all.
    top = int(np.argmax(ratio))
    half = 1.0 + 0.5 * (found.peak - 1.0)
    assert found.half_life_days > 7
    assert (ratio[top : top + found.half_life_days] > half).all()
    assert ratio[top + found.half_life_days] <= half
    assert stepped(prices, time, -0.25).close[-1] == pytest.approx(0.75 * prices.close[-1])


def test_calmest_leaves_room(done: Walk) -> None:
    from risk.errors import InsufficientHistory

    with pytest.raises(InsufficientHistory, match="walk a longer period"):
        calmest(done)


def test_a_first_set_that_is_refused_moves_the_check_to_an_earlier_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that the walk took over the one before may fail the gates of a first set; no leak goes unchecked for it."""
    from types import SimpleNamespace
    from typing import Any, cast

    from risk.backtest import run

    at = 1_546_300_800 + 86_400 * np.arange(100, dtype=np.int64)
    seen: list[int] = []

    def check(_data: object, _population: object, config: BacktestConfig, edge: int, _rng: object) -> int:
        seen.append(edge)
        if config.start > at[20]:
            raise GateFailed("efficiency is 1.907, limit 1.8")
        return 21

    monkeypatch.setattr(run, "check_no_look_ahead", check)
    config = BacktestConfig(int(at[0]), int(at[-1]) + 86_400)
    assert run._check(cast(Any, None), cast(Any, None), config, cast(Any, SimpleNamespace(at=at))) == 21
    assert seen == [int(at[74]), int(at[54]), int(at[34])]
    late = SimpleNamespace(at=at[25:45])
    with pytest.raises(GateFailed, match=r"1\.907"):
        run._check(cast(Any, None), cast(Any, None), config, cast(Any, late))
