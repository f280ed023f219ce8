# SPDX-License-Identifier: Apache-2.0
"""Old data make initial margin dearer, a little at a time, and never bring a liquidation about.

Accounts and markets of tests/differential/engine_cases.py, judged by the integer twin; each test changes one thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.onchain import Assessment, ChainMarket, assess, underlying_results
from risk.onchain_collateral import collateral_values
from risk.onchain_words import AccountState, PriceWord, build_words
from tests.differential.engine_cases import NOW, make_case
from tests.property.merging import ends_in_turn

seeds = st.integers(0, 2**63)
DEAD, DAY = 10_000, 86_400


def late(prices: Mapping[int, PriceWord], late_bps: int) -> dict[int, PriceWord]:
    """The same prices, all of them late by as much; 10,000 is dead."""
    state = 2 if late_bps == DEAD else min(late_bps, 1)
    return {k: word._replace(state=state, late_bps=late_bps) for k, word in prices.items()}


def with_lateness(market: ChainMarket, late_bps: int) -> ChainMarket:
    return replace(
        market, prices=late(market.prices, late_bps), collateral_prices=late(market.collateral_prices, late_bps)
    )


def judged(market: ChainMarket, account: AccountState) -> Assessment:
    return assess(build_words(account), market)


def maintenance(found: Assessment) -> tuple[int, int, int, int]:
    """What lateness short of death must leave alone."""
    return found.equity_mark, found.equity_mm, found.mm, found.market_risk


@settings(max_examples=100, deadline=None)
@given(seed=seeds, first=st.integers(0, 10_000), second=st.integers(0, 10_000))
def test_later_prices_never_help_initial_margin(seed: int, first: int, second: int) -> None:
    market, account = make_case(seed)
    less, more = (judged(with_lateness(market, bps), account) for bps in sorted((first, second)))
    assert more.equity_im <= less.equity_im
    assert more.im >= less.im
    if max(first, second) < DEAD:
        assert maintenance(less) == maintenance(more)


def ending_after(market: ChainMarket, day_begins: int) -> ChainMarket:
    """The same market, no contract of which has a last day that begins before ``day_begins``."""
    soonest = day_begins + DAY
    marks = {
        k: word._replace(expiry=soonest + word.expiry % DAY) if word.expiry else word
        for k, word in market.marks.items()
    }
    pages = {}
    for u, page in market.pages.items():
        rows = bytearray(page.rows)
        for slot in range(len(rows) // 96):
            row = page.row(slot)
            expiry = page.expiry(row) if row is not None else None
            if expiry is not None and expiry < soonest:
                # the hour is the top five bits of the third word
                rows[96 * slot + 64] &= 0b111
        pages[u] = replace(page, rows=bytes(rows))
    return replace(market, marks=marks, pages=pages)


@settings(max_examples=100, deadline=None)
@given(seed=seeds, seconds=st.integers(0, 3 * DAY))
def test_time_never_helps_initial_margin_and_never_touches_maintenance(seed: int, seconds: int) -> None:
    """Where no contract is in its last day, or comes into it: what the last day does is the next test."""
    drawn, account = make_case(seed)
    market = ending_after(drawn, NOW + seconds)
    before, after = judged(market, account), judged(replace(market, timestamp=NOW + seconds), account)
    assert after.equity_im <= before.equity_im
    assert after.im >= before.im
    assert maintenance(before) == maintenance(after)
    assert after.doubt >= before.doubt


def in_whole_days(account: AccountState) -> AccountState:
    """Lots in multiples of 86,400, of which the part that is left, ``lots * left / 86400``, is exact."""
    return replace(
        account,
        delta_ones={k: held._replace(lots=held.lots // DAY * DAY) for k, held in account.delta_ones.items()},
        options={
            u: tuple(o._replace(lots=o.lots // DAY * DAY) for o in items if o.lots // DAY)
            for u, items in account.options.items()
        },
    )


@settings(max_examples=100, deadline=None)
@given(seed=seeds, share=st.floats(0.0, 1.0))
def test_until_the_next_expiry_the_last_day_only_adds_to_the_scan(seed: int, share: float) -> None:
    """G of the lots kept is a straight line in time from G of all lots, so the lower of the two only falls.

    It does so up to the next expiry, and there a part of the account is gone: the next ramp begins from what is left.
    So it is not said of accounts with a contract that has ended and is not settled. The charges of the
    lots kept need not rise (basis: what is kept may offset less, and then be less), so nothing is said of them.
    """
    market, account = make_case(seed)
    words = build_words(in_whole_days(account))
    now = {item.underlying: item for item in underlying_results(words, market)}
    for u, before in now.items():
        if not ends_in_turn(account, market, u, 1):
            continue
        until = DAY if before.last_day is None else before.last_day.next_s
        later = replace(market, timestamp=NOW + min(until - 1, int(share * until)))
        (after,) = (item for item in underlying_results(words, later) if item.underlying == u)
        assert (after.delta_one_value, after.option_value) == (before.delta_one_value, before.option_value)
        assert after.scan >= before.scan - 100
        pairs = [p for rows in zip(before.grid, after.grid, strict=True) for p in zip(*rows, strict=True)]
        assert all(b <= a + 100 for a, b in pairs)
        full = before.grid if before.last_day is None else before.last_day.full_grid
        assert after.last_day is None or after.last_day.full_grid == full
        assert after.delta_low <= before.delta_low + 1 and after.delta_high >= before.delta_high - 1


@settings(max_examples=100, deadline=None)
@given(seed=seeds, late_bps=st.integers(1, 10_000))
def test_a_basis_point_of_lateness_moves_margin_by_a_basis_point(seed: int, late_bps: int) -> None:
    """Up to and including death there is no cliff in initial margin."""
    market, account = make_case(seed)
    words = build_words(account)
    before, after = (judged(with_lateness(market, bps), account) for bps in (late_bps - 1, late_bps))
    one_bp = sum(-(-(item.scan + item.charge) // 10_000) for item in underlying_results(words, market))
    assert after.im - before.im <= one_bp
    fresh = collateral_values(account, late(market.collateral_prices, 0), market.collateral_words)
    assert before.equity_im - after.equity_im <= sum(-(-item.counted_im // 10_000) for item in fresh.values())


def young(market: ChainMarket, life: int, age: int) -> ChainMarket:
    """Every page observed ``age`` seconds ago, expiring ``life`` seconds after that."""
    pages = {u: replace(p, observed_at=NOW - age, expires_at=NOW - age + life) for u, p in market.pages.items()}
    return replace(market, pages=pages)


@settings(max_examples=100, deadline=None)
@given(seed=seeds, life=st.integers(20_000, 90_000), share=st.floats(0.0, 1.2))
def test_a_second_of_age_moves_initial_margin_by_a_basis_point(seed: int, life: int, share: float) -> None:
    """A life of 20,000 s or more gains at most a basis point a second. Expiry takes long option value, nothing else."""
    # the hours of the expiries in a page count from its observation, which this test moves
    drawn, account = make_case(seed)
    market = ending_after(drawn, NOW + 3 * DAY)
    words, age = build_words(account), int(share * life)
    before, after = (young(market, life, seconds) for seconds in (age, age + 1))
    parts = underlying_results(words, after)
    found, later = assess(words, before), assess(words, after)
    assert later.im - found.im <= sum(-(-(item.scan + item.charge) // 10_000) for item in parts)
    lost_before = sum(item.lost for item in underlying_results(words, before))
    lost = sum(item.lost for item in parts) - lost_before
    assert found.equity_im - later.equity_im == lost
    if age != life:
        assert lost == 0


@settings(max_examples=100, deadline=None)
@given(seed=seeds, late_bps=st.integers(0, 9_999))
def test_the_death_of_prices_starts_no_liquidation(seed: int, late_bps: int) -> None:
    """Dead collateral counts for less, but what that takes is in the doubt."""
    market, account = make_case(seed)
    alive, dead = (judged(with_lateness(market, bps), account) for bps in (late_bps, DEAD))
    assert dead.equity_mm <= alive.equity_mm
    assert dead.equity_mm + dead.doubt >= alive.equity_mm + alive.doubt
    assert dead.mm == alive.mm
    assert alive.liquidatable or not dead.liquidatable


@settings(max_examples=100, deadline=None)
@given(seed=seeds)
def test_fresh_data_leave_no_doubt_and_doubt_is_never_negative(seed: int) -> None:
    market, account = make_case(seed)
    assert judged(market, account).doubt >= 0
    fresh = replace(with_lateness(market, 0), pages=young(market, 3_600, 60).pages)
    assert judged(fresh, account).doubt == 0


@pytest.mark.parametrize("steps", [-3, 3, -4, 5])
def test_distance_widens_without_a_cliff(steps: int) -> None:
    """A page read a hair further from its reference price: lateness by distance is a ladder of basis points too."""
    reached = 0
    for seed in range(60):
        market, account = make_case(seed)
        for u, page in market.pages.items():
            if u not in account.options:
                continue
            edge = page.reference_price * (10**9 + steps * page.step_e9) // 10**9
            late_bps = []
            for price in (edge - 1, edge, edge + 1):
                moved = {**market.prices, u: market.prices[u]._replace(price=max(0, price), late_bps=0)}
                words = {**market.underlying_words, u: market.underlying_words[u] & ~(0xFFFF << 192)}
                fresh = replace(young(market, 3_600, 60), prices=moved, underlying_words=words)
                (item,) = (k for k in underlying_results(build_words(account), fresh) if k.underlying == u)
                late_bps.append(item.widen_bps)
            want = max(0, abs(steps) - 3) * 10_000 / 3
            # a wei is many units of the coordinate where the price itself is a few thousand wei
            if page.reference_price > 10**17:
                assert all(want - 1 <= found <= want + 1 for found in late_bps)
                reached += 1
    assert reached > 20
