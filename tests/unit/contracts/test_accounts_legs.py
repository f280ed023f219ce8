# SPDX-License-Identifier: Apache-2.0
"""MarginAccounts.seize_legs and pay_reward: chosen positions at given prices, cash to cash, nothing created."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boa
import pytest

from tests.support.ledger import (
    ALICE,
    AUCTION,
    BTC,
    BTC_PERP,
    ETH,
    ETH_PERP,
    GOVERNANCE,
    GUARDIAN,
    HEARTBEAT_S,
    KEEPER,
    LOTS,
    STRANGER,
    USD,
    VENUE,
    WAD,
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


def seize_legs(ledger: Ledger, *legs: tuple[int, int, int]) -> None:
    ledger.accounts.seize_legs(ledger.alice, ledger.bob, list(legs), sender=AUCTION)


def logs(ledger: Ledger, name: str) -> list[Any]:
    return [log for log in ledger.accounts.get_logs() if type(log).__name__ == name]


def cash(ledger: Ledger) -> list[int]:
    return [ledger.accounts.cash_of(k) for k in (0, ledger.alice, ledger.bob, ledger.carol)]


def test_only_the_auction(ledger: Ledger) -> None:
    for outsider in (STRANGER, GOVERNANCE, GUARDIAN, ALICE, VENUE):
        with boa.reverts("accounts: not the auction"):
            ledger.accounts.seize_legs(1, 2, [], sender=outsider)
        with boa.reverts("accounts: not the auction"):
            ledger.accounts.pay_reward(1, 2, 0, sender=outsider)


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        ((1, 1), "accounts: same account"),
        ((0, 1), "accounts: protocol account"),
        ((1, 0), "accounts: protocol account"),
        ((1, 4), "accounts: no such account"),
        ((4, 1), "accounts: no such account"),
    ],
)
def test_between_which_accounts(ledger: Ledger, pair: tuple[int, int], reason: str) -> None:
    with boa.reverts(reason):
        ledger.accounts.seize_legs(*pair, [], sender=AUCTION)
    with boa.reverts(reason):
        ledger.accounts.pay_reward(*pair, 1, sender=AUCTION)


def test_legs_move_like_fills_without_fees(ledger: Ledger) -> None:
    """Alice is long 10 ether, short 4 BTC, short 6 calls; carol is the other side of all."""
    ledger.deposit(ledger.alice, ledger.cash, 1_000 * USD)
    option, _ = ledger.list_option(ETH, 2_000, is_call=True)
    future, _ = ledger.list_future(ETH)
    ledger.fill(ETH_PERP, ledger.alice, ledger.carol, 10, 2_000 * WAD)
    ledger.fill(BTC_PERP, ledger.carol, ledger.alice, 4, 50_000 * WAD)
    ledger.fill(future, ledger.alice, ledger.carol, 8, 2_050 * WAD)
    ledger.fill(option, ledger.carol, ledger.alice, 6 * LOTS, 0)
    seize_legs(
        ledger,
        (ETH_PERP, 10, 2_100 * WAD),
        (BTC_PERP, -3, 51_000 * WAD),
        (future, 2, 2_150 * WAD),
        (option, -6 * LOTS, 20 * WAD),
    )
    moved = logs(ledger, "LegSeized")
    ledger.accounts.pay_reward(ledger.alice, ledger.bob, 7 * WAD, sender=AUCTION)
    (reward,) = logs(ledger, "RewardPaid")
    # ether closed: ten lots with a profit of 100 USD a unit; of the option alice pays the premium to get rid of it
    ether = 10 * 100 * 10**12
    # three of four lots of bitcoin bought back for 1,000 a unit more, two of eight of the future sold for 100 more
    parts = -3 * 1_000 * 10**12 + 2 * 100 * 10**12
    assert cash(ledger) == [0, 1_000 * WAD + ether + parts - 120 * WAD - 7 * WAD, 120 * WAD + 7 * WAD, 0]
    assert ledger.perp(ledger.alice, ETH) == (0, 0)
    assert ledger.perp(ledger.bob, ETH) == (10, -10 * 2_100 * WAD)
    assert ledger.perp(ledger.alice, BTC) == (-1, 50_000 * WAD)
    assert ledger.perp(ledger.bob, BTC) == (-3, 3 * 51_000 * WAD)
    assert ledger.delta(ledger.alice, future) == (6, -6 * 2_050 * WAD)
    assert ledger.delta(ledger.bob, future) == (2, -2 * 2_150 * WAD)
    assert (ledger.options(ledger.alice, ETH), ledger.options(ledger.bob, ETH)) == ([], [(0, -6 * LOTS)])
    found = [(log.instrument, log.lots, log.account_lots, log.bidder_lots) for log in moved]
    assert found == [
        (ETH_PERP, 10, 0, 10),
        (BTC_PERP, -3, -1, -3),
        (future, 2, 6, 2),
        (option, -6 * LOTS, 0, -6 * LOTS),
    ]
    assert (reward.amount_wad, reward.account_wad, reward.to_wad) == (7 * WAD, cash(ledger)[1], cash(ledger)[2])
    assert [ledger.accounts.open_lots(k) for k in (ETH_PERP, BTC_PERP, future, option)] == [20, 8, 16, 12 * LOTS]


def test_open_lots_fall_when_the_bidder_is_the_other_side(ledger: Ledger) -> None:
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 10, 2_000 * WAD)
    seize_legs(ledger, (ETH_PERP, 4, 2_000 * WAD))
    assert ledger.accounts.open_lots(ETH_PERP) == 12
    seize_legs(ledger, (ETH_PERP, 3, 2_000 * WAD), (ETH_PERP, 3, 2_000 * WAD))
    assert ledger.accounts.open_lots(ETH_PERP) == 0
    assert cash(ledger) == [0, 0, 0, 0]


def test_a_leg_carries_its_funding(ledger: Ledger) -> None:
    ledger.fill(ETH_PERP, ledger.alice, ledger.carol, 10, 2_000 * WAD)
    ledger.registry.set_funding_rate(ETH, 10**12, sender=KEEPER)
    boa.env.time_travel(seconds=2 * HEARTBEAT_S)  # the price is dead, which stops nothing
    seize_legs(ledger, (ETH_PERP, 10, 2_000 * WAD))
    carry = ledger.registry.mark(ETH_PERP)[1]
    assert carry == 10**12 * 86_400  # a rate lapses after a day
    assert ledger.perp(ledger.bob, ETH) == (10, -10 * 2_000 * WAD + 10 * carry)
    # ten lots have paid it: floor(-10 * carry / 1e6)
    assert ledger.accounts.cash_of(ledger.alice) == -(10 * carry // 10**6)


@pytest.mark.parametrize(
    ("leg", "reason"),
    [
        ((ETH_PERP, 11, WAD), "seize: leg does not reduce"),  # would turn it round
        ((ETH_PERP, -1, WAD), "seize: leg does not reduce"),  # would make it larger
        ((BTC_PERP, 1, WAD), "seize: leg does not reduce"),  # there is none
        ((BTC_PERP, -1, WAD), "seize: leg does not reduce"),
        ((ETH << 8 | 9, 1, WAD), "seize: leg does not reduce"),
        ((ETH_PERP, 0, WAD), "positions: lots"),
        ((ETH_PERP, 2**55, WAD), "positions: lots"),
        ((ETH_PERP, -(2**255), WAD), "positions: lots"),
        ((ETH_PERP, 1, 2**90), "accounts: price"),
        ((16 << 8, 1, WAD), "accounts: instrument"),
        ((16 << 8 | 255, 1, WAD), "accounts: instrument"),
        ((2**256 - 1, 1, WAD), "accounts: instrument"),
    ],
)
def test_a_leg_that_is_refused(ledger: Ledger, leg: tuple[int, int, int], reason: str) -> None:
    ledger.fill(ETH_PERP, ledger.alice, ledger.carol, 10, 2_000 * WAD)
    with boa.reverts(reason):
        seize_legs(ledger, leg)
    with boa.reverts(reason):
        seize_legs(ledger, (ETH_PERP, 5, WAD) if leg[1] != 11 else (ETH_PERP, 1, WAD), leg)


def test_a_reward_may_be_owed(ledger: Ledger) -> None:
    ledger.deposit(ledger.alice, ledger.cash, 10 * USD)
    ledger.accounts.pay_reward(ledger.alice, ledger.carol, 25 * WAD, sender=AUCTION)
    (log,) = logs(ledger, "RewardPaid")
    assert cash(ledger) == [0, -15 * WAD, 0, 25 * WAD]
    assert (log.account, log.to_account, log.amount_wad) == (ledger.alice, ledger.carol, 25 * WAD)
    assert (log.account_wad, log.to_wad) == (-15 * WAD, 25 * WAD)
    assert [ledger.accounts.nonce_of(k) for k in (ledger.alice, ledger.carol)] == [2, 1]
    for amount in (2**127 + 1, 2**256 - 1):
        with boa.reverts("cash: total too large"):
            ledger.accounts.pay_reward(ledger.alice, ledger.carol, amount, sender=AUCTION)
