# SPDX-License-Identifier: Apache-2.0
"""``MarginEngine`` equals ``risk/onchain.py`` in every integer.

Both follow docs/margin-rule.md and neither was written from the other. Hypothesis draws a seed for each account; it
makes a market (live prices anywhere in the grid and far beyond it, dead prices, missing rows and pages, expired epochs)
and an account of 0 to 128 positions over 1 to 8 underlyings and up to 8 collateral assets.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from risk.onchain import Assessment, ChainMarket, assess_at, assess_words, grid
from risk.onchain_words import (
    AccountState,
    CollateralPosition,
    JointSet,
    OptionPosition,
    Page,
    PerpPosition,
    PriceWord,
    build_words,
    parse_words,
)
from tests.support.revm import Contract, Reverted, deploy, new_evm

CASES = 2_000
WAD = 10**18
NOW = 1_800_000_000
ACCOUNT = 7


def lanes(*values: int) -> int:
    return sum(value << (16 * k) for k, value in enumerate(values))


def random_page(rng: random.Random, u: int) -> Page:
    rows = rng.choice([0, 1, rng.randint(1, 40), 255])
    reference = int(10 ** rng.uniform(-3, 6) * WAD)
    scan = rng.randint(100, 9_000)
    style = rng.randrange(3)
    data = bytearray()
    for slot in range(rows):
        for v in range(3):
            header = (rng.randint(0, 3_000), rng.randint(0, 65_535), rng.choice([0, rng.randint(0, 65_535)]))[v]
            word = header << 240
            for n in range(15):
                if style == 0:
                    value = rng.randint(0, 65_535)
                elif style == 1:
                    value = max(0, (n - rng.randint(3, 11)) * 3_000 + v * 500)
                else:
                    value = (slot * 977 + n * n * 40 + v * 100) % 65_536
                word |= value << (16 * n)
            data += word.to_bytes(32, "big")
    return Page(
        address="",
        epoch=rng.randint(1, 99),
        observed_at=NOW - 3_600,
        expires_at=NOW + rng.choice([-1, 0, 1, 86_400]),
        reference_price=max(1, reference),
        lane_unit=max(1, reference // rng.randint(10_000, 65_535)),
        step_e9=scan * 10**5 // 12,
        rows=bytes(data),
    )


def live_price(rng: random.Random, page: Page | None, scan: int) -> int:
    if page is None:
        return int(10 ** rng.uniform(-4, 6) * WAD)
    kind = rng.randrange(6)
    if kind == 0:
        return 0
    if kind == 1:
        return min(2**90 - 1, int(page.reference_price * 10 ** rng.uniform(-2, 2)))
    steps = rng.choice(
        [
            0,
            rng.uniform(-15, 15),
            rng.uniform(-3, 3),
            rng.randint(-15, 15),
            rng.uniform(-60, 60),
            15,
            -15,
            rng.uniform(-2_000, 2_000),
        ]
    )
    return max(0, min(2**90 - 1, int(page.reference_price * (1 + steps * page.step_e9 / 10**9))))


def random_market(rng: random.Random, underlyings: list[int], collaterals: list[int]) -> ChainMarket:
    pages, prices, words = {}, {}, {}
    for u in underlyings:
        page = random_page(rng, u) if rng.random() < 0.9 else None
        scan = page.step_e9 * 12 // 10**5 if page is not None and rng.random() < 0.7 else rng.randint(100, 9_000)
        scan = max(100, min(9_000, scan))
        if page is not None:
            pages[u] = page
        prices[u] = PriceWord(live_price(rng, page, scan), rng.choice([0, 0, 0, 2]), NOW)
        words[u] = lanes(
            scan,
            *(rng.randint(0, 9_999) for _ in range(3)),
            *(rng.randint(0, 500) for _ in range(3)),
            rng.randint(0, 200),
            rng.choice([0, 1, rng.randint(1, 65_535)]),
            rng.randint(0, 500),
        )
    joint = None
    if rng.random() < 0.8:
        count = rng.choice([0, 1, rng.randint(1, 64), 64])
        scenarios = tuple(rng.getrandbits(256) for _ in range(count))
        joint = JointSet("", 3, NOW + rng.choice([-5, 5]), scenarios)
    mm = rng.randint(0, 20_000)
    return ChainMarket(
        timestamp=NOW,
        prices=prices,
        collateral_prices={
            c: PriceWord(rng.choice([0, int(10 ** rng.uniform(-6, 6) * WAD)]), rng.choice([0, 0, 2]), NOW)
            for c in collaterals
        },
        funding={u: rng.randint(-(10**24), 10**24) for u in underlyings},
        global_word=lanes(rng.randint(mm, 20_000), mm, rng.randint(0, 20_000), rng.randint(0, 10_000)),
        underlying_words=words,
        collateral_words={
            c: lanes(
                rng.randint(0, 12_000),
                rng.randint(0, 10_000),
                rng.randint(0, 2_000),
                rng.choice([0, 1, 500]),
                rng.randint(0, 5_000),
            )
            for c in collaterals
        },
        pages=pages,
        joint=joint,
    )


def random_lots(rng: random.Random) -> int:
    size = rng.choice([rng.randint(1, 10**4), rng.randint(1, 10**9), 2**55 - 1])
    return size if rng.random() < 0.5 else -size


def random_account(rng: random.Random, underlyings: list[int], collaterals: list[int]) -> AccountState:
    budget = rng.choice([0, rng.randint(1, 16), rng.randint(1, 128), 128])
    perps, options = {}, {}
    order = list(underlyings)
    rng.shuffle(order)
    for u in order:
        if budget and rng.random() < 0.6:
            perps[u] = PerpPosition(random_lots(rng), rng.randint(-(2**120), 2**120), rng.randint(-(10**24), 10**24))
            budget -= 1
        count = min(budget, rng.choice([0, rng.randint(0, 8), rng.randint(0, 128)]))
        if count:
            slots = rng.sample(range(255), count)
            if rng.random() < 0.6:
                slots = rng.sample(range(min(255, max(count, 40))), count)
            options[u] = tuple(OptionPosition(slot, random_lots(rng)) for slot in slots)
            budget -= count
    held = tuple(
        CollateralPosition(
            c,
            rng.choice([1, rng.randint(1, 10**20), 2**100]),
            rng.randint(0, 10_000),
            rng.choice([0, 6, 8, 18]),
            rng.choice([0, 1 + rng.choice(underlyings)]) if underlyings else 0,
        )
        for c in sorted(collaterals)
    )
    cash = rng.choice([0, rng.randint(-(10**24), 10**24), -(2**100), 2**100])
    return AccountState(cash, rng.getrandbits(64), held, perps, options)


class World:
    """The real engine over settable inputs."""

    def __init__(self) -> None:
        self.evm = new_evm()
        self.inputs = deploy(self.evm, "contracts/testing/EngineFixture.vy")
        self.table = deploy(self.evm, "contracts/testing/TableFixture.vy")
        source = self.inputs.address
        self.engine: Contract = deploy(
            self.evm, "contracts/MarginEngine.vy", source, source, source, source, self.table.address
        )
        import pyrevm

        env = pyrevm.BlockEnv(number=100, timestamp=NOW, gas_limit=2**62)
        self.evm.set_block_env(env)

    def load(self, market: ChainMarket, words: tuple[int, ...]) -> ChainMarket:
        """Put a market into the fixtures; returns it with the addresses of its blobs."""
        self.inputs.call("set_word", 0, 0, market.global_word)
        for u, price in market.prices.items():
            self.inputs.call("set_price", 0, u, price.price | price.state << 128 | price.updated_at << 136)
            self.inputs.call("set_word", 1, u, market.underlying_words[u])
            self.inputs.call("set_funding", u, market.funding[u])
            page = market.pages.get(u)
            first = second = 0
            if page is not None:
                address = int(self.table.call("store", page.rows), 16)
                first = address | page.epoch << 160 | page.observed_at << 192 | page.expires_at << 224
                second = page.reference_price | page.lane_unit << 112 | page.step_e9 << 208
                assert Page.from_words(first, second, page.rows) == replace(page, address=f"0x{address:040x}")
            self.table.call("set_page", u, first, second)
        for c, price in market.collateral_prices.items():
            self.inputs.call("set_price", 1, c, price.price | price.state << 128 | price.updated_at << 136)
            self.inputs.call("set_word", 2, c, market.collateral_words[c])
        word = 0
        if market.joint is not None:
            blob = b"".join(s.to_bytes(32, "big") for s in market.joint.scenarios)
            word = int(self.table.call("store", blob), 16) | market.joint.epoch << 160
            word |= market.joint.count << 192 | market.joint.expires_at << 200
        self.table.call("set_joint", word)
        self.inputs.call("set_state", ACCOUNT, words)
        return market


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def make_case(seed: int) -> tuple[ChainMarket, AccountState]:
    rng = random.Random(seed)
    underlyings = sorted(rng.sample(range(16), rng.randint(1, 8)))
    collaterals = sorted(rng.sample(range(16), rng.randint(0, 8)))
    market = random_market(rng, underlyings, collaterals)
    return market, random_account(rng, underlyings, collaterals)


def check_case(world: World, seed: int) -> Assessment:
    market, account = make_case(seed)
    words = build_words(account)
    assert parse_words(words) == account
    world.load(market, words)
    expected = assess_words(words, market)
    assert Assessment(*world.engine.call("assess", ACCOUNT)) == expected
    assert Assessment(*world.engine.call("assess_state", words)) == expected
    rng = random.Random(seed + 1)
    u = rng.choice(sorted(market.prices))
    assert world.engine.call("grid", ACCOUNT, u) == grid(words, market, u)
    scenario = rng.randrange(64 + 27)
    if len(expected.scans) == 1:
        scenario = 64 + scenario % 27
    try:
        proof = assess_at(words, market, scenario)
    except ValueError:
        with pytest.raises(Reverted):
            world.engine.call("assess_at", ACCOUNT, scenario)
    else:
        assert world.engine.call("assess_at", ACCOUNT, scenario) == proof
        assert proof[0] == expected.equity_mm
        assert proof[1] <= expected.mm
    return expected


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


def test_the_cases_reach_every_flag_and_branch() -> None:
    """The generator is worth something only if the accounts it makes are not all alike."""
    seen, jointly, healthy = 0, 0, 0
    for seed in range(400):
        market, account = make_case(seed)
        result = assess_words(build_words(account), market)
        seen |= result.flags
        jointly += result.worst_joint != 255
        healthy += result.mm_health >= 0
    assert seen == 31
    assert jointly > 40
    assert 40 < healthy < 360
