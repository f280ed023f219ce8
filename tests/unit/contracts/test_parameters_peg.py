# SPDX-License-Identifier: Apache-2.0
"""RiskParameters: the price of cash in the scale of initial margin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import boa
import pytest

from tests.unit.contracts.test_parameters import (
    GLOBAL_WORD,
    HOUR,
    OUTSIDER,
    deploy,
    in_margin,
    lane_changed,
    load,
    now,
    push,
    with_lane,
)

WAD: Final = 10**18
FRESH, LATE, DEAD = 0, 1, 2
CASH_ORACLE: Final = """
# pragma version 0.4.3
price_wad: uint256
state: uint256

@external
def set(price_wad: uint256, state: uint256):
    self.price_wad = price_wad
    self.state = state

@external
@view
def cash_price() -> (uint256, uint256):
    return self.price_wad, self.state
"""


@pytest.fixture(scope="module")
def world() -> tuple[Any, Any]:
    oracle = boa.loads(CASH_ORACLE)
    oracle.set(WAD, FRESH)
    return deploy(oracle.address), oracle


@pytest.fixture
def params(world: tuple[Any, Any]) -> Iterator[Any]:
    with boa.env.anchor():
        yield world[0]


@pytest.fixture
def oracle(world: tuple[Any, Any]) -> Any:
    return world[1]


@pytest.mark.parametrize(
    "price_wad,peg_bps",
    [
        (2 * WAD, 0),
        (WAD, 0),
        (98 * WAD // 100, 0),
        (98 * WAD // 100 - 1, 1),  # up, against the account
        (98 * WAD // 100 - 5 * 10**13, 1),
        (98 * WAD // 100 - 5 * 10**13 - 1, 2),
        (97 * WAD // 100, 200),  # two for one
        (88 * WAD // 100, 2_000),
        (50 * WAD // 100, 9_600),
        (0, 19_600),
    ],
)
@pytest.mark.parametrize("state", [FRESH, LATE])
def test_loss_of_peg_raises_initial_margin_alone(
    params: Any, oracle: Any, price_wad: int, peg_bps: int, state: int
) -> None:
    oracle.set(price_wad, state)
    params.sync_peg(sender=OUTSIDER)
    events = params.get_logs()
    assert [(type(e).__name__, e.price_wad, e.peg_bps) for e in events] == (
        [("PegSynced", price_wad, peg_bps)] if peg_bps else []
    )
    assert params.peg_bps() == peg_bps
    assert params.words(0, 0) == [in_margin(with_lane(GLOBAL_WORD, 0, min(12_000 + peg_bps, 20_000)))]
    assert params.word(0, 0) == GLOBAL_WORD


def test_a_recovered_price_clears_it(params: Any, oracle: Any) -> None:
    oracle.set(9 * WAD // 10, FRESH)
    params.sync_peg()
    oracle.set(99 * WAD // 100, FRESH)
    assert params.peg_bps() == 1_600
    params.sync_peg()
    assert params.peg_bps() == 0
    assert params.words(0, 0) == [in_margin(GLOBAL_WORD)]


def test_a_dead_price_changes_nothing(params: Any, oracle: Any) -> None:
    oracle.set(9 * WAD // 10, FRESH)
    params.sync_peg()
    for price_wad in (0, WAD, WAD // 2):
        oracle.set(price_wad, DEAD)
        params.sync_peg()
        assert params.get_logs() == []
        assert params.peg_bps() == 1_600


def test_peg_and_lapse_add_up_to_the_cap(params: Any, oracle: Any) -> None:
    oracle.set(95 * WAD // 100, FRESH)
    params.sync_peg()
    boa.env.time_travel(seconds=params.status()[3] - now() + 1)
    assert params.words(0, 0) == [in_margin(with_lane(GLOBAL_WORD, 0, 12_000 + 600 + 500))]
    boa.env.time_travel(seconds=30 * 86_400)
    assert params.words(0, 0) == [in_margin(with_lane(GLOBAL_WORD, 0, 20_000))]


def test_a_push_keeps_the_peg_and_the_peg_keeps_a_ramp(params: Any, oracle: Any) -> None:
    oracle.set(97 * WAD // 100, FRESH)
    params.sync_peg()
    word = lane_changed(lane_changed(GLOBAL_WORD, 0, 600), 1, 300)
    push(params, [(0, 0, word)])
    boa.env.time_travel(seconds=3 * HOUR)
    oracle.set(96 * WAD // 100, FRESH)
    params.sync_peg()
    assert params.words(0, 0) == [in_margin(with_lane(lane_changed(word, 0, 400), 1, 10_150))]
    boa.env.time_travel(seconds=3 * HOUR)
    assert params.words(0, 0) == [in_margin(lane_changed(word, 0, 400))]
    assert (params.word(0, 0), params.peg_bps()) == (word, 400)


def test_no_peg_before_the_first_word(oracle: Any) -> None:
    """Peg bits on an empty word would make it look initialised, with every lane zero."""
    fresh = load(oracle.address)
    with boa.env.anchor():
        oracle.set(9 * WAD // 10, FRESH)
        with boa.reverts("params: unknown id"):
            fresh.sync_peg()
        assert fresh.words(0, 0)[0] & 0xFFFF == 20_000
        oracle.set(WAD, FRESH)
        fresh.sync_peg()  # nothing to store
