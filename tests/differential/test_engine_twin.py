# SPDX-License-Identifier: Apache-2.0
"""``MarginEngine`` equals ``risk/onchain.py`` in every integer.

Both follow docs/margin-rule.md and neither was written from the other. Hypothesis draws a seed for each market and
account (tests/differential/engine_cases.py).
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from risk.onchain import (
    Assessment,
    Band,
    ChainMarket,
    assess_at,
    assess_words,
    holds_initial_margin,
    price_band,
    underlying_results,
)
from risk.onchain_words import DELTA_ONE_SLOTS, build_words, instrument_id, parse_words
from tests.differential.engine_cases import ACCOUNT, World, make_case
from tests.support.revm import Reverted

CASES = int(os.environ.get("BALLAST_CASES", "2000"))


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def check_case(world: World, seed: int) -> Assessment:
    market, account = make_case(seed)
    words = build_words(account)
    assert parse_words(words) == account
    world.load(market, words)
    expected = assess_words(words, market)
    assert Assessment(*world.engine.call("assess", ACCOUNT)) == expected
    assert Assessment(*world.engine.call("assess_state", words)) == expected
    assert world.engine.call("holds_initial_margin", ACCOUNT) == holds_initial_margin(words, market)
    rng = random.Random(seed + 1)
    u = rng.choice(sorted(market.prices))
    check_proof(world, words, market, expected, rng)
    check_band(world, market, u, rng)
    return expected


def check_proof(
    world: World, words: tuple[int, ...], market: ChainMarket, expected: Assessment, rng: random.Random
) -> None:
    """``assess_at`` of a scenario that mostly exists."""
    scenario = rng.randrange(64 + 27)
    if len(expected.scans) == 1:
        scenario = 64 + scenario % 27
    elif market.joint is not None and market.joint.count and rng.random() < 0.7:
        scenario = rng.randrange(market.joint.count)
    try:
        proof = assess_at(words, market, scenario)
    except ValueError:
        with pytest.raises(Reverted):
            world.engine.call("assess_at", ACCOUNT, scenario)
    else:
        assert world.engine.call("assess_at", ACCOUNT, scenario) == proof
        assert proof[0] == expected.equity_mm
        assert proof[1] <= expected.mm
        assert expected.doubt == 0


def check_band(world: World, market: ChainMarket, u: int, rng: random.Random) -> None:
    """``price_band`` of a delta-one instrument and of an option."""
    for slot in (rng.choice(DELTA_ONE_SLOTS), rng.choice([0, rng.randrange(40), rng.randrange(253)])):
        instrument = instrument_id(u, slot)
        assert world.engine.call("price_band", instrument) == price_band(market, instrument)


@settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**63))
def test_contract_and_twin_return_the_same_integers(world: World, seed: int) -> None:
    check_case(world, seed)


def bands_of_options(market: ChainMarket) -> list[Band]:
    return [price_band(market, instrument_id(u, slot)) for u in market.pages for slot in (0, 5, 30)]


def proves(words: tuple[int, ...], market: ChainMarket) -> bool:
    """Whether some scenario may judge the account."""
    for scenario in (0, 64):
        try:
            assess_at(words, market, scenario)
        except ValueError:
            continue
        return True
    return False


def test_the_cases_reach_every_flag_and_branch() -> None:
    """The generator is worth something only if the accounts it makes are not all alike."""
    seen, jointly, healthy, doubted, lost, widened, ramped, started, trusted = 0, 0, 0, 0, 0, set(), 0, 0, 0
    proofs, below_zero = 0, 0
    for seed in range(400):
        market, account = make_case(seed)
        words = build_words(account)
        result, parts = assess_words(words, market), underlying_results(words, market)
        seen |= result.flags
        below_zero += any(band.low == 0 < band.high for band in bands_of_options(market))
        proofs += proves(words, market)
        jointly += result.worst_joint != 255
        healthy += result.mm_health >= 0
        doubted += result.doubt > 0
        started += result.liquidatable
        trusted += 0 <= -result.mm_health <= result.doubt
        lost += any(item.lost for item in parts)
        widened |= {item.widen_bps for item in parts}
        ramped += len(result.scans) > 1 and (market.global_word >> 80 & 0xFFFF) * sum(result.scans) > (
            10_000 * result.market_risk
        )
    assert seen == 31
    assert proofs > 40
    assert below_zero > 40
    assert jointly > 40
    assert 40 < healthy < 360
    assert doubted > 100
    assert 40 < started < 360
    assert trusted > 0
    assert lost > 40
    assert {0, 30_000} < widened and len(widened) > 100
    assert ramped > 20
