# SPDX-License-Identifier: Apache-2.0
"""A fund that was emptied again and again made so many shares that nobody could deposit any more.

Found by attack on the deployed system and by review of the arithmetic, before any deployment. Whoever deposits into an
emptied fund gets the shares there are times the raw units it brings. A loss that is taken in slices empties the fund
with each slice: a dollar put in between multiplied the shares by a million, and after ten dollars a deposit of a
thousand overflowed for good. The auction's fund is fixed, so a new fund needed a new auction, at the time when the fund
is needed most. Without an attacker the fifth total loss of a million dollars did the same. When a loss leaves a share
below a millionth of its first price, a million shares now become one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import BTC, LOTS, USD, WAD, address_of
from tests.support.revm import deploy

AUCTION = address_of("auction")


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def test_an_emptied_fund_can_be_filled_again(world: World) -> None:
    lost = world.person("lost", 350_000)
    world.trade(BTC, lost, world.maker, 14 * LOTS)
    world.set_price(BTC, 20_000)
    world.start(lost)
    world.buy(lost, world.bidder, WAD // 4)
    assert world.fund.call("totalAssets") == 0
    for _ in range(10):
        world.stake(USD, world.owners[world.bidder])
        world.buy(lost, world.bidder, WAD // 100)
        assert world.fund.call("totalAssets") == 0
    world.buy(lost, world.bidder)
    # the loss is over, and somebody puts up new money, which is its own
    newcomer = address_of("newcomer")
    world.stake(50_000 * USD, newcomer)
    assert world.fund.call("totalAssets") == 50_000 * USD
    assert 0 <= 50_000 * USD - world.fund.call("previewRedeem", world.fund.call("balanceOf", newcomer)) <= 2


def test_total_losses_of_a_million_without_end(world: World) -> None:
    fund = deploy(world.evm, "contracts/InsuranceFund.vy", world.governance, address_of("ledger"), world.cash.address)
    world.govern(fund, "set_auction", AUCTION)
    world.cash.call("approve", fund.address, 2**256 - 1, caller=world.staker)
    for _ in range(50):
        world.cash.call("mint", world.staker, 10**6 * USD)
        fund.call("deposit", 10**6 * USD, world.staker, caller=world.staker)
        assert fund.call("cover", 2**255, caller=AUCTION) == 10**6 * USD
    assert fund.call("totalSupply") <= 10**12
