# SPDX-License-Identifier: Apache-2.0
"""Several underlyings: joint scenarios, the floors under them, and one scenario as a proof."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import pytest

from tests.support.margin_words import UNIT, WAD, DeltaOne, EngineWorld, global_word, row, words
from tests.support.revm import Reverted

SLACK = 625 * 10**12
# long one unit against short one unit, 24 % scan range at a price of 100: each may lose 24
PAIR = words(perps={0: DeltaOne(UNIT, -100 * UNIT * WAD), 1: DeltaOne(-UNIT, 100 * UNIT * WAD)})


@pytest.fixture
def world() -> EngineWorld:
    return EngineWorld()


def test_without_scenarios_the_scans_add_up(world: EngineWorld) -> None:
    got = world.assess(PAIR)
    assert (got.market_risk, got.flags, got.worst_joint) == (48 * WAD, 8, 255)


def test_parallel_moves_offset(world: EngineWorld) -> None:
    world.joint([{0: (-127, 0), 1: (-127, 0)}, {0: (127, 0), 1: (127, 0)}])
    got = world.assess(PAIR)
    assert (got.market_risk, got.worst_joint, got.flags) == (0, 255, 0)


def test_the_lowest_of_the_worst_scenarios_is_named(world: EngineWorld) -> None:
    world.joint([{0: (5, 0)}, {0: (-127, 0), 1: (127, 0)}, {0: (-128, 0), 1: (127, -128)}])
    got = world.assess(PAIR)
    assert (got.market_risk, got.worst_joint) == (48 * WAD, 1)


def test_losses_that_round_to_the_same_name_the_first(world: EngineWorld) -> None:
    # a price of 1: the only possible losses are fractions of a wad, all of them one wad
    for u in (0, 1):
        world.price(0, u, 10**6)
    world.joint([{0: (-1, 0)}, {0: (-127, 0)}])
    got = world.assess(words(perps={0: DeltaOne(2, 0), 1: DeltaOne(2, 0)}))
    assert got.worst_joint == 0
    assert got.scans == (1, 1)


def rising_pair(world: EngineWorld) -> list[int]:
    """An account that is long an option that rises with the price in each of two underlyings."""
    for u in (0, 1):
        world.page(u, [row(lambda _, node: 20_000 + 1_000 * node)])
    return words(options={0: [(0, UNIT)], 1: [(0, UNIT)]})


def test_words_behind_the_last_scenario_are_no_scenarios(world: EngineWorld) -> None:
    """A zero word would lose the slack; the only scenario gains."""
    account = rising_pair(world)
    world.joint([{0: (127, 0), 1: (127, 0)}])
    assert world.assess(account).worst_joint == 255


@pytest.mark.parametrize("moves", [(-60, -40, -20, -80, -60, -80, -70), (-20, -40, -60, -80, -100, -120), (20, 0, -1)])
def test_the_first_of_the_deepest_falls_is_the_worst_of_options(world: EngineWorld, moves: tuple[int, ...]) -> None:
    account = rising_pair(world)
    world.joint([{0: (move, 0), 1: (move, 0)} for move in moves])
    assert world.assess(account).worst_joint == moves.index(min(moves))


@pytest.mark.parametrize("byte", [-127, -126, -96, -95, -64, -1, 0, 1, 31, 32, 100, 127])
def test_moves_between_the_points_are_linear(world: EngineWorld, byte: int) -> None:
    world.joint([{0: (byte, 0)}])
    got = world.assess(words(perps={0: DeltaOne(-UNIT, 0), 1: DeltaOne(UNIT, 0)}))
    loss = max(Fraction(24 * WAD * byte, 127), Fraction(0))
    assert got.market_risk == ceil(loss)


@pytest.mark.parametrize("byte", [-128, -127, -64, -1, 0, 1, 64, 127])
def test_volatility_between_the_states_is_linear(world: EngineWorld, byte: int) -> None:
    # 1 USD lower with volatility down, 3 USD lower with volatility up
    world.page(0, [row(lambda v, _: (9_000, 10_000, 7_000)[v])])
    world.joint([{0: (0, byte)}])
    got = world.assess(words(options={0: [(0, UNIT)]}, perps={1: DeltaOne(1, 0)}))
    worst = Fraction((3 if byte >= 0 else 1) * WAD * min(abs(byte), 127), 127)
    lead = 2 * got.scans[0] - sum(got.scans)
    assert got.scans[0] == 3 * WAD + SLACK
    assert got.market_risk == max(ceil(worst + SLACK), lead)


def test_an_odd_scenario_count_and_all_sixteen_underlyings(world: EngineWorld) -> None:
    perps = {u: DeltaOne((-1) ** u * UNIT * (u + 1), 0) for u in range(16)}
    scenarios = [{u: (7 * u - 50 + 2 * j, 0) for u in range(16)} for j in range(37)]
    world.joint(scenarios)
    got = world.assess(words(perps=perps))
    losses = [
        max(0, ceil(-sum(Fraction(24 * WAD * perps[u].lots * s[u][0], UNIT * 127) for u in perps))) for s in scenarios
    ]
    assert max(losses) > 0
    assert got.worst_joint == losses.index(max(losses))
    assert got.market_risk == max(*losses, 2 * max(got.scans) - sum(got.scans))


EXTREMES = [
    (-128, -128),
    (-127, -128),
    (-128, 127),
    (127, -127),
    (-64, -128),
    (-65, 3),
    (90, -128),
    (64, 64),
    (127, 127),
]
BOOKS = {
    "options": words(options={0: [(0, UNIT)], 1: [(0, -UNIT)]}),
    "both": words(options={1: [(0, UNIT)]}, perps={0: DeltaOne(2 * UNIT, 0), 2: DeltaOne(-UNIT, 0)}),
    "lines": words(perps={u: DeltaOne((-1) ** u * (UNIT + u), 0) for u in range(3)}),
}


@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
@pytest.mark.parametrize("moves", EXTREMES)
def test_a_scenario_counts_the_same_wherever_it_stands(
    world: EngineWorld, moves: tuple[int, int], book: list[int]
) -> None:
    """Four to a loop, by hand: each of the four places, in the first four and in the next."""
    for u in (0, 1):
        world.page(u, [row(lambda v, node: 30_000 + 1_000 * node + (-3_000, 0, 5_000)[v] + 50 * v * node)])
    scenario = {0: moves, 1: (moves[0] // 3, -moves[1] // 2), 2: moves}
    bounded = {u: (max(price, -127), max(vol, -127)) for u, (price, vol) in scenario.items()}
    world.joint([bounded])
    alone, proof = world.assess(book), world.assess_at(0)
    world.joint([{}])
    still = world.assess(book)
    for place in range(8):
        world.joint([{}] * place + [scenario])
        got = world.assess(book)
        assert got.market_risk == (max(alone, still, key=lambda at: at.market_risk) if place else alone).market_risk
        assert world.assess_at(place) == proof
        if alone.market_risk > still.market_risk:
            assert got.worst_joint == place


# ------------------------------------------------------------------ floors


def test_offset_floor(world: EngineWorld) -> None:
    world.parameters(0, 0, global_word(im=12_000, mm=10_000, floor=3_333))
    world.joint([{}])
    got = world.assess(PAIR)
    assert got.market_risk == 15_998_400_000_000_000_000
    assert got.im == got.market_risk * 12 // 10


def test_dust_elsewhere_does_not_lower_the_requirement(world: EngineWorld) -> None:
    world.joint([{}])
    alone = world.assess(words(perps={0: DeltaOne(10 * UNIT, 0)}))
    dusted = world.assess(words(perps={0: DeltaOne(10 * UNIT, 0), 1: DeltaOne(-UNIT // 1_000, 0)}))
    assert alone.market_risk == 240 * WAD
    assert dusted.market_risk == 240 * WAD - 24 * WAD // 1_000


# ------------------------------------------------------------------ one scenario


def test_a_joint_scenario_bounds_the_requirement(world: EngineWorld) -> None:
    world.joint([{0: (-127, 0), 1: (127, 0)}, {0: (-50, 30), 1: (90, -4)}])
    got = world.assess(PAIR)
    assert world.assess_at(0) == (got.equity_mm, got.mm)
    equity, bound = world.assess_at(1)
    assert equity == got.equity_mm
    assert bound == ceil(Fraction(24 * WAD * (50 + 90), 127)) < got.mm


def test_a_scan_point_bounds_the_requirement(world: EngineWorld) -> None:
    world.page(0, [row(lambda v, k: 20_000 + 100 * k + (0, 5, 50)[v])])
    state = words(cash=WAD, options={0: [(0, UNIT)]}, perps={0: DeltaOne(UNIT, 0)})
    got = world.assess(state)
    bounds = [world.assess_at(64 + point) for point in range(27)]
    assert {equity for equity, _ in bounds} == {got.equity_mm}
    assert bounds[9 * 2 + 4][1] == got.charges
    assert max(bound for _, bound in bounds) == got.mm


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [(2, "engine: no scenario"), (63, "engine: no scenario"), (64, "engine: several underlyings"),
     (91, "engine: no scenario"), (2**256 - 1, "engine: no scenario")],
)  # fmt: skip
def test_scenarios_that_do_not_exist(world: EngineWorld, scenario: int, reason: str) -> None:
    world.joint([{}, {}])
    world.set(PAIR)
    with pytest.raises(Reverted, match=f"^{reason}$"):
        world.assess_at(scenario)


def test_a_single_underlying_has_no_joint_scenario(world: EngineWorld) -> None:
    world.joint([{}, {}])
    world.set(words(perps={0: DeltaOne(UNIT, 0)}))
    with pytest.raises(Reverted, match=r"^engine: no scenario$"):
        world.assess_at(0)


def test_rounding_of_the_joint_loss_is_up(world: EngineWorld) -> None:
    world.joint([{0: (-1, 0), 1: (-1, 0)}])
    got = world.assess(words(perps={0: DeltaOne(UNIT, 0), 1: DeltaOne(UNIT, 0)}))
    assert got.market_risk == floor(Fraction(48 * WAD, 127)) + 1
