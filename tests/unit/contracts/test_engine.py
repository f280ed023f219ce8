# SPDX-License-Identifier: Apache-2.0
"""Numbers worked out by hand from docs/margin-rule.md: cash, collateral, perpetuals, flags, limits."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest

from tests.support.margin_words import (
    DEAD,
    NOW,
    UNIT,
    WAD,
    DeltaOne,
    EngineWorld,
    global_word,
    holding,
    lanes,
    mark_word,
    underlying_word,
    words,
)
from tests.support.revm import compiled

PERP = 255


@pytest.fixture
def world() -> EngineWorld:
    return EngineWorld()


def test_cash_alone_needs_no_margin(world: EngineWorld) -> None:
    got = world.assess(words(cash=-7 * WAD))
    assert got.equity_mark == got.equity_im == got.equity_mm == -7 * WAD
    assert got[3:] == (0, 0, 0, 0, 255, 0, 0, ())


def test_code_fits_a_contract(world: EngineWorld) -> None:
    assert len(bytes(world.evm.get_code(world.engine.address)).rstrip(b"\0")) <= 24_576
    assert compiled("contracts/MarginEngine.vy")[0]


# ------------------------------------------------------------------ perpetuals


def test_long_perpetual(world: EngineWorld) -> None:
    # 2 units bought at 90, price 100, 24 % scan range: gains 20, may lose 48; net delta 200 USD against a depth of
    # 1,000,000 at 50 bps: 1 USD x 1.0002
    world.parameters(1, 0, underlying_word(delta=50))
    world.parameters(0, 0, global_word(im=15_000, mm=11_000, charge=12_000))
    got = world.assess(words(cash=5 * WAD, perps={0: DeltaOne(2 * UNIT, -2 * UNIT * 90 * WAD)}))
    assert got.equity_mark == got.equity_im == got.equity_mm == 25 * WAD
    assert got.scans == (48 * WAD,)
    assert got.market_risk == 48 * WAD
    assert got.charges == 1_000_200_000_000_000_000
    assert got.mm == 52_800_000_000_000_000_000 + got.charges
    assert got.im == 72 * WAD + 1_200_240_000_000_000_000


def test_short_perpetual_pays_rounding_twice(world: EngineWorld) -> None:
    # one lot short at a price of 1e6 + 1 wad: value -1.000001 wad. Down to -2 for a fall, up to -1 for a rise
    world.price(0, 0, 10**6 + 1)
    got = world.assess(words(perps={0: DeltaOne(-1, 0)}))
    assert got.equity_mark == -2
    # a fall takes the higher value, -1: floor(-1 * 2400 * -4 / 40000) = 0; a rise the lower: floor(-2 * .24) = -1
    assert got.scans == (1,)
    assert world.losses()[:9] == [0, 0, 0, 0, 0, 1, 1, 1, 1]


def test_funding_is_paid_by_the_long(world: EngineWorld) -> None:
    # entered at 100 under a cumulative funding of 1, which is 3 now
    world.mark(PERP, mark_word(carry=3 * WAD))
    state = {"long": DeltaOne(UNIT, (-100 + 1) * UNIT * WAD), "short": DeltaOne(-UNIT, (100 - 1) * UNIT * WAD)}
    assert world.assess(words(perps={0: state["long"]})).equity_mark == -2 * WAD
    assert world.assess(words(perps={0: state["short"]})).equity_mark == 2 * WAD


def test_perpetual_without_lots_keeps_its_quote(world: EngineWorld) -> None:
    got = world.assess(words(perps={3: DeltaOne(0, -1_500_001)}))
    assert got.equity_mark == -2
    assert got.scans == (0,)


def test_profit_is_linear_in_lots_and_risk_homogeneous(world: EngineWorld) -> None:
    one = world.assess(words(perps={0: DeltaOne(UNIT, -90 * UNIT * WAD)}))
    many = world.assess(words(perps={0: DeltaOne(1_000 * UNIT, -90_000 * UNIT * WAD)}))
    assert many.equity_mark == 1_000 * one.equity_mark
    assert many.scans[0] == 1_000 * one.scans[0]


# ------------------------------------------------------------------ collateral


def test_haircuts_of_collateral(world: EngineWorld) -> None:
    # 3.000001 tokens of 6 decimals at 2.5 USD = 7.5000025; haircuts 10 % and 8 %, 5 bps times 7.5 / 10,000 for the size
    # and, initial margin only, 2 bps (rounded up) for a use of 33 % at 4 bps
    world.price(1, 2, 5 * WAD // 2)
    world.parameters(2, 2, lanes(1_000, 800, 5, 1, 4))
    got = world.assess(words(collateral={2: holding(3_000_001, 6, use=3_300)}))
    value = 7_500_002_500_000_000_000
    assert got.equity_mark == value
    sized = ceil(Fraction(5 * value * value, 10_000 * WAD * 10_000))
    assert got.equity_im == value * 8_998 // 10_000 - sized
    assert got.equity_mm == value * 9_200 // 10_000 - sized
    assert got.scans == ()


def test_haircut_stops_at_everything(world: EngineWorld) -> None:
    world.parameters(2, 0, lanes(9_999, 9_000, 65_535, 1, 65_535))
    got = world.assess(words(collateral={0: holding(10**30, 18, use=10_000)}))
    # nothing is kept for initial margin; for maintenance the tenth that is kept peaks at half of itself
    peak = 10_000 * WAD * 1_000 // (2 * 65_535)
    counted = peak // 10 - ceil(Fraction(65_535 * peak * peak, 10_000 * WAD * 10_000))
    assert (got.equity_mark, got.equity_im, got.equity_mm) == (10**32, 0, counted)


def test_dead_collateral_counts_nothing_for_initial_margin(world: EngineWorld) -> None:
    world.price(1, 0, 100 * WAD | DEAD)
    world.parameters(2, 0, lanes(1_000, 800, 0, 1, 0))
    got = world.assess(words(collateral={0: holding(WAD)}))
    # maintenance margin: 8 % and a further 20 %; the token may have doubled
    assert (got.equity_mark, got.equity_im, got.equity_mm) == (100 * WAD, 0, 72 * WAD)
    assert (got.flags, got.doubt) == (1, 128 * WAD)


def test_linked_collateral_hedges_a_short_perpetual(world: EngineWorld) -> None:
    world.parameters(1, 4, underlying_word(delta=50, basis=50))
    hedged = words(collateral={0: holding(WAD, 18, linked=4)}, perps={4: DeltaOne(-UNIT, 100 * UNIT * WAD)})
    assert world.assess(hedged).mm == 0
    unhedged = words(collateral={0: holding(WAD)}, perps={4: DeltaOne(-UNIT, 100 * UNIT * WAD)})
    assert world.assess(unhedged).market_risk == 24 * WAD
    alone = world.assess(words(collateral={0: holding(WAD, 18, linked=4)}))
    assert alone.market_risk == 24 * WAD
    assert alone.flags == 0


def test_nothing_of_a_linked_asset_activates_nothing(world: EngineWorld) -> None:
    assert world.assess(words(collateral={0: holding(0, 18, linked=4)})).scans == ()


# ------------------------------------------------------------------ dead prices, extremes


def test_dead_price_raises_the_flag_and_still_values(world: EngineWorld) -> None:
    world.price(0, 0, 100 * WAD | DEAD)
    got = world.assess(words(perps={0: DeltaOne(UNIT, -90 * UNIT * WAD)}))
    assert got.flags == 1
    assert got.equity_mark == 10 * WAD


@pytest.mark.parametrize("price", [0, 1, 2**90 - 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_never_reverts_at_the_limits(world: EngineWorld, price: int, sign: int) -> None:
    most = 2**55 - 1
    full = lanes(9_000, *[65_535] * 9)
    world.parameters(0, 0, lanes(20_000, 20_000, 65_535, 10_000))
    for u in range(16):
        world.price(0, u, price)
        world.price(1, u, price)
        world.parameters(1, u, full)
        world.parameters(2, u, lanes(65_535, 65_535, 65_535, 0, 65_535))
        world.page(u, [b"\xff" * 96] * 7, reference=1, unit=2**96 - 1)
        world.mark(u << 8 | 255, mark_word(carry=-(2**127)))
        world.mark(u << 8 | 254, mark_word(carry=2**127 - 1))
    world.joint([dict.fromkeys(range(16), (-128, -128))] * 64)
    state = words(
        cash=-(2**120),
        collateral={k: holding(2**112 - 1, 0, linked=k, use=10_000) for k in range(16)},
        perps={
            u: DeltaOne(sign * most, -sign * 2**191) if sign > 0 else DeltaOne(-most, 2**191 - 1) for u in range(16)
        },
        first={u: DeltaOne(sign * most, sign * (2**191 - 1)) for u in range(16)},
        options={u: [(slot, sign * most) for slot in range(6)] for u in range(16)},
    )
    got = world.assess(state)
    assert len(got.scans) == 16
    assert got.market_risk >= 0
    assert got.im >= got.mm - got.charges


def test_expired_joint_blob_raises_the_flag(world: EngineWorld) -> None:
    state = words(perps={0: DeltaOne(UNIT, 0), 1: DeltaOne(UNIT, 0)})
    world.joint([{}], expires_at=NOW)
    assert world.assess(state).flags == 0
    world.joint([{}], expires_at=NOW - 1)
    assert world.assess(state).flags == 2
