# SPDX-License-Identifier: Apache-2.0
"""MarginAccounts.apply_fill: who may, what is booked, when a trade below initial margin is allowed."""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest

from tests.support.ledger import (
    BTC,
    ETH,
    ETH_PERP,
    GOVERNANCE,
    GUARDIAN,
    LOTS,
    STRANGER,
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


def test_only_a_venue_may_fill(ledger: Ledger) -> None:
    fill = (ETH_PERP, ledger.alice, ledger.bob, LOTS, 2_000 * WAD, 0, 0)
    for outsider in (STRANGER, GOVERNANCE, GUARDIAN):
        with boa.reverts("accounts: not a venue"):
            ledger.accounts.apply_fill(fill, sender=outsider)
    ledger.accounts.set_venue(VENUE, False, sender=GOVERNANCE)
    with boa.reverts("accounts: not a venue"):
        ledger.accounts.apply_fill(fill, sender=VENUE)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"buyer": 2}, "accounts: same account"),
        ({"buyer": 0}, "accounts: protocol account"),
        ({"seller": 0}, "accounts: protocol account"),
        ({"seller": 4}, "accounts: no such account"),
        ({"buyer": 4}, "accounts: no such account"),
        ({"lots": 0}, "positions: lots"),
        ({"lots": 2**55}, "positions: lots"),
        ({"price": 2**90}, "accounts: price"),
        ({"instrument": 2 << 8 | 255}, "registry: not tradable"),
        ({"instrument": 16 << 8 | 255}, "registry: not tradable"),
        ({"instrument": 0}, "registry: not tradable"),
    ],
)
def test_a_fill_that_makes_no_sense(ledger: Ledger, change: dict[str, int], reason: str) -> None:
    given = {"instrument": ETH_PERP, "buyer": 1, "seller": 2, "lots": LOTS, "price": 2_000 * WAD} | change
    with boa.reverts(reason):
        ledger.fill(*given.values())


def test_a_perpetual_fill_moves_lots_and_base_and_no_cash(ledger: Ledger) -> None:
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 3, 2_000 * WAD + 1)
    assert ledger.perp(ledger.alice, ETH) == (3, -3 * (2_000 * WAD + 1))
    assert ledger.perp(ledger.bob, ETH) == (-3, 3 * (2_000 * WAD + 1))
    assert ledger.accounts.cash_of(ledger.alice) == ledger.accounts.cash_of(ledger.bob) == 0
    assert (ledger.accounts.nonce_of(ledger.alice), ledger.accounts.nonce_of(ledger.bob)) == (1, 1)
    assert ledger.accounts.position_of(ledger.bob, ETH_PERP) == -3


def test_fees_go_to_account_zero(ledger: Ledger) -> None:
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, 2_000 * WAD, 5 * WAD, 7 * WAD)
    assert [ledger.accounts.cash_of(k) for k in (0, ledger.alice, ledger.bob)] == [12 * WAD, -5 * WAD, -7 * WAD]


def test_an_option_premium_rounds_for_the_protocol(ledger: Ledger) -> None:
    """Three lots at 1,000,001 wad are worth 3.000003 wad: the buyer pays 4, the seller gets 3."""
    option, _ = ledger.list_option(ETH, 2_000, is_call=True)
    ledger.fill(option, ledger.alice, ledger.bob, 3, 1_000_001)
    cash, dust = ledger.accounts.cash_of, ledger.accounts.cash_book()[1]
    assert (cash(ledger.alice), cash(ledger.bob), cash(0), dust) == (-4, 3, 1, 0)
    assert ledger.options(ledger.alice, ETH) == [(0, 3)]
    assert ledger.options(ledger.bob, ETH) == [(0, -3)]


def test_an_option_may_be_given_away(ledger: Ledger) -> None:
    option, _ = ledger.list_option(ETH, 2_000, is_call=True)
    ledger.fill(option, ledger.alice, ledger.bob, 3, 0)
    assert ledger.accounts.cash_of(ledger.alice) == 0


def test_an_option_needs_a_row_and_time(ledger: Ledger) -> None:
    first, expiry = ledger.list_option(ETH, 2_000, is_call=True)
    second, _ = ledger.list_option(ETH, 2_000, is_call=False)
    ledger.gate.set_row(second, False)
    ledger.fill(first, ledger.alice, ledger.bob, LOTS, WAD)
    with boa.reverts("accounts: no row in table"):
        ledger.fill(second, ledger.alice, ledger.bob, LOTS, WAD)
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, WAD)  # perpetuals need none
    boa.env.time_travel(seconds=expiry - int(boa.env.timestamp))
    with boa.reverts("registry: expired"):
        ledger.fill(first, ledger.bob, ledger.alice, LOTS, WAD)


def test_an_event_carries_the_resulting_lots(ledger: Ledger) -> None:
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 10, WAD)
    ledger.fill(ETH_PERP, ledger.carol, ledger.alice, 4, WAD)
    (log,) = [log for log in ledger.accounts.get_logs() if type(log).__name__ == "Filled"]
    assert (log.instrument, log.buyer, log.seller, log.lots) == (ETH_PERP, ledger.carol, ledger.alice, 4)
    assert (log.price_wad, log.buyer_lots, log.seller_lots) == (WAD, 4, 6)


# --- below initial margin --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["alice", "bob"])
def test_both_sides_are_checked(ledger: Ledger, side: str) -> None:
    ledger.gate.set_before(100, 50)
    ledger.gate.set_after(getattr(ledger, side), 99, 100, 0)
    with boa.reverts("accounts: below initial margin"):
        ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, WAD)


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        ((50, 100), (50, 100), True),  # nothing changes
        ((50, 100), (45, 90), True),  # pays for what it gets rid of, in proportion
        ((50, 100), (44, 90), False),
        ((50, 100), (0, 0), True),
        ((50, 100), (-1, 0), False),  # health would still rise
        ((0, 100), (0, 100), True),
        ((0, 100), (0, 90), True),
        ((0, 100), (-1, 90), False),  # nothing is left to pay with
        ((-5, 100), (-5, 90), True),
        ((-5, 100), (-6, 90), False),
        ((99, 100), (88, 90), False),  # health falls by one
        ((0, 100), (50, 101), False),  # health rises, but so does the requirement
        ((200, 100), (99, 100), False),  # was healthy, is not
    ],
)
def test_below_initial_margin_only_what_reduces_risk(
    ledger: Ledger, before: tuple[int, int], after: tuple[int, int], allowed: bool
) -> None:
    ledger.gate.set_before(*before)
    ledger.gate.set_after(ledger.alice, *after, 0)
    if allowed:
        ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, WAD)
        assert ledger.perp(ledger.alice, ETH)[0] == LOTS
        return
    with boa.reverts("accounts: below initial margin"):
        ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, WAD)


@pytest.mark.parametrize("flag", [1, 2, 4, 16])
def test_dead_data_allows_reductions_alone(ledger: Ledger, flag: int) -> None:
    ledger.gate.set_after(ledger.alice, 1_000, 100, flag)
    ledger.gate.set_before(1_000, 99)
    with boa.reverts("accounts: below initial margin"):
        ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, WAD)
    ledger.gate.set_before(1_000, 100)
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, WAD)


def test_paused_risk_allows_reductions_alone(ledger: Ledger) -> None:
    ledger.gate.set_after(ledger.alice, 1_000, 100, 0)
    ledger.gate.set_after(ledger.bob, 1_000, 100, 0)
    ledger.gate.set_before(1_000, 99)
    ledger.accounts.pause(0, 600, sender=GUARDIAN)
    with boa.reverts("accounts: below initial margin"):
        ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, WAD)
    ledger.gate.set_before(1_000, 100)
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, WAD)
    boa.env.time_travel(seconds=600)
    ledger.gate.set_before(1_000, 99)
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, WAD)


# --- many positions --------------------------------------------------------------------------------------------------


def test_128_positions_and_not_one_more(ledger: Ledger) -> None:
    for underlying in (ETH, BTC):
        for k in range(64):
            ledger.list_option(underlying, (40_000 if underlying else 1_000) + k, is_call=True)
            ledger.fill(underlying << 8 | k, ledger.alice, ledger.bob, k + 1, 0)
    extra, _ = ledger.list_option(ETH, 5_000, is_call=True)
    for instrument in (extra, ETH_PERP):
        with boa.reverts("positions: full"):
            ledger.fill(instrument, ledger.alice, ledger.carol, 1, 1)
        with boa.reverts("positions: full"):
            ledger.fill(instrument, ledger.carol, ledger.bob, 1, 1)
    ledger.fill(63, ledger.alice, ledger.bob, 1, 0)  # more of what is there
    assert ledger.options(ledger.alice, ETH) == [(k, k + 1) for k in range(63)] + [(63, 65)]
    assert ledger.options(ledger.bob, BTC) == [(k, -k - 1) for k in range(64)]
    ledger.fill(5, ledger.bob, ledger.alice, 6, 0)  # closed: room for one
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 1, 1)
    assert ledger.perp(ledger.alice, ETH)[0] == 1


def test_a_closed_option_is_replaced_by_the_last(ledger: Ledger) -> None:
    for k in range(6):
        ledger.list_option(ETH, 1_000 + k, is_call=True)
        ledger.fill(k, ledger.alice, ledger.bob, k + 1, 0)
    ledger.fill(1, ledger.bob, ledger.alice, 2, 0)
    assert ledger.options(ledger.alice, ETH) == [(0, 1), (5, 6), (2, 3), (3, 4), (4, 5)]
    ledger.fill(4, ledger.bob, ledger.alice, 5, 0)  # the last itself
    assert ledger.options(ledger.alice, ETH) == [(0, 1), (5, 6), (2, 3), (3, 4)]
    ledger.fill(5, ledger.bob, ledger.alice, 10, 0)  # through zero: stays in place, changes side
    assert ledger.options(ledger.alice, ETH) == [(0, 1), (5, -4), (2, 3), (3, 4)]
    assert ledger.options(ledger.bob, ETH) == [(0, -1), (5, 4), (2, -3), (3, -4)]
    assert len(ledger.accounts.state(ledger.alice)) == 3


def test_lots_of_one_position_stay_below_2_55(ledger: Ledger) -> None:
    top = 2**55 - 1
    option, _ = ledger.list_option(ETH, 2_000, is_call=True)
    for instrument in (option, ETH_PERP):
        ledger.fill(instrument, ledger.alice, ledger.bob, top, 1)
        with boa.reverts("positions: lots"):
            ledger.fill(instrument, ledger.alice, ledger.carol, 1, 1)
        with boa.reverts("positions: lots"):
            ledger.fill(instrument, ledger.carol, ledger.bob, 1, 1)
        assert ledger.accounts.position_of(ledger.bob, instrument) == -top
