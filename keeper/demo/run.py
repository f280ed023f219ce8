# SPDX-License-Identifier: Apache-2.0
"""The main job end to end on an embedded chain: deploy, trade, live through a crash with the real keeper, account."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keeper.act import Result
from keeper.assess import assess_all
from keeper.demo.checks import check_conservation
from keeper.demo.daemon import Daemon
from keeper.demo.market import HOUR, MarketPath, recorded_path, synthetic_path
from keeper.demo.population import Person, population
from keeper.demo.record import Health, Hour, Incident, Journal, Totals
from keeper.demo.settle_in import Resident, Town
from keeper.demo.stage import Stage, build_stage
from keeper.demo.world import WAD
from keeper.domain import ContractCall, Event, Phase, Snapshot, Unknown
from keeper.errors import Halt
from risk.errors import GateFailed
from risk.onchain_words import PERPETUAL

Progress = Callable[[str, float], None]
SEED = 20_200_312
SYNTHETIC_END_TS = 1_893_456_000  # 2030-01-01: any whole hour will do, the past is simulated too
TURNS_AN_HOUR = 30  # a keeper turns every block; once nothing is left to do the rest of the hour is skipped
TURN_S = 60
RECALIBRATE_HOURS = 6
KEEPER_CASH_USD = 6_000_000.0


@dataclass(slots=True)
class Play:
    """One run: who is there, what was seen."""

    path: MarketPath
    stage: Stage
    journal: Journal
    residents: list[Resident] = field(default_factory=list)
    parity_checked: int = 0
    parity_mismatches: int = 0
    conservation_checks: int = 0
    faults: list[str] = field(default_factory=list)
    started_at: float = field(default_factory=time.monotonic)

    @property
    def daemon(self) -> Daemon:
        """The keeper."""
        return self.stage.daemon

    def check(self) -> Snapshot:
        """Conservation at the head."""
        snapshot = self.daemon.chain.snapshot()
        found = check_conservation(self.daemon.chain, self.stage.world, snapshot)
        self.faults += [f"block {found.block}: {fault}" for fault in found.faults]
        self.conservation_checks += 1
        return snapshot

    def turn(self) -> bool:
        """One turn of the keeper, then conservation; True when the keeper sent something."""
        report = self.daemon.turn()
        self.parity_checked += len(report.parity.checked)
        self.parity_mismatches += len(report.parity.mismatches)
        if report.halted:
            raise Halt(f"the keeper halted {', '.join(report.halted)} at block {report.block}; see its log")
        self.check()
        return any(outcome.result in {Result.DONE, Result.PENDING} for outcome in report.outcomes)


def run_demo(
    data: Path | None = None,
    report: Path | None = None,
    *,
    seed: int = SEED,
    progress: Progress | None = None,
    hours: int | None = None,
) -> Totals:
    """Run the demonstration.

    Parameters
    ----------
    data : folder of recorded hourly prices; None simulates.
    report : where the HTML page goes; None writes none.
    seed : of the simulated market and of nothing else.
    progress : called with a sentence and the fraction done, 0..1.
    hours : play only the first so many hours.

    Raises
    ------
    risk.errors.BadInput
        Unusable price files: the message names file, line and remedy.
    keeper.errors.KeeperError
        Anything the contracts refused, or a part of the keeper halted for another reason than parity (`Halt`).
    """
    say = progress or (lambda _text, _done: None)
    path = recorded_path(data) if data is not None else synthetic_path(seed, SYNTHETIC_END_TS)
    with tempfile.TemporaryDirectory(prefix="ballast-demo-") as folder:
        say("calibrating and deploying", 0.0)
        play = Play(path, build_stage(path, Path(folder)), Journal())
        try:
            _open_market(play, say)
            _live(play, say, hours)
        except Halt:
            # The keeper halts at a mismatch as it must; here the mismatch is a result, to be counted and shown.
            if play.parity_mismatches == 0:
                raise
        totals = _totals(play)
    if report is not None and play.journal.hours:
        from keeper.demo.report import write_report

        write_report(report, play.journal, totals, path.source)
    return totals


def _open_market(play: Play, say: Progress) -> None:
    """People move in, the keeper publishes its first tables, people trade and draw what they do not need."""
    stage, symbols = play.stage, play.path.symbols
    prices = {symbol: float(price) for symbol, price in zip(symbols, play.path.past.close[-1], strict=True)}
    town = Town(stage.world, symbols, prices)
    people = population(symbols)
    play.turn()
    for k, person in enumerate(people):
        say(f"{person.name} moves in", 0.02 + 0.10 * k / len(people))
        play.residents.append(town.move_in(person))
    play.check()
    keeper = Person("keeper's own", "liquidator", {"USDC": KEEPER_CASH_USD})
    resident = town.move_in(keeper)
    stage.world.let_bid(resident.owner, resident.number, stage.keeper.address)
    play.daemon.bid_with(resident.number)
    play.journal.accounts = [item.info for item in (*play.residents, resident)]
    while play.turn():
        pass
    snapshot = play.check()
    makers = [item for item in play.residents if item.person.kind == "market maker"]
    for k, item in enumerate(play.residents):
        say(f"{item.person.name} trades", 0.12 + 0.13 * k / len(people))
        town.trade(item, makers, snapshot)
        town.draw(item)
        play.check()


def _live(play: Play, say: Progress, hours: int | None) -> None:
    """Play the market hour by hour; the keeper turns until it has nothing left to do."""
    history = play.path.hours
    count = len(history.ts) if hours is None else min(hours, len(history.ts))
    for hour in range(count):
        moment = int(history.ts[hour]) + HOUR
        say(f"hour {hour + 1} of {count}", 0.25 + 0.75 * hour / count)
        for k, price in enumerate(history.close[hour]):
            play.stage.set_price(k, float(price), moment)
        snapshot = play.check()
        play.daemon.book.observe(snapshot)
        if hour % RECALIBRATE_HOURS == 0:
            _recalibrate(play, snapshot, moment)
        for _ in range(TURNS_AN_HOUR):
            if not play.turn():
                break
            play.stage.pass_time(TURN_S)
        _record(play, moment, {s: float(p) for s, p in zip(history.symbols, history.close[hour], strict=True)})


def _recalibrate(play: Play, snapshot: Snapshot, ts: int) -> None:
    """Calibrate as the keeper does: a set that fails its gates leaves the previous target in force."""
    try:
        play.daemon.recalibrate(snapshot, play.stage.config)
    except GateFailed as error:
        play.journal.incidents.append(Incident(ts, "CalibrationRefused", None, str(error)))


def _record(play: Play, ts: int, prices: dict[str, float]) -> None:
    snapshot = play.check()
    health = {}
    for number, found in assess_all(snapshot).items():
        if not isinstance(found, Unknown):
            health[number] = Health(found.equity_mm, found.mm, found.im)
    if isinstance(snapshot.table, Unknown) or isinstance(snapshot.parameters, Unknown):
        raise Halt("table or parameters could not be read from the embedded chain; run again with BALLAST_DEBUG=1")
    epochs = {play.path.symbols[u]: page.epoch for u, page in snapshot.table.pages.items()}
    running = play.daemon.chain.call(ContractCall("LiquidationAuction", "active_count"), snapshot.block)
    play.journal.hours.append(
        Hour(
            ts=ts,
            block=snapshot.block.number,
            prices=prices,
            health=health,
            epochs={**epochs, "joint": snapshot.table.joint.epoch},
            push_nonce=snapshot.parameters.nonce,
            open_auctions=int(running),
            insurance_wad=_fund_wad(play, snapshot),
        )
    )


def _fund_wad(play: Play, snapshot: Snapshot) -> int:
    raw = int(play.daemon.chain.call(ContractCall("InsuranceFund", "totalAssets"), snapshot.block))
    scale: int = 10 ** (18 - play.stage.world.decimals(play.stage.world.tokens["USDC"]))
    return raw * scale


def _describe(name: str, args: dict[str, Any], symbols: tuple[str, ...]) -> str:
    """One line for the report's list."""
    if name == "AuctionStarted":
        return f"equity {args['equity_mm'] / WAD:,.0f} against maintenance margin {args['mm'] / WAD:,.0f}"
    if name == "BidMade":
        price = args["price_wad"] / WAD
        paid = f"paid {price:,.0f}" if price >= 0 else f"was paid {-price:,.0f}"
        return f"account {args['bidder_account']} took {args['fraction_wad'] / WAD:.0%} and {paid}"
    if name == "AuctionEnded":
        return f"equity {args['equity_mm'] / WAD:,.0f} against maintenance margin {args['mm'] / WAD:,.0f}"
    if name == "PagePublished":
        return f"{symbols[args['underlying']]}, epoch {args['epoch']}"
    if name == "JointPublished":
        return f"epoch {args['epoch']}, {args['count']} scenarios"
    if name == "ParametersPushed":
        return f"push {args['nonce']}, {len(args['changes'])} words"
    if name == "ProposalQueued":
        return f"proposal {args['id']} loosens {len(args['changes'])} words from {_moment(args['eta'])} on"
    if name == "ProposalExecuted":
        return f"proposal {args['id']}"
    if name == "ExpirySettled":
        return f"{symbols[args['underlying']]} at {args['price_wad'] / WAD:,.2f}"
    if name == "DeltaSettled":
        return f"future on {symbols[args['instrument'] >> 8]}, profit {args['pnl_wad'] / WAD:,.0f}"
    if name == "AuctionPhaseChanged":
        return "insolvent" if args["phase"] == Phase.INSOLVENT else "solvent again"
    return ""


def _moment(ts: int) -> str:
    return f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%d %H:%M}"


SHOWN = frozenset(
    {"AuctionStarted", "BidMade", "AuctionEnded", "AuctionPhaseChanged", "PagePublished", "JointPublished",
     "ParametersPushed", "ProposalQueued", "ProposalExecuted", "ExpirySettled", "DeltaSettled"}
)  # fmt: skip


def _everyday(event: Event) -> bool:
    """A perpetual pays its profit out whenever somebody withdraws: nothing to tell."""
    return event.name == "DeltaSettled" and event.args["instrument"] & 255 == PERPETUAL


def _totals(play: Play) -> Totals:
    """Count from the chain's own events, not from what the keeper believes it did."""
    chain = play.daemon.chain
    head = chain.block()
    events = [event for event in chain.events(0, head.number) if event.name in SHOWN and not _everyday(event)]
    times: dict[int, int] = {}
    for event in events:
        ts = times.setdefault(event.block_number, chain.block(event.block_number).timestamp)
        account = event.args.get("account")
        play.journal.incidents.append(
            Incident(ts, event.name, account, _describe(event.name, dict(event.args), play.path.symbols))
        )
    play.journal.incidents.sort(key=lambda incident: incident.ts)
    named = {name: [event for event in events if event.name == name] for name in SHOWN}
    bids = named["BidMade"]
    first = {(e.args["account"], e.args["auction"]): e.args["price_wad"] for e in reversed(bids)}
    return Totals(
        blocks=head.number,
        accounts=len(play.journal.accounts),
        epochs=len(named["PagePublished"]) + len(named["JointPublished"]),
        pushes=len(named["ParametersPushed"]),
        proposals=len(named["ProposalQueued"]),
        proposals_executed=len(named["ProposalExecuted"]),
        futures_settled=len(named["DeltaSettled"]),
        auctions_started=len(named["AuctionStarted"]),
        bids=len(bids),
        bad_debt_wad=sum(event.args["lost_wad"] for event in bids),
        insurance_paid_wad=sum(event.args["covered_wad"] for event in bids),
        conservation_ok=not play.faults,
        conservation_faults=tuple(play.faults),
        conservation_checks=play.conservation_checks,
        parity_checked=play.parity_checked,
        parity_mismatches=play.parity_mismatches,
        sold_with_equity_left=sum(price > 0 for price in first.values()),
        seconds=round(time.monotonic() - play.started_at, 1),
    )
