# SPDX-License-Identifier: Apache-2.0
"""The float screen of ``risk/screen.py`` never says anything else than the integer twin.

Markets and accounts of tests/differential/engine_cases.py (late and dead prices, forgotten pages, the last day, prices
beyond the grid, amounts up to the limits of the words): hypothesis draws a seed, one market judges several accounts.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from importlib import util

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from risk.fast import Engine
from risk.onchain import ChainMarket, assess_words
from risk.onchain_words import (
    DELTA_ONE_SLOTS,
    AccountState,
    DeltaOnePosition,
    MarkWord,
    PriceWord,
    build_words,
    instrument_id,
)
from risk.packed import Layout, pack_accounts
from risk.screen import Screened, screen
from tests.differential.engine_cases import make_case, random_account, random_lots, random_underlying_word

CASES = int(os.environ.get("BALLAST_SCREEN_CASES", "80"))
ACCOUNTS = 8
WAD = 10**18
needs_numba = pytest.mark.skipif(util.find_spec("numba") is None, reason="the compiled kernels need the extra 'fast'")


def whole(market: ChainMarket) -> ChainMarket:
    """The market with every number from 0 to the highest, as a deployment has them."""
    count, assets = max(market.prices) + 1, max(market.collateral_prices, default=-1) + 1
    plain, rng = PriceWord(100 * WAD, 0, market.timestamp, 0), random.Random(1)
    return replace(
        market,
        prices={u: market.prices.get(u, plain) for u in range(count)},
        underlying_words={u: market.underlying_words.get(u, random_underlying_word(rng, None)) for u in range(count)},
        marks={
            instrument_id(u, slot): market.marks.get(instrument_id(u, slot), MarkWord(0, 0))
            for u in range(count)
            for slot in DELTA_ONE_SLOTS
        },
        collateral_prices={c: market.collateral_prices.get(c, plain) for c in range(assets)},
        collateral_words={c: market.collateral_words.get(c, 0) for c in range(assets)},
    )


def case(seed: int) -> tuple[ChainMarket, list[tuple[int, ...]]]:
    """A market and accounts of it, some within a few wads of the line."""
    market, first = make_case(seed)
    rng = random.Random(seed + 1)
    used, assets = sorted(market.prices), sorted(market.collateral_prices)
    links = {item.asset: item.linked for item in first.collaterals}
    accounts = [first]
    for _ in range(ACCOUNTS - 1):
        drawn = random_account(rng, used, assets, market)
        held = tuple(item._replace(linked=links.get(item.asset, 0)) for item in drawn.collaterals)
        drawn = replace(drawn, collaterals=held)
        accounts.append(tame(drawn, market, rng) if rng.random() < 0.8 else drawn)
    near = [at_the_line(state, market, rng) for state in accounts[1:5]]
    return whole(market), [build_words(state) for state in (*accounts, *near)]


def tame(state: AccountState, market: ChainMarket, rng: random.Random) -> AccountState:
    """The account with amounts as people have them: positions worth up to a million, cash and cost to match."""

    def lots(u: int) -> int:
        return random_lots(rng, max(market.prices[u].price, 10**12)) or 1

    def cost() -> int:
        return rng.randint(-(10**30), 10**30)

    return replace(
        state,
        cash=rng.randint(-(10**24), 10**24),
        collaterals=tuple(
            item._replace(amount=rng.randint(0, 10**6 * 10**item.decimals)) for item in state.collaterals
        ),
        delta_ones={k: DeltaOnePosition(lots(k >> 8), cost()) for k in state.delta_ones},
        options={u: tuple(o._replace(lots=lots(u)) for o in held) for u, held in state.options.items()},
    )


def at_the_line(state: AccountState, market: ChainMarket, rng: random.Random) -> AccountState:
    """The account with the cash that leaves it a few wads, or dollars, from maintenance margin."""
    health = assess_words(build_words(state), market).mm_health
    size = 10 ** rng.choice([0, 6, 15, 21])
    away = rng.randint(-size, size)
    return replace(state, cash=state.cash - health + away)


def judge(words: list[tuple[int, ...]], market: ChainMarket, engine: Engine) -> Screened | None:
    layout = Layout(len(market.prices), len(market.collateral_prices))
    packed = pack_accounts(words, layout)
    return screen(packed, market, layout.linked, threads=1, engine=engine)


def check(seed: int, engine: Engine = "numpy") -> tuple[int, int]:
    """Compare one case; (accounts settled by floats, accounts that floats could settle)."""
    market, words = case(seed)
    found = judge(words, market, engine)
    if found is None:
        return 0, 0
    judged = np.isfinite(found.error)
    for row in np.flatnonzero(judged):
        exact = assess_words(words[row], market)
        assert abs(found.health[row] - exact.mm_health / WAD) <= found.error[row], (seed, row)
        assert not found.sound[row] or exact.mm_health >= 0
        assert not found.below[row] or exact.mm_health < 0
        assert not found.startable[row] or exact.liquidatable
        assert abs(found.doubt[row] - exact.doubt / WAD) <= 2 * found.error[row], (seed, row)
    return int((~found.open).sum()), int(judged.sum())


@settings(
    max_examples=CASES, deadline=None, database=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(seed=st.integers(0, 2**63))
def test_the_screen_never_contradicts_the_twin(seed: int) -> None:
    check(seed)


@needs_numba
@pytest.mark.parametrize("seed", range(12))
def test_nor_does_the_compiled_one(seed: int) -> None:
    check(seed, "compiled")


def test_floats_settle_all_but_those_at_the_line() -> None:
    settled, judged = map(sum, zip(*(check(seed) for seed in range(100, 130)), strict=True))
    assert judged > 50
    # a third of the accounts, most of those that floats may judge, lie a few wads to a thousand dollars from the line
    assert 20 < settled < judged
