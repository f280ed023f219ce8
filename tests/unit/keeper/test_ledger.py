# SPDX-License-Identifier: Apache-2.0
"""Accounts carried from the block they were read at: against the contract, and what counts as a change."""

from __future__ import annotations

from typing import Any

import numpy as np

from keeper.decide import Policy
from keeper.domain import ContractCall, Snapshot, Unknown
from keeper.ledger import Ledger
from risk.onchain_cash import WAD, Indices, cap_use_bps
from risk.onchain_words import AccountState, DeltaOnePosition, OptionPosition, build_words
from tests.support.city import DEBTOR, City
from tests.support.protocol import DAY, HOUR, USD

ONE = Indices(WAD, WAD)


def indices(hand: Any) -> Indices:
    totals = hand.chain.call(ContractCall("MarginAccounts", "cash_totals"))
    return Indices(totals[2], totals[3])


def uses(view: Snapshot) -> dict[int, int]:
    assert not isinstance(view.collaterals, Unknown)
    return {c: cap_use_bps(info.total_raw, info.cap_raw) for c, info in view.collaterals.items()}


def test_carried_words_are_what_the_contract_says_days_later() -> None:
    city = City()
    p, hand = city.protocol, city.hand(Policy())
    p.deposit(city.debtor, p.tokens[0], 40 * WAD, DEBTOR)
    p.accounts.call("withdraw", city.debtor, p.cash.address, 60_000 * USD, DEBTOR, caller=DEBTOR)
    ledger, first = Ledger(), hand.chain.snapshot()
    ledger.put(first.accounts, indices(hand))
    moved = False
    for wait_s in (HOUR, 7 * DAY):
        p.wait(wait_s)
        view, now = hand.chain.snapshot(), indices(hand)
        book = ledger.book(now, uses(view), 3, 3, view.block.timestamp)
        assert dict(book) == dict(view.accounts)
        assert list(book) == sorted(view.accounts)
        moved |= dict(book) != dict(first.accounts)
        assert ledger.put(view.accounts, now) == []
    assert moved  # the debtor owes interest, the lender earns it


def words(cash: int, nonce: int = 1, options: tuple[OptionPosition, ...] = ()) -> tuple[int, ...]:
    return build_words(
        AccountState(cash * WAD, nonce, (), {255: DeltaOnePosition(5, -5)}, {0: options} if options else {})
    )


def test_interest_is_no_change_and_a_trade_is_one() -> None:
    ledger = Ledger()
    assert ledger.put({1: words(100), 2: words(-100)}, ONE) == [1, 2]
    later = Indices(WAD + WAD // 10, WAD + WAD // 5)
    assert ledger.put({1: words(110), 2: words(-120)}, later) == []
    assert ledger.put({1: words(110, nonce=2)}, later) == [1]


def test_a_book_that_was_handed_out_does_not_change() -> None:
    ledger = Ledger()
    ledger.put({1: words(100)}, ONE)
    book = ledger.book(ONE, {}, 1, 0, 0)
    ledger.put({1: words(7), 2: Unknown("node", 3)}, ONE)
    assert dict(book) == {1: words(100)}
    after = ledger.book(ONE, {}, 1, 0, 0)
    assert dict(after) == {1: words(7), 2: Unknown("node", 3)}
    assert (len(after), ledger.doubtful) == (2, {2})


def test_arrays_follow_the_words_through_changes_and_tidying() -> None:
    ledger, rng = Ledger(), np.random.default_rng(1)
    accounts: dict[int, tuple[int, ...] | Unknown] = {k: words(k) for k in range(1, 700)}
    for _ in range(6):
        ledger.put(accounts, ONE)
        book = ledger.book(ONE, {}, 1, 0, 0)
        cash: dict[int, float] = {}
        for part in book.parts:
            shown = book.present(part).book.cash
            cash.update(zip(part.numbers[part.live].tolist(), shown[part.live].tolist(), strict=True))
        known = {k: item for k, item in accounts.items() if not isinstance(item, Unknown)}
        assert cash == {k: item[1] / WAD for k, item in known.items()}
        for k in rng.integers(1, 900, 200).tolist():
            accounts[k] = (
                Unknown("gone", 0) if k % 7 == 0 else words(int(rng.integers(1, 10**6)), int(rng.integers(10**9)))
            )


def test_who_holds_an_instrument() -> None:
    ledger = Ledger()
    call = OptionPosition(9, -3)
    ledger.put({1: words(1), 2: words(1, 1, (call,)), 3: build_words(AccountState(5)), 4: Unknown("node", 0)}, ONE)
    book = ledger.book(ONE, {}, 1, 0, 0)
    assert (book.holding([9]), book.holding([255]), book.holding([8, 254])) == ([2], [1, 2], [])


def test_accounts_that_a_fork_undid_are_dropped() -> None:
    ledger = Ledger()
    ledger.put({1: words(1), 2: words(2), 3: words(3)}, ONE)
    ledger.drop_from(3)
    assert (sorted(ledger.held), ledger.has(3), ledger.size) == ([1, 2], False, 2)
    assert list(ledger.book(ONE, {}, 1, 0, 0)) == [1, 2]


def test_credit_after_a_loss_of_lenders_is_read_in_every_block() -> None:
    ledger, low = Ledger(), Indices(WAD // 2, WAD)
    ledger.put({1: words(100), 2: words(-100)}, low)
    assert ledger.doubtful == {1}
    assert dict(ledger.book(low, {}, 1, 0, 9))[1] == words(100)
    assert isinstance(ledger.book(ONE, {}, 1, 0, 9)[1], Unknown)
