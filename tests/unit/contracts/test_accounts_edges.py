# SPDX-License-Identifier: Apache-2.0
"""The last value that a documented bound of the ledger lets through, beside the first that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import boa
import pytest

from tests.support.ledger import (
    ALICE,
    ALL,
    AUCTION,
    BTC,
    ETH,
    ETH_PERP,
    FUTURE_A,
    FUTURE_B,
    GOVERNANCE,
    GUARDIAN,
    LOTS,
    STEWARD,
    STRANGER,
    USD,
    WAD,
    WETH,
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


@pytest.mark.parametrize("underlying", [ETH, BTC])
def test_either_future_of_an_underlying_is_a_future(ledger: Ledger, underlying: int) -> None:
    """Slots 254 and 253: no row needed, a base in place of a premium, cash at the oracle's price."""
    spot_usd = ledger.oracle.price(0, underlying)[0] // WAD
    futures = [ledger.list_future(underlying, hours) for hours in (24, 48)]
    assert [instrument for instrument, _ in futures] == [underlying << 8 | FUTURE_A, underlying << 8 | FUTURE_B]
    for number, (instrument, _) in enumerate(futures, start=1):
        ledger.gate.set_row(instrument, False)
        price_wad = (spot_usd - 10) * WAD
        ledger.fill(instrument, ledger.alice, ledger.bob, 3 * LOTS, price_wad)
        assert ledger.delta(ledger.alice, instrument) == (3 * LOTS, -3 * LOTS * price_wad)
        assert ledger.accounts.position_of(ledger.bob, instrument) == -3 * LOTS
        assert ledger.accounts.delta_of(ledger.bob, instrument)[0] == -3 * LOTS
        assert ledger.accounts.cash_of(ledger.alice) == (number - 1) * 30 * WAD
        ledger.accounts.settle_delta(ledger.alice, instrument)
        assert ledger.accounts.cash_of(ledger.alice) == number * 30 * WAD
    second, expiry = futures[1]
    ledger.expire(underlying, expiry, spot_usd + 100)
    ledger.accounts.settle_delta(ledger.alice, second)
    assert ledger.accounts.cash_of(ledger.alice) == 360 * WAD
    assert ledger.delta(ledger.alice, second) == (0, 0)
    assert ledger.delta(ledger.alice, futures[0][0])[0] == 3 * LOTS


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


def test_debts_of_exactly_the_bound_are_too_much(ledger: Ledger) -> None:
    """A loss that is booked before the profit against it is a debt without a credit: one dollar here."""
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, 2_001 * WAD)
    for amount in (2**127, 2**127 - WAD):
        ledger.accounts.pay_reward(ledger.alice, ledger.carol, amount, sender=AUCTION)
    with boa.reverts("cash: total too large"):
        ledger.accounts.settle_delta(ledger.alice, ETH_PERP)
    ledger.accounts.pay_reward(ledger.carol, ledger.alice, 1, sender=AUCTION)
    ledger.accounts.settle_delta(ledger.alice, ETH_PERP)
    assert ledger.accounts.cash_totals()[:2] == (2**128 - 1 - WAD, 2**128 - 1)


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


def test_lenders_without_anything_to_lose_see_no_loss(ledger: Ledger) -> None:
    ledger.deposit(ledger.carol, ledger.cash, 1_000_000 * USD)
    ledger.accounts.socialise_loss(10**6 * WAD, sender=AUCTION)
    assert [log.loss_wad for log in losses(ledger)] == [999_999 * WAD]
    # a millionth is left, in the next era at the first index
    assert ledger.accounts.cash_totals()[::2] == (WAD, WAD)
    ledger.accounts.socialise_loss(0, sender=AUCTION)
    assert losses(ledger) == []


def test_after_the_last_era_the_index_stops_at_a_millionth(ledger: Ledger) -> None:
    """65,535 losses of nearly all: nobody gets there, so the word is written by hand."""
    ledger.deposit(ledger.carol, ledger.cash, 1_000_000 * USD)
    address, slot = ledger.accounts.address, ledger_slot(ledger, "_indices")
    word = boa.env.get_storage(address, slot)
    assert word & 2**104 - 1 == word >> 104 & 2**104 - 1 == WAD and word >> 208 & 65_535 == 0
    boa.env.set_storage(address, slot, word | 65_534 << 208)
    # a credit of an era long ago is nothing; what comes in now counts
    assert ledger.accounts.cash_of(ledger.carol) == 0
    boa.env.set_storage(address, slot, word)
    ledger.accounts.socialise_loss(999_000 * WAD + 1, sender=AUCTION)
    first = boa.env.get_storage(address, slot)
    assert first >> 208 & 65_535 == 1, "below a thousandth"
    boa.env.set_storage(address, slot, first | 65_535 << 208)
    ledger.deposit(ledger.bob, ledger.cash, 1_000 * USD)
    for taken in ([pytest.approx(2_000 * WAD, rel=1e-3)], []):
        ledger.accounts.socialise_loss(10**9 * WAD, sender=AUCTION)
        assert [log.loss_wad for log in losses(ledger)] == taken
        assert boa.env.get_storage(address, slot) >> 208 & 65_535 == 65_535
    assert ledger.accounts.cash_totals()[2] == 10**12


def test_what_is_borrowed_is_rounded_up_as_the_borrower_sees_it(ledger: Ledger) -> None:
    ledger.deposit(ledger.carol, ledger.cash, 1_000 * USD)
    ledger.deposit(ledger.alice, ledger.weth, WAD, sender=ALICE)
    ledger.accounts.set_rates(100, 400, 6_000, 8_000, 1_000, sender=GOVERNANCE)
    parts = []
    for usd, seconds in ((5, 1_000_003), (770, 1_009), (1, 100_003), (1, 17)):
        ledger.accounts.withdraw(ledger.alice, ledger.cash.address, usd * USD, ALICE, sender=ALICE)
        boa.env.time_travel(seconds=seconds)
        supplied, borrowed, _, borrow_index = ledger.accounts.cash_totals()
        assert borrowed == -ledger.accounts.cash_of(ledger.alice)
        assert supplied >= ledger.accounts.cash_of(ledger.carol)
        scaled = boa.env.get_storage(ledger.accounts.address, ledger_slot(ledger, "_totals")) >> 128
        parts.append(scaled * borrow_index % WAD)
    assert any(parts), "some debt is no whole number of wads"


def ledger_slot(ledger: Ledger, name: str) -> int:
    """Storage slot of a variable of the cash module."""
    layout = ledger.accounts.compiler_data.storage_layout["storage_layout"]["cash"]
    return int(layout[name]["slot"])


def losses(ledger: Ledger) -> list[Any]:
    """Losses that the last call shared."""
    return [log for log in ledger.accounts.get_logs() if type(log).__name__ == "LossSocialised"]


def test_the_book_of_a_cash_token_of_18_decimals() -> None:
    """Up to 2^112 - 1 raw arrive at once, and move at once between accounts of one owner."""
    with boa.env.anchor():
        ledger = deploy_ledger(boa.load("contracts/testing/TestToken.vy", "Dollar", "USD", 18))
        top = 2**112 - 1
        ledger.deposit(ledger.bob, ledger.cash, top)
        assert ledger.accounts.cash_of(ledger.bob) == ledger.accounts.cash_book()[0] == top
        with boa.reverts("cash: total too large"):
            ledger.deposit(ledger.carol, ledger.cash, 1)
        other = ledger.accounts.open_account(ALICE)
        with boa.reverts("cash: total too large"):
            ledger.accounts.transfer(ledger.alice, other, ledger.cash.address, top + 1, sender=ALICE)
        ledger.accounts.transfer(ledger.alice, other, ledger.cash.address, top, sender=ALICE)
        assert [ledger.accounts.cash_of(k) for k in (ledger.alice, other)] == [-top, top]


# --- collateral ------------------------------------------------------------------------------------------------------


def test_a_cap_is_filled_by_one_deposit_or_by_two(ledger: Ledger) -> None:
    ledger.deposit(ledger.alice, ledger.weth, 400 * WAD, ALICE)
    with boa.reverts("collateral: cap"):
        ledger.deposit(ledger.alice, ledger.weth, 600 * WAD + 1)
    ledger.deposit(ledger.alice, ledger.weth, 600 * WAD)
    ledger.accounts.withdraw(ledger.alice, ledger.weth.address, 1_000 * WAD, ALICE, sender=ALICE)
    ledger.deposit(ledger.alice, ledger.weth, 1_000 * WAD, ALICE)
    assert ledger.accounts.collateral_of(ledger.alice, WETH) == 1_000 * WAD


def test_a_cap_that_stays_is_no_raise_and_does_not_come_down(ledger: Ledger) -> None:
    accounts = ledger.accounts
    accounts.set_collateral_cap(WETH, 1_200 * WAD, sender=STEWARD)
    at = int(boa.env.timestamp)
    boa.env.time_travel(seconds=3_600)
    accounts.set_collateral_cap(WETH, 1_200 * WAD, sender=STEWARD)  # the day of its raise is not over
    assert accounts.collateral_hard_cap(WETH) == (10_000 * WAD, at)
    accounts.set_collateral_hard_cap(WETH, 1_200 * WAD, sender=GOVERNANCE)
    assert [type(log).__name__ for log in accounts.get_logs()] == ["CollateralHardCapSet"]
    accounts.set_collateral_hard_cap(WETH, 2**112 - 1, sender=GOVERNANCE)
    accounts.set_collateral_cap(WETH, 2**112 - 1, sender=GOVERNANCE)
    assert accounts.collateral_hard_cap(WETH)[0] == accounts.collateral_info(WETH)[3] == 2**112 - 1


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
