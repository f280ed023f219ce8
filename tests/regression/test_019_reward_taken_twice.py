# SPDX-License-Identifier: Apache-2.0
"""A liquidation fee that could be taken again and again (Perennial #59: while the oracle was down, until the account
was empty).

Here a start is paid once an auction, at most the reserve that every account with risk holds, never of what is not
there, and while data is in doubt nothing starts.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, DAY, ETH, USD, WAD
from tests.support.revm import deploy


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


@pytest.fixture
def paying(world: World) -> World:
    """With an auction that pays the whole reserve of 10 USD, as there is no price of gas."""
    world.auction = deploy(
        world.evm, "contracts/LiquidationAuction.vy", world.governance, world.accounts.address, world.engine.address,
        world.fund.address, world.parameters.address, world.oracle.address, 16,
    )  # fmt: skip
    world.govern(world.accounts, "set_auction", world.auction.address)
    world.govern(world.fund, "set_auction", world.auction.address)
    world.long_btc()
    return world


def test_once(paying: World) -> None:
    paying.set_price(BTC, 39_000)
    before = paying.cash_of(paying.lender)
    paying.start(paying.borrower, paying.lender)
    (event,) = paying.events("LiquidationAuction", "AuctionStarted")
    assert event["reward_wad"] == 10 * WAD
    assert paying.cash_of(paying.lender) - before == 10 * WAD
    assert paying.assess(paying.borrower)["equity_mark"] == 8_990 * WAD
    for again in ("start", "start_with"):
        args = (paying.borrower, 73, paying.lender) if again == "start_with" else (paying.borrower, paying.lender)
        with refused("auction: running"):
            paying.auction.call(again, *args)


@pytest.mark.parametrize("to", [0, 1])
def test_nobody_and_the_account_itself_are_paid_nothing(paying: World, to: int) -> None:
    assert paying.borrower == 1
    paying.set_price(BTC, 39_000)
    paying.start(paying.borrower, to)
    (event,) = paying.events("LiquidationAuction", "AuctionStarted")
    assert event["reward_wad"] == 0
    assert paying.assess(paying.borrower)["equity_mark"] == 9_000 * WAD


def test_never_of_what_is_not_there(paying: World) -> None:
    with paying.undone():
        paying.set_price(BTC, 25_000)
        paying.start(paying.borrower, paying.lender)
        (event,) = paying.events("LiquidationAuction", "AuctionStarted")
        assert (event["phase"], event["reward_wad"]) == (2, 0)
    paying.set_price(BTC, 30_003)  # equity 3
    paying.start(paying.borrower, paying.lender)
    (event,) = paying.events("LiquidationAuction", "AuctionStarted")
    assert (event["phase"], event["reward_wad"]) == (1, 3 * WAD)
    assert paying.assess(paying.borrower)["equity_mark"] == 0


def test_a_proof_by_a_scenario_is_paid_the_same_of_what_it_shows(paying: World) -> None:
    paying.set_price(BTC, 39_000)
    paying.auction.call("start_with", paying.borrower, 73, paying.lender)
    (event,) = paying.events("LiquidationAuction", "AuctionStarted")
    assert (event["equity_mm"], event["reward_wad"]) == (9_000 * WAD, 10 * WAD)


def test_with_a_price_of_gas_gas_is_what_is_paid(world: World) -> None:
    """No base fee in revm: nothing (one is in tests/node/test_start_reward.py); with a dead price the reserve."""
    world.long_btc()
    world.set_price(BTC, 39_000)
    with world.undone():
        world.start(world.borrower, world.lender)
        assert world.events("LiquidationAuction", "AuctionStarted")[0]["reward_wad"] == 0
    world.wait(DAY + 1)
    world.set_price(BTC, 39_000)
    assert world.oracle.call("price", 0, ETH)[1] == 2
    world.start(world.borrower, world.lender)
    assert world.events("LiquidationAuction", "AuctionStarted")[0]["reward_wad"] == 10 * WAD


def test_while_the_oracle_is_down_nothing_starts_and_nothing_is_paid(paying: World) -> None:
    paying.set_price(BTC, 39_000)
    paying.oracle.call("record", 0, BTC)
    paying.wait(DAY + 1)
    for _ in range(3):
        with refused("auction: data too old"):
            paying.start(paying.borrower, paying.lender)
    assert paying.cash_of(paying.borrower) == 30_000 * USD * 10**12
