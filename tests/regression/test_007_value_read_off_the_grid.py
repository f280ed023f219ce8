# SPDX-License-Identifier: Apache-2.0
"""Value could be taken out against options whose price had left the grid of their page.

Found by review, before any deployment. Beyond the last node a row is a parabola: a long put near the edge of the grid
gains with the square of the fall (a third too much five grid steps out), and it counted as equity for withdrawals and
for new risk, though nothing was published for that price. OFF_GRID now blocks both, as an expired page does.
"""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest

from tests.support.ledger import ALICE, ETH_PERP, LOTS, USD, WAD, Ledger, deploy_ledger

OFF_GRID: int = 16


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with boa.env.anchor():
        ledger = deploy_ledger()
        ledger.deposit(ledger.alice, ledger.cash, 100 * USD)
        ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, 2_000 * WAD)
        ledger.gate.set_after(ledger.alice, 1_000, 100, OFF_GRID)
        yield ledger


def test_nothing_leaves(ledger: Ledger) -> None:
    with boa.reverts("accounts: risk data dead"):
        ledger.accounts.withdraw(ledger.alice, ledger.cash.address, USD, ALICE, sender=ALICE)


def test_no_new_risk(ledger: Ledger) -> None:
    ledger.gate.set_before(1_000, 99)
    with boa.reverts("accounts: below initial margin"):
        ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, 2_000 * WAD)
    ledger.gate.set_before(1_000, 100)
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, 2_000 * WAD)
