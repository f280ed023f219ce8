# SPDX-License-Identifier: Apache-2.0
"""Interest: the curve, who pays whom, rounding, and what governance may set."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import boa
import pytest

from tests.support.ledger import ALICE, ALL, BOB, CAROL, GOVERNANCE, STRANGER, USD, WAD, Ledger, deploy_ledger

YEAR_S = 365 * 86_400


@pytest.fixture(scope="module")
def deployment() -> Ledger:
    return deploy_ledger()


@pytest.fixture
def ledger(deployment: Ledger) -> Iterator[Ledger]:
    with boa.env.anchor():
        yield deployment


def borrow(ledger: Ledger, supplied_usd: int, borrowed_usd: int) -> int:
    """Carol supplies, alice borrows; returns the time of the borrowing."""
    ledger.deposit(ledger.carol, ledger.cash, supplied_usd * USD)
    ledger.accounts.withdraw(ledger.alice, ledger.cash.address, borrowed_usd * USD, ALICE, sender=ALICE)
    return int(boa.env.timestamp)


def wait(seconds: int, since: int) -> None:
    """Passes time so that the next call happens ``seconds`` after ``since``."""
    boa.env.time_travel(seconds=since + seconds - int(boa.env.timestamp))


@pytest.mark.parametrize(
    ("borrowed", "rate_bps"),
    [
        (0, None),  # nobody borrows: nothing accrues
        (400, 100 + 200),  # half way to the kink at 80 %: half of the low slope of 4 %
        (800, 100 + 400),
        (900, 100 + 400 + 3_000),  # half way from the kink to full: half of the high slope of 60 %
        (1_000, 100 + 400 + 6_000),
    ],
)
def test_the_curve_over_a_year(ledger: Ledger, borrowed: int, rate_bps: int | None) -> None:
    ledger.accounts.set_rates(100, 400, 6_000, 8_000, 1_000, sender=GOVERNANCE)
    if rate_bps is None:
        ledger.deposit(ledger.carol, ledger.cash, 1_000 * USD)
        boa.env.time_travel(seconds=YEAR_S)
        assert ledger.accounts.cash_totals() == (1_000 * WAD, 0, WAD, WAD)
        return
    wait(YEAR_S, borrow(ledger, 1_000, borrowed))
    interest = Fraction(borrowed * rate_bps, 10_000) * WAD
    assert -ledger.accounts.cash_of(ledger.alice) == borrowed * WAD + interest
    assert ledger.accounts.cash_of(ledger.carol) == pytest.approx(1_000 * WAD + interest * 9 / 10, abs=2_000)
    assert ledger.accounts.cash_of(0) == pytest.approx(interest / 10, abs=2_000)
    assert ledger.accounts.cash_of(ledger.carol) + ledger.accounts.cash_of(0) <= 1_000 * WAD + interest


def test_views_run_ahead_of_booking_exactly(ledger: Ledger) -> None:
    ledger.accounts.set_rates(100, 400, 6_000, 8_000, 1_000, sender=GOVERNANCE)
    wait(12_345_678, borrow(ledger, 1_000, 850))
    shown = [ledger.accounts.cash_of(k) for k in range(4)], ledger.accounts.cash_totals()
    assert [int(ledger.accounts.state(k)[1]) for k in (0, 3)] == [shown[0][0], shown[0][3]]
    ledger.accounts.socialise_loss(0, sender=ledger.accounts.auction())  # books interest and nothing else
    assert ([ledger.accounts.cash_of(k) for k in range(4)], ledger.accounts.cash_totals()) == shown


def test_interest_is_booked_once_a_block(ledger: Ledger) -> None:
    ledger.accounts.set_rates(100, 400, 6_000, 8_000, 0, sender=GOVERNANCE)
    wait(YEAR_S, borrow(ledger, 1_000, 800))
    ledger.deposit(ledger.bob, ledger.cash, USD)
    (log,) = [log for log in ledger.accounts.get_logs() if type(log).__name__ == "InterestAccrued"]
    assert log.borrow_index_wad == 105 * WAD // 100
    assert log.supply_index_wad == 104 * WAD // 100
    ledger.deposit(ledger.bob, ledger.cash, USD)
    assert not [log for log in ledger.accounts.get_logs() if type(log).__name__ == "InterestAccrued"]


def test_all_supply_borrowed_is_full_use(ledger: Ledger) -> None:
    """A premium that is owed is borrowed from who received it."""
    ledger.accounts.set_rates(0, 400, 6_000, 8_000, 0, sender=GOVERNANCE)
    option, _ = ledger.list_option(0, 2_000, is_call=True)
    ledger.fill(option, ledger.alice, ledger.bob, 10**6, 100 * WAD)  # alice owes 100, bob has 100
    start = int(boa.env.timestamp)
    wait(YEAR_S, start)
    assert ledger.accounts.cash_of(ledger.alice) == -164 * WAD


def test_repaying_and_leaving_with_interest(ledger: Ledger) -> None:
    ledger.accounts.set_rates(100, 400, 6_000, 8_000, 1_000, sender=GOVERNANCE)
    wait(YEAR_S, borrow(ledger, 1_000, 800))
    debt = -ledger.accounts.cash_of(ledger.alice)
    ledger.deposit(ledger.alice, ledger.cash, -(-debt // 10**12))
    ledger.accounts.withdraw(ledger.carol, ledger.cash.address, ALL, CAROL, sender=CAROL)
    ledger.accounts.withdraw(0, ledger.cash.address, ALL, GOVERNANCE, sender=GOVERNANCE)
    assert ledger.cash.balanceOf(CAROL) == 1_036 * USD  # nine tenths of 40
    assert ledger.cash.balanceOf(GOVERNANCE) == 4 * USD - 1  # 4 / 1.036 is no whole number of scaled wads
    assert ledger.accounts.cash_book()[0] == ledger.cash.balanceOf(ledger.accounts.address) == 1
    assert sum(ledger.accounts.cash_totals()[:2]) < 3 * 10**12


@pytest.mark.parametrize(
    "rates",
    [
        (2_001, 0, 0, 9_000, 0),
        (0, 5_001, 0, 9_000, 0),
        (0, 0, 30_001, 9_000, 0),
        (0, 0, 0, 999, 0),
        (0, 0, 0, 9_901, 0),
        (0, 0, 0, 9_000, 5_001),
    ],
)
def test_bounds_of_the_curve(ledger: Ledger, rates: tuple[int, ...]) -> None:
    with boa.reverts("cash: rates"):
        ledger.accounts.set_rates(*rates, sender=GOVERNANCE)
    ledger.accounts.set_rates(2_000, 5_000, 30_000, 9_900, 5_000, sender=GOVERNANCE)
    with boa.reverts("ownable: caller is not the owner"):
        ledger.accounts.set_rates(0, 0, 0, 9_000, 0, sender=STRANGER)


def test_a_new_curve_leaves_the_past_alone(ledger: Ledger) -> None:
    ledger.accounts.set_rates(1_000, 0, 0, 9_000, 0, sender=GOVERNANCE)
    wait(YEAR_S, borrow(ledger, 1_000, 500))
    ledger.accounts.set_rates(2_000, 0, 0, 9_000, 0, sender=GOVERNANCE)
    assert ledger.accounts.cash_of(ledger.alice) == -550 * WAD
    boa.env.time_travel(seconds=YEAR_S)
    assert ledger.accounts.cash_of(ledger.alice) == -660 * WAD


def test_a_balance_at_an_odd_index_rounds_against_its_owner(ledger: Ledger) -> None:
    ledger.accounts.set_rates(777, 333, 6_000, 8_000, 0, sender=GOVERNANCE)
    wait(1_234_567, borrow(ledger, 1_000, 700))
    before = ledger.accounts.cash_of(ledger.bob)
    for _ in range(5):
        ledger.deposit(ledger.bob, ledger.cash, 1)
    got = ledger.accounts.cash_of(ledger.bob) - before
    assert 5 * 10**12 - 10 <= got <= 5 * 10**12
    with boa.reverts("accounts: zero amount"):  # five deposits of a unit are a shade less than five units
        ledger.accounts.withdraw(ledger.bob, ledger.cash.address, 0, BOB, sender=BOB)
    ledger.accounts.withdraw(ledger.bob, ledger.cash.address, ALL, BOB, sender=BOB)
    assert ledger.cash.balanceOf(BOB) in (4, 5)


def test_use_of_a_few_wads_is_of_whole_ones() -> None:
    """Supply and debt both round down before the quotient is taken: 2 of 4 wads, not of 5 and not 3."""
    with boa.env.anchor():
        ledger = deploy_ledger(boa.load("contracts/testing/TestToken.vy", "Dollar", "USD", 18))
        ledger.accounts.set_rates(100, 400, 6_000, 8_000, 0, sender=GOVERNANCE)
        ledger.deposit(ledger.carol, ledger.cash, 7)
        ledger.accounts.withdraw(ledger.alice, ledger.cash.address, 2, ALICE, sender=ALICE)
        start = int(boa.env.timestamp)
        ledger.accounts.socialise_loss(2, sender=ledger.accounts.auction())
        assert ledger.accounts.cash_totals()[:2] == (4, 2)  # 7 - 2 at an index rounded against lenders
        for years, index_wad in ((1, 1_035 * 10**15), (2, 1_071_225 * 10**12)):
            wait(years * YEAR_S, start)
            ledger.accounts.socialise_loss(0, sender=ledger.accounts.auction())  # books interest
            assert ledger.accounts.cash_totals()[3] == index_wad


def test_cash_of_18_decimals_at_most() -> None:
    odd = boa.load("contracts/testing/OddToken.vy", 19)
    for name, arguments in (
        ("MarginAccountsExtension", (odd.address, STRANGER, STRANGER)),
        ("MarginAccounts", (GOVERNANCE, GOVERNANCE, odd.address, STRANGER, STRANGER, STRANGER)),
    ):
        with pytest.raises(boa.BoaError, match="cash: decimals"):
            boa.load(f"contracts/{name}.vy", *arguments)
