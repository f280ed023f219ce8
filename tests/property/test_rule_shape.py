# SPDX-License-Identifier: Apache-2.0
"""What a margin rule must be whatever its numbers: monotone, ordered, homogeneous. By the integer twin."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from risk.onchain import ChainMarket, assess, holds_initial_margin, price_band
from risk.onchain_words import DELTA_ONE_SLOTS, AccountState, build_words, instrument_id
from tests.differential.engine_cases import lanes, make_case

seeds = st.integers(0, 2**63)


def governed(market: ChainMarket, seed: int) -> ChainMarket:
    """The same market with parameters that RiskParameters would take: each initial one at least the maintenance one."""
    scales = lanes(10_000 + seed % 10_001, 8_000, 10_000 + seed % 5_000, seed % 10_001, seed % 90, seed % 9_001)
    words = {}
    for c, word in market.collateral_words.items():
        first, second = word & 0xFFFF, word >> 16 & 0xFFFF
        words[c] = word >> 32 << 32 | max(first, second) | min(first, second) << 16
    return replace(market, global_word=scales, collateral_words=words)


@settings(max_examples=100, deadline=None)
@given(seed=seeds, more=st.one_of(st.integers(1, 10), st.integers(1, 2**120)))
def test_cash_counts_one_for_one(seed: int, more: int) -> None:
    market, account = make_case(seed)
    poor = assess(build_words(account), market)
    rich = assess(build_words(replace(account, cash=account.cash + more)), market)
    for name in ("equity_mark", "equity_im", "equity_mm"):
        assert getattr(rich, name) - getattr(poor, name) == more
    # only the reserve of an account without positions depends on cash, and a debt is what it hangs on
    released = 0
    if not account.has_position and account.cash < 0 <= account.cash + more:
        released = (market.global_word >> 64 & 0xFFFF) * 10**18
    assert (poor.im - rich.im, poor.mm - rich.mm) == (released, released)
    assert (poor.market_risk, poor.doubt, poor.scans, poor.flags) == (
        rich.market_risk,
        rich.doubt,
        rich.scans,
        rich.flags,
    )


@settings(max_examples=200, deadline=None)
@given(seed=seeds)
def test_initial_margin_is_never_easier_than_maintenance(seed: int) -> None:
    drawn, account = make_case(seed)
    found = assess(build_words(account), governed(drawn, seed))
    assert found.im >= found.mm >= 0
    assert found.equity_im <= found.equity_mm
    assert found.charges >= 0
    assert all(scan >= 0 for scan in found.scans)
    assert 0 <= found.market_risk <= sum(found.scans)


@settings(max_examples=100, deadline=None)
@given(seed=seeds)
def test_the_scans_alone_can_only_refuse(seed: int) -> None:
    """What `holds_initial_margin` may skip: the requirement with the sum of scans for market risk is not below `im`."""
    drawn, account = make_case(seed)
    market, words = governed(drawn, seed), build_words(account)
    found = assess(words, market)
    scale = market.global_word & 0xFFFF
    floor = market.global_word >> 80 & 0xFFFF
    several = len(found.scans) > 1
    risk = max(found.market_risk, -(-floor * sum(found.scans) // 10_000) if several else 0)
    rough = found.im - -(-scale * risk // 10_000) - (-scale * sum(found.scans) // 10_000)
    assert rough >= found.im
    assert holds_initial_margin(words, market) == (found.equity_im >= found.im, found.flags)


def scaled(account: AccountState, k: int) -> AccountState:
    """Every quantity times k; options and delta-one positions stay below 2^55 lots."""
    return replace(
        account,
        cash=account.cash * k,
        collaterals=tuple(item._replace(amount=item.amount * k) for item in account.collaterals),
        delta_ones={
            key: held._replace(lots=held.lots * k, base=held.base * k) for key, held in account.delta_ones.items()
        },
        options={u: tuple(item._replace(lots=item.lots * k) for item in items) for u, items in account.options.items()},
    )


def fits(account: AccountState, k: int) -> bool:
    lots = [held.lots for held in account.delta_ones.values()]
    lots += [item.lots for items in account.options.values() for item in items]
    bases = [held.base for held in account.delta_ones.values()]
    return all(abs(n) * k < 2**55 for n in lots) and all(abs(n) * k < 2**191 for n in bases)


@settings(max_examples=100, deadline=None)
@given(seed=seeds, k=st.integers(2, 1_000))
def test_without_charges_margin_is_positively_homogeneous(seed: int, k: int) -> None:
    """k times the book is k times every number, but for roundings: at most a few wei each, times k."""
    drawn, account = make_case(seed)
    # a holding counts up to 2^112 wad of value only
    small = tuple(item._replace(amount=item.amount % 1_000) for item in account.collaterals)
    account = replace(account, collaterals=small)
    if not fits(account, k):
        return
    free = replace(
        governed(drawn, seed),
        underlying_words={
            u: word & ~(0xFFFFFFFF << 64 | 0xFFFFFFFF << 96) for u, word in drawn.underlying_words.items()
        },
        collateral_words={c: word & 0xFFFFFFFF for c, word in drawn.collateral_words.items()},
    )
    free = replace(free, global_word=free.global_word & ~(0xFFFF << 64))
    one, many = (assess(build_words(book), free) for book in (account, scaled(account, k)))
    # short minima and missing rows are linear too; a dozen roundings an underlying or asset, three times by widening
    room = 100 * (1 + len(one.scans) + len(account.collaterals) + len(account.options) * 128) * k
    for name in ("equity_mark", "equity_im", "equity_mm", "im", "mm", "market_risk", "charges"):
        assert abs(getattr(many, name) - k * getattr(one, name)) <= room, name


@settings(max_examples=100, deadline=None)
@given(seed=seeds, k=st.integers(2, 1_000))
def test_charges_grow_at_least_with_size(seed: int, k: int) -> None:
    market, account = make_case(seed)
    if not fits(account, k):
        return
    one, many = (assess(build_words(book), market) for book in (account, scaled(account, k)))
    # net delta is a quotient by a fortieth of the scan range, of 1 % or more: 400 wei for each of its own
    room = 10_000 * (1 + len(one.scans) + len(account.options) * 128) * k
    capped = max((s for s in many.scans), default=0) > 2**111 * 100 // 10_000
    assert capped or many.charges >= k * one.charges - room


@settings(max_examples=100, deadline=None)
@given(seed=seeds, slot=st.integers(0, 252))
def test_bands_hold_their_mark(seed: int, slot: int) -> None:
    market, _ = make_case(seed)
    for u in market.prices:
        for each in (*DELTA_ONE_SLOTS, slot, slot % 20):
            found = price_band(market, instrument_id(u, each))
            assert 0 <= found.low <= found.mark <= found.high
