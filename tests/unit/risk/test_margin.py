# SPDX-License-Identifier: Apache-2.0
"""The float margin of a book: hand-computed cases, and agreement with the integer twin within the stated bound."""

from __future__ import annotations

import random
from dataclasses import replace
from importlib import util
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from risk.errors import BadInput
from risk.fast import Engine
from risk.margin import (
    FLAG_JOINT_MISSING,
    FLAG_OFF_GRID,
    FLAG_PRICE_DEAD,
    FLAG_ROW_MISSING,
    FLAG_TABLE_EXPIRED,
    NO_JOINT,
    Book,
    CollateralMarket,
    MarginResult,
    Mark,
    Market,
    UnderlyingMarket,
    margin,
)
from risk.onchain import ChainMarket, assess_words
from risk.onchain_words import (
    AccountState,
    CollateralPosition,
    DeltaOnePosition,
    JointSet,
    MarkWord,
    OptionPosition,
    Page,
    PriceWord,
    build_words,
    instrument_id,
)
from risk.page import PackedPage, build_page, unpack_page
from risk.pricing.svi import slices_from_smile
from risk.table import NODES, RiskRows
from risk.types import (
    CollateralParameters,
    GlobalParameters,
    JointScenarios,
    OptionSpec,
    SmileModel,
    UnderlyingParameters,
)
from risk.units import pack_collateral, pack_global, pack_underlying

NOW = 1_800_000_000
needs_numba = pytest.mark.skipif(util.find_spec("numba") is None, reason="the compiled kernels need the extra 'fast'")
DAY = 86_400
WAD = 10**18
PLAIN = UnderlyingParameters(2_000, 4_000, 2_500, 3_000, 0, 0, 0, 0, 1, 0, 0, 0)
SCALES = GlobalParameters(10_000, 8_000, 10_000, 2_000, 0)


def empty_book(accounts: int, underlyings: int, collaterals: int = 0, slots: int = 253) -> Book:
    flat, wide = np.zeros((accounts, underlyings)), np.zeros((accounts, collaterals))
    options = tuple(sparse.csr_array((accounts, slots)) for _ in range(underlyings))
    units = np.zeros((accounts, underlyings, 3))
    return Book(np.zeros(accounts), units, flat, wide, wide.copy(), options)


def with_options(book: Book, units: float, slot: int = 0, slots: int = 1) -> Book:
    """The book of one account with a position in one option."""
    return replace(book, options=(sparse.csr_array((np.array([units]), ([0], [slot])), shape=(1, slots)),))


def spot_rows(lane_unit: float = 0.0) -> RiskRows:
    """One instrument worth exactly spot at every node and state: an option that is a perpetual."""
    line = 100.0 * (1.0 + np.array(NODES) / 60.0)
    values = np.broadcast_to(line, (1, 3, 15)).copy()
    return RiskRows(values, np.array([1.5]), np.array([100.0]), np.zeros(1), 100.0, 1.0 / 60.0, lane_unit)


def test_short_perp_needs_the_scan_range() -> None:
    book = empty_book(1, 1)
    book.cash[0], book.units[0, 0, 0], book.base[0, 0] = 500.0, -3.0, 300.0
    market = Market(SCALES, (UnderlyingMarket("ETH", 110.0, PLAIN),))
    result = margin(book, market)
    # -3 units at 110 lose 20 % of 330 on a rise; sold at 100, so 30 under water.
    assert result.equity_mark[0] == pytest.approx(470.0)
    assert result.im[0] == pytest.approx(66.0)
    assert result.mm[0] == pytest.approx(52.8)
    assert result.worst_joint[0] == NO_JOINT
    assert result.flags[0] == 0


def test_charges_follow_their_formulas() -> None:
    lanes = UnderlyingParameters(2_000, 0, 0, 0, 100, 50, 20, 30, 1, 150, 0, 0)
    book = empty_book(1, 1)
    book.units[0, 0, 0] = 4.0
    book = with_options(book, -1.0)
    result = margin(book, Market(SCALES, (UnderlyingMarket("ETH", 105.0, lanes, spot_rows()),)))
    # 4 perpetuals against 1 short unit of spot: net delta 3 x 105; gross 4 x 105 + 1 x 100 (the row's own reference).
    net, notional, gross_delta = 315.0, 105.0, 520.0
    charge = (
        0.01 * net * (1 + net / 10_000)
        + 0.005 * notional * (1 + notional / 10_000)
        + 1.5
        + 0.002 * (gross_delta - net) / 2
    )
    # 105 is three steps of 1/60 above 100.
    drift = notional * 0.003 * 3.0
    assert result.charges[0] == pytest.approx(charge)
    assert result.market_risk[0] == pytest.approx(0.2 * net)
    assert result.im[0] == pytest.approx(0.2 * net + charge + drift)
    assert result.mm[0] == pytest.approx(0.8 * 0.2 * net + charge)
    assert result.equity_mark[0] == pytest.approx(4 * 105.0 - 105.0)


def test_slack_is_taken_from_value_and_every_scenario() -> None:
    book = with_options(empty_book(1, 1), 2.0)
    result = margin(book, Market(SCALES, (UnderlyingMarket("ETH", 100.0, PLAIN, spot_rows(0.008)),)))
    assert result.equity_mark[0] == pytest.approx(200.0 - 0.01)
    assert result.market_risk[0] == pytest.approx(40.0 + 0.01)


def test_hedge_across_underlyings_counts_only_down_to_the_floor() -> None:
    book = empty_book(2, 2)
    book.units[:, :, 0] = [[1.0, -1.0], [1.0, 0.0]]
    joint = JointScenarios(np.array([[-127, -127], [127, 127]], np.int8), np.zeros((2, 2), np.int8))
    pair = tuple(UnderlyingMarket(name, 100.0, PLAIN) for name in ("BTC", "ETH"))
    result = margin(book, Market(SCALES, pair, joint=joint))
    assert result.scans.tolist() == [[20.0, 20.0], [20.0, 0.0]]
    # Perfectly offset in both scenarios; 20 % of the scans remain. The second account holds one underlying only.
    assert result.market_risk.tolist() == pytest.approx([8.0, 20.0])
    assert result.worst_joint.tolist() == [NO_JOINT, NO_JOINT]


def test_dust_in_a_second_underlying_does_not_dilute_the_first() -> None:
    book = empty_book(1, 2)
    book.units[:, :, 0] = [[1.0, 1e-6]]
    mild = JointScenarios(np.array([[-10, -10]], np.int8), np.zeros((1, 2), np.int8))
    pair = tuple(UnderlyingMarket(name, 100.0, PLAIN) for name in ("BTC", "ETH"))
    assert margin(book, Market(SCALES, pair, joint=mild)).market_risk[0] == pytest.approx(20.0, rel=1e-5)


def test_without_joint_scenarios_scans_add_up_and_say_so() -> None:
    book = empty_book(1, 2)
    book.units[:, :, 0] = [[1.0, -1.0]]
    pair = tuple(UnderlyingMarket(name, 100.0, PLAIN) for name in ("BTC", "ETH"))
    result = margin(book, Market(SCALES, pair))
    assert result.market_risk[0] == pytest.approx(40.0)
    assert result.flags[0] == FLAG_JOINT_MISSING


def test_collateral_haircuts_grow_with_size_and_use_and_dead_prices_count_nothing_initially() -> None:
    lanes = CollateralParameters(1_000, 500, 100, 1, 200)
    book = empty_book(2, 1, 1)
    book.collateral[:, 0], book.collateral_use[:, 0] = [100.0, 100.0], [0.0, 0.5]
    market = UnderlyingMarket("ETH", 100.0, PLAIN)
    fresh = margin(book, Market(SCALES, (market,), (CollateralMarket("WBTC", 100.0, lanes),)))
    # 10,000 USD is one size unit: 1 % more; half the cap used: another 1 %, for initial margin alone.
    assert fresh.equity_im.tolist() == pytest.approx([8_900.0, 8_800.0])
    assert fresh.equity_mm.tolist() == pytest.approx([9_400.0, 9_400.0])
    dead = margin(book, Market(SCALES, (market,), (CollateralMarket("WBTC", 100.0, lanes, dead=True),)))
    assert dead.equity_im.tolist() == [0.0, 0.0]
    # 20 % more haircut on the last price; it may still be worth twice that.
    assert dead.equity_mm.tolist() == pytest.approx([7_400.0, 7_400.0])
    assert dead.doubt.tolist() == pytest.approx([12_600.0, 12_600.0])
    late = margin(book, Market(SCALES, (market,), (CollateralMarket("WBTC", 100.0, lanes, late_bps=2_500),)))
    assert late.equity_im.tolist() == pytest.approx([0.75 * 8_900.0, 0.75 * 8_800.0])
    assert late.equity_mm.tolist() == pytest.approx([9_400.0, 9_400.0])
    assert late.doubt.tolist() == late.flags.tolist() == [0, 0]
    assert dead.flags.tolist() == [FLAG_PRICE_DEAD, FLAG_PRICE_DEAD]


def test_more_collateral_never_counts_less() -> None:
    """The arithmetic review's case: 11 % and 1 % more a 5 M fell from 99.0 M counted at 222.5 M to nothing at 445 M."""
    lanes = CollateralParameters(1_100, 1_100, 100, 500, 0)
    sizes = np.array([50.0, 222.5, 300.0, 445.0, 900.0]) * 1e6
    book = empty_book(sizes.size, 1, 1)
    book.collateral[:, 0] = sizes
    result = margin(
        book, Market(SCALES, (UnderlyingMarket("ETH", 100.0, PLAIN),), (CollateralMarket("X", 1.0, lanes),))
    )
    assert result.equity_mm.tolist() == pytest.approx([39.5e6, *[99.0125e6] * 4])


def test_linked_collateral_hedges_a_short_perp() -> None:
    lanes = CollateralParameters(0, 0, 0, 1, 0)
    book = empty_book(1, 1, 1)
    book.collateral[0, 0], book.units[0, 0, 0] = 2.0, -2.0
    market = UnderlyingMarket("ETH", 100.0, PLAIN)
    linked = Market(SCALES, (market,), (CollateralMarket("WETH", 100.0, lanes, linked=0),))
    unlinked = Market(SCALES, (market,), (CollateralMarket("WETH", 100.0, lanes),))
    assert margin(book, linked).market_risk[0] == 0.0
    assert margin(book, unlinked).market_risk[0] == pytest.approx(40.0)


@pytest.mark.parametrize(("units", "charge"), [(2.0, 0.0), (-2.0, 210.0)])
def test_missing_row_gives_a_long_nothing_and_charges_a_short_its_notional(units: float, charge: float) -> None:
    book = with_options(empty_book(1, 1), units, 7, 253)
    result = margin(book, Market(SCALES, (UnderlyingMarket("ETH", 105.0, PLAIN, spot_rows()),)))
    assert result.charges[0] == pytest.approx(charge)
    assert result.equity_mark[0] == result.market_risk[0] == 0.0
    assert result.flags[0] == FLAG_ROW_MISSING


def test_expired_page_and_off_grid_price_are_flagged() -> None:
    book = with_options(empty_book(1, 1), 1.0)
    stale = UnderlyingMarket("ETH", 130.0, PLAIN, spot_rows(), rows_expire_at=9)
    assert margin(book, Market(SCALES, (stale,), now=10)).flags[0] == FLAG_TABLE_EXPIRED | FLAG_OFF_GRID
    assert margin(empty_book(1, 1, slots=1), Market(SCALES, (stale,), now=10)).flags[0] == 0


def test_off_grid_is_flagged_though_no_option_has_a_row() -> None:
    book = with_options(empty_book(1, 1), 1.0, 4, 5)
    market = Market(SCALES, (UnderlyingMarket("ETH", 130.0, PLAIN, spot_rows()),))
    # 18 steps from the reference price the page is dead though it has not expired
    assert margin(book, market).flags[0] == FLAG_ROW_MISSING | FLAG_OFF_GRID | FLAG_TABLE_EXPIRED
    without = Market(SCALES, (UnderlyingMarket("ETH", 130.0, PLAIN),))
    assert margin(book, without).flags[0] == FLAG_ROW_MISSING


def test_shapes_that_do_not_fit_are_refused() -> None:
    market = Market(SCALES, (UnderlyingMarket("ETH", 100.0, PLAIN),))
    with pytest.raises(BadInput, match="units"):
        margin(empty_book(1, 2), market)
    with pytest.raises(BadInput, match="at least one underlying"):
        margin(empty_book(1, 0), Market(SCALES, ()))


def test_threads_and_blocks_do_not_change_the_result() -> None:
    rng = np.random.default_rng(5)
    book = empty_book(20_000, 1)
    book.units[:, 0, 0] = rng.normal(size=20_000)
    market = Market(SCALES, (UnderlyingMarket("ETH", 100.0, PLAIN),))
    one, two = margin(book, market), margin(book, market, threads=2)
    assert np.array_equal(one.mm, two.mm)
    assert one.mm == pytest.approx(16.0 * np.abs(book.units[:, 0, 0]))


FUTURE = Mark(carry=0.1)


def test_future_is_worth_its_basis_until_it_settles() -> None:
    book = empty_book(1, 1)
    book.units[0, 0], book.base[0, 0] = [0.0, 2.0, -1.0], -200.0
    open_ = UnderlyingMarket("ETH", 100.0, PLAIN, marks=(Mark(), FUTURE, Mark(carry=-0.05)))
    result = margin(book, Market(SCALES, (open_,)))
    # two at 110, one at 95
    assert result.equity_mark[0] == pytest.approx(220.0 - 95.0 - 200.0)
    assert result.market_risk[0] == pytest.approx(0.2 * 125.0)
    settled = replace(open_, marks=(Mark(), Mark(130.0, 0.1), Mark(carry=-0.05)))
    after = margin(book, Market(SCALES, (settled,)))
    assert after.equity_mark[0] == pytest.approx(260.0 - 95.0 - 200.0)
    assert after.market_risk[0] == pytest.approx(0.2 * 95.0)


def test_carry_of_a_perpetual_is_paid_by_the_long() -> None:
    book = empty_book(1, 1)
    book.units[0, 0, 0], book.base[0, 0] = 2.0, -200.0 + 2.0 * 3.0
    now = UnderlyingMarket("ETH", 100.0, PLAIN, marks=(Mark(carry=5.0), Mark(), Mark()))
    # entered at a carry of 3
    assert margin(book, Market(SCALES, (now,))).equity_mark[0] == pytest.approx(-4.0)


@pytest.mark.parametrize(
    ("changes", "now", "wider"),
    [
        ({}, 0, 0.0),
        ({"late_bps": 1_000}, 0, 0.10),
        ({"dead": True}, 0, 1.0),
        ({"parameters": replace(PLAIN, widen_bps=2_500), "late_bps": 1_000}, 0, 0.35),
        ({"rows_expire_at": 1_000}, 500, 0.0),
        ({"rows_expire_at": 1_000}, 501, 0.002),
        ({"rows_expire_at": 1_000}, 1_000, 1.0),
        # 4.5 steps from the reference price: half way from near to far
        ({"price": 107.5}, 0, 0.5),
        ({"price": 107.5, "rows_expire_at": 1_000}, 900, 0.8),
        ({"price": 107.5, "dead": True, "parameters": replace(PLAIN, widen_bps=60_000)}, 0, 3.0),
    ],
)
def test_initial_margin_widens_with_age_and_distance(changes: dict[str, Any], now: int, wider: float) -> None:
    item = replace(UnderlyingMarket("ETH", 100.0, PLAIN, spot_rows()), **changes)
    result = margin(with_options(empty_book(1, 1), -1.0), Market(SCALES, (item,), now=now))
    # the row's own minimum is a charge of 1.5
    risk, charge = float(result.market_risk[0]), float(result.charges[0])
    assert charge == pytest.approx(1.5)
    assert result.im[0] == pytest.approx((risk + charge) * (1.0 + wider))
    assert result.mm[0] == pytest.approx(0.8 * risk + charge)


def test_dead_page_takes_the_value_of_longs_and_an_old_one_leaves_a_doubt() -> None:
    book = with_options(empty_book(1, 1), 2.0)
    item = UnderlyingMarket("ETH", 100.0, PLAIN, spot_rows(), rows_expire_at=1_000)
    alive, dead, gone = (margin(book, Market(SCALES, (item,), now=now)) for now in (1_000, 1_001, 87_401))
    assert [float(r.equity_im[0]) for r in (alive, dead, gone)] == pytest.approx([200.0, 0.0, 0.0])
    assert [float(r.equity_mm[0]) for r in (alive, dead, gone)] == pytest.approx([200.0] * 3)
    # best point of the grid and scan; the gross notional of the options where the grid bounds nothing
    assert [float(r.doubt[0]) for r in (alive, dead, gone)] == pytest.approx([0.0, 0.0, 40.0 + 40.0])
    returned = replace(item, rows_expire_at=0)
    assert margin(book, Market(SCALES, (returned,), now=87_401)).doubt[0] == pytest.approx(40.0 + 40.0 + 200.0)
    assert margin(book, Market(SCALES, (replace(item, dead=True),), now=0)).doubt[0] == pytest.approx(80.0)


def test_offset_floor_of_initial_margin_comes_first() -> None:
    book = empty_book(1, 2)
    book.units[:, :, 0] = [[1.0, -1.0]]
    joint = JointScenarios(np.array([[-127, -127]], np.int8), np.zeros((1, 2), np.int8))
    pair = tuple(UnderlyingMarket(name, 100.0, PLAIN) for name in ("BTC", "ETH"))
    result = margin(book, Market(replace(SCALES, im_offset_floor_bps=5_000), pair, joint=joint))
    assert result.market_risk[0] == pytest.approx(8.0)
    assert (result.im[0], result.mm[0]) == pytest.approx((20.0, 6.4))


def test_reserve_is_kept_where_there_is_something_to_liquidate() -> None:
    book = empty_book(4, 1, 1)
    book.cash[:], book.collateral[:, 0] = [5.0, -5.0, 5.0, 0.0], [0.0, 0.0, 0.0, 1.0]
    book.units[2, 0, 1] = 1e-6
    coin = CollateralMarket("WETH", 100.0, CollateralParameters(0, 0, 0, 1, 0))
    market = Market(replace(SCALES, reserve_usd=40), (UnderlyingMarket("ETH", 100.0, PLAIN),), (coin,))
    result = margin(book, market)
    assert result.mm.tolist() == pytest.approx([0.0, 40.0, 40.0, 0.0], abs=1e-3)
    assert result.im.tolist() == pytest.approx([0.0, 40.0, 40.0, 0.0], abs=1e-3)


# --- agreement with the integer twin -------------------------------------------------------------------------------


def random_page(rng: random.Random, spot: float, parameters: UnderlyingParameters) -> PackedPage:
    expiries = [NOW + DAY * days for days in (1, 7, 30, 90, 180)]
    slices = slices_from_smile(SmileModel(0.6, 0.7, 4.0, -0.2, 0.9), expiries, NOW)
    options = [
        OptionSpec(slot, rng.choice(expiries), spot * rng.uniform(0.5, 1.6), rng.random() < 0.5) for slot in range(30)
    ]
    options.append(OptionSpec(30, NOW - DAY, spot * 0.9, True, spot))
    return build_page(options, int(spot * WAD), slices, NOW, parameters, 31)


def lanes_of(rng: random.Random) -> UnderlyingParameters:
    return UnderlyingParameters(
        rng.randint(500, 5_000), rng.randint(1_000, 6_000), rng.randint(1_000, 3_000), rng.randint(1_000, 4_000),
        rng.randint(0, 100), rng.randint(0, 100), rng.randint(0, 100), rng.randint(0, 50), rng.randint(1, 2_000),
        rng.randint(0, 300), 0, 0, rng.choice([0, rng.randint(0, 4_000)]),
    )  # fmt: skip


class Twins:
    """The same random market and accounts for both implementations."""

    def __init__(self, seed: int, accounts: int) -> None:
        rng = random.Random(seed)
        self.spots = [10 ** rng.uniform(0, 5) for _ in range(3)]
        self.lanes = [lanes_of(rng) for _ in range(3)]
        self.pages = [random_page(rng, spot, lane) for spot, lane in zip(self.spots, self.lanes, strict=True)]
        self.prices = [int(spot * rng.uniform(0.85, 1.15) * WAD) for spot in self.spots]
        self.marks = {
            instrument_id(u, slot): MarkWord(
                rng.choice([0, 0, int(spot * WAD)]),
                rng.randint(-(10**18), 10**18) if slot == 255 else rng.randint(-(10**8), 10**8),
                rng.choice([0, 0, NOW - 5, NOW + rng.randint(1, DAY), NOW + 2 * DAY]),
            )
            for u, spot in enumerate(self.spots)
            for slot in (255, 254, 253)
        }
        self.late = [rng.choice([(0, 0), (1, rng.randint(0, 10_000)), (2, 10_000)]) for _ in range(4)]
        self.expire_at = [NOW + rng.choice([-2 * DAY, -5, 5, DAY]) for _ in range(3)]
        # rows are as of NOW: said to be seen earlier, their first expiry has passed, is within the day or at its end
        self.observed_at = [NOW - rng.choice([3 * DAY, rng.randint(1, DAY), 0]) for _ in range(3)]
        self.coin = CollateralParameters(1_500, 1_000, 200, 50, 300)
        self.scales = GlobalParameters(10_500, 8_000, 11_000, 2_500, 30, 6_000)
        self.bytes = np.array([[[rng.randint(-128, 127) for _ in range(3)] for _ in range(20)] for _ in range(2)])
        self.states = [self._account(rng) for _ in range(accounts)]

    def _account(self, rng: random.Random) -> AccountState:
        delta_ones, options = {}, {}
        for u, spot in enumerate(self.spots):
            size = 10 ** rng.uniform(1, 6) / spot * 10**6
            for slot in (255, 254, 253):
                if rng.random() < 0.35:
                    lots = max(1, int(size)) * rng.choice([-1, 1])
                    base = -lots * (int(spot * WAD) + rng.randint(-(10**18), 10**18))
                    delta_ones[instrument_id(u, slot)] = DeltaOnePosition(lots, base)
            slots = rng.sample(range(34), rng.choice([0, 0, 1, 4, 12]))
            if slots:
                signed = [max(1, int(size * rng.random())) * rng.choice([-1, 1]) for _ in slots]
                options[u] = tuple(OptionPosition(slot, lots) for slot, lots in zip(slots, signed, strict=True))
        held = (CollateralPosition(0, rng.randint(1, 10**20), rng.randint(0, 10_000), 18, 1),) * (rng.random() < 0.5)
        return AccountState(rng.randint(-(10**24), 10**24), 0, held, delta_ones, options)

    def price(self, u: int, late: int) -> PriceWord:
        state, late_bps = self.late[late]
        return PriceWord(self.prices[u], state, NOW, late_bps)

    def chain(self) -> ChainMarket:
        words = []
        for j in range(20):
            pairs = ((self.bytes[0][j][u] & 0xFF) | (self.bytes[1][j][u] & 0xFF) << 8 for u in range(3))
            words.append(sum(int(pair) << 16 * u for u, pair in enumerate(pairs)))
        pages = {
            u: Page(
                "",
                1,
                self.observed_at[u],
                self.expire_at[u],
                page.reference_price_wad,
                page.lane_unit_wad,
                page.step_e9,
                page.rows,
            )
            for u, page in enumerate(self.pages)
        }
        return ChainMarket(
            timestamp=NOW,
            prices={u: self.price(u, u) for u in range(3)},
            collateral_prices={0: self.price(0, 3)},
            marks=self.marks,
            global_word=pack_global(self.scales),
            underlying_words={u: pack_underlying(lanes) for u, lanes in enumerate(self.lanes)},
            collateral_words={0: pack_collateral(self.coin)},
            pages=pages,
            joint=JointSet("", 1, NOW + DAY, tuple(words)),
        )

    def market(self) -> Market:
        underlyings = tuple(
            UnderlyingMarket(
                str(u),
                self.prices[u] / WAD,
                self.lanes[u],
                unpack_page(self.pages[u]),
                self.expire_at[u],
                self.float_marks(u),
                self.late[u][0] == 2,
                self.late[u][1],
                self.observed_at[u],
            )
            for u in range(3)
        )
        joint = JointScenarios(*self.bytes.astype(np.int8))
        state, late_bps = self.late[3]
        coin = CollateralMarket("coin", self.prices[0] / WAD, self.coin, 0, state == 2, late_bps)
        return Market(self.scales, underlyings, (coin,), joint, NOW + DAY, NOW)

    def float_marks(self, u: int) -> tuple[Mark, Mark, Mark]:
        words = [self.marks[instrument_id(u, slot)] for slot in (255, 254, 253)]
        scales = (WAD, 10**9, 10**9)
        first, second, third = (
            Mark(w.settled / WAD, w.carry / scale, w.expiry) for w, scale in zip(words, scales, strict=True)
        )
        return first, second, third

    def book(self) -> Book:
        n = len(self.states)
        book = empty_book(n, 3, 1, 40)
        options = [sparse.lil_array((n, 40)) for _ in range(3)]
        for a, state in enumerate(self.states):
            book.cash[a] = state.cash / WAD
            for instrument, held in state.delta_ones.items():
                u, slot = divmod(instrument, 256)
                book.units[a, u, 255 - slot] = held.lots / 1e6
                book.base[a, u] += held.base / 1e6 / WAD
            for u, positions in state.options.items():
                for position in positions:
                    options[u][a, position.slot] = position.lots / 1e6
            for coin in state.collaterals:
                book.collateral[a, 0], book.collateral_use[a, 0] = coin.amount / WAD, coin.use_bps / 1e4
        return replace(book, options=tuple(sparse.csr_array(matrix) for matrix in options))

    def notional(self, state: AccountState) -> float:
        total = sum(item.amount / WAD * self.prices[0] / WAD for item in state.collaterals)
        total += sum(abs(held.lots) / 1e6 * self.prices[k >> 8] / WAD for k, held in state.delta_ones.items())
        for u, positions in state.options.items():
            total += sum(abs(position.lots) / 1e6 * self.prices[u] / WAD for position in positions)
        return total


@pytest.mark.parametrize("engine", ["numpy", pytest.param("compiled", marks=needs_numba)])
@pytest.mark.parametrize("seed", range(6))
def test_float_margin_stays_within_the_stated_bound_of_the_integer_twin(seed: int, engine: Engine) -> None:
    twins = Twins(seed, 80)
    floats, chain = margin(twins.book(), twins.market(), engine=engine), twins.chain()
    worst = 0.0
    for a, state in enumerate(twins.states):
        exact = assess_words(build_words(state), chain)
        bound = 2e-9 * twins.notional(state) + 1e-12 * abs(state.cash) / WAD + 1e-9
        for name in ("equity_mark", "equity_im", "equity_mm", "im", "mm", "market_risk", "charges", "doubt"):
            error = abs(float(getattr(floats, name)[a]) - getattr(exact, name) / WAD)
            worst = max(worst, error / max(twins.notional(state), 1.0))
            assert error <= bound, (a, name, error, bound)
        assert floats.flags[a] == exact.flags
        active = [scan for scan, on in zip(floats.scans[a], _active(state), strict=True) if on]
        assert active == pytest.approx([scan / WAD for scan in exact.scans], abs=bound)
    print(f"seed {seed}: largest error {worst:.1e} of gross notional")


@needs_numba
@pytest.mark.parametrize("joint", [True, False])
def test_engines_and_threads_agree(joint: bool) -> None:
    twins = Twins(100, 300)
    book, market = repeated(twins.book(), 60), twins.market()
    market = market if joint else replace(market, joint=None)
    gross = np.tile([twins.notional(state) for state in twins.states], 60)
    plain = margin(book, market, engine="numpy", threads=2)
    one, two = margin(book, market, engine="compiled"), margin(book, market, engine="compiled", threads=2)
    # 18,000 accounts are enough for it to be taken unasked
    assert np.array_equal(margin(book, market).mm, one.mm)
    for name in MarginResult.__slots__:
        first, second, third = (getattr(result, name) for result in (plain, one, two))
        assert np.array_equal(second, third), name
        assert first.dtype == second.dtype, name
        if first.dtype == np.int64:
            assert np.array_equal(first, second), name
        else:
            scale = gross if first.ndim == 1 else gross[:, None]
            assert (np.abs(first - second) <= 1e-13 * scale + 1e-15 * np.abs(first)).all(), name
    assert len(set(one.flags.tolist())) > 1
    assert joint == (len(set(one.worst_joint.tolist())) > 2)


def repeated(book: Book, times: int) -> Book:
    def dense(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array] * times)

    options = tuple(sparse.csr_array(sparse.vstack([matrix] * times)) for matrix in book.options)
    return Book(*(dense(x) for x in (book.cash, book.units, book.base, book.collateral, book.collateral_use)), options)


@pytest.mark.parametrize("engine", ["numpy", pytest.param("compiled", marks=needs_numba)])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(engine: Engine, bad: float) -> None:
    market = Market(SCALES, (UnderlyingMarket("ETH", 100.0, PLAIN, spot_rows()),))
    book = with_options(empty_book(1, 1), 1.0)
    book.cash[0] = bad
    with pytest.raises(BadInput, match="book cash holds a number that is not finite, in accounts 0 to 0"):
        margin(book, market, engine=engine)
    with pytest.raises(BadInput, match="book options of underlying 0"):
        margin(with_options(empty_book(1, 1), bad), market, engine=engine)


def _active(state: AccountState) -> list[bool]:
    linked = {item.linked - 1 for item in state.collaterals}
    held = {k >> 8 for k in state.delta_ones}
    return [u in held or u in state.options or u in linked for u in range(3)]
