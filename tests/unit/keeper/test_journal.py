# SPDX-License-Identifier: Apache-2.0
"""The journal's rules: one row a key, one open intent a nonce, nothing leaves unwritten."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keeper.domain import Receipt
from keeper.errors import Halt
from keeper.store import Store, open_store
from keeper.tx.fees import Fees
from keeper.tx.journal import Intent, Journal, SignedTransaction, State
from tests.support.counter_world import Bump

KEEPER, STRANGER = "0x" + "aa" * 20, "0x" + "bb" * 20
TO = "0x" + "cc" * 20


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    yield opened
    opened.close()


@pytest.fixture
def journal(store: Store) -> Journal:
    return Journal(store, 1, KEEPER)


def signed(nonce: int, tag: int = 0, *, cancels: bool = False, fee: int = 100) -> SignedTransaction:
    return SignedTransaction(
        bytes([tag, nonce]) * 16, b"raw%d" % tag, nonce, 50_000, Fees(fee, 1), cancels, signed_at=10
    )


def receipt(transaction: SignedTransaction, *, succeeded: bool = True, block: int = 7) -> Receipt:
    return Receipt(transaction.hash, block, bytes([block]) * 32, succeeded, 40_000, 90)


def claim(journal: Journal, key: int = 1, turn: int = 0, now: int = 1) -> Intent:
    intent, mine = journal.claim(Bump(key, turn), TO, b"data", now, 3)
    assert mine
    return intent


def test_a_key_is_claimed_once(journal: Journal) -> None:
    first = claim(journal)
    again, mine = journal.claim(Bump(1), TO, b"other", 2, 3)
    assert (again, mine) == (first, False)
    assert claim(journal, turn=1).id != first.id
    assert claim(journal, key=2).id != first.id


def test_another_signer_or_chain(store: Store, journal: Journal) -> None:
    first = claim(journal)
    # the action is done once on a chain, whoever signs it
    again, mine = Journal(store, 1, STRANGER).claim(Bump(1), TO, b"data", 2, 3)
    assert (again.id, mine) == (first.id, False)
    _, mine = Journal(store, 2, KEEPER).claim(Bump(1), TO, b"data", 2, 3)
    assert mine
    assert Journal(store, 1, STRANGER).open_intents() == []
    assert Journal(store, 2, KEEPER).get(first.id) is None


def test_the_whole_way(journal: Journal) -> None:
    intent = claim(journal)
    transaction = signed(5)
    intent = journal.sign(intent, transaction)
    assert (intent.state, intent.nonce) == (State.SIGNED, 5)
    assert journal.transactions(intent) == [transaction]
    assert journal.sent(intent, transaction.hash, 11).state is State.SENT
    mined = journal.mined(intent, receipt(transaction), 12)
    assert (mined.state, mined.succeeded, mined.tx_hash, mined.block_number) == (State.MINED, True, transaction.hash, 7)
    assert journal.close(mined, State.FINAL, 13).open is False
    assert journal.open_intents() == []
    assert journal.latest()[0].state is State.FINAL
    assert journal.claim(Bump(1), TO, b"data", 14, 3)[1] is False


def test_a_nonce_belongs_to_one_open_intent(journal: Journal) -> None:
    first, second = claim(journal, 1), claim(journal, 2)
    journal.sign(first, signed(5, 1))
    with pytest.raises(Halt, match=r"nonce 5 of 0xaa.* cannot go to .*stop the other keeper"):
        journal.sign(second, signed(5, 2))
    assert journal.get(second.id) == second
    assert journal.sign(second, signed(6, 2)).nonce == 6


def test_an_intent_keeps_its_nonce(journal: Journal) -> None:
    intent = journal.sign(claim(journal), signed(5, 1))
    with pytest.raises(Halt, match="which is signed with nonce 5"):
        journal.sign(intent, signed(6, 2))
    assert len(journal.transactions(journal.sign(intent, signed(5, 2)))) == 2


def test_what_is_mined_cannot_be_signed_again(journal: Journal) -> None:
    transaction = signed(5, 1)
    intent = journal.sign(claim(journal), transaction)
    journal.mined(intent, receipt(transaction), 12)
    with pytest.raises(Halt, match="which is mined"):
        journal.sign(intent, signed(5, 2))


def test_open_intents_in_the_order_of_nonces_and_unsigned_last(journal: Journal) -> None:
    a, b, c = (claim(journal, key) for key in (1, 2, 3))
    journal.sign(c, signed(4, 3))
    journal.sign(a, signed(5, 1))
    assert [i.id for i in journal.open_intents()] == [c.id, a.id, b.id]


def test_reverts_count_as_tries_and_refusals_do_not(journal: Journal) -> None:
    intent = claim(journal)
    journal.close(intent, State.FAILED, 2, "refused in simulation")
    intent = claim(journal, now=3)
    assert (intent.tries, intent.error, intent.nonce) == (0, None, None)
    for turn in range(3):
        transaction = signed(5 + turn, turn)
        intent = journal.sign(intent, transaction)
        journal.mined(intent, receipt(transaction, succeeded=False), 4)
        assert journal.close(intent, State.FAILED, 5).tries == turn + 1
        intent, mine = journal.claim(Bump(1), TO, b"data", 6, 3)
        assert mine is (turn < 2)
    assert journal.find(Bump(1), 3) == intent
    assert journal.find(Bump(1), 4) is None
    assert journal.find(Bump(9), 3) is None


def test_a_fork_takes_the_receipt_back(journal: Journal) -> None:
    transaction = signed(5)
    intent = journal.sign(claim(journal), transaction)
    intent = journal.mined(intent, receipt(transaction), 12)
    assert journal.spent_since(0) == 40_000 * 90
    intent = journal.unmined(intent, 13)
    assert (intent.state, intent.tx_hash, intent.block_number, intent.succeeded) == (State.SIGNED, None, None, None)
    assert journal.spent_since(0) == 50_000 * 100  # back to the most it may cost


def test_spending_counts_what_is_mined_and_the_worst_of_what_waits(journal: Journal) -> None:
    done, waiting = claim(journal, 1), claim(journal, 2)
    first = signed(5, 1)
    journal.mined(journal.sign(done, first), receipt(first), 100)
    journal.sign(journal.sign(waiting, signed(6, 2, fee=100)), signed(6, 3, fee=120))
    assert journal.spent_since(100) == 40_000 * 90 + 50_000 * 120
    assert journal.spent_since(101) == 50_000 * 120


def test_failures_in_a_row_and_their_acknowledgement(journal: Journal) -> None:
    outcomes = [True, False, False]
    for nonce, good in enumerate(outcomes):
        transaction = signed(nonce, nonce)
        intent = journal.sign(claim(journal, nonce), transaction)
        journal.mined(intent, receipt(transaction, succeeded=good), 50)
    assert journal.failures_in_a_row() == 2
    journal.acknowledge_failures()
    assert journal.failures_in_a_row() == 0
    transaction = signed(3, 3)
    journal.mined(journal.sign(claim(journal, 3), transaction), receipt(transaction, succeeded=False), 60)
    assert journal.failures_in_a_row() == 1


def test_a_mined_cancellation_is_no_success_of_the_action(journal: Journal) -> None:
    transaction = signed(5, 1, cancels=True)
    intent = journal.mined(journal.sign(claim(journal), transaction), receipt(transaction), 9)
    assert intent.succeeded is False
    journal.close(intent, State.CANCELLED, 10)
    assert journal.claim(Bump(1), TO, b"data", 11, 3)[1] is False


def test_self_sends_neither_count_as_failures_nor_end_their_row(journal: Journal) -> None:
    for nonce, (good, cancels) in enumerate([(False, False), (False, False), (True, True)]):
        transaction = signed(nonce, nonce, cancels=cancels)
        intent = journal.sign(claim(journal, nonce), transaction)
        journal.mined(intent, receipt(transaction, succeeded=good), 50)
    assert journal.failures_in_a_row() == 2


def test_a_fork_on_a_retry_keeps_what_the_first_try_cost(journal: Journal) -> None:
    first = signed(5, 1)
    intent = journal.mined(journal.sign(claim(journal), first), receipt(first, succeeded=False), 12)
    journal.close(intent, State.FAILED, 13)
    second = signed(6, 2)
    intent = journal.mined(journal.sign(claim(journal), second), receipt(second), 14)
    journal.unmined(intent, 15)
    assert journal.spent_since(0) == 40_000 * 90 + 50_000 * 100
    assert journal.failures_in_a_row() == 1
    assert [item.hash for item in journal.history(intent)] == [first.hash, second.hash]
    assert [item.hash for item in journal.transactions(intent)] == [second.hash]


def test_a_fork_that_mines_the_other_attempt_charges_once(journal: Journal) -> None:
    first, second = signed(5, 1), signed(5, 2, fee=120)
    intent = journal.sign(journal.sign(claim(journal), first), second)
    journal.mined(intent, receipt(first), 12)
    intent = journal.mined(intent, receipt(second, block=8), 13)
    assert journal.spent_since(0) == 40_000 * 90
    assert (intent.tx_hash, journal.last_mined_nonce()) == (second.hash, 5)


def test_lists_can_be_narrowed(journal: Journal) -> None:
    journal.close(claim(journal, 1), State.FAILED, 2)
    claim(journal, 2)
    assert [i.subject for i in journal.latest(states=(State.FAILED,))] == ["1"]
    assert [i.subject for i in journal.latest(subject="2")] == ["2"]
    assert journal.latest(kind="bid") == []
    assert len(journal.latest(kind="bump")) == 2
