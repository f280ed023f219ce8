# SPDX-License-Identifier: Apache-2.0
"""Options expire on the embedded chain; the keeper finds the round, settles the expiry and then every account."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keeper.act import Result
from keeper.cycle import CycleReport
from keeper.demo.checks import check_conservation
from keeper.demo.market import synthetic_path
from keeper.demo.population import Leg, Person
from keeper.demo.settle_in import Resident, Town
from keeper.demo.stage import Stage, build_stage
from keeper.domain import ContractCall, OptionInfo, Snapshot
from risk.onchain_words import parse_words

# One chain whose tests follow each other.
pytestmark = pytest.mark.xdist_group("settlement")
END = 1_893_456_000
WAD = 10**18
LOTS_PER_UNIT = 10**6
CASH = {"USDC": 6_000_000.0}
MAKER = Person("maker", "market maker", CASH)
TRADERS = (
    Person("call buyer", "option buyer", CASH, (Leg("BTC", "call", 123_456.7, 0.9, 7),)),
    Person("call writer", "covered writer", CASH, (Leg("ETH", "call", -98_765.4, 0.8, 7),)),
    Person("put buyer", "option buyer", CASH, (Leg("ETH", "put", 54_321.9, 1.1, 7), Leg("BTC", "put", -333.3, 0.8, 7))),
    Person("patient", "option buyer", CASH, (Leg("BTC", "call", 77_777.7, 1.0, 30),)),
)
# what the feeds say before the expiry, and after it
BEFORE, AFTER = (61_234.56789012, 2_876.54321098, 141.0), (70_000.0, 2_000.0, 150.0)


@dataclass
class Market:
    """The stage with its people, and the day of expiry."""

    stage: Stage
    residents: list[Resident]
    expiry: int

    def view(self) -> Snapshot:
        """Everything at the head, after making sure that nothing was created or lost."""
        snapshot = self.stage.daemon.chain.snapshot()
        found = check_conservation(self.stage.daemon.chain, self.stage.world, snapshot)
        assert found.ok, found.faults
        return snapshot

    def turn(self) -> CycleReport:
        """A turn of the keeper in which nothing failed."""
        report = self.stage.daemon.turn()
        assert report.result == "ok", [str(o) for o in report.outcomes if o.result is Result.FAILED]
        return report

    def prices(self, usd: tuple[float, ...], moment: int) -> None:
        """Rounds of all feeds, a few seconds apart from a moment on."""
        for k, price in enumerate(usd):
            self.stage.set_price(k, price, moment)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    path = synthetic_path(11, END)
    stage = build_stage(path, Path(tmp_path_factory.mktemp("stage")))
    prices = {symbol: float(price) for symbol, price in zip(path.symbols, path.past.close[-1], strict=True)}
    town = Town(stage.world, path.symbols, prices)
    maker, *others = [town.move_in(person) for person in (MAKER, *TRADERS)]
    stage.daemon.bid_with(maker.number)
    stage.daemon.turn()
    snapshot = stage.daemon.chain.snapshot()
    for resident in others:
        town.trade(resident, [maker], snapshot)
    assert isinstance(snapshot.options, dict)
    yield Market(stage, [maker, *others], min(option.expiry for option in snapshot.options.values()))


def options(snapshot: Snapshot) -> dict[int, OptionInfo]:
    assert isinstance(snapshot.options, dict)
    return snapshot.options


def holdings(snapshot: Snapshot, account: int) -> dict[int, int]:
    """Lots by option."""
    words = snapshot.accounts[account]
    assert isinstance(words, tuple)
    return {u << 8 | p.slot: p.lots for u, positions in parse_words(words).options.items() for p in positions}


def cash(snapshot: Snapshot, account: int) -> int:
    words = snapshot.accounts[account]
    assert isinstance(words, tuple)
    return parse_words(words).cash


def intrinsic(option: OptionInfo, price_wad: int) -> int:
    gain = price_wad - option.strike_wad if option.is_call else option.strike_wad - price_wad
    return max(0, gain)


def kinds(report: CycleReport) -> list[str]:
    return [outcome.action.kind for outcome in report.outcomes if outcome.result is Result.DONE]


def test_an_expiry_is_settled_account_by_account_to_the_last_digit(market: Market) -> None:
    stage, expiry = market.stage, market.expiry
    market.prices(BEFORE, expiry - 1_800)
    early = market.turn()
    assert not any(kind.startswith("settle") for kind in kinds(early))

    # expired, and the feeds have not spoken since: the round is not proven, and nobody is woken for it
    stage.pass_time(1_900)
    waiting = market.turn()
    assert not any(kind.startswith("settle") for kind in kinds(waiting))
    notes = [note for note in waiting.decision.notes if note.name == "expiry_unsettled"]
    assert len(notes) == 3 and not any(note.alarm for note in notes)
    assert "has no round after" in notes[0].text
    before = market.view()
    assert {o.settlement_wad for o in options(before).values()} == {0}

    # the ETH feed's next word is of a new phase, as when its aggregator is replaced
    feed = stage.world._contract("MockAggregator", stage.world.feeds[0, 1])
    stage.world.sender.send(stage.world.operator, feed.functions.start_phase())
    market.prices(AFTER, expiry + 600)
    settled = market.turn()
    assert kinds(settled).count("settle_expiry") == 3
    between = market.view()
    prices = {u: round(usd * 10**8) * 10**10 for u, usd in enumerate(BEFORE)}
    for option in options(between).values():
        assert option.settlement_wad == (prices[option.underlying] if option.expiry == expiry else 0)

    paid = market.turn()
    assert kinds(paid).count("settle_options") == 6  # the put buyer and the maker in two markets each
    after = market.view()
    moved = 0
    for resident in market.residents:
        held = holdings(between, resident.number)
        due = sum(
            # floor for both signs: a long gets the floor, a short pays the ceiling
            lots * intrinsic(options(between)[i], prices[i >> 8]) // LOTS_PER_UNIT
            for i, lots in held.items()
            if options(between)[i].expiry == expiry
        )
        assert cash(after, resident.number) - cash(between, resident.number) == due, resident.person.name
        assert holdings(after, resident.number) == {
            i: lots for i, lots in held.items() if options(between)[i].expiry != expiry
        }
        moved += abs(due)
    assert moved > 10_000 * WAD  # options were in the money


def test_afterwards_nothing_is_settled_again_and_pages_go_on_with_constant_rows(market: Market) -> None:
    stage, expiry = market.stage, market.expiry
    assert not any(kind.startswith("settle") for kind in kinds(market.turn()))
    epochs = {u: stage.daemon.chain.call(ContractCall("RiskTable", "page_info", (u,)))[0] for u in range(3)}
    market.prices(tuple(price * 0.9 for price in AFTER), expiry + 3_600)
    report = market.turn()
    assert kinds(report).count("publish_page") == 3
    snapshot = market.view()
    assert not isinstance(snapshot.market, type(None)) and snapshot.market.pages  # type: ignore[union-attr]
    for u, page in snapshot.market.pages.items():  # type: ignore[union-attr]
        assert stage.daemon.chain.call(ContractCall("RiskTable", "page_info", (u,)))[0] != epochs[u]
        for option in options(snapshot).values():
            if option.underlying != u:
                continue
            row = page.row(option.slot)
            assert row is not None
            values = {value for lane in row.lanes for value in lane}
            if option.expiry == expiry:
                (value,) = values
                worth = intrinsic(option, option.settlement_wad)
                assert abs(value * page.lane_unit - worth) <= page.lane_unit
            else:
                assert len(values) > 10


def test_the_journal_holds_each_settlement_once(market: Market) -> None:
    done = [o for o in market.turn().outcomes if o.action.kind.startswith("settle")]
    assert done == []
    head = market.stage.daemon.chain.block().number
    events = [e for e in market.stage.daemon.chain.events(0, head) if e.name in {"ExpirySettled", "OptionSettled"}]
    expiries = [(e.args["underlying"], e.args["expiry"]) for e in events if e.name == "ExpirySettled"]
    assert sorted(expiries) == [(u, market.expiry) for u in range(3)]
    phases = [e.args["round_id"] >> 64 for e in events if e.name == "ExpirySettled"]
    assert phases == [1, 1, 1]
    positions = [(e.args["account"], e.args["instrument"]) for e in events if e.name == "OptionSettled"]
    assert len(positions) == len(set(positions)) == 8
