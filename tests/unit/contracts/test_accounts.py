# SPDX-License-Identifier: Apache-2.0
"""MarginAccounts: accounts, operators, deposits and withdrawals of cash and collateral, state words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boa
import pytest

from tests.support.ledger import (
    ALICE,
    ALL,
    ALL_RIGHTS,
    AUCTION,
    BOB,
    ETH,
    ETH_PERP,
    FOREVER,
    GOVERNANCE,
    GUARDIAN,
    LOTS,
    STRANGER,
    TRADE,
    USD,
    WAD,
    WBTC,
    WETH,
    WITHDRAW,
    Ledger,
    deploy_ledger,
)


@pytest.fixture(scope="module")
def deployment() -> Ledger:
    return deploy_ledger()


@pytest.fixture
def ledger(deployment: Ledger) -> Iterator[Ledger]:
    with boa.env.anchor():
        yield deployment


def event(ledger: Ledger, name: str) -> Any:
    """The one event of that name in the last call of the ledger."""
    (found,) = [log for log in ledger.accounts.get_logs() if type(log).__name__ == name]
    return found


def test_accounts_are_numbered_from_one(ledger: Ledger) -> None:
    assert (ledger.alice, ledger.bob, ledger.carol) == (1, 2, 3)
    assert ledger.accounts.account_count() == 4
    assert ledger.accounts.open_account(STRANGER) == 4
    assert ledger.accounts.owner_of(4) == STRANGER
    assert ledger.accounts.owner_of(5) == "0x" + 40 * "0"
    with boa.reverts("accounts: zero address"):
        ledger.accounts.open_account("0x" + 40 * "0")


def test_account_zero_belongs_to_governance(ledger: Ledger) -> None:
    assert ledger.accounts.owner_of(0) == GOVERNANCE
    assert ledger.accounts.has_right(0, GOVERNANCE, ALL_RIGHTS)
    assert not ledger.accounts.has_right(0, GUARDIAN, TRADE)


def test_cash_deposit_by_anybody(ledger: Ledger) -> None:
    ledger.deposit(ledger.alice, ledger.cash, 1_500 * USD)
    log = event(ledger, "CashDeposited")
    assert (log.account, log.sender, log.amount_raw, log.cash_wad) == (1, STRANGER, 1_500 * USD, 1_500 * WAD)
    assert ledger.accounts.cash_of(ledger.alice) == 1_500 * WAD
    assert ledger.accounts.cash_totals() == (1_500 * WAD, 0, WAD, WAD)
    assert ledger.accounts.cash_book() == (1_500 * USD, 0, 0)
    assert ledger.accounts.nonce_of(ledger.alice) == 1


def test_deposit_needs_an_account_and_a_listed_token(ledger: Ledger) -> None:
    with boa.reverts("accounts: no such account"):
        ledger.deposit(4, ledger.cash, USD)
    with boa.reverts("collateral: not listed"):
        ledger.accounts.deposit(ledger.alice, ledger.oracle.address, 1, sender=ALICE)
    with boa.reverts("token: nothing received"):
        ledger.accounts.deposit(ledger.alice, ledger.cash.address, 0, sender=ALICE)


def test_a_new_asset_needs_the_owner_a_top_up_does_not(ledger: Ledger) -> None:
    with boa.reverts("accounts: not authorised"):
        ledger.deposit(ledger.alice, ledger.weth, 1)
    ledger.deposit(ledger.alice, ledger.weth, 5 * WAD, sender=ALICE)
    ledger.deposit(ledger.alice, ledger.weth, 2 * WAD)
    log = event(ledger, "CollateralDeposited")
    assert (log.amount_raw, log.balance_raw) == (2 * WAD, 7 * WAD)
    assert ledger.accounts.collateral_of(ledger.alice, WETH) == 7 * WAD
    with boa.reverts("accounts: protocol account"):
        ledger.deposit(0, ledger.weth, WAD, sender=GOVERNANCE)


def test_state_words_of_collateral(ledger: Ledger) -> None:
    """Layout of docs/margin-rule.md, section 2, by hand."""
    ledger.deposit(ledger.alice, ledger.cash, 7 * USD)
    ledger.deposit(ledger.alice, ledger.wbtc, 3 * 10**8, sender=ALICE)  # 3 of a cap of 100: 300 bps
    ledger.deposit(ledger.bob, ledger.wbtc, 1, sender=BOB)  # one unit more: use rounds up
    ledger.deposit(ledger.alice, ledger.weth, 10 * WAD, sender=ALICE)  # 10 of 1,000: 100 bps
    head, cash, weth, wbtc = ledger.accounts.state(ledger.alice)
    assert head == 0b11 << 144 | 3 << 160
    assert cash == 7 * WAD
    assert weth == 10 * WAD | 100 << 128 | 18 << 144 | 1 << 152
    assert wbtc == 3 * 10**8 | 301 << 128 | 8 << 144 | 2 << 152
    assert ledger.accounts.state(9) == [0, 0]


def test_use_of_a_lowered_cap_is_at_most_all(ledger: Ledger) -> None:
    ledger.deposit(ledger.alice, ledger.weth, 10 * WAD, sender=ALICE)
    for cap_raw in (5 * WAD, 0):
        ledger.accounts.set_collateral_cap(WETH, cap_raw, sender=GOVERNANCE)
        assert ledger.accounts.state(ledger.alice)[2] >> 128 & 0xFFFF == 10_000
    with boa.reverts("collateral: cap"):
        ledger.deposit(ledger.alice, ledger.weth, 1, sender=ALICE)


def test_the_cap_binds_to_the_unit(ledger: Ledger) -> None:
    ledger.deposit(ledger.alice, ledger.weth, 1_000 * WAD, sender=ALICE)
    assert ledger.accounts.collateral_info(WETH) == (ledger.weth.address, 18, 1, 1_000 * WAD, 1_000 * WAD)
    with boa.reverts("collateral: cap"):
        ledger.deposit(ledger.bob, ledger.weth, 1, sender=BOB)


def test_donations_are_nobodys(ledger: Ledger) -> None:
    ledger.cash.mint(ledger.accounts.address, 10**12)
    ledger.weth.mint(ledger.accounts.address, WAD)
    ledger.deposit(ledger.alice, ledger.cash, 10 * USD)
    ledger.deposit(ledger.alice, ledger.weth, WAD, sender=ALICE)
    assert ledger.accounts.cash_of(ledger.alice) == 10 * WAD
    assert ledger.accounts.collateral_of(ledger.alice, WETH) == WAD
    assert ledger.accounts.cash_book()[0] == 10 * USD
    with boa.reverts("cash: not enough held"):
        ledger.accounts.withdraw(ledger.alice, ledger.cash.address, 11 * USD, ALICE, sender=ALICE)


def test_withdraw_by_owner_and_operator_alone(ledger: Ledger) -> None:
    ledger.deposit(ledger.alice, ledger.cash, 100 * USD)
    for outsider in (STRANGER, GOVERNANCE, GUARDIAN, AUCTION):
        with boa.reverts("accounts: not authorised"):
            ledger.accounts.withdraw(ledger.alice, ledger.cash.address, USD, outsider, sender=outsider)
    ledger.accounts.set_operator(ledger.alice, BOB, WITHDRAW, FOREVER, sender=ALICE)
    ledger.accounts.withdraw(ledger.alice, ledger.cash.address, 40 * USD, BOB, sender=BOB)
    log = event(ledger, "CashWithdrawn")
    assert (log.receiver, log.amount_raw, log.cash_wad) == (BOB, 40 * USD, 60 * WAD)
    assert ledger.cash.balanceOf(BOB) == 40 * USD
    with boa.reverts("accounts: zero address"):
        ledger.accounts.withdraw(ledger.alice, ledger.cash.address, 1, ledger.accounts.address, sender=ALICE)
    with boa.reverts("accounts: zero amount"):
        ledger.accounts.withdraw(ledger.alice, ledger.cash.address, 0, ALICE, sender=ALICE)


def test_withdraw_everything_of_an_asset(ledger: Ledger) -> None:
    ledger.deposit(ledger.alice, ledger.weth, 5 * WAD, sender=ALICE)
    ledger.deposit(ledger.alice, ledger.wbtc, 7, sender=ALICE)
    with boa.reverts("collateral: balance"):
        ledger.accounts.withdraw(ledger.alice, ledger.weth.address, 5 * WAD + 1, ALICE, sender=ALICE)
    ledger.accounts.withdraw(ledger.alice, ledger.weth.address, ALL, ALICE, sender=ALICE)
    assert ledger.weth.balanceOf(ALICE) == 5 * WAD
    assert ledger.accounts.collateral_info(WETH)[4] == 0
    assert ledger.accounts.state(ledger.alice)[0] >> 144 & 0xFFFF == 1 << WBTC
    with boa.reverts("accounts: zero amount"):
        ledger.accounts.withdraw(ledger.alice, ledger.weth.address, ALL, ALICE, sender=ALICE)


def test_borrowing_is_gated_by_margin(ledger: Ledger) -> None:
    ledger.deposit(ledger.bob, ledger.cash, 1_000 * USD)
    ledger.deposit(ledger.alice, ledger.weth, WAD, sender=ALICE)
    token = ledger.cash.address
    ledger.gate.set_after(ledger.alice, 99, 100, 0)
    with boa.reverts("accounts: below initial margin"):
        ledger.accounts.withdraw(ledger.alice, token, 500 * USD, ALICE, sender=ALICE)
    for flag in (1, 2, 4, 16):  # dead price, expired table, missing row, off the grid
        ledger.gate.set_after(ledger.alice, 100, 100, flag)
        with boa.reverts("accounts: risk data dead"):
            ledger.accounts.withdraw(ledger.alice, token, 500 * USD, ALICE, sender=ALICE)
    ledger.gate.set_after(ledger.alice, 100, 100, 8)  # missing joint scenarios are priced in
    ledger.accounts.withdraw(ledger.alice, token, 500 * USD, ALICE, sender=ALICE)
    assert ledger.accounts.cash_of(ledger.alice) == -500 * WAD
    assert ledger.accounts.cash_totals() == (1_000 * WAD, 500 * WAD, WAD, WAD)
    with boa.reverts("cash: not enough held"):
        ledger.accounts.withdraw(ledger.alice, token, 501 * USD, ALICE, sender=ALICE)


def test_an_account_without_debt_or_positions_leaves_whatever_the_engine_says(ledger: Ledger) -> None:
    ledger.deposit(ledger.alice, ledger.cash, 10 * USD)
    ledger.deposit(ledger.alice, ledger.weth, WAD, sender=ALICE)
    ledger.gate.set_after(ledger.alice, -1, 10**30, 7)
    ledger.accounts.withdraw(ledger.alice, ledger.cash.address, ALL, ALICE, sender=ALICE)
    ledger.accounts.withdraw(ledger.alice, ledger.weth.address, ALL, ALICE, sender=ALICE)
    ledger.deposit(ledger.alice, ledger.weth, WAD, sender=ALICE)
    ledger.fill(ETH_PERP, ledger.bob, ledger.carol, LOTS, 2_000 * WAD)
    ledger.gate.set_after(ledger.bob, -1, 10**30, 0)
    ledger.deposit(ledger.bob, ledger.cash, 10 * USD)
    with boa.reverts("accounts: below initial margin"):
        ledger.accounts.withdraw(ledger.bob, ledger.cash.address, USD, BOB, sender=BOB)


def test_withdrawing_cash_settles_perpetuals_first(ledger: Ledger) -> None:
    ledger.deposit(ledger.alice, ledger.cash, 1_000 * USD)
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 2 * LOTS, 2_000 * WAD)
    ledger.set_price(ETH, 2_100)
    ledger.accounts.withdraw(ledger.alice, ledger.cash.address, 1_000 * USD, ALICE, sender=ALICE)
    assert ledger.accounts.cash_of(ledger.alice) == 200 * WAD
    assert ledger.perp(ledger.alice, ETH) == (2 * LOTS, -2 * LOTS * 2_100 * WAD)


def test_pausing_withdrawals_ends_by_itself(ledger: Ledger) -> None:
    ledger.deposit(ledger.alice, ledger.cash, 10 * USD)
    with boa.reverts("accounts: not authorised"):
        ledger.accounts.pause(1, 60, sender=STRANGER)
    with boa.reverts("accounts: pause too long"):
        ledger.accounts.pause(1, 3 * 86_400 + 1, sender=GUARDIAN)
    ledger.accounts.pause(1, 3 * 86_400, sender=GUARDIAN)
    with boa.reverts("accounts: paused"):
        ledger.accounts.withdraw(ledger.alice, ledger.cash.address, USD, ALICE, sender=ALICE)
    ledger.deposit(ledger.alice, ledger.cash, USD)  # a deposit is always possible
    with boa.reverts("accounts: not authorised"):  # shortening is governance's
        ledger.accounts.pause(1, 0, sender=GUARDIAN)
    with boa.env.anchor():
        ledger.accounts.pause(1, 0, sender=GOVERNANCE)
        ledger.accounts.withdraw(ledger.alice, ledger.cash.address, USD, ALICE, sender=ALICE)
    boa.env.time_travel(seconds=3 * 86_400)
    ledger.accounts.withdraw(ledger.alice, ledger.cash.address, USD, ALICE, sender=ALICE)
