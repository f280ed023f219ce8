# SPDX-License-Identifier: Apache-2.0
"""Shocks and short minimum of a page: those in force at its observation, over the steps of the stored scan range."""

from __future__ import annotations

import pytest

from tests.support.margin_words import lanes
from tests.support.revm import Reverted
from tests.support.table_world import GOVERNANCE, HOUR, WORD, Header, TableWorld

RAMP, MAX_AGE = 6 * HOUR, 600
# volatility +50 % and -25 %, short minimum 3 %; and where a push takes them, with the scan range from 24 % to 30 %
REST = {"vol_up": 5_000, "vol_down": 2_500, "short_min": 300}
RISEN = {"vol_up": 6_000, "vol_down": 3_100, "short_min": 400}
PUSHED = WORD + lanes(600, 1_000, 600, 0, 0, 0, 0, 0, 0, 100)


class Pushed(TableWorld):
    """The first underlying has just been pushed to ``PUSHED``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        most = lanes(*[65_535] * 12)
        self.parameters.call("set_bounds", 1, 0, most, most, most, caller=GOVERNANCE)
        self.parameters.call("set_keeper", GOVERNANCE, True, caller=GOVERNANCE)
        self.wait(HOUR)
        self.push(PUSHED, 1)

    def push(self, word: int, nonce: int) -> None:
        """Tighten the first underlying."""
        args = (nonce, self.now, self.now, bytes(32), bytes(32), [(1, 0, word)])
        self.parameters.call("push", *args, caller=GOVERNANCE)

    def says(self, shocks: dict[str, int], ago_s: int = 0, scan: int = 3_000) -> None:
        """Check a page observed so long ago, over the steps of a scan range."""
        at, step = self.now - ago_s, scan * 10**5 // 12
        self.check(Header(observed_at=at, expires_at=self.now + HOUR, step=step, **shocks))

    def refuses(self, shocks: dict[str, int], ago_s: int = 0) -> None:
        """The same page is refused for its shocks."""
        with pytest.raises(Reverted, match=r"^table: shocks$"):
            self.says(shocks, ago_s)


@pytest.fixture
def world() -> Pushed:
    return Pushed()


@pytest.mark.parametrize(
    ("after_s", "shocks"),
    [
        (0, REST),
        (RAMP // 2, {"vol_up": 5_500, "vol_down": 2_800, "short_min": 350}),
        # a second has 1/21.6, 1/36 and 1/216 of a bps: rounded down, the last second is a whole one short
        (RAMP - 1, {"vol_up": 5_999, "vol_down": 3_099, "short_min": 399}),
        (RAMP, RISEN),
        (9 * RAMP, RISEN),
    ],
)
def test_a_page_says_what_is_in_force_and_nothing_beside_it(
    world: Pushed, after_s: int, shocks: dict[str, int]
) -> None:
    world.wait(after_s)
    world.fresh()
    world.says(shocks)
    for name, value in shocks.items():
        for other in (value - 1, value + 1):
            world.refuses({**shocks, name: other})
    if after_s < RAMP:
        world.refuses(RISEN)


def test_the_observation_counts_and_not_the_publication(world: Pushed) -> None:
    world.wait(RAMP // 2 + MAX_AGE)
    then = {"vol_up": 5_500, "vol_down": 2_800, "short_min": 350}
    # ten minutes are 1/36 of the ramp
    now = {"vol_up": 5_527, "vol_down": 2_816, "short_min": 352}
    world.says(then, MAX_AGE)
    world.says(now)
    world.refuses(now, MAX_AGE)
    world.refuses(then)


def test_a_page_of_the_last_second_is_good_after_the_end(world: Pushed) -> None:
    world.wait(RAMP + MAX_AGE - 1)
    last = {"vol_up": 5_999, "vol_down": 3_099, "short_min": 399}
    world.says(last, MAX_AGE)
    world.says(RISEN, MAX_AGE - 1)
    world.refuses(RISEN, MAX_AGE)
    world.refuses(last, MAX_AGE - 1)


def test_a_page_from_before_a_push_is_good_after_it(world: Pushed) -> None:
    world.wait(MAX_AGE - 1)
    world.says(REST, MAX_AGE)
    world.refuses(RISEN, MAX_AGE)


def test_a_page_from_before_a_second_push_says_what_was_in_force_at_it(world: Pushed) -> None:
    world.wait(RAMP // 2)
    world.push(PUSHED + lanes(0, 1_000), 2)
    world.wait(60)
    half = {"vol_up": 5_500, "vol_down": 2_800, "short_min": 350}
    world.says(half, 61)
    world.says(half, 60)
    # a minute before the push; the line on which that lay is no longer known
    world.refuses({"vol_up": 5_497, "vol_down": 2_798, "short_min": 349}, 120)
    world.says(half, 120)


def test_what_loosens_is_good_at_once_and_what_it_was_is_not(world: Pushed) -> None:
    world.wait(RAMP)
    loosened = PUSHED - lanes(0, 500)
    args = (2, world.now, world.now, bytes(32), bytes(32), [(1, 0, loosened)])
    world.parameters.call("propose", *args, caller=GOVERNANCE)
    world.wait(2 * RAMP)
    world.says(RISEN)
    world.parameters.call("execute", 1, [(1, 0, loosened)])
    for ago_s in (0, 60):
        world.says({**RISEN, "vol_up": 5_500}, ago_s)
        world.refuses(RISEN, ago_s)


@pytest.mark.parametrize("after_s", [0, RAMP // 2, RAMP])
def test_the_step_is_that_of_the_stored_scan_range(world: Pushed, after_s: int) -> None:
    world.wait(after_s)
    risen = 1_000 * after_s // RAMP
    shocks = {"vol_up": 5_000 + risen, "vol_down": 2_500 + risen * 6 // 10, "short_min": 300 + risen // 10}
    world.says(shocks)
    for scan in (2_400, 2_700):
        with pytest.raises(Reverted, match=r"^table: grid step$"):
            world.says(shocks, scan=scan)


def test_the_power_of_the_tenor_does_not_ramp(world: Pushed) -> None:
    world.refuses({**REST, "vol_power": 2_999})
    world.says({**REST, "vol_power": 3_000})
