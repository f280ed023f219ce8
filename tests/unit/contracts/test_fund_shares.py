# SPDX-License-Identifier: Apache-2.0
"""Shares of the insurance fund after losses that leave next to nothing: when they are consolidated, whose they are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import DAY, USD, address_of
from tests.support.revm import Contract, deploy

AUCTION, ACCOUNTS = map(address_of, ("auction", "ledger"))
ALICE, BOB, CAROL, EVE = PEOPLE = tuple(map(address_of, ("alice", "bob", "carol", "eve")))
NOBODY: Final = "0x" + "0" * 40
PLENTY: Final = 10**9 * USD
FIRST: Final = 10**6  # shares of a raw unit at the first price
MILLION: Final = 10**6


@dataclass(frozen=True)
class Vault:
    """A fund whose auction is an address without code, and people with money and approvals."""

    world: World
    fund: Contract

    def put(self, who: str, raw: int) -> int:
        return int(self.fund.call("deposit", raw, who, caller=who))

    def lose(self, raw: int) -> None:
        assert self.fund.call("cover", raw, caller=AUCTION) == raw

    def give(self, raw: int) -> None:
        self.world.cash.call("mint", self.fund.address, raw)

    def read(self, name: str, *args: Any) -> Any:
        return self.fund.call(name, *args)

    def worth(self, who: str) -> int:
        return int(self.read("previewRedeem", self.read("balanceOf", who)))

    def open_exits(self) -> None:
        """Three days on, with no auction to know of a loss."""
        self.world.govern(self.fund, "set_auction", NOBODY)
        self.world.wait(3 * DAY)


@pytest.fixture
def vault() -> Iterator[Vault]:
    with deployed().undone() as world:
        fund = deploy(world.evm, "contracts/InsuranceFund.vy", world.governance, ACCOUNTS, world.cash.address)
        for who in PEOPLE:
            world.cash.call("mint", who, PLENTY)
            world.cash.call("approve", fund.address, 2**256 - 1, caller=who)
        world.govern(fund, "set_auction", AUCTION)
        yield Vault(world, fund)


def test_below_a_millionth_of_the_first_price_a_million_become_one(vault: Vault) -> None:
    shares = vault.put(ALICE, 10_000 * USD)
    vault.lose(10_000 * USD - 10_000)
    assert (vault.read("consolidations"), vault.read("totalSupply")) == (0, shares)
    vault.lose(1)
    (event,) = vault.world.events("InsuranceFund", "SharesConsolidated")
    assert event == {"consolidations": 1, "total_supply": shares // MILLION}
    assert vault.read("consolidations") == 1
    assert vault.read("totalSupply") == vault.read("balanceOf", ALICE) == shares // MILLION
    # a total loss of that leaves at most a million shares for what would be a raw unit at the first price
    vault.lose(9_999)
    assert (vault.read("consolidations"), vault.read("balanceOf", ALICE)) == (1, 10_000 * USD)


def test_a_loss_of_nothing_and_ordinary_losses_change_no_share(vault: Vault) -> None:
    shares = vault.put(ALICE, 10_000 * USD)
    for _ in range(10):
        vault.lose(vault.read("totalAssets") // 2)
        assert vault.fund.call("cover", 0, caller=AUCTION) == 0
    assert (vault.read("consolidations"), vault.read("balanceOf", ALICE)) == (0, shares)
    assert vault.world.events("InsuranceFund", "SharesConsolidated") == []


def test_everybody_s_part_stays_what_it_was(vault: Vault) -> None:
    vault.put(ALICE, 1_000 * USD)
    vault.put(BOB, 3_000 * USD)
    vault.lose(4_000 * USD - 3_999)
    assert vault.read("consolidations") == 1
    vault.give(4_000 * USD - 3_999)
    # of 4,000 dollars the virtual shares hold a part of 4,000 at the most, and rounding takes no more than a raw unit
    assert 0 <= 1_000 * USD - vault.worth(ALICE) <= 1_000 * USD // 4_000 + 1
    assert 0 <= 3_000 * USD - vault.worth(BOB) <= 3_000 * USD // 4_000 + 1


def test_what_comes_after_a_total_loss_is_the_newcomer_s(vault: Vault) -> None:
    """Whether it came just before the loss or just after is all the difference."""
    vault.put(ALICE, 1_000_000 * USD)
    vault.put(BOB, 1_000 * USD)
    vault.lose(1_001_000 * USD)
    vault.put(CAROL, 1_000 * USD)
    assert 0 <= 1_000 * USD - vault.worth(CAROL) <= 2
    assert vault.worth(ALICE) + vault.worth(BOB) <= 1


def test_a_balance_moves_as_what_it_has_become(vault: Vault) -> None:
    shares = vault.put(ALICE, 10_000 * USD)
    vault.fund.call("approve", EVE, 2**256 - 1, caller=ALICE)
    vault.lose(10_000 * USD - 1)
    left = shares // MILLION
    for call, args, caller in (
        ("transfer", (BOB, left + 1), ALICE), ("transferFrom", (ALICE, BOB, left + 1), EVE),
    ):  # fmt: skip
        with refused("erc20: transfer amount exceeds balance"):
            vault.fund.call(call, *args, caller=caller)
    with refused("fund: more than held"):
        vault.fund.call("announce_exit", left + 1, caller=ALICE)
    vault.fund.call("transfer", BOB, left // 4, caller=ALICE)
    gone, moved = vault.world.events("InsuranceFund", "Transfer")
    assert (int(gone["sender"], 16), int(gone["receiver"], 16), gone["value"]) == (int(ALICE, 16), 0, shares - left)
    assert moved["value"] == left // 4
    vault.fund.call("transferFrom", ALICE, CAROL, left // 4, caller=EVE)
    assert len(vault.world.events("InsuranceFund", "Transfer")) == 1
    balances = [vault.read("balanceOf", who) for who in PEOPLE]
    assert balances == [left - 2 * (left // 4), left // 4, left // 4, 0]
    assert sum(balances) == vault.read("totalSupply") == left


def test_whoever_comes_late_to_several_consolidations(vault: Vault) -> None:
    """One who receives has old shares too: they are consolidated before the new ones come on top."""
    vault.put(ALICE, 10_000 * USD)
    vault.put(BOB, 10_000 * USD)
    for _ in range(3):
        vault.lose(vault.read("totalAssets"))
        vault.put(CAROL, 1_000 * USD)
    assert vault.read("consolidations") >= 3
    old = vault.read("balanceOf", ALICE)
    assert old == 0
    theirs = vault.read("balanceOf", CAROL)
    vault.fund.call("transfer", ALICE, theirs // 2, caller=CAROL)
    assert vault.read("balanceOf", ALICE) == theirs // 2
    minted = vault.put(BOB, 1_000 * USD)
    assert vault.read("balanceOf", BOB) == minted
    assert sum(vault.read("balanceOf", who) for who in PEOPLE) <= vault.read("totalSupply")


def test_what_was_announced_is_consolidated_too(vault: Vault) -> None:
    """Nobody leaves with as many new shares as it announced old ones."""
    shares = vault.put(ALICE, 10_000 * USD)
    vault.fund.call("announce_exit", shares // 2, caller=ALICE)
    opens_at = vault.world.now + 3 * DAY
    vault.lose(10_000 * USD - 1)
    assert vault.read("exits", ALICE) == (shares // 2 // MILLION, opens_at)
    # a new stake of the same owner, old shares and new ones in one balance
    vault.put(ALICE, 10_000 * USD)
    vault.put(BOB, 10_000 * USD)
    assert vault.read("exits", ALICE) == (shares // 2 // MILLION, opens_at)
    vault.open_exits()
    assert vault.read("maxRedeem", ALICE) == shares // 2 // MILLION
    with refused("fund: exit not open"):
        vault.fund.call("redeem", shares // 2 // MILLION + 1, ALICE, ALICE, caller=ALICE)
    with refused("fund: shares announced to leave"):
        vault.fund.call("transfer", EVE, vault.read("balanceOf", ALICE), caller=ALICE)
    vault.fund.call("redeem", shares // 2 // MILLION, ALICE, ALICE, caller=ALICE)
    assert vault.read("exits", ALICE) == (0, opens_at)


def test_owners_who_slept_through_it_leave_and_announce_as_they_are(vault: Vault) -> None:
    shares = vault.put(ALICE, 10_000 * USD)
    vault.put(BOB, 10_000 * USD)
    vault.fund.call("announce_exit", shares, caller=ALICE)
    vault.lose(20_000 * USD - 2)
    left = shares // MILLION
    vault.give(20_000 * USD)
    vault.fund.call("announce_exit", left, caller=BOB)
    assert vault.read("exits", BOB)[0] == vault.read("balanceOf", BOB) == left
    vault.open_exits()
    for who in (ALICE, BOB):
        vault.fund.call("redeem", left // 4, who, who, caller=who)
        assert vault.read("exits", who)[0] == vault.read("balanceOf", who) == left - left // 4
    assert vault.read("totalSupply") == 2 * (left - left // 4)


def test_a_gift_to_an_emptied_fund_takes_nothing_of_the_next_deposit(vault: Vault) -> None:
    """Eve holds all the old shares, gives, and waits for somebody to round down against her."""
    for gift in (1, USD, 1_000 * USD, 1_000_000 * USD):
        with vault.world.undone():
            vault.put(EVE, 10_000 * USD)
            vault.lose(10_000 * USD)
            vault.give(gift)
            vault.put(CAROL, 1_000 * USD)
            assert 1_000 * USD - vault.worth(CAROL) <= 2 + gift // FIRST
            assert vault.worth(EVE) <= gift


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_the_fund_takes_deposits(vault: Vault, seed: int) -> None:
    """Random deposits, slices, total losses, gifts, transfers: balances, supply and assets keep their bounds."""
    dice = random.Random(seed)
    for _ in range(60):
        who, other = dice.sample(PEOPLE, 2)
        assets = vault.read("totalAssets")
        worths = {person: vault.worth(person) for person in PEOPLE}
        match dice.choice(("put", "put", "slice", "all but little", "all", "give", "move")):
            case "put":
                amount = 10 ** dice.randrange(13)
                vault.put(who, amount)
                assert 0 <= worths[who] + amount - vault.worth(who) <= 2 + amount // FIRST
            case "slice":
                vault.lose(dice.randrange(assets + 1))
            case "all but little":
                vault.lose(assets - min(assets, dice.randrange(10**4)))
            case "all":
                vault.lose(assets)
            case "give":
                vault.give(10 ** dice.randrange(10))
            case _:
                vault.fund.call("transfer", other, vault.read("balanceOf", who) // 2, caller=who)
        supply, assets = vault.read("totalSupply"), vault.read("totalAssets")
        assert supply <= (FIRST * MILLION + FIRST) * (assets + 1)
        assert sum(vault.read("balanceOf", person) for person in PEOPLE) <= supply
        assert sum(map(vault.worth, PEOPLE)) <= assets
