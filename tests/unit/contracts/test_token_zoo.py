# SPDX-License-Identifier: Apache-2.0
"""Collateral with habits, in the whole protocol: what is credited, what is sent, and that nobody else suffers.

docs/tokens.md is the table of these tests. Ether is a ZooToken; bob holds bitcoin, gold and cash, the lender cash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.support.protocol import ETH, LOTS, USD, WAD, Reverted
from tests.support.revm import Contract, compiled, deploy
from tests.support.token_zoo import (
    ALICE,
    ALL,
    BIDDER,
    BOMB,
    CAROL,
    ETH_PERP,
    GONE,
    LONG,
    NO,
    NO_BOOL,
    NOTHING,
    ODD,
    REVERT,
    REVERT_BOMB,
    SHORT,
    YES,
    Zoo,
    odd_protocol,
    populate,
)  # fmt: skip

ONE: Final = 10 * WAD
EMPTY: Final = "output: 0x }"  # a revert without data
Habit = Callable[[Zoo, Contract], Any]


@pytest.fixture(scope="module")
def populated() -> Zoo:
    return populate(odd_protocol())


@pytest.fixture
def zoo(populated: Zoo) -> Iterator[Zoo]:
    world, now, quotes = populated.world, populated.world.now, list(populated.world.quotes)
    mark, code = world.evm.snapshot(), populated.code(populated.ether)
    yield populated
    # the journal of revm does not know of replaced code
    populated.become(populated.ether, code)
    world.evm.revert(mark)
    world.now, world.quotes = now, quotes
    world.wait(0)


def banned(who: str, *, as_sender: bool, as_receiver: bool) -> Habit:
    def ban(zoo: Zoo, token: Contract) -> None:
        address = zoo.world.accounts.address if who == "ledger" else ALICE
        token.call("set_banned", address, as_sender, as_receiver)

    return ban


def answers(transfer: int, transfer_from: int) -> Habit:
    return lambda _, token: token.call("set_answers", transfer, transfer_from)


# habit, what a deposit of 10 is credited, what the owner receives from a withdrawal of 10; text = the revert reason
HABITS: Final[dict[str, tuple[Habit, int | str, int | str]]] = {
    "none": (lambda _z, _t: None, ONE, ONE),
    "fee of 1 % on transfer": (lambda _, t: t.call("set_fees", 100, 0), ONE * 99 // 100, ONE * 99 // 100),
    "fee of everything": (lambda _, t: t.call("set_fees", 10_000, 0), "token: nothing received", 0),
    "fee of 1 bp from the sender on top": (lambda _, t: t.call("set_fees", 0, 1), ONE, "token: sent too much"),
    "no return value": (answers(NOTHING, NOTHING), ONE, ONE),
    "transfer returns false": (answers(NO, YES), ONE, "token: refused"),
    "transferFrom returns false": (answers(YES, NO), "token: refused", ONE),
    "a word too much in the answer": (answers(LONG, LONG), ONE, ONE),
    "31 bytes of answer": (answers(SHORT, SHORT), EMPTY, EMPTY),
    "an answer that is no boolean": (answers(NO_BOOL, NO_BOOL), EMPTY, EMPTY),
    "paused": (lambda _, t: t.call("set_paused", True), "zoo: paused", "zoo: paused"),
    "sender banned": (banned("alice", as_sender=True, as_receiver=False), "zoo: banned", ONE),
    "receiver banned": (banned("alice", as_sender=False, as_receiver=True), ONE, "zoo: banned"),
    "protocol banned": (banned("ledger", as_sender=True, as_receiver=True), "zoo: banned", "zoo: banned"),
    "yes, but nothing moves": (lambda _, t: t.call("set_idle", True), "token: nothing received", 0),
    "decimals change after listing": (lambda _, t: t.call("set_decimals", 2), ONE, ONE),
    "a constant lie about the ledger's balance": (
        lambda z, t: t.call("set_lie", z.world.accounts.address, 2**200), ONE, ONE,
    ),
}  # fmt: skip
UPGRADES: Final = {"return bomb": BOMB, "revert bomb": REVERT_BOMB, "reverts": REVERT, "code is gone": GONE}


def outcome(action: Callable[[], int]) -> int | str:
    try:
        return action()
    except Reverted as error:
        return str(error)


def assert_outcome(found: int | str, expected: int | str) -> None:
    if expected == EMPTY:
        assert EMPTY in str(found)
    else:
        assert found == expected


@pytest.mark.parametrize("habit", HABITS)
def test_a_habit_of_collateral(zoo: Zoo, habit: str) -> None:
    """What arrives is credited, what cannot be trusted is refused; all else stays where it was and can be taken out."""
    take_on, credited, received = HABITS[habit]
    before = {name: zoo.leave(name, without=zoo.ether) for name in ("bob", "lender", "bidder")}
    take_on(zoo, zoo.ether)
    assert_outcome(outcome(lambda: zoo.pay_in(zoo.ether, ONE)), credited)
    assert_outcome(outcome(lambda: zoo.take_out(zoo.ether, ONE)), received)
    assert zoo.faults() == {}
    assert zoo.held(zoo.carol, zoo.ether) == 100 * WAD
    assert {name: zoo.leave(name, without=zoo.ether) for name in before} == before


def test_a_fee_on_top_is_nobody_elses(zoo: Zoo) -> None:
    """Refused, since the ledger would pay it out of carol's tokens; without the fee both leave in full."""
    zoo.ether.call("set_fees", 0, 100)
    with pytest.raises(Reverted, match="token: sent too much"):
        zoo.take_out(zoo.ether, ALL)
    zoo.ether.call("set_fees", 0, 0)
    assert zoo.take_out(zoo.ether, ALL) == zoo.take_out(zoo.ether, ALL, CAROL) == 100 * WAD


@pytest.mark.parametrize("scale", [2 * WAD, WAD * 11 // 10, WAD + 1])
def test_rebasing_up_is_a_gift_to_nobody(zoo: Zoo, scale: int) -> None:
    """Amounts are raw units at deposit: the growth stays in the ledger. Rounding of shares is the depositor's."""
    zoo.ether.call("rebase", scale)
    assert (zoo.held(zoo.alice, zoo.ether), zoo.faults()) == (100 * WAD, {})
    credited = zoo.pay_in(zoo.ether, ONE + 1)
    # a share is more than one unit here, so what arrives may be less than what was sent
    assert 0 <= ONE + 1 - credited <= 2
    for owner, amount in ((ALICE, 100 * WAD + credited), (CAROL, 100 * WAD)):
        assert amount - 2 <= zoo.take_out(zoo.ether, ALL, owner) <= amount
    assert zoo.faults() == {}


def test_rebasing_down_leaves_the_last_holder_short(zoo: Zoo) -> None:
    """The habit that measuring cannot handle: the claims stay. The first leaves in full, the last bears it."""
    zoo.ether.call("rebase", WAD * 9 // 10)
    assert zoo.faults() == {"collateral_wrong": ODD + 1}
    assert zoo.take_out(zoo.ether, ALL) >= 100 * WAD - 2
    with pytest.raises(Reverted, match="zoo: balance"):
        zoo.take_out(zoo.ether, ALL, CAROL)
    # what is there can be had, up to the rounding of a share
    assert zoo.take_out(zoo.ether, 80 * WAD - 2, CAROL) >= 80 * WAD - 4
    assert set(zoo.leave("bob", without=zoo.ether).values()) == {50_000 * USD, 10 * 10**8, 20 * WAD}
    assert list(zoo.leave("lender").values()) == [10**6 * USD]


def test_a_lie_that_grows_is_bounded_by_the_cap(zoo: Zoo) -> None:
    """A token that claims that more came than did mints claims on itself up to its cap, and takes nothing else."""
    world = zoo.world
    holder = deploy(world.evm, "contracts/testing/ReentrantHolder.vy")
    cap = int(world.accounts.call("collateral_info", ODD)[3])
    zoo.ether.call("set_hooks", world.stranger, holder.address)
    arm(holder, zoo.ether, "set_lie(address,uint256)", world.accounts.address, cap)
    assert outcome(lambda: zoo.pay_in(zoo.ether, ONE)) == "collateral: cap"
    arm(holder, zoo.ether, "set_lie(address,uint256)", world.accounts.address, cap // 2)
    assert zoo.pay_in(zoo.ether, ONE) == cap // 2 + ONE
    zoo.ether.call("set_lie", world.accounts.address, 0)
    assert zoo.faults() == {"collateral_wrong": ODD + 1}
    # the lie cannot be withdrawn, and the cash that can be borrowed against it is bounded by the cap's use haircut
    assert outcome(lambda: zoo.take_out(zoo.ether, 200 * WAD)) == 200 * WAD
    assert outcome(lambda: zoo.take_out(zoo.ether, 100 * WAD)) == "zoo: balance"
    assert set(zoo.leave("bob", without=zoo.ether).values()) == {50_000 * USD, 10 * 10**8, 20 * WAD}


def arm(holder: Contract, target: Contract, signature: str, *arguments: Any) -> None:
    """Prepare the call that the holder makes from a hook."""
    from eth_abi import encode

    from tests.support.protocol import selector

    types = signature[signature.index("(") + 1 : -1].split(",")
    holder.call("arm", target.address, selector(signature) + encode(types, arguments))


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_a_token_that_is_upgraded_into_a_bad_one(zoo: Zoo, upgrade: str) -> None:
    """It neither comes nor goes any more, with a bounded bill of gas; nothing else is touched."""
    before = {name: zoo.leave(name, without=zoo.ether) for name in ("bob", "lender", "bidder")}
    books = zoo.audit()
    zoo.become(zoo.ether, UPGRADES[upgrade])
    for function, arguments in (
        ("deposit", (zoo.alice, zoo.ether.address, 1)),
        ("deposit_with_permit", (zoo.alice, zoo.ether.address, 1, 0, 27, bytes(32), bytes(32))),
        ("withdraw", (zoo.alice, zoo.ether.address, 1, ALICE)),
    ):
        with pytest.raises(Reverted) as refused:
            zoo.world.accounts.call(function, *arguments, caller=ALICE)
        assert "Halt" not in str(refused.value)  # not for want of gas
    assert {name: zoo.leave(name, without=zoo.ether) for name in before} == before
    assert zoo.held(zoo.alice, zoo.ether) == 100 * WAD
    assert zoo.world.assess(zoo.alice)["equity_mark"] == books["equities"][zoo.alice]


STOPPED: Final[dict[str, Habit]] = {
    **{name: HABITS[name][0] for name in HABITS if HABITS[name][2] != ONE},
    **{name: lambda z, t, code=code: z.become(t, code) for name, code in UPGRADES.items()},
}


@pytest.mark.parametrize("habit", STOPPED)
def test_liquidation_of_a_holder_of_a_stopped_token(zoo: Zoo, habit: str) -> None:
    """Seizure moves no tokens: whatever the collateral does, its holder is sold, and the bidder holds the claim."""
    world = zoo.world
    zoo.take_out(zoo.cash, 70_000 * USD)  # borrowed
    zoo.trade()
    zoo.crash(2_100)
    STOPPED[habit](zoo, zoo.ether)
    assert world.health(zoo.alice) < 0 < world.assess(zoo.alice)["equity_mark"]
    bitcoin = zoo.leave("bob", without=zoo.ether)
    world.start(zoo.alice)
    fraction, price = world.bid(zoo.alice, zoo.bidder, BIDDER)
    assert fraction > 0 < price
    assert zoo.held(zoo.bidder, zoo.ether) == 100 * WAD * fraction // WAD
    assert world.health(zoo.alice) >= 0
    assert zoo.leave("bob", without=zoo.ether) == bitcoin


def test_a_top_up_in_a_stopped_token_is_refused_and_cash_cures(zoo: Zoo) -> None:
    """A holder whose collateral is paused is not helpless: cash and closing trades still help."""
    world = zoo.world
    zoo.take_out(zoo.cash, 70_000 * USD)
    zoo.trade()
    zoo.crash(2_100)
    zoo.ether.call("set_paused", True)
    world.start(zoo.alice)
    assert outcome(lambda: zoo.pay_in(zoo.ether, ONE)) == "zoo: paused"
    world.deposit(zoo.alice, zoo.cash, 60_000 * USD, ALICE)
    world.auction.call("end", zoo.alice)
    world.fill(ETH_PERP, zoo.bidder, zoo.alice, 60 * LOTS, world.mark(ETH_PERP))
    assert (world.health(zoo.alice) > 0, zoo.faults()) == (True, {})


@pytest.mark.parametrize("held", [2**255, 2**256 - 1 - 200 * WAD])
def test_balances_and_supply_of_2_255(zoo: Zoo, held: int) -> None:
    """More than caps, books and words know: refused beyond the cap; what was given to the ledger is nobody's."""
    accounts = zoo.world.accounts
    zoo.ether.call("mint", accounts.address, held - 1_000 * WAD)
    assert (zoo.pay_in(zoo.ether, ONE), zoo.take_out(zoo.ether, ONE)) == (ONE, ONE)
    assert zoo.ether.call("totalSupply") >= 2**255 - 1_000 * WAD
    zoo.ether.call("approve", accounts.address, ALL, caller=ALICE)
    for amount in (10**6 * WAD, 2**112, 2**128, 2**255, ALL):
        with pytest.raises(Reverted, match=r"collateral: cap|zoo: balance|Revert"):
            accounts.call("deposit", zoo.alice, zoo.ether.address, amount, caller=ALICE)
    assert (zoo.held(zoo.alice, zoo.ether), zoo.faults()) == (100 * WAD, {})


@pytest.mark.parametrize("decimals", [0, 2, 6, 8, 18])
def test_decimals_that_are_handled(zoo: Zoo, decimals: int) -> None:
    """Listed, priced to the wei per whole token, and returned to the unit."""
    world, unit = zoo.world, 10**decimals
    token = deploy(world.evm, "contracts/testing/ZooToken.vy", decimals)
    world.govern(world.accounts, "list_collateral", token.address, ETH + 1, 10**6 * unit, 10**6 * unit)
    asset = int(world.accounts.call("collateral_count")) - 1
    world.govern(world.oracle, "share_feed", asset, ETH)
    world.govern(world.parameters, "initialise", 2, asset, world.parameters.call("word", 2, ODD))
    before = world.assess(zoo.alice)["equity_mark"]
    world.deposit(zoo.alice, token, 7 * unit, ALICE)
    assert world.assess(zoo.alice)["equity_mark"] - before == 7 * 3_000 * WAD
    world.withdraw(zoo.alice, token, ALL, ALICE)
    assert token.call("balanceOf", ALICE) == 7 * unit


@pytest.mark.parametrize("decimals", [19, 24, 77, 255])
def test_too_many_decimals_are_refused_at_listing(zoo: Zoo, decimals: int) -> None:
    token = deploy(zoo.world.evm, "contracts/testing/ZooToken.vy", decimals)
    with pytest.raises(Reverted, match=r"^collateral: decimals$"):
        zoo.world.govern(zoo.world.accounts, "list_collateral", token.address, 0, 1, 1)


def test_what_says_no_decimals_is_refused_at_listing(zoo: Zoo) -> None:
    """No function decimals(), decimals that are no uint8, no code at all, and the cash token."""
    world, count = zoo.world, zoo.world.accounts.call("collateral_count")
    silent = deploy(world.evm, "contracts/testing/GateFixture.vy")
    assert "decimals" not in {item.get("name") for item in compiled("contracts/testing/GateFixture.vy")[1]}
    huge = deploy(world.evm, "contracts/testing/ZooToken.vy", 256)
    for address in (silent.address, huge.address, ALICE):
        with pytest.raises(Reverted, match=EMPTY):
            world.govern(world.accounts, "list_collateral", address, 0, 1, 1)
    for token in (zoo.cash, zoo.ether):
        with pytest.raises(Reverted, match=r"^collateral: listed$"):
            world.govern(world.accounts, "list_collateral", token.address, 0, 1, 1)
    assert world.accounts.call("collateral_count") == count
