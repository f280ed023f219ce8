# SPDX-License-Identifier: Apache-2.0
"""The first depositor of a vault sets the price of a share by a gift and takes the next deposit (ERC-4626 inflation;
Sonne Finance, 14 May 2024, $20M, by the same on an empty market).

Here virtual shares hold a million parts for each raw unit: the gift is lost to them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import DAY, USD, address_of
from tests.support.revm import deploy


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


@pytest.mark.parametrize("gift_usd", [1, 1_000, 1_000_000])
def test_the_gift_costs_more_than_it_takes(world: World, gift_usd: int) -> None:
    accounts, cash = world.accounts.address, world.cash
    fund = deploy(world.evm, "contracts/InsuranceFund.vy", world.governance, accounts, cash.address)
    thief, victim = address_of("thief"), address_of("victim")
    for who, amount in ((thief, 1), (victim, 1_000 * USD)):
        cash.call("mint", who, amount)
        cash.call("approve", fund.address, amount, caller=who)
    mine = fund.call("deposit", 1, thief, caller=thief)
    cash.call("mint", fund.address, gift_usd * USD)
    theirs = fund.call("deposit", 1_000 * USD, victim, caller=victim)
    lost = 1_000 * USD - fund.call("previewRedeem", theirs)
    fund.call("announce_exit", mine, caller=thief)
    world.wait(3 * DAY)
    gained = fund.call("redeem", mine, thief, thief, caller=thief) - 1 - gift_usd * USD
    assert gained < 0
    assert lost <= 1 + gift_usd * USD // 10**6
