# SPDX-License-Identifier: Apache-2.0
"""MarginAccounts: how fast cash may leave while a loss is known, and how fast a steward may raise caps."""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest

from tests.support.ledger import (
    ALICE,
    ALL,
    AUCTION,
    BOB,
    CAROL,
    GOVERNANCE,
    GUARDIAN,
    STEWARD,
    STRANGER,
    USD,
    WAD,
    WETH,
    Ledger,
    deploy_ledger,
)

DAY_S = 86_400
ZERO = "0x" + 40 * "0"


@pytest.fixture(scope="module")
def deployment() -> Ledger:
    return deploy_ledger()


@pytest.fixture
def ledger(deployment: Ledger) -> Iterator[Ledger]:
    with boa.env.anchor():
        yield deployment


@pytest.fixture
def limited(ledger: Ledger) -> Ledger:
    """Alice and bob have lent 5,000 USD each, a day ago; then a loss becomes known. The limit is 10 % a day."""
    for account in (ledger.alice, ledger.bob):
        ledger.deposit(account, ledger.cash, 5_000 * USD)
    boa.env.time_travel(seconds=DAY_S)
    ledger.auction.set_limited(True)
    return ledger


def take(ledger: Ledger, usd: int, account: int | None = None, raw: int = 0) -> None:
    number = account or ledger.alice
    owner = {ledger.alice: ALICE, ledger.bob: BOB, ledger.carol: CAROL}[number]
    ledger.accounts.withdraw(number, ledger.cash.address, usd * USD + raw, owner, sender=owner)


# --- withdrawals -----------------------------------------------------------------------------------------------------


def test_all_accounts_share_one_allowance(limited: Ledger) -> None:
    """w may leave as long as w <= 10 % of what is left: 909.090909 of 10,000 USD."""
    take(limited, 500)
    with boa.reverts("cash: withdrawals limited"):
        take(limited, 409, limited.bob, raw=90_910)
    take(limited, 409, limited.bob, raw=90_909)
    for account in (limited.alice, limited.bob):
        with boa.reverts("cash: withdrawals limited"):
            take(limited, 0, account, raw=1)
    assert limited.accounts.net_outflow() == 909_090_909


def test_without_a_known_loss_nothing_is_limited(limited: Ledger) -> None:
    limited.auction.set_limited(False)
    take(limited, 5_000)
    take(limited, 4_000, limited.bob)
    limited.auction.set_limited(True)  # what left in the day before counts
    with boa.reverts("cash: withdrawals limited"):
        take(limited, 0, limited.bob, raw=1)
    boa.env.time_travel(seconds=DAY_S)
    take(limited, 90, limited.bob)
    with boa.reverts("cash: withdrawals limited"):
        take(limited, 2, limited.bob)


def test_the_outflow_fades_over_a_day(limited: Ledger) -> None:
    take(limited, 900)
    start = int(boa.env.timestamp)
    boa.env.time_travel(seconds=start + DAY_S // 3 - int(boa.env.timestamp))
    assert limited.accounts.net_outflow() == 600 * USD
    take(limited, 200)
    with boa.reverts("cash: withdrawals limited"):
        take(limited, 150)
    boa.env.time_travel(seconds=DAY_S)
    assert limited.accounts.net_outflow() == 0


def test_a_flash_deposit_makes_no_room_and_takes_none(limited: Ledger) -> None:
    """In one block: a deposit of a hundred times the supply, and out again, with a little more."""
    take(limited, 500, limited.bob)
    limited.deposit(limited.carol, limited.cash, 10**6 * USD)
    with boa.reverts("cash: withdrawals limited"):
        take(limited, 10**6 + 451, limited.carol)
    take(limited, 10**6, limited.carol)
    assert limited.accounts.net_outflow() == 500 * USD
    with boa.reverts("cash: withdrawals limited"):
        take(limited, 410)
    take(limited, 409)


def test_a_deposit_lets_another_leave(limited: Ledger) -> None:
    take(limited, 909)
    limited.deposit(limited.carol, limited.cash, 300 * USD)
    take(limited, 300)
    with boa.reverts("cash: withdrawals limited"):
        take(limited, 100)


def test_borrowed_cash_counts_collateral_and_transfers_do_not(limited: Ledger) -> None:
    with boa.reverts("cash: withdrawals limited"):
        take(limited, 909, limited.carol, raw=90_910)
    take(limited, 909, limited.carol, raw=90_909)  # a debt, but 10 % of the tokens that are left, as with credit
    other = limited.accounts.open_account(ALICE)
    limited.accounts.transfer(limited.alice, other, limited.cash.address, ALL, sender=ALICE)
    limited.deposit(limited.alice, limited.weth, WAD, sender=ALICE)
    limited.accounts.withdraw(limited.alice, limited.weth.address, WAD, ALICE, sender=ALICE)


def test_cover_from_the_fund_is_no_deposit(limited: Ledger) -> None:
    take(limited, 909)
    limited.cash.mint(limited.accounts.address, 500 * USD)
    limited.accounts.receive_cover(500 * USD, sender=AUCTION)
    assert limited.accounts.net_outflow() == 909 * USD


def test_governance_sets_the_limit_and_can_drop_a_broken_auction(limited: Ledger) -> None:
    for bps in (99, 10_001):
        with boa.reverts("cash: limit out of bounds"):
            limited.accounts.set_withdrawal_limit(bps, sender=GOVERNANCE)
    limited.accounts.set_withdrawal_limit(100, sender=GOVERNANCE)
    take(limited, 99)
    with boa.reverts("cash: withdrawals limited"):
        take(limited, 1)
    limited.accounts.set_withdrawal_limit(10_000, sender=GOVERNANCE)
    take(limited, 4_901)  # all of alice's: half of everything
    limited.accounts.set_auction(limited.cash.address, sender=GOVERNANCE)  # knows of no limits
    with pytest.raises(boa.BoaError):
        take(limited, 1, limited.bob)
    limited.accounts.set_auction(ZERO, sender=GOVERNANCE)
    take(limited, 5_000, limited.bob)


# --- caps ------------------------------------------------------------------------------------------------------------


def cap(ledger: Ledger) -> int:
    return int(ledger.accounts.collateral_info(WETH)[3])


def test_a_steward_raises_by_half_once_a_day(ledger: Ledger) -> None:
    set_cap = ledger.accounts.set_collateral_cap
    with boa.reverts("collateral: cap step"):
        set_cap(WETH, 1_500 * WAD + 1, sender=STEWARD)
    set_cap(WETH, 1_500 * WAD, sender=STEWARD)
    (log,) = ledger.accounts.get_logs()
    assert (log.asset, log.cap_raw) == (WETH, 1_500 * WAD)
    at = int(boa.env.timestamp)
    assert ledger.accounts.collateral_hard_cap(WETH) == (10_000 * WAD, at)
    boa.env.time_travel(seconds=at + DAY_S - 1 - int(boa.env.timestamp))
    with boa.reverts("collateral: cap step"):
        set_cap(WETH, 1_500 * WAD + 1, sender=STEWARD)
    boa.env.time_travel(seconds=1)
    set_cap(WETH, 2_250 * WAD, sender=STEWARD)


def test_a_steward_lowers_at_any_time_and_climbs_back_slowly(ledger: Ledger) -> None:
    set_cap = ledger.accounts.set_collateral_cap
    set_cap(WETH, 1_500 * WAD, sender=STEWARD)
    set_cap(WETH, 1_000 * WAD, sender=STEWARD)
    set_cap(WETH, 10, sender=STEWARD)
    with boa.reverts("collateral: cap step"):
        set_cap(WETH, 11, sender=STEWARD)
    boa.env.time_travel(seconds=DAY_S)
    with boa.reverts("collateral: cap step"):
        set_cap(WETH, 16, sender=STEWARD)
    set_cap(WETH, 15, sender=STEWARD)
    set_cap(WETH, 0, sender=STEWARD)
    boa.env.time_travel(seconds=DAY_S)
    with boa.reverts("collateral: cap step"):  # from nothing only governance raises
        set_cap(WETH, 1, sender=STEWARD)
    set_cap(WETH, 10_000 * WAD, sender=GOVERNANCE)
    assert cap(ledger) == 10_000 * WAD


def test_nobody_raises_above_the_hard_cap(ledger: Ledger) -> None:
    accounts = ledger.accounts
    for who in (GOVERNANCE, STEWARD):
        with boa.reverts("collateral: cap"):
            accounts.set_collateral_cap(WETH, 10_000 * WAD + 1, sender=who)
    accounts.set_collateral_hard_cap(WETH, 1_200 * WAD, sender=GOVERNANCE)
    assert cap(ledger) == 1_000 * WAD
    with boa.reverts("collateral: cap"):
        accounts.set_collateral_cap(WETH, 1_200 * WAD + 1, sender=STEWARD)
    accounts.set_collateral_cap(WETH, 1_200 * WAD, sender=STEWARD)
    at = int(boa.env.timestamp)
    accounts.set_collateral_hard_cap(WETH, 700 * WAD, sender=GOVERNANCE)  # the cap comes down with it
    assert cap(ledger) == 700 * WAD
    assert accounts.collateral_hard_cap(WETH) == (700 * WAD, at)
    for asset, hard, reason in ((2, 1, "collateral: not listed"), (WETH, 2**112, "collateral: cap")):
        with boa.reverts(reason):
            accounts.set_collateral_hard_cap(asset, hard, sender=GOVERNANCE)


def test_who_sets_caps(ledger: Ledger) -> None:
    for outsider in (STRANGER, GUARDIAN, ALICE, AUCTION):
        with boa.reverts("accounts: not authorised"):
            ledger.accounts.set_collateral_cap(WETH, 1, sender=outsider)
    for outsider in (STRANGER, STEWARD):
        with boa.reverts("ownable: caller is not the owner"):
            ledger.accounts.set_collateral_hard_cap(WETH, 1, sender=outsider)
    ledger.accounts.set_steward(ZERO, sender=GOVERNANCE)
    with boa.reverts("accounts: not authorised"):
        ledger.accounts.set_collateral_cap(WETH, 1, sender=STEWARD)
