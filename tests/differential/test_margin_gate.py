# SPDX-License-Identifier: Apache-2.0
"""``holds_initial_margin`` decides as ``assess`` does, whichever way it finds out.

The gate first takes the sum of the scans for the market risk, which no joint scenario exceeds, and evaluates the
scenarios only when that does not prove margin. Cash is set so that some accounts fall between the two requirements and
some on either one to the wei, as random cash alone never would.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from risk.onchain import Assessment, ChainMarket, assess_words, holds_initial_margin
from risk.onchain_words import AccountState, build_words
from tests.differential.engine_cases import ACCOUNT, World, make_case

CASES = int(os.environ.get("BALLAST_CASES", "700"))


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def bound_of(result: Assessment, market: ChainMarket) -> int:
    """Initial margin if its market risk were the sum of the scans: section 7 of the margin rule, wad."""
    scale, floor = market.global_word & 0xFFFF, market.global_word >> 80 & 0xFFFF
    several = len(result.scans) > 1
    risk = max(result.market_risk, -(-floor * sum(result.scans) // 10_000) if several else 0)
    without_risk = result.im - -(-risk * scale // 10_000)
    return without_risk - (-sum(result.scans) * scale // 10_000)


def cash_cases(account: AccountState, result: Assessment, bound: int) -> list[int]:
    """Cash that puts the account a wei below, on and above each requirement, between them, and as it was drawn."""
    exact = account.cash + result.im - result.equity_im
    rough = account.cash + bound - result.equity_im
    return [account.cash, exact - 1, exact, (exact + rough) // 2, rough - 1, rough, rough + 1]


def check_gate(world: World, seed: int) -> int:
    """Compare both for one market; returns how far the bound is above initial margin, wad."""
    market, account = make_case(seed)
    drawn = assess_words(build_words(account), market)
    bound = bound_of(drawn, market)
    cases = cash_cases(account, drawn, bound)
    for number, cash in enumerate(cases):
        words = build_words(replace(account, cash=cash))
        if number == 0:
            world.load(market, words)
        else:
            world.inputs.call("set_state", ACCOUNT, words)
        result = Assessment(*world.engine.call("assess", ACCOUNT))
        assert result == assess_words(words, market)
        found = world.engine.call("holds_initial_margin", ACCOUNT)
        assert found == (result.equity_im >= result.im, result.flags) == holds_initial_margin(words, market)
    return bound - drawn.im


@settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**63))
def test_gate_decides_as_the_assessment(world: World, seed: int) -> None:
    assert check_gate(world, seed) >= 0


def test_cases_fall_between_the_bound_and_the_requirement() -> None:
    """The second step of the gate is tested only by accounts that the first does not settle."""
    between = 0
    for seed in range(200):
        market, account = make_case(seed)
        result = assess_words(build_words(account), market)
        between += bound_of(result, market) > result.im + 1
    assert between > 20


def test_scenarios_are_skipped_when_the_scans_prove_margin(world: World) -> None:
    """The point of the gate: less gas than the assessment, where joint scenarios are at stake."""
    saved = []
    for seed in random.Random(3).sample(range(10_000), 40):
        market, account = make_case(seed)
        drawn = assess_words(build_words(account), market)
        if len(drawn.scans) < 2 or market.joint is None or market.joint.count < 32:
            continue
        rough = account.cash + bound_of(drawn, market) - drawn.equity_im
        used = []
        for cash in (rough, rough - 1):
            world.load(market, build_words(replace(account, cash=cash)))
            world.engine.call("holds_initial_margin", ACCOUNT)
            used.append(world.evm.result.gas_used)
        saved.append(used[1] - used[0])
    assert len(saved) >= 5
    assert min(saved) > 10_000
