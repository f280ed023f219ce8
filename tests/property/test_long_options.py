# SPDX-License-Identifier: Apache-2.0
"""Monotone: a long option, whose payoff is never negative, never lowers health but for what its charges say.

On pages built as the keeper builds them, a live price up to six steps from the reference. Three departures by design,
each bounded here: charges and the slack of packing grow with the position, interpolation may read a worthless option
slightly below zero, and the dominance floor (docs/adr/0002) may rise while no scenario's loss does.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import lru_cache

from hypothesis import given, settings
from hypothesis import strategies as st

from risk.onchain import Assessment, ChainMarket, assess
from risk.onchain_options import unit_values
from risk.onchain_words import (
    AccountState,
    DeltaOnePosition,
    JointSet,
    MarkWord,
    OptionPosition,
    Page,
    PriceWord,
    build_words,
    instrument_id,
    lane,
)
from risk.page import build_page
from risk.pricing.svi import slices_from_smile
from risk.types import OptionSpec, SmileModel, UnderlyingParameters
from tests.property.test_coherence import dominance

WAD, NOW, DAY = 10**18, 1_800_000_000, 86_400
REFERENCES = (60_000, 3_000)
SMILE = SmileModel(0.75, 0.60, 6.0, -0.15, 0.8, carry_rate=0.06, discount_rate=0.03)
LANES = UnderlyingParameters(1_600, 4_500, 2_500, 3_000, 20, 10, 25, 10, 5_000, 50, 400, 500)
STRIKES, DAYS = (0.7, 0.9, 1.0, 1.1, 1.4), (1, 30)


@lru_cache(maxsize=2)
def page(u: int) -> Page:
    """Ten calls and ten puts, over five strikes and two expiries."""
    options = [
        OptionSpec(slot, NOW + days * DAY, REFERENCES[u] * strike, is_call)
        for slot, (strike, days, is_call) in enumerate((k, d, c) for k in STRIKES for d in DAYS for c in (True, False))
    ]
    slices = slices_from_smile(SMILE, sorted({o.expiry for o in options}), NOW)
    packed = build_page(options, REFERENCES[u] * WAD, slices, NOW, LANES, len(options))
    return Page("", 1, NOW, NOW + DAY, REFERENCES[u] * WAD, packed.lane_unit_wad, packed.step_e9, packed.rows)


def world(rng: random.Random) -> ChainMarket:
    """Two underlyings with their pages, joint scenarios or none, scales and floor drawn."""
    steps = [rng.uniform(-6.0, 6.0) for _ in REFERENCES]
    moved = [1 + y * page(u).step_e9 / 1e9 for u, y in enumerate(steps)]
    prices = [int(ref * factor * WAD) for ref, factor in zip(REFERENCES, moved, strict=True)]
    word = sum(value << 16 * k for k, value in enumerate(LANES.lanes()))
    scale = rng.choice([10_000, 10_000, rng.randint(10_000, 15_000)])
    floor = rng.randint(0, 5_000)
    joint = JointSet("", 1, NOW + 9, tuple(rng.getrandbits(32) for _ in range(rng.randint(1, 64))))
    return ChainMarket(
        NOW, {u: PriceWord(p, 0, NOW, 0) for u, p in enumerate(prices)}, {},
        {instrument_id(u, 255): MarkWord(0, 0) for u in range(2)},
        scale | 8_000 << 16 | 10_000 << 32 | floor << 48 | floor << 80, {0: word, 1: word}, {},
        {0: page(0), 1: page(1)},
        rng.choice([joint, joint, None]),
    )  # fmt: skip


def account(rng: random.Random, market: ChainMarket) -> AccountState:
    """Perpetuals and up to six options an underlying, each worth thousands to millions."""
    perps, options = {}, {}
    for u in range(2):
        unit = market.prices[u].price / WAD
        if rng.random() < 0.7:
            lots = round(rng.uniform(-1e6, 1e6) / unit * 1e6)
            perps[instrument_id(u, 255)] = DeltaOnePosition(lots, -lots * market.prices[u].price)
        slots = rng.sample(range(20), rng.randint(0, 6))
        lots = [round(rng.uniform(-1e6, 1e6) / unit * 1e6) or 1 for _ in slots]
        if slots:
            options[u] = tuple(OptionPosition(slot, n) for slot, n in zip(slots, lots, strict=True))
    return AccountState(rng.randint(0, 10**24), 0, (), perps, options)


def with_long(state: AccountState, u: int, slot: int, lots: int) -> AccountState:
    """The account after it received options for nothing."""
    held = {item.slot: item.lots for item in state.options.get(u, ())}
    held[slot] = held.get(slot, 0) + lots
    kept = tuple(OptionPosition(s, n) for s, n in held.items() if n)
    return replace(state, options={**{k: v for k, v in state.options.items() if k != u}, **({u: kept} if kept else {})})


def below_zero(market: ChainMarket, u: int, slot: int) -> tuple[int, int]:
    """What one unit is worth now, and how far below zero it is read anywhere in the scan, wad."""
    found = unit_values(slot, market.pages[u], market.prices[u].price, lane(market.underlying_words[u], 0))
    assert found is not None
    return max(0, found[0]), max(0, -min((found[0], *found[1])))


def gap(before: Assessment, after: Assessment) -> int:
    """By how much the dominance floor alone raised the market risk."""
    binds = after.market_risk == dominance(after) > before.market_risk
    return after.market_risk - before.market_risk if binds else 0


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**63), usd=st.integers(1, 10**6))
def test_a_long_option_never_lowers_health_but_for_its_charges(seed: int, usd: int) -> None:
    rng = random.Random(seed)
    market = world(rng)
    state, u, slot = account(rng, market), rng.randrange(2), rng.randrange(20)
    lots = max(1, usd * 10**6 * WAD // market.prices[u].price)
    before, after = (assess(build_words(item), market) for item in (state, with_long(state, u, slot, lots)))
    value, negative = below_zero(market, u, slot)
    # slack is taken from equity and from every point of the scan
    packing = -(-lots * market.pages[u].lane_unit * 5 // (4 * 10**6))
    im_scale, mm_scale = (lane(market.global_word, k) for k in (0, 1))
    for name, scale, charges in (("im", im_scale, charge_im), ("mm", mm_scale, charge_mm)):
        lost = 2 * (negative * lots // 10**6) + packing + 1_000
        lost = -(-lost * max(scale, 10_000) // 10_000) + -(-scale * gap(before, after) // 10_000)
        # a scale above one asks for more than the option can lose
        lost += max(0, scale - 10_000) * value * lots // 10**10 + charges(market, after) - charges(market, before)
        health = (getattr(item, f"{name}_health") for item in (before, after))
        assert -next(health) + next(health) >= -lost, name


def charge_mm(market: ChainMarket, found: Assessment) -> int:
    """What maintenance margin holds besides market risk."""
    return found.mm - -(-lane(market.global_word, 1) * found.market_risk // 10_000)


def charge_im(market: ChainMarket, found: Assessment) -> int:
    """What initial margin holds besides market risk, its own offset floor included in that."""
    floor = -(-lane(market.global_word, 5) * sum(found.scans) // 10_000) if len(found.scans) > 1 else 0
    return found.im - -(-lane(market.global_word, 0) * max(found.market_risk, floor) // 10_000)


def test_interpolation_reads_no_option_far_below_zero() -> None:
    """The second departure is small on real pages: at most 0.3 % of the price, for an option a day before expiry."""
    worst = 0.0
    for steps in range(-6, 7):
        price = int(3_000 * (1 + steps * page(1).step_e9 / 1e9) * WAD)
        for slot in range(20):
            found = unit_values(slot, page(1), price, 1_600)
            assert found is not None
            worst = max(worst, -min(found[1]) / price)
    assert 0.0 <= worst < 0.003
