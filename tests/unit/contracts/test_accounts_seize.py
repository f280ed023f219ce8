# SPDX-License-Identifier: Apache-2.0
"""MarginAccounts.seize, socialise_loss, receive_cover: nothing is created, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest

from tests.support.ledger import (
    ALICE,
    AUCTION,
    BOB,
    BTC,
    BTC_PERP,
    CAROL,
    ETH,
    ETH_PERP,
    GOVERNANCE,
    GUARDIAN,
    HEARTBEAT_S,
    KEEPER,
    LOTS,
    STRANGER,
    USD,
    WAD,
    WBTC,
    WETH,
    Ledger,
    deploy_ledger,
)


@pytest.fixture(scope="module")
def deployment() -> Ledger:
    return deploy_ledger()


@pytest.fixture
def ledger(deployment: Ledger) -> Iterator[Ledger]:
    with boa.env.anchor():
        yield deployment


def seize(ledger: Ledger, fraction_wad: int, price_wad: int = 0) -> None:
    ledger.accounts.seize(ledger.alice, ledger.bob, fraction_wad, price_wad, sender=AUCTION)


def cash(ledger: Ledger) -> list[int]:
    return [ledger.accounts.cash_of(k) for k in (0, ledger.alice, ledger.bob)]


def test_only_the_auction(ledger: Ledger) -> None:
    for outsider in (STRANGER, GOVERNANCE, GUARDIAN, ALICE):
        with boa.reverts("accounts: not the auction"):
            ledger.accounts.seize(1, 2, WAD, 0, sender=outsider)
        with boa.reverts("accounts: not the auction"):
            ledger.accounts.socialise_loss(1, sender=outsider)
        with boa.reverts("accounts: not the auction"):
            ledger.accounts.receive_cover(1, sender=outsider)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((1, 1, WAD, 0), "accounts: same account"),
        ((0, 1, WAD, 0), "accounts: protocol account"),
        ((1, 0, WAD, 0), "accounts: protocol account"),
        ((1, 4, WAD, 0), "accounts: no such account"),
        ((1, 2, WAD + 1, 0), "accounts: fraction"),
        ((1, 2, WAD, -1), "cash: not covered"),
    ],
)
def test_what_the_auction_may_not_do(ledger: Ledger, arguments: tuple[int, int, int, int], reason: str) -> None:
    with boa.reverts(reason):
        ledger.accounts.seize(*arguments, sender=AUCTION)


def test_a_third_of_everything(ledger: Ledger) -> None:
    """A third, rounded down to the wad: 333...333e-18."""
    third = WAD // 3
    ledger.deposit(ledger.alice, ledger.cash, 900 * USD)
    ledger.deposit(ledger.bob, ledger.cash, 1_000 * USD)
    ledger.deposit(ledger.alice, ledger.weth, 10, sender=ALICE)
    ledger.deposit(ledger.alice, ledger.wbtc, 300, sender=ALICE)
    option, _ = ledger.list_option(ETH, 2_000, is_call=True)
    ledger.fill(option, ledger.alice, ledger.carol, 10, 0)
    ledger.fill(ETH_PERP, ledger.carol, ledger.alice, 10, 2_000 * WAD)
    seize(ledger, third, 100 * WAD)
    moved = 900 * WAD * third // WAD
    assert cash(ledger) == [0, 900 * WAD - moved + 100 * WAD, 1_000 * WAD + moved - 100 * WAD]
    amounts = [[ledger.accounts.collateral_of(k, asset) for k in (1, 2)] for asset in (WETH, WBTC)]
    assert amounts == [[7, 3], [201, 99]]
    assert ledger.options(ledger.alice, ETH) == [(0, 7)]
    assert ledger.options(ledger.bob, ETH) == [(0, 3)]
    # lots and base each by themselves: a base may hold more than its lots
    base = 10 * 2_000 * WAD * third // WAD
    assert ledger.perp(ledger.alice, ETH) == (-7, 10 * 2_000 * WAD - base)
    assert ledger.perp(ledger.bob, ETH) == (-3, base)


def test_the_event(ledger: Ledger) -> None:
    seize(ledger, WAD // 2)
    (log,) = [log for log in ledger.accounts.get_logs() if type(log).__name__ == "Seized"]
    assert (log.account, log.bidder, log.fraction_wad, log.price_wad) == (1, 2, WAD // 2, 0)
    assert [ledger.accounts.nonce_of(k) for k in (1, 2)] == [1, 1]


def test_the_whole_moves_exactly_and_leaves_an_empty_head(ledger: Ledger) -> None:
    ledger.deposit(ledger.bob, ledger.cash, 5_000 * USD)
    ledger.deposit(ledger.alice, ledger.weth, 3, sender=ALICE)
    for k in range(5):
        ledger.list_option(ETH, 1_000 + k, is_call=True)
        ledger.fill(k, ledger.alice, ledger.carol, k + 1, 0)
    ledger.fill(ETH_PERP, ledger.alice, ledger.carol, 7, 2_000 * WAD + 1)
    ledger.fill(BTC_PERP, ledger.carol, ledger.alice, 9, 50_000 * WAD)
    ledger.accounts.withdraw(ledger.alice, ledger.cash.address, 1_000 * USD, ALICE, sender=ALICE)
    debt = ledger.accounts.cash_of(ledger.alice)
    eth, btc = ledger.perp(ledger.alice, ETH), ledger.perp(ledger.alice, BTC)
    seize(ledger, WAD, 12 * WAD)
    assert cash(ledger) == [0, 12 * WAD, 5_000 * WAD + debt - 12 * WAD]
    head = ledger.accounts.state(ledger.alice)[0]
    assert head & (2**160 - 1) == 0
    assert (ledger.perp(ledger.bob, ETH), ledger.perp(ledger.bob, BTC)) == (eth, btc)
    assert sorted(ledger.options(ledger.bob, ETH)) == [(k, k + 1) for k in range(5)]


def test_merging_into_the_other_side_closes_it(ledger: Ledger) -> None:
    option, _ = ledger.list_option(ETH, 2_000, is_call=True)
    ledger.fill(option, ledger.alice, ledger.bob, 8, 0)
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 8 * LOTS, 2_000 * WAD)
    ledger.fill(ETH_PERP, ledger.carol, ledger.bob, LOTS, 2_000 * WAD)
    seize(ledger, WAD)
    assert ledger.options(ledger.bob, ETH) == []
    assert ledger.perp(ledger.bob, ETH) == (-LOTS, LOTS * 2_000 * WAD)
    assert ledger.accounts.position_of(ledger.carol, ETH_PERP) == LOTS


def test_closing_through_a_merge_books_cash_and_dust(ledger: Ledger) -> None:
    """Bob sold at 3/1e18 more than alice bought: 3 wad x lots of profit, less than one wad of cash."""
    ledger.fill(ETH_PERP, ledger.carol, ledger.bob, 5, 2_000 * WAD + 3)
    ledger.fill(ETH_PERP, ledger.alice, ledger.carol, 5, 2_000 * WAD)
    assert ledger.accounts.cash_book()[1] == 10**6 - 15  # carol lost 15: -1 wad and this dust
    seize(ledger, WAD)
    assert ledger.perp(ledger.bob, ETH) == (0, 0)
    assert [ledger.accounts.cash_of(k) for k in (0, 1, 2, 3)] == [1, 0, 0, -1]
    assert ledger.accounts.cash_book()[1] == 0


def test_a_dead_feed_stops_no_seizure(ledger: Ledger) -> None:
    ledger.fill(ETH_PERP, ledger.alice, ledger.carol, 10, 2_000 * WAD)
    ledger.registry.set_funding_rate(ETH, 10**12, sender=KEEPER)
    boa.env.time_travel(seconds=2 * HEARTBEAT_S)
    seize(ledger, WAD // 2)
    assert ledger.perp(ledger.alice, ETH) == ledger.perp(ledger.bob, ETH) == (5, -5 * 2_000 * WAD)


def test_the_bidders_position_cap_holds(ledger: Ledger) -> None:
    for k in range(129):
        ledger.list_option(ETH, 1_000 + k, is_call=True)
    for k in range(128):
        ledger.fill(k, ledger.bob, ledger.carol, 1, 0)
    ledger.fill(128, ledger.alice, ledger.accounts.open_account(CAROL), 2, 0)
    with boa.reverts("positions: full"):
        seize(ledger, WAD)
    seize(ledger, WAD // 4)  # rounds to no lots
    assert ledger.options(ledger.alice, ETH) == [(128, 2)]


# --- losses ----------------------------------------------------------------------------------------------------------


def test_cover_backs_the_credit_to_the_bidder(ledger: Ledger) -> None:
    ledger.cash.mint(ledger.accounts.address, 30 * USD)
    assert ledger.accounts.receive_cover(30 * USD, sender=AUCTION) == 30 * WAD
    assert ledger.accounts.cash_book() == (30 * USD, 0, 30 * WAD)
    with boa.reverts("cash: not covered"):
        seize(ledger, WAD, -30 * WAD - 1)
    seize(ledger, WAD, -20 * WAD)
    assert cash(ledger) == [0, 0, 20 * WAD]
    with boa.reverts("cash: not covered"):
        seize(ledger, WAD, -10 * WAD - 1)
    seize(ledger, WAD, -10 * WAD)
    assert ledger.accounts.cash_book() == (30 * USD, 0, 0)
    ledger.accounts.withdraw(ledger.bob, ledger.cash.address, 30 * USD, BOB, sender=BOB)


def test_cover_counts_what_arrived_not_what_is_said(ledger: Ledger) -> None:
    ledger.deposit(ledger.carol, ledger.cash, 500 * USD)
    assert ledger.accounts.receive_cover(100 * USD, sender=AUCTION) == 0
    ledger.cash.mint(ledger.accounts.address, 40 * USD)
    assert ledger.accounts.receive_cover(100 * USD, sender=AUCTION) == 40 * WAD
    assert ledger.accounts.receive_cover(100 * USD, sender=AUCTION) == 0


def test_a_loss_is_shared_by_positive_cash_alone(ledger: Ledger) -> None:
    ledger.deposit(ledger.bob, ledger.cash, 300 * USD)
    ledger.deposit(ledger.carol, ledger.cash, 100 * USD)
    ledger.accounts.withdraw(ledger.alice, ledger.cash.address, 50 * USD, ALICE, sender=ALICE)
    ledger.accounts.socialise_loss(40 * WAD, sender=AUCTION)
    (log,) = [log for log in ledger.accounts.get_logs() if type(log).__name__ == "LossSocialised"]
    assert (log.loss_wad, log.supply_index_wad) == (40 * WAD, 9 * WAD // 10)
    assert [ledger.accounts.cash_of(k) for k in (1, 2, 3)] == [-50 * WAD, 270 * WAD, 90 * WAD]
    assert ledger.accounts.cash_book()[2] == 40 * WAD
    seize(ledger, WAD, -40 * WAD)  # bob takes the debt of 50 and is paid 40
    assert cash(ledger)[1:] == [0, 260 * WAD - 1]  # 260 / 0.9 is no whole number of scaled wads


def test_a_loss_rounds_against_lenders(ledger: Ledger) -> None:
    ledger.deposit(ledger.carol, ledger.cash, 3 * USD)
    ledger.accounts.socialise_loss(1, sender=AUCTION)
    assert ledger.accounts.cash_book()[2] == 1
    assert ledger.accounts.cash_of(ledger.carol) == 3 * WAD - 3  # one unit of the index is three wad


def test_lenders_never_lose_the_last_millionth(ledger: Ledger) -> None:
    ledger.deposit(ledger.carol, ledger.cash, 1_000_000 * USD)
    ledger.accounts.socialise_loss(2_000_000 * WAD, sender=AUCTION)
    assert ledger.accounts.cash_of(ledger.carol) == WAD
    assert ledger.accounts.cash_book()[2] == 999_999 * WAD
    ledger.accounts.socialise_loss(WAD, sender=AUCTION)
    assert ledger.accounts.cash_book()[2] == 10**6 * WAD - 10**12
    ledger.deposit(ledger.carol, ledger.cash, 10 * USD)  # the ledger lives on
    assert ledger.accounts.cash_of(ledger.carol) == 10 * WAD + 10**12


def test_a_loss_without_lenders_is_nothing(ledger: Ledger) -> None:
    ledger.accounts.socialise_loss(WAD, sender=AUCTION)
    assert ledger.accounts.cash_totals() == (0, 0, WAD, WAD)
    assert ledger.accounts.cash_book()[2] == 0
