# SPDX-License-Identifier: Apache-2.0
"""The last value that a documented bound of the ledger lets through, beside the first that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import boa
import pytest

from tests.support.ledger import (
    ALICE,
    ALL,
    AUCTION,
    ETH,
    ETH_PERP,
    FUTURE_A,
    FUTURE_B,
    GOVERNANCE,
    GUARDIAN,
    LOTS,
    STRANGER,
    USD,
    WAD,
    Ledger,
    deploy_ledger,
)

TOP_LOTS: Final = 2**55 - 1
TOP_PRICE: Final = 2**90 - 1
PAUSE_S: Final = 3 * 86_400
RAW: Final = WAD // USD  # wad of a raw unit of cash


@pytest.fixture(scope="module")
def deployment() -> Ledger:
    return deploy_ledger()


@pytest.fixture
def ledger(deployment: Ledger) -> Iterator[Ledger]:
    with boa.env.anchor():
        yield deployment


# --- instruments -----------------------------------------------------------------------------------------------------


def test_either_future_of_an_underlying_is_a_future(ledger: Ledger) -> None:
    """Slots 254 and 253: no row needed, a base in place of a premium, closed at the price of the expiry."""
    futures = [ledger.list_future(ETH, hours) for hours in (24, 48)]
    assert [instrument for instrument, _ in futures] == [ETH << 8 | FUTURE_A, ETH << 8 | FUTURE_B]
    for instrument, _ in futures:
        ledger.gate.set_row(instrument, False)
        ledger.fill(instrument, ledger.alice, ledger.bob, 3 * LOTS, 2_000 * WAD)
        assert ledger.delta(ledger.alice, instrument) == (3 * LOTS, -3 * LOTS * 2_000 * WAD)
        assert ledger.accounts.cash_of(ledger.alice) == 0
        with boa.reverts("settlement: no price yet"):
            ledger.accounts.settle_delta(ledger.alice, instrument)
    second, expiry = futures[1]
    ledger.expire(ETH, expiry, 2_100)
    ledger.accounts.settle_delta(ledger.alice, second)
    assert ledger.accounts.cash_of(ledger.alice) == 300 * WAD
    assert ledger.delta(ledger.alice, second) == (0, 0)


def test_the_highest_price(ledger: Ledger) -> None:
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 1, TOP_PRICE)
    assert ledger.perp(ledger.alice, ETH) == (1, -TOP_PRICE)
    ledger.accounts.seize_legs(ledger.alice, ledger.bob, [(ETH_PERP, 1, TOP_PRICE)], sender=AUCTION)
    assert ledger.perp(ledger.alice, ETH) == ledger.perp(ledger.bob, ETH) == (0, 0)
    assert ledger.accounts.cash_of(ledger.alice) == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_position_moves_as_one_leg(ledger: Ledger, sign: int) -> None:
    sides = (ledger.alice, ledger.bob)[::sign]
    ledger.fill(ETH_PERP, *sides, TOP_LOTS, 1)
    assert ledger.perp(ledger.alice, ETH)[0] == sign * TOP_LOTS
    ledger.accounts.seize_legs(ledger.alice, ledger.bob, [(ETH_PERP, sign * TOP_LOTS, 1)], sender=AUCTION)
    assert ledger.perp(ledger.alice, ETH) == ledger.perp(ledger.bob, ETH) == (0, 0)


# --- cash ------------------------------------------------------------------------------------------------------------


def test_the_largest_reward_and_the_largest_totals(ledger: Ledger) -> None:
    """A reward goes up to 2^127 wad; all positive and all negative cash stay below 2^128 each."""
    for amount in (2**127, 2**127 - 1):
        ledger.accounts.pay_reward(ledger.alice, ledger.carol, amount, sender=AUCTION)
    assert ledger.accounts.cash_totals()[:2] == (2**128 - 1, 2**128 - 1)
    with boa.reverts("cash: total too large"):
        ledger.accounts.pay_reward(ledger.alice, ledger.carol, 1, sender=AUCTION)
    # a debt rounds up where the credit rounds to nothing: debts alone would reach the bound
    option, _ = ledger.list_option(ETH, 2_000, is_call=True)
    with boa.reverts("cash: total too large"):
        ledger.fill(option, ledger.alice, ledger.bob, 1, 1)
    # and a credit without a debt
    ledger.cash.mint(STRANGER, 1)
    ledger.cash.approve(ledger.accounts.address, 1, sender=STRANGER)
    with boa.reverts("cash: total too large"):
        ledger.accounts.deposit(ledger.bob, ledger.cash.address, 1, sender=STRANGER)


def test_supply_of_exactly_the_bound_is_too_much(ledger: Ledger) -> None:
    raw = 2**128 // RAW
    ledger.deposit(ledger.bob, ledger.cash, raw)
    rest = 2**128 - raw * RAW
    with boa.reverts("cash: total too large"):
        ledger.accounts.pay_reward(ledger.alice, ledger.carol, rest, sender=AUCTION)
    ledger.accounts.pay_reward(ledger.alice, ledger.carol, rest - 1, sender=AUCTION)
    assert ledger.accounts.cash_totals()[0] == 2**128 - 1


@pytest.mark.parametrize(("supplied_raw", "earns"), [(USD - 1, False), (USD, True)])
def test_a_unit_of_cash_is_the_least_that_earns(ledger: Ledger, supplied_raw: int, earns: bool) -> None:
    """Below it all interest is the reserve's: a few wads of supply would grow without bound."""
    ledger.accounts.set_rates(1_000, 0, 0, 9_000, 0, sender=GOVERNANCE)
    ledger.deposit(ledger.carol, ledger.cash, supplied_raw)
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, 2_100 * WAD)  # 100 USD above the oracle's price
    ledger.accounts.settle_delta(ledger.alice, ETH_PERP)
    assert ledger.accounts.cash_of(ledger.alice) == -100 * WAD
    boa.env.time_travel(seconds=86_400)
    assert (ledger.accounts.cash_of(ledger.carol) > supplied_raw * RAW) is earns
    assert (ledger.accounts.cash_of(0) > 0) is not earns


def test_the_lowest_kink(ledger: Ledger) -> None:
    ledger.accounts.set_rates(0, 0, 0, 1_000, 0, sender=GOVERNANCE)
    with boa.reverts("cash: rates"):
        ledger.accounts.set_rates(0, 0, 0, 999, 0, sender=GOVERNANCE)


def test_less_than_a_raw_unit_is_left_behind_a_raw_unit_is_not(ledger: Ledger) -> None:
    ledger.accounts.pay_reward(ledger.bob, ledger.alice, RAW, sender=AUCTION)
    with boa.reverts("accounts: not empty"):
        ledger.accounts.close_account(ledger.alice, sender=ALICE)
    ledger.accounts.pay_reward(ledger.alice, ledger.bob, 1, sender=AUCTION)
    with boa.reverts("accounts: zero amount"):
        ledger.accounts.withdraw(ledger.alice, ledger.cash.address, ALL, ALICE, sender=ALICE)
    ledger.accounts.close_account(ledger.alice, sender=ALICE)
    assert ledger.accounts.cash_of(0) == RAW - 1


# --- pauses ----------------------------------------------------------------------------------------------------------


def test_the_longest_pause_and_its_last_second(ledger: Ledger) -> None:
    ledger.deposit(ledger.alice, ledger.cash, 2)
    for who in (GUARDIAN, GOVERNANCE):
        with boa.reverts("accounts: pause too long"):
            ledger.accounts.pause(1, PAUSE_S + 1, sender=who)
    ledger.accounts.pause(1, PAUSE_S, sender=GUARDIAN)
    until = int(boa.env.timestamp) + PAUSE_S
    ledger.accounts.pause(1, PAUSE_S, sender=GUARDIAN)  # neither longer nor shorter: nothing to forbid
    with boa.reverts("accounts: not authorised"):
        ledger.accounts.pause(1, PAUSE_S - 1, sender=GUARDIAN)
    boa.env.time_travel(seconds=until - 1 - int(boa.env.timestamp))
    with boa.reverts("accounts: paused"):
        ledger.accounts.withdraw(ledger.alice, ledger.cash.address, 1, ALICE, sender=ALICE)
    boa.env.time_travel(seconds=1)
    ledger.accounts.withdraw(ledger.alice, ledger.cash.address, 1, ALICE, sender=ALICE)
