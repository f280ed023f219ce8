# SPDX-License-Identifier: Apache-2.0
"""Options expire on the embedded chain; the keeper finds the round, settles the expiry and then every account."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keeper.act import Result
from keeper.actions import RetireInstrument, SettleExpiry, SettleMany
from keeper.demo.checks import check_conservation
from keeper.demo.market import synthetic_path
from keeper.demo.population import Leg, Person
from keeper.demo.settle_in import Resident, Town
from keeper.demo.stage import Stage, build_stage
from keeper.domain import OptionInfo, Snapshot
from keeper.report import CycleReport
from risk.onchain import ChainMarket
from risk.onchain_words import parse_words

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


@dataclass
class Story:
    """What happened, in order: reports of the keeper's turns and views of the chain between them."""

    market: Market
    early: CycleReport
    waiting: CycleReport
    before: Snapshot
    settled: CycleReport
    between: Snapshot
    paid: CycleReport
    after: Snapshot
    quiet: CycleReport
    republished: CycleReport
    late: Snapshot

    @property
    def expired(self) -> dict[int, OptionInfo]:
        """Options of the expiry, with their settlement prices."""
        return {i: o for i, o in options(self.after).items() if o.expiry == self.market.expiry}


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    path = synthetic_path(14, END)
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


def settled_expiries(report: CycleReport) -> list[SettleExpiry]:
    return [outcome.action for outcome in report.outcomes if isinstance(outcome.action, SettleExpiry)]


def kinds(report: CycleReport) -> list[str]:
    return [outcome.action.kind for outcome in report.outcomes if outcome.result is Result.DONE]


@pytest.fixture(scope="module")
def story(market: Market) -> Story:
    stage, expiry = market.stage, market.expiry
    market.prices(BEFORE, expiry - 1_800)
    early = market.turn()
    stage.pass_time(1_900)
    waiting, before = market.turn(), market.view()
    # the ETH feed's next word is of a new phase, as when its aggregator is replaced
    feed = stage.world._contract("MockAggregator", stage.world.feeds[0, 1])
    stage.world.sender.send(stage.world.operator, feed.functions.start_phase())
    market.prices(AFTER, expiry + 600)
    settled, between = market.turn(), market.view()
    paid, after = market.turn(), market.view()
    quiet = market.turn()
    market.prices(tuple(price * 0.9 for price in AFTER), expiry + 3_600)
    republished, late = market.turn(), market.view()
    return Story(market, early, waiting, before, settled, between, paid, after, quiet, republished, late)


def test_nothing_is_settled_before_the_expiry_nor_before_the_feeds_speak_again(story: Story) -> None:
    for report in (story.early, story.waiting):
        assert "settle_many" not in kinds(report)
        assert story.market.expiry not in {action.expiry for action in settled_expiries(report)}
    # the round is not proven yet, and nobody is woken for it
    notes = [note for note in story.waiting.decision.notes if note.name == "expiry_unsettled"]
    assert len(notes) == 3 and not any(note.alarm for note in notes)
    assert "has no round after" in notes[0].text
    assert {o.settlement_wad for o in options(story.before).values()} == {0}


def test_an_expiry_is_settled_at_the_last_price_before_it(story: Story) -> None:
    assert kinds(story.settled).count("settle_expiry") == 3
    prices = {u: round(usd * 10**8) * 10**10 for u, usd in enumerate(BEFORE)}
    for option in options(story.between).values():
        assert option.settlement_wad == (prices[option.underlying] if option.expiry == story.market.expiry else 0)


def test_every_account_is_paid_to_the_last_digit(story: Story) -> None:
    batches = [o.action for o in story.paid.outcomes if isinstance(o.action, SettleMany)]
    # a transaction for each market: the put buyer and the maker in two of them
    assert sorted(len(action.holders) for action in batches) == [3, 3]
    moved = 0
    for resident in story.market.residents:
        held = holdings(story.between, resident.number)
        due = sum(
            # floor for both signs: a long gets the floor, a short pays the ceiling
            lots * intrinsic(story.expired[i], story.expired[i].settlement_wad) // LOTS_PER_UNIT
            for i, lots in held.items()
            if i in story.expired
        )
        paid = cash(story.after, resident.number) - cash(story.between, resident.number)
        assert paid == due, resident.person.name
        left = {i: lots for i, lots in held.items() if i not in story.expired}
        assert holdings(story.after, resident.number) == left
        moved += abs(due)
    assert moved > 10_000 * WAD  # options were in the money


def test_nothing_is_settled_twice(story: Story) -> None:
    for report in (story.quiet, story.republished):
        assert not any(outcome.action.kind.startswith("settle") for outcome in report.outcomes)
    chain = story.market.stage.daemon.chain
    events = [e for e in chain.events(0, chain.block().number) if e.name in {"ExpirySettled", "OptionSettled"}]
    expiries = [(e.args["underlying"], e.args["expiry"]) for e in events if e.name == "ExpirySettled"]
    assert len(expiries) == len(set(expiries))
    assert {item for item in expiries if item[1] == story.market.expiry} == {(u, story.market.expiry) for u in range(3)}
    assert {e.args["round_id"] >> 64 for e in events if e.name == "ExpirySettled"} == {1}
    positions = [(e.args["account"], e.args["instrument"]) for e in events if e.name == "OptionSettled"]
    assert len(positions) == len(set(positions)) == 8


def test_pages_go_on_with_constant_rows_for_what_is_settled(story: Story) -> None:
    assert kinds(story.republished).count("publish_page") == 3
    before, after = story.after.market, story.late.market
    assert isinstance(before, ChainMarket) and isinstance(after, ChainMarket)
    for u, page in after.pages.items():
        assert page.epoch == before.pages[u].epoch + 1
        for option in (o for o in options(story.late).values() if o.underlying == u):
            row = page.row(option.slot)
            assert row is not None
            values = {value for lane in row.lanes for value in lane}
            if option.instrument in story.expired:
                (value,) = values
                worth = intrinsic(option, option.settlement_wad)
                assert abs(value * page.lane_unit - worth) <= page.lane_unit
            else:
                assert len(values) > 10


def freed(*reports: CycleReport) -> set[int]:
    return {
        outcome.action.instrument
        for report in reports
        for outcome in report.outcomes
        if isinstance(outcome.action, RetireInstrument) and outcome.result is Result.DONE
    }


def test_slots_are_freed_once_nobody_holds_what_was_in_them(story: Story) -> None:
    held = {i for resident in story.market.residents for i in holdings(story.between, resident.number)}
    assert not freed(story.paid) & held  # holders were paid in that very turn
    after = freed(story.quiet, story.republished)
    assert after & held
    assert after <= {*options(story.between), *(u << 8 | slot for u in range(3) for slot in (253, 254))}
    assert not after & options(story.late).keys()
