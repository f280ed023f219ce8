# SPDX-License-Identifier: Apache-2.0
"""An account's margin in words, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keeper.domain import Phase, Snapshot, Unknown
from keeper.explain import Explanation, explain, status
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
from risk.units import pack_global, pack_underlying
from tests.support.keeper_world import (
    ETH_LANES,
    FUTURE,
    GLOBAL_LANES,
    NOW,
    PERP,
    PRICE,
    WAD,
    account,
    auction,
    market,
    snapshot,
)

LATE = PriceWord(PRICE, 1, NOW - 4_000, 1_250)
DEAD = PriceWord(PRICE, 2, NOW - 90_000, 10_000)


def told(words: tuple[int, ...], view: Snapshot | None = None, **changes: Any) -> Explanation:
    base = view or snapshot(market=market(**changes))
    found = explain(replace(base, accounts={7: words}), 7)
    assert isinstance(found, Explanation)
    return found


def test_a_healthy_account() -> None:
    found = told(account(1_000, 1))
    assert found.status == "healthy: 680.00 USD above maintenance and 600.00 above initial margin"
    assert [(line.what, line.amount, line.value_wad) for line in found.holdings] == [
        ("cash", "1,000.00", 1_000 * WAD),
        ("ETH perpetual", "+1.000000", 0),
    ]
    assert found.worst == ("ETH -20.00 %: loss 400.00 USD alone",)
    assert found.data == () and found.flags == ()


def test_an_old_price_widens_initial_margin() -> None:
    # 12.5 % of a scan of 400
    assert told(account(1_000, 1), prices={0: LATE}).data == (
        "ETH: initial margin 12.50 % wider, 50.00 USD more (old price 12.50 %)",
    )


def test_every_cause_of_widening_is_named() -> None:
    step = 2_000 * 10**5 // 12
    # three quarters of its life gone: 50 % by age; 4 steps away: 33.34 %, which is less
    page = Page("0x", 1, NOW - 75, NOW + 25, PRICE, 10**16, step, bytes(96 * 2))
    lanes = pack_underlying(replace(ETH_LANES, widen_bps=300))
    words = build_words(AccountState(cash=5_000 * WAD, options={0: (OptionPosition(0, -(10**6)),)}))
    found = told(words, pages={0: page}, prices={0: LATE}, underlying_words={0: lanes})
    assert ", volatility " in found.worst[0]  # an option moves with it, a perpetual does not
    (said,) = (line for line in found.data if "wider" in line)
    assert said.startswith("ETH: initial margin 65.50 % wider, ")
    assert said.endswith("(parameters being phased in 3.00 %, old price 12.50 %, old or distant page 50.00 %)")


def test_a_dead_price_leaves_a_doubt_and_says_so() -> None:
    found = told(account(100, 1), prices={0: DEAD})
    # 400 up, 400 scan
    assert found.status == "in doubt: 220.00 USD below maintenance margin, but old data leave 800.00 USD open"
    assert "ETH: old data leave 800.00 USD in doubt" in found.data
    assert found.data[-1] == "doubt 800.00 USD: a liquidation starts only where health is below minus that much"
    assert found.flags == ("a price used is dead",)
    assert told(account(-481, 1), prices={0: DEAD}).status.startswith("liquidatable: 801.00 USD below")


def test_option_value_under_a_dead_page_is_named() -> None:
    rows = (200).to_bytes(2, "big") * 15 + bytes(2)
    row = b"".join((bytes(2) + rows[:30]) for _ in range(3))
    page = Page("0x", 1, NOW - 100, NOW - 1, PRICE, 10**16, 2_000 * 10**5 // 12, row)
    words = build_words(AccountState(cash=WAD, options={0: (OptionPosition(0, 10**6),)}))
    found = told(words, pages={0: page})
    # 200 lanes of 0.01 USD, less the slack of five eighths of a lane
    assert "ETH: 1.99 USD of option value does not count for initial margin: dead page" in found.data


def test_old_collateral_counts_for_less() -> None:
    words = build_words(AccountState(cash=0, collaterals=(CollateralPosition(0, 10**18, 0, 18, 0),)))
    found = told(words, collateral_prices={0: LATE})
    assert found.data == ("collateral 0: counts 12.50 % less for initial margin: old price",)


def test_the_reserve_is_in_both_requirements_of_who_has_risk() -> None:
    reserve = pack_global(replace(GLOBAL_LANES, reserve_usd=10))
    said = "reserve 10.00 USD: in both requirements, for whoever starts a liquidation"
    assert told(account(1_000, 1), global_word=reserve).data == (said,)
    assert told(account(-5), global_word=reserve).data == (said,)
    assert told(account(5), global_word=reserve).data == ()


def test_futures_and_funding_have_their_value() -> None:
    held = {
        PERP: DeltaOnePosition(2_000_000, -2_000_000 * 1_990 * WAD),
        FUTURE: DeltaOnePosition(-(10**6), 10**6 * PRICE),
    }
    words = build_words(AccountState(cash=10_000 * WAD, delta_ones=held))
    marks = {PERP: MarkWord(0, 3 * WAD), FUTURE: MarkWord(0, 5_000_000), 253: MarkWord(0, 0)}
    found = told(words, marks=marks)
    # 2 x (2,000 - 1,990 - 3); sold at 2,000, now half a per cent above it
    assert {line.what: line.value_wad for line in found.holdings[1:]} == {
        "ETH future in slot 254": -10 * WAD,
        "ETH perpetual": 14 * WAD,
    }


def test_a_last_day_says_what_it_adds() -> None:
    held = {PERP: DeltaOnePosition(10**6, -(10**6) * PRICE), FUTURE: DeltaOnePosition(-(10**6), 10**6 * PRICE)}
    words = build_words(AccountState(cash=10_000 * WAD, delta_ones=held))

    def marks(left: int) -> dict[int, MarkWord]:
        return {PERP: MarkWord(0, 0), FUTURE: MarkWord(0, 0, NOW + left), 253: MarkWord(0, 0)}

    # a quarter of the future hedges: 300 of the 400 stand alone, all of it after the expiry
    assert told(words, marks=marks(6 * 3_600)).data == (
        "ETH: contracts in their last day count for the part of it that is left: scan 300.00 USD more",
        "ETH: initial margin already does without contracts in their last day: scan 100.00 USD more",
    )
    assert told(words, marks=marks(86_400)).data == ()


def test_an_auction_shows_its_clock() -> None:
    found = told(account(100, 1), snapshot(auctions={7: auction(Phase.SOLVENT, 60, 840)}))
    assert found.status == f"in auction, solvent phase, 840 s counted by {NOW - 60}; health -220.00 USD"


def test_what_cannot_be_read_is_not_explained() -> None:
    lost = Unknown("no prices", 5)
    assert explain(snapshot(market=lost), 7) == lost
    assert isinstance(explain(snapshot(), 7), Unknown)
    assert explain(snapshot({7: lost}), 7) == lost


def test_status_of_the_others() -> None:
    found = told(account(350, 1)).assessment
    assert status(found, None).startswith("safe from liquidation by 30.00 USD, but may only reduce risk")
    assert status(told(account(319, 1)).assessment, None) == "liquidatable: 1.00 USD below maintenance margin"
