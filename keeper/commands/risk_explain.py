# SPDX-License-Identifier: Apache-2.0
"""``ballast risk explain``: everything behind the margin of an account in a case file, and what would lower it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import Progress

from keeper.commands.common import JsonOption, console, print_json, table
from risk.efficiency import Editable, Swap, Trade, Withdrawal, best_trades, swaps, withdrawals
from risk.errors import BadInput
from risk.explain import Explanation
from risk.methodologies import METHODOLOGIES, Ballast, methodology
from risk.methodologies.base import MarginResult
from risk.methodologies.cases import load_case
from risk.methodologies.editable import CaseAccount, Demand, demands
from risk.types import ParameterSet


@dataclass(frozen=True, slots=True)
class Advice:
    """What could be done about an account's margin; the same for a case file and for an account of the chain."""

    trades: tuple[Trade, ...]
    withdrawals: tuple[Withdrawal, ...]
    swaps: tuple[Swap, ...]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "trades": [{**t._asdict(), "words": t.words()} for t in self.trades],
            "withdrawals": [{**w._asdict(), "words": w.words()} for w in self.withdrawals],
            "swaps": [{**s._asdict(), "words": s.words()} for s in self.swaps],
        }


def advise(account: Editable, count: int = 3) -> Advice:
    """Search trades, withdrawals and swaps, with a bar on standard error."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("searching trades and collateral", total=3)
        trades = best_trades(account, count)
        bar.advance(task)
        leaving = withdrawals(account)
        bar.advance(task)
        return Advice(trades, leaving, swaps(account))


def print_demands(screen: Console, found: Sequence[Demand]) -> None:
    """What the same book needs at each peer."""
    numbers = ("initial", "maintenance", "initial, share of equity")
    made = table("the same book at each methodology (USD)", "methodology", *numbers, right=numbers)
    for item in found:
        if item.problem:
            made.add_row(item.name, "cannot judge it", "", item.problem)
        else:
            share = f"{100 * item.im / item.equity:.1f} %" if item.equity > 0.0 else ""
            made.add_row(item.name, f"{item.im:,.2f}", f"{item.mm:,.2f}", share)
    screen.print(made)


def print_advice(screen: Console, advice: Advice) -> None:
    """Trades, withdrawals and swaps in words."""
    headings = (
        ("trades that free the most initial margin, at mark and before fees", advice.trades, "none frees any"),
        ("collateral that can leave, cheapest first", advice.withdrawals, "nothing is held"),
        ("swaps of collateral, best first", advice.swaps[:5], "no collateral but cash is held"),
    )
    for heading, items, empty in headings:
        screen.print(f"{heading}:", markup=False)
        for item in items:
            screen.print(f"- {item.words()}", markup=False)
        if not items:
            screen.print(f"- {empty}", markup=False)


def explain(
    case: Annotated[Path, typer.Option("--case", help="JSON file of one account and one market; docs/risk/cases.md.")],
    parameters: Annotated[Path | None, typer.Option("--parameters", help="Calibrated set; default: typical.")] = None,
    trades: Annotated[int, typer.Option("--trades", min=1, help="How many trades to show.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Why a case's margin is what it is, what peers would ask for, and what would lower it."""
    chosen = ParameterSet.from_json(parameters.read_text(encoding="utf-8")) if parameters else None
    book, market = load_case(case)
    rule = Ballast(chosen)
    if not market.underlyings:
        raise BadInput(f"the case {case} quotes no underlying; add one to its market")
    told, result = rule.explain(book, market), rule.margin(book, market)
    peers = demands(book, market, {name: rule if name == rule.name else methodology(name) for name in METHODOLOGIES})
    advice = advise(CaseAccount(book, market, rule), trades)
    if as_json:
        print_json({**_plain(told, result), "peers": [item._asdict() for item in peers], **advice.plain()})
        return
    screen = console()
    _print(screen, told, result)
    print_demands(screen, peers)
    print_advice(screen, advice)


def _plain(told: Explanation, result: MarginResult) -> dict[str, Any]:
    return {
        "equity": result.equity,
        "im": result.im,
        "mm": result.mm,
        "worst": {
            "words": told.scenario,
            "binding": told.binding,
            "loss": told.scenario_loss,
            "moves": [move._asdict() for move in told.moves],
        },
        "contributions": [line._asdict() for line in told.contributions],
        "charges": [line._asdict() for line in told.charges],
        "collateral": [line._asdict() for line in told.collateral],
        "parts": [part._asdict() for part in _parts(told, result)],
        "data": [line.words() for line in told.staleness],
        "last_day": [{**line._asdict(), "words": line.words()} for line in told.last_day],
    }


class Part(NamedTuple):
    """A part of what is asked for, USD."""

    name: str
    im: float
    mm: float


def _parts(told: Explanation, result: MarginResult) -> tuple[Part, ...]:
    """What initial and maintenance margin are made of; the parts add up to them."""
    im, mm = float(told.result.im[0]) - told.reserve, float(told.result.mm[0]) - told.reserve
    cut_im = sum(line.value - line.counted_im for line in told.collateral)
    cut_mm = sum(line.value - line.counted_mm for line in told.collateral)
    return (
        Part("market risk and charges", im, mm),
        Part("reserve for the caller of a liquidation", told.reserve, told.reserve),
        Part("haircuts of collateral", cut_im, cut_mm),
        Part(
            "option values as the page rounds them",
            result.im - im - told.reserve - cut_im,
            result.mm - mm - told.reserve - cut_mm,
        ),
    )


def _print(screen: Console, told: Explanation, result: MarginResult) -> None:
    """Status, worst scenario with each position's part, what margin adds up from, collateral."""
    screen.print(
        f"equity {result.equity:,.2f} USD; initial {result.im:,.2f}, maintenance {result.mm:,.2f}, haircuts included",
        markup=False,
    )
    screen.print(f"worst scenario: {told.scenario} ({told.binding} decides)", markup=False)
    lines = table("profit under the worst scenario (USD)", "position", "profit", right=("profit",))
    for line in told.contributions:
        lines.add_row(line.name, f"{line.profit:,.2f}")
    lines.add_row("all positions", f"{-told.scenario_loss:,.2f}")
    for charge in told.charges:
        lines.add_row(f"{charge.name} charges, on top", f"{-charge.profit:,.2f}")
    screen.print(lines)
    if told.binding in ("offset floor", "dominant underlying"):
        screen.print(
            f"no joint scenario loses as much as the {told.binding} asks for: market risk is "
            f"{told.result.market_risk[0]:,.2f} USD, the losses of all underlyings together {told.scenario_loss:,.2f}",
            markup=False,
        )
    for ending in told.last_day:
        screen.print(ending.words(), markup=False)
    sums = table("what margin adds up from (USD)", "part", "initial", "maintenance", right=("initial", "maintenance"))
    for part in _parts(told, result):
        sums.add_row(part.name, f"{part.im:,.2f}", f"{part.mm:,.2f}")
    screen.print(sums)
    if told.collateral:
        numbers = ("value", "counts for initial", "counts for maintenance")
        made = table("collateral (USD)", "asset", *numbers, right=numbers)
        for item in told.collateral:
            made.add_row(item.name, f"{item.value:,.2f}", f"{item.counted_im:,.2f}", f"{item.counted_mm:,.2f}")
        screen.print(made)
