# SPDX-License-Identifier: Apache-2.0
"""The joint part of a calibration: the law scaled to the scans, the scenarios chosen under it, their certificate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from risk.adversary import Adversary, least
from risk.books import Shocks, Universe, build_universe, sample_books
from risk.certificate import certify, covering_floor, improves, meter
from risk.config import CalibrationConfig
from risk.factors.fhs import FactorHistory, FhsConfig, Moves, simulate_moves
from risk.liquidity import bps_up
from risk.market.history import FloatArray
from risk.ranges import LawScale, law_scale, vol_shocks
from risk.scenarios import Sample, candidates, instrument_pnl, measure_books, quantise, ratios, select, stack
from risk.stress import correlation_to_one
from risk.types import BPS, Certificate, JointScenarios, ParameterSet

# Independent streams derived from the one recorded seed.
STREAM_LAW, STREAM_TRAIN, STREAM_FRESH, STREAM_TEST = 1, 2, 3, 4
TAIL_ROWS = 40


@dataclass(frozen=True, slots=True)
class Law:
    """What joint moves are drawn from.

    Attributes
    ----------
    factors : FactorHistory
    fhs : FhsConfig
    period : (int, int)
        Stressed period, epoch seconds.
    shocks : Shocks
        Scan ranges and volatility shocks.
    scale : LawScale
    seed : int
    draws : Moves
        The draws scenarios are chosen on, scaled.
    """

    factors: FactorHistory
    fhs: FhsConfig
    period: tuple[int, int]
    shocks: Shocks
    scale: LawScale
    seed: int
    draws: Moves

    def stream(self, number: int) -> np.random.Generator:
        """An independent generator."""
        return np.random.default_rng([self.seed, number])

    def fresh(self, n: int) -> Moves:
        """Scaled draws that took no part in any choice."""
        raw = simulate_moves(self.factors, self.fhs, n, self.stream(STREAM_FRESH), stressed=self.period)
        return self.scale.apply(raw)


def build_law(
    factors: FactorHistory,
    fhs: FhsConfig,
    period: tuple[int, int],
    scans: FloatArray,
    config: CalibrationConfig,
    seed: int,
) -> Law:
    """Draw joint moves, read the volatility shocks off them, and scale everything to the scan ranges.

    Parameters
    ----------
    factors, fhs, period
        As in `risk.factors.fhs.simulate_moves`.
    scans : (k,) float64
        Scan ranges, fractions.
    config : CalibrationConfig
    seed : int
    """
    rng = np.random.default_rng([seed, STREAM_LAW])
    raw = simulate_moves(factors, fhs, config.n_sims, rng, stressed=period)
    up, down = vol_shocks(raw, config.ranges)
    shocks = Shocks(scans, up, down, np.full(scans.size, config.ranges.vol_power))
    scale = law_scale(raw, shocks, config.ranges.level)
    return Law(factors, fhs, period, shocks, scale, seed, scale.apply(raw))


@dataclass(frozen=True, slots=True)
class JointResult:
    """Scenarios (None with a single underlying), certificate, offset floor, coverage of lone underlyings.

    ``single_p01`` is the 1 % quantile of scan over Expected Shortfall of unseen books on one underlying. ``report``
    says, JSON-safe, whether the previous scenarios were kept and what the adversary found.
    """

    joint: JointScenarios | None
    certificate: Certificate | None
    offset_floor: float
    single_p01: float
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Stage:
    """What scenarios are chosen and measured on."""

    law: Law
    config: CalibrationConfig
    universe: Universe
    grid: FloatArray
    live: FloatArray | None
    say: Callable[[str], None]

    def adversary(self, moves: Moves, joint: JointScenarios, kappa: float) -> Adversary:
        """Somebody who knows the scenarios."""
        by_draw = np.ascontiguousarray(self.universe.pnl(moves, self.law.shocks.power).T, dtype=np.float32)
        inst = instrument_pnl(self.universe, self.grid, joint)
        return Adversary(self.universe, self.grid, by_draw, inst, kappa, self.config.selection.level)

    def measured(self, moves: Moves, books: FloatArray, tail_rows: int = 0) -> Sample:
        """What books can lose under draws."""
        pnl = self.universe.pnl(moves, self.law.shocks.power)
        return measure_books(self.universe, self.grid, pnl, books, self.config.selection.level, tail_rows=tail_rows)


def joint_scenarios(
    law: Law,
    vols: FloatArray,
    kappa: float,
    config: CalibrationConfig,
    *,
    previous: ParameterSet | None,
    live_books: FloatArray | None,
    say: Callable[[str], None],
) -> JointResult:
    """Scenarios, certificate and offset floor; the previous scenarios unless new ones are better by the hysteresis.

    The floor is `kappa`, or higher where the scenarios alone do not reach the coverage the gates ask for: after a crash
    the law may be wilder than 64 scenarios can follow, and a calibration that failed then would leave ranges from
    before the crash in force.

    Parameters
    ----------
    law : Law
    vols : (k,) float64
        Annual at-the-money volatility of each underlying.
    kappa : float
        Offset floor.
    config : CalibrationConfig
    previous : ParameterSet, optional
    live_books : (b, M) float64, optional
    say : callable
    """
    universe = build_universe(law.factors.symbols, vols)
    stage = _Stage(law, config, universe, universe.grid(law.shocks), live_books, say)
    fresh = law.fresh(config.n_sims)
    # Over a quarter of the sampled books hold one underlying alone or lose nothing; sample so many that enough remain.
    books = sample_books(universe, int(1.5 * config.n_books), law.stream(STREAM_TEST), live=live_books)
    everything = stage.measured(fresh, books)
    single = _single_p01(everything)
    if len(law.factors.symbols) < 2:
        return JointResult(None, None, kappa, single)
    test, coverage = everything.several(config.n_books), config.gates.min_ratio_p01
    rule = meter(test, universe, law.shocks)

    def measured(joint: JointScenarios, floor: float) -> Certificate:
        return certify(test, rule, joint, floor, paths=config.n_sims, seed=law.seed)

    chosen, report = _choose(stage, kappa)
    certificate = measured(chosen, kappa)
    last = _previous_joint(previous, law.factors.symbols)
    kept = False
    if last is not None:
        old = measured(last, kappa)
        kept = _keeps(old, certificate, config)
        report |= {"kept": kept, "efficiency_of_new": certificate.efficiency, "efficiency_of_previous": old.efficiency}
        if kept:
            chosen, certificate = last, old
    if certificate.ratio_p01 < coverage:
        # A basis point of slack keeps the quantile above the gate after rounding.
        kappa = bps_up(min(1.0, covering_floor(test, rule.ratios(chosen, kappa), coverage) + 1e-4)) / BPS
        say(f"offset floor raised to {kappa:.2%} for coverage")
        certificate = measured(chosen, kappa)
    say(
        f"{len(chosen)} joint scenarios {'kept' if kept else 'chosen'}, certified on {certificate.books:,} unseen "
        f"books: 1 % ratio {certificate.ratio_p01:.3f}, efficiency {certificate.efficiency:.3f}"
    )
    report["unseen"] = _unseen(stage, fresh, test, rule.ratios(chosen, kappa), chosen, kappa)
    return JointResult(chosen, certificate, kappa, single, report)


def _keeps(old: Certificate, new: Certificate, config: CalibrationConfig) -> bool:
    """Whether the previous scenarios stay: no new ones better by the hysteresis, no coverage only new ones reach."""
    coverage = config.gates.min_ratio_p01
    covered = old.ratio_p01 >= coverage or new.ratio_p01 < coverage
    return covered and not improves(old, new, config.hysteresis)


def _single_p01(sample: Sample) -> float:
    alone = np.flatnonzero(sample.active.sum(axis=1) == 1)
    # The sampler makes lone books by the hundred; a tiny sample without one has nothing to report.
    if alone.size == 0:
        return 0.0
    return float(np.quantile(sample.scans[alone].max(axis=1) / sample.target[alone], 0.01))


def _choose(stage: _Stage, kappa: float) -> tuple[JointScenarios, dict[str, Any]]:
    """Greedy choice for sampled books, then for those an adversary makes of the worst of them."""
    law, config, universe, grid = stage.law, stage.config, stage.universe, stage.grid
    hunt, count = config.adversary, config.selection.count
    stage.say(f"choosing joint scenarios for {config.n_train:,} books on {config.n_sims:,} draws")
    books = sample_books(universe, config.n_train, law.stream(STREAM_TRAIN), live=stage.live)
    train = stage.measured(law.draws, books, TAIL_ROWS).several()
    pool = candidates(train, law.draws, law.shocks, config.selection)
    stresses = correlation_to_one(law.shocks, config.correlation_one)
    forced = quantise(Moves(np.stack([s.price for s in stresses]), np.stack([s.vol for s in stresses])), law.shocks)
    found: list[dict[str, Any]] = []
    for number in range(hunt.rounds + 1):
        share = max(len(forced), count - hunt.slots * (hunt.rounds - number))
        selection = replace(config.selection, count=min(count, share))
        forced = select(train, universe, grid, pool, kappa, selection, forced=forced)
        if number == hunt.rounds:
            break
        stage.say(f"adversary, round {number + 1} of {hunt.rounds}")
        values = ratios(train, instrument_pnl(universe, grid, forced), kappa)
        start = least(values, train.target, hunt)
        if not start.size:
            break
        worst = stage.adversary(law.draws, forced, kappa).search(train.books[start], hunt)
        found.append({"books": int(start.size), "start": float(values[start].min()), "least": float(worst.ratio.min())})
        more = stage.measured(law.draws, worst.books, TAIL_ROWS).several()
        train = train.with_books(more)
        pool = stack(pool, candidates(more, law.draws, law.shocks, config.selection))
    return forced, {"adversary": found}


def _unseen(
    stage: _Stage, fresh: Moves, test: Sample, values: FloatArray, joint: JointScenarios, kappa: float
) -> dict[str, float]:
    """What an adversary makes of the worst unseen books on fresh draws, with the scenarios that will be pushed."""
    start = least(values, test.target, stage.config.adversary)
    if not start.size:
        return {}
    worst = stage.adversary(fresh, joint, kappa).search(test.books[start], stage.config.adversary)
    return {"start": float(values[start].min()), "least": float(worst.ratio.min())}


def _previous_joint(previous: ParameterSet | None, symbols: tuple[str, ...]) -> JointScenarios | None:
    if previous is None or previous.joint is None or previous.joint_underlyings != symbols:
        return None
    return previous.joint
