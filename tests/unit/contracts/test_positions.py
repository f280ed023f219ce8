# SPDX-License-Identifier: Apache-2.0
"""Perpetuals settle exactly, options settle at expiry; every remainder is kept."""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest
from eth_utils import keccak

from tests.support.ledger import ETH, ETH_PERP, HEARTBEAT_S, KEEPER, LOTS, WAD, Ledger, deploy_ledger, signed


@pytest.fixture(scope="module")
def deployment() -> Ledger:
    return deploy_ledger()


@pytest.fixture
def ledger(deployment: Ledger) -> Iterator[Ledger]:
    with boa.env.anchor():
        yield deployment


def test_settling_moves_whole_wads_and_keeps_the_rest(ledger: Ledger) -> None:
    """Three lots bought at 2,000 USD and 1/1e18, settled at 2,010 USD: 29,999,999,999,999.999997 wad."""
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 3, 2_000 * WAD + 1)
    ledger.set_price(ETH, 2_010)
    ledger.accounts.settle_delta(ledger.alice, ETH_PERP)
    (log,) = [log for log in ledger.accounts.get_logs() if type(log).__name__ == "DeltaSettled"]
    assert (log.pnl_wad, log.cash_wad) == (29_999_999_999_999, 29_999_999_999_999)
    assert ledger.perp(ledger.alice, ETH) == (3, -3 * 2_010 * WAD + 999_997)
    ledger.accounts.settle_delta(ledger.bob, ETH_PERP)  # floor of a loss of 29,999,999,999,999.999997
    assert ledger.accounts.cash_of(ledger.bob) == -30_000_000_000_000
    assert ledger.perp(ledger.bob, ETH) == (-3, 3 * 2_010 * WAD + 3)


def test_settling_twice_or_nothing_changes_nothing(ledger: Ledger) -> None:
    ledger.accounts.settle_delta(ledger.carol, ETH_PERP)
    assert ledger.accounts.nonce_of(ledger.carol) == 0
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, 2_000 * WAD)
    ledger.set_price(ETH, 2_010)
    ledger.accounts.settle_delta(ledger.alice, ETH_PERP)
    before = ledger.perp(ledger.alice, ETH)
    ledger.accounts.settle_delta(ledger.alice, ETH_PERP)
    assert ledger.perp(ledger.alice, ETH) == before
    assert ledger.accounts.cash_of(ledger.alice) == 10 * WAD


def test_a_dead_price_settles_nothing(ledger: Ledger) -> None:
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, LOTS, 2_000 * WAD)
    boa.env.time_travel(seconds=HEARTBEAT_S + 1)
    with boa.reverts("settlement: price not fresh"):
        ledger.accounts.settle_delta(ledger.alice, ETH_PERP)


def test_closing_realises_the_whole_base(ledger: Ledger) -> None:
    """Buy 3 at 1/1e18 wad more than sold: the buyer loses 3e-6 wad, floored to -1; the rest is dust."""
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 3, 2_000 * WAD + 1)
    ledger.fill(ETH_PERP, ledger.bob, ledger.alice, 3, 2_000 * WAD)
    assert ledger.perp(ledger.alice, ETH) == ledger.perp(ledger.bob, ETH) == (0, 0)
    assert ledger.accounts.state(ledger.alice)[0] & (2**160 - 1) == 0
    cash = [ledger.accounts.cash_of(k) for k in (0, ledger.alice, ledger.bob)]
    # -3e-6 -> -1 and 0.999997 dust; 3e-6 -> 0 and 0.000003 dust; together one whole wad for account 0
    assert cash == [1, -1, 0]
    assert ledger.accounts.cash_book()[1] == 0


def test_dust_waits_until_it_is_a_wad(ledger: Ledger) -> None:
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 1, 100)
    ledger.fill(ETH_PERP, ledger.carol, ledger.alice, 1, 300)
    assert ledger.accounts.cash_book()[1] == 200  # alice gained 200 lot x wad, less than a wad
    ledger.fill(ETH_PERP, ledger.bob, ledger.carol, 1, 200)
    # bob: +100 - 200 = -100 -> -1 wad, 999,900; carol: -300 + 200 = -100 -> -1 wad, 999,900
    assert [ledger.accounts.cash_of(k) for k in (0, ledger.alice, ledger.bob, ledger.carol)] == [2, 0, -1, -1]
    assert ledger.accounts.cash_book()[1] == 0


def test_a_base_stays_below_2_191(ledger: Ledger) -> None:
    """No sequence of fills gets there (one adds less than 2^183), so the word is written by hand."""
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 1, 1)
    slot = ledger.accounts.compiler_data.storage_layout["storage_layout"]["positions"]["_deltas"]["slot"]
    place = keccak(slot.to_bytes(32, "big") + ledger.alice.to_bytes(32, "big"))
    at = int.from_bytes(place, "big") + (ETH << 2)
    address = ledger.accounts.address
    assert boa.env.get_storage(address, at) == 1 | (2**192 - 1) << 64
    for sign in (1, -1):
        # who holds more of the same pays for it (long) or is paid (short): only that adds to a base
        boa.env.set_storage(address, at, -sign % 2**64 | (sign * (2**191 - 1) % 2**192) << 64)
        assert ledger.perp(ledger.alice, ETH) == (-sign, sign * (2**191 - 1))
        sides = (ledger.bob, ledger.alice) if sign > 0 else (ledger.alice, ledger.bob)
        ledger.fill(ETH_PERP, *sides, 1, 0)
        with boa.reverts("positions: base"):
            ledger.fill(ETH_PERP, *sides, 1, 1)


def test_funding_is_exact_whenever_each_side_is_touched(ledger: Ledger) -> None:
    """0.01 USD a unit and second: longs pay after 100 s 1 USD, after 300 s 3 USD."""
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 2 * LOTS, 2_000 * WAD)
    ledger.registry.set_max_funding(1_000, sender=ledger.registry.owner())
    rate = 2 * 10**15  # 172.8 USD a day of 2,000
    ledger.registry.set_funding_rate(ETH, rate, sender=KEEPER)
    start = int(boa.env.timestamp)
    boa.env.time_travel(seconds=100)
    ledger.accounts.settle_delta(ledger.alice, ETH_PERP)
    first = int(boa.env.timestamp) - start
    assert ledger.accounts.cash_of(ledger.alice) == -2 * rate * first
    # the base takes what the carry gives: q * (M - F) + base is 0 after
    assert ledger.perp(ledger.alice, ETH)[1] == -2 * LOTS * (2_000 * WAD - rate * first)
    boa.env.time_travel(seconds=200)
    ledger.accounts.settle_delta(ledger.alice, ETH_PERP)
    ledger.accounts.settle_delta(ledger.bob, ETH_PERP)
    total = int(boa.env.timestamp) - start
    assert ledger.accounts.cash_of(ledger.alice) == -2 * rate * total
    assert ledger.accounts.cash_of(ledger.bob) == 2 * rate * total


def test_a_fill_folds_the_carry_into_the_base(ledger: Ledger) -> None:
    ledger.fill(ETH_PERP, ledger.alice, ledger.bob, 10, 2_000 * WAD)
    ledger.registry.set_funding_rate(ETH, -(10**12), sender=KEEPER)
    start = int(boa.env.timestamp)
    boa.env.time_travel(seconds=50)
    ledger.fill(ETH_PERP, ledger.alice, ledger.carol, 5, 2_100 * WAD)
    carry = signed(ledger.registry.marks(1 << ETH)[0] >> 128, 128)
    assert carry == -(10**12) * (int(boa.env.timestamp) - start)
    assert ledger.perp(ledger.alice, ETH) == (15, -10 * 2_000 * WAD - 5 * 2_100 * WAD + 5 * carry)
    assert ledger.perp(ledger.bob, ETH) == (-10, 10 * 2_000 * WAD)
    assert ledger.perp(ledger.carol, ETH) == (-5, 5 * 2_100 * WAD - 5 * carry)


@pytest.mark.parametrize(
    ("is_call", "price_usd", "intrinsic_usd"),
    [(True, 2_150, 150), (True, 1_999, 0), (False, 1_850, 150), (False, 2_001, 0)],
)
def test_options_settle_at_intrinsic(ledger: Ledger, is_call: bool, price_usd: int, intrinsic_usd: int) -> None:
    option, expiry = ledger.list_option(ETH, 2_000, is_call=is_call)
    later, _ = ledger.list_option(ETH, 2_000, is_call=is_call, hours=48)
    for instrument in (option, later):
        ledger.fill(instrument, ledger.alice, ledger.bob, 3 * LOTS, 0)
    ledger.accounts.settle_options(ledger.alice, ETH)  # nothing expired yet
    assert ledger.options(ledger.alice, ETH) == [(0, 3 * LOTS), (1, 3 * LOTS)]
    ledger.expire(ETH, expiry, price_usd)
    ledger.accounts.settle_options(ledger.alice, ETH)
    (log,) = [log for log in ledger.accounts.get_logs() if type(log).__name__ == "OptionSettled"]
    assert (log.instrument, log.lots, log.value_wad) == (option, 3 * LOTS, 3 * intrinsic_usd * WAD)
    ledger.accounts.settle_options(ledger.bob, ETH)
    assert ledger.accounts.cash_of(ledger.alice) == 3 * intrinsic_usd * WAD
    assert ledger.accounts.cash_of(ledger.bob) == -3 * intrinsic_usd * WAD
    assert ledger.options(ledger.alice, ETH) == [(1, 3 * LOTS)]
    assert ledger.options(ledger.bob, ETH) == [(1, -3 * LOTS)]


def test_option_settlement_rounds_for_the_protocol(ledger: Ledger) -> None:
    """Strike 2,000 USD less 1/1e18: one lot is worth 150 USD + 1/1e18 a unit, that is 150e12 + 1e-6 wad."""
    expiry = (int(boa.env.timestamp) // 3_600 + 24) * 3_600
    option = ledger.registry.list_option(ETH, expiry, 2_000 * WAD - 1, True, sender=ledger.registry.owner())
    ledger.fill(option, ledger.alice, ledger.bob, 1, 0)
    ledger.expire(ETH, expiry, 2_150)
    ledger.accounts.settle_options(ledger.alice, ETH)
    assert (ledger.accounts.cash_of(ledger.alice), ledger.accounts.cash_book()[1]) == (150 * 10**12, 1)
    ledger.accounts.settle_options(ledger.bob, ETH)
    assert ledger.accounts.cash_of(ledger.bob) == -150 * 10**12 - 1
    assert (ledger.accounts.cash_of(0), ledger.accounts.cash_book()[1]) == (1, 0)


def test_many_options_settle_in_one_call(ledger: Ledger) -> None:
    for k in range(20):
        ledger.list_option(ETH, 1_000 + k, is_call=True, hours=24 if k % 3 else 48)
        ledger.fill(k, ledger.alice, ledger.bob, LOTS, 0)
    day = int(ledger.registry.option_info(1)[0])
    ledger.expire(ETH, day, 1_100)
    ledger.accounts.settle_options(ledger.alice, ETH)
    kept = {k for k in range(20) if k % 3 == 0}
    assert {slot for slot, _ in ledger.options(ledger.alice, ETH)} == kept
    assert ledger.accounts.cash_of(ledger.alice) == sum(100 - k for k in range(20) if k not in kept) * WAD
