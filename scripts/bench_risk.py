# SPDX-License-Identifier: Apache-2.0
"""Speed of the risk library beside its peers, and the values compared: ``python -m scripts.bench_risk [--json]``.

Prints one row a target; ``--json`` one object for programs. Times are the best of a few runs. The values of what is
timed are compared in the same run, and a disagreement ends it: the speed of other numbers says nothing.
docs/risk/speed.md tells how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import sparse

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from risk.errors import RiskError
from risk.margin import Book, Market, UnderlyingMarket, margin
from risk.measures_book import book_expected_shortfall
from risk.page import build_page, unpack_page
from risk.pricing import svi
from risk.table import node_prices, shocked_volatilities
from risk.types import (
    SECONDS_PER_DAY,
    SECONDS_PER_YEAR,
    GlobalParameters,
    JointScenarios,
    OptionSpec,
    SmileModel,
    UnderlyingParameters,
)
from scripts import bench_peers
from scripts.bench_peers import Disagreement, MissingPeer, agree, best

Say = Callable[[str], None]

NOW = 1_800_000_000
SPOT_WAD = 2_500 * 10**18
LANES = UnderlyingParameters(1_800, 4_500, 2_500, 3_000, 50, 30, 20, 5, 500, 100, 400, 450)
DAYS = (1, 2, 7, 14, 30, 60, 90, 180)
SLICES = svi.slices_from_smile(SmileModel(0.6, 0.7, 4.0, -0.2, 0.9), [NOW + SECONDS_PER_DAY * day for day in DAYS], NOW)
UNDERLYINGS, POSITIONS, SLOTS, SCENARIOS = 4, 8, 125, 64
LEGS, INSTRUMENTS, TAIL = 20, 500, 0.99
PAGE_ROWS = (253, 253, 253, 253, 12)
# Float margin of the compiled and of the numpy engine, of an account's gross notional; Expected Shortfall likewise.
MARGIN_BOUND, SHORTFALL_BOUND = 1e-13, 1e-13


class Target(NamedTuple):
    """A figure to reach: at least or at most ``limit``."""

    key: str
    what: str
    limit: float
    least: bool

    def met(self, value: float) -> bool:
        """Whether a value reaches it."""
        return value >= self.limit if self.least else value <= self.limit


TARGETS = (
    Target("black76_mprices_s", "Black-76, 10 M prices: million prices/s", 100.0, True),
    Target("black76_vs_vollib", "times py_vollib_vectorized", 30.0, True),
    Target("book_1m_seconds", "margin of 1,000,000 accounts x 8 positions: s", 1.0, False),
    Target("book_1m_gib", "peak memory of that: GiB", 6.0, False),
    Target("es_accounts_s", "ES of 20 legs at 10,000 scenarios: accounts/s", 60_000.0, True),
    Target("table_1024_ms", "table of 1,024 options x 45 nodes, packed: ms", 50.0, False),
    Target("calibrate_seconds", "calibration, 8 underlyings, 3 years hourly, 10,000 books: s", 60.0, False),
    Target("joint_efficiency", "joint set, mean ratio / 1 % quantile", 1.30, False),
)


def options(count: int) -> list[OptionSpec]:
    """Calls and puts of eight expiries around the spot."""
    strikes = np.linspace(1_500.0, 4_000.0, -(-count // 8))
    return [
        OptionSpec(slot, NOW + SECONDS_PER_DAY * DAYS[slot % 8], float(strikes[slot // 8]), bool(slot % 2))
        for slot in range(count)
    ]


def random_book(accounts: int) -> Book:
    """Option positions spread evenly over underlyings and slots, a perpetual everywhere."""
    rng = np.random.default_rng(2)
    shape = (accounts, POSITIONS)
    owner = np.broadcast_to(np.arange(accounts)[:, None], shape)
    where, slot = rng.integers(0, UNDERLYINGS, shape), rng.integers(0, SLOTS, shape)
    size = rng.normal(size=shape)
    matrices = tuple(
        sparse.csr_array(  # type: ignore[no-untyped-call]
            (size[where == u], (owner[where == u], slot[where == u])), shape=(accounts, SLOTS)
        )
        for u in range(UNDERLYINGS)
    )
    units = np.zeros((accounts, UNDERLYINGS, 3))
    units[:, :, 0] = rng.normal(size=(accounts, UNDERLYINGS))
    none = np.zeros((accounts, 0))
    return Book(np.zeros(accounts), units, np.zeros((accounts, UNDERLYINGS)), none, none, matrices)


def random_market() -> Market:
    """Four underlyings with 125 options each, 64 joint scenarios."""
    rng = np.random.default_rng(3)
    rows = unpack_page(build_page(options(SLOTS), SPOT_WAD, SLICES, NOW, LANES, SLOTS))
    joint = JointScenarios(*rng.integers(-127, 128, (2, SCENARIOS, UNDERLYINGS)).astype(np.int8))
    parts = tuple(UnderlyingMarket(f"U{u}", 2_510.0, LANES, rows, rows_observed_at=NOW) for u in range(UNDERLYINGS))
    return Market(GlobalParameters(10_000, 8_000, 10_000, 2_000, 25), parts, joint=joint, now=NOW)


def bench_book(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Margin of a whole book, and of its beginning by the numpy engine."""
    say(f"book: {args.accounts:,} random accounts")
    book, market = random_book(args.accounts), random_market()
    say("book: margin")
    ours = best(lambda: margin(book, market, threads=args.threads), 5)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    few = min(args.accounts, 50_000)
    part = book.block(0, few)
    say("book: the same by plain numpy")
    plain = best(lambda: margin(part, market, threads=args.threads, engine="numpy"), 2)
    say("book: the same with an eighth of the options in their last day")
    later = replace(market, now=NOW + 3_600)
    ending = best(lambda: margin(part, later, threads=args.threads), 2)
    gross = 2_510.0 * (np.abs(part.units).sum(axis=(1, 2)) + sum(np.asarray(abs(m).sum(axis=1)) for m in part.options))
    worst = 0.0
    for name in ("im", "mm", "market_risk", "charges", "equity_im", "equity_mm"):
        difference = getattr(ours.value, name)[:few] - getattr(plain.value, name)
        worst = max(worst, agree(f"book {name}, compiled and numpy", difference / gross, MARGIN_BOUND))
    return {
        "book_1m_seconds": ours.wall,
        "book_1m_gib": peak,
        "book_processor_seconds": ours.processor,
        "book_accounts": args.accounts,
        "book_numpy_accounts_s": few / plain.wall,
        "book_ours_accounts_s": args.accounts / ours.wall,
        "book_last_day_accounts_s": few / ending.wall,
        "book_numpy_difference": worst,
    }


def textbook_shortfall(book: sparse.csr_array, pnl: np.ndarray, count: int) -> np.ndarray:
    """Mean of the worst ``count`` profits, as anybody would write it in numpy."""
    return np.asarray(-np.partition(book @ pnl, count - 1, axis=1)[:, :count].mean(axis=1))


def bench_es(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Expected Shortfall of many accounts in a universe of 500 instruments, and of the first by a line of numpy."""
    rng = np.random.default_rng(5)
    say(f"ES: {args.es_accounts:,} accounts, {args.scenarios:,} scenarios")
    pnl = rng.standard_t(4, (INSTRUMENTS, args.scenarios))
    shape = (args.es_accounts, INSTRUMENTS)
    held = np.sort(np.argpartition(rng.random(shape, dtype=np.float32), LEGS, axis=1)[:, :LEGS], axis=1)
    pointers = np.arange(0, LEGS * args.es_accounts + 1, LEGS)
    book = sparse.csr_array((rng.normal(size=held.size), held.ravel(), pointers), shape=shape)  # type: ignore[no-untyped-call]
    ours = best(lambda: book_expected_shortfall(book, pnl, TAIL, threads=args.threads), 5)
    part, count = book[: min(200, args.es_accounts)], round(args.scenarios * (1.0 - TAIL))
    say("ES: the same by plain numpy")
    plain = best(lambda: textbook_shortfall(part, pnl, count), 2)
    scale = (abs(part) @ np.abs(pnl)).max(axis=1)
    return {
        "es_accounts_s": args.es_accounts / ours.wall,
        "es_accounts_per_processor_s": args.es_accounts / ours.processor,
        "es_instruments": INSTRUMENTS,
        "es_numpy_accounts_s": part.shape[0] / plain.wall,
        "es_numpy_difference": agree(
            "ES, ours and numpy", (ours.value[: part.shape[0]] - plain.value) / scale, SHORTFALL_BOUND
        ),
    }


def bench_table(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """1,024 options on five pages, priced at 45 nodes and packed; a page against QuantLib, within half a lane."""
    say("table: 1,024 options x 45 nodes")
    pages = [options(count) for count in PAGE_ROWS]
    ours = best(lambda: [build_page(page, SPOT_WAD, SLICES, NOW, LANES, len(page)) for page in pages], 3 * args.repeats)
    rows = unpack_page(ours.value[0])
    say("table: a page by QuantLib")
    theirs = best(lambda: quantlib_page(pages[0], rows.reference_price, rows.step), 1)
    differences = (rows.values - theirs.value) / rows.lane_unit
    return {
        "table_1024_ms": 1e3 * ours.wall,
        "table_quantlib_ms": 1e3 * theirs.wall * sum(PAGE_ROWS) / PAGE_ROWS[0],
        "table_quantlib_difference_lanes": agree("table, lanes and QuantLib", differences, 0.5 + 1e-6),
    }


def quantlib_page(page: list[OptionSpec], reference: float, step: float) -> np.ndarray:
    """Node values (n, 3, 15) of a page's options by QuantLib's Black formula on the same smile."""
    import QuantLib as ql  # noqa: N813

    nodes, out = node_prices(reference, step).tolist(), np.empty((len(page), 3, 15))
    slices = {item.expiry: item for item in SLICES}
    for n, option in enumerate(page):
        item, tau = slices[option.expiry], (option.expiry - NOW) / SECONDS_PER_YEAR
        moneyness = np.log(np.array([option.strike / (reference * item.forward_ratio)]))
        vol, days = svi.volatility(item.svi, moneyness, tau), np.array([tau * SECONDS_PER_YEAR / SECONDS_PER_DAY])
        kind = ql.Option.Call if option.is_call else ql.Option.Put
        states = shocked_volatilities(vol, days, 0.45, 0.25, 0.3)[0] * np.sqrt(tau)
        for v, deviation in enumerate(states.tolist()):
            for i, spot in enumerate(nodes):
                terms = (kind, option.strike, spot * item.forward_ratio, deviation, item.discount)
                out[n, v, i] = ql.blackFormula(*terms)  # type: ignore[no-untyped-call]
    return out


def bench_black76(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Prices a second beside the peers."""
    return bench_peers.measure(args.prices, args.threads, say)


def bench_calibrate(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Calibration on recorded prices, with what it was made of."""
    from scripts import calibrate_speed

    say("calibration: 8 underlyings, 3 years of hours, 10,000 books")
    found = calibrate_speed.measure(args.data)
    return {name if name.startswith("calibrate") else f"calibrate_{name}": value for name, value in found.items()}


def bench_joint(args: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Efficiency of the joint scenarios, beside a grid summed per asset."""
    from scripts import joint_efficiency

    say("joint scenarios: calibration, fresh draws, unseen books (minutes)")
    found = joint_efficiency.measure(args.data)
    return {name: found[name] for name in ("joint_efficiency", "deribit_like_efficiency")}


# The book first: peak memory is that of the process.
BENCHES = {
    "book": bench_book,
    "black76": bench_black76,
    "es": bench_es,
    "table": bench_table,
    "calibrate": bench_calibrate,
    "joint": bench_joint,
}


def machine() -> dict[str, Any]:
    """What the figures were measured on, with its load before the run."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, python {platform.python_version()}",
        "load_1_minute": os.getloadavg()[0],
        "versions": bench_peers.versions(),
    }


def parser() -> argparse.ArgumentParser:
    """Arguments; sizes other than the targets' are for tests."""
    out = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out.add_argument("--json", action="store_true", help="one JSON object on standard output")
    out.add_argument("--only", choices=sorted(BENCHES), action="append", help="measure this alone; may be repeated")
    out.add_argument("--threads", type=int, default=2)
    out.add_argument("--data", type=Path, help="folder of hourly price files; default: the shared history")
    out.add_argument("--prices", type=int, default=10_000_000)
    out.add_argument("--accounts", type=int, default=1_000_000)
    out.add_argument("--es-accounts", type=int, default=10_000)
    out.add_argument("--scenarios", type=int, default=10_000)
    out.add_argument("--repeats", type=int, default=5)
    return out


def show(result: dict[str, Any]) -> None:
    """The targets as a table, and everything else below it."""
    console, table = Console(), Table("what", "measured", "target", "")
    for target in TARGETS:
        if target.key in result:
            sign, met = "≥" if target.least else "≤", target.met(result[target.key])
            verdict = "[green]met" if met else "[red]missed"
            table.add_row(target.what, f"{result[target.key]:,.4g}", f"{sign} {target.limit:,.4g}", verdict)
    console.print(table)
    for name in result.keys() - {target.key for target in TARGETS}:
        value = result[name]
        console.print(f"{name}: {value:,.4g}" if isinstance(value, float) else f"{name}: {value}", highlight=False)


def main() -> None:
    """Measure and print; exit 1 where a peer is missing or values disagree."""
    args = parser().parse_args()
    progress = Console(stderr=True)
    try:
        result = machine()
        for name, bench in BENCHES.items():
            if args.only is None or name in args.only:
                result.update(bench(args, lambda text: progress.print(text, style="dim")))
    except (MissingPeer, Disagreement, RiskError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if args.json:
        json.dump(result, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        show(result)


if __name__ == "__main__":
    main()
