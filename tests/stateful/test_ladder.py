# SPDX-License-Identifier: Apache-2.0
"""The whole protocol under hypothesis, one rung of people after the other; the audit of tests/fuzz after every step.

The rungs and their invariants are those of ``make fuzz``, which plays far longer without shrinking.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.fuzz.campaign import Play

CASH = ("deposit", "withdraw", "transfer", "batch", "donate", "grief")
TRADES = (*CASH, "trade", "trade", "trade", "settle")
MARKET = (*TRADES, "price_moves", "time_passes", "feeds_speak", "keeper_works", "settle_expiry", "retire_and_list")
LIQUIDATORS = (*MARKET, "start", "start_with", "bid", "bid_legs", "liquidate_all")
KEEPERS = (*LIQUIDATORS, "publish", "publish_joint", "push", "execute", "funding", "basis", "sync")
RUNGS = {"cash": CASH, "trades": TRADES, "market": MARKET, "liquidators": LIQUIDATORS, "keepers": KEEPERS}


class Drawn:
    """Choices that hypothesis makes and can shrink."""

    def __init__(self, data: Any) -> None:
        self._draw = data.draw

    def integer(self, low: int, high: int) -> int:
        """Between both."""
        return int(self._draw(st.integers(low, high)))

    def number(self, low: float, high: float) -> float:
        """Between both."""
        return float(self._draw(st.floats(low, high)))

    def choice(self, items: Any) -> Any:
        """One of them."""
        return self._draw(st.sampled_from(list(items)))


class Machine(RuleBasedStateMachine):
    """One world for all examples of a rung; each begins again from its start."""

    play: Play
    names: tuple[str, ...]

    def __init__(self) -> None:
        super().__init__()
        self.play.again(0)
        self.steps = 0

    @rule(data=st.data())
    def somebody_acts(self, data: Any) -> None:
        self.play.actors.pick = Drawn(data)
        self.steps += 1
        name = data.draw(st.sampled_from(self.names))
        assert self.play.step(name) == [], name

    @invariant()
    def everybody_can_leave(self) -> None:
        if self.steps % 10 == 9:
            assert self.play.auditor.stuck() == []


@pytest.mark.xdist_group("ladder")
@pytest.mark.parametrize("rung", RUNGS)
def test_nothing_breaks_whoever_acts(rung: str, world: Play) -> None:
    machine = type(rung, (Machine,), {"play": world, "names": RUNGS[rung]})
    machine.TestCase.settings = settings(  # type: ignore[attr-defined]
        max_examples=12,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    machine.TestCase("runTest").runTest()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def world() -> Play:
    return Play()
