# SPDX-License-Identifier: Apache-2.0
"""MarginAccounts: what governance may set, odd tokens, re-entry, gas and size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boa
import pytest
from eth_abi import encode
from eth_utils import function_signature_to_4byte_selector

from tests.support.ledger import (
    ALICE,
    AUCTION,
    GOVERNANCE,
    GUARDIAN,
    STRANGER,
    USD,
    VENUE,
    WAD,
    Ledger,
    deploy_ledger,
)

ZERO = "0x" + 40 * "0"


@pytest.fixture(scope="module")
def deployment() -> Ledger:
    return deploy_ledger()


@pytest.fixture
def ledger(deployment: Ledger) -> Iterator[Ledger]:
    with boa.env.anchor():
        yield deployment


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("set_engine", (STRANGER,)),
        ("set_table", (STRANGER,)),
        ("set_auction", (STRANGER,)),
        ("set_venue", (STRANGER, True)),
        ("set_guardian", (STRANGER,)),
        ("set_rates", (0, 0, 0, 9_000, 0)),
        ("set_steward", (STRANGER,)),
        ("set_collateral_hard_cap", (0, 1)),
        ("set_withdrawal_limit", (1_000,)),
        ("transfer_ownership", (STRANGER,)),
    ],
)
def test_only_governance_sets(ledger: Ledger, function: str, arguments: tuple[Any, ...]) -> None:
    for outsider in (STRANGER, GUARDIAN, AUCTION, VENUE, ALICE):
        with boa.reverts("ownable: caller is not the owner"):
            getattr(ledger.accounts, function)(*arguments, sender=outsider)
    getattr(ledger.accounts, function)(*arguments, sender=GOVERNANCE)


def test_wiring_to_nowhere(ledger: Ledger) -> None:
    for function in ("set_engine", "set_table"):
        with boa.reverts("accounts: zero address"):
            getattr(ledger.accounts, function)(ZERO, sender=GOVERNANCE)
    ledger.accounts.set_auction(ZERO, sender=GOVERNANCE)  # stops liquidation, takes nothing
    assert ledger.accounts.auction() == ZERO


def test_account_zero_follows_governance(ledger: Ledger) -> None:
    ledger.accounts.transfer_ownership(STRANGER, sender=GOVERNANCE)
    assert ledger.accounts.owner_of(0) == GOVERNANCE
    ledger.accounts.accept_ownership(sender=STRANGER)
    assert ledger.accounts.owner_of(0) == STRANGER


def test_listing_collateral(ledger: Ledger) -> None:
    accounts = ledger.accounts
    token = boa.load("contracts/testing/OddToken.vy", 18)
    with boa.reverts("ownable: caller is not the owner"):
        accounts.list_collateral(token.address, 0, 1, 1, sender=STRANGER)
    wide = boa.load("contracts/testing/OddToken.vy", 19)
    for arguments, reason in (
        ((wide.address, 0, 1, 1), "collateral: decimals"),
        ((token.address, 17, 1, 1), "collateral: link"),
        ((token.address, 0, 1, 2**112), "collateral: cap"),
        ((token.address, 0, 2, 1), "collateral: cap"),
        ((ledger.weth.address, 0, 1, 1), "collateral: listed"),
        ((ledger.cash.address, 0, 1, 1), "collateral: listed"),
    ):
        with boa.reverts(reason):
            accounts.list_collateral(*arguments, sender=GOVERNANCE)
    accounts.list_collateral(token.address, 0, 5, 9, sender=GOVERNANCE)
    log, hard = accounts.get_logs()
    assert (log.asset, log.token, log.decimals, log.linked_underlying, log.cap_raw) == (2, token.address, 18, 0, 5)
    assert (hard.asset, hard.hard_cap_raw) == (2, 9)
    assert accounts.collateral_hard_cap(2) == (9, 0)
    for _ in range(13):
        other = boa.load("contracts/testing/OddToken.vy", 0)
        accounts.list_collateral(other.address, 16, 0, 2**112 - 1, sender=GOVERNANCE)
    with boa.reverts("collateral: list full"):
        accounts.list_collateral(boa.load("contracts/testing/OddToken.vy", 0).address, 0, 1, 1, sender=GOVERNANCE)
    with boa.reverts("collateral: not listed"):
        accounts.set_collateral_cap(16, 1, sender=GOVERNANCE)


# --- odd tokens ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd() -> tuple[Ledger, Any]:
    cash = boa.load("contracts/testing/OddToken.vy", 6)
    return deploy_ledger(cash), cash


@pytest.fixture
def odd_ledger(odd: tuple[Ledger, Any]) -> Iterator[Ledger]:
    with boa.env.anchor():
        yield odd[0]


def test_a_token_that_returns_nothing(odd_ledger: Ledger) -> None:
    odd_ledger.deposit(odd_ledger.alice, odd_ledger.cash, 100 * USD)
    odd_ledger.accounts.withdraw(odd_ledger.alice, odd_ledger.cash.address, 40 * USD, ALICE, sender=ALICE)
    assert odd_ledger.cash.balanceOf(ALICE) == 40 * USD


def test_a_fee_on_transfer_is_the_senders(odd_ledger: Ledger) -> None:
    odd_ledger.cash.set_habits(100, 0)
    odd_ledger.deposit(odd_ledger.alice, odd_ledger.cash, 100 * USD)
    assert odd_ledger.accounts.cash_of(odd_ledger.alice) == 99 * WAD
    assert odd_ledger.accounts.cash_book()[0] == odd_ledger.cash.balanceOf(odd_ledger.accounts.address) == 99 * USD
    odd_ledger.cash.set_habits(10_000, 0)
    with boa.reverts("token: nothing received"):
        odd_ledger.deposit(odd_ledger.alice, odd_ledger.cash, 100 * USD)


def test_a_token_that_takes_more_than_was_sent(odd_ledger: Ledger) -> None:
    odd_ledger.deposit(odd_ledger.alice, odd_ledger.cash, 100 * USD)
    odd_ledger.cash.set_habits(0, 1)
    with boa.reverts("token: sent too much"):
        odd_ledger.accounts.withdraw(odd_ledger.alice, odd_ledger.cash.address, 40 * USD, ALICE, sender=ALICE)


@pytest.mark.parametrize(
    ("signature", "arguments"),
    [
        ("deposit(uint256,address,uint256)", (1, None, 1)),
        ("settle_delta(uint256,uint256)", (1, 255)),
        ("open_account(address)", (ALICE,)),
        ("cash_of(uint256)", (1,)),
    ],
)
def test_a_token_cannot_re_enter(odd_ledger: Ledger, signature: str, arguments: tuple[Any, ...]) -> None:
    types = signature[signature.index("(") + 1 : -1].split(",")
    given = [odd_ledger.cash.address if a is None else a for a in arguments]
    data = function_signature_to_4byte_selector(signature) + encode(types, given)
    odd_ledger.cash.set_hook(odd_ledger.accounts.address, data)
    with pytest.raises(boa.BoaError):
        odd_ledger.deposit(odd_ledger.alice, odd_ledger.cash, USD)


def test_the_engines_view_stays_open(odd_ledger: Ledger) -> None:
    """state() may be read in the middle of a deposit: nothing is credited yet."""
    data = function_signature_to_4byte_selector("state(uint256)") + encode(["uint256"], [1])
    odd_ledger.cash.set_hook(odd_ledger.accounts.address, data)
    odd_ledger.deposit(odd_ledger.alice, odd_ledger.cash, USD)
    assert odd_ledger.accounts.cash_of(odd_ledger.alice) == WAD


# --- size ------------------------------------------------------------------------------------------------------------


def test_the_contract_fits_eip_170(ledger: Ledger) -> None:
    assert len(boa.env.get_code(ledger.accounts.address)) <= 24_576
