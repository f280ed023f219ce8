# SPDX-License-Identifier: Apache-2.0
"""Efficiency of the joint scenarios, and how tightly hedged option books fare: ``python -m scripts.joint_efficiency``.

Three underlyings, at most 64 scenarios, full calibration on recorded hourly prices up to the end of 2023. Everything is
measured on fresh draws and unseen books. ``efficiency`` is the mean over the 1 % quantile of requirement / Expected
Shortfall; a grid in the manner of Deribit, summed over assets, is measured on the same books and draws.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from risk.adversary import Adversary, AdversaryConfig, least
from risk.books import DAYS_A_YEAR, Universe, build_universe, sample_books
from risk.calibrate import calibrate
from risk.certificate import certify, meter
from risk.config import CalibrationConfig
from risk.factors.fhs import FhsConfig, Moves, build_factors
from risk.joint import STREAM_TEST, Law, build_law
from risk.market.history import FloatArray, IntArray, PriceHistory
from risk.market.load import load_prices
from risk.methodologies.deribit import BTC, ETH, EXTENDED, Terms, vol_shocks
from risk.pricing import black76
from risk.scenarios import Sample, floors, instrument_pnl, measure_books
from risk.types import BPS, ParameterSet

SYMBOLS = ("BTC", "ETH", "SOL")
END = 1_704_067_200
GROSS_USD = 1e6
OTHER = Terms(0.24, up=0.5, min_vol=0.6)
TERMS = {"BTC": BTC, "ETH": ETH}


@dataclass(frozen=True, slots=True)
class Bench:
    """A calibrated set with the law it was made from and the unseen books it was certified on."""

    parameters: ParameterSet
    config: CalibrationConfig
    law: Law
    fresh: Moves
    universe: Universe
    grid: FloatArray
    test: Sample

    @property
    def kappa(self) -> float:
        """Offset floor in force, a fraction."""
        return self.parameters.global_parameters.offset_floor_bps / BPS

    def measured(self, books: FloatArray) -> Sample:
        """What books can lose under the fresh draws."""
        pnl = self.universe.pnl(self.fresh, self.law.shocks.power)
        return measure_books(self.universe, self.grid, pnl, books, self.config.selection.level)


def build(history: PriceHistory, config: CalibrationConfig, seed: int) -> Bench:
    """Calibrate, then make law, draws and unseen books again from what the set says about itself."""
    found = calibrate(history, config, np.random.default_rng(seed))
    symbols, bar = found.joint_underlyings, history.interval_s
    prices = history.select(symbols)
    factors = build_factors(
        prices,
        halflife_bars=config.halflife_s / bar,
        vol_halflife_bars=config.vol_halflife_s / bar,
        model=config.volatility,
    )
    fhs = FhsConfig(
        config.horizon_s // bar, config.block_s // bar, config.ratio_low, config.ratio_high, config.stressed_weight
    )
    begin, end = found.provenance.diagnostics["stressed_period"]
    scans = np.array([found.underlyings[s].scan_bps / BPS for s in symbols])
    law = build_law(factors, fhs, (begin, end), scans, config, found.provenance.seed)
    universe = build_universe(symbols, np.array([found.surfaces[s].short_vol for s in symbols]))
    grid, fresh = universe.grid(law.shocks), law.fresh(config.n_sims)
    books = sample_books(universe, int(1.5 * config.n_books), law.stream(STREAM_TEST))
    pnl = universe.pnl(fresh, law.shocks.power)
    test = measure_books(universe, grid, pnl, books, config.selection.level).several(config.n_books)
    return Bench(found, config, law, fresh, universe, grid, test)


def efficiency(values: FloatArray) -> float:
    """Mean over 1 % quantile."""
    return float(values.mean() / np.quantile(values, 0.01))


def deribit_like(universe: Universe, books: FloatArray) -> FloatArray:
    """Worst of 27 grid and 8 extended moves of each asset, Deribit's terms, summed over assets: (b,) USD per gross 1.

    Extended moves count for the share of the range they exceed, less the dampener, for books of a million USD gross.
    """
    total = np.zeros(books.shape[0])
    for u, symbol in enumerate(universe.symbols):
        terms, mine = TERMS.get(symbol, OTHER), np.flatnonzero(universe.underlying == u)
        down, up = vol_shocks(universe.vol[mine], universe.tau[mine] * DAYS_A_YEAR, terms)
        moves, far = np.linspace(-terms.price, terms.price, 9), np.array(EXTENDED)
        held = books[:, mine] * GROSS_USD
        profits = [held @ _profit(universe, mine, moves, vol).T for vol in (down, universe.vol[mine], up)]
        wide = held @ _profit(universe, mine, far, up).T * (terms.price / np.abs(far))
        allowance = np.maximum(np.abs(far) / terms.price - 1.0, 0.0) * terms.dampener
        profits.append(np.sign(wide) * np.maximum(np.abs(wide) - allowance, 0.0))
        total += np.maximum(-np.concatenate(profits, axis=1).min(axis=1), 0.0)
    return total / GROSS_USD


def _profit(universe: Universe, mine: IntArray, moves: FloatArray, vol: FloatArray) -> FloatArray:
    """(moves, instruments) profit per USD of notional at shocked volatilities."""
    option = universe.is_option[mine]
    out = np.repeat(moves[:, None], mine.size, axis=1)
    strike, tau, call = (a[mine][option] for a in (universe.strike, universe.tau, universe.is_call))
    now = black76.price(1.0, strike, universe.vol[mine][option], tau, 1.0, call)
    spot = np.maximum(1.0 + moves[:, None], 1e-6)
    out[:, option] = black76.price(spot, strike, np.maximum(vol[option], 0.01), tau, 1.0, call) - now
    return out


def hedged_books(universe: Universe, n: int, rng: np.random.Generator) -> FloatArray:
    """Verticals and calendars of neighbouring options on two underlyings or more, each hedged to delta zero."""
    books, k = np.zeros((n, universe.size)), len(universe.symbols)
    per = universe.size // k
    deltas = universe.deltas()
    for u in range(k):
        mine = np.flatnonzero(rng.random(n) < 0.8)
        first = u * per + 1 + rng.integers(per - 1, size=mine.size)
        # Two places on is the next strike of the same type; ten is the next tenor.
        second = u * per + 1 + (first - u * per - 1 + rng.choice((2, 10), mine.size)) % (per - 1)
        size = rng.choice((-1.0, 1.0), mine.size) * np.exp(0.5 * rng.standard_normal(mine.size))
        books[mine, first] += size
        books[mine, second] -= size
        own = universe.underlying == u
        books[mine, universe.perp(u)] -= books[np.ix_(mine, own)] @ deltas[own]
    return np.asarray(books / np.maximum(np.abs(books).sum(axis=1, keepdims=True), 1e-12))


def quantiles(values: FloatArray) -> dict[str, float]:
    """Least, 1 %, 5 %, median, mean and share of at least 1."""
    low, five, middle = np.quantile(values, [0.01, 0.05, 0.5])
    named = {"min": values.min(), "p01": low, "p05": five, "median": middle, "mean": values.mean()}
    return {name: round(float(v), 4) for name, v in {**named, "covered": (values >= 1.0).mean()}.items()}


def hedged(bench: Bench, n: int = 4_000) -> dict[str, Any]:
    """Tightly hedged option books: with scenarios alone, with the offset floor, with charges; which of them binds."""
    found = bench.parameters
    assert found.joint is not None
    sample = bench.measured(hedged_books(bench.universe, n, bench.law.stream(99))).several()
    rule = meter(sample, bench.universe, bench.law.shocks)
    lanes = [found.underlyings[s] for s in bench.universe.symbols]
    joint = np.maximum(0.0, -(sample.books @ instrument_pnl(bench.universe, bench.grid, found.joint)).min(axis=1))
    total = sample.scans.sum(axis=1)
    parts = np.stack([joint, bench.kappa * total, 2.0 * sample.scans.max(axis=1) - total])
    binding = parts.argmax(axis=0)
    charged = rule.with_charges(found.joint, bench.kappa, lanes)
    plain = rule.ratios(found.joint, bench.kappa)
    return {
        "books": int(sample.target.size),
        "target_of_gross": quantiles(sample.target),
        "scenarios_alone": quantiles(rule.ratios(found.joint, 0.0)),
        "with_offset_floor": quantiles(plain),
        "with_charges": quantiles(charged),
        "binding": {n: round(float((binding == i).mean()), 4) for i, n in enumerate(("joint", "kappa", "dominance"))},
        "short_of_target_without_charges": round(float((plain < 1.0).mean()), 4),
        "short_of_target_with_charges": round(float((charged < 1.0).mean()), 4),
    }


def adversary(bench: Bench) -> dict[str, float]:
    """Least ratio a long search finds on fresh draws: 400 starting books, 30 steps."""
    found, config = bench.parameters, AdversaryConfig(books=400, steps=30)
    assert found.joint is not None
    inst = instrument_pnl(bench.universe, bench.grid, found.joint)
    by_draw = np.ascontiguousarray(bench.universe.pnl(bench.fresh, bench.law.shocks.power).T, dtype=np.float32)
    who = Adversary(bench.universe, bench.grid, by_draw, inst, bench.kappa, bench.config.selection.level)
    joint = np.maximum(0.0, -(bench.test.books @ inst).min(axis=1))
    values = np.maximum(joint, floors(bench.test, bench.kappa)) / bench.test.target
    start = least(values, bench.test.target, config)
    worst = who.search(bench.test.books[start], config)
    return {"start_min": round(float(values[start].min()), 4), **quantiles(worst.ratio)}


def epochs(history: PriceHistory, days: int, hysteresis: float) -> dict[str, Any]:
    """How often scenarios change in daily calibrations, each after the last, with the keeper's small samples."""
    config, last, changes, costs = CalibrationConfig.quick(hysteresis=hysteresis), None, 0, []
    for day in range(days, 0, -1):
        until = int(history.ts[-1]) + history.interval_s - day * 86_400
        seen = history.window(end=until)
        found = calibrate(seen, config, np.random.default_rng(day), last)
        assert found.certificate is not None
        changes += last is not None and found.joint != last.joint
        costs.append(found.certificate.efficiency)
        last = found
    return {"epochs": days, "changes": changes, "mean_efficiency": round(float(np.mean(costs)), 4)}


def prices_folder() -> Path:
    """Folder of hourly prices: below ``BALLAST_SHARED``, else below ``../shared`` beside the checkout."""
    root = Path(os.environ.get("BALLAST_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    return root / "data" / "prices" / "hourly"


def measure(prices: Path | None = None, seed: int = 1) -> dict[str, Any]:
    """All figures of this script; ``joint_efficiency`` is the one with a target (at most 1.30)."""
    started = time.perf_counter()
    history = load_prices(prices or prices_folder(), SYMBOLS, "1h", end=END)
    config = CalibrationConfig()
    bench = build(history, config, seed)
    found = bench.parameters
    assert found.joint is not None and found.certificate is not None
    rule = meter(bench.test, bench.universe, bench.law.shocks)
    again = certify(bench.test, rule, found.joint, bench.kappa, paths=config.n_sims, seed=found.provenance.seed)
    total = bench.test.scans.sum(axis=1) / bench.test.target
    return {
        "joint_efficiency": round(again.efficiency, 4),
        "certificate_reproduced": again == found.certificate,
        "deribit_like_efficiency": round(
            efficiency(deribit_like(bench.universe, bench.test.books) / bench.test.target), 4
        ),
        "sum_of_scans_efficiency": round(efficiency(total), 4),
        "without_offset_floor_efficiency": round(efficiency(rule.ratios(found.joint, 0.0)), 4),
        "ratios": quantiles(rule.ratios(found.joint, bench.kappa)),
        "scenarios": len(found.joint),
        "offset_floor": bench.kappa,
        "scan": {s: found.underlyings[s].scan_bps / BPS for s in found.joint_underlyings},
        "books": again.books,
        "paths": again.paths,
        "seed": seed,
        "adversary": adversary(bench),
        "hedged_option_books": hedged(bench),
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prices", type=Path, help="folder of hourly price files; default: the shared history")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=0, help="also count changes of scenarios over so many days")
    parser.add_argument("--json", action="store_true", help="JSON only")
    args = parser.parse_args()
    found = measure(args.prices, args.seed)
    if args.epochs:
        history = load_prices(args.prices or prices_folder(), SYMBOLS, "1h", end=END)
        found["hysteresis"] = {str(h): epochs(history, args.epochs, h) for h in (0.0, 0.05)}
    if not args.json:
        sys.stdout.write(
            f"joint efficiency {found['joint_efficiency']:.3f} (target 1.30), a grid summed per asset "
            f"{found['deribit_like_efficiency']:.3f}\n"
        )
    json.dump(found, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
