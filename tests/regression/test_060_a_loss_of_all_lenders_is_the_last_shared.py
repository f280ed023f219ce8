# SPDX-License-Identifier: Apache-2.0
"""A loss that took nearly all there was on deposit was the last that lenders could share.

Found by review of the arithmetic, before any deployment. The supply index stops at a millionth, and what is deposited
at that index bears nothing: with ten dollars on deposit lost, a million deposited the day after has no part in a loss
of 1,000 USD. The bid that needs it reverts (`cash: not covered`), so an account that the insurance fund cannot pay
for stays unsold, its shortfall grows, and whoever withdraws first is paid in full. Several smaller losses lead there
too: only their product counts, and interest alone raises the index again.
"""

from __future__ import annotations

import boa
import pytest

from tests.support.ledger import AUCTION, USD, WAD, deploy_ledger


@pytest.mark.xfail(strict=True, reason="accepted risk R-38: the floor of the supply index is for good")
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
