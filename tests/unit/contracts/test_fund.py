# SPDX-License-Identifier: Apache-2.0
"""InsuranceFund: who may take a cover, how much, where it goes, and what shares are worth before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import boa
import pytest

GOVERNANCE: Final = boa.env.generate_address("governance")
SUCCESSOR: Final = boa.env.generate_address("successor")
ACCOUNTS: Final = boa.env.generate_address("accounts")
AUCTION: Final = boa.env.generate_address("auction")
STAKER: Final = boa.env.generate_address("staker")
ATTACKER: Final = boa.env.generate_address("attacker")

USD: Final = 10**6
SHARE: Final = 10**12


@dataclass(frozen=True)
class Vault:
    fund: Any
    token: Any


@pytest.fixture(scope="module")
def deployment() -> Vault:
    token = boa.load("contracts/testing/TestToken.vy", "US Dollar", "USD", 6)
    fund = boa.load("contracts/InsuranceFund.vy", GOVERNANCE, ACCOUNTS, token.address)
    fund.set_auction(AUCTION, sender=GOVERNANCE)
    for who in (STAKER, ATTACKER):
        token.mint(who, 10_000 * USD)
        token.approve(fund.address, 2**256 - 1, sender=who)
    return Vault(fund, token)


@pytest.fixture
def vault(deployment: Vault) -> Iterator[Vault]:
    with boa.env.anchor():
        yield deployment


def test_shares_have_six_more_decimals(vault: Vault) -> None:
    assert vault.fund.decimals() == 12
    assert vault.fund.deposit(1_000 * USD, STAKER, sender=STAKER) == 1_000 * SHARE
    assert vault.fund.totalAssets() == 1_000 * USD
    assert vault.fund.asset() == vault.token.address


def test_cover_sends_to_the_accounts_alone(vault: Vault) -> None:
    vault.fund.deposit(1_000 * USD, STAKER, sender=STAKER)
    assert vault.fund.cover(300 * USD, sender=AUCTION) == 300 * USD
    (event,) = [log for log in vault.fund.get_logs() if type(log).__name__ == "LossCovered"]
    assert (event.amount_raw, event.receiver, event.assets_left_raw) == (300 * USD, ACCOUNTS, 700 * USD)
    assert vault.token.balanceOf(ACCOUNTS) == 300 * USD
    assert vault.token.balanceOf(AUCTION) == 0


def test_cover_is_limited_to_what_there_is(vault: Vault) -> None:
    assert vault.fund.cover(5 * USD, sender=AUCTION) == 0
    assert vault.fund.get_logs() == []
    vault.fund.deposit(100 * USD, STAKER, sender=STAKER)
    assert vault.fund.cover(2**256 - 1, sender=AUCTION) == 100 * USD
    assert vault.fund.totalAssets() == 0


@pytest.mark.parametrize("sender", [GOVERNANCE, STAKER, ACCOUNTS, ATTACKER])
def test_cover_is_for_the_auction(vault: Vault, sender: str) -> None:
    vault.fund.deposit(100 * USD, STAKER, sender=STAKER)
    with boa.reverts("fund: not auction"):
        vault.fund.cover(1, sender=sender)


def test_no_auction_no_cover(vault: Vault) -> None:
    vault.fund.set_auction("0x" + "00" * 20, sender=GOVERNANCE)
    with boa.reverts("fund: not auction"):
        vault.fund.cover(1, sender=AUCTION)


def test_shareholders_bear_the_loss_in_proportion(vault: Vault) -> None:
    shares = vault.fund.deposit(1_000 * USD, STAKER, sender=STAKER)
    others = vault.fund.deposit(3_000 * USD, ATTACKER, sender=ATTACKER)
    vault.fund.cover(1_000 * USD, sender=AUCTION)
    assert vault.fund.redeem(shares, STAKER, STAKER, sender=STAKER) == 750 * USD
    assert vault.fund.redeem(others, ATTACKER, ATTACKER, sender=ATTACKER) == 2_250 * USD


def test_first_depositor_cannot_inflate(vault: Vault) -> None:
    """One raw unit in, then a donation of the victim's size: the attacker loses nearly all of it."""
    shares = vault.fund.deposit(1, ATTACKER, sender=ATTACKER)
    vault.token.transfer(vault.fund.address, 1_000 * USD, sender=ATTACKER)
    victim_shares = vault.fund.deposit(1_000 * USD, STAKER, sender=STAKER)
    victim_back = vault.fund.previewRedeem(victim_shares)
    attacker_back = vault.fund.redeem(shares, ATTACKER, ATTACKER, sender=ATTACKER)
    # virtual shares hold half of the donation: the attacker gets back the other half at the most
    assert attacker_back <= 501 * USD
    assert victim_back >= 999 * USD


def test_rounding_never_favours_the_caller(vault: Vault) -> None:
    vault.fund.deposit(1_000 * USD, STAKER, sender=STAKER)
    vault.token.transfer(vault.fund.address, 333_333_333, sender=ATTACKER)
    before = vault.token.balanceOf(ATTACKER)
    for amount in (1, 7, 999_999):
        shares = vault.fund.deposit(amount, ATTACKER, sender=ATTACKER)
        assert vault.fund.redeem(shares, ATTACKER, ATTACKER, sender=ATTACKER) <= amount
        minted = vault.fund.mint(amount * 10**6, ATTACKER, sender=ATTACKER)
        assert vault.fund.redeem(amount * 10**6, ATTACKER, ATTACKER, sender=ATTACKER) <= minted
    assert vault.token.balanceOf(ATTACKER) <= before


def test_only_governance_sets_the_auction(vault: Vault) -> None:
    with boa.reverts("ownable: caller is not the owner"):
        vault.fund.set_auction(ATTACKER, sender=ATTACKER)
    vault.fund.set_auction(SUCCESSOR, sender=GOVERNANCE)
    (event,) = vault.fund.get_logs()
    assert (type(event).__name__, event.auction) == ("AuctionSet", SUCCESSOR)
    assert vault.fund.auction() == SUCCESSOR


def test_governance_changes_hands_in_two_steps(vault: Vault) -> None:
    vault.fund.transfer_ownership(SUCCESSOR, sender=GOVERNANCE)
    assert vault.fund.owner() == GOVERNANCE
    with boa.reverts("ownable_2step: caller is not the new owner"):
        vault.fund.accept_ownership(sender=ATTACKER)
    vault.fund.accept_ownership(sender=SUCCESSOR)
    assert vault.fund.owner() == SUCCESSOR
    assert not hasattr(vault.fund, "renounce_ownership")


def test_constructor_refuses_missing_addresses(vault: Vault) -> None:
    nobody = "0x" + "00" * 20
    with boa.reverts("fund: no governance"):
        boa.load("contracts/InsuranceFund.vy", nobody, ACCOUNTS, vault.token.address)
    with boa.reverts("fund: no accounts"):
        boa.load("contracts/InsuranceFund.vy", GOVERNANCE, nobody, vault.token.address)


ODD_TOKEN: Final = """
# pragma version 0.4.3
decimals: public(uint8)
balanceOf: public(HashMap[address, uint256])
fee_bps: uint256

@deploy
def __init__(fee_bps: uint256):
    self.decimals = 6
    self.fee_bps = fee_bps

@external
def mint(receiver: address, amount: uint256):
    self.balanceOf[receiver] += amount

@external
def transfer(receiver: address, amount: uint256):
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[receiver] += amount - amount * self.fee_bps // 10_000
"""


@pytest.mark.parametrize("fee_bps", [0, 100])
def test_cover_counts_what_arrives(fee_bps: int) -> None:
    """A token that returns nothing, without and with a fee on transfers."""
    token = boa.loads(ODD_TOKEN, fee_bps)
    fund = boa.load("contracts/InsuranceFund.vy", GOVERNANCE, ACCOUNTS, token.address)
    fund.set_auction(AUCTION, sender=GOVERNANCE)
    token.mint(fund.address, 1_000 * USD)
    arrived = 1_000 * USD * (10_000 - fee_bps) // 10_000
    assert fund.cover(5_000 * USD, sender=AUCTION) == arrived
    assert token.balanceOf(ACCOUNTS) == arrived
