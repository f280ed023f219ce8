# SPDX-License-Identifier: Apache-2.0
"""A lot that expires an hour before a hedge keeps the hedge whole in maintenance margin until that lot is gone.

Only what expires next counts less in an account's last day (docs/margin-rule.md, section 4), because what ends later
will stand alone after it. So one lot of a worthless option is the next expiry, and the ramp of the hedge begins when it
has passed, where it then stands: an hour ahead of the expiry, which is the distance of two expiries.
"""

from __future__ import annotations

import pytest

from tests.support.margin_words import NOW, UNIT, WAD, DeltaOne, EngineWorld, mark_word, row, words

HOUR, DAY, FUTURE = 3_600, 86_400, 254
PAIR = {"perps": {0: DeltaOne(-UNIT, 0)}, "first": {0: DeltaOne(UNIT, 0)}}
DUST = {"options": {0: [(0, 1)]}}


@pytest.fixture
def world() -> EngineWorld:
    """The hedge ends in two hours and the dust in one; prices of 100, a scan range of 24."""
    world = EngineWorld()
    world.mark(FUTURE, mark_word() | (NOW // HOUR * HOUR + 2 * HOUR) << 96)
    world.page(0, [row(lambda _, k: 0, tail=2 << 11)])
    return world


@pytest.mark.xfail(reason="R-39: one account more for each expiry of the day would see it", strict=True)
def test_a_worthless_lot_lowers_no_maintenance_margin(world: EngineWorld) -> None:
    assert world.assess(words(**PAIR, **DUST)).mm >= world.assess(words(**PAIR)).mm


def test_it_lowers_no_initial_margin_of_what_stands_alone_after_the_day(world: EngineWorld) -> None:
    assert world.assess(words(**PAIR, **DUST)).im >= 24 * WAD


def test_an_hour_ahead_of_the_hedge_it_is_over(world: EngineWorld) -> None:
    world.at(NOW // HOUR * HOUR + HOUR)
    assert world.assess(words(**PAIR, **DUST)).mm >= 23 * WAD
