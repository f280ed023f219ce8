# SPDX-License-Identifier: Apache-2.0
"""MarginAccounts and tokens with habits: false instead of a revert, huge balances, rebasing, 0 to 24 decimals."""

from __future__ import annotations

from typing import Any, Final

import boa
import pytest

from tests.support.ledger import ALICE, BOB, GOVERNANCE, STRANGER, WAD, Ledger, deploy_ledger

# returns false when told to, takes what it is told to from any balance, needs no allowance
MOODY: Final = """
# pragma version 0.4.3
decimals: public(uint8)
balanceOf: public(HashMap[address, uint256])
refuses: public(bool)
vanishing: uint256

@deploy
def __init__(decimals_: uint8):
    self.decimals = decimals_

@external
def set(account: address, amount: uint256):
    self.balanceOf[account] = amount

@external
def set_refuses(refuses: bool):
    self.refuses = refuses

@external
def set_vanishing(amount: uint256):
    self.vanishing = amount

@external
def transfer(receiver: address, amount: uint256) -> bool:
    return self._move(msg.sender, receiver, amount)

@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    return self._move(sender, receiver, amount)

@internal
def _move(sender: address, receiver: address, amount: uint256) -> bool:
    if self.refuses:
        return False
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] = unsafe_sub(unsafe_add(self.balanceOf[receiver], amount), self.vanishing)
    return True
"""


def world(decimals: int = 6) -> tuple[Ledger, Any]:
    """A ledger whose cash is moody; its account 1 is alice's."""
    token = boa.loads(MOODY, decimals)
    return deploy_ledger(token), token


def test_a_token_that_says_no_instead_of_reverting() -> None:
    with boa.env.anchor():
        ledger, token = world()
        token.set(ALICE, 100)
        ledger.accounts.deposit(1, token.address, 50, sender=ALICE)
        token.set_refuses(True)
        with boa.reverts("token: refused"):
            ledger.accounts.deposit(1, token.address, 50, sender=ALICE)
        with boa.reverts("token: refused"):
            ledger.accounts.withdraw(1, token.address, 50, ALICE, sender=ALICE)
        assert ledger.accounts.cash_book()[0] == 50


def test_balances_near_2_256() -> None:
    """Somebody has minted the ledger almost everything there can be: deposits and withdrawals go on."""
    with boa.env.anchor():
        ledger, token = world()
        for held in (2**255, 2**256 - 101):
            token.set(ledger.accounts.address, held)
            token.set(ALICE, 100)
            ledger.accounts.deposit(1, token.address, 100, sender=ALICE)
            ledger.accounts.withdraw(1, token.address, 100, BOB, sender=ALICE)
            assert token.balanceOf(ledger.accounts.address) == held
        token.set(ledger.accounts.address, 0)
        token.set(ALICE, 2**256 - 1)
        for amount in (2**112, 2**255, 2**256 - 1):
            with boa.reverts("cash: total too large"):
                ledger.accounts.deposit(1, token.address, amount, sender=ALICE)


def test_a_collateral_of_which_there_is_too_much() -> None:
    with boa.env.anchor():
        ledger, _ = world()
        token = boa.loads(MOODY, 18)
        ledger.accounts.list_collateral(token.address, 0, 2**112 - 1, 2**112 - 1, sender=GOVERNANCE)
        token.set(ALICE, 2**256 - 1)
        for amount in (2**112, 2**255, 2**256 - 1):
            with boa.reverts("collateral: cap"):
                ledger.accounts.deposit(1, token.address, amount, sender=ALICE)
        ledger.accounts.deposit(1, token.address, 2**112 - 1, sender=ALICE)
        with boa.reverts("collateral: cap"):
            ledger.accounts.deposit(1, token.address, 1, sender=ALICE)
        ledger.accounts.withdraw(1, token.address, 2**112 - 1, ALICE, sender=ALICE)


def test_a_balance_that_falls_in_the_middle() -> None:
    """Rebasing down: nothing came; and no cover is seen where there is less than the book."""
    with boa.env.anchor():
        ledger, token = world()
        token.set(ALICE, 100)
        ledger.accounts.deposit(1, token.address, 60, sender=ALICE)
        token.set_vanishing(40)
        for vanishing in (40, 41):
            token.set_vanishing(vanishing)
            with boa.reverts("token: nothing received"):
                ledger.accounts.deposit(1, token.address, 40, sender=ALICE)
        token.set_vanishing(0)
        token.set(ledger.accounts.address, 59)
        assert ledger.accounts.receive_cover(10, sender=ledger.accounts.auction()) == 0
        ledger.accounts.withdraw(1, token.address, 59, ALICE, sender=ALICE)
        with pytest.raises(boa.BoaError):  # the last unit is not there
            ledger.accounts.withdraw(1, token.address, 1, ALICE, sender=ALICE)


def test_decimals_of_collateral() -> None:
    with boa.env.anchor():
        ledger, _ = world()
        for decimals in (19, 24, 255):
            with boa.reverts("collateral: decimals"):
                ledger.accounts.list_collateral(boa.loads(MOODY, decimals).address, 0, 1, 1, sender=GOVERNANCE)
        for decimals in (0, 2, 6, 8, 18):
            ledger.accounts.list_collateral(boa.loads(MOODY, decimals).address, 0, 1, 1, sender=GOVERNANCE)
            asset = ledger.accounts.collateral_count() - 1
            assert ledger.accounts.collateral_info(asset)[1] == decimals


@pytest.mark.parametrize("decimals", [0, 2, 18])
def test_decimals_of_cash(decimals: int) -> None:
    with boa.env.anchor():
        ledger, token = world(decimals)
        token.set(STRANGER, 7)
        ledger.accounts.deposit(1, token.address, 7, sender=STRANGER)
        assert ledger.accounts.cash_of(1) == 7 * WAD // 10**decimals
        ledger.accounts.withdraw(1, token.address, 7, ALICE, sender=ALICE)
        assert (ledger.accounts.cash_of(1), token.balanceOf(ALICE)) == (0, 7)
