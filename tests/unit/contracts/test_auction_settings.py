# SPDX-License-Identifier: Apache-2.0
"""LiquidationAuction: settings and their ranges, construction, ownership, who may move money."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, DAY, ETH, WAD, address_of
from tests.support.revm import deploy

DEFAULTS: Final = (100, 2_000, 10_000, 900, 43_200, 3_600, 1_500, 1_000, 100 * WAD, 900, 600_000)
PATH: Final = "contracts/LiquidationAuction.vy"
NOBODY: Final = "0x" + "0" * 40
BAD: Final = [
    *({0: 2_001, 1: 3_000}, {0: 2_000, 1: 1_999}, {2: 1_999}, {2: 10_001}),  # discounts
    *({3: 59}, {3: DAY + 1}, {4: 599}, {4: 7 * DAY + 1}, {5: 599}, {5: 7 * DAY + 1}),  # times
    *({6: 1_099}, {6: 5_001}, {7: 99}, {8: 10 * WAD - 1}, {8: 10_000 * WAD + 1}),  # buffers, slice
    *({9: 59}, {9: DAY + 1}, {10: 5_000_001}),  # ticks, gas
]


@pytest.fixture
def world() -> Iterator[World]:
    with deployed().undone() as world:
        yield world


def changed(change: dict[int, int]) -> tuple[int, ...]:
    return tuple(change.get(k, value) for k, value in enumerate(DEFAULTS))


def arguments(world: World, **change: Any) -> list[Any]:
    given = {
        "governance": world.governance, "accounts": world.accounts.address, "engine": world.engine.address,
        "fund": world.fund.address, "parameters": world.parameters.address, "oracle": world.oracle.address,
        "gas_underlying": ETH,
    }  # fmt: skip
    return list((given | change).values())


@pytest.mark.parametrize(
    "edge",
    [
        (0, 0, 0, 60, 600, 600, 200, 100, 10 * WAD, 60, 0),
        (2_000, 2_000, 10_000, DAY, 7 * DAY, 7 * DAY, 5_000, 4_900, 10_000 * WAD, DAY, 5_000_000),
    ],
)
def test_the_ends_of_every_range(world: World, edge: tuple[int, ...]) -> None:
    assert world.auction.call("settings") == DEFAULTS
    with refused("ownable: caller is not the owner"):
        world.auction.call("set_settings", edge, caller=world.stranger)
    world.govern(world.auction, "set_settings", edge)
    assert world.auction.call("settings") == edge


@pytest.mark.parametrize("change", BAD)
def test_settings_have_ranges(world: World, change: dict[int, int]) -> None:
    with refused("auction: setting out of range"):
        world.govern(world.auction, "set_settings", changed(change))


def test_settings_count_for_what_runs(world: World) -> None:
    world.long_btc()
    world.set_price(BTC, 39_000)
    world.start(world.borrower)
    world.watch(world.borrower, 900)
    assert world.preview(world.borrower)["discount_bps"] == 2_000
    world.govern(world.auction, "set_settings", changed({1: 1_000}))
    (event,) = world.evm.result.logs
    assert event.address.lower() == world.auction.address.lower()
    assert world.preview(world.borrower)["discount_bps"] == 1_000
    # a clock that has run further than a shorter one goes has run out
    world.govern(world.auction, "set_settings", changed({3: 60, 4: 600}))
    assert world.preview(world.borrower)["phase"] == 2


def test_construction(world: World) -> None:
    with pytest.raises(RuntimeError, match=b"auction: no governance".hex()):
        deploy(world.evm, PATH, *arguments(world, governance=NOBODY))
    wide = deploy(world.evm, "contracts/InsuranceFund.vy", world.governance, world.accounts.address, world.cash.address)
    again = deploy(world.evm, PATH, *arguments(world, fund=wide.address))
    read = {name: again.call(name) for name in ("ACCOUNTS", "ENGINE", "FUND", "PARAMETERS", "ORACLE")}
    targets = (world.accounts, world.engine, wide, world.parameters, world.oracle)
    assert [int(value, 16) for value in read.values()] == [int(target.address, 16) for target in targets]
    assert again.call("GAS_UNDERLYING") == ETH
    assert again.call("settings") == DEFAULTS


def test_governance_changes_hands_in_two_steps(world: World) -> None:
    successor = address_of("successor")
    world.govern(world.auction, "transfer_ownership", successor)
    assert world.auction.call("owner") == world.governance
    with refused("ownable_2step: caller is not the new owner"):
        world.auction.call("accept_ownership", caller=world.stranger)
    world.auction.call("accept_ownership", caller=successor)
    assert int(world.auction.call("owner"), 16) == int(successor, 16)
    assert "renounce_ownership" not in world.auction.functions


def test_an_auction_that_is_not_wired_moves_nothing(world: World) -> None:
    """Old contract, new one wired: neither accounts nor fund listen to the old one."""
    world.long_btc()
    world.set_price(BTC, 25_000)
    world.start(world.borrower)
    world.govern(world.fund, "set_auction", world.stranger)
    with refused("fund: not auction"):
        world.buy(world.borrower, world.bidder)
    world.govern(world.fund, "set_auction", world.auction.address)
    world.govern(world.accounts, "set_auction", world.stranger)
    with refused("accounts: not the auction"):
        world.buy(world.borrower, world.bidder)


@pytest.mark.parametrize("account", [0, 9_999])
def test_accounts_that_nobody_owns(world: World, account: int) -> None:
    with refused("auction: healthy"):
        world.start(account)
    for call in ("tick", "end"):
        with refused("auction: none"):
            world.auction.call(call, account)
    assert world.auction.call("auction_of", account) == (0, 0, 0, 0, 0)
