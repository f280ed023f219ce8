# SPDX-License-Identifier: Apache-2.0
"""The check of conservation on the real contracts: it holds, also half way through a settlement, and sees thefts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keeper.decide import Policy
from keeper.demo.checks import Conservation, check_conservation
from keeper.domain import Block, Snapshot
from keeper.settlement import find_rounds
from risk.onchain_words import AccountState, DeltaOnePosition, build_words, parse_words
from tests.support.protocol import BTC, ETH, FUTURE, HOUR, LOTS, PERP, USD, WAD, Protocol, address_of
from tests.support.protocol_chain import Hand

PERP_ETH, FUTURE_ETH = ETH << 8 | PERP, ETH << 8 | FUTURE
ALICE, BOB = address_of("alice"), address_of("bob")


class Tokens:
    """ERC-20 reads of the protocol's tokens."""

    def __init__(self, protocol: Protocol) -> None:
        self.contracts = {token.address.lower(): token for token in (protocol.cash, *protocol.tokens)}

    def balance_of(self, token: str, holder: str, block: Block) -> int:
        """Raw balance now."""
        del block
        return int(self.contracts[token.lower()].call("balanceOf", holder))

    def decimals(self, token: str) -> int:
        """Decimals."""
        return int(self.contracts[token.lower()].call("decimals"))


class Books:
    """Two people with a perpetual, a future, an option and collateral, and an expiry of two of them ahead."""

    def __init__(self) -> None:
        self.protocol = Protocol()
        self.hand = Hand(self.protocol, Policy(), self.protocol.keeper)
        self.tokens = Tokens(self.protocol)
        p = self.protocol
        self.alice, self.bob = p.open_account(ALICE), p.open_account(BOB)
        for account, owner in ((self.alice, ALICE), (self.bob, BOB)):
            p.deposit(account, p.cash, 100_000 * USD, owner)
            p.deposit(account, p.tokens[0], 10 * WAD, owner)
        self.option = min(i for i in p.options if i >> 8 == ETH)
        for instrument in (PERP_ETH, FUTURE_ETH, self.option):
            p.fill(instrument, self.alice, self.bob, 3 * LOTS + 1, p.mark(instrument))

    def snapshot(self) -> Snapshot:
        return self.hand.chain.snapshot()

    def check(self, snapshot: Snapshot | None = None) -> Conservation:
        return check_conservation(self.hand.chain, self.tokens, snapshot or self.snapshot())

    def tampered(self, **changes: Any) -> Snapshot:
        """A snapshot in which Alice's account says something else."""
        found = self.snapshot()
        words = found.accounts[self.alice]
        assert isinstance(words, tuple)
        state = replace(parse_words(words), **changes)
        return replace(found, accounts={**found.accounts, self.alice: build_words(state)})

    def state(self) -> AccountState:
        words = self.snapshot().accounts[self.alice]
        assert isinstance(words, tuple)
        return parse_words(words)


@pytest.fixture(scope="module")
def books() -> Books:
    return Books()


def test_it_holds(books: Books) -> None:
    assert books.check().ok
    assert 0 <= books.check().surplus_wad <= 10**12


def test_cash_out_of_nothing_is_seen(books: Books) -> None:
    found = books.check(books.tampered(cash=books.state().cash + 1))
    assert not found.ok and "tokens booked exceed all claims by -" in found.faults[0]


def test_a_base_out_of_nothing_is_seen(books: Books) -> None:
    held = dict(books.state().delta_ones)
    for change, broken in ((LOTS, True), (-2 * 10**12 * LOTS, True), (0, False)):
        position = held[FUTURE_ETH]
        moved = {**held, FUTURE_ETH: DeltaOnePosition(position.lots, position.base + change)}
        assert books.check(books.tampered(delta_ones=moved)).ok != broken


def test_lots_of_one_side_alone_are_seen(books: Books) -> None:
    held = dict(books.state().delta_ones)
    position = held[PERP_ETH]
    found = books.check(
        books.tampered(delta_ones={**held, PERP_ETH: DeltaOnePosition(position.lots + 1, position.base)})
    )
    assert f"lots of instrument {PERP_ETH} add up to 1" in found.faults
    assert any(fault.startswith(f"open lots of instrument {PERP_ETH} are") for fault in found.faults)
    (option,) = books.state().options[ETH]
    found = books.check(books.tampered(options={ETH: (option._replace(lots=option.lots - 1),)}))
    assert f"lots of instrument {books.option} add up to -1" in found.faults


def test_collateral_out_of_nothing_is_seen(books: Books) -> None:
    (item,) = books.state().collaterals
    found = books.check(books.tampered(collaterals=(item._replace(amount=item.amount + 1),)))
    assert any("the total says" in fault for fault in found.faults)
    assert any("the contract has only" in fault for fault in found.faults)


def test_a_donation_is_nobodys_and_breaks_nothing(books: Books) -> None:
    before = books.check().surplus_wad
    books.protocol.cash.call("mint", books.protocol.accounts.address, 5 * USD)
    found = books.check()
    assert found.ok and found.surplus_wad == before


def test_half_way_through_a_settlement_the_books_are_one_sided_and_hold(books: Books) -> None:
    p = books.protocol
    mark, now = p.evm.snapshot(), p.now
    expiry = p.options[books.option][0]
    p.wait(expiry - HOUR // 2 - p.now)
    p.refresh()
    p.wait(HOUR)
    p.set_price(BTC, 61_234)
    p.set_price(ETH, 3_456.78)
    rounds = find_rounds(books.hand.chain, books.snapshot())[ETH, expiry]
    assert isinstance(rounds, tuple)
    p.registry.call("settle_expiry", ETH, expiry, *rounds)
    assert books.check().ok
    p.accounts.call("settle_many", [books.alice], ETH)
    found = books.snapshot()
    assert parse_words(found.accounts[books.alice]).options == {}  # type: ignore[arg-type]
    assert parse_words(found.accounts[books.bob]).options != {}  # type: ignore[arg-type]
    assert books.check(found).ok
    p.accounts.call("settle_many", [books.bob], ETH)
    assert books.check().ok
    p.evm.revert(mark)
    p.now = now
    p._block()
