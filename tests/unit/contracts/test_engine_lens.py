# SPDX-License-Identifier: Apache-2.0
"""The lens: hypothetical futures and collateral, and the health of many accounts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.margin_words import (
    ACCOUNT,
    NOW,
    UNIT,
    WAD,
    Assessed,
    DeltaOne,
    EngineWorld,
    holding,
    lanes,
    mark_word,
    words,
)
from tests.support.revm import Reverted

FIRST, SECOND, PERP = 3 << 8 | 254, 3 << 8 | 253, 3 << 8 | 255


@pytest.fixture
def world() -> EngineWorld:
    world = EngineWorld()
    # asset 2: 6 decimals, linked to underlying 4, 1,000 of a cap of 3,000 deposited
    world.inputs.call("set_asset", 2, 6, 5, 3_000 * 10**6, 1_000 * 10**6)
    world.inputs.call("set_asset", 7, 18, 0, 10 * WAD, 0)
    for asset in (2, 7):
        world.parameters(2, asset, lanes(1_000, 800, 0, 1, 10_000))
    return world


def stated(world: EngineWorld, state: list[int]) -> Assessed:
    return Assessed(*world.engine.call("assess_state", state, static=True))


# ------------------------------------------------------------------ futures


def test_future_is_bought_at_its_price(world: EngineWorld) -> None:
    world.mark(FIRST, mark_word(carry=10**7))
    world.mark(PERP, mark_word(carry=5 * WAD))
    world.set(words(perps={3: DeltaOne(UNIT, 7)}, options={3: [(0, UNIT)]}))
    bought = words(
        perps={3: DeltaOne(UNIT, 7)}, first={3: DeltaOne(2 * UNIT, -202 * UNIT * WAD)}, options={3: [(0, UNIT)]}
    )
    assert world.after(0, (FIRST, 2 * UNIT, 101 * WAD)) == stated(world, bought)


def test_all_three_go_where_they_belong_in_any_order(world: EngineWorld) -> None:
    world.mark(PERP, mark_word(carry=-2 * WAD))
    world.set(words(cash=WAD, options={3: [(0, 5)]}))
    after = words(
        cash=WAD,
        perps={3: DeltaOne(UNIT, (-100 - 2) * UNIT * WAD)},
        first={3: DeltaOne(-UNIT, 101 * UNIT * WAD)},
        second={3: DeltaOne(3, -306 * WAD)},
        options={3: [(0, 5)]},
    )
    trades = ((PERP, UNIT, 100 * WAD), (FIRST, -UNIT, 101 * WAD), (SECOND, 3, 102 * WAD))
    assert world.after(0, *trades) == world.after(0, *reversed(trades)) == stated(world, after)


def test_a_closed_future_becomes_cash(world: EngineWorld) -> None:
    world.set(words(first={3: DeltaOne(1, -WAD)}, second={3: DeltaOne(UNIT, 0)}))
    assert world.after(0, (FIRST, -1, WAD - 1)) == stated(world, words(cash=-1, second={3: DeltaOne(UNIT, 0)}))


# ------------------------------------------------------------------ collateral


def test_deposit_of_a_new_asset(world: EngineWorld) -> None:
    world.set(words(collateral={0: holding(WAD)}, perps={4: DeltaOne(UNIT, 0)}))
    # 1,500 of 3,000 are in use after
    deposited = holding(500 * 10**6, 6, linked=4, use=5_000)
    expected = words(collateral={0: holding(WAD), 2: deposited}, perps={4: DeltaOne(UNIT, 0)})
    assert world.after(0, collaterals=[(2, 500 * 10**6)]) == stated(world, expected)


def test_use_of_the_cap_rounds_up_and_ends_at_all_of_it(world: EngineWorld) -> None:
    world.set(words())
    for amount, use in ((1, 3_334), (2_000 * 10**6, 10_000), (9_000 * 10**6, 10_000)):
        expected = words(collateral={2: holding(amount, 6, linked=4, use=use)})
        assert world.after(0, collaterals=[(2, amount)]) == stated(world, expected)


def test_withdrawal_and_deposit_together(world: EngineWorld) -> None:
    world.set(words(collateral={2: holding(900 * 10**6, 6, linked=4, use=3_334), 9: holding(5)}))
    # 400 of 3,000 remain in use
    left = words(
        collateral={2: holding(300 * 10**6, 6, linked=4, use=1_334), 7: holding(WAD, 18, use=1_000), 9: holding(5)}
    )
    assert world.after(0, collaterals=[(2, -600 * 10**6), (7, WAD)]) == stated(world, left)
    nothing = words(cash=-5, collateral={9: holding(5)})
    assert world.after(-5, collaterals=[(2, -900 * 10**6)]) == stated(world, nothing)


@pytest.mark.parametrize(
    ("moved", "reason"),
    [
        ((16, 1), "engine: asset"),
        ((3, 1), "engine: asset"),
        ((2, -1_001), "engine: amount"),
        ((2, -(2**255)), "engine: amount"),
        ((2, 2**112), "engine: amount"),
    ],
)
def test_impossible_collateral(world: EngineWorld, moved: tuple[int, int], reason: str) -> None:
    world.set(words(collateral={2: holding(1_000, 6, linked=4)}))
    with pytest.raises(Reverted, match=f"^{reason}$"):
        world.after(0, collaterals=[moved])


# ------------------------------------------------------------------ health


def test_health_of_many_accounts_one_of_them_unreadable(world: EngineWorld) -> None:
    # account 9 has no words at all, which no account of the ledger is like
    states = {1: words(cash=3 * WAD), ACCOUNT: words(perps={0: DeltaOne(UNIT, -90 * UNIT * WAD)}), 7: [1 << 128, 0]}
    for account, state in states.items():
        world.inputs.call("set_state", account, state)
    world.price(0, 0, 100 * WAD | 2 << 128 | 10_000 << 200)
    got = world.lens.call("health", [7, ACCOUNT, 9, 1], static=True)
    unknown = (False, 0, 0, 0, 0, 0, 0)
    assert got[0] == got[2] == unknown
    assert got[1] == (True, 10 * WAD, 48 * WAD, 10 * WAD, 24 * WAD, 1, 48 * WAD)
    assert got[3] == (True, 3 * WAD, 0, 3 * WAD, 0, 0, 0)
    assert world.lens.call("health", [], static=True) == ()


def test_health_is_what_the_engine_says(world: EngineWorld) -> None:
    world.page(0, [b"\x01" * 96], expires_at=NOW + 5)
    world.set(words(cash=WAD, options={0: [(0, -UNIT)]}, perps={u: DeltaOne(UNIT, 0) for u in range(16)}))
    whole = Assessed(*world.engine.call("assess", ACCOUNT, static=True))
    (got,) = world.lens.call("health", [ACCOUNT], static=True)
    assert got == (True, whole.equity_im, whole.im, whole.equity_mm, whole.mm, whole.flags, whole.doubt)


@pytest.mark.parametrize("state", [[], [0]])
def test_words_that_are_no_state(world: EngineWorld, state: list[int]) -> None:
    with pytest.raises(Reverted, match=r"^engine: no state$"):
        stated(world, state)


# ------------------------------------------------------------------ neighbours


@pytest.mark.parametrize(("slot", "kind"), [(255, "perps"), (254, "first"), (253, "second"), (6, "options")])
@pytest.mark.parametrize("underlying", [0, 5, 15])
def test_a_trade_leaves_what_stands_before_and_behind(
    world: EngineWorld, underlying: int, slot: int, kind: str
) -> None:
    """Every kind of position in underlyings below and above, and collateral: each word keeps its place."""
    others = [u for u in (1, 9, 14) if u != underlying]
    state: dict[str, Any] = {
        name: {u: DeltaOne(UNIT + u, number * u) for u in others}
        for number, name in enumerate(("perps", "first", "second"))
    }
    state["options"] = {u: [(k, UNIT + k) for k in range(u)] for u in others}
    state["collateral"] = {0: holding(WAD), 9: holding(5)}
    world.set(words(cash=WAD, **state))
    held = [(slot, UNIT)] if kind == "options" else DeltaOne(UNIT, -3 * UNIT * WAD)
    paid = 3 * WAD if kind == "options" else 0
    traded = state | {kind: state[kind] | {underlying: held}}
    assert world.after(0, (underlying << 8 | slot, UNIT, 3 * WAD)) == stated(world, words(cash=WAD - paid, **traded))
