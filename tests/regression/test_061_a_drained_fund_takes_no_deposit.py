# SPDX-License-Identifier: Apache-2.0
"""Ten dollars in ten slices made an insurance fund that a loss had emptied refuse every later deposit.

Found by review of the arithmetic, before any deployment. With nothing left in the vault a deposit of `d` raw units
multiplies the shares by `d + 1`, as one virtual unit of assets stands against all of them. Whoever bids for an
insolvent account in slices puts in a dollar before each one, which its cover takes out again at once: a factor of a
million a slice, and the tenth leaves 2^256. The fund cannot be filled again; the auction names it for good, so both
must be deployed anew, at the worst of times. Without an attacker the fifth total loss of a million dollars does the
same.
"""

from __future__ import annotations

from typing import Any

import boa
import pytest

from tests.support.ledger import ALICE, AUCTION, BOB, GOVERNANCE, USD, deploy_ledger


@pytest.mark.xfail(strict=True, reason="shares outgrow 256 bits")
def test_an_emptied_fund_can_be_filled_again() -> None:
    with boa.env.anchor():
        ledger = deploy_ledger()
        fund: Any = boa.load("contracts/InsuranceFund.vy", GOVERNANCE, ledger.accounts.address, ledger.cash.address)
        fund.set_auction(AUCTION, sender=GOVERNANCE)
        for who in (ALICE, BOB):
            ledger.cash.mint(who, 1_000_000 * USD)
            ledger.cash.approve(fund.address, 1_000_000 * USD, sender=who)
        for _ in range(10):
            fund.deposit(USD, ALICE, sender=ALICE)
            assert fund.cover(50 * USD, sender=AUCTION) == USD
        fund.deposit(900_000 * USD, BOB, sender=BOB)
        assert fund.totalAssets() == 900_000 * USD
