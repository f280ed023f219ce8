# SPDX-License-Identifier: Apache-2.0
"""What a push asked of options came into maintenance margin with the next page, not over the ramp (threat model, F-04).

Volatility shocks and short minimum reach maintenance margin through the rows of a page alone. The table held a page
against the stored lanes, which are where a ramp will end. Found by running the contracts: ten short calls of 60,000
needed 126,865 USD; `vol_up` went from 40 % to 60 % and `short_min` from 1 % to 2 %; 61 seconds later a page was made,
and they needed 138,849, six hours early. Whoever had seen the push could bring the page and start the auction in one
transaction. A page must now say the shocks that were in force at its observation.
"""

from __future__ import annotations

import pytest

from risk.units import pack_lanes, unpack_underlying
from tests.support.protocol import BTC, HOUR, LOTS, UNDERLYING_WORD, USD, WAD, Protocol, Reverted, address_of

SELLER, BUYER = address_of("seller"), address_of("buyer")
RAMP = 6 * HOUR
BEFORE = pack_lanes(list(UNDERLYING_WORD))
# vol_up 40 % -> 60 %, short_min 1 % -> 2 %
AFTER = BEFORE + (2_000 << 16) + (100 << 144)


class ShortCalls:
    """A protocol in which one account is short ten calls of 60,000."""

    def __init__(self) -> None:
        self.world = world = Protocol()
        self.call = next(i for i, o in world.options.items() if o[1:] == (60_000 * WAD, True))
        self.seller, buyer = world.open_account(SELLER), world.open_account(BUYER)
        world.deposit(self.seller, world.cash, 400_000 * USD, SELLER)
        world.deposit(buyer, world.cash, 400_000 * USD, BUYER)
        world.fill(self.call, buyer, self.seller, 10 * LOTS, world.mark(self.call))

    def mm(self) -> int:
        """Maintenance margin of the short account, wad."""
        return int(self.world.assess(self.seller)["mm"])

    def push(self, word: int, nonce: int = 1) -> None:
        """The keeper pushes a word of bitcoin."""
        now = self.world.now
        args = (nonce, now, now + 60, bytes(32), bytes(32), [(1, BTC, word)])
        self.world.parameters.call("push", *args, caller=self.world.keeper)

    def page(self) -> int:
        """An honest page now; returns maintenance margin by it."""
        self.world.refresh()
        self.world.publish(BTC)
        return self.mm()


@pytest.fixture
def book() -> ShortCalls:
    return ShortCalls()


def at_once(book: ShortCalls) -> int:
    """By how much maintenance margin rises when everything the push asks for is in force: the size of the incident."""
    before = book.mm()
    mark = book.world.evm.snapshot()
    now = book.world.now
    book.push(AFTER)
    book.world.wait(RAMP)
    rise = book.page() - before
    book.world.evm.revert(mark)
    book.world.wait(now - book.world.now)
    return rise


def on_the_line(line: int, found: int, rise: int) -> bool:
    """Never early, and behind a straight line by less than 1 %.

    The ramp counts in whole bps, of which one of ``short_min`` is 60 USD here, and between two volatilities a call is
    worth a little less than in proportion.
    """
    return 0 <= line - found < rise // 100


def test_the_next_page_takes_in_a_minute_of_the_ramp(book: ShortCalls) -> None:
    rise, before = at_once(book), book.mm()
    assert rise > 10_000 * WAD
    book.push(AFTER)
    assert book.mm() == before
    book.world.wait(61)
    assert on_the_line(rise * 61 // RAMP, book.page() - before, rise)


def test_pages_of_every_hour_take_a_sixth_each(book: ShortCalls) -> None:
    rise, before = at_once(book), book.mm()
    book.push(AFTER)
    for hour in range(1, 7):
        book.world.wait(HOUR)
        assert on_the_line(rise * hour // 6, book.page() - before, rise)
    book.world.wait(HOUR)
    assert on_the_line(rise, book.page() - before, rise)


def test_a_page_of_the_targets_is_refused_until_they_are_in_force(book: ShortCalls) -> None:
    world = book.world
    book.push(AFTER)
    world.wait(RAMP - 1)
    world.refresh()
    target = unpack_underlying(AFTER)
    header, surfaces, packed = world.page(BTC)
    early = (*header[:7], target.vol_up_bps, *header[8:10], target.short_min_bps, *header[11:])
    with pytest.raises(Reverted, match="table: shocks"):
        world.submit(BTC, early, surfaces, packed.rows)
    world.wait(1)
    header, surfaces, packed = world.page(BTC)
    assert (header[7], header[10]) == (6_000, 200)
    world.submit(BTC, header, surfaces, packed.rows)
