# SPDX-License-Identifier: Apache-2.0
"""Trades, collateral and peers of an account of the chain: by hand in a world of round numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keeper.domain import CollateralInfo, Listing
from keeper.explain import Explanation, explain
from keeper.explain_account import ChainAccount, peer_case
from risk.efficiency import best_trades, swaps, withdrawals
from risk.methodologies import METHODOLOGIES, methodology
from risk.methodologies.base import equity, strips
from risk.methodologies.editable import demands
from risk.onchain import assess_words
from risk.onchain_words import (
    AccountState,
    CollateralPosition,
    DeltaOnePosition,
    MarkWord,
    OptionPosition,
    Page,
    PriceWord,
    build_words,
)
from risk.page import build_page
from risk.pricing.svi import slices_from_smile
from risk.types import OptionSpec, SmileModel
from tests.support.keeper_world import (
    ETH_LANES,
    FUTURE,
    NOW,
    PERP,
    PRICE,
    WAD,
    WORDS,
    account,
    listed_option,
    market,
    snapshot,
)

NAMES = {0: "WETH", 1: "DAI"}
DAY = 86_400
SMILE = SmileModel(0.6, 0.6, 2.0, -0.2, 0.9)


def chain_account(words: tuple[int, ...], **changes: Any) -> ChainAccount:
    """An account in the world of `keeper_world`, with DAI beside WETH."""
    collaterals = {
        0: CollateralInfo(0, "0x" + "22" * 20, 18, 0, 10**24, 0),
        1: CollateralInfo(1, "0x" + "33" * 20, 18, None, 10**24, 10**24 // 2),
    }
    dai = WORDS[2, 0] & ~0xFFFFFFFF | 200 | 100 << 16
    found = market(
        collateral_prices={0: PriceWord(PRICE, 0, NOW - 60, 0), 1: PriceWord(WAD, 0, NOW - 60, 0)},
        collateral_words={0: WORDS[2, 0], 1: dai},
        **changes,
    )
    return ChainAccount(snapshot(market=found, collaterals=collaterals, options={}), found, words, NAMES)


def test_closing_the_only_position_frees_its_margin() -> None:
    """A perpetual of 1 ETH needs 400 and 320; the best is to close it."""
    held = chain_account(account(1_000, 1))
    (trade,) = best_trades(held)
    assert (trade.name, trade.units, trade.closes) == ("ETH perpetual", -1.0, True)
    assert (trade.frees_im, trade.frees_mm) == (pytest.approx(400.0), pytest.approx(320.0))


def test_linked_collateral_is_hedged_by_its_perpetual() -> None:
    """5 WETH: 20 % of 10,000 is at risk; selling 5 ETH takes all of it away."""
    words = build_words(AccountState(0, 0, (CollateralPosition(0, 5 * WAD, 0, 18, 1),)))
    held = chain_account(words)
    (trade,) = best_trades(held)
    assert trade.name == "ETH perpetual" and trade.units == pytest.approx(-5.0, rel=0.01)
    assert trade.frees_im == pytest.approx(2_000.0, rel=0.01)


def test_what_was_said_is_what_the_twin_says_of_the_account_after() -> None:
    held = chain_account(account(1_000, 1))
    perp = next(item for item in held.instruments if item.key == PERP)
    after = held.traded(perp, -0.25)
    exact = assess_words(account(1_000, 0.75), held.market)
    assert (after.im, after.mm) == (exact.im_health / WAD, exact.mm_health / WAD)
    # a fill keeps the profit that is not realised: bought at 1,900, now 2,000
    rich = chain_account(account(1_000, 1, entry_usd=1_900))
    assert rich.traded(perp, -1.0) == (1_100.0, 1_100.0)


def test_withdrawals_and_swaps() -> None:
    """1 WETH counts 1,800 and risks 400; 500 DAI count 490; 100 cash."""
    tokens = (CollateralPosition(0, WAD, 0, 18, 1), CollateralPosition(1, 500 * WAD, 5_000, 18, 0))
    held = chain_account(build_words(AccountState(100 * WAD, 0, tokens)))
    assert held.moved({}).im == pytest.approx(100.0 + 1_800.0 + 490.0 - 400.0)
    costs = {item.name: item.cost for item in withdrawals(held)}
    assert costs == {"WETH": pytest.approx(0.7), "DAI": pytest.approx(0.98), "cash": pytest.approx(1.0)}
    assert {item.name: item.value for item in withdrawals(held)} == {"WETH": 2_000.0, "DAI": 500.0, "cash": 100.0}
    best = swaps(held)[0]
    assert (best.source, best.target, best.value) == ("WETH", "cash", 2_000.0)
    assert best.gains_im == pytest.approx(600.0)


def optioned() -> tuple[ChainAccount, tuple[Any, ...]]:
    """A short call and a long put on a real page, a perpetual with a profit, a future, WETH."""
    listed = {0: listed_option(0, 30, 2_200, True), 1: listed_option(1, 30, 1_800, False)}
    specs = [OptionSpec(k, item.expiry, item.strike_wad / WAD, item.is_call) for k, item in listed.items()]
    slices = slices_from_smile(SMILE, [specs[0].expiry], NOW)
    packed = build_page(specs, PRICE, slices, NOW, ETH_LANES, 2)
    page = Page("0x", 1, NOW, NOW + DAY, PRICE, packed.lane_unit_wad, packed.step_e9, packed.rows)
    delta_ones = {
        PERP: DeltaOnePosition(2_000_000, -2_000_000 * 1_900 * WAD),
        FUTURE: DeltaOnePosition(-(10**6), 10**6 * 2_050 * WAD),
    }
    state = AccountState(
        3_000 * WAD, 0, (CollateralPosition(0, WAD, 0, 18, 1),), delta_ones,
        {0: (OptionPosition(0, -5_000_000), OptionPosition(1, 3_000_000))},
    )  # fmt: skip
    marks = {PERP: MarkWord(0, 0), FUTURE: MarkWord(0, 4_000_000), 253: MarkWord(0, 0)}
    found = market(pages={0: page}, marks=marks)
    future = Listing(instrument=FUTURE, expiry=specs[0].expiry, settlement_wad=0, serial=3, listed_at=NOW - DAY)
    base = snapshot(market=found, options=listed)
    view = replace(base, delta_ones={PERP: base.delta_ones[PERP], FUTURE: future})  # type: ignore[index]
    return ChainAccount(view, found, build_words(state), NAMES), tuple(slices)


def test_peers_judge_the_same_equity() -> None:
    held, slices = optioned()
    book, quotes = peer_case(held, {0: slices})
    exact = assess_words(held.words, held.market).equity_mark / WAD
    # a lane unit an option is what packing takes
    assert equity(book, quotes, strips(book, quotes)) == pytest.approx(exact, abs=8 * 0.2)
    rules = {name: methodology(name) for name in METHODOLOGIES}
    for item in demands(book, quotes, rules):
        assert item.problem == "" and item.im >= item.mm > 0.0, item
    # without surfaces a peer cannot price the options, and says so
    refused = demands(*peer_case(held, {}), rules)
    assert all("no volatility surface" in item.problem for item in refused)


def test_the_account_in_words_has_symbols_parts_and_haircuts() -> None:
    held, _ = optioned()
    found = explain(replace(held.snapshot, accounts={7: held.words}), 7, NAMES)
    assert isinstance(found, Explanation)
    assert any(line.what == "collateral WETH (haircut 5.00 %)" for line in found.holdings)
    assert [(c.name, c.value_wad, c.counted_im_wad, c.counted_mm_wad) for c in found.collateral] == [
        ("collateral WETH", 2_000 * WAD, 1_800 * WAD, 1_900 * WAD)
    ]
    assert found.binding == "scan"
    assert {name.split(",")[0] for name, _ in found.parts} == {
        "ETH perpetual", "ETH future in slot 254", "ETH 2", "ETH 1", "collateral WETH",
    }  # fmt: skip
    assert sum(profit for _, profit in found.parts) == pytest.approx(-found.assessment.market_risk, abs=100)


def test_options_may_be_traded() -> None:
    held, _ = optioned()
    names = [item.name for item in held.instruments]
    assert f"ETH 2,200 call, expiry {NOW + 30 * DAY}" in names and len(names) == 4
    trade = best_trades(held, 1)[0]
    assert trade.frees_im > 0.0
    instrument = next(item for item in held.instruments if item.name == trade.name)
    before, after = held.moved({}), held.traded(instrument, trade.units)
    assert after.im - before.im == pytest.approx(trade.frees_im)
