# SPDX-License-Identifier: Apache-2.0
"""Contracts in their last day in the float margin: by hand, and beside the integer twin."""

from __future__ import annotations

from dataclasses import replace
from importlib import util
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

from risk.fast import Engine
from risk.margin import Book, Mark, Market, UnderlyingMarket, margin
from risk.margin_inputs import FloatArray
from risk.margin_last_day import last_day, seconds_left
from risk.margin_underlying import live_underlyings
from risk.onchain import assess_words, underlying_results
from risk.onchain_words import AccountState, DeltaOnePosition, MarkWord, OptionPosition, build_words, instrument_id
from risk.page import build_page, unpack_page
from risk.pricing.svi import slices_from_smile
from risk.types import GlobalParameters, OptionSpec, SmileModel, UnderlyingParameters
from tests.unit.risk.test_margin import DAY, NOW, PLAIN, SCALES, WAD, Twins, empty_book, repeated

ENGINES = ["numpy", pytest.param("compiled", marks=pytest.mark.skipif(util.find_spec("numba") is None, reason="numba"))]
SOON = 6 * 3_600


def hedged(units: float = 1.0) -> Book:
    """A perpetual, long, against the future in slot 254."""
    book = empty_book(1, 1)
    book.units[0, 0] = [units, -units, 0.0]
    return book


def market(expiry: int, settled: float = 0.0, lanes: UnderlyingParameters = PLAIN) -> Market:
    item = UnderlyingMarket("ETH", 100.0, lanes, marks=(Mark(), Mark(settled, 0.0, expiry), Mark()))
    return Market(SCALES, (item,), now=NOW)


@pytest.mark.parametrize(
    ("left", "kept"), [(2 * DAY, 1.0), (DAY, 1.0), (SOON, 0.25), (1, 0.000_011), (0, 0.0), (-DAY, 0.0)]
)
def test_a_hedge_that_expires_is_let_go_over_the_day(left: int, kept: float) -> None:
    result = margin(hedged(), market(NOW + left))
    # a scan of 20 % of what the future does not hedge; initial margin does without the future from the first second
    assert result.market_risk[0] == pytest.approx(20.0 * (1.0 - kept), abs=1e-9)
    assert result.mm[0] == pytest.approx(16.0 * (1.0 - kept), abs=1e-9)
    assert result.im[0] == pytest.approx(20.0 if left < DAY else 0.0, abs=1e-9)
    assert result.equity_mark[0] == 0.0


def test_what_is_settled_or_is_no_hedge_has_no_last_day() -> None:
    assert margin(hedged(), market(NOW + SOON, settled=90.0)).im[0] == pytest.approx(20.0)
    alone = empty_book(1, 1)
    alone.units[0, 0, 1] = 1.0
    soon, later = (margin(alone, market(NOW + left)) for left in (SOON, 2 * DAY))
    assert (soon.im[0], soon.mm[0]) == (later.im[0], later.mm[0]) == pytest.approx((20.0, 16.0))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_ends_after_the_next_expiry_counts_in_full_until_then(engine: Engine) -> None:
    """A future of six hours against one of seven, and each alone."""
    book = empty_book(3, 1)
    book.units[:, 0] = [[0.0, 1.0, -1.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]
    item = UnderlyingMarket("ETH", 100.0, PLAIN, marks=(Mark(), Mark(expiry=NOW + SOON), Mark(expiry=NOW + 7 * 3_600)))
    found = [margin(book, Market(SCALES, (item,), now=NOW + after), engine=engine) for after in (0, SOON, SOON + 3_600)]
    # three quarters of the first are gone and nothing of the second
    assert found[0].market_risk == pytest.approx([15.0, 20.0, 20.0])
    # then the first is gone, and of the second counts what its own day has left: an hour, in whole lots
    assert found[1].market_risk == pytest.approx([20.0 * 0.041_666, 20.0, 20.0])
    assert found[2].market_risk == pytest.approx([0.0, 20.0, 20.0])


def test_kept_lots_are_whole() -> None:
    # one lot of two, to the hour: half a lot is none
    result = margin(hedged(2e-6), market(NOW + DAY // 4))
    assert result.market_risk[0] == pytest.approx(20.0 * 2e-6)


def test_initial_margin_does_not_jump_at_the_expiry() -> None:
    lanes = replace(PLAIN, delta_charge_bps=50, basis_charge_bps=40)
    before, after = (margin(hedged(), market(NOW + left, lanes=lanes)) for left in (DAY - 1, 0))
    # the perpetual alone: 20 of scan, half a percent of 100 and of a hundredth of it; the basis charge of 0.4 is less
    assert before.im[0] == pytest.approx(20.505)
    assert after.im[0] == pytest.approx(20.505)
    # a second of the day has passed: the hundred that is hedged, short of 1/86,400
    assert before.charges[0] == pytest.approx(0.4, abs=1e-5)


def _csr(dense: FloatArray) -> sparse.csr_array:
    return sparse.csr_array(dense)  # type: ignore[no-untyped-call]


def straddle(left: int, units: float = 1.0) -> tuple[Book, Market]:
    """A call and a put at the money, bought, seen so long before their expiry."""
    expiry = NOW + left
    slices = slices_from_smile(SmileModel(0.6, 0.6, 4.0, 0.0, 0.9), [expiry], NOW)
    both = [OptionSpec(slot, expiry, 100.0, bool(slot)) for slot in (0, 1)]
    rows = unpack_page(build_page(both, 100 * WAD, slices, NOW, PLAIN, 2))
    options = _csr(np.array([[units, units]]))
    item = UnderlyingMarket("ETH", 100.0, PLAIN, rows, rows_observed_at=NOW)
    return replace(empty_book(1, 1, slots=2), options=(options,)), Market(SCALES, (item,), now=NOW)


@pytest.mark.parametrize(("value", "valley"), [(10.0, 2 * 0.75 * 20.0 / 16.0), (0.3, 2 * 0.75 * 0.3)])
def test_longs_that_are_gone_pay_for_the_valley_between_scan_points(value: float, valley: float) -> None:
    # two units, three quarters gone: a sixteenth of the scan range of 20, at most what is left of their value
    book, seen = straddle(SOON)
    assert seen.underlyings[0].rows is not None
    flat = replace(seen.underlyings[0].rows, values=np.full((2, 3, 15), value), lane_unit=0.0)
    found = margin(book, replace(seen, underlyings=(replace(seen.underlyings[0], rows=flat),)))
    assert found.charges[0] == pytest.approx(valley)


def test_a_straddle_pays_for_what_its_scan_points_do_not_take() -> None:
    soon, sold = margin(*straddle(SOON)), margin(*straddle(SOON, -1.0))
    value, scan = float(soon.equity_mark[0]), float(soon.market_risk[0])
    assert soon.charges[0] == pytest.approx(0.75 * (value - scan), abs=1e-3)
    assert margin(*straddle(25 * 3_600)).charges[0] == sold.charges[0] == 0.0


def test_accounts_without_such_contracts_are_not_touched() -> None:
    book, seen = straddle(SOON)
    others = empty_book(2, 1, slots=2)
    others.units[:, 0, 0] = 1.0
    assert last_day(others, live_underlyings(others, seen), [np.zeros(2)], seen) is None
    both = replace(
        empty_book(3, 1, slots=2),
        units=np.concatenate([others.units, book.units]),
        options=(_csr(np.concatenate([np.zeros((2, 2)), book.options[0].toarray()])),),
    )
    found = last_day(both, live_underlyings(both, seen), [np.zeros(3)], seen)
    assert found is not None
    assert found.accounts.tolist() == [2]


def test_the_hour_counts_from_the_observation_of_the_page() -> None:
    item = straddle(SOON)[1].underlyings[0]
    assert seconds_left(item, 3, NOW + 60).options.tolist() == [SOON - 60, SOON - 60, DAY]
    assert seconds_left(item, 2, NOW + DAY).options.tolist() == [0, 0]
    assert item.rows is not None
    for hour in (None, np.zeros(2, dtype=np.int64)):
        told = replace(item, rows=replace(item.rows, hour=hour))
        assert seconds_left(told, 2, NOW).options.tolist() == [DAY, DAY]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("left", [1, SOON, DAY - 1])
def test_hedges_with_futures_in_their_last_day_agree_with_the_twin(left: int, engine: Engine) -> None:
    twins = Twins(7, 60)
    for u in range(3):
        for slot in (255, 254, 253):
            key = instrument_id(u, slot)
            twins.marks[key] = MarkWord(0, twins.marks[key].carry // 10, 0 if slot == 255 else NOW + left)
    twins.states = [_with_hedge(state, n) for n, state in enumerate(twins.states)]
    twins.late = [(0, 0)] * 4
    found, chain, more = margin(twins.book(), twins.market(), engine=engine), twins.chain(), 0
    for a, state in enumerate(twins.states):
        exact = assess_words(build_words(state), chain)
        bound = 2e-9 * twins.notional(state) + 1e-12 * abs(state.cash) / WAD + 1e-9
        for name in ("equity_im", "equity_mm", "im", "mm", "market_risk", "charges", "doubt"):
            assert abs(float(getattr(found, name)[a]) - getattr(exact, name) / WAD) <= bound, (a, name)
        more += any(item.ahead_scan for item in underlying_results(build_words(state), chain))
    assert more > 20


def _with_hedge(state: AccountState, number: int) -> AccountState:
    """The account with a perpetual, the future against it and, for some, a long option of one underlying."""
    u, lots = number % 3, 10**6 * (1 + number)
    held = dict(state.delta_ones)
    for slot, sign in ((255, 1), (254, -1)):
        held[instrument_id(u, slot)] = DeltaOnePosition(sign * lots, 0)
    options = {k: items for k, items in state.options.items() if k != u}
    options |= {u: (OptionPosition(number % 30, lots),)} if number % 4 == 0 else {}
    return replace(state, delta_ones=held, options=options)


def test_engines_agree_where_some_accounts_are_in_their_last_day() -> None:
    pytest.importorskip("numba")
    twins = Twins(3, 60)
    book, seen = repeated(twins.book(), 3), twins.market()
    one, two = (margin(book, seen, engine=engine) for engine in ("numpy", "compiled"))
    gross = np.tile([twins.notional(state) for state in twins.states], 3)
    for name in ("im", "mm", "market_risk", "charges", "doubt", "equity_im"):
        assert (np.abs(getattr(one, name) - getattr(two, name)) <= 1e-13 * gross + 1e-9).all(), name
    assert np.array_equal(one.worst_joint, two.worst_joint)


def test_maintenance_margin_only_grows_as_the_day_passes() -> None:
    found = [float(margin(hedged(), market(NOW + left)).mm[0]) for left in range(DAY + 3_600, -1, -3_600)]
    assert all(a <= b for a, b in pairwise(found))
    assert found[0] == 0.0
    assert found[-1] == pytest.approx(16.0)


def test_scales_of_initial_margin_reach_what_is_ahead() -> None:
    wide = replace(market(NOW + DAY - 1), global_parameters=GlobalParameters(15_000, 8_000, 10_000, 2_000, 0))
    assert margin(hedged(), wide).im[0] == pytest.approx(30.0)
