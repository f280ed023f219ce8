# SPDX-License-Identifier: Apache-2.0
"""MarginAccounts: rights of operators, transfers between accounts of one owner, closing, deposits by permit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import boa
import pytest
from eth_account import Account

from tests.support.accounts_contract import calldata, load_accounts
from tests.support.ledger import (
    ALICE,
    ALL,
    BOB,
    ETH_PERP,
    FOREVER,
    GOVERNANCE,
    GUARDIAN,
    LOTS,
    MANAGE,
    STRANGER,
    TRADE,
    USD,
    WAD,
    WETH,
    WITHDRAW,
    Ledger,
    deploy_ledger,
)

ZERO: Final = "0x" + 40 * "0"
SIGNER: Final = Account.from_key((7).to_bytes(32, "big"))
PERMIT_TOKEN: Final = """
# pragma version 0.4.3
from snekmate.auth import ownable
from snekmate.tokens import erc20
initializes: ownable
initializes: erc20[ownable := ownable]
exports: erc20.__interface__

@deploy
def __init__():
    ownable.__init__()
    erc20.__init__("Permit", "PMT", 6, "Permit", "1")
"""


@pytest.fixture(scope="module")
def deployment() -> Ledger:
    return deploy_ledger()


@pytest.fixture
def ledger(deployment: Ledger) -> Iterator[Ledger]:
    with boa.env.anchor():
        yield deployment


def event(ledger: Ledger, name: str) -> Any:
    (found,) = [log for log in ledger.accounts.get_logs() if type(log).__name__ == name]
    return found


def second_account(ledger: Ledger, owner: str = ALICE) -> int:
    return int(ledger.accounts.open_account(owner))


# --- rights ----------------------------------------------------------------------------------------------------------


def test_only_the_owner_names_operators(ledger: Ledger) -> None:
    accounts, alice = ledger.accounts, ledger.alice
    accounts.set_operator(alice, BOB, 7, FOREVER, sender=ALICE)
    log = event(ledger, "OperatorSet")
    assert (log.account, log.operator, log.rights, log.valid_until) == (alice, BOB, 7, FOREVER)
    for outsider in (BOB, STRANGER, GOVERNANCE, GUARDIAN):  # an operator with every right names nobody
        with boa.reverts("accounts: not authorised"):
            accounts.set_operator(alice, STRANGER, 1, FOREVER, sender=outsider)
    with boa.reverts("accounts: zero address"):
        accounts.set_operator(alice, ZERO, 1, FOREVER, sender=ALICE)
    for rights, until in ((8, 0), (255, 0), (1 << 8, 0), (1, 2**64)):
        with boa.reverts("accounts: rights"):
            accounts.set_operator(alice, BOB, rights, until, sender=ALICE)


def test_a_right_is_had_alone_and_until_its_end(ledger: Ledger) -> None:
    has, alice = ledger.accounts.has_right, ledger.alice
    end = int(boa.env.timestamp) + 100
    for given in range(8):
        ledger.accounts.set_operator(alice, BOB, given, end, sender=ALICE)
        assert ledger.accounts.operator_of(alice, BOB) == (given, end)
        assert [has(alice, BOB, asked) for asked in range(1, 8)] == [given & k == k for k in range(1, 8)]
        assert not has(alice, BOB, 0)
        assert not has(alice, STRANGER, 1)
        assert has(alice, ALICE, 7)
    boa.env.time_travel(seconds=end - int(boa.env.timestamp))
    assert has(alice, BOB, TRADE)
    boa.env.time_travel(seconds=1)
    assert not has(alice, BOB, TRADE)


def test_nobody_has_rights_in_what_does_not_exist(ledger: Ledger) -> None:
    for who in (ZERO, ALICE, GOVERNANCE):
        assert not ledger.accounts.has_right(9, who, TRADE)


@pytest.mark.parametrize("given", range(8))
def test_what_each_right_allows(ledger: Ledger, given: int) -> None:
    accounts, alice = ledger.accounts, ledger.alice
    other = second_account(ledger)
    ledger.deposit(alice, ledger.cash, 10 * USD)
    for account in (alice, other):
        accounts.set_operator(account, BOB, given, FOREVER, sender=ALICE)
    ledger.weth.mint(BOB, WAD)
    ledger.weth.approve(accounts.address, WAD, sender=BOB)
    empty = second_account(ledger)
    accounts.set_operator(empty, BOB, given, FOREVER, sender=ALICE)
    for right, name, arguments in (
        (WITHDRAW, "withdraw", (alice, ledger.cash.address, USD, BOB)),
        (MANAGE, "deposit", (alice, ledger.weth.address, WAD)),
        (MANAGE, "transfer", (alice, other, ledger.cash.address, USD)),
        (MANAGE, "close_account", (empty,)),
    ):
        if given & right:
            getattr(accounts, name)(*arguments, sender=BOB)
        else:
            with boa.reverts("accounts: not authorised"):
                getattr(accounts, name)(*arguments, sender=BOB)


# --- transfer --------------------------------------------------------------------------------------------------------


def test_a_transfer_of_cash(ledger: Ledger) -> None:
    other = second_account(ledger)
    ledger.deposit(ledger.alice, ledger.cash, 100 * USD)
    ledger.accounts.transfer(ledger.alice, other, ledger.cash.address, 30 * USD, sender=ALICE)
    log = event(ledger, "Transferred")
    assert (log.from_account, log.to_account, log.token) == (ledger.alice, other, ledger.cash.address)
    assert (log.amount_raw, log.from_balance, log.to_balance) == (30 * USD, 70 * WAD, 30 * WAD)
    assert [ledger.accounts.nonce_of(k) for k in (ledger.alice, other)] == [2, 1]
    ledger.accounts.transfer(ledger.alice, other, ledger.cash.address, ALL, sender=ALICE)
    assert [ledger.accounts.cash_of(k) for k in (ledger.alice, other)] == [0, 100 * WAD]
    assert ledger.accounts.cash_book()[0] == ledger.cash.balanceOf(ledger.accounts.address) == 100 * USD


def test_a_transfer_of_collateral(ledger: Ledger) -> None:
    other = second_account(ledger)
    ledger.deposit(ledger.alice, ledger.weth, 5 * WAD, sender=ALICE)
    ledger.accounts.transfer(ledger.alice, other, ledger.weth.address, 2 * WAD, sender=ALICE)
    assert [ledger.accounts.collateral_of(k, WETH) for k in (ledger.alice, other)] == [3 * WAD, 2 * WAD]
    assert ledger.accounts.collateral_info(WETH)[4] == 5 * WAD
    ledger.accounts.transfer(ledger.alice, other, ledger.weth.address, ALL, sender=ALICE)
    log = event(ledger, "Transferred")
    assert (log.amount_raw, log.from_balance, log.to_balance) == (3 * WAD, 0, 5 * WAD)
    assert ledger.accounts.state(ledger.alice)[0] >> 144 & 0xFFFF == 0
    assert ledger.accounts.state(other)[0] >> 144 & 0xFFFF == 1


def test_a_transfer_that_is_refused(ledger: Ledger) -> None:
    accounts, alice, token = ledger.accounts, ledger.alice, ledger.weth.address
    other, governed = second_account(ledger), second_account(ledger, GOVERNANCE)
    ledger.deposit(alice, ledger.weth, 5 * WAD, sender=ALICE)
    for sender, arguments, reason in (
        (ALICE, (alice, alice, token, 1), "accounts: same account"),
        (ALICE, (alice, 0, token, 1), "accounts: protocol account"),
        (GOVERNANCE, (0, governed, ledger.cash.address, 1), "accounts: protocol account"),
        (ALICE, (alice, ledger.bob, token, 1), "accounts: not authorised"),
        (BOB, (alice, ledger.bob, token, 1), "accounts: not authorised"),
        (ALICE, (alice, 99, token, 1), "accounts: not authorised"),
        (ALICE, (alice, other, token, 5 * WAD + 1), "collateral: balance"),
        (ALICE, (alice, other, token, 0), "accounts: zero amount"),
        (ALICE, (alice, other, ledger.cash.address, ALL), "accounts: zero amount"),
        (ALICE, (alice, other, ledger.cash.address, 2**112), "cash: total too large"),
        (ALICE, (alice, other, STRANGER, 1), "collateral: not listed"),
    ):
        with boa.reverts(reason):
            accounts.transfer(*arguments, sender=sender)


def test_manage_on_two_owners_accounts_moves_nothing_between_them(ledger: Ledger) -> None:
    """Else it would be WITHDRAW: the operator's own account is one of them."""
    ledger.deposit(ledger.alice, ledger.cash, 100 * USD)
    ledger.accounts.set_operator(ledger.alice, BOB, MANAGE, FOREVER, sender=ALICE)
    with boa.reverts("accounts: another owner"):
        ledger.accounts.transfer(ledger.alice, ledger.bob, ledger.cash.address, USD, sender=BOB)


def test_the_giver_holds_initial_margin_after(ledger: Ledger) -> None:
    other = second_account(ledger)
    ledger.deposit(ledger.alice, ledger.cash, 100 * USD)
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, WAD)
    arguments = (ledger.alice, other, ledger.cash.address, USD)
    ledger.gate.set_after(other, -1, 10**30, 23)  # the taker's own health is nobody's business
    for health, flags, reason in ((99, 0, "below initial margin"), (100, 1, "risk data dead")):
        ledger.gate.set_after(ledger.alice, health, 100, flags)
        with boa.reverts(f"accounts: {reason}"):
            ledger.accounts.transfer(*arguments, sender=ALICE)
    ledger.gate.set_after(ledger.alice, 100, 100, 0)
    ledger.accounts.pause(1, 600, sender=GUARDIAN)  # what stays inside is not paused
    ledger.accounts.transfer(*arguments, sender=ALICE)


# --- closing ---------------------------------------------------------------------------------------------------------


def test_closing_sweeps_dust_and_is_for_ever(ledger: Ledger) -> None:
    accounts, bob = ledger.accounts, ledger.bob
    option, _ = ledger.list_option(0, 2_000, is_call=True)
    ledger.fill(option, ledger.alice, bob, 3, 333_333_000_000)  # bob has 999,999 wad, below a raw unit
    ledger.fill(option, bob, ledger.alice, 3, 0)
    before = accounts.cash_of(0)
    accounts.set_operator(bob, STRANGER, 7, FOREVER, sender=BOB)
    accounts.close_account(bob, sender=BOB)
    log = event(ledger, "AccountClosed")
    assert (log.account, log.dust_wad) == (bob, 999_999)
    assert (accounts.cash_of(bob), accounts.cash_of(0) - before) == (0, 999_999)
    assert accounts.owner_of(bob) == ZERO
    for who in (BOB, STRANGER, ZERO):
        assert not accounts.has_right(bob, who, TRADE)
    for name, arguments in (
        ("withdraw", (bob, ledger.cash.address, 1, BOB)),
        ("set_operator", (bob, BOB, 1, 1)),
        ("close_account", (bob,)),
        ("transfer", (bob, ledger.alice, ledger.cash.address, 1)),
    ):
        with boa.reverts("accounts: not authorised"):
            getattr(accounts, name)(*arguments, sender=BOB)
    for call in (
        lambda: ledger.deposit(bob, ledger.cash, 1),
        lambda: ledger.fill(ETH_PERP, ledger.alice, bob, 1, WAD),
        lambda: accounts.seize(ledger.alice, bob, WAD, 0, sender=accounts.auction()),
        lambda: accounts.pay_reward(ledger.alice, bob, 1, sender=accounts.auction()),
    ):
        with boa.reverts("accounts: no such account"):
            call()
    assert accounts.open_account(BOB) == 4  # the number is not given again


def test_only_what_is_empty_closes(ledger: Ledger) -> None:
    accounts, alice = ledger.accounts, ledger.alice
    future, _ = ledger.list_future(0)
    option, _ = ledger.list_option(0, 2_000, is_call=True)
    with boa.reverts("accounts: not authorised"):
        accounts.close_account(alice, sender=BOB)
    with boa.reverts("accounts: protocol account"):
        accounts.close_account(0, sender=GOVERNANCE)
    for fill in (
        lambda: ledger.fill(ETH_PERP, alice, ledger.bob, 1, 0),
        lambda: ledger.fill(future, alice, ledger.bob, 1, 0),
        lambda: ledger.fill(option, alice, ledger.bob, 1, 0),
        lambda: ledger.deposit(alice, ledger.weth, 1, sender=ALICE),
        lambda: ledger.deposit(alice, ledger.cash, 1),
        lambda: ledger.fill(ETH_PERP, ledger.bob, ledger.carol, 1, 1, 0, 0) or ledger.fill(option, alice, 2, 1, 1),
    ):
        with boa.env.anchor():
            fill()
            with boa.reverts("accounts: not empty"):
                accounts.close_account(alice, sender=ALICE)
    ledger.auction.set_phase(alice, 1)
    with boa.reverts("accounts: in auction"):
        accounts.close_account(alice, sender=ALICE)
    accounts.set_auction(ZERO, sender=GOVERNANCE)
    accounts.close_account(alice, sender=ALICE)


def test_a_stranger_who_tops_up_cannot_keep_an_account_open(ledger: Ledger) -> None:
    accounts = ledger.accounts
    ledger.deposit(ledger.alice, ledger.cash, 1)
    calls = (("withdraw", ledger.alice, ledger.cash.address, ALL, ALICE), ("close_account", ledger.alice))
    accounts.batch([calldata(accounts, *call) for call in calls], sender=ALICE)
    assert accounts.owner_of(ledger.alice) == ZERO


# --- permit ----------------------------------------------------------------------------------------------------------


def permit(token: Any, spender: str, amount: int, deadline: int) -> tuple[int, bytes, bytes]:
    """EIP-2612 signature of SIGNER."""
    fields = {"owner": "address", "spender": "address", "value": "uint256", "nonce": "uint256", "deadline": "uint256"}
    domain = token.eip712Domain()
    signed = Account.sign_typed_data(
        SIGNER.key,
        domain_data={
            "name": domain[1],
            "version": domain[2],
            "chainId": domain[3],
            "verifyingContract": str(domain[4]),
        },
        message_types={"Permit": [{"name": name, "type": kind} for name, kind in fields.items()]},
        message_data={
            "owner": SIGNER.address,
            "spender": str(spender),
            "value": amount,
            "nonce": token.nonces(SIGNER.address),
            "deadline": deadline,
        },
    )
    return signed.v, signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")


@pytest.fixture(scope="module")
def permitted() -> tuple[Any, Any]:
    """(MarginAccounts, cash with permit), account 1 is the signer's."""
    token = boa.loads(PERMIT_TOKEN)
    accounts = load_accounts(GOVERNANCE, GUARDIAN, token.address, STRANGER, STRANGER)
    accounts.open_account(SIGNER.address)
    token.mint(SIGNER.address, 100 * USD)
    return accounts, token


def test_a_deposit_by_permit(permitted: tuple[Any, Any]) -> None:
    accounts, token = permitted
    with boa.env.anchor():
        deadline = int(boa.env.timestamp) + 60
        signature = permit(token, accounts.address, 40 * USD, deadline)
        accounts.deposit_with_permit(1, token.address, 40 * USD, deadline, *signature, sender=SIGNER.address)
        assert accounts.cash_of(1) == 40 * WAD


def test_a_permit_used_by_somebody_else_first_spoils_nothing(permitted: tuple[Any, Any]) -> None:
    accounts, token = permitted
    with boa.env.anchor():
        deadline = int(boa.env.timestamp) + 60
        v, r, s = permit(token, accounts.address, 40 * USD, deadline)
        token.permit(SIGNER.address, accounts.address, 40 * USD, deadline, v, r, s, sender=STRANGER)
        accounts.deposit_with_permit(1, token.address, 40 * USD, deadline, v, r, s, sender=SIGNER.address)
        assert accounts.cash_of(1) == 40 * WAD


def test_without_an_allowance_the_pull_decides(permitted: tuple[Any, Any]) -> None:
    accounts, token = permitted
    with boa.env.anchor():
        deadline = int(boa.env.timestamp) + 60
        signature = permit(token, accounts.address, 40 * USD, deadline)
        for sender in (SIGNER.address, STRANGER):  # another amount; somebody else's signature
            with boa.reverts("erc20: insufficient allowance"):
                accounts.deposit_with_permit(1, token.address, 41 * USD, deadline, *signature, sender=sender)
        with boa.reverts("collateral: not listed"):  # nothing but listed tokens is called
            accounts.deposit_with_permit(1, STRANGER, 1, deadline, *signature, sender=SIGNER.address)
        with boa.reverts("accounts: no such account"):
            accounts.deposit_with_permit(2, token.address, 40 * USD, deadline, *signature, sender=SIGNER.address)
