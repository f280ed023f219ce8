# SPDX-License-Identifier: Apache-2.0
"""One turn over a chain whose answers a test writes; the real chain is in test_cli_chain and the demonstration."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from keeper.act import Outcome, Result, classify, guard
from keeper.actions import Action, ExecuteProposal, ProposeParameters, PublishPage, PushParameters
from keeper.cycle import Cycle
from keeper.decide import Policy
from keeper.domain import Block, ContractCall, JointStatus, Snapshot, TableStatus, Unknown
from keeper.errors import Halt, Permanent, Reverted, Transient
from keeper.liquidate.actions import StartAuction
from keeper.observe.alerts import Alerts
from keeper.observe.board import Instruments, standing_limits
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics
from keeper.publish.parameters import PushPolicy
from keeper.publish.triggers import PagePolicy
from keeper.recorder import Recorder
from keeper.situation import NativePrice
from keeper.store import open_store
from keeper.store.models import AssessmentRow
from risk.onchain import assess_words
from risk.onchain_words import Page, PriceWord
from tests.support.keeper_world import BLOCK, ETH, ETH_LANES, NOW, PRICE, account, market, page_status, snapshot, target

PARAMETERS_ANSWERS = {"guards": (3_600, 3_600, 172_800, 500, 21_600, 21_600, 43_200, 259_200, 30_000), "changed_at": 0}
LIQUIDATE = Policy(liquidate=True, settle=False)


class Clock:
    def now(self) -> int:
        return NOW + 3

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a cycle does not sleep")


class FakeChain:
    """A chain of one snapshot; the engine agrees with the twin unless ``lies`` names an account."""

    chain_id = 31337

    def __init__(self, view: Snapshot) -> None:
        self.view = view
        self.after: Snapshot | None = None
        self.lies: set[int] = set()
        self.refuses: dict[str, str] = {}
        self.called: list[str] = []

    def snapshot(self, accounts: Any = None, block: Block | None = None) -> Snapshot:
        return self.after if self.after is not None and accounts == () else self.view

    def call_many(self, calls: list[ContractCall], block: Block) -> list[Any]:
        assert block == BLOCK
        found: list[Any] = []
        for call in calls:
            if call.contract == "RiskParameters":
                found.append(PARAMETERS_ANSWERS[call.function])
                continue
            words = self.view.accounts[call.args[0]]
            result = assess_words(words, self.view.market)  # type: ignore[arg-type]
            wrong = result._replace(mm=result.mm + 1) if call.args[0] in self.lies else result
            found.append((*wrong[:-1], list(wrong[-1])))
        return found

    def call(self, call: ContractCall, block: Block | None = None, sender: str | None = None) -> Any:
        self.called.append(call.function)
        if call.function in self.refuses:
            raise Reverted(f"{call} refused", reason=self.refuses[call.function])
        return (0, 0, 0, 0, 0, 5_000, 3_500) if call.function == "limits" else None


class FakeOutbox:
    """Takes every action, as told."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers = answers or {}
        self.performed: list[Action] = []
        self.late: tuple[Outcome, ...] = ()

    def perform(self, action: Action) -> Outcome:
        self.performed.append(action)
        answer = self.answers.get(action.kind, Result.DONE)
        if isinstance(answer, Exception):
            raise answer
        return Outcome(action, answer, "0xaa")

    def reconcile(self) -> tuple[Outcome, ...]:
        late, self.late = self.late, ()
        return late


def make(chain: FakeChain, tmp_path: Path, policy: Policy = LIQUIDATE, **extra: Any) -> Cycle:
    metrics = Metrics("t", 31337)
    health = HealthBoard(standing_limits(12), NOW)
    return Cycle(
        chain=chain,  # type: ignore[arg-type]
        clock=Clock(),
        recorder=Recorder(open_store(f"sqlite:///{tmp_path / 'k.sqlite'}"), 31337),
        instruments=Instruments(metrics, health),
        alerts=Alerts(metrics),
        quotes=NativePrice("ETH"),
        policy=policy,
        **extra,
    )


SICK = {1: account(9_000, 1), 2: account(100, 1)}


def test_a_dry_run_rehearses_at_the_block_and_sends_nothing(tmp_path: Path) -> None:
    chain = FakeChain(snapshot(SICK))
    report = make(chain, tmp_path, sender="0x" + "11" * 20).run()
    assert [(o.action.kind, o.result) for o in report.outcomes] == [("start_auction", Result.WOULD)]
    assert chain.called == ["start_with"]
    assert report.liquidatable == (2,) and report.worst == (2, -220 * 10**18)


def test_a_dry_run_names_the_reason_of_a_refusal(tmp_path: Path) -> None:
    chain = FakeChain(snapshot(SICK))
    chain.refuses["start_with"] = "auction: data too old"
    report = make(chain, tmp_path, sender="0x" + "11" * 20).run()
    assert (report.outcomes[0].result, report.outcomes[0].detail) == (Result.WOULD_REVERT, "auction: data too old")


def test_every_cycle_is_recorded(tmp_path: Path) -> None:
    cycle = make(FakeChain(snapshot(SICK)), tmp_path)
    cycle.run()
    (row,) = cycle.recorder.runs()
    assert (row.block_number, row.result, row.finished_at) == (100, "ok", NOW + 3)
    assert row.detail is not None
    assert row.detail["accounts"] == 2 and row.detail["worst_account"] == 2
    assert row.detail["actions"] == ["start_auction 2 (epoch 0) would send"]
    assert cycle.instruments.metrics.liquidatable_accounts._value.get() == 1


def test_the_latest_assessments_are_kept_with_their_doubt(tmp_path: Path) -> None:
    dead = market(prices={ETH: PriceWord(PRICE, 2, NOW - 90_000, 0)})
    cycle = make(FakeChain(snapshot({1: account(9_000, 1), 2: account(9_000, 0)}, market=dead)), tmp_path)
    cycle.run()
    with cycle.recorder._store.session() as session:
        kept = {row.account: row.doubt for row in session.scalars(select(AssessmentRow))}
    # one ether at a dead 2,000 USD and a scan of 20 %: the most it can gain, 400 USD, and the scan, 400 USD
    assert kept == {1: 800 * 10**18, 2: 0}


def test_a_cycle_that_breaks_off_is_recorded_as_an_error(tmp_path: Path) -> None:
    chain = FakeChain(snapshot(SICK))

    def broken(*_: Any, **__: Any) -> Snapshot:
        raise Transient("no node answers")

    chain.snapshot = broken  # type: ignore[method-assign]
    cycle = make(chain, tmp_path)
    with pytest.raises(Transient):
        cycle.run()
    (row,) = cycle.recorder.runs()
    assert (row.result, row.detail) == ("error", {"error": "no node answers"})
    assert not cycle.instruments.health.ready(NOW + 4)


def test_executing_performs_what_was_decided(tmp_path: Path) -> None:
    outbox = FakeOutbox()
    report = make(FakeChain(snapshot(SICK)), tmp_path, outbox=outbox).run()
    assert [type(a) for a in outbox.performed] == [StartAuction]
    assert report.result == "ok"


def test_somebody_else_first_is_not_an_error(tmp_path: Path) -> None:
    first = Reverted("start refused", reason="auction: running")
    cycle = make(FakeChain(snapshot(SICK)), tmp_path, outbox=FakeOutbox({"start_auction": first}))
    report = cycle.run()
    assert report.outcomes[0].result is Result.OVERTAKEN and report.result == "ok"
    assert cycle.instruments.metrics.alerts_total.labels("action_start_auction")._value.get() == 0


def test_any_other_refusal_is_an_alert(tmp_path: Path) -> None:
    odd = Reverted("start refused", reason="accounts: no such thing")
    cycle = make(FakeChain(snapshot(SICK)), tmp_path, outbox=FakeOutbox({"start_auction": odd}))
    report = cycle.run()
    assert report.outcomes[0].result is Result.FAILED and report.result == "failed"
    assert cycle.instruments.metrics.alerts_total.labels("action_start_auction")._value.get() == 1


def test_a_halt_of_the_sender_ends_the_cycle(tmp_path: Path) -> None:
    cycle = make(FakeChain(snapshot(SICK)), tmp_path, outbox=FakeOutbox({"start_auction": Halt("budget")}))
    with pytest.raises(Halt, match="budget"):
        cycle.run()


def test_a_parity_mismatch_halts_liquidation_alerts_and_survives_a_restart(tmp_path: Path) -> None:
    chain, outbox = FakeChain(snapshot(SICK)), FakeOutbox()
    chain.lies = {2}
    cycle = make(chain, tmp_path, outbox=outbox)
    report = cycle.run()
    assert report.outcomes == () and outbox.performed == []
    assert report.halted == ("liquidation",) and report.result == "halted"
    metrics = cycle.instruments.metrics
    assert metrics.parity_mismatches_total._value.get() == 1
    assert metrics.alerts_total.labels("halted_liquidation")._value.get() == 1
    assert not cycle.instruments.health.report(NOW + 4).ok
    chain.lies = set()
    restarted = make(chain, tmp_path, outbox=outbox)
    assert restarted.run().outcomes == ()
    assert restarted.recorder.resume("liquidation")
    assert [o.action.kind for o in restarted.run().outcomes] == ["start_auction"]


def due_page() -> Snapshot:
    return snapshot({1: account(9_000, 1)}, table=TableStatus(JointStatus(None, 0, 0, 0), {ETH: page_status(rows=1)}))


PUBLISH = Policy(pages=PagePolicy(500, 1_000, 6 * 3_600, 86_400), settle=False)


def published(action: PublishPage, spoil: bool) -> Snapshot:
    header = action.header
    rows = bytes(len(action.rows)) if spoil else action.rows
    page = Page("0x" + "44" * 20, header.epoch, header.observed_at, header.expires_at,
                header.reference_price_wad, header.lane_unit_wad, header.step_e9, rows)  # fmt: skip
    return snapshot(market=market(pages={ETH: page}))


@pytest.mark.parametrize("spoil", [False, True])
def test_a_page_is_guarded_sent_kept_and_read_back(tmp_path: Path, spoil: bool) -> None:
    chain = FakeChain(due_page())

    class Outbox(FakeOutbox):
        def perform(self, action: Action) -> Outcome:
            assert isinstance(action, PublishPage)
            chain.after = published(action, spoil)
            return super().perform(action)

    cycle = make(chain, tmp_path, PUBLISH, outbox=Outbox(), target=target())
    report = cycle.run()
    assert "check_publish" in chain.called
    assert [o.result for o in report.outcomes] == [Result.DONE]
    assert list(report.halted) == (["publication"] if spoil else [])
    ((action, _),) = [(o.action, o.result) for o in report.outcomes]
    (row,) = cycle.recorder.epochs("sent")
    kept = row.content
    assert (row.underlying, row.epoch) == (ETH, action.epoch)
    assert isinstance(action, PublishPage)
    header = asdict(action.header)
    assert kept["header"] == header | {
        "reference_price_wad": str(header["reference_price_wad"]),
        "lane_unit_wad": str(header["lane_unit_wad"]),
        "model_hash": header["model_hash"].hex(),
        "data_hash": header["data_hash"].hex(),
    }
    assert kept["header"]["vol_up_bps"] == ETH_LANES.vol_up_bps
    assert kept["header"]["short_min_bps"] == ETH_LANES.short_min_bps
    assert kept["rows"] == action.rows.hex()


def test_a_page_the_guard_refuses_is_not_sent(tmp_path: Path) -> None:
    chain, outbox = FakeChain(due_page()), FakeOutbox()
    chain.refuses["check_publish"] = "table: vol step"
    report = make(chain, tmp_path, PUBLISH, outbox=outbox, target=target()).run()
    assert outbox.performed == []
    assert report.outcomes[0].result is Result.FAILED


def test_a_pending_publication_is_read_back_when_it_ends(tmp_path: Path) -> None:
    chain, outbox = FakeChain(due_page()), FakeOutbox({"publish_page": Result.PENDING})
    cycle = make(chain, tmp_path, PUBLISH, outbox=outbox, target=target())
    cycle.run()
    (action,) = outbox.performed
    assert isinstance(action, PublishPage)
    chain.after = published(action, spoil=True)
    outbox.late = (Outcome(action, Result.DONE),)
    assert cycle.run().halted == ("publication",)


def test_a_push_that_reads_back_differently_halts_parameters(tmp_path: Path) -> None:
    chain = FakeChain(snapshot({1: account(9_000, 1)}))
    policy = Policy(push=PushPolicy(100, 7 * 86_400, 0, 0), settle=False)
    wanted = target(underlyings={"ETH": replace(ETH_LANES, scan_bps=2_200)})
    report = make(chain, tmp_path, policy, outbox=FakeOutbox(), target=wanted).run()
    assert isinstance(report.outcomes[0].action, PushParameters)
    assert "check_push" in chain.called
    assert report.halted == ("parameters",)  # the snapshot still shows nonce 5 and the old word


def test_an_unknown_account_is_counted_and_not_acted_on(tmp_path: Path) -> None:
    report = make(FakeChain(snapshot({1: Unknown("lost", NOW - 50), 2: account(9_000, 1)})), tmp_path).run()
    assert set(report.unknown) == {1} and report.outcomes == ()


def test_guards_exist_for_publications_alone() -> None:
    assert guard(StartAuction(1, 0)) is None
    assert guard(ExecuteProposal(1, ())) is None
    batch = (9, 1, 2, b"m" * 32, b"d" * 32, ((1, 0, 5),))
    checks = [guard(PushParameters(*batch)), guard(ProposeParameters(*batch))]
    assert [check.function for check in checks if check is not None] == ["check_push", "check_propose"]
    assert [check.args for check in checks if check is not None] == [(9, 1, 2, ((1, 0, 5),))] * 2
    assert classify(StartAuction(1, 0), Permanent("no")).result is Result.FAILED
