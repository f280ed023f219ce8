# SPDX-License-Identifier: Apache-2.0
"""InsuranceFund: who may take a cover, how much, where it goes; who may leave, when; what shares are worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.support.auction_world import World, deployed, refused
from tests.support.protocol import BTC, DAY, USD, WAD, address_of
from tests.support.revm import Contract, deploy

AUCTION, STAKER, RIVAL, SUCCESSOR = map(address_of, ("auction", "staker one", "rival", "successor"))
ACCOUNTS: Final = address_of("accounts")
NOBODY: Final = "0x" + "0" * 40
SHARE: Final = 10**12
PATH: Final = "contracts/InsuranceFund.vy"


@dataclass(frozen=True)
class Vault:
    """A fund beside the protocol's, whose auction is an address without code; money for two stakers."""

    world: World
    fund: Contract
    token: Contract

    def put(self, who: str, usd: int) -> int:
        return int(self.fund.call("deposit", usd * USD, who, caller=who))

    def leave(self, who: str, shares: int) -> int:
        return int(self.fund.call("redeem", shares, who, who, caller=who))

    def announce(self, who: str, shares: int) -> None:
        self.fund.call("announce_exit", shares, caller=who)

    def read(self, name: str, *args: Any) -> Any:
        return self.fund.call(name, *args)


@pytest.fixture
def vault() -> Iterator[Vault]:
    with deployed().undone() as world:
        fund = deploy(world.evm, PATH, world.governance, ACCOUNTS, world.cash.address)
        for who in (STAKER, RIVAL):
            world.cash.call("mint", who, 10_000 * USD)
            world.cash.call("approve", fund.address, 2**256 - 1, caller=who)
        yield Vault(world, fund, world.cash)


@pytest.fixture
def paying(vault: Vault) -> Vault:
    """Whose auction, without code, takes covers; nobody can leave meanwhile."""
    vault.world.govern(vault.fund, "set_auction", AUCTION)
    return vault


def test_shares_have_six_more_decimals(vault: Vault) -> None:
    assert vault.read("decimals") == 12
    assert vault.put(STAKER, 1_000) == 1_000 * SHARE
    assert vault.read("totalAssets") == 1_000 * USD
    assert vault.read("asset") == vault.token.address


# ------------------------------------------------------------------ cover


def test_cover_sends_to_the_accounts_alone(paying: Vault) -> None:
    paying.put(STAKER, 1_000)
    assert paying.fund.call("cover", 300 * USD, caller=AUCTION) == 300 * USD
    (event,) = paying.world.events("InsuranceFund", "LossCovered")
    assert (event["amount_raw"], event["receiver"], event["assets_left_raw"]) == (300 * USD, ACCOUNTS, 700 * USD)
    assert paying.token.call("balanceOf", ACCOUNTS) == 300 * USD
    assert paying.token.call("balanceOf", AUCTION) == 0


def test_cover_is_limited_to_what_there_is(paying: Vault) -> None:
    assert paying.fund.call("cover", 5 * USD, caller=AUCTION) == 0
    assert paying.world.events("InsuranceFund", "LossCovered") == []
    paying.put(STAKER, 100)
    assert paying.fund.call("cover", 2**256 - 1, caller=AUCTION) == 100 * USD
    assert paying.read("totalAssets") == 0


@pytest.mark.parametrize("who", ["governance", STAKER, ACCOUNTS, RIVAL])
def test_cover_is_for_the_auction(paying: Vault, who: str) -> None:
    paying.put(STAKER, 100)
    with refused("fund: not auction"):
        paying.fund.call("cover", 1, caller=getattr(paying.world, who, who))


def test_no_auction_no_cover(paying: Vault) -> None:
    paying.world.govern(paying.fund, "set_auction", NOBODY)
    with refused("fund: not auction"):
        paying.fund.call("cover", 1, caller=AUCTION)


@pytest.mark.parametrize("fee_bps", [0, 100])
def test_cover_counts_what_arrives(vault: Vault, fee_bps: int) -> None:
    """A token that returns nothing, without and with a fee on transfers."""
    token = deploy(vault.world.evm, "contracts/testing/OddToken.vy", 6)
    fund = deploy(vault.world.evm, PATH, vault.world.governance, ACCOUNTS, token.address)
    vault.world.govern(fund, "set_auction", AUCTION)
    token.call("mint", fund.address, 1_000 * USD)
    token.call("set_habits", fee_bps, 0)
    assert fund.call("cover", 400 * USD, caller=AUCTION) == 400 * USD * (10_000 - fee_bps) // 10_000


# ------------------------------------------------------------------ leaving


def test_leaving_takes_three_days_and_has_two(vault: Vault) -> None:
    shares = vault.put(STAKER, 1_000)
    with refused("fund: exit not open"):
        vault.leave(STAKER, shares)
    vault.announce(STAKER, shares)
    (event,) = vault.world.events("InsuranceFund", "ExitAnnounced")
    opens_at = vault.world.now + 3 * DAY
    assert event == {"owner": event["owner"], "shares": shares, "opens_at": opens_at}
    assert vault.read("exits", STAKER) == (shares, opens_at)
    vault.world.wait(3 * DAY - 1)
    assert (vault.read("maxRedeem", STAKER), vault.read("maxWithdraw", STAKER)) == (0, 0)
    with refused("fund: exit not open"):
        vault.leave(STAKER, 1)
    for seconds in (1, 2 * DAY):
        vault.world.wait(seconds)
        with vault.world.undone():
            assert (vault.read("maxRedeem", STAKER), vault.read("maxWithdraw", STAKER)) == (shares, 1_000 * USD)
            assert vault.leave(STAKER, shares) == 1_000 * USD
    vault.world.wait(1)
    assert vault.read("maxRedeem", STAKER) == 0
    with refused("fund: exit not open"):
        vault.leave(STAKER, 1)


def test_no_more_than_was_announced_and_is_held(vault: Vault) -> None:
    shares = vault.put(STAKER, 1_000)
    with refused("fund: more than held"):
        vault.announce(STAKER, shares + 1)
    vault.announce(STAKER, shares // 2)
    vault.world.wait(3 * DAY)
    with refused("fund: exit not open"):
        vault.leave(STAKER, shares // 2 + 1)
    vault.leave(STAKER, shares // 4)
    assert vault.fund.call("withdraw", 250 * USD, STAKER, STAKER, caller=STAKER) == shares // 4
    for call in ((1, "redeem"), (1, "withdraw")):
        with refused("fund: exit not open"):
            vault.fund.call(call[1], call[0], STAKER, STAKER, caller=STAKER)


def test_an_announcement_can_be_replaced_and_taken_back(vault: Vault) -> None:
    shares = vault.put(STAKER, 1_000)
    vault.announce(STAKER, shares)
    vault.world.wait(DAY)
    vault.announce(STAKER, 1)
    vault.world.wait(2 * DAY)
    with refused("fund: exit not open"):
        vault.leave(STAKER, 1)
    vault.world.wait(DAY)
    vault.announce(STAKER, 0)
    vault.world.wait(3 * DAY)
    with refused("fund: exit not open"):
        vault.leave(STAKER, 1)
    assert vault.leave(STAKER, 0) == 0


def test_shares_that_move_have_no_announcement(vault: Vault) -> None:
    shares = vault.put(STAKER, 1_000)
    vault.announce(STAKER, shares)
    with refused("fund: shares announced to leave"):
        vault.fund.call("transfer", RIVAL, shares, caller=STAKER)
    vault.world.wait(5 * DAY + 1)
    vault.fund.call("transfer", RIVAL, shares, caller=STAKER)
    assert (vault.read("maxRedeem", STAKER), vault.read("maxRedeem", RIVAL)) == (0, 0)
    with refused("fund: exit not open"):
        vault.leave(RIVAL, shares)


def test_others_leave_for_an_owner_with_an_allowance(vault: Vault) -> None:
    shares = vault.put(STAKER, 1_000)
    vault.announce(STAKER, shares)
    vault.world.wait(3 * DAY)
    with refused("erc20: insufficient allowance"):
        vault.fund.call("redeem", shares, RIVAL, STAKER, caller=RIVAL)
    vault.fund.call("approve", RIVAL, shares, caller=STAKER)
    assert vault.fund.call("redeem", shares, RIVAL, STAKER, caller=RIVAL) == 1_000 * USD
    assert vault.token.call("balanceOf", RIVAL) == 11_000 * USD


def test_nobody_leaves_ahead_of_a_known_loss(vault: Vault) -> None:
    """The protocol's own fund: an exit that is open closes when the auction knows of a loss, until that is sold."""
    world = vault.world
    shares = world.fund.call("balanceOf", world.staker)
    world.fund.call("announce_exit", shares, caller=world.staker)
    world.wait(3 * DAY)
    world.refresh()
    world.long_btc()
    world.set_price(BTC, 25_000)
    world.start(world.borrower)
    assert world.auction.call("shortfall_wad") == 5_000 * WAD
    assert (world.fund.call("maxRedeem", world.staker), world.fund.call("maxWithdraw", world.staker)) == (0, 0)
    for call, amount in (("redeem", shares), ("withdraw", 1)):
        with refused("fund: loss outstanding"):
            world.fund.call(call, amount, world.staker, world.staker, caller=world.staker)
    world.buy(world.borrower, world.bidder)
    assert world.fund.call("redeem", shares, world.staker, world.staker, caller=world.staker) == 45_000 * USD


def test_governance_that_takes_the_auction_away_lets_them_go(vault: Vault) -> None:
    world = vault.world
    shares = world.fund.call("balanceOf", world.staker)
    world.fund.call("announce_exit", shares, caller=world.staker)
    world.wait(3 * DAY)
    world.refresh()
    world.long_btc()
    world.set_price(BTC, 25_000)
    world.start(world.borrower)
    world.govern(world.fund, "set_auction", NOBODY)
    world.fund.call("redeem", shares, world.staker, world.staker, caller=world.staker)


# ------------------------------------------------------------------ value of shares


def test_shareholders_bear_the_loss_in_proportion(paying: Vault) -> None:
    shares, others = paying.put(STAKER, 1_000), paying.put(RIVAL, 3_000)
    paying.announce(STAKER, shares)
    paying.announce(RIVAL, others)
    paying.fund.call("cover", 1_000 * USD, caller=AUCTION)
    paying.world.govern(paying.fund, "set_auction", NOBODY)
    paying.world.wait(3 * DAY)
    assert paying.leave(STAKER, shares) == 750 * USD
    assert paying.leave(RIVAL, others) == 2_250 * USD


def test_rounding_never_favours_the_caller(vault: Vault) -> None:
    vault.put(STAKER, 1_000)
    vault.token.call("transfer", vault.fund.address, 333_333_333, caller=RIVAL)
    before = vault.token.call("balanceOf", RIVAL)
    for amount in (1, 7, 999_999):
        shares = vault.fund.call("deposit", amount, RIVAL, caller=RIVAL)
        assert vault.read("previewRedeem", shares) <= amount
        minted = vault.fund.call("mint", amount * 10**6, RIVAL, caller=RIVAL)
        assert vault.read("previewRedeem", amount * 10**6) <= minted
    everything = vault.read("balanceOf", RIVAL)
    vault.announce(RIVAL, everything)
    vault.world.wait(3 * DAY)
    part = vault.read("maxWithdraw", RIVAL) // 2
    burned = vault.fund.call("withdraw", part, RIVAL, RIVAL, caller=RIVAL)
    assert vault.read("convertToAssets", burned) <= part + 1
    vault.leave(RIVAL, everything - burned)
    assert vault.token.call("balanceOf", RIVAL) <= before


# ------------------------------------------------------------------ governance


def test_only_governance_sets_the_auction(vault: Vault) -> None:
    with refused("ownable: caller is not the owner"):
        vault.fund.call("set_auction", RIVAL, caller=RIVAL)
    vault.world.govern(vault.fund, "set_auction", SUCCESSOR)
    assert len(vault.world.events("InsuranceFund", "AuctionSet")) == 1
    assert int(vault.read("auction"), 16) == int(SUCCESSOR, 16)


def test_governance_changes_hands_in_two_steps(vault: Vault) -> None:
    vault.world.govern(vault.fund, "transfer_ownership", SUCCESSOR)
    assert vault.read("owner") == vault.world.governance
    with refused("ownable_2step: caller is not the new owner"):
        vault.fund.call("accept_ownership", caller=RIVAL)
    vault.fund.call("accept_ownership", caller=SUCCESSOR)
    assert int(vault.read("owner"), 16) == int(SUCCESSOR, 16)
    assert "renounce_ownership" not in vault.fund.functions


@pytest.mark.parametrize("governance,accounts", [(NOBODY, ACCOUNTS), (ACCOUNTS, NOBODY)])
def test_constructor_refuses_missing_addresses(vault: Vault, governance: str, accounts: str) -> None:
    reason = "fund: no governance" if governance == NOBODY else "fund: no accounts"
    with pytest.raises(RuntimeError, match=reason.encode().hex()):
        deploy(vault.world.evm, PATH, governance, accounts, vault.token.address)
