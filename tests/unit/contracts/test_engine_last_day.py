# SPDX-License-Identifier: Apache-2.0
"""Contracts in their last day: docs/margin-rule.md, section 4, by hand on a price of 100 and a scan range of 24 %."""

from __future__ import annotations

import pytest

from tests.support.margin_words import DEAD, NOW, UNIT, WAD, DeltaOne, EngineWorld, mark_word, row, words

DAY, HOUR = 86_400, 3_600
FUTURE = 254
PAIR = {"perps": {0: DeltaOne(-UNIT, 0)}, "first": {0: DeltaOne(UNIT, 0)}}


@pytest.fixture
def world() -> EngineWorld:
    return EngineWorld()


def tail(hour: int) -> int:
    """Third header of a row without a tail."""
    return hour << 11


def hour_of(seconds: int) -> int:
    """Hour that a row says of an expiry at least that far ahead, on the hour."""
    return (NOW + seconds) // HOUR - NOW // HOUR + 1


@pytest.mark.parametrize(("left", "scan"), [(DAY, 0), (DAY // 2, 12), (DAY // 4, 18), (0, 24), (-60, 24)])
def test_a_hedge_counts_for_the_part_of_the_day_that_is_left(world: EngineWorld, left: int, scan: int) -> None:
    world.mark(FUTURE, mark_word() | (NOW + left) << 96)
    got = world.assess(words(cash=100 * WAD, **PAIR))
    assert got.scans == (scan * WAD,)
    assert got.mm == scan * WAD
    # initial margin asks at once what maintenance margin will ask
    assert got.im == (0 if left == DAY else 24 * WAD)


@pytest.mark.parametrize(("left", "scan"), [(HOUR, 23), (6 * HOUR, 18), (0, 12)])
def test_what_ends_after_the_next_expiry_counts_in_full_until_then(world: EngineWorld, left: int, scan: int) -> None:
    # a hedge that has expired counts for nothing and is no next expiry: what ends in half a day then counts half
    world.mark(FUTURE, mark_word() | (NOW + left) << 96)
    world.mark(FUTURE - 1, mark_word() | (NOW + DAY // 2) << 96)
    pair = {"first": {0: DeltaOne(UNIT, 0)}, "second": {0: DeltaOne(-UNIT, 0)}}
    got = world.assess(words(cash=100 * WAD, **pair))
    # lots are whole
    assert got.scans[0] == pytest.approx(scan * WAD, rel=1e-6)


def test_what_is_settled_or_never_ends_hedges_as_it_is(world: EngineWorld) -> None:
    assert world.assess(words(**PAIR)).scans == (0,)
    world.mark(FUTURE, mark_word() | (100 * WAD) | (NOW - 60) << 96)
    assert world.assess(words(**PAIR)).scans == (24 * WAD,)


def test_a_plain_long_in_its_last_hour_needs_no_more_than_its_value(world: EngineWorld) -> None:
    # worth 2 USD and 1 more for each step up, nothing below
    shape = row(lambda _, k: 1_000 * max(0, k + 2))
    world.page(0, [shape, row(lambda _, k: 1_000 * max(0, k + 2), tail=tail(hour_of(0)))])
    plain = world.assess(words(options={0: [(0, UNIT)]}))
    last = world.assess(words(options={0: [(1, UNIT)]}))
    assert plain.scans == last.scans
    assert last.mm - plain.mm <= 2 * 10**15
    assert last.mm <= last.equity_mark + 3 * 10**15


def test_a_spread_in_one_expiry_is_asked_nothing_more(world: EngineWorld) -> None:
    legs = (lambda _, k: 1_000 * max(0, k + 2), lambda _, k: 1_000 * max(0, k + 1))
    late = tail(hour_of(2 * HOUR))
    world.page(0, [row(leg, 50) for leg in legs] + [row(leg, 50, tail=late) for leg in legs])
    before = world.assess(words(options={0: [(0, UNIT), (1, -UNIT)]}))
    last = world.assess(words(options={0: [(2, UNIT), (3, -UNIT)]}))
    assert (last.mm, last.im) == (before.mm, before.im)


def test_a_straddle_pays_for_the_valley_between_two_scan_points(world: EngineWorld) -> None:
    # struck half way between the price and the point 6 below: 3 USD at both, and nothing in between
    legs = (lambda _, k: max(0, 2_000 * k + 3_000), lambda _, k: max(0, -2_000 * k - 3_000))
    world.page(0, [row(leg) for leg in legs] + [row(leg, tail=tail(1)) for leg in legs])
    blind = world.assess(words(options={0: [(0, UNIT), (1, UNIT)]}))
    assert blind.mm < WAD // 100
    seen = world.assess(words(options={0: [(2, UNIT), (3, UNIT)]}))
    assert seen.mm == pytest.approx(3 * WAD, rel=2e-3)
    assert seen.mm <= seen.equity_mark + 4 * 10**15


def test_joint_scenarios_see_the_worse_profile(world: EngineWorld) -> None:
    world.mark(FUTURE, mark_word() | (NOW + 60) << 96)
    # the hedged underlying rises with the other one, which gains
    world.joint([{0: (127, 0), 1: (127, 0)}])
    pair = {"perps": {0: DeltaOne(-UNIT, 0), 1: DeltaOne(UNIT, 0)}, "first": {0: DeltaOne(UNIT, 0)}}
    got = world.assess(words(**pair))
    assert got.scans[0] == 24 * WAD * (UNIT - UNIT * 60 // DAY) // UNIT
    world.joint([{0: (127, 0)}])
    got = world.assess(words(**pair))
    assert got.worst_joint == 0
    assert got.market_risk == got.scans[0]


def test_on_a_dead_price_the_lots_that_are_left_are_in_doubt_though_the_whole_account_is_flat(
    world: EngineWorld,
) -> None:
    world.mark(FUTURE, mark_word() | (NOW + DAY // 2) << 96)
    world.price(0, 0, 100 * WAD | DEAD)
    got = world.assess(words(cash=100 * WAD, **PAIR))
    assert got.scans == (12 * WAD,)
    # half the future is left: the half unit that is short is in doubt for its scan range, the flat account for nothing
    assert got.doubt == 12 * WAD
