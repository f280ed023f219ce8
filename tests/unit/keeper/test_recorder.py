# SPDX-License-Identifier: Apache-2.0
"""What the keeper writes down of its cycles, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from keeper.actions import PublishJoint, PushParameters
from keeper.assess import assess_all
from keeper.domain import Unknown
from keeper.recorder import JOINT, Recorder
from keeper.store import Store, open_store
from keeper.store.models import AssessmentRow, EpochRow, PushRow
from tests.support.keeper_world import account, snapshot


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    yield opened
    opened.close()


@pytest.fixture
def recorder(store: Store) -> Recorder:
    return Recorder(store, 31337)


def test_cycles_newest_first_and_the_one_that_the_process_did_not_survive(recorder: Recorder) -> None:
    first = recorder.begin(100)
    recorder.begin(112)
    recorder.finish(first, 101, 7, "ok", {"accounts": 3, "worst_health_wad": str(-(10**30))})
    newest, oldest = recorder.runs()
    assert (newest.result, newest.finished_at) == (None, None)
    assert (oldest.id, oldest.result, oldest.block_number) == (first, "ok", 7)
    assert oldest.detail == {"accounts": 3, "worst_health_wad": str(-(10**30))}
    assert [row.id for row in recorder.runs(1)] == [newest.id]


def test_assessments_are_replaced_whole(store: Store, recorder: Recorder) -> None:
    found = assess_all(snapshot({1: account(9_000, 1), 2: account(100, 1), 3: Unknown("read \0 failed", 9)}))
    recorder.assessments(found, 7, 70)
    recorder.assessments({account: found[account] for account in (2, 3)}, 8, 80)
    with store.session() as session:
        rows = {row.account: row for row in session.scalars(select(AssessmentRow))}
    assert sorted(rows) == [2, 3]
    sick = found[2]
    assert not isinstance(sick, Unknown)
    assert (rows[2].equity_mark, rows[2].mm, rows[2].block_number) == (sick.equity_mark, sick.mm, 8)
    assert (rows[3].unknown, rows[3].mm) == ("read \ufffd failed", None)


def test_publications_are_kept_once_and_the_later_word_counts(store: Store, recorder: Recorder) -> None:
    for at in (10, 20):
        recorder.joint(PublishJoint(4, 5, 6, b"\1" * 32, b"\2" * 32, b"\3" * 8), at)
        recorder.push(PushParameters(2, 5, 6, b"\1" * 32, b"\2" * 32, ((1, 0, 2**255),)), at)
    with store.session() as session:
        (epoch,) = session.scalars(select(EpochRow))
        (push,) = session.scalars(select(PushRow))
    assert (epoch.underlying, epoch.epoch, epoch.built_at) == (JOINT, 4, 20)
    assert (push.nonce, push.built_at, push.content["changes"]) == (2, 20, [[1, 0, hex(2**255)]])


def test_a_halted_part_stays_so_until_somebody_resumes_it(recorder: Recorder, store: Store) -> None:
    recorder.halt("liquidation", 10**10)
    recorder.halt("liquidation", 10**10 + 1)
    assert Recorder(store, 31337).halted() == {"liquidation": 10**10 + 1}
    assert Recorder(store, 1).halted() == {}
    assert not recorder.resume("publication")
    assert recorder.resume("liquidation")
    assert recorder.halted() == {}
