# SPDX-License-Identifier: Apache-2.0
"""Hypothetical trades: ``assess_after`` against the words that a trader would write down by hand."""

from __future__ import annotations

import pytest

from tests.support.margin_words import (
    UNIT,
    WAD,
    Assessed,
    DeltaOne,
    EngineWorld,
    holding,
    mark_word,
    row,
    words,
)
from tests.support.revm import Reverted

PERP_3 = 3 << 8 | 255


@pytest.fixture
def world() -> EngineWorld:
    world = EngineWorld()
    for u in (0, 3, 15):
        world.page(u, [row(lambda v, k, s=slot: 10_000 + 50 * (s + 1) * k + 20 * v) for slot in range(9)])
    return world


def stated(world: EngineWorld, state: list[int]) -> Assessed:
    return Assessed(*world.engine.call("assess_state", state, static=True))


def test_no_trade_changes_nothing(world: EngineWorld) -> None:
    state = words(cash=-5 * WAD, collateral={2: holding(WAD)}, perps={3: DeltaOne(UNIT, 0)}, options={0: [(4, -UNIT)]})
    assert world.assess(state) == world.after(0) == world.after(0, (0, 0, WAD)) == stated(world, state)


def test_cash_is_added(world: EngineWorld) -> None:
    world.set(words(cash=-5 * WAD))
    assert world.after(-WAD).equity_mark == -6 * WAD
    assert world.after(7 * WAD).equity_mark == 2 * WAD


@pytest.mark.parametrize(
    ("lots", "price", "premium"), [(1, 1, 1), (-1, 1, 0), (3, 10**6, 3), (-3, 10**6, -3), (-7, 999_999, -6)]
)
def test_premium_is_rounded_against_the_account(world: EngineWorld, lots: int, price: int, premium: int) -> None:
    world.set(words(cash=WAD))
    bought = stated(world, words(cash=WAD - premium, options={0: [(2, lots)]}))
    assert world.after(0, (2, lots, price)) == bought


def test_options_merge_close_and_keep_their_neighbours(world: EngineWorld) -> None:
    held = {0: [(1, UNIT), (4, -UNIT), (5, 3), (6, 4), (7, -5)], 15: [(0, UNIT)]}
    world.set(words(collateral={0: holding(WAD)}, perps={3: DeltaOne(UNIT, -5)}, options=held))
    more = {0: [(1, UNIT), (4, -3 * UNIT), (5, 3), (6, 4), (7, -5)], 15: [(0, UNIT)]}
    assert world.after(0, (4, -2 * UNIT, 0)) == stated(
        world, words(collateral={0: holding(WAD)}, perps={3: DeltaOne(UNIT, -5)}, options=more)
    )
    turned = {0: [(1, UNIT), (4, UNIT), (5, 3), (6, 4), (7, -5)], 15: [(0, UNIT)]}
    assert world.after(0, (4, 2 * UNIT, 0)) == stated(
        world, words(collateral={0: holding(WAD)}, perps={3: DeltaOne(UNIT, -5)}, options=turned)
    )
    closed = {0: [(1, UNIT), (5, 3), (6, 4), (7, -5)]}
    assert world.after(0, (4, UNIT, 0), (15 << 8, -UNIT, 0)) == stated(
        world, words(collateral={0: holding(WAD)}, perps={3: DeltaOne(UNIT, -5)}, options=closed)
    )


def test_new_underlyings_go_where_they_belong(world: EngineWorld) -> None:
    world.set(words(perps={3: DeltaOne(UNIT, 0)}, options={3: [(1, UNIT)]}))
    expected = words(
        perps={0: DeltaOne(2 * UNIT, -2 * UNIT * WAD), 3: DeltaOne(UNIT, 0)},
        options={0: [(8, -7)], 3: [(1, UNIT)], 15: [(0, 5)]},
    )
    trades = ((255, 2 * UNIT, WAD), (8, -7, 0), (15 << 8, 5, 0))
    assert world.after(0, *trades) == world.after(0, *reversed(trades)) == stated(world, expected)


def test_perpetual_is_traded_under_its_funding(world: EngineWorld) -> None:
    world.mark(PERP_3, mark_word(carry=5 * WAD))
    world.set(words(perps={3: DeltaOne(4 * UNIT, (-400 + 8) * UNIT * WAD)}))
    # one unit is sold at 110 under a funding of 5
    after = words(perps={3: DeltaOne(3 * UNIT, (-400 + 8 + 110 - 5) * UNIT * WAD)})
    assert world.after(0, (PERP_3, -UNIT, 110 * WAD)) == stated(world, after)


def test_closing_a_perpetual_at_its_price_leaves_nothing(world: EngineWorld) -> None:
    world.set(words(cash=WAD, perps={3: DeltaOne(UNIT, -100 * UNIT * WAD)}))
    assert world.after(0, (PERP_3, -UNIT, 100 * WAD)) == stated(world, words(cash=WAD))


@pytest.mark.parametrize(("price", "profit"), [(130 * WAD, 30 * WAD), (70 * WAD, -30 * WAD), (100 * WAD - 1, -1)])
def test_closing_a_perpetual_turns_its_profit_into_cash(world: EngineWorld, price: int, profit: int) -> None:
    world.set(words(perps={3: DeltaOne(UNIT, -100 * UNIT * WAD)}))
    assert world.after(0, (PERP_3, -UNIT, price)) == stated(world, words(cash=profit))


def test_a_loss_of_less_than_a_wad_is_a_wad(world: EngineWorld) -> None:
    world.set(words(perps={3: DeltaOne(1, -WAD)}))
    assert world.after(0, (PERP_3, -1, WAD - 1)) == stated(world, words(cash=-1))
    assert world.after(0, (PERP_3, -1, WAD + 1)) == stated(world, words(cash=0))


@pytest.mark.parametrize(
    ("delta", "reason"),
    [
        ((16 << 8, 1, 0), "engine: instrument"),
        ((16 << 8 | 255, 1, 0), "engine: instrument"),
        ((0, 2**55, 0), "engine: lots"),
        ((0, 1, 2**90), "engine: price"),
        ((PERP_3, 2**55 - 1, 0), "engine: lots"),
        ((3 << 8, -(2**55) + 1, 0), "engine: lots"),
    ],
)
def test_impossible_trades(world: EngineWorld, delta: tuple[int, int, int], reason: str) -> None:
    world.set(words(perps={3: DeltaOne(1, 0)}, options={3: [(0, -1)]}))
    with pytest.raises(Reverted, match=f"^{reason}$"):
        world.after(0, delta)


def test_no_more_than_128_positions(world: EngineWorld) -> None:
    world.set(words(perps={3: DeltaOne(1, 0)}, options={0: [(slot, 1) for slot in range(127)]}))
    assert world.after(0, (5, 1, 0)).flags == 4 | 8
    for instrument in (200, 15 << 8, 255):
        with pytest.raises(Reverted, match=r"^engine: positions$"):
            world.after(0, (instrument, 1, 0))
