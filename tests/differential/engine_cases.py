# SPDX-License-Identifier: Apache-2.0
"""Random markets and accounts of docs/margin-rule.md, and the real engine over settable inputs to judge them.

One seed makes a market (live prices anywhere in the grid and far beyond it, late and dead prices, pages of any age,
missing rows and pages, settled instruments, ramps) and an account of 0 to 128 positions over 1 to 16 underlyings.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from pyrevm import BlockEnv

from risk.onchain import ChainMarket
from risk.onchain_words import (
    DELTA_ONE_SLOTS,
    AccountState,
    CollateralPosition,
    DeltaOnePosition,
    JointSet,
    MarkWord,
    OptionPosition,
    Page,
    PriceWord,
    instrument_id,
)
from tests.support.revm import Contract, deploy, new_evm

WAD = 10**18
NOW = 1_800_000_000
ACCOUNT = 7
MAX_ROWS = 253
DAY = 86_400


def lanes(*values: int) -> int:
    return sum(value << (16 * k) for k, value in enumerate(values))


def _tail(rng: random.Random, hours: Sequence[int]) -> int:
    return rng.choice([0, rng.randint(0, 2_047)]) | rng.choice(hours) << 11


def random_rows(rng: random.Random) -> bytes:
    style = rng.randrange(3)
    hours = rng.choice([[0], [0], [0, rng.randint(1, 31)], range(32)])
    data = bytearray()
    for slot in range(rng.choice([0, 1, rng.randint(1, 40), MAX_ROWS])):
        for v in range(3):
            header = (rng.randint(0, 3_000), rng.randint(0, 65_535), _tail(rng, hours))[v]
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
    return bytes(data)


def random_times(rng: random.Random) -> tuple[int, int]:
    """Observed at, expires at: young, at each turn of the ladder to the second, and long forgotten."""
    life = rng.choice([1, 2, rng.randint(60, DAY), 3 * DAY])
    age = rng.choice(
        [
            0,
            rng.randint(0, life),
            life // 2 + rng.randint(-1, 2),
            life + rng.randint(-1, 1),
            life + rng.randint(0, DAY),
            life + DAY + rng.randint(-1, 2),
            rng.randint(0, 30 * DAY),
            -rng.randint(1, 60),
        ]
    )
    if rng.random() < 0.1:
        # returned to after a challenge
        return NOW - age, 0
    return NOW - age, NOW - age + life


def random_page(rng: random.Random) -> Page:
    reference = rng.choice([int(10 ** rng.uniform(-3, 6) * WAD)] * 12 + [1, 2**90 - 1])
    lane_unit = rng.choice([max(1, reference // rng.randint(10_000, 65_535))] * 12 + [1, 2**96 - 1])
    observed_at, expires_at = random_times(rng) if rng.random() < 0.6 else (NOW - 600, NOW + 3_000)
    return Page(
        address="",
        epoch=rng.randint(1, 99),
        observed_at=observed_at,
        expires_at=expires_at,
        reference_price=reference,
        lane_unit=lane_unit,
        step_e9=rng.randint(100, 9_000) * 10**5 // 12,
        rows=random_rows(rng),
    )


def live_price(rng: random.Random, page: Page | None) -> int:
    if page is None:
        return rng.choice([int(10 ** rng.uniform(-4, 6) * WAD)] * 6 + [1, 2**90 - 1])
    kind = rng.randrange(8)
    if kind == 0:
        return 0
    if kind == 1:
        return min(2**90 - 1, int(page.reference_price * 10 ** rng.uniform(-2, 2)))
    steps = rng.choice(
        [
            0,
            rng.uniform(-15, 15),
            rng.uniform(-3, 3),
            rng.uniform(-7, 7),
            rng.randint(-15, 15),
            rng.uniform(-60, 60),
            rng.choice([-15, 15]),
            rng.choice([-6, -3, 3, 6]),
            rng.uniform(-2_000, 2_000),
        ]
    )
    price = int(page.reference_price * (1 + steps * page.step_e9 / 10**9)) + rng.choice([0, 0, -1, 1])
    return max(0, min(2**90 - 1, price))


def random_state(rng: random.Random) -> tuple[int, int]:
    """State of a price and its lateness, bps."""
    return rng.choice(
        [(0, 0), (0, 0), (1, rng.randint(0, 10_000)), (1, rng.choice([0, 1, 9_999, 10_000])), (2, 10_000)]
    )


def random_underlying_word(rng: random.Random, page: Page | None) -> int:
    scan = page.step_e9 * 12 // 10**5 if page is not None and rng.random() < 0.7 else rng.randint(100, 9_000)
    return lanes(
        max(100, min(9_000, scan)),
        *(rng.randint(0, 9_999) for _ in range(3)),
        *(rng.randint(0, 500) for _ in range(3)),
        rng.randint(0, 200),
        rng.choice([0, 1, rng.randint(1, 65_535)]),
        rng.randint(0, 500),
        rng.randint(0, 2_000),
        rng.choice([0, 10_000, rng.randint(0, 2_000)]),
        rng.choice([0, 0, rng.randint(0, 5_000), 65_535]),
        *(rng.randint(0, 65_535) for _ in range(3)),
    )


def random_global_word(rng: random.Random) -> int:
    mm, floor = rng.randint(0, 20_000), rng.randint(0, 10_000)
    im_floor = rng.choice([0, floor, 10_000, rng.randint(0, 10_000)])
    reserve = rng.choice([0, rng.randint(1, 100), 65_535])
    return lanes(rng.randint(mm, 20_000), mm, rng.randint(0, 20_000), floor, reserve, im_floor)


def random_mark(rng: random.Random, perpetual: bool, huge: bool) -> MarkWord:
    settled = rng.choice([0, 0, 0, 1, int(10 ** rng.uniform(-4, 6) * WAD), 2**90 - 1])
    if huge:
        carry = rng.choice([-(2**127), 2**127 - 1]) if perpetual else rng.choice([1 - 10**9, 2**127 - 1])
    else:
        carry = rng.randint(-(10**24), 10**24) if perpetual else rng.randint(-(10**9) // 2, 10**9 // 2)
    expiry = rng.choice([0, 0, 0, NOW + rng.randint(-3_600, DAY + 3_600), NOW + rng.choice([-1, 0, 1, DAY - 1, DAY])])
    return MarkWord(settled, carry, expiry)


def random_joint(rng: random.Random) -> JointSet | None:
    if rng.random() >= 0.8:
        return None
    count = rng.choice([0, 1, rng.randint(1, 64), 64])
    return JointSet("", 3, NOW + rng.choice([-5, -1, 0, 5]), tuple(rng.getrandbits(256) for _ in range(count)))


def random_market(rng: random.Random, underlyings: list[int], collaterals: list[int]) -> ChainMarket:
    pages, prices, words = {}, {}, {}
    for u in underlyings:
        page = random_page(rng) if rng.random() < 0.9 else None
        if page is not None:
            pages[u] = page
        prices[u] = PriceWord(live_price(rng, page), *_stamped(rng))
        words[u] = random_underlying_word(rng, page)
    huge = rng.random() < 0.1
    return ChainMarket(
        timestamp=NOW,
        prices=prices,
        collateral_prices={
            c: PriceWord(rng.choice([0, *[int(10 ** rng.uniform(-6, 6) * WAD)] * 3, 2**90 - 1]), *_stamped(rng))
            for c in collaterals
        },
        marks={
            instrument_id(u, slot): random_mark(rng, slot == DELTA_ONE_SLOTS[0], huge)
            for u in underlyings
            for slot in DELTA_ONE_SLOTS
        },
        global_word=random_global_word(rng),
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
        joint=random_joint(rng),
    )


def _stamped(rng: random.Random) -> tuple[int, int, int]:
    state, late_bps = random_state(rng)
    return state, NOW, late_bps


def random_lots(rng: random.Random, price: int | None = None) -> int:
    """Signed lots of any size, or worth about a million USD at a price."""
    if price:
        size = max(1, min(2**55 - 1, int(rng.uniform(0.3, 1.0) * 10**12 * WAD) // price))
    else:
        size = rng.choice([rng.randint(1, 10**4), rng.randint(1, 10**9), 2**55 - 1])
    return size if rng.random() < 0.5 else -size


def random_base(rng: random.Random) -> int:
    return rng.choice([rng.randint(-(2**120), 2**120)] * 8 + [-(2**191), 2**191 - 1])


def random_account(
    rng: random.Random, underlyings: list[int], collaterals: list[int], market: ChainMarket
) -> AccountState:
    budget = rng.choice([0, rng.randint(1, 16), rng.randint(1, 128), 128])
    delta_ones, options = {}, {}
    even = rng.random() < 0.5
    order = list(underlyings)
    rng.shuffle(order)
    for u in order:
        price = market.prices[u].price if even else None
        for slot in DELTA_ONE_SLOTS:
            if budget and rng.random() < 0.35:
                delta_ones[instrument_id(u, slot)] = DeltaOnePosition(random_lots(rng, price), random_base(rng))
                budget -= 1
        count = min(budget, rng.choice([0, rng.randint(0, 8), rng.randint(0, 128)]))
        if count:
            slots = rng.sample(range(MAX_ROWS), count)
            if rng.random() < 0.6:
                slots = rng.sample(range(min(MAX_ROWS, max(count, 40))), count)
            options[u] = tuple(OptionPosition(slot, random_lots(rng, price)) for slot in slots)
            budget -= count
    held = tuple(
        CollateralPosition(
            c,
            rng.choice([0, 1, *[rng.randint(1, 10**20)] * 3, 2**100, 2**128 - 1]),
            rng.randint(0, 10_000),
            rng.choice([0, 6, 8, 18]),
            rng.choice([0, 1 + rng.choice(underlyings)]),
        )
        for c in sorted(collaterals)
    )
    cash = rng.choice([0, rng.randint(-(10**24), 10**24), -(2**100), 2**100, -(2**200), 2**200])
    return AccountState(cash, rng.getrandbits(64), held, delta_ones, options)


def make_case(seed: int) -> tuple[ChainMarket, AccountState]:
    """The market and account of a seed."""
    rng = random.Random(seed)
    count = 16 if rng.random() < 0.08 else rng.randint(1, 8)
    underlyings = sorted(rng.sample(range(16), count))
    collaterals = sorted(rng.sample(range(16), rng.randint(0, 8)))
    market = random_market(rng, underlyings, collaterals)
    return market, random_account(rng, underlyings, collaterals, market)


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
        self.evm.set_block_env(BlockEnv(number=100, timestamp=NOW, gas_limit=2**62))

    def load(self, market: ChainMarket, words: tuple[int, ...]) -> None:
        """Put a market and an account into the fixtures."""
        self.inputs.call("set_word", 0, 0, market.global_word)
        for u, price in market.prices.items():
            self.inputs.call("set_price", 0, u, price.to_word())
            assert PriceWord.from_word(price.to_word()) == price
            self.inputs.call("set_word", 1, u, market.underlying_words[u])
            self._load_marks(market, u)
            self._load_page(u, market.pages.get(u))
        for c, price in market.collateral_prices.items():
            self.inputs.call("set_price", 1, c, price.to_word())
            self.inputs.call("set_word", 2, c, market.collateral_words[c])
        word = 0
        if market.joint is not None:
            blob = b"".join(s.to_bytes(32, "big") for s in market.joint.scenarios)
            word = int(self.table.call("store", blob), 16) | market.joint.epoch << 160
            word |= market.joint.count << 192 | market.joint.expires_at << 200
        self.table.call("set_joint", word)
        self.inputs.call("set_state", ACCOUNT, words)

    def _load_marks(self, market: ChainMarket, u: int) -> None:
        for k, slot in enumerate(DELTA_ONE_SLOTS):
            mark = market.marks[instrument_id(u, slot)]
            assert MarkWord.from_word(mark.to_word()) == mark
            self.inputs.call("set_mark", 16 * k + u, mark.to_word())

    def _load_page(self, u: int, page: Page | None) -> None:
        first = second = 0
        if page is not None:
            address = int(self.table.call("store", page.rows), 16)
            first = address | page.epoch << 160 | page.observed_at << 192 | page.expires_at << 224
            second = page.reference_price | page.lane_unit << 112 | page.step_e9 << 208
            assert Page.from_words(first, second, page.rows) == replace(page, address=f"0x{address:040x}")
        self.table.call("set_page", u, first, second)
