# SPDX-License-Identifier: Apache-2.0
"""MarginAccounts: futures, the price band, instruments that may only be reduced, open lots, settlement of many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boa
import pytest

from tests.support.ledger import (
    BTC,
    BTC_PERP,
    ETH,
    ETH_PERP,
    FUTURE_A,
    FUTURE_B,
    GOVERNANCE,
    KEEPER,
    LOTS,
    STRANGER,
    WAD,
    Ledger,
    deploy_ledger,
)

DAY_S = 86_400


@pytest.fixture(scope="module")
def deployment() -> Ledger:
    return deploy_ledger()


@pytest.fixture
def ledger(deployment: Ledger) -> Iterator[Ledger]:
    with boa.env.anchor():
        yield deployment


def logs(ledger: Ledger, name: str) -> list[Any]:
    return [log for log in ledger.accounts.get_logs() if type(log).__name__ == name]


# --- futures ---------------------------------------------------------------------------------------------------------


def test_words_of_everything_in_order(ledger: Ledger) -> None:
    """Perpetual, slot 254, slot 253, then options, underlying by underlying (docs/margin-rule.md, section 2)."""
    near, _ = ledger.list_future(ETH, 24)
    far, _ = ledger.list_future(ETH, 48)
    bitcoin, _ = ledger.list_future(BTC, 24)
    option, _ = ledger.list_option(ETH, 2_000, is_call=True)
    assert (near, far, bitcoin) == (ETH << 8 | FUTURE_A, ETH << 8 | FUTURE_B, BTC << 8 | FUTURE_A)
    for lots, instrument in enumerate((option, far, BTC_PERP, near, bitcoin, ETH_PERP), start=1):
        ledger.fill(instrument, ledger.alice, ledger.bob, lots, WAD)
    words = list(ledger.accounts.state(ledger.alice))
    head = 1 | 0b11 << 128 | 6 << 160 | 0b11 << 224 | 0b01 << 240
    assert words[0] == head
    assert [word & 2**64 - 1 for word in words[2:]] == [6, 4, 2, 1 << 9, 3, 5]
    base = [word >> 64 for word in (words[2], words[3], words[4], words[6], words[7])]
    assert base == [2**192 - lots * WAD for lots in (6, 4, 2, 3, 5)]
    assert [ledger.accounts.nonce_of(k) for k in (1, 2, 3)] == [6, 6, 0]
    assert ledger.accounts.delta_of(ledger.bob, far) == (-2, 2 * WAD)
    assert [ledger.accounts.position_of(ledger.bob, k) for k in (near, far, option, 16 << 8, 2**200)] == [
        -4,
        -2,
        -1,
        0,
        0,
    ]
    assert (
        ledger.accounts.delta_of(ledger.alice, option)
        == ledger.accounts.delta_of(ledger.alice, 16 << 8 | 255)
        == (0, 0)
    )


def test_futures_count_as_positions(ledger: Ledger) -> None:
    futures = [ledger.list_future(u, hours)[0] for u in (ETH, BTC) for hours in (24, 48)]
    for k in range(124):
        ledger.list_option(ETH, 1_000 + k, is_call=True)
        ledger.fill(k, ledger.alice, ledger.bob, 1, 0)
    for future in futures:
        ledger.fill(future, ledger.alice, ledger.bob, 1, WAD)
    with boa.reverts("positions: full"):
        ledger.fill(ETH_PERP, ledger.alice, ledger.carol, 1, WAD)
    assert len(ledger.accounts.state(ledger.alice)) == 2 + 4 + 31
    ledger.fill(futures[0], ledger.bob, ledger.alice, 1, WAD)
    ledger.fill(ETH_PERP, ledger.alice, ledger.carol, 1, WAD)


def test_a_living_future_pays_at_the_price_without_its_basis(ledger: Ledger) -> None:
    """Its mark leans on a number that a keeper sets: cash moves on oracle prices alone, and the basis stays equity."""
    future, _ = ledger.list_future(ETH)
    ledger.fill(future, ledger.alice, ledger.bob, LOTS, 2_000 * WAD)
    ledger.registry.set_basis(future, 150, sender=KEEPER)
    ledger.set_price(ETH, 2_500)
    ledger.accounts.settle_many([ledger.alice, ledger.bob], ETH)
    assert ledger.delta(ledger.alice, future) == (LOTS, -LOTS * 2_000 * WAD), "only what has ended, in bulk"
    for account, cash in ((ledger.alice, 500 * WAD), (ledger.bob, -500 * WAD)):
        ledger.accounts.settle_delta(account, future, sender=STRANGER)
        assert ledger.accounts.cash_of(account) == cash
    assert ledger.delta(ledger.alice, future) == (LOTS, -LOTS * 2_500 * WAD)
    assert ledger.delta(ledger.bob, future) == (-LOTS, LOTS * 2_500 * WAD)


def test_a_settled_future_closes_to_the_unit(ledger: Ledger) -> None:
    """Seven lots at 2,000 USD + 3/1e18, settled at 2,100: 7e-6 * 100 USD less 21e-6 wad."""
    future, expiry = ledger.list_future(ETH)
    ledger.fill(future, ledger.alice, ledger.bob, 7, 2_000 * WAD + 3)
    ledger.registry.set_funding_rate(ETH, 10**12, sender=KEEPER)  # none of a future's business
    ledger.expire(ETH, expiry, 2_100)
    ledger.accounts.settle_delta(ledger.alice, future, sender=STRANGER)
    (log,) = logs(ledger, "DeltaSettled")
    assert (log.account, log.instrument, log.price_wad, log.lots) == (ledger.alice, future, 2_100 * WAD, 0)
    assert log.pnl_wad == log.cash_wad == 7 * 10**14 - 1
    assert ledger.accounts.cash_book()[1] == 10**6 - 21
    assert ledger.accounts.open_lots(future) == 7
    ledger.accounts.settle_many([ledger.bob], ETH)
    assert ledger.accounts.open_lots(future) == 0
    assert ledger.accounts.cash_of(ledger.bob) == -(7 * 10**14)
    assert [ledger.accounts.cash_of(k) for k in (0, 1, 2)] == [1, 7 * 10**14 - 1, -(7 * 10**14)]
    assert ledger.accounts.cash_book()[1] == 0
    for account in (ledger.alice, ledger.bob):
        assert ledger.accounts.state(account)[0] & ~(2**64 - 1 << 160) == 0
    ledger.registry.retire(future)


def test_a_delisted_perpetual_closes_with_its_funding(ledger: Ledger) -> None:
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 3 * LOTS, 2_000 * WAD)
    expiry = (int(boa.env.timestamp) // 3_600 + 8 * 24) * 3_600
    ledger.registry.delist_perp(ETH, expiry, sender=GOVERNANCE)
    ledger.registry.set_funding_rate(ETH, 10**12, sender=KEEPER)
    ledger.expire(ETH, expiry, 2_200)
    ledger.accounts.settle_many([ledger.alice, ledger.bob, ledger.carol], ETH)
    carry = ledger.registry.mark(ETH_PERP)[1]
    assert carry == 10**12 * DAY_S
    assert ledger.accounts.cash_of(ledger.alice) == 3 * (200 * WAD - carry) == -ledger.accounts.cash_of(ledger.bob)
    assert ledger.accounts.open_lots(ETH_PERP) == 0
    ledger.registry.retire(ETH_PERP)


def test_what_settles_nothing(ledger: Ledger) -> None:
    for instrument in (0, 252, 16 << 8 | 255, 2**256 - 1):
        with boa.reverts("accounts: instrument"):
            ledger.accounts.settle_delta(ledger.alice, instrument)
    for function in ("settle_options", "settle_many"):
        with boa.reverts("accounts: instrument"):
            getattr(ledger.accounts, function)([1] if function == "settle_many" else 1, 16)
    ledger.accounts.settle_delta(ledger.alice, ETH_PERP)
    ledger.accounts.settle_delta(99, ETH << 8 | FUTURE_A)
    ledger.accounts.settle_many([0, 99, 2**256 - 1], ETH)
    assert ledger.accounts.nonce_of(ledger.alice) == 0


def test_many_accounts_settle_in_one_call(ledger: Ledger) -> None:
    """Options, futures and, of the live perpetual, nothing; whoever has nothing is skipped."""
    option, expiry = ledger.list_option(ETH, 2_000, is_call=True)
    future, _ = ledger.list_future(ETH)
    for instrument in (option, future, ETH_PERP):
        ledger.fill(instrument, ledger.alice, ledger.bob, LOTS, 0)
    ledger.expire(ETH, expiry, 2_150)
    before = ledger.accounts.nonce_of(ledger.carol)
    ledger.accounts.settle_many([ledger.alice, ledger.carol, ledger.bob, ledger.alice], ETH, sender=STRANGER)
    assert [len(logs(ledger, name)) for name in ("OptionSettled", "DeltaSettled")] == [2, 2]
    assert ledger.accounts.cash_of(ledger.alice) == 2_300 * WAD == -ledger.accounts.cash_of(ledger.bob)
    assert ledger.perp(ledger.alice, ETH) == (LOTS, 0)
    assert ledger.accounts.nonce_of(ledger.carol) == before


# --- open lots -------------------------------------------------------------------------------------------------------


def test_open_lots_are_what_either_side_holds(ledger: Ledger) -> None:
    option, expiry = ledger.list_option(ETH, 2_000, is_call=True)
    future, _ = ledger.list_future(ETH)
    for instrument in (option, future, ETH_PERP):
        for buyer, seller, lots, expected in (
            (1, 2, 10, 20),  # opened
            (3, 1, 4, 20),  # handed on
            (2, 3, 4, 12),  # closed on both sides
            (2, 3, 9, 18),  # through zero on both sides: 6 long, -6; now 3 long, -9 + 6
            (3, 2, 9, 12),
        ):
            ledger.fill(instrument, buyer, seller, lots, 0)
            held = [ledger.accounts.position_of(k, instrument) for k in (1, 2, 3)]
            assert sum(held) == 0
            assert ledger.accounts.open_lots(instrument) == sum(map(abs, held)) == expected
    with boa.reverts("registry: open lots"):
        ledger.registry.retire(future, sender=GOVERNANCE)
    ledger.accounts.seize(1, 2, WAD // 2, 0, sender=ledger.accounts.auction())
    assert ledger.accounts.open_lots(option) == 6
    ledger.expire(ETH, expiry, 2_150)
    # accounts settle one by one: neither side's settlement frees the slot for the other
    ledger.accounts.settle_many([1], ETH)
    assert [ledger.accounts.open_lots(k) for k in (option, future)] == [3, 3]
    with boa.reverts("registry: open lots"):
        ledger.registry.retire(option, sender=GOVERNANCE)
    ledger.accounts.settle_many([2], ETH)
    assert [ledger.accounts.open_lots(k) for k in (option, future)] == [0, 0]
    ledger.registry.retire(option, sender=GOVERNANCE)


# --- the price band --------------------------------------------------------------------------------------------------


def test_a_fill_is_inside_the_band_to_the_wad(ledger: Ledger) -> None:
    ledger.gate.set_band(ETH_PERP, 100, 90, 110)
    for price in (90, 100, 110):
        ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 1, price)
    for price in (0, 89, 111, 2**90 - 1):
        with boa.reverts("fill: price band"):
            ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 1, price)
        with boa.reverts("fill: price band"):  # reducing is no excuse
            ledger.fill(ETH_PERP, ledger.bob, ledger.alice, 1, price)
    ledger.fill(BTC_PERP, ledger.alice, ledger.bob, 1, 89)


def test_without_a_band_no_price_is_right(ledger: Ledger) -> None:
    ledger.gate.set_band(ETH_PERP, 0, 0, 0)
    for price in (0, 1, 2_000 * WAD):
        with boa.reverts("fill: price band"):
            ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 1, price)


# --- instruments that may only be reduced ----------------------------------------------------------------------------


@pytest.fixture(params=["option", "future", "perpetual"])
def closing(ledger: Ledger, request: pytest.FixtureRequest) -> int:
    """An instrument in which alice is long 5, bob short 5, and which is reduce-only then."""
    listed = {
        "option": lambda: ledger.list_option(ETH, 2_000, is_call=True)[0],
        "future": lambda: ledger.list_future(ETH)[0],
        "perpetual": lambda: ETH_PERP,
    }
    instrument = listed[request.param]()
    ledger.fill(instrument, ledger.alice, ledger.bob, 5, 1)
    ledger.registry.set_reduce_only(instrument, True, sender=GOVERNANCE)
    return instrument


@pytest.mark.parametrize(
    ("buyer", "seller", "lots", "allowed"),
    [
        (2, 1, 4, True),
        (2, 1, 5, True),
        (2, 1, 6, False),  # turns round
        (1, 2, 1, False),  # grows
        (3, 1, 1, False),  # a third party opens
        (2, 3, 1, False),
        (1, 3, 1, False),
    ],
)
def test_both_sides_must_reduce(
    ledger: Ledger, closing: int, buyer: int, seller: int, lots: int, allowed: bool
) -> None:
    if allowed:
        ledger.fill(closing, buyer, seller, lots, 1)
        assert ledger.accounts.open_lots(closing) == 2 * (5 - lots)
        return
    with boa.reverts("fill: reduce only"):
        ledger.fill(closing, buyer, seller, lots, 1)
    ledger.registry.set_reduce_only(closing, False, sender=GOVERNANCE)
    ledger.fill(closing, buyer, seller, lots, 1)


def test_what_is_not_listed_or_expired_is_not_filled(ledger: Ledger) -> None:
    future, expiry = ledger.list_future(ETH)
    ledger.fill(future, ledger.alice, ledger.bob, 5, 1)
    with boa.reverts("registry: not tradable"):
        ledger.fill(ETH << 8 | FUTURE_B, ledger.alice, ledger.bob, 5, 1)
    boa.env.time_travel(seconds=expiry - int(boa.env.timestamp))
    with boa.reverts("registry: expired"):
        ledger.fill(future, ledger.bob, ledger.alice, 5, 1)
