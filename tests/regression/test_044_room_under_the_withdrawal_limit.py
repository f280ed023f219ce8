# SPDX-License-Identifier: Apache-2.0
"""A lender made room under the withdrawal limit with collateral that it borrows for one transaction.

Found by attack on the deployed system, before any deployment. The limit was a share of the supplied cash. Collateral
from a flash loan lets one account of an owner go into debt to another (``transfer`` is neither limited nor paused), and
what the other gets counted as supply: the room grew by a tenth of it. After the withdrawal the cash goes back and so
does the collateral, at no cost. Flash deposits of cash were thought of, flash debt was not. Now the limit is a share of
the tokens that are here, which no debt changes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, DAY, LOTS, USD, WAD

LENT, WANTED = 1_000_000, 800_000


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def lender_before_a_loss(world: World) -> int:
    """A lender of a fifth of the supply, a day after it came, while more is lost than the fund has."""
    lender, lost = world.person("sly", LENT), world.person("lost", 350_000)
    world.trade(BTC, lost, world.maker, 14 * LOTS)
    world.set_price(BTC, 20_000)
    world.start(lost)
    assert world.auction.call("withdrawals_limited")
    world.wait(DAY + 1)
    world.refresh()
    return lender


def test_it_may_not_leave_at_once(world: World) -> None:
    lender = lender_before_a_loss(world)
    with refused("cash: withdrawals limited"):
        world.withdraw(lender, world.cash, WANTED * USD, world.owners[lender])
    world.withdraw(lender, world.cash, 300_000 * USD, world.owners[lender])


def test_nor_with_ether_that_is_here_for_one_transaction(world: World) -> None:
    lender = lender_before_a_loss(world)
    owner, ether, flash = world.owners[lender], world.tokens[0], 4_000 * WAD
    debtor = world.open_account(owner)
    world.deposit(debtor, ether, flash, owner)
    world.accounts.call("transfer", debtor, lender, world.cash.address, 5_000_000 * USD, caller=owner)
    with refused("cash: withdrawals limited"):
        world.withdraw(lender, world.cash, WANTED * USD, owner)
    # and all goes back to where it came from
    world.accounts.call("transfer", lender, debtor, world.cash.address, 5_000_000 * USD, caller=owner)
    world.withdraw(debtor, ether, flash, owner)
