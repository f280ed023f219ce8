# SPDX-License-Identifier: Apache-2.0
"""A loss that took nearly all there was on deposit was the last that lenders could share.

Found by review of the arithmetic, before any deployment. The supply index stopped at a millionth, and what was
deposited at that index bore nothing: with ten dollars on deposit lost, a million deposited the day after had no part
in a loss of 1,000 USD. The bid that needs it reverted (`cash: not covered`), so an account that the insurance fund
cannot pay for stayed unsold. At the launch, with a grain on deposit, that cost next to nothing. Now an index below a
thousandth becomes a million times as high, and every credit a millionth of its scaled amount: an era later, with room
to fall.
"""

from __future__ import annotations

import boa
import pytest

from tests.support.ledger import ALICE, AUCTION, USD, WAD, deploy_ledger


def test_later_lenders_bear_a_later_loss() -> None:
    with boa.env.anchor():
        ledger = deploy_ledger()
        ledger.deposit(ledger.carol, ledger.cash, 10 * USD)
        ledger.accounts.socialise_loss(10 * WAD - 10**13, sender=AUCTION)
        credit = ledger.accounts.cash_book()[2]
        assert credit == 10 * WAD - 10**13  # the whole of it: a bid that needed it went through

        ledger.deposit(ledger.bob, ledger.cash, 1_000_000 * USD)
        ledger.accounts.socialise_loss(1_000 * WAD, sender=AUCTION)
        assert ledger.accounts.cash_book()[2] - credit == 1_000 * WAD
        # shared by what each has
        assert ledger.accounts.cash_of(ledger.bob) == pytest.approx(999_000 * WAD, rel=1e-9)


def test_credits_of_all_eras() -> None:
    """Ten total losses, each of whoever came in between; who slept through them has nothing, and nothing is made."""
    with boa.env.anchor():
        ledger = deploy_ledger()
        ledger.deposit(ledger.carol, ledger.cash, 10 * USD)
        for era in range(10):
            ledger.deposit(ledger.bob, ledger.cash, 1_000 * USD)
            assert ledger.accounts.cash_of(ledger.bob) >= 1_000 * WAD - 10**6, era
            supplied = ledger.accounts.cash_totals()[0]
            ledger.accounts.socialise_loss(supplied, sender=AUCTION)
            supplied, _, index, _ = ledger.accounts.cash_totals()
            assert index >= 10**15
            assert sum(ledger.accounts.cash_of(k) for k in (0, ledger.bob, ledger.carol)) <= supplied < 10**16
        assert ledger.accounts.cash_of(ledger.carol) == 0
        # a debt knows no era
        ledger.deposit(ledger.bob, ledger.cash, 1_000 * USD)
        ledger.deposit(ledger.alice, ledger.weth, WAD, sender=ALICE)
        ledger.accounts.withdraw(ledger.alice, ledger.cash.address, 100 * USD, ALICE, sender=ALICE)
        debt, credit = ledger.accounts.cash_of(ledger.alice), ledger.accounts.cash_of(ledger.bob)
        ledger.accounts.socialise_loss(credit, sender=AUCTION)
        assert ledger.accounts.cash_of(ledger.alice) == debt == -100 * WAD
        # the part of a lender in a loss is its share
        for account, usd in ((ledger.bob, 300), (ledger.carol, 700)):
            ledger.deposit(account, ledger.cash, usd * USD)
        ledger.accounts.socialise_loss(100 * WAD, sender=AUCTION)
        assert ledger.accounts.cash_of(ledger.bob) == pytest.approx(270 * WAD, rel=1e-5)
        assert ledger.accounts.cash_of(ledger.carol) == pytest.approx(630 * WAD, rel=1e-5)
