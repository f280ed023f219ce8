# SPDX-License-Identifier: Apache-2.0
"""A screened book answers every question as the twin alone would, on markets and accounts of any kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from keeper.assess import (
    Assessments,
    assess_all,
    in_doubt,
    least_share_of,
    liquidatable,
    near_line,
    unknown_of,
    worst_first,
    worst_of,
)
from keeper.domain import Snapshot, Unknown
from keeper.judged import Judged
from keeper.ledger import Ledger
from keeper.liquidate.candidates import starts
from keeper.publish.impact import measure
from keeper.recorder import Recorder
from keeper.store import open_store
from keeper.store.models import AssessmentRow
from risk.onchain import ChainMarket
from risk.onchain_cash import WAD, Indices
from risk.onchain_words import PriceWord
from tests.differential.test_screen import case
from tests.support.keeper_world import NOW, PRICE, account, market, snapshot

ONE = Indices(WAD, WAD)


def both(accounts: dict[int, tuple[int, ...] | Unknown], seen: ChainMarket) -> tuple[Snapshot, Snapshot]:
    """The same accounts as a plain mapping and as a book of the ledger."""
    ledger = Ledger()
    ledger.put(accounts, ONE)
    book = ledger.book(ONE, {}, len(seen.prices), len(seen.collateral_prices), NOW)
    plain = snapshot(accounts, market=seen)
    return plain, replace(plain, accounts=book)


def compare(plain: Assessments, judged: Assessments) -> None:
    assert isinstance(judged, Judged)
    assert tuple(worst_first(judged)) == tuple(liquidatable(plain))
    assert sorted(liquidatable(judged)) == sorted(liquidatable(plain))
    assert in_doubt(judged) == in_doubt(plain)
    assert worst_of(judged) == worst_of(plain)
    assert {**unknown_of(judged)} == unknown_of(plain)
    assert list(judged) == sorted(plain)
    assert len(judged) == len(plain)
    assert {a: judged[a] for a in judged} == dict(plain)


@pytest.mark.parametrize("seed", range(12))
def test_every_question_has_the_twins_answer(seed: int) -> None:
    seen, words = case(seed)
    plain, screened = both(dict(enumerate(words, 1)), seen)
    found = assess_all(screened)
    if not isinstance(found, Judged):
        assert seen.joint is not None  # no float equal: everybody goes to the twin
        assert seen.joint.count == 0
        assert found == assess_all(plain)
        return
    compare(assess_all(plain), found)


BOOK: dict[int, tuple[int, ...] | Unknown] = {
    1: account(1_000, 1), 2: account(319, 1), 3: account(100, 1), 4: account(50), 5: account(330, 1),
    6: Unknown("not read", 5), 7: account(500, -1), 8: account(320, 1),
}  # fmt: skip


def test_the_line_itself_is_judged_by_integers_and_the_unknown_are_never_healthy() -> None:
    plain, screened = both(BOOK, market())
    found = assess_all(screened)
    compare(assess_all(plain), found)
    assert tuple(worst_first(found)) == (3, 2)  # 8 has exactly what it needs
    assert near_line(found, 1_000) == near_line(assess_all(plain), 1_000)
    assert starts(screened, found, 5) == starts(plain, assess_all(plain), 5)
    assert least_share_of(found) == pytest.approx(least_share_of(assess_all(plain)))


def test_only_who_is_asked_about_is_judged_by_the_twin() -> None:
    accounts: dict[int, tuple[int, ...] | Unknown] = {k: account(2_000 - k, 1) for k in range(1, 1_900)}
    found = assess_all(both(accounts, market())[1])
    assert isinstance(found, Judged)
    assert len(liquidatable(found)) == 219
    assert not found.exact().keys() - {1_680}
    assert next(iter(worst_first(found))) == 1_899
    assert len(found.exact()) < 5
    rough = dict(zip(found, found.rough(), strict=True))
    shown, exact = rough[7], found[7]
    assert not isinstance(shown, Unknown)
    assert not isinstance(exact, Unknown)
    assert shown.mm_health == pytest.approx(exact.mm_health, rel=1e-12)


def test_old_data_leave_the_same_doubt() -> None:
    dead = market(prices={0: PriceWord(PRICE, 2, NOW - 86_400, 10_000)})
    plain, screened = both(BOOK, dead)
    compare(assess_all(plain), assess_all(screened))


@pytest.mark.parametrize("price", [1_500, 1_998, 2_000, 2_200])
def test_the_impact_of_a_change_is_that_of_the_twin(price: int) -> None:
    plain, screened = both(BOOK, market())
    then = market(price * WAD)
    expected = measure(plain, assess_all(plain), then)
    assert measure(screened, assess_all(screened), then) == expected


def test_the_records_of_a_book_are_whole_at_once_and_then_by_turns(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'k.sqlite'}")
    recorder = Recorder(store, 31337)
    plain, screened = both(BOOK, market())
    found, exact = assess_all(screened), assess_all(plain)
    found[3]
    recorder.assessments(found, 100, NOW)
    recorder.assessments(assess_all(screened), 101, NOW + 12)
    with store.session() as session:
        rows = {row.account: row for row in session.scalars(select(AssessmentRow))}
    assert sorted(rows) == sorted(BOOK)
    assert rows[6].unknown == "not read"
    assert rows[3].block_number == 101
    for number, result in exact.items():
        if not isinstance(result, Unknown):
            assert rows[number].mm == pytest.approx(result.mm, rel=1e-12)
            assert rows[number].equity_mm == pytest.approx(result.equity_mm, rel=1e-12)
