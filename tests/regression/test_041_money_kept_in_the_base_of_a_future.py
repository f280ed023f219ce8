# SPDX-License-Identifier: Apache-2.0
"""One lot of a future could carry any profit or loss, and nobody could turn it into cash before the expiry.

Found by attack on the deployed system, before any deployment. Two accounts of one owner trade with each other at the
ends of the price band, back and forth, at no cost: one of them realises the loss or profit by closing, the other
kept one lot and all of its counterpart in the base, for up to two years. What is in a base neither owes interest nor
bears a share of a socialised loss. Now anybody may settle it at the oracle's price, as with a perpetual:

- who needs cash takes it as a profit of the account that closes; the debt stays in the base of the other, secured but
  free of interest, and the lenders' use does not even rise;
- who has lent moves the balance into a base in the block in which a loss becomes known, while withdrawals are limited,
  and back when the others have borne it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed
from tests.support.protocol import BTC, DAY, ETH, FUTURE, LOTS, USD, WAD

ETH_FUTURE = ETH << 8 | FUTURE
LOAN = 500_000


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def shift(world: World, giver: int, taker: int, usd: int) -> None:
    """Move about ``usd`` by trades at the ends of the band; the two sides end with the lots they had."""
    moved = 0
    while usd * WAD - moved > WAD:
        _, low, high = world.engine.call("price_band", ETH_FUTURE)
        lots = min(60 * LOTS, (usd * WAD - moved) * LOTS // (high - low))
        world.fill(ETH_FUTURE, giver, taker, lots, high)
        world.fill(ETH_FUTURE, taker, giver, lots, low)
        moved += lots * (high - low) // LOTS


def test_a_loan_pays_interest_however_it_was_taken(world: World) -> None:
    ether = world.tokens[0]
    debtor, taker, other = (world.person(name, usd) for name, usd in (("twins", 0), ("twins", 0), ("other", 1_000)))
    owner = world.owners[debtor]
    for account, units in ((debtor, 400), (taker, 100)):
        world.deposit(account, ether, units * WAD, owner)
    world.fill(ETH_FUTURE, debtor, other, 1, world.mark(ETH_FUTURE))
    shift(world, debtor, taker, LOAN)
    world.withdraw(taker, world.cash, LOAN * USD, owner)
    # half a million of the lenders' has left; nobody owed it until somebody settled the base, or, since 046, at all
    world.accounts.call("settle_delta", debtor, ETH_FUTURE)
    world.wait(20 * DAY)
    assert world.accounts.call("cash_totals")[1] > LOAN * WAD


def test_lenders_bear_a_loss_alike(world: World) -> None:
    lost = world.person("lost", 350_000)
    lender, keeper, other = (
        world.person(name, usd) for name, usd in (("sly", 500_000), ("sly", 500_000), ("o", 1_000))
    )
    world.trade(BTC, lost, world.maker, 14 * LOTS)
    world.set_price(BTC, 20_000)
    world.start(lost)
    assert world.auction.call("withdrawals_limited")
    world.fill(ETH_FUTURE, other, keeper, 1, world.mark(ETH_FUTURE))
    shift(world, lender, keeper, 300_000)
    world.accounts.call("transfer", keeper, lender, world.cash.address, 499_000 * USD, caller=world.owners[keeper])
    shift(world, lender, keeper, 600_000)
    # nine tenths of the million are hidden; whoever bids, or lends, could bring it back first
    world.accounts.call("settle_delta", keeper, ETH_FUTURE)
    before = [world.assess(a)["equity_mark"] for a in (keeper, world.lender)]
    world.buy(lost, world.bidder)
    sly, honest = (b - world.assess(a)["equity_mark"] for a, b in zip((keeper, world.lender), before, strict=True))
    assert sly > honest * 9 // 10
