# SPDX-License-Identifier: Apache-2.0
"""A wei of collateral kept bad debt from being recognised (Morpho #82, umee #513): the loss was written off only when
nothing at all was left, so the last wei, sent by anybody, kept it on the books.

Here a loss is known by value as soon as somebody looks, paid for with whatever hangs on it, and dust changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import ETH, USD, WAD


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def indebted(world: World) -> int:
    """Ten ether against 15,000 of debt; at 1,000 USD the account lacks 5,000."""
    debtor, owner = world.person("debtor"), "0x" + b"debtor".hex().ljust(40, "1")
    world.deposit(debtor, world.tokens[0], 10 * WAD, owner)
    world.withdraw(debtor, world.cash, 15_000 * USD, owner)
    world.set_price(ETH, 1_000)
    return debtor


@pytest.mark.parametrize("dust_raw", [0, 1])
def test_the_loss_is_known_and_written_off(world: World, dust_raw: int) -> None:
    debtor = indebted(world)
    if dust_raw:
        world.deposit(debtor, world.tokens[0], dust_raw, world.stranger)
        world.pay_in(debtor, dust_raw)
    world.start(debtor)
    lacking = 5_000 * WAD - dust_raw * 10**12
    assert abs(world.auction.call("shortfall_wad") - lacking) < 10_000
    world.buy(debtor, world.bidder)
    assert world.cash_of(debtor) == 0
    assert world.accounts.call("collateral_of", debtor, 0) == 0
    assert (world.running(debtor)["phase"], world.auction.call("shortfall_wad")) == (0, 0)


def test_a_wei_of_debt_is_sold_like_any(world: World) -> None:
    debtor = indebted(world)
    owner = world.owners[debtor]
    world.start(debtor)
    world.set_price(ETH, 3_000)
    world.auction.call("end", debtor)
    world.pay_in(debtor, 15_000 * USD - 1)
    world.withdraw(debtor, world.tokens[0], 10 * WAD - 10**16, owner)
    assert world.cash_of(debtor) == -(10**12)
    world.set_price(ETH, 1)
    world.start(debtor)
    taken, price = world.buy(debtor, world.bidder, 1)
    assert taken == WAD
    assert world.cash_of(debtor) == price > 0
    assert world.running(debtor)["phase"] == 0
