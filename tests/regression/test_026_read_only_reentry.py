# SPDX-License-Identifier: Apache-2.0
"""A contract that is asked in the middle of another call answers with half of it (read-only re-entry: dForce, 9
February 2023, $3.6M through a pool's price; Derive's audit, Lyra01, critical, #273: liquidating from within a
transfer).

Here tokens move before anything is booked or after everything is, so an account can be read from inside a transfer
and is as it will be; in a batch, where checks still wait, it cannot be read at all. Nothing can be sold or paid
from inside either.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from eth_abi.abi import encode

from risk.units import pack_lanes
from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import ANY_NONCE, BTC, COLLATERAL_WORD, LOTS, WAD, Reverted, address_of, selector
from tests.support.revm import Contract, deploy


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


@pytest.fixture
def token(world: World) -> Contract:
    """A collateral token that calls somebody before it moves anything; the borrower has some, and is short."""
    token = deploy(world.evm, "contracts/testing/OddToken.vy", 18)
    world.govern(world.accounts, "list_collateral", token.address, 0, 10**24, 10**24)
    world.govern(world.oracle, "set_feed", 1, 3, world.feed_config(world.other_feeds[2]))
    world.govern(world.parameters, "initialise", 2, 3, pack_lanes(list(COLLATERAL_WORD)))
    world.deposit(world.lender, token, WAD, world.owners[world.lender])
    world.long_btc()
    world.set_price(BTC, 39_000)
    return token


def data(signature: str, *values: int) -> bytes:
    return selector(signature) + encode(["uint256"] * len(values), values)


def withdrawal(world: World, token: Contract, amount_raw: int) -> bytes:
    owner = world.owners[world.lender]
    arguments = (world.lender, token.address, amount_raw, owner)
    return selector("withdraw(uint256,address,uint256,address)") + encode(
        ["uint256", "address", "uint256", "address"], arguments
    )


def test_what_is_read_inside_is_what_will_be(world: World, token: Contract) -> None:
    """The lender takes all but initial margin: neither before nor inside nor after is it liquidatable."""
    owner = world.owners[world.lender]
    world.trade(BTC, world.lender, world.maker, LOTS)
    token.call("set_hook", world.auction.address, data("start(uint256,uint256)", world.lender, 0))
    with pytest.raises(Reverted):
        world.withdraw(world.lender, token, WAD // 2, owner)
    # the borrower is short inside as outside
    token.call("set_hook", world.auction.address, data("start(uint256,uint256)", world.borrower, 0))
    world.withdraw(world.lender, token, WAD // 2, owner)
    assert world.running(world.borrower)["phase"] == 1


def test_nobody_is_judged_inside_a_batch(world: World, token: Contract) -> None:
    owner = world.owners[world.lender]
    inside = [
        (world.engine, data("assess(uint256)", world.lender)),
        (world.engine, data("holds_initial_margin(uint256)", world.lender)),
        (world.accounts, data("state(uint256)", world.lender)),
        (world.auction, data("start(uint256,uint256)", world.borrower, 0)),
        (world.auction, data("start_with(uint256,uint256,uint256)", world.borrower, 73, 0)),
    ]
    for target, call in inside:
        token.call("set_hook", target.address, call)
        with refused("batch: not in a batch"):
            world.accounts.call("batch", [withdrawal(world, token, WAD // 2)], caller=owner)
    token.call("set_hook", world.auction.address, data("active_count()"))
    world.accounts.call("batch", [withdrawal(world, token, WAD // 2)], caller=owner)


def test_nothing_is_sold_or_paid_inside(world: World, token: Contract) -> None:
    owner = world.owners[world.lender]
    rich = world.person("rich", 1_000_000)
    world.accounts.call("set_operator", rich, token.address, 4, 2**64 - 1, caller=address_of("rich"))
    world.start(world.borrower)
    call = (world.borrower, rich, WAD, 2**255 - 1, 0, ANY_NONCE)
    bid = selector("bid(uint256,uint256,uint256,int256,int256,uint256)") + encode(
        ["uint256"] * 3 + ["int256"] * 2 + ["uint256"], call
    )
    token.call("set_hook", world.auction.address, bid)
    with pytest.raises(Reverted):
        world.withdraw(world.lender, token, WAD // 2, owner)
    token.call("set_hook", world.auction.address, data("auction_of(uint256)", world.borrower))
    world.withdraw(world.lender, token, WAD // 2, owner)
    world.auction.call("bid", *call, caller=address_of("rich"))  # the same bid from outside
