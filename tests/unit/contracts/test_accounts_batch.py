# SPDX-License-Identifier: Apache-2.0
"""MarginAccounts.batch: one margin check an account at the end, and nobody sees or uses what is between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import boa
import pytest

from tests.support.accounts_contract import calldata
from tests.support.ledger import (
    ALICE,
    AUCTION,
    BOB,
    ETH_PERP,
    FOREVER,
    GOVERNANCE,
    LOTS,
    STRANGER,
    USD,
    VENUE,
    WAD,
    WETH,
    Ledger,
    deploy_ledger,
)

TWICE: Final = """
# pragma version 0.4.3
@external
def twice(target: address, first: Bytes[2000], second: Bytes[2000]):
    raw_call(target, first)
    raw_call(target, second)
"""


@pytest.fixture(scope="module")
def deployment() -> Ledger:
    return deploy_ledger(boa.load("contracts/testing/OddToken.vy", 6))


@pytest.fixture
def ledger(deployment: Ledger) -> Iterator[Ledger]:
    with boa.env.anchor():
        deployment.deposit(deployment.bob, deployment.cash, 10_000 * USD)
        yield deployment


def batch(ledger: Ledger, *calls: tuple[Any, ...], sender: str = ALICE) -> None:
    ledger.accounts.batch([calldata(ledger.accounts, *call) for call in calls], sender=sender)


def withdrawal(ledger: Ledger, account: int, usd: int, receiver: str = ALICE) -> tuple[Any, ...]:
    return "withdraw", account, ledger.cash.address, usd * USD, receiver


def test_in_order_as_the_caller(ledger: Ledger) -> None:
    accounts, alice = ledger.accounts, ledger.alice
    for token, amount in ((ledger.cash, 100 * USD), (ledger.weth, WAD)):
        token.mint(ALICE, amount)
        token.approve(accounts.address, amount, sender=ALICE)
    batch(
        ledger,
        ("open_account", ALICE),
        ("deposit", alice, ledger.cash.address, 100 * USD),
        ("deposit", alice, ledger.weth.address, WAD),
        ("transfer", alice, 4, ledger.cash.address, 60 * USD),
        ("set_operator", 4, BOB, 1, FOREVER),  # a function of the extension
        withdrawal(ledger, 4, 10),
    )
    assert [accounts.cash_of(k) for k in (alice, 4)] == [40 * WAD, 50 * WAD]
    assert accounts.collateral_of(alice, WETH) == WAD
    assert accounts.has_right(4, BOB, 1)
    assert ledger.cash.balanceOf(ALICE) == 10 * USD


def test_the_check_waits_for_the_end(ledger: Ledger) -> None:
    """Borrow and repay: refused alone, fine together; without the repayment refused as well."""
    ledger.gate.set_after(ledger.alice, -1, 10**30, 0)
    ledger.cash.approve(ledger.accounts.address, 2**255, sender=ALICE)
    borrow = withdrawal(ledger, ledger.alice, 500)
    with boa.reverts("accounts: below initial margin"):
        ledger.accounts.withdraw(*borrow[1:], sender=ALICE)
    with boa.reverts("accounts: below initial margin"):
        batch(ledger, borrow)
    with boa.reverts("accounts: below initial margin"):
        batch(ledger, borrow, ("deposit", ledger.alice, ledger.cash.address, 500 * USD - 1))
    batch(ledger, borrow, ("deposit", ledger.alice, ledger.cash.address, 500 * USD))
    assert ledger.accounts.cash_of(ledger.alice) == 0
    ledger.gate.set_after(ledger.alice, 1, 0, 1)
    with boa.reverts("accounts: risk data dead"):
        batch(ledger, borrow)


def test_every_account_that_gave_is_checked(ledger: Ledger) -> None:
    own = [int(ledger.accounts.open_account(ALICE)) for _ in range(9)]
    take = [withdrawal(ledger, account, 1) for account in own]
    batch(ledger, *take[:8], *take[:8])  # eight, each twice
    with boa.reverts("batch: too many accounts"):
        batch(ledger, *take)
    for account in (own[0], own[7]):
        with boa.env.anchor():
            ledger.gate.set_after(account, -1, 0, 0)
            with boa.reverts("accounts: below initial margin"):
                batch(ledger, *take[:8])


def test_a_transfer_waits_too(ledger: Ledger) -> None:
    other = int(ledger.accounts.open_account(ALICE))
    ledger.gate.set_after(ledger.alice, -1, 0, 0)
    away = ("transfer", ledger.alice, other, ledger.cash.address, USD)
    with boa.reverts("accounts: below initial margin"):
        batch(ledger, away)
    batch(ledger, away, ("transfer", other, ledger.alice, ledger.cash.address, USD))


def test_one_failure_undoes_all_with_its_reason(ledger: Ledger) -> None:
    for bad, reason in (
        (withdrawal(ledger, ledger.bob, 1), "accounts: not authorised"),
        (withdrawal(ledger, ledger.alice, 20_000), "cash: not enough held"),
        (("set_operator", ledger.alice, BOB, 8, 0), "accounts: rights"),
        (("set_engine", STRANGER), "ownable: caller is not the owner"),
    ):
        with boa.reverts(reason):
            batch(ledger, ("open_account", ALICE), bad)
    assert ledger.accounts.account_count() == 4


@pytest.mark.parametrize(
    ("name", "arguments", "sender"),
    [
        ("apply_fill", ((ETH_PERP, 1, 2, LOTS, WAD, 0, 0),), VENUE),
        ("seize", (1, 2, WAD, 0), AUCTION),
        ("seize_legs", (1, 2, []), AUCTION),
        ("pay_reward", (1, 2, 1), AUCTION),
        ("socialise_loss", (1,), AUCTION),
        ("receive_cover", (1,), AUCTION),
        ("state", (1,), STRANGER),
        ("batch", ([],), ALICE),
    ],
)
def test_what_a_batch_may_not_hold(ledger: Ledger, name: str, arguments: tuple[Any, ...], sender: str) -> None:
    with boa.reverts("batch: not in a batch"):
        batch(ledger, (name, *arguments), sender=sender)


def test_governance_may_batch_its_settings(ledger: Ledger) -> None:
    batch(ledger, ("set_collateral_cap", 0, 5), ("set_withdrawal_limit", 200), sender=GOVERNANCE)
    assert (ledger.accounts.collateral_info(0)[3], ledger.accounts.withdrawal_limit_bps()) == (5, 200)


def test_two_batches_and_a_fill_in_one_transaction(ledger: Ledger) -> None:
    """Nothing of a batch outlives it."""
    caller = boa.loads(TWICE)
    accounts = ledger.accounts
    number = int(accounts.open_account(caller.address))
    ledger.deposit(number, ledger.cash, 10 * USD)
    take = bytes(accounts.withdraw.prepare_calldata(number, ledger.cash.address, USD, ALICE))
    once = bytes(accounts.batch.prepare_calldata([take]))
    caller.twice(accounts.address, once, once)
    assert ledger.cash.balanceOf(ALICE) == 2 * USD
    accounts.set_venue(caller.address, True, sender=GOVERNANCE)
    fill = bytes(accounts.apply_fill.prepare_calldata((ETH_PERP, 1, 2, LOTS, WAD, 0, 0)))
    caller.twice(accounts.address, once, fill)
    assert accounts.position_of(1, ETH_PERP) == LOTS


def hooked(ledger: Ledger, name: str, *arguments: Any) -> None:
    """The cash token calls the ledger whenever it moves."""
    ledger.cash.set_hook(ledger.accounts.address, calldata(ledger.accounts, name, *arguments))


def test_a_token_in_the_middle_sees_no_account(ledger: Ledger) -> None:
    """Read-only re-entry: while the debt of a batch is out, nobody can have it judged."""
    ledger.deposit(ledger.alice, ledger.cash, USD)
    hooked(ledger, "state", ledger.alice)
    ledger.accounts.withdraw(*withdrawal(ledger, ledger.alice, 1)[1:], sender=ALICE)  # alone: all is booked and checked
    with boa.reverts("batch: not in a batch"):
        batch(ledger, withdrawal(ledger, ledger.alice, 1))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("deposit", (1, None, 1)),
        ("open_account", (ALICE,)),
        ("settle_delta", (2, 255)),
        ("settle_many", ([2], 0)),
        ("pause", (0, 1)),
        ("cash_of", (1,)),
        ("cash_totals", ()),
        ("batch", ([],)),
    ],
)
def test_a_token_in_the_middle_gets_in_nowhere(ledger: Ledger, name: str, arguments: tuple[Any, ...]) -> None:
    given = [ledger.cash.address if a is None else a for a in arguments]
    ledger.deposit(ledger.alice, ledger.cash, 5 * USD)
    hooked(ledger, name, *given)
    with pytest.raises(boa.BoaError):
        batch(ledger, withdrawal(ledger, ledger.alice, 1))
    assert ledger.cash.balanceOf(ALICE) == 0
    hooked(ledger, "has_right", 1, ALICE, 1)  # a venue may ask at any time
    batch(ledger, withdrawal(ledger, ledger.alice, 1))


def test_a_token_cannot_start_a_batch_in_the_middle_of_a_call(ledger: Ledger) -> None:
    ledger.deposit(ledger.alice, ledger.cash, 5 * USD)
    opening = calldata(ledger.accounts, "open_account", ALICE)
    hooked(ledger, "batch", [opening])
    with pytest.raises(boa.BoaError):
        ledger.accounts.withdraw(*withdrawal(ledger, ledger.alice, 1)[1:], sender=ALICE)
    hooked(ledger, "batch", [])  # an empty one does nothing
    ledger.accounts.withdraw(*withdrawal(ledger, ledger.alice, 1)[1:], sender=ALICE)
    assert ledger.accounts.account_count() == 4
