# SPDX-License-Identifier: Apache-2.0
"""Whoever was the only lender, with next to no cash, could stop the interest of every later lender for good.

Found by review, before any deployment. A loss of a perpetual can be settled into a debt before the profit on its other
side is, so debts may exceed supply by any factor. Spread over one raw unit of supply, a day's interest on 1,000,000
USD raised the supply index a billionfold; over a few wads (the rest of a premium) it reaches the ceiling of the index,
where it stays: lenders earn nothing any more. Interest on a scaled supply below one dollar now goes to the reserve.
"""

from __future__ import annotations

import boa

from tests.support.ledger import ALICE, CAROL, ETH_PERP, GOVERNANCE, HOUR_S, LOTS, USD, WAD, deploy_ledger

CEILING: int = 2**112 - 1


def test_later_lenders_earn_interest() -> None:
    with boa.env.anchor():
        ledger = deploy_ledger()
        ledger.accounts.set_rates(0, 400, 6_000, 9_000, 1_000, sender=GOVERNANCE)
        ledger.deposit(ledger.carol, ledger.cash, 1, CAROL)
        ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 500 * LOTS, 4_000 * WAD)
        ledger.accounts.settle_delta(ledger.alice, ETH_PERP)
        assert ledger.accounts.cash_of(ledger.alice) == -1_000_000 * WAD
        for _ in range(24):
            boa.env.time_travel(seconds=HOUR_S)
            ledger.deposit(ledger.bob, ledger.cash, 1, ALICE)  # accrues
        assert ledger.accounts.cash_totals()[2] < CEILING // 10**9

        ledger.accounts.settle_delta(ledger.bob, ETH_PERP)
        ledger.deposit(ledger.carol, ledger.cash, 2_000_000 * USD, CAROL)
        before = ledger.accounts.cash_of(ledger.carol)
        boa.env.time_travel(seconds=365 * 24 * HOUR_S)
        assert ledger.accounts.cash_of(ledger.carol) > before + 1_000 * WAD
