# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from typing import Any

from keeper.assess import (
    ParityPolicy,
    assess_all,
    check_parity,
    choose_for_parity,
    compare,
    in_doubt,
    liquidatable,
    near_line,
)
from keeper.domain import ContractCall, Unknown
from keeper.errors import Transient
from risk.onchain import Assessment
from risk.onchain_words import PriceWord
from tests.support.keeper_world import BLOCK, NOW, PRICE, WAD, account, market, snapshot

# 1 ETH long at 2,000 needs MM 320: one healthy, one just below, one far below, one without positions
BOOK = {1: account(1_000, 1), 2: account(319, 1), 3: account(100, 1), 4: account(50)}


class Engine:
    """Answers ``assess`` with what it is told, the second time with ``later`` where that is given."""

    def __init__(self, answers: dict[int, Any], later: dict[int, Any] | None = None) -> None:
        self.answers = answers
        self.later = answers if later is None else later
        self.blocks: list[object] = []

    def call_many(self, calls: list[ContractCall], block: object) -> list[Any]:
        self.blocks.append(block)
        answers = self.answers if len(self.blocks) == 1 else self.later
        return [answers[call.args[0]] for call in calls]

    def snapshot(self, accounts: tuple[int, ...], block: object) -> Any:
        assert block == BLOCK
        return snapshot({number: BOOK[number] for number in accounts})


def as_struct(result: Any) -> tuple[Any, ...]:
    return (*result[:-1], list(result[-1]))


def test_an_account_is_assessed_by_the_margin_rule() -> None:
    found = assess_all(snapshot(BOOK))
    result = found[1]
    assert isinstance(result, Assessment)
    # by hand: 20 % of 2,000 = 400; IM scale 1, MM scale 0.8; bought at the present price, so no profit
    assert (result.equity_mm, result.im, result.mm) == (1_000 * WAD, 400 * WAD, 320 * WAD)


def test_liquidatable_accounts_come_worst_first() -> None:
    assert liquidatable(assess_all(snapshot(BOOK))) == (3, 2)


def test_an_account_that_was_not_read_is_unknown_and_never_healthy() -> None:
    lost = Unknown("node timed out", 5)
    found = assess_all(snapshot({1: lost, 3: BOOK[3]}))
    assert found[1] == lost
    assert liquidatable(found) == (3,)


def test_an_unknown_market_makes_every_account_unknown() -> None:
    lost = Unknown("no prices", 7)
    assert assess_all(snapshot(BOOK, market=lost)) == dict.fromkeys(BOOK, lost)


def test_what_old_data_leave_in_doubt_is_not_liquidatable() -> None:
    dead = market(prices={0: PriceWord(PRICE, 2, NOW - 86_400, 10_000)})
    found = assess_all(snapshot(BOOK, market=dead))
    # 1 ETH: doubt 400 up and 400 scan; health -1 and -220
    assert found[2].doubt == found[3].doubt == 800 * WAD  # type: ignore[union-attr]
    assert liquidatable(found) == ()
    assert in_doubt(found) == (2, 3)
    far = assess_all(snapshot({5: account(-481, 1), 6: account(-480, 1)}, market=dead))
    assert liquidatable(far) == (5,)
    assert in_doubt(far) == (6,)


def test_words_that_cannot_be_parsed_make_one_account_unknown() -> None:
    found = assess_all(snapshot({1: (1 << 128, 0), 4: BOOK[4]}))
    assert isinstance(found[1], Unknown) and "words" in found[1].reason
    assert isinstance(found[4], Assessment)


def test_near_the_line_is_a_share_of_the_requirement() -> None:
    found = assess_all(snapshot({1: account(1_000, 1), 2: account(340, 1), 3: account(360, 1)}))
    # health 680, 20 and 40 against a requirement of 320: 10 % of it is 32
    assert near_line(found, 1_000) == (2,)
    assert near_line(found, 1_300) == (2, 3)


def test_the_sample_depends_on_the_block_alone() -> None:
    found = assess_all(snapshot({n: account(1_000, 1) for n in range(1, 60)}))
    policy = ParityPolicy(sample=5)
    first = choose_for_parity(found, policy, b"\x01" * 32)
    assert first == choose_for_parity(found, policy, b"\x01" * 32)
    assert first != choose_for_parity(found, policy, b"\x02" * 32)
    assert len(first) == 5


def test_near_accounts_are_always_compared() -> None:
    found = assess_all(snapshot({**{n: account(9_000, 1) for n in range(10, 60)}, 2: account(319, 1)}))
    assert 2 in choose_for_parity(found, ParityPolicy(sample=0), b"\x01" * 32)


def test_equal_integers_are_parity() -> None:
    view = snapshot(BOOK)
    found = assess_all(view)
    engine = Engine({a: as_struct(r) for a, r in found.items()})
    parity = check_parity(engine, view, found, (1, 2))  # type: ignore[arg-type]
    assert parity.checked == (1, 2)
    assert parity.mismatches == ()
    assert engine.blocks == [BLOCK]


def test_a_difference_of_one_wei_is_a_mismatch_and_names_the_field() -> None:
    view = snapshot(BOOK)
    found = assess_all(view)
    wrong = found[2]._replace(mm=found[2].mm + 1)  # type: ignore[union-attr]
    parity = check_parity(Engine({2: as_struct(wrong)}), view, found, (2,))  # type: ignore[arg-type]
    assert [m.account for m in parity.mismatches] == [2]
    assert parity.mismatches[0].fields == (("mm", 320 * WAD, 320 * WAD + 1),)


def test_doubt_is_compared_too() -> None:
    view = snapshot(BOOK)
    found = assess_all(view)
    wrong = found[2]._replace(doubt=1)  # type: ignore[union-attr]
    parity = check_parity(Engine({2: as_struct(wrong)}), view, found, (2,))  # type: ignore[arg-type]
    assert parity.mismatches[0].fields == (("doubt", 0, 1),)


def test_a_difference_that_is_gone_when_read_again_is_no_mismatch_and_no_agreement() -> None:
    view = snapshot(BOOK)
    found = assess_all(view)
    wrong = as_struct(found[2]._replace(flags=1))  # type: ignore[union-attr]
    engine = Engine({1: as_struct(found[1]), 2: wrong}, later={2: as_struct(found[2])})
    parity = check_parity(engine, view, found, (1, 2))  # type: ignore[arg-type]
    assert parity.checked == (1,)
    assert parity.mismatches == ()
    assert list(parity.unread) == [2]
    assert engine.blocks == [BLOCK, BLOCK]


def test_a_call_that_fails_says_nothing_about_parity() -> None:
    view = snapshot(BOOK)
    found = assess_all(view)
    parity = check_parity(Engine({1: Transient("no answer")}), view, found, (1,))  # type: ignore[arg-type]
    assert parity.mismatches == () and parity.checked == ()
    assert parity.unread[1].reason == "no answer"


def test_compare_sees_scans_as_numbers_whatever_the_container() -> None:
    result = assess_all(snapshot(BOOK))[1]
    assert isinstance(result, Assessment)
    assert compare(result, as_struct(result)) == ()
    assert compare(result, as_struct(result._replace(scans=(1,)))) == (("scans", (400 * WAD,), (1,)),)


def test_a_missing_input_makes_the_account_unknown() -> None:
    view = snapshot(BOOK)
    bare = replace(view.market, marks={})  # type: ignore[type-var]
    found = assess_all(replace(view, market=bare))
    assert isinstance(found[1], Unknown)
    assert isinstance(found[4], Assessment)
