# SPDX-License-Identifier: Apache-2.0
"""A keeper watches what others publish, on the real contracts with the real verifier and bonds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_account import Account
from eth_utils.crypto import keccak

from keeper.act import Result
from keeper.actions import ChallengeRow, PublishPage
from keeper.cycle import Cycle
from keeper.decide import Policy
from keeper.domain import Unknown
from keeper.index.publications import PublishedPage
from keeper.publish.check import PageCheck
from keeper.publish.rebuild import content_hash
from keeper.publish.signing import Publisher
from keeper.publish.tables import plan_pages
from keeper.publish.verifier import wrong_rows_before
from keeper.publish.watch import Watch
from keeper.tx.signer import LocalSigner
from tests.support.protocol import BTC, DAY, ETH, HOUR, START, USD
from tests.support.protocol_chain import CHAIN_ID
from tests.support.publishing import PAGES, Press

LIAR_KEY = b"\x09" * 32
LIAR = Account.from_key(LIAR_KEY).address
BOND, PENALTY = 1_000 * USD, 600 * USD
WATCHING = Policy(settle=False)
STEPS = (5_000, 3_500)
AT_THE_MONEY = 32 + 2 * (15 - 7)


class Stage(Press):
    """A second, bonded publisher, whose pages the test writes, and a log of what was published."""

    def __init__(self) -> None:
        super().__init__()
        p = self.protocol
        self.published: list[PublishedPage] = []
        p.govern(p.table, "set_publisher", LIAR, True)
        p.govern(p.table, "set_terms", (p.verifier.address, p.fund.address, 2, BOND, PENALTY, 7 * DAY))
        for who in (LIAR, p.publisher):
            p.cash.call("mint", p.stranger, 2 * BOND)
            p.cash.call("approve", p.table.address, 2 * BOND, caller=p.stranger)
            p.table.call("deposit_bond", who, 2 * BOND, caller=p.stranger)
        self.liar = Publisher(LocalSigner.from_key(LIAR_KEY, "test"), CHAIN_ID, p.table.address)

    def true_page(self, u: int = ETH, vol: float = 0.6) -> PublishPage:
        """What an honest publisher would publish now."""
        self.later(7 * HOUR)
        snapshot = self.hand.chain.snapshot(accounts=())
        action = {p.underlying: p.action for p in plan_pages(snapshot, self.target(vol), PAGES, STEPS)}[u]
        assert action is not None
        return action

    def put(self, action: PublishPage, publisher: Publisher | None = None) -> PublishPage:
        """Publish what is given, signed by the liar unless somebody else is named."""
        signed: Any = (publisher or self.liar).endorse(action)
        self.hand.act(signed)
        address = f"0x{int(self.protocol.table.call('page_info', action.underlying)[0]) % 2**160:040x}"
        hashed = content_hash(action.header.as_tuple(), action.surfaces, action.rows)
        signers = tuple(signer for signer, _ in signed.signatures)
        self.published.insert(
            0, PublishedPage(action.underlying, address, action.header, action.surfaces, hashed, signers)
        )
        return action

    def watcher(self, folder: Path, *, send: bool = True, ours: bool = True, **more: Any) -> Cycle:
        """A keeper that only watches."""
        watch = Watch(self.hand.chain, lambda: self.published, self.protocol.publisher, lambda *_: ours, **more)
        return self.cycle(self.store(folder), WATCHING, self.target(), send=send, watch=watch)

    def bond(self, who: str) -> int:
        return int(self.protocol.table.call("bond", who)[0])

    def epoch(self, u: int = ETH) -> int:
        return int(self.protocol.table.call("page_info", u)[0]) >> 160 & 0xFFFFFFFF


@pytest.fixture(scope="module")
def built() -> Stage:
    return Stage()


@pytest.fixture
def stage(built: Stage) -> Iterator[Stage]:
    built.hand, built.published = built.new_hand(), []
    p = built.protocol
    mark, now, quotes, options = p.evm.snapshot(), p.now, list(p.quotes), dict(p.options)
    yield built
    p.evm.revert(mark)
    p.now, p.quotes, p.options = now, quotes, options
    p._block()


def lie(action: PublishPage, slot: int = 2, by: int = 40, at: int = AT_THE_MONEY) -> PublishPage:
    """The page with one lane moved."""
    start = 96 * slot + at
    value = int.from_bytes(action.rows[start : start + 2], "big") + by
    return replace(action, rows=action.rows[:start] + value.to_bytes(2, "big") + action.rows[start + 2 :])


def alarms(cycle: Cycle) -> tuple[set[str], list[Any]]:
    report = cycle.run()
    return {n.name for n in report.decision.notes if n.alarm}, [(o.action.kind, o.result) for o in report.outcomes]


def test_a_wrong_row_is_challenged_the_epoch_revoked_and_the_bond_taken(stage: Stage, tmp_path: Path) -> None:
    stage.put(stage.true_page())
    good = stage.epoch()
    watcher = stage.watcher(tmp_path)
    assert alarms(watcher) == (set(), [])
    stage.put(lie(stage.true_page()))
    assert stage.epoch() == good + 1
    before = stage.bond(LIAR)
    named, done = alarms(watcher)
    assert named == {"page_challenged"} and done == [("challenge_row", Result.DONE)]
    assert stage.epoch() == good and before - stage.bond(LIAR) == PENALTY
    assert stage.protocol.table.call("reward_raw", stage.protocol.keeper) == PENALTY // 2
    (challenge,) = watcher.outbox.performed  # type: ignore[union-attr]
    assert isinstance(challenge, ChallengeRow) and (challenge.slot, challenge.reward_raw) == (2, PENALTY // 2)
    assert alarms(watcher) == (set(), []), "what is revoked is not challenged again"


def test_a_lie_is_found_under_the_truth_that_was_published_on_top(stage: Stage, tmp_path: Path) -> None:
    stage.put(lie(stage.true_page()))
    stage.put(stage.true_page())
    watcher = stage.watcher(tmp_path)
    assert alarms(watcher) == ({"page_challenged"}, [("challenge_row", Result.DONE)])
    assert stage.bond(LIAR) == 2 * BOND - PENALTY


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: replace(a, surfaces=()),
        lambda a: replace(a, surfaces=((*a.surfaces[0][:5], 2 * 10**18, *a.surfaces[0][6:]),)),
        lambda a: replace(a, header=replace(a.header, lane_unit_wad=a.header.lane_unit_wad // 2)),
        lambda a: replace(a, rows=bytes(len(a.rows))),
        lambda a: lie(a, slot=0, by=1 << 11, at=94),  # the hour of an option that does not expire
    ],
)
def test_every_kind_of_false_page_is_challenged(stage: Stage, tmp_path: Path, spoil: Any) -> None:
    stage.put(spoil(stage.true_page()))
    assert alarms(stage.watcher(tmp_path)) == ({"page_challenged"}, [("challenge_row", Result.DONE)])


def test_a_rounding_apart_is_not_a_lie(stage: Stage, tmp_path: Path) -> None:
    """What another machine's floats may give: the contract's tolerance decides, not a comparison bit for bit."""
    stage.put(lie(stage.true_page(), by=1))
    assert alarms(stage.watcher(tmp_path)) == (set(), [])
    assert stage.bond(LIAR) == 2 * BOND


def test_an_honest_table_is_never_challenged(stage: Stage, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    p, watcher = stage.protocol, stage.watcher(tmp_path)
    for days in (12, 60, 350):
        for percent in (60, 97, 180):
            p.list_option(ETH, (START // DAY + days) * DAY + 8 * HOUR, 30 * percent, is_call=percent != 97)
    vol = 0.6
    for _ in range(6):
        stage.later(60)
        p.set_price(ETH, p.quotes[ETH] * float(np.exp(rng.normal(0, 0.04))))
        vol *= float(np.exp(rng.uniform(-0.3, 0.3)))
        for u in (BTC, ETH):
            stage.put(stage.true_page(u, vol))
        watcher.target = stage.target(vol)
        assert alarms(watcher) == (set(), [])
    assert stage.bond(LIAR) == 2 * BOND


def test_surfaces_far_from_our_calibration_are_named_and_not_challenged(stage: Stage, tmp_path: Path) -> None:
    stage.put(stage.true_page(vol=0.7))
    watcher = stage.watcher(tmp_path)  # wants 0.6
    report = watcher.run()
    (note,) = [n for n in report.decision.notes if n.alarm]
    assert note.name == "page_far" and "volatility at +0 deviations: ours 0.6000, theirs 0.7000" in note.text
    assert report.outcomes == () and stage.bond(LIAR) == 2 * BOND
    assert watcher.run().decision.notes == (), "said once"


def test_what_bears_our_own_signature_is_not_challenged_but_shouted_about(stage: Stage, tmp_path: Path) -> None:
    stage.put(stage.true_page(), stage.publisher)
    assert alarms(stage.watcher(tmp_path)) == (set(), [])
    assert alarms(stage.watcher(tmp_path, ours=False)) == ({"page_not_ours"}, [])
    stage.put(lie(stage.true_page()), stage.publisher)
    assert alarms(stage.watcher(tmp_path)) == ({"own_page_wrong"}, [])


def test_a_dry_run_a_shadow_and_an_operator_who_wants_no_challenges_send_none(stage: Stage, tmp_path: Path) -> None:
    stage.put(lie(stage.true_page()))
    assert alarms(stage.watcher(tmp_path, send=False)) == ({"page_challenged"}, [("challenge_row", Result.WOULD)])
    assert alarms(stage.watcher(tmp_path, challenges=False)) == ({"page_challenged"}, [])
    shadow = stage.watcher(tmp_path)
    shadow.policy = replace(shadow.policy, shadow=True)
    assert alarms(shadow) == ({"page_challenged"}, [("challenge_row", Result.SHADOW)])
    assert alarms(shadow) == ({"page_challenged"}, [])
    assert stage.bond(LIAR) == 2 * BOND


def test_where_challenges_are_off_a_wrong_page_is_an_alarm(stage: Stage, tmp_path: Path) -> None:
    p = stage.protocol
    p.govern(p.table, "set_terms", ("0x" + "00" * 20, p.fund.address, 2, BOND, PENALTY, 7 * DAY))
    stage.put(lie(stage.true_page()))
    assert alarms(stage.watcher(tmp_path)) == ({"page_unjudged"}, [])


def test_the_verifier_is_asked_before_a_page_of_our_own_goes_out(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = stage.true_page()
    chain, block = stage.hand.chain, stage.hand.chain.block()
    options = chain.snapshot(accounts=()).options
    assert not isinstance(options, Unknown)
    assert wrong_rows_before(chain, block, page, options) == ()
    wrong = wrong_rows_before(chain, block, lie(page, slot=3, by=9), options)
    assert not isinstance(wrong, Unknown) and [(w.slot, w.lane) for w in wrong] == [(3, 23)]
    # a fault that the rebuild shares: the float model itself is off
    monkeypatch.setattr("keeper.decide.check_page", lambda *_: PageCheck((), None))

    def tampered(*args: Any) -> Any:
        return tuple(replace(p, action=p.action and lie(p.action)) for p in plan_pages(*args))

    monkeypatch.setattr("keeper.decide.plan_pages", tampered)
    cycle = stage.watcher(tmp_path)
    cycle.policy = Policy(pages=PAGES, settle=False)
    report = cycle.run()
    assert not any(isinstance(o.action, PublishPage) for o in report.outcomes)
    assert {row.underlying for row in cycle.recorder.epochs("refused")} == {BTC, ETH}


def test_a_manifest_of_another_verifier_is_no_judge(stage: Stage) -> None:
    page, p = stage.true_page(), stage.protocol
    other = "0x" + keccak(b"x")[:20].hex()
    p.evm.insert_account_info(other, p.evm.basic(p.verifier.address))
    p.govern(p.table, "set_terms", (other, p.fund.address, 2, BOND, PENALTY, 7 * DAY))
    snapshot = stage.hand.chain.snapshot(accounts=())
    assert not isinstance(snapshot.options, Unknown)
    found = wrong_rows_before(stage.hand.chain, snapshot.block, page, snapshot.options)
    assert isinstance(found, Unknown) and "bring the manifest up to date" in found.reason
