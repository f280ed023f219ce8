# SPDX-License-Identifier: Apache-2.0
"""What stands between a calibration and the chain: the check of one's own page, shadow mode, a person's approval.

All on the real contracts, with a hundred accounts that are short of an option.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keeper.act import Result
from keeper.actions import ProposeParameters, PublishJoint, PublishPage, PushParameters
from keeper.assess import assess_all
from keeper.decide import Policy
from keeper.domain import Snapshot, Unknown
from keeper.publish.approvals import Approval, approve, batch_digest, covers, digest_of, living, page_digest
from keeper.publish.check import PageCheck, PageGuard, check_page, content_problems, page_of
from keeper.publish.impact import Impact
from keeper.publish.tables import plan_pages
from risk.onchain import assess_words
from tests.support.protocol import ETH, HOUR
from tests.support.protocol_chain import CHAIN_ID
from tests.support.publishing import PAGES, PUSHES, Press

STEPS = (5_000, 3_500)
WRITERS = 99  # and the one on the other side
PUBLISH = Policy(pages=PAGES, settle=False)
SHADOW = Policy(pages=PAGES, push=PUSHES, shadow=True, settle=False)


@pytest.fixture(scope="module")
def built() -> tuple[Press, list[int]]:
    press = Press()
    at_the_money = next(i for i, o in sorted(press.protocol.options.items()) if i >> 8 == ETH and o[2])
    writers = press.town(WRITERS, 1.0, 1_200, 5, at_the_money)
    press.near_the_line(writers[0], 40)
    return press, writers


@pytest.fixture
def press(built: tuple[Press, list[int]]) -> Iterator[Press]:
    """Seven hours after the last page, and rolled back after the test."""
    found = built[0]
    found.hand = found.new_hand()
    mark, now, quotes = found.protocol.evm.snapshot(), found.protocol.now, list(found.protocol.quotes)
    found.later(7 * HOUR)
    yield found
    found.protocol.evm.revert(mark)
    found.protocol.now, found.protocol.quotes = now, quotes
    found.protocol._block()


@pytest.fixture
def writers(built: tuple[Press, list[int]]) -> list[int]:
    return built[1]


def page(press: Press, vol: float = 0.6) -> tuple[Snapshot, PublishPage]:
    snapshot = press.hand.chain.snapshot()
    action = {p.underlying: p.action for p in plan_pages(snapshot, press.target(vol), PAGES, STEPS)}[ETH]
    assert action is not None
    return snapshot, action


def judge(press: Press, vol: float, guard: PageGuard | None = None) -> PageCheck:
    snapshot, action = page(press, vol)
    return check_page(snapshot, assess_all(snapshot), action, guard or PageGuard())


def fallen(press: Press, writers: list[int]) -> set[int]:
    """Writers that the contracts themselves find below maintenance margin."""
    return {number for number in writers if press.protocol.health(number) < 0}


# ------------------------------------------------------------------ the check of one's own page


def test_the_page_that_would_make_five_per_cent_liquidatable_is_refused_with_the_list(
    press: Press, writers: list[int]
) -> None:
    assert judge(press, 0.61).refused is None
    found = judge(press, 0.85)
    assert found.problems == () and found.impact is not None and found.refused is not None
    named = set(found.impact.newly_liquidatable)
    assert len(named) >= 5
    assert all(str(number) in found.refused for number in named)
    # published all the same, it does exactly that
    press.hand.act(press.publisher.endorse(page(press, 0.85)[1]))
    assert fallen(press, writers) == named


def test_four_accounts_of_a_hundred_are_no_reason_to_keep_a_page_back(press: Press) -> None:
    fallers = [(vol, judge(press, vol)) for vol in (0.66, 0.68, 0.70, 0.72, 0.74, 0.76, 0.78, 0.80, 0.82)]
    counts = [0 if check.impact is None else len(check.impact.newly_liquidatable) for _, check in fallers]
    assert counts == sorted(counts) and 0 < min(c for c in counts if c) <= 4 < max(counts)
    for count, (_, check) in zip(counts, fallers, strict=True):
        assert (check.refused is not None) == (count > 4)


@pytest.mark.parametrize(
    ("harmed", "accounts", "refused"), [(4, 4, False), (5, 101, False), (5, 100, True), (5, 5, True), (0, 0, False)]
)
def test_both_limits_must_be_exceeded(harmed: int, accounts: int, refused: bool) -> None:
    known = Impact(tuple(range(harmed)), 0, (), ())
    unread = Impact((), 0, (), tuple(range(harmed)))
    for impact in (known, unread):  # what nobody can judge counts as harmed
        assert (PageGuard().refusal(impact, accounts) is not None) == refused


def test_a_cycle_keeps_a_refused_page_back_until_a_person_approves_it(press: Press, tmp_path: Path) -> None:
    store = press.store(tmp_path)
    cycle = press.cycle(store, PUBLISH, press.target(0.85), approvals=lambda now: living(store, CHAIN_ID, now))
    sent = {o.action.subject for o in cycle.run().outcomes if isinstance(o.action, PublishPage)}
    assert sent == {"0"}  # bitcoin's page harms nobody
    (row,) = cycle.recorder.epochs("refused")
    assert row.underlying == ETH
    accounts = frozenset(row.content["impact"]["newly_liquidatable"])
    now = press.protocol.now
    digest = page_digest(ETH, row.epoch)
    for wrong in (
        Approval(page_digest(ETH, row.epoch + 1), "another epoch", accounts, now + 60),
        Approval(digest, "one account fewer", accounts - {min(accounts)}, now + 60),
        Approval(digest, "expired", accounts, now),
    ):
        approve(store, CHAIN_ID, wrong, now)
        assert not any(o.action.subject == str(ETH) for o in cycle.run().outcomes)
    approve(store, CHAIN_ID, Approval(digest, "seen", accounts, now + 60), now)
    (outcome,) = [o for o in cycle.run().outcomes if o.action.subject == str(ETH)]
    assert outcome.result is Result.DONE


def spoilt(action: PublishPage, slot: int, word: int, lane: int, by: int) -> PublishPage:
    """The page with one lane moved."""
    at = 96 * slot + 32 * word + 30 - 2 * lane
    value = int.from_bytes(action.rows[at : at + 2], "big") + by
    return replace(action, rows=action.rows[:at] + value.to_bytes(2, "big") + action.rows[at + 2 :])


def problems(snapshot: Snapshot, action: PublishPage) -> list[str]:
    assert not isinstance(snapshot.options, Unknown)
    return list(content_problems(action, page_of(action), snapshot.options))


@pytest.mark.parametrize("vol", [0.61, 0.75, 0.89])
def test_a_page_that_is_wrong_in_itself_is_named(press: Press, vol: float) -> None:
    snapshot, action = page(press, vol)
    assert problems(snapshot, action) == []
    assert problems(snapshot, spoilt(action, 2, 1, 7, 1)) == ["1 rows differ from a rebuild (slots [2])"]
    far = problems(snapshot, spoilt(action, 4, 1, 7, 20_000))
    assert any("slots [4] are not monotone" in text for text in far)
    assert any("calls of expiry" in text and "static arbitrage between strikes" in text for text in far)
    (surface,) = action.surfaces
    crossed = replace(action, surfaces=((*surface[:4], 10 * surface[4], *surface[5:6], 0, 10**15),))
    assert any("butterfly" in text for text in problems(snapshot, crossed))
    assert problems(snapshot, replace(action, surfaces=()))[0].startswith("the page cannot be rebuilt")
    assert problems(snapshot, replace(action, rows=action.rows[:-96]))[0].startswith("the page has")
    unit = replace(action.header, lane_unit_wad=action.header.lane_unit_wad // 2)
    assert any(
        "lane unit" in text or "rows differ" in text for text in problems(snapshot, replace(action, header=unit))
    )


def test_no_person_can_approve_a_page_that_is_wrong(
    press: Press, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def tampered(*args: Any, **options: Any) -> Any:
        plans = plan_pages(*args, **options)
        return tuple(replace(p, action=p.action and spoilt(p.action, 2, 1, 7, 5)) for p in plans)

    monkeypatch.setattr("keeper.decide.plan_pages", tampered)
    everybody = frozenset(range(1_000))
    approvals = {page_digest(u, e): Approval(b"", "", everybody, 2**40) for u in range(3) for e in range(9)}
    cycle = press.cycle(press.store(tmp_path), PUBLISH, press.target(), approvals=lambda _: approvals)
    report = cycle.run()
    assert not any(isinstance(o.action, PublishPage) for o in report.outcomes)
    assert {n.name for n in report.decision.notes if n.alarm} == {"page_wrong"}


# ------------------------------------------------------------------ shadow


def test_a_shadow_sends_nothing_and_keeps_what_it_would_have_sent(press: Press, tmp_path: Path) -> None:
    store = press.store(tmp_path)
    cycle = press.cycle(store, SHADOW, press.target(0.65, ETH={"vol_day_bps": 410}))
    outbox: Any = cycle.outbox
    before = press.protocol.table.call("last_epoch", ETH)
    report = cycle.run()
    shadowed = [o.action for o in report.outcomes if o.result is Result.SHADOW]
    assert {type(a) for a in shadowed} == {PublishPage, PublishJoint, PushParameters}
    assert outbox.performed == [] and press.protocol.table.call("last_epoch", ETH) == before
    assert cycle.recorder.epochs("sent") == [] == cycle.recorder.pushes("sent")
    pages = {row.underlying: row for row in cycle.recorder.epochs("shadow")}
    assert set(pages) == {-1, 0, 1} and pages[ETH].epoch == before + 1
    assert pages[ETH].content["said"] == "" and pages[ETH].content["impact"]["newly_liquidatable"] == []
    (push,) = cycle.recorder.pushes("shadow")
    assert push.content["kind"] == "push_parameters" and push.content["changes"]
    # as if they had been published: nothing is due again until time or the market gives a reason
    press.later(60)
    assert cycle.run().outcomes == ()
    press.later(7 * HOUR)
    again = [o.action for o in cycle.run().outcomes]
    assert {a.subject for a in again if isinstance(a, PublishPage)} == {"0", "1"}
    assert len(cycle.recorder.epochs("shadow")) == 5


def test_a_shadow_judges_by_the_chain_and_yields_to_what_others_publish(press: Press, tmp_path: Path) -> None:
    cycle = press.cycle(press.store(tmp_path), SHADOW, press.target(0.65))
    cycle.run()
    living_page = press.hand.chain.snapshot().market
    assert not isinstance(living_page, Unknown)
    report = cycle.run()
    seen = assess_all(press.hand.chain.snapshot())
    words = press.hand.chain.snapshot().accounts
    assert report.parity.mismatches == ()
    for number, result in seen.items():
        state = words[number]
        assert not isinstance(state, Unknown)
        assert assess_words(state, living_page) == result
    press.later(HOUR)
    press.protocol.publish(ETH)  # the publisher in office
    press.later(60)
    due = [o.action.subject for o in cycle.run().outcomes if isinstance(o.action, PublishPage)]
    assert due == [], "the page in office is newer and near enough"
    after = press.hand.chain.snapshot()
    planned = cycle.shadow.planning(after).table
    assert not isinstance(planned, Unknown) and not isinstance(after.table, Unknown)
    assert planned.pages[ETH] == after.table.pages[ETH] and planned.pages[0] != after.table.pages[0]


# ------------------------------------------------------------------ approval


def test_exactly_the_approved_batch_is_sent_and_only_while_the_word_is_good(press: Press, tmp_path: Path) -> None:
    policy = Policy(push=replace(PUSHES, require_approval=True), settle=False)
    store, wanted = press.store(tmp_path), press.target(ETH={"vol_day_bps": 410})
    cycle = press.cycle(store, policy, wanted, approvals=lambda now: living(store, CHAIN_ID, now))
    first = cycle.run()
    assert first.outcomes == () and {n.name for n in first.decision.notes} == {"push_refused"}
    (row,) = cycle.recorder.pushes("waiting")
    now = press.protocol.now
    approve(store, CHAIN_ID, Approval(row.digest, "seen", frozenset(), now), now)  # good for no time
    assert cycle.run().outcomes == ()
    approve(store, CHAIN_ID, Approval(row.digest, "seen", frozenset(), now + HOUR), now)
    cycle.target = press.target(ETH={"vol_day_bps": 420})  # the model wants something else now
    assert cycle.run().outcomes == ()
    cycle.target = wanted
    (outcome,) = cycle.run().outcomes
    assert outcome.result is Result.DONE and isinstance(outcome.action, PushParameters)
    assert digest_of(outcome.action) == row.digest
    assert [item.digest for item in cycle.recorder.pushes("sent")] == [row.digest]
    assert row.digest not in {item.digest for item in cycle.recorder.pushes("waiting")}


def test_an_approval_covers_no_more_harm_than_was_shown() -> None:
    digest = batch_digest("push_parameters", 7, [(0, 0, 5)])
    book = {digest: Approval(digest, "x", frozenset({1, 2}), 100)}
    assert covers(book, digest, Impact((1,), 0, (9,), (2,)), 99)
    assert not covers(book, digest, Impact((1, 3), 0, (), ()), 99)
    assert not covers(book, digest, Impact((), 0, (), (3,)), 99)
    assert not covers(book, digest, Impact((), 0, (), ()), 100)
    assert not covers({}, digest, None, 0)


def test_batches_of_other_words_nonces_or_kinds_have_other_digests() -> None:
    parts = (7, 1, 2, b"m" * 32, b"d" * 32, ((1, 0, 5),))
    push = PushParameters(*parts)
    same = PushParameters(7, 3, 4, b"x" * 32, b"y" * 32, ((1, 0, 5),))
    assert digest_of(push) == digest_of(same)
    others = [
        ProposeParameters(*parts), replace(push, nonce=8), replace(push, changes=((1, 0, 6),)), replace(push,
        changes=()),
    ]  # fmt: skip
    assert len({digest_of(push), *map(digest_of, others)}) == 5
