# SPDX-License-Identifier: Apache-2.0
"""Cash with habits: the ledger, the insurance fund, bonds, and liquidations while the cash token misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.protocol import USD, WAD, ZERO, Reverted, address_of
from tests.support.revm import deploy
from tests.support.token_zoo import ALICE, ALL, BIDDER, BOB, LENDER, NO, Zoo, odd_protocol, populate
from tests.unit.contracts.test_token_zoo import HABITS, UPGRADES, assert_outcome, outcome

SCALE: Final = 10**12
SENT: Final = 1_000 * USD
STAKER: Final = address_of("staker")
# of the odd ether's table, in raw units of cash
CASH_HABITS: Final = {
    name: (habit, *(result if isinstance(result, str) else result * SENT // (10 * WAD) for result in results))
    for name, (habit, *results) in HABITS.items()
}


@pytest.fixture(scope="module")
def populated() -> Zoo:
    return populate(odd_protocol())


@pytest.fixture
def zoo(populated: Zoo) -> Iterator[Zoo]:
    world, now, quotes = populated.world, populated.world.now, list(populated.world.quotes)
    mark, code = world.evm.snapshot(), populated.code(populated.cash)
    yield populated
    populated.become(populated.cash, code)
    world.evm.revert(mark)
    world.now, world.quotes = now, quotes
    world.wait(0)


def others(zoo: Zoo) -> dict[str, int]:
    """What bob and alice can take out that is not cash."""
    return zoo.leave("bob", without=zoo.cash) | zoo.leave("alice", without=zoo.cash)


def fall_short(zoo: Zoo) -> None:
    """Alice borrows and is long when ether falls: below MM with equity left."""
    zoo.take_out(zoo.cash, 70_000 * USD)
    zoo.trade()
    zoo.crash(2_100)


def fall_under(zoo: Zoo, stake_usd: int = 0) -> None:
    """Alice owes more than she has, and the insolvent phase has run for an hour."""
    if stake_usd:
        zoo.world.stake(stake_usd * USD, STAKER)
    zoo.take_out(zoo.cash, 70_000 * USD)
    zoo.trade()
    zoo.crash(1_400)
    zoo.world.start(zoo.alice)
    for _ in range(20):
        zoo.world.wait(60)
        zoo.world.refresh()
        zoo.world.auction.call("tick", zoo.alice)


# ------------------------------------------------------------------ the ledger


@pytest.mark.parametrize("habit", CASH_HABITS)
def test_a_habit_of_cash(zoo: Zoo, habit: str) -> None:
    """As for collateral, measured in cash; the books hold and other assets leave."""
    take_on, credited, received = CASH_HABITS[habit]
    before = others(zoo)
    zoo.pay_in(zoo.cash, SENT)
    take_on(zoo, zoo.cash)
    credited = credited * SCALE if isinstance(credited, int) else credited
    assert_outcome(outcome(lambda: zoo.pay_in(zoo.cash, SENT)), credited)
    assert_outcome(outcome(lambda: zoo.take_out(zoo.cash, SENT)), received)
    assert zoo.held(zoo.bob, zoo.cash) == 50_000 * WAD
    assert zoo.faults() == {}
    assert others(zoo) == before


def test_rebasing_cash_down_leaves_the_last_lender_short(zoo: Zoo) -> None:
    """Claims stay, tokens do not: the missing part is the last one's. Collateral leaves."""
    before = others(zoo)
    zoo.cash.call("rebase", WAD * 9 // 10)
    missing = zoo.audit()["spare_raw"]
    assert zoo.faults() == {"spare_raw": missing} and missing < -600_000 * USD
    assert zoo.take_out(zoo.cash, ALL, LENDER) >= 10**6 * USD - 2
    with pytest.raises(Reverted, match=r"^zoo: balance$"):
        zoo.world.withdraw(zoo.bidder, zoo.cash, ALL, BIDDER)
    assert others(zoo) == before


def test_rebasing_cash_up_is_a_gift_to_nobody(zoo: Zoo) -> None:
    zoo.cash.call("rebase", WAD * 11 // 10)
    assert zoo.faults() == {}
    assert zoo.audit()["spare_raw"] == 605_000 * USD
    assert zoo.held(zoo.lender, zoo.cash) == 10**6 * WAD
    # nor can the auction take it for cover of the insurance fund that never came
    with pytest.raises(Reverted, match=r"^accounts: not the auction$"):
        zoo.world.accounts.call("receive_cover", 605_000 * USD, caller=zoo.world.stranger)


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_cash_that_is_upgraded_into_a_bad_one(zoo: Zoo, upgrade: str) -> None:
    """Collateral leaves, and a holder with equity is sold: that moves no tokens."""
    fall_short(zoo)
    world = zoo.world
    zoo.become(zoo.cash, UPGRADES[upgrade])
    assert len(zoo.leave("bob", without=zoo.cash)) == 2
    world.start(zoo.alice)
    assert world.bid(zoo.alice, zoo.bidder, BIDDER)[1] > 0
    assert world.health(zoo.alice) >= 0


@pytest.mark.parametrize("decimals", [0, 2, 8, 18])
def test_decimals_of_cash_in_the_whole_protocol(decimals: int) -> None:
    """A loan, a liquidation, a loss on fund and lenders: to the unit, and nothing is created."""
    zoo = populate(odd_protocol(decimals))
    unit, world = 10**decimals, zoo.world
    zoo.world.stake(1_000 * unit, STAKER)
    zoo.take_out(zoo.cash, 70_000 * unit)
    zoo.trade()
    zoo.crash(1_400)
    world.start(zoo.alice)
    for _ in range(20):
        world.wait(60)
        world.refresh()
        world.auction.call("tick", zoo.alice)
    fraction, price = world.bid(zoo.alice, zoo.bidder, BIDDER, max_price=0)
    assert fraction == WAD and price < -1_000 * WAD
    assert (zoo.cash.call("balanceOf", world.fund.address), zoo.faults()) == (0, {})
    lost = 10**6 * WAD - zoo.held(zoo.lender, zoo.cash)
    assert 0 < lost < -price
    assert zoo.take_out(zoo.cash, ALL, LENDER) == (10**6 * WAD - lost) * unit // WAD


def test_cash_of_24_decimals_is_refused_at_deployment(zoo: Zoo) -> None:
    world = zoo.world
    token = deploy(world.evm, "contracts/testing/ZooToken.vy", 24)
    for contract, arguments in (
        ("MarginAccountsExtension", (token.address, world.registry.address, world.oracle.address)),
        (
            "MarginAccounts",
            (
                world.governance, world.guardian, token.address, world.registry.address, world.oracle.address,
                world.extension.address,
            ),
        ),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=b"cash: decimals".hex()):
            deploy(world.evm, f"contracts/{contract}.vy", *arguments)


def test_cash_of_2_255(zoo: Zoo) -> None:
    """The ledger has been given almost all cash there can be: nobody's claim grows, and the books' words hold."""
    zoo.cash.call("mint", zoo.world.accounts.address, 2**255)
    assert zoo.pay_in(zoo.cash, SENT) == SENT * SCALE
    assert zoo.take_out(zoo.cash, SENT) == SENT
    zoo.cash.call("mint", ALICE, 2**254)
    zoo.cash.call("approve", zoo.world.accounts.address, ALL, caller=ALICE)
    for amount in (2**112, 2**254):
        with pytest.raises(Reverted, match=r"^cash: total too large$"):
            zoo.world.accounts.call("deposit", zoo.alice, zoo.cash.address, amount, caller=ALICE)


# ------------------------------------------------------------------ losses while cash is stopped


def stop(zoo: Zoo, how: str) -> None:
    """Paused, or an issuer's ban of the fund or of the ledger."""
    world = zoo.world
    if how == "paused":
        zoo.cash.call("set_paused", True)
    else:
        target = world.fund if how == "fund banned" else world.accounts
        zoo.cash.call("set_banned", target.address, True, True)


@pytest.mark.parametrize("how", ["paused", "fund banned", "ledger banned"])
def test_a_solvent_liquidation_needs_no_cash_token(zoo: Zoo, how: str) -> None:
    fall_short(zoo)
    stop(zoo, how)
    zoo.world.start(zoo.alice)
    assert zoo.world.bid(zoo.alice, zoo.bidder, BIDDER)[1] > 0
    assert zoo.faults() == {}


@pytest.mark.parametrize("how", ["paused", "fund banned", "ledger banned"])
def test_an_insolvent_one_waits_for_the_fund(zoo: Zoo, how: str) -> None:
    """A payout needs the fund's tokens, so it waits with them; the clock does not."""
    fall_under(zoo, stake_usd=1_000)
    stop(zoo, how)
    world = zoo.world
    with pytest.raises(Reverted, match=r"^zoo: (paused|banned)$"):
        world.bid(zoo.alice, zoo.bidder, BIDDER)
    world.auction.call("tick", zoo.alice)
    assert len(zoo.leave("bob", without=zoo.cash)) == 2
    # when it is lifted, all goes on
    zoo.cash.call("set_paused", False)
    for contract in (world.fund, world.accounts):
        zoo.cash.call("set_banned", contract.address, False, False)
    assert world.bid(zoo.alice, zoo.bidder, BIDDER)[1] < -1_000 * WAD
    assert zoo.faults() == {}


def test_without_a_stake_lenders_bear_it_while_cash_is_paused(zoo: Zoo) -> None:
    """An empty fund sends nothing, so no token moves: the loss falls on the index."""
    fall_under(zoo)
    stop(zoo, "paused")
    assert zoo.world.bid(zoo.alice, zoo.bidder, BIDDER)[1] < 0
    assert zoo.faults() == {}
    assert zoo.held(zoo.lender, zoo.cash) < 10**6 * WAD


# ------------------------------------------------------------------ the insurance fund and bonds


def test_cover_that_loses_a_fee_on_the_way(zoo: Zoo) -> None:
    """What arrives is counted; the fee falls on the lenders, never on the books."""
    fall_under(zoo, stake_usd=1_000)
    zoo.cash.call("set_fees", 1_000, 0)
    price = zoo.world.bid(zoo.alice, zoo.bidder, BIDDER)[1]
    lost = 10**6 * WAD - zoo.held(zoo.lender, zoo.cash)
    assert price < 0 < lost
    assert zoo.faults() == {}


def test_cover_and_bonds_that_are_answered_with_false(zoo: Zoo) -> None:
    fall_under(zoo, stake_usd=1_000)
    zoo.cash.call("set_answers", NO, NO)
    with pytest.raises(Reverted, match=r"^fund: not sent$"):
        zoo.world.bid(zoo.alice, zoo.bidder, BIDDER)
    zoo.cash.call("mint", BOB, USD)
    zoo.cash.call("approve", zoo.world.table.address, USD, caller=BOB)
    with pytest.raises(Reverted, match=r"^table: not sent$"):
        zoo.world.table.call("deposit_bond", BOB, USD, caller=BOB)
    assert zoo.faults() == {}


@pytest.mark.parametrize("habit", ["no return value", "transferFrom returns false", "paused"])
def test_a_stake_in_odd_cash(zoo: Zoo, habit: str) -> None:
    CASH_HABITS[habit][0](zoo, zoo.cash)
    fund = zoo.world.fund
    if habit == "no return value":
        zoo.world.stake(SENT, STAKER)
        assert (fund.call("totalAssets"), fund.call("balanceOf", STAKER)) == (SENT, SENT * 10**6)
        return
    with pytest.raises(Reverted):
        zoo.world.stake(SENT, STAKER)
    assert (fund.call("totalAssets"), fund.call("totalSupply")) == (0, 0)


def test_a_stake_with_a_fee_dilutes_the_stakers(zoo: Zoo) -> None:
    """ERC-4626 of a plain token: shares are made for what was sent. So cash may not take a fee: docs/tokens.md."""
    zoo.world.stake(1_000 * USD, STAKER)
    zoo.cash.call("set_fees", 100, 0)
    zoo.world.stake(1_000 * USD, BOB)
    fund = zoo.world.fund
    assert fund.call("balanceOf", BOB) == fund.call("balanceOf", STAKER)
    assert fund.call("totalAssets") == 1_990 * USD
    assert fund.call("convertToAssets", fund.call("balanceOf", STAKER)) == 995 * USD
    assert zoo.faults() == {}


def test_a_rebase_of_cash_and_the_fund(zoo: Zoo) -> None:
    """The fund's assets are its balance: its shareholders bear a rebase, pro rata, and nobody else's books."""
    zoo.world.stake(1_000 * USD, STAKER)
    zoo.cash.call("rebase", WAD // 2)
    assert zoo.world.fund.call("totalAssets") == 500 * USD
    assert zoo.world.fund.call("convertToAssets", zoo.world.fund.call("balanceOf", STAKER)) == 500 * USD


def test_bonds_are_measured_and_a_stopped_token_stops_no_revocation(zoo: Zoo) -> None:
    """What arrives is the bond; taking from it moves nothing until it is claimed."""
    table, bond = zoo.world.table, 100 * USD
    zoo.cash.call("mint", BOB, 2 * bond)
    zoo.cash.call("approve", table.address, 2 * bond, caller=BOB)
    zoo.cash.call("set_fees", 100, 0)
    table.call("deposit_bond", BOB, bond, caller=BOB)
    assert table.call("bond", BOB)[0] == 99 * USD
    zoo.cash.call("set_paused", True)
    with pytest.raises(Reverted, match=r"^zoo: paused$"):
        table.call("deposit_bond", BOB, bond, caller=BOB)
    table.call("request_bond_withdrawal", 99 * USD, caller=BOB)
    zoo.world.wait(8 * 86_400)
    with pytest.raises(Reverted, match=r"^zoo: paused$"):
        table.call("withdraw_bond", BOB, caller=BOB)
    zoo.cash.call("set_paused", False)
    table.call("withdraw_bond", BOB, caller=BOB)
    assert table.call("bond", BOB)[0] == 0


def test_a_fee_on_top_is_paid_out_of_no_other_bond(zoo: Zoo) -> None:
    """Whoever leaves while it is on would take it from those who stay; without it the same call sends to the unit."""
    table, bond = zoo.world.table, 100 * USD
    for owner in (BOB, ALICE):
        zoo.cash.call("mint", owner, bond)
        zoo.cash.call("approve", table.address, bond, caller=owner)
        table.call("deposit_bond", owner, bond, caller=owner)
    table.call("request_bond_withdrawal", bond, caller=BOB)
    zoo.world.wait(8 * 86_400)
    zoo.cash.call("set_fees", 0, 1)
    with pytest.raises(Reverted, match=r"^table: sent too much$"):
        table.call("withdraw_bond", BOB, caller=BOB)
    assert (table.call("bond", BOB)[0], zoo.cash.call("balanceOf", table.address)) == (bond, 2 * bond)
    zoo.cash.call("set_fees", 0, 0)
    before = zoo.cash.call("balanceOf", BOB)
    table.call("withdraw_bond", BOB, caller=BOB)
    assert (zoo.cash.call("balanceOf", BOB) - before, zoo.cash.call("balanceOf", table.address)) == (bond, bond)


def test_a_fee_on_top_is_paid_by_no_other_staker(zoo: Zoo) -> None:
    fund, stake = zoo.world.fund, 1_000 * USD
    zoo.world.stake(stake, STAKER)
    zoo.world.stake(stake, BOB)
    shares = fund.call("balanceOf", BOB)
    fund.call("announce_exit", shares, caller=BOB)
    zoo.world.wait(3 * 86_400)
    zoo.cash.call("set_fees", 0, 1)
    for function, amount in (("redeem", shares), ("withdraw", stake)):
        with pytest.raises(Reverted, match=r"^fund: sent too much$"):
            fund.call(function, amount, BOB, BOB, caller=BOB)
    zoo.cash.call("set_fees", 0, 0)
    before = zoo.cash.call("balanceOf", BOB)
    fund.call("redeem", shares, BOB, BOB, caller=BOB)
    assert (zoo.cash.call("balanceOf", BOB) - before, fund.call("totalAssets")) == (stake, stake)


def test_the_fund_without_an_auction_stops_payouts(zoo: Zoo) -> None:
    """Its kill switch turns covers off, and a bid that needs one reverts: the auction must be replaced too."""
    fall_under(zoo, stake_usd=1_000)
    zoo.world.govern(zoo.world.fund, "set_auction", ZERO)
    with pytest.raises(Reverted, match=r"^fund: not auction$"):
        zoo.world.bid(zoo.alice, zoo.bidder, BIDDER)
    assert zoo.faults() == {}
